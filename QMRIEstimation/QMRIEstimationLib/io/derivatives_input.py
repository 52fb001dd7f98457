"""What a rater or another program drew: brain mask, lesions and tissue labels from derivative data sets."""

import csv
import json
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..tissue_names import name_of_number, plain
from .names import images_in
from .nifti import read_header, read_image, relative_name

PROGRAM = "slicer-qmri"  # its own results are not taken for a rater's
LESIONS = ("l", "lesion", "lesions")


def derivative_images(bids_dir, subject, session, derivatives=None):
    """(top of the derivative, BidsFile) of every image of one visit, in the space it was scanned in.

    Args:
        derivatives: name -> folder; None for every folder in `bids_dir/derivatives` but this program's own results.
    """
    folders = derivative_folders(bids_dir, derivatives)
    return [(root, file) for root in folders for file in _images(root, subject, session)]


def drawings(files, bids_dir):
    """Brain mask, lesions and tissue labels of one visit, from the first derivative that has each.

    Args:
        files: as `derivative_images` gives them. bids_dir: names of sources are relative to it.
    Returns:
        brain_mask, lesions: None or function -> (array [k, j, i], Geometry); bool, and int32 with one label a lesion
            where instances were drawn (else 1), or float32 probabilities. tissue: None or function -> (int32 array,
            Geometry, names), names mapping label -> name. sources: file names relative to `bids_dir`. notes.
    """
    kinds = (
        ("brain mask", [f for f in files if _is_brain(f[1])], _mask),
        (
            "lesion",
            sorted(
                (f for f in files if _is_lesion(f[1])), key=lambda f: ("dseg", "mask", "probseg").index(f[1].suffix)
            ),
            _labels,
        ),
        ("tissue label", [f for f in files if f[1].suffix == "dseg" and not _is_result(f[1])], _tissue),
    )
    functions, sources, notes = [], [], []
    for what, found, reader in kinds:
        functions.append(reader(*found[0]) if found else None)
        if found:
            read_header(found[0][1].path)  # a damaged file is named before hours of work
            sources.append(relative_name(found[0][1].path, bids_dir))
        if len(found) > 1:
            notes.append(
                f"{found[0][1].name}: is the first of {len(found)} {what} images and was taken; choose another with "
                "--derivatives."
            )
    return *functions, tuple(sources), tuple(notes)


def derivative_folders(bids_dir, derivatives=None):
    """Tops of the derivatives that count: those that are given (name -> folder), else all that others made."""
    if derivatives is not None:
        return [Path(folder) for folder in derivatives.values()]
    folders = sorted(p for p in (Path(bids_dir) / "derivatives").glob("*") if p.is_dir())
    return [folder for folder in folders if PROGRAM not in generators(folder)]


def generators(folder):
    """Names of the programs that made a data set, [] where it does not say.

    Raises:
        InputError: its dataset_description.json is none.
    """
    path = Path(folder) / "dataset_description.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8-sig")) if path.is_file() else {}
        return [entry.get("Name") for entry in description.get("GeneratedBy", [])]
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: is not a valid dataset_description.json ({error}); correct the file.") from error


def _images(root, subject, session):
    """Images of the visit, and of the subject where no session is named, in the space they were scanned in."""
    top = root / f"sub-{subject}"
    places = [top / f"ses-{session}", top] if session else [top]
    folders = [folder for place in places for folder in (place / "anat", place / "fmap", place)]
    return [
        file
        for folder in folders
        for file in images_in(folder)
        if file.entities.get("sub") == subject
        and file.entities.get("ses", session) == session
        and file.entities.get("space", "orig") in ("orig", "native")
    ]


def _is_brain(file):
    named = {file.entities.get("label", "").lower(), file.entities.get("desc", "").lower()}
    return file.suffix == "mask" and "brain" in named


def _is_lesion(file):
    if file.suffix == "dseg":
        return file.entities.get("seg", "").lower() in LESIONS
    return file.suffix in ("mask", "probseg") and file.entities.get("label", "").lower() in LESIONS


def _is_result(file):
    return file.entities.get("seg", "").lower() in (*LESIONS, "stages")


def _mask(_, file):
    def read():
        array, geometry, _info = _volume(file)
        inside = array > 0.5
        if not inside.any():
            raise InputError(
                f"{file.name}: the mask is empty (its highest value is {array.max():g}), expected 1 inside; draw it or "
                "remove the file."
            )
        return inside, geometry

    return read


def _labels(_, file):
    def read():
        array, geometry, _info = _volume(file)
        if file.suffix == "probseg":
            return _probabilities(array, file), geometry
        return _whole_numbers(array, file), geometry

    return read


def _tissue(root, file):
    def read():
        array, geometry, _info = _volume(file)
        labels = _whole_numbers(array, file)
        return labels, geometry, _names(root, file, labels)

    return read


def _volume(file):
    array, geometry, info = read_image(file.path)
    if array.ndim != 3 or info.is_complex:
        raise InputError(f"{file.name}: has shape {array.shape}, expected one volume of labels; split it.")
    return array, geometry, info


def _probabilities(array, file):
    if array.min() < 0 or array.max() > 1:
        raise InputError(
            f"{file.name}: holds {array.min():g} to {array.max():g}, expected probabilities from 0 to 1; divide by 100 "
            "where they are percent."
        )
    return array


def _whole_numbers(array, file):
    labels = np.rint(array)
    worst = float(np.abs(array - labels).max())
    if worst > 1e-3 or labels.min() < 0:
        raise InputError(
            f"{file.name}: holds numbers such as {array.flat[int(np.abs(array - labels).argmax())]:g}, expected labels "
            "0, 1, 2, ...; save it with nearest-neighbour interpolation."
        )
    return labels.astype(np.int32)


def _names(root, file, labels):
    """Label -> name from the TSV beside the image, else one above it that applies, else by FreeSurfer's numbers."""
    stem = file.name.removesuffix(file.extension)
    above = [path for path in root.glob("*dseg.tsv") if set(path.name.split("_")[:-1]) <= set(stem.split("_"))]
    above.sort(key=lambda path: (-path.name.count("_"), path.name))  # inherited: those with most entities first
    table = next((path for path in (file.path.with_name(f"{stem}.tsv"), *above) if path.is_file()), None)
    if table is not None:
        with open(table, encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        try:
            return {int(row["index"]): plain(row["name"].strip()) for row in rows}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{table.name}: expected columns index (whole number) and name; correct the table."
            ) from error
    present = {int(v) for v in np.unique(labels) if v}
    known = {label: name for label in present if (name := name_of_number(label))}
    if len(present) >= 3 and len(known) >= 0.5 * len(present) and 2 in present:
        return known
    raise InputError(
        f"{file.name}: there is no {stem}.tsv to name its labels and they are not FreeSurfer's; add the table with "
        "the columns index and name."
    )
