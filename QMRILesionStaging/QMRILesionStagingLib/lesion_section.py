"""The lesions in the report: how many of each stage, and one row a lesion."""

from collections import Counter

from QMRIEstimationLib.report.page import Html, html, join, table

from .lesion_table import STAGE_NAMES
from .rim import PRESENT

HEADER = ("Lesion", "mm", "Stage", "Rim", "Border with rim", "Enhancement", "QSM, ppb", "R2*, 1/s", "Why")


def lesion_section(staging, given):
    """(id, title, Html) of the lesions. given: staging.StagingInput."""
    counts = Counter(lesion.stage.stage for lesion in staging.lesions)
    rims = Counter(lesion.rim.grade for lesion in staging.lesions)
    volume = sum(lesion.volume for lesion in staging.lesions) / 1000
    stages = ", ".join(f"{counts[name]} {name}" for name in STAGE_NAMES if counts[name])
    present = sum(rims[grade] for grade in PRESENT)
    text = f"{len(staging.lesions)} lesions, {volume:.1f} ml: {stages or 'none'}. "
    text += f"Paramagnetic rims (definite or probable): {present}; rim not assessable: {rims['not assessable']}."
    about = (
        "Stages are defined by MRI, not by histology. QSM and R2* are differences of the whole lesion from the white "
        "matter around it. A rim is called absent only where virtual rims of the lesion's size were found in this scan."
    )
    order = sorted(staging.lesions, key=lambda lesion: -lesion.volume)
    rows = [_row(lesion) for lesion in order]
    parts = [Html('<section id="lesions"><h2>Lesions</h2><p>'), text, Html("</p>"), Html('<p class="soft">'), about]
    parts += [Html("</p>"), table(HEADER, rows, numeric=(1, 4, 6, 7)), Html("</section>\n")]
    return "lesions", "Lesions", join(*parts)


def _row(lesion):
    stage = lesion.stage.stage if lesion.stage.substage == "n/a" else f"{lesion.stage.stage} ({lesion.stage.substage})"
    chi, r2star = lesion.deltas.get("Chi"), lesion.deltas.get("R2star")
    rim = lesion.rim
    coverage = (
        None if rim.coverage is None else f"{100 * rim.coverage:.0f} ({100 * rim.low:.0f}-{100 * rim.high:.0f}) %"
    )
    return (
        Html(f'<span id="lesion-{lesion.number}">{html(lesion.number)}</span>'),
        f"{lesion.diameter:.1f}",
        stage,
        rim.grade,
        coverage,
        lesion.enhancement.pattern,
        None if chi is None else f"{1000 * chi[0]:+.1f}",
        None if r2star is None else f"{r2star[0]:+.1f}",
        f"{lesion.stage.reason}. Rim: {rim.reason}.",
    )
