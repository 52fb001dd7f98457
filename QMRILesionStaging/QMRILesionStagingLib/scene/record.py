"""Which nodes of the scene belong to a staging."""

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
