"""The panel of QMRILesionStaging as a reader meets it: take the maps, stage, walk the list, override, save."""

import numpy as np
import pytest
import slicerhost
from staging_scene import QUICK, map_node, two_lesions, volume

SELECTORS = {"Chi": "chi", "R1": "r1", "R2": "r2", "R2star": "r2star", "PD": "pd"}


@pytest.fixture
def ui(panel, host, oblique_matrix, monkeypatch):
    """The widgets of the panel, with the maps of two lesions in the scene: one with a rim, one without."""
    import slicer

    slicer.vtkSlicerSegmentationsModuleLogic()  # registers the representations, as the application does
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
    from QMRILesionStagingLib.scene.record import staging_in
    from QMRILesionStagingLib.scene.tables import rows_of

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
    from QMRILesionStagingLib.scene.record import staging_in
    from QMRILesionStagingLib.scene.segments import segment_of
    from QMRILesionStagingLib.scene.tables import rows_of

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
