"""A stand-in for qMRMLPlotView: draws the chart of its plot view node with a painter, well enough to be judged."""

import math

from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

MARGIN = (60, 28, 12, 40)  # left, top, right, bottom, pixels
TICKS = 5


class qMRMLPlotView(QtWidgets.QWidget):
    """Points and lines of every series of the chart; only slots of the C++ class exist here."""

    SIGNALS = {}  # noqa: RUF012  # read only

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._node, self._limits = None, None, None

    def setMRMLScene(self, scene):
        self._scene = scene

    def setMRMLPlotViewNode(self, node):
        self._node = node
        self.update()

    def fitToContent(self):
        self.update()

    def _series(self):
        """(x, y, colour, whether a line, name) of each series that has values."""
        chart = self._node.GetPlotChartNode() if self._node is not None else None
        for n in range(chart.GetNumberOfPlotSeriesNodes() if chart is not None else 0):
            series = chart.GetNthPlotSeriesNode(n)
            table = series.GetTableNode().GetTable() if series.GetTableNode() is not None else None
            columns = [table.GetColumnByName(c) for c in (series.GetXColumnName(), series.GetYColumnName())]
            if None in columns or not columns[0].GetNumberOfValues():
                continue
            x, y = (vtk_to_numpy(column) for column in columns)
            color = QtGui.QColor.fromRgbF(*series.GetColor())
            yield x, y, color, series.GetLineStyle() != series.LineStyleNone, series.GetName()

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        painter.fillRect(self.rect, QtGui.QColor("white"))
        series = list(self._series())
        values = [(x, y) for xs, ys, *_ in series for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
        if not values:
            return
        left, top, right, bottom = MARGIN
        box = QtCore.QRectF(left, top, self.width - left - right, self.height - top - bottom)
        x0, x1 = min(v[0] for v in values), max(v[0] for v in values)
        y0, y1 = min(0, *(v[1] for v in values)), 1.05 * max(v[1] for v in values)

        def point(x, y):
            across, up = (x - x0) / (x1 - x0 or 1), (y - y0) / (y1 - y0 or 1)
            return QtCore.QPointF(box.left() + across * box.width(), box.bottom() - up * box.height())

        self._axes(painter, box, (x0, x1, y0, y1), point)
        for number, (x, y, color, line, name) in enumerate(series):
            points = [point(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
            painter.setPen(QtGui.QPen(color, 2))
            if line:
                painter.drawPolyline(QtGui.QPolygonF(points))
            else:
                painter.setBrush(color)
                for p in points:
                    painter.drawEllipse(p, 3.5, 3.5)
                painter.setBrush(QtCore.Qt.NoBrush)
            painter.drawText(QtCore.QPointF(box.right() - 80, box.top() + 14 * (number + 1)), name)

    def _axes(self, painter, box, limits, point):
        chart, (x0, x1, y0, y1) = self._node.GetPlotChartNode(), limits
        painter.setPen(QtGui.QColor("black"))
        painter.drawRect(box)
        for n in range(TICKS + 1):
            x, y = x0 + n * (x1 - x0) / TICKS, y0 + n * (y1 - y0) / TICKS
            painter.drawText(QtCore.QRectF(point(x, y0).x() - 25, box.bottom() + 2, 50, 14), 4, f"{x:.4g}")
            painter.drawText(QtCore.QRectF(0, point(x0, y).y() - 7, box.left() - 4, 14), 2, f"{y:.4g}")
        painter.drawText(QtCore.QRectF(0, 4, self.width, 18), 4, chart.GetTitle() or "")
        painter.drawText(QtCore.QRectF(0, self.height - 18, self.width, 16), 4, chart.GetXAxisTitle() or "")
