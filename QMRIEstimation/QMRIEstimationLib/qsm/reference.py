"""Zero of the susceptibility scale: QSM knows differences only, so the mean of a region is called zero."""

from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..parameters import Options, choice, text

REGIONS = ("whole brain", "csf", "segment")


@dataclass(frozen=True)
class ReferenceOptions(Options):
    """Settings of the reference."""

    region: str = choice(
        "whole brain",
        REGIONS,
        "region whose mean is called zero; csf: the ventricles, found by their R2*; segment: of the tissue labels",
    )
    segment: str = text("CSF", "name of the tissue label for region segment; `WM` also means `WM left` and `WM right`")


def reference_to(chi, region):
    """Shift `chi` so that its mean in `region` is zero.

    Args:
        chi: float32 [k, j, i], ppm.
        region: bool [k, j, i], the whole brain, the fluid of the ventricles, or a segment.
    Returns:
        chi less the offset, float32 [k, j, i]; the offset, ppm.
    Raises:
        ValueError: the shapes differ or the region is empty.
    Reference:
        QSM Consensus Organization Committee 2024, Magn Reson Med, doi 10.1002/mrm.30006 (whole brain by default).
    """
    check_same_shape(chi=chi, region=region)
    if not region.any():
        raise ValueError("region is empty, expected at least one voxel whose mean chi is called zero.")
    offset = float(chi[region].mean(dtype=np.float64))
    return chi - np.float32(offset), offset
