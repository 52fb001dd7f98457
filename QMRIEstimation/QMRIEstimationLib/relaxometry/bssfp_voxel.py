"""What the bSSFP loops share: one voxel's R1 and B1, and its result with the SD of all that went into it."""

import math

import numpy as np

from ..kernels import kernel
from .bssfp_steady import FAST, sine_cosine

STEEPEST = 7.0  # largest R2 TR: nothing of the magnetisation reaches the next pulse


@kernel(fastmath=FAST)
def load_maps(maps, v, nominal, angles, sines, cosines):
    """R1, its SD, B1, its SD, and whether they are usable; fills the true flip angles."""
    r1, r1_sd, b1, b1_sd = maps[0][v], maps[1][v], maps[2][v], maps[3][v]
    usable = 0 < r1 < np.inf and 0 < b1 < np.inf and 0 <= r1_sd < np.inf and 0 <= b1_sd < np.inf
    for f in range(nominal.size):
        angles[f] = b1 * nominal[f]
        usable = usable and angles[f] < math.pi
        if usable:
            sines[f], cosines[f] = sine_cosine(angles[f])
    return r1, r1_sd, b1, b1_sd, usable


@kernel(fastmath=FAST)
def store(v, rate, noise_part, by_r1, by_b1, known, settings, results):
    """Write R2 and its SD where the data determined them; returns whether they did.

    by_b1 is the derivative by the logarithm of B1. Where R1 comes from flip angles corrected by the same B1 map, R1
    follows B1 with slope 2 R1 / B1, and what B1 does to R2 through both nearly cancels.
    """
    r1, r1_sd, b1, b1_sd = known
    tr, gain, shared = settings
    slope = 2 * shared * r1 / b1
    by_b1 = by_b1 / b1 + by_r1 * slope
    own = max(r1_sd * r1_sd - (slope * b1_sd) ** 2, 0.0)
    variance = noise_part * noise_part + by_r1 * by_r1 * own + (by_b1 * b1_sd) ** 2
    rate, sd = gain * rate, gain * math.sqrt(variance)
    if not (0 < rate < STEEPEST / tr and sd <= rate):
        return False
    r2, r2_sd, valid = results[:3]
    r2[v], r2_sd[v], valid[v] = rate, sd, True
    return True
