"""From what was drawn to lesions: components, confluent ones, probabilities, labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRILesionStagingLib.instances import lesion_instances
from QMRILesionStagingLib.options import InstanceOptions

ISO = (1.0, 1.0, 1.0)


def _places(shape, voxel=ISO):
    return np.stack(np.meshgrid(*(np.arange(n) * v for n, v in zip(shape, voxel, strict=True)), indexing="ij"), -1)


def _ball(shape, centre, radius, voxel=ISO):
    return np.linalg.norm(_places(shape, voxel) - np.array(centre), axis=-1) <= radius


def test_separate_lesions_are_numbered_and_touching_voxels_are_one():
    mask = _ball((24, 24, 24), (6, 6, 6), 3) | _ball((24, 24, 24), (17, 17, 17), 4)
    found = lesion_instances(mask, ISO, InstanceOptions())
    assert found.labels.max() == 2
    assert not found.parents
    diagonal = np.zeros((5, 5, 5), bool)
    diagonal[1, 1, 1] = diagonal[2, 2, 2] = True
    assert lesion_instances(diagonal, ISO, InstanceOptions()).labels.max() == 1


@pytest.mark.parametrize("voxel", [ISO, (2.0, 0.5, 0.5), (0.7, 0.9, 1.2)])
def test_two_confluent_balls_are_two_lesions_with_one_parent(voxel):
    shape = [round(40 / v) for v in voxel]
    mask = _ball(shape, (20, 15, 20), 5, voxel) | _ball(shape, (20, 23.5, 20), 4, voxel)
    found = lesion_instances(mask, voxel, InstanceOptions())
    assert found.labels.max() == 2
    assert set(found.parents) == {1, 2}
    assert len(set(found.parents.values())) == 1
    share = [(found.labels[_ball(shape, c, r - 1, voxel)]) for c, r in (((20, 15, 20), 5), ((20, 23.5, 20), 4))]
    for part in share:
        assert np.bincount(part).max() / part.size > 0.97
    assert "split" in found.notes[0]
    assert lesion_instances(mask, voxel, InstanceOptions(split=False)).labels.max() == 1


def test_a_small_lesion_on_a_large_one_is_kept():
    mask = _ball((40, 40, 40), (20, 16, 20), 7) | _ball((40, 40, 40), (20, 25.2, 20), 2.5)
    assert lesion_instances(mask, ISO, InstanceOptions()).labels.max() == 2


@pytest.mark.parametrize("stretch", [1.0, 1.4, 2.0])
def test_one_ellipsoid_is_one_lesion_even_with_a_vein_through_it(stretch):
    places = _places((32, 32, 32)) - 15.5
    mask = (places[..., 0] / stretch) ** 2 + places[..., 1] ** 2 + places[..., 2] ** 2 <= 36
    assert lesion_instances(mask, ISO, InstanceOptions()).labels.max() == 1
    mask[:, 15, 15:17] = False
    assert lesion_instances(mask, ISO, InstanceOptions()).labels.max() == 1


def test_labels_are_kept_as_they_are_and_a_label_in_two_places_is_said():
    labels = np.zeros((20, 20, 20), np.int32)
    labels[2:5, 2:5, 2:5] = 7
    labels[10:14, 10:14, 10:14] = 4
    labels[16:18, 2:4, 2:4] = 7
    found = lesion_instances(labels, ISO, InstanceOptions())
    assert np.array_equal(found.labels, labels)
    assert "7" in found.notes[0]


def test_probabilities_are_split_where_they_are_concave():
    places = _places((32, 32, 40))
    peaks = [
        np.exp(-0.5 * (np.linalg.norm(places - np.array(c), axis=-1) / 3) ** 2) for c in ((15, 15, 13), (15, 15, 23))
    ]
    found = lesion_instances(np.maximum(*peaks).astype(np.float32), ISO, InstanceOptions(threshold=0.2))
    assert found.labels.max() == 2
    assert found.labels[15, 15, 13] != found.labels[15, 15, 23]
    with pytest.raises(ValueError, match="probabilities from 0 to 1"):
        lesion_instances(2.5 * peaks[0], ISO, InstanceOptions())


def test_nothing_drawn_and_one_voxel():
    assert lesion_instances(np.zeros((4, 4, 4), bool), ISO, InstanceOptions()).labels.max() == 0
    one = np.zeros((4, 4, 4), bool)
    one[0, 0, 0] = True
    assert lesion_instances(one, ISO, InstanceOptions()).labels.sum() == 1


@settings(max_examples=25, deadline=None)
@given(axis=st.integers(0, 2), seed=st.integers(0, 1000))
def test_flips_and_turns_give_the_same_lesions(axis, seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((28, 28, 28), bool)
    for _ in range(4):
        mask |= _ball(mask.shape, rng.uniform(7, 21, 3), rng.uniform(2, 5))
    first = lesion_instances(mask, ISO, InstanceOptions()).labels
    for change, back in (
        (lambda a: np.flip(a, axis), lambda a: np.flip(a, axis)),
        (lambda a: np.rot90(a, 1, (0, 1)), lambda a: np.rot90(a, -1, (0, 1))),
    ):
        second = back(lesion_instances(np.ascontiguousarray(change(mask)), ISO, InstanceOptions()).labels)
        assert first.max() == second.max()
        pairs = np.unique(np.stack([first[mask], second[mask]]), axis=1, return_counts=True)[1]
        assert np.sort(pairs)[-first.max() :].sum() >= 0.97 * mask.sum()  # ties between parts may fall otherwise
