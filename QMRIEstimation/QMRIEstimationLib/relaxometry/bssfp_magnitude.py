"""Voxel loop of R2 from the magnitudes of bSSFP alone: sums over evenly spaced phase cycles.

Each cycle taken for one in the middle of the pass band gives a time T2 sin^2(theta_n / 2), to first order in TR over
T1 and T2; the mean of sin^2 over the cycles is 1/2 from two cycles on, that of sin^4 is 3/8 from three.
"""

import math

import numpy as np

from ..kernels import kernel
from .bssfp_steady import FAST, despot2, line_slope
from .bssfp_voxel import load_maps, store


@kernel(fastmath=FAST)
def sum_of_cycles(signal, relative_variance, angles, sines, cosines, r1, tr):
    """R2 from signals [cycle, flip], its noise SD, derivatives by R1 and ln B1, and R2 by squares over it; nan if none.

    The line through the middle of the pass band has E2 where the elliptical one has E2^2, hence the factors 1/2.
    """
    e1 = math.exp(-r1 * tr)
    total, squares, variance, by_r1, by_b1 = 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(len(signal)):
        if line_slope(signal[n], sines, cosines, e1) >= e1:
            continue  # in the band the slope tends to E1, and noise carries it beyond: no time
        rate, sd, rate_by_r1, rate_by_b1 = despot2(signal[n], relative_variance[n], angles, sines, cosines, r1, tr)
        if not rate > 0:
            return math.nan, 0.0, 0.0, 0.0, 0.0
        time = 0.5 / rate
        gain = time / rate
        total += time
        squares += time * time
        variance += (gain * sd) ** 2
        by_r1 += gain * rate_by_r1
        by_b1 += gain * rate_by_b1
    if not total > 0:
        return math.nan, 0.0, 0.0, 0.0, 0.0
    cycles = len(signal)
    consistency = total * math.sqrt(1.5 / (cycles * squares)) if cycles > 2 else 0.0
    r2 = cycles / (2 * total)
    gain = r2 / total
    return r2, gain * math.sqrt(variance), gain * by_r1, gain * by_b1, consistency


@kernel(fastmath=FAST)
def magnitude_chunk(data, maps, cycles, settings, first, last, results):
    """Fit voxels `first` to `last` with magnitudes of `cycles` evenly spaced cycles; the rest as `lore_chunk`.

    data: as there, without phase, and what interpolation left of the noise SD [v].
    results: r2, sd, valid, quality [v].
    """
    magnitude, mask, noise_sd, nominal, share = data
    tr = settings[0]
    quality = results[3]
    flips = nominal.size
    signal, relative_variance = np.empty((cycles, flips)), np.empty((cycles, flips))
    angles, sines, cosines = np.empty(flips), np.empty(flips), np.empty(flips)
    for v in range(first, last):
        if not mask[v]:
            continue
        r1, r1_sd, b1, b1_sd, usable = load_maps(maps, v, nominal, angles, sines, cosines)
        for m in range(len(magnitude)):
            amount = magnitude[m, v] / noise_sd
            usable = usable and 0 <= amount < np.inf
            # the first-order excess of a Rician mean is 1/2 over the signal
            squared = max(amount * amount - 1, 1.0)
            signal[m % cycles, m // cycles] = math.sqrt(squared)
            relative_variance[m % cycles, m // cycles] = share[v] * share[v] / squared
        if not usable:
            continue
        rate, noise_part, by_r1, by_b1, consistency = sum_of_cycles(
            signal, relative_variance, angles, sines, cosines, r1, tr
        )
        if rate > 0 and store(v, rate, noise_part, by_r1, by_b1, (r1, r1_sd, b1, b1_sd), settings, results):
            quality[v] = consistency
