"""Background field removal by spherical means of varying radius (V-SHARP)."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import check_cancelled
from ..fft import crop, irfftn, padded_shape, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param

_ROUNDING = 1e-5  # relative; a voxel at exactly the radius belongs to the sphere and must lie in the mask


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
    depth = ndimage.distance_transform_edt(inside, sampling=geometry.voxel_size)[1:-1, 1:-1, 1:-1] * (1 - _ROUNDING)
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


def sphere_mean(shape, radius, voxel_size):
    """Weights of the mean over a voxelised sphere about the origin (index 0, wrapped), sum 1; float32.

    The voxels of a small sphere on an unequal grid have unequal second moments, and their plain mean would leave a
    part of any quadratic background. The weights are tilted by squares of the coordinates until the moments agree,
    which makes the mean exact for harmonic polynomials up to the third degree.
    """
    reach = [int(np.floor(radius / h + 1e-6)) for h in voxel_size]
    offsets = [np.arange(-r, r + 1) for r in reach]
    squares = np.meshgrid(*[(o * h) ** 2 for o, h in zip(offsets, voxel_size, strict=True)], indexing="ij")
    ball = (sum(squares) <= (radius * (1 + 0.1 * _ROUNDING)) ** 2).astype(float)
    basis = np.stack([ball, *(ball * s for s in squares)]).reshape(4, -1)
    conditions = np.stack([np.ones(ball.size), *(squares[a].ravel() - squares[0].ravel() for a in (1, 2))])
    # Smallest change of the plain mean that meets sum 1 and equal moments.
    plain = basis[0] / basis[0].sum()
    tilt, *_ = np.linalg.lstsq(conditions @ basis.T, np.array([1.0, 0.0, 0.0]) - conditions @ plain, rcond=None)
    weights = np.zeros(shape, np.float32)
    wrapped = np.ix_(*(o % n for o, n in zip(offsets, shape, strict=True)))
    np.add.at(weights, wrapped, (plain + tilt @ basis).reshape(ball.shape))
    return weights
