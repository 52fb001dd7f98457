"""NIfTI files: what is written comes back bit for bit, and every trap of the header is seen."""

import gzip

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import SCANNER_Z, Geometry
from QMRIEstimationLib.io.nifti import read_header, read_image, relative_name, write_image

SHAPE = (4, 5, 6)


@pytest.fixture
def values(rng):
    return rng.standard_normal(SHAPE).astype(np.float32)


def store(path, array, affine=None, sform=1, qform=1, slope=None):
    """Write with nibabel: `array` is [k, j, i]."""
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine
    image = nibabel.Nifti1Image(np.ascontiguousarray(array).T, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    if slope is not None:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("handed", [1, -1])
def test_written_image_comes_back_bit_for_bit(tmp_path, values, oblique_matrix, name, handed):
    matrix = oblique_matrix @ np.diag([handed, 1, 1, 1])  # right- and left-handed
    matrix = matrix.astype(np.float32).astype(float)
    write_image(tmp_path / name, values, Geometry(SHAPE, matrix))
    array, geometry, info = read_image(tmp_path / name)
    assert np.array_equal(array, values) and array.dtype == np.float32 and array.flags.c_contiguous
    assert np.array_equal(geometry.ijk_to_ras, matrix) and geometry.b0_ras == SCANNER_Z
    assert (info.sform_code, info.qform_code, info.aligned, info.notes) == (1, 1, False, ())


def test_same_input_gives_same_bytes_and_no_leftover(tmp_path, values):
    geometry = Geometry(SHAPE, np.eye(4))
    for name in ("one", "two"):
        write_image(tmp_path / name / "map.nii.gz", values, geometry)
    assert (tmp_path / "one/map.nii.gz").read_bytes() == (tmp_path / "two/map.nii.gz").read_bytes()
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["map.nii.gz"]


def test_writing_refuses_nan_and_wrong_shape_and_keeps_the_old_file(tmp_path, values):
    path, geometry = tmp_path / "a.nii.gz", Geometry(SHAPE, np.eye(4))
    write_image(path, values, geometry)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="NaN"):
        write_image(path, np.full(SHAPE, np.nan), geometry)
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 5, 6\)"):
        write_image(path, values[..., 0], geometry)
    assert path.read_bytes() == before


def test_four_axes_are_read_with_echoes_first(tmp_path, rng):
    echoes = rng.standard_normal((3, *SHAPE)).astype(np.float32)
    write_image(tmp_path / "a.nii.gz", echoes, Geometry(SHAPE, np.eye(4)))
    array, geometry, _ = read_image(tmp_path / "a.nii.gz")
    assert np.array_equal(array, echoes) and geometry.shape == SHAPE


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", ">i4", ">f4", "<f8", ">f8"])
def test_every_number_type_and_byte_order_is_read(tmp_path, dtype):
    stored = np.arange(120).reshape(SHAPE).astype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(np.dtype(dtype))
    image = nibabel.Nifti1Image(stored.T, np.eye(4), header)
    nibabel.save(image, tmp_path / "a.nii")
    array, _, info = read_image(tmp_path / "a.nii")
    assert np.array_equal(array, stored.astype(np.float32)) and array.dtype == np.float32
    assert (info.slope, info.inter) == (1.0, 0.0)


def test_slope_and_intercept_are_applied(tmp_path):
    stored = np.arange(120, dtype=np.int16).reshape(SHAPE)
    path = store(tmp_path / "a.nii", stored, slope=(2, -4096))
    raw = bytearray(path.read_bytes())
    path.write_bytes(bytes(raw[:352]) + np.ascontiguousarray(stored).tobytes())  # nibabel rescales, dcm2niix does not
    array, _, info = read_image(path)
    assert np.array_equal(array, stored * 2.0 - 4096) and info.stored_type == "int16"


def test_complex_images_stay_complex(tmp_path, rng):
    stored = (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE)).astype(np.complex64)
    array, _, info = read_image(store(tmp_path / "a.nii.gz", stored))
    assert np.array_equal(array, stored) and info.is_complex


def test_small_shear_is_mended_about_the_centre_and_noted(tmp_path, values, oblique_matrix):
    sheared = oblique_matrix.copy()
    sheared[:3, 0] += 0.01 * 0.8 * sheared[:3, 1] / 0.9
    array, geometry, info = read_image(store(tmp_path / "a.nii.gz", values, sheared))
    directions = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    assert np.allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    centre = np.array([2.5, 2, 1.5, 1])
    assert np.allclose(geometry.ijk_to_ras @ centre, sheared @ centre, atol=1e-5)  # float32 of the header
    assert geometry.voxel_size == pytest.approx((1.4, 0.9, np.linalg.norm(sheared[:3, 0])), rel=1e-6)
    assert "sheared by 0.0100" in info.notes[0] and array.shape == SHAPE


def test_large_shear_is_refused(tmp_path, values):
    sheared = np.eye(4)
    sheared[0, 1] = 0.1
    with pytest.raises(InputError, match=r"a\.nii\.gz.*sheared.*original export"):
        read_image(store(tmp_path / "a.nii.gz", values, sheared))


@pytest.mark.parametrize(
    "sform, qform, reason",
    [(1, 1, ""), (1, 0, ""), (0, 1, ""), (2, 1, "sform code 2"), (1, 4, "qform code 4"), (0, 0, "no orientation")],
)
def test_codes_tell_whether_b0_is_known(tmp_path, values, sform, qform, reason):
    _, geometry, info = read_image(store(tmp_path / "a.nii.gz", values, sform=sform, qform=qform))
    assert reason in info.unknown_b0 and (geometry.b0_ras is None) == bool(reason)
    assert info.aligned == (max(sform, qform) > 1)


def test_sform_that_disagrees_with_qform_leaves_b0_unknown(tmp_path, values, oblique_matrix):
    path = store(tmp_path / "a.nii.gz", values, oblique_matrix)
    image = nibabel.load(path)
    image.set_sform(np.diag([0.8, 0.9, 1.4, 1]), 1)
    nibabel.save(image, tmp_path / "b.nii.gz")
    _, geometry, info = read_image(tmp_path / "b.nii.gz")
    assert geometry.b0_ras is None and "24.4 degrees" in info.unknown_b0 and "the sform was used" in info.notes[0]
    assert np.allclose(geometry.ijk_to_ras, np.diag([0.8, 0.9, 1.4, 1]))


def test_two_dimensional_and_one_voxel_images_are_volumes(tmp_path):
    assert read_header(store(tmp_path / "a.nii", np.ones((5, 6), np.float32)))[0] == (1, 5, 6)
    assert read_header(store(tmp_path / "b.nii", np.ones((1, 1, 1), np.float32)))[0] == (1, 1, 1)
    assert read_header(store(tmp_path / "c.nii", np.ones((1, 4, 5, 6), np.float32)))[0] == (4, 5, 6)


@pytest.mark.parametrize("keep", [0, 5, 100, 300, 1500])
def test_truncated_gz_names_the_file(tmp_path, rng, keep):
    path = store(tmp_path / "cut.nii.gz", rng.standard_normal((8, 16, 16)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"cut\.nii\.gz: .*; .*again\."):
        read_image(path)


def test_damaged_gz_names_the_file(tmp_path, rng):
    path = store(tmp_path / "a.nii.gz", rng.standard_normal((8, 16, 16)).astype(np.float32))
    data = bytearray(path.read_bytes())
    data[3000] ^= 1  # one bit: unpacks to wrong numbers without complaint until the checksum
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.nii\.gz: .*damaged"):
        read_image(path)


def test_other_formats_are_refused_by_name(tmp_path, values):
    nibabel.save(nibabel.MGHImage(values.T, np.eye(4)), tmp_path / "a.mgz")
    with pytest.raises(InputError, match=r"a\.mgz: is MGHImage, expected NIfTI"):
        read_image(tmp_path / "a.mgz")
    with pytest.raises(InputError, match="there is no such file"):
        read_image(tmp_path / "b.nii")


def test_number_too_large_for_float32_is_refused(tmp_path):
    with pytest.raises(InputError, match="1 of 120 voxels are NaN or infinite"):
        read_image(store(tmp_path / "a.nii", np.where(np.arange(120).reshape(SHAPE) == 7, 1e300, 1.0)))


def test_names_have_slashes_and_are_relative(tmp_path):
    assert relative_name(tmp_path / "sub-01" / "anat" / "a.nii", tmp_path) == "sub-01/anat/a.nii"


unit = st.floats(-1, 1).filter(lambda v: abs(v) > 0.05)


@settings(max_examples=30, deadline=None)
@given(st.tuples(unit, unit, unit), st.floats(0, 3), st.tuples(*[st.floats(0.2, 5)] * 3), st.sampled_from([-1, 1]))
def test_any_rotated_grid_survives_writing(tmp_path_factory, axis, angle, sizes, handed):
    axis = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross) * sizes
    matrix[:3, 0] *= handed
    matrix = matrix.astype(np.float32).astype(float)
    path = tmp_path_factory.mktemp("grid") / "a.nii"
    write_image(path, np.zeros(SHAPE), Geometry(SHAPE, matrix))
    _, geometry, info = read_image(path)
    assert np.array_equal(geometry.ijk_to_ras, matrix) and info.unknown_b0 == "" and info.notes == ()
    assert np.allclose(nibabel.load(path).get_qform(), matrix, atol=0.01)  # sqrt of float32 precision times 5 mm


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 347), st.integers(0, 255))
def test_any_changed_header_byte_gives_an_image_or_a_sentence(tmp_path_factory, position, byte):
    path = tmp_path_factory.mktemp("byte") / "a.nii"
    write_image(path, np.ones(SHAPE), Geometry(SHAPE, np.eye(4)))
    data = bytearray(path.read_bytes())
    data[position] = byte
    path.write_bytes(data)
    try:
        array, geometry, _ = read_image(path)
    except InputError as error:
        assert str(error).startswith("a.nii: ") and "\n" not in str(error)
    else:
        assert np.isfinite(array).all() and array.shape[-3:] == geometry.shape


def test_gzip_header_holds_neither_time_nor_name(tmp_path, values):
    write_image(tmp_path / "a.nii.gz", values, Geometry(SHAPE, np.eye(4)))
    head = (tmp_path / "a.nii.gz").read_bytes()[:10]
    assert head[3] == 0 and head[4:8] == bytes(4)
    assert len(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())) == 352 + 4 * values.size
