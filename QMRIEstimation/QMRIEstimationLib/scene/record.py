"""Which nodes of the scene are results, and of what; no file is read here."""

import slicer

from ..units import MAP_UNITS
from .attributes import PREFIX

OUTPUT = PREFIX + "Output"  # attribute `<folder name>/<key>`, by which a later run finds what it brings up to date
MAPS = tuple(name for name in MAP_UNITS if name not in ("TB1", "fieldmap"))
SD, QUALITY, BRAIN = " SD", " quality", "brain mask"


def results_in(scene):
    """Folder name -> {key (`R2star`, `R2star SD`, ...) -> volume node} of all results in a scene."""
    found = {}
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene):
        folder, mark, key = (node.GetAttribute(OUTPUT) or "").rpartition("/")
        if mark:
            found.setdefault(folder, {})[key] = node
    return found
