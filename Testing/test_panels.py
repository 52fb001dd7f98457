"""Both modules as the user meets them: the real panel classes and .ui files in the test host, clicked and photographed.

Everything runs on the stand-ins of `slicerhost/own`; where `SLICER_PYTHON_DIR` names Base/Python/slicer of a Slicer
source tree, it runs once more on Slicer's own ScriptedLoadableModule.py and parameterNodeWrapper.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import slicerhost
from conftest import REPOSITORY
from PIL import Image
from QMRIEstimationLib.errors import Cancelled
from scene_data import ECHO_TIMES, RATE, FakeEngine, add_sequence, decay_images, random_phase_images

MODULES = ("QMRIEstimation", "QMRILesionStaging")


@pytest.fixture(scope="module")
def modules():
    """Both modules, loaded once as at the start of Slicer."""
    return {name: slicerhost.load_module(REPOSITORY / name / f"{name}.py") for name in MODULES}


@pytest.fixture
def host(modules):
    """The `slicer` package with an empty scene; what Slicer would only print fails the test."""
    import slicer

    slicer.mrmlScene.Clear()
    slicerhost.complaints()
    yield slicer
    assert slicerhost.complaints() == []


@pytest.fixture
def panel(host, modules):
    """Function opening a module; its panel is left at the end."""
    opened = []

    def open_panel(name):
        widget = modules[name].widgetRepresentation()
        widget.enter()
        opened.append(widget)
        return widget.self()

    yield open_panel
    for widget in opened:
        widget.exit()


@pytest.fixture
def estimation(panel):
    """The panel of QMRIEstimation with an engine whose maps are known."""
    widget = panel("QMRIEstimation")
    widget.logic._estimate = FakeEngine()
    yield widget
    widget.logic._estimate = None


def add_magnitude():
    """A magnitude that knows its echo times and field strength."""
    return add_sequence("mag", decay_images(), field_strength=3)


def volume_names():
    import slicer

    return sorted(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_loads_and_says_who_made_it_and_where_it_belongs(host, modules, name):
    module = modules[name]
    assert module.title and list(module.categories) == ["Quantification"]
    assert module.contributors and "Research use only" in module.helpText and "https://" in module.helpText
    assert module.acknowledgementText and not module.icon.isNull()


@pytest.mark.parametrize("name", MODULES)
def test_a_panel_shows_itself(panel, tmp_path, name):
    widget = panel(name)
    slicerhost.grab(widget.parent, tmp_path / "panel.png", 440)
    with Image.open(tmp_path / "panel.png") as picture:
        colors = picture.convert("RGB").getcolors(maxcolors=100000)
        assert picture.width >= 440 and picture.height > 200 and len(colors) > 20


def test_apply_says_why_it_is_disabled(estimation):
    assert not estimation.ui.applyButton.enabled
    assert "No magnitude image is selected" in estimation.ui.applyButton.toolTip
    assert estimation.ui.statusLabel.text == estimation.ui.applyButton.toolTip


def test_selecting_a_magnitude_fills_in_what_it_knows(estimation):
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    assert estimation.ui.echoTimesLineEdit.text == "4 9 15"
    assert estimation.ui.fieldStrengthSpinBox.value == 3.0
    assert "there is no phase image" in estimation.ui.applyButton.toolTip
    estimation.ui.chiCheckBox.checked = False
    assert estimation.ui.applyButton.enabled


def test_what_the_user_typed_reaches_the_engine_in_seconds(estimation):
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.echoTimesLineEdit.text = "5, 10; 20"
    estimation.ui.applyButton.click()
    assert estimation.logic._estimate.session.scans[0].echo_times == pytest.approx((0.005, 0.010, 0.020))


@pytest.mark.parametrize("ticked, method", [(False, "none"), (True, "nonlocal-means")])
def test_denoising_is_switched_by_its_box(estimation, ticked, method):
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.denoiseCheckBox.checked = ticked
    estimation.ui.applyButton.click()
    assert estimation.logic._estimate.settings.denoise.method == method


def test_a_node_with_broken_parameters_is_explained_not_crashed_on(estimation):
    sequence = add_magnitude()
    sequence.SetIndexUnit("furlong")
    estimation.ui.magnitudeSelector.setCurrentNode(sequence)
    assert "the unit 'furlong', expected ms or s" in estimation.ui.applyButton.toolTip


@pytest.mark.parametrize("text, reason", [("4 9", "2 echo times"), ("4 9 x", "expected numbers in milliseconds")])
def test_wrong_echo_times_disable_apply(estimation, text, reason):
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.echoTimesLineEdit.text = text
    assert not estimation.ui.applyButton.enabled and reason in estimation.ui.applyButton.toolTip


def test_apply_makes_the_maps_that_are_ticked(estimation):
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.phaseSelector.setCurrentNode(add_sequence("pha", random_phase_images()))
    estimation.ui.applyButton.click()
    assert volume_names() == ["mag Chi", "mag Chi SD", "mag R2star", "mag R2star SD"]
    assert estimation.ui.statusLabel.text.startswith("Done: mag R2star")
    assert estimation.ui.applyButton.enabled and not estimation.ui.cancelButton.enabled


def test_cancel_stops_and_leaves_the_scene_alone(estimation):
    def engine(session, maps, settings, progress, cancelled):
        assert estimation.ui.cancelButton.enabled and not estimation.ui.applyButton.enabled
        estimation.ui.cancelButton.click()
        progress(0.2, "half way")
        if cancelled():
            raise Cancelled("cancelled by the user")

    estimation.logic._estimate = engine
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.applyButton.click()
    assert estimation.ui.statusLabel.text == "Cancelled; the scene was not changed."
    assert volume_names() == [] and estimation.ui.applyButton.enabled


def test_cancel_is_seen_while_the_engine_only_asks(estimation):
    """An engine deep in an iteration asks `cancelled` and reports no progress; the click must still arrive."""
    import qt

    def engine(session, maps, settings, progress, cancelled):
        qt.QTimer.singleShot(0, estimation.ui.cancelButton.click)
        for _ in range(1000):
            if cancelled():
                raise Cancelled("cancelled by the user")

    estimation.logic._estimate = engine
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.applyButton.click()
    assert estimation.ui.statusLabel.text == "Cancelled; the scene was not changed."


def test_closing_the_scene_while_maps_are_made_cancels(estimation, host):
    def engine(session, maps, settings, progress, cancelled):
        host.mrmlScene.Clear()
        if cancelled():
            raise Cancelled("cancelled by the user")

    estimation.logic._estimate = engine
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.applyButton.click()
    assert volume_names() == [] and not estimation.ui.applyButton.enabled


def test_a_sentence_of_the_engine_is_shown_in_the_panel(estimation):
    from QMRIEstimationLib.errors import InputError

    estimation.logic._estimate = FakeEngine(InputError("mag: something the user can mend."))
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.applyButton.click()
    assert estimation.ui.statusLabel.text == "mag: something the user can mend."


def test_a_bug_of_the_engine_is_reported_and_the_panel_goes_on(estimation, capsys):
    estimation.logic._estimate = FakeEngine(ZeroDivisionError("a bug"))
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    estimation.ui.chiCheckBox.checked = False
    estimation.ui.applyButton.click()
    assert slicerhost.complaints() == ["exception in a slot: ZeroDivisionError: a bug"]
    assert estimation.ui.applyButton.enabled and volume_names() == []


def test_choices_survive_leaving_and_entering_the_module(estimation, modules):
    sequence = add_magnitude()
    estimation.ui.magnitudeSelector.setCurrentNode(sequence)
    estimation.ui.echoTimesLineEdit.text = "1 2 3"
    modules["QMRIEstimation"].widgetRepresentation().exit()
    modules["QMRIEstimation"].widgetRepresentation().enter()
    assert estimation.ui.echoTimesLineEdit.text == "1 2 3"
    assert estimation.ui.magnitudeSelector.currentNode() is sequence


def test_closing_the_scene_empties_the_panel(estimation, host):
    estimation.ui.magnitudeSelector.setCurrentNode(add_magnitude())
    host.mrmlScene.Clear()
    assert estimation.ui.magnitudeSelector.currentNode() is None
    assert "No magnitude image is selected" in estimation.ui.statusLabel.text


def test_the_real_engine_runs_from_the_panel(panel):
    """A known rate in noise of 0.1 percent, from selecting the images to the finished map."""
    import slicer

    widget = panel("QMRIEstimation")
    noise = np.random.default_rng(5).normal(0, 1, (len(ECHO_TIMES), 16, 16, 16))
    decay = 1000 * np.exp(-RATE * np.array(ECHO_TIMES))[:, None, None, None]
    widget.ui.magnitudeSelector.setCurrentNode(add_sequence("mag", (decay + noise).astype(np.float32)))
    widget.ui.chiCheckBox.checked = False
    widget.ui.applyButton.click()
    assert volume_names() == ["mag R2star", "mag R2star SD"], widget.ui.statusLabel.text
    found = slicer.util.arrayFromVolume(slicer.util.getNode("mag R2star"))
    assert np.median(found[found > 0]) == pytest.approx(RATE, rel=0.01)  # ten times the noise


def test_the_staging_panel_says_what_is_missing_and_that_it_makes_nothing(panel, host):
    widget = panel("QMRILesionStaging")
    assert "makes nothing" in widget.ui.aboutLabel.text and 'href="https://' in widget.ui.aboutLabel.text
    assert widget.ui.statusLabel.text == "Missing: QSM map, R2* map, lesion mask."
    widget.ui.chiSelector.setCurrentNode(host.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "chi"))
    widget.ui.lesionsSelector.setCurrentNode(host.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesions"))
    assert widget.ui.statusLabel.text == "Missing: R2* map."


def test_the_self_tests_run_as_slicer_runs_them(host, modules):
    for name in MODULES:
        host.selfTests[name]()


def test_the_host_refuses_what_slicer_would_not_have(host):
    """The host's own rules: an attribute or signal that C++ lacks, a wrong property in a .ui file."""
    import qt

    label = qt.QLabel()
    with pytest.raises(AttributeError, match="it is no Qt property"):
        label.txet = "typo"
    with pytest.raises(RuntimeError, match="does not exist on QPushButton"):
        qt.QPushButton().connect("klicked()", print)
    with pytest.raises(TypeError):
        label.text()
    selector = host.qMRMLNodeComboBox()
    with pytest.raises(AttributeError):
        selector.setNodeTypes(["vtkMRMLScalarVolumeNode"])  # no slot in C++


def test_the_host_reports_a_ui_file_with_a_wrong_property(host, tmp_path):
    file = tmp_path / "wrong.ui"
    file.write_text(
        '<ui version="4.0"><class>W</class><widget class="qMRMLWidget" name="W"><layout class="QVBoxLayout"><item>'
        '<widget class="QLabel" name="label"><property name="colour"><string>red</string></property></widget>'
        "</item></layout></widget></ui>"
    )
    host.util.loadUI(str(file))
    assert len(found := slicerhost.complaints()) == 1 and "label: property colour" in found[0]


def test_panels_and_scene_also_work_on_slicers_own_python_files():
    folder = os.environ.get("SLICER_PYTHON_DIR")
    if not folder:
        pytest.skip("Slicer's own Python files: set SLICER_PYTHON_DIR to Base/Python/slicer of a Slicer source tree")
    files = [str(REPOSITORY / "Testing" / name) for name in ("test_panels.py", "test_scene.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-k", "not own_python_files", *files]
    environment = {**os.environ, "SLICERHOST_PYTHON_FILES": folder}
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
