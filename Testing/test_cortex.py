"""Lesions of the cortex: where they lie, and how their susceptibility differs from the same depth beside them."""

import numpy as np
import pytest
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.maps import QuantitativeMap
from QMRILesionStagingLib.cortex import HYPER, HYPO, ISO, cortical_parts
from QMRILesionStagingLib.surroundings import surroundings_of
from scipy import ndimage

SHAPE = (64, 72, 80)
CENTRE = np.array(SHAPE) / 2 + (0.31, -0.17, 0.43)  # borders anywhere between the middles of voxels
INNER, OUTER = 22.0, 26.0  # mm, a cortex of 4 mm on voxels of 1 mm
NAMES = {1: "white matter", 2: "cortex", 3: "CSF"}
NOISE = 0.006  # ppm, of a voxel; neighbours are alike
GRID = Geometry(SHAPE, np.eye(4))


def head():
    """Labels, and the distance from the middle (mm)."""
    index = np.indices(SHAPE) - CENTRE.reshape(3, 1, 1, 1)
    radius = np.sqrt((index**2).sum(0))
    labels = np.full(SHAPE, 3)
    labels[radius < OUTER] = 2
    labels[radius < INNER] = 1
    return labels, radius


def ball(direction, radius_at, size=2.6):
    """Mask of a lesion whose middle lies at a distance from the middle of the head."""
    direction = np.asarray(direction) / np.linalg.norm(direction)
    middle = CENTRE + radius_at * direction
    index = np.indices(SHAPE) - middle.reshape(3, 1, 1, 1)
    return (index**2).sum(0) < size**2


def chi_map(rng, radius, lesions=(), deltas=()):
    """Chi that rises by 40 ppb through the cortex, with noise of which neighbours share half."""
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 0.7)
    chi = 0.04 * ((radius - INNER) / (OUTER - INNER)).clip(0, 1) + NOISE * noise / noise.std()
    for lesion, delta in zip(lesions, deltas, strict=True):
        chi[lesion] += delta
    return chi


def parts(labels, values, lesions, name="Chi"):
    numbered = np.zeros(SHAPE, np.int32)
    for number, lesion in enumerate(lesions, 1):
        numbered[lesion] = number
    everywhere, nothing = np.ones(SHAPE, bool), np.zeros(SHAPE, np.float32)
    result = QuantitativeMap(name, values.astype(np.float32), nothing, nothing, everywhere, GRID, "", "", "")
    around = surroundings_of(numbered, {name: (values, everywhere)}, everywhere, GRID, (labels, NAMES))
    return cortical_parts(numbered, {name: result}, around, GRID)


def test_places_follow_from_the_share_in_the_cortex():
    labels, _ = head()
    lesions = [ball((1, 0, 0), 24, 1.6), ball((0, 1, 0), 22), ball((0, 0, 1), 18.5), ball((1, 1, 1), 8)]
    found = parts(labels, np.zeros(SHAPE), lesions)
    places = [found[n].place for n in (1, 2, 3, 4)]
    assert places == ["cortical", "leukocortical", "juxtacortical", "white matter"]
    assert found[2].share == pytest.approx((lesions[1] & (labels == 2)).sum() / lesions[1].sum())
    assert found[4].deltas == {} and found[4].kind is None


def test_a_difference_is_found_at_any_depth_though_the_cortex_has_layers(rng):
    labels, radius = head()
    directions, middles = np.eye(3), (23.0, 24.0, 25.0)
    lesions = [ball(d, r) for d, r in zip([*directions, *-directions], [*middles, *middles], strict=True)]
    deltas = (0.02, 0.02, 0.02, -0.02, -0.02, -0.02)
    found = parts(labels, chi_map(rng, radius, lesions, deltas), lesions)
    for number, delta in enumerate(deltas, 1):
        measured, error = found[number].deltas["Chi"]
        assert error < 0.006  # noise of 15 voxels that are alike, and where the border lies within them
        assert measured == pytest.approx(delta, abs=2 * error)
        assert found[number].kind == (HYPER if delta > 0 else HYPO)


def test_cortex_that_is_normal_is_called_so(rng):
    """Beyond 1.96 standard errors lie 5 % of 60 lesions without a difference; more than 8 happen in 1 %."""
    labels, radius = head()
    kinds = []
    for _ in range(10):
        directions = rng.standard_normal((6, 3))
        lesions = [ball(direction, rng.uniform(22, 25)) for direction in directions]
        found = parts(labels, chi_map(rng, radius), lesions)
        kinds += [part.kind for part in found.values() if part.kind is not None]
    assert len(kinds) >= 50
    assert sum(kind != ISO for kind in kinds) <= 8


def test_without_a_labelled_cortex_nothing_is_said():
    labels, _ = head()
    labels[labels == 2] = 1
    assert parts(labels, np.zeros(SHAPE), [ball((1, 0, 0), 24)]) == {}
