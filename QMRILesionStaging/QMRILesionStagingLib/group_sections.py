"""The tables of the index page that compare groups and sessions."""

from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.report.page import Html, join, table

from .content import NOTHING


def compared_section(rows):
    """Patients against controls: first what the literature has an expectation of, then what differs otherwise."""
    told = [row for row in rows if row["expected"] is not None]
    other = [row for row in rows if row["expected"] is None and row["p_corrected"] < 0.05]
    header = ("Region", "Map", "Measure", "Patients, controls", "Difference (95 %)", "Effect size d", "Corrected p",
              "Literature", "Found")  # fmt: skip
    cells = [
        (row["region"], _title(row["map"]), row["measure"], f"{row['patients']}, {row['controls']}",
         f"{row['difference']:+.3g} ({row['low']:+.3g} to {row['high']:+.3g})", f"{row['d']:+.2f}",
         f"{row['p_corrected']:.2g}", row["expected"] or "", row["found"])
        for row in [*told, *other]
    ]  # fmt: skip
    about = (
        "Least squares with robust errors, adjusted for what the table names as covariates; p by Benjamini and "
        "Hochberg over all regions, maps and measures. Literature: Tables 1 and 2 of Tranfa M et al. 2022."
    )
    return join(
        Html("<h2>Patients against controls</h2>\n"),
        table(header, cells, numeric=(4, 5, 6)),
        Html('<p class="soft">'),
        about,
        Html("</p>"),
    )


def content_section(rows):
    """What regions hold in all, and why that differs."""
    header = ("Region", "Map", "Between", "People", "Content, % (95 %)", "by concentration, by volume",
              "Concentration, %", "Volume, %", "What it is")  # fmt: skip
    cells = [
        (row["region"], display_of(row["map"]).title + (", excess" if row["measure"] == "excess" else ""),
         row["comparison"], row["participants"], _interval(row, "content"), _parts(row),
         _interval(row, "concentration"), _interval(row, "volume"), row["pattern"])
        for row in rows
        if row["pattern"] != NOTHING
    ]  # fmt: skip
    about = (
        "Content is concentration times volume (R2* of nuclei at 3 T: what is beyond tissue without iron), so its "
        "difference is the sum of one by concentration and one by volume. Only what was shown (interval of 95 % "
        f"without 0, not corrected for the number of rows) is listed: {len(cells)} of {len(rows)}; the table has all."
    )
    body = table(header, cells, numeric=range(3, 8)) if cells else ""
    return join(Html("<h2>Iron and myelin: concentration, volume and content</h2>\n"), body,
                Html('<p class="soft">'), about, Html("</p>"))  # fmt: skip


def _interval(row, name):
    """`-4.1 (-6.0 to -2.2)`, in percent of what it was."""
    before = row[f"{name}_before"]
    if not before:
        return None
    numbers = (100 * row[f"{name}_{end}"] / abs(before) for end in ("difference", "low", "high"))
    return "{:+.1f} ({:+.0f} to {:+.0f})".format(*numbers)


def _parts(row):
    """`-3.6, -0.7`: the parts of the difference of content, in percent of it before."""
    before = row["content_before"]
    parts = (100 * row[f"by_{part}"] / abs(before) for part in ("concentration", "volume"))
    return "{:+.1f}, {:+.1f}".format(*parts) if before else None


def _title(name):
    """Of a map; "any" is the volume, which no map decides."""
    return "" if name == "any" else display_of(name).title
