"""Slicer module: maps of R2* and susceptibility, with uncertainty, from multi-echo gradient-echo images."""

import importlib
import logging
import sys
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSequenceNode
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
            "Estimates R2* and susceptibility (QSM) maps, each with its standard deviation, from the magnitude and "
            'phase of a multi-echo gradient echo. Research use only. See the <a href="{url}">documentation</a>.'
        ).format(url=HELP_URL)
        self.parent.acknowledgementText = _(
            "Every method names the paper it implements, in the attributes of the map that it made."
        )


@parameterNodeWrapper
class QMRIEstimationParameterNode:
    """What the panel knows.

    magnitude, phase: a volume or a sequence of echoes. echoTimes: ms, blanks or commas between. fieldStrength: T, 0 for
    unknown. makeR2star, makeChi: which maps. denoise: the images first.
    """

    magnitude: vtkMRMLScalarVolumeNode | vtkMRMLSequenceNode | None
    phase: vtkMRMLScalarVolumeNode | vtkMRMLSequenceNode | None
    echoTimes: str = ""
    fieldStrength: Annotated[float, WithinRange(0, 20)] = 0.0
    makeR2star: bool = True
    makeChi: bool = True
    denoise: bool = False


class QMRIEstimationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: it selects, starts, cancels and reports, and computes nothing."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._prefilledFrom = None
        self._running = False
        self._cancelled = False

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/QMRIEstimation.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = QMRIEstimationLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancelButton)
        self.initializeParameterNode()

    def cleanup(self):
        self._cancelled = True
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        self._cancelled = True
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
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._prefilledFrom = parameterNode.magnitude  # what a saved scene holds is not overwritten
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onParametersChanged)
            self._checkCanApply()

    def onApplyButton(self):
        from QMRIEstimationLib.errors import Cancelled, InputError

        self._running, self._cancelled = True, False
        self._checkCanApply()
        try:
            with slicer.util.tryWithErrorDisplay(_("The maps could not be made."), waitCursor=True):
                message = self._apply(Cancelled, InputError)
        finally:
            self._running = False
            self.ui.progressBar.value = 0
            self._checkCanApply()
        self.ui.statusLabel.text = message

    def _apply(self, Cancelled, InputError):
        """Run the logic; returns the sentence for the user."""
        try:
            self.logic.installPackages(self.resourcePath("requirements_QMRIEstimation.txt"))
            nodes = self.logic.processParameters(self._parameterNode, self._onProgress, self._isCancelled)
        except InputError as error:
            return str(error)
        except Cancelled:
            return _("Cancelled; the scene was not changed.")
        return _("Done: {names}.").format(names=", ".join(node.GetName() for node in nodes.values()))

    def onCancelButton(self):
        self._cancelled = True

    def onReload(self):
        """Reload the library as well, so that edits in it take effect."""
        for name in [n for n in sys.modules if n.partition(".")[0] == "QMRIEstimationLib"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ScriptedLoadableModuleWidget.onReload(self)

    def _onProgress(self, fraction, text):
        self.ui.progressBar.value = int(100 * fraction)
        self.ui.statusLabel.text = text
        slicer.app.processEvents()

    def _isCancelled(self):
        slicer.app.processEvents()  # the Cancel button is looked at here
        return self._cancelled

    def _onParametersChanged(self, caller=None, event=None):
        self._prefill()
        self._checkCanApply()

    def _prefill(self):
        """Show the echo times and the field strength that a newly selected magnitude carries."""
        magnitude = self._parameterNode.magnitude
        if magnitude is self._prefilledFrom:
            return
        self._prefilledFrom = magnitude
        echoTimes, fieldStrength = self.logic.storedParameters(magnitude)
        if echoTimes:
            self._parameterNode.echoTimes = echoTimes
        if fieldStrength:
            self._parameterNode.fieldStrength = fieldStrength

    def _checkCanApply(self):
        """Enable Apply, or say in its tooltip what is missing."""
        problem = _("The maps are being made.") if self._running else self._problem()
        self.ui.applyButton.enabled = not problem
        self.ui.applyButton.toolTip = problem or _("Make the maps in a new folder of the scene.")
        self.ui.cancelButton.enabled = self._running
        self.ui.progressBar.visible = self._running
        self.ui.statusLabel.text = problem or _("Ready.")

    def _problem(self):
        return self.logic.problem(self._parameterNode) if self._parameterNode is not None else _("There is no scene.")


class QMRIEstimationLogic(ScriptedLoadableModuleLogic):
    """Nodes to arrays, one call of the engine, arrays to nodes; needs no panel and asks no question.

    `estimate` replaces `QMRIEstimationLib.pipeline.estimate`, for tests.
    """

    def __init__(self, estimate=None):
        ScriptedLoadableModuleLogic.__init__(self)
        self._estimate = estimate

    def getParameterNode(self):
        return QMRIEstimationParameterNode(super().getParameterNode())

    def installPackages(self, requirementsFile):
        """Install what the engine needs beyond Slicer's own packages, after asking; only at the first Apply.

        Raises:
            InputError: this Slicer is too old to install them by itself.
            RuntimeError: the user declined.
        """
        from QMRIEstimationLib.slicer_packages import ensure_packages

        ensure_packages(requirementsFile, _("QMRI Estimation"))

    def process(
        self,
        magnitude,
        phase=None,
        echoTimes=None,
        fieldStrength=None,
        maps=None,
        settings=None,
        progress=None,
        cancelled=None,
    ):
        """Make maps of a multi-echo gradient echo and put them into the scene of the magnitude.

        Args:
            magnitude, phase: each a volume node, a list of volume nodes (one an echo) or a sequence node.
            echoTimes: s, one for each image; None to read them from the nodes.
            fieldStrength: T; None to read it from the nodes.
            maps: names out of R2star and Chi; None for all that the images allow.
            settings: QMRIEstimationLib.settings.Settings; None for the defaults.
            progress, cancelled: optional callbacks, progress(fraction, text) and cancelled().
        Returns:
            `R2star`, `R2star SD`, `Chi`, `Chi SD` -> volume node, in a new subject-hierarchy folder.
        Raises:
            InputError: the images or parameters do not allow a map.
            Cancelled: the user asked to stop. After any error the scene is as it was.
        """
        from QMRIEstimationLib.errors import check_cancelled
        from QMRIEstimationLib.mrml import session_from_nodes, transform_of
        from QMRIEstimationLib.mrml_maps import add_maps
        from QMRIEstimationLib.settings import Settings

        if maps is None:
            maps = ("R2star", "Chi") if phase is not None else ("R2star",)
        session = session_from_nodes(magnitude, phase, echoTimes, fieldStrength, maps)
        settings = settings or Settings()
        result = self._engine()(session, maps=maps, settings=settings, progress=progress, cancelled=cancelled)
        check_cancelled(cancelled)
        first = magnitude[0] if isinstance(magnitude, (list, tuple)) else magnitude
        nodes = add_maps(result, first.GetScene(), settings, first.GetName(), transform_of(first))
        for note in result.notes:
            logging.info(note)
        return nodes

    def processParameters(self, parameters, progress=None, cancelled=None):
        """`process` with what a parameter node says."""
        from QMRIEstimationLib.settings import Settings

        settings = Settings().with_denoising(parameters.denoise)
        return self.process(*self._arguments(parameters), settings, progress=progress, cancelled=cancelled)

    def problem(self, parameters):
        """Why the maps of a parameter node cannot be made, in one sentence; empty when they can."""
        from QMRIEstimationLib.errors import InputError
        from QMRIEstimationLib.mrml import session_from_nodes

        try:
            session_from_nodes(*self._arguments(parameters))
        except InputError as error:
            return str(error)
        return ""

    def storedParameters(self, node):
        """Echo times (text, ms) and field strength (T) that a node carries; empty or None where it does not."""
        from QMRIEstimationLib.errors import InputError
        from QMRIEstimationLib.mrml import echo_times_of, field_strength_of
        from QMRIEstimationLib.units import to_user

        try:
            return " ".join(f"{to_user(te, 's'):g}" for te in echo_times_of(node)), field_strength_of(node)
        except InputError:
            return "", None  # `problem` tells it

    def _arguments(self, parameters):
        """Magnitude, phase, echo times (s), field strength (T) and maps of a parameter node."""
        wanted = {"R2star": parameters.makeR2star, "Chi": parameters.makeChi}
        return (
            parameters.magnitude,
            parameters.phase,
            _secondsFromText(parameters.echoTimes),
            parameters.fieldStrength or None,
            tuple(name for name, on in wanted.items() if on),
        )

    def _engine(self):
        """The engine's function; imported only now, because numba may just have been installed."""
        if self._estimate is not None:
            return self._estimate
        from QMRIEstimationLib.pipeline import estimate

        return estimate


def _secondsFromText(text):
    """Echo times in s from text in ms with blanks, commas or semicolons between; None when empty."""
    from QMRIEstimationLib.errors import InputError
    from QMRIEstimationLib.units import from_user

    words = text.replace(",", " ").replace(";", " ").split()
    try:
        return [from_user(float(word), "s") for word in words] or None
    except ValueError:
        raise InputError(
            f"Echo times are '{text}', expected numbers in milliseconds such as 4 8 12; correct them."
        ) from None


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
        volumes = []
        for n, te in enumerate(echoTimes):
            values = (1000 * np.exp(-te * rate) + noise[n]).astype(np.float32)
            volumes.append(slicer.util.addVolumeFromArray(values, name=f"echo {n + 1}"))
        nodes = QMRIEstimationLogic().process(volumes, echoTimes=echoTimes, maps=("R2star",))
        found = slicer.util.arrayFromVolume(nodes["R2star"])
        self.assertAlmostEqual(float(np.median(found[:, :, :8])), 20.0, delta=0.2)
        self.assertAlmostEqual(float(np.median(found[:, :, 8:])), 40.0, delta=0.4)
        self.assertEqual(nodes["R2star"].GetVoxelValueUnits().GetCodeValue(), "/s")
