"""Lesions from visit to visit: matching after motion, events, and transitions that cannot be."""

import csv

import numpy as np
import pytest
from lesion_maps import Canvas
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.io.nifti import write_image
from QMRIEstimationLib.io.text import write_table
from QMRILesionStagingLib.visits import Visit, check, follow, matched


def visit(balls, shift=(0, 0, 0), stages=None, rims=None, size=(40, 40, 40)):
    """Visit with a lesion for every (centre, diameter); the grid is moved by `shift` (voxels)."""
    canvas = Canvas(size)
    for centre, diameter in balls:
        canvas.lesion(np.array(centre) + shift, diameter)
    labels = canvas.labels()
    rows = {}
    for number in range(1, len(balls) + 1):
        volume = float(np.count_nonzero(labels == number))
        rows[number] = {
            "lesion": str(number), "volume_mm3": str(volume), "stage": (stages or {}).get(number, "chronic inactive"),
            "rim_grade": (rims or {}).get(number, "absent"), "enhancement": "none", "Chi_delta": "0.01",
        }  # fmt: skip
    return Visit(labels, Geometry(size, np.eye(4)), rows)


def events(rows):
    return sorted((row["lesion_before"] or 0, row["lesion"] or 0, row["event"]) for row in rows)


def test_lesions_are_matched_new_ones_and_those_that_are_gone_are_told():
    before = visit([((10, 10, 10), 8), ((28, 28, 28), 7)])
    after = visit([((28, 28, 28), 8), ((10, 30, 10), 6)])
    assert events(matched(before, after)) == [(0, 2, "new"), (1, 0, "gone"), (2, 1, "same")]
    (row,) = [r for r in matched(before, after) if r["event"] == "same"]
    volumes = [float(v.lesions[n]["volume_mm3"]) for v, n in ((before, 2), (after, 1))]
    assert row["growth_percent"] == pytest.approx(100 * (volumes[1] / volumes[0] - 1), abs=0.05)


def test_merging_and_splitting_are_told():
    parts = visit([((20, 14, 20), 8), ((20, 26, 20), 8)])
    whole = visit([((20, 20, 20), 18)])
    assert {row["event"] for row in matched(parts, whole)} == {"merged"}
    assert {row["event"] for row in matched(whole, parts)} == {"split"}


def test_motion_between_visits_is_undone_and_what_left_the_field_of_view_is_not_gone():
    before = visit([((10, 10, 10), 8), ((28, 28, 28), 7)])
    after = visit([((10, 10, 10), 8), ((28, 28, 28), 7)], shift=(5, 0, 0))
    transform = np.eye(4)
    transform[2, 3] = -5.0  # RAS z of the earlier visit is that of the later one less 5 mm
    assert events(matched(before, after, transform)) == [(1, 1, "same"), (2, 2, "same")]
    far = np.eye(4)
    far[2, 3] = -14.0
    assert (2, 0, "outside") in events(matched(before, visit([((24, 10, 10), 8)]), far))


def test_rims_that_persist_are_counted():
    balls = [((10, 10, 10), 8), ((28, 28, 28), 8)]
    before = visit(balls, rims={1: "definite", 2: "probable"})
    after = visit(balls, rims={1: "probable", 2: "absent"})
    assert [row["rim_persists"] for row in matched(before, after)] == [True, False]


@pytest.mark.parametrize(
    ("before", "after", "growth", "words"),
    [
        ("early active", "chronic active", 0.0, None),
        ("late active", "chronic inactive", -0.3, None),
        ("chronic active", "chronic inactive", 0.0, None),
        ("chronic inactive", "early active", 0.0, "cannot be"),
        ("chronic inactive", "late active", 0.6, "active again"),
        ("chronic inactive", "chronic active", 0.1, "unusual"),
        ("indeterminate", "early active", 0.0, None),
    ],
)
def test_impossible_transitions_are_flagged(before, after, growth, words):
    found = check(before, after, growth)
    assert found is None if words is None else words in found


def test_the_table_of_a_subject_is_written_from_what_lies_on_disk(tmp_path):
    rng = np.random.default_rng(4)
    size = (40, 40, 40)
    texture = rng.standard_normal(size).astype(np.float32)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), -1)
    head = np.where(np.linalg.norm(places - 20, axis=-1) < 17, 1 + 0.1 * texture + 0.02 * places[..., 1], 0)
    balls = [((16, 18, 20), 8)]
    for session, stage in (("01", "early active"), ("02", "chronic active")):
        found = visit(balls, stages={1: stage})
        anat = tmp_path / "sub-x" / f"ses-{session}" / "anat"
        stem = f"sub-x_ses-{session}"
        write_image_in(anat, f"{stem}_R1map.nii.gz", head.astype(np.float32), found.geometry)
        write_image_in(anat, f"{stem}_seg-lesions_dseg.nii.gz", found.labels.astype(np.uint8), found.geometry)
        write_table(anat / f"{stem}_desc-lesions_stats.tsv", list(found.lesions.values()))
    assert follow(tmp_path, "x", ["01", "02", "03"]) == ()
    with open(tmp_path / "sub-x" / "sub-x_desc-visits_stats.tsv", encoding="utf-8") as lines:
        (row,) = csv.DictReader(lines, delimiter="\t")
    assert (row["session_before"], row["session"], row["event"]) == ("ses-01", "ses-02", "same")
    assert (row["stage_before"], row["stage"], row["check"]) == ("early active", "chronic active", "n/a")


def test_one_visit_needs_no_table(tmp_path):
    assert follow(tmp_path, "x", ["01"]) == ()
    assert not list(tmp_path.rglob("*.tsv"))


def write_image_in(folder, name, values, geometry):
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / name, values, geometry, dtype=values.dtype)
