"""QMRIEstimationLogic and the MRML adapters on the real scene of slicer-core, without Qt and without the engine.

The engine is replaced by one whose maps are known; one test runs the real one.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import slicerhost
from conftest import REPOSITORY
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.geometry import Geometry
from scene_data import (
    ECHO_TIMES,
    SHAPE,
    FakeEngine,
    add_sequence,
    add_volume,
    decay_images,
    random_phase_images,
    sphere_images,
)


@pytest.fixture
def scene():
    """The scene of slicer-core, emptied."""
    slicer = slicerhost.scene()
    slicer.mrmlScene.Clear()
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)  # the application always has it
    return slicer.mrmlScene


@pytest.fixture
def matrix(oblique_matrix):
    return oblique_matrix


@pytest.fixture
def echoes(scene, matrix):
    """Function making the magnitude or phase volumes of three echoes in the scene."""

    def make(what):
        images = decay_images() if what == "magnitude" else random_phase_images()
        return [add_volume(values, f"{what} {n + 1}", matrix) for n, values in enumerate(images)]

    return make


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def logic(scene, engine):
    return make_logic(engine)


def make_logic(engine):
    sys.path.insert(0, str(REPOSITORY / "QMRIEstimation"))
    from QMRIEstimation import QMRIEstimationLogic

    return QMRIEstimationLogic(engine)


def content(scene):
    """Every node with its time of change and every item of the subject hierarchy, to see that nothing changed."""
    import slicer

    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return [(n.GetID(), n.GetName()) for n in nodes], hierarchy.GetNumberOfItems()


def test_the_logic_needs_no_qt():
    code = (
        "import sys, slicerhost; slicerhost.scene(); import QMRIEstimation; QMRIEstimation.QMRIEstimationLogic();"
        "assert not {'qt', 'ctk', 'PySide6'} & set(sys.modules), 'Qt was imported'"
    )
    paths = [str(REPOSITORY / folder) for folder in ("QMRIEstimation", "Testing")]
    environment = {k: v for k, v in os.environ.items() if k != "SLICERHOST_PYTHON_FILES"} | {
        "PYTHONPATH": os.pathsep.join(paths)
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


@pytest.mark.parametrize("form", ["volumes", "sequences", "one volume each"])
def test_volumes_and_sequences_reach_the_engine_as_the_same_arrays(logic, engine, echoes, matrix, form):
    expected = [decay_images(), random_phase_images()]
    magnitude, phase = echoes("magnitude"), echoes("phase")
    echo_times, maps = ECHO_TIMES, None
    if form == "sequences":
        magnitude, phase = (add_sequence("echoes", images, matrix) for images in expected)
        echo_times = None  # they are the index of the sequence
    elif form == "one volume each":
        magnitude, phase, echo_times, maps = magnitude[0], phase[0], ECHO_TIMES[:1], ("Chi",)
        expected = [array[:1] for array in expected]
    logic.process(magnitude, phase, echo_times, 3.0, maps)
    assert engine.images[0].dtype == engine.images[1].dtype == np.float32
    np.testing.assert_array_equal(engine.images[0], expected[0])
    np.testing.assert_array_equal(engine.images[1], expected[1])
    assert engine.session.scans[0].echo_times == pytest.approx(ECHO_TIMES[: len(expected[0])])


def as_array(volume):
    import slicer

    return slicer.util.arrayFromVolume(volume)


def test_geometry_and_direction_of_the_main_field_are_those_of_the_node(logic, engine, echoes, matrix):
    logic.process(echoes("magnitude"), echoes("phase"), ECHO_TIMES, 3.0)
    geometry = engine.session.scans[0].geometry
    np.testing.assert_allclose(geometry.ijk_to_ras, matrix, atol=1e-9)
    assert geometry.shape == SHAPE
    columns = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    np.testing.assert_allclose(geometry.b0_dir, columns[2, ::-1], atol=1e-9)  # the z component of k, j and i


def test_echoes_in_any_order_are_sorted_by_echo_time(logic, engine, echoes):
    magnitude = echoes("magnitude")
    logic.process(magnitude[::-1], None, ECHO_TIMES[::-1])
    assert engine.session.scans[0].echo_times == pytest.approx(ECHO_TIMES)
    np.testing.assert_array_equal(engine.images[0][0], as_array(magnitude[0]))


def test_siemens_integers_become_radians(logic, engine, echoes, scene, matrix):
    phase = [add_volume(np.round(as_array(v) / np.pi * 4096).astype(np.int16), "p", matrix) for v in echoes("phase")]
    phase[0].SetAttribute("qMRI.Manufacturer", "Siemens")
    logic.process(echoes("magnitude"), phase, ECHO_TIMES, 3.0)
    expected = np.stack([as_array(v) for v in phase]) * (np.pi / 4096)
    np.testing.assert_allclose(engine.images[1], expected, atol=1e-5)


def test_parameters_are_read_from_node_attributes(logic, engine, echoes):
    magnitude = echoes("magnitude")
    for volume, te in zip(magnitude, ECHO_TIMES, strict=True):
        volume.SetAttribute("qMRI.EchoTime", f"{te:g}")
    magnitude[0].SetAttribute("qMRI.MagneticFieldStrength", "7")
    logic.process(magnitude)
    scan = engine.session.scans[0]
    assert scan.echo_times == pytest.approx(ECHO_TIMES) and scan.field_strength == 7.0


def test_maps_carry_quantity_unit_window_and_colour(logic, echoes, scene):
    nodes = logic.process(echoes("magnitude"), echoes("phase"), ECHO_TIMES, 3.0)
    assert list(nodes) == ["R2star", "R2star SD", "Chi", "Chi SD"]
    for name, unit, quantity in (("R2star", "/s", "126395"), ("Chi", "[ppm]", "126396")):
        for suffix in ("", " SD"):
            node = nodes[name + suffix]
            assert node.GetVoxelValueUnits().GetCodeValue() == unit
            assert node.GetVoxelValueQuantity().GetCodeValue() == quantity
    shown = nodes["R2star"].GetDisplayNode()
    assert (shown.GetWindowLevelMin(), shown.GetWindowLevelMax()) == (0, 50) and not shown.GetAutoWindowLevel()
    table = shown.GetColorNode()
    assert "navia" in table.GetName() and table.GetNumberOfColors() == 256
    chi = nodes["Chi"].GetDisplayNode()
    np.testing.assert_allclose((chi.GetWindowLevelMin(), chi.GetWindowLevelMax()), (-0.1, 0.1), rtol=1e-6)
    assert chi.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"


def test_maps_lie_on_the_grid_of_the_input_bit_for_bit(logic, echoes, matrix):
    import slicer
    import vtk

    nodes = logic.process(echoes("magnitude"), None, ECHO_TIMES)
    found = vtk.vtkMatrix4x4()
    nodes["R2star"].GetIJKToRASMatrix(found)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(found), matrix, atol=1e-12)
    expected = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    np.testing.assert_array_equal(as_array(nodes["R2star"]), expected)


def test_maps_are_together_in_one_folder_of_the_subject_hierarchy(logic, echoes, scene):
    import slicer

    nodes = logic.process(echoes("magnitude"), None, ECHO_TIMES)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parents = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes.values()}
    assert len(parents) == 1
    assert hierarchy.GetItemLevel(parents.pop()) == "Folder"


def test_a_second_run_shares_the_colour_table_and_gets_its_own_nodes(logic, echoes, scene):
    magnitude = echoes("magnitude")
    first = logic.process(magnitude, None, ECHO_TIMES)["R2star"]
    second = logic.process(magnitude, None, ECHO_TIMES)["R2star"]
    assert first.GetName() != second.GetName()
    assert first.GetDisplayNode().GetColorNodeID() == second.GetDisplayNode().GetColorNodeID()


def test_parameters_units_and_colours_survive_a_saved_scene(logic, echoes, scene, tmp_path):
    node = logic.process(echoes("magnitude"), None, ECHO_TIMES, 3.0)["R2star"]
    name = node.GetName()
    archive = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(archive))
    other = scene_that_opens_archives(tmp_path)
    assert other.ReadFromMRB(str(archive), True)
    read = other.GetFirstNodeByName(name)
    assert read.GetAttribute("qMRI.EchoTime") == "0.004 0.009 0.015"
    assert read.GetAttribute("qMRI.EstimationAlgorithm") == "method"
    assert read.GetVoxelValueUnits().GetCodeValue() == "/s"
    np.testing.assert_array_equal(as_array(read), as_array(node))
    table = read.GetDisplayNode().GetColorNode()
    assert table is not None and table.GetNumberOfColors() == 256


def test_input_nodes_are_untouched(logic, echoes):
    inputs = echoes("magnitude") + echoes("phase")
    before = [(v.GetMTime(), v.GetImageData().GetMTime(), as_array(v).copy()) for v in inputs]
    logic.process(inputs[:3], inputs[3:], ECHO_TIMES, 3.0)
    for volume, (node_time, image_time, values) in zip(inputs, before, strict=True):
        assert (volume.GetMTime(), volume.GetImageData().GetMTime()) == (node_time, image_time)
        np.testing.assert_array_equal(as_array(volume), values)


def scene_that_opens_archives(folder):
    """A scene with the cache that the application gives to its own."""
    import slicer

    scene, cache, manager = slicer.vtkMRMLScene(), slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(folder))
    manager.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    return scene


def put_under_transform(volumes, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "To template")
    for volume in volumes:
        volume.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def test_nodes_under_a_transform_are_refused_for_qsm(logic, echoes, scene):
    magnitude, phase = echoes("magnitude"), echoes("phase")
    put_under_transform(magnitude + phase, scene)
    with pytest.raises(InputError, match="under the transform To template, so the direction of B0"):
        logic.process(magnitude, phase, ECHO_TIMES, 3.0)


def test_a_sequence_seen_under_a_transform_is_refused_for_qsm(logic, scene):
    import slicer

    magnitude, phase = add_sequence("mag", decay_images()), add_sequence("pha", random_phase_images())
    browser = scene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    proxies = []
    for sequence in (magnitude, phase):
        browser.AddSynchronizedSequenceNode(sequence)
        proxies.append(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "proxy"))
        browser.AddProxyNode(proxies[-1], sequence, False)
    put_under_transform(proxies, scene)
    with pytest.raises(InputError, match="under the transform To template"):
        logic.process(magnitude, phase, None, 3.0)


def test_r2star_of_nodes_under_a_transform_is_put_under_it_too(logic, engine, echoes, scene):
    magnitude = echoes("magnitude")
    transform = put_under_transform(magnitude, scene)
    nodes = logic.process(magnitude, None, ECHO_TIMES)
    assert nodes["R2star"].GetParentTransformNode() is transform
    assert engine.session.scans[0].geometry.b0_ras is None


@pytest.mark.parametrize("maps, refused", [(("R2star", "Chi"), True), (("R2star",), False)])
def test_phase_that_jumps_from_slice_to_slice_is_refused_for_qsm_only(logic, scene, matrix, maps, refused):
    magnitude, phase = sphere_images(matrix)
    steps = np.random.default_rng(2).uniform(-np.pi, np.pi, (*phase.shape[:2], 1, 1))
    phase = np.angle(np.exp(1j * (phase + steps))).astype(np.float32)
    nodes = [[add_volume(values, "echo", matrix) for values in images] for images in (magnitude, phase)]
    if refused:
        with pytest.raises(InputError, match="echo: the phase jumps at random from slice to slice"):
            logic.process(*nodes, ECHO_TIMES, 3.0, maps)
    else:
        logic.process(*nodes, ECHO_TIMES, 3.0, maps)


def test_slices_of_alternating_sign_are_mended_and_noted(logic, engine, scene, matrix):
    """As GE writes them: every second slice has half a turn more."""
    magnitude, phase = sphere_images(matrix)
    stored = phase.copy()
    stored[:, 1::2] = np.angle(-np.exp(1j * stored[:, 1::2]))
    nodes = [[add_volume(values, "echo", matrix) for values in images] for images in (magnitude, stored)]
    logic.process(*nodes, ECHO_TIMES, 3.0)
    np.testing.assert_allclose(np.exp(1j * engine.images[1]), np.exp(1j * phase), atol=1e-5)
    assert len(engine.session.scans[0].notes) == 1


@pytest.mark.parametrize(
    "error",
    [Cancelled("cancelled by the user"), InputError("no"), RuntimeError("broken")],
    ids=lambda e: type(e).__name__,
)
def test_after_a_failure_the_scene_is_as_it_was(scene, echoes, error):
    logic = make_logic(FakeEngine(error))
    magnitude = echoes("magnitude")
    before = content(scene)
    with pytest.raises(type(error)):
        logic.process(magnitude, None, ECHO_TIMES)
    assert content(scene) == before


def test_a_failure_while_maps_are_added_leaves_none_of_them(logic, echoes, scene, monkeypatch):
    from QMRIEstimationLib import mrml_maps

    magnitude = echoes("magnitude")
    before = content(scene)
    calls = []

    def fail_late(*args):
        calls.append(args)
        if len(calls) == 2:
            raise MemoryError("no memory for the second map")

    monkeypatch.setattr(mrml_maps, "_stamp", fail_late)
    with pytest.raises(MemoryError):
        logic.process(magnitude, None, ECHO_TIMES)
    assert len(calls) == 2 and content(scene) == before


def test_cancelling_after_the_engine_adds_nothing(logic, echoes, scene):
    magnitude = echoes("magnitude")
    before = content(scene)
    with pytest.raises(Cancelled):
        logic.process(magnitude, None, ECHO_TIMES, cancelled=lambda: True)
    assert content(scene) == before


def test_progress_reaches_the_caller(logic, echoes):
    seen = []
    logic.process(echoes("magnitude"), None, ECHO_TIMES, progress=lambda fraction, text: seen.append((fraction, text)))
    assert seen == [(0.5, "half way")]


def no_image(echoes, matrix):
    volume = echoes("magnitude")[0]
    volume.SetAndObserveImageData(None)
    return {"magnitude": volume, "echoTimes": ECHO_TIMES[:1]}


def other_grid(echoes, matrix):
    moved = matrix.copy()
    moved[0, 3] += 1
    odd = add_volume(np.zeros(SHAPE, np.float32), "odd", moved)
    return {"magnitude": [*echoes("magnitude")[:2], odd], "echoTimes": ECHO_TIMES}


def not_finite(echoes, matrix):
    magnitude = echoes("magnitude")
    as_array(magnitude[1])[0, 0, :2] = np.nan
    return {"magnitude": magnitude, "echoTimes": ECHO_TIMES}


def same_for_both(echoes, matrix):
    magnitude = echoes("magnitude")
    return {"magnitude": magnitude, "phase": magnitude, "echoTimes": ECHO_TIMES, "fieldStrength": 3.0}


def odd_phase(echoes, matrix):
    phase = [add_volume(100 * as_array(v), "strange", matrix) for v in echoes("phase")]
    return {"magnitude": echoes("magnitude"), "phase": phase, "echoTimes": ECHO_TIMES, "fieldStrength": 3.0}


def label_map(echoes, matrix):
    import slicer

    labels = slicer.util.addVolumeFromArray(np.ones(SHAPE, np.int16), nodeClassName="vtkMRMLLabelMapVolumeNode")
    return {"magnitude": labels, "echoTimes": ECHO_TIMES[:1]}


BAD = {
    "nothing selected": (lambda e, m: {"magnitude": None}, "No magnitude image is selected"),
    "no echo times": (lambda e, m: {"magnitude": e("magnitude")}, "no echo time is given for 3 images"),
    "too few echo times": (
        lambda e, m: {"magnitude": e("magnitude"), "echoTimes": ECHO_TIMES[:2]},
        "2 echo times are given for 3 images",
    ),
    "echo times in ms": (lambda e, m: {"magnitude": e("magnitude"), "echoTimes": (4, 9, 15)}, "echo times are 4000"),
    "one echo time twice": (
        lambda e, m: {"magnitude": e("magnitude"), "echoTimes": (0.004, 0.004, 0.015)},
        "expected different times",
    ),
    "one echo": (lambda e, m: {"magnitude": e("magnitude")[0], "echoTimes": ECHO_TIMES[:1]}, "R2\\* needs two or more"),
    "fewer phase images": (
        lambda e, m: {"magnitude": e("magnitude"), "phase": e("phase")[:2], "echoTimes": ECHO_TIMES},
        "2 phase and 3 magnitude images",
    ),
    "qsm without phase": (
        lambda e, m: {"magnitude": e("magnitude"), "echoTimes": ECHO_TIMES, "maps": ("Chi",)},
        "there is no phase image",
    ),
    "no field strength": (
        lambda e, m: {"magnitude": e("magnitude"), "phase": e("phase"), "echoTimes": ECHO_TIMES},
        "the field strength is unknown",
    ),
    "no map": (lambda e, m: {"magnitude": e("magnitude"), "echoTimes": ECHO_TIMES, "maps": ()}, "No map is asked for"),
    "no image": (no_image, "holds no image"),
    "another grid": (other_grid, "odd lies on another grid than magnitude 1"),
    "not finite": (not_finite, "magnitude 2: 2 voxels are not finite"),
    "magnitude as phase": (same_for_both, "selected as magnitude and as phase"),
    "strange phase": (odd_phase, "strange: the phase runs from"),
    "label map": (label_map, "expected a scalar volume"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_that_names_the_node_and_the_cure(logic, echoes, matrix, scene, case):
    make, expected = BAD[case]
    arguments = make(echoes, matrix)
    before = content(scene)
    with pytest.raises(InputError, match=expected) as caught:
        logic.process(**arguments)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert content(scene) == before


def test_unknown_unit_of_a_sequence_index_is_refused(logic):
    magnitude = add_sequence("mag", decay_images(), unit="furlong")
    with pytest.raises(InputError, match="mag: the echo times have the unit 'furlong', expected ms or s"):
        logic.process(magnitude)


@pytest.mark.parametrize("name", ["EchoTime", "MagneticFieldStrength"])
def test_an_attribute_that_is_no_number_is_refused(logic, echoes, name):
    magnitude = echoes("magnitude")
    magnitude[0].SetAttribute("qMRI." + name, "three")
    with pytest.raises(InputError, match=f"magnitude 1: {name} is 'three', expected numbers"):
        logic.process(magnitude)


def test_the_real_engine_finds_a_known_rate_through_the_scene(scene):
    """The self-test that runs in Slicer, here on slicer-core: 20 and 40 1/s within one percent."""
    make_logic(None)
    from QMRIEstimation import QMRIEstimationTest

    test = QMRIEstimationTest()
    test.setUp()
    test.test_r2starOfAKnownDecay()


def test_maps_made_in_the_scene_are_those_of_the_engine_bit_for_bit(scene, matrix):
    """A sphere of 0.1 ppm in an oblique grid, once through nodes and once from arrays."""
    from QMRIEstimationLib.pipeline import estimate

    magnitude, phase = sphere_images(matrix)
    nodes = make_logic(None).process(
        [add_volume(values, "magnitude", matrix) for values in magnitude],
        [add_volume(values, "phase", matrix) for values in phase],
        ECHO_TIMES,
        3.0,
    )
    scan = Scan(
        role=Role.MULTI_ECHO_GRE,
        name="sphere",
        geometry=Geometry(magnitude.shape[1:], matrix),
        read=lambda: (magnitude, phase),
        echo_times=ECHO_TIMES,
        field_strength=3.0,
        has_phase=True,
    )
    maps = estimate(Session("01", scans=(scan,))).maps
    assert set(maps) == {"R2star", "Chi"}
    for name, result in maps.items():
        np.testing.assert_array_equal(as_array(nodes[name]), result.values)
        np.testing.assert_array_equal(as_array(nodes[name + " SD"]), result.sd)
