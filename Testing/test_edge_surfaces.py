"""Edges as surfaces: what costs nothing, what costs, and what it does for noise at a slanting boundary."""

import numpy as np
import pytest
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm import tv
from QMRIEstimationLib.qsm.dipole import forward_field
from QMRIEstimationLib.qsm.edge_surfaces import Surfaces, edge_surfaces, shrink_along
from QMRIEstimationLib.qsm.inversion import InversionOptions, invert
from QMRIEstimationLib.qsm.operators import free_edges, gradient

SHAPE, SIDES = (24, 28, 32), (1.2, 1.0, 0.8)


@pytest.fixture
def picture(rng):
    """An image with edges everywhere, a mask with a gap, its free differences and its surfaces."""
    image, mask = rng.random(SHAPE).astype(np.float32), rng.random(SHAPE) < 0.9
    edges = free_edges(image, mask, SIDES, 0.6)
    return image, mask, edges, edge_surfaces(image, edges, mask, SIDES)


def test_directions_are_those_of_the_free_gradient(picture):
    image, mask, edges, surfaces = picture
    inside = np.stack([mask & np.roll(mask, -1, axis) for axis in range(3)])
    free = np.stack([(edges >> axis & 1).astype(bool) for axis in range(3)]) & inside
    several = (free.sum(axis=0) > 1).ravel()
    np.testing.assert_array_equal(surfaces.voxels, np.flatnonzero(several))
    expected = np.where(free, gradient(image, SIDES), 0).reshape(3, -1)[:, several]
    np.testing.assert_allclose(surfaces.across.T, expected / np.linalg.norm(expected, axis=0), atol=1e-5)


def test_what_changes_as_the_picture_does_costs_nothing(picture):
    image, _, _, surfaces = picture
    split, dual = gradient(3 * image, SIDES), np.zeros((3, *SHAPE), np.float32)
    before = split.copy()
    shrink_along(dual, split, surfaces, 0.5)
    np.testing.assert_allclose(split, before, atol=1e-5)
    np.testing.assert_allclose(dual, 0, atol=1e-5)


def test_what_lies_along_surfaces_is_shrunk_by_its_length(picture, rng):
    """Moreau: split + 2 dual stays, dual is the part along a surface, no longer than the threshold."""
    *_, surfaces = picture
    split, dual = rng.normal(size=(3, *SHAPE)).astype(np.float32), np.zeros((3, *SHAPE), np.float32)
    before = split.copy()
    shrink_along(dual, split, surfaces, 0.5)
    np.testing.assert_allclose(split + 2 * dual, before, atol=1e-5)
    tied, across = dual.reshape(3, -1)[:, surfaces.voxels], surfaces.across.T
    np.testing.assert_allclose((tied * across).sum(axis=0), 0, atol=1e-5)
    start = np.where(across != 0, before.reshape(3, -1)[:, surfaces.voxels], 0)
    along = np.linalg.norm(start - (start * across).sum(axis=0) * across, axis=0)
    np.testing.assert_allclose(np.linalg.norm(tied, axis=0), np.minimum(along, 0.5), atol=1e-4)
    others = np.ones(split[0].size, bool)
    others[surfaces.voxels] = False
    np.testing.assert_array_equal(dual.reshape(3, -1)[:, others], 0)


def test_noise_at_a_slanting_boundary_is_less_than_with_free_voxels(rng, monkeypatch):
    geometry = Geometry(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0]))
    places = np.meshgrid(*[np.arange(n) - n / 2 for n in SHAPE], indexing="ij")
    mask = sum((p / (n / 2 - 2)) ** 2 for p, n in zip(places, SHAPE, strict=True)) < 1
    share = np.clip(0.5 + (places[0] + 0.7 * places[1] + 0.4 * places[2]) / 1.6, 0, 1)  # of one tissue in a voxel
    field = forward_field((0.05 * share).astype(np.float32), geometry)
    image = (1 + 0.5 * share).astype(np.float32)
    noise = 2e-3 * rng.standard_normal(SHAPE)
    border = mask & (share > 0) & (share < 1)

    def noise_of_border():
        found = [
            invert(
                ((field + n) * mask).astype(np.float32), (2e-3 * mask).astype(np.float32), mask.astype(np.float32),
                image, mask, geometry, InversionOptions(),
            ).chi
            for n in (noise, -noise)
        ]  # fmt: skip
        return (found[0] - found[1])[border].std()

    tied = noise_of_border()
    nothing = Surfaces(np.zeros(0, np.int64), np.zeros((0, 3), np.float32))
    monkeypatch.setattr(tv, "edge_surfaces", lambda *_: nothing)
    assert tied < 0.9 * noise_of_border()
