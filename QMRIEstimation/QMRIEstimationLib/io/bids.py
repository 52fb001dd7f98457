"""Raw BIDS data sets: which sessions there are, and what was scanned in one. `sourcedata/` is never looked at."""

import re
from pathlib import Path

from ..acquisition import Role, Session
from ..errors import InputError
from .derivatives_input import derivative_images, drawings
from .names import images_in
from .ready_fields import ready_fields
from .ready_maps import ready_maps
from .scans import ROLES, build_scan

FOLDERS = ("anat", "fmap")
LABEL = re.compile("[A-Za-z0-9+]+")
ONE_FILE_EACH = ("T1w", "FLAIR", "TB1map")  # an echo or part is no reason to put these together


def find_sessions(bids_dir, participant_labels=(), session_labels=()):
    """Subjects and sessions of a data set, sorted; labels may carry their prefix.

    Returns:
        List of (subject, session) without prefix; session is "" where there are no session folders.
    Raises:
        InputError: no such folder, no subject, or a label that does not exist.
    """
    bids_dir = Path(bids_dir)
    if not bids_dir.is_dir():
        raise InputError(f"{bids_dir}: there is no such folder, expected a BIDS data set; correct the path.")
    subjects = _labels(bids_dir, "sub")
    if not subjects:
        raise InputError(f"{bids_dir}: holds no sub-<label> folder, expected a BIDS data set; correct the path.")
    wanted = _wanted(participant_labels, subjects, "sub", "--participant-label", bids_dir)
    every = [(s, v) for s in wanted for v in _labels(bids_dir / f"sub-{s}", "ses") or [""]]
    if not session_labels:
        return every
    sessions = _wanted(session_labels, sorted({v for _, v in every}), "ses", "--session-label", bids_dir)
    return [(s, v) for s, v in every if v in sessions]


def read_session(bids_dir, subject, session="", derivatives=None, needed=None):
    """Everything of one visit that this program can use; images are read later, when asked for.

    Args:
        bids_dir: top of the data set. subject, session: labels without prefix; session "" for none.
        derivatives: name -> folder of a derivative data set with masks and labels; None for every folder in
            `bids_dir/derivatives`.
        needed: roles whose problems end the reading; a problem of another scan is a note. None for all.
    Returns:
        acquisition.Session. Runs are scans of their own; echoes are sorted by echo time.
    Raises:
        InputError: a label is not one of BIDS, or a file or field that a scan needs is missing or contradicts another.
    """
    bids_dir = Path(bids_dir)
    for entity, label in (("sub", subject), ("ses", session)):
        if label and not LABEL.fullmatch(label):
            raise InputError(
                f"{entity}-{label}: a BIDS label holds only the letters a to z, digits and +; rename the folder and "
                "its files."
            )
    folder = bids_dir / f"sub-{subject}"
    folder = folder / f"ses-{session}" if session else folder
    if not folder.is_dir():
        raise InputError(f"{folder.name}: there is no such folder in {folder.parent}; correct the label.")
    series = {}
    for file in (file for name in FOLDERS for file in images_in(folder / name)):
        if not {"desc", "space"} & set(file.entities):  # somebody's results among the raw data
            series.setdefault(_series(file), []).append(file)
    scans, notes = [], []
    if (
        needed
        and Role.MULTI_ECHO_GRE in needed
        and not {"MEGRE", "T2starw"} & {files[0].suffix for files in series.values()}
    ):
        needed = (*needed, Role.SPOILED_GRE)  # whose echoes serve instead
    for files in series.values():
        try:
            scan, note = build_scan(files, bids_dir)
        except InputError as error:
            suffix = files[0].suffix
            role = Role.SPOILED_GRE if suffix in ("VFA", "MPM") else ROLES.get(suffix)
            if needed is None or role in needed:
                raise
            scan, note = None, f"{str(error).rstrip('.')}; until then the scan is not used."
        scans += [scan] if scan is not None else []
        notes += [note] if note else []
    images = derivative_images(bids_dir, subject, session, derivatives)
    brain_mask, lesions, tissue, found, more = drawings(images, bids_dir)
    ready, doubts = ready_maps(images, bids_dir)
    fields, further = ready_fields(images, bids_dir)
    notes = (*notes, *more, *doubts, *further)
    return Session(subject, session, tuple(scans), brain_mask, lesions, tissue, ready, found, notes, fields)


def _series(file):
    return file.key() if file.suffix in ONE_FILE_EACH else file.key("echo", "part")


def _labels(folder, entity):
    return sorted(p.name.removeprefix(f"{entity}-") for p in folder.glob(f"{entity}-?*") if p.is_dir())


def _wanted(asked, known, entity, option, bids_dir):
    if not asked:
        return known
    asked = [label.removeprefix(f"{entity}-") for label in asked]
    for label in asked:
        if label not in known:
            there = ", ".join(k for k in known if k)
            cure = f"expected one of {there}; correct the label." if there else f"nor any other; leave out {option}."
            raise InputError(f"{option} {label}: there is no {entity}-{label} in {bids_dir}, {cure}")
    return [label for label in known if label in asked]
