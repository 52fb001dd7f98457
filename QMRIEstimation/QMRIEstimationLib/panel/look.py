"""Look closer: signal, fitted curve and values where the crosshair is, or over a segment."""

import math

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from ..display import display_of
from ..scene.signals import Place, curves_at, values_at

ROW = 22  # pixels
SAMPLES, FIT, X = "measured", "fitted", "x"
MEASURED_COLOR, FITTED_COLOR = (0.0, 0.45, 0.70), (0.84, 0.37, 0.0)


class Look:
    """Plots and lists what is at a place; nothing of it is saved with the scene."""

    def __init__(self, ui):
        self._ui, self._images, self._results, self._place, self._curves = ui, [], {}, None, []
        self._observed, self._chart, self._plot_view = None, {}, None
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
        chart = self._chart_nodes()
        _fill(chart[SAMPLES], curve.x, curve.y)
        _fill(chart[FIT], curve.fit_x, curve.fit_y)
        chart["chart"].SetTitle(curve.title)
        chart["chart"].SetXAxisTitle(curve.x_title)
        chart["chart"].SetYAxisTitle(_("signal"))
        self._plot_view.fitToContent()

    def _chart_nodes(self):
        """Tables, series and chart of the plot, made once a scene; hidden and not saved."""
        if self._chart and self._chart["chart"].GetScene() is not None:
            return self._chart
        chart = _hidden("vtkMRMLPlotChartNode", "QMRI signal")
        chart.SetLegendVisibility(True)
        for name, color in ((SAMPLES, MEASURED_COLOR), (FIT, FITTED_COLOR)):
            table = _hidden("vtkMRMLTableNode", f"QMRI signal, {name}")
            series = _hidden("vtkMRMLPlotSeriesNode", name)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName(X)
            series.SetYColumnName(name)
            series.SetPlotType(series.PlotTypeScatter)
            series.SetColor(*color)
            series.SetLineStyle(series.LineStyleNone if name == SAMPLES else series.LineStyleSolid)
            series.SetMarkerStyle(series.MarkerStyleCircle if name == SAMPLES else series.MarkerStyleNone)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
            self._chart[name] = table
        view = _hidden("vtkMRMLPlotViewNode", "QMRI signal")
        view.SetPlotChartNodeID(chart.GetID())
        if self._plot_view is None:  # no plugin of Qt Designer makes it, and without a plot none is needed
            self._plot_view = slicer.qMRMLPlotView()
            self._plot_view.setMRMLScene(slicer.mrmlScene)
            self._ui.plotHolder.layout().addWidget(self._plot_view)
        self._plot_view.setMRMLPlotViewNode(view)
        self._chart["chart"] = chart
        return self._chart


def _hidden(kind, name):
    node = slicer.mrmlScene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    if kind == "vtkMRMLPlotViewNode":
        node.SetSingletonTag("QMRIEstimation")
    return slicer.mrmlScene.AddNode(node)


def _fill(table, x, y):
    name = table.GetName().rpartition(", ")[2]
    was_modifying = table.StartModify()
    table.RemoveAllColumns()
    for title, values in ((X, x), (name, y)):
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        for value in values:
            column.InsertNextValue(float(value))
        table.AddColumn(column)
    table.EndModify(was_modifying)
