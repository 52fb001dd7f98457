"""Fixtures every test may use."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import slicerhost
from QMRIEstimationLib import threads as engine_threads
from scene_data import FakeEngine, add_volume, decay_images, describe_echoes, random_phase_images

REPOSITORY = Path(__file__).resolve().parents[1]
MODULES = ("QMRIEstimation", "QMRILesionStaging")
DATA = Path(os.environ.get("QMRI_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def one_process():
    """Several subjects run in this process, for speed; gives what users get, for the tests of the runner."""
    from QMRIEstimationLib import cli_run

    own = cli_run._apart
    cli_run._apart = lambda *_: False
    yield own
    cli_run._apart = own


@pytest.fixture
def rng():
    """A seeded random generator."""
    return np.random.default_rng(20261123)


@pytest.fixture
def threads(monkeypatch):
    """Function that sets the number of threads; pieces are so short that the data of a test make many of them."""
    before = engine_threads.thread_count()
    monkeypatch.setattr(engine_threads, "PIECE", 257)
    yield engine_threads.use_threads
    engine_threads.use_threads(before)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real test data; tests that need it say so when it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"real test data are not at {DATA}; set QMRI_TEST_DATA to their folder")
    return DATA


@pytest.fixture
def oblique_matrix():
    """IJK-to-RAS of an oblique grid with unequal voxel sides (0.8 x 0.9 x 1.4 mm), 25 degrees about an odd axis."""
    axis = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1.0, 2.0, 0.5])
    angle = np.deg2rad(25)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag([0.8, 0.9, 1.4])
    matrix[:3, 3] = (-20.0, 11.0, 5.0)
    return matrix


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
def nodes(host, modules, oblique_matrix):
    """A staging of two lesions in the scene: key -> node."""
    from QMRILesionStagingLib.scene.record import staging_in
    from staging_scene import QUICK, map_node, two_lesions, volume

    slicer = host
    given = two_lesions(oblique_matrix).given()
    maps = {name.lower(): map_node(m, name, name, oblique_matrix) for name, m in given.maps.items()}
    drawn = volume(given.drawn.astype(np.int16), "sub-01", oblique_matrix, "vtkMRMLLabelMapVolumeNode")
    modules["QMRILesionStaging"].widgetRepresentation()
    import QMRILesionStaging

    QMRILesionStaging.QMRILesionStagingLogic().process(**maps, lesions=drawn, fieldStrength=3.0, options=QUICK)
    return staging_in(slicer.mrmlScene)["sub-01"]


@pytest.fixture
def scene():
    """The scene of slicer-core, emptied."""
    slicer = slicerhost.scene()
    slicer.mrmlScene.Clear()
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)  # the application always has it
    sys.path.insert(0, str(REPOSITORY / "QMRIEstimation"))
    return slicer.mrmlScene


@pytest.fixture
def matrix(oblique_matrix):
    return oblique_matrix


@pytest.fixture
def logic(scene):
    from QMRIEstimation import QMRIEstimationLogic

    return QMRIEstimationLogic()


@pytest.fixture
def engine(monkeypatch):
    """The engine that takes the place of the real one."""
    fake = FakeEngine()
    monkeypatch.setattr("QMRIEstimationLib.participant.estimate", fake)
    return fake


@pytest.fixture
def echoes(logic, matrix):
    """Function making described magnitude or phase volumes of three echoes in the scene."""

    def make(what, **fields):
        images = decay_images() if what == "magnitude" else random_phase_images()
        nodes = [add_volume(values, f"{what} {n + 1}", matrix) for n, values in enumerate(images)]
        return describe_echoes(nodes, what, **fields)

    return make
