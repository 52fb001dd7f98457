"""From an Estimate to MRML nodes: maps with unit, quantity, colour, window, folder and the record of how they came."""

import json
from contextlib import contextmanager

import slicer

from . import __version__
from .display import display_of
from .mrml import PREFIX
from .parameters import as_user_dict

GRAY = "vtkMRMLColorTableNodeGrey"  # Slicer's own
UNIT_MEANINGS = {"/s": "per second", "%": "percent", "[ppm]": "parts per million"}


def add_maps(estimate, scene, settings, folder_name, transform=None):
    """Put every map of an estimate and its standard deviation into the scene; all of them or, on failure, none.

    Args:
        estimate: maps.Estimate.
        scene: vtkMRMLScene that gets the nodes.
        settings: the Options that the maps were made with, for the record.
        folder_name: of the subject-hierarchy folder that holds them.
        transform: transform node that the input images are under, or None; the maps are put under it too.
    Returns:
        node name suffix -> vtkMRMLScalarVolumeNode: `R2star`, `R2star SD`, ...
    """
    with all_or_nothing(scene) as made:
        folder = made.folder(folder_name)
        nodes = {}
        for result in estimate.maps.values():
            for suffix, values in (("", result.values), (" SD", result.sd)):
                node = made.volume(f"{folder_name} {result.name}{suffix}", values, result.geometry, folder)
                display = display_of(result.name, result.parameters.get("MagneticFieldStrength"))
                _stamp(node, result, suffix, settings, display)
                _show(made, node, display, bool(suffix))
                if transform is not None:
                    node.SetAndObserveTransformNodeID(transform.GetID())
                nodes[result.name + suffix] = node
        return nodes


@contextmanager
def all_or_nothing(scene):
    """A Made whose nodes stay in the scene when the block ends well and are taken back otherwise."""
    made = Made(scene)
    scene.StartState(scene.BatchProcessState)
    try:
        yield made
    except BaseException:
        made.remove()
        raise
    finally:
        scene.EndState(scene.BatchProcessState)


class Made:
    """What was added to the scene, so that it can be taken back."""

    def __init__(self, scene):
        self.scene, self.nodes, self.folders = scene, [], []
        self.hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    def folder(self, name):
        item = self.hierarchy.CreateFolderItem(self.hierarchy.GetSceneItemID(), name)
        self.folders.append(item)
        return item

    def volume(self, name, values, geometry, folder):
        # The application adds nodes to the hierarchy by itself, slicer-core does not; CreateItem serves both.
        node = self.put("vtkMRMLScalarVolumeNode", name, folder)
        slicer.util.updateVolumeFromArray(node, values)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
        node.CreateDefaultDisplayNodes()
        self.nodes.append(node.GetDisplayNode())
        return node

    def put(self, kind, name, folder):
        """A node of the class in a folder of the subject hierarchy."""
        node = self.node(kind, name)
        self.hierarchy.CreateItem(folder, node)
        return node

    def node(self, kind, name):
        node = self.scene.AddNewNodeByClass(kind, self.scene.GenerateUniqueName(name))
        self.nodes.append(node)
        return node

    def remove(self):
        for item in self.folders:
            self.hierarchy.RemoveItem(item, False)  # with the items in it, not with their nodes
        for node in reversed(self.nodes):
            self.scene.RemoveNode(node)


def _stamp(node, result, suffix, settings, display):
    """Quantity, unit and the record of how the map was made."""
    node.SetVoxelValueQuantity(_coded(display.quantity))
    node.SetVoxelValueUnits(_coded((display.unit_code, "UCUM", UNIT_MEANINGS[display.unit_code])))
    record = {
        **result.parameters,
        "Map": result.name,
        "Statistic": "standard deviation" if suffix else "value",
        "Units": result.unit,
        "EstimationAlgorithm": result.algorithm,
        "EstimationReference": result.reference,
        "Sources": list(result.sources),
        "Notes": list(result.notes),
        "Settings": as_user_dict(settings),
        "SoftwareVersion": __version__,
    }
    for name, value in record.items():
        node.SetAttribute(PREFIX + name, _attribute_text(value))


def _show(made, node, display, is_sd):
    """Fixed window and colour table; standard deviations are gray."""
    shown = node.GetDisplayNode()
    shown.AutoWindowLevelOff()
    shown.SetWindowLevelMinMax(*(display.sd_window if is_sd else display.window))
    plain = is_sd or (display.color == "gray" and not display.reverse and not display.logarithmic)
    shown.SetAndObserveColorNodeID(GRAY if plain else _color_node(made, display).GetID())


def _color_node(made, display):
    """The colour table of a display, made once a scene."""
    key = f"{display.color_name}, {display.window[0]:g} to {display.window[1]:g} {display.unit}"
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode", made.scene):
        if node.GetAttribute(PREFIX + "ColorTable") == key:
            return node
    node = made.node("vtkMRMLColorTableNode", f"{display.title} {key}")
    node.SetTypeToUser()
    node.SetAttribute("Category", "QuantitativeMRI")
    node.SetAttribute(PREFIX + "ColorTable", key)
    table = display.table
    node.SetNumberOfColors(len(table))
    for entry, (red, green, blue) in enumerate(table / 255.0):
        node.SetColor(entry, "invalid" if entry == 0 else str(entry), red, green, blue, 1.0)
    return node


def _attribute_text(value):
    """Numbers as the reader of attributes wants them (blank between), text as it is, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (int, float)) for v in value):
        return " ".join(f"{v:.9g}" for v in value)
    return json.dumps(value)


def _coded(entry):
    coded = slicer.vtkCodedEntry()
    coded.SetValueSchemeMeaning(*entry)
    return coded
