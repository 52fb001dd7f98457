"""Slicer module: staging and review of white-matter lesions in multiple sclerosis."""

import enum
import importlib
import logging
import os
import sys
from typing import Annotated

import slicer
import vtk
from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
)
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
            "Stages the white-matter lesions of multiple sclerosis from quantitative maps, finds paramagnetic rims, "
            'and lets a reader review and correct them. Research use only. See the <a href="{url}">documentation</a>.'
        ).format(url=HELP_URL)
        self.parent.acknowledgementText = _(
            "The stages and their quantitative signs follow the literature that the documentation lists."
        )


class Prior(enum.Enum):
    """How frequent the stages are before anything is measured; the values are those of the settings."""

    CLINICAL = "clinical"
    EQUAL = "equal"

    def label(self):
        return _(self.value)


class Preset(enum.Enum):
    """How sure a call must be; the values are keys of QMRILesionStagingLib.presets.PRESETS."""

    STANDARD = "Standard"
    CAUTIOUS = "Cautious"

    def label(self):
        return _(self.value)


@parameterNodeWrapper
class QMRILesionStagingParameterNode:
    """chi (ppm), r2star, r1, r2 (1/s), pd (p.u.): maps. lesions, tissue: drawings. before, after: T1-weighted images
    before and after gadolinium. delay: min from injection, 0 for unknown. reader: name of who reviews. blind: whether
    the automatic calls are hidden. years: of experience. points: where a lesion is split. label: of the patient.
    """

    chi: vtkMRMLScalarVolumeNode | None
    r2star: vtkMRMLScalarVolumeNode | None
    r1: vtkMRMLScalarVolumeNode | None
    r2: vtkMRMLScalarVolumeNode | None
    pd: vtkMRMLScalarVolumeNode | None
    lesions: vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode | None
    tissue: vtkMRMLLabelMapVolumeNode | vtkMRMLSegmentationNode | None
    before: vtkMRMLScalarVolumeNode | None
    after: vtkMRMLScalarVolumeNode | None
    delay: Annotated[float, WithinRange(0, 120)] = 0.0
    preset: Preset = Preset.STANDARD
    prior: Prior = Prior.CLINICAL
    reader: str = ""
    blind: bool = False
    years: Annotated[int, WithinRange(0, 60)] = 0
    points: vtkMRMLMarkupsFiducialNode | None
    label: str = ""


class QMRILesionStagingWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: it selects, starts and shows; its parts are in QMRILesionStagingLib.panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        from QMRILesionStagingLib.panel.staging_panel import StagingPanel

        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/QMRILesionStaging.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = QMRILesionStagingLogic()
        self.panel = StagingPanel(self.ui, self.logic, self.logic.installPackages)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def cleanup(self):
        if self.panel is not None:
            self.panel.stop()
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
        if self.parent.isEntered:
            self.initializeParameterNode()

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
        for name in [n for n in sys.modules if n.partition(".")[0] == "QMRILesionStagingLib"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)


class QMRILesionStagingLogic(ScriptedLoadableModuleLogic):
    """Maps and lesions of the scene to staged lesions in the scene; no widgets here, and no questions to the user."""

    def getParameterNode(self):
        return QMRILesionStagingParameterNode(super().getParameterNode())

    def installPackages(self, module="QMRIEstimation"):
        """Install what is needed beyond Slicer's own packages, after asking; only when it is needed.

        Args:
            module: whose list of requirements: the engine's, or QMRILesionStaging for the agreement of readers.
        """
        from QMRIEstimationLib.slicer_packages import ensure_packages

        folder = os.path.dirname(slicer.util.modulePath(module))
        ensure_packages(os.path.join(folder, "Resources", f"requirements_{module}.txt"), _("QMRI Lesion Staging"))

    def processParameters(self, parameters, progress=None, cancelled=None):
        """`process` with what a parameter node says."""
        from dataclasses import replace

        from QMRIEstimationLib.parameters import from_table
        from QMRILesionStagingLib.options import StagingOptions
        from QMRILesionStagingLib.presets import PRESETS

        options = from_table(StagingOptions(), PRESETS[parameters.preset.value], parameters.preset.value)
        options = replace(
            options,
            stage=replace(options.stage, prior=parameters.prior.value),
            enhancement=replace(options.enhancement, delay=parameters.delay),
        )
        names = ("chi", "lesions", "r2star", "r1", "r2", "pd", "tissue", "before", "after")
        nodes = {name: getattr(parameters, name) for name in names}
        return self.process(**nodes, options=options, progress=progress, cancelled=cancelled)

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
            lesions: label map, volume or segmentation; see QMRILesionStagingLib.scene.given.
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
        from QMRILesionStagingLib.options import StagingOptions
        from QMRILesionStagingLib.scene.case import remember
        from QMRILesionStagingLib.scene.fill import subject_of
        from QMRILesionStagingLib.scene.given import staging_input_from_nodes
        from QMRILesionStagingLib.scene.patient import one_patient
        from QMRILesionStagingLib.scene.results import add_staging
        from QMRILesionStagingLib.staging import stage_lesions

        one_patient([chi, r2star, r1, r2, pd, lesions, tissue, before, after, enhancing])
        maps = {"Chi": chi, "R2star": r2star, "R1": r1, "R2": r2, "PD": pd}
        given, notes = staging_input_from_nodes(maps, lesions, tissue, before, after, enhancing, fieldStrength)
        options = options or StagingOptions()
        staging = stage_lesions(given, options, progress, cancelled)
        check_cancelled(cancelled)
        subject = next((name for node in maps.values() if (name := subject_of(node))), lesions.GetName())
        nodes = add_staging(staging, given, lesions.GetScene(), subject)
        images = {"tissue": tissue, "before": before, "after": after, "enhancing": enhancing}
        inputs = {"chi": chi, "r2star": r2star, "r1": r1, "r2": r2, "pd": pd, "lesions": lesions, **images}
        remember(nodes["table"], inputs, fieldStrength, options, (*notes, *staging.notes))
        for note in (*notes, *staging.notes):
            logging.info(note)
        return nodes

    def writeReport(self, nodes, path, label):
        """Write the report of a staging (key -> node, as `process` returns it) as one HTML file; returns its path."""
        from QMRILesionStagingLib.scene.report import write_scene_report

        write_scene_report(nodes, path, label)
        return path

    def writeDicom(self, nodes, folder, label):
        """Write the lesions as DICOM segmentation and structured report; returns the names of the files.

        Patient and study are those of the DICOM images that the maps were made from, else the label stands for them.
        """
        from QMRIEstimationLib.io.dicom_maps import study_of
        from QMRIEstimationLib.scene.drawings import geometry_of
        from QMRILesionStagingLib.dicom_lesions import write_lesions
        from QMRILesionStagingLib.scene.case import dicom_file_of, reference_of
        from QMRILesionStagingLib.scene.results import tables_in

        reference = reference_of(nodes["table"])
        study = study_of(dicom_file_of(nodes["table"]), label)
        return write_lesions(folder, label, tables_in(nodes, reference), geometry_of(reference), study)

    def exportReadings(self, nodes, folder):
        """Write one table for each blind reader and one with the automatic calls; returns the names of the files."""
        from QMRILesionStagingLib.scene.readings import export_readings

        return export_readings(nodes, folder)

    def compareReadings(self, folder):
        """Compare all readings below a folder; returns the path of the page."""
        from QMRILesionStagingLib.agreement import compare

        self.installPackages("QMRILesionStaging")
        return compare(folder)


class QMRILesionStagingTest(ScriptedLoadableModuleTest):
    """Self-test in the application: `Test` in developer mode, or CTest."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_aLesionIsStagedAndReviewed(self):
        """A bright ball in white matter becomes one lesion of the table, whose call a reader changes."""
        import numpy as np
        from QMRILesionStagingLib.scene.review import override
        from QMRILesionStagingLib.scene.tables import rows_of

        k, j, i = np.ogrid[:40, :40, :40]
        inside = (k - 20) ** 2 + (j - 20) ** 2 + (i - 20) ** 2 < 16
        rng = np.random.default_rng(1)
        chi = np.where(inside, 0.02, -0.01) + rng.normal(0, 0.004, inside.shape)
        chiNode = slicer.util.addVolumeFromArray(chi.astype(np.float32), name="chi")
        lesionNode = slicer.util.addVolumeFromArray(
            inside.astype(np.int16), name="lesions", nodeClassName="vtkMRMLLabelMapVolumeNode"
        )
        nodes = QMRILesionStagingLogic().process(chiNode, lesionNode)
        self.assertEqual(nodes["table"].GetNumberOfRows(), 1)
        override(nodes, 1, "chronic inactive", "", "seen on histology", "self-test")
        row = rows_of(nodes["table"])[0]
        self.assertEqual((row["reader_stage"], row["reader"]), ("chronic inactive", "self-test"))
