"""The Slicer batch line: `Slicer --no-splash --no-main-window --python-script qmri_batch.py run BIDS OUT participant`.

The script is run as Slicer runs it, in a Python process whose `slicer` module is a stand-in with the few names that the
script uses. What cannot be tested here is Slicer's own command line.
"""

import os
import subprocess
import sys

import pytest
from bids_tree import make_bids_tree
from conftest import REPOSITORY

SCRIPT = REPOSITORY / "QMRIEstimation" / "Resources" / "Scripts" / "qmri_batch.py"

# As ctkAbstractPythonManager::executeFile: in the main namespace, with __file__ and the script's folder in front.
RUN_AS_SLICER = """
import os, sys, types
slicer, util = types.ModuleType("slicer"), types.ModuleType("slicer.util")
slicer.__path__, slicer.util = [], util
slicer.app = types.SimpleNamespace(slicerHome=os.environ.get("FAKE_SLICER_HOME", "/nowhere"))
util.exit = lambda status=0: print("slicer.util.exit", status)
sys.modules.update({"slicer": slicer, "slicer.util": util})
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
globals()["__file__"] = sys.argv[0]
exec(open(sys.argv[0]).read(), globals())
"""


@pytest.fixture
def batch(tmp_path):
    """Function running the script in an empty folder; returns the exit status for Slicer, the log and the output."""

    def run(*arguments, script=SCRIPT, **environment):
        done = subprocess.run(
            [sys.executable, "-c", RUN_AS_SLICER, str(script), *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout.count("slicer.util.exit") == 1, f"Slicer would not end:\n{done.stdout}\n{done.stderr}"
        log = tmp_path / environment.get("QMRI_LOG", "slicer-qmri.log")
        return int(done.stdout.split()[-1]), log.read_text() if log.is_file() else "", done.stdout + done.stderr

    return run


@pytest.fixture
def fake_package(tmp_path):
    """Function installing the script beside a library whose command does what is asked; returns the script's path."""

    def make(command, requirements="numpy\n"):
        root = tmp_path / "qt-scripted-modules"  # the layout of the installed extension
        library, scripts = root / "QMRIEstimationLib", root / "Resources" / "Scripts"
        library.mkdir(parents=True)
        scripts.mkdir(parents=True)
        (library / "__init__.py").write_text("")
        for name in ("errors.py", "slicer_packages.py"):
            source = REPOSITORY / "QMRIEstimation" / "QMRIEstimationLib" / name
            (library / name).write_text(source.read_text())
        (library / "cli.py").write_text(f"import sys\ndef main(argv):\n    {command}\n")
        (root / "Resources" / "requirements_QMRIEstimation.txt").write_text(requirements)
        script = scripts / SCRIPT.name
        script.write_text(SCRIPT.read_text())
        return script

    return make


def test_the_arguments_reach_the_command_and_its_status_reaches_slicer(batch, fake_package):
    script = fake_package("print(argv, flush=True); return 1")
    status, log, output = batch("run", "BIDS", "OUT", "participant", "--maps", "R2star", script=script)
    assert status == 1
    assert log == "['run', 'BIDS', 'OUT', 'participant', '--maps', 'R2star']\n" and log in output


def test_an_unexpected_error_ends_slicer_with_its_traceback_in_the_log(batch, fake_package):
    status, log, _ = batch("run", script=fake_package("raise MemoryError('too large')"))
    assert status == 1 and "MemoryError: too large" in log


@pytest.mark.parametrize("command", ["sys.exit(2)", "raise KeyboardInterrupt"])
def test_slicer_also_ends_when_the_command_exits_by_itself(batch, fake_package, command):
    status, _, _ = batch("run", script=fake_package(command))
    assert status != 0


def test_missing_packages_are_named_instead_of_asked_for(batch, fake_package):
    script = fake_package("return 0", requirements="no-such-package-of-qmri>=1  # a comment\n")
    status, log, _ = batch("run", script=script)
    assert status == 2
    assert log.startswith("slicer-qmri: no-such-package-of-qmri must be installed in this Slicer; press Apply once")


def test_subjects_run_in_pythonslicer_not_in_the_application_again(batch, tmp_path):
    """Two subjects: their processes are those of the Python beside the application, which is here a script."""
    raw = make_bids_tree(tmp_path / "raw")
    python = tmp_path / "Slicer" / "bin" / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    words = ("run", str(raw), str(tmp_path / "out"), "participant", "--maps", "R2star", "--steps", "estimate")
    status, log, _ = batch(*words, FAKE_SLICER_HOME=str(tmp_path / "Slicer"))
    assert status == 0 and "2 of 2 done" in log, log
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.count("QMRIEstimationLib.background run") for call in calls] == [1, 1]


def test_the_log_lies_where_the_environment_says(batch, fake_package):
    _, log, _ = batch("run", script=fake_package("print('here'); return 0"), QMRI_LOG="other.log")
    assert log == "here\n"


def test_a_log_that_cannot_be_written_ends_slicer_too(batch, fake_package):
    status, _, output = batch("run", script=fake_package("return 0"), QMRI_LOG="no/such/folder.log")
    assert status == 1 and "no/such/folder.log" in output


def test_a_wrong_call_of_the_real_command_has_status_2(batch, tmp_path):
    status, log, _ = batch("run", str(tmp_path / "no data set"), str(tmp_path / "out"), "participant")
    assert status == 2 and "no data set" in log
    assert not (tmp_path / "out").exists()


def test_the_staging_library_is_found_from_the_source_tree(batch, tmp_path):
    """The group level lives there."""
    status, log, _ = batch("run", str(tmp_path), str(tmp_path / "no results"), "group")
    assert status in (0, 1, 2) and "No module named" not in log and "Traceback" not in log, log


def test_scenes_are_given_to_what_works_through_scenes(batch, fake_package):
    script = fake_package("raise AssertionError('the command was run')")
    folder = script.parents[2] / "QMRILesionStagingLib" / "scene"
    folder.mkdir(parents=True)
    for place in (folder.parent, folder):  # packages, or an installed one would be found first
        (place / "__init__.py").write_text("")
    (folder / "batch.py").write_text("def main(argv):\n    print(argv)\n    return 1\n")
    status, log, _ = batch("scenes", "OUT", "a.mrb", script=script)
    assert (status, log) == (1, "['OUT', 'a.mrb']\n")
