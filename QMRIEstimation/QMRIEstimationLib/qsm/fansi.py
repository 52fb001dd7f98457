"""Total variation with the phase itself as data (FANSI, nonlinear)."""

from dataclasses import dataclass

import numpy as np

from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces
from .conjugate_gradient import Solution
from .operators import free_edges
from .splitting import FIELD_PENALTY, Splitting

_RATIO = 100.0  # penalty of the split gradients over the weight of the variation, the authors' choice
_NEWTON, _SMALL = 10, 1e-6  # steps at most, and the change (rad) that ends them


@dataclass(frozen=True)
class FansiOptions(Options):
    """Settings of FANSI."""

    lam: float = param(1e-4, "", 1e-7, 0.1, "weight of the variation against the squared misfit, both in rad")
    padding: float = param(0.25, "", 0.0, 2.0, "share by which the grid is larger than the brain")
    tolerance: float = param(5e-3, "", 1e-5, 0.5, "relative change of chi in one iteration at which it stops")
    iterations: int = param(150, "", 1, 2000, "iterations after which it stops in any case")


def fansi(problem, options=FansiOptions(), progress=None, cancelled=None):
    """min 1/2 |W (exp(i d * chi) - exp(i f))|^2 + lam |G chi|_1, field and chi in rad of phase between echoes.

    Args:
        problem: problem.Problem. options: FansiOptions.
    Returns:
        conjugate_gradient.Solution with chi, ppm; `residual` is the last relative change.
    Raises:
        InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Milovic C et al. 2018, Magn Reson Med 80:814-821.
    """
    edges = free_edges(problem.image, problem.mask, problem.geometry.voxel_size, 0)

    def told(done):
        if progress is not None:
            progress(done / options.iterations, "dipole inversion, FANSI")

    scale = np.float32(problem.phase_per_ppm)
    found = Splitting(problem, options.lam, _RATIO).run(
        _phases(problem.weight, problem.field * scale),
        lambda done, chi: edges,
        options.iterations,
        1,
        options.tolerance,
        told,
        cancelled,
    )
    return Solution(found.x / scale, found.iterations, found.residual, found.converged)


def _phases(weight, phase):
    """Data step of W^2 (1 - cos(v - f)): W^2 sin(v - f) + p (v - b) = 0 with the penalty p, by Newton from b."""
    flat = (weight**2).reshape(-1), phase.reshape(-1)
    return lambda held, dual: in_pieces(
        lambda first, last: _newton(held.reshape(-1), dual.reshape(-1), *flat, FIELD_PENALTY, first, last), held.size
    )


@kernel
def _newton(held, dual, squared, phase, penalty, first, last):
    for n in range(first, last):
        b, w = held[n], squared[n]
        # The turn of f nearest to b, where the sine is about its argument, is where the solution lies.
        turns = np.float32(2 * np.pi) * np.round((b - phase[n]) / np.float32(2 * np.pi))
        target = phase[n] + turns
        v = (w * target + penalty * b) / (w + penalty)
        for _ in range(_NEWTON):
            slope = w * np.cos(v - target) + penalty
            step = (w * np.sin(v - target) + penalty * (v - b)) / max(slope, penalty)
            v -= step
            if abs(step) < _SMALL:
                break
        dual[n] = b - v
        held[n] = 2 * v - b
