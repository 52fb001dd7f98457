"""Staged lesions as MRML nodes: a segment a lesion in the colour of its stage, a table, and profiles to plot."""

import numpy as np
import slicer
import vtk
from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.scene.attributes import PREFIX
from QMRIEstimationLib.scene.made import all_or_nothing

from .calls import COLORS, PRESENT
from .lesion_table import lesion_rows
from .mrml_record import STAGING

TERMINOLOGY = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^301766008^Lesion of Brain~^^~Anatomic codes - DICOM master list~SCT^68523003^Cerebral White Matter~^^"
)
PROFILES = ("Chi", "R2star")


def add_staging(staging, given, scene, folder_name):
    """Put the lesions of a Staging into the scene; all nodes or, on failure, none.

    Args:
        staging: staging.Staging. given: staging.StagingInput. scene: vtkMRMLScene. folder_name: of the
            subject-hierarchy folder.
    Returns:
        "lesions" -> segmentation with one segment a lesion, "table" -> table node, and for each of Chi and R2star
        "<map> profiles" -> table node and "<map> chart" -> plot chart node, and "rim directions" -> table node with
        what each point of a border shows; without lesions only the table.
    """
    with all_or_nothing(scene) as made:
        folder = made.folder(f"{folder_name} lesions")
        nodes = {"table": _table(made, folder, f"{folder_name} lesions", lesion_rows(staging))}
        if staging.lesions:
            nodes["lesions"] = _segmentation(made, folder, f"{folder_name} stages", staging, given.geometry)
            for name in PROFILES:
                if any(name in lesion.profiles for lesion in staging.lesions):
                    table, chart = _profiles(made, folder, folder_name, staging, name)
                    nodes |= {f"{name} profiles": table, f"{name} chart": chart}
            nodes["rim directions"] = _table(made, folder, f"{folder_name} rim directions", _directions(staging))
        for key, node in nodes.items():
            node.SetAttribute(STAGING, f"{folder_name}/{key}")
        return nodes


def _segmentation(made, folder, name, staging, geometry):
    volume = made.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", made.scene.GenerateUniqueName("labels"))
    try:
        slicer.util.updateVolumeFromArray(volume, staging.labels.astype(np.int16))
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
        node = made.put("vtkMRMLSegmentationNode", name, folder)
        node.CreateDefaultDisplayNodes()
        made.nodes.append(node.GetDisplayNode())
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(volume, node)
    finally:
        made.scene.RemoveNode(volume)
    lesions = {lesion.number: lesion for lesion in staging.lesions}
    segmentation = node.GetSegmentation()
    for n in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(n)
        lesion = lesions[segment.GetLabelValue()]
        segment.SetName(f"{lesion.number}: {lesion.stage.stage}" + (", rim" if lesion.rim.grade in PRESENT else ""))
        segment.SetColor(*COLORS[lesion.stage.stage])
        segment.SetTag(segment.GetTerminologyEntryTagName(), TERMINOLOGY)
        for key, value in (("Lesion", lesion.number), ("Stage", lesion.stage.stage), ("Rim", lesion.rim.grade)):
            segment.SetTag(PREFIX + key, str(value))
    return node


def _directions(staging):
    """One row a point of a border: RAS (mm) and what it shows."""
    return [
        dict(zip(("lesion", "x", "y", "z", "state"), (lesion.number, *map(float, point), int(state)), strict=True))
        for lesion in staging.lesions
        if lesion.rim.points is not None
        for point, state in zip(lesion.rim.points, lesion.rim.state, strict=True)
    ]


def _table(made, folder, name, rows):
    """Table node of rows; numbers are numeric columns, what is missing is NaN there and empty in text."""
    node = made.put("vtkMRMLTableNode", name, folder)
    node.SetUseColumnTitleAsColumnHeader(True)
    for column in rows[0] if rows else ("lesion",):
        values = [row[column] for row in rows]
        known = [value for value in values if value is not None]
        if known and all(isinstance(value, (int, float)) for value in known):
            array = vtk.vtkDoubleArray()
            values = [float("nan") if value is None else float(value) for value in values]
        else:
            array = vtk.vtkStringArray()
            values = ["" if value is None else str(value) for value in values]
        array.SetName(column)
        for value in values:
            array.InsertNextValue(value)
        node.AddColumn(array)
    return node


def _profiles(made, folder, folder_name, staging, name):
    """Table with one column a lesion over the distance from the border, and a chart of them."""
    display = display_of(name)
    shown = [lesion for lesion in staging.lesions if name in lesion.profiles]
    along = np.unique(np.concatenate([lesion.profiles[name].along for lesion in shown]))
    table = made.put("vtkMRMLTableNode", f"{folder_name} {display.title} profiles", folder)
    _column(table, "mm from the border", along)
    chart = made.put("vtkMRMLPlotChartNode", f"{folder_name} {display.title} profiles", folder)
    chart.SetTitle(f"{display.title} over the distance from the border of the lesion")
    chart.SetXAxisTitle("mm from the border, inside negative")
    chart.SetYAxisTitle(f"{display.title}, {display.unit}")
    for lesion in shown:
        profile = lesion.profiles[name]
        known = np.isfinite(profile.curve)
        where = np.isin(along, profile.along[known])
        column = f"lesion {lesion.number}"
        for end, curve in (("", profile.curve), (" low", profile.low), (" high", profile.high)):
            values = np.full(len(along), np.nan)
            values[where] = curve[known]
            _column(table, column + end, values)
        series = made.node("vtkMRMLPlotSeriesNode", f"{display.title} {column}")
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("mm from the border")
        series.SetYColumnName(column)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleNone)
        series.SetColor(*COLORS[lesion.stage.stage])
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return table, chart


def _column(table, name, values):
    array = vtk.vtkDoubleArray()
    array.SetName(name)
    for value in values:
        array.InsertNextValue(float(value))
    table.AddColumn(array)
