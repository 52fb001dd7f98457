"""Calls of readers beside the automatic ones of staged lesions, with reason, name and time, and a history.

Everything is kept in table nodes, so that it is saved with the scene. The automatic call is never changed.
"""

from datetime import UTC, datetime

from QMRIEstimationLib.errors import InputError

from ..calls import GRADES, STAGE_NAMES
from .record import STAGING
from .segments import segment_of, show_call
from .tables import fill_table, new_table, rows_of

READER = ("reader_stage", "reader_rim", "reader_reason", "reader", "read_at")
HISTORY = "history"
HISTORY_COLUMNS = ("lesion", "action", *READER)
AUTOMATIC = ""  # no call by a reader


def override(nodes, lesion, stage, rim, reason, reader, now=None):
    """Keep a reader's call of one lesion; colour and name of its segment follow.

    Args:
        nodes: key -> node, as `record.staging_in` gives them. lesion: its number.
        stage, rim: of STAGE_NAMES and GRADES, or AUTOMATIC to go back to the automatic call.
        reason: in the reader's words. reader: name. now: time, UTC; None for now.
    Raises:
        InputError: no such lesion, stage or grade, or a change without reader or reason.
    """
    table = nodes["table"]
    rows = rows_of(table)
    row = next((row for row in rows if round(row["lesion"]) == lesion), None)
    if row is None:
        raise InputError(f"{table.GetName()}: there is no lesion {lesion}; select one of the list.")
    check_call(stage, rim)
    if stage or rim:
        check_signed(reader, reason)
    values = dict(zip(READER, (stage, rim, reason.strip(), reader.strip(), time_text(now)), strict=True))
    for other in rows:
        for name in READER:
            other.setdefault(name, None)
    row |= values
    fill_table(table, rows)
    keep_history(nodes, {"lesion": str(lesion), "action": "call", **values})
    segment = segment_of(nodes, lesion)
    if segment is not None:
        show_call(segment, row)


def check_call(stage, rim):
    """Raise InputError for a stage or a rim grade that there is not."""
    if stage not in (AUTOMATIC, *STAGE_NAMES) or rim not in (AUTOMATIC, *GRADES):
        raise InputError(f"There is no stage '{stage}' or no rim grade '{rim}'; choose one of the list.")


def check_signed(reader, reason):
    """Raise InputError for a change of which nobody could later say who made it and why."""
    if not (reader.strip() and reason.strip()):
        raise InputError("A change needs the reader's name and a reason, for whoever reads the table; enter both.")


def time_text(now=None):
    """Time of now, or of a datetime in UTC, as it is kept."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def keep_history(nodes, entry):
    """Add an entry to the history of a staging; what it does not name stays empty."""
    node = new_table(nodes, HISTORY, STAGING, HISTORY_COLUMNS)
    fill_table(node, [*rows_of(node), {name: entry.get(name) for name in HISTORY_COLUMNS}])
