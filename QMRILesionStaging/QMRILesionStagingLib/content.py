"""What a region holds in all, iron or myelin, and whether a change of it is one of concentration or of volume.

The content M is concentration C times volume V, so that a change of it is exactly
dM = mean(V) dC + mean(C) dV, which holds where C is negative, too (chi). A nucleus that shrinks and keeps its iron has
a higher concentration: that alone is no gain of iron (Hernandez-Torres E et al. 2019, Mult Scler 25:632; Schweser F
et al. 2021, Neuroimage 231:117818).
"""

import math
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from .comparisons import FEWEST, SIDE, adjusted_difference, group_of, number_of, short
from .region_masks import CORTICAL_LESIONS, CSF, DAWM, NAWM

MAPS = {"R1": "content", "R2star": "content", "Chi": "content"}  # map -> column of its content
IRON = "excess"  # column that counts for R2* where there is one: what is beyond tissue without iron
LEFT_OUT = ("periplaque", CSF, NAWM, DAWM, CORTICAL_LESIONS)  # their volume is what the drawing leaves
COMPARED, CHANGED = "patients - controls", "{} - {}"
PATTERNS = {  # signs of the differences of content, concentration and volume (0 none was shown, None any) -> what it is
    (1, 1, None): "gain",
    (1, 0, 1): "more in more volume",
    (1, -1, 1): "more in more volume, diluted",
    (0, 1, -1): "concentrated by shrinking",
    (0, -1, 1): "diluted by growing",
    (-1, -1, None): "loss",
    (-1, 0, -1): "less in less volume",
    (-1, 1, -1): "less, and concentrated by shrinking",
}
NOTHING, UNCLEAR = "no difference shown", "unclear"


def contents_of(rows):
    """(region without side, map, what) -> (participant, session) -> (content, volume), from merged rows of regions.

    `what` is "excess" where R2* has one, else "content". Sides are added.
    """
    found = {}
    for row in rows:
        region, name = SIDE.sub("", row["region"]), row["map"]
        if name not in MAPS or region.startswith(LEFT_OUT):
            continue
        what = IRON if number_of(row.get(IRON)) is not None else MAPS[name]
        content, volume = number_of(row.get(what)), number_of(row.get("volume_mm3"))
        if content is None or not volume:
            continue
        visits = found.setdefault((region, name, what), {})
        visit = row["participant_id"], row["session_id"]
        before = visits.get(visit, (0.0, 0.0))
        visits[visit] = before[0] + content, before[1] + volume
    return found


def split(before, after):
    """(by concentration, by volume) of the change of content between two (content, volume); their sum is the change.

    >>> split((20.0, 10.0), (20.0, 8.0))  # the same iron in less volume
    (4.5, -4.5)
    """
    (m1, v1), (m2, v2) = before, after
    c1, c2 = m1 / v1, m2 / v2
    return (v1 + v2) / 2 * (c2 - c1), (c1 + c2) / 2 * (v2 - v1)


def changes(contents):
    """Rows, one a participant, region, map and pair of neighbouring sessions."""
    rows = []
    for (region, name, what), visits in sorted(contents.items()):
        for person, (first, second) in _pairs(visits):
            (m1, v1), (m2, v2) = visits[person, first], visits[person, second]
            by_concentration, by_volume = split((m1, v1), (m2, v2))
            rows.append(
                {"participant_id": person, "session_before": first, "session_id": second, "region": region,
                 "map": name, "measure": what, "content_before": short(m1), "content": short(m2),
                 "change": short(m2 - m1), "by_concentration": short(by_concentration),
                 "by_volume": short(by_volume), "change_percent": _percent(m2 - m1, m1),
                 "concentration_percent": _percent(m2 / v2 - m1 / v1, m1 / v1),
                 "volume_percent": _percent(v2 - v1, v1)}
            )  # fmt: skip
    return rows


def content_rows(contents, participants, active):
    """Rows of the group, one a comparison, region and map: patients against controls, and session against session.

    Args:
        contents: as `contents_of`. participants: id -> row of participants.tsv (texts), or {}.
        active: ids of the patients with an enhancing lesion.
    """
    rows = []
    for key, visits in sorted(contents.items()):
        compared = _against_controls(visits, participants, active)
        named = dict(zip(("region", "map", "measure"), key, strict=True))
        rows += [named | row for row in (*compared, *_between_sessions(visits))]
    return rows


def _against_controls(visits, participants, active):
    first = {}
    for person, session in sorted(visits):
        first.setdefault(person, visits[person, session])
    groups = {person: group_of(row) for person, row in participants.items()}
    people = [person for person in first if groups.get(person) is not None]
    controls = [person for person in people if groups[person] == "control"]
    if min(len(controls), len(people) - len(controls)) < FEWEST:
        return
    three = {
        "content": {p: first[p][0] for p in people},
        "concentration": {p: first[p][0] / first[p][1] for p in people},
        "volume": {p: first[p][1] for p in people},
    }
    found = {key: adjusted_difference(people, known, groups, participants, active) for key, known in three.items()}
    if None in found.values():
        return
    level = {key: float(np.mean([known[p] for p in controls])) for key, known in three.items()}
    differences = {key: (one["difference"], one["low"], one["high"]) for key, one in found.items()}
    volume = level["volume"] + differences["volume"][0]
    other = level["concentration"] + differences["concentration"][0]
    yield _row(COMPARED, len(people), level, differences, split(
        (level["concentration"] * level["volume"], level["volume"]), (other * volume, volume)
    ))  # fmt: skip


def _between_sessions(visits):
    """Mean change of all who have both sessions, with the interval of paired t."""
    both = {}
    for person, pair in _pairs(visits):
        both.setdefault(pair, []).append(person)
    for (first, second), people in sorted(both.items()):
        if len(people) < FEWEST:
            continue
        old, new = (np.array([visits[p, session] for p in people]) for session in (first, second))
        old, new = (np.column_stack([a[:, 0], a[:, 0] / a[:, 1], a[:, 1]]) for a in (old, new))
        names = ("content", "concentration", "volume")
        differences = {name: _paired(d) for name, d in zip(names, (new - old).T, strict=True)}
        level = dict(zip(names, old.mean(0), strict=True))
        parts = np.mean([split(visits[p, first], visits[p, second]) for p in people], axis=0)
        yield _row(CHANGED.format(second, first), len(people), level, differences, parts)


def _row(comparison, count, level, differences, parts):
    row = {"comparison": comparison, "participants": count}
    for name, (difference, low, high) in differences.items():
        row |= {f"{name}_before": short(level[name]), f"{name}_difference": short(difference),
                f"{name}_low": short(low), f"{name}_high": short(high)}  # fmt: skip
    shrunk = level["volume"] + differences["volume"][0]
    row["concentration_by_volume_alone"] = short(level["content"] / shrunk) if shrunk > 0 else None
    row |= {"by_concentration": short(parts[0]), "by_volume": short(parts[1])}
    signs = {name: 0 if low <= 0 <= high else int(math.copysign(1, d)) for name, (d, low, high) in differences.items()}
    row["pattern"] = _pattern(signs)
    return row


def _pattern(signs):
    content, concentration, volume = signs["content"], signs["concentration"], signs["volume"]
    if content == concentration == 0:
        return NOTHING
    return PATTERNS.get((content, concentration, None)) or PATTERNS.get((content, concentration, volume), UNCLEAR)


def _pairs(visits):
    """(participant, (session, next session)) of everybody with several, in the order of their labels."""
    sessions = {}
    for person, session in sorted(visits):
        sessions.setdefault(person, []).append(session)
    return [(person, pair) for person, own in sessions.items() for pair in pairwise(own)]


def _paired(differences):
    """Mean and its interval of 95 %."""
    half = stdtrit(len(differences) - 1, 0.975) * differences.std(ddof=1) / math.sqrt(len(differences))
    return float(differences.mean()), float(differences.mean() - half), float(differences.mean() + half)


def _percent(change, before):
    return short(100 * change / abs(before)) if before else None
