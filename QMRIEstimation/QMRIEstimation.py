"""Slicer module: R1, R2, R2*, proton-density and susceptibility maps, with uncertainty, from loaded scans."""

import enum
import importlib
import logging
import sys
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

HELP_URL = "https://github.com/QuantitativeMRI/SlicerQuantitativeMRI#qmriestimation"


class QMRIEstimation(ScriptedLoadableModule):
    """What the module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("QMRI Estimation")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = []
        self.parent.contributors = ["The QuantitativeMRI developers"]
        self.parent.helpText = _(
            "Estimates R1, R2, R2*, proton density and susceptibility (QSM) maps, each with its standard deviation, "
            'from scans as the scanner wrote them. Research use only. See the <a href="{url}">documentation</a>.'
        ).format(url=HELP_URL)
        self.parent.acknowledgementText = _(
            "Every method names the paper it implements, in the attributes of the map that it made."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the digital patient in the module Sample Data."""
    from QMRIEstimationLib.panel.sample_data import register

    register()


class Preset(enum.Enum):
    """Named sets of parameters; see QMRIEstimationLib.presets."""

    STANDARD = "Standard"
    FAST = "Fast"
    RESEARCH = "Research"

    def label(self):
        return _(self.value)


@parameterNodeWrapper
class QMRIEstimationParameterNode:
    """What the panel knows; the images are node references of the role `image`.

    subject, session: labels in file names. fieldStrength: T, 0 where the images say it. make...: which maps. denoise:
    the images first. changes: TOML of the parameters that differ from the preset. outputFolder: keeps the files.
    """

    subject: str = "scene"
    session: str = ""
    fieldStrength: Annotated[float, WithinRange(0, 20)] = 0.0
    brainMask: vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode | None
    tissue: vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode | None
    lesions: vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode | None
    makeR1: bool = True
    makeR2: bool = True
    makeR2star: bool = True
    makePD: bool = True
    makeChi: bool = True
    preset: Preset = Preset.STANDARD
    denoise: bool = False
    changes: str = ""
    outputFolder: str = ""


class QMRIEstimationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: it selects, starts, cancels and reports; its parts are in QMRIEstimationLib.panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        from QMRIEstimationLib.panel.estimation_panel import EstimationPanel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/QMRIEstimation.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = QMRIEstimationLogic()
        self.panel = EstimationPanel(self.ui, self.logic, self.resourcePath("requirements_QMRIEstimation.txt"))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved)
        self.initializeParameterNode()

    def cleanup(self):
        if self.panel is not None:
            self.panel.close()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.panel.stop()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        """Also after a scene was read, which brings the content of the parameter node before that of the images."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onNodeRemoved(self, caller, event):
        self.panel.forgetRemoved()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """Show and observe another parameter node, or none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.panel.show(parameterNode)

    def onParametersChanged(self, caller=None, event=None):
        self.panel.refresh()

    def onReload(self):
        """Reload the library as well, so that edits in it take effect."""
        for name in [n for n in sys.modules if n.partition(".")[0] == "QMRIEstimationLib"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)


class QMRIEstimationLogic(ScriptedLoadableModuleLogic):
    """Nodes in, maps as nodes out; needs no panel and asks no question."""

    def getParameterNode(self):
        return QMRIEstimationParameterNode(super().getParameterNode())

    def describe(self, node, **fields):
        """Say what an image is, as attributes of its node; what is not given is looked for in header, sidecar and name.

        Args:
            node: volume (one or several values a voxel) or sequence.
            fields: `Use` and `Part` (see QMRIEstimationLib.scene.uses), and BIDS fields in BIDS units: `EchoTime` and
                `RepetitionTimeExcitation` (s), `FlipAngle` and `SpoilingRFPhaseIncrement` (degrees),
                `MagneticFieldStrength` (T), ...; numbers, or one for each volume of the node.
        """
        from QMRIEstimationLib.scene.attributes import set_value
        from QMRIEstimationLib.scene.sources import describe

        for name, value in fields.items():
            several = isinstance(value, (list, tuple))
            numbers = value if several else [value]
            text = value if isinstance(value, str) else " ".join(f"{float(number):.12g}" for number in numbers)
            set_value(node, name, text, "given")
        describe(node)

    def process(
        self,
        images,
        maps=None,
        settings=None,
        subject="scene",
        session="",
        fieldStrength=None,
        brainMask=None,
        lesions=None,
        tissue=None,
        outputFolder=None,
        progress=None,
        cancelled=None,
    ):
        """Make maps of images and put them into their scene.

        Args:
            images: volume and sequence nodes, described by `describe`.
            maps: names out of R1, R2, R2star, PD and Chi; None for all that the images allow.
            settings: QMRIEstimationLib.settings.Settings; None for the defaults.
            subject, session: labels in file names and of the folder in the scene.
            fieldStrength: T, where the images do not say it.
            brainMask, lesions, tissue: label map or segmentation nodes, or None.
            outputFolder: derivative data set that keeps the files; None for the scene only.
            progress, cancelled: optional callbacks, progress(fraction, text) and cancelled().
        Returns:
            `R2star`, `R2star SD`, `R2star quality`, ..., `brain mask` -> volume node. A second run under the same
            subject and session brings the nodes of the first up to date.
        Raises:
            InputError: the images or parameters do not allow a map.
            Cancelled: the user asked to stop. After any error the scene is as it was.
        """
        from QMRIEstimationLib.scene.run import Request, process
        from QMRIEstimationLib.settings import Settings

        request = Request(
            tuple(images), subject, session, tuple(maps) if maps else None, settings or Settings(), fieldStrength,
            brainMask, lesions, tissue, outputFolder,
        )  # fmt: skip
        nodes, notes = process(request, slicer.mrmlScene, progress, cancelled)
        for note in notes:
            logging.info(note)
        return nodes


class QMRIEstimationTest(ScriptedLoadableModuleTest):
    """Self-test in the application: `Test` in developer mode, or CTest."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_r2starOfAKnownDecay(self):
        """Two cubes that decay with 20 and 40 1/s are found within one percent."""
        import numpy as np

        echoTimes = (0.005, 0.015, 0.025)
        rate = np.full((16, 16, 16), 20.0)
        rate[:, :, 8:] = 40.0
        noise = np.random.default_rng(1).normal(0, 1, (len(echoTimes), *rate.shape))
        logic, volumes = QMRIEstimationLogic(), []
        for n, te in enumerate(echoTimes):
            values = (1000 * np.exp(-te * rate) + noise[n]).astype(np.float32)
            volumes.append(slicer.util.addVolumeFromArray(values, name=f"echo {n + 1}"))
            logic.describe(volumes[-1], Use="multi-echo GRE", EchoTime=te)
        nodes = logic.process(volumes, maps=("R2star",))
        found = slicer.util.arrayFromVolume(nodes["R2star"])
        self.assertAlmostEqual(float(np.median(found[:, :, :8])), 20.0, delta=0.2)
        self.assertAlmostEqual(float(np.median(found[:, :, 8:])), 40.0, delta=0.4)
        self.assertEqual(nodes["R2star"].GetVoxelValueUnits().GetCodeValue(), "/s")
