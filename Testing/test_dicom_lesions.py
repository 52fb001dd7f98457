"""Lesions as DICOM segmentation and structured report, read back by highdicom, pydicom and dcmqi (as Slicer reads)."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import write_classic
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.dicom_maps import study_of
from QMRILesionStagingLib.dicom_lesions import write_lesions
from QMRILesionStagingLib.lesion_table import tables_of
from QMRILesionStagingLib.staging import stage_lesions
from staging_scene import QUICK, two_lesions

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def staged():
    """Tables of two lesions on an oblique grid, and its geometry."""
    angle = np.deg2rad(25)
    matrix = np.diag([0.8, 0.9, 1.4, 1.0])
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = (-20, 11, 5)
    given = two_lesions(matrix).given()
    return tables_of(stage_lesions(given, QUICK)), given.geometry


@pytest.fixture
def written(staged, tmp_path):
    """Segmentation and report read by pydicom, their folder and the study."""
    fields = {"SeriesInstanceUID": "1.2.3", "SeriesNumber": 4, "StudyDate": "20261101", "PatientBirthDate": "19800101"}
    write_classic(tmp_path / "raw", np.zeros((3, 4, 5)), np.eye(4), fields)
    study = study_of(next((tmp_path / "raw").iterdir()), "01")
    names = write_lesions(tmp_path, "sub-01", *staged, study)
    return *(pydicom.dcmread(tmp_path / name) for name in names), tmp_path, study


def test_every_lesion_lies_where_it_was_drawn(written, staged):
    folder = written[2]
    tables, geometry = staged
    read = highdicom.seg.segread(folder / "sub-01_lesions_seg.dcm")
    volume = read.get_volume(combine_segments=True)
    matrix = (LPS @ volume.affine)[:, [2, 1, 0, 3]]
    for number in (1, 2):
        for index in np.argwhere(tables.labels == number)[::50]:
            there = np.linalg.solve(matrix, geometry.ijk_to_ras @ [*index[::-1], 1])[:3][::-1]
            assert volume.array[tuple(np.rint(there).astype(int))] == number
    assert (volume.array > 0).sum() == (tables.labels > 0).sum()


def test_segments_carry_stage_terms_and_colours(written, staged):
    first, second = written[0].SegmentSequence
    assert first.SegmentLabel == "Lesion 1: chronic active" and first.TrackingID == "lesion 1"
    kind = first.SegmentedPropertyTypeCodeSequence[0]
    assert kind.CodeValue == "301766008"
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "STAGE-CA"
    assert first.AnatomicRegionSequence[0].CodeValue == "68523003"
    assert first.RecommendedDisplayCIELabValue != second.RecommendedDisplayCIELabValue


def test_both_belong_to_the_patient_and_study_and_say_research(written):
    segmentation, report, _, study = written
    for dataset in (segmentation, report):
        assert dataset.PatientID == "P1" and str(dataset.PatientName) == "Doe^Jane"
        assert dataset.StudyInstanceUID == study.StudyInstanceUID and dataset.StudyDate == "20261101"
        assert "research" in dataset.SeriesDescription
        assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99QMRI"
    assert report.VerificationFlag == "UNVERIFIED" and report.CompletionFlag == "COMPLETE"
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert segmentation.FrameOfReferenceUID == study.FrameOfReferenceUID


def test_the_report_holds_the_numbers_of_the_table(written, staged):
    _, _, folder, _ = written
    report = highdicom.sr.srread(folder / "sub-01_lesions_sr.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 2
    for group, row in zip(groups, staged[0].rows, strict=True):
        assert group.tracking_identifier == f"lesion {row['lesion']}"
        assert group.reference_type.value == "121191"  # Referenced Segment
        values = {}
        for measured in group.get_measurements():
            how = measured.derivation.value if measured.derivation is not None else ""
            values[measured.name.value, how] = (measured.value, measured.unit.value)
        assert values["118565006", ""] == (row["volume_mm3"], "mm3")
        mean, difference = values["126396", "373098007"], values["126396", "DELTA"]
        assert difference == (pytest.approx(row["Chi_delta"], rel=1e-5), "[ppm]")
        assert mean[0] == pytest.approx(row["Chi_reference"] + row["Chi_delta"], rel=1e-5)
        assert values["126395", "DELTA"][1] == "/s"
        calls = {call.name.value: call.value.value for call in group.get_qualitative_evaluations()}
        assert calls["STAGE"] == {"chronic active": "STAGE-CA", "chronic inactive": "STAGE-CI"}[row["stage"]]
        assert calls["RIM"] in ("PRL-DEF", "PRL-ABS") and calls["ENH"] == "ENH-NO"


def test_a_readers_call_and_name_count(staged, tmp_path):
    tables, geometry = staged
    call = {"reader_stage": "indeterminate", "reader_rim": "possible", "reader": "Müller", "reader_reason": "motion"}
    rows = [tables.rows[0] | call, tables.rows[1]]
    write_lesions(tmp_path, "x", replace(tables, rows=rows), geometry, study_of(None, "01"))
    report = highdicom.sr.srread(tmp_path / "x_lesions_sr.dcm")
    group = report.content.get_volumetric_roi_measurement_groups()[0]
    calls = {call.name.value: call.value.value for call in group.get_qualitative_evaluations()}
    assert calls["STAGE"] == "STAGE-IND" and calls["RIM"] == "PRL-POSS"
    assert "Müller" in str(report)
    assert str(report.PatientName) == "" and report.PatientID == "01"


def test_a_lesion_has_the_same_identity_in_both_files_and_every_time(written, staged, tmp_path):
    segmentation, report, _, study = written
    names = write_lesions(tmp_path / "again", "x", *staged, study)
    again = pydicom.dcmread(tmp_path / "again" / names[0])
    for first, second in zip(segmentation.SegmentSequence, again.SegmentSequence, strict=True):
        assert first.TrackingUID == second.TrackingUID and first.TrackingUID in str(report)


def test_without_lesions_nothing_is_written(staged, tmp_path):
    tables, geometry = staged
    with pytest.raises(InputError, match="no lesion to write"):
        write_lesions(tmp_path, "x", replace(tables, rows=[]), geometry, study_of(None, "01"))
    assert not list(tmp_path.iterdir())


def run(name, *arguments):
    """A program of dcmqi, the library that Slicer reads and writes such objects with."""
    program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True)


def test_the_library_that_slicer_reads_with_reads_both(written, staged):
    _, _, folder, _ = written
    seg, sr = folder / "sub-01_lesions_seg.dcm", folder / "sub-01_lesions_sr.dcm"
    (folder / "out").mkdir()
    run("segimage2itkimage", "--inputDICOM", seg, "--outputDirectory", folder / "out", "-t", "nii")
    import SimpleITK as sitk

    voxels = [
        int((sitk.GetArrayFromImage(sitk.ReadImage(str(p))) > 0).sum()) for p in (folder / "out").glob("*.nii.gz")
    ]
    assert sorted(voxels) == sorted((staged[0].labels == n).sum() for n in (1, 2))
    run("tid1500reader", "--inputDICOM", sr, "--outputMetadata", folder / "sr.json")
    read = json.loads((folder / "sr.json").read_text())
    assert [group["TrackingIdentifier"] for group in read["Measurements"]] == ["lesion 1", "lesion 2"]
    items = read["Measurements"][0]["measurementItems"]
    assert {item["quantity"]["CodeMeaning"] for item in items} >= {"Volume", "R2*", "Magnetic Susceptibility"}
