"""Lesions as rows of tables: that of the contract, profiles, and what the points of each border show."""

from dataclasses import dataclass

import numpy as np
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.io.text import read_table, write_table

from .calls import STAGE_NAMES, STAGES
from .staging import MAPS

DIGITS = {"Chi": 6}  # decimals: a millionth of a ppm; else a hundredth of the unit


@dataclass(frozen=True, eq=False)
class LesionTables:
    """Everything that is shown of the lesions of one visit.

    Attributes:
        rows, profiles, points: as `lesion_rows`, `profile_rows` and `direction_rows` give them; rows may also hold the
            calls of a reader. labels: int32 [k, j, i], or None where there is no lesion.
    """

    rows: list
    profiles: list
    points: list
    labels: np.ndarray | None


def tables_of(staging):
    """LesionTables of a staging.Staging."""
    return LesionTables(lesion_rows(staging), profile_rows(staging), direction_rows(staging), staging.labels)


TABLES = {"rows": "lesions", "profiles": "profiles", "points": "borders"}  # of LesionTables -> desc of the file


def write_tables(stem, tables):
    """Write the tables beside the maps. stem: path, `.../sub-01`. No file is written of a table without rows."""
    for name, desc in TABLES.items():
        rows = getattr(tables, name)
        if rows:
            write_table(table_path(stem, desc), rows)


def read_tables(stem):
    """LesionTables of a session on disk; None where no lesion was staged."""
    labels = stem.with_name(f"{stem.name}_seg-lesions_dseg.nii.gz")
    if not labels.is_file():
        return None
    found = {name: read_rows(table_path(stem, desc)) for name, desc in TABLES.items()}
    return LesionTables(**found, labels=read_image(labels)[0].astype(np.int32))


def read_rows(path):
    """Rows of a table of results with numbers as numbers and None for n/a; none where there is no such file.

    Raises:
        InputError: it is damaged.
    """
    if not path.is_file():
        return []
    try:
        return [{name: _value(text) for name, text in row.items()} for row in read_table(path)]
    except ValueError as error:
        raise InputError(f"{path}: {error}; run this session again.") from error


def table_path(stem, desc):
    """Where the table `desc` of a session lies. stem: path, `.../sub-01`."""
    return stem.with_name(f"{stem.name}_desc-{desc}_stats.tsv")


def _value(text):
    """
    >>> [_value(text) for text in ("n/a", "12", "-0.5", "no rim")]
    [None, 12, -0.5, 'no rim']
    """
    if text == "n/a":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def lesion_rows(staging):
    """One dictionary a lesion, None where a value is missing."""
    return [_row(lesion) for lesion in staging.lesions]


def profile_rows(staging):
    """Profiles as one dictionary a lesion, map and distance from the border (mm, negative inside)."""
    rows = []
    for lesion in staging.lesions:
        for name, profile in lesion.profiles.items():
            for values in zip(profile.along, profile.curve, profile.low, profile.high, strict=True):
                if np.isfinite(values[1]):
                    numbers = [float(f"{value:.6g}") for value in values]
                    known = dict(zip(("mm", "mean", "low", "high"), numbers, strict=True))
                    rows.append({"lesion": lesion.number, "map": name, **known})
    return rows


def direction_rows(staging):
    """One row a point of a border: RAS (mm) and what it shows, a key of calls.DIRECTIONS."""
    rows = []
    for lesion in staging.lesions:
        if lesion.rim.points is not None:
            for point, state in zip(lesion.rim.points, lesion.rim.state, strict=True):
                x, y, z = (round(float(place), 3) for place in point)  # scenes keep six digits
                rows.append({"lesion": lesion.number, "x": x, "y": y, "z": z, "state": int(state)})
    return rows


def stage_labels(staging):
    """Labels of the stages, uint8 [k, j, i], 1 early active to 5 indeterminate."""
    lookup = np.zeros(int(staging.labels.max()) + 1, np.uint8)
    for lesion in staging.lesions:
        lookup[lesion.number] = STAGE_NAMES.index(lesion.stage.stage) + 1
    return lookup[staging.labels]


def _row(lesion):
    stage, rim, recovery = lesion.stage, lesion.rim, lesion.recovery
    row = {
        "lesion": lesion.number,
        "volume_mm3": round(lesion.volume, 1),
        **dict(zip(("x_ras", "y_ras", "z_ras"), (round(float(c), 2) for c in lesion.centre), strict=True)),
        "max_diameter_mm": round(lesion.longest, 2),
        "confluent_parent": lesion.parent or None,
        "stage": stage.stage,
        "substage": stage.substage,
        **{f"p_{name.replace(' ', '_')}": _number(stage.probabilities[name], 4) for name in STAGES},
        "ceiling": stage.ceiling,
        "verdict": stage.verdict,
        "doubt": stage.doubt or None,
        "reason": stage.reason,
        "rim_grade": rim.grade,
        "rim_reason": rim.reason,
        "rim_coverage": _number(rim.coverage, 3),
        "rim_coverage_low": _number(rim.low, 3),
        "rim_coverage_high": _number(rim.high, 3),
        "rim_arc": _number(rim.arc, 3),
        "rim_free_border": _number(rim.free, 3),
        "rim_contrast": _number(rim.contrast and rim.contrast[0], 6),
        "rim_contrast_se": _number(rim.contrast and rim.contrast[1], 6),
        "rim_R2star_contrast": _number(rim.r2star and rim.r2star[0], 2),
        "virtual_rims_found": _number(recovery and recovery.found, 2),
        "virtual_rims_tried": recovery.tried if recovery else None,
        "chi_gain": _number(lesion.gain, 3),
        "enhancement": lesion.enhancement.pattern,
        "enhancement_sds": _number(lesion.enhancement.mean_sds, 2),
        "enhancement_reason": lesion.enhancement.reason,
        "reference_tissue": lesion.reference,
        **_in_cortex(lesion.cortex),
    }
    for name in MAPS:
        profile, level, delta = (group.get(name) for group in (lesion.profiles, lesion.references, lesion.deltas))
        digits = DIGITS.get(name, 3)
        for part in ("core", "rim", "outside"):
            pair = getattr(profile, part) if profile is not None else None
            row[f"{name}_{part}"] = _number(pair and pair[0], digits)
        row[f"{name}_reference"] = _number(level and level.median, digits)
        row[f"{name}_delta"] = _number(delta and delta[0], digits)
        row[f"{name}_delta_sd"] = _number(delta and delta[1], digits)
        row[f"{name}_z"] = _number(delta[0] / level.spread, 2) if delta and level.spread > 0 else None
    return row


def _in_cortex(part):
    """Columns on what a lesion holds of the cortex."""
    deltas = part.deltas if part is not None else {}
    row = {
        "place": part and part.place,
        "cortex_share": _number(part and part.share, 3),
        "cortex_chi_class": part and part.kind,
    }
    for name in ("Chi", "R2star"):
        for n, end in enumerate(("delta", "delta_se")):
            row[f"cortex_{name}_{end}"] = _number(deltas.get(name) and deltas[name][n], DIGITS.get(name, 3))
    return row


def _number(value, digits):
    return None if value is None else round(float(value), digits)
