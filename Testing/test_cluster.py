"""Subjects on a dask cluster that was started separately: workers die, subjects die, the scheduler dies."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from bids_tree import make_bids_tree
from QMRIEstimationLib import cli
from QMRIEstimationLib.background import library_folders
from test_runner import WORDS, _dead, bytes_of, children_of, wait_for

distributed = pytest.importorskip("distributed", reason="runs on a cluster need distributed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc, which is Linux's"),
]
LABELS = tuple(f"{n:02d}" for n in range(1, 7))


class Cluster:
    """A scheduler and workers over loopback, each in a process of its own."""

    def __init__(self, folder):
        self.file, self.folder, self.processes = folder / "scheduler.json", folder, []
        paths = os.pathsep.join(str(path) for path in library_folders())
        self.environment = os.environ | {"PYTHONPATH": paths, "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
        self.scheduler = self.start("dask_scheduler", "--host", "127.0.0.1", "--no-dashboard")
        wait_for(self.file.is_file)
        self.workers = []

    def start(self, program, *words):
        log = open(self.folder / f"{program}-{len(self.processes)}.log", "wb")
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{program}", "--scheduler-file", str(self.file), *words],
            env=self.environment,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.processes.append(process)
        return process

    def worker(self, gigabytes=2):
        words = ("--nthreads", "2", "--no-nanny", "--no-dashboard", "--resources", f"GB={gigabytes}")
        self.workers.append(self.start("dask_worker", *words))

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    for _ in range(2):
        made.worker()
    yield made
    made.end()


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return make_bids_tree(tmp_path_factory.mktemp("cohort") / "raw", LABELS)


@pytest.fixture(scope="module")
def undisturbed(raw, tmp_path_factory):
    output = tmp_path_factory.mktemp("calm") / "maps"
    assert cli.main(["run", str(raw), str(output), *WORDS]) == cli.DONE
    return bytes_of(output)


def start_command(cluster, raw, output, *more):
    log = open(cluster.folder / "command.log", "ab")
    words = ["run", str(raw), str(output), *WORDS, "--scheduler", str(cluster.file), *more]
    command = subprocess.Popen(
        [sys.executable, "-m", "QMRIEstimationLib", *words], env=cluster.environment, stdout=log, stderr=log
    )
    log.close()
    return command


def test_a_worker_killed_in_mid_subject_loses_nothing(cluster, raw, undisturbed, tmp_path):
    command = start_command(cluster, raw, tmp_path / "maps")
    victim = wait_for(lambda: next((w for w in cluster.workers if children_of(w.pid)), None))
    children = children_of(victim.pid)
    victim.kill()
    wait_for(lambda: all(_dead(pid) for pid in children), 20)  # no orphan works on beside its repetition
    assert command.wait(180) == cli.DONE, (tmp_path / "command.log").read_text()
    assert bytes_of(tmp_path / "maps") == undisturbed


def test_a_subject_that_kills_its_process_is_named_and_harms_no_other(cluster, raw, undisturbed, tmp_path):
    command = start_command(cluster, raw, tmp_path / "maps")
    killed = 0
    while command.poll() is None:
        for worker in cluster.workers:
            for pid in children_of(worker.pid):
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
                    words = file.read().split("\0")
                if "03" in words and "--participant-label" in words and not _dead(pid):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        time.sleep(0.02)
    said = (tmp_path / "command.log").read_text()
    assert command.returncode == cli.SOME_FAILED, said
    assert "sub-03: failed: the computation ended with status -9" in said and "It was tried twice." in said
    assert killed >= 2 and said.count("failed:") == 1
    good = {name: digest for name, digest in undisturbed.items() if "sub-03" not in name}
    assert bytes_of(tmp_path / "maps").items() >= good.items()


def test_subjects_wait_for_the_memory_that_workers_have(tmp_path, raw, undisturbed):
    made = Cluster(tmp_path)
    made.worker(gigabytes=0.7)  # one subject needs 0.6
    try:
        command, most = start_command(made, raw, tmp_path / "maps"), 0
        while command.poll() is None:
            most = max(most, len(children_of(made.workers[0].pid)))
            time.sleep(0.02)
        assert command.returncode == cli.DONE, (tmp_path / "command.log").read_text()
        assert most == 1 and bytes_of(tmp_path / "maps") == undisturbed
    finally:
        made.end()


def test_a_subject_larger_than_every_worker_is_named(tmp_path, raw):
    made = Cluster(tmp_path)
    made.worker(gigabytes=0.2)
    try:
        assert start_command(made, raw, tmp_path / "maps").wait(120) == cli.SOME_FAILED
        assert (tmp_path / "command.log").read_text().count("there are 0.2 GB") == len(LABELS)
    finally:
        made.end()


def test_after_the_scheduler_was_killed_the_same_line_goes_on(cluster, raw, undisturbed, tmp_path):
    command = start_command(cluster, raw, tmp_path / "maps")
    wait_for(lambda: list((tmp_path / "maps" / "logs").glob("*.done")), 120)
    cluster.scheduler.kill()
    for worker in cluster.workers:
        worker.kill()
    assert command.wait(180) == cli.SOME_FAILED
    assert "the scheduler has gone" in (tmp_path / "command.log").read_text()
    done = len(list((tmp_path / "maps" / "logs").glob("*.done")))
    (tmp_path / "again").mkdir()
    made = Cluster(tmp_path / "again")
    made.worker()
    try:
        assert start_command(made, raw, tmp_path / "maps").wait(180) == cli.DONE
        assert f"{done} done before and kept" in (tmp_path / "again" / "command.log").read_text()
        assert bytes_of(tmp_path / "maps") == undisturbed
    finally:
        made.end()


def test_nobody_at_the_address_is_one_sentence(raw, tmp_path, capsys, monkeypatch):
    from QMRIEstimationLib.runner import cluster as engine

    monkeypatch.setattr(engine, "WORKERS_WITHIN", 2.0)
    words = ["--scheduler", "tcp://127.0.0.1:9"]
    with pytest.raises(engine.InputError, match="no dask scheduler with workers answers there"):
        engine.connect(words[1])


@pytest.fixture
def heard():
    """Programs that are started hear Ctrl-C, also where this one does not, as in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_stopping_the_command_stops_the_subjects(heard, cluster, raw, tmp_path):
    command = start_command(cluster, raw, tmp_path / "maps")
    wait_for(lambda: [pid for w in cluster.workers for pid in children_of(w.pid)])
    command.send_signal(signal.SIGINT)
    assert command.wait(60) == cli.SOME_FAILED
    wait_for(lambda: not [pid for w in cluster.workers for pid in children_of(w.pid) if not _dead(pid)], 30)
    assert json.loads(cluster.file.read_text())["id"]  # the cluster itself goes on
    assert all(worker.poll() is None for worker in cluster.workers)
