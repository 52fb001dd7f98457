"""Alternating direction method of multipliers of the total-variation family: the field and the gradients split off."""

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..kernels import kernel
from ..threads import in_pieces
from .conjugate_gradient import Solution, relative_change
from .dipole import dipole_kernel
from .operators import adjoint_into, difference_spectrum, shrink_differences


class Splitting:
    """min data(v) + lam |w G chi|_1 with v = d * chi; every step is a transform or works voxel by voxel.

    Reference:
        Bilgic B et al. 2014, Magn Reson Med 72:1444-1459 (gradients); Milovic C et al. 2018, Magn Reson Med
        80:814-821 (field).
    """

    def __init__(self, problem, lam, ratio):
        """`lam`: weight of the variation. `ratio`: penalty of the split gradients over it; the field has 1."""
        shape = problem.shape
        self.shape, self.voxel_size, self.ratio = shape, problem.geometry.voxel_size, ratio
        self.penalty = np.float32(ratio * lam)
        self.dipole = dipole_kernel(shape, problem.geometry)
        scale = self.dipole**2 + self.penalty * difference_spectrum(shape, self.voxel_size)
        scale[0, 0, 0] = 1
        self.inverse = 1 / scale
        self.inverse[0, 0, 0] = 0  # the mean of chi is free
        self.dual, self.split = (np.zeros((3, *shape), np.float32) for _ in range(2))
        self.field_dual, self.estimate, self.adjoint, self.chi = (np.zeros(shape, np.float32) for _ in range(4))

    def run(self, data_step, edges_after, iterations, least, tolerance, told, cancelled):
        """Go on from where it stands.

        Args:
            data_step: function of (estimate, dual), both changed in place. With b = estimate + dual it finds the v that
                minimises data(v) + 1/2 |v - b|^2 and leaves v - s in `estimate` and s = b - v in `dual`.
            edges_after: function of (iterations done, chi) that gives the edges, as `free_edges` does.
            iterations, least: at most and at least. tolerance: relative change of chi at which it stops.
            told: function of the iterations done.
        Returns:
            Solution; `residual` is the last relative change.
        """
        change, done = np.inf, 0
        while done < iterations and (change > tolerance or done < least):
            check_cancelled(cancelled)
            told(done)
            data_step(self.estimate, self.field_dual)
            adjoint_into(self.split, self.adjoint, self.voxel_size)
            spectrum = rfftn(self.adjoint)
            _solve(rfftn(self.estimate), spectrum, self.dipole, self.inverse, self.penalty)
            self.estimate = irfftn(spectrum * self.dipole, self.shape)
            chi = irfftn(spectrum, self.shape)
            edges = edges_after(done, chi)
            shrink_differences(chi, self.dual, self.split, edges, self.voxel_size, 1 / self.ratio)
            change = relative_change(chi, self.chi)
            self.chi = chi
            done += 1
        return Solution(self.chi, done, change, change <= tolerance)


def squares(weight, field):
    """Data step of 1/2 |W (v - f)|^2: v = (W^2 f + b) / (W^2 + 1)."""
    squared = weight**2
    known = (squared * field).reshape(-1)
    squared = squared.reshape(-1)
    return lambda estimate, dual: in_pieces(
        lambda first, last: _squares(estimate.reshape(-1), dual.reshape(-1), squared, known, first, last), estimate.size
    )


def _solve(field, gradients, dipole, inverse, penalty):
    """Spectrum of chi, (D field + penalty gradients) / (D^2 + penalty |G|^2), in place of `gradients`."""
    flat = [a.reshape(-1) for a in (field, gradients, dipole, inverse)]
    in_pieces(lambda first, last: _solve_bins(*flat, penalty, first, last), field.size)


@kernel
def _squares(estimate, dual, squared, known, first, last):
    for n in range(first, last):
        b = estimate[n] + dual[n]
        v = (known[n] + b) / (squared[n] + 1)
        dual[n] = b - v
        estimate[n] = 2 * v - b


@kernel
def _solve_bins(field, gradients, dipole, inverse, penalty, first, last):
    for n in range(first, last):
        gradients[n] = (dipole[n] * field[n] + penalty * gradients[n]) * inverse[n]
