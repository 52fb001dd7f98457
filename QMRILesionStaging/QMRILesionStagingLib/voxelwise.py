"""Maps of a cohort in a template, made ready for voxelwise statistics: lists of files, a mask, and the design.

The lists and designs are read by FSL (randomise, PALM), nilearn, SPM and AFNI; the statistics are theirs.
"""

import csv
import io
import re
from itertools import groupby

import numpy as np
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.nifti import read_image, write_image
from QMRIEstimationLib.io.text import write_text

from .comparisons import covariates_of, group_of

FOLDER = "voxelwise"
NAME = re.compile(r"_space-([A-Za-z0-9+]+)_(?:desc-(content)_)?(R1|R2star|Chi)map\.nii\.gz$")
README = """Maps of all subjects in one template. Beside each list NAME_files.tsv lie NAME_files.txt (one image a line),
NAME_mask.nii.gz (voxels that are valid in everybody), and NAME_design.mat and NAME_design.con (patients, controls,
covariates; only where participants.tsv tells groups).
Run in this folder, for example
  fslmerge -t NAME.nii.gz $(cat NAME_files.txt)
  randomise -i NAME.nii.gz -o NAME -m NAME_mask.nii.gz -d NAME_design.mat -t NAME_design.con -T -n 5000
or, in Python,
  nilearn.glm.second_level.non_parametric_inference(images, design_matrix=..., second_level_contrast=...)
Contrast 1 is patients above controls, 2 controls above patients. Smooth the images first, as your question asks.
"""


def export(output_dir, results, participants, active):
    """Write the folder voxelwise/ of a derivative data set; nothing where there are no maps in a template.

    Args:
        results: cohort.SessionResult; of several sessions of a person the first counts. participants: id -> row.
        active: ids of the patients with an enhancing lesion.
    Returns:
        Names of the tables, relative to `output_dir`, and sentences.
    """
    found, notes, names, masks = [], [], [], {}
    for result in sorted(results, key=lambda one: one.name):
        folder = output_dir / f"sub-{result.subject}" / (f"ses-{result.session}" if result.session else "") / "anat"
        for path in sorted(folder.glob(f"{result.name}_space-*map.nii.gz")):
            known = NAME.search(path.name)
            if known:
                found.append(((known[1], known[3], known[2] or "concentration"), f"sub-{result.subject}", path))
    found.sort(key=lambda item: item[0])
    for (space, name, measure), group in groupby(found, key=lambda item: item[0]):
        images = {}
        for _, person, path in group:
            images.setdefault(person, path)
        stem = f"space-{space}_desc-{measure}_{name}"
        people = space, name, *images  # concentration and content have one mask
        if people not in masks:
            masks[people] = _common_mask(images, space, name)
        mask, problem = masks[people]
        if problem:
            notes.append(f"{stem}: {problem}")
            continue
        _write(output_dir / FOLDER, stem, images, participants, active)
        write_image(output_dir / FOLDER / f"{stem}_mask.nii.gz", *mask, dtype=np.uint8)
        names.append(f"{FOLDER}/{stem}_files.tsv")
    if names:
        write_text(output_dir / FOLDER / "README.txt", README)
    return names, notes


def _common_mask(images, space, name):
    """(bool [k, j, i], Geometry) of the voxels that are valid in everybody, or None and why there are none."""
    common, grid, first = None, None, None
    for path in images.values():
        try:
            valid, own, _ = read_image(path.with_name(NAME.sub(f"_space-{space}_desc-{name}_mask.nii.gz", path.name)))
        except InputError as error:
            return None, f"{str(error).rstrip('.')}; nothing was put together."
        if common is None:
            common, grid, first = valid > 0, own, path
        elif not own.same_grid(grid):
            return None, f"{path.name} lies on another grid than {first.name}, so nothing was put together."
        else:
            common &= valid > 0
    if not common.any():
        return None, "no voxel is valid in everybody; look at the registrations to the template."
    return (common, grid), ""


def _write(folder, stem, images, participants, active):
    """Lists of files, and the design where there are patients and controls."""
    known = {person: participants.get(person, {}) for person in images}
    columns = list(dict.fromkeys(name for row in known.values() for name in row if name != "participant_id"))
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(["participant_id", "file", *columns])
    places = {person: f"../{path.relative_to(folder.parent).as_posix()}" for person, path in images.items()}
    for person, place in places.items():
        writer.writerow([person, place, *(known[person].get(name) or "n/a" for name in columns)])
    write_text(folder / f"{stem}_files.tsv", text.getvalue())
    write_text(folder / f"{stem}_files.txt", "\n".join(places.values()) + "\n")
    people, groups = list(images), {person: group_of(row) for person, row in known.items()}
    for ending in ("mat", "con"):
        (folder / f"{stem}_design.{ending}").unlink(missing_ok=True)
    if None in groups.values() or len(set(groups.values())) < 2:
        return
    patient = np.array([groups[person] == "patient" for person in people], float)
    more = [column - column.mean() for _, column in covariates_of(people, known, patient, active)]
    design = np.column_stack([patient, 1 - patient, *more])
    write_text(folder / f"{stem}_design.mat", _vest(design, "NumPoints"))
    contrasts = np.zeros((2, design.shape[1]))
    contrasts[:, :2] = [[1, -1], [-1, 1]]
    write_text(folder / f"{stem}_design.con", _vest(contrasts, "NumContrasts"))


def _vest(matrix, rows):
    """A matrix in the text format of FSL."""
    lines = [f"/NumWaves {matrix.shape[1]}", f"/{rows} {matrix.shape[0]}", "/Matrix"]
    return "\n".join([*lines, *(" ".join(f"{value:.8g}" for value in row) for row in matrix)]) + "\n"
