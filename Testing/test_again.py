"""Results of an earlier run: reported again with the same bytes, and staged anew without estimating anything."""

import json

import nibabel
import numpy as np
import pytest
from bids_tree import image_of, make_bids_tree, matrix, save, signal, write_json
from QMRIEstimationLib import cli
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.io.text import read_table

LESION = "derivatives/rater/sub-01/anat/sub-01_label-L_mask.nii.gz"


@pytest.fixture
def raw(tmp_path):
    """The tiny patient with T1-weighted scans before and after the agent, the second one moved by 2 mm."""
    raw = make_bids_tree(tmp_path / "raw", ("01",))
    images, _ = signal(1)
    moved = matrix()
    moved[0, 3] += 2.0
    for name, factor, affine in (("T1w", 100, matrix()), ("ce-gadolinium_T1w", 110, moved)):
        path = raw / "sub-01" / "anat" / f"sub-01_{name}"
        save(path.with_name(f"{path.name}.nii.gz"), (factor * np.abs(images[0])).astype(np.float32), affine)
        fields = {"EchoTime": 0.003, "RepetitionTime": 0.01, "FlipAngle": 12, "MagneticFieldStrength": 3.0}
        write_json(path.with_name(f"{path.name}.json"), fields)
    return raw


@pytest.fixture
def output(raw, tmp_path):
    assert run(raw, tmp_path / "maps") == cli.DONE
    return tmp_path / "maps"


def run(raw, output, *words):
    return cli.main(["run", str(raw), str(output), "participant", "--maps", "Chi", "R2star", *words])


def files(output):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in output.rglob("*") if path.is_file()}


def draw(raw, corners):
    lesion = np.zeros(read_image(raw / LESION)[0].shape, np.uint8)
    for k, j, i in corners:
        lesion[k : k + 3, j : j + 3, i : i + 3] = 1
    save(raw / LESION, lesion)


def test_a_report_that_is_written_again_has_the_same_bytes_and_nothing_else_is_touched(raw, output):
    before = files(output)
    assert run(raw, output, "--reports-only") == cli.DONE
    after = files(output)
    report = output / "sub-01.html"
    assert after.pop(report)[1] == before.pop(report)[1]
    about = {output / "dataset_description.json", output / ".bidsignore"}
    assert {path for path in before if before[path] != after[path]} <= about
    assert all(before[path][1] == after[path][1] for path in about)


def test_a_lost_report_is_made_of_what_is_on_disk(raw, output):
    text = (output / "sub-01.html").read_text()
    (output / "sub-01.html").unlink()
    assert run(raw, output, "--steps", "report") == cli.DONE
    again = (output / "sub-01.html").read_text()
    for part in ('id="lesion-1"', 'id="regions"', 'id="mask"', 'id="field"', "after gadolinium", "Local field"):
        assert part in text
        assert part in again
    assert "Wrapped phase" in text
    assert "Wrapped phase" not in again  # only the run itself had it


def test_lesions_drawn_anew_are_staged_without_estimating(raw, output, capsys):
    anat = output / "sub-01" / "anat"
    maps = {path: content for path, content in files(output).items() if "map.nii.gz" in path.name}
    draw(raw, ((9, 12, 14), (4, 6, 8)))
    capsys.readouterr()
    assert run(raw, output, "--steps", "stage", "regions") == cli.DONE
    said = capsys.readouterr()
    assert "sub-01: stage, regions, report done" in said.out
    assert "virtual rims were not passed through the inversion" in said.err
    assert len(read_table(anat / "sub-01_desc-lesions_stats.tsv")) == 2
    assert {path: files(output)[path] for path in maps} == maps
    assert 'id="lesion-2"' in (output / "sub-01.html").read_text()
    logs = [json.loads(path.read_text()) for path in sorted((output / "logs").glob("*.json"))]
    assert logs[1]["estimated"] == logs[0]["started"]
    changed = {item["file"] for item in logs[1]["inputs"] if item not in logs[0]["inputs"]}
    assert changed == {LESION}
    assert run(raw, output, "--steps", "stage", "regions") == cli.DONE
    assert "1 done before and kept" in capsys.readouterr().out
    assert run(raw, output, "--steps", "stage", "regions", "--force") == cli.DONE
    last = json.loads(sorted((output / "logs").glob("*.json"))[-1].read_text())
    for key in ("estimated", "methods", "estimation_warnings", "warnings"):
        assert last[key] == logs[1][key]


def test_what_a_step_no_longer_gives_does_not_stay(raw, output, capsys):
    draw(raw, ())
    assert run(raw, output, "--steps", "stage") == cli.DONE
    anat = output / "sub-01" / "anat"
    assert not (anat / "sub-01_desc-lesions_stats.tsv").exists()
    assert not (anat / "sub-01_desc-borders_stats.tsv").exists()
    assert not read_image(anat / "sub-01_seg-lesions_dseg.nii.gz")[0].any()
    assert (anat / "sub-01_desc-regions_stats.tsv").exists()


def test_other_settings_of_estimation_are_said_not_to_count(raw, output, tmp_path, capsys):
    (tmp_path / "other.toml").write_text('[r2star]\nmethod = "arlo"\n')
    assert run(raw, output, "--steps", "stage", "--config", str(tmp_path / "other.toml")) == cli.DONE
    assert "made with other settings of estimation than these" in capsys.readouterr().err
    record = json.loads(sorted((output / "logs").glob("*.json"))[-1].read_text())
    assert record["parameters"]["r2star"]["method"] != "arlo"


def test_without_an_earlier_run_nothing_is_written(raw, tmp_path, capsys):
    for words in (("--reports-only",), ("--steps", "stage")):
        assert run(raw, tmp_path / "none", *words) == cli.SOME_FAILED
        assert "sub-01: failed: sub-01: has no finished run in" in capsys.readouterr().err
        assert not list((tmp_path / "none").glob("sub-*"))
        assert not list((tmp_path / "none" / "logs").glob("*"))


def test_scans_that_changed_since_are_refused_and_the_results_stay(raw, output, capsys):
    before = {path: content for path, content in files(output).items() if "logs" not in path.parts}
    image = nibabel.load(image_of(raw, 1))
    nibabel.save(nibabel.Nifti1Image(1.1 * image.get_fdata(), image.affine), image_of(raw, 1))
    assert run(raw, output, "--steps", "stage") == cli.SOME_FAILED
    assert "sub-01_echo-1_part-mag_MEGRE.nii.gz: has changed since the maps were made" in capsys.readouterr().err
    after = files(output)
    assert {path.name for path in before if before[path] != after[path]} <= {"dataset_description.json", ".bidsignore"}


def test_steps_beside_reports_only_are_refused(raw, output, capsys):
    assert run(raw, output, "--reports-only", "--steps", "stage") == cli.WRONG_CALL
    assert "--reports-only and --steps exclude each other" in capsys.readouterr().err
