"""The panel of QMRIEstimation as the user meets it, driven by the names of its widgets; the engine is the real one."""

import subprocess
import sys
import time

import bids_tree
import numpy as np
import pytest
import slicerhost
from conftest import REPOSITORY
from scene_data import ECHO_TIMES, RATE, add_sequence, add_volume

SIZE = 16
LONGEST = 120  # s that a run may take on a machine that is busy


@pytest.fixture
def ui(panel):
    """The widgets of the panel by name, with an empty table and all maps ticked."""
    widget = panel("QMRIEstimation")
    widget.ui.folderPathLineEdit.currentPath = ""
    yield widget.ui
    widget.panel.stop()
    slicerhost.close_views()


@pytest.fixture
def estimation(ui, modules):
    """The panel's widget instance."""
    return modules["QMRIEstimation"].widgetRepresentation().self()


def add_magnitude(seed=5):
    """A sequence of three echoes that decay with RATE, in noise of 0.1 percent."""
    noise = np.random.default_rng(seed).normal(0, 1, (len(ECHO_TIMES), SIZE, SIZE, SIZE))
    decay = 1000 * np.exp(-RATE * np.array(ECHO_TIMES))[:, None, None, None]
    return add_sequence("megre mag", (decay + noise).astype(np.float32), field_strength=3)


def add(ui, node):
    ui.imageSelector.setCurrentNode(node)
    ui.addButton.click()


def cell(ui, row, title):
    """Text of a cell of the table of images, by the title of its column."""
    table = ui.imagesTable
    titles = [table.horizontalHeaderItem(n).text().partition(",")[0] for n in range(table.columnCount)]
    column = titles.index(title)
    widget = table.cellWidget(row, column)
    return widget.currentText if widget is not None else table.item(row, column).text()


def choose(ui, row, column, text):
    """Pick an entry of a combo box in the table of images as a click does."""
    combo = ui.imagesTable.cellWidget(row, column)
    index = [combo.itemText(n) for n in range(combo.count)].index(text)
    combo.currentIndex = index
    combo.activated.emit(index)


def wait(ui):
    """Let the window live until the run has ended."""
    import slicer

    end = time.monotonic() + LONGEST
    while ui.cancelButton.enabled:
        slicer.app.processEvents()
        time.sleep(0.02)
        assert time.monotonic() < end, ui.statusLabel.text


def names_of_results():
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return sorted(node.GetName() for node in nodes if node.GetAttribute("qMRI.Output"))


def array(name):
    import slicer

    return slicer.util.arrayFromVolume(slicer.util.getNode(name))


def test_the_module_can_be_reloaded_with_its_library():
    """In a process of its own, because every other test would be left with the old library."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import slicerhost; slicer = slicerhost.start();"
        "panel = slicerhost.load_module(sys.argv[2] + '/QMRIEstimation.py').widgetRepresentation(); panel.enter();"
        "import QMRIEstimationLib; old, library = panel.self(), QMRIEstimationLib; old.onReload();"
        "assert panel.self() is not old and sys.modules['QMRIEstimationLib'] is not library;"
        "panel.enter(); assert 'There is no image' in panel.self().ui.statusLabel.text;"
        "slicer.mrmlScene.Clear(); assert slicerhost.complaints() == [], slicerhost.complaints()"
    )
    paths = [str(REPOSITORY / folder) for folder in ("Testing", "QMRIEstimation", "QMRILesionStaging")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True, timeout=120)


def test_an_empty_table_says_how_to_fill_it(ui):
    assert not ui.applyButton.enabled
    assert "load a BIDS subject or a DICOM folder" in ui.applyButton.toolTip
    assert ui.statusLabel.text == ui.applyButton.toolTip


def test_an_added_image_shows_what_it_knows_and_where_that_came_from(ui):
    add(ui, add_magnitude())
    assert [cell(ui, 0, t) for t in ("Image", "Use", "Part")] == ["megre mag", "multi-echo GRE", "magnitude"]
    assert cell(ui, 0, "TE") == "4 9 15"
    assert "index of the sequence (ms)" in ui.imagesTable.item(0, 3).toolTip()
    assert ui.applyButton.enabled and ui.statusLabel.text == "Ready: R2*."


def test_maps_that_the_images_do_not_allow_are_disabled_with_the_reason(ui):
    add(ui, add_magnitude())
    for box, reason in (
        (ui.r1CheckBox, "flip-angle series"),
        (ui.r2CheckBox, "bSSFP"),
        (ui.pdCheckBox, "flip-angle series"),
        (ui.chiCheckBox, "needs the phase"),
    ):
        assert not box.enabled and reason in box.toolTip
    assert ui.r2starCheckBox.enabled


def test_a_wrong_value_turns_red_disables_apply_and_can_be_corrected(ui):
    add(ui, add_magnitude())
    item = ui.imagesTable.item(0, 3)
    item.setText("4 9")
    assert "2 values of echo time for 3 volumes" in ui.applyButton.toolTip and not ui.applyButton.enabled
    assert "2 values" in ui.imagesTable.item(0, 3).toolTip()
    assert ui.imagesTable.item(0, 3).background().color().red() > ui.imagesTable.item(0, 3).background().color().green()
    ui.imagesTable.item(0, 3).setText("four 9 15")
    assert "expected numbers; correct it" in ui.applyButton.toolTip and cell(ui, 0, "TE") == "four 9 15"
    ui.imagesTable.item(0, 3).setText("5, 10; 20")
    assert ui.applyButton.enabled and cell(ui, 0, "TE") == "5 10 20"
    assert "entered" in ui.imagesTable.item(0, 3).toolTip()


def test_a_use_that_nobody_knows_is_asked_for(ui):
    add(ui, add_volume(np.ones((4, 5, 6), np.float32), "mystery", np.eye(4)))
    assert "it is not known what kind of scan this is" in ui.applyButton.toolTip
    choose(ui, 0, 1, "spoiled GRE")
    assert "flip angle is missing" in ui.applyButton.toolTip
    choose(ui, 0, 1, "not used")
    assert "All images are 'not used'" in ui.applyButton.toolTip


def test_a_row_can_be_removed_and_the_image_stays_in_the_scene(ui, host):
    node = add_magnitude()
    add(ui, node)
    ui.imagesTable.selectRow(0)
    ui.removeButton.click()
    assert ui.imagesTable.rowCount == 0 and host.mrmlScene.GetNodeByID(node.GetID()) is node


def test_an_image_that_is_deleted_leaves_the_table(ui, host):
    node = add_magnitude()
    add(ui, node)
    host.mrmlScene.RemoveNode(node)
    assert ui.imagesTable.rowCount == 0 and "There is no image" in ui.applyButton.toolTip


def test_add_all_takes_scans_and_leaves_masks_results_and_what_shows_a_sequence(ui, host):
    sequence = add_magnitude()
    browser = host.mrmlScene.AddNode(host.vtkMRMLSequenceBrowserNode())
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(add_volume(np.ones((4, 4, 4), np.float32), "proxy", np.eye(4)), sequence, False)
    host.util.addVolumeFromArray(np.ones((4, 4, 4), np.int16), name="m", nodeClassName="vtkMRMLLabelMapVolumeNode")
    add_volume(np.ones((4, 4, 4), np.float32), "old map", np.eye(4)).SetAttribute("qMRI.Output", "x/R1")
    ui.addAllButton.click()
    assert [cell(ui, row, "Image") for row in range(ui.imagesTable.rowCount)] == ["megre mag"]


def test_apply_makes_the_maps_while_the_window_lives(ui):
    add(ui, add_magnitude())
    ui.applyButton.click()
    assert ui.cancelButton.enabled and not ui.applyButton.enabled and "being made" in ui.applyButton.toolTip
    wait(ui)
    assert "Quantitative maps R2star" in names_of_results(), ui.statusLabel.text
    assert ui.statusLabel.text.startswith("Done: Quantitative maps R2star")
    found = array("Quantitative maps R2star")
    assert np.median(found[found > 0]) == pytest.approx(RATE, rel=0.01)  # ten times the noise
    assert ui.applyButton.enabled and not ui.cancelButton.enabled


def test_panel_and_script_give_identical_values(ui, estimation):
    node = add_magnitude()
    add(ui, node)
    ui.applyButton.click()
    wait(ui)
    first = array("Quantitative maps R2star").copy()
    nodes = estimation.logic.process([node], subject="02")
    np.testing.assert_array_equal(first, array(nodes["R2star"].GetName()))


def test_cancel_in_mid_run_leaves_the_scene_and_no_file(ui, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    add(ui, add_magnitude())
    ui.applyButton.click()
    ui.cancelButton.click()
    assert ui.statusLabel.text == "Cancelled; the scene was not changed."
    assert names_of_results() == [] and ui.applyButton.enabled and list(tmp_path.iterdir()) == []


def test_closing_the_scene_while_maps_are_made_ends_the_run(ui, host, estimation):
    add(ui, add_magnitude())
    ui.applyButton.click()
    host.mrmlScene.Clear()
    assert not estimation.panel.run.running and names_of_results() == []
    assert not ui.applyButton.enabled and "There is no image" in ui.applyButton.toolTip


def test_a_second_run_updates_the_same_nodes(ui):
    node = add_magnitude()
    add(ui, node)
    ui.applyButton.click()
    wait(ui)
    before, first = names_of_results(), array("Quantitative maps R2star").copy()
    ui.imagesTable.item(0, 3).setText("8 18 30")  # twice the times give half the rate
    ui.applyButton.click()
    wait(ui)
    assert names_of_results() == before
    inside = first > 0
    assert np.median(array("Quantitative maps R2star")[inside]) == pytest.approx(RATE / 2, rel=0.01)


def test_a_sentence_of_the_engine_is_shown_with_the_name_of_the_node(ui):
    add(ui, add_sequence("megre mag", np.zeros((3, 12, 12, 12), np.float32), field_strength=3))
    ui.applyButton.click()
    wait(ui)
    assert ui.statusLabel.text.startswith("megre mag[0]: every voxel is 0"), ui.statusLabel.text
    assert names_of_results() == [] and ui.applyButton.enabled


def test_a_bids_subject_fills_the_panel_in_one_step(ui, tmp_path):
    bids_tree.make_bids_tree(tmp_path / "raw")
    ui.folderPathLineEdit.currentPath = str(tmp_path / "raw" / "sub-01")
    ui.loadBidsButton.click()
    assert ui.imagesTable.rowCount == 6 and ui.subjectLineEdit.text == "01"
    assert cell(ui, 0, "Part") == "magnitude" and cell(ui, 1, "Part") == "phase"
    assert "sidecar" in ui.imagesTable.item(0, 3).toolTip()
    assert ui.statusLabel.text == "Ready: R2*, QSM."


def test_a_folder_that_is_none_is_one_sentence(ui, tmp_path):
    ui.loadBidsButton.click()
    assert "No folder is chosen" in ui.statusLabel.text
    ui.folderPathLineEdit.currentPath = str(tmp_path)
    ui.loadDicomButton.click()
    assert "none of its 0 files is an MR image" in ui.statusLabel.text


def check_that_batch_and_panel_agree(ui, raw, folder):
    """Run the command and the panel on the first subject of a data set; every image must be the same byte for byte."""
    from QMRIEstimationLib.cli import main

    common = ["participant", "--participant-label", "01", "--steps", "estimate"]
    assert main(["run", str(raw), str(folder / "batch"), *common]) == 0
    ui.folderPathLineEdit.currentPath = str(raw / "sub-01")
    ui.loadBidsButton.click()
    ui.outputPathLineEdit.currentPath = str(folder / "panel")
    ui.applyButton.click()
    wait(ui)
    made = sorted(path.relative_to(folder / "batch") for path in (folder / "batch").rglob("*.nii.gz"))
    assert made == sorted(path.relative_to(folder / "panel") for path in (folder / "panel").rglob("*.nii.gz"))
    for name in made:
        assert (folder / "batch" / name).read_bytes() == (folder / "panel" / name).read_bytes(), name
    return made


def test_batch_and_panel_give_identical_bytes_for_the_same_files(ui, tmp_path):
    """The panel hands the files on as they are, so that even rounding in headers cannot make a difference."""
    raw = bids_tree.make_bids_tree(tmp_path / "raw")
    assert len(check_that_batch_and_panel_agree(ui, raw, tmp_path)) > 6


@pytest.mark.slow
def test_batch_and_panel_give_identical_bytes_for_a_whole_examination(ui, tmp_path):
    """Flip angles, phase cycles and reference scans too, whose files have other names on their way from the panel."""
    from QMRIEstimationLib.phantom.simulate import simulate

    simulate(tmp_path / "raw", size=(56, 67, 50), voxel_size=(2.8, 2.8, 2.8), seed=3)
    assert len(check_that_batch_and_panel_agree(ui, tmp_path / "raw", tmp_path)) > 25


def test_choices_survive_leaving_and_entering_the_module_and_a_saved_scene(ui, host, modules, tmp_path):
    add(ui, add_magnitude())
    ui.imagesTable.item(0, 3).setText("1 2 3")
    ui.r1CheckBox.checked = False
    ui.presetComboBox.currentIndex = 1
    modules["QMRIEstimation"].widgetRepresentation().exit()
    modules["QMRIEstimation"].widgetRepresentation().enter()
    assert cell(ui, 0, "TE") == "1 2 3" and not ui.r1CheckBox.checked and ui.presetComboBox.currentText == "Fast"
    path = str(tmp_path / "scene.mrml")
    host.mrmlScene.SetURL(path)
    host.mrmlScene.Commit(path)
    text = (tmp_path / "scene.mrml").read_text(encoding="utf-8")
    assert "qMRI.EchoTime:0.001 0.002 0.003" in text and "FAST" in text


def test_a_saved_scene_brings_images_values_and_choices_back(ui, host, tmp_path):
    cache, manager = host.vtkCacheManager(), host.vtkDataIOManager()  # as the application gives to its scene
    cache.SetRemoteCacheDirectory(str(tmp_path))
    manager.SetCacheManager(cache)
    host.mrmlScene.SetDataIOManager(manager)
    add(ui, add_magnitude())
    ui.imagesTable.item(0, 3).setText("1 2 3")
    ui.r1CheckBox.checked = False
    ui.outputPathLineEdit.currentPath = str(tmp_path)
    assert host.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    host.mrmlScene.Clear()
    assert ui.imagesTable.rowCount == 0 and ui.r1CheckBox.checked and ui.outputPathLineEdit.currentPath == ""
    assert host.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    assert cell(ui, 0, "Image") == "megre mag" and cell(ui, 0, "TE") == "1 2 3"
    assert "entered" in ui.imagesTable.item(0, 3).toolTip()
    assert not ui.r1CheckBox.checked and ui.outputPathLineEdit.currentPath == str(tmp_path)
    assert ui.applyButton.enabled


def test_closing_the_scene_empties_the_panel(ui, host):
    add(ui, add_magnitude())
    host.mrmlScene.Clear()
    assert ui.imagesTable.rowCount == 0 and "There is no image" in ui.statusLabel.text


def parameter_row(ui, name):
    """Row of the table of advanced parameters with a name."""
    table = ui.parametersTable
    return next(row for row in range(table.rowCount) if table.item(row, 0).text().strip() == name)


def test_advanced_parameters_are_those_that_matter_and_reach_the_engine(ui, estimation):
    add(ui, add_magnitude())
    ui.advancedCollapsibleButton.collapsed = False
    groups = [ui.parametersTable.item(row, 0).text() for row in range(ui.parametersTable.rowCount)]
    assert "r2star" in groups and "qsm" not in groups and "r1" not in groups  # R2* alone can be made
    row = parameter_row(ui, "sinc floor")
    ui.parametersTable.item(row, 1).setText("0.7")
    from QMRIEstimationLib.scene.wish import request_of

    parameters = estimation.logic.getParameterNode()
    assert request_of(parameters).settings.r2star.sinc_floor == 0.7
    ui.parametersTable.item(parameter_row(ui, "sinc floor"), 1).setText("7")
    assert "expected 0.25 to 0.95" in ui.parametersTable.item(parameter_row(ui, "sinc floor"), 1).toolTip()
    assert request_of(parameters).settings.r2star.sinc_floor == 0.7
    ui.resetButton.click()
    assert request_of(parameters).settings.r2star.sinc_floor == 0.5
    ui.advancedCollapsibleButton.collapsed = True


@pytest.mark.parametrize("preset, denoised", [("Standard", False), ("Fast", False), ("Research", True)])
def test_presets_set_the_parameters_and_the_box_for_denoising(ui, estimation, preset, denoised):
    from QMRIEstimationLib.scene.wish import request_of

    add(ui, add_magnitude())
    names = [ui.presetComboBox.itemText(n) for n in range(ui.presetComboBox.count)]
    ui.presetComboBox.currentIndex = names.index(preset)
    assert ui.denoiseCheckBox.checked == denoised and ui.presetComboBox.toolTip
    settings = request_of(estimation.logic.getParameterNode()).settings
    assert (settings.denoise.method != "none") == denoised
    assert settings.qsm.inversion.method == ("rts" if preset == "Fast" else "tv")
    ui.denoiseCheckBox.checked = not denoised
    settings = request_of(estimation.logic.getParameterNode()).settings
    assert (settings.denoise.method != "none") != denoised


def test_the_command_and_the_settings_can_be_copied(ui, tmp_path):
    import qt
    from QMRIEstimationLib.settings import Settings, read_settings

    add(ui, add_magnitude())
    ui.copyCommandButton.click()
    assert qt.QApplication.clipboard().text().startswith("slicer-qmri run BIDS_DIR OUTPUT_DIR participant")
    ui.copySettingsButton.click()
    (tmp_path / "settings.toml").write_text(qt.QApplication.clipboard().text(), encoding="utf-8")
    assert read_settings(tmp_path / "settings.toml") == Settings()


def test_the_users_layout_comes_back_after_the_maps_side_by_side(ui):
    add(ui, add_magnitude())
    ui.applyButton.click()
    wait(ui)
    manager = slicerhost.open_views()
    before = manager.layout, manager.sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID()
    ui.sideBySideButton.click()
    assert manager.layout != before[0] and "QMRI1" in manager.sliceViewNames()
    shown = manager.sliceWidget("QMRI1").mrmlSliceCompositeNode().GetBackgroundVolumeID()
    import slicer

    assert slicer.mrmlScene.GetNodeByID(shown).GetName() == "Quantitative maps R2star"
    ui.sideBySideButton.click()
    assert (manager.layout, manager.sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID()) == before


def test_a_click_shows_signal_curve_and_values_there(ui, host):
    slicerhost.open_views()
    add(ui, add_magnitude())
    ui.applyButton.click()
    wait(ui)
    ui.lookCollapsibleButton.collapsed = False
    ui.crosshairCheckBox.checked = True
    crosshair = host.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS([8.0, 7.0, 6.0])
    table = ui.valuesTable
    values = {table.item(row, 0).text(): float(table.item(row, 1).text()) for row in range(table.rowCount)}
    assert values["R2*"] == pytest.approx(array("Quantitative maps R2star")[6, 7, 8], abs=0.006)
    assert ui.curveComboBox.currentText == "multi-echo GRE"
    chart = host.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    measured = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable()
    assert [measured.GetValue(n, 0).ToDouble() for n in range(3)] == pytest.approx([4, 9, 15])
    fitted = chart.GetNthPlotSeriesNode(1).GetTableNode().GetTable()
    assert fitted.GetValue(0, 1).ToDouble() == pytest.approx(1000, rel=0.02)
    assert not chart.GetSaveWithScene() and chart.GetHideFromEditors()
    ui.lookCollapsibleButton.collapsed = True


def test_the_preview_shows_the_slice_and_goes_without_a_trace(ui, host, estimation):
    manager = slicerhost.open_views()
    node = add_magnitude()
    add(ui, node)
    composite = manager.sliceWidget("Red").mrmlSliceCompositeNode()
    before = composite.GetForegroundVolumeID(), composite.GetForegroundOpacity(), host.mrmlScene.GetNumberOfNodes()
    manager.sliceWidget("Red").mrmlSliceNode().SetSliceOffset(6.0)
    ui.previewCheckBox.checked = True
    estimation.panel.preview.compute()
    shown = host.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    found = host.util.arrayFromVolume(shown)
    assert found.shape == (1, SIZE, SIZE) and np.median(found) == pytest.approx(RATE, rel=0.01)
    origin = shown.GetOrigin()
    assert origin[2] == pytest.approx(6.0)
    ui.previewCheckBox.checked = False
    after = composite.GetForegroundVolumeID(), composite.GetForegroundOpacity(), host.mrmlScene.GetNumberOfNodes()
    assert after == before


def test_maps_can_be_exported_from_the_scene(ui, tmp_path):
    add(ui, add_magnitude())
    ui.applyButton.click()
    wait(ui)
    ui.exportNiftiButton.click()
    assert "No folder is chosen" in ui.statusLabel.text
    ui.outputPathLineEdit.currentPath = str(tmp_path)
    ui.exportNiftiButton.click()
    ui.exportDicomButton.click()
    assert (tmp_path / "sub-scene" / "anat" / "sub-scene_R2starmap.nii.gz").is_file()
    assert (tmp_path / "sub-scene" / "dicom" / "sub-scene_R2star.dcm").is_file()
    assert ui.statusLabel.text == "2 files were written."


def test_the_sample_patient_is_registered_once_the_application_has_started(host, modules):
    import SampleData

    host.app.startupCompleted.emit()
    names = [name for name, _, _ in SampleData.SampleDataLogic.sources["Quantitative MRI"]]
    assert names == ["QMRIDigitalPatient"]


def test_the_sample_patient_is_made_on_the_spot_and_the_panel_is_ready_for_it(ui, monkeypatch):
    from QMRIEstimationLib.panel import sample_data

    monkeypatch.setattr(sample_data, "SIZE", (40, 48, 36))
    monkeypatch.setattr(sample_data, "VOXEL", ("4", "4", "4"))
    images = sample_data.make_patient()
    assert len(images) == ui.imagesTable.rowCount > 30
    assert ui.statusLabel.text == "Ready: R1, R2, R2*, PD, QSM."
    assert ui.brainMaskSelector.currentNode() is not None and ui.tissueSelector.currentNode() is not None
