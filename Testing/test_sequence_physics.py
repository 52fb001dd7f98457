"""The signals of the digital patient against Bloch rotations written out here, closed forms and published numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib.acquisition import Role
from QMRIEstimationLib.phantom.epg import afi_steady_state, spoiled_steady_state
from QMRIEstimationLib.phantom.gadolinium import gadolinium_uptake
from QMRIEstimationLib.phantom.protocol import PROTOCOLS, default_protocol
from QMRIEstimationLib.phantom.sequences import B1_AXIS, SpoiledGre, bssfp_coefficients, bssfp_signal
from QMRIEstimationLib.phantom.spin_echo import MultiSpinEcho, isochromat_train
from QMRIEstimationLib.phantom.transfer import EXCHANGE_RATE, longitudinal_factors
from QMRIEstimationLib.relaxometry.spin_echo_table import echo_train
from scipy.optimize import brentq

DEGREE = math.pi / 180


def bloch_pulse(transverse, longitudinal, flip, phase):
    """Hard pulse about an axis at `phase` from x, as a 3-D rotation of every isochromat."""
    turned = transverse * np.exp(-1j * phase)
    y = turned.imag * np.cos(flip) + longitudinal * np.sin(flip)
    z = longitudinal * np.cos(flip) - turned.imag * np.sin(flip)
    return (turned.real + 1j * y) * np.exp(1j * phase), z


def bloch_train(flip, r1, r2, intervals, increment, pulses, isochromats=512):
    """Signals after the last pulses of a spoiled train, isochromat by isochromat, relative to the RF phase."""
    position = 2 * np.pi * np.arange(isochromats) / isochromats
    transverse, longitudinal = np.zeros(isochromats, complex), np.ones(isochromats)
    signals = []
    for n in range(pulses):
        phase = increment * n * (n + 1) / 2
        transverse, longitudinal = bloch_pulse(transverse, longitudinal, flip, phase)
        signals.append(transverse.mean() * np.exp(-1j * phase))
        interval = intervals[n % len(intervals)]
        transverse = transverse * np.exp(-interval * r2 + 1j * position)
        longitudinal = 1 + (longitudinal - 1) * np.exp(-interval * r1)
    return np.array(signals[-len(intervals) :])


def spoiled(flip, r1, r2, tr, increment, diffusion=0.0):
    e1 = math.exp(-r1 * tr)
    return spoiled_steady_state(flip, r2 * tr, e1, 0.0, 0.0, 1 - e1, increment, diffusion)


def ernst(flip, r1, tr):
    e1 = np.exp(-r1 * tr)
    return np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))


@pytest.mark.parametrize("increment", [50.0, 117.0, 150.0])
@pytest.mark.parametrize(("flip", "r1", "r2", "tr"), [(20, 1.0, 12, 0.02), (35, 0.7, 10, 0.008), (60, 2.5, 4, 0.036)])
def test_spoiled_steady_state_is_that_of_isochromats(flip, r1, r2, tr, increment):
    # 9 T1 of pulses leave exp(-9) = 1e-4 at small flip angles; 512 isochromats alias only orders beyond 500
    expected = bloch_train(flip * DEGREE, r1, r2, (tr,), increment * DEGREE, int(9 / r1 / tr))[0]
    assert abs(spoiled(flip * DEGREE, r1, r2, tr, increment * DEGREE) - expected) < 1e-4 * abs(expected)


def test_steady_state_of_long_t2_is_that_of_isochromats():
    # CSF-like: echoes over hundreds of orders, so more isochromats than orders
    expected = bloch_train(18 * DEGREE, 0.25, 0.6, (0.02,), 50 * DEGREE, 2400, isochromats=2048)[0]
    assert abs(spoiled(18 * DEGREE, 0.25, 0.6, 0.02, 50 * DEGREE) - expected) < 1e-4 * abs(expected)


@pytest.mark.parametrize("flip", [5, 20, 60])
def test_spoiled_signal_is_ernst_formula_when_no_transverse_magnetisation_survives(flip):
    # E2 = exp(-20): nothing is left to refocus; the exact value is purely imaginary (pulse about x)
    signal = spoiled(flip * DEGREE, 1.0, 100.0, 0.2, 50 * DEGREE)
    assert signal == pytest.approx(1j * ernst(flip * DEGREE, 1.0, 0.2), rel=1e-7)


def test_strong_diffusion_spoils_perfectly():
    signal = spoiled(20 * DEGREE, 1.0, 1.0, 0.02, 50 * DEGREE, diffusion=30.0)
    assert abs(signal) == pytest.approx(ernst(20 * DEGREE, 1.0, 0.02), rel=1e-4)


def test_spoiling_correction_meets_the_published_ratio():
    # Baudrexel 2018, increment 50 degrees, T2 85 ms: alpha'/alpha = 1.036 at TR 20 ms and 20 degrees; the published
    # polynomial is within 0.01 of EPG there. alpha' is the angle at which the Ernst formula gives the true signal.
    tr, r1, r2, increment = 0.02, 1.0, 1 / 0.085, 50 * DEGREE
    signal = abs(spoiled(20 * DEGREE, r1, r2, tr, increment))
    effective = brentq(lambda flip: ernst(flip, r1, tr) - signal, 12 * DEGREE, 40 * DEGREE)
    assert effective / (20 * DEGREE) == pytest.approx(1.036, abs=0.01)


@pytest.mark.parametrize(("flip", "r1", "r2"), [(60, 1.0, 12), (45, 0.7, 9), (80, 3.0, 20), (60, 0.3, 2.0)])
def test_afi_is_that_of_isochromats(flip, r1, r2):
    trs = (0.02, 0.1)
    expected = bloch_train(flip * DEGREE, r1, r2, trs, 39 * DEGREE, 2 * int(12 / r1 / sum(trs)))
    signals = afi_steady_state(flip * DEGREE, r1, r2, *trs, 39 * DEGREE)
    assert np.abs(np.array(signals) - expected).max() < 1e-5


@pytest.mark.parametrize("flip", [40, 60, 75])
def test_strong_diffusion_spoils_afi_perfectly(flip):
    # Ideal spoiling: S2/S1 = (1 - E1 + (1 - E2) E1 c) / (1 - E2 + (1 - E1) E2 c), Yarnykh 2007 without the limit
    first, second = afi_steady_state(flip * DEGREE, 1.0, 12.0, 0.02, 0.1, 39 * DEGREE, diffusion=1e4)
    e1, e2, cosine = math.exp(-0.02), math.exp(-0.1), math.cos(flip * DEGREE)
    ideal = (1 - e1 + (1 - e2) * e1 * cosine) / (1 - e2 + (1 - e1) * e2 * cosine)
    assert abs(second) / abs(first) == pytest.approx(ideal, rel=1e-4)


@pytest.mark.parametrize("flip", [40, 60, 75])
def test_afi_ratio_meets_the_textbook_limit_of_short_repetition(flip):
    # Yarnykh 2007: r = (1 + n cos a) / (n + cos a) to first order in TR/T1, so the error is of the size
    # TR2 R1 = 0.002 times a coefficient below 1; strong R2 takes the echoes away
    first, second = afi_steady_state(flip * DEGREE, 0.02, 500.0, 0.02, 0.1, 39 * DEGREE)
    cosine = math.cos(flip * DEGREE)
    assert abs(second) / abs(first) == pytest.approx((1 + 5 * cosine) / (5 + cosine), rel=2e-3)


rates = st.tuples(st.floats(0.15, 6.0), st.floats(0.5, 60.0))


def relaxation_matrix(r1, r2, tr, theta):
    e1, e2 = math.exp(-r1 * tr), math.exp(-r2 * tr)
    cosine, sine = e2 * math.cos(theta), e2 * math.sin(theta)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, e1]]), np.array([0, 0, 1 - e1])


@settings(max_examples=200, deadline=None)
@given(rates, st.floats(2.0, 90.0), st.floats(0.003, 0.02), st.floats(-3.0, 3.0), st.floats(0, 6.2))
def test_bssfp_is_that_of_bloch_matrices(rate, flip, tr, precession, phase_cycle):
    r1, r2 = rate
    flip = flip * DEGREE
    # pulse about x turns z towards +y here; the steady state right after the pulse solves m = R (P m + c)
    pulse = np.array([[1, 0, 0], [0, math.cos(flip), math.sin(flip)], [0, -math.sin(flip), math.cos(flip)]])
    decay, grown = relaxation_matrix(r1, r2, tr, precession + phase_cycle)
    state = np.linalg.solve(np.eye(3) - pulse @ decay, pulse @ grown)
    expected = (state[0] + 1j * state[1]) / 1j * np.exp((-r2 * tr + 1j * precession) / 2)
    coefficients = bssfp_coefficients(r1, r2, flip, tr, 0.0, 1e-3)
    # The determinant is as small as (R1 TR)(R2 TR), about 1e-6: 1e-16 of rounding is worth 1e-10
    assert bssfp_signal(*coefficients, precession, phase_cycle) == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_bssfp_band_lies_where_theta_vanishes():
    coefficients = bssfp_coefficients(1.0, 12.0, 35 * DEGREE, 0.006, 0.0, 1e-3)
    precession = np.linspace(-math.pi, math.pi, 721)
    for cycle in (0, 90, 180, 270):
        profile = [abs(bssfp_signal(*coefficients, p, cycle * DEGREE)) for p in precession]
        theta = precession[int(np.argmin(profile))] + cycle * DEGREE
        assert abs(math.remainder(theta, 2 * math.pi)) < 1e-6


def test_bssfp_phase_cycle_leaves_the_receiver():
    # In the middle of the pass band (theta = pi) the signal is refocused: it lies along the axis of grown precession
    coefficients = bssfp_coefficients(1.0, 12.0, 35 * DEGREE, 0.006, 0.0, 1e-3)
    for cycle in (0, 90, 180, 270):
        precession = math.remainder(math.pi - cycle * DEGREE, 2 * math.pi)
        signal = bssfp_signal(*coefficients, precession, cycle * DEGREE)
        assert math.remainder(np.angle(signal) - precession / 2, 2 * math.pi) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("field_strength", [1.5, 3.0, 7.0])
def test_transmit_field_between_the_nodes_is_within_a_thousandth(field_strength, rng):
    middle = 0.5 * (B1_AXIS[1:] + B1_AXIS[:-1])
    r1, r2 = rng.uniform(0.2, 5, 20), rng.uniform(0.5, 60, 20)
    none = np.zeros(20)
    for sequence in {scan.sequence for scan in default_protocol(field_strength) if type(scan.sequence) is SpoiledGre}:
        nodes = sequence.amplitudes(r1, r2, none)
        exact = np.array(
            [
                [
                    abs(
                        spoiled(sequence.flip_angle * b1, *rates, sequence.repetition_time, sequence.spoiling_increment)
                    )
                    for b1 in middle
                ]
                for rates in zip(r1, r2, strict=True)
            ]
        )
        assert np.abs(0.5 * (nodes[:, 1:] + nodes[:, :-1]) / exact - 1).max() < 1e-3


def two_pool_train(flip, r1, r2, fraction, saturation, tr, increment, pulses, isochromats=512):
    """Spoiled train of free water that exchanges with a bound pool in short steps; signal after the last pulse."""
    position = 2 * np.pi * np.arange(isochromats) / isochromats
    transverse, free, bound = np.zeros(isochromats, complex), np.ones(isochromats), np.full(isochromats, fraction)
    steps = 20
    generator = np.array(
        [[-r1 - fraction * EXCHANGE_RATE, EXCHANGE_RATE], [fraction * EXCHANGE_RATE, -r1 - EXCHANGE_RATE]]
    )
    step = np.eye(2) + generator * tr / steps + generator @ generator * (tr / steps) ** 2 / 2
    hold = np.linalg.matrix_power(step, steps)
    rest = np.array([1.0, fraction])
    for n in range(pulses):
        phase = increment * n * (n + 1) / 2
        transverse, free = bloch_pulse(transverse, free, flip, phase)
        signal = transverse.mean()
        transverse = transverse * np.exp(-tr * r2 + 1j * position)
        pools = rest[:, None] + hold @ (np.stack([free, bound * saturation]) - rest[:, None])
        free, bound = pools
    return abs(signal)


def test_two_pools_are_those_of_a_train_that_exchanges_step_by_step():
    flip, r1, r2, fraction, saturation, tr = 25 * DEGREE, 1.0, 12.0, 0.15, 0.8, 0.02
    expected = two_pool_train(flip, r1, r2, fraction, saturation, tr, 50 * DEGREE, 450)
    factors = longitudinal_factors(r1, fraction, saturation, tr)
    assert abs(spoiled_steady_state(flip, r2 * tr, *factors, 50 * DEGREE, 0.0)) == pytest.approx(expected, rel=2e-4)
    plain = abs(spoiled(flip, r1, r2, tr, 50 * DEGREE))
    assert expected < 0.97 * plain  # the stress is one


def test_vanishing_bound_pool_leaves_the_signal():
    tiny, none = longitudinal_factors(1.1, 1e-12, 0.7, 0.02), longitudinal_factors(1.1, 0.0, 0.7, 0.02)
    assert (tiny[0], tiny[1], tiny[3]) == pytest.approx((none[0], none[1], none[3]), rel=1e-10, abs=1e-11)
    assert none[0] + none[3] == 1
    assert longitudinal_factors(1.1, 0.0, 0.7, 0.02)[1:3] == (0, 0)


def test_unsaturated_bound_pool_leaves_the_rest_magnetisation():
    direct, returned, retained, recovery = longitudinal_factors(1.0, 0.15, 1.0, 0.02)
    assert recovery / (1 - direct - returned / (1 - retained)) == pytest.approx(1, rel=1e-12)


def test_inversion_recovery_train_is_that_of_pulse_by_pulse():
    scan = next(scan.sequence for scan in default_protocol(3.0) if scan.role is Role.T1W)
    r1, k = 0.9, 15
    flip = scan.flip_angle * B1_AXIS[k]
    z = 1.0
    before = scan.inversion_time - scan.echo_spacing * (scan.train // 2)
    after = scan.repetition_time - before - scan.echo_spacing * scan.train
    for _ in range(30):
        z = 1 + (-scan.inversion_efficiency * z - 1) * math.exp(-r1 * before)
        for n in range(scan.train):
            if n == scan.train // 2:
                signal = z * math.sin(flip)
            z = 1 + (z * math.cos(flip) - 1) * math.exp(-r1 * scan.echo_spacing)
        z = 1 + (z - 1) * math.exp(-r1 * after)
    assert scan.amplitudes(np.array([r1]))[0, k] == pytest.approx(signal, rel=1e-9)


def test_flair_darkens_fluid_and_shows_lesions():
    scan = next(scan.sequence for scan in default_protocol(3.0) if scan.role is Role.FLAIR)
    node = int(np.argmin(np.abs(B1_AXIS - 1)))
    excited = np.abs(scan.amplitudes(np.array([0.24, 0.75, 1.15]))[:, node])
    csf, lesion, white = excited * np.exp(-scan.echo_times[0] * np.array([0.6, 10.0, 13.0]))
    assert csf < 0.1 * white < white < lesion


@pytest.mark.parametrize("field_strength", [1.5, 3.0, 7.0])
def test_gadolinium_raises_rates_and_chi(field_strength):
    uptake = gadolinium_uptake(field_strength)
    assert uptake.r2star >= uptake.r2 > uptake.r1 > 0
    # Curie's law for spin 7/2 at 310 K in round numbers: 7.88 / 310 cm^3/mol (cgs) times 4 pi
    assert uptake.chi == pytest.approx(4 * math.pi * 7.88 / 310, rel=0.01)
    assert 0.1 * uptake.chi > 0.02  # more than a rim


@pytest.mark.parametrize("angle", [180.0, 150.0, 120.0])
def test_spin_echo_train_of_isochromats_is_that_of_extended_phase_graphs(angle):
    isochromats, graph = np.empty(10), np.empty(10)
    isochromat_train(1.0, np.pi / 2, np.deg2rad(angle), 0.01, 0.13, np.empty((3, 96)), isochromats)
    echo_train(np.deg2rad(angle), 0.13, 0.01, graph)
    np.testing.assert_allclose(np.abs(isochromats), graph, rtol=1e-9)


def test_spin_echoes_saturate_as_the_repetition_time_tells():
    r1, r2 = np.array([1.0]), np.array([13.0])
    echo = MultiSpinEcho(2.0, (0.01,)).amplitudes(r1, r2, 0)[0, np.argmin(np.abs(B1_AXIS - 1))]
    # the refocusing pulse inverts what recovered until then, 5 ms of R1
    assert echo == pytest.approx((1 - np.exp(-1.99)) * np.exp(-0.13), rel=2e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("field_strength", [1.5, 3.0, 7.0])
def test_protocol_has_every_scan_with_echoes_within_the_repetition(field_strength, protocol):
    scans = default_protocol(field_strength, protocol)
    never = {Role.DOUBLE_ANGLE, Role.B1_MAP}
    without = {"standard": {Role.SPIN_ECHO}, "spin-echo": {Role.BSSFP}}
    without["resume"] = {Role.SPIN_ECHO, Role.BSSFP, Role.MULTI_ECHO_GRE}
    assert {scan.role for scan in scans} == set(Role) - never - without[protocol]
    assert sum(scan.reference for scan in scans) == 1
    for scan in scans:
        echoes = scan.sequence.echo_times
        repetition = getattr(scan.sequence, "repetition_time", None) or min(scan.sequence.repetition_times)
        assert list(echoes) == sorted(echoes)
        assert echoes[-1] < repetition
