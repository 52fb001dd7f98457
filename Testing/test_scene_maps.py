"""Maps that QMRIEstimationLogic puts into the scene, and the scene after a failure.

The engine is replaced by one whose maps are known; files in between are real.
"""

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled, InputError
from scene_data import FIELD_STRENGTH, SHAPE, as_array, content, matrix_of


def test_maps_carry_quantity_unit_window_and_colour(logic, engine, echoes):
    nodes = logic.process([*echoes("magnitude"), *echoes("phase")], fieldStrength=FIELD_STRENGTH)
    assert list(nodes)[:2] == ["R2star", "Chi"]
    assert set(nodes) >= {"R2star SD", "R2star quality", "Chi SD", "Chi quality", "brain mask"}
    for name, unit, quantity in (("R2star", "/s", "126395"), ("Chi", "[ppm]", "126396")):
        for suffix in ("", " SD"):
            node = nodes[name + suffix]
            assert node.GetVoxelValueUnits().GetCodeValue() == unit
            assert node.GetVoxelValueQuantity().GetCodeValue() == quantity
    shown = nodes["R2star"].GetDisplayNode()
    np.testing.assert_allclose((shown.GetWindowLevelMin(), shown.GetWindowLevelMax()), (-5, 50), rtol=1e-6)
    assert not shown.GetAutoWindowLevel()
    chi = nodes["Chi"].GetDisplayNode()
    np.testing.assert_allclose((chi.GetWindowLevelMin(), chi.GetWindowLevelMax()), (-0.1, 0.1), rtol=1e-6)
    assert chi.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"


@pytest.mark.parametrize("value, invalid", [(0.0, True), (-3.0, False), (0.5, False), (49.0, False)])
def test_only_voxels_of_0_have_the_colour_of_invalid(logic, engine, echoes, value, invalid):
    """Noise takes R2* of fluid below 0; such voxels must not look like holes."""
    shown = logic.process(echoes("magnitude"), ("R2star",))["R2star"].GetDisplayNode()
    table, low, high = shown.GetColorNode(), shown.GetWindowLevelMin(), shown.GetWindowLevelMax()
    color = [0.0] * 4
    level = int((value - low) / (high - low) * 255)  # Slicer maps the window to bytes first
    table.GetColor(int(level * table.GetNumberOfColors() / 255), color)
    assert (color[:3] == [0, 0, 0]) == invalid


def test_maps_lie_on_the_grid_of_the_input_and_keep_their_values(logic, engine, echoes, matrix):
    nodes = logic.process(echoes("magnitude"), ("R2star",))
    np.testing.assert_allclose(matrix_of(nodes["R2star"]), matrix, atol=1e-5)
    expected = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    np.testing.assert_array_equal(as_array(nodes["R2star"]), expected)


def test_maps_are_in_one_folder_and_what_stands_beside_them_in_a_closed_one_within(logic, engine, echoes, scene):
    import slicer

    nodes = logic.process([*echoes("magnitude"), *echoes("phase")], fieldStrength=FIELD_STRENGTH)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parent = {key: hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for key, node in nodes.items()}
    assert parent["R2star"] == parent["Chi"] and hierarchy.GetItemLevel(parent["Chi"]) == "Folder"
    beside = {item for key, item in parent.items() if key not in ("R2star", "Chi")}
    assert len(beside) == 1 and hierarchy.GetItemParent(beside.pop()) == parent["Chi"]
    assert not hierarchy.GetItemExpanded(parent["Chi SD"])


def test_a_second_run_brings_the_nodes_of_the_first_up_to_date(logic, engine, echoes, scene, monkeypatch):
    magnitude = echoes("magnitude")
    first = logic.process(magnitude, ("R2star",))
    first["R2star"].GetDisplayNode().SetWindowLevelMinMax(0, 20)  # the user's choice stays
    before = content(scene)
    monkeypatch.setattr("scene_data.RATE", 1)
    as_array(magnitude[0])[:] *= 2
    magnitude[0].GetImageData().Modified()
    second = logic.process(magnitude, ("R2star",))
    assert second["R2star"] is first["R2star"] and content(scene) == before
    assert second["R2star"].GetDisplayNode().GetWindowLevelMax() == 20
    np.testing.assert_array_equal(engine.images[0][0], as_array(magnitude[0]))


def test_another_subject_gets_nodes_of_its_own_and_shares_the_colours(logic, engine, echoes):
    magnitude = echoes("magnitude")
    first, second = (logic.process(magnitude, ("R2star",), subject=name)["R2star"] for name in ("01", "02"))
    assert first is not second and first.GetName() == "sub-01 R2star"
    assert first.GetDisplayNode().GetColorNodeID() == second.GetDisplayNode().GetColorNodeID()


def test_a_failing_second_run_leaves_the_maps_of_the_first(logic, engine, echoes, monkeypatch):
    from QMRIEstimationLib.scene import results

    magnitude = echoes("magnitude")
    node = logic.process(magnitude, ("R2star",))["R2star"]
    as_array(node)[:] = 7  # so that the second run would change it
    values, attributes = as_array(node).copy(), {n: node.GetAttribute(n) for n in node.GetAttributeNames()}

    def fail(*arguments):
        raise MemoryError("no memory")

    monkeypatch.setattr(results, "_stamp", fail)
    with pytest.raises(MemoryError):
        logic.process(magnitude, ("R2star",))
    np.testing.assert_array_equal(as_array(node), values)
    assert {n: node.GetAttribute(n) for n in node.GetAttributeNames()} == attributes


def test_parameters_units_and_colours_survive_a_saved_scene(logic, engine, echoes, scene, tmp_path):
    magnitude = echoes("magnitude")
    node = logic.process(magnitude, ("R2star",))["R2star"]
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
    image = other.GetFirstNodeByName("magnitude 2")
    assert image.GetAttribute("qMRI.Use") == "multi-echo GRE" and image.GetAttribute("qMRI.EchoTime") == "0.009"
    assert image.GetAttribute("qMRI.Origin.EchoTime") == "given"


def scene_that_opens_archives(folder):
    """A scene with the cache and the nodes that the application gives to its own."""
    import slicer

    scene, cache, manager = slicer.vtkMRMLScene(), slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(folder))
    manager.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    slicer.vtkSlicerColorLogic().SetMRMLScene(scene)
    return scene


def test_kept_files_are_those_of_the_command(logic, engine, echoes, tmp_path):
    logic.process(echoes("magnitude"), ("R2star",), subject="07", session="2", outputFolder=tmp_path)
    assert (tmp_path / "sub-07" / "ses-2" / "anat" / "sub-07_ses-2_R2starmap.nii.gz").is_file()
    assert (tmp_path / "sub-07_ses-2.html").is_file() and (tmp_path / "dataset_description.json").is_file()


def test_exported_maps_are_byte_for_byte_those_of_the_command(logic, engine, echoes, tmp_path):
    from QMRIEstimationLib.scene.export import export_nifti

    nodes = logic.process(echoes("magnitude"), ("R2star",), subject="07", outputFolder=tmp_path / "kept")
    assert export_nifti(nodes, tmp_path / "exported") == 3
    for end in ("R2starmap", "desc-uncertainty_R2starmap", "desc-quality_R2starmap"):
        kept, exported = (tmp_path / name / "sub-07" / "anat" / f"sub-07_{end}.nii.gz" for name in ("kept", "exported"))
        assert kept.read_bytes() == exported.read_bytes()


@pytest.mark.parametrize(
    "error",
    [Cancelled("cancelled by the user"), InputError("no"), RuntimeError("broken")],
    ids=lambda e: type(e).__name__,
)
def test_after_a_failure_the_scene_is_as_it_was(logic, engine, scene, echoes, error):
    engine.error = error
    magnitude = echoes("magnitude")
    before = content(scene)
    with pytest.raises(type(error)):
        logic.process(magnitude)
    assert content(scene) == before


def test_a_failure_while_maps_are_added_leaves_none_of_them(logic, engine, echoes, scene, monkeypatch):
    from QMRIEstimationLib.scene import results

    magnitude = echoes("magnitude")
    before = content(scene)
    calls = []

    def fail_late(*args):
        calls.append(args)
        if len(calls) == 2:
            raise MemoryError("no memory for the second map")

    monkeypatch.setattr(results, "_stamp", fail_late)
    with pytest.raises(MemoryError):
        logic.process(magnitude)
    assert len(calls) == 2 and content(scene) == before


def test_cancelling_after_the_engine_adds_nothing(logic, engine, echoes, scene):
    magnitude = echoes("magnitude")
    before = content(scene)
    with pytest.raises(Cancelled):
        logic.process(magnitude, cancelled=lambda: True)
    assert content(scene) == before


def test_no_temporary_file_is_left(logic, engine, echoes, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    logic.process(echoes("magnitude"))
    engine.error = InputError("no")
    with pytest.raises(InputError):
        logic.process(echoes("magnitude"))
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_the_caller(logic, engine, echoes):
    seen = []
    logic.process(echoes("magnitude"), progress=lambda fraction, text: seen.append((fraction, text)))
    assert seen == [(0.5, "half way")]


def test_sentences_and_sources_name_nodes_not_temporary_files(logic, engine, echoes, caplog):
    import json

    with caplog.at_level("INFO"):
        node = logic.process(echoes("magnitude"), ("R2star",))["R2star"]
    assert "magnitude 1: a note." in caplog.text
    assert "magnitude 2" in json.loads(node.GetAttribute("qMRI.Sources"))
    engine.error = InputError("sub-scene_echo-2_part-mag_MEGRE.nii: is odd; mend it.")
    with pytest.raises(InputError, match=r"^magnitude 2: is odd; mend it\.$"):
        logic.process(echoes("magnitude"))
