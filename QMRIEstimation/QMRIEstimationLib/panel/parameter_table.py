"""The table of advanced parameters, made from the option sets themselves: group, parameter, value, unit."""

from dataclasses import fields

import qt
from slicer.i18n import tr as _

from ..errors import InputError
from ..parameters import Options, as_user_dict, check_value, expected
from ..units import from_user, user_unit

ROW = 24  # pixels
GROUP, CHANGED, WRONG = (222, 230, 240), (255, 246, 205), (255, 214, 214)
GROUPS_OF = {  # group of settings -> maps that it matters for
    "denoise": ("R1", "R2", "R2star", "PD", "Chi"),
    "mask": ("R2star", "Chi"),
    "registration": ("R1", "R2", "PD"),
    "r2star": ("R2star",),
    "b1": ("R1", "R2", "PD"),
    "b1_free": ("R1", "PD"),
    "r1": ("R1", "PD"),
    "r2": ("R2",),
    "spin_echo": ("R2",),
    "pd": ("PD",),
    "qsm": ("Chi",),
}
METHODS = ("method", "route")  # a choice that decides which further groups matter


class ParameterTable:
    """Shows every parameter that matters for some maps; what the user enters is handed on as (path, value).

    `entered(path, value)` is called with the names of the groups and the parameter, and the value in the user's unit;
    None puts the preset's value back.
    """

    def __init__(self, table, entered):
        self._table, self._entered, self._updating, self._rows = table, entered, False, []
        titles = [_("Parameter"), _("Value"), _("Unit")]
        table.setColumnCount(len(titles))
        table.setHorizontalHeaderLabels(titles)
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(ROW)
        table.horizontalHeader().setStretchLastSection(True)
        table.connect("cellChanged(int,int)", self._onCell)

    def show(self, settings, preset, maps):
        """Fill the table with the parameters of `settings` (an option set); what differs from `preset` is marked."""
        self._updating = True
        try:
            before = as_user_dict(preset)
            self._rows = list(_rows(settings, before, maps))
            self._table.setRowCount(0)
            self._table.setRowCount(len(self._rows))
            for number, row in enumerate(self._rows):
                self._show_row(number, row)
            self._table.resizeColumnToContents(0)
        finally:
            self._updating = False

    def _show_row(self, number, row):
        title, path, f, value, usual = row
        if f is None:
            self._item(number, 0, title, GROUP, False)
            self._item(number, 1, "", GROUP, False)
            self._item(number, 2, "", GROUP, False)
            return
        help_text = f"{f.metadata['help']}; {expected(f)}"
        self._item(number, 0, "    " + title, None, False).setToolTip(help_text)
        colour = CHANGED if value != usual else None
        values = f.metadata.get("values")
        if values:
            item = self._item(number, 1, "", colour, False)
            combo = qt.QComboBox()
            combo.objectName = ".".join(path)
            combo.addItems([_shown(v) for v in values])
            combo.currentIndex = values.index(value)
            combo.connect("activated(int)", lambda index: self._choose(path, values[index], usual))
            combo.toolTip = help_text
            self._table.setCellWidget(number, 1, combo)
        else:
            item = self._item(number, 1, _shown(value), colour, True)
        item.setToolTip(help_text)
        self._item(number, 2, user_unit(f.metadata["unit"]), None, False)

    def _item(self, row, column, text, colour, editable):
        item = qt.QTableWidgetItem(text)
        flags = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
        item.setFlags(flags | qt.Qt.ItemIsEditable if editable else flags)
        if colour:
            item.setBackground(qt.QBrush(qt.QColor(*colour)))
        self._table.setItem(row, column, item)
        return item

    def _choose(self, path, value, usual):
        self._entered(path, None if value == usual else value)

    def _onCell(self, number, column):
        if self._updating or column != 1:
            return
        _title, path, f, _value, usual = self._rows[number]
        item = self._table.item(number, 1)
        try:
            value = _parsed(item.text().strip(), f)
        except InputError as error:
            item.setBackground(qt.QBrush(qt.QColor(*WRONG)))
            item.setToolTip(str(error))
            return
        self._entered(path, None if value in (None, usual) else value)


def _rows(options, usual, maps, path=()):
    """(title, path, field or None for a group, value, value of the preset) of every parameter that matters."""
    shown = as_user_dict(options)
    chosen = {shown[name] for name in METHODS if name in shown}
    nested = [f for f in fields(options) if isinstance(getattr(options, f.name), Options)]
    spelled = {f.name: f.name.replace("_", "-") for f in nested}
    methods = {name for name, word in spelled.items() if _is_method(options, word)}
    for f in fields(options):
        if not isinstance(getattr(options, f.name), Options):
            yield f.name.replace("_", " "), (*path, f.name), f, shown[f.name], usual[f.name]
    for f in nested:
        if not path and not set(GROUPS_OF.get(f.name, ())) & set(maps):
            continue
        if f.name in methods and spelled[f.name] not in chosen:
            continue  # of a method that is not chosen
        yield " > ".join((*path, f.name)).replace("_", " "), (), None, None, None
        yield from _rows(getattr(options, f.name), usual[f.name], maps, (*path, f.name))


def _is_method(options, word):
    return any(word in f.metadata.get("values", ()) for f in fields(options) if f.name in METHODS)


def _shown(value):
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _parsed(text, f):
    """Value of a parameter from the user's words; None where they are empty.

    Raises:
        InputError: no number, or out of range.
    """
    if not text:
        return None
    if "text" in f.metadata:
        return text
    try:
        value = int(text) if isinstance(f.default, int) else float(text.replace(",", "."))
    except ValueError:
        raise InputError(f"{f.name} is '{text}', expected {expected(f)}; correct it.") from None
    number = isinstance(f.default, float)
    check_value(f, float(from_user(value, f.metadata["unit"])) if number else value, f.name)
    return value
