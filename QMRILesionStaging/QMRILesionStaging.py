"""Slicer module: staging of white-matter lesions in multiple sclerosis; so far it selects its inputs only."""

import logging

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
    """Maps and lesions of the scene to staged lesions in the scene; no widgets here, and no questions to the user."""

    def getParameterNode(self):
        return QMRILesionStagingParameterNode(super().getParameterNode())

    def missingInputs(self, parameters):
        """Names of the inputs that are not selected."""
        names = {_("QSM map"): parameters.chi, _("R2* map"): parameters.r2star, _("lesion mask"): parameters.lesions}
        return [name for name, node in names.items() if node is None]

    def process(
        self,
        chi,
        lesions,
        r2star=None,
        r1=None,
        r2=None,
        pd=None,
        tissue=None,
        before=None,
        after=None,
        enhancing=None,
        fieldStrength=None,
        options=None,
        progress=None,
        cancelled=None,
    ):
        """Stage the lesions and put them into the scene of the lesions' node.

        Args:
            chi, r2star, r1, r2, pd: scalar volumes of the maps, None where there is none.
            lesions: label map, volume or segmentation; see QMRILesionStagingLib.mrml_input.
            tissue: label map with a colour table that names white and gray matter and fluid, or None.
            before, after: T1-weighted volumes (or R1 maps) before and after gadolinium, or None.
            enhancing: mask or segmentation of enhancement that was drawn, which counts instead of images; or None.
            fieldStrength: T; None to read it from the maps.
            options: QMRILesionStagingLib.options.StagingOptions; None for the defaults.
            progress, cancelled: optional callbacks, progress(fraction, text) and cancelled().
        Returns:
            `lesions` (segmentation), `table`, `Chi profiles`, `Chi chart`, ... -> node, in a new folder.
        Raises:
            InputError: the nodes do not allow it. Cancelled. After any error the scene is as it was.
        """
        from QMRIEstimationLib.errors import check_cancelled
        from QMRILesionStagingLib.mrml_input import staging_input_from_nodes
        from QMRILesionStagingLib.mrml_results import add_staging
        from QMRILesionStagingLib.options import StagingOptions
        from QMRILesionStagingLib.staging import stage_lesions

        maps = {"Chi": chi, "R2star": r2star, "R1": r1, "R2": r2, "PD": pd}
        given, notes = staging_input_from_nodes(maps, lesions, tissue, before, after, enhancing, fieldStrength)
        staging = stage_lesions(given, options or StagingOptions(), progress, cancelled)
        check_cancelled(cancelled)
        nodes = add_staging(staging, given, lesions.GetScene(), lesions.GetName())
        for note in (*notes, *staging.notes):
            logging.info(note)
        return nodes


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
