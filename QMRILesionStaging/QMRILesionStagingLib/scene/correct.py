"""A reader's corrections of the lesions themselves: merged, split, deleted, drawn anew. Only those lesions that a
correction touches are staged again, with what the staging was made of; the last correction can be taken back.
"""

import numpy as np
import vtk
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.scene.drawings import geometry_of
from QMRIEstimationLib.scene.made import all_or_nothing

from ..instances import Instances
from ..lesion_edits import deleted, merged, split, touched
from ..lesion_table import direction_rows, lesion_rows, profile_rows
from ..staging import Staging, stage_lesions
from .case import given_again, reference_of, state_of
from .readings import forget_readings
from .results import fill_profiles, profile_rows_of
from .review import READER, check_signed, keep_history, time_text
from .segments import fill_segments, labels_of
from .tables import fill_table, rows_of

TABLES = ("table", "Chi profiles", "R2star profiles", "rim directions")


class Corrections:
    """Corrections of one staging in the scene.

    Args:
        nodes: key -> node, as `record.staging_in` gives them.
    Every correction needs the reader's name and a reason, returns the numbers of the lesions that were staged again,
    and raises InputError when it cannot be done; the scene is then as it was.
    """

    def __init__(self, nodes):
        self.nodes = nodes
        self._given, self._read, self._before = None, None, None

    def merge(self, lesions, reader, reason):
        """Several lesions as one, under the lowest of their numbers."""
        lesions = sorted(lesions)
        return self._correct(
            lambda labels: merged(labels, lesions), lesions[:1], f"merged {_names(lesions)}", reader, reason
        )

    def split(self, lesion, reader, reason, seeds=None):
        """One lesion in parts around `seeds` (RAS, mm, a row a part), or across its length where it is thinnest."""
        geometry = geometry_of(reference_of(self.nodes["table"]))
        places = None
        if seeds is not None:
            matrix = geometry.ijk_to_ras
            places = np.linalg.solve(matrix[:3, :3], (np.atleast_2d(seeds) - matrix[:3, 3]).T).T[:, ::-1]
        return self._correct(
            lambda labels: split(labels, lesion, geometry.voxel_size, places), [lesion], "split", reader, reason
        )

    def delete(self, lesions, reader, reason):
        """Lesions that are none."""
        return self._correct(lambda labels: deleted(labels, lesions), sorted(lesions), "deleted", reader, reason)

    def take_drawing(self, reader, reason):
        """What was drawn in the segmentation since, with segments that were added or removed."""
        return self._correct(None, [], "drawn anew", reader, reason)

    @property
    def can_undo(self):
        return self._before is not None

    def undo(self, reader):
        """Everything as it was before the last correction, unless it was a drawing; the history keeps both."""
        if self._before is None:
            raise InputError("There is no correction to take back.")
        tables, labels = self._before
        self._restore(tables)
        geometry = geometry_of(reference_of(self.nodes["table"]))
        fill_segments(self.nodes["lesions"], labels, geometry, rows_of(self.nodes["table"]))
        self._before = None
        keep_history(self.nodes, {"action": "taken back", "reader": reader.strip(), "read_at": time_text()})

    def _correct(self, change, about, action, reader, reason):
        check_signed(reader, reason)
        table, rows = self.nodes["table"], rows_of(self.nodes["table"])
        if not rows or "lesions" not in self.nodes:
            raise InputError(f"{table.GetName()}: there is no lesion; stage the lesions first.")
        now, drawn = labels_of(self.nodes["lesions"], reference_of(table))
        gone = {round(row["lesion"]) for row in rows} - set(np.unique(now).tolist())
        if change is None and not (drawn or gone):
            raise InputError("Nothing was drawn since the lesions were staged; change a segment first.")
        if change is not None and (drawn or gone):
            raise InputError(f"Lesions {_names(drawn | gone)} were drawn anew; take that over first.")
        geometry = geometry_of(reference_of(table))
        after = now if change is None else change(now)
        if change is None:
            about = sorted(drawn | gone)
            now = _before_drawing(now, drawn, [row for row in rows if round(row["lesion"]) in about], geometry)
        again = touched(now, after, geometry.voxel_size)
        parents = {round(row["lesion"]): round(row["confluent_parent"]) for row in rows if row["confluent_parent"]}
        if action == "split":
            new = set(np.unique(after).tolist()) - set(np.unique(now).tolist())
            parents |= dict.fromkeys((*about, *new), parents.get(about[0], max(parents.values(), default=0) + 1))
        if self._read != state_of(table):  # a map may have been made again since
            self._given, self._read = given_again(table, after), state_of(table)
        given, options = self._given
        staging = Staging(after, (), None, ())
        if again:
            staging = stage_lesions(given, options, instances=Instances(after, parents, ()), only=again)
        unread = set() if change is None else _reshaped(now, after)  # a call was of another shape
        tables = self._show(staging, rows, unread, geometry)
        self._before = None if change is None else (tables, now)  # what was there before a drawing is not known
        forget_readings(self.nodes, unread | drawn | gone)
        entry = {"action": action, "reader": reader.strip(), "reader_reason": reason.strip(), "read_at": time_text()}
        keep_history(self.nodes, entry | {"lesion": _names(about)})
        return sorted(again)

    def _show(self, staging, rows, unread, geometry):
        """Put lesions that were staged again into the scene, take away those that are no more; tables before that."""
        there = set(np.unique(staging.labels).tolist()) - {0}
        again = {lesion.number for lesion in staging.lesions}
        kept = [row for row in rows if round(row["lesion"]) in there - again]
        calls = {round(row["lesion"]): {name: row[name] for name in READER if name in row} for row in rows}
        blank = dict.fromkeys(READER if any(calls.values()) else ())
        new = [
            row | blank | ({} if row["lesion"] in unread else calls.get(row["lesion"], {}))
            for row in lesion_rows(staging)
        ]
        rows = sorted([*kept, *new], key=lambda row: row["lesion"])
        profiles = [row for row in profile_rows_of(self.nodes) if row["lesion"] in there - again]
        profiles += profile_rows(staging)
        points = [row for row in rows_of(self.nodes["rim directions"]) if round(row["lesion"]) in there - again]
        before = self._tables()
        try:
            with all_or_nothing(self.nodes["table"].GetScene()) as made:
                fill_table(self.nodes["table"], rows)
                fill_profiles(self.nodes, profiles, rows, made)
                fill_table(self.nodes["rim directions"], points + direction_rows(staging))
                fill_segments(self.nodes["lesions"], staging.labels, geometry, rows)  # last: it cannot be taken back
        except BaseException:
            self._restore(before)
            raise
        return before

    def _tables(self):
        """Copies of the tables."""
        copies = {}
        for key in TABLES:
            if key in self.nodes:
                copies[key] = vtk.vtkTable()
                copies[key].DeepCopy(self.nodes[key].GetTable())
        return copies

    def _restore(self, tables):
        for key, table in tables.items():
            self.nodes[key].SetAndObserveTable(table)
        with all_or_nothing(self.nodes["table"].GetScene()) as made:
            fill_profiles(self.nodes, profile_rows_of(self.nodes), rows_of(self.nodes["table"]), made)


def _before_drawing(labels, drawn, rows, geometry):
    """Labels that differ from those of now wherever lesions that a reader drew or removed are or can have been."""
    other = np.isin(labels, list(drawn))
    matrix = geometry.ijk_to_ras
    index = np.indices(labels.shape).reshape(3, -1)
    for row in rows:
        centre = np.array([row[f"{axis}_ras"] for axis in "xyz"])
        away = matrix[:3, :3] @ index[::-1] + (matrix[:3, 3] - centre)[:, None]
        other |= ((away**2).sum(0) < row["max_diameter_mm"] ** 2).reshape(labels.shape)
    return np.where(other, -1, labels)


def _reshaped(before, after):
    """Numbers whose voxels are others than before, or that are new."""
    return set(np.unique(after[before != after]).tolist()) | set(np.unique(before[before != after]).tolist())


def _names(numbers):
    return ", ".join(str(number) for number in sorted(numbers))
