"""Imperfect RF spoiling: how far the signal of a spoiled gradient echo departs from the ideal one, by extended phase
graphs (EPG).

The refocused echoes of earlier pulses add to every new one. What they do is expressed as the ratio of the true to the
ideal signal at the same flip angle rather than as a corrected flip angle: near the Ernst angle no angle of the ideal
formula reaches the true signal, while the ratio is smooth everywhere.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..kernels import kernel

FLIP_STEP = np.deg2rad(0.5)  # of the table; straight lines between are within 1e-5 of the ratio
LOWEST_R1, HIGHEST_R1 = 0.2, 10.0  # 1/s, ends of the table; beyond them the ratio of the end holds
R1_NODES = 64  # even steps of ln R1; straight lines between are within 2e-4 of the ratio in tissue
LOWEST_R2, HIGHEST_R2 = 0.5, 40.0  # 1/s, ends of the table over R2
R2_NODES = 25  # even steps of ln R2; straight lines between are within 1.5e-3 of the ratio
CHEBYSHEV = 9  # values of R1 from which the table over R2 is interpolated: within 1e-4 for tissue, 5e-3 for free water
LEFT_OUT = 1e-5  # echoes weaker than this by R2 alone are not followed
WATER_R1, WATER_R2 = 0.24, 0.5  # 1/s, cerebrospinal fluid
TISSUE_R2, R1_SCALE = 14.0, 0.33  # 1/s, see typical_r2

_INCREMENTS = {"siemens": 50.0, "ge": 115.4, "philips": 150.0}  # degrees


@dataclass(frozen=True)
class RfSpoiling:
    """How a sequence spoils.

    Attributes:
        increment: rad, by which the phase of the pulse grows faster from pulse to pulse; one for all flip angles, or
            a tuple with one for each.
        dephasing: rad/mm, by all gradients of one repetition together; 0 when unknown, which leaves diffusion out.
        diffusivity: mm^2/s.
    """

    increment: float | tuple
    dephasing: float = 0.0
    diffusivity: float = 0.8e-3


def default_increment(manufacturer):
    """Increment (rad, or None) that a manufacturer's product sequences use, and the sentence that must go with it."""
    words = str(manufacturer).lower().replace(".", " ").split()
    for name, degrees in _INCREMENTS.items():
        if name in words:
            return np.deg2rad(degrees), (
                f"the RF spoiling increment is not in the header; {degrees:g} degrees taken, as in product sequences "
                f"of {manufacturer}; set SpoilingRFPhaseIncrement in the sidecar if the sequence differs."
            )
    return None, (
        f"the RF spoiling increment is not in the header and none is known for manufacturer {manufacturer!r}; R1 and "
        "PD are not corrected for imperfect spoiling; set SpoilingRFPhaseIncrement in the sidecar."
    )


def typical_r2(r1):
    """R2 (1/s) of brain at 3 T that goes with an R1: free water at 0.24/s, 10.5 at 0.65/s, 13 at 1/s.

    It stands in where no R2 map is at hand. An R2 wrong by a fifth moves R1 of tissue by 1 % or less, at an increment
    of 150 degrees by 2 % (TR 15 ms, 3/8/18 degrees); free water that neither flows nor diffuses needs its own R2.
    """
    return WATER_R2 + TISSUE_R2 * -np.expm1(-np.maximum(r1 - WATER_R1, 0) / R1_SCALE)


def signal_ratio(flip_angle, repetition_time, increment, r1, r2, diffusion=0.0):
    """Magnitude right after the pulse in the steady state, over sin(a) (1 - E1) / (1 - E1 cos(a)).

    In a frame that follows the phase of the pulses the magnetisation over one cycle of dephasing repeats after each
    repetition but for a shift by the increment. Its Fourier orders (the configurations of EPG) then form a chain:
    order k hands b_k = rho_k a'_k back for what it was handed, a'_k, and rho_k follows from rho_{k+1}.

    Args:
        flip_angle: true, rad. r1, r2: 1/s; arrays that broadcast.
        repetition_time: s. increment: rad.
        diffusion: diffusivity times dephasing^2 times repetition time, the gradient being on all the time.
    Returns:
        float64, 1 for ideal spoiling.
    Reference:
        Ganter C 2006, Magn Reson Med 55:98-107 (the steady state as a continued fraction); Weigel M 2015, J Magn
        Reson Imaging 41:266-295 (diffusion).
    """
    e1, e2 = np.exp(-repetition_time * r1), np.exp(-repetition_time * r2)
    cosine, sine = np.cos(flip_angle), np.sin(flip_angle)
    kept, turned, half = (1 + cosine) / 2, (1 - cosine) / 2, sine * sine / 2
    orders = int(np.ceil(-np.log(LEFT_OUT) / (2 * repetition_time * np.min(r2)))) + 1
    rho = np.zeros(np.broadcast(flip_angle, r1, r2).shape, complex)
    for k in range(orders, 0, -1):
        stored = e1 * np.exp(1j * k * increment - diffusion * k * k)
        by_storage = half * (stored / (1 - stored * cosine))  # through the longitudinal configuration of this order
        straight, back = kept - by_storage, turned + by_storage
        way = np.exp(1j * (2 * k - 1) * increment - 2 * diffusion * (k * k - k + 1 / 3)) * e2 * e2
        rho = way * (straight * straight * rho / (1 + back * rho) - back)
    lag = rho.imag / (1 + rho.real)
    feedback = rho.real + rho.imag * lag
    return np.hypot(1, lag) / (1 - feedback * (cosine - e1) / (1 - e1 * cosine))


@lru_cache(maxsize=32)
def spoiling_table(repetition_time, increment, largest_flip, over_r2=False, diffusion=0.0):
    """`signal_ratio` over flip angle, R2 and R1: what `ratio_and_slopes` reads.

    Args:
        repetition_time: s. increment: rad. largest_flip: rad, where the table may end.
        over_r2: R2_NODES values of R2; otherwise one entry, with R2 as `typical_r2` of R1.
        diffusion: as in `signal_ratio`.
    Returns:
        float32 [flip angle, R2, R1], read-only: every FLIP_STEP from 0, then even steps of the logarithms.
    """
    flip = FLIP_STEP * np.arange(int(np.ceil(min(largest_flip, np.pi) / FLIP_STEP)) + 1)[:, None]
    r1 = np.geomspace(LOWEST_R1, HIGHEST_R1, R1_NODES)
    if over_r2:
        x = np.cos(np.pi * (np.arange(CHEBYSHEV) + 0.5) / CHEBYSHEV)
        some = np.sqrt(LOWEST_R1 * HIGHEST_R1) * (HIGHEST_R1 / LOWEST_R1) ** (x / 2)
        rates = np.geomspace(LOWEST_R2, HIGHEST_R2, R2_NODES)
        ratios = [signal_ratio(flip, repetition_time, increment, some, r2, diffusion) for r2 in rates]
        to_all = np.vander(np.linspace(-1, 1, R1_NODES), CHEBYSHEV) @ np.linalg.inv(np.vander(x))
        table = np.exp(np.log(np.stack(ratios, axis=1)) @ to_all.T).astype(np.float32)
    else:  # one R1 at a time, because slow decays have many more echoes to follow
        ratios = [signal_ratio(flip, repetition_time, increment, r, typical_r2(r), diffusion) for r in r1]
        table = np.stack(ratios, axis=2).astype(np.float32)
    table.setflags(write=False)
    return table


@kernel
def r2_place(r2):
    """Place of an R2 (1/s) among the R2_NODES, for `ratio_and_slopes`."""
    step = np.log(HIGHEST_R2 / LOWEST_R2) / (R2_NODES - 1)
    return np.log(min(max(r2, LOWEST_R2), HIGHEST_R2) / LOWEST_R2) / step


@kernel
def ratio_and_slopes(table, flip_angle, r2_at, log_r1):
    """Ratio at one flip angle (rad), `r2_place` and ln R1, and the slopes of its logarithm by flip angle and ln R1.

    A table with one entry over R2 takes no notice of it. Beyond the ends of the table the slopes are 0.
    """
    place = flip_angle / FLIP_STEP
    flip_node = min(int(place), table.shape[0] - 2)
    u = min(place - flip_node, 1.0)
    step = np.log(HIGHEST_R1 / LOWEST_R1) / (R1_NODES - 1)
    place = min(max((log_r1 - np.log(LOWEST_R1)) / step, 0.0), R1_NODES - 1.0)
    node = min(int(place), R1_NODES - 2)
    w = place - node
    value, by_flip, by_r1 = _between(table, flip_node, u, 0, node, w)
    if table.shape[1] > 1:
        r2_node = min(int(r2_at), R2_NODES - 2)
        v = r2_at - r2_node
        value, by_flip, by_r1 = _between(table, flip_node, u, r2_node, node, w)
        above, above_by_flip, above_by_r1 = _between(table, flip_node, u, r2_node + 1, node, w)
        value += v * (above - value)
        by_flip += v * (above_by_flip - by_flip)
        by_r1 += v * (above_by_r1 - by_r1)
    inside = 0 < place < R1_NODES - 1
    return value, by_flip / (value * FLIP_STEP), by_r1 / (value * step) if inside else 0.0


@kernel
def _between(table, flip_node, u, r2_node, node, w):
    """Bilinear value in one plane of the table, and its differences from node to node along flip angle and R1."""
    a, b = table[flip_node, r2_node, node], table[flip_node, r2_node, node + 1]
    c, d = table[flip_node + 1, r2_node, node], table[flip_node + 1, r2_node, node + 1]
    low, high = a + w * (b - a), c + w * (d - c)
    return low + u * (high - low), high - low, (b - a) + u * ((d - c) - (b - a))
