"""Dipole inversion by weighted least squares with total variation that spares the edges of the magnitude."""

from dataclasses import dataclass

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces
from .conjugate_gradient import Solution, relative_change
from .dipole import dipole_kernel
from .operators import adjoint_into, difference_spectrum, free_edges, shrink_differences

_PENALTY = 100.0  # weight of the split gradients over lam; of the split field it is 1


@dataclass(frozen=True)
class TvOptions(Options):
    """Settings of the total-variation inversion."""

    lam: float = param(5e-5, "", 1e-7, 0.1, "weight of the variation of chi against the squared misfit of the field")
    edge_share: float = param(0.3, "", 0.0, 0.9, "share of the magnitude's gradients, the strongest, that are edges")
    edge_factor: float = param(0.1, "", 0.0, 1.0, "weight of the variation at those edges")
    padding: float = param(0.25, "", 0.0, 2.0, "share by which the grid is larger than the brain")
    tolerance: float = param(1e-2, "", 1e-5, 0.5, "relative change of chi in one iteration at which it stops")
    iterations: int = param(60, "", 1, 2000, "iterations after which it stops in any case")


def total_variation(problem, options=TvOptions(), progress=None, cancelled=None):
    """min 1/2 |W (d * chi - f)|^2 + lam |w G chi|_1 by the alternating direction method of multipliers.

    The field and the gradients are split off, so that every step is a transform or works voxel by voxel. Outside
    the mask W is 0 and chi varies freely: what the background removal left there has its sources.

    Args:
        problem: problem.Problem; the strongest gradients of its image are the edges.
        options: TvOptions.
    Returns:
        conjugate_gradient.Solution with chi (ppm, no absolute zero); `residual` is the last relative change.
    Raises:
        InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Bilgic B et al. 2014, Magn Reson Med 72:1444-1459 (splitting); Milovic C et al. 2018, Magn Reson Med
        80:814-821 (weighted data, second split); Liu J et al. 2012, NeuroImage 59:2560-2568 (edges).
    """
    shape, voxel_size = problem.shape, problem.geometry.voxel_size
    penalty = np.float32(_PENALTY * options.lam)
    dipole = dipole_kernel(shape, problem.geometry)
    scale = dipole**2 + penalty * difference_spectrum(shape, voxel_size)
    scale[0, 0, 0] = 1
    inverse = 1 / scale
    inverse[0, 0, 0] = 0  # the mean of chi is free
    edges = free_edges(problem.image, problem.mask, voxel_size, options.edge_share)
    squared = problem.weight**2
    known = squared * problem.field
    dual, split = (np.zeros((3, *shape), np.float32) for _ in range(2))
    field_dual, estimate, adjoint, before = (np.zeros(shape, np.float32) for _ in range(4))
    change, done = np.inf, 0
    while done < options.iterations and change > options.tolerance:
        check_cancelled(cancelled)
        if progress is not None:
            progress(done / options.iterations, "dipole inversion, total variation")
        _fit_field(estimate, field_dual, squared, known)
        adjoint_into(split, adjoint, voxel_size)
        spectrum = rfftn(adjoint)
        _solve(rfftn(estimate), spectrum, dipole, inverse, penalty)
        estimate = irfftn(spectrum * dipole, shape)
        chi = irfftn(spectrum, shape)
        shrink_differences(chi, dual, split, edges, voxel_size, options.lam / penalty, options.edge_factor)
        change = relative_change(chi, before)
        before = chi
        done += 1
    return Solution(before, done, change, change <= options.tolerance)


def _fit_field(estimate, dual, squared, known):
    """v = (W^2 f + b) / (W^2 + 1) with b = d * chi + s; s = b - v; leaves v - s in `estimate`."""
    flat = [a.reshape(-1) for a in (estimate, dual, squared, known)]
    in_pieces(lambda first, last: _fit_voxels(*flat, first, last), estimate.size)


def _solve(field, gradients, dipole, inverse, penalty):
    """Spectrum of chi, (D field + penalty gradients) / (D^2 + penalty |G|^2), in place of `gradients`."""
    flat = [a.reshape(-1) for a in (field, gradients, dipole, inverse)]
    in_pieces(lambda first, last: _solve_bins(*flat, penalty, first, last), field.size)


@kernel
def _fit_voxels(estimate, dual, squared, known, first, last):
    for n in range(first, last):
        b = estimate[n] + dual[n]
        v = (known[n] + b) / (squared[n] + 1)
        dual[n] = b - v
        estimate[n] = 2 * v - b


@kernel
def _solve_bins(field, gradients, dipole, inverse, penalty, first, last):
    for n in range(first, last):
        gradients[n] = (dipole[n] * field[n] + penalty * gradients[n]) * inverse[n]
