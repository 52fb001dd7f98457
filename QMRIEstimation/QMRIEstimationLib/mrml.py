"""From MRML nodes to a Session: the only place that knows how images, geometry and parameters lie in a scene.

Acquisition parameters are node attributes named `qMRI.` and the BIDS field, in BIDS units: `qMRI.EchoTime` in seconds,
`qMRI.MagneticFieldStrength` in tesla, `qMRI.Manufacturer`, `qMRI.Units` of the phase. A sequence may carry the echo
times as its index instead. What the caller gives wins over both.
"""

from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from .acquisition import Role, Scan, Session
from .errors import InputError
from .geometry import SCANNER_Z, Geometry
from .io.phase import alternating_axes, mend_alternating, polarity, to_radians
from .io.phase_checks import random_slice_steps, unlike_a_measurement

PREFIX = "qMRI."
SECONDS_PER_UNIT = {"s": 1.0, "ms": 1e-3}  # of a sequence's index


@dataclass(frozen=True, eq=False)
class _Image:
    """One echo: the volume, the name the user knows it by, and the transform it is seen under."""

    name: str
    volume: object
    transform: object


def session_from_nodes(magnitude, phase=None, echo_times=None, field_strength=None, maps=("R2star", "Chi")):
    """One multi-echo scan of the scene as a Session; the voxels are read when the engine asks for them.

    Args:
        magnitude, phase: each a volume node, a list of volume nodes (one an echo) or a sequence node.
        echo_times: s, one for each image in the order given; None to read them from the nodes.
        field_strength: T; None to read it from the nodes.
        maps: names of the maps wanted, so that what they need is asked for now.
    Raises:
        InputError: an image, a parameter or a direction that the maps need is missing or contradicts another.
    """
    magnitudes = _images(magnitude, "magnitude")
    phases = [] if phase is None else _images(phase, "phase")
    images = magnitudes + phases
    echo_times = tuple(echo_times or echo_times_of(magnitude) or echo_times_of(phase))
    field_strength = field_strength or field_strength_of(magnitude) or field_strength_of(phase)
    transforms = {image.transform for image in images}
    _check_images(magnitudes, phases)
    _check_echo_times(echo_times, magnitudes)
    _check_needs(maps, phases, echo_times, field_strength, images)

    order = np.argsort(echo_times)
    magnitudes = [magnitudes[n] for n in order]
    phases = [phases[n] for n in order] if phases else []
    manufacturer = _attribute(magnitude, "Manufacturer") or _attribute(phase, "Manufacturer")
    found = []  # what `read` mends; it becomes known only with the voxels

    def read():
        values = _stack(magnitudes)
        if not phases:
            return values, None
        phase_values = _phase(values, phases, manufacturer, found)
        if "Chi" in maps:
            _check_unprocessed(phases[-1].name, values, phase_values, _geometry(magnitudes[0], None).voxel_size)
        return values, phase_values

    scan = Scan(
        role=Role.MULTI_ECHO_GRE,
        name=_nodes(magnitude)[0].GetName(),
        geometry=_geometry(magnitudes[0], SCANNER_Z if transforms == {None} else None),
        read=read,
        echo_times=tuple(float(echo_times[n]) for n in order),
        field_strength=field_strength,
        has_phase=bool(phases),
        phase_polarity=polarity(manufacturer),
        manufacturer=manufacturer,
        sources=tuple(dict.fromkeys(image.name for image in images)),
        notes=found,
    )
    return Session(subject=scan.name, scans=(scan,), sources=scan.sources)


def echo_times_of(nodes):
    """Echo times (s) that the nodes carry as index or attribute; () when they do not.

    Raises:
        InputError: the index has an unknown unit, or a value is no number.
    """
    found = []
    for node in _nodes(nodes):
        found += _indexed_echo_times(node) or _numbers(node, "EchoTime", node.GetAttribute(PREFIX + "EchoTime") or "")
    return tuple(found)


def field_strength_of(nodes):
    """Field strength (T) that the first node to do so carries as attribute; None when none does.

    Raises:
        InputError: the value is no number.
    """
    for node in _nodes(nodes):
        values = _numbers(node, "MagneticFieldStrength", node.GetAttribute(PREFIX + "MagneticFieldStrength") or "")
        if values:
            return values[0]
    return None


def transform_of(node):
    """The transform node that a volume, or the proxy of a sequence, is seen under; None when there is none."""
    if node.IsA("vtkMRMLSequenceNode") and node.GetScene() is not None:
        for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", node.GetScene()):
            proxy = browser.GetProxyNode(node)
            if proxy is not None and proxy.GetParentTransformNode() is not None:
                return proxy.GetParentTransformNode()
        return None
    return node.GetParentTransformNode()


def _nodes(nodes):
    if nodes is None:
        return []
    return list(nodes) if isinstance(nodes, (list, tuple)) else [nodes]


def _attribute(nodes, name):
    """The first value of an attribute among the nodes; empty when none has it."""
    return next((v for v in (node.GetAttribute(PREFIX + name) for node in _nodes(nodes)) if v), "")


def _images(nodes, what):
    """Every echo of a volume, of several volumes or of a sequence."""
    images = []
    for node in _nodes(nodes):
        transform = transform_of(node)
        if not node.IsA("vtkMRMLSequenceNode"):
            images.append(_Image(node.GetName(), node, transform))
            continue
        for index in range(node.GetNumberOfDataNodes()):
            images.append(_Image(f"{node.GetName()}[{index}]", node.GetNthDataNode(index), transform))
    if not images:
        raise InputError(f"No {what} image is selected, expected a volume or a sequence of volumes; select one.")
    return images


def _indexed_echo_times(node):
    """Echo times (s) from the index of a sequence that says it is the echo time; [] for any other node."""
    if not node.IsA("vtkMRMLSequenceNode") or "echo" not in (node.GetIndexName() or "").lower():
        return []
    unit = node.GetIndexUnit() or ""
    if unit not in SECONDS_PER_UNIT:
        raise InputError(f"{node.GetName()}: the echo times have the unit '{unit}', expected ms or s; correct it.")
    text = " ".join(node.GetNthIndexValue(index) for index in range(node.GetNumberOfDataNodes()))
    return [value * SECONDS_PER_UNIT[unit] for value in _numbers(node, node.GetIndexName(), text)]


def _numbers(node, name, text):
    """The numbers of a text with blanks between."""
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise InputError(f"{node.GetName()}: {name} is '{text}', expected numbers; correct it in the node.") from None


def _check_images(magnitudes, phases):
    """Raise InputError unless all echoes are scalar images on one grid, as many of phase as of magnitude."""
    first = magnitudes[0]
    for image in magnitudes + phases:
        volume = image.volume
        if not volume.IsA("vtkMRMLScalarVolumeNode") or volume.IsA("vtkMRMLLabelMapVolumeNode"):
            raise InputError(
                f"{image.name} is a {volume.GetNodeTagName()}, expected a scalar volume; select a volume with one "
                "value a voxel, or a sequence of such volumes."
            )
        if volume.GetImageData() is None:
            raise InputError(f"{image.name} holds no image; load it again, or select another volume.")
        if volume.GetImageData().GetNumberOfScalarComponents() != 1:
            raise InputError(
                f"{image.name} has {volume.GetImageData().GetNumberOfScalarComponents()} values a voxel, expected 1; "
                "load the echoes as a sequence."
            )
        if not _geometry(image, None).same_grid(_geometry(first, None)):
            raise InputError(
                f"{image.name} lies on another grid than {first.name}, expected the same size and position; "
                "select echoes of one scan."
            )
        if image.transform is not first.transform:
            raise InputError(
                f"{image.name} and {first.name} are under different transforms, expected one for all echoes; "
                "put all of them under the same transform, or under none."
            )
    if phases and len(phases) != len(magnitudes):
        raise InputError(
            f"{len(phases)} phase and {len(magnitudes)} magnitude images are selected, expected one of each an echo; "
            "select the same echoes for both."
        )
    if any(m.volume is p.volume for m, p in zip(magnitudes, phases, strict=False)):
        raise InputError(f"{first.name} is selected as magnitude and as phase; select the phase image.")


def _check_echo_times(echo_times, magnitudes):
    name = magnitudes[0].name
    if len(echo_times) != len(magnitudes):
        found = f"{len(echo_times)} echo times are" if echo_times else "no echo time is"
        raise InputError(
            f"{name}: {found} given for {len(magnitudes)} images, expected one an image; enter them in milliseconds."
        )
    if len(set(echo_times)) < len(echo_times) or not all(0 < te < 1 for te in echo_times):
        shown = ", ".join(f"{1000 * te:g}" for te in echo_times)
        raise InputError(
            f"{name}: the echo times are {shown} ms, expected different times of 0 to 1000 ms; correct them."
        )


def _check_needs(maps, phases, echo_times, field_strength, images):
    """Raise InputError when a wanted map lacks what it needs."""
    name = images[0].name
    if not maps:
        raise InputError("No map is asked for; choose at least one.")
    if "R2star" in maps and len(echo_times) < 2:
        raise InputError(f"{name}: one echo was found, R2* needs two or more; add the other echoes, or leave out R2*.")
    if "Chi" not in maps:
        return
    if not phases:
        raise InputError(f"{name}: there is no phase image, QSM needs one; select it, or leave out QSM.")
    if not field_strength:
        raise InputError(f"{name}: the field strength is unknown, QSM needs it in tesla; enter it, or leave out QSM.")
    moved = next((image for image in images if image.transform is not None), None)
    if moved is not None:
        raise InputError(
            f"{moved.name} is under the transform {moved.transform.GetName()}, so the direction of B0 in it is "
            "unknown; take it out of the transform without hardening, or leave out QSM."
        )


def _geometry(image, b0_ras):
    matrix = vtk.vtkMatrix4x4()
    image.volume.GetIJKToRASMatrix(matrix)
    shape = image.volume.GetImageData().GetDimensions()[::-1]
    return Geometry(tuple(shape), slicer.util.arrayFromVTKMatrix(matrix), b0_ras)


def _stack(images):
    """Copies of the voxels, float32 [echo, k, j, i]."""
    arrays = np.stack([slicer.util.arrayFromVolume(image.volume).astype(np.float32) for image in images])
    for image, array in zip(images, arrays, strict=True):
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise InputError(f"{image.name}: {bad} voxels are not finite, expected numbers; load the original image.")
    return arrays


def _phase(magnitude, images, manufacturer, found):
    """Wrapped phase in rad, float32 [echo, k, j, i]; what had to be mended is added to `found`."""
    volume, name = images[0].volume, images[0].name
    units = volume.GetVoxelValueUnits()
    units = volume.GetAttribute(PREFIX + "Units") or (units.GetCodeValue() if units is not None else "")
    try:
        phase, _ = to_radians(_stack(images), units, manufacturer)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    axes = alternating_axes(magnitude, phase)
    if axes:
        found[:] = [f"{name}: every second slice had the opposite sign (a GE export); it was turned back."]
        phase = mend_alternating(phase, axes)
    return phase


def _check_unprocessed(name, magnitude, phase, voxel_size):
    """Raise InputError when the phase was filtered or is random from slice to slice."""
    found = unlike_a_measurement(magnitude, phase, voxel_size)
    if not found and "evolution" in random_slice_steps(magnitude, phase):
        found = "the phase jumps at random from slice to slice, expected a continuous volume"
    if found:
        raise InputError(f"{name}: {found}; load the raw phase of a 3-D scan, or leave out QSM.")
