"""Echoes of a spin-echo train whose refocusing pulses are not 180 degrees, by extended phase graphs."""

from functools import cache

import numpy as np

from ..kernels import kernel

SMALLEST_FLIP = 0.3 * np.pi  # rad; below it hardly a spin echo is left
FLIP_NODES = 141  # of the table, from there to 180 degrees
DECAY_NODES = 33
MOST_DECAY = 2.0  # R2 times the echo spacing, last node; beyond, an echo is an eighth of the one before
TYPICAL_R1 = 1.0  # 1/s; stimulated echoes decay with it, and halving or doubling it moves R2 by less than 2 %


@kernel
def echo_train(flip, decay, recovery, echoes):
    """Echo amplitudes after a perfect excitation, refocused by `flip` (rad) about the axis of the magnetisation (CPMG).

    All configurations stay real. Magnetisation that recovers between the pulses never comes to lie in an echo.

    Args:
        decay, recovery: R2 and R1 times the echo spacing.
        echoes: float64 [echo], filled.
    Reference:
        Hennig J 1988, J Magn Reson 78:397-407.
    """
    half2, half1 = np.exp(-decay / 2), np.exp(-recovery / 2)
    cosine, sine = np.cos(flip), np.sin(flip)
    keep, swap = (1 + cosine) / 2, (1 - cosine) / 2
    size = echoes.size + 2
    f, g, z = np.zeros(2 * size), np.zeros(2 * size), np.zeros(2 * size)  # orders in half spacings
    f[0] = 1.0
    reach = 0
    for e in range(echoes.size):
        _half_spacing(f, g, z, half2, half1, reach)
        reach += 1
        for k in range(1, reach + 1):
            from_f, from_g, from_z = f[k], g[k], z[k]
            f[k] = keep * from_f + swap * from_g + sine * from_z
            g[k] = swap * from_f + keep * from_g - sine * from_z
            z[k] = 0.5 * sine * (from_g - from_f) + cosine * from_z
        _half_spacing(f, g, z, half2, half1, reach)
        reach += 1
        echoes[e] = f[0]


@kernel
def _half_spacing(f, g, z, half2, half1, reach):
    """Relax and dephase by one order: f goes up, g (the conjugates of negative orders) comes down."""
    for k in range(reach + 1, 0, -1):
        f[k] = half2 * f[k - 1]
    for k in range(reach + 1):
        g[k] = half2 * g[k + 1]
    f[0] = g[0]
    for k in range(1, reach + 1):
        z[k] *= half1


@cache
def stimulated_table(count, echo_spacing):
    """Logarithm of the echoes over exp(-R2 TE): float64 [flip, decay, count], flips and decays evenly spaced."""
    table = np.empty((FLIP_NODES, DECAY_NODES, count))
    _fill_table(np.linspace(SMALLEST_FLIP, np.pi, FLIP_NODES), np.linspace(0, MOST_DECAY, DECAY_NODES),
                TYPICAL_R1 * echo_spacing, table)  # fmt: skip
    table.setflags(write=False)
    return table


@kernel
def _fill_table(flips, decays, recovery, table):
    for n in range(flips.size):
        for d in range(decays.size):
            echo_train(flips[n], decays[d], recovery, table[n, d])
            for e in range(table.shape[2]):
                table[n, d, e] = np.log(table[n, d, e]) + decays[d] * (e + 1)


@kernel
def stimulated(table, flip, decay, log_factor, slope):
    """Fill the logarithm of the echoes over exp(-R2 TE) and its derivative by the decay; flip: rad, up to pi."""
    at_flip = (flip - SMALLEST_FLIP) / (np.pi - SMALLEST_FLIP) * (FLIP_NODES - 1)
    row = min(max(int(at_flip), 0), FLIP_NODES - 2)
    u = at_flip - row
    at_decay = min(max(decay, 0.0), MOST_DECAY) / MOST_DECAY * (DECAY_NODES - 1)
    column = min(int(at_decay), DECAY_NODES - 2)
    v = at_decay - column
    step = MOST_DECAY / (DECAY_NODES - 1)
    for e in range(log_factor.size):
        low = (1 - u) * table[row, column, e] + u * table[row + 1, column, e]
        high = (1 - u) * table[row, column + 1, e] + u * table[row + 1, column + 1, e]
        log_factor[e] = low + v * (high - low)
        slope[e] = (high - low) / step
