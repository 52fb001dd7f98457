"""The lesions in the report: what was found in short, how many of each stage, and one row a lesion."""

import math
from collections import Counter

from QMRIEstimationLib.report.page import Html, html, join, table

from .calls import GRADES, INDETERMINATE, NOT_ENHANCING, STAGE_NAMES, changed, rim_of_row, stage_of_row
from .cortex import HYPER, HYPO, ISO, PLACES
from .lesion_cards import cards

COUNTS = ("Stage", "Lesions", "Volume, ml", *(f"Rim {grade}" for grade in GRADES), "Enhancing")
HEADER = ("Lesion", "mm", "Stage", "How sure, and why", "Rim", "Border with rim", "Enhancement")
MAPS = (("Chi", "QSM, ppb", 1000, ".1f"), ("R2star", "R2*, 1/s", 1, ".1f"), ("R1", "R1, %", 0, ".0f"))
ABOUT = (
    "Stages are defined by MRI, not by histology. QSM, R2* and R1 are those of the whole lesion less the white matter "
    "around it. A rim counts when definite or probable; it is called absent only where virtual rims of the lesion's "
    "size were found in this scan. Everything that was found of a lesion stands in the table desc-lesions_stats.tsv."
)


def lesion_section(tables, given):
    """(id, title, Html) of the lesions. tables: lesion_table.LesionTables. given: staging.StagingInput."""
    shown = [spec for spec in MAPS if spec[0] in given.maps]
    header = (*HEADER, *(title for _, title, _, _ in shown))
    order = sorted(tables.rows, key=lambda row: -row["volume_mm3"])
    body = join(
        Html('<section id="lesions"><h2>Lesions</h2>'),
        _summary(tables.rows),
        Html("<h3>By stage</h3>"),
        table(COUNTS, _counts(tables.rows), numeric=range(1, len(COUNTS))),
        Html('<p class="soft">'),
        ABOUT,
        Html("</p>"),
        Html("<h3>Every lesion, largest first</h3>"),
        table(header, [_row(row, shown) for row in order], numeric=(1, 5, *range(len(HEADER), len(header)))),
        Html("</section>\n"),
        cards(tables, given) if tables.rows else "",
    )
    return "lesions", "Lesions", body


def _summary(rows):
    """What a reader with a minute must know."""
    volume = sum(row["volume_mm3"] for row in rows) / 1000
    lines = [("Lesions", f"{len(rows)}, {volume:.2f} ml in all")]
    lines.append(("Paramagnetic rims", _told(Counter(rim_of_row(row) for row in rows), GRADES)))
    patterns = Counter(row["enhancement"] for row in rows)
    enhancing = {name: count for name, count in patterns.items() if name not in NOT_ENHANCING}
    text = f"{sum(enhancing.values())}" + (f" ({_told(enhancing, sorted(enhancing))})" if enhancing else "")
    text = "unknown" if rows and patterns["unknown"] == len(rows) else text
    if 0 < patterns["unknown"] < len(rows):
        text += f"; of {patterns['unknown']} it is unknown"
    lines.append(("Enhancing", text))
    lines += _in_cortex(rows)
    doubts = Counter(row["doubt"] or "called by a reader" for row in rows if stage_of_row(row) == INDETERMINATE)
    text = f"{sum(doubts.values())}" + (f" ({_told(doubts, sorted(doubts))})" if doubts else "")
    lines.append(("Indeterminate", text))
    calls = sum(changed(row) for row in rows)
    if calls:
        lines.append(("Called otherwise by a reader", f"{calls}; what the program called stands with each lesion"))
    return table((), [(Html(f"<b>{name}</b>"), text) for name, text in lines])


def _in_cortex(rows):
    """How many lesions reach into the cortex, and of which class of susceptibility they are there."""
    places = Counter(row.get("place") for row in rows)
    if set(places) <= {None}:
        return []
    text = _told(places, PLACES[:3])
    kinds = Counter(row["cortex_chi_class"] for row in rows if row.get("place") in PLACES[:2])
    kinds["not known"] = kinds.pop(None, 0)
    told = _told(kinds, (HYPER, ISO, HYPO, "not known"))
    return [("At the cortex", text + (f"; QSM in it: {told}" if told != "none" else ""))]


def _told(counts, order):
    """`2 definite, 1 absent`"""
    return ", ".join(f"{counts[name]} {name}" for name in order if counts.get(name)) or "none"


def _counts(rows):
    found = []
    for name in (*STAGE_NAMES, "all"):
        own = [row for row in rows if name in ("all", stage_of_row(row))]
        grades = Counter(rim_of_row(row) for row in own)
        enhancing = sum(row["enhancement"] not in NOT_ENHANCING for row in own)
        volume = f"{sum(row['volume_mm3'] for row in own) / 1000:.2f}"
        title = Html(f"<b>{html(name)}</b>") if name == "all" else name
        found.append((title, len(own), volume, *(grades[grade] for grade in GRADES), enhancing))
    return found


def _row(row, shown):
    name, substage = row["stage"], row["substage"]
    if substage not in ("n/a", None):
        name = substage if substage.startswith(name) else f"{name}, {substage}"
    verdict = row["verdict"]
    if changed(row):
        name, verdict = stage_of_row(row), f"called by {row['reader']}: {row['reader_reason']} (automatic: {name})"
    shares = tuple(row[f"rim_coverage{end}"] for end in ("", "_low", "_high"))
    coverage = None if shares[0] is None else "{:.0f} ({:.0f}-{:.0f}) %".format(*(100 * share for share in shares))
    return (
        Html(f'<a href="#lesion-{row["lesion"]}">{html(row["lesion"])}</a>'),
        f"{_diameter(row):.1f}",
        name,
        verdict,
        rim_of_row(row),
        coverage,
        row["enhancement"],
        *(_delta(row, key, factor, form) for key, _, factor, form in shown),
    )


def _diameter(row):
    """Of the sphere of the volume, mm."""
    return (6 * row["volume_mm3"] / math.pi) ** (1 / 3)


def _delta(row, key, factor, form):
    """Difference from the reference, in percent where the factor is 0."""
    delta = row[f"{key}_delta"]
    if delta is None:
        return None
    text = format((factor or 100 / row[f"{key}_reference"]) * delta, "+" + form)
    return "0" if float(text) == 0 else text
