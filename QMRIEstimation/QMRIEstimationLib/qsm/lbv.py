"""Background field removal by the Laplace equation with the field at the edge of the brain (LBV)."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..geometry import check_same_shape
from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces
from .conjugate_gradient import conjugate_gradient
from .problem import Grid

_PLANES = 4  # that one thread takes at a time


@dataclass(frozen=True)
class LbvOptions(Options):
    """Settings of LBV."""

    tolerance: float = param(1e-5, "", 1e-7, 0.1, "relative residual of the Laplace equation at which it stops")
    iterations: int = param(1000, "", 1, 10000, "iterations after which it stops in any case")


def lbv(field, weight, mask, geometry, options=LbvOptions(), progress=None, cancelled=None):
    """Local field: the solution of lap(x) = lap(f) within the mask that is 0 in its outermost voxels.

    An error of the field in an outermost voxel is carried inwards whole, so it needs a field that is right there.

    Args:
        field: total field, float32 [k, j, i], any unit. weight: not used. mask: bool [k, j, i].
        geometry: voxel size, mm. options: LbvOptions.
    Returns:
        local field (0 outside `valid`), float32; valid: the mask less one voxel, bool; a sentence where it did not
        converge, or None.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Zhou D et al. 2014, NMR Biomed 27:312-319.
    """
    check_same_shape(field=field, mask=mask)
    valid = ndimage.binary_erosion(mask)
    if not valid.any():
        return np.zeros(mask.shape, np.float32), valid, None
    grid = Grid(mask, geometry, margin=2 * max(geometry.voxel_size))  # so that no stencil reaches round the edge
    inner = grid.put(valid)
    weights = np.array([1 / h**2 for h in geometry.voxel_size], np.float32)
    weights /= weights.sum()
    solution = conjugate_gradient(
        lambda x: minus_laplacian(x, inner, weights),
        minus_laplacian(grid.put(np.where(mask, field, 0).astype(np.float32)), inner, weights),
        options.tolerance,
        options.iterations,
        progress=None if progress is None else lambda fraction: progress(fraction, "background field, LBV"),
        cancelled=cancelled,
    )
    note = None
    if not solution.converged:
        note = (
            f"the background field (LBV) had not converged after {solution.iterations} iterations (relative residual "
            f"{solution.residual:.1e}, asked for {options.tolerance:g}); raise qsm.background.lbv.iterations."
        )
    return grid.take(solution.x), valid, note


def minus_laplacian(x, where, weights):
    """Differences to the two neighbours along each axis times `weights` [k, j, i], float32; 0 where not `where`.

    No voxel of `where` lies at the edge of the grid.
    """
    out = np.zeros_like(x)
    in_pieces(lambda first, last: _stencil(x, where, weights, out, first, last), len(x), _PLANES)
    return out


@kernel
def _stencil(x, where, weights, out, first, last):
    for k in range(first, last):
        for j in range(x.shape[1]):
            for i in range(x.shape[2]):
                if where[k, j, i]:
                    here = 2 * x[k, j, i]
                    out[k, j, i] = (
                        weights[0] * (here - x[k - 1, j, i] - x[k + 1, j, i])
                        + weights[1] * (here - x[k, j - 1, i] - x[k, j + 1, i])
                        + weights[2] * (here - x[k, j, i - 1] - x[k, j, i + 1])
                    )
