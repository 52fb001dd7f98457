"""The preview over the red slice view: recomputed after a parameter or the slice changed, taken away at the end."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import qt
import slicer
import vtk
from slicer.i18n import tr as _

from ..display import display_of
from ..errors import InputError

VIEW = "Red"
DELAY = 300  # ms without a change before it is computed
NAMES = {"R2*": "R2star", "QSM": "Chi"}
MULTI_ECHO = "multi-echo GRE"


class PreviewView:
    """Ties the box `previewCheckBox` to the preview; `request()` gives the Request, `install()` what it needs."""

    def __init__(self, ui, request, install):
        self._ui, self._request, self._install = ui, request, install
        self._preview = self._signature = self._folder = self._node = self._before = self._observed = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY)
        self._timer.connect("timeout()", self.compute)
        ui.previewComboBox.addItems(list(NAMES))
        ui.previewComboBox.connect("currentIndexChanged(int)", self.parametersChanged)
        ui.previewCheckBox.connect("toggled(bool)", self._toggled)

    def parametersChanged(self, index=0):
        """Compute again soon, where the preview is on."""
        if self._ui.previewCheckBox.checked:
            self._timer.start()

    def stop(self):
        """Take the preview away; the view shows what it did before."""
        self._timer.stop()
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
        if self._before is not None:
            composite, volume, opacity = self._before
            composite.SetForegroundVolumeID(volume)
            composite.SetForegroundOpacity(opacity)
        if self._node is not None and self._node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self._node.GetDisplayNode())
            slicer.mrmlScene.RemoveNode(self._node)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._preview = self._signature = self._folder = self._node = self._before = self._observed = None
        self._ui.previewCheckBox.checked = False

    def compute(self):
        """Compute and show the slice."""
        widget = _slice_widget()
        if widget is None or not self._ui.previewCheckBox.checked:
            return
        name = NAMES[self._ui.previewComboBox.currentText]
        try:
            request = self._request()
            self._read(request)
            axis, index = _place(widget.mrmlSliceNode(), self._preview.geometry)
            values, geometry = self._preview.slab(name, axis, index, request.settings)
        except InputError as error:
            self._ui.statusLabel.text = _("No preview: {reason}").format(reason=error)
            return
        self._show(widget, name, values, geometry, request)

    def _toggled(self, checked):
        if not checked:
            self.stop()
            return
        widget = _slice_widget()
        if widget is None:
            self._ui.previewCheckBox.checked = False
            self._ui.statusLabel.text = _("There is no red slice view in this layout; choose one that has it.")
            return
        with slicer.util.tryWithErrorDisplay(_("The preview could not be started."), waitCursor=True):
            self._install()
        node = widget.mrmlSliceNode()
        self._observed = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._sliceMoved())
        self._timer.start()

    def _sliceMoved(self):
        if self._node is None or self._preview is None:
            return
        widget = _slice_widget()
        if _place(widget.mrmlSliceNode(), self._preview.geometry) != self._shown:
            self._timer.start()

    def _read(self, request):
        """Read the multi-echo images, unless they are those of the last time."""
        from ..io.bids import read_session
        from ..preview import Preview
        from ..scene.attributes import acquisition_of
        from ..scene.raw import write_raw

        nodes = [node for node in request.nodes if acquisition_of(node).use == MULTI_ECHO]
        if not nodes:
            raise InputError(_("a multi-echo GRE is needed; add one."))
        signature = repr(
            [
                (node.GetID(), node.GetImageData() and node.GetImageData().GetMTime())
                if hasattr(node, "GetImageData")
                else node.GetID()
                for node in nodes
            ]
        ) + repr([acquisition_of(node) for node in nodes])
        if signature == self._signature:
            return
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = tempfile.mkdtemp(prefix="qmri-preview-")
        raw = write_raw(nodes, Path(self._folder), "preview", field_strength=request.field_strength)
        self._preview, self._signature = Preview(read_session(raw.folder, "preview")), signature

    def _show(self, widget, name, values, geometry, request):
        composite, self._shown = widget.mrmlSliceCompositeNode(), _place(widget.mrmlSliceNode(), self._preview.geometry)
        if self._before is None:
            self._before = composite, composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()
        if self._node is None or self._node.GetScene() is None:
            self._node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", _("QMRI preview"))
            self._node.SetSaveWithScene(False)
            self._node.CreateDefaultDisplayNodes()
            self._node.GetDisplayNode().SetSaveWithScene(False)
        slicer.util.updateVolumeFromArray(self._node, values)
        self._node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
        shown = self._node.GetDisplayNode()
        shown.AutoWindowLevelOff()
        shown.SetWindowLevelMinMax(*display_of(name, request.field_strength).window)
        composite.SetForegroundVolumeID(self._node.GetID())
        composite.SetForegroundOpacity(1.0)


def _slice_widget():
    manager = slicer.app.layoutManager()
    return manager.sliceWidget(VIEW) if manager is not None else None


def _place(slice_node, geometry):
    """Axis of [k, j, i] that the view looks along, and the slice that it shows."""
    to_ras = slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())
    columns = geometry.ijk_to_ras[:3, :3] / np.linalg.norm(geometry.ijk_to_ras[:3, :3], axis=0)
    axis = 2 - int(np.argmax(np.abs(columns.T @ to_ras[:3, 2])))
    ijk = np.linalg.solve(geometry.ijk_to_ras, np.append(to_ras[:3, 3], 1.0))[:3]
    # the centre of the view may lie beside the volume; along the axis it looks along only its distance counts
    return axis, round(float(ijk[2 - axis]))
