"""The inputs of the panel filled in one step from what the scene holds of a subject."""

import slicer
from QMRIEstimationLib.scene.attributes import PREFIX
from QMRIEstimationLib.scene.record import OUTPUT, results_in

MAPS = {"chi": "Chi", "r2star": "R2star", "r1": "R1", "r2": "R2", "pd": "PD"}  # argument and parameter -> map
SCANS = {"before": "T1-weighted", "after": "T1-weighted after gadolinium"}  # parameter -> use of the image


def subject_of(node):
    """Subject and visit that a map of QMRI Estimation belongs to; empty for any other node and for None."""
    return (node.GetAttribute(OUTPUT) or "").rpartition("/")[0] if node is not None else ""


def fill(parameters, scene, folder):
    """Put the maps of a folder of results, drawings of the same subject and T1-weighted scans into a parameter node.

    Args:
        parameters: wrapped parameter node. scene: vtkMRMLScene. folder: as `results_in` names it.
    """
    maps = results_in(scene).get(folder, {})
    for name, key in MAPS.items():
        setattr(parameters, name, maps.get(key))
    for name in ("lesions", "tissue"):
        node = scene.GetFirstNodeByName(f"{folder} {name}")
        if node is not None and node.IsA("vtkMRMLLabelMapVolumeNode"):
            setattr(parameters, name, node)
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
    for name, use in SCANS.items():
        found = [node for node in volumes if node.GetAttribute(PREFIX + "Use") == use]
        if len(found) == 1:  # of several the user must choose
            setattr(parameters, name, found[0])
