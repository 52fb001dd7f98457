"""Photographs both panels for the README and the Extensions Index: python Testing/take_screenshots.py

The scene holds a sphere in water, and the engine is the real one.
"""

import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / folder) for folder in ("Testing", "QMRIEstimation", "QMRILesionStaging")]

import slicerhost  # noqa: E402
from scene_data import add_sequence, sphere_images  # noqa: E402

FOLDER = REPOSITORY / "Resources" / "Screenshots"
WIDTH = 460  # pixels


def main():
    """Write one picture of each panel; raises when a panel complains."""
    slicer = slicerhost.start()
    panels = {}
    for name in ("QMRIEstimation", "QMRILesionStaging"):
        panels[name] = slicerhost.load_module(REPOSITORY / name / f"{name}.py").widgetRepresentation()
        panels[name].enter()
    estimation, staging = panels["QMRIEstimation"].self(), panels["QMRILesionStaging"].self()
    magnitude, phase = sphere_images(np.eye(4))
    estimation.ui.magnitudeSelector.setCurrentNode(add_sequence("MEGRE magnitude", magnitude, field_strength=3))
    estimation.ui.phaseSelector.setCurrentNode(add_sequence("MEGRE phase", phase))
    estimation.ui.applyButton.click()
    staging.ui.chiSelector.setCurrentNode(slicer.util.getNode("MEGRE magnitude Chi"))
    staging.ui.r2starSelector.setCurrentNode(slicer.util.getNode("MEGRE magnitude R2star"))
    for name, panel in panels.items():
        slicerhost.grab(panel, FOLDER / f"{name}.png", WIDTH)
    problems = slicerhost.complaints()
    if problems:
        raise RuntimeError("\n".join(problems))


if __name__ == "__main__":
    main()
