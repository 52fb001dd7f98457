"""What is known of an image, kept as attributes of its node, so that it is saved with the scene.

An attribute is named `qMRI.` and the BIDS field, in BIDS units (`qMRI.EchoTime` in seconds, blanks between the values
of several volumes). `qMRI.Use` and `qMRI.Part` say what the image is, `qMRI.Sidecar` holds every further field as JSON,
and `qMRI.Origin.<field>` says where a value came from.
"""

import json

from ..errors import InputError
from .uses import FIELDS, NOT_USED, PARTS, USES, Acquisition

PREFIX = "qMRI."
ORIGIN = PREFIX + "Origin."
SIDECAR = PREFIX + "Sidecar"
DICOM_FILE = PREFIX + "DicomFile"  # one of the files that an image, or the images of a map, came from
ENTERED = "entered"
WHAT = ("Use", "Part")


def acquisition_of(node):
    """The Acquisition of a volume or sequence node, from its attributes alone."""
    values, broken = {}, {}
    for name in FIELDS:
        text = node.GetAttribute(PREFIX + name)
        if not text:
            continue
        try:
            values[name] = tuple(float(word) for word in text.split())
        except ValueError:
            broken[name] = f"{FIELDS[name].title} is '{text}', expected numbers; correct it."
    known = (*WHAT, *FIELDS)
    return Acquisition(
        name=node.GetName() or "",
        use=node.GetAttribute(PREFIX + "Use") or "",
        part=node.GetAttribute(PREFIX + "Part") or "magnitude",
        frames=frames_of(node),
        values=values,
        origin={name: text for name in known if (text := node.GetAttribute(ORIGIN + name))},
        header=header_of(node),
        broken=broken,
    )


def header_of(node):
    """Every further field that is known of an image, in BIDS names and units."""
    header = json.loads(node.GetAttribute(SIDECAR) or "{}")
    for name in ("Manufacturer", "Units"):
        text = node.GetAttribute(PREFIX + name)
        if text:
            header[name] = text
    strength = node.GetAttribute(PREFIX + "MagneticFieldStrength")
    if strength:
        try:
            header["MagneticFieldStrength"] = float(strength)
        except ValueError:
            raise InputError(
                f"{node.GetName()}: MagneticFieldStrength is '{strength}', expected a number in tesla; correct it."
            ) from None
    return header


def enter(node, name, text):
    """Keep what the user typed or chose for `Use`, `Part` or a field of FIELDS, in the units that the user reads.

    Raises:
        InputError: not a number, or out of range. The text is kept nevertheless, so that the user can correct it.
    """
    if name in FIELDS:
        try:
            text = " ".join(f"{value:.12g}" for value in FIELDS[name].parsed(text))
        except InputError:
            set_value(node, name, text, ENTERED)
            raise
    elif name == "Use" and text not in (*USES, NOT_USED):
        raise InputError(f"{node.GetName()}: there is no use '{text}', expected one of {', '.join(USES)}.")
    elif name == "Part" and text not in PARTS:
        raise InputError(f"{node.GetName()}: there is no part '{text}', expected one of {', '.join(PARTS)}.")
    set_value(node, name, text, ENTERED)


def set_value(node, name, text, origin):
    """Keep the text of an attribute and where it came from; an empty text takes both away."""
    node.SetAttribute(PREFIX + name, text or None)
    node.SetAttribute(ORIGIN + name, origin if text else None)


def is_set(node, name):
    """Whether an attribute has a value."""
    return bool(node.GetAttribute(PREFIX + name))


def frames_of(node):
    """Number of volumes of a node: data nodes of a sequence, or values a voxel of a volume."""
    if node.IsA("vtkMRMLSequenceNode"):
        return node.GetNumberOfDataNodes()
    image = node.GetImageData()
    return image.GetNumberOfScalarComponents() if image is not None else 0
