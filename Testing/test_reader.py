"""A reader at the panel, from the sample patient to a saved scene: maps, stages, every lesion, overrides, a split."""

import time

import numpy as np
import pytest
import slicerhost
from QMRILesionStagingLib.scene.record import staging_in
from QMRILesionStagingLib.scene.tables import rows_of
from test_staging_panel import cell, choose

ROW = 0.3  # s, that a reader waits for a lesion
REPORT = 60.0, 25e6  # s, bytes


@pytest.mark.slow
def test_a_reader_finds_everything_as_it_was_left(panel, host, tmp_path):
    """The sample patient is simulated, mapped, staged, reviewed, saved and opened again."""
    from QMRIEstimationLib.panel.sample_data import make_patient

    cache, manager = host.vtkCacheManager(), host.vtkDataIOManager()  # as the application gives to its scene
    cache.SetRemoteCacheDirectory(str(tmp_path))
    manager.SetCacheManager(cache)
    host.mrmlScene.SetDataIOManager(manager)
    make_patient()
    estimation = panel("QMRIEstimation").ui
    estimation.applyButton.click()
    while estimation.cancelButton.enabled:
        host.app.processEvents()
        time.sleep(0.05)
    slicerhost.open_views()
    widget = panel("QMRILesionStaging")
    ui = widget.ui
    ui.fillButton.click()
    ui.applyButton.click()
    assert ui.statusLabel.text.startswith("Done: "), ui.statusLabel.text
    count = ui.lesionsTable.rowCount
    assert count > 15
    times = []
    for row in range(count):
        start = time.perf_counter()
        ui.lesionsTable.selectRow(row)
        host.app.processEvents()
        times.append(time.perf_counter() - start)
        assert f"Lesion {cell(ui, row, 0)}:" in ui.reasonLabel.text
    print(f"rows: median {np.median(times):.3f} s, longest {max(times):.3f} s")
    ui.readerLineEdit.text = "AB"
    for row, stage in ((0, "chronic active"), (1, "indeterminate")):
        ui.lesionsTable.selectRow(row)
        ui.whyLineEdit.text = f"seen so {row}"
        choose(ui.stageComboBox, stage)
        ui.keepButton.click()
    largest = max(range(count), key=lambda row: float(cell(ui, row, 5)))
    ui.lesionsTable.selectRow(largest)
    ui.whyLineEdit.text = "two lesions"
    ui.splitButton.click()
    assert ui.lesionsTable.rowCount == count + 1, ui.statusLabel.text
    ui.publishPathLineEdit.currentPath = str(tmp_path)
    start = time.perf_counter()
    ui.reportButton.click()
    (report,) = tmp_path.glob("sub-*.html")
    print(f"report: {time.perf_counter() - start:.1f} s, {report.stat().st_size / 1e6:.1f} MB")
    assert report.stat().st_size < REPORT[1]
    before = everything(host)
    assert host.mrmlScene.WriteToMRB(str(tmp_path / "scene.mrb"))
    host.mrmlScene.Clear()
    assert ui.lesionsTable.rowCount == 0
    assert host.mrmlScene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    after = everything(host)
    assert after.keys() == before.keys()
    for key, rows in before.items():
        assert len(after[key]) == len(rows), key
        for row, left in zip(after[key], rows, strict=True):
            assert row == pytest.approx(left), key
    ui.lesionsTable.selectRow(0)
    ui.whyLineEdit.text = "a vessel"
    ui.deleteButton.click()
    assert ui.lesionsTable.rowCount == count, ui.statusLabel.text  # a reader can go on
    slicerhost.close_views()


def everything(host):
    """Table of the lesions, history and segments of the staging in the scene."""
    (nodes,) = staging_in(host.mrmlScene).values()
    segmentation = nodes["lesions"].GetSegmentation()
    segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    found = {key: rows_of(nodes[key]) for key in ("table", "history", "rim directions", "Chi profiles")}
    return found | {"segments": [{"name": s.GetName(), "red": s.GetColor()[0]} for s in segments]}
