"""The noise SD on folded anatomy of known noise, as scanners and vendors hand it over."""

import numpy as np
import pytest
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.noise import noise_sd, rician_correction

SHAPE = (64, 72, 68)
ECHO_TIMES = np.arange(1, 5) * 0.006
TOLERANCE = 0.08  # of the SD: what the fits need; the spread of the estimate itself is about 0.02


def folded_head(shape):
    """Scalp, dark skull, two tissues folded into each other, bright fluid within; air around."""
    k, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt(k**2 + j**2 + i**2)
    folds = np.sin(18 * k + 3 * np.sin(6 * j)) * np.sin(16 * i + 10 * k) * np.sin(15 * j)
    image = np.where(radius < 0.92, 1.3, 0.0)
    image[radius < 0.88] = 0.1
    brain = radius < 0.84
    image[brain] = np.where(folds > 0.1, 1.0, 1.25)[brain]
    image[radius < 0.3] = 1.5
    return image


HEAD = folded_head(SHAPE)


def complex_scan(rng, snr):
    """Complex images [e, k, j, i] with a phase ramp, and their channel SD; SNR is of tissue at the first echo."""
    true = 1000 * HEAD * np.exp(-20 * ECHO_TIMES).reshape(-1, 1, 1, 1)
    ramp = np.exp(0.4j * np.arange(SHAPE[0])).reshape(-1, 1, 1)
    sd = 1000 * np.exp(-20 * ECHO_TIMES[0]) / snr
    noise = rng.standard_normal((2, *true.shape))
    return true * ramp + sd * (noise[0] + 1j * noise[1]), sd


def magnitude_of(scan):
    return np.abs(scan).astype(np.float32)


@pytest.mark.parametrize("snr", [10, 30, 60, 150])
def test_whole_head_with_air(rng, snr):
    scan, sd = complex_scan(rng, snr)
    assert noise_sd(magnitude_of(scan)) == pytest.approx(sd, rel=TOLERANCE)


@pytest.mark.parametrize("snr", [10, 60])
def test_single_echo(rng, snr):
    scan, sd = complex_scan(rng, snr)
    assert noise_sd(magnitude_of(scan[:1])) == pytest.approx(sd, rel=TOLERANCE)


@pytest.mark.parametrize("snr", [10, 60])
def test_crop_without_background(rng, snr):
    scan, sd = complex_scan(rng, snr)
    assert noise_sd(magnitude_of(scan)[:, 18:46, 18:54, 18:50]) == pytest.approx(sd, rel=TOLERANCE)


@pytest.mark.parametrize("snr", [10, 60])
def test_background_zeroed_by_the_vendor(rng, snr):
    scan, sd = complex_scan(rng, snr)
    magnitude = magnitude_of(scan)
    magnitude[:, HEAD == 0] = 0
    assert noise_sd(magnitude) == pytest.approx(sd, rel=TOLERANCE)


@pytest.mark.parametrize("with_phase", [True, False], ids=["complex", "magnitude only"])
def test_zero_filled_image_is_judged_on_the_measured_grid(rng, with_phase):
    scan, sd = complex_scan(rng, 60)
    spectrum = np.fft.fftshift(np.fft.fftn(scan, axes=(1, 2, 3)), axes=(1, 2, 3))
    filled = np.fft.ifftshift(np.pad(spectrum, [(0, 0), (0, 0), (18, 18), (17, 17)]), axes=(1, 2, 3))
    large = np.fft.ifftn(filled, axes=(1, 2, 3)) * 1.5**2
    magnitude = magnitude_of(large)
    geometry = Geometry(magnitude.shape[1:], np.diag([2 / 3, 2 / 3, 1, 1]), acquired_voxel_size=(1.0, 1.0, 1.0))
    phase = np.angle(large).astype(np.float32) if with_phase else None
    # The magnitude alone spreads beyond the measured k-space at edges, which adds some percent.
    tolerance = TOLERANCE if with_phase else 0.12
    assert noise_sd(magnitude, phase, geometry) == pytest.approx(sd, rel=tolerance)


def test_phase_changes_nothing_without_interpolation(rng):
    scan, _ = complex_scan(rng, 60)
    magnitude = magnitude_of(scan)
    geometry = Geometry(SHAPE, np.eye(4))
    assert noise_sd(magnitude, np.angle(scan), geometry) == noise_sd(magnitude)


def test_given_mask_is_used(rng):
    scan, sd = complex_scan(rng, 60)
    magnitude = magnitude_of(scan)
    magnitude[:, :, :36] += (20 * sd * rng.standard_normal((len(scan), 64, 36, 68))).astype(np.float32)
    mask = HEAD > 0.5
    mask[:, :36] = False
    assert noise_sd(magnitude, mask=mask) == pytest.approx(sd, rel=TOLERANCE)


def test_rician_correction_is_that_of_pure_noise_and_of_strong_signal():
    pure_mean, pure_sd = np.sqrt(np.pi / 2), np.sqrt(2 - np.pi / 2)  # Rayleigh
    assert rician_correction(pure_mean, pure_sd) == pytest.approx(1 / pure_sd, rel=1e-3)
    assert rician_correction(100.0, 1.0) == pytest.approx(1, abs=5e-3)
    assert rician_correction(1.0, 0.0) == 0


def test_single_slice(rng):
    true = np.broadcast_to(50 + 5 * np.sin(np.linspace(0, 9, 120)), (1, 1, 120, 120))
    noise = rng.standard_normal((2, *true.shape))
    assert noise_sd(np.hypot(true + noise[0], noise[1]).astype(np.float32)) == pytest.approx(1, rel=TOLERANCE)


def test_scale_of_the_image_carries_over(rng):
    magnitude = magnitude_of(complex_scan(rng, 40)[0])
    assert noise_sd(4 * magnitude) == pytest.approx(4 * noise_sd(magnitude), rel=1e-5)


def test_image_without_noise_is_refused():
    with pytest.raises(ValueError, match="0 blocks of 2x2x2 voxels with signal and noise"):
        noise_sd(np.zeros((2, 20, 20, 20), np.float32))
    with pytest.raises(ValueError, match="0 blocks of 2x2x2 voxels with signal and noise"):
        noise_sd(np.ones((2, 1, 1, 1), np.float32))
    with pytest.raises(ValueError, match="phase has shape"):
        noise_sd(np.ones((2, 8, 8, 8), np.float32), np.ones((1, 8, 8, 8), np.float32))
