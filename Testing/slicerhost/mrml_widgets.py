"""Stand-ins for the MRML widgets that the .ui files use, on the real scene; published on `slicer`.

Only Qt properties, slots, signals and invokable methods of the C++ classes exist here.
"""

import weakref

from PySide6 import QtWidgets
from PySide6.QtCore import Signal

from .ctk_widgets import empty_class, stored
from .plot_view import qMRMLPlotView


def widgets():
    """Name -> class of every stand-in that a .ui file may use."""
    kinds = (qMRMLWidget, qMRMLNodeComboBox, qMRMLSegmentSelectorWidget)
    return {kind.__name__: kind for kind in kinds}


def only_from_python():
    """Name -> class of what no plugin of Qt Designer makes, and empty classes of what Slicer's own files list."""
    names = ("qMRMLRangeWidget", "qMRMLSliderWidget", "qMRMLSpinBox", "qSlicerWidget")
    return {name: empty_class(name) for name in names} | {"qMRMLPlotView": qMRMLPlotView}


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that knows the scene and tells its children."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = {"mrmlSceneChanged": ["vtkMRMLScene*"]}  # noqa: RUF012  # read only

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """The nodes of given classes that are in the scene, in a combo box.

    As in Slicer, the first node is picked by itself only where neither "None" nor another extra row exists.
    """

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    SIGNALS = {  # noqa: RUF012  # read only
        "currentNodeChanged": ["vtkMRMLNode*", "bool"],
        "currentNodeIDChanged": ["QString"],
    }
    nodeTypes = stored("nodeTypes", (), "_refresh")
    hideChildNodeTypes = stored("hideChildNodeTypes", (), "_refresh")
    showChildNodeTypes = stored("showChildNodeTypes", True, "_refresh")
    showHidden = stored("showHidden", False, "_refresh")
    noneEnabled = stored("noneEnabled", False, "_refresh")
    noneDisplay = stored("noneDisplay", "None", "_refresh")
    addEnabled = stored("addEnabled", True)
    removeEnabled = stored("removeEnabled", True)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._nodes, self._current, self._tags = None, [], None, []
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._combo.setMinimumContentsLength(8)
        self._combo.activated.connect(self._activated)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        self.setEnabled(False)

    @property
    def currentNodeID(self):
        return self._current.GetID() if self._current is not None else ""

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        if scene is self._scene:
            return
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent, scene.EndCloseEvent)
            self._tags = [_observe(scene, event, self) for event in events]
        self._refresh()
        self.setEnabled(scene is not None)

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        self._select(node if any(n is node for n in self._nodes) else None)

    def setCurrentNodeID(self, nodeID):
        self.setCurrentNode(self._scene.GetNodeByID(nodeID) if self._scene is not None else None)

    def nodeCount(self):
        return len(self._nodes)

    def _accepts(self, node):
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        for kind in self.nodeTypes:
            exact = self.showChildNodeTypes or node.GetClassName() == kind
            if node.IsA(kind) and exact and not any(node.IsA(hidden) for hidden in self.hideChildNodeTypes):
                return True
        return False

    def _refresh(self):
        scene = self._scene
        nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())] if scene is not None else []
        before, self._nodes = self._nodes, [node for node in nodes if self._accepts(node)]
        self._combo.blockSignals(True)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in self._nodes:
            self._combo.addItem(node.GetName() or "", node.GetID())
        self._combo.blockSignals(False)
        extra_rows = self.noneEnabled or self.addEnabled or self.removeEnabled
        if self._current is not None and not any(n is self._current for n in self._nodes):
            self._select(self._nodes[-1] if self._nodes and not self.noneEnabled else None)
        elif self._current is None and self._nodes and not before and not extra_rows:
            self._select(self._nodes[0])
        self._show()

    def _show(self):
        row = next((i for i, n in enumerate(self._nodes) if n is self._current), -1)
        self._combo.setCurrentIndex(row + int(self.noneEnabled))

    def _select(self, node):
        changed, self._current = node is not self._current, node
        self._show()
        if changed:
            self.currentNodeChanged[object].emit(node)
            self.currentNodeChanged[bool].emit(node is not None)
            self.currentNodeIDChanged.emit(self.currentNodeID)

    def _activated(self, row):
        """The user picked a row."""
        self.setCurrentNodeID(self._combo.itemData(row))


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """A segmentation, and one of its segments."""

    currentNodeChanged = Signal(object)
    currentSegmentChanged = Signal(str)
    SIGNALS = {  # noqa: RUF012  # read only
        "currentNodeChanged": ["vtkMRMLNode*"],
        "currentSegmentChanged": ["QString"],
    }
    noneEnabled = stored("noneEnabled", False)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._nodes, self._segments = qMRMLNodeComboBox(self), QtWidgets.QComboBox(self)
        self._nodes.nodeTypes, self._nodes.noneEnabled = ("vtkMRMLSegmentationNode",), True
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nodes)
        layout.addWidget(self._segments)
        self._nodes.currentNodeChanged.connect(self._node_changed)
        self._segments.currentIndexChanged.connect(lambda row: self.currentSegmentChanged.emit(self.currentSegmentID()))

    def setMRMLScene(self, scene):
        super().setMRMLScene(scene)
        self._nodes.setMRMLScene(scene)

    def currentNode(self):
        return self._nodes.currentNode()

    def setCurrentNode(self, node):
        self._nodes.setCurrentNode(node)

    def currentSegmentID(self):
        return self._segments.currentData or ""

    def setCurrentSegmentID(self, segment):
        self._segments.setCurrentIndex(self._segments.findData(segment))

    def _node_changed(self, node):
        self._segments.clear()
        segmentation = node.GetSegmentation() if node is not None else None
        for n in range(segmentation.GetNumberOfSegments() if segmentation is not None else 0):
            self._segments.addItem(segmentation.GetNthSegment(n).GetName(), segmentation.GetNthSegmentID(n))
        self.currentNodeChanged.emit(node)


def _observe(scene, event, widget):
    """Refresh the widget on a scene event without keeping it alive; returns the tag."""
    reference = weakref.ref(widget)

    def callback(caller, event_name):
        target = reference()
        if target is not None and not caller.IsBatchProcessing():
            target._refresh()

    return scene.AddObserver(event, callback)
