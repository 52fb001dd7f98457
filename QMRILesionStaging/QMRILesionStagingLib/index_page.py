"""The index page of the group: every session with picture, state, key numbers and report; failures first."""

import json
import statistics
from collections import Counter
from urllib.parse import quote

from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.report.page import Html, details, html, join, notes, page, table

from .calls import LESION_TABLE, PRESENT, STAGE_NAMES
from .group_methods import group_methods
from .group_sections import compared_section, content_section

STAGE_LETTERS = dict(zip(STAGE_NAMES, ("EA", "LA", "CA", "CI", "?"), strict=True))
FEWEST, FAR = 8, 5.0  # sessions, and robust SDs from their median, from which on one is an outlier (assumed)
MEDIANS = ("R1", "R2", "R2star", "PD", "Chi")


def index_page(results, problems, merged, comparisons=(), contents=()):
    """The index page as text.

    Args:
        results: cohort.SessionResult of every session. problems: sentences about damaged files.
        merged: names of the merged tables that were written. comparisons: rows of comparisons.compare_groups.
        contents: rows of content.content_rows.
    """
    failed = [result for result in results if result.failed]
    subjects = len({result.subject for result in results})
    parts = [
        Html("<header><h1>Quantitative MRI of the group</h1>"),
        Html(f'<p class="soft">Subjects: {subjects}. Sessions: {len(results)}, '),
        Html(f"of these {len(results) - len(failed)} done, {len(failed)} failed.</p>"),
        Html('<p class="research">Research use only. Not for diagnosis.</p></header>\n'),
    ]
    if failed:
        sentences = [
            f"{result.name}: {result.log.get('error') or 'no maps are there; run it again.'}" for result in failed
        ]
        parts.append(notes(f"{len(failed)} failed", sentences, "bad"))
    doubts = [*problems, *_unlike(results), *_outliers(results)]
    if doubts:
        parts.append(notes("Read this first", doubts))
    parts.append(Html("<h2>Subjects</h2>\n"))
    parts.append(_subjects(results))
    if comparisons:
        parts.append(compared_section(comparisons))
    if contents:
        parts.append(content_section(contents))
    parts.append(group_methods(results, comparisons))
    if merged:
        parts.append(Html("<h2>Merged tables</h2><ul>"))
        parts += [Html(f'<li><a href="{quote(name)}">{html(name)}</a></li>') for name in merged]
        parts.append(Html("</ul>\n"))
    noted = [result for result in results if result.made_by.get("warnings")]
    if noted:
        parts.append(Html("<h2>Notes of the runs</h2>\n"))
    for result in noted:
        items = "".join(f"<li>{html(sentence)}</li>" for sentence in result.made_by["warnings"])
        parts.append(details(f"{result.name}: {len(result.made_by['warnings'])}", Html(f"<ul>{items}</ul>")))
    return page("Quantitative MRI: group", join(*parts))


def _subjects(results):
    """One row a session: picture, link, state, key numbers; columns that nobody has are left out."""
    medians = [name for name in MEDIANS if any(f"{name}_median" in _figures(result) for result in results)]
    lesions = any(LESION_TABLE in result.tables for result in results)
    header = ["", "Session", "State", "Brain, ml", *(_median_title(name) for name in medians)]
    header += ["Lesions", *STAGE_LETTERS.values(), "Rims"] if lesions else []
    header += ["Notes", "Run"]
    rows = []
    for result in results:
        figures = _figures(result)
        values = [display_of(name).text(figures[f"{name}_median"]) if f"{name}_median" in figures else None
                  for name in medians]  # fmt: skip
        row = [_picture(result), _link(result), _state(result), figures.get("brain_volume_ml"), *values]
        row += _stages(result.tables.get(LESION_TABLE)) if lesions else []
        row += [len(result.made_by.get("warnings", ())), _day(result)]
        rows.append(row)
    found = table(header, rows, numeric=tuple(range(3, len(header) - 1)))
    words = "Maps: medians over the brain."
    if lesions:
        words += " " + ", ".join(f"{letters} {name}" for name, letters in STAGE_LETTERS.items())
        words += "; rims: definite or probable."
    return join(found, Html('<p class="soft">'), words, Html("</p>"))


def _day(result):
    """Day of the latest run, kept on one line."""
    return Html(html(str(result.log.get("started", "n/a")).partition("T")[0]).replace("-", "&#8209;"))


def _stages(rows):
    """Numbers of lesions, of each stage, and of rims; n/a where there is no table."""
    if rows is None:
        return [None] * (len(STAGE_LETTERS) + 2)
    stages = Counter(row["stage"] for row in rows)
    rims = sum(row.get("rim_grade") in PRESENT for row in rows)
    return [len(rows), *(stages[name] for name in STAGE_LETTERS), rims]


def _figures(result):
    """Key numbers of the results on disk; those without a value count as absent."""
    return {name: value for name, value in result.made_by.get("figures", {}).items() if value is not None}


def _median_title(name):
    display = display_of(name)
    return f"{display.title}, {display.unit}"


def _picture(result):
    if not result.thumbnail:
        return Html("")
    picture = f'<img class="thumb" src="{result.thumbnail}" alt="{html(result.name)}">'
    return Html(f'<a href="{quote(result.report)}">{picture}</a>' if result.report else picture)


def _link(result):
    name = html(result.name.replace("_", " "))
    return Html(f'<a href="{quote(result.report)}">{name}</a>') if result.report else name


def _state(result):
    if result.failed:
        older = "; the results are of an earlier run" if result.made_by else ""
        return join(Html('<span class="failed">failed</span>'), older)
    return Html('<span class="done">done</span>') if result.log else "done, without a log"


def _outliers(results):
    """Sentences on sessions whose key numbers are far from those of the others, farthest first."""
    found = []
    for name in ("brain_volume_ml", *(f"{name}_median" for name in MEDIANS)):
        known = [(result.name, _figures(result)[name]) for result in results if name in _figures(result)]
        values = sorted(value for _, value in known)
        if len(values) < FEWEST:
            continue
        middle = statistics.median(values)
        spread = 1.4826 * statistics.median(abs(value - middle) for value in values)
        for session, value in known if spread > 0 else ():
            far = abs(value - middle) / spread
            if far > FAR:
                what = name.replace("_", " ").replace(" ml", ", ml")
                found.append((far, f"{session}: {what} is {value:.4g}, {far:.0f} robust SDs from {middle:.4g}, the "
                              "median of the sessions; look at its report."))  # fmt: skip
    return [sentence for _, sentence in sorted(found, reverse=True)]


def _unlike(results):
    """Sentences when the results on disk were not all made with the same version and parameters."""
    sentences = []
    records = [(result.name, result.made_by) for result in results if result.made_by]
    for what, key in (("parameters", "parameters"), ("software", "software")):
        kinds = {name: json.dumps(record.get(key), sort_keys=True) for name, record in records}
        usual = Counter(kinds.values()).most_common(1)
        others = [name for name, kind in kinds.items() if kind != usual[0][0]] if usual else []
        if others:
            shown = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
            sentences.append(
                f"{shown}: made with other {what} than the rest; run these again before comparing subjects."
            )
    return sentences
