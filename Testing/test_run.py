"""The command `slicer-qmri`: what it writes, how it ends, and that one bad subject harms no other."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from bad_input import BAD_INPUTS
from bad_routes import BAD_ROUTES
from bids_tree import R2STAR, make_bids_tree
from QMRIEstimationLib import cli, participant

KILLED = """
import os, sys
from QMRIEstimationLib import cli, cli_run, participant
cli_run._apart = lambda *_: False
participant.write_report = lambda *_: os.kill(os.getpid(), 9)
cli.main(["run", *sys.argv[1:], "participant"])
"""
CONTRACT = {
    "anat/sub-01_R2starmap.nii.gz",
    "anat/sub-01_desc-uncertainty_R2starmap.nii.gz",
    "anat/sub-01_desc-quality_R2starmap.nii.gz",
    "anat/sub-01_desc-R2star_mask.nii.gz",
    "anat/sub-01_Chimap.nii.gz",
    "anat/sub-01_desc-uncertainty_Chimap.nii.gz",
    "anat/sub-01_desc-quality_Chimap.nii.gz",
    "anat/sub-01_desc-Chi_mask.nii.gz",
    "anat/sub-01_label-brain_mask.nii.gz",
    "fmap/sub-01_desc-total_fieldmap.nii.gz",
    "fmap/sub-01_desc-local_fieldmap.nii.gz",
    "fmap/sub-01_magnitude.nii.gz",
    "anat/sub-01_seg-lesions_dseg.nii.gz",
    "anat/sub-01_seg-stages_dseg.nii.gz",
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A tiny raw data set of two subjects; copy it before damaging it."""
    return make_bids_tree(tmp_path_factory.mktemp("tiny") / "raw")


@pytest.fixture(scope="module")
def results(clean, tmp_path_factory):
    """Its participant and group results."""
    output = tmp_path_factory.mktemp("results") / "maps"
    assert cli.main(["run", str(clean), str(output), "participant"]) == cli.DONE
    assert cli.main(["run", str(clean), str(output), "group"]) == cli.DONE
    return output


def test_every_file_of_the_contract_is_written_with_a_sidecar(results):
    written = {str(p.relative_to(results / "sub-01")) for p in (results / "sub-01").rglob("*.nii.gz")}
    assert written == CONTRACT
    for name in CONTRACT:
        sidecar = json.loads((results / "sub-01" / name.replace(".nii.gz", ".json")).read_text())
        assert "SkullStripped" in sidecar
        assert sidecar.get("Sources") or "label-brain" in name
    assert (results / "sub-01.html").stat().st_size > 1000
    assert (results / "index.html").exists()
    assert not [p for p in results.rglob(".*") if p.name != ".bidsignore"]


def test_maps_lie_on_the_grid_of_the_multi_echo_scan_and_hold_no_nan(clean, results):
    raw = nibabel.load(clean / "sub-01" / "anat" / "sub-01_echo-1_part-mag_MEGRE.nii.gz")
    for name in CONTRACT:
        image = nibabel.load(results / "sub-01" / name)
        assert np.array_equal(image.affine, raw.affine)
        assert np.isfinite(image.get_fdata()).all()


def test_r2star_of_the_tiny_brain_is_what_it_was_made_with(results):
    values, sd, valid, brain = (
        nibabel.load(results / "sub-01" / "anat" / f"sub-01_{name}.nii.gz").get_fdata()
        for name in ("R2starmap", "desc-uncertainty_R2starmap", "desc-R2star_mask", "label-brain_mask")
    )
    inside = (valid > 0) & (brain > 0)
    # The median over n voxels spreads by 1.25 SD / sqrt(n); the core is 5 % of the ball, far from its median.
    assert abs(np.median(values[inside]) - R2STAR) < 5 * 1.25 * np.median(sd[inside]) / np.sqrt(inside.sum()) + 0.5
    assert (values[valid == 0] == 0).all()


def test_log_holds_inputs_parameters_and_versions(results):
    (path,) = (results / "logs").glob("sub-01_*.json")
    log = json.loads(path.read_text())
    assert log["status"] == "done"
    assert {"numpy", "numba"} <= set(log["software"]["packages"])
    assert log["parameters"]["r2star"]["method"] == "nlls"
    hashes = {entry["file"]: entry["sha256"] for entry in log["inputs"]}
    assert hashes["sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz"]
    assert all(len(value) == 64 for value in hashes.values())
    assert log["outputs"]


ALL_BAD = [case for case in (*BAD_INPUTS, *BAD_ROUTES) if case.stage != "drawing"]


@pytest.mark.parametrize("case", ALL_BAD, ids=lambda case: case.name)
def test_bad_input_ends_in_one_sentence_and_harms_no_other_subject(case, clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    case.damage(raw)
    output = tmp_path / "maps"
    assert cli.main(["run", str(raw), str(output), "participant"]) == cli.SOME_FAILED
    lines = [line for line in capsys.readouterr().err.splitlines() if "failed" in line]
    assert len(lines) == 1
    assert lines[0].startswith("sub-01: failed: ")
    for word in case.words:
        assert word in lines[0]
    assert "-v shows where" not in lines[0]  # that would be a bug of ours, not a problem of the input
    assert not (output / "sub-01").exists()
    assert not (output / "sub-01.html").exists()
    assert (output / "sub-02" / "anat" / "sub-02_R2starmap.nii.gz").exists()
    assert (output / "sub-02.html").exists()


@pytest.mark.parametrize("case", [c for c in BAD_INPUTS if c.stage == "phase"], ids=lambda case: case.name)
def test_bad_phase_leaves_r2star_to_those_who_ask_for_it_alone(case, clean, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    case.damage(raw)
    command = ["run", str(raw), str(tmp_path / "maps"), "participant", "--participant-label", "01"]
    assert cli.main([*command, "--maps", "R2star"]) == cli.DONE


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "{raw}/nowhere", "{out}", "participant"], "there is no such folder"),
        (["run", "{raw}", "{out}", "participant", "--participant-label", "sub-09"], "09"),
        (["run", "{raw}", "{out}", "participant", "--config", "{raw}/none.toml"], "none.toml"),
        (["run", "{raw}", "{out}", "participant", "--config", "{raw}/dataset_description.json"], "not a TOML file"),
        (["run", "{raw}", "{out}", "participant", "--derivatives", "rater"], "NAME=PATH"),
        (["run", "{raw}", "{out}", "participant", "--maps", "T9"], "T9"),
        (["run", "{raw}", "{out}", "participant", "--threads", "0"], "--threads"),
        (["run", "{raw}", "{out}", "everyone"], "everyone"),
        (["run", "{raw}", "{out}", "group"], "{out}"),
        ([], "COMMAND"),
    ],
)
def test_wrong_call_exits_with_2_and_writes_nothing(words, sentence, clean, tmp_path, capsys):
    places = {"raw": str(clean), "out": str(tmp_path / "maps")}
    assert cli.main([word.format(**places) for word in words]) == cli.WRONG_CALL
    assert sentence.format(**places) in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_options_may_be_spelled_with_underscores_and_labels_with_prefix(clean, tmp_path):
    command = ["run", str(clean), str(tmp_path / "maps"), "participant", "--participant_label=sub-02"]
    assert cli.main(command) == cli.DONE
    assert not (tmp_path / "maps" / "sub-01").exists()
    assert (tmp_path / "maps" / "sub-02").exists()


def test_steps_choose_what_is_made(clean, tmp_path):
    cases = ((["estimate"], False, False), (["estimate", "regions"], False, True), (["estimate", "stage"], True, False))
    for steps, staged, regions in cases:
        output = tmp_path / steps[-1]
        command = ["run", str(clean), str(output), "participant", "--participant-label", "01", "--steps", *steps]
        assert cli.main(command) == cli.DONE
        anat = output / "sub-01" / "anat"
        assert (anat / "sub-01_seg-stages_dseg.nii.gz").exists() == staged
        assert (anat / "sub-01_desc-lesions_stats.tsv").exists() == staged
        assert (anat / "sub-01_desc-regions_stats.tsv").exists() == regions
        assert ('id="lesions"' in (output / "sub-01.html").read_text()) == staged


def test_stages_without_a_drawing_are_an_error_only_where_they_were_asked_for(clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    for path in raw.rglob("*label-L_mask*"):
        path.unlink()
    command = ["run", str(raw), str(tmp_path / "maps"), "participant", "--participant-label", "01"]
    assert cli.main(command) == cli.DONE
    assert "no lesion mask was found" in capsys.readouterr().err
    assert cli.main([*command, "--steps", "stage"]) == cli.SOME_FAILED
    error = capsys.readouterr().err
    assert "sub-01: failed: sub-01: no lesion mask was found, expected *_label-L_mask" in error


def test_lesion_probabilities_are_read_and_percents_refused(clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    for path in raw.rglob("sub-01_label-L_mask.nii.gz"):
        drawn = nibabel.load(path)
        for scale, status in ((0.9, cli.DONE), (90.0, cli.DONE)):
            values = drawn.get_fdata().astype(np.float32) * scale
            values[0, 0, 0] = 0.25 * scale
            nibabel.save(nibabel.Nifti1Image(values, drawn.affine), path.with_name("sub-01_label-L_probseg.nii.gz"))
            path.unlink(missing_ok=True)
            command = ["run", str(raw), str(tmp_path / f"maps{scale:g}"), "participant", "--participant-label", "01"]
            assert cli.main(command) == status
            error = capsys.readouterr().err
            assert ("expected probabilities from 0 to 1" in error) == (scale > 1)
        stages = tmp_path / "maps0.9" / "sub-01" / "anat" / "sub-01_seg-lesions_dseg.nii.gz"
        assert nibabel.load(stages).get_fdata().max() == 1


def test_two_visits_of_a_subject_end_in_a_table_of_its_lesions(clean, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    shutil.rmtree(raw / "sub-02")
    for folder in (raw / "sub-01", raw / "derivatives" / "rater" / "sub-01"):
        for path in list((folder / "anat").iterdir()):
            for visit in ("1", "2"):
                target = folder / f"ses-{visit}" / "anat" / path.name.replace("sub-01", f"sub-01_ses-{visit}")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        shutil.rmtree(folder / "anat")
    output = tmp_path / "maps"
    assert cli.main(["run", str(raw), str(output), "participant"]) == cli.DONE
    header, *rows = (output / "sub-01" / "sub-01_desc-visits_stats.tsv").read_text().splitlines()
    row = dict(zip(header.split("\t"), rows[0].split("\t"), strict=True))
    assert len(rows) == 1
    assert (row["session_before"], row["session"], row["event"]) == ("ses-1", "ses-2", "same")
    assert row["growth_percent"] == "0.0"


def test_stop_on_first_crash_leaves_the_rest_undone(clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    BAD_INPUTS[0].damage(raw)
    command = ["run", str(raw), str(tmp_path / "maps"), "participant", "--stop-on-first-crash"]
    assert cli.main(command) == cli.SOME_FAILED
    assert "0 of 2 done" in capsys.readouterr().out
    assert not (tmp_path / "maps" / "sub-02").exists()


def test_failure_of_a_second_run_keeps_the_results_of_the_first(clean, tmp_path):
    raw, output = tmp_path / "raw", tmp_path / "maps"
    shutil.copytree(clean, raw)
    assert cli.main(["run", str(raw), str(output), "participant"]) == cli.DONE
    before = checksums(output)
    BAD_INPUTS[0].damage(raw)
    assert cli.main(["run", str(raw), str(output), "participant"]) == cli.SOME_FAILED
    assert checksums(output) == before


@pytest.mark.parametrize("described", [True, False])
def test_raw_data_are_never_overwritten_by_results(described, clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    if not described:
        (raw / "dataset_description.json").unlink()
    before = checksums(raw)
    assert cli.main(["run", str(raw), str(raw), "participant"]) == cli.WRONG_CALL
    assert "would be overwritten" in capsys.readouterr().err
    assert checksums(raw) == before


def test_output_that_cannot_be_written_ends_in_one_sentence(clean, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert cli.main(["run", str(clean), str(tmp_path / "file" / "maps"), "participant"]) == cli.WRONG_CALL
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line
        == f"slicer-qmri: {tmp_path}/file/maps: Not a directory; check the path, its permissions and the free space."
    )


def test_full_disk_at_the_report_leaves_no_maps_without_it(clean, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(participant, "write_report", full)
    output = tmp_path / "maps"
    assert cli.main(["run", str(clean), str(output), "participant", "--participant-label", "01"]) == cli.SOME_FAILED
    assert "sub-01: failed: the disk is full (No space left on device); make room" in capsys.readouterr().err
    assert sorted(path.name for path in output.iterdir()) == [".bidsignore", "dataset_description.json", "logs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_run_says_so_and_leaves_nothing_but_its_log(number, clean, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(participant, "write_estimate", lambda *_: os.kill(os.getpid(), number))
    output = tmp_path / "maps"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    try:
        assert cli.main(["run", str(clean), str(output), "participant"]) == cli.SOME_FAILED
    finally:
        signal.signal(signal.SIGINT, before)
    assert "stopped; nothing half-made was left behind." in capsys.readouterr().err
    assert sorted(path.name for path in output.iterdir()) == [".bidsignore", "dataset_description.json", "logs"]
    assert "stopped before the end" in only_log(output)["error"]


def test_killed_run_is_on_record_and_its_rest_goes_with_the_next(clean, tmp_path, monkeypatch):
    output, command = tmp_path / "maps", [sys.executable, "-c", KILLED, str(clean), str(tmp_path / "maps")]
    subprocess.run(command, check=False, env=environment())
    assert list(output.glob(".sub-01-*")) and not (output / "sub-01").exists()
    log = only_log(output)
    assert log["status"] == "failed" and "killed" in log["error"]
    assert cli.main(["run", str(clean), str(output), "group"]) == cli.DONE
    assert "1 failed" in (output / "index.html").read_text()
    assert cli.main(["run", str(clean), str(output), "participant", "--participant-label", "01"]) == cli.DONE
    assert not list(output.glob(".sub-*"))


def test_folder_with_a_label_that_is_not_bids_is_named(clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    (raw / "sub-01").rename(raw / "sub-01_old")
    assert cli.main(["run", str(raw), str(tmp_path / "maps"), "participant"]) == cli.SOME_FAILED
    assert "sub-01_old: failed: sub-01_old: a BIDS label holds only" in capsys.readouterr().err
    assert (tmp_path / "maps" / "sub-02.html").exists()


def test_damage_in_a_scan_that_no_map_needs_is_a_note(clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    (raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz").write_bytes(b"no image")
    command = ["run", str(raw), str(tmp_path / "maps"), "participant", "--participant-label", "01"]
    assert cli.main(command) == cli.DONE
    assert "note: sub-01_T1w.nii.gz: cannot be read as NIfTI" in capsys.readouterr().err


def test_choice_among_runs_and_unused_phase_are_said(clean, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(clean, raw)
    for path in sorted((raw / "sub-01" / "anat").iterdir()):
        shutil.copy(path, path.with_name(path.name.replace("sub-01_", "sub-01_run-2_")))
        path.rename(path.with_name(path.name.replace("sub-01_", "sub-01_run-1_")))
    for path in (raw / "sub-01" / "anat").glob("*run-1*phase*.json"):
        path.write_text(path.read_text().replace('"rad"', '"degrees"'))
    command = ["run", str(raw), str(tmp_path / "maps"), "participant", "--participant-label", "01"]
    assert cli.main(command) == cli.DONE
    chosen = "sub-01_run-2_echo-1_part-mag_MEGRE.nii.gz: was chosen of 2 multi-echo scans"
    assert chosen in capsys.readouterr().err
    for path in (raw / "sub-01" / "anat").glob("*run-2*"):
        path.unlink()
    assert cli.main([*command, "--maps", "R2star"]) == cli.DONE
    notes = [line for line in capsys.readouterr().err.splitlines() if "gradients" in line]
    assert len(notes) == 1
    assert "Units is 'degrees'" in notes[0] and "until then R2* is not corrected" in notes[0]


def test_the_log_of_a_run_makes_the_same_bytes_again(clean, tmp_path):
    (tmp_path / "mine.toml").write_text("[r2star]\nmethod = 'arlo'\n[staging.rim]\ndefinite = 0.71\n")
    one = ["participant", "--participant-label", "01"]
    first = ["run", str(clean), str(tmp_path / "first" / "maps"), *one, "--config", str(tmp_path / "mine.toml")]
    assert cli.main(first) == cli.DONE
    (log,) = (tmp_path / "first" / "maps" / "logs").glob("*.json")
    second = ["run", str(clean), str(tmp_path / "other" / "maps"), *one, "--config", str(log)]
    assert cli.main(second) == cli.DONE
    found = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / name / "maps" for name in ("first", "other"))
    ]
    images = [{name: data for name, data in files.items() if "logs" not in name.parts} for files in found]
    assert images[0] == images[1] and len(images[0]) > 20


@pytest.mark.slow
def test_two_runs_with_different_thread_counts_are_byte_identical(clean, tmp_path):
    for threads in ("1", "2"):
        command = [sys.executable, "-m", "QMRIEstimationLib", "run", str(clean), str(tmp_path / threads)]
        subprocess.run([*command, "participant", "--threads", threads], check=True, env=environment())
    assert checksums(tmp_path / "1") == checksums(tmp_path / "2")


def test_derivative_data_set_passes_the_bids_validator(results):
    validate(results)


def test_printed_configuration_reads_back(clean, tmp_path, capsys):
    assert cli.main(["config"]) == cli.DONE
    config = tmp_path / "all.toml"
    config.write_text(capsys.readouterr().out)
    command = ["run", str(clean), str(tmp_path / "maps"), "participant", "--config", str(config)]
    assert cli.main([*command, "--participant-label", "01"]) == cli.DONE


def only_log(output):
    """The one log of a run."""
    (path,) = (output / "logs").iterdir()
    return json.loads(path.read_text())


def environment():
    """Environment in which a new Python finds the package of this checkout."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if "QMRI" in p)}


def checksums(folder):
    """Bytes of everything but the logs, which hold the time and the command."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and "logs" not in p.parts
    }


def validate(folder):
    """Run the official validator; any error fails."""
    validator = shutil.which("bids-validator-deno", path=str(sys.prefix) + "/bin") or "bids-validator-deno"
    done = subprocess.run([validator, "--format", "json", str(folder)], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    errors = [issue for issue in issues if issue["severity"] == "error"]
    assert not errors, errors
