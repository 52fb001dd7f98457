"""The list of lesions: sorted by any column, filtered, one row a lesion; the arrow keys go from lesion to lesion."""

import qt
from slicer.i18n import tr as _

from ..calls import INDETERMINATE, NOT_ENHANCING, PRESENT, changed, rim_of_row, stage_of_row

LESION = 32  # qt.Qt.UserRole: the number of the lesion in the first cell of its row
CHANGED = (255, 246, 205)
FILTERS = {
    "all lesions": lambda row: True,
    "only indeterminate": lambda row: stage_of_row(row) == INDETERMINATE,
    "only rims": lambda row: rim_of_row(row) in PRESENT,
    "only enhancing": lambda row: row["enhancement"] not in NOT_ENHANCING,
    "changed by a reader": changed,
}
COLUMNS = ("Lesion", "Stage", "p", "Rim", "Coverage", "mm³", "Enhancement", "Flags")
ROW = 22  # pixels


class Worklist:
    """Shows rows of the lesion table in a QTableWidget; `selected(lesion)` is called when the user goes to one."""

    def __init__(self, table, selected):
        self._table, self._selected, self._updating = table, selected, False
        table.setColumnCount(len(COLUMNS))
        table.setHorizontalHeaderLabels([_(title) for title in COLUMNS])
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(ROW)
        table.horizontalHeader().setStretchLastSection(True)
        table.connect("itemSelectionChanged()", self._onSelection)

    def show(self, rows, which, order=None, readings=None):
        """Fill the list with the rows that a filter lets through; the lesion that was selected stays so.

        Args:
            order: numbers of the lesions in the order in which a blind reader meets them; None for a list that shows
                the calls and can be sorted. readings: lesion -> row of this reader's readings.
        """
        before = self.lesion
        self._updating = True
        try:
            self._table.setSortingEnabled(False)
            shown = [row for row in rows if order is not None or FILTERS[which](row)]
            if order is not None:
                shown.sort(key=lambda row: order.index(round(row["lesion"])))
            self._table.setRowCount(len(shown))
            for number, row in enumerate(shown):
                if order is None:
                    self._put(number, _seen(row), row if changed(row) else None)
                else:
                    self._put(number, _blind(row, readings.get(round(row["lesion"]), {})))
            self._table.setSortingEnabled(order is None)
            self._table.resizeColumnsToContents()
            self.select(before)
        finally:
            self._updating = False

    @property
    def lesion(self):
        """Number of the selected lesion, of the first where several are; or None."""
        return next(iter(self.lesions), None)

    @property
    def lesions(self):
        """Numbers of the selected lesions, in the order of the list."""
        rows = sorted({item.row() for item in self._table.selectedItems()})
        return [self._table.item(row, 0).data(LESION) for row in rows]

    def select(self, lesion):
        """Select the row of a lesion, where the list has it."""
        for row in range(self._table.rowCount):
            if self._table.item(row, 0).data(LESION) == lesion:
                self._table.selectRow(row)
                return

    def step(self, by):
        """Go on to the next row (1) or back (-1)."""
        items = self._table.selectedItems()
        row = items[0].row() + by if items else 0
        if 0 <= row < self._table.rowCount:
            self._table.selectRow(row)

    def _put(self, number, values, called=None):
        """Fill a row of the list. called: row of the table whose call is a reader's, or None."""
        for column, value in enumerate(values):
            item = qt.QTableWidgetItem()
            item.setData(qt.Qt.DisplayRole, "" if value is None else value)
            item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
            if column == 0:
                item.setData(LESION, values[0])
            if called is not None:
                item.setBackground(qt.QBrush(qt.QColor(*CHANGED)))
                item.setToolTip(f"{called['reader']}: {called['reader_reason']}")
            self._table.setItem(number, column, item)

    def _onSelection(self):
        if not self._updating and self.lesion is not None:
            self._selected(self.lesion)


def _seen(row):
    """Values of the columns, with the calls that count."""
    stage = stage_of_row(row)
    probability = row.get(f"p_{stage.replace(' ', '_')}")
    return (
        round(row["lesion"]),
        stage,
        None if probability is None else round(float(probability), 2),
        rim_of_row(row),
        None if row["rim_coverage"] is None else round(float(row["rim_coverage"]), 2),
        round(float(row["volume_mm3"])),
        row["enhancement"],
        _flags(row),
    )


def _blind(row, reading):
    """Values of the columns for a reader who must not see what others call."""
    stage, rim = reading.get("stage"), reading.get("rim_grade")
    return round(row["lesion"]), stage, None, rim, None, round(float(row["volume_mm3"])), None, None


def _flags(row):
    """What to look at: a part of a confluent lesion, a substage, a change of the reader."""
    words = [row["substage"]] if row.get("substage") not in (None, "n/a") else []
    words += [f"part of {round(row['confluent_parent'])}"] if row.get("confluent_parent") else []
    words += [_("was {stage}").format(stage=row["stage"])] if row.get("reader_stage") else []
    return ", ".join(words)
