"""Zero of the susceptibility scale: QSM knows differences only, so the mean of a region is called zero."""

from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..parameters import Options, choice


@dataclass(frozen=True)
class ReferenceOptions(Options):
    """Settings of the reference."""

    region: str = choice(
        "whole brain", ("whole brain", "csf"), "region whose mean susceptibility is called zero; csf: the ventricles"
    )


def reference_to(chi, region):
    """Shift `chi` so that its mean in `region` is zero.

    Args:
        chi: float32 [k, j, i], ppm.
        region: bool [k, j, i], the whole brain or the fluid of the ventricles.
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
