"""What the parameter node of the module asks for: its images, the maps that are wanted of them, and the settings."""

import tomllib
from pathlib import Path

from ..errors import InputError
from .attributes import acquisition_of
from .checks import possible_maps, problem_of

IMAGE = "image"  # role of the node references
OWN = ("R1", "R2", "R2star", "PD", "Chi")


def images_of(parameters):
    """Image nodes of a wrapped parameter node, in order."""
    node = parameters.parameterNode
    found = [node.GetNthNodeReference(IMAGE, n) for n in range(node.GetNumberOfNodeReferences(IMAGE))]
    return [image for image in found if image is not None]


def set_images(parameters, images):
    """Keep image nodes, each once, in a wrapped parameter node, those of one use together."""
    node = parameters.parameterNode
    was_modifying = node.StartModify()
    node.RemoveNodeReferenceIDs(IMAGE)
    for image in dict.fromkeys(image.GetID() for image in sorted(images, key=lambda n: acquisition_of(n).rank)):
        node.AddNodeReferenceID(IMAGE, image)
    node.EndModify(was_modifying)


def take_subject(parameters, images, drawn, subject, session):
    """Put what `loading.load_bids` gives into a wrapped parameter node."""
    parameters.subject, parameters.session = subject, session
    parameters.brainMask, parameters.tissue = drawn.get("brainMask"), drawn.get("tissue")
    lesions = drawn.get("lesions")  # probabilities are a scalar volume, which is no choice of the panel
    parameters.lesions = lesions if lesions is not None and lesions.IsA("vtkMRMLLabelMapVolumeNode") else None
    set_images(parameters, images)


def possible(parameters):
    """Name of each map -> why its images do not allow it; empty where they do."""
    found = [a for a in map(acquisition_of, images_of(parameters)) if a.used]
    return possible_maps(found, parameters.fieldStrength or None)


def wanted(parameters):
    """Maps that are ticked and that the images allow."""
    reasons = possible(parameters)
    return tuple(name for name in OWN if getattr(parameters, f"make{name}") and not reasons[name])


def problem(parameters):
    """Why nothing can be made, in one sentence; empty when something can."""
    found = problem_of(images_of(parameters))
    if found:
        return found
    if not wanted(parameters):
        reasons = possible(parameters)
        ticked = [name for name in OWN if getattr(parameters, f"make{name}")]
        return next((reasons[name] for name in ticked), "No map is asked for; tick at least one.")
    return ""


def request_of(parameters):
    """The Request of a parameter node.

    Raises:
        InputError: as `problem` says, or the advanced parameters are wrong.
    """
    from .run import Request

    found = problem(parameters)
    if found:
        raise InputError(found)
    everything = all(getattr(parameters, f"make{name}") for name in OWN)
    return Request(
        nodes=tuple(images_of(parameters)),
        subject=parameters.subject or "scene",
        session=parameters.session,
        maps=None if everything else wanted(parameters),
        settings=settings_of(parameters),
        field_strength=parameters.fieldStrength or None,
        brain_mask=parameters.brainMask,
        lesions=parameters.lesions,
        tissue=parameters.tissue,
        output_dir=Path(parameters.outputFolder) if parameters.outputFolder else None,
    )


def settings_of(parameters, with_changes=True):
    """Settings of the preset, of the box for denoising and (unless left out) of the user's own changes."""
    from ..presets import settings_of
    from ..settings import Settings

    changes = tomllib.loads(parameters.changes) if with_changes else {}
    method = changes.get("denoise", {}).get("method")
    settings = settings_of(parameters.preset.value, changes, Settings())
    return settings if method else settings.with_denoising(parameters.denoise)
