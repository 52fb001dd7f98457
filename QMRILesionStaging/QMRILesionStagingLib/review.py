"""Calls of readers beside the automatic ones of staged lesions, with reason, name and time, and a history.

Everything is kept in table nodes, so that it is saved with the scene. The automatic call is never changed.
"""

from datetime import UTC, datetime

import slicer
import vtk
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.scene.attributes import PREFIX

from .calls import COLORS, GRADES, PRESENT, STAGE_NAMES
from .mrml_record import STAGING

READER = ("reader_stage", "reader_rim", "reader_reason", "reader", "read_at")
HISTORY = "history"
HISTORY_COLUMNS = ("lesion", *READER)
AUTOMATIC = ""  # no call by a reader


def rows_of(table):
    """Rows of a table node as dictionaries of numbers and texts; None where a value is missing."""
    columns = [table.GetTable().GetColumn(n) for n in range(table.GetNumberOfColumns())]
    rows = []
    for n in range(table.GetNumberOfRows()):
        row = {}
        for column in columns:
            value = column.GetValue(n)
            row[column.GetName()] = None if value == "" or value != value else value  # noqa: PLR0124  # NaN
        rows.append(row)
    return rows


def stage_of_row(row):
    """The stage that counts: the reader's, else the automatic one."""
    return row.get("reader_stage") or row["stage"]


def rim_of_row(row):
    """The rim grade that counts."""
    return row.get("reader_rim") or row["rim_grade"]


def changed(row):
    """Whether a reader called stage or rim otherwise than the automatic staging."""
    return bool(row.get("reader_stage") or row.get("reader_rim"))


def override(nodes, lesion, stage, rim, reason, reader, now=None):
    """Keep a reader's call of one lesion; colour and name of its segment follow.

    Args:
        nodes: key -> node, as `mrml_results.staging_in` gives them. lesion: its number.
        stage, rim: of STAGE_NAMES and GRADES, or AUTOMATIC to go back to the automatic call.
        reason: in the reader's words. reader: name. now: time, UTC; None for now.
    Raises:
        InputError: no such lesion, stage or grade, or a change without reader or reason.
    """
    table = nodes["table"]
    numbers = [round(row["lesion"]) for row in rows_of(table)]
    if lesion not in numbers:
        raise InputError(f"{table.GetName()}: there is no lesion {lesion}; select one of the list.")
    if stage not in (AUTOMATIC, *STAGE_NAMES) or rim not in (AUTOMATIC, *GRADES):
        raise InputError(f"There is no stage '{stage}' or no rim grade '{rim}'; choose one of the list.")
    if (stage or rim) and not (reader.strip() and reason.strip()):
        raise InputError("A change needs the reader's name and a reason, for whoever reads the table; enter both.")
    time = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    values = dict(zip(READER, (stage, rim, reason.strip(), reader.strip(), time), strict=True))
    was_modifying = table.StartModify()
    for name, value in values.items():
        _text_column(table, name).SetValue(numbers.index(lesion), value)
    table.GetTable().Modified()
    table.EndModify(was_modifying)
    _append(_history(nodes), {"lesion": str(lesion), **values})
    _show_call(nodes, rows_of(table)[numbers.index(lesion)])


def _text_column(table, name):
    """A column of texts, made where there is none."""
    column = table.GetTable().GetColumnByName(name)
    if column is None:
        column = vtk.vtkStringArray()
        column.SetName(name)
        for _ in range(table.GetNumberOfRows()):
            column.InsertNextValue("")
        table.AddColumn(column)
        column = table.GetTable().GetColumnByName(name)
    return column


def _history(nodes):
    """The table of everything that readers did, made at the first change beside the other results."""
    if HISTORY in nodes:
        return nodes[HISTORY]
    table = nodes["table"]
    scene, folder = table.GetScene(), table.GetAttribute(STAGING).rpartition("/")[0]
    history = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(f"{folder} {HISTORY}"))
    history.SetUseColumnTitleAsColumnHeader(True)
    history.SetAttribute(STAGING, f"{folder}/{HISTORY}")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(table)
    hierarchy.CreateItem(hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID(), history)
    for name in HISTORY_COLUMNS:
        _text_column(history, name)
    nodes[HISTORY] = history
    return history


def _append(history, values):
    row = history.AddEmptyRow()
    for name, value in values.items():
        history.GetTable().GetColumnByName(name).SetValue(row, value)
    history.GetTable().Modified()


def _show_call(nodes, row):
    """Name, colour and tags of the segment of a lesion, by the call that counts."""
    segment = segment_of(nodes, round(row["lesion"]))
    if segment is None:
        return
    stage, rim = stage_of_row(row), rim_of_row(row)
    mark = " (reader)" if changed(row) else ""
    segment.SetName(f"{round(row['lesion'])}: {stage}" + (", rim" if rim in PRESENT else "") + mark)
    segment.SetColor(*COLORS[stage])
    for key, value in (("Stage", stage), ("Rim", rim)):
        segment.SetTag(PREFIX + key, value)


def segment_of(nodes, lesion):
    """The segment of a lesion, or None."""
    node = nodes.get("lesions")
    segmentation = node.GetSegmentation() if node is not None else None
    for n in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
        segment = segmentation.GetNthSegment(n)
        found = vtk.mutable("")
        if segment.GetTag(PREFIX + "Lesion", found) and str(found) == str(lesion):
            return segment
    return None
