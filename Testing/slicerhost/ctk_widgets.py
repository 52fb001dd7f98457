"""Stand-ins for the CTK widgets that the .ui files use, published as module `ctk`.

Only Qt properties, slots and signals of the C++ class exist here, because PythonQt shows no others. `SIGNALS` holds the
C++ signatures for `connect("contentsCollapsed(bool)", f)`.
"""

import sys
import types

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Qt, Signal

_ONLY_NAMED = (
    "ctkCheckBox",
    "ctkCheckablePushButton",
    "ctkColorPickerButton",
    "ctkComboBox",
    "ctkDirectoryButton",
    "ctkDoubleRangeSlider",
    "ctkDoubleSlider",
    "ctkDoubleSpinBox",
    "ctkRangeWidget",
    "ctkSliderWidget",
)


def stored(name, default, changed=None):
    """A property that is only kept; `changed` names a method called after a write."""
    key, kind = "_stored_" + name, type(default)

    def read(self):
        return self.__dict__.get(key, default)

    def write(self, value):
        self.__dict__[key] = kind(value)
        if changed:
            getattr(self, changed)()

    return property(read, write)


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header whose children show only while it is not collapsed."""

    contentsCollapsed = Signal(bool)
    SIGNALS = {"contentsCollapsed": ["bool"]}  # noqa: RUF012  # read only
    flat = stored("flat", False)
    collapsedHeight = stored("collapsedHeight", 10)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._hidden = {}  # child -> whether it was hidden before the collapse
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self._header(), 0, 0)
        self.toggled.connect(self._show_children)

    @property
    def collapsed(self):
        return not self.checked

    @collapsed.setter
    def collapsed(self, value):
        self.checked = not value

    def _header(self):
        return self.fontMetrics().height() + 10

    def _show_children(self, shown):
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and not child.isWindow():
                if not shown:
                    self._hidden.setdefault(child, child.isHidden())
                child.setVisible(shown and not self._hidden.get(child, False))
        if shown:
            self._hidden = {}
        self.setMaximumHeight(16777215 if shown else self._header() + 6)
        self.contentsCollapsed.emit(not shown)

    def showEvent(self, event):
        if self.collapsed:
            self._show_children(False)
        super().showEvent(event)

    def sizeHint(self):
        header = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, self._header() + 6)
        return header if self.collapsed or self.layout() is None else header.expandedTo(self.layout().totalSizeHint())

    def minimumSizeHint(self):
        return self.sizeHint() if self.collapsed or self.layout() is None else self.layout().totalMinimumSize()

    def hitButton(self, position):
        return position.y() <= self._header()

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 2, self.width, self._header() - 4)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, option.rect.center().y() - 5, 11, 11)
        style = QtWidgets.QStyle
        painter.drawPrimitive(style.PE_IndicatorArrowRight if self.collapsed else style.PE_IndicatorArrowDown, arrow)
        place = option.rect.adjusted(26, 0, -4, 0)
        painter.drawItemText(place, int(Qt.AlignVCenter | Qt.AlignLeft), self.palette, self.enabled, self.text)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path in a line; the button opens no dialog here."""

    currentPathChanged = Signal(str)
    SIGNALS = {"currentPathChanged": ["QString"]}  # noqa: RUF012  # read only
    filters = stored("filters", 0)
    settingKey = stored("settingKey", "")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._line = QtWidgets.QLineEdit(self)
        browse = QtWidgets.QToolButton(self)
        browse.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line)
        layout.addWidget(browse)
        self._line.textChanged.connect(self.currentPathChanged.emit)

    @property
    def currentPath(self):
        return self._line.text

    @currentPath.setter
    def currentPath(self, value):
        self.setCurrentPath(value)

    def setCurrentPath(self, path):
        self._line.setText(str(path))


def empty_class(name):
    """A class that only has its name, for Slicer's own Python files, which list every class they can connect."""
    return type(name, (QtWidgets.QWidget,), {"__module__": __name__, "SIGNALS": {}})


def install():
    """Publish the widgets as module `ctk`."""
    ctk = types.ModuleType("ctk", "stand-ins for the CTK widgets in use")
    ctk.ctkCollapsibleButton, ctk.ctkPathLineEdit = ctkCollapsibleButton, ctkPathLineEdit
    for name in _ONLY_NAMED:
        setattr(ctk, name, empty_class(name))
    sys.modules["ctk"] = ctk
