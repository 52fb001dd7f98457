"""DICOM folders read as volumes with what their headers say, and maps written as parametric maps."""

import numpy as np
import pytest
from dicom_files import write_classic, write_enhanced
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.io.dicom_maps import study_of, write_parametric_map
from QMRIEstimationLib.io.dicom_series import read_dicom_folder

SHAPE = (5, 6, 7)
SIEMENS = {
    "SeriesNumber": 4,
    "SeriesDescription": "gre",
    "Manufacturer": "SIEMENS",
    "MagneticFieldStrength": 3,
    "EchoTime": 4.92,
    "RepetitionTime": 30.0,
    "FlipAngle": 15.0,
    "ImagingFrequency": 123.25,
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "MRAcquisitionType": "3D",
}


@pytest.fixture
def values(rng):
    return rng.integers(0, 4096, SHAPE)


def test_slices_in_any_order_become_a_volume_where_the_header_puts_it(tmp_path, values, oblique_matrix, rng):
    series = {"SeriesInstanceUID": "1.2.3"}
    write_classic(tmp_path, values, oblique_matrix, SIEMENS | series, rng.permutation(len(values)))
    (volume,), notes = read_dicom_folder(tmp_path)
    np.testing.assert_array_equal(volume.values, values)
    # right-handed grids keep their order of slices; sizes are written with 6 decimals or more
    np.testing.assert_allclose(volume.geometry.ijk_to_ras, oblique_matrix, atol=1e-6)
    assert volume.part == "magnitude" and notes == []


def test_a_left_handed_grid_is_read_along_its_normal(tmp_path, values, oblique_matrix):
    mirrored = oblique_matrix @ np.diag([1.0, 1.0, -1.0, 1.0])
    write_classic(tmp_path, values, mirrored, SIEMENS | {"SeriesInstanceUID": "1.2.3"})
    (volume,), _ = read_dicom_folder(tmp_path)
    where = np.argwhere(volume.values == values[0, 0, 0])[0][::-1]
    np.testing.assert_allclose(volume.geometry.ijk_to_ras @ [*where, 1], mirrored[:, 3], atol=1e-6)
    np.testing.assert_array_equal(volume.values[::-1], values)


def test_header_fields_come_in_the_units_of_bids(tmp_path, values):
    write_classic(tmp_path, values, np.eye(4), SIEMENS | {"SeriesInstanceUID": "1.2.3"})
    fields = read_dicom_folder(tmp_path)[0][0].fields
    expected = {
        "EchoTime": 0.00492,
        "RepetitionTimeExcitation": 0.03,
        "FlipAngle": 15,
        "MagneticFieldStrength": 3,
        "ImagingFrequency": 123.25,
        "Manufacturer": "SIEMENS",
        "PulseSequenceType": "SPGR",
    }
    assert fields.items() >= expected.items()


def test_echoes_and_parts_of_a_series_are_volumes_of_their_own_with_rescaled_values(tmp_path, values):
    uid = {"SeriesInstanceUID": "1.2.3"}
    phase = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"], "RescaleSlope": 2, "RescaleIntercept": -4096}
    for number, te in enumerate((5.0, 10.0)):
        write_classic(tmp_path / f"m{number}", values, np.eye(4), SIEMENS | uid | {"EchoTime": te})
        write_classic(tmp_path / f"p{number}", values, np.eye(4), SIEMENS | uid | phase | {"EchoTime": te})
    volumes, _ = read_dicom_folder(tmp_path)
    assert [(v.fields["EchoTime"], v.part) for v in volumes] == [
        (0.005, "magnitude"), (0.005, "phase"), (0.01, "magnitude"), (0.01, "phase"),
    ]  # fmt: skip
    np.testing.assert_array_equal(volumes[1].values, 2.0 * values - 4096)


@pytest.mark.parametrize("number, part", list(enumerate(("magnitude", "phase", "real", "imaginary"))))
def test_ge_says_the_part_in_a_private_element(tmp_path, values, number, part):
    from pydicom import dcmread

    write_classic(tmp_path, values, np.eye(4), SIEMENS | {"SeriesInstanceUID": "1.2.3", "Manufacturer": "GE"})
    for path in tmp_path.iterdir():
        dataset = dcmread(path)
        dataset.add_new((0x0043, 0x102F), "SS", number)
        dataset.save_as(path, enforce_file_format=True)
    assert read_dicom_folder(tmp_path)[0][0].part == part


def test_an_enhanced_file_gives_a_volume_for_each_echo_and_component(tmp_path, values, oblique_matrix):
    frames, about = [], []
    for k in range(SHAPE[0]):  # interleaved as Philips writes them
        for te in (4.6, 9.2):
            for component in ("MAGNITUDE", "PHASE"):
                frames.append(values[k] + round(te) + 1000 * (component == "PHASE"))
                about.append((k, te, component))
    shared = {"SeriesInstanceUID": "1.2", "SeriesNumber": 7, "MagneticFieldStrength": 7.0, "Manufacturer": "Philips"}
    write_enhanced(tmp_path / "one.dcm", np.array(frames), oblique_matrix, shared, about)
    volumes, _ = read_dicom_folder(tmp_path)
    assert [(v.fields["EchoTime"], v.part) for v in volumes] == [
        (0.0046, "magnitude"), (0.0046, "phase"), (0.0092, "magnitude"), (0.0092, "phase"),
    ]  # fmt: skip
    np.testing.assert_array_equal(volumes[3].values, 2.0 * (values + 1009) - 100)
    np.testing.assert_allclose(volumes[3].geometry.ijk_to_ras, oblique_matrix, atol=1e-6)
    assert volumes[0].fields["FlipAngle"] == 15 and volumes[0].fields["RepetitionTimeExcitation"] == 0.03


def test_a_repeated_acquisition_is_a_volume_of_its_own(tmp_path, values):
    for n in (0, 1):
        write_classic(tmp_path / str(n), values + n, np.eye(4), SIEMENS | {"SeriesInstanceUID": "1.2.3"})
    volumes, _ = read_dicom_folder(tmp_path)
    np.testing.assert_array_equal(volumes[0].values + 1, volumes[1].values)


def test_a_missing_slice_leaves_the_series_out_and_says_so(tmp_path, values):
    write_classic(tmp_path / "a", values, np.eye(4), SIEMENS | {"SeriesInstanceUID": "1.2.3"})
    write_classic(tmp_path / "b", values, np.eye(4), SIEMENS | {"SeriesInstanceUID": "1.2.4", "SeriesNumber": 5})
    (tmp_path / "b" / "5_002").unlink()
    volumes, notes = read_dicom_folder(tmp_path)
    assert len(volumes) == 1 and len(notes) == 1
    assert "slices are 1.00 to 2.00 mm apart" in notes[0] and notes[0].endswith(".")


def test_other_files_are_passed_over_and_a_folder_without_images_is_one_sentence(tmp_path):
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(InputError, match="none of its 1 files is an MR image in DICOM"):
        read_dicom_folder(tmp_path)
    with pytest.raises(InputError, match="there is no such folder"):
        read_dicom_folder(tmp_path / "nowhere")


def read_map(path):
    """Values [k, j, i], IJK-to-RAS matrix and dataset of a parametric map, by highdicom."""
    import highdicom

    image = highdicom.imread(path)
    volume = image.get_volume(apply_real_world_transform=True)
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    return volume.array, matrix[:, [2, 1, 0, 3]], image


@settings(max_examples=10, deadline=None)
@given(sizes=st.tuples(*[st.floats(0.4, 4)] * 3), shift=st.floats(-100, 100), flip=st.booleans())
def test_a_parametric_map_keeps_values_place_quantity_and_unit(tmp_path_factory, sizes, shift, flip):
    matrix = np.diag([*sizes, 1.0])
    matrix[:3, 3] = shift
    matrix[1, 1] *= -1 if flip else 1
    values = np.random.default_rng(1).normal(20, 5, SHAPE).astype(np.float32)
    path = tmp_path_factory.mktemp("map") / "r2star.dcm"
    write_parametric_map(path, values, Geometry(SHAPE, matrix), display_of("R2star"), "R2*", study_of(None, "01"), 0)
    found, place, image = read_map(path)
    # the order of slices is the writer's; every voxel must have its value at its place
    for index in ((0, 0, 0), (4, 5, 6), (2, 1, 3)):
        ras = matrix @ [*index[::-1], 1]
        there = tuple(np.rint(np.linalg.solve(place, ras)[:3]).astype(int)[::-1])
        assert found[there] == pytest.approx(values[index], rel=1e-6)
    mapping = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "/s"
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "126395"
    assert image.Modality == "MR" or image.SOPClassUID.name == "Parametric Map Storage"
    assert "research" in image.SeriesDescription and image.ContentQualification == "RESEARCH"
    assert str(image.PatientName) == "" and image.PatientID == "01"


def test_a_map_of_dicom_images_belongs_to_their_patient_and_study(tmp_path, values):
    names = {"SeriesInstanceUID": "1.2.3", "SpecificCharacterSet": "ISO_IR 192", "PatientName": "Müller^Żaneta"}
    write_classic(tmp_path / "raw", values, np.eye(4), SIEMENS | names)
    volume = read_dicom_folder(tmp_path / "raw")[0][0]
    study = study_of(volume.file, "01")
    chi = np.zeros(SHAPE, np.float32)
    write_parametric_map(tmp_path / "chi.dcm", chi, volume.geometry, display_of("Chi"), "QSM", study, 1)
    image = read_map(tmp_path / "chi.dcm")[2]
    assert str(image.PatientName) == "Müller^Żaneta" and image.PatientID == "P1"
    assert image.StudyInstanceUID == study.StudyInstanceUID
    assert image.FrameOfReferenceUID == study.FrameOfReferenceUID
