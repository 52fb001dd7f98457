"""Imperfect RF spoiling against sums over isochromats, a plain extended phase graph and published polynomials."""

import time

import numpy as np
import pytest
from QMRIEstimationLib.relaxometry.spoiling import (
    default_increment,
    r2_place,
    ratio_and_slopes,
    signal_ratio,
    spoiling_table,
    typical_r2,
)
from scipy.optimize import brentq

INCREMENTS = (50, 117, 150)  # degrees
# Baudrexel S et al. 2018, Magn Reson Med 79:3082-3092: C(flip, TR) = sum P[k, l] flip^k TR^l, k + l <= 5, degrees and
# ms; the coefficients by rows of k, with two misprints of public copies corrected (research/relaxometry.md 1.3).
POLYNOMIALS = {
    50: (
        (9.639e-1, 4.989e-3, -1.254e-4, -3.180e-6, 1.527e-7, -1.462e-9),
        (5.880e-3, -1.056e-3, 4.801e-5, -8.549e-7, 5.382e-9),
        (4.143e-4, -4.920e-6, -1.560e-7, 2.282e-9),
        (-1.059e-5, 2.334e-7, -1.189e-9),
        (9.449e-8, -1.025e-9),
        (-4.255e-10,),
    ),
    117: (
        (9.381e-1, 4.266e-3, 2.535e-4, -2.289e-5, 5.402e-7, -4.146e-9),
        (1.653e-2, -2.172e-3, 7.491e-5, -1.051e-6, 5.331e-9),
        (3.145e-4, 3.704e-5, -1.123e-6, 8.369e-9),
        (-3.848e-5, 2.773e-7, 1.662e-9),
        (6.230e-7, -4.019e-9),
        (-2.988e-9,),
    ),
    150: (
        (6.678e-1, 9.131e-2, -7.728e-3, 2.863e-4, -4.869e-6, 3.112e-8),
        (-3.710e-2, 2.845e-3, -7.786e-5, 8.546e-7, -2.837e-9),
        (1.448e-3, -7.537e-5, 1.403e-6, -8.865e-9),
        (-2.181e-5, 6.141e-7, -5.141e-9),
        (1.990e-7, -1.978e-9),
        (-8.617e-10,),
    ),
}


def ernst(flip, tr, r1):
    """Signal with ideal spoiling."""
    e1 = np.exp(-tr * r1)
    return np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))


def isochromat_sum(flip, tr, increment, r1, r2, count=512):
    """Steady-state signal of `count` isochromats spread over one cycle, by the Bloch equations pulse by pulse."""
    turn = np.exp(2j * np.pi * np.arange(count) / count - tr * r2)
    e1 = np.exp(-tr * r1)
    xy, z = np.zeros(count, complex), np.ones(count)
    for pulse in range(int(12 / (r1 * tr))):  # exp(-12) of the way to the steady state is left
        axis = np.exp(0.5j * increment * pulse * (pulse + 1))
        own = xy / axis
        x = np.cos(flip) * own.real + np.sin(flip) * z
        z = np.cos(flip) * z - np.sin(flip) * own.real
        xy = (x + 1j * own.imag) * axis
        signal = abs(xy.mean())
        xy, z = xy * turn, 1 + (z - 1) * e1
    return signal


def phase_graph(flip, tr, increment, r1, r2, diffusion, orders=200):
    """Steady-state signal of configurations F(k), F(-k), Z(k) shifted pulse by pulse, with diffusion."""
    k = np.arange(orders)
    plus, minus, z = (np.zeros(orders, complex) for _ in range(3))
    z[0] = 1
    c, s = np.cos(flip / 2) ** 2, np.sin(flip / 2) ** 2
    transverse = np.exp(-tr * r2 - diffusion * (k * k + k + 1 / 3))
    back = np.exp(-tr * r2 - diffusion * (k * k - k + 1 / 3))
    longitudinal = np.exp(-tr * r1 - diffusion * k * k)
    for pulse in range(int(12 / (r1 * tr))):
        axis = np.exp(0.5j * increment * pulse * (pulse + 1))
        up, down = plus / axis, minus * axis
        plus, minus, z = (
            (c * up - s * down + np.sin(flip) * z) * axis,
            (c * down - s * up + np.sin(flip) * z) / axis,
            np.cos(flip) * z - np.sin(flip) / 2 * (up + down),
        )
        signal = abs(plus[0])
        plus, minus, z = plus * transverse, minus * back, z * longitudinal
        z[0] += 1 - np.exp(-tr * r1)
        plus[1:], minus[:-1] = plus[:-1].copy(), minus[1:].copy()
        minus[-1], plus[0] = 0, np.conj(minus[0])
    return signal


@pytest.mark.parametrize("degrees", INCREMENTS)
@pytest.mark.parametrize("tr", [0.006, 0.020])
def test_ratio_is_that_of_a_sum_over_isochromats(degrees, tr):
    increment = np.deg2rad(degrees)
    for flip in np.deg2rad([4, 15, 40, 100]):
        truth = isochromat_sum(flip, tr, increment, 1.0, 12.0) / ernst(flip, tr, 1.0)
        # 512 isochromats follow as many orders; the transient has fallen to 6e-6. The issue asks for 0.5 %.
        assert signal_ratio(flip, tr, increment, 1.0, 12.0) == pytest.approx(truth, rel=2e-5)


def test_diffusion_is_that_of_a_phase_graph_shifted_pulse_by_pulse():
    increment, flip, tr = np.deg2rad(50), np.deg2rad(25), 0.015
    for diffusion in (0.0, 1e-4, 5e-3):
        truth = phase_graph(flip, tr, increment, 1.0, 5.0, diffusion) / ernst(flip, tr, 1.0)
        assert signal_ratio(flip, tr, increment, 1.0, 5.0, diffusion) == pytest.approx(truth, rel=2e-5)


def test_fast_transverse_decay_spoils_ideally():
    for degrees in INCREMENTS:
        ratio = signal_ratio(np.deg2rad(np.array([3.0, 30.0, 90.0])), 0.02, np.deg2rad(degrees), 1.0, 1000.0)
        np.testing.assert_allclose(ratio, 1, atol=1e-8)


def published(degrees, flip, tr):
    return sum(p * flip**k * tr**m for k, row in enumerate(POLYNOMIALS[degrees]) for m, p in enumerate(row))


def effective_factor(degrees, flip, tr):
    """C for which the ideal signal at C flip, beyond the Ernst angle, is the true one; flip in degrees, TR in ms."""
    alpha, seconds, r1 = np.deg2rad(flip), tr / 1000, 1.0
    wanted = ernst(alpha, seconds, r1) * signal_ratio(alpha, seconds, np.deg2rad(degrees), r1, 1 / 0.085)
    peak = np.arccos(np.exp(-seconds * r1)) / alpha
    return brentq(lambda c: ernst(c * alpha, seconds, r1) - wanted, peak, 3)


@pytest.mark.parametrize("degrees", INCREMENTS)
def test_published_polynomial_is_met_where_it_holds(degrees):
    differences = [
        effective_factor(degrees, flip, tr) - published(degrees, flip, tr)
        for tr in (20, 30, 40, 50)
        for flip in (25, 30, 40)
    ]
    # The research page states 0.01 for 50 degrees and 0.02 to 0.033 rms for all; the misprints would be off by 0.03.
    assert np.abs(differences).max() < 0.02
    assert np.sqrt(np.mean(np.square(differences))) < 0.01


def test_published_number_at_20_degrees_and_20_ms():
    assert effective_factor(50, 20, 20) == pytest.approx(1.036, abs=1e-3)
    assert published(50, 20, 20) == pytest.approx(1.036, abs=1e-3)


@pytest.mark.parametrize("degrees", INCREMENTS)
def test_table_over_r2_holds_the_ratio(degrees, rng):
    increment, tr = np.deg2rad(degrees), 0.015
    table = spoiling_table(tr, increment, np.deg2rad(60), over_r2=True)
    for _ in range(50):
        flip, r1, r2 = np.deg2rad(rng.uniform(1, 60)), rng.uniform(0.4, 3), rng.uniform(5, 30)
        found, _, _ = ratio_and_slopes(table, flip, r2_place(r2), np.log(r1))
        assert found == pytest.approx(signal_ratio(flip, tr, increment, r1, r2), abs=2e-3)  # lines along ln R2


def test_table_with_typical_r2_holds_the_ratio_and_its_slopes(rng):
    increment, tr = np.deg2rad(50), 0.015
    table = spoiling_table(tr, increment, np.deg2rad(60))

    def truth(flip, r1):
        return signal_ratio(flip, tr, increment, r1, typical_r2(r1))

    for _ in range(50):
        flip, r1 = np.deg2rad(rng.uniform(2, 58)), rng.uniform(0.5, 3)
        found, by_flip, by_log_r1 = ratio_and_slopes(table, flip, 0.0, np.log(r1))
        assert found == pytest.approx(truth(flip, r1), abs=5e-4)  # lines along ln R1
        step = 1e-4
        slope = (truth(flip + step, r1) - truth(flip - step, r1)) / (2 * step) / truth(flip, r1)
        assert by_flip == pytest.approx(slope, abs=0.02)
        slope = np.log(truth(flip, r1 * (1 + step)) / truth(flip, r1 * (1 - step))) / (2 * step)
        assert by_log_r1 == pytest.approx(slope, abs=0.02)


@pytest.mark.parametrize("over_r2", [False, True])
def test_a_protocol_is_tabulated_in_a_moment(over_r2):
    start = time.process_time()
    spoiling_table(0.0051, np.deg2rad(50), np.deg2rad(40), over_r2)
    assert time.process_time() - start < 1.5  # 0.1 and 0.25 s on the machine it was written on


def test_makers_increments_come_with_a_sentence():
    for maker, degrees in (("SIEMENS", 50), ("GE MEDICAL SYSTEMS", 115.4), ("Philips Healthcare", 150)):
        increment, note = default_increment(maker)
        assert increment == pytest.approx(np.deg2rad(degrees))
        assert f"{degrees:g} degrees" in note and "SpoilingRFPhaseIncrement" in note
    increment, note = default_increment("Generic")
    assert increment is None and "not corrected" in note
