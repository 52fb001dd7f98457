"""Two-pool magnetisation transfer: what a bound pool does to the longitudinal magnetisation seen by a pulse train.

Free water (M0 = 1) exchanges with a bound pool (M0 = fraction) that has no transverse magnetisation and is saturated
by every pulse. Both pools relax with the same R1, which is then the R1 that an inversion recovery would find. In the
steady state the bound pool can be eliminated, so every single-pool formula holds with other longitudinal factors.

Models: Henkelman RM et al. 1993, Magn Reson Med 29:759; Gloor M et al. 2008, Magn Reson Med 60:691 (bSSFP).
The values of the constants are of the size used there, from memory: a stress case, not a measurement.
"""

import math

from ..kernels import kernel

EXCHANGE_RATE = 30.0  # 1/s, bound to free; assumed
LINESHAPE = 1.4e-5  # s, absorption lineshape of the bound pool on resonance; assumed
BOUND_FRACTION = {"white matter": 0.15, "gray matter": 0.07, "lesion": 0.07}  # bound over free; assumed


@kernel
def bound_saturation(flip, pulse_duration):
    """Factor on the bound pool's magnetisation by one rectangular pulse: exp(-pi g w1^2 tau), w1 = flip / tau.

    Args:
        flip: true flip angle, rad. pulse_duration: tau, s.
    """
    return math.exp(-math.pi * LINESHAPE * flip * flip / pulse_duration)


@kernel
def longitudinal_factors(r1, fraction, saturation, tr):
    """Factors of the free pool's longitudinal magnetisation over one repetition, the bound pool eliminated.

    Magnetisation whose phase over the spoiling cycle turns by t each repetition obeys
    z' = t (direct + t returned / (1 - t retained)) z, and the part at rest (t = 1) adds `recovery`.

    Args:
        r1: of both pools, 1/s. fraction: bound over free magnetisation. tr: repetition time, s.
        saturation: what a pulse leaves of the bound pool's magnetisation, see bound_saturation.
    Returns:
        direct, returned, retained, recovery; without a bound pool E1, 0, 0, 1 - E1.
    """
    e1 = math.exp(-r1 * tr)
    exchange = EXCHANGE_RATE * (1 + fraction)
    moved = EXCHANGE_RATE * -math.expm1(-exchange * tr) / exchange
    if fraction == 0:
        return e1, 0.0, 0.0, 1 - e1
    direct = e1 * (1 - fraction * moved)
    returned = e1 * e1 * fraction * moved * moved * saturation
    retained = e1 * (1 - moved) * saturation
    recovery = (1 - e1) * (1 + e1 * moved * saturation * fraction / (1 - retained))
    return direct, returned, retained, recovery
