"""The regions in the report: one row a region, mean and spread of every map, and the iron of nuclei."""

from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.report.page import Html, join, table

from .staging import MAPS

ABOUT = (
    "Mean and standard deviation over the valid voxels of each region, lesions left out. Excess is R2* above that of "
    "gray matter without iron, times volume: it stays when a nucleus shrinks and keeps its iron. Layer 1 of the cortex "
    "is the outermost; voxels of 1 mm hold at most three independent ones. Everything else stands in the table "
    "desc-regions_stats.tsv."
)


def region_section(rows):
    """(id, title, Html). rows: as `regions.region_rows` gives them."""
    maps = [name for name in MAPS if any(row["map"] == name and row["n"] for row in rows)]
    excess = any(row["excess"] is not None for row in rows)
    titles = [f"{display_of(name).title}, {display_of(name).unit}" for name in maps]
    header = ("Region", "ml", *titles, *(("Iron, mg/kg", "Excess, mm³/s") if excess else ()))
    found = {}
    for row in rows:
        if row["n"]:
            found.setdefault(row["region"], {})[row["map"]] = row
    body = table(
        header, [_row(region, own, maps, excess) for region, own in found.items()], numeric=range(1, len(header))
    )
    return (
        "regions",
        "Regions",
        join(
            Html('<section id="regions"><h2>Regions</h2>'),
            body,
            Html('<p class="soft">'),
            ABOUT,
            Html("</p></section>\n"),
        ),
    )


def _row(region, own, maps, excess):
    volume = max(row["volume_mm3"] for row in own.values()) / 1000
    cells = [_cell(own.get(name), display_of(name)) for name in maps]
    iron = own.get("R2star", {})
    told = (_number(iron.get("iron_mg_per_kg"), ".0f"), _number(iron.get("excess"), ".0f")) if excess else ()
    return (region, f"{volume:.2f}", *cells, *told)


def _cell(row, display):
    return None if row is None else f"{display.text(row['mean'])} ({display.text(row['sd'])})"


def _number(value, form):
    return "" if value is None else format(value, form)
