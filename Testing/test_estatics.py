"""Joint R2* and amplitudes of several flip angles: exact decays, Monte-Carlo noise, and on to R1."""

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.relaxometry.dephasing import dephasing_factor
from QMRIEstimationLib.relaxometry.estatics import fit_estatics
from QMRIEstimationLib.relaxometry.r1 import fit_r1
from QMRIEstimationLib.relaxometry.r2star import R2starOptions, fit_r2star

DUAL = (np.array([0.00763, 0.02214]),) * 2  # the RESUME protocol
MANY = (np.arange(1, 7) * 0.004, np.arange(1, 5) * 0.005 + 0.001)
FLIPS = np.deg2rad([3.0, 20.0])
TR = 0.028


def decays(amplitudes, rates, echo_times):
    """Exact magnitudes, one [e, 1, 1, n] for each flip angle."""
    return [
        (a * np.exp(-np.reshape(rates, (1, 1, 1, -1)) * t.reshape(-1, 1, 1, 1))).astype(np.float32)
        for a, t in zip(amplitudes, echo_times, strict=True)
    ]


def noisy(rng, images):
    """Rician magnitudes of channel SD 1."""
    return [np.hypot(m + rng.standard_normal(m.shape), rng.standard_normal(m.shape)).astype(np.float32) for m in images]


def fit(images, echo_times, sd=1.0, **more):
    return fit_estatics(images, echo_times, sd, np.ones(images[0].shape[1:], bool), **more)


def spoiled(r1, m0):
    e1 = np.exp(-TR * r1)
    return m0 * np.sin(FLIPS) * (1 - e1) / (1 - e1 * np.cos(FLIPS))


@pytest.mark.parametrize("echo_times", [DUAL, MANY], ids=["dual", "many"])
def test_exact_decays_come_back(echo_times):
    rates = np.array([2.0, 20.0, 45.0, 80.0])
    result = fit(decays([800, 1500], rates, echo_times), echo_times, 0.02)
    assert result.valid.all()
    np.testing.assert_allclose(result.r2star.ravel(), rates, rtol=3e-5)  # float32 data, 6e-8 over the span
    np.testing.assert_allclose(result.amplitude[0], 800, rtol=1e-5)
    np.testing.assert_allclose(result.amplitude[1], 1500, rtol=1e-5)


def test_one_echo_for_one_flip_angle_is_enough():
    echo_times = (MANY[0], np.array([0.004]))
    result = fit(decays([800, 1500], [25.0], echo_times), echo_times, 0.02)
    np.testing.assert_allclose(result.amplitude.ravel(), [800, 1500], rtol=1e-5)


def test_dephasing_is_taken_out():
    differences = np.array([8.0, -5.0, 12.0], np.float32).reshape(3, 1, 1, 1)
    images = decays([800, 1500], [20.0], MANY)
    for m, times in zip(images, MANY, strict=True):
        for e, te in enumerate(times):
            m[e] *= dephasing_factor(differences, te)
    result = fit(images, MANY, 0.02, dephasing=differences)
    np.testing.assert_allclose(result.r2star, 20, rtol=1e-4)
    plain = fit(images, MANY, 0.02, dephasing=differences, options=R2starOptions(gradient_correction=False))
    assert plain.r2star.item() > 21


def test_spread_is_the_stated_sd_and_covariance(rng):
    count = 20000
    result = fit(noisy(rng, decays([60, 100], np.full(count, 25.0), DUAL)), DUAL)
    assert result.valid.all()
    errors = result.amplitude.reshape(2, -1).astype(float) - [[60], [100]]
    stated = result.amplitude_sd.reshape(2, -1).mean(1), result.shared_sd.reshape(2, -1).mean(1)
    covariance = np.diag(stated[0] ** 2) + np.outer(stated[1], stated[1])
    np.testing.assert_allclose(np.cov(errors), covariance, rtol=0.06)  # Monte-Carlo error 1 to 2 %
    assert np.std((result.r2star - 25) / result.sd) == pytest.approx(1, abs=0.05)
    assert abs(result.r2star.mean() - 25) < 0.1


def test_joint_rate_is_more_precise_than_either_alone(rng):
    images = noisy(rng, decays([60, 100], np.full(3000, 25.0), MANY))
    joint = fit(images, MANY)
    mask = np.ones(images[0].shape[1:], bool)
    alone = [fit_r2star(m, t, 1.0, mask).r2star.std() for m, t in zip(images, MANY, strict=True)]
    assert joint.r2star.std() < 0.95 * min(alone)


def test_r1_from_dual_echoes_has_the_stated_spread(rng):
    count = 20000
    images = noisy(rng, decays(spoiled(1.0, 1000.0), np.full(count, 20.0), DUAL))
    joint = fit(images, DUAL)
    result = fit_r1(joint.amplitude, FLIPS, [TR, TR], joint.amplitude_sd, joint.valid, shared_sd=joint.shared_sd)
    assert result.valid.all()
    assert abs(result.r1.mean() - 1) < 0.005
    assert np.std((result.r1 - 1) / result.sd) == pytest.approx(1, abs=0.05)
    assert np.std((result.m0 - 1000) / result.m0_sd) == pytest.approx(1, abs=0.05)


def test_shared_error_falls_on_m0_and_not_on_r1():
    """All amplitudes scale together, which is a factor of M0."""
    amplitude = spoiled(1.0, 1000.0).astype(np.float32).reshape(2, 1, 1, 1)
    mask, own = np.ones((1, 1, 1), bool), np.full((2, 1, 1, 1), 1e-3, np.float32)
    for method in ("nlls", "linear"):
        result = fit_r1(amplitude, FLIPS, [TR, TR], own, mask, shared_sd=0.05 * amplitude)
        assert result.m0_sd.item() == pytest.approx(50, rel=1e-3), method
        assert result.sd.item() < 1e-3


def test_dark_and_broken_voxels_are_not_valid():
    images = decays([800, 1500], np.full(4, 20.0), DUAL)
    images[0][1, 0, 0, 1] = np.nan
    images[1][:, 0, 0, 2] = 0
    images[0][:, 0, 0, 3] = np.inf
    result = fit(images, DUAL)
    assert result.valid.ravel().tolist() == [True, False, False, False]
    assert np.isfinite(result.r2star).all() and not result.amplitude[:, ~result.valid].any()


def test_same_bits_with_one_thread(rng, threads):
    images = noisy(rng, decays([60, 100], np.full(5000, 25.0), DUAL))
    threads(2)
    many = fit(images, DUAL)
    threads(1)
    one = fit(images, DUAL)
    assert many.r2star.tobytes() == one.r2star.tobytes()
    assert many.shared_sd.tobytes() == one.shared_sd.tobytes()


def test_cancelling_stops():
    with pytest.raises(Cancelled):
        fit(decays([800, 1500], [20.0], DUAL), DUAL, cancelled=lambda: True)


BAD = [
    ({"echo_times": (DUAL[0],)}, "2 flip angles, echo_times 1"),
    ({"echo_times": (DUAL[0], np.array([0.005]))}, r"magnitudes\[1\] has shape"),
    ({"echo_times": (DUAL[0], DUAL[1][::-1])}, "ascending"),
    ({"noise_sd": 0.0}, "noise_sd is 0.0"),
    ({"noise_sd": [1.0, 2.0, 3.0]}, "noise_sd has shape"),
    ({"mask": np.ones((1, 1, 7), bool)}, "shape"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_input_is_refused_in_words(change, words):
    images = decays([800, 1500], [20.0], DUAL)
    given = {"magnitudes": images, "echo_times": DUAL, "noise_sd": 1.0, "mask": np.ones((1, 1, 1), bool)} | change
    with pytest.raises(ValueError, match=words):
        fit_estatics(**given)


def test_one_echo_everywhere_is_refused():
    echo_times = (np.array([0.005]), np.array([0.005]))
    with pytest.raises(ValueError, match="two or more"):
        fit(decays([800, 1500], [20.0], echo_times), echo_times)
