"""What is true of a digital patient, on the voxels of the reference scan, and what a rater would draw of it."""

from dataclasses import dataclass

import numpy as np

from ..io.nifti import write_image
from ..io.text import write_json, write_table
from ..kernels import kernel
from ..units import MAP_UNITS
from .anatomy import SUBSAMPLES
from .lesions import STAGES
from .tissue import BRAIN, INDEX, NAMES, QUANTITIES

QUANTITY_OF = dict(zip(("R1", "R2", "R2star", "PD", "Chi"), QUANTITIES, strict=True))
SIDED = ("thalamus", "caudate", "putamen", "pallidum", "red nucleus", "substantia nigra", "dentate")
RATED = ("white matter", "cortex", "CSF", *SIDED, "cerebellar cortex", "brain stem", "vein", "calcification")


def block_mean(array):
    """Mean over the sub-voxels of every voxel: float32 [k, j, i] from [2k, 2j, 2i]."""
    out = np.zeros([n // SUBSAMPLES for n in array.shape], np.float32)
    steps = [slice(n, None, SUBSAMPLES) for n in range(SUBSAMPLES)]
    for k in steps:
        for j in steps:
            for i in steps:
                out += array[k, j, i]
    out /= SUBSAMPLES**3
    return out


def averaged_map(patient, quantity):
    """One quantity of the object averaged over every voxel, float32 [k, j, i]."""
    out = np.empty(patient.geometry.shape, np.float32)
    step = 8 * SUBSAMPLES
    for k in range(0, patient.fine.shape[0], step):
        out[k // SUBSAMPLES : k // SUBSAMPLES + 8] = block_mean(patient.quantity(quantity, slice(k, k + step)))
    return out


def majority(patient, lookup):
    """The value of `lookup` [class] that most sub-voxels of a voxel have (the smallest of equals), uint8 [k, j, i]."""
    best = np.zeros(patient.geometry.shape, np.uint8)
    _majority(patient.classes, np.asarray(lookup, np.uint8), best)
    return best


@kernel
def _majority(classes, lookup, best):
    found = np.empty(SUBSAMPLES**3, np.uint8)
    for k in range(best.shape[0]):
        for j in range(best.shape[1]):
            for i in range(best.shape[2]):
                n = 0
                for dk in range(SUBSAMPLES):
                    for dj in range(SUBSAMPLES):
                        for di in range(SUBSAMPLES):
                            found[n] = lookup[classes[SUBSAMPLES * k + dk, SUBSAMPLES * j + dj, SUBSAMPLES * i + di]]
                            n += 1
                most = 0
                for a in range(n):
                    count = 0
                    for b in range(n):
                        count += found[b] == found[a]
                    if count > most or (count == most and found[a] < best[k, j, i]):
                        most, best[k, j, i] = count, found[a]


def brain_share(patient):
    """Share of every voxel that is brain or the fluid in and around it, float32 [k, j, i]."""
    tissue = patient.table.tissue
    inside = np.isin(tissue, [INDEX[name] for name in (*BRAIN, "CSF")])
    return block_mean(inside[patient.classes])


def lesion_labels(patient):
    """Number of the lesion that fills at least half of a voxel, 0 elsewhere, uint8 [k, j, i]."""
    share = block_mean((patient.table.lesion > 0)[patient.classes])
    return np.where(share >= 0.5, majority(patient, patient.table.lesion), 0).astype(np.uint8)


def tissue_labels(patient):
    """Tissue labels as a rater would give them (uint8 [k, j, i]) and the table of their names.

    Returns:
        labels, rows: nuclei have a left and a right label; lesions are white matter, as in a tissue segmentation.
    """
    names = []
    for name in RATED:
        names += [f"{name} left", f"{name} right"] if name in SIDED else [name]
    number = {name: n + 1 for n, name in enumerate(names)}
    first = np.zeros(len(NAMES), np.uint8)
    for name in RATED:
        first[INDEX[name]] = number[f"{name} left" if name in SIDED else name]
    labels = majority(patient, first[patient.table.tissue])
    matrix = (patient.model @ patient.geometry.ijk_to_ras)[0]
    k, j, i = (np.arange(n, dtype=np.float32) for n in patient.geometry.shape)
    right = matrix[2] * k[:, None, None] + matrix[1] * j[:, None] + matrix[0] * i + matrix[3] > 0
    sided = np.isin(labels, [number[f"{name} left"] for name in SIDED])
    labels[right & sided] += 1
    short = {"white matter": "WM", "cortex": "GM", "CSF": "CSF"}
    rows = [{"index": n, "name": name, "abbreviation": short.get(name)} for name, n in number.items()]
    return labels, rows


@dataclass(frozen=True, eq=False)
class Drawing:
    """What a rater draws, on the voxels: brain (bool), lesion numbers and tissue (uint8), names of tissues (rows)."""

    brain: np.ndarray
    lesions: np.ndarray
    tissue: np.ndarray
    names: list


def draw(patient):
    """The Drawing of a patient."""
    brain = brain_share(patient) >= 0.5
    tissue, names = tissue_labels(patient)
    tissue[~brain] = 0
    return Drawing(brain, lesion_labels(patient), tissue, names)


def write_rater(folder, subject, patient, drawing):
    """Write lesion mask, tissue labels and brain mask below `folder` (derivatives/rater)."""
    anat, geometry = folder / subject / "anat", patient.geometry
    _labels(anat / f"{subject}_label-L_mask", drawing.lesions > 0, geometry, {"Type": "Lesion"})
    _labels(anat / f"{subject}_label-brain_mask", drawing.brain, geometry, {"Type": "Brain"})
    _labels(anat / f"{subject}_dseg", drawing.tissue, geometry, {})
    write_table(anat / f"{subject}_dseg.tsv", drawing.names)


def write_truth(folder, subject, patient, drawing, total_field, local_field, b1):
    """Write the maps, fields, labels and lesion table that are true, below `folder` (sourcedata/truth).

    Args:
        total_field, local_field: Hz, b1: ratio, float32 on the voxels. All is 0 outside the brain.
    """
    anat, fmap, geometry = folder / subject / "anat", folder / subject / "fmap", patient.geometry
    brain, lesions = drawing.brain, drawing.lesions
    for name, quantity in QUANTITY_OF.items():
        values = np.where(brain, averaged_map(patient, quantity), 0)
        _map(anat / f"{subject}_{name}map", values, geometry, MAP_UNITS[name], "mean over the sub-voxels of the object")
    _map(fmap / f"{subject}_TB1map", np.where(brain, 100 * b1, 0), geometry, "percent", "transmit field over nominal")
    for kind, field in (("total", total_field), ("local", local_field)):
        text = f"{kind} field, mean over the sub-voxels, positive where the Larmor frequency is higher"
        _map(fmap / f"{subject}_desc-{kind}_fieldmap", np.where(brain, field, 0), geometry, "Hz", text)
    _labels(anat / f"{subject}_label-brain_mask", brain, geometry, {"Type": "Brain"})
    _labels(anat / f"{subject}_seg-lesions_dseg", lesions, geometry, {})
    stage = np.zeros(256, np.uint8)
    for record in patient.lesions:
        stage[record["lesion"]] = STAGES.index(record["stage"]) + 1
    _labels(anat / f"{subject}_seg-stages_dseg", stage[lesions], geometry, {})
    rows = [{"index": r["lesion"], "name": f"lesion {r['lesion']}"} for r in patient.lesions]
    write_table(anat / f"{subject}_seg-lesions_dseg.tsv", rows)
    rows = [{"index": n + 1, "name": name} for n, name in enumerate(STAGES)]
    write_table(anat / f"{subject}_seg-stages_dseg.tsv", rows)
    write_table(anat / f"{subject}_desc-lesions_stats.tsv", _lesion_rows(patient, lesions))
    write_table(anat / f"{subject}_desc-decoys_stats.tsv", _decoy_rows(patient))


def write_magnitude(folder, subject, magnitude, geometry):
    """Write the magnitude without noise that BIDS wants beside a field map, below `folder` (sourcedata/truth)."""
    path = folder / subject / "fmap" / f"{subject}_magnitude"
    write_image(path.with_name(f"{path.name}.nii.gz"), magnitude, geometry)
    write_json(path.with_name(f"{path.name}.json"), {"SkullStripped": False, "Description": "shortest echo, no noise"})


def _lesion_rows(patient, lesions):
    """Records of the lesions with what a perfect estimator would report of them."""
    counts = np.bincount(lesions.ravel(), minlength=256)
    painted = np.bincount(patient.classes.ravel(), minlength=len(patient.table.values)).astype(float)
    white = patient.table.values[INDEX["white matter"]]
    rows = []
    for record in patient.lesions:
        own = np.flatnonzero(patient.table.lesion == record["lesion"])
        share = painted[own] / max(painted[own].sum(), 1)
        mean = (patient.table.values[own] * share[:, None]).sum(0)
        row = record | {"voxels": int(counts[record["lesion"]])}
        for q, (name, quantity) in enumerate(QUANTITY_OF.items()):
            row[f"{name}_core"] = _number(record[f"core_{quantity}"])
            row[f"{name}_rim"] = _number(record[f"rim_{quantity}"]) if record["rim"] != "none" else None
            row[f"{name}_outside"] = _number(record[f"periplaque_{quantity}"])
            row[f"{name}_reference"] = _number(white[q])
            row[f"{name}_delta"] = _number(mean[q] - white[q])
        rows.append(row)
    hidden = {f"{part}_{q}" for part in ("core", "rim", "periplaque") for q in QUANTITIES}
    return [{key: value for key, value in row.items() if key not in hidden} for row in rows]


def _decoy_rows(patient):
    rows = []
    for decoy in patient.decoys:
        x, y, z = (round(float(c), 2) for c in decoy["centre"])
        rows.append({"decoy": decoy["decoy"], "beside_lesion": decoy["lesion"], "x_ras": x, "y_ras": y, "z_ras": z})
    return rows


def _number(value):
    return float(f"{value:.6g}")


def _map(path, values, geometry, unit, description):
    write_image(path.with_name(f"{path.name}.nii.gz"), values.astype(np.float32), geometry)
    sidecar = {"Units": unit if unit != "p.u." else "arbitrary", "SkullStripped": True, "Description": description}
    write_json(path.with_name(f"{path.name}.json"), sidecar)


def _labels(path, values, geometry, sidecar):
    write_image(path.with_name(f"{path.name}.nii.gz"), values.astype(np.uint8), geometry, dtype=np.uint8)
    write_json(path.with_name(f"{path.name}.json"), {"SkullStripped": True} | sidecar)
