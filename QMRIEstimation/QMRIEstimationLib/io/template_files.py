"""Nonlinear registrations to a template that other programs made (sMRIPrep, fMRIPrep, ANTs), and maps brought there."""

import re
from pathlib import Path
from typing import NamedTuple

import SimpleITK as sitk

from ..errors import InputError
from .derivatives import prefix, session_folder
from .derivatives_input import derivative_folders
from .nifti import write_image
from .text import write_json

NAME = re.compile(r"_from-(T1w|MEGRE)_to-([A-Za-z0-9+]+)_mode-image_xfm\.(h5|txt|tfm|nii\.gz)$")


class Warp(NamedTuple):
    """source: "T1w" or "MEGRE" (the grid of the maps). template: its name. path: of the file."""

    source: str
    template: str
    path: Path


def template_warps(bids_dir, subject, session, derivatives=None):
    """Warp of every registration of a visit to a template, those from its own multi-echo scan first, then by name.

    Args:
        derivatives: name -> folder; None for every folder in `bids_dir/derivatives` but this program's own results.
    """
    found = []
    for root in derivative_folders(bids_dir, derivatives):
        for top in dict.fromkeys((session_folder(root, subject, session), session_folder(root, subject))):
            for folder in (top / "anat", top):
                for path in sorted(folder.glob(f"{prefix(subject)}_*xfm.*")):
                    known = NAME.search(path.name)
                    other = re.search("_ses-([A-Za-z0-9+]+)", path.name)
                    if known and (not other or other[1] == session) and known[2] != "fsnative":
                        found.append(Warp(known[1], known[2], path))
    return sorted(found, key=lambda warp: (warp.source != "MEGRE", warp.template, str(warp.path)))


def read_warp(path):
    """Transform from places of the template to places of the scan, and an image on the grid of the template.

    Returns:
        sitk.Transform and sitk.Image; None, None where the file holds no displacements, so is no nonlinear one.
    Raises:
        InputError: it cannot be read.
    """
    try:
        if path.name.endswith(".nii.gz"):
            field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
            grid = sitk.VectorIndexSelectionCast(field, 0)
            return sitk.DisplacementFieldTransform(field), grid
        transform = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise InputError(
            f"{path}: cannot be read as a transform of ITK, expected a composite (.h5, .txt) or a displacement field "
            "(.nii.gz); export it again or remove it."
        ) from error
    for part in _parts(transform):
        if part.GetTransformEnum() == sitk.sitkDisplacementField:
            field = sitk.DisplacementFieldTransform(part).GetDisplacementField()
            return transform, sitk.VectorIndexSelectionCast(field, 0)
    return None, None


def _parts(transform):
    """The transforms of a composite, the first to be applied first; else the one."""
    if transform.GetTransformEnum() != sitk.sitkComposite:
        return [transform]
    whole = sitk.CompositeTransform(transform)
    return [part for n in reversed(range(whole.GetNumberOfTransforms())) for part in _parts(whole.GetNthTransform(n))]


def write_template_map(folder, session, space, result, arrays, about):
    """Write concentration, content and validity of a map below the folder of a session.

    Args:
        session: acquisition.Session. space: template.TemplateSpace. result: maps.QuantitativeMap.
        arrays: as `template.in_template` gives them. about: further fields of the sidecars.
    """
    stem = folder / "anat" / f"{prefix(session.subject, session.session)}_space-{space.name}"
    sources = [f"bids:raw:{source}" for source in result.sources]
    shared = {"Sources": sources, "SkullStripped": True, "SpatialReference": space.name} | about
    content = f"{result.name} times the volume in the brain over that in the template, so that sums are kept"
    kinds = (
        ("", arrays[0], {"Description": f"{result.name}, moved to the template"}),
        ("desc-content_", arrays[1], {"Description": content}),
    )
    for desc, array, described in kinds:
        path = stem.with_name(f"{stem.name}_{desc}{result.name}map")
        write_image(path.with_name(f"{path.name}.nii.gz"), array, space.geometry)
        write_json(path.with_name(f"{path.name}.json"), shared | {"Units": result.unit} | described)
    path = stem.with_name(f"{stem.name}_desc-{result.name}_mask")
    write_image(path.with_name(f"{path.name}.nii.gz"), arrays[2], space.geometry, dtype="uint8")
    write_json(path.with_name(f"{path.name}.json"), shared | {"Type": "ROI"})
