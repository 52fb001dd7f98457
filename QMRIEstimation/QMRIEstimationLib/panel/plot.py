"""A plot within a panel, on MRML nodes that are hidden and not saved; the user's layout is not touched."""

import slicer
import vtk


class PanelPlot:
    """Curves in a widget of the panel.

    Args:
        holder: QWidget with a layout. tag: singleton tag of the view, one for each panel.
        series: name -> (colour, whether a line, else points).
    """

    def __init__(self, holder, tag, series):
        self._holder, self._tag, self._series = holder, tag, series
        self._view, self._chart, self._tables = None, None, {}

    def show(self, title, x_title, y_title, curves):
        """Draw name -> (x, y); names that are left out are empty."""
        self._make_nodes()
        for name, table in self._tables.items():
            _fill(table, name, *curves.get(name, ((), ())))
        self._chart.SetTitle(title)
        self._chart.SetXAxisTitle(x_title)
        self._chart.SetYAxisTitle(y_title)
        self._view.fitToContent()

    def _make_nodes(self):
        """Tables, series and chart, made once a scene."""
        if self._chart is not None and self._chart.GetScene() is not None:
            return
        self._chart = _hidden("vtkMRMLPlotChartNode", self._tag)
        self._chart.SetLegendVisibility(True)
        for name, (color, line) in self._series.items():
            table = self._tables[name] = _hidden("vtkMRMLTableNode", f"{self._tag} {name}")
            series = _hidden("vtkMRMLPlotSeriesNode", name)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName("x")
            series.SetYColumnName(name)
            series.SetPlotType(series.PlotTypeScatter)
            series.SetColor(*color)
            series.SetLineStyle(series.LineStyleSolid if line else series.LineStyleNone)
            series.SetMarkerStyle(series.MarkerStyleNone if line else series.MarkerStyleCircle)
            self._chart.AddAndObservePlotSeriesNodeID(series.GetID())
        node = _hidden("vtkMRMLPlotViewNode", self._tag, self._tag)
        node.SetPlotChartNodeID(self._chart.GetID())
        if self._view is None:  # no plugin of Qt Designer makes it, and without a plot none is needed
            self._view = slicer.qMRMLPlotView()
            self._view.setMRMLScene(slicer.mrmlScene)
            self._holder.layout().addWidget(self._view)
        self._view.setMRMLPlotViewNode(node)


def _hidden(kind, name, tag=None):
    node = slicer.mrmlScene.CreateNodeByClass(kind)
    node.UnRegister(None)
    node.SetName(name)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    if tag is not None:
        node.SetSingletonTag(tag)
    return slicer.mrmlScene.AddNode(node)


def _fill(table, name, x, y):
    was_modifying = table.StartModify()
    table.RemoveAllColumns()
    for title, values in (("x", x), (name, y)):
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        for value in values:
            column.InsertNextValue(float(value))
        table.AddColumn(column)
    table.EndModify(was_modifying)
