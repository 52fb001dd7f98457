"""Multi-echo spin echo of the digital patient by a sum over isochromats; the fit of R2 shares nothing with it."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces
from .sequences import B1_AXIS, CLASSES

ISOCHROMATS = 96  # evenly over one turn each half spacing; N are exact up to N / 2 refocusing pulses
REPETITIONS = 4  # until the magnetisation before the excitation is steady to 1e-4 even in fluid


@dataclass(frozen=True)
class MultiSpinEcho:
    """Multi-echo spin echo (CPMG) with crushers: repetition_time, echo_times (s, multiples of the first), angles (rad).

    The refocusing pulses are `refocusing` about the axis of the magnetisation and, as the excitation `flip_angle`,
    scale with the transmit field; what they fail to refocus comes back as stimulated echoes.
    """

    repetition_time: float
    echo_times: tuple
    flip_angle: float = math.pi / 2
    refocusing: float = math.pi
    spin_echo: ClassVar[bool] = True

    def amplitudes(self, r1, r2, echo):
        """Magnitude of one echo (0 for the first) for M0 = 1, its decay included, float64 [class, B1_AXIS]."""
        return np.abs(_trains(self, tuple(r1), tuple(r2))[:, :, echo])


@lru_cache(4)
def _trains(sequence, r1, r2):
    """All echoes, which the runs of single echoes ask for in turn, float64 [class, B1_AXIS, echo]."""
    out = np.empty((len(r1), len(B1_AXIS), len(sequence.echo_times)))
    rates = np.array(r1), np.array(r2)
    protocol = sequence.flip_angle, sequence.refocusing, sequence.echo_times[0], sequence.repetition_time

    def piece(first, last):
        _fill_trains(*rates, B1_AXIS, *protocol, first, last, out)

    in_pieces(piece, len(r1), CLASSES)
    return out


@kernel
def _fill_trains(r1, r2, b1_axis, excitation, refocusing, spacing, tr, first, last, out):
    m = np.empty((3, ISOCHROMATS))
    for c in range(first, last):
        for n in range(len(b1_axis)):
            angles = excitation * b1_axis[n], refocusing * b1_axis[n]
            start = 1.0
            rest = math.exp(-(tr - spacing * out.shape[2]) * r1[c])
            for _ in range(REPETITIONS):
                left = isochromat_train(start, *angles, spacing * r1[c], spacing * r2[c], m, out[c, n])
                start = 1 + (left - 1) * rest


@kernel
def isochromat_train(start, excitation, refocusing, recovery, decay, m, echoes):
    """Fill the echoes (along y) of magnetisation `start`, and return the longitudinal magnetisation that is left.

    The excitation turns about x and the refocusing pulses about y. In each half spacing isochromat n turns about z by
    (n + 1/2) / N of a full turn, as the crushers do across a voxel.

    Args:
        recovery, decay: R1 and R2 times the echo spacing. m: float64 [3, N], scratch. echoes: float64 [echo].
    """
    count = m.shape[1]
    half1, half2 = math.exp(-recovery / 2), math.exp(-decay / 2)
    cosine, sine = math.cos(refocusing), math.sin(refocusing)
    m[0], m[1], m[2] = 0.0, start * math.sin(excitation), start * math.cos(excitation)
    for e in range(echoes.size):
        total = 0.0
        for n in range(count):
            turn = 2 * math.pi * (n + 0.5) / count
            c, s = half2 * math.cos(turn), half2 * math.sin(turn)
            x, y, z = c * m[0, n] - s * m[1, n], s * m[0, n] + c * m[1, n], 1 + (m[2, n] - 1) * half1
            x, z = cosine * x + sine * z, cosine * z - sine * x
            m[0, n], m[1, n], m[2, n] = c * x - s * y, s * x + c * y, 1 + (z - 1) * half1
            total += m[1, n]
        echoes[e] = total / count
    left = 0.0
    for n in range(count):
        left += m[2, n]
    return left / count
