"""Background field removal by spherical means with a penalty on the local field (RESHARP)."""

from dataclasses import dataclass

import numpy as np

from ..fft import irfftn, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from .conjugate_gradient import conjugate_gradient
from .problem import Grid
from .spheres import ROUNDING, depth_in, sphere_mean


@dataclass(frozen=True)
class ResharpOptions(Options):
    """Settings of RESHARP."""

    radius: float = param(6.0, "mm", 1.0, 40.0, "of the sphere; the mask loses as much")
    lam: float = param(1e-4, "", 1e-8, 1.0, "weight of the squared local field against the squared misfit")
    tolerance: float = param(1e-3, "", 1e-6, 0.1, "relative residual of the normal equations at which it stops")
    iterations: int = param(30, "", 1, 1000, "iterations after which it stops in any case")


def resharp(field, weight, mask, geometry, options=ResharpOptions(), progress=None, cancelled=None):
    """Local field: min |M_r (x - S x - f + S f)|^2 + lam |x|^2, with S the mean over a sphere, M_r where it fits.

    Args:
        field: total field, float32 [k, j, i], any unit. weight: not used. mask: bool [k, j, i].
        geometry: voxel size, mm. options: ResharpOptions.
    Returns:
        local field (0 outside `valid`), float32; valid: the mask less the sphere, bool; None. Reaching the
        usual number of iterations, which regularises too, is not reported.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Sun H, Wilman AH 2014, Magn Reson Med 71:1151-1157.
    """
    check_same_shape(field=field, mask=mask)
    radius = max(options.radius, *geometry.voxel_size)
    valid = depth_in(mask, geometry) * (1 - ROUNDING) > radius
    if not valid.any():
        return np.zeros(mask.shape, np.float32), valid, None
    grid = Grid(mask, geometry, margin=radius)
    kept = grid.put(valid)
    response = 1 - rfftn(sphere_mean(grid.shape, radius, geometry.voxel_size)).real

    def filtered(x):
        return irfftn(rfftn(x) * response, grid.shape)

    solution = conjugate_gradient(
        lambda x: filtered(kept * filtered(x)) + np.float32(options.lam) * x,
        filtered(kept * filtered(grid.put(np.where(mask, field, 0).astype(np.float32)))),
        options.tolerance,
        options.iterations,
        progress=None if progress is None else lambda fraction: progress(fraction, "background field, RESHARP"),
        cancelled=cancelled,
    )
    return grid.take(solution.x) * valid, valid, None
