"""Where the phase can be trusted: ROMEO's quality over all echoes, parted from that of noise, and how it is used."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..parameters import Options, choice
from .romeo import phase_quality

USES = ("weight", "mask", "two passes")
_BINS = 256  # of the histogram that is parted
_CLOSING = 2.0  # mm, half width of gaps in trusted tissue (veins, rims) that stay trusted
_LEAST_PARTED = 0.2  # between the means of the two classes; less is one class


@dataclass(frozen=True)
class QualityOptions(Options):
    """Settings of what is done about phase of poor quality."""

    use: str = choice(
        "weight",
        USES,
        "phase of poor quality: counts less; is cut off at the edge of the brain too (mask); or is mapped in a second "
        "pass and left out of the first, for haemorrhage and calcification",
    )


def trusted_phase(magnitude, phase, geometry):
    """Voxels whose phase goes on smoothly from neighbour to neighbour, small gaps closed.

    The threshold parts the quality of the whole image, air included, into two classes (Otsu); an image without noise
    beside the head has one class and is trusted everywhere.

    Args:
        magnitude, phase: float32 [echo, k, j, i], the whole image; phase wrapped, rad. geometry: voxel size, mm.
    Returns:
        bool [k, j, i].
    Reference:
        Hagberg GE et al. 2022, Magn Reson Med 88:1267-1280 (phase-based masks); Otsu N 1979, IEEE Trans Syst Man
        Cybern 9:62-66.
    """
    whole = np.ones(magnitude.shape[1:], bool)
    quality = sum(phase_quality(p, m, whole) for p, m in zip(phase, magnitude, strict=True)) / len(phase)
    threshold = _otsu(quality)
    if threshold is None:
        return whole
    reach = [2 * round(_CLOSING / h) + 1 for h in geometry.voxel_size]
    good = np.pad(quality > threshold, [(n, n) for n in reach])
    closed = ndimage.binary_erosion(
        ndimage.maximum_filter(good.view(np.uint8), reach).astype(bool), np.ones(reach, bool), border_value=1
    )
    return closed[tuple(slice(n, -n) for n in reach)]


def _otsu(values):
    """The threshold with the largest variance between two classes, None where these are hardly apart."""
    count, edges = np.histogram(values, _BINS, (0, 1))
    middle = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(count), count.sum()
    first = np.cumsum(count * middle)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = first / below, (first[-1] - first) / (total - below)
        between = np.nan_to_num(below * (total - below) * (high - low) ** 2)
    best = int(np.argmax(between))
    return edges[best + 1] if high[best] - low[best] > _LEAST_PARTED else None
