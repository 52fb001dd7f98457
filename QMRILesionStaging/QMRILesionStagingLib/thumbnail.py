"""One small axial picture of a session, for the index page."""

import json

from QMRIEstimationLib.colors import table_index
from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.report.pictures import cut_through, data_uri, slice_picture, view_of

ORDER = ("R2star", "R1", "Chi", "R2", "PD")  # the first that exists is shown
SCALE = 0.9  # pixels per mm


def thumbnail(folder, name):
    """Axial slice of the first map on disk as a data URI; "" when the session has no map.

    Args:
        folder: where the maps lie. name: prefix of the session's files.
    Raises:
        ValueError: a map, mask or sidecar cannot be read, or they do not fit together (InputError among them).
    """
    for quantity in ORDER:
        path = folder / f"{name}_{quantity}map.nii.gz"
        if path.is_file():
            values, geometry, _ = read_image(path)
            valid = read_image(folder / f"{name}_desc-{quantity}_mask.nii.gz")[0] > 0
            brain = folder / f"{name}_label-brain_mask.nii.gz"
            inside = read_image(brain)[0] > 0 if brain.is_file() else valid
            view = view_of(geometry)
            display = display_of(quantity, _field_strength(path))
            index = table_index(values, valid, display.window)
            return data_uri(slice_picture(index, display.table, view, cut_through(inside, view), "axial", scale=SCALE))
    return ""


def _field_strength(path):
    """Field strength (T) by the sidecar of a map; None when it does not say."""
    sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    return json.loads(sidecar.read_text(encoding="utf-8")).get("MagneticFieldStrength") if sidecar.is_file() else None
