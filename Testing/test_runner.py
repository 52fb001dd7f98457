"""Subjects in processes of their own: faults of one harm no other, and a restart loses and repeats nothing."""

import gzip
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import nibabel
import numpy as np
import pytest
from bids_tree import image_of, make_bids_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib import cli, cli_run
from QMRIEstimationLib.background import library_folders
from QMRIEstimationLib.runner import local
from QMRIEstimationLib.runner.local import run_local
from QMRIEstimationLib.runner.memory import GB, machine_memory, needed_memory
from QMRIEstimationLib.runner.unit import Fingerprints, Unit, is_done, mark_done
from QMRIEstimationLib.settings import Settings

LABELS = ("01", "02", "03", "04")
WORDS = ("participant", "--steps", "estimate", "--maps", "R2star", "--threads", "2")


@pytest.fixture
def apart(monkeypatch, one_process):
    """What users get: every subject in a process of its own."""
    monkeypatch.setattr(cli_run, "_apart", one_process)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return make_bids_tree(tmp_path_factory.mktemp("cohort") / "raw", LABELS)


def bytes_of(output):
    """Name -> SHA-256 of everything but logs and the description, which says where the raw data lie."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.rglob("*")
        if path.is_file() and "logs" not in path.parts and path.name != "dataset_description.json"
    }


@pytest.fixture(scope="module")
def undisturbed(raw, tmp_path_factory):
    """What a run without faults leaves, by content."""
    output = tmp_path_factory.mktemp("calm") / "maps"
    assert cli.main(["run", str(raw), str(output), *WORDS]) == cli.DONE
    return bytes_of(output)


def run(raw, output, *more):
    return cli.main(["run", str(raw), str(output), *WORDS, *more])


def test_processes_of_their_own_give_the_same_bytes(apart, raw, undisturbed, tmp_path, capsys):
    assert run(raw, tmp_path / "maps", "--nprocs", "2") == cli.DONE
    assert bytes_of(tmp_path / "maps") == undisturbed
    assert capsys.readouterr().out.count("R2star done") == len(LABELS)


def test_what_is_done_is_kept_and_what_changed_is_made_again(raw, tmp_path, capsys):
    output, own = tmp_path / "maps", tmp_path / "raw"
    shutil.copytree(raw, own)
    assert run(own, output) == cli.DONE
    times = {label: (output / f"sub-{label}.html").stat().st_mtime_ns for label in LABELS}
    os.utime(image_of(own, 1), ns=(1, 1))  # a file of sub-01
    shutil.copytree(own / "sub-04", own / "sub-05")
    for path in (own / "sub-05").rglob("sub-04*"):
        path.rename(path.with_name(path.name.replace("sub-04", "sub-05")))
    capsys.readouterr()
    assert run(own, output) == cli.DONE
    said = capsys.readouterr().out
    assert "3 done before and kept" in said and "5 of 5 done" in said
    again = {label for label in LABELS if (output / f"sub-{label}.html").stat().st_mtime_ns != times[label]}
    assert again == {"01"} and (output / "sub-05.html").is_file()
    assert run(own, output, "--force") == cli.DONE
    assert "done before" not in capsys.readouterr().out


def test_other_maps_or_parameters_are_made_again(raw, tmp_path, capsys):
    one = ("--participant-label", "01")
    assert run(raw, tmp_path / "maps", *one) == cli.DONE
    (tmp_path / "other.toml").write_text('[r2star]\nmethod = "arlo"\n')
    capsys.readouterr()
    for more in (("--config", str(tmp_path / "other.toml")), ()):
        assert run(raw, tmp_path / "maps", *one, *more) == cli.DONE
        assert "done before" not in capsys.readouterr().out


def test_a_corrupt_subject_is_named_and_harms_no_other(apart, raw, undisturbed, tmp_path, capsys):
    own = tmp_path / "raw"
    shutil.copytree(raw, own)
    path = own / "sub-02" / "anat" / "sub-02_echo-2_part-mag_MEGRE.nii.gz"
    path.write_bytes(b"damaged")
    assert run(own, tmp_path / "maps") == cli.SOME_FAILED
    said = capsys.readouterr()
    assert "sub-02: failed: sub-02_echo-2_part-mag_MEGRE.nii.gz" in said.err and "3 of 4 done" in said.out
    good = {name: digest for name, digest in undisturbed.items() if "sub-02" not in name}
    assert bytes_of(tmp_path / "maps").items() >= good.items()
    assert run(own, tmp_path / "maps", "--stop-on-first-crash") == cli.SOME_FAILED
    assert "3 done before" in capsys.readouterr().out


def test_a_subject_larger_than_the_memory_is_refused_with_both_numbers(apart, raw, tmp_path, capsys):
    assert run(raw, tmp_path / "maps", "--mem-gb", "0.1") == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert said.count("failed: needs about 0.6 GB by the headers of its images, there are 0.1 GB") == len(LABELS)


def start_command(raw, output, *more, before=":", **options):
    """The command in a process of its own. before: line of a shell that comes first."""
    paths = os.pathsep.join(str(folder) for folder in library_folders())
    words = [sys.executable, "-m", "QMRIEstimationLib", "run", str(raw), str(output), *WORDS, *more]
    return subprocess.Popen(
        ["bash", "-c", f"{before}; exec {shlex.join(words)}"],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        **{"stderr": subprocess.DEVNULL} | options,
    )


def children_of(pid):
    """Process numbers of the subjects' processes of a command."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{name}/cmdline", encoding="utf-8") as file:
                words = file.read()
        except OSError:
            continue
        if parent == pid and "QMRIEstimationLib.background" in words:
            found.append(int(name))
    return found


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc, which is Linux's")


@linux
def test_a_killed_subject_is_tried_again_and_all_are_done(raw, undisturbed, tmp_path):
    command = start_command(raw, tmp_path / "maps")
    os.kill(wait_for(lambda: children_of(command.pid))[0], signal.SIGKILL)
    assert command.wait(120) == cli.DONE
    assert bytes_of(tmp_path / "maps") == undisturbed


@linux
@pytest.mark.parametrize(
    "end",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_command_that_is_stopped_leaves_no_process_and_goes_on_where_it_was(end, raw, undisturbed, tmp_path):
    command = start_command(raw, tmp_path / "maps")
    children = wait_for(lambda: children_of(command.pid))
    command.send_signal(end)
    command.wait(30)
    wait_for(lambda: not [pid for pid in children if os.path.isdir(f"/proc/{pid}") and not _dead(pid)], 20)
    assert end == signal.SIGKILL or not list((tmp_path / "maps").glob(".sub-*"))
    again = start_command(raw, tmp_path / "maps")
    assert again.wait(120) == cli.DONE
    assert bytes_of(tmp_path / "maps") == undisturbed


def _dead(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@linux
@pytest.mark.slow
def test_twenty_kills_at_random_times_lose_and_change_nothing(tmp_path):
    """24 subjects; the command or one of its subjects is killed 20 times; one subject is corrupt, one too large."""
    labels = tuple(f"{n:02d}" for n in range(1, 25))
    own = make_bids_tree(tmp_path / "raw", labels)
    calm = tmp_path / "calm"
    assert run(own, calm) == cli.DONE
    (own / "sub-07" / "anat" / "sub-07_echo-2_part-mag_MEGRE.nii.gz").write_bytes(b"damaged")
    write_huge(own / "sub-13" / "anat" / "sub-13_echo-2_part-mag_MEGRE.nii.gz")
    output, chance = tmp_path / "maps", random.Random(9)
    for kill in range(20):
        command = start_command(own, output, "--nprocs", "2")
        time.sleep(chance.uniform(0.5, 6.0))
        children = children_of(command.pid)
        os.kill(chance.choice(children) if kill % 2 and children else command.pid, signal.SIGKILL)
        if kill % 2 and children:
            time.sleep(chance.uniform(0.0, 1.0))
            command.kill()
        command.wait(60)
        wait_for(lambda children=children: all(_dead(pid) for pid in children), 20)
    assert start_command(own, output, "--nprocs", "2").wait(300) == cli.SOME_FAILED
    bad = ("sub-07", "sub-13")
    good = {name: digest for name, digest in bytes_of(calm).items() if not name.startswith(bad)}
    assert {name: digest for name, digest in bytes_of(output).items() if not name.startswith(bad)} == good
    again = start_command(own, output, stderr=subprocess.PIPE, text=True)
    said = again.communicate(timeout=60)[1]
    assert again.returncode == cli.SOME_FAILED
    assert "sub-07: failed: sub-07_echo-2_part-mag_MEGRE.nii.gz" in said
    assert "sub-13: failed: needs about" in said


def write_huge(path):
    """A header that promises an image of 4000 voxels along each side, and nothing behind it."""
    header = nibabel.Nifti1Header()
    header.set_data_shape((4000, 4000, 4000))
    header.set_data_dtype(np.float32)
    path.unlink()
    with gzip.open(path, "wb") as file:
        header.write_to(file)


@linux
@pytest.mark.slow
def test_a_disk_that_runs_full_in_between_is_said_and_nothing_half_made_stays(raw, undisturbed, tmp_path):
    """No file may be larger than 24 kB: small maps fit, reports do not."""
    command = start_command(raw, tmp_path / "maps", before="ulimit -f 24", stderr=subprocess.PIPE, text=True)
    said = command.communicate(timeout=120)[1]
    assert command.returncode == cli.SOME_FAILED
    assert said.count("the disk is full (File too large); make room and run it again") == len(LABELS)
    assert not [
        path for path in (tmp_path / "maps").rglob("*") if path.name.startswith(".") and path.name != ".bidsignore"
    ]
    assert not list((tmp_path / "maps").glob("sub-*"))
    assert run(raw, tmp_path / "maps") == cli.DONE
    assert bytes_of(tmp_path / "maps") == undisturbed


@linux
def test_a_full_or_read_only_folder_is_one_sentence(apart, raw, tmp_path, capsys):
    if os.geteuid() == 0:
        output = tmp_path / "maps"  # root writes anywhere, so a file stands where a folder must be
        output.mkdir()
        (output / "logs").write_text("no folder")
    else:
        output = tmp_path / "maps"
        output.mkdir()
        output.chmod(0o500)
    assert run(raw, output) == cli.WRONG_CALL
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and str(output) in lines[0]


@dataclass
class FakeRun:
    """A process that ends after some looks: with 0, an error, or a crash for its first `crashes` starts."""

    looks: int = 3
    error: str = ""
    crashed: bool = False
    notes: tuple = ()
    output: str = ""
    ended: bool = False

    @property
    def running(self):
        self.looks -= 1
        self.ended = self.looks <= 0
        return not self.ended

    def cancel(self):
        self.ended = True


UNITS = [Unit(str(n)) for n in range(6)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 10), min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 12))
def test_slots_and_memory_are_never_exceeded(needs, slots, budget):
    units = UNITS[: len(needs)]
    need = dict(zip(units, needs, strict=True))
    alive = []

    def start(unit):
        alive.append((unit, FakeRun()))
        now = [u for u, run in alive if not run.ended]
        assert len(now) <= slots and sum(need[u] for u in now) <= budget
        return alive[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "PAUSE", 0)
        outcomes = local.run_local(units, start, need, slots, budget, lambda *_: None)
    assert set(outcomes) == set(units)
    assert {u for u, outcome in outcomes.items() if outcome.error} == {u for u in units if need[u] > budget}


def test_a_crash_is_tried_once_more_alone_and_then_named():
    starts = []

    def start(unit):
        starts.append(unit)
        crash = unit == UNITS[1] or (unit == UNITS[2] and starts.count(unit) == 1)
        return FakeRun(crashed=crash, error="killed." if crash else "")

    outcomes = run_local(UNITS, start, dict.fromkeys(UNITS, 1), 3, 10, lambda *_: None)
    assert outcomes[UNITS[1]].error == "killed. It was tried twice." and outcomes[UNITS[2]].error == ""
    assert starts.count(UNITS[1]) == starts.count(UNITS[2]) == 2 and starts[-2:] == [UNITS[1], UNITS[2]]


def test_an_error_is_not_tried_again_and_stops_the_rest_on_request():
    starts = []

    def start(unit):
        starts.append(unit)
        return FakeRun(error="bad input" if unit == UNITS[1] else "")

    outcomes = run_local(UNITS, start, dict.fromkeys(UNITS, 1), 1, 10, lambda *_: None, stop_on_first_crash=True)
    assert list(outcomes) == UNITS[:2] and starts == UNITS[:2]


def test_the_fingerprint_follows_files_sidecars_parameters_and_choices(raw, tmp_path):
    own = tmp_path / "raw"
    shutil.copytree(raw, own)
    unit, choices = Unit("01"), {"maps": None, "steps": None}

    def now(settings=Settings(), choices=choices):
        return Fingerprints(own, None, settings, choices).of(unit)

    first = now()
    assert now() == first
    seen = {first, now(Settings().with_denoising(True)), now(choices={"maps": ["R2star"], "steps": None})}
    sidecar = next(own.rglob("sub-01*MEGRE.json"))
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"EchoTime": 0.0051}))
    seen.add(now())
    (own / "derivatives" / "rater" / "sub-01" / "anat").mkdir(parents=True, exist_ok=True)
    (own / "derivatives" / "rater" / "sub-01" / "anat" / "sub-01_label-L_mask.nii.gz").write_bytes(b"x")
    seen.add(now())
    (own / "task.json").write_text("{}")  # inherited by every subject
    seen.add(now())
    assert len(seen) == 6
    last = now()
    (own / "sub-02" / "anat" / "sub-02_T1w.nii.gz").write_bytes(b"x")  # of another subject
    (own / "participants.tsv").write_text("participant_id\nsub-01\nsub-99\n")  # a subject was added
    (own / "README").write_text("new")
    assert now() == last


def test_results_that_are_gone_are_not_done(tmp_path):
    unit = Unit("01", "02")
    mark_done(tmp_path, unit, "digest")
    assert not is_done(tmp_path, unit, "digest")
    (tmp_path / "sub-01" / "ses-02").mkdir(parents=True)
    (tmp_path / "sub-01_ses-02.html").write_text("report")
    assert is_done(tmp_path, unit, "digest") and not is_done(tmp_path, unit, "other")
    (tmp_path / "logs" / "sub-01_ses-02.done").write_text("not JSON")
    assert not is_done(tmp_path, unit, "digest")


def test_memory_grows_with_the_images_and_the_machine_has_some(raw):
    small = needed_memory(raw, Unit("01"))
    assert 0.5 * GB < small < 0.7 * GB
    assert machine_memory() > GB
