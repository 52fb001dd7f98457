"""Lesions merged, split and deleted in label images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib.errors import InputError
from QMRILesionStagingLib.lesion_edits import deleted, merged, split, touched

VOXEL = np.array([2.0, 1.0, 1.0])


def balls(*places, shape=(24, 48, 48), radius=5.0, voxel=VOXEL):
    """Labels of balls, the first is 1; later ones lie over earlier ones. places: mm [k, j, i]."""
    labels = np.zeros(shape, np.int32)
    grid = np.indices(shape) * voxel[:, None, None, None]
    for number, place in enumerate(places, 1):
        labels[((grid - np.reshape(place, (3, 1, 1, 1))) ** 2).sum(0) < radius**2] = number
    return labels


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4, unique=True))
def test_merging_keeps_every_voxel_under_the_lowest_number(numbers):
    labels = np.arange(7 * 8).reshape(7, 8, 1).astype(np.int32) % 7
    made = merged(labels, numbers)
    np.testing.assert_array_equal(made > 0, labels > 0)
    assert (made == min(numbers)).sum() == np.isin(labels, numbers).sum()
    rest = ~np.isin(labels, numbers)
    np.testing.assert_array_equal(made[rest], labels[rest])


def test_one_lesion_cannot_be_merged():
    with pytest.raises(InputError, match="select two or more"):
        merged(balls((20, 20, 20)), [1, 1])


def test_deleting_leaves_the_others():
    labels = balls((12, 12, 12), (36, 36, 36))
    made = deleted(labels, [1])
    assert not (made == 1).any()
    np.testing.assert_array_equal(made == 2, labels == 2)


def test_a_dumbbell_is_cut_at_its_neck():
    two = balls((24, 16, 16), (24, 27, 27))  # the middles are 15.6 mm apart, the balls touch nearly
    dumbbell = (two > 0).astype(np.int32)
    dumbbell[12, 20:24, 20:24] = 1
    made = split(dumbbell, 1, VOXEL)
    shares = [np.mean(made[two == ball] == part) for ball, part in ((1, made[12, 16, 16]), (2, made[12, 27, 27]))]
    assert set(np.unique(made)) == {0, 1, 2} and made[12, 16, 16] != made[12, 27, 27]
    assert min(shares) > 0.97  # the neck is one voxel wide


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(*(st.floats(0, n) for n in (23, 47, 47))), min_size=2, max_size=3))
def test_parts_of_a_split_are_the_lesion_again(seeds):
    labels = balls((24, 20, 22), (24, 34, 22), radius=8.0)
    labels[labels == 0] = 0
    try:
        made = split(labels, 1, VOXEL, np.array(seeds))
    except InputError:
        return  # two points in one voxel
    assert len(np.unique(made[labels == 1])) == len(seeds)
    np.testing.assert_array_equal(made > 0, labels > 0)
    np.testing.assert_array_equal(made == 2, labels == 2)
    sizes = {n: (made == n).sum() for n in np.unique(made[labels == 1])}
    assert sizes[1] == max(sizes.values())  # the largest keeps the number


def test_points_split_where_the_lesion_is_narrowest_between_them():
    two = balls((24, 16, 16), (24, 26, 16), radius=6.0)
    made = split((two > 0).astype(np.int32), 1, VOXEL, [(12, 14, 16), (12, 28, 16)])
    assert abs((made[12, 14, 16] == made[12, :21, 16][two[12, :21, 16] > 0]).mean() - 1) < 0.01
    assert (made[12, 22:, 16][two[12, 22:, 16] > 0] == made[12, 28, 16]).all()


def test_points_in_one_place_and_specks_are_refused():
    labels = balls((24, 20, 22))
    with pytest.raises(InputError, match="each part needs a point"):
        split(labels, 1, VOXEL, [(12, 20, 22), (12, 20, 22)])
    speck = np.zeros((4, 4, 4), np.int32)
    speck[1, 1, 1] = 3
    with pytest.raises(InputError, match="Lesion 3 is too small"):
        split(speck, 3, VOXEL)


def test_only_lesions_near_a_change_are_touched():
    before = balls((12, 12, 12), (12, 24, 12), (36, 40, 40))
    after = deleted(before, [1])
    assert touched(before, after, VOXEL) == {2}  # 2 mm beside; the third is 30 mm away
    assert touched(before, before, VOXEL) == set()
