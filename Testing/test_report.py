"""The HTML report of one session."""

import re
from dataclasses import replace

import numpy as np
import pytest
from fake_head import fake_estimate, fake_record
from html_checks import HOSTILE, Page
from QMRIEstimationLib.acquisition import Session
from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.io.text import write_json, write_text
from QMRIEstimationLib.maps import Estimate, QuantitativeMap
from QMRIEstimationLib.report.charts import histogram
from QMRIEstimationLib.report.page import Html, table
from QMRIEstimationLib.report.record import flat
from QMRIEstimationLib.report.subject import report_html, write_report


@pytest.fixture(scope="module")
def estimate():
    """A head at 3 mm, for speed."""
    return fake_estimate(3.0, notes=("The phase of echo 3 was mended.",))


@pytest.fixture(scope="module")
def report(estimate):
    """Its report as text."""
    return report_html(estimate, fake_record())


def test_report_is_well_formed_and_alone(report):
    page = Page(report)
    assert {"script", "link", "iframe", "object", "form"}.isdisjoint(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name == "src":
            assert value.startswith("data:image/")
        if name == "href":
            assert value.startswith("#")
    assert "http" not in re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]*", "", report)
    assert "url(" not in report and "@import" not in report


def test_links_of_the_report_have_their_targets(report):
    page = Page(report)
    targets = {value for _, name, value in page.attributes if name == "id"}
    assert {value[1:] for _, name, value in page.attributes if name == "href"} <= targets


def test_report_says_what_was_scanned_and_made(report):
    text = Page(report).text
    for words in (
        "sub-01",
        "Research use only",
        "Read this first The phase of echo 3 was mended.",
        "5, 10, 15, 20, 25, 30 ms (6 echoes) sidecar",
        "Flip angle 15 degrees",
        "Repetition time 38 ms",
        "3 T",
        "(0.000, 0.000, 1.000) in RAS",
        "R2* (1/s): nonlinear least squares with Rician mean [1].",
        "A. Author 2009",
        "qsm.field.threshold 0.1",
        "0 to 50 1/s, fixed window; navia, reversed, logarithmic;",
        "-0.1 to 0.1 ppm, fixed window; gray;",
        "ab" * 32,
        "noise sd 10.02",
    ):
        assert words in text, words


def test_every_map_is_shown_in_three_planes_with_uncertainty(estimate, report):
    alternatives = [value for tag, name, value in Page(report).attributes if (tag, name) == ("img", "alt")]
    for name in estimate.maps:
        title = display_of(name).title
        for plane in ("axial", "coronal", "sagittal"):
            assert sum(text.startswith(f"{title}, {plane}") for text in alternatives) == 1
            assert sum(text.startswith(f"{title}, one standard deviation, {plane}") for text in alternatives) == 1


def test_medians_are_those_of_the_valid_voxels_of_the_mask(estimate, report):
    result = estimate.maps["R2star"]
    first, middle, third = np.percentile(result.values[result.valid & estimate.brain_mask], (25, 50, 75))
    assert f"R2* 1/s {middle:.2f} {first:.2f} to {third:.2f} 0.80" in Page(report).text


def test_hostile_names_and_notes_cannot_become_markup(estimate):
    scan = replace(estimate.session.scans[0], name=HOSTILE, manufacturer=HOSTILE, origin={"echo_times": HOSTILE})
    maps = {
        name: replace(m, algorithm=HOSTILE, reference=HOSTILE, notes=(HOSTILE,)) for name, m in estimate.maps.items()
    }
    hostile = replace(
        estimate,
        session=Session(HOSTILE, HOSTILE, (scan,)),
        maps=maps,
        notes=(HOSTILE,),
        figures={HOSTILE: HOSTILE},
    )
    record = fake_record(
        software={"name": HOSTILE, "version": HOSTILE, "python": HOSTILE, "packages": {HOSTILE: HOSTILE}},
        command=HOSTILE,
        parameters={HOSTILE: {HOSTILE: HOSTILE}},
        inputs=[{"file": HOSTILE, "sha256": HOSTILE}],
        outputs=[HOSTILE],
        warnings=[HOSTILE + "2"],
        error=HOSTILE + "3",
        timings={HOSTILE: 1.0},
    )
    text = report_html(hostile, record)
    page = Page(text)
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert not any(HOSTILE in (value or "") for _, name, value in page.attributes if name != "alt")


def test_a_name_that_is_no_text_does_not_stop_the_report(estimate, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, replace(estimate, notes=("broken \udcff name",)), fake_record())
    assert "broken ? name" in path.read_text(encoding="utf-8")


def test_equal_input_gives_equal_bytes_whatever_the_time_it_took(estimate):
    slower = replace(estimate, timings={"reading": 99.0})
    assert report_html(estimate, fake_record()) == report_html(slower, fake_record())


def test_report_of_a_fine_head_stays_under_five_megabytes():
    assert len(report_html(fake_estimate(1.0), fake_record())) < 5e6


def test_report_without_warnings_says_so(estimate):
    assert "Nothing was mended" in Page(report_html(replace(estimate, notes=()), fake_record())).text


def test_oblique_and_empty_input_makes_a_report_that_says_so(oblique_matrix):
    shape = (9, 10, 11)
    geometry = Geometry(shape, oblique_matrix, b0_ras=None)
    nothing = np.zeros(shape, np.float32)
    empty = QuantitativeMap("Chi", nothing, nothing, nothing, nothing > 0, geometry, "none", "", "none")
    estimate = Estimate(Session("02", "a"), {"Chi": empty}, geometry, nothing > 0, nothing)
    text = Page(report_html(estimate, {})).text
    assert "sub-02 ses-a" in text
    assert "tilted by" in text
    assert "QSM (χ) ppm n/a n/a to n/a n/a n/a" in text
    assert "No phase was used." in text


def test_map_on_another_grid_is_refused(estimate):
    other = fake_estimate(4.0).maps
    with pytest.raises(ValueError, match="brain_mask has shape"):
        report_html(replace(estimate, maps=other), fake_record())


def test_interpolated_images_name_the_voxel_that_was_measured(estimate):
    scan = estimate.session.scans[0]
    finer = replace(scan, geometry=replace(scan.geometry, acquired_voxel_size=(3.0, 6.0, 6.0)))
    text = Page(report_html(replace(estimate, session=Session("01", "", (finer,))), fake_record())).text
    assert "Effective voxel (i, j, k) 6 x 6 x 3 mm, the images were interpolated" in text


def test_histogram_peak_stands_over_its_value_and_tells_what_is_outside():
    display = display_of("R2star", 3.0)
    svg = histogram(np.concatenate([np.full(900, 25.1), np.full(100, 80.0)]), display)
    Page(svg)
    assert "0.0 % below, 10.0 % above" in svg
    steps = re.findall(r"H([\d.]+)V([\d.]+)H([\d.]+)", svg)
    left, _, right = min(steps, key=lambda step: float(step[1]))
    middle = 8 + (480 - 16) * 25.25 / 50  # bin 25.0 to 25.5 of 0 to 50 between the margins
    assert (float(left) + float(right)) / 2 == pytest.approx(middle, abs=0.1)


def test_table_cells_are_escaped_unless_they_are_markup():
    text = table(("a<b",), [("<i>", Html("<b>x</b>")), (None, 3)])
    assert "a&lt;b" in text and "&lt;i&gt;" in text and "<b>x</b>" in text and "n/a" in text


def test_nested_parameters_become_dotted_names():
    assert list(flat({"a": {"b": {"c": 1}}, "d": [2]})) == [("a.b.c", 1), ("d", [2])]


def test_json_holds_no_nan_and_takes_numpy_values(tmp_path):
    path = tmp_path / "new" / "record.json"
    write_json(path, {"a": np.float32(0.5), "b": np.array([1, 2]), "c": float("nan"), "d": (tmp_path,)})
    text = path.read_text(encoding="utf-8")
    assert '"a": 0.5' in text and '"c": null' in text and "NaN" not in text


def test_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    write_text(path, "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
