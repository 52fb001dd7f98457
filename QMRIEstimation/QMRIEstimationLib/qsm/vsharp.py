"""Background field removal by spherical means of one radius (SHARP) or of varying radius (V-SHARP)."""

from dataclasses import dataclass

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from .problem import Grid
from .spheres import ROUNDING, depth_in, radii_that_fit, sphere_mean


@dataclass(frozen=True)
class VsharpOptions(Options):
    """Settings of V-SHARP."""

    max_radius: float = param(12.0, "mm", 2.0, 40.0, "largest sphere; larger keeps more of the slow local field")
    min_radius: float = param(1.0, "mm", 0.5, 40.0, "smallest sphere; the mask loses this much, at least one voxel")
    threshold: float = param(0.05, "", 0.001, 0.5, "smallest |1 - sphere spectrum| that is divided by")


@dataclass(frozen=True)
class SharpOptions(Options):
    """Settings of SHARP."""

    radius: float = param(6.0, "mm", 1.0, 40.0, "of the sphere; the mask loses as much")
    threshold: float = param(0.05, "", 0.001, 0.5, "smallest |1 - sphere spectrum| that is divided by")


def sharp(field, weight, mask, geometry, options=SharpOptions(), progress=None, cancelled=None):
    """As `vsharp`, with one sphere. Reference: Schweser F et al. 2011, NeuroImage 54:2789-2807."""
    single = VsharpOptions(max_radius=options.radius, min_radius=options.radius, threshold=options.threshold)
    return vsharp(field, weight, mask, geometry, single, progress, cancelled)


def vsharp(field, weight, mask, geometry, options=VsharpOptions(), progress=None, cancelled=None):
    """Local field: what a harmonic background, equal to its own spherical means, cannot explain.

    Each voxel is compared with the mean over the largest sphere around it that lies in the mask; the result is
    deconvolved by the largest sphere of all.

    Args:
        field: total field, float32 [k, j, i], any unit. weight: not used.
        mask: bool [k, j, i]; beyond the edge of the image nothing is known, so the edge counts as the mask's.
        geometry: voxel size, mm.
        options: radii (in steps of 1 mm) and deconvolution threshold.
    Returns:
        local field (0 outside `valid`), float32 [k, j, i]; valid: the mask less the smallest sphere, bool; None.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Schweser F et al. 2011, NeuroImage 54:2789-2807 (SHARP); Li W et al. 2011, NeuroImage 55:1645-1656;
        Wu B et al. 2012, Magn Reson Med 67:137-147 (varying radius).
    """
    check_same_shape(field=field, mask=mask)
    local, valid = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, bool)
    if not mask.any():
        return local, valid, None
    # The response of the deconvolution reaches about one large radius beyond the mask.
    grid = Grid(mask, geometry, margin=options.max_radius)
    depth = depth_in(mask, geometry) * np.float32(1 - ROUNDING)
    spectrum = rfftn(grid.put(np.where(mask, field, 0).astype(np.float32)))
    difference = np.zeros(grid.shape, np.float32)
    radii = radii_that_fit(depth, options.max_radius, options.min_radius, geometry.voxel_size)
    if not radii:
        return local, valid, None
    inside = grid.put(depth)
    for n, radius in enumerate(radii):
        check_cancelled(cancelled)
        if progress is not None:
            progress(n / len(radii), f"background field, sphere of {radius:g} mm")
        response = 1 - rfftn(sphere_mean(grid.shape, radius, geometry.voxel_size)).real
        if not n:
            largest = response
        shell = (inside > radius) & (inside <= radius + 1) if n else inside > radius
        np.copyto(difference, irfftn(spectrum * response, grid.shape), where=shell)
    valid = depth > radii[-1]
    safe = np.abs(largest) >= options.threshold
    inverse = np.divide(1, largest, out=np.zeros_like(largest), where=safe)
    local = grid.take(irfftn(rfftn(difference) * inverse, grid.shape))
    return local * valid, valid, None
