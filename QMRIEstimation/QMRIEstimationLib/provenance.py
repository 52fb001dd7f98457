"""What a run was made from and with: the record in logs/ and in the report."""

import hashlib
import platform
import shlex
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from . import __version__
from .errors import sentence
from .io.derivatives import prefix
from .io.text import write_json
from .parameters import as_user_dict

UNFINISHED = "the run has not ended; where it is not going on any more it was killed (out of memory?), run it again."
PACKAGES = ("numpy", "scipy", "SimpleITK", "numba", "nibabel")


def software():
    """Names and versions of what computes."""
    return {
        "name": "slicer-qmri",
        "version": __version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def run_record(settings, bids_dir, sources):
    """The part of the record that depends on input and parameters only, so that equal runs give equal reports."""
    return {
        "software": software(),
        "parameters": as_user_dict(settings),
        "inputs": [{"file": name, "sha256": file_hash(Path(bids_dir) / name)} for name in sources],
    }


@contextmanager
def recorded(output_dir, subject, session):
    """The record of a run, a dictionary to be filled; it is in logs/ from the start, and however the block ends."""
    started = datetime.now(UTC)
    record = {"status": "failed", "error": UNFINISHED, "outputs": [], "warnings": [], "figures": {}}
    write_log(output_dir, subject, session, record, started)
    try:
        yield record
    except BaseException as error:
        record |= {"status": "failed", "error": sentence(error)}
        raise
    finally:
        write_log(output_dir, subject, session, record, started)


def file_hash(path):
    """SHA-256 of a file, hexadecimal; empty when the file is not below the data set."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_log(output_dir, subject, session, record, started):
    """Write `logs/sub-01_<UTC of the start>.json`: the record, the command and how the run ended."""
    now = datetime.now(UTC)
    folder = Path(output_dir) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix(subject, session)}_{started:%Y%m%dT%H%M%S%fZ}.json"
    times = {
        "participant_id": f"sub-{subject}",
        "session_id": f"ses-{session}" if session else "",
        "command": shlex.join(sys.argv),
        "machine": f"{platform.system()} {platform.machine()}",
        "started": f"{started:%Y-%m-%dT%H:%M:%SZ}",
        "duration_s": round((now - started).total_seconds(), 2),
    }
    write_json(path, times | record)
    return path
