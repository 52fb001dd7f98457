"""Results of a run on disk as nodes: maps with unit, quantity, colour, window, folder and how they came about."""

import json
from dataclasses import dataclass

import numpy as np
import slicer

from .. import __version__
from ..colors import table_index
from ..display import display_of
from ..errors import InputError
from ..geometry import Geometry
from ..io.derivatives import map_names, prefix, session_folder
from ..io.nifti import read_image
from .attributes import PREFIX, SIDECAR
from .made import all_or_nothing
from .record import BRAIN, MAPS, OUTPUT, QUALITY, SD, results_in

ENTRIES = 256  # of colour tables, as many as Slicer tells apart in a window
BELOW = 0.1  # of the window that is shown below 0
GRAY = "vtkMRMLColorTableNodeGrey"  # Slicer's own
UNIT_MEANINGS = {"/s": "per second", "%": "percent", "[ppm]": "parts per million", "Hz": "hertz", "1": "no units"}
SIDE_FOLDER = "SD, quality and fields"


@dataclass(frozen=True, eq=False)
class ResultImage:
    """One image on disk: key of its node (`R2star`, `R2star SD`, ...), name of its Display, values, grid, sidecar."""

    key: str
    shown_as: str
    values: np.ndarray
    geometry: Geometry
    sidecar: dict

    @property
    def is_map(self):
        """Whether it is one of the maps themselves."""
        return self.key in MAPS


def read_results(output_dir, subject, session=""):
    """Every map of one visit in a derivative data set, its SD and quality, fields and brain mask.

    Raises:
        InputError: there is no map, or a file cannot be read.
    """
    folder, start = session_folder(output_dir, subject, session), prefix(subject, session)
    found = []
    for name in MAPS:
        ends = map_names(name)
        for end, suffix, shown_as in zip(ends, ("", SD, QUALITY), (name, name, ""), strict=True):
            found += _read(folder / "anat" / f"{start}_{end}.nii.gz", name + suffix, shown_as)
    if not found:
        raise InputError(
            f"{folder}: holds no maps of {start}, expected anat/{start}_R2starmap.nii.gz or others; run it first."
        )
    found += _read(folder / "fmap" / f"{start}_TB1map.nii.gz", "TB1", "TB1")
    found += _read(folder / "fmap" / f"{start}_desc-total_fieldmap.nii.gz", "total field", "fieldmap")
    found += _read(folder / "fmap" / f"{start}_desc-local_fieldmap.nii.gz", "local field", "local_field")
    found += _read(folder / "anat" / f"{start}_label-brain_mask.nii.gz", BRAIN, "")
    return found


def _read(path, key, shown_as):
    if not path.is_file():
        return []
    values, geometry, _ = read_image(path)
    sidecar = json.loads(path.with_name(path.name.removesuffix(".nii.gz") + ".json").read_text(encoding="utf-8"))
    return [ResultImage(key, shown_as, values, geometry, sidecar)]


def add_results(images, scene, folder_name, settings=None, readable=str):
    """Put results into the scene, or bring the nodes of an earlier run under the same name up to date; all or none.

    Args:
        images: list of ResultImage. scene: vtkMRMLScene. folder_name: of the subject-hierarchy folder.
        settings: nested dictionary of parameters, for the record, or None.
        readable: function from file names to what the user knows, for the sources.
    Returns:
        key -> volume node, the maps first.
    """
    with all_or_nothing(scene) as made:
        earlier = results_in(scene).get(folder_name, {})
        place = _Places(made, folder_name, earlier)
        nodes = {}
        for image in sorted(images, key=lambda image: not image.is_map):
            node = earlier.get(image.key)
            if node is not None:
                made.refill(node, image.values, image.geometry)
            else:
                kind = "vtkMRMLLabelMapVolumeNode" if image.key == BRAIN else "vtkMRMLScalarVolumeNode"
                values = image.values.astype(np.int16) if image.key == BRAIN else image.values
                name = f"{folder_name} {image.key}"
                node = made.volume(name, values, image.geometry, place.of(image.is_map), kind)
                node.SetAttribute(OUTPUT, f"{folder_name}/{image.key}")
                if image.key != BRAIN:
                    _show(made, node, image)
            _stamp(node, image, settings, readable)
            nodes[image.key] = node
        return nodes


class _Places:
    """The folder of the results and the folder in it for what stands beside the maps, made when first needed."""

    def __init__(self, made, name, earlier):
        self.made, self.name, self.found = made, name, {}
        hierarchy = made.hierarchy
        for key, node in earlier.items():
            item = hierarchy.GetItemByDataNode(node)
            self.found.setdefault(key in MAPS, hierarchy.GetItemParent(item) if item else 0)

    def of(self, is_map):
        """Folder of a map or of what stands beside it."""
        if not self.found.get(is_map):
            if is_map:
                self.found[True] = self.made.folder(self.name)
            else:
                self.found[False] = self.made.folder(SIDE_FOLDER, self.of(True))
                self.made.hierarchy.SetItemExpanded(self.found[False], False)
        return self.found[is_map]


def _stamp(node, image, settings, readable):
    """Quantity, unit and the record of how the map was made."""
    if image.shown_as:
        display = display_of(image.shown_as)
        if display.quantity is not None:
            node.SetVoxelValueQuantity(_coded(display.quantity))
        node.SetVoxelValueUnits(_coded((display.unit_code, "UCUM", UNIT_MEANINGS[display.unit_code])))
    record = image.sidecar | {"SoftwareVersion": __version__}
    if settings is not None:
        record["Settings"] = settings
    if "Sources" in record:
        record["Sources"] = list(
            dict.fromkeys(readable(source.removeprefix("bids:raw:")) for source in record["Sources"])
        )
    for name in node.GetAttributeNames():  # of an earlier run
        if name.startswith(PREFIX) and name != OUTPUT:
            node.RemoveAttribute(name)
    for name, value in record.items():
        node.SetAttribute(PREFIX + name, _attribute_text(value))
    node.SetAttribute(SIDECAR, json.dumps(record))


def _show(made, node, image):
    """Fixed window and colour table; standard deviations are gray, quality is windowed by its values."""
    shown = node.GetDisplayNode()
    if not image.shown_as:
        high = float(np.percentile(image.values, 99)) or 1.0
        shown.AutoWindowLevelOff()
        shown.SetWindowLevelMinMax(0.0, high)
        shown.SetAndObserveColorNodeID(GRAY)
        return
    display = display_of(image.shown_as, image.sidecar.get("MagneticFieldStrength"))
    is_sd = image.key.endswith(SD)
    shown.AutoWindowLevelOff()
    shown.SetWindowLevelMinMax(*(display.sd_window if is_sd else _window(display)))
    plain = is_sd or (display.color == "gray" and not display.reverse and not display.logarithmic)
    shown.SetAndObserveColorNodeID(GRAY if plain else _color_node(made, display).GetID())
    if image.is_map:
        _add_legend(made, node, display)


def _add_legend(made, node, display):
    """Colour legend of a map with its unit."""
    if not made.scene.GetTagByClassName("vtkMRMLColorLegendDisplayNode"):
        return  # the module Colors is not loaded
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    made.nodes.append(legend)
    legend.SetTitleText(f"{display.title}\n{display.unit}")
    legend.SetLabelFormat(f"%.{min(display.decimals, 2)}f")


def _window(display):
    """Window in the scene. Slicer knows no validity, so that voxels of 0 are shown as invalid, and only they may be.

    A rate can come out below 0 by noise, where its window begins at 0; such voxels get the lowest colour.
    """
    low, high = display.window
    return (0.0, high) if low > 0 else (-BELOW * high if low == 0 else low, high)


def _color_node(made, display):
    """The colour table of a display over `_window`, made once a scene; below the display's window its lowest colour."""
    key = f"{display.color_name}, {display.window[0]:g} to {display.window[1]:g} {display.unit}"
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode", made.scene):
        if node.GetAttribute(PREFIX + "ColorTable") == key:
            return node
    node = made.node("vtkMRMLColorTableNode", f"{display.title} {key}")
    node.SetTypeToUser()
    node.SetAttribute("Category", "QuantitativeMRI")
    node.SetAttribute(PREFIX + "ColorTable", key)
    low, high = _window(display)
    values = low + (np.arange(ENTRIES) + 0.5) * (high - low) / ENTRIES
    table = display.table[table_index(values, np.ones(ENTRIES, bool), display.window)]
    zero = min(int(-low / (high - low) * (ENTRIES - 1)), ENTRIES - 1)  # as vtkImageMapToWindowLevelColors does
    table[zero] = display.table[0]
    node.SetNumberOfColors(len(table))
    for entry, (red, green, blue) in enumerate(table / 255.0):
        node.SetColor(entry, "invalid" if entry == zero else f"{values[entry]:.4g}", red, green, blue, 1.0)
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
