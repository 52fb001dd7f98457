"""Slicer module: staging of white-matter lesions in multiple sclerosis; so far it selects its inputs only."""

import slicer
import vtk
from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

HELP_URL = "https://github.com/QuantitativeMRI/SlicerQuantitativeMRI#qmrilesionstaging"


class QMRILesionStaging(ScriptedLoadableModule):
    """What the module list shows."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("QMRI Lesion Staging")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = ["QMRIEstimation"]
        self.parent.contributors = ["The QuantitativeMRI developers"]
        self.parent.helpText = _(
            "Will stage the white-matter lesions of multiple sclerosis from quantitative maps; in this version the "
            'panel selects its inputs and makes nothing. Research use only. See the <a href="{url}">documentation</a>.'
        ).format(url=HELP_URL)
        self.parent.acknowledgementText = _(
            "The stages and their quantitative signs follow the literature that the documentation lists."
        )


@parameterNodeWrapper
class QMRILesionStagingParameterNode:
    """chi: susceptibility map (ppm). r2star: R2* map (1/s). lesions: mask of the lesions."""

    chi: vtkMRMLScalarVolumeNode | None
    r2star: vtkMRMLScalarVolumeNode | None
    lesions: vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode | None


class QMRILesionStagingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: it selects the inputs and says which are missing."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/QMRILesionStaging.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = QMRILesionStagingLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """Show and observe another parameter node, or none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._showMissing)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._showMissing)
            self._showMissing()

    def _showMissing(self, caller=None, event=None):
        missing = self.logic.missingInputs(self._parameterNode)
        self.ui.statusLabel.text = (
            _("Missing: {names}.").format(names=", ".join(missing)) if missing else _("All inputs are selected.")
        )


class QMRILesionStagingLogic(ScriptedLoadableModuleLogic):
    """So far only the parameter node."""

    def getParameterNode(self):
        return QMRILesionStagingParameterNode(super().getParameterNode())

    def missingInputs(self, parameters):
        """Names of the inputs that are not selected."""
        names = {_("QSM map"): parameters.chi, _("R2* map"): parameters.r2star, _("lesion mask"): parameters.lesions}
        return [name for name, node in names.items() if node is None]


class QMRILesionStagingTest(ScriptedLoadableModuleTest):
    """Self-test in the application: `Test` in developer mode, or CTest."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_missingInputsAreNamed(self):
        logic = QMRILesionStagingLogic()
        parameters = logic.getParameterNode()
        self.assertEqual(len(logic.missingInputs(parameters)), 3)
        parameters.chi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "chi")
        self.assertEqual(len(logic.missingInputs(parameters)), 2)
