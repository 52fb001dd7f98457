"""Total-variation inversion and its operators: adjoints, known objects, symmetry, noise and its SD."""

import numpy as np
import pytest
from QMRIEstimationLib import fft
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.dipole import forward_field
from QMRIEstimationLib.qsm.inversion import InversionOptions, invert
from QMRIEstimationLib.qsm.operators import (
    adjoint_into,
    difference_spectrum,
    free_edges,
    gradient,
    gradient_adjoint,
    shrink_differences,
    weighted_roughness,
)
from QMRIEstimationLib.qsm.tv import TvOptions

SHAPE, SIDES = (32, 36, 40), (1.4, 0.9, 0.8)
CONVERGED = InversionOptions(tv=TvOptions(iterations=150, tolerance=2e-3))


@pytest.fixture
def head(oblique_matrix):
    """An oblique grid, an ellipsoid mask, and positions from its middle (mm)."""
    geometry = Geometry(SHAPE, oblique_matrix)
    places = np.meshgrid(
        *[(np.arange(n) - n // 2) * h for n, h in zip(SHAPE, geometry.voxel_size, strict=True)], indexing="ij"
    )
    return geometry, sum((p / r) ** 2 for p, r in zip(places, (20, 14, 14), strict=True)) < 1, places


def ball(places, centre, radius):
    """Which voxels lie in a ball."""
    return sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)) < radius**2


def inverted(head, field, options=CONVERGED, sd=1e-3, image=None, **more):
    geometry, mask, _ = head
    flat = np.ones(SHAPE, np.float32)
    return invert(
        field.astype(np.float32), (sd * mask).astype(np.float32), mask.astype(np.float32),
        flat if image is None else image, mask, geometry, options, **more,
    )  # fmt: skip


def test_gradient_and_its_adjoint_fit_together(rng):
    x, y = rng.normal(size=SHAPE).astype(np.float32), rng.normal(size=(3, *SHAPE)).astype(np.float32)
    adjoint = gradient_adjoint(y, SIDES)
    assert np.vdot(gradient(x, SIDES), y) == pytest.approx(np.vdot(x, adjoint), rel=1e-4)
    out = np.empty(SHAPE, np.float32)
    adjoint_into(y, out, SIDES)
    np.testing.assert_allclose(out, adjoint, atol=1e-5)


def test_spectrum_is_that_of_the_differences(rng):
    x = rng.normal(size=SHAPE).astype(np.float32)
    by_spectrum = fft.irfftn(fft.rfftn(x) * difference_spectrum(SHAPE, SIDES), SHAPE)
    np.testing.assert_allclose(by_spectrum, gradient_adjoint(gradient(x, SIDES), SIDES), atol=1e-4)


def test_weighted_roughness_is_the_composed_one(rng):
    x, weights = rng.normal(size=SHAPE).astype(np.float32), rng.random((3, *SHAPE)).astype(np.float32)
    expected = gradient_adjoint(weights * gradient(x, SIDES), SIDES)
    np.testing.assert_allclose(weighted_roughness(x, weights, SIDES), expected, atol=1e-4)


@pytest.mark.parametrize("relaxation", [1.0, 1.8])
def test_fused_shrinkage_is_the_composed_one(rng, relaxation):
    x, (dual, split) = rng.normal(size=SHAPE).astype(np.float32), rng.normal(size=(2, 3, *SHAPE)).astype(np.float32)
    mask = rng.random(SHAPE) < 0.9
    edges = free_edges(rng.random(SHAPE).astype(np.float32), mask, SIDES, 0.3)
    axes = np.arange(3).reshape(-1, 1, 1, 1)
    limit = np.where((edges >> axes) & 1, 0, 0.5)
    total = relaxation * gradient(x, SIDES) + (1 - relaxation) * (split + dual) + dual
    z = np.sign(total) * np.maximum(np.abs(total) - limit, 0)
    shrink_differences(x, dual, split, edges, SIDES, 0.5, np.float32(relaxation))
    np.testing.assert_allclose(dual, total - z, atol=1e-5)
    np.testing.assert_allclose(split, z - (total - z), atol=1e-5)


def test_edges_are_the_strongest_differences_and_the_border_of_the_mask(head):
    geometry, mask, places = head
    image = np.where(places[2] > 0, 2.0, 1.0).astype(np.float32)
    edges = free_edges(image, mask, geometry.voxel_size, 0.02)
    step = np.zeros(SHAPE, bool)
    step[:, :, SHAPE[2] // 2] = True  # the last voxel at or below 0
    inside = [mask & np.roll(mask, -1, axis) for axis in range(3)]
    np.testing.assert_array_equal(edges & 4 > 0, step | ~inside[2])
    np.testing.assert_array_equal(edges & 1 > 0, ~inside[0])
    np.testing.assert_array_equal(edges & 2 > 0, ~inside[1])


@pytest.mark.parametrize("radius", [3.0, 6.0])
def test_sphere_is_inverted_within_5_percent(head, radius):
    geometry, mask, places = head
    chi = 0.1 * ball(places, (2, 1, -1), radius).astype(np.float32)
    found = inverted(head, forward_field(chi, geometry))
    core, around = ball(places, (2, 1, -1), radius - 1.4), mask & ball(places, (2, 1, -1), 12)
    contrast = found.chi[core].mean() - found.chi[around & (chi == 0)].mean()
    # TV lowers a ball by lam times its surface over its volume over the strength of the data: some percent.
    assert contrast == pytest.approx(0.1, rel=0.05)
    assert found.notes == ()


def test_background_left_over_goes_outside(head):
    geometry, mask, places = head
    chi = 0.1 * ball(places, (2, 1, -1), 4.0).astype(np.float32)
    outside = 20.0 * ball(places, (0, 0, 15.4), 1.2).astype(np.float32) * ~mask
    plain, loaded = (inverted(head, forward_field(c, geometry)).chi for c in (chi, chi + outside))
    deep = mask & ball(places, (0, 0, 0), 8)
    difference = (loaded - plain)[deep]
    tikhonov = InversionOptions(method="tikhonov")
    linear = [inverted(head, forward_field(c, geometry), tikhonov).chi for c in (chi, chi + outside)]
    # A method that looks for all sources in the brain takes the field of others for susceptibility.
    assert np.std(difference) < 0.3 * np.std((linear[1] - linear[0])[deep])


def test_opposite_field_flips_chi_and_no_field_gives_none(head, rng):
    field = 0.01 * rng.normal(size=SHAPE)
    one, other = (inverted(head, sign * field, InversionOptions()).chi for sign in (1, -1))
    np.testing.assert_array_equal(one, -other)
    assert not inverted(head, 0 * field, InversionOptions()).chi.any()


def test_inversion_turns_with_the_axes(head, rng):
    geometry, mask, _ = head
    field = (0.01 * rng.normal(size=SHAPE) * mask).astype(np.float32)
    options = InversionOptions(tv=TvOptions(iterations=30, tolerance=1e-4, edge_share=0.0))
    first = inverted(head, field, options).chi
    turned = Geometry(SHAPE[::-1], geometry.ijk_to_ras[:, [2, 1, 0, 3]])
    arrays = [a.T.copy() for a in (field, mask.astype(np.float32), mask.astype(np.float32), mask.astype(np.float32))]
    other = invert(*arrays, mask.T.copy(), turned, options).chi.T
    # Forward differences look the same way along every axis, so nothing but rounding differs.
    np.testing.assert_allclose(other, first, atol=1e-4)


def test_noisy_voxels_count_less(head, rng):
    geometry, mask, places = head
    chi = 0.1 * ball(places, (2, 1, -1), 4.0).astype(np.float32)
    sd = np.where(places[0] > 0, 0.03, 0.001)
    field = (forward_field(chi, geometry) + sd * rng.normal(size=SHAPE)).astype(np.float32)
    image, arrays = np.ones(SHAPE, np.float32), (field, (sd * mask).astype(np.float32))
    weighted, flat = (
        invert(*arrays, weight.astype(np.float32), image, mask, geometry, InversionOptions()).chi
        for weight in (mask / sd, mask * 1.0)
    )
    quiet = mask & (places[0] < 0)
    errors = [np.std((found - chi)[quiet]) for found in (weighted, flat)]
    assert errors[0] < 0.5 * errors[1]


def test_sd_is_the_spread_of_repeated_noise(head, rng):
    geometry, mask, places = head
    chi = 0.1 * ball(places, (2, 1, -1), 4.0).astype(np.float32) * mask
    field, sd = forward_field(chi, geometry), 2e-3 * (1 + (places[0] > 0))
    runs = [inverted(head, field + sd * rng.normal(size=SHAPE), InversionOptions(), sd) for _ in range(6)]
    spread = np.std([run.chi[mask] for run in runs], axis=0, ddof=1)
    claimed = np.mean([run.sd[mask] for run in runs], axis=0)
    for half in ((places[0] > 3)[mask], (places[0] < -3)[mask]):
        ratio = np.sqrt(np.mean(spread[half] ** 2) / np.mean(claimed[half] ** 2))
        assert 0.6 < ratio < 1.2  # noise upon noise moves more edges, so it errs on the safe side
    assert not runs[0].sd[~mask].any()


@pytest.mark.parametrize(("times", "wanted"), [(0.2, 1.0), (0.9, 1.0), (1.3, 1.3), (8.0, 1.4)])
def test_variation_weighs_more_in_noise_when_the_magnitude_was_denoised(head, rng, times, wanted):
    geometry, mask, _ = head
    sd = times * 5e-4 * mask.astype(np.float32)
    field = (sd * rng.standard_normal(SHAPE)).astype(np.float32)
    arrays = field, sd, mask.astype(np.float32), mask.astype(np.float32), mask, geometry, InversionOptions()
    found = invert(*arrays, denoised=True)
    said = [note for note in found.notes if "weighed" in note]
    assert said == (
        [] if wanted == 1 else [f"the variation of chi was weighed {wanted} times as much, by the field's noise."]
    )
    options = InversionOptions(tv=TvOptions(lam=wanted * TvOptions().lam))
    np.testing.assert_allclose(found.chi, invert(*arrays[:-1], options).chi, atol=1e-6)


def test_limit_is_said_and_it_can_be_cancelled(head, rng):
    field, seen = 0.01 * rng.normal(size=SHAPE), []
    options = InversionOptions(tv=TvOptions(iterations=3))
    found = inverted(head, field, options, progress=lambda fraction, text: seen.append(fraction))
    assert "had not converged after 3 iterations" in found.notes[0]
    assert "relative change inf" not in found.notes[0]
    assert seen == sorted(seen) and len(seen) == 2 * 3
    with pytest.raises(Cancelled):
        inverted(head, field, cancelled=lambda: True)


def test_bits_do_not_depend_on_threads(head, rng, threads):
    field, results = 0.01 * rng.normal(size=SHAPE), []
    for count in (1, 2):
        threads(count)
        found = inverted(head, field, InversionOptions(tv=TvOptions(iterations=12)))
        results.append((found.chi.tobytes(), found.sd.tobytes()))
    assert results[0] == results[1]


def test_shapes_that_differ_are_named(head):
    geometry, mask, _ = head
    with pytest.raises(ValueError, match="weight has shape"):
        invert(*(np.zeros(SHAPE, np.float32),) * 2, np.zeros((3, 3, 3)), mask, mask, geometry, InversionOptions())


def test_field_without_sources_in_the_brain_is_told_from_chi(head):
    geometry, mask, places = head
    chi = 0.1 * ball(places, (2, 1, -1), 4.0).astype(np.float32)
    z, y, x = places
    left = 5e-5 * (z * z - y * y) + 2e-4 * x * y + 1e-3 * z  # harmonic
    plain, weak = (InversionOptions(tv=TvOptions(harmonic=weight)) for weight in (0.0, 1.0))
    deep = mask & ball(places, (0, 0, 0), 9)
    errors = [np.std(inverted(head, left, options).chi[deep]) for options in (plain, weak)]
    assert errors[1] < 0.1 * errors[0]
    found = inverted(head, forward_field(chi, geometry) + left, weak).chi  # and nothing of chi is taken for it
    core = ball(places, (2, 1, -1), 2.6)
    assert found[core].mean() - found[deep & (chi == 0)].mean() == pytest.approx(0.1, rel=0.05)
