"""Look closer: signal, fitted curve and values where the crosshair is, or over a segment."""

import math

import qt
import slicer
from slicer.i18n import tr as _

from ..display import display_of
from ..scene.signals import Place, curves_at, values_at
from .plot import PanelPlot

ROW = 22  # pixels
SAMPLES, FIT = "measured", "fitted"
SERIES = {SAMPLES: ((0.0, 0.45, 0.70), False), FIT: ((0.84, 0.37, 0.0), True)}  # colour, whether a line


class Look:
    """Plots and lists what is at a place; nothing of it is saved with the scene."""

    def __init__(self, ui):
        self._ui, self._images, self._results, self._place, self._curves = ui, [], {}, None, []
        self._observed = None
        self._plot_of_signal = PanelPlot(ui.plotHolder, "QMRIEstimation", SERIES)
        titles = [_("Map"), _("Value"), _("SD"), _("Unit")]
        ui.valuesTable.setColumnCount(len(titles))
        ui.valuesTable.setHorizontalHeaderLabels(titles)
        ui.valuesTable.verticalHeader().setVisible(False)
        ui.valuesTable.verticalHeader().setDefaultSectionSize(ROW)
        ui.valuesTable.horizontalHeader().setStretchLastSection(True)
        ui.crosshairCheckBox.connect("toggled(bool)", self._toggled)
        ui.curveComboBox.connect("activated(int)", self._plot)
        ui.segmentSelector.connect("currentSegmentChanged(QString)", self._segment)

    def results(self, nodes, images):
        """Results (key -> node) and images that are looked at from now on."""
        self._results, self._images = nodes, images

    def follow(self, wanted):
        """Follow the crosshair (as far as the box is ticked), or let go of it and of all nodes."""
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
            self._observed = None
        node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode") if wanted else None
        if node is not None:
            self._observed = node, node.AddObserver(node.CursorPositionModifiedEvent, self._moved)
        if not wanted:
            self._place = None

    def at(self, ras):
        """Show what is at a point (RAS, mm)."""
        self._show(Place(ras))

    def _toggled(self, checked):
        if checked:
            self._moved()

    def _moved(self, caller=None, event=None):
        if not self._ui.crosshairCheckBox.checked or self._observed is None or self._ui.lookCollapsibleButton.collapsed:
            return
        ras = [0.0, 0.0, 0.0]
        if self._observed[0].GetCursorPositionRAS(ras):
            self.at(ras)

    def _segment(self, segment):
        node = self._ui.segmentSelector.currentNode()
        if node is not None and segment:
            self._ui.crosshairCheckBox.checked = False
            self._show(Place(None, node, segment))

    def _show(self, place):
        if not self._results:
            return
        self._place = place
        self._list(values_at(place, self._results))
        self._curves = curves_at(place, self._images, self._results)
        combo, titles = self._ui.curveComboBox, [curve.title for curve in self._curves]
        if [combo.itemText(n) for n in range(combo.count)] != titles:
            combo.clear()
            combo.addItems(titles)
        self._plot()

    def _list(self, values):
        table = self._ui.valuesTable
        table.setRowCount(len(values))
        for row, (name, (value, sd)) in enumerate(values.items()):
            display = display_of(name)
            texts = (display.title, display.text(value), display.text(sd) if math.isfinite(sd) else "", display.unit)
            for column, text in enumerate(texts):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()

    def _plot(self, index=0):
        if not self._curves:
            return
        curve = self._curves[max(min(self._ui.curveComboBox.currentIndex, len(self._curves) - 1), 0)]
        curves = {SAMPLES: (curve.x, curve.y), FIT: (curve.fit_x, curve.fit_y)}
        self._plot_of_signal.show(curve.title, curve.x_title, _("signal"), curves)
