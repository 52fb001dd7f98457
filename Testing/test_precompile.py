"""Loops compiled ahead by a second process."""

import os
import subprocess
import sys
import types

import pytest
from QMRIEstimationLib import precompile

COUNT_MISSES = """
import gc, pathlib, sys
from numba.core.dispatcher import Dispatcher
from QMRIEstimationLib import cli
status = cli.main(["run", sys.argv[1], sys.argv[2], "participant"])
missed = [d.py_func.__name__ for d in gc.get_objects()
          if isinstance(d, Dispatcher) and ".relaxometry." in d.py_func.__module__ and d.stats.cache_misses]
print(status, *missed)
"""


@pytest.fixture
def started(monkeypatch):
    """What compile_ahead would start, without starting it."""
    calls = []
    monkeypatch.setattr(precompile, "_started", [])
    monkeypatch.setattr(precompile.subprocess, "Popen", lambda *words, **more: calls.append(words[0]))
    return calls


@pytest.mark.parametrize(
    ("threads", "in_cache", "program", "expected"),
    [(2, False, "python3", 1), (1, False, "python3", 0), (2, True, "python3", 0), (2, False, "SlicerApp-real", 0)],
)
def test_a_process_starts_where_it_helps(started, monkeypatch, threads, in_cache, program, expected):
    monkeypatch.setattr(precompile, "_in_cache", lambda: in_cache)
    monkeypatch.setattr(precompile, "sys", types.SimpleNamespace(executable=f"/some/where/{program}"))
    precompile.compile_ahead(threads)
    precompile.compile_ahead(threads)  # a second call finds it started
    assert len(started) == expected


@pytest.mark.slow
def test_nothing_of_the_maps_is_left_to_compile(tmp_path):
    from QMRIEstimationLib import cli

    raw = tmp_path / "raw"
    assert cli.main(["simulate", str(raw), "--size", "40", "48", "36", "--voxel-size", "4", "4", "4"]) == cli.DONE
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-m", "QMRIEstimationLib.precompile"], env=environment, check=True)
    words = [sys.executable, "-c", COUNT_MISSES, str(raw), str(tmp_path / "maps")]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0"
