"""Smoothing of fields with holes: exact fields, Monte-Carlo noise, edges and threads."""

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.relaxometry.smooth_basis import SmoothBasis, least_squares
from QMRIEstimationLib.relaxometry.smooth_field import smooth_field
from scipy.ndimage import binary_erosion, gaussian_filter

GRID = Geometry((30, 40, 44), np.diag([2.0, 2.2, 3.0, 1.0]))  # voxels of 3 x 2.2 x 2 mm along [k, j, i]


def places(geometry=GRID):
    """Coordinates from the middle, mm, broadcasting to [k, j, i]."""
    axes = [(np.arange(n) - (n - 1) / 2) * side for n, side in zip(geometry.shape, geometry.voxel_size, strict=True)]
    return np.meshgrid(*axes, indexing="ij", sparse=True)


def ball(radius=38.0, geometry=GRID):
    k, j, i = places(geometry)
    return k * k + j * j + i * i < radius**2


def coil_field(geometry=GRID):
    """A transmit field as in a head at 3 T: 1.2 in the middle, 0.8 at 60 mm, tilted; not a polynomial."""
    k, j, i = places(geometry)
    squared = (k * k + j * j + i * i) / 60**2
    return (1.2 - 0.65 * squared / (0.6 + squared) + 0.001 * k - 0.0005 * i).astype(np.float32)


def constant_sd(value=0.05):
    return np.full(GRID.shape, value, np.float32)


def test_zeros_outside_do_not_bleed_into_the_edge():
    field, mask = coil_field(), ball()
    found, _ = smooth_field(np.where(mask, field, 0), constant_sd(), mask, GRID, 8.0)
    assert np.abs(found - field)[mask].max() < 0.015
    naive = gaussian_filter(np.where(mask, field, 0), [8 / 2.355 / side for side in GRID.voxel_size])
    assert np.abs(naive - field)[mask].max() > 0.3


def test_smooth_field_is_kept():
    field, mask = coil_field(), ball()
    for fwhm, bound in ((6.0, 0.0015), (10.0, 0.003)):
        found, _ = smooth_field(np.where(mask, field, 0), constant_sd(), mask, GRID, fwhm)
        # A plain Gaussian of 10 mm shifts the middle by s^2 / 2 times the Laplacian, 0.016
        assert np.sqrt(np.mean((found - field)[mask] ** 2)) < bound


def test_quadratic_field_is_exact_also_beyond_where_it_was_measured():
    k, j, i = places()
    field = (1.1 - 2e-5 * k * k - 1e-5 * j * i + 1e-3 * i).astype(np.float32)
    half = ball() & (i < 5)
    found, _ = smooth_field(np.where(half, field, 0), constant_sd(), half, GRID, 8.0)
    np.testing.assert_allclose(found[half], field[half], atol=2e-6)  # float32
    near = ball(30) & (i < 15) & (field < field[half].max())  # it is kept within the range that was measured
    np.testing.assert_allclose(found[near], field[near], atol=2e-6)


def test_holes_and_the_surroundings_get_a_value():
    field, mask = coil_field(), ball()
    k, j, i = places()
    hole = (k - 5) ** 2 + j * j + (i - 10) ** 2 < 8**2
    found, sd = smooth_field(np.where(mask & ~hole, field, 0), constant_sd(), mask & ~hole, GRID, 8.0)
    assert np.abs(found - field)[hole].max() < 0.02
    assert np.isfinite(found).all()
    assert found.min() > 0.5
    _, whole_sd = smooth_field(field, constant_sd(), mask, GRID, 8.0)
    assert sd[hole].mean() > 1.1 * whole_sd[hole].mean()  # it is known less well there
    assert (np.abs(found - field)[hole] / sd[hole]).mean() < 2


@pytest.mark.parametrize("where", ["inside", "edge", "hole"])
def test_sd_is_the_spread_over_noise(where, rng):
    field, (k, j, i) = coil_field(), places()
    hole = (k - 5) ** 2 + j * j + (i - 10) ** 2 < 7**2
    mask = ball() & ~hole
    sd = (0.03 + 0.0008 * (k + 45) + 0 * field).astype(np.float32)
    draws = []
    for _ in range(24):
        noisy = field + sd * rng.standard_normal(field.shape).astype(np.float32)
        found, found_sd = smooth_field(np.where(mask, noisy, 0), sd, mask, GRID, 8.0)
        draws.append(found)
    inner = binary_erosion(mask, iterations=3)
    region = {"inside": inner, "edge": mask & ~inner, "hole": hole}[where]
    spread = np.sqrt((np.std(draws, axis=0, ddof=1)[region] ** 2).mean())
    assert spread == pytest.approx(np.sqrt((found_sd[region] ** 2).mean()), rel=0.1 if where != "hole" else 0.2)


def test_weights_follow_the_sd(rng):
    mask, field = ball(), np.ones(GRID.shape, np.float32)
    sd = constant_sd()
    sd[rng.random(GRID.shape) < 0.3] = 5.0
    noisy = np.where(mask, field + sd * rng.standard_normal(GRID.shape), 0).astype(np.float32)
    weighted, _ = smooth_field(noisy, sd, mask, GRID, 8.0)
    plain, _ = smooth_field(noisy, constant_sd(), mask, GRID, 8.0)
    assert weighted[mask].std() < 0.1 * plain[mask].std()


def test_width_is_in_mm_on_unequal_sides(rng):
    noise = np.where(ball(60), 1 + 0.05 * rng.standard_normal(GRID.shape), 0).astype(np.float32)
    found, _ = smooth_field(noise, constant_sd(), ball(60), GRID, 9.0)
    inside = found[5:-5, 6:-6, 7:-7] - 1
    steps = [np.mean(np.diff(inside, axis=a) ** 2) / side**2 for a, side in enumerate(GRID.voxel_size)]
    # The mean squared slope of filtered white noise is the same along every axis; sampling makes 10 % of difference
    assert max(steps) / min(steps) < 1.35


def test_basis_gives_the_same_on_voxels_and_on_the_grid(rng):
    basis = SmoothBasis(ball(), 3, 0, 6)
    assert len(basis.terms) == 20 + 3
    coefficients = rng.standard_normal(len(basis.terms))
    voxels = np.nonzero(ball())
    at = basis.at(voxels) @ coefficients
    np.testing.assert_allclose(basis.on_grid(coefficients)[voxels], at, atol=1e-4)  # float32, terms of order 1
    np.testing.assert_allclose(least_squares(basis.at(voxels), at, np.ones(len(at))), coefficients, atol=1e-8)


def test_bad_input_is_named():
    mask, field, sd = ball(), coil_field(), constant_sd()
    with pytest.raises(ValueError, match="no voxel is valid"):
        smooth_field(field, sd, np.zeros_like(mask), GRID, 8.0)
    with pytest.raises(ValueError, match="SD of 0"):
        smooth_field(field, np.zeros_like(sd), mask, GRID, 8.0)
    with pytest.raises(ValueError, match="sd has shape"):
        smooth_field(field, sd[1:], mask, GRID, 8.0)
    with pytest.raises(Cancelled):
        smooth_field(field, sd, mask, GRID, 8.0, cancelled=lambda: True)
