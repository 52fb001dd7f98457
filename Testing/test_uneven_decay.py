"""The field of voxels with two tissues of unequal decay, against sums over a finer grid."""

import numpy as np
import pytest
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.field import FieldOptions, field_map
from scipy import ndimage

FINE = 8  # points along each side of a voxel
ECHO_TIMES = np.arange(0.004, 0.03, 0.005)
NOISE = 1e-4  # of a signal of 1


def _scan(normal, field, decay, n=12):
    """Echoes and mean field of a cube cut by a plane, each voxel the sum of 8^3 isochromats.

    `field` (Hz) and `decay` (1/s) are pairs, of what lies below the plane and above it.
    """
    axis = (np.arange(n * FINE) + 0.5) / FINE - n / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    normal = np.array(normal) / np.linalg.norm(normal)
    above = (normal[0] * z + normal[1] * y + normal[2] * x) > 0.2

    def mean(fine):
        return fine.reshape(n, FINE, n, FINE, n, FINE).mean(axis=(1, 3, 5))

    share = mean(above.astype(float))
    parts = [np.exp((2j * np.pi * f - r) * ECHO_TIMES) for f, r in zip(field, decay, strict=True)]
    signal = (1 - share) * parts[0][:, None, None, None] + share * parts[1][:, None, None, None]
    geometry = Geometry(share.shape, np.eye(4))
    return signal, (1 - share) * field[0] + share * field[1], share, geometry


def _field(signal, geometry, fit="least squares", echo_times=ECHO_TIMES, noise=NOISE):
    mask = np.ones(geometry.shape, bool)
    magnitude, phase = np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)
    options = FieldOptions(offset="none", fit=fit)
    return field_map(magnitude, phase, echo_times, mask, geometry, noise, options).total_field


def _size(error):
    """Root mean square."""
    return np.sqrt((error**2).mean())


@pytest.mark.parametrize("normal", [(1, 0, 0), (1, 1, 0), (1, 2, 3)])
@pytest.mark.parametrize("fit", ["least squares", "nonlinear"])
def test_a_boundary_of_iron_keeps_the_mean_of_its_field(normal, fit):
    # Pallidum in white matter at 3 T: R2* of 45 and 22 per second, fields 8 Hz apart.
    signal, truth, share, geometry = _scan(normal, (-2.0, 6.0), (22.0, 45.0))
    mixed = (share > 0.05) & (share < 0.95)
    plain = _field(signal, geometry, "weighted mean") - truth
    error = _field(signal, geometry, fit) - truth
    # A line alone makes the field too small by 0.5 to 0.7 Hz in the mean. Without noise the bend of the phase tells all
    # of it but what is of third order in time.
    assert plain[mixed].mean() < -0.4
    assert abs(error[mixed].mean()) < 0.12 * abs(plain[mixed].mean())
    assert _size(error[mixed]) < 0.12 * _size(plain[mixed])


def test_two_echoes_do_not_bend_but_the_voxels_around_tell_a_part():
    signal, truth, share, geometry = _scan((1, 2, 3), (-2.0, 6.0), (22.0, 45.0))
    mixed = (share > 0.05) & (share < 0.95)
    times = ECHO_TIMES[[1, 4]]
    plain = _field(signal[[1, 4]], geometry, "weighted mean", times) - truth
    error = _field(signal[[1, 4]], geometry, echo_times=times) - truth
    # A fifth to a half, as they tell little of where within its own a voxel is cut.
    assert _size(error[mixed]) < 0.85 * _size(plain[mixed])


@pytest.mark.parametrize("noise", [1 / 60, 1 / 25])
def test_noise_of_the_bend_stays_out_of_the_field(noise, rng):
    signal, truth, share, geometry = _scan((1, 2, 3), (-2.0, 6.0), (22.0, 45.0), n=16)
    mixed, pure = (share > 0.05) & (share < 0.95), (share == 0) | (share == 1)
    far = ndimage.binary_erosion(pure, np.ones((3, 3, 3)))
    noisy = signal + noise * (rng.normal(size=signal.shape) + 1j * rng.normal(size=signal.shape))
    error = _field(noisy, geometry, noise=noise) - truth
    plain = _field(noisy, geometry, "weighted mean") - truth
    # Fitted in each voxel, the bend would make the noise 3.4 times as large.
    magnitude = np.abs(signal)
    least = noise / (2 * np.pi * np.sqrt((magnitude**2 * ECHO_TIMES[:, None, None, None] ** 2).sum(axis=0)))
    assert _size((error / least)[far]) < 1.04
    assert _size((error / least)[pure]) < 1.15
    assert abs(error[mixed].mean()) < 0.75 * abs(plain[mixed].mean())


def test_a_field_without_a_boundary_stays_as_it_was():
    # Voxels away from the boundary, but for those that touch its voxels, are exact.
    signal, truth, _, geometry = _scan((1, 0, 0), (-2.0, 6.0), (22.0, 45.0))
    far = np.ones(geometry.shape, bool)
    far[4:9] = False
    np.testing.assert_allclose(_field(signal, geometry)[far], truth[far], atol=1e-3)


def test_equal_decay_leaves_the_field_alone():
    signal, truth, _, geometry = _scan((1, 1, 0), (-2.0, 6.0), (30.0, 30.0))
    # What is left is of third order: (2 pi 8 Hz x 29 ms)^2 / 24 of the field's step, at most.
    assert np.abs(_field(signal, geometry) - truth).max() < 8 * (2 * np.pi * 8 * 0.029) ** 2 / 24


def test_a_phase_that_is_bent_beyond_two_terms_is_hardly_corrected():
    # A vein across the voxel: 60 Hz and 100 per second apart; the correction could be larger than the field.
    signal, truth, share, geometry = _scan((1, 0, 0), (0.0, 60.0), (20.0, 120.0))
    pure = (share < 0.01) | (share > 0.99)
    assert np.abs(_field(signal, geometry) - truth)[pure].max() < 2
