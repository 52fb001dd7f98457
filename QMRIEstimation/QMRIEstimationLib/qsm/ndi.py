"""Nonlinear dipole inversion by plain gradient descent (NDI), which regularises by stopping."""

from dataclasses import dataclass

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..parameters import Options, param
from .conjugate_gradient import Solution, relative_change
from .dipole import dipole_kernel


@dataclass(frozen=True)
class NdiOptions(Options):
    """Settings of NDI."""

    step: float = param(2.0, "", 0.01, 4.0, "length of a step; above 4.5 it does not converge")
    padding: float = param(0.25, "", 0.0, 2.0, "share by which the grid is larger than the brain")
    tolerance: float = param(1e-3, "", 1e-5, 0.5, "relative change of chi in one step at which it stops")
    iterations: int = param(200, "", 1, 5000, "steps after which it stops in any case; more let noise in")


def ndi(problem, options=NdiOptions(), progress=None, cancelled=None):
    """Steps down 1/2 |W (exp(i d * chi) - exp(i f))|^2 from 0: chi -= step D W^2 sin(d * chi - f), in rad.

    Args:
        problem: problem.Problem; its weight is divided by its largest. options: NdiOptions.
    Returns:
        conjugate_gradient.Solution with chi, ppm; `residual` is the last relative change.
    Raises:
        InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Polak D et al. 2020, NMR Biomed 33:e4271.
    """
    dipole = dipole_kernel(problem.shape, problem.geometry)
    largest = problem.weight.max()
    squared = (problem.weight / largest if largest else problem.weight) ** 2
    phase = problem.field * np.float32(problem.phase_per_ppm)
    chi = np.zeros(problem.shape, np.float32)
    change, done = np.inf, 0
    while done < options.iterations and change > options.tolerance:
        check_cancelled(cancelled)
        if progress is not None:
            progress(done / options.iterations, "dipole inversion, NDI")
        misfit = squared * np.sin(irfftn(rfftn(chi) * dipole, problem.shape) - phase)
        new = chi - np.float32(options.step) * irfftn(rfftn(misfit) * dipole, problem.shape)
        change = relative_change(new, chi)
        chi = new
        done += 1
    # It is the count of steps that regularises, so reaching it is no failure.
    return Solution(chi / np.float32(problem.phase_per_ppm), done, change, True)
