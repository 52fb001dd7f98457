"""The panel of QMRIEstimation: its widgets tied to its parts, and what the buttons do."""

import tomllib
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from ..display import display_of
from ..errors import InputError
from ..presets import HELP, merged
from ..scene import wish
from ..scene.attributes import PREFIX, acquisition_of
from ..scene.record import results_in
from ..scene.sources import describe
from .image_table import ImageTable
from .look import Look
from .parameter_table import ParameterTable
from .preview_view import PreviewView
from .run_control import RunControl
from .side_by_side import SideBySide

BOXES = {"R1": "r1CheckBox", "R2": "r2CheckBox", "R2star": "r2starCheckBox", "PD": "pdCheckBox", "Chi": "chiCheckBox"}
RESEARCH = "Research"


class EstimationPanel:
    """What happens when something is clicked; computes nothing itself.

    `show(parameters)` ties the panel to a parameter node (None: to nothing); `refresh()` shows what changed in it.
    """

    def __init__(self, ui, logic, requirements):
        self.ui, self.logic, self._requirements = ui, logic, requirements
        self._parameters, self._refreshing, self._nodes, self._preset = None, False, {}, None
        self.images = ImageTable(ui.imagesTable, self.refresh)
        self.advanced = ParameterTable(ui.parametersTable, self._change)
        self.run = RunControl(ui, self._finished, self.refresh)
        self.views, self.look = SideBySide(), Look(ui)
        self.preview = PreviewView(ui, self._request, self._install)
        for button, slot in (
            (ui.loadBidsButton, self.loadBids),
            (ui.loadDicomButton, self.loadDicom),
            (ui.addButton, self.add),
            (ui.addAllButton, self.addAll),
            (ui.removeButton, self.remove),
            (ui.resetButton, self.reset),
            (ui.copyCommandButton, self.copyCommand),
            (ui.copySettingsButton, self.copySettings),
            (ui.exportNiftiButton, self.exportNifti),
            (ui.exportDicomButton, self.exportDicom),
            (ui.applyButton, self.apply),
        ):
            button.connect("clicked(bool)", slot)
        # The wrapper binds a path line to pathlib.Path alone, which shows "no folder" as "."
        ui.outputPathLineEdit.connect("currentPathChanged(QString)", self._setOutput)
        ui.sideBySideButton.connect("toggled(bool)", self.showSideBySide)
        ui.advancedCollapsibleButton.connect("contentsCollapsed(bool)", self._showAdvanced)

    def show(self, parameters):
        """Tie the panel to another parameter node, or to none."""
        self._parameters = parameters
        self._nodes = {}
        self._preset = parameters.preset if parameters is not None else None
        self.look.follow(parameters is not None)
        if parameters is None:
            self.preview.stop()
        else:
            self.refresh()

    def stop(self):
        """End everything that goes on: the scene is closed."""
        self.run.cancel()
        self.preview.stop()
        self.ui.sideBySideButton.checked = False
        self._nodes = {}

    def close(self):
        """The module is unloaded."""
        self.stop()
        self.look.follow(False)

    def refresh(self):
        """Show the parameters, the images and what is possible with them."""
        if self._parameters is None or self._refreshing:
            return
        self._refreshing = True
        try:
            self._follow_preset()
            if self.ui.outputPathLineEdit.currentPath != self._parameters.outputFolder:
                self.ui.outputPathLineEdit.currentPath = self._parameters.outputFolder
            images = wish.images_of(self._parameters)
            self.images.show(images)
            self._show_possible()
            self._show_results()
            self._show_state()
            if not self.ui.advancedCollapsibleButton.collapsed:
                self._showAdvanced()
        finally:
            self._refreshing = False
        self.preview.parametersChanged()

    def forgetRemoved(self):
        """Show the table anew where one of its images is no longer in the scene."""
        if any(node.GetScene() is None for node in self.images.nodes):
            self.refresh()

    def loadBids(self, checked=False):
        with self._reported(_("The subject could not be loaded.")):
            self._install()
            from ..scene.loading import load_bids

            wish.take_subject(self._parameters, *load_bids(self._folder(), slicer.mrmlScene))

    def loadDicom(self, checked=False):
        with self._reported(_("The folder could not be loaded.")):
            self._install()
            from ..scene.loading import load_dicom

            images, notes = load_dicom(self._folder(), slicer.mrmlScene, self._progress)
            wish.set_images(self._parameters, [*wish.images_of(self._parameters), *images])
            self.ui.detailsTextEdit.plainText = "\n".join(f"- {note}" for note in notes)

    def add(self, checked=False):
        node = self.ui.imageSelector.currentNode()
        if node is not None:
            self._add([node])

    def addAll(self, checked=False):
        kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLSequenceNode")
        nodes = [node for kind in kinds for node in slicer.util.getNodesByClass(kind)]
        shown = _proxies()  # a volume that shows one image of a sequence is no image of its own
        self._add([node for node in nodes if _is_image(node) and node.GetID() not in shown])

    def remove(self, checked=False):
        gone = {node.GetID() for node in self.images.selected()}
        left = [node for node in wish.images_of(self._parameters) if node.GetID() not in gone]
        wish.set_images(self._parameters, left)
        self.refresh()

    def reset(self, checked=False):
        self._parameters.changes = ""

    def copyCommand(self, checked=False):
        self._copy("command_of", _("The command is in the clipboard."))

    def copySettings(self, checked=False):
        self._copy("settings_text", _("The settings are in the clipboard."))

    def exportNifti(self, checked=False):
        self._export(lambda export, results, folder: export.export_nifti(results, folder))

    def exportDicom(self, checked=False):
        self._export(lambda export, results, folder: export.export_dicom(results, folder, self.images.nodes))

    def showSideBySide(self, shown):
        if shown:
            maps = {key: node for key, node in self._results().items() if key in BOXES}
            self.views.show({display_of(key).title: node for key, node in maps.items()})
        else:
            self.views.restore()

    def apply(self, checked=False):
        with self._reported(_("The maps could not be made.")):
            self._install()
            from ..scene.run import SceneRun

            self.ui.statusLabel.text = _("Handing the images over ...")
            slicer.app.processEvents()
            self.run.start(SceneRun(self._request()))

    def _request(self):
        return wish.request_of(self._parameters)

    def _add(self, nodes):
        for node in nodes:
            describe(node)
        wish.set_images(self._parameters, [*wish.images_of(self._parameters), *nodes])
        self.refresh()

    def _finished(self, nodes):
        self._nodes = nodes
        self.refresh()
        self.look.results(nodes, self.images.nodes)

    def _setOutput(self, path):
        if self._parameters is not None and path != self._parameters.outputFolder:
            self._parameters.outputFolder = path

    def _follow_preset(self):
        """A preset says whether images are denoised; the user may tick the box otherwise afterwards."""
        if self._parameters.preset != self._preset:
            self._preset = self._parameters.preset
            self._parameters.denoise = self._preset.value == RESEARCH
        self.ui.presetComboBox.toolTip = _(HELP[self._preset.value])

    def _show_possible(self):
        reasons = wish.possible(self._parameters)
        for name, box in BOXES.items():
            widget = getattr(self.ui, box)
            widget.enabled = not reasons[name]
            widget.toolTip = reasons[name] or _("Make this map, with its standard deviation.")

    def _show_results(self):
        names = sorted(results_in(slicer.mrmlScene))
        combo = self.ui.exportComboBox
        if [combo.itemText(n) for n in range(combo.count)] != names:
            combo.clear()
            combo.addItems(names)
        for widget in (combo, self.ui.exportNiftiButton, self.ui.exportDicomButton, self.ui.sideBySideButton):
            widget.enabled = bool(names)
        if names and not self._nodes:
            self._nodes = self._results()
        self.look.results(self._nodes, self.images.nodes)

    def _results(self):
        return results_in(slicer.mrmlScene).get(self.ui.exportComboBox.currentText, {})

    def _show_state(self):
        """Enable Apply, or say in its tooltip what is missing."""
        running = self.run.running
        problem = _("The maps are being made.") if running else wish.problem(self._parameters)
        self.ui.applyButton.enabled = not problem
        self.ui.applyButton.toolTip = problem or _("Make the maps in a folder of the scene.")
        self.ui.cancelButton.enabled = running
        self.ui.progressBar.visible = running
        if not running:
            names = ", ".join(self.ui.__dict__[BOXES[name]].text for name in wish.wanted(self._parameters))
            self.ui.statusLabel.text = problem or _("Ready: {names}.").format(names=names)

    def _showAdvanced(self, collapsed=False):
        if collapsed or self._parameters is None:
            return
        try:
            usual = wish.settings_of(self._parameters, with_changes=False)
            settings = wish.settings_of(self._parameters)
        except ImportError as error:  # numba or nibabel: nothing is installed without the user's Apply
            self.ui.advancedLabel.text = _("{name} must be installed first; press Apply.").format(name=error.name)
            return
        except InputError as error:
            self.ui.advancedLabel.text = str(error)
            return
        self.ui.advancedLabel.text = _("Hover over a line for its meaning and range.")
        self.advanced.show(settings, usual, wish.wanted(self._parameters) or tuple(BOXES))

    def _change(self, path, value):
        """Keep an advanced parameter; None puts the preset's back."""
        from ..parameters import toml_text

        self._parameters.changes = toml_text(merged(tomllib.loads(self._parameters.changes), path, value))

    def _install(self):
        """Install what the engine needs beyond Slicer's own packages, after asking; only when it is needed."""
        from ..slicer_packages import ensure_packages

        ensure_packages(self._requirements, _("QMRI Estimation"))

    def _folder(self):
        text = self.ui.folderPathLineEdit.currentPath
        if not text:
            raise InputError(_("No folder is chosen; choose that of the subject, or of the DICOM files."))
        return Path(text)

    def _copy(self, what, text):
        with self._reported(_("Nothing could be copied.")):
            from ..scene import run

            qt.QApplication.clipboard().setText(getattr(run, what)(self._request()))
            self.ui.statusLabel.text = text

    def _export(self, write):
        with self._reported(_("The maps could not be exported.")):
            self._install()
            from ..scene import export

            if not self._parameters.outputFolder:
                raise InputError(_("No folder is chosen; enter one under 'Keep files in'."))
            count = write(export, self._results(), Path(self._parameters.outputFolder))
            self.ui.statusLabel.text = _("{count} files were written.").format(count=count)

    def _progress(self, fraction, text):
        self.ui.statusLabel.text = f"{100 * fraction:.0f} % {text}"
        slicer.app.processEvents()

    def _reported(self, text):
        return _Reported(self.ui.statusLabel, text)


class _Reported:
    """Shows a sentence of the engine in the panel; anything else is a bug and shown with its details by Slicer."""

    def __init__(self, label, text):
        self._label, self._display = label, slicer.util.tryWithErrorDisplay(text, waitCursor=True)

    def __enter__(self):
        self._display.__enter__()

    def __exit__(self, kind, error, traceback):
        if isinstance(error, InputError):
            self._display.__exit__(None, None, None)
            self._label.text = str(error)
            return True
        return self._display.__exit__(kind, error, traceback)


def _proxies():
    """IDs of the volumes through which sequences are seen."""
    found = set()
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        for sequence in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
            proxy = browser.GetProxyNode(sequence)
            found |= {proxy.GetID()} if proxy is not None else set()
    return found


def _is_image(node):
    """Whether a node of the scene may be a scan: no label map, no colours, no result, not hidden."""
    other = node.IsA("vtkMRMLLabelMapVolumeNode") or node.IsA("vtkMRMLVectorVolumeNode")
    if other or node.GetHideFromEditors() or node.GetAttribute(PREFIX + "Output"):
        return False
    return acquisition_of(node).frames > 0
