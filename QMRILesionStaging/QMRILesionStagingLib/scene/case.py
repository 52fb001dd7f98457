"""What a staging was made of, kept with its table: the nodes, and every parameter. It is saved with the scene."""

import json

from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.parameters import as_user_dict, from_table
from QMRIEstimationLib.scene.attributes import PREFIX

from ..options import StagingOptions
from .fill import MAPS
from .given import staging_input_from_nodes
from .patient import one_patient

IMAGES = ("tissue", "before", "after", "enhancing")
SETTINGS, STRENGTH, INPUTS = PREFIX + "StagingSettings", PREFIX + "FieldStrength", PREFIX + "StagedFrom"

NOTES = PREFIX + "Notes"  # sentences of the staging, as JSON


def remember(table, inputs, strength, options, notes):
    """Keep what a staging was made of.

    Args:
        table: node of the lesion table. inputs: name (of MAPS, IMAGES, and "lesions") -> node or None.
        strength: T, or None. options: StagingOptions. notes: sentences of the staging.
    """
    for name, node in inputs.items():
        table.SetNodeReferenceID(PREFIX + name, node.GetID() if node is not None else None)
    there = [name for name in (*MAPS, *IMAGES) if inputs.get(name) is not None]
    table.SetAttribute(INPUTS, " ".join(there))  # a reference is forgotten with its node
    table.SetAttribute(SETTINGS, json.dumps(as_user_dict(options)))
    table.SetAttribute(NOTES, json.dumps(list(notes)))
    table.SetAttribute(STRENGTH, None if strength is None else f"{strength:g}")


def recall(table):
    """Maps (name of the map -> node or None), images (name -> node or None), field strength, options, of a staging.

    Raises:
        InputError: a map it was made from is no longer in the scene.
    """
    if table.GetAttribute(SETTINGS) is None:
        raise InputError(f"{table.GetName()}: what it was made of is not kept with it; stage the lesions again.")
    maps = {key: table.GetNodeReference(PREFIX + name) for name, key in MAPS.items()}
    gone = ", ".join(name for name in table.GetAttribute(INPUTS).split() if _node(table, name) is None)
    if gone:
        raise InputError(f"{table.GetName()}: {gone} is no longer in the scene; load it, and stage the lesions again.")
    strength = table.GetAttribute(STRENGTH)
    options = from_table(StagingOptions(), json.loads(table.GetAttribute(SETTINGS)), table.GetName(), "staging")
    images = {name: _node(table, name) for name in IMAGES}
    return maps, images, float(strength) if strength else None, options


def given_again(table, labels):
    """StagingInput and options of a staging in the scene, for labels [k, j, i]. Raises InputError as `recall`."""
    maps, images, strength, options = recall(table)
    return staging_input_from_nodes(maps, labels, field_strength=strength, **images)[0], options


def state_of(table):
    """Times of change of the images that a staging is made of: other ones where they must be read again."""
    maps, images, _, _ = recall(table)
    used = [node for node in (*maps.values(), *images.values()) if node is not None]
    return [(node.GetID(), node.GetMTime(), _image_time(node)) for node in used]


def _image_time(node):
    image = node.GetImageData() if hasattr(node, "GetImageData") else None
    return image.GetMTime() if image is not None else 0


def reference_of(table):
    """The volume on whose grid the lesions of a staging lie."""
    maps = recall(table)[0]
    return maps["Chi"] or next(node for node in maps.values() if node is not None)


def dicom_file_of(table):
    """A DICOM file of the patient of a staging, or None. Raises InputError as `patient.one_patient`."""
    maps, images, _, _ = recall(table)
    return one_patient([*maps.values(), *images.values()])


def _node(table, name):
    return table.GetNodeReference(PREFIX + name)
