"""Morphology-enabled dipole inversion (MEDI-L1), with even ventricles where they are known (MEDI+0)."""

from dataclasses import dataclass

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..parameters import Options, param
from .conjugate_gradient import Solution, conjugate_gradient, relative_change
from .dipole import dipole_kernel
from .operators import free_edges, gradient, weighted_roughness

_SMOOTHING = np.float32(1e-6)  # added to squared gradients, rad^2/mm^2 (Liu T et al. 2012)
_INNER_TOLERANCE, _INNER = 0.05, 20  # of the conjugate gradients within one Gauss-Newton step


@dataclass(frozen=True)
class MediOptions(Options):
    """Settings of MEDI."""

    lam: float = param(
        5e-4, "", 1e-7, 1.0, "weight of the variation against half the squared misfit, in rad; 1 / (2 x the toolbox's)"
    )
    edge_share: float = param(0.3, "", 0.0, 0.9, "share of the magnitude's gradients, the strongest, that are free")
    csf: float = param(0.1, "", 0.0, 100.0, "weight of the variance of chi within the ventricles; 0 for MEDI-L1")
    padding: float = param(0.25, "", 0.0, 2.0, "share by which the grid is larger than the brain")
    tolerance: float = param(0.1, "", 1e-5, 0.5, "relative change of chi in one Gauss-Newton step at which it stops")
    iterations: int = param(10, "", 1, 100, "Gauss-Newton steps after which it stops in any case")


def medi(problem, options=MediOptions(), progress=None, cancelled=None):
    """min 1/2 |W (exp(i d * chi) - exp(i f))|^2 + lam |M G chi|_1 + csf / 2 |chi - its mean|^2 in the ventricles.

    Field and chi are in rad of phase between echoes; M is 0 at the strongest gradients of the magnitude and off the
    mask. Misfits of whole turns cost nothing, so a wrap that is left over does no harm.

    Args:
        problem: problem.Problem; without `csf` it is MEDI-L1. options: MediOptions.
    Returns:
        conjugate_gradient.Solution with chi, ppm; `residual` is the last relative change.
    Raises:
        InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Liu T et al. 2012, Magn Reson Med 69:467-476 (nonlinear); Liu J et al. 2012, NeuroImage 59:2560-2568 (edges);
        Liu Z et al. 2018, Magn Reson Med 79:2795-2803 (MEDI+0).
    """
    shape, voxel_size = problem.shape, problem.geometry.voxel_size
    dipole = dipole_kernel(shape, problem.geometry)
    edges = free_edges(problem.image, problem.mask, voxel_size, options.edge_share)
    held = np.stack([(edges >> axis) & 1 == 0 for axis in range(3)])
    squared, phase = problem.weight**2, problem.field * np.float32(problem.phase_per_ppm)

    def dipoles(x):
        return irfftn(rfftn(x) * dipole, shape)

    def uneven(x):
        """What is to vanish in the ventricles."""
        if problem.csf is None or not options.csf:
            return np.float32(0)
        return np.where(problem.csf, np.float32(options.csf) * (x - x[problem.csf].mean()), 0)

    chi = np.zeros(shape, np.float32)
    change, done = np.inf, 0
    while done < options.iterations and change > options.tolerance:
        check_cancelled(cancelled)
        if progress is not None:
            progress(done / options.iterations, "dipole inversion, MEDI")
        flatness = np.float32(options.lam) * held / np.sqrt(gradient(chi, voxel_size) ** 2 + _SMOOTHING)

        def normal(x, flatness=flatness):
            return weighted_roughness(x, flatness, voxel_size) + dipoles(squared * dipoles(x)) + uneven(x)

        misfit = squared * np.sin(dipoles(chi) - phase)
        slope = weighted_roughness(chi, flatness, voxel_size) + dipoles(misfit) + uneven(chi)
        step = conjugate_gradient(normal, -slope, _INNER_TOLERANCE, _INNER, cancelled=cancelled).x
        change = relative_change(chi + step, chi)
        chi = chi + step
        done += 1
    return Solution(chi / np.float32(problem.phase_per_ppm), done, change, change <= options.tolerance)
