"""Projection onto dipole fields: sources outside vanish, sources inside stay, and weights are weights."""

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.background import BackgroundOptions, remove_background
from QMRIEstimationLib.qsm.dipole import forward_field
from QMRIEstimationLib.qsm.pdf import PdfOptions, pdf
from scipy import ndimage

SHAPE = (36, 42, 45)
EXACT = PdfOptions(tolerance=1e-4, iterations=400)


@pytest.fixture
def head(oblique_matrix):
    """An oblique grid of unequal voxel sides, an ellipsoid mask, and positions from its middle (mm)."""
    geometry = Geometry(SHAPE, oblique_matrix)
    places = np.meshgrid(
        *[(np.arange(n) - n // 2) * h for n, h in zip(SHAPE, geometry.voxel_size, strict=True)], indexing="ij"
    )
    mask = sum((p / r) ** 2 for p, r in zip(places, (17, 13, 12), strict=True)) < 1
    return geometry, mask, places


def dipole(geometry, places, centre):
    """Field of a point-like sphere of unit moment at `centre` (mm), ppm."""
    offset = [p - c for p, c in zip(places, centre, strict=True)]
    square = sum(o * o for o in offset)
    along = sum(o * b for o, b in zip(offset, geometry.b0_dir, strict=True))
    return ((3 * along**2 - square) / np.maximum(square, 1) ** 2.5).astype(np.float32)


def inside(places, centre, radius):
    return sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)) < radius**2


def test_field_of_sources_outside_is_removed(head):
    geometry, mask, places = head
    field = 100 * dipole(geometry, places, (22, 4, -5)) + 60 * dipole(geometry, places, (-3, 3, 19)) + 0.3
    local, valid, note = pdf(field, mask.astype(np.float32), mask, geometry, EXACT)
    assert note is None and valid is mask
    # A source between voxels, 2 to 3 mm from the mask, is not quite that of voxels there.
    assert np.std(local[mask]) < 0.01 * np.std(field[mask])


def test_sources_inside_stay(head):
    geometry, mask, places = head
    chi = 0.1 * inside(places, (2, 1, -1), 3.0).astype(np.float32)
    own = forward_field(chi, geometry)
    background = dipole(geometry, places, (24, 4, -5)) * 100
    local, _, _ = pdf(own + background, mask.astype(np.float32), mask, geometry)
    near = mask & inside(places, (2, 1, -1), 7.0)
    kept = np.polyfit(own[near], local[near], 1)[0]
    assert 0.9 < kept < 1.02  # outside sources take a little of it


def test_sources_in_the_outermost_voxels_of_the_mask_do_not_reach_the_rest(head, rng):
    # Bone and air of which a voxel at the edge of the brain holds a part.
    geometry, mask, _ = head
    inner = ndimage.binary_erosion(mask)
    edge = mask & ~inner & (rng.random(SHAPE) < 0.3)
    field = forward_field(np.where(edge, rng.uniform(-2, 2, SHAPE), 0).astype(np.float32), geometry)
    local, valid, _ = pdf(field, mask.astype(np.float32), mask, geometry, EXACT)
    assert valid is mask
    # What is left is of forward fields of boxes and of the dipole kernel, which differ within two voxels.
    assert np.std(local[inner]) < 0.1 * np.std(field[inner])


def test_projection_is_linear(head, rng):
    geometry, mask, places = head
    first = 100 * dipole(geometry, places, (24, 4, -5)) + forward_field(inside(places, (2, 1, -1), 3.0), geometry)
    second = 50 * dipole(geometry, places, (-3, 3, 19))
    weight = rng.uniform(0.5, 1.5, SHAPE).astype(np.float32)
    a, b, both = (pdf(f, weight, mask, geometry, EXACT)[0] for f in (first, second, first - 2 * second))
    np.testing.assert_allclose(both, a - 2 * b, atol=0.02 * np.abs(first[mask]).max())  # tolerance of the solutions


def test_projection_turns_with_the_axes(head):
    geometry, mask, places = head
    field = dipole(geometry, places, (22, 4, -5))
    local, _, _ = pdf(field, mask.astype(np.float32), mask, geometry, EXACT)
    matrix = geometry.ijk_to_ras[:, [2, 1, 0, 3]]  # the axes k and i change places
    turned = Geometry(SHAPE[::-1], matrix)
    other, _, _ = pdf(field.T.copy(), mask.T.astype(np.float32), mask.T.copy(), turned, EXACT)
    np.testing.assert_allclose(other.T, local, atol=1e-3 * np.abs(field[mask]).max())


def test_voxel_without_weight_changes_no_other(head, rng):
    geometry, mask, places = head
    field = 100 * dipole(geometry, places, (24, 4, -5))
    bad = mask & (rng.random(SHAPE) < 0.02)
    weight = np.where(bad, 0, 1).astype(np.float32)
    broken = np.where(bad, 1e3 * rng.normal(size=SHAPE), field).astype(np.float32)
    whole, partly = (pdf(f, weight, mask, geometry, EXACT)[0] for f in (field, broken))
    np.testing.assert_allclose(partly[mask & ~bad], whole[mask & ~bad], atol=1e-3)


def test_no_voxel_of_the_mask_is_lost_and_limits_are_said(head):
    geometry, mask, places = head
    field = 100 * dipole(geometry, places, (24, 4, -5))
    sd, weight = mask.astype(np.float32), mask.astype(np.float32)
    short = BackgroundOptions(pdf=PdfOptions(iterations=2))
    found = remove_background(field, weight, sd, mask, geometry, short)
    np.testing.assert_array_equal(found.valid, mask)
    assert not found.field[~mask].any()
    assert "had not converged after 2 iterations" in found.notes[0]
    assert remove_background(field, weight, sd, mask, geometry, BackgroundOptions()).notes == ()


def test_it_can_be_cancelled_and_tells_each_iteration(head):
    geometry, mask, places = head
    field, seen = dipole(geometry, places, (24, 4, -5)), []
    limit = PdfOptions(iterations=7)
    pdf(field, mask * 1.0, mask, geometry, limit, lambda fraction, text: seen.append((fraction, text)))
    fractions, texts = zip(*seen, strict=True)
    assert list(fractions) == sorted(set(fractions)) and fractions[0] == 0 and 0.8 < fractions[-1] < 1
    assert len(seen) == 2 * 7 and set(texts) == {"background field, PDF"}  # once on coarse voxels
    with pytest.raises(Cancelled):
        pdf(field, mask * 1.0, mask, geometry, cancelled=lambda: True)


def test_shapes_that_differ_are_named(head):
    geometry, mask, _ = head
    with pytest.raises(ValueError, match="weight has shape"):
        pdf(np.zeros(SHAPE, np.float32), np.zeros((3, 3, 3)), mask, geometry)
