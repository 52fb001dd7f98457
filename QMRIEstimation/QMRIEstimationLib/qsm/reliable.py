"""Surface of the mask without trustworthy phase, which a background removal would spread inwards."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..geometry import check_same_shape
from ..parameters import Options, param
from .spheres import depth_in


@dataclass(frozen=True)
class ReliabilityOptions(Options):
    """Settings of the surface that is left out."""

    depth: float = param(7.0, "mm", 0.0, 30.0, "how far from the surface of the mask weak voxels are left out")
    max_sd: float = param(2.0, "", 1.2, 100.0, "largest SD of the field at the surface of the mask, over its median")


def without_weak_surface(mask, field_sd, geometry, options=ReliabilityOptions()):
    """The mask less its surface where the signal is weak; veins and rims inside stay, also where they reach it.

    Voxels cut by the edge of the brain, or dephased by air beside it, have a field that no phase noise explains, and
    spherical means carry it inwards. Their signal, and so the SD of their field, gives them away.

    Args:
        mask: bool [k, j, i].
        field_sd: float32 [k, j, i], any unit; 0 where there is no field.
        geometry: voxel size, mm.
        options: ReliabilityOptions.
    Returns:
        bool [k, j, i].
    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(mask=mask, field_sd=field_sd)
    known = mask & (field_sd > 0)
    if not known.any():
        return known
    depth = depth_in(mask, geometry)
    weak = known & (field_sd > options.max_sd * np.median(field_sd[known])) & (depth <= options.depth)
    surface = weak & ndimage.binary_dilation(~mask)
    return known & ~ndimage.binary_propagation(surface, mask=weak)
