"""Lesions of one subject from visit to visit: which is which, what became of its stage and rim, and what cannot be."""

import csv
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from QMRIEstimationLib.errors import Misaligned
from QMRIEstimationLib.io.derivatives import prefix, session_folder
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.io.text import write_table
from QMRIEstimationLib.registration import RegistrationOptions, register_rigid
from QMRIEstimationLib.resample import lesions_on_grid

from .calls import INDETERMINATE, PRESENT, STAGES

OVERLAP = 0.25  # of the smaller lesion, from which on two are the same
GREW = 0.25  # of the volume before, beyond the scatter of a drawing; a lesion that grew may be active again
PICTURES = ("R1map", "R2starmap", "PDmap", "R2map")  # what visits are aligned by, the first that both have


class Visit(NamedTuple):
    """labels: int32 [k, j, i]. geometry: Geometry. lesions: number -> row of the table of lesions (texts)."""

    labels: np.ndarray
    geometry: object
    lesions: dict


def follow(output_dir, subject, sessions):
    """Write `sub-<subject>_desc-visits_stats.tsv` from the staged visits of a subject on disk.

    Args:
        output_dir: derivative data set. sessions: labels in order of time.
    Returns:
        Sentences; the table is not written where fewer than two visits were staged.
    """
    notes, staged = [], []
    for session in sessions:
        stem = session_folder(output_dir, subject, session) / "anat" / prefix(subject, session)
        table = stem.with_name(f"{stem.name}_desc-lesions_stats.tsv")
        if table.is_file():
            staged.append((session, stem, _visit(stem, table)))
    if len(staged) < 2:
        return ()
    rows = []
    for (before, stem, first), (after, other, second) in pairwise(staged):
        try:
            transform = _transform(stem, other)
        except Misaligned as error:
            notes.append(f"sub-{subject}: ses-{before} and ses-{after} {error}; their lesions were not matched.")
            continue
        rows += [{"session_before": f"ses-{before}", "session": f"ses-{after}"} | row
                 for row in matched(first, second, transform)]  # fmt: skip
    if rows:
        write_table(session_folder(output_dir, subject) / f"{prefix(subject)}_desc-visits_stats.tsv", rows)
    return tuple(notes)


def matched(before, after, transform=None):
    """Rows, one a pair of lesions that overlap, and one for each that is new or gone.

    Args:
        before, after: Visit. transform: 4x4 from RAS of the later visit to RAS of the earlier one, None for the same.
    """
    moved, _ = lesions_on_grid(before.labels, before.geometry, after.geometry, transform)
    cell = after.geometry.voxel_volume
    pairs = _overlaps(moved, after.labels)
    rows = []
    for first, second in pairs:
        merged = sum(s == second for _, s in pairs) > 1
        split = sum(f == first for f, _ in pairs) > 1
        event = "merged" if merged else "split" if split else "same"
        rows.append(_row(before.lesions[first], after.lesions[second], event))
    for number, row in after.lesions.items():
        if number not in {second for _, second in pairs}:
            rows.append(_row(None, row, "new"))
    for number, row in before.lesions.items():
        if number not in {first for first, _ in pairs}:
            seen = np.count_nonzero(moved == number) * cell >= 0.5 * float(row["volume_mm3"])
            rows.append(_row(row, None, "gone" if seen else "outside"))
    return rows


def _overlaps(first, second):
    """Pairs (lesion before, lesion after) that share enough voxels, in order."""
    both = (first > 0) & (second > 0)
    pairs, counts = np.unique(np.stack([first[both], second[both]]), axis=1, return_counts=True)
    sizes = [np.bincount(labels.ravel()) for labels in (first, second)]
    return [
        (int(a), int(b))
        for (a, b), count in zip(pairs.T, counts, strict=True)
        if count >= OVERLAP * min(sizes[0][a], sizes[1][b])
    ]


def _row(before, after, event):
    growth = None
    if before is not None and after is not None:
        growth = float(after["volume_mm3"]) / float(before["volume_mm3"]) - 1
    row = {
        "lesion_before": before and int(before["lesion"]),
        "lesion": after and int(after["lesion"]),
        "event": event,
        "growth_percent": None if growth is None else round(100 * growth, 1),
    }
    for name in ("stage", "rim_grade", "enhancement", "Chi_delta"):
        row |= {f"{name}_before": before and before[name], name: after and after[name]}
    both = before is not None and after is not None
    row["rim_persists"] = None if not both else before["rim_grade"] in PRESENT and after["rim_grade"] in PRESENT
    row["check"] = check(before["stage"], after["stage"], growth) if both else None
    return row


def check(before, after, growth):
    """What is odd about a transition of stages, as a sentence; None where nothing is.

    Active lesions become chronic within weeks to months and do not become active again as a whole.
    """
    if INDETERMINATE in (before, after):
        return None
    first, second = STAGES.index(before), STAGES.index(after)
    if second >= first:
        return None
    if growth is not None and growth > GREW:
        return f"{before} to {after}, with {100 * growth:.0f} % growth: active again, or a new lesion beside it"
    if after in ("early active", "late active"):
        return f"{before} to {after} without growth cannot be: check both visits"
    return f"{before} to {after} is unusual: check the rim at both visits"


def _visit(stem, table):
    labels, geometry, _ = read_image(stem.with_name(f"{stem.name}_seg-lesions_dseg.nii.gz"))
    with open(table, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return Visit(labels.astype(np.int32), geometry, {int(row["lesion"]): row for row in rows})


def _transform(first, second):
    """4x4 from RAS of the later visit to RAS of the earlier one.

    Raises:
        Misaligned: the visits cannot be aligned, or have no map in common.
    """
    for picture in PICTURES:
        paths = [stem.with_name(f"{stem.name}_{picture}.nii.gz") for stem in (first, second)]
        if all(path.is_file() for path in paths):
            (moving, moving_grid, _), (fixed, fixed_grid, _) = (read_image(path) for path in paths)
            found = register_rigid(moving, moving_grid, fixed, fixed_grid, RegistrationOptions(), fixed > 0)
            if not found.accepted:
                raise Misaligned(found.problem)
            return found.ras_transform
    raise Misaligned("have no map in common")
