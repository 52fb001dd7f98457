"""The lesions in the report: how many of each stage, and one row a lesion."""

from QMRIEstimationLib.report.page import Html, html, join, table

from .calls import GRADES, PRESENT, STAGE_NAMES
from .lesion_cards import cards

COUNTS = ("Stage", "Lesions", "Volume, ml", "With paramagnetic rim", "Rim not assessable")
HEADER = ("Lesion", "mm", "Stage", "How sure, and why", "Rim", "Border with rim", "Enhancement")
MAPS = (("Chi", "QSM, ppb", 1000, ".1f"), ("R2star", "R2*, 1/s", 1, ".1f"), ("R1", "R1, %", 0, ".0f"))
ABOUT = (
    "Stages are defined by MRI, not by histology. QSM, R2* and R1 are those of the whole lesion less the white matter "
    "around it. A rim counts when definite or probable; it is called absent only where virtual rims of the lesion's "
    "size were found in this scan. Everything that was found of a lesion stands in the table desc-lesions_stats.tsv."
)


def lesion_section(staging, given):
    """(id, title, Html) of the lesions. given: staging.StagingInput."""
    shown = [spec for spec in MAPS if spec[0] in given.maps]
    header = (*HEADER, *(title for _, title, _, _ in shown))
    order = sorted(staging.lesions, key=lambda lesion: -lesion.volume)
    body = join(
        Html('<section id="lesions"><h2>Lesions</h2>'),
        table(COUNTS, _counts(staging.lesions), numeric=(1, 2, 3, 4)),
        Html('<p class="soft">'),
        ABOUT,
        Html("</p>"),
        table(header, [_row(lesion, shown) for lesion in order], numeric=(1, 5, *range(len(HEADER), len(header)))),
        Html("</section>\n"),
        cards(staging, given) if staging.lesions else "",
    )
    return "lesions", "Lesions", body


def _counts(lesions):
    rows = []
    for name in (*STAGE_NAMES, "all"):
        own = [lesion for lesion in lesions if name in ("all", lesion.stage.stage)]
        rims = sum(lesion.rim.grade in PRESENT for lesion in own)
        unknown = sum(lesion.rim.grade == GRADES[-1] for lesion in own)
        volume = f"{sum(lesion.volume for lesion in own) / 1000:.2f}"
        rows.append((Html(f"<b>{html(name)}</b>") if name == "all" else name, len(own), volume, rims, unknown))
    return rows


def _row(lesion, shown):
    stage, rim = lesion.stage, lesion.rim
    name = stage.stage
    if stage.substage != "n/a":
        name = stage.substage if stage.substage.startswith(name) else f"{name}, {stage.substage}"
    shares = (rim.coverage, rim.low, rim.high)
    coverage = None if rim.coverage is None else "{:.0f} ({:.0f}-{:.0f}) %".format(*(100 * share for share in shares))
    return (
        Html(f'<a href="#lesion-{lesion.number}">{html(lesion.number)}</a>'),
        f"{lesion.diameter:.1f}",
        name,
        stage.verdict,
        rim.grade,
        coverage,
        lesion.enhancement.pattern,
        *(_delta(lesion, key, factor, form) for key, _, factor, form in shown),
    )


def _delta(lesion, key, factor, form):
    """Difference from the reference, in percent where the factor is 0."""
    delta = lesion.deltas.get(key)
    if delta is None:
        return None
    factor = factor or 100 / lesion.references[key].median
    text = format(factor * delta[0], "+" + form)
    return "0" if float(text) == 0 else text
