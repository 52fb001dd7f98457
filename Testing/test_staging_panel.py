"""The panel of QMRILesionStaging as a reader meets it: take the maps, stage, walk the list, override, save."""

import numpy as np
import pytest
import slicerhost
import vtk
from html_checks import Page
from QMRILesionStagingLib.scene.case import recall
from QMRILesionStagingLib.scene.readings import order_of
from QMRILesionStagingLib.scene.record import staging_in
from QMRILesionStagingLib.scene.segments import segment_id, segment_of
from QMRILesionStagingLib.scene.tables import rows_of
from staging_scene import QUICK, map_node, two_lesions, volume

SELECTORS = {"Chi": "chi", "R1": "r1", "R2": "r2", "R2star": "r2star", "PD": "pd"}


@pytest.fixture
def ui(panel, host, oblique_matrix, monkeypatch):
    """The widgets of the panel, with the maps of two lesions in the scene: one with a rim, one without."""
    import slicer

    monkeypatch.setattr("QMRILesionStagingLib.options.StagingOptions", lambda: QUICK)
    given = two_lesions(oblique_matrix).given()
    for name, result in given.maps.items():
        map_node(result, f"sub-01 {name}", name, oblique_matrix).SetAttribute("qMRI.Output", f"sub-01/{name}")
    volume(given.drawn.astype(np.int16), "sub-01 lesions", oblique_matrix, "vtkMRMLLabelMapVolumeNode")
    labels, names = given.tissue
    tissue = volume(labels.astype(np.int16), "sub-01 tissue", oblique_matrix, "vtkMRMLLabelMapVolumeNode")
    colors = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "tissue")
    colors.SetTypeToUser()
    colors.SetNumberOfColors(max(names) + 1)
    for label, name in names.items():
        colors.SetColor(label, name, 1, 1, 1, 1)
    tissue.CreateDefaultDisplayNodes()
    tissue.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    widget = panel("QMRILesionStaging")
    widget.ui.filterComboBox.currentIndex = 0
    widget.ui.directionsCheckBox.checked = True
    yield widget.ui
    widget.panel.stop()
    slicerhost.close_views()


def stage(ui):
    import qt

    ui.fillButton.click()
    ui.applyButton.click()
    assert ui.statusLabel.text == "Done: 2 lesions.", ui.statusLabel.text
    ui.lesionsTable.sortItems(0, qt.Qt.AscendingOrder)  # a test before may have sorted by something else


def cell(ui, row, column):
    return ui.lesionsTable.item(row, column).text()


def choose(combo, text):
    """Pick an entry as a click does."""
    combo.currentIndex = combo.findText(text)
    combo.activated.emit(combo.currentIndex)


def test_apply_says_what_is_missing(ui):
    assert not ui.applyButton.enabled and "No map is selected" in ui.applyButton.toolTip
    import slicer

    ui.chiSelector.setCurrentNode(slicer.util.getNode("sub-01 Chi"))
    assert "No lesions are selected" in ui.applyButton.toolTip
    ui.lesionsSelector.setCurrentNode(slicer.util.getNode("sub-01 lesions"))
    assert ui.applyButton.enabled and ui.statusLabel.text == "Ready."
    ui.beforeSelector.setCurrentNode(slicer.util.getNode("sub-01 R1"))
    assert "One T1-weighted image alone" in ui.applyButton.toolTip and not ui.applyButton.enabled


def test_maps_of_two_subjects_are_refused(ui):
    import slicer

    ui.fillButton.click()
    slicer.util.getNode("sub-01 R1").SetAttribute("qMRI.Output", "sub-02/R1")
    ui.readerLineEdit.text = "AB"  # any change brings the panel up to date
    assert "those of sub-01 and sub-02" in ui.applyButton.toolTip and not ui.applyButton.enabled


def test_maps_lesions_and_labels_are_taken_in_one_step(ui):
    assert ui.resultsComboBox.currentText == "sub-01"
    ui.fillButton.click()
    for name, selector in SELECTORS.items():
        assert getattr(ui, f"{selector}Selector").currentNode().GetName() == f"sub-01 {name}"
    assert ui.lesionsSelector.currentNode().GetName() == "sub-01 lesions"
    assert ui.tissueSelector.currentNode().GetName() == "sub-01 tissue"


def test_the_list_shows_the_lesions_and_sorts_numbers_as_numbers(ui):
    import qt

    stage(ui)
    assert ui.lesionsTable.rowCount == 2
    assert cell(ui, 0, 1) == "chronic active" and cell(ui, 0, 3) in ("definite", "probable")
    ui.lesionsTable.sortItems(5, qt.Qt.AscendingOrder)
    volumes = [float(cell(ui, row, 5)) for row in range(2)]
    assert volumes == sorted(volumes)


def test_a_row_brings_all_views_to_the_lesion_and_shows_reason_profile_and_directions(ui, host):
    manager = slicerhost.open_views()
    stage(ui)
    ui.lesionsTable.selectRow(0)

    (nodes,) = staging_in(host.mrmlScene).values()
    found = rows_of(nodes["table"])[0]
    assert "Lesion 1:" in ui.reasonLabel.text and found["reason"] in ui.reasonLabel.text
    for name in manager.sliceViewNames():
        to_ras = manager.sliceWidget(name).mrmlSliceNode().GetSliceToRAS()
        centre = [to_ras.GetElement(n, 3) for n in range(3)]
        np.testing.assert_allclose(centre, [found[f"{axis}_ras"] for axis in "xyz"], atol=0.02)
    (chart,) = [n for n in host.util.getNodesByClass("vtkMRMLPlotChartNode") if n.GetName() == "QMRILesionStaging"]
    assert chart.GetTitle() == "QSM of lesion 1"
    mean = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    assert mean.GetNumberOfRows() > 5
    points = {n.GetName(): n for n in host.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")}
    seen = points["rim found"]
    assert seen.GetNumberOfControlPoints() > 30 and not seen.GetSaveWithScene()
    centre = np.array([found[f"{axis}_ras"] for axis in "xyz"])
    away = [np.linalg.norm(np.array(seen.GetNthControlPointPosition(n)) - centre) for n in range(30)]
    assert 3.5 < np.median(away) < 7.5  # on the border of a lesion of 11 mm
    ui.directionsCheckBox.checked = False
    assert not host.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")


def test_next_and_previous_walk_the_list(ui):
    stage(ui)
    ui.lesionsTable.selectRow(0)
    ui.nextButton.click()
    assert "Lesion 2:" in ui.reasonLabel.text
    ui.nextButton.click()
    assert "Lesion 2:" in ui.reasonLabel.text  # the end of the list
    ui.previousButton.click()
    assert "Lesion 1:" in ui.reasonLabel.text


def test_a_reader_overrides_with_name_and_reason_and_the_automatic_call_stays(ui, host):
    stage(ui)
    ui.lesionsTable.selectRow(0)
    choose(ui.stageComboBox, "chronic inactive")
    choose(ui.rimComboBox, "absent")
    ui.keepButton.click()
    assert "needs the reader's name and a reason" in ui.statusLabel.text and cell(ui, 0, 1) == "chronic active"
    ui.readerLineEdit.text, ui.whyLineEdit.text = "AB", "the rim is a vein"
    choose(ui.stageComboBox, "chronic inactive")
    choose(ui.rimComboBox, "absent")
    ui.keepButton.click()
    assert cell(ui, 0, 1) == "chronic inactive" and "was chronic active" in cell(ui, 0, 7)

    (nodes,) = staging_in(host.mrmlScene).values()
    row = rows_of(nodes["table"])[0]
    assert row["stage"] == "chronic active" and row["reader"] == "AB" and row["read_at"].endswith("Z")
    assert segment_of(nodes, 1).GetName() == "1: chronic inactive (reader)"
    choose(ui.stageComboBox, "automatic")
    choose(ui.rimComboBox, "automatic")
    ui.keepButton.click()
    assert cell(ui, 0, 1) == "chronic active" and segment_of(nodes, 1).GetName() == "1: chronic active, rim"
    assert [entry["reader_stage"] for entry in rows_of(nodes["history"])] == ["chronic inactive", None]


def test_filters_show_what_they_say(ui):
    stage(ui)
    for name, expected in (("only rims", 1), ("only enhancing", 0), ("changed by a reader", 0), ("all lesions", 2)):
        choose(ui.filterComboBox, name)
        assert ui.lesionsTable.rowCount == expected, name


def sign(ui, reason="as seen"):
    ui.readerLineEdit.text, ui.whyLineEdit.text = "AB", reason


def select(ui, *rows):
    """Several rows, as Ctrl and click do."""
    ui.lesionsTable.clearSelection()
    for row in rows:
        for column in range(ui.lesionsTable.columnCount):
            ui.lesionsTable.item(row, column).setSelected(True)


def numbers(ui):
    return [int(cell(ui, row, 0)) for row in range(ui.lesionsTable.rowCount)]


def test_lesions_are_split_merged_deleted_and_brought_back(ui):
    stage(ui)
    assert not ui.mergeButton.enabled and not ui.undoButton.enabled
    ui.lesionsTable.selectRow(0)
    ui.whyLineEdit.text = ""
    ui.splitButton.click()
    assert "needs the reader's name and a reason" in ui.statusLabel.text and numbers(ui) == [1, 2]
    sign(ui, "two lesions")
    ui.splitButton.click()
    assert ui.statusLabel.text.startswith("Staged again: 1") and numbers(ui) == [1, 2, 3]
    assert "part of 1" in cell(ui, 0, 7)
    select(ui, 0, 2)
    assert ui.mergeButton.enabled and not ui.splitButton.enabled
    sign(ui, "one after all")
    ui.mergeButton.click()
    assert numbers(ui) == [1, 2]
    ui.lesionsTable.selectRow(1)
    sign(ui, "a vessel")
    ui.deleteButton.click()
    assert numbers(ui) == [1] and ui.undoButton.enabled
    ui.undoButton.click()
    assert numbers(ui) == [1, 2] and not ui.undoButton.enabled


def test_points_say_where_to_split(ui, host):
    stage(ui)
    ui.lesionsTable.selectRow(1)
    nodes = staging(host)
    centre = np.array([rows_of(nodes["table"])[1][f"{axis}_ras"] for axis in "xyz"])
    points = host.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "cut")
    for shift in (-2.5, 0.0, 2.5):
        points.AddControlPointWorld(*(centre + np.array([0, shift, 0])))
    ui.pointsSelector.setCurrentNode(points)
    sign(ui)
    ui.splitButton.click()
    assert numbers(ui) == [1, 2, 3, 4]


def staging(host):
    (nodes,) = staging_in(host.mrmlScene).values()
    return nodes


def test_a_drawing_is_taken_over(ui, host):
    stage(ui)
    sign(ui, "missed")
    ui.takeButton.click()
    assert "Nothing was drawn" in ui.statusLabel.text
    segmentation = staging(host)["lesions"].GetSegmentation()
    segmentation.RemoveSegment(segmentation.GetNthSegmentID(1))
    ui.takeButton.click()
    assert numbers(ui) == [1]


def test_draw_opens_the_segment_editor_with_the_lesion(ui, host, monkeypatch):
    calls = {}

    class Editor:
        def __getattr__(self, name):
            return lambda value: calls.__setitem__(name, value)

    monkeypatch.setattr(host.util, "selectModule", lambda name: calls.__setitem__("module", name))
    monkeypatch.setattr(host.modules, "SegmentEditorWidget", type("W", (), {"editor": Editor()}), raising=False)
    stage(ui)
    ui.lesionsTable.selectRow(1)
    ui.drawButton.click()
    nodes = staging(host)
    assert calls["module"] == "SegmentEditor" and calls["setSegmentationNode"] is nodes["lesions"]
    segment = nodes["lesions"].GetSegmentation().GetSegment(calls["setCurrentSegmentID"])
    assert segment.GetName().startswith("2:") and calls["setSourceVolumeNode"].GetName() == "sub-01 Chi"


def test_a_blind_reader_sees_no_call_of_the_program(ui, host):
    stage(ui)
    ui.readerLineEdit.text = "CD"
    ui.blindCheckBox.checked = True
    shown = [cell(ui, row, column) for row in range(2) for column in (1, 2, 3, 4, 6, 7)]
    assert set(shown) == {""} and ui.readLabel.text == "0 of 2 read"
    assert numbers(ui) == order_of([1, 2], "CD")
    segmentation = staging(host)["lesions"].GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(2)]
    assert (
        names == ["1:", "2:"] and segmentation.GetNthSegment(0).GetColor() == segmentation.GetNthSegment(1).GetColor()
    )
    ui.lesionsTable.selectRow(0)
    assert ui.reasonLabel.text == "" and not host.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    assert not (ui.splitButton.enabled or ui.deleteButton.enabled or ui.filterComboBox.enabled)
    ui.keepButton.click()
    assert "needs both a stage and a rim grade" in ui.statusLabel.text
    choose(ui.stageComboBox, "late active")
    choose(ui.rimComboBox, "absent")
    ui.keepButton.click()
    assert cell(ui, 0, 1) == "late active" and ui.readLabel.text == "1 of 2 read"
    ui.blindCheckBox.checked = False
    assert "late active" not in [cell(ui, row, 1) for row in range(2)]  # a reading is no override
    assert segmentation.GetNthSegment(0).GetName() == "1: chronic active, rim"


def test_stages_are_shown_and_hidden_and_get_surfaces(ui, host):
    stage(ui)
    node = staging(host)["lesions"]
    seen = [node.GetDisplayNode().GetSegmentVisibility(segment_id(staging(host), n)) for n in (1, 2)]
    assert seen == [True, True]
    ui.show2CheckBox.checked = False  # chronic active
    assert not node.GetDisplayNode().GetSegmentVisibility(segment_id(staging(host), 1))
    assert node.GetDisplayNode().GetSegmentVisibility(segment_id(staging(host), 2))
    ui.show2CheckBox.checked = True
    ui.surfacesCheckBox.checked = True
    surface = vtk.vtkPolyData()
    assert node.GetClosedSurfaceRepresentation(segment_id(staging(host), 1), surface)
    assert surface.GetNumberOfPoints() > 50
    ui.surfacesCheckBox.checked = False


def test_report_dicom_and_readings_are_written_into_the_folder(ui, host, tmp_path):
    stage(ui)
    ui.publishPathLineEdit.currentPath = ""
    ui.reportButton.click()
    assert "No folder is chosen" in ui.statusLabel.text
    ui.publishPathLineEdit.currentPath = str(tmp_path)
    ui.labelLineEdit.text = "P-007"
    ui.reportButton.click()
    text = (tmp_path / "P-007.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "Lesion 1: chronic active" in page.text and "sub-01 Chi" not in page.text
    assert not [value for _, name, value in page.attributes if name in ("src", "href") and value[:1] not in "#d"]
    ui.dicomButton.click()
    assert {path.name for path in tmp_path.glob("*.dcm")} == {"P-007_lesions_seg.dcm", "P-007_lesions_sr.dcm"}
    assert not ui.readingsButton.enabled
    for reader in ("AB", "CD"):
        ui.readerLineEdit.text = reader
        ui.blindCheckBox.checked = True
        for row in range(2):
            ui.lesionsTable.selectRow(row)
            choose(ui.stageComboBox, "chronic active" if numbers(ui)[row] == 1 else "chronic inactive")
            choose(ui.rimComboBox, "definite")
            ui.keepButton.click()
    ui.readingsButton.click()
    assert len(list(tmp_path.glob("*_readings.tsv"))) == 3
    ui.agreementButton.click()
    assert "agreement.html" in ui.statusLabel.text and (tmp_path / "agreement.html").is_file()


def test_reviews_survive_a_saved_scene(ui, host, tmp_path):
    cache, manager = host.vtkCacheManager(), host.vtkDataIOManager()  # as the application gives to its scene
    cache.SetRemoteCacheDirectory(str(tmp_path))
    manager.SetCacheManager(cache)
    host.mrmlScene.SetDataIOManager(manager)
    stage(ui)
    ui.lesionsTable.selectRow(1)
    ui.readerLineEdit.text, ui.whyLineEdit.text = "AB", "too small to say"
    choose(ui.stageComboBox, "indeterminate")
    ui.keepButton.click()
    assert host.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    host.mrmlScene.Clear()
    assert ui.lesionsTable.rowCount == 0
    assert host.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    assert ui.lesionsTable.rowCount == 2 and cell(ui, 1, 1) == "indeterminate"
    ui.lesionsTable.selectRow(1)
    assert ui.whyLineEdit.text == "too small to say" and ui.readerLineEdit.text == "AB"


def test_cancel_leaves_the_scene_as_it_was(ui, host, monkeypatch):
    import qt

    ui.fillButton.click()
    before = host.mrmlScene.GetNumberOfNodes()
    qt.QTimer.singleShot(0, ui.cancelButton.click)
    ui.applyButton.click()
    assert ui.statusLabel.text == "Cancelled; the scene was not changed."
    assert host.mrmlScene.GetNumberOfNodes() == before and ui.applyButton.enabled


def test_presets_are_those_of_the_library_and_reach_the_engine(ui, host, modules, monkeypatch):
    from QMRILesionStagingLib.presets import PRESETS

    import QMRILesionStaging

    assert [preset.value for preset in QMRILesionStaging.Preset] == list(PRESETS)
    ui.fillButton.click()
    choose(ui.presetComboBox, "Cautious")
    ui.applyButton.click()
    options = recall(staging(host)["table"])[3]
    assert options.stage.certain == PRESETS["Cautious"]["stage"]["certain"]
