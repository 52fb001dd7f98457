"""The group level: index page and merged tables."""

import csv
import shutil

import pytest
from fake_head import fake_estimate, fake_record
from html_checks import HOSTILE, Page
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.derivatives import session_folder, write_estimate
from QMRIEstimationLib.io.text import write_json, write_text
from QMRIEstimationLib.report.subject import write_report
from QMRILesionStagingLib.cohort import group

LESIONS = "lesion\tvolume_mm3\tstage\n1\t120\tchronic active\n2\t55\tindeterminate\n"


def log(folder, name, time, **changed):
    """Write a log as the participant level does."""
    figures = {"R2star_median": 19.667, "brain_volume_ml": 1405.2}
    subject, _, session = name.partition("_")
    who = {"participant_id": subject, "session_id": session}
    write_json(folder / "logs" / f"{name}_{time}.json", who | fake_record(figures=figures) | changed)


@pytest.fixture(scope="module")
def participant(tmp_path_factory):
    """Results of one subject on disk, made once."""
    folder = tmp_path_factory.mktemp("participant")
    estimate = fake_estimate(4.0)
    write_estimate(session_folder(folder, "01"), estimate)
    write_report(folder / "sub-01.html", estimate, fake_record())
    log(folder, "sub-01", "20261123T100000000000Z")
    return folder


@pytest.fixture
def results(participant, tmp_path):
    """A copy of these results to be changed."""
    return shutil.copytree(participant, tmp_path / "out")


def rows(path):
    """Rows of a TSV file as dictionaries."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def index(folder):
    """The parsed index page."""
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_index_shows_the_subject_with_picture_numbers_and_link(results):
    assert group(results) == 1
    page = index(results)
    assert ("a", "href", "sub-01.html") in page.attributes
    assert any(tag == "img" and value.startswith("data:image/webp") for tag, name, value in page.attributes)
    assert "Subjects: 1. Sessions: 1, of these 1 done, 0 failed." in page.text
    assert "done 1405.2 19.67" in page.text
    assert rows(results / "participants.tsv") == [{"participant_id": "sub-01"}]
    assert not (results / "desc-lesions_stats.tsv").exists()


def test_failure_is_listed_first_with_its_sentence(results):
    log(results, "sub-02_ses-1", "20261123T110000000000Z", status="failed", error="x.json: EchoTime is missing.")
    assert group(results) == 2
    page = index(results)
    assert "1 failed sub-02_ses-1: x.json: EchoTime is missing." in page.text
    assert [row["participant_id"] for row in rows(results / "participants.tsv")] == ["sub-01"]  # 02 has no folder


@pytest.mark.parametrize("failed_last", [True, False])
def test_latest_log_of_a_subject_wins(results, failed_last):
    log(results, "sub-01", "20261123T110000000000Z", status="failed", error="Broken.")
    if not failed_last:
        log(results, "sub-01", "20261123T120000000000Z")
    group(results)
    text = index(results).text
    assert ("Broken." in text) == failed_last
    assert ("the results are of an earlier run" in text) == failed_last


def test_tables_are_merged_with_participant_and_session_in_front(results):
    write_text(results / "sub-01/anat/sub-01_desc-lesions_stats.tsv", LESIONS)
    other = "lesion\tstage\trim_grade\n1\tearly active\tabsent\n"
    write_text(results / "sub-03/ses-2/anat/sub-03_ses-2_desc-lesions_stats.tsv", other)
    assert group(results) == 2
    merged = rows(results / "desc-lesions_stats.tsv")
    assert list(merged[0]) == ["participant_id", "session_id", "lesion", "volume_mm3", "stage", "rim_grade"]
    assert [tuple(row.values()) for row in merged] == [
        ("sub-01", "n/a", "1", "120", "chronic active", "n/a"),
        ("sub-01", "n/a", "2", "55", "indeterminate", "n/a"),
        ("sub-03", "ses-2", "1", "n/a", "early active", "absent"),
    ]
    assert ("a", "href", "desc-lesions_stats.tsv") in index(results).attributes
    assert not (results / "desc-regions_stats.tsv").exists()


def test_table_of_a_subject_that_is_gone_leaves_the_merged_one(results):
    write_text(results / "sub-01/anat/sub-01_desc-regions_stats.tsv", "region\tmap\tmean\nNAWM\tR1\t1.0\n")
    group(results)
    assert (results / "desc-regions_stats.tsv").exists()
    (results / "sub-01/anat/sub-01_desc-regions_stats.tsv").unlink()
    group(results)
    assert not (results / "desc-regions_stats.tsv").exists()


def test_damaged_results_are_named_and_the_others_complete(results):
    write_text(results / "sub-01/anat/sub-01_desc-lesions_stats.tsv", LESIONS)
    write_text(results / "sub-04/anat/sub-04_desc-lesions_stats.tsv", "lesion\tstage\n1\n")
    write_text(results / "sub-04/anat/sub-04_R2starmap.nii.gz", "no image")
    write_text(results / "logs/sub-05_20261123T100000000000Z.json", "{")
    group(results)
    text = index(results).text
    assert "sub-04_desc-lesions_stats.tsv: line 2 has 1 fields, expected 2" in text
    assert "sub-04: no thumbnail: sub-04_R2starmap.nii.gz" in text
    assert "logs/sub-05_20261123T100000000000Z.json: cannot be read as JSON" in text
    assert len(rows(results / "desc-lesions_stats.tsv")) == 2


@pytest.mark.parametrize("changed", [{"figures": None}, {"warnings": None}, {"participant_id": 7}, {"status": None}])
def test_log_without_the_fields_of_a_run_is_named_and_left_out(results, changed):
    log(results, "sub-02", "20261123T100000000000Z", **changed)
    assert group(results) == 1
    assert "logs/sub-02_20261123T100000000000Z.json: is not the log of a run" in index(results).text


def test_folder_of_any_name_is_listed_once_with_its_log(results):
    log(
        results,
        "sub-A_b",
        "20261123T100000000000Z",
        participant_id="sub-A_b",
        session_id="",
        status="failed",
        error="X",
    )
    (results / "sub-A_b").mkdir()
    assert group(results) == 2
    assert "1 failed sub-A_b: X" in index(results).text


@pytest.mark.parametrize("logged", [True, False])
def test_session_without_maps_is_not_called_done(results, logged):
    (results / "sub-02" / "anat").mkdir(parents=True)
    if logged:
        log(results, "sub-02", "20261123T100000000000Z")
    group(results)
    assert "of these 1 done, 1 failed. " in index(results).text
    assert "sub-02: no maps are there; run it again." in index(results).text


def test_subject_made_with_other_parameters_is_named(results):
    for label in ("02", "03", "04"):
        shutil.copytree(results / "sub-01", results / f"sub-{label}")
        for path in sorted((results / f"sub-{label}").rglob("sub-01_*")):
            path.rename(path.with_name(path.name.replace("sub-01", f"sub-{label}")))
    for label in ("02", "03"):
        log(results, f"sub-{label}", "20261123T100000000000Z")
    log(results, "sub-04", "20261123T100000000000Z", parameters={"qsm": {"method": "other"}})
    group(results)
    assert "sub-04: made with other parameters than the rest" in index(results).text


def test_hostile_sentences_cannot_become_markup_in_the_index(results):
    log(results, "sub-02", "20261123T110000000000Z", status="failed", error=HOSTILE)
    log(results, "sub-01", "20261123T110000000000Z", warnings=[HOSTILE], started=HOSTILE)
    group(results)
    page = index(results)
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) == 3


def test_progress_reaches_one_and_names_the_subject(results):
    seen = []
    group(results, progress=lambda fraction, text: seen.append((fraction, text)))
    assert seen[0] == (0.0, "sub-01") and seen[-1][0] == 1.0


@pytest.mark.parametrize("exists", [True, False])
def test_folder_without_results_is_refused_with_what_to_do(tmp_path, exists):
    folder = tmp_path / "none"
    if exists:
        folder.mkdir()
    with pytest.raises(InputError, match="run the participant level first"):
        group(folder)
    assert not (folder / "index.html").exists()


def test_sessions_far_from_the_others_are_named_first(results):
    for n in range(2, 12):
        median = 3.1 if n == 7 else 19.5 + 0.1 * n
        shutil.copytree(results / "sub-01", results / f"sub-{n:02d}")
        for path in (results / f"sub-{n:02d}").rglob("sub-01*"):
            path.rename(path.with_name(path.name.replace("sub-01", f"sub-{n:02d}")))
        figures = {"R2star_median": median, "brain_volume_ml": 1400.0 + n}
        log(results, f"sub-{n:02d}", "20261123T100000000000Z", figures=figures)
    assert group(results) == 11
    text = index(results).text
    assert "sub-07: R2star median is 3.1" in text and text.count("robust SDs from") == 1


def test_the_methods_of_most_sessions_are_a_paragraph_and_the_others_are_named(tmp_path):
    usual, other = (
        {"text": f"Made by {HOSTILE} {way}.", "references": ["Someone A 2020, Journal 1:1"]} for way in "ab"
    )
    for name, methods in (("sub-01", usual), ("sub-02", other), ("sub-03", usual), ("sub-04", "damaged")):
        log(tmp_path, name, "20261123T100000000000Z", status="done", methods=methods)
        write_text(tmp_path / name / "anat" / f"{name}_R1map.nii.gz", "")
    group(tmp_path)
    text = index(tmp_path).text
    assert f"Made by {HOSTILE} a." in text
    assert "Made so: 2 of 3 sessions." in text
    assert "Made otherwise: sub-02" in text
    assert "Someone A 2020" in text
