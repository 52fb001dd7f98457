"""What the R2* kernels share: one voxel's usable echoes, in units of the noise, and its dephasing factors."""

import numpy as np

from ..kernels import kernel

# Everything but the assumption that there is no NaN or Inf: those are looked for.
FAST = {"contract", "arcp", "reassoc", "nsz"}
ABOVE_FLOOR = 3.0  # noise SDs; pure noise exceeds it in 1.1 % of the samples
STEEPEST = 7.0  # largest R2* times the first echo spacing: the signal falls to 1/1000 from echo to echo
RISING = -3.0  # smallest R2* times the span of the echoes: only noise rises twentyfold


@kernel(fastmath=FAST)
def sinc(cycles):
    """sin(pi c)/(pi c) up to its first zero (Taylor series, error below 3e-7), 0 beyond."""
    if abs(cycles) >= 1.0:
        return 0.0
    q = (np.pi * cycles) ** 2
    tail = 1 - q / 156 * (1 - q / 210 * (1 - q / 272))
    return 1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110 * tail))))


@kernel(fastmath=FAST)
def load_voxel(magnitude, voxel, echo_times, noise_sd, differences, sinc_floor, signal, factor):
    """Fill `signal` (in noise SDs) and `factor` (dephasing) of one voxel; returns the number of usable echoes.

    0 when a value is not finite or fewer than two echoes exceed the noise floor: there is nothing to fit.
    """
    usable = 0
    above = 0
    finite = True
    for e in range(echo_times.size):
        if differences.shape[1] > 0:
            te = echo_times[e]
            factor[e] = sinc(differences[0, voxel] * te)
            factor[e] *= sinc(differences[1, voxel] * te)
            factor[e] *= sinc(differences[2, voxel] * te)
            if not factor[e] >= sinc_floor:  # also when the field is not a number
                break
        signal[e] = magnitude[e, voxel] / noise_sd
        if not abs(signal[e]) < np.inf:
            finite = False
        if signal[e] > ABOVE_FLOOR:
            above += 1
        usable += 1
    return usable if finite and above >= 2 else 0


@kernel(fastmath=FAST)
def plausible(rate, rate_sd, spacing, span):
    """Whether a rate was determined by the data, rather than by the noise or the end of the range.

    Negative rates are kept: around zero they are what the noise makes of a slow decay.
    """
    inside = rate * span > RISING and rate * spacing < STEEPEST
    return inside and rate_sd <= max(rate, 1 / span)
