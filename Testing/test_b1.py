"""Transmit field from AFI, double angle, Bloch-Siegert and ready maps, against Bloch steady states written out here."""

import json
import math

import nibabel as nib
import numpy as np
import pytest
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.phantom.epg import afi_steady_state
from QMRIEstimationLib.relaxometry.afi_spoiling import afi_ratio
from QMRIEstimationLib.relaxometry.b1 import (
    B1Options,
    afi_b1,
    bloch_siegert_b1,
    double_angle_b1,
    vendor_b1,
)
from QMRIEstimationLib.relaxometry.smooth_field import smooth_field

TR = (0.02, 0.1)
FLIP = math.radians(60)
TEXTBOOK = B1Options(r1=0.0, r1_sd=0.0)
LINE = np.ones((1, 1, 1), bool)


def afi_signals(b1, r1, flip=FLIP, repetition_times=TR):
    """Steady state of ideally spoiled AFI by running the two pulses until they repeat; [1, 1, n] each, M0 = 1000."""
    b1, r1 = np.broadcast_arrays(np.asarray(b1, float), np.asarray(r1, float))
    z = np.ones(b1.shape)
    for _ in range(2000):
        signals = []
        for tr in repetition_times:
            signals.append(z * np.sin(flip * b1))
            z = 1 + (z * np.cos(flip * b1) - 1) * np.exp(-tr * r1)
    return [(1000 * s.reshape(1, 1, -1)).astype(np.float32) for s in signals]


def isochromat_ratio(flip, r1, r2, increment, pairs=120, isochromats=400):
    """Ratio of the two AFI signals by rotating isochromats that each repetition spreads over one full turn."""
    position = 2 * np.pi * np.arange(isochromats) / isochromats
    m, z = np.zeros(isochromats, complex), np.ones(isochromats)
    for n in range(2 * pairs):
        phase = increment * n * (n + 1) / 2
        m = m * np.exp(-1j * phase)
        y = m.imag * np.cos(flip) + z * np.sin(flip)
        z = z * np.cos(flip) - m.imag * np.sin(flip)
        m = (m.real + 1j * y) * np.exp(1j * phase)
        signal = abs(m.mean())
        if n % 2 == 0:
            short = signal
        tr = TR[n % 2]
        m = m * np.exp(-tr * r2 + 1j * position)
        z = 1 + (z - 1) * np.exp(-tr * r1)
    return signal / short


def everywhere(image):
    return np.ones(image.shape, bool)


def probes(folder, name):
    """Images [2][1, j, i] and the published values of a reference slice, with their voxels."""
    settings = json.loads((folder / f"{name}.json").read_text())
    stored = np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj, np.float32)
    images = [np.ascontiguousarray(stored[..., n].T) for n in range(2)]
    return images, [((0, p["y"], p["x"]), p["expected"]["B1"]) for p in settings["probes"]]


def test_reference_voxels_of_afi_agree(shared_data):
    (first, second), expected = probes(shared_data / "qmri_slices_qmrlab", "b1_afi")
    fit = afi_b1(first, second, FLIP, TR, 0.01, everywhere(first), TEXTBOOK)
    for voxel, value in expected:
        assert fit.b1[voxel] == pytest.approx(value, rel=1e-5)


def test_reference_voxels_of_double_angle_agree(shared_data):
    (first, second), expected = probes(shared_data / "qmri_slices_qmrlab", "b1_dam")
    angles = math.radians(60), math.radians(120)
    fit = double_angle_b1(first, second, angles, 0.01, everywhere(first))
    for voxel, value in expected:
        assert fit.b1[voxel] == pytest.approx(value, rel=1e-5)


B1, R1 = (a.ravel() for a in np.meshgrid(np.linspace(0.6, 1.3, 15), np.linspace(0.25, 1.5, 6)))


def test_afi_with_finite_repetition_times_is_exact_with_r1_and_within_half_a_percent_without():
    first, second = afi_signals(B1, R1)
    mask = everywhere(first)
    known = afi_b1(first, second, FLIP, TR, 0.01, mask, r1=R1.reshape(mask.shape).astype(np.float32))
    np.testing.assert_allclose(known.b1.ravel(), B1, rtol=2e-5)  # float32 signals
    typical = afi_b1(first, second, FLIP, TR, 0.01, mask)
    assert np.abs(typical.b1.ravel() / B1 - 1).max() < 0.005
    assert np.abs(afi_b1(first, second, FLIP, TR, 0.01, mask, TEXTBOOK).b1.ravel() / B1 - 1).max() > 0.005


def test_order_of_afi_images_comes_from_their_repetition_times():
    first, second = afi_signals(B1, R1)
    plain = afi_b1(first, second, FLIP, TR, 1.0, everywhere(first))
    swapped = afi_b1(second, first, FLIP, TR[::-1], 1.0, everywhere(first))
    assert plain.b1.tobytes() == swapped.b1.tobytes()
    with pytest.raises(InputError, match="exchange RepetitionTimeExcitation"):
        afi_b1(second, first, FLIP, TR, 1.0, everywhere(first))


@pytest.mark.parametrize("degrees", [39, 50, 117])
def test_spoiling_of_afi_is_that_of_isochromats(degrees):
    increment = math.radians(degrees)
    r1, r2 = np.array([1.15, 0.68, 0.9]), np.array([13.0, 10.8, 17.0])
    flips = FLIP * np.array([1.0, 0.7, 1.3])
    expected = [isochromat_ratio(*tissue, increment) for tissue in zip(flips, r1, r2, strict=True)]
    np.testing.assert_allclose(afi_ratio(flips, r1, r2, TR, increment), expected, rtol=2e-4)


def test_imperfect_spoiling_of_afi_is_corrected():
    increment = math.radians(39)
    rng = np.random.default_rng(1)
    b1, r1, r2 = rng.uniform(0.6, 1.3, 60), rng.uniform(0.9, 1.4, 60), rng.uniform(11, 17, 60)
    ratio = afi_ratio(FLIP * b1, r1, r2, TR, increment)
    images = [(1000 * s.reshape(1, 1, -1)).astype(np.float32) for s in (np.ones(60), ratio)]
    maps = [a.reshape(1, 1, -1).astype(np.float32) for a in (r1, r2)]
    mask = everywhere(images[0])
    spoiling = {"spoiling_increment": increment, "dephasing": 0.0}
    fit = afi_b1(*images, FLIP, TR, 0.01, mask, r1=maps[0], r2=maps[1], **spoiling)
    np.testing.assert_allclose(fit.b1.ravel(), b1, rtol=4e-3)  # linear interpolation in R1, R2 and the angle
    ideal = afi_b1(*images, FLIP, TR, 0.01, mask, r1=maps[0])
    assert np.median(ideal.b1.ravel() / b1) < 0.93
    unknown = afi_b1(*images, FLIP, TR, 0.01, mask, **spoiling)
    z = (unknown.b1.ravel() / b1 - 1) / unknown.scale_sd
    assert np.abs(z).mean() < 2.5  # R2 was drawn over 2.5 times the spread that tissue is said to have
    assert fit.scale_sd == 0 < unknown.scale_sd


@pytest.mark.parametrize("dephasing", [30.0, 120.0])
def test_strong_spoilers_bring_afi_near_to_ideal(dephasing):
    # The signal is that of the digital patient's phase graph, which was written apart from the estimator's.
    b1, r1, r2 = np.array([0.7, 1.0, 1.25]), np.array([1.1, 0.7, 0.9]), np.array([13.0, 10.8, 12.0])
    wear, increment = 0.8e-3 * dephasing**2, math.radians(39)
    pairs = [afi_steady_state(FLIP * b, a, c, *TR, increment, wear) for b, a, c in zip(b1, r1, r2, strict=True)]
    images = [1000 * np.abs([pair[n] for pair in pairs]).reshape(1, 1, -1).astype(np.float32) for n in (0, 1)]
    maps = [a.reshape(1, 1, -1).astype(np.float32) for a in (r1, r2)]
    known = {"r1": maps[0], "r2": maps[1], "spoiling_increment": increment}
    fit = afi_b1(*images, FLIP, TR, 0.01, everywhere(images[0]), dephasing=dephasing, **known)
    np.testing.assert_allclose(fit.b1.ravel(), b1, rtol=5e-3)  # interpolation, as above
    if dephasing == 120.0:  # what is assumed when the sidecar is silent
        silent = afi_b1(*images, FLIP, TR, 0.01, everywhere(images[0]), **known)
        np.testing.assert_array_equal(silent.b1, fit.b1)
        assert "assumed because SpoilingGradientMoment" in " ".join(silent.notes)


def test_fluid_that_defies_spoiling_is_not_valid():
    first, second = afi_signals([1.0, 1.0], [0.24, 1.0])
    r1 = np.array([0.24, 1.0], np.float32).reshape(first.shape)
    fit = afi_b1(first, second, FLIP, TR, 0.1, everywhere(first), r1=r1, spoiling_increment=math.radians(39))
    assert fit.valid.ravel().tolist() == [False, True]


def test_noise_does_not_lift_the_smoothed_field(rng):
    # Weights that follow the noise of their own voxel would: by 0.3 % at this SNR (46), which is 0.6 % of R1.
    shape, sd = (40, 40, 40), 2.5
    images = [np.full(shape, float(s.ravel()[0])) for s in afi_signals([1.0], [1.0])]
    noisy = [np.abs(s + sd * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))) for s in images]
    fit = afi_b1(
        *(s.astype(np.float32) for s in noisy), FLIP, TR, sd, np.ones(shape, bool), r1=np.ones(shape, np.float32)
    )
    smooth, _ = smooth_field(fit.b1, fit.sd, fit.valid, Geometry(shape, np.eye(4)), 8.0)
    assert smooth.mean() == pytest.approx(1, abs=2e-3)  # noise alone bends the arc cosine by 0.13 %


@pytest.mark.parametrize("method", ["afi", "double angle", "Bloch-Siegert"])
def test_sd_is_the_spread_over_noise(method, rng):
    count, sd = 20000, 5.0
    b1 = np.full(count, 1.05)
    if method == "afi":
        images = afi_signals(b1, 0.85)
    elif method == "double angle":
        images = [np.full((1, 1, count), 1000 * math.sin(n * math.radians(45) * 1.05), np.float32) for n in (1, 2)]
    else:
        shift = 74e8 * (10e-6 * 1.05) ** 2  # K = 74 rad/G^2, peak 10 uT
        images = [np.full((1, 1, count), 200 * np.exp(1j * sign * shift)) for sign in (1, -1)]
    noisy = [s + sd * (rng.standard_normal(s.shape) + 1j * rng.standard_normal(s.shape)) for s in images]
    magnitudes = [np.abs(s).astype(np.float32) for s in noisy]
    mask = everywhere(magnitudes[0])
    if method == "afi":
        fit = afi_b1(*magnitudes, FLIP, TR, sd, mask)
    elif method == "double angle":
        fit = double_angle_b1(*magnitudes, (math.radians(45), math.radians(90)), sd, mask)
    else:
        phases = [np.angle(s).astype(np.float32) for s in noisy]
        fit = bloch_siegert_b1(*phases, magnitudes[0], 74e8, 10e-6, sd, mask)
    assert fit.valid.mean() > 0.999
    z = (fit.b1[fit.valid] - 1.05) / fit.sd[fit.valid]
    assert z.std() == pytest.approx(1, abs=0.05)  # the SD of 20000 draws is known to 0.5 %, the slope is curved
    assert abs(z.mean()) < 0.1  # the curvature and the Rician floor at SNR 200 and 40


def test_double_angle_with_short_repetition_is_solved_with_r1():
    r1, tr, flip = 0.8, 1.5, math.radians(50)
    e = math.exp(-r1 * tr)
    b1 = np.linspace(0.6, 1.3, 15).reshape(1, 1, -1)
    images = [
        (1000 * np.sin(n * flip * b1) * (1 - e) / (1 - e * np.cos(n * flip * b1))).astype(np.float32) for n in (1, 2)
    ]
    mask = everywhere(images[0])
    r1_map = np.full(mask.shape, r1, np.float32)
    fit = double_angle_b1(*images, (flip, 2 * flip), 0.01, mask, repetition_time=tr, r1=r1_map)
    np.testing.assert_allclose(fit.b1, b1, rtol=1e-5)
    assert any("less than 5 T1" in note for note in fit.notes)
    swapped = double_angle_b1(*images[::-1], (2 * flip, flip), 0.01, mask, repetition_time=tr, r1=r1_map)
    assert swapped.b1.tobytes() == fit.b1.tobytes()
    saturated = B1Options(saturated=True)
    ignored = double_angle_b1(*images, (flip, 2 * flip), 0.01, mask, saturated, repetition_time=tr)
    assert ignored.b1.tobytes() == double_angle_b1(*images, (flip, 2 * flip), 0.01, mask).b1.tobytes()


def test_double_angle_says_where_it_is_ambiguous():
    image = np.full((1, 1, 4), 100, np.float32)
    fit = double_angle_b1(image, image, (math.radians(60), math.radians(120)), 0.1, everywhere(image))
    assert any("above 1.50 of nominal" in note for note in fit.notes)
    fit = double_angle_b1(image, image, (math.radians(45), math.radians(90)), 0.1, everywhere(image))
    assert not fit.notes


@pytest.mark.parametrize("polarity", [1, -1])
def test_bloch_siegert_finds_its_sign_and_unwraps(polarity):
    b1 = np.linspace(0.5, 1.5, 11).reshape(1, 1, -1)  # the largest difference is 3.3 rad, beyond pi
    shift = polarity * 74e8 * (10e-6 * b1) ** 2
    phases = [np.angle(np.exp(1j * (sign * shift + 2.5))).astype(np.float32) for sign in (1, -1)]
    magnitude = np.full(b1.shape, 100, np.float32)
    for given in (0, polarity):
        fit = bloch_siegert_b1(*phases, magnitude, 74e8, 10e-6, 0.1, everywhere(magnitude), given)
        np.testing.assert_allclose(fit.b1, b1, rtol=1e-5)
    wrong = bloch_siegert_b1(*phases, magnitude, 74e8, 10e-6, 0.1, everywhere(magnitude), -polarity)
    assert not wrong.valid[b1 < 1].any()


def test_what_gives_no_angle_is_not_valid_rather_than_a_hole_of_zero():
    first = np.array([100, 100, 0, 100, np.nan, 100, 2, 100], np.float32).reshape(1, 1, -1)
    second = np.array([45, 110, 50, 0, 50, -45, 1, 45], np.float32).reshape(1, 1, -1)
    fit = afi_b1(first, second, FLIP, TR, 1.0, everywhere(first))
    assert fit.valid.ravel().tolist() == [True, False, False, False, False, False, False, True]
    assert not fit.b1[~fit.valid].any()
    assert any("6 of 8 voxels" in note for note in fit.notes)
    ratio = np.array([1.0, 0.0, np.nan], np.float32).reshape(1, 1, -1)
    ready = vendor_b1(ratio, everywhere(ratio))
    assert ready.valid.ravel().tolist() == [True, False, False]
    assert ready.sd[0, 0, 0] == pytest.approx(0.03)


def test_impossible_protocols_are_refused_by_name():
    image = np.ones((2, 2, 2), np.float32)
    mask = everywhere(image)
    with pytest.raises(ValueError, match=r"repetition_times are 0\.02 and 0.02 s"):
        afi_b1(image, image, FLIP, (0.02, 0.02), 0.1, mask)
    with pytest.raises(ValueError, match=r"repetition times are -0\.02, 0\.1"):
        afi_b1(image, image, FLIP, (-0.02, 0.1), 0.1, mask)
    with pytest.raises(ValueError, match="flip_angle is 60"):
        afi_b1(image, image, 60, TR, 0.1, mask)
    with pytest.raises(ValueError, match="noise_sd is 0"):
        afi_b1(image, image, FLIP, TR, 0.0, mask)
    with pytest.raises(ValueError, match=r"second has shape \(1, 2, 2\)"):
        afi_b1(image, image[:1], FLIP, TR, 0.1, mask)
    with pytest.raises(ValueError, match="expected one to be twice the other"):
        double_angle_b1(image, image, (FLIP, FLIP), 0.1, mask)
    with pytest.raises(ValueError, match="sensitivity is -1"):
        bloch_siegert_b1(image, image, image, -1.0, 10e-6, 0.1, mask)
    with pytest.raises(InputError, match=r"B1Options.r1 is 9"):
        B1Options(r1=9.0)


@pytest.mark.parametrize("scan", ["afi", "double angle"])
def test_noise_does_not_move_the_mean_of_the_field(scan, rng):
    # 16 SDs in the weaker image. Uncorrected, AFI is 0.45 % low and the double angle 0.76 %; the mean of 90,000 voxels
    # has an SD of 0.02 %.
    shape = (1, 300, 300)
    if scan == "afi":
        clean = [np.full(shape, s.item()) for s in afi_signals(1.0, 0.9)]
    else:
        clean = [np.full(shape, 1000 * math.sin(a)) for a in (0.75 * FLIP, 1.5 * FLIP)]
    noise = min(image.mean() for image in clean) / 16
    images = [np.abs(image + noise * (rng.normal(size=shape) + 1j * rng.normal(size=shape))) for image in clean]
    images = [image.astype(np.float32) for image in images]
    if scan == "afi":
        fit = afi_b1(*images, FLIP, TR, noise, everywhere(images[0]), B1Options(r1=0.9, r1_sd=0.0))
    else:
        fit = double_angle_b1(*images, (0.75 * FLIP, 1.5 * FLIP), noise, everywhere(images[0]))
    assert fit.b1[fit.valid].mean() == pytest.approx(1, abs=0.0007)
    assert fit.valid.mean() > 0.99
