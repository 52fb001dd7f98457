"""Slice views rendered off screen by the real slice logic and displayable managers of slicer-core, and their layout.

The light box of CTK is missing in slicer-core; an image mapper stands in for it. Two-dimensional props are drawn in the
order in which they were added, so the image of the slice is added before the displayable managers.
"""

import xml.etree.ElementTree as ET

import numpy as np
import slicer_core
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
SMALLEST = 64  # pixels
CONVENTIONAL = 2  # number of a layout with the red, green and yellow view


class qMRMLSliceView(QtWidgets.QLabel):
    """The picture of one slice view."""

    SIGNALS = {}  # noqa: RUF012  # read only

    def __init__(self, name, scene, application_logic, parent=None):
        super().__init__(parent)
        self.setMinimumSize(SMALLEST, SMALLEST)
        self._mapper, self._actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._window, self._renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.AddRenderer(self._renderer)
        self._renderer.AddViewProp(self._actor)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        factory = slicer_core.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application_logic)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._group = slicer_core.vtkMRMLDisplayableManagerGroup()
        self._group.SetRenderer(self._renderer)
        self._group.Initialize(factory, self._renderer)
        self._logic = slicer_core.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(scene)
        self._node = scene.GetSingletonNode(name, "vtkMRMLSliceNode") or self._logic.AddSliceNode(name)
        self._logic.SetSliceNode(self._node)
        self._node.SetMappedInLayout(1)
        self._group.SetMRMLDisplayableNode(self._node)

    def close(self):
        """Let go of the scene."""
        self._group.SetMRMLDisplayableNode(None)
        self._logic.SetMRMLScene(None)

    def sliceLogic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._node

    def forceRender(self):
        """Draw the view in the size that the widget has."""
        width, height = max(self.width, SMALLEST), max(self.height, SMALLEST)
        self._window.SetSize(width, height)
        self._logic.ResizeSliceNode(width, height)
        self._logic.UpdatePipeline()
        connection = self._logic.GetImageDataConnection()
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        self._window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.ReadFrontBufferOff()
        grab.Update()
        values = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars()).reshape(height, width, 3)
        pixels = np.ascontiguousarray(values[::-1])
        image = QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format_RGB888)
        self.setPixmap(QtGui.QPixmap.fromImage(image.copy()))


class qMRMLSliceWidget(QtWidgets.QWidget):
    """A slice view under its coloured bar."""

    SIGNALS = {}  # noqa: RUF012  # read only

    def __init__(self, element, scene, application_logic):
        super().__init__()
        name = element.get("singletontag")
        values = {p.get("name"): p.text or "" for p in element.iter("property")}
        self._view = qMRMLSliceView(name, scene, application_logic, self)
        node = self._view.mrmlSliceNode()
        node.SetOrientation(values.get("orientation", "Axial"))
        node.SetLayoutLabel(values.get("viewlabel", name))
        bar = QtWidgets.QLabel(f"  {node.GetLayoutLabel()}", self)
        bar.setStyleSheet(f"background: {values.get('viewcolor', '#808080')}; color: black; padding: 1px")
        bar.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar)
        layout.addWidget(self._view, 1)

    def sliceView(self):
        return self._view

    def sliceLogic(self):
        return self._view.sliceLogic()

    def mrmlSliceNode(self):
        return self._view.mrmlSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._view.sliceLogic().GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self._view.forceRender()
        self.sliceLogic().FitSliceToBackground()


class qSlicerLayoutManager(QtCore.QObject):
    """The views of the layout that the layout node describes; views once made are kept."""

    layoutChanged = QtCore.Signal(int)
    SIGNALS = {"layoutChanged": ["int"]}  # noqa: RUF012  # read only

    def __init__(self, scene, application_logic):
        super().__init__()
        self._scene, self._application, self._widgets = scene, application_logic, {}
        self._logic = slicer_core.vtkMRMLLayoutLogic()
        self._logic.SetMRMLScene(scene)
        self._viewport = QtWidgets.QWidget()
        QtWidgets.QGridLayout(self._viewport).setContentsMargins(0, 0, 0, 0)
        self.setLayout(CONVENTIONAL)

    @property
    def layout(self):
        return self._logic.GetLayoutNode().GetViewArrangement()

    @layout.setter
    def layout(self, number):
        self.setLayout(number)

    def layoutLogic(self):
        return self._logic

    def viewport(self):
        return self._viewport

    def setLayout(self, number):
        node = self._logic.GetLayoutNode()
        node.SetViewArrangement(number)
        grid = self._viewport.layout()
        for widget in self._widgets.values():
            grid.removeWidget(widget)
            widget.hide()
        root = ET.fromstring(node.GetLayoutDescription(number))
        rows = list(root.findall("item")) if root.get("type") == "vertical" else [root]
        self._shown = []
        for row, item in enumerate(rows):
            views = [view for view in item.iter("view") if view.get("class") == "vtkMRMLSliceNode"]
            for column, view in enumerate(views):
                name = view.get("singletontag")
                if name not in self._widgets:
                    self._widgets[name] = qMRMLSliceWidget(view, self._scene, self._application)
                grid.addWidget(self._widgets[name], row, column)
                self._widgets[name].show()
                self._shown.append(name)
        self.layoutChanged.emit(number)

    def sliceViewNames(self):
        return tuple(self._shown)

    def sliceWidget(self, name):
        return self._widgets.get(name)

    def resetSliceViews(self):
        for name in self._shown:
            self._widgets[name].fitSliceToBackground()


def open_views(logic):
    """Give the application a layout manager with real slice views; returns it."""
    import slicer

    if slicer.app._layout_manager is None:
        if logic.GetSliceLogics() is None:
            logic.SetSliceLogics(vtk.vtkCollection())
        slicer.app._layout_manager = qSlicerLayoutManager(slicer.mrmlScene, logic)
    return slicer.app._layout_manager


def close_views(logic):
    """As with --no-main-window: no layout manager, and no view that looks at the scene."""
    import slicer

    manager, slicer.app._layout_manager = slicer.app._layout_manager, None
    if manager is not None:
        for widget in manager._widgets.values():
            logic.GetSliceLogics().RemoveItem(widget.sliceLogic())
            widget.sliceView().close()


def grab_window(panel, path, width, height, panel_width, fit):
    """Save a picture of the window: a panel beside the views of the layout, fitted to their images or as they are."""
    import slicer

    manager = slicer.app.layoutManager()
    window = QtWidgets.QWidget()
    row = QtWidgets.QHBoxLayout(window)
    row.setContentsMargins(0, 0, 0, 0)
    parent, area = panel.parentWidget(), QtWidgets.QScrollArea(window)
    area.setWidget(panel)
    area.setWidgetResizable(True)
    area.setFixedWidth(panel_width)
    row.addWidget(area)
    row.addWidget(manager.viewport(), 1)
    window.resize(width, height)
    window.show()
    slicer.app.processEvents()
    for name in manager.sliceViewNames():
        if fit:
            manager.sliceWidget(name).fitSliceToBackground()
        manager.sliceWidget(name).sliceView().forceRender()
    slicer.app.processEvents()
    saved = window.grab().save(str(path))
    area.takeWidget()
    panel.setParent(parent)
    manager.viewport().setParent(None)
    if not saved:
        raise OSError(f"{path} could not be written.")
