"""How far each patient is from the controls, given age and sex: one case against a small sample."""

import math

import numpy as np
from scipy.special import stdtr

from .comparisons import group_of, number_of, short

FEWEST_CONTROLS = 5  # beyond the coefficients, that a single patient is compared with
COVARIATES = ("age", "sex")
BEYOND = "the age lies beyond those of the controls"


def deviations(values, participants):
    """Rows, one a patient, region, map and measure.

    The value that a patient's age and sex let one expect comes from a regression in the controls, where they are known
    of all of them and of the patient, and controls are enough; else it is the mean of the controls.

    Args:
        values: as `comparisons.values_of`. participants: id -> row of participants.tsv (texts).
    Reference:
        Crawford JR, Howell DC 1998, Clin Neuropsychol 12:482 (without covariates); Crawford JR, Garthwaite PH 2006,
        Neuropsychology 20:259 (from a regression).
    """
    groups = {person: group_of(row) for person, row in participants.items()}
    known_of = {person: _covariates(row) for person, row in participants.items()}
    rows = []
    for (region, name, measure), known in sorted(values.items()):
        healthy = [person for person in known if groups.get(person) == "control"]
        if len(healthy) < FEWEST_CONTROLS or np.ptp([known[p] for p in healthy]) == 0:
            continue
        offered, norms = _offered([known_of[p] for p in healthy]), {}
        for person, value in sorted(known.items()):
            if groups.get(person) != "patient":
                continue
            own = known_of[person]
            about = tuple(name for name in offered if own[name] is not None)
            if about not in norms:
                norms[about] = _Norm([known[p] for p in healthy], [known_of[p] for p in healthy], about)
            rows.append(
                {"participant_id": person, "region": region, "map": name, "measure": measure, "value": short(value)}
                | norms[about].judged(value, own)
            )
    return rows


class _Norm:
    """Regression of a value on some covariates in the controls."""

    def __init__(self, values, people, about):
        self.about = about
        x = np.array([_row(person, about) for person in people])
        y = np.array(values)
        self.mean, self.sd, self.count = y.mean(), y.std(ddof=1), len(y)
        self.freedom = len(y) - x.shape[1]
        self.inverse = np.linalg.inv(x.T @ x)
        self.beta = self.inverse @ x.T @ y
        self.spread = math.sqrt(((y - x @ self.beta) ** 2).sum() / self.freedom)
        self.ages = (x[:, 1].min(), x[:, 1].max()) if "age" in about else None

    def judged(self, value, person):
        """Columns of one patient."""
        own = np.array(_row(person, self.about))
        expected = float(own @ self.beta)
        t = (
            (value - expected) / (self.spread * math.sqrt(1 + own @ self.inverse @ own))
            if self.spread > 0
            else math.nan
        )
        note = None
        if self.ages is not None and not self.ages[0] <= own[1] <= self.ages[1]:
            note = BEYOND
        return {
            "controls_mean": short(self.mean), "controls_sd": short(self.sd), "controls": self.count,
            "adjusted_for": ", ".join(self.about) or "none", "expected": short(expected), "t": short(t),
            "p": short(2 * stdtr(self.freedom, -abs(t))), "percentile": short(100 * stdtr(self.freedom, t)),
            "note": note,
        }  # fmt: skip


def _offered(people):
    """Names of the covariates that are known of all controls, differ among them, and that so many controls bear."""
    found = []
    for name in COVARIATES:
        numbers = [person[name] for person in people]
        if len(people) - len(found) - 2 >= FEWEST_CONTROLS and None not in numbers and np.ptp(numbers) > 0:
            found.append(name)
    return found


def _row(person, about):
    return [1.0, *(person[name] for name in about)]


def _covariates(participant):
    """Name -> number, or None where it is not known."""
    sex = {"f": 1.0, "m": 0.0}.get(str(participant.get("sex", "")).strip().lower()[:1])
    return dict(zip(COVARIATES, (number_of(participant.get("age")), sex), strict=True))
