"""Maps, their SD and lesion labels moved to another grid."""

import numpy as np
import pytest
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.resample import lesions_on_grid, nearest_on_grid, on_grid, sd_on_grid
from scipy.spatial.transform import Rotation

SHAPE = (20, 24, 22)


def straight(side=1.0, shape=SHAPE, origin=(0.0, 0.0, 0.0)):
    matrix = np.diag([side, side, side, 1.0])
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def turned(oblique_matrix, shape=(14, 16, 18)):
    matrix = oblique_matrix.copy()
    middle = (np.array(SHAPE[::-1]) - 1) / 2
    matrix[:3, 3] = middle - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Geometry(shape, matrix)


def world(geometry):
    k, j, i = np.indices(geometry.shape)
    return np.stack([i, j, k], -1) @ geometry.ijk_to_ras[:3, :3].T + geometry.ijk_to_ras[:3, 3]


def ramp(places):
    return (3 + 0.5 * places[..., 0] - 0.2 * places[..., 1] + 0.3 * places[..., 2]).astype(np.float32)


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_ramp_is_the_same_ramp_on_a_turned_and_moved_grid(oblique_matrix, order):
    source, target = straight(), turned(oblique_matrix)
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec([0.03, -0.02, 0.05]).as_matrix()
    transform[:3, 3] = (0.4, -0.7, 0.3)
    moved, valid = on_grid(ramp(world(source)), source, target, transform, order=order)
    truth = ramp(world(target) @ transform[:3, :3].T + transform[:3, 3])
    places = world(target) @ transform[:3, :3].T + transform[:3, 3]
    inside = ((places > 0) & (places < np.array(SHAPE[::-1]) - 1)).all(-1)
    assert valid[inside].all()
    assert np.abs(moved - truth)[inside].max() < 2e-5 * 20  # float32 of values up to 20
    assert (moved[~valid] == 0).all()


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_zeros_outside_the_mask_do_not_bleed_in(oblique_matrix, order):
    source, target = straight(), turned(oblique_matrix)
    mask = ((world(source) - 11) ** 2).sum(-1) < 49
    moved, valid = on_grid(np.where(mask, 7, 0), source, target, valid=mask, order=order)
    assert valid.any()
    assert moved[valid] == pytest.approx(7, rel=1e-6)
    volume = valid.sum() * target.voxel_volume
    assert volume == pytest.approx(mask.sum(), rel=0.03)  # voxels of the surface fall to either side


def test_cubic_keeps_detail_that_linear_blurs():
    source = straight()
    wave = np.sin(2 * np.pi * world(source)[..., 0] / 6).astype(np.float32)
    shift = np.eye(4)
    shift[0, 3] = 0.5
    truth = np.sin(2 * np.pi * (world(source)[..., 0] + 0.5) / 6)
    errors = []
    for order in ("linear", "cubic"):
        moved, _ = on_grid(wave, source, source, shift, order=order)
        errors.append(np.abs(moved - truth)[4:-4, 4:-4, 4:-4].max())
    assert errors[0] == pytest.approx(1 - np.cos(np.pi / 6), rel=0.05)  # linear half way loses cos(half the step)
    assert errors[1] < 0.03


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_sd_is_that_of_replicates_after_the_same_interpolation(oblique_matrix, rng, order):
    source, target = straight(), turned(oblique_matrix)
    sd = (0.5 + rng.random(SHAPE)).astype(np.float32)
    mask = ((world(source) - 11) ** 2).sum(-1) < 64
    predicted, valid = sd_on_grid(sd, source, target, valid=mask, order=order)
    draws = [on_grid(rng.normal(0, sd).astype(np.float32), source, target, valid=mask, order=order)[0]
             for _ in range(200)]  # fmt: skip
    ratio = np.std(draws, axis=0)[valid] / predicted[valid]
    assert np.sqrt((ratio**2).mean()) == pytest.approx(1, abs=0.02)  # 2000 voxels of 200 draws: 0.2 %; correlated


def test_coarser_grid_holds_means_and_their_sd(rng):
    source = straight(1.0, (12, 12, 12))
    target = straight(2.0, (6, 6, 6), (0.5, 0.5, 0.5))
    array = rng.random(source.shape).astype(np.float32)
    moved, _ = on_grid(array, source, target)
    sd, _ = sd_on_grid(np.ones(source.shape, np.float32), source, target)
    means = array.reshape(6, 2, 6, 2, 6, 2).mean((1, 3, 5))
    assert moved == pytest.approx(means, rel=1e-5)
    assert sd == pytest.approx(1 / np.sqrt(8), rel=1e-5)


def test_same_grid_returns_the_same_numbers(rng):
    source = straight()
    array = rng.random(SHAPE).astype(np.float32)
    moved, valid = on_grid(array, source, source, np.eye(4))
    assert np.array_equal(moved, array)
    assert valid.all()


def test_transform_leads_from_target_to_source():
    source = straight()
    array = np.zeros(SHAPE, np.uint8)
    array[4, 5, 6] = 1
    shift = np.eye(4)
    shift[:3, 3] = (1, 2, 3)  # RAS: i, j, k
    assert np.argwhere(nearest_on_grid(array, source, source, shift)).tolist() == [[1, 3, 5]]
    assert np.argwhere(on_grid(array, source, source, shift)[0] > 0.5).tolist() == [[1, 3, 5]]


def test_outer_half_of_the_last_voxel_belongs_to_it():
    source = straight(1.0, (8, 8, 8))
    target = straight(0.5, (16, 16, 16), (-0.25, -0.25, -0.25))
    assert nearest_on_grid(np.ones(source.shape, np.uint8), source, target).all()


def test_no_lesion_is_lost_on_a_coarser_grid():
    source = straight(1.0, (24, 24, 24))
    target = straight(4.0, (6, 6, 6), (1.5, 1.5, 1.5))
    labels = np.zeros(source.shape, np.int16)
    places = [(1, 1, 1), (5, 5, 5), (5, 5, 7), (9, 13, 17), (22, 22, 22)]
    for number, place in enumerate(places, 1):
        labels[place] = number
    labels[12:20, 4:8, 4:8] = 9  # two voxels of the coarse grid
    moved, notes = lesions_on_grid(labels, source, target)
    assert set(np.unique(moved)) == {0, 1, 2, 4, 5, 9} or set(np.unique(moved)) == {0, 1, 2, 3, 4, 5, 9}
    for number, place in enumerate(places, 1):
        if number in moved:
            assert np.argwhere(moved == number).tolist() == [[p // 4 for p in place]]
    assert any("small lesions" in note for note in notes)
    hidden = [n for n in (2, 3) if n not in moved]
    assert not hidden or any(note.endswith(f"{hidden[0]}.") for note in notes)  # two in one coarse voxel: one is told


def test_lesion_outside_the_field_of_view_is_named():
    source, target = straight(1.0, (24, 24, 24)), straight(2.0, (5, 5, 5))
    labels = np.zeros(source.shape, np.int16)
    labels[2, 2, 2], labels[20, 20, 20] = 3, 7
    moved, notes = lesions_on_grid(labels, source, target)
    assert set(np.unique(moved)) == {0, 3}
    assert len(notes) == 1
    assert notes[0].endswith(": 7.")


def test_bits_do_not_depend_on_the_number_of_threads(oblique_matrix, rng, threads):
    source, target = straight(), turned(oblique_matrix)
    array, found = rng.random(SHAPE).astype(np.float32), []
    for count in (1, 2):
        threads(count)
        found.append(on_grid(array, source, target, order="cubic")[0].tobytes())
    assert found[0] == found[1]


def test_wrong_shape_and_order_are_named():
    with pytest.raises(ValueError, match="array"):
        on_grid(np.zeros((3, 3, 3)), straight(), straight())
    with pytest.raises(ValueError, match="quintic"):
        on_grid(np.zeros(SHAPE), straight(), straight(), order="quintic")
