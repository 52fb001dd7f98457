"""Rapid two-step inversion: what the well-conditioned part of k-space says, completed by total variation (RTS)."""

from dataclasses import dataclass

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..parameters import Options, param
from .conjugate_gradient import Solution, conjugate_gradient, relative_change
from .dipole import dipole_kernel
from .operators import adjoint_into, difference_spectrum, shrink_differences

_PENALTY = 100.0  # of the split gradients, fixed; the paper balances it. Best of four tried on one noise-free phantom
_FIRST_STEPS = 8  # of conjugate gradients; with 4 the deep nuclei keep 70 % only, more let noise into the cone


@dataclass(frozen=True)
class RtsOptions(Options):
    """Settings of RTS."""

    threshold: float = param(0.15, "", 0.01, 0.66, "|D| above which k-space is taken as known")
    mu: float = param(1e5, "", 1.0, 1e8, "weight of the known part against the variation")
    padding: float = param(0.25, "", 0.0, 2.0, "share by which the grid is larger than the brain")
    tolerance: float = param(1e-2, "", 1e-5, 0.5, "relative change of chi in one iteration at which it stops")
    iterations: int = param(20, "", 1, 1000, "iterations after which it stops in any case")


def rts(problem, options=RtsOptions(), progress=None, cancelled=None):
    """min |G chi|_1 + mu/2 |[|D| > threshold] (chi - chi_1)|^2 with chi_1 from a few steps on D chi = f.

    Args:
        problem: problem.Problem; its weight is not used. options: RtsOptions.
    Returns:
        conjugate_gradient.Solution with chi, ppm; `residual` is the last relative change.
    Raises:
        InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Kames C et al. 2018, NeuroImage 167:276-283.
    """
    shape, voxel_size = problem.shape, problem.geometry.voxel_size
    dipole = dipole_kernel(shape, problem.geometry)
    first = conjugate_gradient(
        lambda x: irfftn(rfftn(x) * dipole**2, shape),
        irfftn(rfftn(problem.field) * dipole, shape),
        0.0,
        _FIRST_STEPS,
        cancelled=cancelled,
    ).x
    weight = np.float32(options.mu) * (np.abs(dipole) > options.threshold)
    known = weight * rfftn(first)
    inverse = weight + np.float32(_PENALTY) * difference_spectrum(shape, voxel_size)
    inverse[0, 0, 0] = 1
    inverse = 1 / inverse
    inverse[0, 0, 0] = 0  # the mean of chi is free
    dual, split = (np.zeros((3, *shape), np.float32) for _ in range(2))
    chi, adjoint = (np.zeros(shape, np.float32) for _ in range(2))
    no_edges = np.zeros(shape, np.uint8)
    change, done = np.inf, 0
    while done < options.iterations and change > options.tolerance:
        check_cancelled(cancelled)
        if progress is not None:
            progress(done / options.iterations, "dipole inversion, RTS")
        adjoint_into(split, adjoint, voxel_size)
        new = irfftn((known + np.float32(_PENALTY) * rfftn(adjoint)) * inverse, shape)
        shrink_differences(new, dual, split, no_edges, voxel_size, 1 / _PENALTY)
        change = relative_change(new, chi)
        chi = new
        done += 1
    return Solution(chi, done, change, change <= options.tolerance)
