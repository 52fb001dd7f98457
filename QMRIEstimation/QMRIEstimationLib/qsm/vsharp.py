"""Background field removal by spherical means of varying radius (V-SHARP)."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import check_cancelled
from ..fft import crop, irfftn, padded_shape, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from .spheres import ROUNDING, sphere_mean


@dataclass(frozen=True)
class VsharpOptions(Options):
    """Settings of V-SHARP."""

    max_radius: float = param(12.0, "mm", 2.0, 40.0, "largest sphere; larger keeps more of the slow local field")
    min_radius: float = param(1.0, "mm", 0.5, 10.0, "smallest sphere; the mask loses this much, at least one voxel")
    threshold: float = param(0.05, "", 0.001, 0.5, "smallest |1 - sphere spectrum| that is divided by")


def vsharp(field, mask, geometry, options=VsharpOptions(), progress=None, cancelled=None):
    """Local field: what a harmonic background, equal to its own spherical means, cannot explain.

    Each voxel is compared with the mean over the largest sphere around it that lies in the mask; the result is
    deconvolved by the largest sphere of all.

    Args:
        field: total field, float32 [k, j, i], any unit.
        mask: bool [k, j, i]; beyond the edge of the image nothing is known, so the edge counts as the mask's.
        geometry: voxel size, mm.
        options: radii (in steps of 1 mm) and deconvolution threshold.
    Returns:
        local field (0 outside `valid`), float32 [k, j, i]; valid: the mask less the smallest sphere, bool.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Schweser F et al. 2011, NeuroImage 54:2789-2807 (SHARP); Li W et al. 2011, NeuroImage 55:1645-1656;
        Wu B et al. 2012, Magn Reson Med 67:137-147 (varying radius).
    """
    check_same_shape(field=field, mask=mask)
    local, valid = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, bool)
    if not mask.any():
        return local, valid
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    inside = np.pad(mask[box], 1)
    depth = ndimage.distance_transform_edt(inside, sampling=geometry.voxel_size)[1:-1, 1:-1, 1:-1] * (1 - ROUNDING)
    # The response of the deconvolution reaches about one large radius beyond the mask.
    reach = [n + int(np.ceil(options.max_radius / h)) for n, h in zip(depth.shape, geometry.voxel_size, strict=True)]
    shape = padded_shape(reach)
    spectrum = rfftn(np.where(mask[box], field[box], 0), shape)
    difference = np.zeros(depth.shape, np.float32)
    radii = _fitting_radii(options, geometry.voxel_size, depth.max())
    largest = None
    for n, radius in enumerate(radii):
        check_cancelled(cancelled)
        if progress is not None:
            progress(n / len(radii), f"background field, sphere of {radius:g} mm")
        response = 1 - rfftn(sphere_mean(shape, radius, geometry.voxel_size)).real
        largest = response if largest is None else largest
        shell = (depth > radius) & (depth <= radius + 1) if n else depth > radius
        filtered = crop(irfftn(spectrum * response, shape), depth.shape)
        np.copyto(difference, filtered, where=shell)
    if largest is None:
        return local, valid
    valid[box] = depth > radii[-1]
    safe = np.abs(largest) >= options.threshold
    inverse = np.divide(1, largest, out=np.zeros_like(largest), where=safe)
    local[box] = crop(irfftn(rfftn(difference, shape) * inverse, shape), depth.shape)
    return local * valid, valid


def _fitting_radii(options, voxel_size, deepest):
    """Radii (mm, falling by 1 mm) that fit into the mask; the smallest reaches a neighbour along every axis."""
    smallest = max(options.min_radius, *voxel_size)
    count = int(np.floor(max(options.max_radius - smallest, 0) + 1e-6)) + 1
    return [smallest + n for n in reversed(range(count)) if smallest + n < deepest]
