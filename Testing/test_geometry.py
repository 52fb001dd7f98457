"""Geometry: voxel size, B0 direction and equality of grids, for any orientation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry, check_same_shape
from QMRIEstimationLib.resample import nearest_on_grid
from scipy.spatial.transform import Rotation


def grid(rotation, size, flips=(1, 1, 1)):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.as_matrix() @ np.diag(np.array(size) * flips)
    return Geometry((5, 6, 7), matrix)


rotations = st.tuples(*[st.floats(-180, 180)] * 3).map(lambda a: Rotation.from_euler("xyz", a, degrees=True))
sizes = st.tuples(*[st.floats(0.3, 5)] * 3)
signs = st.tuples(*[st.sampled_from([-1, 1])] * 3)


@given(rotations, sizes, signs)
def test_b0_in_voxel_axes_points_along_scanner_z(rotation, size, flips):
    geometry = grid(rotation, size, flips)
    k, j, i = geometry.b0_dir
    columns = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    assert np.allclose(columns @ (i, j, k), (0, 0, 1), atol=1e-9)
    assert np.allclose(geometry.voxel_size, size[::-1])
    assert geometry.voxel_volume == pytest.approx(np.prod(size))


def test_axial_grid_has_b0_along_k_and_sagittal_along_j():
    assert grid(Rotation.identity(), (1, 1, 2)).b0_dir == pytest.approx((1, 0, 0))
    sagittal = Geometry((5, 6, 7), np.array([[0, 0, 2, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]))
    assert sagittal.b0_dir == pytest.approx((0, 1, 0))


def test_unknown_b0_is_refused_with_the_cure():
    geometry = grid(Rotation.identity(), (1, 1, 1)).with_b0(None)
    with pytest.raises(InputError, match="B0_dir"):
        _ = geometry.b0_dir


def test_grids_that_differ_by_a_shift_are_not_the_same():
    first = grid(Rotation.identity(), (1, 1, 1))
    matrix = first.ijk_to_ras.copy()
    matrix[0, 3] += 0.01
    assert first.same_grid(first)
    assert not first.same_grid(Geometry(first.shape, matrix))


def test_shape_check_names_both_arrays():
    with pytest.raises(ValueError, match=r"phase has shape \(3, 2\), expected \(2, 2\) as magnitude"):
        check_same_shape(magnitude=np.zeros((2, 2)), phase=np.zeros((3, 2)))


@given(st.tuples(*[st.integers(-2, 2)] * 3), st.permutations([0, 1, 2]), signs)
def test_mask_moved_to_a_permuted_and_shifted_grid_keeps_its_place(shift, order, flips):
    source = Geometry((5, 6, 7), np.diag([1.0, 2.0, 3.0, 1.0]))
    mask = np.zeros(source.shape, np.uint8)
    mask[2, 3, 4] = 1
    world = source.ijk_to_ras @ (4, 3, 2, 1)
    matrix = np.eye(4)
    matrix[:3, :3] = (source.ijk_to_ras[:3, :3] * flips)[:, order]
    voxel = np.array((6, 6, 6)) + shift
    matrix[:3, 3] = world[:3] - matrix[:3, :3] @ voxel
    target = Geometry((15, 15, 15), matrix)
    moved = nearest_on_grid(mask, source, target)
    assert [tuple(v) for v in np.argwhere(moved)] == [tuple(int(v) for v in voxel[::-1])]
