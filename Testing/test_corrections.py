"""A reader merges, splits, deletes and redraws lesions of the scene; only what is touched is staged again."""

import numpy as np
import pytest
from QMRIEstimationLib.errors import InputError
from QMRILesionStagingLib.instances import Instances
from QMRILesionStagingLib.lesion_table import lesion_rows
from QMRILesionStagingLib.scene import correct
from QMRILesionStagingLib.scene.case import given_again, reference_of
from QMRILesionStagingLib.scene.correct import Corrections
from QMRILesionStagingLib.scene.record import staging_in
from QMRILesionStagingLib.scene.review import override
from QMRILesionStagingLib.scene.segments import labels_of, segment_of
from QMRILesionStagingLib.scene.tables import rows_of
from QMRILesionStagingLib.staging import stage_lesions
from staging_scene import QUICK, volume


def labels(nodes):
    return labels_of(nodes["lesions"], reference_of(nodes["table"]))[0]


def assert_as_staged_afresh(nodes):
    """The table is that of a staging of the lesions as they are now.

    Numbers may differ by a percent: white matter far away holds the voxels of a lesion that was deleted.
    """
    now = labels(nodes)
    given, options = given_again(nodes["table"], now)
    rows = rows_of(nodes["table"])
    parents = {round(row["lesion"]): round(row["confluent_parent"]) for row in rows if row["confluent_parent"]}
    expected = lesion_rows(stage_lesions(given, options, instances=Instances(now, parents, ())))
    assert [round(row["lesion"]) for row in rows] == [row["lesion"] for row in expected]
    for row, fresh in zip(rows, expected, strict=True):
        for name, value in fresh.items():
            if isinstance(value, str):
                assert row[name] == value, name
            elif value is not None:
                assert row[name] == pytest.approx(value, rel=0.01, abs=1e-4), name


def test_what_a_staging_was_made_of_is_kept_with_its_table(nodes):
    given, options = given_again(nodes["table"], labels(nodes))
    assert options.rim.found == QUICK.rim.found == 0.0 and given.field_strength == 3.0
    assert options.rim.definite == pytest.approx(2 / 3)  # kept in decimals
    assert set(given.maps) == {"Chi", "R1", "R2", "R2star", "PD"}
    assert_as_staged_afresh(nodes)


def test_a_split_lesion_becomes_two_rows_two_segments_and_two_profiles(nodes):
    before = labels(nodes)
    again = Corrections(nodes).split(1, "AB", "two lesions")
    assert set(again) >= {1, 3}
    after = labels(nodes)
    np.testing.assert_array_equal(np.isin(after, (1, 3)), before == 1)
    assert segment_of(nodes, 3).GetName().startswith("3: ")
    assert "lesion 3 low" in rows_of(nodes["Chi profiles"])[0]
    assert {round(row["lesion"]) for row in rows_of(nodes["rim directions"])} >= {2}
    rows = {round(row["lesion"]): row for row in rows_of(nodes["table"])}
    assert rows[1]["confluent_parent"] == rows[3]["confluent_parent"] and rows[2]["confluent_parent"] is None
    assert_as_staged_afresh(nodes)
    assert [(row["action"], row["reader"]) for row in rows_of(nodes["history"])] == [("split", "AB")]


def test_points_say_where_a_lesion_is_split(nodes):
    rows = rows_of(nodes["table"])
    centre = np.array([rows[1][f"{axis}_ras"] for axis in "xyz"])
    Corrections(nodes).split(2, "AB", "two", centre + np.array([[2.0, 0, 0], [-2.0, 0, 0]]))
    found = {round(row["lesion"]): row["x_ras"] for row in rows_of(nodes["table"])}
    assert abs(found[2] - found[3]) > 2.5  # mm, the middles of the halves of a ball of 9 mm are 3.4 mm apart


def test_split_and_merged_again_is_as_before(nodes):
    before = rows_of(nodes["table"])
    corrections = Corrections(nodes)
    corrections.split(1, "AB", "two lesions")
    corrections.merge([3, 1], "AB", "one after all")
    after = rows_of(nodes["table"])
    for row, same in zip(after, before, strict=True):
        assert {k: v for k, v in row.items() if k != "confluent_parent"} == pytest.approx(
            {k: v for k, v in same.items() if k != "confluent_parent"}
        )


def test_a_deleted_lesion_is_gone_everywhere_and_can_be_taken_back(nodes):
    rows, shape = rows_of(nodes["table"]), labels(nodes)
    corrections = Corrections(nodes)
    corrections.delete([1], "AB", "a vessel")
    assert [round(row["lesion"]) for row in rows_of(nodes["table"])] == [2]
    assert segment_of(nodes, 1) is None and not (labels(nodes) == 1).any()
    assert "lesion 1" not in rows_of(nodes["Chi profiles"])[0]
    assert_as_staged_afresh(nodes)
    corrections.undo("AB")
    assert rows_of(nodes["table"]) == rows
    np.testing.assert_array_equal(labels(nodes), shape)
    assert nodes["Chi chart"].GetNumberOfPlotSeriesNodes() == 2
    assert [row["action"] for row in rows_of(nodes["history"])] == ["deleted", "taken back"]
    assert not corrections.can_undo


def test_every_lesion_can_be_deleted(nodes):
    Corrections(nodes).delete([1, 2], "AB", "artefacts")
    assert rows_of(nodes["table"]) == [] and not labels(nodes).any()


def test_a_segment_that_was_drawn_anew_is_staged_again_and_keeps_the_readers_call(nodes):
    import slicer

    override(nodes, 2, "chronic inactive", "", "seen before", "AB")
    smaller = labels(nodes)
    places = np.argwhere(smaller == 2)
    smaller[tuple(places[places[:, 2] > np.median(places[:, 2])].T)] = 0
    draw(nodes, 2, smaller == 2)
    corrections = Corrections(nodes)
    with pytest.raises(InputError, match="Lesions 2 were drawn anew; take that over first"):
        corrections.split(1, "AB", "two")
    assert 2 in corrections.take_drawing("AB", "too large")
    row = rows_of(nodes["table"])[1]
    voxel = 0.8 * 0.9 * 1.4
    assert row["volume_mm3"] == pytest.approx((smaller == 2).sum() * voxel, abs=0.1)
    assert row["reader_stage"] == "chronic inactive"
    assert_as_staged_afresh(nodes)
    with pytest.raises(InputError, match="Nothing was drawn"):
        corrections.take_drawing("AB", "again")
    assert slicer.mrmlScene.GetNodesByClass("vtkMRMLLabelMapVolumeNode").GetNumberOfItems() == 1


def draw(nodes, lesion, mask):
    """What the Segment Editor does to a segment."""
    import slicer

    node = nodes["lesions"]
    segmentation = node.GetSegmentation()
    identity = next(
        segmentation.GetNthSegmentID(n)
        for n in range(segmentation.GetNumberOfSegments())
        if segmentation.GetNthSegment(n) is segment_of(nodes, lesion)
    )
    reference = reference_of(nodes["table"])
    label = volume(mask.astype(np.uint8), "edited", np.eye(4), "vtkMRMLLabelMapVolumeNode")
    label.CopyOrientation(reference)
    import vtk

    chosen = vtk.vtkStringArray()
    chosen.InsertNextValue(identity)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ImportLabelmapToSegmentationNode(label, node, chosen)
    slicer.mrmlScene.RemoveNode(label)


def test_a_segment_that_was_added_or_removed_is_taken_over(nodes):
    node = nodes["lesions"]
    node.GetSegmentation().AddEmptySegment("new", "mine")
    node.GetSegmentation().RemoveSegment(node.GetSegmentation().GetNthSegmentID(0))
    import slicer

    shape = np.zeros(slicer.util.arrayFromVolume(reference_of(nodes["table"])).shape, np.uint8)
    shape[10:14, 20:26, 20:26] = 1
    label = volume(shape, "edited", np.eye(4), "vtkMRMLLabelMapVolumeNode")
    label.CopyOrientation(reference_of(nodes["table"]))
    import vtk

    chosen = vtk.vtkStringArray()
    chosen.InsertNextValue("new")
    assert slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(label, node, chosen)
    slicer.mrmlScene.RemoveNode(label)
    Corrections(nodes).take_drawing("AB", "one missed, one false")
    assert [round(row["lesion"]) for row in rows_of(nodes["table"])] == [2, 3]
    assert (labels(nodes) == 3).sum() == shape.sum()
    assert_as_staged_afresh(nodes)


def test_a_correction_needs_name_and_reason_and_a_failure_changes_nothing(nodes, monkeypatch):
    rows, shape = rows_of(nodes["table"]), labels(nodes)
    corrections = Corrections(nodes)
    with pytest.raises(InputError, match="needs the reader's name and a reason"):
        corrections.delete([1], "", "a vessel")
    monkeypatch.setattr(correct, "direction_rows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        corrections.split(1, "AB", "two")
    assert rows_of(nodes["table"]) == rows and "history" not in nodes
    np.testing.assert_array_equal(labels(nodes), shape)


def test_a_map_that_left_the_scene_is_named(nodes):
    import slicer

    slicer.mrmlScene.RemoveNode(slicer.util.getNode("R1"))
    with pytest.raises(InputError, match="r1 is no longer in the scene"):
        Corrections(nodes).delete([1], "AB", "a vessel")


def test_a_second_staging_is_a_staging_of_its_own(nodes):
    import slicer

    import QMRILesionStaging

    rows, chi = rows_of(nodes["table"]), reference_of(nodes["table"])
    drawn = slicer.util.getNode("sub-01")
    QMRILesionStaging.QMRILesionStagingLogic().process(chi, drawn, options=QUICK)
    found = staging_in(slicer.mrmlScene)
    assert set(found) == {"sub-01", "sub-01 (2)"}
    assert rows_of(found["sub-01"]["table"]) == rows
    Corrections(found["sub-01 (2)"]).delete([1], "AB", "a vessel")
    assert len(rows_of(found["sub-01"]["table"])) == 2 and len(rows_of(found["sub-01 (2)"]["table"])) == 1


def test_maps_that_were_made_again_count_from_the_next_correction_on(nodes):
    import slicer

    corrections = Corrections(nodes)
    corrections.split(1, "AB", "two")
    node = slicer.util.getNode("R1")
    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) * np.float32(1.1))
    before = rows_of(nodes["table"])[0]["R1_reference"]
    corrections.merge([1, 3], "AB", "one")
    assert rows_of(nodes["table"])[0]["R1_reference"] == pytest.approx(1.1 * before, rel=0.02)
