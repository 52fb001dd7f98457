"""Stages from findings: accuracy and calibration on the published distributions, contradictions, what is missing."""

import csv

import numpy as np
import pytest
from conftest import DATA
from QMRILesionStagingLib.calls import INDETERMINATE, STAGES
from QMRILesionStagingLib.evidence import PRIORS, Findings, log_likelihoods, posterior
from QMRILesionStagingLib.options import StageOptions
from QMRILesionStagingLib.stage import stage_of

EQUAL = StageOptions(prior="equal")
PATTERNS = ("none", "nodular", "closed ring", "open ring")
# The cohort: shares of patterns (rows: stages) and of rims (found, possible) that it is drawn with.
PATTERN_SHARES = (
    (0.03, 0.90, 0.02, 0.05),
    (0.05, 0.18, 0.54, 0.23),
    (0.98, 0.01, 0.005, 0.005),
    (0.98, 0.01, 0.005, 0.005),
)
RIM_SHARES = ((0.03, 0.02), (0.36, 0.10), (0.85, 0.07), (0.02, 0.03))
WHITE_1T5 = {"R1": 1.4965, "R2": 10.559, "PD": 69.0}  # of the digital patient at 1.5 T
REMYELINATED = {"R1": (-0.12, 0.06), "R2": (-0.07, 0.04), "PD": (0.08, 0.04)}
OLD = [("zhang16_ne1_chi", "zhang16_ne1_r2s", "non"), ("zhang16_ne3_chi", "zhang16_ne3_r2s", "non")]
PARTS = (
    [("zhang16_nod_chi", "zhang16_nod_r2s", "enh")],
    [("zhang16_shell_chi", "zhang16_shell_r2s", "enh")],
    OLD,
    [*OLD, ("chen14_chr", "zhang16_ne3_r2s", "non"), ("assumed_rim_3", "zhang16_ne3_r2s", "remyelinated")],
)


@pytest.fixture(scope="module")
def survey():
    """id -> (mean, SD) of the project's survey of published values."""
    path = DATA.parent / "research" / "lesion_values.csv"
    if not path.is_file():
        pytest.skip(f"the survey of published values is not at {path}")
    with open(path, encoding="utf-8") as lines:
        return {row["id"]: (float(row["mean"]), float(row["sd"])) for row in csv.DictReader(lines) if row["sd"]}


class Cohort:
    """Lesions drawn with the published means and spreads, and what a reader who knows all of that would call them."""

    parts, patterns, with_rates = PARTS, PATTERN_SHARES, True

    def __init__(self, survey, count, prior, seed):
        self.survey, self.rng = survey, np.random.default_rng(seed)
        self.prior = np.array([prior[stage] for stage in STAGES])
        self.truth = self.rng.choice(4, count, p=self.prior)
        self.drawn = [self._draw(stage) for stage in self.truth]

    def rates(self, kind):
        names = ("R1", "R2", "PD")
        if kind == "remyelinated":
            mean, sd = (np.array([REMYELINATED[n][i] for n in names]) for i in (0, 1))
        else:
            rows = [self.survey[f"blystad_{kind}_{n}"] for n in names]
            mean = np.array([m / WHITE_1T5[n] - 1 for (m, _), n in zip(rows, names, strict=True)])
            sd = np.array([s / WHITE_1T5[n] for (_, s), n in zip(rows, names, strict=True)])
        return mean * (1, 1, -1), self.covariance(sd, 0.7)

    @staticmethod
    def covariance(sd, correlation):
        out = correlation * np.outer(sd, sd)
        np.fill_diagonal(out, sd**2)
        return out

    def pair(self, chi, r2star):
        rows = self.survey[chi], self.survey[r2star]
        return np.array([m for m, _ in rows]), self.covariance(np.array([s for _, s in rows]), 0.3)

    def _draw(self, stage):
        chi, r2star, kind = self.parts[stage][self.rng.integers(len(self.parts[stage]))]
        maps = self.rng.multivariate_normal(*self.pair(chi, r2star))
        rates = self.rng.multivariate_normal(*self.rates(kind))
        pattern = self.rng.choice(4, p=self.patterns[stage])
        chance, (found, possible) = self.rng.random(), RIM_SHARES[stage]
        rim = "definite" if chance < found else "possible" if chance < found + possible else "absent"
        return maps, rates, pattern, rim

    def oracle(self, drawn, gadolinium):
        maps, rates, pattern, rim = drawn
        logs = []
        for stage, parts in enumerate(self.parts):
            log = np.logaddexp.reduce(
                [_gauss(maps, *self.pair(c, r)) + self.with_rates * _gauss(rates, *self.rates(k)) for c, r, k in parts]
            ) - np.log(len(parts))
            found, possible = RIM_SHARES[stage]
            log += np.log({"definite": found, "possible": possible, "absent": 1 - found - possible}[rim])
            log += np.log(self.patterns[stage][pattern]) if gadolinium else 0.0
            logs.append(log + np.log(self.prior[stage]))
        return int(np.argmax(logs))

    def findings(self, drawn, gadolinium):
        (chi, r2star), (r1, r2, minus_pd), pattern, rim = drawn
        shown = PATTERNS[pattern] if gadolinium else "unknown"
        known = {"r1": r1, "r2": r2, "pd": -minus_pd} if self.with_rates else {}
        return Findings(chi=chi, r2star=r2star, pattern=shown, rim=rim, **known)


class HardCohort(Cohort):
    """Without R1, R2 and PD, old lesions as bright as active ones, and more rings that have filled, which the stager
    does not know of: its oracle reaches about what the survey's simulation does (0.90 and 0.79)."""

    parts = (*PARTS[:3], [*OLD, ("chen14_chr", "zhang16_ne3_r2s", "non")])
    patterns = ((0.02, 0.78, 0.10, 0.10), (0.02, 0.33, 0.45, 0.20), *[(0.97, 0.015, 0.0075, 0.0075)] * 2)
    with_rates = False


def _gauss(x, mean, covariance):
    d = x - mean
    return -0.5 * (d @ np.linalg.solve(covariance, d) + np.linalg.slogdet(covariance)[1])


@pytest.mark.parametrize("gadolinium", [True, False])
@pytest.mark.parametrize("cohort_of", [Cohort, HardCohort])
def test_stages_reach_95_percent_of_what_a_bayes_oracle_does_and_say_how_sure_they_are(survey, cohort_of, gadolinium):
    cohort = cohort_of(survey, 1500, PRIORS["equal"], seed=17)
    oracle = np.mean([cohort.oracle(d, gadolinium) == t for d, t in zip(cohort.drawn, cohort.truth, strict=True)])
    called = [stage_of(cohort.findings(d, gadolinium), EQUAL) for d in cohort.drawn]
    right = np.array([c.stage == STAGES[t] for c, t in zip(called, cohort.truth, strict=True)])
    said = np.array([c.stage != INDETERMINATE for c in called])
    assert right.mean() >= 0.95 * oracle
    assert right.mean() <= oracle + 0.01  # more is a leak
    # called rightly: 0.92 asked for with gadolinium, less the standard error of 1500 lesions
    assert right[said].mean() >= (0.913 if gadolinium else 0.79)
    assert _calibration_error(called, cohort.truth) < 0.05


def test_probabilities_are_calibrated_at_the_prevalence_of_patients_too(survey):
    cohort = Cohort(survey, 1500, PRIORS["clinical"], seed=18)
    called = [stage_of(cohort.findings(d, True), StageOptions()) for d in cohort.drawn]
    right = np.array([c.stage == STAGES[t] for c, t in zip(called, cohort.truth, strict=True)])
    said = np.array([c.stage != INDETERMINATE for c in called])
    assert right[said].mean() > 0.95
    assert _calibration_error(called, cohort.truth) < 0.05


def _calibration_error(called, truth):
    best = [max(STAGES, key=lambda s: c.probabilities[s]) for c in called]
    sure = np.array([c.probabilities[b] for c, b in zip(called, best, strict=True)])
    right = np.array([b == STAGES[t] for b, t in zip(best, truth, strict=True)])
    bins = np.minimum((10 * sure).astype(int), 9)
    return sum(abs(right[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))


CLEAR = {
    "early active": Findings(chi=0.5, r2star=-5.6, pattern="nodular", rim="absent", diameter=4.5, strong=True),
    "late active": Findings(chi=10, r2star=-8, pattern="closed ring", rim="absent", diameter=10, strong=True),
    "chronic active": Findings(chi=25, r2star=-2.5, pattern="none", rim="definite", diameter=12),
    "chronic inactive": Findings(chi=33, r2star=-2, pattern="none", rim="absent", diameter=7),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_clear_case_is_called_with_its_reason_in_plain_words(stage):
    found = stage_of(CLEAR[stage], StageOptions())
    assert found.stage == stage
    assert found.probabilities[stage] > 0.7
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.reason.startswith(stage)
    assert "against white matter" in found.reason
    assert found.ceiling == 0.90


def test_a_nodule_with_a_rim_is_a_contradiction_and_not_averaged_away():
    found = stage_of(Findings(chi=20, r2star=-3, pattern="nodular", rim="definite"), EQUAL)
    assert found.stage == INDETERMINATE
    assert "a nodule that enhances has no rim" in found.contradictions


def test_a_nodule_with_a_rim_on_a_late_active_lesion_is_flagged_as_a_ring_that_may_have_filled():
    findings = Findings(chi=11, r2star=-8, pattern="nodular", rim="definite", diameter=10, late=True, strong=True)
    found = stage_of(findings, EQUAL)
    assert (found.stage, found.substage) == ("late active", "late active with rim")
    assert found.contradictions
    assert "unless a ring has filled" in found.reason


def test_a_ring_with_a_rim_is_late_active_with_rim():
    found = stage_of(Findings(chi=11, r2star=-7.5, pattern="closed ring", rim="definite", strong=True), StageOptions())
    assert (found.stage, found.substage) == ("late active", "late active with rim")


@pytest.mark.parametrize(
    ("findings", "substage"),
    [
        (Findings(chi=-2, r2star=-2, r1=-0.1, pattern="none", rim="absent"), "remyelinated"),
        (Findings(chi=4, r2star=-2, r1=-0.4, pattern="none", rim="absent"), "late inactive"),
        (Findings(chi=30, r2star=-2, r1=-0.4, pattern="none", rim="absent"), "n/a"),
    ],
)
def test_old_lesions_are_remyelinated_where_r1_is_kept_and_late_inactive_where_it_is_lost(findings, substage):
    found = stage_of(findings, StageOptions(), cortex_r1=-0.4)
    assert (found.stage, found.substage) == ("chronic inactive", substage)


def test_what_is_missing_is_named_with_the_accuracy_that_is_left():
    ceilings = {}
    for pattern in ("none", "unknown"):
        for rim in ("absent", "not assessable"):
            found = stage_of(Findings(chi=33, r2star=-2, pattern=pattern, rim=rim), StageOptions())
            ceilings[pattern, rim] = found.ceiling
            assert ("gadolinium" in found.missing) == (pattern == "unknown")
            assert ("rim" in found.missing) == (rim == "not assessable")
    assert ceilings["none", "absent"] > ceilings["unknown", "absent"] > ceilings["unknown", "not assessable"]
    nothing = stage_of(Findings(), StageOptions())
    assert nothing.stage == INDETERMINATE
    assert "nothing is known" in nothing.reason


@pytest.mark.parametrize("name", ["chi", "r2star", "r1", "r2", "pd"])
def test_each_map_may_be_missing(name):
    known = {"chi": 33.0, "r2star": -2.0, "r1": -0.4, "r2": -0.3, "pd": 0.3}
    found = stage_of(Findings(**{k: v for k, v in known.items() if k != name}, pattern="none", rim="absent"), EQUAL)
    assert found.stage in (*STAGES, INDETERMINATE)
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_a_stage_that_the_lesion_speaks_against_is_not_called_because_it_is_frequent():
    found = stage_of(Findings(chi=26, r2star=-2.5, pattern="none", rim="possible"), StageOptions())
    assert found.stage == INDETERMINATE
    assert "only because it is so frequent" in found.reason


def test_an_atypical_lesion_gets_no_stage():
    found = stage_of(
        CLEAR["chronic inactive"], StageOptions(), atypical=("it measures 30 mm, as tumefactive lesions do",)
    )
    assert found.stage == INDETERMINATE
    assert "atypical: check" in found.reason


def test_r2star_is_compared_at_three_tesla_and_rates_are_left_out_at_seven():
    at_3 = log_likelihoods(Findings(chi=0.5, r2star=-5.6))["maps"]
    at_7 = log_likelihoods(Findings(chi=0.5, r2star=-5.6 * 7 / 3, r1=-0.9, field_strength=7.0))["maps"]
    for stage in STAGES:
        assert at_3[stage] == pytest.approx(at_7[stage])


def test_poor_maps_say_less():
    sure, poor = (
        posterior(log_likelihoods(Findings(chi=0.0, r2star=-5.6, chi_error=e, r2star_error=e / 3)), PRIORS["equal"])
        for e in (0.0, 30.0)
    )
    assert max(poor.values()) < max(sure.values())


def test_a_late_scan_makes_a_nodule_likelier_to_be_a_filled_ring():
    early, late = (
        posterior(log_likelihoods(Findings(pattern="nodular", late=late)), PRIORS["equal"])["late active"]
        for late in (False, True)
    )
    assert late > 1.5 * early
