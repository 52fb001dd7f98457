"""Text, tables and JSON files that appear whole or not at all."""

import csv
import json
import math
import os
from pathlib import Path

import numpy as np


def write_text(path, text):
    """Write UTF-8 text under its final name only when it is complete.

    Characters that UTF-8 cannot hold (half-decoded file names) become question marks.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(text.encode("utf-8", errors="replace"))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_table(path, rows):
    """Write dictionaries as tab-separated values, in the order of the first row's keys; None is n/a."""
    columns = list(rows[0]) if rows else []
    lines = ["\t".join(columns)]
    lines += ["\t".join("n/a" if row[c] is None else " ".join(str(row[c]).split()) for c in columns) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def read_table(path):
    """Rows of a TSV file as dictionaries; ValueError when it is no text or a row has not the fields of the header."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t"))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if not lines:
        raise ValueError("the table is empty, expected a header")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(lines[0]):
            raise ValueError(f"line {number} has {len(line)} fields, expected {len(lines[0])} as in the header")
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def write_json(path, value):
    """Write a dictionary as JSON; numpy values become plain ones, NaN and infinity become null.

    Raises:
        TypeError: a value is neither plain nor numpy.
    """
    write_text(path, json.dumps(_plain(value), indent=2, allow_nan=False) + "\n")


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
