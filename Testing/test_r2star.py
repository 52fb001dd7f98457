"""R2* fits against exact decays, Monte-Carlo noise, scipy and a real scan."""

import json
import logging

import nibabel as nib
import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.noise import noise_sd
from QMRIEstimationLib.relaxometry.r2star import R2STAR_METHODS, R2starOptions, fit_r2star
from QMRIEstimationLib.relaxometry.rician import TABLE_END, rician_mean
from scipy.optimize import least_squares
from scipy.special import ive

EVEN = np.arange(1, 7) * 0.005
UNEVEN = np.array([0.004, 0.007, 0.013, 0.016, 0.026])
EXACT_ARLO = 4e-3  # parabolas through R2* dTE of 0.9 at most
METHODS = tuple(R2STAR_METHODS)


def decays(rates, echo_times, s0=1000.0):
    """Exact magnitudes [e, 1, 1, n] of the given rates."""
    rates = np.asarray(rates, float).reshape(1, 1, 1, -1)
    return (s0 * np.exp(-rates * np.reshape(echo_times, (-1, 1, 1, 1)))).astype(np.float32)


def noisy(rng, rate, echo_times, snr, count):
    """Rician magnitudes [e, 1, 1, count]; SNR is S0 over the channel SD, which is 1."""
    true = np.repeat(decays([rate], echo_times, snr), count, axis=3)
    noise = rng.standard_normal((2, *true.shape))
    return np.hypot(true + noise[0], noise[1]).astype(np.float32)


def fit(magnitude, echo_times, sd=1.0, method="nlls", **more):
    mask = np.ones(magnitude.shape[1:], bool)
    return fit_r2star(magnitude, echo_times, sd, mask, R2starOptions(method=method), **more)


def textbook_mean(signal):
    """Rician mean by the definition with Bessel functions, written down a second time for the test."""
    x = signal**2 / 4
    return np.sqrt(np.pi / 2) * ((1 + 2 * x) * ive(0, x) + 2 * x * ive(1, x))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spacing", ["even", "uneven"])
def test_exact_decay_comes_back(method, spacing):
    echo_times = EVEN if spacing == "even" else UNEVEN
    rates = np.array([2.0, 20.0, 45.0, 90.0])
    result = fit(decays(rates, echo_times), echo_times, 0.02, method)
    assert result.valid.all()
    # float32 data: 6e-8 of the signal over the span, and the Rician mean itself at the last echo.
    tolerance = EXACT_ARLO if method == "arlo" else 2e-5
    np.testing.assert_allclose(result.r2star.ravel(), rates, rtol=tolerance, atol=1e-3)
    np.testing.assert_allclose(result.s0, 1000, rtol=max(tolerance, 1e-4))
    if method != "arlo":
        assert result.quality.max() < 0.2  # the noise SD is 2e-5 of S0, half a hundred float32 roundings


@pytest.mark.parametrize("method", METHODS)
def test_order_of_echoes_does_not_matter(method, rng):
    order = rng.permutation(len(UNEVEN))
    magnitude = noisy(rng, 30, UNEVEN, 60, 200)
    plain, shuffled = fit(magnitude, UNEVEN, 1, method), fit(magnitude[order], UNEVEN[order], 1, method)
    assert plain.r2star.tobytes() == shuffled.r2star.tobytes()


@pytest.mark.parametrize("method", [m for m in METHODS if m != "arlo"])
def test_two_echoes_give_the_logarithm_of_their_ratio(method):
    echo_times = np.array([0.00763, 0.02214])
    rates = np.array([5.0, 25.0, 80.0])
    result = fit(decays(rates, echo_times), echo_times, 0.01, method)
    np.testing.assert_allclose(result.r2star.ravel(), rates, atol=2e-4)  # float32 logarithms, 1e-6 over the spacing
    assert result.valid.all()
    assert not result.quality.any()  # two unknowns through two values leave no residual


def test_two_echoes_have_the_spread_of_the_table(rng):
    echo_times = np.array([0.00763, 0.02214])
    for rate, spread in ((15, 3.1), (25, 3.6), (60, 7.1)):  # research/relaxometry.md 1.6, SNR 40
        result = fit(noisy(rng, rate, echo_times, 40, 20000), echo_times)
        assert result.r2star.std() == pytest.approx(spread, rel=0.05)
        assert np.median(result.sd) == pytest.approx(result.r2star.std(), rel=0.05)


def test_two_echoes_are_corrected_for_the_rician_mean():
    echo_times = np.array([0.005, 0.03])
    true = np.array([30.0, 30 * np.exp(-60 * 0.025)])  # 6.7 noise SDs at the second echo
    magnitude = textbook_mean(true).astype(np.float32).reshape(2, 1, 1, 1)
    assert fit(magnitude, echo_times).r2star.item() == pytest.approx(60, rel=1e-4)
    assert fit(magnitude, echo_times, method="log-linear").r2star.item() < 59.7


def test_rician_mean_inside_the_kernel_is_that_of_the_bessel_functions():
    """Noise-free data at the Rician mean are fitted without residual, below and above the end of the table."""
    rates = np.array([10.0, 40.0, 80.0])
    for s0 in (20.0, 1.5 * TABLE_END, 200.0):
        true = decays(rates, EVEN, s0).astype(float)
        result = fit(textbook_mean(true).astype(np.float32), EVEN)
        np.testing.assert_allclose(result.r2star[result.valid], rates[result.valid.ravel()], rtol=1e-4)
        assert result.valid.sum() >= 2
    np.testing.assert_allclose(rician_mean(true), textbook_mean(true), rtol=1e-12)


# Bias and spread at TE 6 x 5 ms from research/relaxometry.md 1.6 (other random numbers): rate, SNR, bias, spread.
TABLE = [(60, 15, 0.6, 10.0), (120, 40, 0.4, 10.5)]


@pytest.mark.parametrize(("rate", "snr", "bias", "spread"), TABLE)
def test_bias_and_spread_near_the_floor_are_those_of_the_table(rng, rate, snr, bias, spread):
    count = 20000
    result = fit(noisy(rng, rate, EVEN, snr, count), EVEN)
    assert result.valid.mean() > 0.98
    found = result.r2star[result.valid] - rate
    error = 4 * spread / np.sqrt(count)  # four Monte-Carlo errors of ours, and as much for the table's one digit
    assert abs(found.mean() - bias) < 2 * error + 0.1
    assert found.std() == pytest.approx(spread, rel=0.08)


def test_default_is_less_biased_near_the_floor_than_the_others(rng):
    magnitude = noisy(rng, 60, EVEN, 15, 20000)
    bias = {}
    for method in METHODS:
        result = fit(magnitude, EVEN, method=method)
        bias[method] = abs(result.r2star[result.valid].mean() - 60)
    assert bias["nlls"] < 1.5
    assert bias["weighted"] > 1.5 * bias["nlls"]


@pytest.mark.parametrize("method", METHODS)
def test_bias_at_snr_60_is_under_a_third_in_white_matter(method, rng):
    result = fit(noisy(rng, 20, EVEN, 60, 20000), EVEN, method=method)
    assert abs(result.r2star.mean() - 20) < 0.1  # Monte-Carlo error 0.015, ARLO's parabolas 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("echo_times", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_sd_covers_truth_in_68_percent(method, echo_times, rng):
    result = fit(noisy(rng, 25, echo_times, 60, 20000), echo_times, method=method)
    truth = fit(decays([25], echo_times), echo_times, 0.01, method).r2star.item()  # ARLO's own uneven value
    covered = np.mean(np.abs(result.r2star - truth) < result.sd)
    assert covered == pytest.approx(0.683, abs=0.02)  # six times the binomial error


def test_sd_of_the_default_holds_at_the_noise_floor(rng):
    result = fit(noisy(rng, 60, EVEN, 15, 20000), EVEN)
    errors = np.abs(result.r2star - 60)[result.valid]
    assert np.mean(errors < result.sd[result.valid]) == pytest.approx(0.683, abs=0.04)


@pytest.mark.parametrize("method", METHODS)
def test_quality_is_one_when_only_noise_is_left(method, rng):
    result = fit(noisy(rng, 20, EVEN, 100, 5000), EVEN, method=method)
    assert np.sqrt(np.mean(result.quality**2)) == pytest.approx(1, abs=0.05)


def test_default_agrees_with_scipy_on_the_same_model(rng):
    magnitude = np.concatenate([noisy(rng, rate, EVEN, 25, 15) for rate in (10, 30, 70)], axis=3)
    result = fit(magnitude, EVEN)
    for v in np.flatnonzero(result.valid.ravel()):
        data = magnitude[:, 0, 0, v].astype(float)

        def residual(p, data=data):
            return textbook_mean(np.exp(p[0] - p[1] * EVEN)) - data

        peer = least_squares(residual, (np.log(25), 30.0), x_scale=(1, 30), xtol=1e-14, ftol=1e-14, gtol=1e-14)
        assert result.r2star.ravel()[v] == pytest.approx(peer.x[1], abs=1e-4 * max(peer.x[1], 1))


@pytest.mark.parametrize("method", METHODS)
def test_pure_noise_is_marked_and_not_invented(method, rng):
    result = fit(noisy(rng, 20, EVEN, 0.0, 20000), EVEN, method=method)
    assert result.valid.mean() < 0.005  # two of six echoes above three SDs by chance
    for image in (result.r2star, result.sd, result.quality, result.s0):
        assert not image[~result.valid].any()


@pytest.mark.parametrize("method", METHODS)
def test_signal_in_the_first_echo_only_is_marked(method):
    magnitude = np.full((6, 1, 1, 3), 1.25, np.float32)
    magnitude[0] = 40
    assert not fit(magnitude, EVEN, method=method).valid.any()


@pytest.mark.parametrize("method", METHODS)
def test_zero_and_not_a_number_are_neither_fitted_nor_spread(method):
    magnitude = decays([20, 20, 20, 20], EVEN)
    magnitude[:, 0, 0, 0] = 0
    magnitude[2, 0, 0, 1] = np.nan
    magnitude[2, 0, 0, 2] = np.inf
    result = fit(magnitude, EVEN, method=method)
    assert result.valid.ravel().tolist() == [False, False, False, True]
    for image in (result.r2star, result.sd, result.quality, result.s0):
        assert np.isfinite(image).all()
        assert not image[..., :3].any()


@pytest.mark.parametrize("method", METHODS)
def test_voxels_outside_the_mask_stay_zero(method):
    magnitude = decays([20, 20], EVEN)
    mask = np.array([[[True, False]]])
    result = fit_r2star(magnitude, EVEN, 1.0, mask, R2starOptions(method=method))
    assert result.valid.ravel().tolist() == [True, False]
    assert result.r2star[0, 0, 1] == 0


def test_negative_rates_are_kept_so_that_a_slow_decay_has_no_bias(rng):
    result = fit(noisy(rng, 0.5, EVEN, 60, 20000), EVEN)
    assert (result.r2star < 0).mean() > 0.2
    assert abs(result.r2star.mean() - 0.5) < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_thread_count_does_not_change_a_bit(method, rng, threads):
    magnitude = noisy(rng, 40, EVEN, 30, 10000)
    images = []
    for count in (1, 2):
        threads(count)
        result = fit(magnitude, EVEN, method=method)
        images.append(b"".join(x.tobytes() for x in (result.r2star, result.sd, result.quality, result.s0)))
    assert images[0] == images[1]


def test_bad_input_is_named():
    good = decays([20], EVEN)
    with pytest.raises(ValueError, match=r"magnitude has shape .* 5 echoes"):
        fit(good, EVEN[:5])
    with pytest.raises(ValueError, match="mask has shape"):
        fit_r2star(good, EVEN, 1.0, np.ones((2, 2, 2), bool))
    with pytest.raises(ValueError, match="dephasing has shape"):
        fit(good, EVEN, dephasing=np.zeros((2, 1, 1, 1), np.float32))
    with pytest.raises(ValueError, match=r"echo_times is .* different positive times"):
        fit(good, np.array([0.005, 0.005, 0.01, 0.015, 0.02, 0.025]))
    with pytest.raises(ValueError, match="noise_sd is 0"):
        fit(good, EVEN, 0.0)
    with pytest.raises(ValueError, match="needs 3 or more"):
        fit(good[:2], EVEN[:2], method="arlo")
    with pytest.raises(InputError, match=r"R2starOptions\.method"):
        R2starOptions(method="guess")


def test_cancelling_stops_the_fit():
    with pytest.raises(Cancelled):
        fit(decays([20], EVEN), EVEN, cancelled=lambda: True)


def test_log_linear_rates_of_a_real_7t_scan(shared_data):
    folder = shared_data / "megre_7t_romeo"
    echo_times = json.loads((folder / "megre.json").read_text())["EchoTime_s"]
    stored = nib.load(folder / "mag.nii.gz").get_fdata(dtype=np.float32)
    magnitude = np.ascontiguousarray(stored.transpose(3, 2, 1, 0))
    inside = magnitude[0] > magnitude[0].mean()
    sd = noise_sd(magnitude)
    expected = (25.45, 33.37, 41.28)  # ordinary least squares of the logarithm, computed with numpy alone
    found = {}
    for method in METHODS:
        result = fit(magnitude, echo_times, sd, method)
        assert result.valid[inside].mean() > 0.99
        found[method] = np.percentile(result.r2star[inside], (25, 50, 75))
        logging.getLogger(__name__).info("7 T R2* quartiles by %s: %s", method, found[method].round(2))
    np.testing.assert_allclose(found["log-linear"], expected, atol=0.05)
    np.testing.assert_allclose(found["nlls"], expected, atol=0.5)  # three echoes at SNR 40: the methods differ little
