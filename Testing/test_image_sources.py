"""What is known of an image is found by itself: sequence index, MultiVolume, sidecar, DICOM database, name."""

import json
import sys

import numpy as np
import pytest
import slicerhost
from conftest import REPOSITORY
from dicom_files import write_classic
from hypothesis import given
from hypothesis import strategies as st
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.scene.attributes import acquisition_of, enter
from QMRIEstimationLib.scene.checks import possible_maps
from QMRIEstimationLib.scene.sources import describe
from QMRIEstimationLib.scene.uses import FIELDS, USES, Acquisition
from scene_data import add_sequence, add_volume, decay_images


@pytest.fixture
def scene():
    """The scene of slicer-core, emptied."""
    slicer = slicerhost.scene()
    slicer.mrmlScene.Clear()
    sys.path.insert(0, str(REPOSITORY / "QMRIEstimation"))
    return slicer.mrmlScene


def volume(name="image"):
    return add_volume(np.ones((4, 5, 6), np.float32), name, np.eye(4))


def test_the_index_of_a_sequence_gives_the_echo_times_in_seconds(scene):
    node = add_sequence("megre", decay_images(), unit="ms")
    describe(node)
    found = acquisition_of(node)
    assert found.values["EchoTime"] == (0.004, 0.009, 0.015) and found.origin["EchoTime"].startswith("index")
    assert found.frames == 3 and not found.problems()


def test_an_index_of_unknown_unit_is_not_trusted(scene):
    node = add_sequence("megre", decay_images(), unit="furlong")
    describe(node)
    assert "EchoTime" not in acquisition_of(node).values
    assert "echo time is missing" in acquisition_of(node).problems()["EchoTime"]


def test_attributes_of_the_multivolume_importer_are_read(scene):
    node = volume("MultiVolume 3 frames")
    node.SetAttribute("MultiVolume.FrameIdentifyingDICOMTagName", "FlipAngle")
    node.SetAttribute("MultiVolume.FrameLabels", "3,8,18")
    node.SetAttribute("MultiVolume.DICOM.RepetitionTime", "6.5")
    node.SetAttribute("MultiVolume.DICOM.EchoTime", "2.1")
    describe(node)
    values = acquisition_of(node).values
    assert values["FlipAngle"] == (3, 8, 18)
    assert values["RepetitionTimeExcitation"] == (0.0065,) and values["EchoTime"] == (0.0021,)


def loaded(scene, path):
    """A volume that Slicer's own reader loaded from a file."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", path.name.partition(".nii")[0])
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    scene.AddNode(storage)
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert storage.ReadData(node)
    return node


def write_nifti(path):
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ones((6, 5, 4), np.float32), np.eye(4)), path)
    return path


def test_a_sidecar_beside_the_file_is_read(scene, tmp_path):
    path = write_nifti(tmp_path / "12_gre_e1_ph.nii.gz")
    fields = {"EchoTime": 0.0047, "FlipAngle": 12, "ImageType": ["ORIGINAL", "PRIMARY", "P"], "Manufacturer": "GE"}
    (tmp_path / "12_gre_e1_ph.json").write_text(json.dumps(fields))
    node = loaded(scene, path)
    describe(node)
    found = acquisition_of(node)
    assert found.values == {"EchoTime": (0.0047,), "FlipAngle": (12,)} and found.part == "phase"
    assert found.origin["EchoTime"] == "sidecar 12_gre_e1_ph.json" and found.origin["Part"] == "ImageType"
    assert found.header["Manufacturer"] == "GE"


def test_in_a_bids_data_set_higher_sidecars_count_too(scene, tmp_path):
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "MEGRE.json").write_text(json.dumps({"MagneticFieldStrength": 7, "FlipAngle": 10}))
    path = write_nifti(tmp_path / "sub-01" / "anat" / "sub-01_echo-2_part-mag_MEGRE.nii.gz")
    path.with_name("sub-01_echo-2_part-mag_MEGRE.json").write_text(json.dumps({"EchoTime": 0.01}))
    node = loaded(scene, path)
    describe(node)
    found = acquisition_of(node)
    assert found.use == "multi-echo GRE" and found.header["MagneticFieldStrength"] == 7
    assert found.values == {"EchoTime": (0.01,), "FlipAngle": (10,)}


def test_a_file_is_handed_on_as_it_is_until_its_voxels_or_its_place_change(scene, tmp_path):
    import slicer
    from QMRIEstimationLib.scene.raw import write_raw

    path = write_nifti(tmp_path / "gre.nii.gz")
    node = loaded(scene, path)
    enter(node, "Use", "multi-echo GRE")
    enter(node, "EchoTime", "4")

    def handed_on(folder):
        (tmp_path / folder).mkdir()
        write_raw([node], tmp_path / folder, "01")
        (image,) = (tmp_path / folder / "sub-01" / "anat").glob("*.nii*")
        return image.resolve()

    assert handed_on("as loaded") == path
    node.SetOrigin(5, 0, 0)
    assert handed_on("moved") != path
    node.SetOrigin(0, 0, 0)
    slicer.util.arrayFromVolume(node)[0] = 3
    slicer.util.arrayFromVolumeModified(node)
    assert handed_on("edited") != path


def test_a_damaged_sidecar_does_no_harm(scene, tmp_path):
    path = write_nifti(tmp_path / "gre.nii.gz")
    (tmp_path / "gre.json").write_text("{broken")
    node = loaded(scene, path)
    describe(node)
    assert acquisition_of(node).values == {}


def test_the_dicom_database_gives_the_header_of_what_was_loaded_from_it(scene, tmp_path, monkeypatch):
    import slicer

    fields = {
        "SeriesNumber": 3, "SeriesInstanceUID": "1.2", "EchoTime": 9.84, "FlipAngle": 15.0, "RepetitionTime": 30.0,
        "ScanningSequence": "GR", "SequenceVariant": "SP", "ImageType": ["ORIGINAL", "PRIMARY", "P"],
    }  # fmt: skip
    write_classic(tmp_path, np.ones((2, 5, 6)), np.eye(4), fields)

    class Database:
        def fileForInstance(self, uid):
            return str(tmp_path / "3_000") if uid == "9.9" else ""

    monkeypatch.setattr(slicer, "dicomDatabase", Database(), raising=False)
    node = volume("3: gre_megre")
    node.SetAttribute("DICOM.instanceUIDs", "9.9 9.10")
    describe(node)
    found = acquisition_of(node)
    assert found.values["EchoTime"] == (0.00984,) and found.origin["EchoTime"] == "DICOM header"
    assert (found.use, found.part) == ("multi-echo GRE", "phase")


NAMES = [
    ("sub-01_echo-1_part-phase_MEGRE", "multi-echo GRE", "phase"),
    ("sub-01_acq-bssfpPC180_flip-1_part-mag_VFA", "bSSFP", "magnitude"),
    ("sub-01_flip-2_VFA", "spoiled GRE", "magnitude"),
    ("sub-01_mt-on_MPM", "not used", "magnitude"),
    ("sub-01_acq-tr2_TB1AFI", "AFI", "magnitude"),
    ("sub-01_acq-body_RB1COR", "body-coil reference", "magnitude"),
    ("sub-01_ce-gadolinium_T1w", "T1-weighted after gadolinium", "magnitude"),
    ("sub-01_T1w", "T1-weighted", "magnitude"),
    ("7 t2star_qsm_iso Pha", "multi-echo GRE", "phase"),
    ("FLAIR_3D_sag", "FLAIR", "magnitude"),
    ("12: TrueFISP fa35", "bSSFP", "magnitude"),
    ("spgr_fa20", "spoiled GRE", "magnitude"),
    ("MPRAGE post contrast", "T1-weighted after gadolinium", "magnitude"),
    ("localizer", "", "magnitude"),
]


@pytest.mark.parametrize("name, use, part", NAMES)
def test_use_and_part_are_told_by_the_name_as_a_last_resort(scene, name, use, part):
    node = volume(name)
    describe(node)
    found = acquisition_of(node)
    assert (found.use, found.part) == (use, part)


def test_an_angle_in_the_name_counts_but_the_index_of_bids_does_not(scene):
    for name, field, expected in (
        ("spgr_fa20", "FlipAngle", (20,)),
        ("sub-01_flip-2_VFA", "FlipAngle", None),
        ("sub-01_acq-bssfpPC090_flip-1_VFA", "SpoilingRFPhaseIncrement", (90,)),
    ):
        node = volume(name)
        describe(node)
        assert acquisition_of(node).values.get(field) == expected


def test_what_the_user_entered_is_never_overwritten(scene):
    node = add_sequence("megre", decay_images(), unit="ms")
    enter(node, "EchoTime", "5 10 15")
    enter(node, "Use", "multi-echo spin echo")
    describe(node)
    found = acquisition_of(node)
    assert found.values["EchoTime"] == (0.005, 0.01, 0.015) and found.use == "multi-echo spin echo"
    assert found.origin["EchoTime"] == "entered"


@given(name=st.sampled_from(sorted(FIELDS)), share=st.floats(0, 1))
def test_what_is_shown_reads_back_as_the_same_value(name, share):
    f = FIELDS[name]
    value = f.low + share * (f.high - f.low)
    assert f.parsed(f.shown([value]))[0] == pytest.approx(value, rel=1e-5, abs=1e-9)


@given(text=st.text(max_size=12))
def test_any_text_in_a_cell_is_numbers_or_one_sentence(text):
    try:
        values = FIELDS["EchoTime"].parsed(text)
        assert all(FIELDS["EchoTime"].low <= v <= FIELDS["EchoTime"].high for v in values)
    except InputError as error:
        assert str(error).rstrip().endswith(".")


def scans(use, part="magnitude", **values):
    """Acquisitions of one volume for each value of the first field."""
    (name, several), *rest = values.items()
    header = {"MagneticFieldStrength": 3.0}
    others = {key: (value,) for key, value in rest}
    return [Acquisition(use, use, part, values={name: (v,), **others}, header=header) for v in several]


ECHOES = scans("multi-echo GRE", EchoTime=(0.004, 0.009))
PHASE = scans("multi-echo GRE", "phase", EchoTime=(0.004, 0.009))
FLIPS = scans("spoiled GRE", FlipAngle=(3, 18), RepetitionTimeExcitation=0.02)
CYCLES = scans("bSSFP", SpoilingRFPhaseIncrement=(0, 90, 180, 270), FlipAngle=30, RepetitionTimeExcitation=0.005)
TRAIN = scans("multi-echo spin echo", EchoTime=(0.01, 0.02, 0.03))


@pytest.mark.parametrize(
    "images, expected",
    [
        (ECHOES, {"R2star"}),
        (ECHOES + PHASE, {"R2star", "Chi"}),
        (FLIPS, {"R1", "PD"}),
        (FLIPS[:1], set()),
        (FLIPS + CYCLES, {"R1", "R2", "PD"}),
        (CYCLES, set()),
        (TRAIN, {"R2"}),
        (ECHOES + PHASE + FLIPS + CYCLES, {"R1", "R2", "R2star", "PD", "Chi"}),
    ],
)
def test_the_maps_that_are_offered_are_those_that_the_images_allow(images, expected):
    reasons = possible_maps(images)
    assert {name for name, reason in reasons.items() if not reason} == expected
    assert all(reason.endswith(".") for reason in reasons.values() if reason)


def test_without_a_field_strength_qsm_asks_for_it():
    bare = [Acquisition(a.name, a.use, a.part, values=a.values) for a in ECHOES + PHASE]
    assert "field strength" in possible_maps(bare)["Chi"] and not possible_maps(bare, 3.0)["Chi"]


def test_every_use_knows_its_parameters():
    for use in USES.values():
        assert set(use.needs + use.takes) <= set(FIELDS)
