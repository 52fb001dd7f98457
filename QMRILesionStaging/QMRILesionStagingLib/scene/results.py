"""Staged lesions as MRML nodes: a segment a lesion in the colour of its stage, a table, and profiles to plot."""

from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.scene.made import all_or_nothing

from ..calls import COLORS, stage_of_row
from ..lesion_table import LesionTables, tables_of
from .record import STAGING, free_name
from .segments import fill_segments, labels_of
from .tables import fill_table, rows_of

PROFILES = ("Chi", "R2star")
ALONG = "mm from the border"


def add_staging(staging, given, scene, folder_name):
    """Put the lesions of a Staging into the scene; all nodes or, on failure, none.

    Args:
        staging: staging.Staging. given: staging.StagingInput. scene: vtkMRMLScene. folder_name: of the
            subject-hierarchy folder; numbered where there is one already.
    Returns:
        "lesions" -> segmentation with one segment a lesion, "table" -> table node, and for each of Chi and R2star
        "<map> profiles" -> table node and "<map> chart" -> plot chart node, and "rim directions" -> table node with
        what each point of a border shows; without lesions only the table.
    """
    folder_name = free_name(scene, folder_name)
    with all_or_nothing(scene) as made:
        folder = made.folder(f"{folder_name} lesions")
        tables = tables_of(staging)
        nodes = {"table": made.put("vtkMRMLTableNode", f"{folder_name} lesions", folder)}
        fill_table(nodes["table"], tables.rows)
        if staging.lesions:
            node = nodes["lesions"] = made.put("vtkMRMLSegmentationNode", f"{folder_name} stages", folder)
            node.CreateDefaultDisplayNodes()
            made.nodes.append(node.GetDisplayNode())
            fill_segments(node, tables.labels, given.geometry, tables.rows)
            for name in PROFILES:
                if any(name in lesion.profiles for lesion in staging.lesions):
                    title = f"{folder_name} {display_of(name).title} profiles"
                    nodes[f"{name} profiles"] = made.put("vtkMRMLTableNode", title, folder)
                    nodes[f"{name} chart"] = made.put("vtkMRMLPlotChartNode", title, folder)
            nodes["rim directions"] = made.put("vtkMRMLTableNode", f"{folder_name} rim directions", folder)
            fill_profiles(nodes, tables.profiles, tables.rows, made)
            fill_table(nodes["rim directions"], tables.points)
        for key, node in nodes.items():
            node.SetAttribute(STAGING, f"{folder_name}/{key}")
        return nodes


def fill_profiles(nodes, profiles, rows, made):
    """Tables of profiles with three columns a lesion over the distance from its border, and charts of them.

    Args:
        profiles: as `lesion_table.profile_rows`, of all lesions. rows: of the lesion table, for the colours.
        made: made.Made, for the series that are added to the scene.
    """
    stages = {round(row["lesion"]): stage_of_row(row) for row in rows}
    for name in PROFILES:
        own = [row for row in profiles if row["map"] == name]
        if f"{name} profiles" not in nodes or not own:
            continue
        table, chart = nodes[f"{name} profiles"], nodes[f"{name} chart"]
        fill_table(table, _wide(own))
        _chart(
            chart, table, display_of(name), {n: stages[n] for n in stages if any(r["lesion"] == n for r in own)}, made
        )


def tables_in(nodes, reference):
    """lesion_table.LesionTables of a staging in the scene, with the calls of its reader.

    Args:
        nodes: key -> node, as `record.staging_in` gives them. reference: volume on whose grid the lesions are wanted.
    """
    rows = [row | {"lesion": round(row["lesion"])} for row in rows_of(nodes["table"])]
    points = rows_of(nodes["rim directions"]) if "rim directions" in nodes else []
    labels = labels_of(nodes["lesions"], reference)[0] if "lesions" in nodes else None
    return LesionTables(rows, profile_rows_of(nodes), points, labels)


def profile_rows_of(nodes):
    """Profiles of a staging in the scene, as `lesion_table.profile_rows` gives them."""
    found = []
    for name in PROFILES:
        for row in rows_of(nodes[f"{name} profiles"]) if f"{name} profiles" in nodes else ():
            for column, mean in row.items():
                words = column.split()
                if words[0] == "lesion" and len(words) == 2 and mean is not None:
                    low, high = row[f"{column} low"], row[f"{column} high"]
                    found.append({"lesion": int(words[1]), "map": name, "mm": row[ALONG], "mean": mean, "low": low,
                                  "high": high})  # fmt: skip
    return found


def _wide(rows):
    """One row a distance, three columns a lesion."""
    lesions = sorted({row["lesion"] for row in rows})
    columns = [f"lesion {n}{end}" for n in lesions for end in ("", " low", " high")]
    found = {mm: {ALONG: mm} | dict.fromkeys(columns) for mm in sorted({row["mm"] for row in rows})}
    for row in rows:
        for key, end in (("mean", ""), ("low", " low"), ("high", " high")):
            found[row["mm"]][f"lesion {row['lesion']}{end}"] = row[key]
    return list(found.values())


def _chart(chart, table, display, stages, made):
    """A line a lesion, in the colour of its stage."""
    for node in [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]:
        made.scene.RemoveNode(node)
    chart.RemoveAllPlotSeriesNodeIDs()
    chart.SetTitle(f"{display.title} over the distance from the border of the lesion")
    chart.SetXAxisTitle(f"{ALONG}, inside negative")
    chart.SetYAxisTitle(f"{display.title}, {display.unit}")
    for number, stage in stages.items():
        series = made.node("vtkMRMLPlotSeriesNode", f"{display.title} lesion {number}")
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(ALONG)
        series.SetYColumnName(f"lesion {number}")
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleNone)
        series.SetColor(*COLORS[stage])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
