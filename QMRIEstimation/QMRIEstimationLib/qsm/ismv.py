"""Background field removal by repeated spherical means (iSMV)."""

from dataclasses import dataclass

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from .conjugate_gradient import relative_change
from .problem import Grid
from .spheres import ROUNDING, depth_in, sphere_mean


@dataclass(frozen=True)
class IsmvOptions(Options):
    """Settings of iSMV."""

    radius: float = param(5.0, "mm", 0.5, 40.0, "of the sphere, at least two voxels; the mask loses as much")
    tolerance: float = param(1e-4, "", 1e-7, 0.1, "relative change of the background in an iteration at which it stops")
    iterations: int = param(500, "", 1, 5000, "iterations after which it stops in any case")


def ismv(field, weight, mask, geometry, options=IsmvOptions(), progress=None, cancelled=None):
    """Local field: f - B with B replaced by its spherical mean until it is harmonic where the sphere fits.

    Args:
        field: total field, float32 [k, j, i], any unit. weight: not used. mask: bool [k, j, i].
        geometry: voxel size, mm. options: IsmvOptions.
    Returns:
        local field (0 outside `valid`), float32; valid: the mask less the sphere, bool; a sentence where it did not
        converge, or None.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Wen Y et al. 2014, Magn Reson Med 72:1065-1071.
    """
    check_same_shape(field=field, mask=mask)
    radius = max(options.radius, 2 * max(geometry.voxel_size))
    valid = depth_in(mask, geometry) * (1 - ROUNDING) > radius
    if not valid.any():
        return np.zeros(mask.shape, np.float32), valid, None
    grid = Grid(mask, geometry, margin=radius)
    inner = grid.put(valid)
    response = rfftn(sphere_mean(grid.shape, radius, geometry.voxel_size)).real
    middle = np.float32(field[mask].mean(dtype=np.float64))  # so that the change is not measured against an offset
    background = grid.put(np.where(mask, field - middle, 0).astype(np.float32))
    change, done = np.inf, 0
    while done < options.iterations and change > options.tolerance:
        check_cancelled(cancelled)
        if progress is not None:
            progress(done / options.iterations, "background field, iSMV")
        smooth = np.where(inner, irfftn(rfftn(background) * response, grid.shape), background)
        change = relative_change(smooth, background)
        background = smooth
        done += 1
    note = None
    if change > options.tolerance:
        note = (
            f"the background field (iSMV) had not converged after {done} iterations (relative change {change:.1e}, "
            f"asked for {options.tolerance:g}); raise qsm.background.ismv.iterations."
        )
    return np.where(valid, field - middle - grid.take(background), 0).astype(np.float32), valid, note
