"""What the stages look like: published distributions of what is measured, and the likelihoods made of them.

Two groups of features are kept joint, because they are strongly correlated and their product would count one finding
several times: susceptibility with R2*, and R1 with R2 and PD. Published spreads hold the measurement noise of their
studies already; ours is added only where it exceeds what theirs can hold.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from QMRIEstimationLib.phantom.lesion_values import ENHANCING, OLD, RATES_CORRELATION, REMYELINATED, VALUES
from QMRIEstimationLib.phantom.tissue import INDEX, tissue_table

from .calls import STAGES

ACTIVE, CHRONIC = STAGES[:2], STAGES[2:]
# What each stage is a mixture of: the rows of the survey for chi and R2*, the rates, weight. Zhang's lesions that do
# not enhance are active and inactive ones together, so both chronic stages have them; weights are assumed.
KINDS = {
    "early active": (("zhang16_nod_chi", "zhang16_nod_r2s", ENHANCING, 1.0),),
    "late active": (("zhang16_shell_chi", "zhang16_shell_r2s", ENHANCING, 1.0),),
    "chronic active": (
        ("zhang16_ne1_chi", "zhang16_ne1_r2s", OLD, 0.5),
        ("zhang16_ne3_chi", "zhang16_ne3_r2s", OLD, 0.5),
    ),
    "chronic inactive": (
        ("zhang16_ne1_chi", "zhang16_ne1_r2s", OLD, 0.25),
        ("zhang16_ne3_chi", "zhang16_ne3_r2s", OLD, 0.25),
        ("chen14_chr", "zhang16_ne3_r2s", OLD, 0.25),
        ("assumed_rim_3", "zhang16_ne3_r2s", REMYELINATED, 0.25),
    ),
}
CHI_R2STAR_CORRELATION = 0.3  # assumed, as no study tells it
FIELD_STRENGTH = 3.0  # T, of the values of chi and R2*
RATES_FIELDS = (1.5, 3.5)  # T, between which differences of R1, R2 and PD are read
_OWN_SHARE = 0.5  # of a published SD, up to which our own error is in it
_OUTLIERS, _WIDER = 0.03, 4.0  # share of lesions that are like no description, and how much wider they spread

# Share of each pattern among lesions of a stage. Rings are what centripetal enhancement begins with (closed 65, open
# 18 %), and most small ones end as nodules: Gaitan MI et al. 2011, Ann Neurol 70:22. Split between stages assumed.
PATTERNS = {
    "early active": {"none": 0.03, "nodular": 0.90, "closed ring": 0.02, "open ring": 0.05},
    "late active": {"none": 0.05, "nodular": 0.18, "closed ring": 0.54, "open ring": 0.23},
    "chronic active": {"none": 0.98, "nodular": 0.01, "closed ring": 0.005, "open ring": 0.005},
    "chronic inactive": {"none": 0.98, "nodular": 0.01, "closed ring": 0.005, "open ring": 0.005},
}
_STRONG = 0.02  # of that, where the uptake is strong: noise and misplaced images make weak uptake, and lesions that
# take up the agent are active by definition (assumed)
# Share with a rim that the detector finds (definite or probable), and of those that are merely possible; simulated for
# chronic lesions, transient rims of active ones by Absinta M et al. 2016, J Clin Invest 126:2597 (12 of 22 persist).
RIMS = {"early active": 0.03, "late active": 0.36, "chronic active": 0.85, "chronic inactive": 0.02}
POSSIBLE = {"early active": 0.02, "late active": 0.10, "chronic active": 0.07, "chronic inactive": 0.03}
# Prevalence: 5 % of lesions enhance (assumed), 80:33 nodular to shell among them (Zhang 2016), rims in 5 % of the rest
# (3 to 12 % in seven studies, see the documentation).
# Diameters, mm: rows of the survey; the spread (natural logarithm) is assumed and wide, so size supports and decides
# nothing alone.
DIAMETERS = {
    "early active": "fleni_cf",
    "late active": "fleni_cp",
    "chronic active": "hemond_prl_diam",
    "chronic inactive": "hemond_iso_diam",
}
_DIAMETER_SPREAD = 0.5
PRIORS = {
    "clinical": {"early active": 0.035, "late active": 0.015, "chronic active": 0.0475, "chronic inactive": 0.9025},
    "equal": dict.fromkeys(STAGES, 0.25),
}


@dataclass(frozen=True)
class Findings:
    """What is known of one lesion; None where it is not.

    Attributes:
        chi: ppb, r2star: 1/s, lesion minus reference. chi_error, r2star_error: standard errors.
        r1, r2, pd: relative differences from the reference. r1_error, r2_error, pd_error.
        diameter: mm. pattern: of enhancement.PATTERNS. rim: of rim.GRADES.
        late: whether the scan after the agent was late. strong: whether the uptake is far above the noise.
        field_strength: T.
    """

    chi: float | None = None
    r2star: float | None = None
    r1: float | None = None
    r2: float | None = None
    pd: float | None = None
    chi_error: float = 0.0
    r2star_error: float = 0.0
    r1_error: float = 0.0
    r2_error: float = 0.0
    pd_error: float = 0.0
    diameter: float | None = None
    pattern: str = "unknown"
    rim: str = "not assessable"
    late: bool = False
    strong: bool = False
    field_strength: float = FIELD_STRENGTH


def log_likelihoods(findings):
    """Logarithm of the likelihood of each group of findings under every stage.

    Returns:
        dict: "gadolinium", "rim", "size", "maps" (chi, R2* and rates, which a mixture ties together) -> dict stage ->
        float; groups without findings are left out.
    """
    groups = {}
    if findings.pattern in PATTERNS["early active"]:
        groups["gadolinium"] = {stage: float(np.log(_pattern(stage, findings))) for stage in STAGES}
    if findings.rim != "not assessable":
        groups["rim"] = {stage: float(np.log(_rim(stage, findings.rim))) for stage in STAGES}
    if findings.diameter is not None:
        groups["size"] = {stage: _size(stage, findings.diameter) for stage in STAGES}
    pairs = [_pair(findings), _rates(findings)]
    if any(len(values) for values, _ in pairs):
        groups["maps"] = {stage: _mixture(stage, findings, pairs) for stage in STAGES}
    return groups


def posterior(groups, prior):
    """Probability of every stage from the groups of `log_likelihoods` and a prior (stage -> share)."""
    logs = np.array([np.log(prior[s]) + sum(group[s] for group in groups.values()) for s in STAGES])
    odds = np.exp(logs - logs.max())
    return dict(zip(STAGES, (odds / odds.sum()).tolist(), strict=True))


def _pattern(stage, findings):
    shares = PATTERNS[stage]
    if stage in CHRONIC and findings.strong and findings.pattern != "none":
        return _STRONG * shares[findings.pattern]
    if not findings.late or stage != "late active":
        return shares[findings.pattern]
    rings = shares["closed ring"] + shares["open ring"]
    moved = min(shares["nodular"], rings)  # late scans: twice as many have filled
    if findings.pattern == "nodular":
        return shares["nodular"] + moved
    ring = findings.pattern in ("closed ring", "open ring")
    return shares[findings.pattern] * ((rings - moved) / rings if ring else 1.0)


def _rim(stage, grade):
    present, possible = RIMS[stage], POSSIBLE[stage]
    return {"definite": present, "probable": present, "possible": possible, "absent": 1 - present - possible}[grade]


def _size(stage, diameter):
    return float(-0.5 * (np.log(diameter / VALUES[DIAMETERS[stage]].mean) / _DIAMETER_SPREAD) ** 2)


def _pair(findings):
    """chi and R2*, as far as they are known: values and errors."""
    growth = findings.field_strength / FIELD_STRENGTH
    given = [(findings.chi, findings.chi_error, 0)]
    if findings.r2star is not None:
        given.append((findings.r2star / growth, findings.r2star_error / growth, 1))
    given = [g for g in given if g[0] is not None]
    return np.array([g[0] for g in given]), [(g[2], g[1]) for g in given]


def _rates(findings):
    if not RATES_FIELDS[0] <= findings.field_strength <= RATES_FIELDS[1]:
        return np.array([]), []
    given = [(findings.r1, findings.r1_error, 0), (findings.r2, findings.r2_error, 1)]
    given.append((None if findings.pd is None else -findings.pd, findings.pd_error, 2))
    given = [g for g in given if g[0] is not None]
    return np.array([g[0] for g in given]), [(g[2], g[1]) for g in given]


def _mixture(stage, findings, pairs):
    parts = []
    for chi, r2star, rates, weight in KINDS[stage]:
        log = np.log(weight)
        means, sds = _chi_r2star(chi, r2star)
        log += _density(*pairs[0], means, sds, CHI_R2STAR_CORRELATION)
        means, sds = relative_rates(rates)
        log += _density(*pairs[1], means, sds, RATES_CORRELATION)
        parts.append(log)
    return float(np.logaddexp.reduce(parts))


@cache
def _chi_r2star(chi, r2star):
    values = VALUES[chi], VALUES[r2star]
    return np.array([v.mean for v in values]), np.array([v.sd for v in values])


@cache
def relative_rates(names):
    """Means and SDs of R1, R2 and -PD relative to white matter; absolute ones over that of white matter at 1.5 T."""
    means, sds = [], []
    for name, q, sign in zip(names, (0, 1, 3), (1, 1, -1), strict=True):
        value = VALUES[name]
        if "blystad" in name:
            there = float(tissue_table(value.field_strength).values[INDEX["white matter"], q])
            means.append(sign * (value.mean / there - 1))
            sds.append(value.sd / there)
        else:
            means.append(sign * value.mean / 100)
            sds.append(value.sd / 100)
    return np.array(means), np.array(sds)


def _density(values, known, means, sds, correlation):
    """Log density of the known features; a few lesions are like no description, so no feature decides alone."""
    if not len(values):
        return 0.0
    index = [n for n, _ in known]
    errors = np.array([error for _, error in known])
    spread = sds[index]
    variance = spread**2 + np.maximum(errors**2 - (_OWN_SHARE * spread) ** 2, 0)
    covariance = correlation * np.outer(spread, spread)
    np.fill_diagonal(covariance, variance)
    difference = values - means[index]
    return float(
        np.logaddexp(
            np.log(1 - _OUTLIERS) + _gaussian(difference, covariance),
            np.log(_OUTLIERS) + _gaussian(difference, covariance * _WIDER**2),
        )
    )


def _gaussian(difference, covariance):
    _, determinant = np.linalg.slogdet(covariance)
    return -0.5 * (
        difference @ np.linalg.solve(covariance, difference) + determinant + len(difference) * np.log(2 * np.pi)
    )
