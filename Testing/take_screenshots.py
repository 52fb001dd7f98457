"""Photographs the panels, the views and the sample patient for the README: python Testing/take_screenshots.py

The digital patient is simulated, loaded and mapped as a user would do it; everything but the window is the real thing.
"""

import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("Testing", "QMRIEstimation", "QMRILesionStaging")]

import slicerhost  # noqa: E402

FOLDER = REPOSITORY / "Resources" / "Screenshots"
THUMBNAIL = REPOSITORY / "QMRIEstimation" / "Resources" / "Icons" / "QMRIDigitalPatient.png"
THUMBNAIL_SIZE = (260, 280)  # pixels, as Slicer's Sample Data module wants them
WIDTH = 580  # pixels, of a panel
PLACE = (-20.0, 10.0, 20.0)  # mm, in white matter of the patient


def main():
    """Write the pictures; raises when a panel complains."""
    slicer = slicerhost.start()
    from QMRIEstimationLib.panel.sample_data import make_patient

    panels = {}
    for name in ("QMRIEstimation", "QMRILesionStaging"):
        panels[name] = slicerhost.load_module(REPOSITORY / name / f"{name}.py").widgetRepresentation()
    estimation = panels["QMRIEstimation"]
    estimation.enter()
    make_patient()
    slicerhost.grab(estimation, FOLDER / "QMRIEstimation.png", WIDTH)
    ui = estimation.self().ui
    ui.applyButton.click()
    while ui.cancelButton.enabled:
        slicer.app.processEvents()
        time.sleep(0.05)
    slicerhost.open_views()
    ui.sideBySideButton.click()
    slicerhost.grab_window(estimation, FOLDER / "maps.png")
    ui.sideBySideButton.click()
    for part in ("images", "maps", "outputs"):
        getattr(ui, f"{part}CollapsibleButton").collapsed = True
    ui.lookCollapsibleButton.collapsed = False
    estimation.self().panel.look.at(PLACE)
    slicerhost.grab(estimation, FOLDER / "look.png", WIDTH)
    ui.mapsCollapsibleButton.collapsed = False
    ui.lookCollapsibleButton.collapsed = True
    ui.advancedCollapsibleButton.collapsed = False
    slicerhost.grab(estimation, FOLDER / "parameters.png", WIDTH)
    thumbnail(slicer.util.getNode("sub-01 R2star"))
    estimation.exit()
    staging = panels["QMRILesionStaging"]
    staging.enter()
    ui = staging.self().ui
    ui.fillButton.click()
    ui.applyButton.click()
    ui.inputsCollapsibleButton.collapsed = True
    manager = slicer.app.layoutManager()
    for name in manager.sliceViewNames():
        composite = manager.sliceWidget(name).mrmlSliceCompositeNode()
        composite.SetBackgroundVolumeID(slicer.util.getNode("sub-01 Chi").GetID())
        composite.SetForegroundVolumeID(None)
        manager.sliceWidget(name).fitSliceToBackground()
        manager.sliceWidget(name).mrmlSliceNode().SetFieldOfView(60, 60, 1)
    rims = [row for row in range(ui.lesionsTable.rowCount) if ui.lesionsTable.item(row, 3).text() == "definite"]
    ui.lesionsTable.selectRow(rims[0])
    slicerhost.grab_window(staging, FOLDER / "review.png", fit=False)
    ui.surfacesCheckBox.checked = True
    for part in ("correct", "show", "publish"):
        getattr(ui, f"{part}CollapsibleButton").collapsed = False
    slicerhost.grab(staging, FOLDER / "correct.png", WIDTH)
    slicerhost.close_views()
    problems = slicerhost.complaints()
    if problems:
        raise RuntimeError("\n".join(problems))


def thumbnail(node):
    """The middle slice of R2* as the picture of the sample."""
    import slicer
    from PIL import Image
    from QMRIEstimationLib.colors import table_index
    from QMRIEstimationLib.display import display_of

    display, values = display_of("R2star"), slicer.util.arrayFromVolume(node)
    middle = values[values.shape[0] // 2, ::-1]
    rows, columns = (np.flatnonzero((middle != 0).any(axis)) for axis in (1, 0))
    middle = middle[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    picture = Image.fromarray(display.table[table_index(middle, middle != 0, display.window)])
    picture.resize(THUMBNAIL_SIZE).save(THUMBNAIL)


if __name__ == "__main__":
    main()
