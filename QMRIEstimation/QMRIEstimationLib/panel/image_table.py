"""The table of images: one row a volume or sequence, filled in by itself, corrected by the user."""

import qt
from slicer.i18n import tr as _

from ..errors import InputError
from ..scene.attributes import acquisition_of, enter
from ..scene.uses import FIELDS, NOT_USED, PARTS, USES

WIDTHS = (112, 122, 88, 50, 44, 50, 60)  # pixels, together as wide as a usual panel
ROW = 24
WRONG, UNUSED = (255, 214, 214), (236, 236, 236)
UNKNOWN = "?"


class ImageTable:
    """Shows what is known of images in a QTableWidget and keeps what the user enters in their nodes.

    `changed` is called after the user changed something; `nodes` are those shown.
    """

    def __init__(self, table, changed):
        self._table, self._changed, self._updating = table, changed, False
        self.nodes = []
        titles = [_("Image"), _("Use"), _("Part")]
        titles += [f"{_(f.short)}, {_(f.shown_unit)}" for f in FIELDS.values()]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setStretchLastSection(True)
        table.verticalHeader().setDefaultSectionSize(ROW)
        table.textElideMode = qt.Qt.ElideMiddle
        for column, width in enumerate(WIDTHS):
            table.setColumnWidth(column, width)
        table.connect("cellChanged(int,int)", self._onCell)

    def show(self, nodes):
        """Fill the table anew."""
        self._updating = True
        try:
            self.nodes = list(nodes)
            self._table.setRowCount(len(self.nodes))
            for row, node in enumerate(self.nodes):
                self._show_row(row, node)
        finally:
            self._updating = False

    def selected(self):
        """Nodes of the selected rows."""
        rows = sorted({item.row() for item in self._table.selectedItems()})
        return [self.nodes[row] for row in rows if row < len(self.nodes)]

    def _show_row(self, row, node):
        found = acquisition_of(node)
        problems = found.problems()
        item = self._item(row, 0, found.name, False)
        item.setToolTip(_("{name}, {count} volume(s)").format(name=found.name, count=found.frames))
        self._combo(row, 1, "Use", [*USES, NOT_USED], found.use, found, problems)
        self._combo(row, 2, "Part", list(PARTS), found.part, found, problems)
        use = USES.get(found.use)
        for column, (name, f) in enumerate(FIELDS.items(), 3):
            matters = use is not None and name in (*use.needs, *use.takes)
            broken = node.GetAttribute(f"qMRI.{name}") if name in found.broken else ""
            text = broken or f.shown(found.values.get(name, ()))
            cell = self._item(row, column, text if matters else "", matters)
            self._colour(cell, problems.get(name), None if matters else UNUSED)
            cell.setToolTip(problems.get(name) or self._origin(found, name, matters, text))

    def _origin(self, found, name, matters, text):
        if not matters:
            return _("Not needed for this use.")
        if not text:
            return _("Not known; used where it is.")
        return _("From: {origin}").format(origin=found.origin.get(name, _("node attribute")))

    def _item(self, row, column, text, editable):
        item = self._table.item(row, column)
        if item is None:
            item = qt.QTableWidgetItem()
            self._table.setItem(row, column, item)
        item.setText(text)
        flags = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
        item.setFlags(flags | qt.Qt.ItemIsEditable if editable else flags)
        return item

    def _combo(self, row, column, name, choices, chosen, found, problems):
        item = self._item(row, column, "", False)
        combo = self._table.cellWidget(row, column)
        if combo is None:
            combo = qt.QComboBox()
            combo.objectName = f"{name.lower()}{row}"
            combo.connect("activated(int)", lambda index, row=row: self._onChoice(row, column, name))
            self._table.setCellWidget(row, column, combo)
        shown = choices if chosen in choices else [UNKNOWN, *choices]
        combo.clear()
        combo.addItems(shown)
        combo.currentIndex = shown.index(chosen) if chosen in shown else 0
        problem = problems.get(name)
        self._colour(item, problem, None)
        combo.setStyleSheet(f"QComboBox {{ background-color: rgb{WRONG} }}" if problem else "")
        combo.toolTip = problem or _("From: {origin}").format(origin=found.origin.get(name, _("assumed")))

    @staticmethod
    def _colour(item, problem, other):
        colour = WRONG if problem else other
        item.setBackground(qt.QBrush(qt.QColor(*colour)) if colour else qt.QBrush())

    def _onChoice(self, row, column, name):
        text = self._table.cellWidget(row, column).currentText
        if text != UNKNOWN:
            self._enter(row, name, text)

    def _onCell(self, row, column):
        if self._updating or column < 3:
            return
        self._enter(row, list(FIELDS)[column - 3], self._table.item(row, column).text())

    def _enter(self, row, name, text):
        if row >= len(self.nodes):
            return
        chosen = {id(node): node for node in [self.nodes[row], *(self.selected() if name in ("Use", "Part") else ())]}
        for node in chosen.values():
            try:
                enter(node, name, text)
            except InputError:
                pass  # the cell says it, and Apply is disabled with the sentence
        self.show(self.nodes)
        self._changed()
