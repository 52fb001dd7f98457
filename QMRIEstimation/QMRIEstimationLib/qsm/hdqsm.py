"""Hybrid data fidelity (HD-QSM): a robust first pass finds the voxels that no susceptibility explains."""

from dataclasses import dataclass

import numpy as np

from ..fft import irfftn, rfftn
from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces
from .operators import free_edges
from .splitting import FIELD_PENALTY, Splitting, squares

_RATIO = 10.0  # penalty of the split gradients over the weight of the variation, the authors' choice


@dataclass(frozen=True)
class HdQsmOptions(Options):
    """Settings of HD-QSM."""

    lam: float = param(
        1.6e-5, "", 1e-7, 0.1, "weight of the variation in the second pass; its square root in the first"
    )
    first_iterations: int = param(20, "", 1, 1000, "iterations of the first pass, with the absolute misfit")
    padding: float = param(0.25, "", 0.0, 2.0, "share by which the grid is larger than the brain")
    tolerance: float = param(1e-2, "", 1e-5, 0.5, "relative change of chi in one iteration at which it stops")
    iterations: int = param(80, "", 1, 2000, "iterations of the second pass after which it stops in any case")


def hdqsm(problem, options=HdQsmOptions(), progress=None, cancelled=None):
    """min |W (d * chi - f)|_1, then 1/2 |W r (d * chi - f)|^2, both with total variation.

    The first pass is not drawn by outliers. Its residual gives r, which lowers the weight of the voxels that it could
    not explain in the second pass, which starts from it.
    r is the usual misfit over the voxel's, at most 1: our rule, the paper was not read.

    Args:
        problem: problem.Problem. options: HdQsmOptions.
    Returns:
        conjugate_gradient.Solution with chi, ppm; `residual` is the last relative change.
    Raises:
        InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Lambert M et al. 2022, Magn Reson Med 88:962-972.
    """
    edges = free_edges(problem.image, problem.mask, problem.geometry.voxel_size, 0)
    total = options.first_iterations + options.iterations

    def told(before):
        def tell(done):
            if progress is not None:
                progress((before + done) / total, "dipole inversion, HD-QSM")

        return tell

    def all_edges(done, chi):
        return edges

    robust = Splitting(problem, np.sqrt(options.lam), np.sqrt(_RATIO))
    count = options.first_iterations
    step = _absolute(problem.weight, problem.field)
    first = robust.run(step, all_edges, count, count, options.tolerance, told(0), cancelled)
    misfit = np.abs(irfftn(rfftn(first.x) * robust.dipole, problem.shape) - problem.field) * problem.weight
    usual = np.sqrt(np.mean(misfit[problem.mask] ** 2)) if problem.mask.any() else 0
    doubt = np.minimum(1, usual / np.maximum(misfit, np.float32(1e-12))).astype(np.float32)
    second = Splitting(problem, options.lam, _RATIO)
    second.chi, second.explained = first.x, irfftn(rfftn(first.x) * second.dipole, problem.shape)
    second.held = second.explained.copy()
    step = squares(problem.weight * doubt, problem.field)
    return second.run(step, all_edges, options.iterations, 1, options.tolerance, told(count), cancelled)


def _absolute(weight, field):
    """Data step of |W (v - f)|_1: v = f + soft(b - f, W / p) with the penalty p."""
    flat = (weight / FIELD_PENALTY).reshape(-1), field.reshape(-1)
    return lambda held, dual: in_pieces(
        lambda first, last: _soften(held.reshape(-1), dual.reshape(-1), *flat, first, last), held.size
    )


@kernel
def _soften(held, dual, limit, field, first, last):
    for n in range(first, last):
        b = held[n]
        rest = min(max(b - field[n], -limit[n]), limit[n])
        dual[n] = rest
        held[n] = b - 2 * rest
