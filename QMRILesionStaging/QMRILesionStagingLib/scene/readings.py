"""Blind readings: what readers call the lesions without seeing the automatic calls, each in an order of its own.

A reading is one row of the table `readings` of a staging: saved with the scene, never mixed with the calls that count.
"""

import re
import zlib

import numpy as np
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.text import write_table

from ..calls import PROGRAM, READING_COLUMNS
from .record import STAGING, subject_label
from .review import check_call, time_text
from .tables import fill_table, new_table, rows_of

READINGS = "readings"
KEPT = ("lesion", "reader", "years", "stage", "rim_grade", "note", "read_at")
PLACE = ("x_ras", "y_ras", "z_ras", "volume_mm3")  # columns of the lesion table that an export repeats


def keep_reading(nodes, lesion, reader, years, stage, rim, note="", now=None):
    """Keep what a reader calls a lesion; an earlier reading of it by the same reader is replaced.

    Args:
        nodes: key -> node, as `record.staging_in` gives them. lesion: its number. reader: name or code.
        years: of experience. stage, rim: of STAGE_NAMES and GRADES; both must be called.
    Raises:
        InputError: something is missing, or there is no such lesion.
    """
    numbers = {round(row["lesion"]) for row in rows_of(nodes["table"])}
    if lesion not in numbers:
        raise InputError(f"{nodes['table'].GetName()}: there is no lesion {lesion}; select one of the list.")
    check_call(stage, rim)
    if not reader.strip():
        raise InputError("A reading needs the reader's name or code; enter it.")
    if not (stage and rim):
        raise InputError("A blind reading needs both a stage and a rim grade; choose them.")
    values = (lesion, reader.strip(), years, stage, rim, note.strip(), time_text(now))
    new = dict(zip(KEPT, values, strict=True))
    node = new_table(nodes, READINGS, STAGING, KEPT)
    kept = [row for row in rows_of(node) if (round(row["lesion"]), row["reader"]) != (lesion, new["reader"])]
    fill_table(node, [*kept, new])


def readings_of(nodes, reader):
    """Lesion -> row of the readings of one reader."""
    rows = rows_of(nodes[READINGS]) if READINGS in nodes else []
    return {round(row["lesion"]): row for row in rows if row["reader"] == reader.strip()}


def order_of(lesions, reader):
    """Numbers of lesions in the random order in which a reader meets them: another for each, the same each time."""
    lesions = sorted(lesions)
    rng = np.random.default_rng(zlib.crc32(reader.strip().encode()))
    return [lesions[n] for n in rng.permutation(len(lesions))]


def forget_readings(nodes, lesions):
    """Take away the readings of lesions whose shape is no longer what was read."""
    if READINGS in nodes:
        kept = [row for row in rows_of(nodes[READINGS]) if round(row["lesion"]) not in lesions]
        fill_table(nodes[READINGS], kept, KEPT)


def export_readings(nodes, folder):
    """Write one table a reader, and one with the automatic calls, below a folder.

    Args:
        folder: pathlib.Path; tables of many patients may lie in one, `agreement.compare` reads them all.
    Returns:
        Names of the files.
    Raises:
        InputError: nobody has read.
    """
    if not (READINGS in nodes and rows_of(nodes[READINGS])):
        raise InputError("No blind reading was made yet; tick Blind, call the lesions, then export.")
    label = subject_label(nodes["table"].GetAttribute(STAGING).rpartition("/")[0])
    person, _, session = label.partition("_ses-")
    if not person.startswith("sub-"):
        person = "sub-" + (re.sub(r"[^A-Za-z0-9]", "", person) or "scene")
    session = f"ses-{session}" if session else None
    lesions = {round(row["lesion"]): row for row in rows_of(nodes["table"])}
    rows = rows_of(nodes[READINGS])
    rows += [
        dict(zip(KEPT, (number, PROGRAM, None, row["stage"], row["rim_grade"], None, None), strict=True))
        for number, row in lesions.items()
    ]
    names = []
    for reader in dict.fromkeys(row["reader"] for row in rows):
        own = [
            {"participant_id": person, "session_id": session}
            | {name: row[name] for name in KEPT}
            | {name: lesions[round(row["lesion"])][name] for name in PLACE}
            | {"lesion": round(row["lesion"])}
            for row in rows
            if row["reader"] == reader and round(row["lesion"]) in lesions
        ]
        code = re.sub(r"[^A-Za-z0-9]", "", reader) or f"reader{len(names) + 1}"
        stem = "_".join(part for part in (person, session, f"desc-{code}") if part)
        write_table(folder / f"{stem}_readings.tsv", [{name: row[name] for name in READING_COLUMNS} for row in own])
        names.append(f"{stem}_readings.tsv")
    return names
