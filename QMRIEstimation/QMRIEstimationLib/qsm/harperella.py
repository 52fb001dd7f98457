"""Background field removal by the Laplacian with a harmonic outside (HARPERELLA), on a field that is unwrapped."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fft import irfftn, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from .conjugate_gradient import conjugate_gradient
from .lbv import minus_laplacian
from .operators import difference_spectrum
from .problem import Grid
from .spheres import sphere_mean


@dataclass(frozen=True)
class HarperellaOptions(Options):
    """Settings of HARPERELLA."""

    radius: float = param(10.0, "mm", 1.0, 40.0, "of the sphere whose mean of the local field is to vanish")
    tolerance: float = param(1e-3, "", 1e-6, 0.1, "relative residual of the normal equations at which it stops")
    iterations: int = param(40, "", 1, 1000, "iterations after which it stops in any case")


def harperella(field, weight, mask, geometry, options=HarperellaOptions(), progress=None, cancelled=None):
    """Local field: the inverse Laplacian of what the field has inside and of a Laplacian outside.

    The Laplacian outside is the one that makes the spherical means of the result vanish in the mask:
    min |M S lap^-1 (L_in + L_out)|^2 over L_out.

    Args:
        field: total field, float32 [k, j, i], any unit. weight: not used. mask: bool [k, j, i].
        geometry: voxel size, mm. options: HarperellaOptions.
    Returns:
        local field (0 outside `valid`), float32; valid: the mask, bool; None. Reaching the usual number of
        iterations, which regularises too, is not reported.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Li W et al. 2014, NMR Biomed 27:219-227.
    """
    check_same_shape(field=field, mask=mask)
    interior = ndimage.binary_erosion(mask)
    if not interior.any():
        return np.zeros(mask.shape, np.float32), interior, None
    radius = max(options.radius, *geometry.voxel_size)
    grid = Grid(mask, geometry, margin=2 * radius)
    inner, region = grid.put(interior), grid.put(mask)
    spectrum = difference_spectrum(grid.shape, geometry.voxel_size)
    spectrum[0, 0, 0] = 1
    inverse = 1 / spectrum
    inverse[0, 0, 0] = 0
    smooth = inverse * rfftn(sphere_mean(grid.shape, radius, geometry.voxel_size)).real
    weights = np.array([1 / h**2 for h in geometry.voxel_size], np.float32)
    inside = minus_laplacian(grid.put(np.where(mask, field, 0).astype(np.float32)), inner, weights)

    def means(sources):
        return region * irfftn(rfftn(sources) * smooth, grid.shape)

    def outside(array):
        array = irfftn(rfftn(array) * smooth, grid.shape)
        array[inner] = 0
        return array

    solution = conjugate_gradient(
        lambda sources: outside(means(sources)),
        -outside(means(inside)),
        options.tolerance,
        options.iterations,
        progress=None if progress is None else lambda fraction: progress(fraction, "background field, HARPERELLA"),
        cancelled=cancelled,
    )
    local = grid.take(irfftn(rfftn(inside + solution.x) * inverse, grid.shape))
    return local * mask, mask, None
