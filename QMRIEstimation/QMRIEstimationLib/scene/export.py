"""Results of the scene as files: NIfTI with sidecars as the command writes them, or DICOM parametric maps."""

import numpy as np

from ..display import display_of
from ..errors import InputError
from ..io.derivatives import map_names
from ..io.dicom_maps import study_of, write_parametric_map
from ..io.nifti import write_image
from ..io.text import write_json
from .attributes import DICOM_FILE, header_of
from .drawings import array_of, geometry_of
from .record import MAPS, OUTPUT, QUALITY, SD

NOT_IN_FILES = ("Settings", "SoftwareVersion")  # of the record; the log of a run has them


def export_nifti(results, folder):
    """Write maps, SDs and qualities below `folder/<subject>/anat`, in the names of the contract.

    Args:
        results: key -> node. folder: made where it does not exist.
    Returns:
        Number of images written.
    Raises:
        InputError: there is no map.
    """
    subject, count = _subject(results), 0
    for key, node in results.items():
        ends = _end(key)
        if ends is None:
            continue
        stem = folder / subject.partition("_")[0] / _session_folder(subject) / "anat" / f"{subject}_{ends}"
        write_image(stem.with_name(stem.name + ".nii.gz"), array_of(node), geometry_of(node))
        fields = {key: value for key, value in header_of(node).items() if key not in NOT_IN_FILES}
        write_json(stem.with_name(stem.name + ".json"), fields)
        count += 1
    return count


def export_dicom(results, folder, images=()):
    """Write every map and its SD as a DICOM parametric map below `folder/<subject>/dicom`.

    Args:
        images: nodes that the maps were made from; the first that came from DICOM gives patient and study.
    Returns:
        Number of files written.
    Raises:
        InputError: there is no map, or highdicom is not installed.
    """
    subject = _subject(results)
    source = next((path for node in images if (path := node.GetAttribute(DICOM_FILE))), None)
    study, count = study_of(source, subject), 0
    for key, node in results.items():
        name = key.removesuffix(SD)
        if name not in MAPS:
            continue
        display = display_of(name, header_of(node).get("MagneticFieldStrength"))
        title = display.title + (", standard deviation" if key.endswith(SD) else "")
        path = folder / subject / "dicom" / f"{subject}_{key.replace(' ', '_')}.dcm"
        values = np.nan_to_num(array_of(node))
        write_parametric_map(path, values, geometry_of(node), display, title, study, count)
        count += 1
    return count


def _subject(results):
    maps = [node for key, node in results.items() if key in MAPS]
    if not maps:
        raise InputError("There is no map in the scene to export; press Apply first.")
    name = maps[0].GetAttribute(OUTPUT).rpartition("/")[0]
    return name if name.startswith("sub-") else "sub-scene"


def _session_folder(subject):
    return subject.partition("_")[2]


def _end(key):
    """End of the file name of a key; None for what is no map."""
    for number, suffix in ((1, SD), (2, QUALITY), (0, "")):
        name = key.removesuffix(suffix)
        if name in MAPS and (suffix == "" or key.endswith(suffix)):
            return map_names(name)[number]
    return None
