"""The unit of work: one subject and session, and how it is known that it was done already."""

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from .. import __version__
from ..errors import InputError
from ..io.derivatives import prefix, session_folder
from ..io.text import write_json
from ..parameters import as_user_dict

RAW_FOLDERS = ("anat", "fmap")
INHERITED = (".json", ".tsv")  # files at the top that a scan of any subject can inherit from, but for those of
ABOUT_ALL = ("dataset_description", "participants", "samples")  # the whole data set: a new subject changes them


class Unit(NamedTuple):
    """Labels of a subject and a session without prefix; session "" where there is none."""

    subject: str
    session: str = ""

    @property
    def name(self):
        """`sub-01` or `sub-01_ses-02`."""
        return prefix(self.subject, self.session)


class Fingerprints:
    """What units are made of, in 64 digits: another wherever a file, a parameter or the version is another.

    Images count by name, size and time of change, not by content: reading a cohort to find that nothing is to be done
    would take as long as copying it. Sidecars and tables count by content.

    Args:
        derivatives: name -> folder, or None for every folder in `bids_dir/derivatives`. settings: option set.
        choices: maps and steps that were asked for, JSON-able.
    """

    def __init__(self, bids_dir, derivatives, settings, choices):
        self._roots = [Path(bids_dir), *_derivative_folders(Path(bids_dir), derivatives)]
        shared = [_states(filter(_inherited, _in(root)), root) for root in self._roots]
        self._shared = json.dumps([__version__, as_user_dict(settings), choices, shared], sort_keys=True)

    def of(self, unit):
        """Digits of one unit."""
        own = [_states(_files(root, unit), root) for root in self._roots]
        return hashlib.sha256((self._shared + json.dumps(own)).encode()).hexdigest()


def mark_done(output_dir, unit, digest):
    """Keep with the results of a unit what they were made of."""
    write_json(_marker(output_dir, unit), {"made_of": digest})


def is_done(output_dir, unit, digest):
    """Whether the results on disk are complete and made of just this."""
    try:
        known = json.loads(_marker(output_dir, unit).read_text(encoding="utf-8")).get("made_of")
    except (OSError, ValueError, AttributeError):
        return False
    report = Path(output_dir) / f"{unit.name}.html"
    return known == digest and report.is_file() and session_folder(output_dir, *unit).is_dir()


def forget(output_dir, unit):
    """What is on disk of a unit is no longer known to be complete."""
    _marker(output_dir, unit).unlink(missing_ok=True)


def _marker(output_dir, unit):
    return Path(output_dir) / "logs" / f"{unit.name}.done"


def _derivative_folders(bids_dir, derivatives):
    if derivatives is not None:
        return [Path(folder) for _, folder in sorted(derivatives.items())]
    below = bids_dir / "derivatives"
    return sorted(folder for folder in below.iterdir() if folder.is_dir()) if below.is_dir() else []


def _files(root, unit):
    """Every file that can belong to a unit, those of its subject that it inherits from included."""
    subject, session = root / f"sub-{unit.subject}", session_folder(root, *unit)
    folders = [*dict.fromkeys((subject, session)), *(session / name for name in RAW_FOLDERS)]
    return [path for folder in folders for path in _in(folder)]


def _inherited(path):
    return path.suffix in INHERITED and path.stem not in ABOUT_ALL


def _states(paths, root):
    return [(path.relative_to(root).as_posix(), *_state(path)) for path in paths]


def _in(folder):
    """Files of a folder, sorted; one look at each."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if entry.is_file())


def _state(path):
    try:
        if path.suffix in (".json", ".tsv"):
            return (hashlib.sha256(path.read_bytes()).hexdigest(),)
        known = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from None
    return known.st_size, known.st_mtime_ns
