"""Lesions of multiple sclerosis of every stage: which ones a patient has and what they are made of."""

from dataclasses import dataclass, field

import numpy as np

from .lesion_values import EXTREMES, PERIPLAQUE, RATES_CORRELATION, SOURCES, VALUES
from .tissue import INDEX, QUANTITIES, tissue_table

STAGES = ("early active", "late active", "chronic active", "chronic inactive", "indeterminate")
SMALLEST_DIAMETER, LARGEST_DIAMETER = 3.2, 16.0  # mm
SMALLEST_RIMMED = 7.0  # mm; below, a rim of 1 to 2 mm leaves no core
CENTRAL_VEIN_SHARE = 0.5  # of the lesions; assumed


@dataclass(frozen=True)
class Kind:
    """A kind of lesion: stage and substage of the contract, rim and enhancement."""

    stage: str
    substage: str = "n/a"
    rim: str = "none"  # none, partial, full
    enhancement: str = "none"  # none, nodular, closed ring, open ring
    confluent: bool = False  # touches the lesion before it in the list


_EARLY = Kind("early active", enhancement="nodular")
_CLOSED = Kind("late active", enhancement="closed ring")
_OPEN = Kind("late active", enhancement="open ring")
_RIM = Kind("chronic active", rim="full")
_ARC = Kind("chronic active", rim="partial")
_INACTIVE = Kind("chronic inactive")
_REMYELINATED = Kind("chronic inactive", "remyelinated")
_OLD = Kind("chronic inactive", "late inactive")

# The first ten show every stage, substage, rim and pattern, and two confluent pairs; the list repeats from the start
# when more are asked for. Rims are far commoner than the 3 to 12 % of patients' lesions: this is test material.
KINDS = (
    _RIM,
    Kind("chronic inactive", confluent=True),
    _CLOSED,
    Kind("late active", "late active with rim", "full", "closed ring"),
    _OPEN,
    _ARC,
    _EARLY,
    _REMYELINATED,
    Kind("chronic inactive", "late inactive", confluent=True),
    _RIM,
    _INACTIVE,
    _EARLY,
    _OLD,
    _ARC,
    _CLOSED,
    _REMYELINATED,
    _INACTIVE,
    _EARLY,
    _RIM,
    _OLD,
    _INACTIVE,
    _REMYELINATED,
    _OPEN,
    _OLD,
)


@dataclass(eq=False)
class Lesion:
    """One lesion: what was drawn for it, and where it came to lie.

    Attributes:
        number: label, from 1. kind: Kind. diameter: mm, of a sphere of the drawn volume.
        rim_thickness: mm. coverage: drawn share of the surface with rim, or with enhancement for an open ring.
        core, rim, periplaque: values as QUANTITIES. gadolinium: mM where it enhances.
        central_vein: whether a vein runs through the middle.
        ordered: names of the values it was drawn from.
        centre: RAS, mm. shape: Shape, set when it is placed.
        classes: name of part -> class in the object: core, edge (shell without rim), rim, periplaque.
    """

    number: int
    kind: Kind
    diameter: float
    rim_thickness: float
    coverage: float
    core: np.ndarray
    rim: np.ndarray
    periplaque: np.ndarray
    gadolinium: float
    central_vein: bool
    ordered: tuple = ()
    centre: np.ndarray | None = None
    shape: object = None
    neighbour: int = 0
    classes: dict = field(default_factory=dict)


def draw_lesions(count, field_strength, table, rng):
    """`count` lesions with values drawn around the published ones, relative to the white matter of `table`."""
    return [_draw(n + 1, KINDS[n % len(KINDS)], field_strength, table, rng) for n in range(count)]


def _draw(number, kind, field_strength, table, rng):
    diameter_id, chi_id, r2star_id, rates = SOURCES[kind.stage, kind.substage]
    nawm = table.values[INDEX["white matter"]].astype(np.float64)
    rimmed = kind.rim != "none"
    smallest = SMALLEST_RIMMED if rimmed or "ring" in kind.enhancement else SMALLEST_DIAMETER
    diameter = np.clip(_normal(VALUES[diameter_id], rng), smallest, LARGEST_DIAMETER)
    chi, r2star = _normal(VALUES[chi_id], rng), _normal(VALUES[r2star_id], rng)
    core = _with_rates(nawm, rates, rng)
    rim_chi, rim_r2star = _normal(VALUES["assumed_rim_1"], rng), _normal(VALUES["assumed_rim_2"], rng)
    growth = field_strength / 3.0  # contrasts of R2* grow with B0
    core[2], core[4] = nawm[2] + r2star * growth, nawm[4] + 1e-3 * chi
    rim = core.copy()
    if rimmed:
        rim[2] += max(rim_r2star, 1.0) * growth
        rim[4] = nawm[4] + 1e-3 * max(rim_chi, chi + 15.0)  # a rim is brighter than its core by definition
    coverage = {"none": 0.0, "partial": rng.uniform(0.35, 0.6), "full": rng.uniform(0.8, 1.0)}[kind.rim]
    if kind.enhancement == "open ring":
        coverage = rng.uniform(0.4, 0.6)
    enhances = kind.enhancement != "none"
    return Lesion(
        number=number,
        kind=kind,
        diameter=float(diameter),
        rim_thickness=float(rng.uniform(1.2, 2.0)),
        coverage=float(coverage),
        core=_possible(core),
        rim=_possible(rim),
        periplaque=_possible(_with_rates(nawm, PERIPLAQUE, rng)),
        gadolinium=float(_normal(VALUES["assumed_gadolinium"], rng)) if enhances else 0.0,
        central_vein=bool(rng.random() < CENTRAL_VEIN_SHARE),
        ordered=(diameter_id, chi_id, r2star_id, *rates) + (("assumed_rim_1", "assumed_rim_2") if rimmed else ()),
    )


def _normal(value, rng):
    return value.mean + value.sd * np.clip(rng.standard_normal(), -EXTREMES, EXTREMES)


def _with_rates(nawm, rates, rng):
    """Values of white matter with R1, R2 and PD drawn together: where R1 and R2 are low, PD is high."""
    common, own = rng.standard_normal(), rng.standard_normal(3)
    z = np.sqrt(RATES_CORRELATION) * common + np.sqrt(1 - RATES_CORRELATION) * own
    z = np.clip(z, -EXTREMES, EXTREMES) * (1, 1, -1)
    drawn = nawm.copy()
    for name, q, deviation in zip(rates, (0, 1, 3), z, strict=True):
        value = VALUES[name]
        number = value.mean + value.sd * deviation
        if "blystad" in name:  # absolute at 1.5 T: as a ratio to white matter there
            there = tissue_table(value.field_strength).values[INDEX["white matter"], q]
            drawn[q] *= number / there
        else:
            drawn[q] *= 1 + number / 100
    worst = "hagiwara" in rates[0]
    # active and chronic lesions never have more myelin than white matter; periplaque may by its published spread
    drawn[:2] = np.clip(drawn[:2], 0.4 * nawm[:2], (1.15 if worst else 0.98) * nawm[:2])
    drawn[3] = np.clip(drawn[3], (0.93 if worst else 1.02) * nawm[3], 98.0)
    return drawn


def _possible(values):
    """R2 cannot exceed R2*."""
    values = values.copy()
    values[2] = max(values[2], 4.0)
    values[1] = min(values[1], values[2] - 0.5)
    return values.astype(np.float32)


def lesion_parts(lesion):
    """Classes of a lesion: list of (part, values, gadolinium in mM)."""
    closed = lesion.kind.enhancement == "closed ring"
    opened = lesion.kind.enhancement == "open ring"
    nodular = lesion.kind.enhancement == "nodular"
    gd = lesion.gadolinium
    return [
        ("core", lesion.core, gd if nodular else 0.0),
        ("edge", lesion.core, gd if nodular or closed else 0.0),
        ("rim", lesion.rim, gd if nodular or closed or opened else 0.0),
        ("periplaque", lesion.periplaque, 0.0),
    ]


def lesion_record(lesion, counts, volume):
    """The truth of one lesion as a dictionary of plain values.

    Args:
        counts: sub-voxels of each part. volume: mm^3 of the painted lesion.
    """
    kind, shell = lesion.kind, counts["rim"] + counts["edge"]
    coverage = counts["rim"] / shell if kind.rim != "none" and shell else 0.0
    record = {
        "lesion": lesion.number,
        "volume_mm3": round(volume, 1),
        **dict(zip(("x_ras", "y_ras", "z_ras"), (round(float(c), 2) for c in lesion.centre), strict=True)),
        "drawn_diameter_mm": round(lesion.diameter, 2),
        "stage": kind.stage,
        "substage": kind.substage,
        "rim": kind.rim,
        "rim_coverage": round(coverage, 3),
        "rim_thickness_mm": round(lesion.rim_thickness, 2) if kind.rim != "none" else None,
        "enhancement": kind.enhancement,
        "gadolinium_mM": round(lesion.gadolinium, 4),
        "confluent_with": lesion.neighbour or None,
        "central_vein": lesion.central_vein,
    }
    for part, values in (("core", lesion.core), ("rim", lesion.rim), ("periplaque", lesion.periplaque)):
        for q, name in enumerate(QUANTITIES):
            record[f"{part}_{name}"] = float(f"{values[q]:.6g}")
    record["drawn_from"] = " ".join(lesion.ordered)
    return record
