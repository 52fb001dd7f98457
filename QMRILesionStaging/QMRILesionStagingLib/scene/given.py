"""From MRML nodes to what staging needs: maps in their units, lesions from masks or segments, images aligned."""

import numpy as np
from QMRIEstimationLib.alignment import Place, moved, registered
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.maps import QuantitativeMap
from QMRIEstimationLib.registration import RegistrationOptions
from QMRIEstimationLib.resample import lesions_on_grid, nearest_on_grid, on_grid
from QMRIEstimationLib.scene.attributes import PREFIX
from QMRIEstimationLib.scene.drawings import array_of, geometry_of, segments
from QMRIEstimationLib.scene.drawings import tissue as tissue_of

from ..staging import StagingInput

UNITS = {  # name of the map -> code of the unit -> factor to the engine's unit; the first is taken where none is stored
    "R1": {"/s": 1.0, "1/s": 1.0, "/ms": 1000.0},
    "R2": {"/s": 1.0, "1/s": 1.0, "/ms": 1000.0},
    "R2star": {"/s": 1.0, "1/s": 1.0, "/ms": 1000.0},
    "PD": {"%": 1.0, "p.u.": 1.0, "1": 100.0},
    "Chi": {"[ppm]": 1.0, "ppm": 1.0, "[ppb]": 1e-3, "ppb": 1e-3},
}


def staging_input_from_nodes(maps, lesions, tissue=None, before=None, after=None, enhancing=None, field_strength=None):
    """StagingInput of nodes of a scene, and sentences.

    Args:
        maps: name (R1, R2, R2star, PD, Chi) -> scalar volume, None where there is none. Chi, else the first map, gives
            the grid. A node named as the map with " SD" is taken for its standard deviation.
        lesions: label map or scalar volume (mask, labels or probabilities), or segmentation: one segment is a mask,
            several are one lesion each; an array [k, j, i] of labels on the grid of the maps is taken as it is.
        tissue: label map with a colour table that names white matter, gray matter and fluid; or None.
        before, after: T1-weighted volumes, or maps of R1; aligned here by a rigid registration.
        enhancing: mask or segmentation of enhancement that was drawn, which counts instead; or None.
        field_strength: T; None to read it from the maps.
    Raises:
        InputError: nothing is selected, a unit is unknown, or images cannot be aligned.
    """
    given = {name: node for name, node in maps.items() if node is not None}
    if not given:
        raise InputError("No map is selected, expected at least one of QSM, R2*, R1, R2 and PD; select one.")
    if lesions is None:
        raise InputError("No lesions are selected, expected a mask, labels or a segmentation; select one.")
    reference = given.get("Chi") or next(iter(given.values()))
    geometry = geometry_of(reference)
    notes = []
    read = {name: _map(name, node, geometry, notes) for name, node in given.items()}
    brain = np.logical_or.reduce([m.valid for m in read.values()])
    drawn = lesions if isinstance(lesions, np.ndarray) else _lesions(lesions, reference, geometry, notes)
    images = _aligned(before, after, read, brain, geometry, notes)
    strength = field_strength or _number(reference, "MagneticFieldStrength")
    if strength is None:
        notes.append(f"{reference.GetName()}: the field strength is unknown and was taken as 3 T.")
    return StagingInput(
        maps=read,
        geometry=geometry,
        brain=brain,
        drawn=drawn,
        tissue=None if tissue is None else _tissue(tissue, reference, geometry),
        before=images[0],
        after=images[1],
        enhancing=None if enhancing is None else _lesions(enhancing, reference, geometry, notes) > 0,
        field_strength=strength,
    ), tuple(notes)


def _map(name, node, geometry, notes):
    """QuantitativeMap of a volume on the grid of the others; 0 counts as not known."""
    factor = _factor(name, node, notes)
    own, values = geometry_of(node), array_of(node) * np.float32(factor)
    valid = values != 0
    sd_node = node.GetScene().GetFirstNodeByName(f"{node.GetName()} SD") if node.GetScene() is not None else None
    sd = np.zeros_like(values)
    if sd_node is not None and sd_node.GetImageData() is not None and geometry_of(sd_node).same_grid(own):
        sd = array_of(sd_node) * np.float32(factor)
    if not own.same_grid(geometry):
        kept = valid
        values, valid = on_grid(values, own, geometry, valid=kept)
        sd, _ = on_grid(sd, own, geometry, valid=kept)
    sign = node.GetAttribute(PREFIX + "PhaseSign")
    parameters = {"PhaseSign": "undetermined"} if sign == "undetermined" else {}
    nothing = np.zeros(values.shape, np.float32)
    return QuantitativeMap(name, values, sd, nothing, valid, geometry, "", "", "", parameters, (node.GetName(),))


def _factor(name, node, notes):
    units = node.GetVoxelValueUnits()
    code = (units.GetCodeValue() if units is not None else "") or node.GetAttribute(PREFIX + "Units") or ""
    known = UNITS[name]
    if not code:
        first = next(iter(known))
        notes.append(f"{node.GetName()}: no unit is stored with it; it was taken as {first.strip('[]')}.")
        return known[first]
    if code not in known:
        expected = ", ".join(known)
        raise InputError(
            f"{node.GetName()}: its unit is {code}, expected one of {expected}; convert it, or correct it."
        )
    return known[code]


def _number(node, name):
    text = node.GetAttribute(PREFIX + name)
    try:
        return float(text) if text else None
    except ValueError:
        raise InputError(f"{node.GetName()}: {name} is '{text}', expected a number; correct it in the node.") from None


def _lesions(node, reference, geometry, notes):
    """The drawing on the grid of the maps."""
    if node.IsA("vtkMRMLSegmentationNode"):
        return segments(node, reference, "lesions")[0]
    own, array = geometry_of(node), array_of(node)
    whole = np.array_equal(array, np.rint(array))
    array = array.astype(np.int32) if whole else array
    if own.same_grid(geometry):
        return array
    if not whole:
        return on_grid(array, own, geometry)[0]
    found, more = lesions_on_grid(array, own, geometry)
    if array.any() and not found.any():
        raise InputError(
            f"{node.GetName()}: the lesions lie outside the maps; check that they belong together, or align them."
        )
    notes.extend(more)
    return found


def _tissue(node, reference, geometry):
    """Labels of tissue on the grid of the maps, and their names."""
    labels, own, names = tissue_of(node, reference)
    return nearest_on_grid(labels, own, geometry), names


def _aligned(before, after, maps, brain, geometry, notes):
    """T1-weighted images on the grid of the maps, or (None, None)."""
    if before is None or after is None:
        return None, None
    fixed = maps[next(name for name in ("R1", "R2star", "PD", "R2", "Chi") if name in maps)]
    place = Place("the maps", np.maximum(fixed.values, 0), geometry, brain)
    images = []
    for node in (before, after):
        own, image = geometry_of(node), array_of(node)
        found = registered(node.GetName(), image, own, place, RegistrationOptions())
        if not found.identity:
            notes.append(f"{node.GetName()}: {'; '.join(found.notes)}.")
        images.append(moved(image, own, place, found))
    return tuple(images)
