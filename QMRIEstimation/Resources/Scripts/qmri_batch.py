"""Run `slicer-qmri` inside Slicer without a window; never asks and always ends with the exit status of the command.

    Slicer --no-splash --no-main-window --python-script qmri_batch.py run BIDS_DIR OUTPUT_DIR participant [options]

or work through scenes that were prepared in the panels and saved (images, lesions, settings):

    Slicer --no-splash --no-main-window --python-script qmri_batch.py scenes OUTPUT_DIR SCENE.mrb [SCENE.mrb ...]

What the command prints is also written to `slicer-qmri.log` in the current folder, or to the file that the environment
variable QMRI_LOG names: on Windows nothing that Slicer prints reaches the console.
"""

import contextlib
import os
import sys
import traceback
from pathlib import Path

SCRIPT = Path(__file__).resolve()
UNEXPECTED = 1  # exit status as of a failed subject


def main(arguments):
    """Run the command with its output copied to the log; returns the exit status, also after an unexpected error."""
    status = UNEXPECTED
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(os.environ.get("QMRI_LOG", "slicer-qmri.log"), "w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(_Copy(sys.stdout, log)))
        stack.enter_context(contextlib.redirect_stderr(_Copy(sys.stderr, log)))
        try:
            status = _run(arguments)
        except Exception:  # whatever it is, Slicer must end: without a window nobody could close it
            traceback.print_exc()
    return status


def _run(arguments):
    # Installed, both libraries lie in one folder above this script; in the source tree the second has its own.
    for folder in (SCRIPT.parents[2], SCRIPT.parents[3] / "QMRILesionStaging"):
        if folder.is_dir():
            sys.path.insert(0, str(folder))  # before any other copy of the package
    from QMRIEstimationLib.slicer_packages import missing_packages

    requirements = SCRIPT.parents[1] / "requirements_QMRIEstimation.txt"
    missing = missing_packages(requirements)
    if missing:  # installing them would open a dialog, which nobody could answer
        print(
            f"slicer-qmri: {', '.join(missing)} must be installed in this Slicer; press Apply once in the module "
            f'QMRI Estimation, or run PythonSlicer -m pip install -r "{requirements}".',
            file=sys.stderr,
        )
        return 2
    if arguments[:1] == ["scenes"]:
        from QMRILesionStagingLib.scene.batch import main as scenes

        return scenes(arguments[1:])
    from QMRIEstimationLib.cli import main as command

    return command(arguments)


class _Copy:
    """A stream that writes to two streams."""

    def __init__(self, *streams):
        self._streams = streams

    def write(self, text):
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def isatty(self):
        return False

    def flush(self):
        for stream in self._streams:
            stream.flush()


if __name__ == "__main__":
    exit_status = UNEXPECTED
    try:
        exit_status = main(sys.argv[1:])
    finally:
        from slicer.util import exit as exit_slicer

        exit_slicer(exit_status)
