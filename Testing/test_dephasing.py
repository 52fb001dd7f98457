"""Signal loss by macroscopic field gradients against sub-voxel spins."""

import numpy as np
import pytest
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.relaxometry.dephasing import dephasing_factor, field_differences
from QMRIEstimationLib.relaxometry.r2star import R2STAR_METHODS, R2starOptions, fit_r2star

TIMES = np.arange(1, 9) * 0.005


def geometry(shape, **more):
    return Geometry(shape, np.diag([0.8, 0.9, 1.4, 1.0]), **more)


def spins(differences, echo_times, count=4001):
    """Magnitude of evenly spread spins that precess with the frequencies inside one voxel, axis by axis."""
    place = (np.arange(count) + 0.5) / count - 0.5
    total = 1.0
    for difference in differences:
        total = total * np.exp(2j * np.pi * difference * np.outer(echo_times, place)).mean(axis=1)
    return np.abs(total)


def voxel_images(r2star, differences, echo_times=TIMES, shape=(2, 3, 4)):
    """Magnitudes [e, k, j, i] without noise and the matching difference images."""
    decay = 1000 * np.exp(-r2star * echo_times) * spins(differences, echo_times)
    images = np.broadcast_to(decay[:, None, None, None], (len(echo_times), *shape)).astype(np.float32)
    field = np.broadcast_to(np.reshape(differences, (3, 1, 1, 1)), (3, *shape)).astype(np.float32)
    return images, field


def test_linear_field_gives_its_slope_everywhere_also_at_the_border(rng):
    shape = (5, 6, 7)
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    field = (3.0 * grid[0] - 2.0 * grid[1] + 0.5 * grid[2]).astype(np.float32)
    mask = np.ones(shape, bool)
    mask[0, 0, :] = False
    differences = field_differences(field, mask, geometry(shape))
    for axis, slope in enumerate((3.0, -2.0, 0.5)):
        np.testing.assert_allclose(differences[axis][mask], slope, rtol=1e-5)
    assert not differences[:, ~mask].any()


def test_field_outside_the_mask_does_not_leak_in():
    field = np.zeros((4, 4, 4), np.float32)
    mask = np.ones((4, 4, 4), bool)
    mask[2] = False
    field[2] = 1e4
    assert not field_differences(field, mask, geometry((4, 4, 4))).any()


def test_lonely_voxel_has_no_gradient():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True
    assert not field_differences(np.full((3, 3, 3), 7, np.float32), mask, geometry((3, 3, 3))).any()


def test_interpolated_image_counts_the_measured_voxel():
    shape = (4, 5, 6)
    field = np.broadcast_to(np.arange(6, dtype=np.float32), shape)
    doubled = geometry(shape, acquired_voxel_size=(1.4, 0.9, 1.6))
    np.testing.assert_allclose(field_differences(field, np.ones(shape, bool), doubled)[2], 2.0, rtol=1e-5)


def test_factor_is_that_of_evenly_spread_spins():
    differences = (12.0, -7.0, 3.0)
    expected = spins(differences, TIMES)
    shown = [dephasing_factor(np.array(differences), te) for te in TIMES]
    np.testing.assert_allclose(shown, expected, atol=2e-6)  # the sum over 4001 spins is itself within 1/(24 n^2)


def test_gradient_of_20_hz_turns_20_into_59_without_correction():
    images, field = voxel_images(20.0, (20.0, 0.0, 0.0))
    options = R2starOptions(method="log-linear", gradient_correction=False)
    fit = fit_r2star(images, TIMES, 0.01, np.ones(images.shape[1:], bool), options, field)
    np.testing.assert_allclose(fit.r2star, 59, atol=1)  # research/relaxometry.md 1.6


@pytest.mark.parametrize("method", R2STAR_METHODS)
@pytest.mark.parametrize("differences", [(20.0, 0.0, 0.0), (10.0, -8.0, 12.0)])
def test_correction_restores_the_rate(method, differences):
    images, field = voxel_images(20.0, differences)
    mask = np.ones(images.shape[1:], bool)
    fit = fit_r2star(images, TIMES, 0.01, mask, R2starOptions(method=method), field)
    assert fit.valid.all()
    # ARLO integrates by parabolas: relative error (R2* dTE)^4 / 180.
    np.testing.assert_allclose(fit.r2star, 20.0, rtol=1e-5 if method == "arlo" else 5e-6)


def test_too_steep_a_field_leaves_nothing_to_fit():
    images, field = voxel_images(20.0, (90.0, 0.0, 0.0))  # factor at the second echo is 0.11
    fit = fit_r2star(images, TIMES, 0.01, np.ones(images.shape[1:], bool), dephasing=field)
    assert not fit.valid.any()
    assert not fit.r2star.any()


@pytest.mark.parametrize("method", R2STAR_METHODS)
def test_voxel_without_a_finite_field_is_not_fitted(method):
    images, field = voxel_images(20.0, (5.0, 0.0, 0.0))
    field[1, 0, 0, 0] = np.nan
    fit = fit_r2star(images, TIMES, 1.0, np.ones(images.shape[1:], bool), R2starOptions(method=method), field)
    assert not fit.valid[0, 0, 0]
    assert fit.valid.sum() == fit.valid.size - 1
