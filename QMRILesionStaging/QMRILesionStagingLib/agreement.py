"""How far readers agree with each other and with the automatic calls: tables of readings to statistics and a page.

Intervals are those of a bootstrap over patients, whose lesions are not independent; where there are too few patients
the lesions are drawn instead, and the table says so.
"""

import importlib.util
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.text import read_table, write_table, write_text
from scipy import stats

from .agreement_page import agreement_page
from .calls import GRADES, PRESENT, PROGRAM, STAGE_NAMES

NEEDED = ("participant_id", "session_id", "lesion", "reader", "stage", "rim_grade")
RIM, NO_RIM = "rim", "no rim"
QUESTIONS = ("stage", "rim")
FEWEST_PATIENTS = 8  # for a bootstrap over patients (assumed)
DRAWS, SEED = 1000, 20261126
COUNTED = {
    "lesions with rim": lambda call: call["rim"] == RIM,
    "chronic active lesions": lambda call: call["stage"] == STAGE_NAMES[2],
    "active lesions": lambda call: call["stage"] in STAGE_NAMES[:2],
}


def compare(folder):
    """Read every table of readings below a folder and write what they have in common there.

    Args:
        folder: with `*_readings.tsv` as `scene.readings.export_readings` writes them, of any number of patients.
    Returns:
        Path of agreement.html, beside which lie desc-agreement_stats.tsv and desc-confusion_stats.tsv.
    Raises:
        InputError: no tables, a damaged one, or fewer than two readers.
    """
    if importlib.util.find_spec("statsmodels") is None:
        raise InputError("Agreement of readers needs the package statsmodels; install it with pip install statsmodels.")
    folder = Path(folder)
    calls = read_calls(folder)
    readers = sorted({reader for by_reader in calls.values() for reader in by_reader} - {PROGRAM})
    if len(readers) < 2 and not (readers and any(PROGRAM in by_reader for by_reader in calls.values())):
        raise InputError(f"{folder}: holds readings by {len(readers)} readers, expected two or more; export more.")
    rows = agreement_rows(calls, readers)
    confusion = {question: confusion_of(calls, readers, question) for question in QUESTIONS}
    write_table(folder / "desc-agreement_stats.tsv", rows)
    write_table(folder / "desc-confusion_stats.tsv", _confusion_rows(confusion))
    write_text(folder / "agreement.html", agreement_page(calls, readers, rows, confusion, FEWEST_PATIENTS))
    return folder / "agreement.html"


def read_calls(folder):
    """(participant, session, lesion) -> reader -> {"stage", "rim"}; "rim" is None where it could not be judged.

    Raises:
        InputError: no tables, or a damaged one.
    """
    paths = sorted(folder.rglob("*_readings.tsv"))
    if not paths:
        raise InputError(f"{folder}: holds no *_readings.tsv; export blind readings there first.")
    calls = {}
    for path in paths:
        try:
            rows = read_table(path)
        except ValueError as error:
            raise InputError(f"{path.name}: {error}; export it again.") from None
        for number, row in enumerate(rows, 2):
            missing = [name for name in NEEDED if name not in row]
            if missing:
                raise InputError(f"{path.name}: has no column {', '.join(missing)}; export it again.")
            if row["stage"] not in STAGE_NAMES or row["rim_grade"] not in GRADES:
                raise InputError(
                    f"{path.name}: line {number} calls '{row['stage']}' and '{row['rim_grade']}', expected a stage "
                    f"({', '.join(STAGE_NAMES)}) and a rim grade ({', '.join(GRADES)}); correct it."
                )
            rim = None if row["rim_grade"] == GRADES[-1] else RIM if row["rim_grade"] in PRESENT else NO_RIM
            lesion = row["participant_id"], row["session_id"], row["lesion"]
            calls.setdefault(lesion, {})[row["reader"]] = {"stage": row["stage"], "rim": rim}
    return calls


def agreement_rows(calls, readers):
    """Statistics as rows: what, readers, value with interval, numbers of lesions and patients."""
    rows = []
    compared = [*readers, PROGRAM] if any(PROGRAM in by_reader for by_reader in calls.values()) else readers
    for question in QUESTIONS:
        for pair in itertools.combinations(compared, 2):
            rows.append(_row(f"{question}: Cohen's kappa", pair, calls, question, _cohen))
        if len(readers) > 2:
            rows.append(_row(f"{question}: Fleiss' kappa", tuple(readers), calls, question, _fleiss))
    for what, counts in COUNTED.items():
        rows.append(_icc_row(f"{what} a patient: ICC(2,1)", calls, readers, counts))
    return [row for row in rows if row is not None]


def confusion_of(calls, readers, question):
    """(automatic call, call of most readers) -> number of lesions; where the readers are split, "split"."""
    found = Counter()
    for by_reader in calls.values():
        automatic = by_reader.get(PROGRAM, {}).get(question)
        most = _most([by_reader[reader][question] for reader in readers if reader in by_reader])
        if automatic is not None and most is not None:
            found[automatic, most] += 1
    return dict(found)


def icc(counts):
    """ICC(2,1), agreement of single readings with patients and readers drawn at random, and its 95 % interval.

    Args:
        counts: [patients, readers].
    Returns:
        value, low, high; None where nothing varies.
    Reference:
        Shrout PE, Fleiss JL 1979, Psychol Bull 86:420; interval: McGraw KO, Wong SP 1996, Psychol Methods 1:30.
    """
    counts = np.asarray(counts, float)
    n, k = counts.shape
    rows, columns, mean = counts.mean(1), counts.mean(0), counts.mean()
    between = k * ((rows - mean) ** 2).sum() / (n - 1)
    readers = n * ((columns - mean) ** 2).sum() / (k - 1)
    residual = counts - rows[:, None] - columns + mean
    error = (residual**2).sum() / ((n - 1) * (k - 1))
    below = between + (k - 1) * error + k * (readers - error) / n
    if below <= 0:
        return None
    value = (between - error) / below
    if error <= 0 and readers <= 0:
        return 1.0, 1.0, 1.0
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    freedom = (a * readers + b * error) ** 2 / ((a * readers) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    up, down = stats.f.ppf(0.975, n - 1, freedom), stats.f.ppf(0.975, freedom, n - 1)
    spread = k * readers + (k * n - k - n) * error
    low = n * (between - up * error) / (up * spread + n * between)
    high = n * (down * between - error) / (spread + n * down * between)
    return float(value), float(low), float(high)


def _row(what, names, calls, question, statistic):
    """One statistic over the lesions that all of `names` called, or None where there are none."""
    lesions, values = [], []
    for lesion, by_reader in calls.items():
        own = [by_reader.get(name, {}).get(question) for name in names]
        if None not in own:
            lesions.append(lesion)
            values.append(own)
    if not lesions:
        return None
    patients = [lesion[0] for lesion in lesions]
    categories = {name: n for n, name in enumerate(sorted({call for own in values for call in own}))}
    coded = np.array([[categories[call] for call in own] for own in values])
    value = statistic(coded, len(categories))
    low, high, drawn = _interval(coded, patients, len(categories), statistic)
    row = _stated(what, names, value, low, high, len(lesions), len(set(patients)), drawn)
    return row | {"same": round(float(np.mean([len(set(own)) == 1 for own in values])), 3)}


def _icc_row(what, calls, readers, counts):
    read = {lesion: all(reader in by_reader for reader in readers) for lesion, by_reader in calls.items()}
    patients = sorted({lesion[:2] for lesion in calls})
    complete = [patient for patient in patients if all(read[lesion] for lesion in calls if lesion[:2] == patient)]
    if len(readers) < 2 or len(complete) < 3:
        return None
    table_of = [
        [sum(counts(by[reader]) for lesion, by in calls.items() if lesion[:2] == patient) for reader in readers]
        for patient in complete
    ]
    found = icc(table_of)
    lesions = sum(lesion[:2] in complete for lesion in calls)
    value, low, high = found or (None, None, None)
    return _stated(what, readers, value, low, high, lesions, len(complete), "analysis of variance") | {"same": None}


def _stated(what, names, value, low, high, lesions, patients, drawn):
    numbers = (None if number is None else round(float(number), 3) for number in (value, low, high))
    return {
        "statistic": what,
        "readers": ", ".join(names),
        **dict(zip(("value", "low", "high"), numbers, strict=True)),
        "lesions": lesions,
        "patients": patients,
        "interval": drawn if value is not None else None,
    }


def _interval(coded, patients, count, statistic):
    """95 % by bootstrap, and what was drawn."""
    names = sorted(set(patients))
    if len(names) >= FEWEST_PATIENTS:
        groups, drawn = [np.flatnonzero(np.array(patients) == name) for name in names], "bootstrap of patients"
    else:
        groups, drawn = [np.array([n]) for n in range(len(patients))], "bootstrap of lesions"
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(DRAWS):
        chosen = np.concatenate([groups[n] for n in rng.integers(0, len(groups), len(groups))])
        value = statistic(coded[chosen], count)
        if value is not None:
            found.append(value)
    if not found:
        return None, None, drawn
    return (*np.percentile(found, (2.5, 97.5)), drawn)


def _cohen(coded, count):
    """Cohen's kappa, None where both only ever call one thing."""
    from statsmodels.stats.inter_rater import cohens_kappa

    if count < 2 or len(np.unique(coded)) < 2:
        return None
    table_of = np.zeros((count, count))
    np.add.at(table_of, (coded[:, 0], coded[:, 1]), 1)
    return float(cohens_kappa(table_of, return_results=False))


def _fleiss(coded, count):
    from statsmodels.stats.inter_rater import fleiss_kappa

    if count < 2 or len(np.unique(coded)) < 2:
        return None
    return float(fleiss_kappa(np.stack([(coded == c).sum(1) for c in range(count)], axis=1)))


def _most(values):
    """What most readers call, "split" where none has most, None where nobody called."""
    known = Counter(value for value in values if value is not None).most_common(2)
    if not known:
        return None
    return "split" if len(known) > 1 and known[0][1] == known[1][1] else known[0][0]


def _confusion_rows(confusion):
    return [
        {"question": question, "automatic": automatic, "most readers": most, "lesions": number}
        for question, found in confusion.items()
        for (automatic, most), number in sorted(found.items())
    ] or [{"question": None, "automatic": None, "most readers": None, "lesions": 0}]
