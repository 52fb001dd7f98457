"""The command in a process of its own: started, looked after and stopped from a program that must stay responsive.

A second process is used because a computation in Slicer's own would hold its window for seconds at a time, could not be
stopped within a Fourier transform, and would take Slicer along where memory ends. What it prints goes to a file, since
Python threads stand still while Slicer waits for its user.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from .errors import InputError

PROGRESS = re.compile(r"^\S+: +(\d+) % (.*)$")
FAILED = re.compile(r"^\S+: failed: (.*)$")
NOTE = re.compile(r"^\S+: note: (.*)$")
WRONG = re.compile(r"^slicer-qmri: (.*)$")
EARLY = 4.0  # s and share of the work before which no time is foretold
EARLY_SHARE = 0.04
LEAST_SPACE = 2**16  # bytes on the disk, below which not even a sentence fits
PATIENCE = 3.0  # s that a stopped process has to take its temporary files away


class BackgroundRun:
    """One call of `slicer-qmri` in a process of its own.

    Attributes:
        fraction, text: how far it is. notes: sentences it gave. error: why it failed, empty while it did not.
    """

    def __init__(self, arguments, log):
        """Start `slicer-qmri` with the arguments; `log` is the file that gets what it prints."""
        self.fraction, self.text, self.notes, self.error = 0.0, "starting", [], ""
        self._log, self._read, self._rest = Path(log), 0, ""
        self._began, self._cancelled = time.monotonic(), False
        program = python_program()
        if program is None:
            raise InputError("PythonSlicer was not found beside this program; reinstall Slicer, or add it to PATH.")
        folders = [str(folder) for folder in library_folders()]
        paths = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
        with open(self._log, "wb") as file:
            self._process = subprocess.Popen(
                [program, "-u", "-m", __name__, *map(str, arguments)],
                stdin=subprocess.PIPE,  # its end tells the process that its parent is gone
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"},
            )

    @property
    def running(self):
        """Whether the process has not ended; reads what it printed meanwhile."""
        status = self._process.poll()
        self._read_log()
        if status is None:
            return True
        if status != 0 and not self.error:
            self.error = self._why(status)
        return False

    def _why(self, status):
        """What is known of the end of a process that did not say it itself."""
        lines = self.output.strip().splitlines()
        folder = self._log.parent
        if not lines and shutil.disk_usage(folder).free < LEAST_SPACE:
            return f"{folder}: the disk is full; make room and run it again, what is done is kept."
        told = lines[-1] if lines else "without a word"
        return f"the computation ended with status {status} ({told}); it may have run out of memory."

    @property
    def output(self):
        """Everything it printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""

    @property
    def seconds_left(self):
        """Time that is left as far as can be told, s; None early on."""
        past = time.monotonic() - self._began
        if past < EARLY or self.fraction < EARLY_SHARE:
            return None
        return past * (1 - self.fraction) / self.fraction

    @property
    def crashed(self):
        """Whether it ended without having said why: killed, out of memory, or by a fault of the libraries."""
        return self._process.poll() not in (None, 0, 1, 2) and not self._cancelled

    @property
    def cancelled(self):
        """Whether it was stopped by `cancel`."""
        return self._cancelled

    def cancel(self):
        """Stop the process; it takes its temporary files away, and is killed where it does not."""
        self._cancelled = True
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.error = "cancelled by the user"

    def _read_log(self):
        if not self._log.is_file():
            return
        with open(self._log, encoding="utf-8", errors="replace") as file:
            file.seek(self._read)
            text = self._rest + file.read()
            self._read = file.tell()
        *lines, self._rest = text.split("\n")
        for line in lines:
            if match := PROGRESS.match(line):
                self.fraction, self.text = int(match[1]) / 100, match[2]
            elif match := FAILED.match(line) or WRONG.match(line):
                self.error = self.error or match[1]
            elif match := NOTE.match(line):
                self.notes.append(match[1])


def python_program():
    """Python of this program: in Slicer PythonSlicer, since `sys.executable` may be the application, which would open
    again; None where there is none.
    """
    home = getattr(getattr(sys.modules.get("slicer"), "app", None), "slicerHome", None)
    beside = Path(str(home)) / "bin" / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    if home and beside.is_file():
        return str(beside)
    name = Path(sys.executable or "").name.lower()
    return shutil.which("PythonSlicer") or (sys.executable if name.startswith("python") else None)


def library_folders():
    """Folders that hold both libraries: one where they are installed, two in the source tree."""
    own = Path(__file__).resolve().parents[1]
    other = own.parent / "QMRILesionStaging"
    return [own, *([other] if other.is_dir() else [])]


def _end_with_parent():
    """End this process when its standard input does, which is when the parent has gone."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held when this process ends
        pass
    os.kill(os.getpid(), 15)  # as a batch system would: temporary folders go


def main():
    """What the second process does."""
    from .cli import main as command

    threading.Thread(target=_end_with_parent, daemon=True).start()
    return command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
