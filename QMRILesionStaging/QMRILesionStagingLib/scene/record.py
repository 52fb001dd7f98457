"""Which nodes of the scene belong to a staging."""

import re

import slicer
from QMRIEstimationLib.scene.attributes import PREFIX

STAGING = PREFIX + "Staging"  # attribute `<folder name>/<key>` of every node of a staging
KINDS = ("vtkMRMLTableNode", "vtkMRMLSegmentationNode", "vtkMRMLPlotChartNode")


def staging_in(scene):
    """Folder name -> {key (`table`, `lesions`, `rim directions`, ...) -> node} of all stagings in a scene."""
    found = {}
    for kind in KINDS:
        for node in slicer.util.getNodesByClass(kind, scene):
            folder, mark, key = (node.GetAttribute(STAGING) or "").rpartition("/")
            if mark:
                found.setdefault(folder, {})[key] = node
    return found


def free_name(scene, name):
    """`name`, or with a number behind it where a staging of that name is in the scene: none is mixed with another."""
    there, number, free = staging_in(scene), 1, name
    while free in there:
        number += 1
        free = f"{name} ({number})"
    return free


def subject_label(folder):
    """`sub-01` or `sub-01_ses-02` of the name of a staging, else the name itself."""
    found = re.match(r"sub-[A-Za-z0-9]+(_ses-[A-Za-z0-9]+)?", folder)
    return found[0] if found else folder
