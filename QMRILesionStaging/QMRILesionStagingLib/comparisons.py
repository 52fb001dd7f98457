"""Patients against controls, region by region: adjusted differences and effect sizes."""

import importlib.util
import math
import re

import numpy as np

from .expected import DOWN, UP, expected

GROUP_COLUMNS = ("group", "diagnosis", "dx", "cohort")
CONTROLS = ("control", "controls", "hc", "hv", "healthy", "healthy control", "healthy volunteer")
MEASURES = ("mean", "content", "excess")
SUMMED = ("content", "excess")
FEWEST = 3  # in each group of a comparison
SIDE = re.compile(r"\s+(left|right)$")
BARRED = "PD of white matter was calibrated on normal-appearing white matter, so it cannot differ"


def group_of(participant):
    """ "patient", "control", or None where participants.tsv does not say."""
    for column in GROUP_COLUMNS:
        value = str(participant.get(column, "n/a")).strip().lower()
        if value not in ("", "n/a"):
            return "control" if value in CONTROLS else "patient"
    return None


def values_of(rows):
    """(region without side, map, measure) -> participant -> value, from the merged rows of regions (texts).

    Sides are put together: means by their number of voxels, what is summed by sums. Of several sessions the first
    counts, so that every person counts once.
    """
    first, parts = {}, {}
    for row in rows:
        person, session = row["participant_id"], row["session_id"]
        if first.setdefault(person, session) != session:
            continue
        region = SIDE.sub("", row["region"])
        parts.setdefault((region, row["map"], person), []).append(row)
    found = {}
    for (region, name, person), own in parts.items():
        counts = [number_of(row["n"]) or 0.0 for row in own]
        if not sum(counts):
            continue
        for measure in MEASURES:
            numbers = [number_of(row.get(measure)) for row in own]
            if None in numbers:
                continue
            whole = sum(numbers) if measure in SUMMED else float(np.average(numbers, weights=counts))
            found.setdefault((region, name, measure), {})[person] = whole
    _add_volumes(parts, found)
    return found


def _add_volumes(parts, found):
    """The volume of every region, by the map that has most valid voxels there."""
    for (region, _, person), own in parts.items():
        volume = sum(number_of(row["volume_mm3"]) or 0.0 for row in own)
        known = found.setdefault((region, "any", "volume"), {})
        known[person] = max(known.get(person, 0.0), volume)


def compare_groups(values, participants, active, barred=()):
    """Rows of the table of comparisons; none where there are not enough patients and controls.

    Args:
        values: as `values_of`. participants: id -> row of participants.tsv (texts).
        active: ids of the patients with an enhancing lesion. barred: ids whose PD was calibrated on white matter.
    """
    groups = {person: group_of(row) for person, row in participants.items()}
    rows = []
    for (region, name, measure), known in sorted(values.items()):
        people = [p for p in sorted(known) if groups.get(p) is not None and math.isfinite(known[p])]
        note = ""
        if name == "PD" and region.startswith(("NAWM", "periplaque")) and set(people) & set(barred):
            people, note = [p for p in people if p not in barred], BARRED
        patients = [p for p in people if groups[p] == "patient"]
        controls = [p for p in people if groups[p] == "control"]
        if min(len(patients), len(controls)) < FEWEST:
            continue
        found = adjusted_difference(people, known, groups, participants, active)
        if found is None:
            continue
        direction, source = expected(region, name, measure)
        rows.append(
            {"region": region, "map": name, "measure": measure, "patients": len(patients), "controls": len(controls)}
            | {"controls_mean": short(np.mean([known[p] for p in controls]))}
            | found
            | {"expected": direction, "source": source, "note": note or None}
        )
    corrected = _corrected([row["p"] for row in rows])
    for row, p in zip(rows, corrected, strict=True):
        row["p_corrected"] = short(p)
        row["found"] = _said(row)
    return rows


def missing_package():
    """A sentence where comparisons cannot be made for want of a package, else empty."""
    if importlib.util.find_spec("statsmodels") is None:
        return (
            "patients and controls were not compared: statsmodels is missing, install it with pip install statsmodels."
        )
    return ""


def adjusted_difference(people, known, groups, participants, active):
    """Adjusted difference of patients from controls by least squares with robust errors (HC3).

    Args:
        people: ids. known: id -> value. groups: id -> "patient" or "control". participants: id -> row. active: ids.
    Returns:
        Columns difference, low, high, d, d_low, d_high, p and covariates; None where it cannot be told.
    """
    from statsmodels.api import OLS

    y = np.array([known[p] for p in people])
    patient = np.array([groups[p] == "patient" for p in people], float)
    columns, names = [np.ones(len(people)), patient], []
    for name, column in covariates_of(people, participants, patient, active):
        columns.append(column)
        names.append(name)
    x = np.stack(columns, axis=1)
    if len(people) - x.shape[1] < FEWEST or np.linalg.matrix_rank(x) < x.shape[1] or np.ptp(y) == 0:
        return None
    fit = OLS(y, x).fit(cov_type="HC3", use_t=True)
    low, high = fit.conf_int()[1]
    spread = math.sqrt(fit.mse_resid)
    if not spread > 0:
        return None
    numbers = {"difference": fit.params[1], "low": low, "high": high}
    numbers |= {"d": fit.params[1] / spread, "d_low": low / spread, "d_high": high / spread, "p": fit.pvalues[1]}
    return {key: short(value) for key, value in numbers.items()} | {"covariates": ", ".join(names) or "none"}


def covariates_of(people, participants, patient, active):
    """(name, column) of what is known of everybody and differs: age and its square, sex, gadolinium activity."""
    ages = [number_of(participants[p].get("age")) for p in people]
    if None not in ages and np.ptp(ages) > 0:
        centred = np.array(ages) - np.mean(ages)
        yield "age", centred
        yield "age squared", centred**2
    sexes = [str(participants[p].get("sex", "n/a")).strip().lower()[:1] for p in people]
    if set(sexes) == {"f", "m"}:
        yield "sex", np.array([sex == "f" for sex in sexes], float) - 0.5
    enhancing = np.array([p in active for p in people], float) * patient
    if 0 < enhancing.sum() < patient.sum():
        # centred among patients, so that the difference is that of the average patient
        yield "gadolinium activity", np.where(patient > 0, enhancing - enhancing.sum() / patient.sum(), 0.0)


def _corrected(p):
    """Benjamini and Hochberg 1995."""
    if not p:
        return []
    from statsmodels.stats.multitest import multipletests

    return multipletests(p, method="fdr_bh")[1]


def _said(row):
    if row["p_corrected"] >= 0.05:
        return "no difference shown"
    direction = UP if row["difference"] > 0 else DOWN
    agrees = "" if row["expected"] is None else ", as expected" if direction == row["expected"] else ", not expected"
    return direction + agrees


def number_of(text):
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def short(value):
    return float(f"{value:.5g}")
