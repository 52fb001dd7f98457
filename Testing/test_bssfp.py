"""R2 from phase-cycled bSSFP against Bloch matrices, Monte-Carlo noise and the two-pool digital patient."""

import math

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.phantom.protocol import BSSFP_FLIP_ANGLES, FLIP_ANGLES, PHASE_CYCLES
from QMRIEstimationLib.phantom.sequences import B1_AXIS, SpoiledGre, bssfp_coefficients, bssfp_signal
from QMRIEstimationLib.phantom.transfer import BOUND_FRACTION
from QMRIEstimationLib.relaxometry.bssfp import (
    WHITE_MATTER_TRANSFER_BIAS,
    R2Options,
    fit_r2_bssfp,
    transfer_note,
)
from scipy.optimize import least_squares

DEGREE = math.pi / 180
TR = 0.006
FLIPS = np.array([12, 35]) * DEGREE
FOUR = np.arange(4) * 90 * DEGREE
TISSUES = {"white matter": (1.15, 13.0), "gray matter": (0.7, 11.0), "lesion": (0.75, 10.0), "fluid": (0.25, 0.7)}
M0 = 1000.0
WHITE_SIGNAL = 0.12 * M0  # of the multi-echo scan (15 degrees, TR 36 ms, TE 4 ms), to which SNR refers
# float32 images: 6e-8 of the signal, amplified about tenfold where the ellipse is far from a circle
EXACT = 1e-6


def turned(angle, first, second):
    """Rotation from axis `first` towards `second`, 4 x 4."""
    out = np.eye(4)
    out[first, first] = out[second, second] = np.cos(angle)
    out[second, first], out[first, second] = np.sin(angle), -np.sin(angle)
    return out


def bloch(r1, r2, flip, frequency, cycle, pulse=0.0, steps=200):
    """Signal at TR/2 after the middle of the pulse (about x), M0 of 1, from 4 x 4 matrices.

    A pulse of a duration (s) is many short ones. The next pulse is seen turned by the cycle; the echo was before that.
    """

    def free(time):
        decay = np.diag([np.exp(-r2 * time), np.exp(-r2 * time), np.exp(-r1 * time), 1.0])
        decay[2, 3] = 1 - np.exp(-r1 * time)
        return decay @ turned(2 * np.pi * frequency * time, 0, 1)

    half = free((TR - pulse) / 2)
    excite = turned(flip, 2, 1)
    if pulse > 0:
        short = free(pulse / steps / 2)
        excite = np.linalg.matrix_power(short @ turned(flip / steps, 2, 1) @ short, steps)
    whole = half @ excite @ turned(cycle, 0, 1) @ half
    state = np.linalg.solve(np.eye(3) - whole[:3, :3], whole[:3, 3])
    return (state[0] + 1j * state[1]) / 1j


def images(r1, r2, b1, frequency, flips=FLIPS, cycles=FOUR, sense=1, **more):
    """Complex images [flip x cycle, voxel]."""
    voxels = list(zip(*np.broadcast_arrays(r1, r2, b1, frequency), strict=True))
    return M0 * np.array(
        [
            [bloch(one, two, flip * field, df, sense * cycle, **more) for one, two, field, df in voxels]
            for flip in flips
            for cycle in cycles
        ]
    )


def fit(data, r1, b1=1.0, noise_sd=1e-3, flips=FLIPS, cycles=FOUR, r1_sd=0.0, b1_sd=0.0, shared=True, **options):
    shape = (1, 1, data.shape[1])

    def volume(a):
        return np.ascontiguousarray(np.broadcast_to(np.asarray(a, np.float32), shape))

    phase = None if options.get("method") == "magnitude" else np.angle(data).astype(np.float32).reshape(-1, *shape)
    magnitude = np.abs(data).astype(np.float32).reshape(-1, *shape)
    images_of = np.repeat(flips, len(cycles)), np.tile(cycles, len(flips))
    maps = volume(r1), volume(r1_sd), volume(b1), volume(b1_sd)
    return fit_r2_bssfp(
        magnitude, phase, *images_of, TR, noise_sd, *maps, np.ones(shape, bool), R2Options(**options), shared
    )


def noisy(rng, data, sd):
    return data + sd * (rng.standard_normal(data.shape) + 1j * rng.standard_normal(data.shape))


SPREAD = np.linspace(-0.98 / TR, 0.98 / TR, 23)  # Hz, over +- 1/TR


@pytest.mark.parametrize("cycles", [4, 5, 8])
@pytest.mark.parametrize("refined", [True, False])
@pytest.mark.parametrize("tissue", TISSUES)
def test_lore_is_exact_at_every_frequency(cycles, refined, tissue):
    r1, r2 = TISSUES[tissue]
    cycles = 2 * np.pi * np.arange(cycles) / cycles
    result = fit(images(r1, r2, 0.9, SPREAD, cycles=cycles), r1, 0.9, cycles=cycles, gauss_newton=refined)
    assert result.valid.all()
    np.testing.assert_allclose(result.r2, r2, rtol=EXACT)
    np.testing.assert_allclose(result.m0, M0, rtol=1e-5)
    wrapped = (SPREAD * TR + 0.5) % 1 - 0.5
    np.testing.assert_allclose(result.off_resonance.ravel() * TR, wrapped, atol=1e-5)


def test_geometric_solution_is_exact_at_every_frequency():
    for r1, r2 in TISSUES.values():
        result = fit(images(r1, r2, 1.1, SPREAD), r1, 1.1, method="geometric")
        assert result.valid.all()
        np.testing.assert_allclose(result.r2, r2, rtol=EXACT)
        np.testing.assert_allclose(result.off_resonance.ravel() * TR, (SPREAD * TR + 0.5) % 1 - 0.5, atol=1e-5)


@pytest.mark.parametrize("cycles", [2, 4, 6])
def test_magnitudes_alone_are_free_of_bands_within_the_stated_bias(cycles):
    cycles = 2 * np.pi * np.arange(cycles) / cycles
    for r1, r2 in TISSUES.values():
        result = fit(images(r1, r2, 1.0, SPREAD, cycles=cycles), r1, cycles=cycles, method="magnitude")
        assert result.valid.all()
        error = result.r2 / r2 - 1
        # the sums are exact to first order in TR R2 = 0.08; a tenth of it is left
        assert abs(np.median(error)) < 5e-3
        assert np.abs(error).max() < (0.035 if cycles.size == 2 else 0.02)  # at the edge of a band


@pytest.mark.parametrize("sense", [1, -1])
def test_sense_of_the_phase_cycles_is_found(sense, rng):
    data = noisy(rng, images(1.15, 13.0, 1.0, SPREAD, sense=sense), 2.0)
    for stored, expected in ((data, sense), (data.conj(), -sense)):
        result = fit(stored, 1.15, noise_sd=2.0)
        assert result.sense == expected
        assert result.sense_ratio > 10
        assert abs(result.r2.mean() / 13 - 1) < 0.02  # 3 % noise over 23 voxels
    plain, turned = fit(data, 1.15, noise_sd=2.0), fit(data.conj(), 1.15, noise_sd=2.0)
    np.testing.assert_allclose(turned.off_resonance, -plain.off_resonance, atol=1e-3)


def test_one_flip_angle_is_enough_for_lore():
    result = fit(images(1.15, 13.0, 1.0, SPREAD, flips=FLIPS[1:]), 1.15, flips=FLIPS[1:])
    np.testing.assert_allclose(result.r2, 13.0, rtol=1e-5)  # a differs from 1 by 0.08: fifteenfold rounding


def test_three_flip_angles_fit_one_line():
    flips = np.array([10, 25, 40]) * DEGREE
    result = fit(images(1.15, 13.0, 0.8, SPREAD, flips=flips), 1.15, 0.8, flips=flips)
    np.testing.assert_allclose(result.r2, 13.0, rtol=EXACT)


def test_images_may_come_in_any_order(rng):
    data = noisy(rng, images(1.15, 13.0, 1.0, SPREAD), 2.0)
    order = rng.permutation(8)
    flips, cycles = np.repeat(FLIPS, 4), np.tile(FOUR, 2)
    shape = (1, 1, SPREAD.size)
    one = np.ones(shape, np.float32)
    found = []
    for chosen in (np.arange(8), order):
        stored = data[chosen].reshape(8, *shape)
        found.append(
            fit_r2_bssfp(
                np.abs(stored).astype(np.float32),
                np.angle(stored).astype(np.float32),
                flips[chosen],
                cycles[chosen] - 2 * np.pi,
                TR,
                2.0,
                *(1.15 * one, 0 * one, one, 0 * one),
                np.ones(shape, bool),
            ).r2
        )
    assert found[0].tobytes() == found[1].tobytes()


@pytest.mark.parametrize("method", ["lore", "magnitude"])
@pytest.mark.parametrize("tissue", TISSUES)
def test_noise_gives_no_bias_and_the_sd_that_is_reported(method, tissue, rng):
    """SNR 60, B1 65 to 130 %, all frequencies; R1 and B1 err with their SDs, R1 together with B1."""
    r1, r2 = TISSUES[tissue]
    exact = 60, 200
    b1, frequency = rng.uniform(0.65, 1.3, exact[0]), rng.uniform(-0.5 / TR, 0.5 / TR, exact[0])
    data = np.repeat(images(r1, r2, b1, frequency), exact[1], axis=1)
    b1 = np.repeat(b1, exact[1])
    sd, b1_sd, own_sd = WHITE_SIGNAL / 60, 0.02, 0.02 * r1
    b1_found = b1 + b1_sd * rng.standard_normal(b1.size)
    r1_found = r1 * (b1_found / b1) ** 2 + own_sd * rng.standard_normal(b1.size)
    r1_sd = np.hypot(own_sd, 2 * r1 / b1 * b1_sd)
    found = fit(noisy(rng, data, sd), r1_found, b1_found, sd, r1_sd=r1_sd, b1_sd=b1_sd, method=method)
    assert found.valid.mean() > 0.995
    error = (found.r2 - r2)[found.valid]
    assert abs(error.mean()) < 0.02 * r2
    assert 0.9 < (error / found.sd[found.valid]).std() < 1.1
    assert found.quality[found.valid].mean() == pytest.approx(1, abs=0.08)


def test_independent_r1_and_b1_are_propagated(rng):
    data = np.repeat(images(1.15, 13.0, 1.0, [20.0]), 4000, axis=1)
    b1 = 1 + 0.03 * rng.standard_normal(4000)
    r1 = 1.15 * (1 + 0.03 * rng.standard_normal(4000))
    found = fit(data, r1, b1, 1e-2, r1_sd=0.03 * 1.15, b1_sd=0.03, shared=False)
    assert ((found.r2 - 13) / found.sd).std() == pytest.approx(1, abs=0.05)  # Monte-Carlo 1 %, curvature 3 %


def test_refinement_never_loses_against_the_start(rng):
    data = noisy(rng, np.repeat(images(0.25, 0.7, 0.7, SPREAD), 20, axis=1), 2.0)
    refined, plain = fit(data, 0.25, 0.7, 2.0), fit(data, 0.25, 0.7, 2.0, gauss_newton=False)
    both = refined.valid & plain.valid
    # below, the last step is taken without looking: it may cost what is lost to curvature within 0.25 squared SDs
    assert (refined.quality[both] < plain.quality[both] + 0.01).all()
    assert refined.r2[both].std() < 0.8 * plain.r2[both].std()


@pytest.mark.parametrize(("duration", "tolerance"), [(0.5e-3, 0.01), (1.5e-3, 0.05)])
@pytest.mark.parametrize("method", ["lore", "magnitude"])
def test_finite_pulses_are_corrected(duration, tolerance, method):
    """The correction is an average over frequencies and holds for typical rates; R2 and R1 differ here."""
    for r1, r2 in TISSUES.values():
        data = images(r1, r2, 1.0, np.linspace(-60, 60, 5), pulse=duration)
        plain, corrected = fit(data, r1, method=method), fit(data, r1, method=method, pulse_duration=duration)
        assert plain.r2.mean() < r2 * (1 - 0.25 * duration / TR)
        np.testing.assert_allclose(corrected.r2, r2, rtol=tolerance)


def test_transfer_bias_of_the_note_is_that_of_the_two_pool_patient():
    """White matter with its bound pool, R1 from the flip angles of the protocol, with perfect spoiling correction."""
    r1, r2 = TISSUES["white matter"]
    bound, nominal = BOUND_FRACTION["white matter"], int(np.argmin(np.abs(B1_AXIS - 1)))
    spoiled = [SpoiledGre(flip, 0.015, (0.0022,)) for flip in FLIP_ANGLES]

    def series(fraction):
        pools = (np.array([value]) for value in (r1, r2, fraction))
        pools = tuple(pools)
        return np.array([scan.amplitudes(*pools)[0, nominal] for scan in spoiled])

    def ernst(rate):
        e1, flip = np.exp(-0.015 * rate), np.array(FLIP_ANGLES)
        return np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))

    seen = series(bound) * ernst(r1) / series(0.0)
    r1_found = least_squares(lambda p: p[0] * ernst(p[1]) - seen, [1, r1], x_scale=[1, 1], xtol=1e-12, ftol=1e-12).x[1]
    data = []
    for flip in BSSFP_FLIP_ANGLES:
        coefficients = bssfp_coefficients(r1, r2, flip, TR, bound, 1e-3)
        for cycle in PHASE_CYCLES:
            data.append([M0 * bssfp_signal(*coefficients, 2 * np.pi * df * TR, cycle) for df in SPREAD])
    biased = fit(np.array(data), r1_found, flips=BSSFP_FLIP_ANGLES, cycles=PHASE_CYCLES)
    assert biased.r2.mean() / r2 - 1 == pytest.approx(WHITE_MATTER_TRANSFER_BIAS, abs=0.005)
    true_r1 = fit(np.array(data), r1, flips=BSSFP_FLIP_ANGLES, cycles=PHASE_CYCLES)
    assert abs(true_r1.r2.mean() / r2 - 1) < 0.015  # nearly all of the bias is that of R1
    assert f"{100 * WHITE_MATTER_TRANSFER_BIAS:+.0f} %" in transfer_note()


@pytest.mark.parametrize("method", ["lore", "geometric", "magnitude"])
def test_same_bits_with_one_thread(method, rng, threads):
    data = noisy(rng, np.tile(images(1.15, 13.0, 1.0, SPREAD), 100), 2.0)
    threads(2)
    many = fit(data, 1.15, noise_sd=2.0, method=method)
    threads(1)
    one = fit(data, 1.15, noise_sd=2.0, method=method)
    assert many.r2.tobytes() == one.r2.tobytes()
    assert many.sd.tobytes() == one.sd.tobytes()


@pytest.mark.parametrize("method", ["lore", "geometric", "magnitude"])
def test_voxels_without_meaning_are_not_valid(method):
    data = np.tile(images(1.15, 13.0, 1.0, [20.0]), 7)
    data[0, 0], data[3, 1], data[:, 2] = np.nan, np.inf, 0
    r1, b1 = np.full(7, 1.15), np.ones(7)
    r1[3], r1[4], b1[5] = 0, np.nan, 0
    found = fit(data, r1, b1, method=method)
    assert found.valid.ravel().tolist() == [False] * 6 + [True]
    for array in (found.r2, found.sd, found.quality):
        assert not array[~found.valid].any()


def test_cancelling_stops_the_fit():
    shape = (1, 1, 1)
    one, eight = np.ones(shape, np.float32), np.ones((8, *shape), np.float32)
    angles = np.repeat(FLIPS, 4), np.tile(FOUR, 2)
    with pytest.raises(Cancelled):
        fit_r2_bssfp(eight, eight, *angles, TR, 1.0, one, one, one, one, one > 0, cancelled=lambda: True)


def bad_call(change):
    shape = (1, 1, 2)
    one = np.ones(shape, np.float32)
    cycles, flips = change.pop("cycles", FOUR), change.pop("flips", FLIPS)
    stack = np.ones((len(cycles) * len(flips), *shape), np.float32)
    arguments = {
        "magnitude": stack,
        "phase": stack,
        "flip_angles": np.repeat(flips, len(cycles)),
        "phase_cycles": np.tile(cycles, len(flips)),
        "repetition_time": TR,
        "noise_sd": 1.0,
        "r1": one,
        "r1_sd": one,
        "b1": one,
        "b1_sd": one,
        "mask": np.ones(shape, bool),
    }
    return fit_r2_bssfp(**(arguments | change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cycles": FOUR[:3]}, "lore needs 4 or more; use the method magnitude"),
        ({"phase": None}, "phase is missing"),
        ({"r1": None}, "r1 is missing"),
        ({"cycles": np.array([0, 90, 90, 270]) * DEGREE}, "all different"),
        ({"phase_cycles": np.arange(8) * 45 * DEGREE}, "the same for each"),
        ({"flip_angles": np.array([0.2] * 3 + [0.6] * 5)}, "differ between flip angles"),
        (
            {"cycles": np.array([0, 60, 180, 270]) * DEGREE, "options": R2Options(method="geometric")},
            "90 degrees apart",
        ),
        ({"flips": FLIPS[1:], "options": R2Options(method="geometric")}, "needs two or more"),
        ({"cycles": np.array([0, 90]) * DEGREE, "options": R2Options(method="magnitude")}, "evenly spaced"),
        ({"flips": np.array([12.0, 35.0])}, "between 0 and pi"),
        ({"noise_sd": 0.0}, "noise_sd is 0"),
        ({"options": R2Options(pulse_duration=3e-3), "repetition_time": 2e-3}, "below repetition_time"),
        ({"b1": np.ones((2, 1, 2), np.float32)}, "b1"),
    ],
)
def test_bad_input_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        bad_call(dict(change))


def test_unknown_method_is_refused():
    with pytest.raises(InputError, match="lore"):
        R2Options(method="planet")
