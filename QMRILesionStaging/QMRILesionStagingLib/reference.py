"""The white matter that a lesion is compared with, and how its maps differ from it."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

_FROM_OTHERS = 2.0  # mm that it keeps from other lesions
_MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean, for a Gaussian


class Reference(NamedTuple):
    """Where: bool [k, j, i] of the crop, or None for all normal-appearing white matter. which: how it was found."""

    where: np.ndarray | None
    which: str


class Level(NamedTuple):
    """Median, robust SD and standard error of a map over a reference."""

    median: float
    spread: float
    error: float


def local_reference(crop, options):
    """Reference of a LesionCrop: the shell around it, or all white matter where too little is near.

    White matter next to gray matter, fluid and other lesions takes no part.
    """
    voxel = crop.voxel
    needed = options.smallest / voxel.prod()
    near_others = ndimage.distance_transform_edt(~crop.others, sampling=voxel) < _FROM_OTHERS
    beside = ndimage.binary_dilation(crop.barred & ~crop.others)
    candidates = crop.white & ~near_others & ~beside
    distance = crop.border.distance
    shell = candidates & (distance > options.inner) & (distance < options.outer)
    if shell.sum() >= needed:
        return Reference(shell, "local")
    return Reference(None, "all white matter")


def level(values, valid, where, voxel_volume, measured_volume):
    """Level of a map; None where no voxel is valid.

    Args:
        values, valid: [k, j, i], of a crop or the image. where: bool.
        voxel_volume, measured_volume: mm^3; interpolated neighbours are not independent.
    """
    inside = values[where & valid]
    if not inside.size:
        return None
    median = float(np.median(inside))
    spread = float(1.4826 * np.median(np.abs(inside - median)))
    independent = max(inside.size * min(voxel_volume / measured_volume, 1.0), 1.0)
    return Level(median, spread, _MEDIAN_ERROR * spread / np.sqrt(independent))
