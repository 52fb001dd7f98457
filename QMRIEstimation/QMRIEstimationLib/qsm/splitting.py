"""Alternating direction method of multipliers of the total-variation family: the field and the gradients split off."""

import numpy as np

from ..errors import check_cancelled
from ..fft import irfftn, rfftn
from ..kernels import kernel
from ..threads import in_pieces
from .conjugate_gradient import Solution, relative_change
from .dipole import dipole_kernel
from .edge_surfaces import shrink_along
from .operators import adjoint_into, difference_spectrum, shrink_differences

FIELD_PENALTY = np.float32(0.1)  # of the split field; small, for voxels of little weight follow by W^2 over it a step
RELAXATION = np.float32(1.8)  # over-relaxation; below 2


class Splitting:
    """min data(v) + lam |w G chi|_1 with v = d * chi; every step is a transform or works voxel by voxel.

    With a `harmonic` (weak_harmonic.WeakHarmonic) its field is added to d * chi. With `surfaces`
    (edge_surfaces.Surfaces), whose differences are among the free ones, what lies along these has its weight too.

    Reference:
        Bilgic B et al. 2014, Magn Reson Med 72:1444-1459 (gradients); Milovic C et al. 2018, Magn Reson Med
        80:814-821 (field); Boyd S et al. 2011, Found Trends Mach Learn 3:1-122, section 3.4.3 (over-relaxation).
    """

    def __init__(self, problem, lam, ratio, harmonic=None, surfaces=None):
        """`lam`: weight of the variation. `ratio`: penalty of the split gradients over it."""
        self.harmonic, self.surfaces = harmonic, surfaces
        shape = problem.shape
        self.shape, self.voxel_size, self.ratio = shape, problem.geometry.voxel_size, ratio
        self.penalty = np.float32(ratio * lam)
        self.dipole = dipole_kernel(shape, problem.geometry)
        share = FIELD_PENALTY if harmonic is None else FIELD_PENALTY * harmonic.share
        scale = share * self.dipole**2 + self.penalty * difference_spectrum(shape, self.voxel_size)
        scale[0, 0, 0] = 1
        self.inverse = 1 / scale
        self.inverse[0, 0, 0] = 0  # the mean of chi is free
        self.dual, self.split = (np.zeros((3, *shape), np.float32) for _ in range(2))
        self.field_dual, self.held, self.explained, self.adjoint, self.chi = (
            np.zeros(shape, np.float32) for _ in range(5)
        )

    def run(self, data_step, edges_after, iterations, least, tolerance, told, cancelled):
        """Go on from where it stands.

        Args:
            data_step: function of (held, dual), both changed in place. `held` comes as b, for which it finds the v that
                minimises data(v) + FIELD_PENALTY / 2 |v - b|^2, and leaves as v - s; `dual` leaves as s = b - v.
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
            _relax(self.explained, self.held, self.field_dual)
            data_step(self.held, self.field_dual)
            adjoint_into(self.split, self.adjoint, self.voxel_size)
            spectrum = rfftn(self.adjoint)
            held = rfftn(self.held)
            data = held if self.harmonic is None else self.harmonic.data_for_chi(held)
            explained = _solve(data, spectrum, self.dipole, self.inverse, self.penalty)
            if self.harmonic is not None:
                explained += self.harmonic.field(held - explained)
            self.explained = irfftn(explained, self.shape)
            chi = irfftn(spectrum, self.shape)
            edges = edges_after(done, chi)
            shrink_differences(chi, self.dual, self.split, edges, self.voxel_size, 1 / self.ratio, RELAXATION)
            if self.surfaces is not None:
                shrink_along(self.dual, self.split, self.surfaces, 1 / self.ratio)
            done += 1
            if done >= min(least, iterations):  # before, nobody asks
                change = relative_change(chi, self.chi)
            self.chi = chi
        return Solution(self.chi, done, change, change <= tolerance)


def squares(weight, field):
    """Data step of 1/2 |W (v - f)|^2: v = (W^2 f + p b) / (W^2 + p) with the penalty p."""
    squared = weight**2
    flat = squared.reshape(-1), (squared * field).reshape(-1)
    return lambda held, dual: in_pieces(
        lambda first, last: _squares(held.reshape(-1), dual.reshape(-1), *flat, FIELD_PENALTY, first, last), held.size
    )


def _relax(explained, held, dual):
    """b = r d * chi + (1 - r) v + s into `held`, which comes as v - s."""
    flat = [a.reshape(-1) for a in (explained, held, dual)]
    in_pieces(lambda first, last: _relax_voxels(*flat, RELAXATION, first, last), held.size)


def _solve(field, gradients, dipole, inverse, penalty):
    """Spectrum of chi, (p D field + penalty gradients) / (p D^2 + penalty |G|^2), in place of `gradients`.

    Returns:
        That of its field, in place of `field`.
    """
    parts = [a.view(np.float32).reshape(-1, 2) for a in (field, gradients)]
    flat = [a.reshape(-1) for a in (dipole, inverse)]
    in_pieces(lambda first, last: _solve_bins(*parts, *flat, FIELD_PENALTY, penalty, first, last), dipole.size)
    return field


# Slices and one float type let the compiler use vector registers.


@kernel
def _relax_voxels(explained, held, dual, relaxation, first, last):
    explained, held, dual = explained[first:last], held[first:last], dual[first:last]
    rest = np.float32(1) - relaxation
    for n in range(held.size):
        held[n] = relaxation * explained[n] + rest * (held[n] + dual[n]) + dual[n]


@kernel
def _squares(held, dual, squared, known, penalty, first, last):
    held, dual, squared, known = held[first:last], dual[first:last], squared[first:last], known[first:last]
    for n in range(held.size):
        b = held[n]
        v = (known[n] + penalty * b) / (squared[n] + penalty)
        dual[n] = b - v
        held[n] = v + v - b


@kernel
def _solve_bins(field, gradients, dipole, inverse, field_penalty, penalty, first, last):
    """Real and imaginary parts [bin, 2] of the spectra."""
    field, gradients, dipole, inverse = (
        field[first:last],
        gradients[first:last],
        dipole[first:last],
        inverse[first:last],
    )
    for n in range(dipole.size):
        along, across = field_penalty * dipole[n] * inverse[n], penalty * inverse[n]
        real = along * field[n, 0] + across * gradients[n, 0]
        imaginary = along * field[n, 1] + across * gradients[n, 1]
        gradients[n, 0], gradients[n, 1] = real, imaginary
        field[n, 0], field[n, 1] = dipole[n] * real, dipole[n] * imaginary
