"""The command in a second process: progress, failure, cancel, and an end with its parent."""

import os
import signal
import subprocess
import sys
import time

import bids_tree
import pytest
from QMRIEstimationLib.background import BackgroundRun, library_folders

LONGEST = 120  # s, on a machine that is busy


def wait(run):
    end = time.monotonic() + LONGEST
    seen = []
    while run.running:
        seen.append((run.fraction, run.text))
        time.sleep(0.02)
        assert time.monotonic() < end, run.output
    return seen


def test_a_run_tells_how_far_it_is_and_ends_with_its_notes(tmp_path):
    raw = bids_tree.make_bids_tree(tmp_path / "raw", ("01",))
    words = ["run", raw, tmp_path / "out", "participant", "--steps", "estimate", "-v"]
    run = BackgroundRun(words, tmp_path / "log.txt")
    seen = wait(run)
    assert run.error == "" and (tmp_path / "out" / "sub-01.html").is_file()
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and len({text for _, text in seen} - {"starting"}) > 0
    assert run.notes and "sub-01: R2star" in run.output


def test_a_failure_is_the_sentence_of_the_engine(tmp_path):
    raw = bids_tree.make_bids_tree(tmp_path / "raw", ("01",))
    bids_tree.image_of(raw, 2).write_bytes(b"damaged")
    run = BackgroundRun(["run", raw, tmp_path / "out", "participant"], tmp_path / "log.txt")
    wait(run)
    assert run.error.startswith("sub-01_echo-2_part-mag_MEGRE.nii.gz:") and "\n" not in run.error


def test_a_wrong_call_is_a_sentence_too(tmp_path):
    run = BackgroundRun(["run", tmp_path / "nowhere", tmp_path / "out", "participant"], tmp_path / "log.txt")
    wait(run)
    assert "there is no such folder" in run.error


def test_a_cancelled_run_leaves_no_process_and_nothing_half_made(tmp_path):
    words = ["simulate", tmp_path / "raw", "--size", "64", "80", "60", "--voxel-size", "2.5", "2.5", "2.5", "-v"]
    run = BackgroundRun(words, tmp_path / "log.txt")
    end = time.monotonic() + LONGEST
    while run.running and run.fraction < 0.1:
        time.sleep(0.02)
        assert time.monotonic() < end
    run.cancel()
    assert run.cancelled and not run.running and run.error == "cancelled by the user"


@pytest.mark.skipif(os.name == "nt", reason="processes of Windows are killed otherwise")
def test_the_process_ends_when_its_parent_is_killed(tmp_path):
    """As after a crash of Slicer: nobody else would stop a computation of minutes."""
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]; from QMRIEstimationLib.background import BackgroundRun;"
        "words = ['simulate', sys.argv[1] + '/raw', '-v'];"
        "run = BackgroundRun(words, sys.argv[1] + '/log.txt'); print(run._process.pid, flush=True); time.sleep(600)"
    )
    folders = [str(folder) for folder in library_folders()]
    command = [sys.executable, "-c", code, str(tmp_path), *folders]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    log, end = tmp_path / "log.txt", time.monotonic() + LONGEST
    while "%" not in log.read_text():  # it is at work
        time.sleep(0.05)
        assert time.monotonic() < end
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while alive(child):
        time.sleep(0.05)
        assert time.monotonic() < end, "the process lives on"


def alive(pid):
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
