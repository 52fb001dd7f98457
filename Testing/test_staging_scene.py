"""QMRILesionStagingLogic on the real scene of slicer-core, without Qt."""

import sys

import numpy as np
import pytest
import slicerhost
from conftest import REPOSITORY
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRILesionStagingLib.calls import COLORS
from QMRILesionStagingLib.lesion_table import lesion_rows
from QMRILesionStagingLib.staging import stage_lesions
from staging_scene import QUICK, map_node, two_lesions, volume


@pytest.fixture
def scene():
    """The scene of slicer-core, emptied."""
    slicer = slicerhost.scene()
    slicer.mrmlScene.Clear()
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return slicer.mrmlScene


@pytest.fixture
def logic(scene):
    sys.path.insert(0, str(REPOSITORY / "QMRILesionStaging"))
    from QMRILesionStaging import QMRILesionStagingLogic

    return QMRILesionStagingLogic()


@pytest.fixture
def canvas(oblique_matrix):
    return two_lesions(oblique_matrix)


@pytest.fixture
def nodes(scene, canvas, oblique_matrix):
    """Keyword arguments of `process` for the canvas, and its StagingInput."""
    given = canvas.given()
    made = {}
    for name, result in given.maps.items():
        made[name.lower()] = map_node(result, name, name, oblique_matrix)
        volume(result.sd, f"{name} SD", oblique_matrix)
    mask = volume(given.drawn.astype(np.uint8), "lesions", oblique_matrix, "vtkMRMLLabelMapVolumeNode")
    return made | {"lesions": mask, "fieldStrength": 3.0, "options": QUICK}, given


def content(scene):
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    names = [scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())]
    return sorted(names), hierarchy.GetNumberOfItems()


def column(table, name):
    array = table.GetTable().GetColumnByName(name)
    return [array.GetValue(n) for n in range(array.GetNumberOfValues())]


def test_the_logic_gives_the_numbers_of_the_engine(logic, nodes):
    arguments, given = nodes
    made = logic.process(**arguments)
    rows = lesion_rows(stage_lesions(replace_images(given), QUICK))
    assert column(made["table"], "stage") == [row["stage"] for row in rows]
    assert column(made["table"], "rim_grade") == ["definite", "absent"]
    for name in ("volume_mm3", "x_ras", "y_ras", "z_ras", "R1_core", "Chi_delta", "Chi_delta_sd", "R2star_rim"):
        assert column(made["table"], name) == pytest.approx([row[name] for row in rows])


def replace_images(given):
    """The same input without images and labels of tissue, which the nodes have not."""
    from dataclasses import replace

    brain = np.logical_or.reduce([m.valid for m in given.maps.values()])
    return replace(given, before=None, after=None, tissue=None, brain=brain)


def test_every_lesion_is_a_segment_with_its_stage_colour_and_terminology(logic, nodes, scene):
    import vtk

    arguments, _ = nodes
    made = logic.process(**arguments)
    segmentation = made["lesions"].GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 2
    for n, stage in enumerate(column(made["table"], "stage")):
        segment = segmentation.GetNthSegment(n)
        assert segment.GetName().startswith(f"{n + 1}: {stage}")
        assert segment.GetColor() == pytest.approx(COLORS[stage])
        text = vtk.reference("")
        assert segment.GetTag(segment.GetTerminologyEntryTagName(), text)
        assert "301766008" in str(text)
    assert "rim" in segmentation.GetNthSegment(0).GetName()


def test_the_segments_lie_where_the_lesions_were_drawn(logic, nodes, scene):
    import slicer
    from QMRIEstimationLib.scene.drawings import segments

    arguments, given = nodes
    made = logic.process(**arguments)
    back, _ = segments(made["lesions"], arguments["chi"], "lesions")
    np.testing.assert_array_equal(back > 0, given.drawn)
    assert slicer.mrmlScene.GetNodesByClass("vtkMRMLLabelMapVolumeNode").GetNumberOfItems() == 1  # the user's mask


def test_a_segmentation_with_one_segment_a_lesion_is_read_as_it_is(logic, nodes):
    arguments, _ = nodes
    first = logic.process(**arguments)
    second = logic.process(**(arguments | {"lesions": first["lesions"]}))
    assert column(second["table"], "volume_mm3") == pytest.approx(column(first["table"], "volume_mm3"))
    assert column(second["table"], "stage") == column(first["table"], "stage")


def test_profiles_can_be_plotted(logic, nodes):
    arguments, _ = nodes
    made = logic.process(**arguments)
    chart = made["Chi chart"]
    assert chart.GetNumberOfPlotSeriesNodes() == 2
    along = np.array(column(made["Chi profiles"], "mm from the border"))
    rim = np.array(column(made["Chi profiles"], "lesion 1"))
    inside, border = np.abs(along + 4) < 0.3, np.abs(along + 0.75) < 0.3
    assert np.nanmean(rim[border]) > np.nanmean(rim[inside]) + 0.01
    assert "ppm" in chart.GetYAxisTitle()


def test_ppb_and_ppm_give_the_same(logic, nodes):
    import slicer

    arguments, given = nodes
    first = logic.process(**arguments)
    chi = arguments["chi"]
    slicer.util.updateVolumeFromArray(chi, given.maps["Chi"].values * 1000)
    unit = slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning("[ppb]", "UCUM", "parts per billion")
    chi.SetVoxelValueUnits(unit)
    second = logic.process(**(arguments | {"lesions": arguments["lesions"]}))
    assert column(second["table"], "Chi_delta") == pytest.approx(column(first["table"], "Chi_delta"), abs=2e-6)
    assert column(second["table"], "rim_grade") == column(first["table"], "rim_grade")


def test_maps_on_other_grids_are_brought_to_that_of_chi(logic, nodes, oblique_matrix):
    arguments, given = nodes
    matrix = oblique_matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ (4, 3, 2)
    smaller = volume(given.maps["R1"].values[2:-2, 3:-3, 4:-4], "smaller R1", matrix)
    made = logic.process(**(arguments | {"r1": smaller}))
    expected = logic.process(**arguments)
    assert column(made["table"], "R1_delta") == pytest.approx(column(expected["table"], "R1_delta"), abs=0.01)


def test_images_before_and_after_or_a_drawn_mask_tell_enhancement(logic, nodes, canvas, oblique_matrix, monkeypatch):
    from QMRIEstimationLib.registration import Registration
    from QMRILesionStagingLib.scene import given as reading

    unmoved = Registration(np.eye(4), 0.0, 0.0, 0.0, 0.0, True)  # nothing in these images could be aligned
    monkeypatch.setattr(reading, "registered", lambda *_: unmoved)
    arguments, given = nodes
    assert column(logic.process(**arguments)["table"], "enhancement") == ["unknown", "unknown"]
    drawn = volume((canvas.labels() == 2).astype(np.uint8), "drawn", oblique_matrix, "vtkMRMLLabelMapVolumeNode")
    made = logic.process(**(arguments | {"enhancing": drawn}))
    assert column(made["table"], "enhancement") == ["none", "nodular"]
    before = volume(given.before, "T1w", oblique_matrix)
    after = volume(given.after + 0.6 * (canvas.labels() == 2), "T1w after", oblique_matrix)
    made = logic.process(**(arguments | {"before": before, "after": after}))
    assert column(made["table"], "enhancement") == ["none", "nodular"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lesions": None}, "No lesions are selected"),
        ({"chi": None, "r1": None, "r2": None, "r2star": None, "pd": None}, "No map is selected"),
    ],
)
def test_what_is_not_selected_is_said(logic, nodes, scene, change, words):
    arguments, _ = nodes
    before = content(scene)
    with pytest.raises(InputError, match=words):
        logic.process(**(arguments | change))
    assert content(scene) == before


def test_an_unknown_unit_is_refused_and_a_missing_one_is_told(logic, nodes, caplog):
    import slicer

    arguments, _ = nodes
    unit = slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning("T", "UCUM", "tesla")
    arguments["chi"].SetVoxelValueUnits(unit)
    with pytest.raises(InputError, match=r"Chi: its unit is T, expected one of \[ppm\]"):
        logic.process(**arguments)
    arguments["chi"].SetVoxelValueUnits(None)
    with caplog.at_level("INFO"):
        logic.process(**arguments)
    assert "no unit is stored with it; it was taken as ppm" in caplog.text


def test_an_error_or_cancelling_leaves_the_scene_as_it_was(logic, nodes, scene, monkeypatch):
    from QMRILesionStagingLib.scene import results

    arguments, _ = nodes
    before = content(scene)
    with pytest.raises(Cancelled):
        logic.process(**arguments, cancelled=lambda: True)
    assert content(scene) == before
    monkeypatch.setattr(results, "fill_profiles", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        logic.process(**arguments)
    assert content(scene) == before


def test_no_lesions_give_an_empty_table(logic, nodes, oblique_matrix):
    arguments, given = nodes
    empty = volume(np.zeros(given.drawn.shape, np.uint8), "none", oblique_matrix, "vtkMRMLLabelMapVolumeNode")
    made = logic.process(**(arguments | {"lesions": empty}))
    assert set(made) == {"table"}
    assert made["table"].GetNumberOfRows() == 0
