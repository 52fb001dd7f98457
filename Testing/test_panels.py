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
from conftest import MODULES, REPOSITORY
from PIL import Image


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


@pytest.mark.parametrize("name", MODULES)
def test_a_panel_opens_without_the_packages_that_are_installed_when_it_is_used(name):
    """In a process of its own, which has imported nothing yet."""
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; import slicerhost; slicerhost.start();"
        "slicerhost.load_module(sys.argv[1]).widgetRepresentation().enter();"
        "found = {'numba', 'nibabel', 'scipy', 'SimpleITK', 'pydicom'} & set(sys.modules); assert not found, found"
    )
    paths = [str(REPOSITORY / folder) for folder in ("Testing", *MODULES)]
    command = [sys.executable, "-c", code, str(REPOSITORY / name / f"{name}.py"), *paths]
    subprocess.run(command, check=True, timeout=120)


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


def test_a_view_of_the_host_shows_the_image_as_slicers_own_pipeline_colours_it(host, tmp_path):
    """Half the volume at the top of the window, half at its bottom; the plane is cut by the real slice logic."""
    values = np.zeros((8, 64, 64), np.float32)
    values[:, :, 32:] = 100
    node = host.util.addVolumeFromArray(values, name="halves")
    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevelMinMax(0, 100)
    manager = slicerhost.open_views()
    try:
        widget = manager.sliceWidget("Red")
        widget.resize(200, 220)
        widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(node.GetID())
        widget.fitSliceToBackground()
        widget.sliceView().forceRender()
        widget.sliceView().pixmap.save(str(tmp_path / "view.png"))
    finally:
        slicerhost.close_views()
    with Image.open(tmp_path / "view.png") as picture:
        gray = np.asarray(picture.convert("L"))
    middle = gray[gray.shape[0] // 2]
    assert {int(middle[gray.shape[1] // 4]), int(middle[3 * gray.shape[1] // 4])} == {0, 255}


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
    files = [
        str(REPOSITORY / "Testing" / name)
        for name in ("test_panels.py", "test_scene.py", "test_estimation_panel.py", "test_staging_panel.py")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-k", "not own_python_files", *files]
    environment = {**os.environ, "SLICERHOST_PYTHON_FILES": folder}
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
