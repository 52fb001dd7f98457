"""Mean and variance of a magnitude whose real and imaginary parts carry Gaussian noise."""

from functools import cache

import numpy as np
from scipy.special import i0e, i1e

from ..kernels import kernel

STEP = 1 / 16  # of the table below, in noise SDs; cubic interpolation is then within 1e-7
TABLE_END = 16.0  # beyond it the asymptotic series is within 1e-8
FLOOR_MEAN = np.sqrt(np.pi / 2)  # mean magnitude of pure noise of SD 1


def rician_mean(signal):
    """Mean magnitude m of a true signal s, both in units of the noise SD of one channel.

    m = sqrt(pi/2) [(1 + 2x) I0e(x) + 2x I1e(x)], x = s^2/4.

    >>> round(float(rician_mean(0.0)), 6)
    1.253314

    Reference:
        Gudbjartsson H, Patz S 1995, Magn Reson Med 34:910-914.
    """
    x = np.square(signal) / 4
    return FLOOR_MEAN * ((1 + 2 * x) * i0e(x) + 2 * x * i1e(x))


def rician_slope(signal):
    """Derivative dm/ds of `rician_mean`: sqrt(pi/2) s/2 [I0e(x) + I1e(x)], x = s^2/4."""
    x = np.square(signal) / 4
    return FLOOR_MEAN * signal / 2 * (i0e(x) + i1e(x))


@cache
def rician_table():
    """What `mean_and_slope` interpolates in: float64 [n, 2], mean and slope (per step) every STEP."""
    nodes = np.arange(0, TABLE_END + 1.5 * STEP, STEP)
    table = np.stack([rician_mean(nodes), STEP * rician_slope(nodes)], axis=1)
    table.setflags(write=False)
    return table


@kernel
def mean_and_slope(signal, table):
    """`rician_mean` and `rician_slope` of one number inside a kernel."""
    if signal < TABLE_END:
        place = signal / STEP
        node = int(place)
        u = place - node
        low, low_slope = table[node, 0], table[node, 1]
        rise, high_slope = table[node + 1, 0] - low, table[node + 1, 1]
        c2 = 3 * rise - 2 * low_slope - high_slope
        c3 = low_slope + high_slope - 2 * rise
        mean = low + u * (low_slope + u * (c2 + u * c3))
        slope = (low_slope + u * (2 * c2 + u * 3 * c3)) / STEP
    else:
        inverse = 1 / signal
        q = inverse * inverse
        mean = signal + inverse * (0.5 + q * (0.125 + q * 0.1875))
        slope = 1 - q * (0.5 + q * (0.375 + q * 0.9375))
    return mean, slope
