"""QMRIEstimationLogic on the real scene of slicer-core, without Qt.

The engine is replaced by one whose maps are known, except where it is said; files in between are real.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry
from scene_data import (
    ECHO_TIMES,
    FIELD_STRENGTH,
    SHAPE,
    add_sequence,
    add_volume,
    as_array,
    content,
    decay_images,
    describe_echoes,
    random_phase_images,
    sphere_images,
)


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


def four_dimensional(images, name, matrix):
    """One node with a value a voxel for each image, as the MultiVolume importer makes (its class is not here)."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(np.moveaxis(images, 0, -1)))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


@pytest.mark.parametrize("form", ["volumes", "sequences", "4-D volumes"])
def test_volumes_sequences_and_4d_volumes_reach_the_engine_as_the_same_arrays(logic, engine, matrix, form):
    expected = [decay_images(), random_phase_images()]
    nodes = []
    for images, part in zip(expected, ("magnitude", "phase"), strict=True):
        if form == "volumes":
            nodes += describe_echoes(
                [add_volume(v, part, matrix) for v in images], part, MagneticFieldStrength=FIELD_STRENGTH
            )
            continue
        node = add_sequence(part, images, matrix) if form == "sequences" else four_dimensional(images, part, matrix)
        logic.describe(node, Use="multi-echo GRE", Part=part, EchoTime=ECHO_TIMES, MagneticFieldStrength=FIELD_STRENGTH)
        nodes.append(node)
    logic.process(nodes)
    assert engine.images[0].dtype == engine.images[1].dtype == np.float32
    np.testing.assert_array_equal(engine.images[0], expected[0])
    np.testing.assert_array_equal(engine.images[1], expected[1])
    assert engine.session.scans[0].echo_times == pytest.approx(ECHO_TIMES)
    assert engine.session.scans[0].field_strength == FIELD_STRENGTH


def test_geometry_and_direction_of_the_main_field_are_those_of_the_node(logic, engine, echoes, matrix):
    logic.process([*echoes("magnitude"), *echoes("phase")], fieldStrength=FIELD_STRENGTH)
    geometry = engine.session.scans[0].geometry
    np.testing.assert_allclose(geometry.ijk_to_ras, matrix, atol=1e-5)  # NIfTI keeps float32
    assert geometry.shape == SHAPE
    columns = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    np.testing.assert_allclose(geometry.b0_dir, columns[2, ::-1], atol=1e-5)  # the z component of k, j and i


def test_echoes_in_any_order_are_sorted_by_echo_time(logic, engine, echoes):
    magnitude = echoes("magnitude")
    logic.process(magnitude[::-1])
    assert engine.session.scans[0].echo_times == pytest.approx(ECHO_TIMES)
    np.testing.assert_array_equal(engine.images[0][0], as_array(magnitude[0]))


def test_siemens_integers_become_radians(logic, engine, echoes, matrix):
    phase = echoes("phase", Manufacturer="Siemens", MagneticFieldStrength=FIELD_STRENGTH)
    stored = [np.round(as_array(v) / np.pi * 4096).astype(np.int16) for v in phase]
    whole = describe_echoes([add_volume(v, "p", matrix) for v in stored], "phase", Manufacturer="Siemens")
    logic.process([*echoes("magnitude"), *whole], fieldStrength=FIELD_STRENGTH)
    np.testing.assert_allclose(engine.images[1], np.stack(stored) * (np.pi / 4096), atol=1e-5)


def test_input_nodes_are_untouched(logic, engine, echoes):
    inputs = [*echoes("magnitude"), *echoes("phase")]
    before = [(v.GetMTime(), v.GetImageData().GetMTime(), as_array(v).copy()) for v in inputs]
    logic.process(inputs, fieldStrength=FIELD_STRENGTH)
    for volume, (node_time, image_time, values) in zip(inputs, before, strict=True):
        assert (volume.GetMTime(), volume.GetImageData().GetMTime()) == (node_time, image_time)
        np.testing.assert_array_equal(as_array(volume), values)


def put_under_transform(volumes, scene):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "To template")
    for volume in volumes:
        volume.SetAndObserveTransformNodeID(transform.GetID())


def test_images_under_a_transform_are_refused_because_scans_are_aligned_here(logic, echoes, scene):
    magnitude = echoes("magnitude")
    put_under_transform(magnitude, scene)
    with pytest.raises(InputError, match="magnitude 1: is under the transform To template"):
        logic.process(magnitude)


def test_a_sequence_seen_under_a_transform_is_refused(logic, scene):
    import slicer

    sequence = add_sequence("mag", decay_images())
    logic.describe(sequence, Use="multi-echo GRE")
    browser = scene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    browser.AddSynchronizedSequenceNode(sequence)
    proxy = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "proxy")
    browser.AddProxyNode(proxy, sequence, False)
    put_under_transform([proxy], scene)
    with pytest.raises(InputError, match="mag: is under the transform To template"):
        logic.process([sequence])


def test_slices_of_alternating_sign_are_mended_and_noted(logic, engine, scene, matrix):
    """As GE writes them: every second slice has half a turn more."""
    magnitude, phase = sphere_images(matrix)
    stored = phase.copy()
    stored[:, 1::2] = np.angle(-np.exp(1j * stored[:, 1::2]))
    nodes = []
    for images, part in ((magnitude, "magnitude"), (stored, "phase")):
        nodes += describe_echoes([add_volume(values, part, matrix) for values in images], part)
    logic.process(nodes, fieldStrength=FIELD_STRENGTH)
    np.testing.assert_allclose(np.exp(1j * engine.images[1]), np.exp(1j * phase), atol=1e-5)
    assert any("alternates between slices" in note for note in engine.session.scans[0].notes)


@pytest.mark.parametrize("kind", ["label map", "segmentation"])
def test_a_mask_may_be_a_label_map_or_a_segmentation(logic, engine, echoes, scene, matrix, kind):
    import slicer

    drawn = np.zeros(SHAPE, np.int16)
    drawn[2:5, 2:6, 3:8] = 1
    mask = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "brain")
    slicer.util.updateVolumeFromArray(mask, drawn)
    mask.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    if kind == "segmentation":
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "brain")
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(mask, node)
        mask = node
    before = content(scene)
    logic.process(echoes("magnitude"), ("R2star",), brainMask=mask)
    found, geometry = engine.brain
    np.testing.assert_array_equal(found, drawn > 0)
    np.testing.assert_allclose(geometry.ijk_to_ras, matrix, atol=1e-4)
    new = [name for entry, name in content(scene)[0] if entry not in dict(before[0])]
    assert "brain mask" not in new  # the label map that a segmentation is exported to is gone


def test_the_real_engine_finds_a_known_rate_through_the_scene(scene):
    """The self-test that runs in Slicer, here on slicer-core: 20 and 40 1/s within one percent."""
    from QMRIEstimation import QMRIEstimationTest

    test = QMRIEstimationTest()
    test.setUp()
    test.test_r2starOfAKnownDecay()


def test_maps_made_in_the_scene_are_those_of_the_engine_bit_for_bit(logic, scene, matrix):
    """A sphere of 0.1 ppm in an oblique grid, once through nodes and once from arrays."""
    from QMRIEstimationLib.pipeline import estimate

    magnitude, phase = sphere_images(matrix)
    images = []
    for values, part in ((magnitude, "magnitude"), (phase, "phase")):
        images += describe_echoes([add_volume(v, part, matrix) for v in values], part)
    nodes = logic.process(images, fieldStrength=FIELD_STRENGTH)
    scan = Scan(
        role=Role.MULTI_ECHO_GRE,
        name="sphere",
        geometry=Geometry(magnitude.shape[1:], matrix.astype(np.float32).astype(float)),
        read=lambda: (magnitude, phase),
        echo_times=ECHO_TIMES,
        field_strength=FIELD_STRENGTH,
        has_phase=True,
    )
    maps = estimate(Session("01", scans=(scan,))).maps
    assert set(maps) == {"R2star", "Chi"}
    for name, result in maps.items():
        np.testing.assert_array_equal(as_array(nodes[name]), result.values)
        np.testing.assert_array_equal(as_array(nodes[name + " SD"]), result.sd)
