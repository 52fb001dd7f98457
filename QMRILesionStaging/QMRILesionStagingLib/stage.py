"""The stage of one lesion: probabilities decide, rules explain and contradict."""

from dataclasses import dataclass

from .calls import INDETERMINATE, PRESENT, STAGES
from .evidence import ACTIVE, CHRONIC, PRIORS, log_likelihoods, posterior

# What a Bayes-optimal reader reaches on the published distributions with equal priors (simulation of this project)
CEILINGS = {
    (True, True): 0.90,  # gadolinium, rim
    (True, False): 0.75,
    (False, True): 0.79,
    (False, False): 0.65,
}
ISO = 8.6  # ppb; early from chronic lesions, derived from Zhang Y et al. 2016, AJNR 37:1629
REMYELINATED_CHI = 5.0  # ppb, up to which a lesion is iso- or hypointense: Rahmanzadeh R et al. 2022 (recalled)
REMYELINATED_R1 = -0.15  # of white matter: assumed, of the size of assumed_rim_4
_TOO_RARE = 1.25  # a stage that the lesion itself speaks against by more than these odds is not called by frequency
_FILLED = 0.7  # probability of late active, from which on a nodule with a rim is staged (small rings end as nodules)
# Why a lesion is indeterminate, in short
SMALL, OUTSIDE, ATYPICAL, NOTHING = "too small", "outside the brain mask", "atypical", "nothing is known of it"
CONTRADICTION, ALIKE, FREQUENCY = "contradictory signs", "two stages about as likely", "likely by frequency only"
NO_RIM_KNOWN = "chronic, rim not assessable"
_DRIVER = 0.7  # natural logarithm of a likelihood ratio (2 : 1), from which on a finding is named


@dataclass(frozen=True)
class Stage:
    """A stage as it is reported.

    Attributes:
        stage: of STAGES or indeterminate. substage: "n/a" where there is none.
        probabilities: stage -> probability; all None where no stage was sought.
        verdict: how sure, and what decided or why nothing did. reason: that and everything that was found, in words.
        contradictions, missing: sentences and names.
        doubt: why it is indeterminate, in short; empty where it is not.
        ceiling: accuracy that is possible at best with what was there; None where no stage was sought.
    """

    stage: str
    substage: str
    probabilities: dict
    verdict: str
    reason: str
    contradictions: tuple = ()
    missing: tuple = ()
    ceiling: float | None = None
    doubt: str = ""


def no_stage(reason, doubt):
    """A lesion for which no stage was sought."""
    return Stage(INDETERMINATE, "n/a", dict.fromkeys(STAGES), reason, reason, doubt=doubt)


def stage_of(findings, options, atypical=(), cortex_r1=None):
    """Stage of a lesion.

    Args:
        findings: evidence.Findings. options: StageOptions.
        atypical: sentences about what is not like a lesion of MS; any makes the stage indeterminate.
        cortex_r1: R1 of the patient's own cortex relative to white matter, -1 to 0, or None: lesions with a longer T1
            than cortex are demyelinated (Kolb H et al. 2021, recalled).
    """
    groups = log_likelihoods(findings)
    probabilities = posterior(groups, PRIORS[options.prior])
    first, second = sorted(STAGES, key=lambda s: -probabilities[s])[:2]
    contradictions = _contradictions(findings, groups)
    missing = _missing(findings)
    ceiling = CEILINGS[findings.pattern != "unknown", findings.rim != "not assessable"]
    told = _told(findings)
    why, doubt = "", ""
    if atypical:
        doubt = ATYPICAL
        why = f"atypical: check ({'; '.join(atypical)})"
    elif not set(groups) - {"size"}:
        doubt = NOTHING
        why = "nothing is known that tells the stages apart"
    elif contradictions and not _filled_ring(findings, probabilities):
        doubt = CONTRADICTION
        why = f"contradiction: {'; '.join(contradictions)}"
    elif probabilities[first] < options.certain or probabilities[first] - probabilities[second] < options.margin:
        doubt = ALIKE
        why = f"{first} ({_percent(probabilities[first])}) or {second} ({_percent(probabilities[second])})"
    else:
        own = posterior(groups, PRIORS["equal"])  # what the lesion itself says
        if own[first] * _TOO_RARE < max(own.values()):
            likelier = max(own, key=own.get)
            doubt = FREQUENCY
            why = f"{likelier} by what is measured, {first} only because it is so frequent"
            if {first, likelier} == set(CHRONIC) and "rim" not in groups:
                doubt = NO_RIM_KNOWN
                why = "chronic, but active and inactive are not told apart without the rim"
    known = {
        "probabilities": probabilities,
        "contradictions": contradictions,
        "missing": missing,
        "ceiling": ceiling,
    }
    if why:
        return Stage(INDETERMINATE, "n/a", verdict=why, reason=_sentence(why, told, missing), doubt=doubt, **known)
    drivers = _drivers(first, second, groups) or "prevalence alone"
    verdict = f"{_percent(probabilities[first])} by {drivers}"
    if contradictions:
        verdict += f"; contradiction: {'; '.join(contradictions)}, unless a ring has filled"
    reason = _sentence(f"{first}, {verdict}", told, missing)
    return Stage(first, _substage(first, findings, cortex_r1), verdict=verdict, reason=reason, **known)


def _percent(value):
    return "more than 99 %" if value > 0.99 else f"{100 * value:.0f} %"


def _sentence(verdict, told, missing):
    text = f"{verdict}: {told}" if told else verdict
    return text + (f"; not known: {', '.join(missing)}" if missing else "")


def _told(findings):
    """What was found, in plain words."""
    parts = []
    if findings.pattern == "none":
        parts.append("no enhancement")
    elif findings.pattern != "unknown":
        parts.append(f"enhances ({findings.pattern})")
    if findings.rim != "not assessable":
        parts.append(f"paramagnetic rim {findings.rim}")
    if findings.chi is not None:
        parts.append(f"QSM {findings.chi:+.1f} ppb")
    if findings.r2star is not None:
        parts.append(f"R2* {findings.r2star:+.1f} 1/s")
    for name, value in (("R1", findings.r1), ("R2", findings.r2), ("PD", findings.pd)):
        if value is not None:
            parts.append(f"{name} {100 * value:+.0f} %")
    return ", ".join(parts) + " against white matter" if parts else ""


def _missing(findings):
    names = {"gadolinium": findings.pattern == "unknown", "rim": findings.rim == "not assessable"}
    names |= {name: value is None for name, value in (("QSM", findings.chi), ("R2*", findings.r2star))}
    return tuple(name for name, absent in names.items() if absent)


def _drivers(first, second, groups):
    names = {"gadolinium": "enhancement", "rim": "the rim", "size": "size", "maps": "the maps"}
    found = [(group[first] - group[second], names[name]) for name, group in groups.items()]
    return " and ".join(name for ratio, name in sorted(found, reverse=True) if ratio > _DRIVER)


def _contradictions(findings, groups):
    found = []
    if findings.pattern == "nodular" and findings.rim == "definite":
        found.append("a nodule that enhances has no rim")
    if findings.pattern not in ("none", "unknown") and "maps" in groups:
        maps = groups["maps"]
        if max(maps[s] for s in STAGES) - max(maps[s] for s in ACTIVE) > 4:
            found.append("it enhances, but the maps are those of an old lesion")
    return tuple(found)


def _filled_ring(findings, probabilities):
    """Whether a nodule with a rim is a late active lesion whose ring has filled: flagged, but staged."""
    nodule = findings.pattern == "nodular" and findings.rim in PRESENT
    return nodule and probabilities["late active"] >= _FILLED


def _substage(stage, findings, cortex_r1):
    if stage == "late active" and findings.rim in PRESENT:
        return "late active with rim"
    if stage != "chronic inactive" or findings.chi is None or findings.chi > ISO:
        return "n/a"
    if findings.r1 is None:
        return "n/a"
    above_cortex = cortex_r1 is not None and findings.r1 >= cortex_r1
    small_drop = findings.r1 >= REMYELINATED_R1
    if findings.chi <= REMYELINATED_CHI and (small_drop or (above_cortex and findings.r1 >= 2 * REMYELINATED_R1)):
        return "remyelinated"
    return "late inactive" if cortex_r1 is None or findings.r1 < 0.5 * cortex_r1 else "n/a"
