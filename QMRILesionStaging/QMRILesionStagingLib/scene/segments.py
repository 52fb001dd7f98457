"""Lesions as segments: one a lesion, named and coloured by the call that counts, read back after a reader drew."""

import zlib

import numpy as np
import slicer
import vtk
from QMRIEstimationLib.scene.attributes import PREFIX
from QMRIEstimationLib.scene.drawings import segments

from ..calls import COLORS, PRESENT, changed, rim_of_row, stage_of_row

TERMINOLOGY = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^301766008^Lesion of Brain~^^~Anatomic codes - DICOM master list~SCT^68523003^Cerebral White Matter~^^"
)
LESION, STAGE, RIM, SHAPE = (PREFIX + name for name in ("Lesion", "Stage", "Rim", "Shape"))  # tags of a segment


def fill_segments(node, labels, geometry, rows):
    """Replace the segments of a node by the lesions of a label image.

    Args:
        labels: int32 [k, j, i]. geometry: its grid. rows: of the lesion table.
    """
    scene, segmentation = node.GetScene(), node.GetSegmentation()
    volume = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", scene.GenerateUniqueName("labels"))
    try:
        slicer.util.updateVolumeFromArray(volume, labels.astype(np.int16))
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
        segmentation.RemoveAllSegments()
        if labels.any():
            slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(volume, node)
    finally:
        scene.RemoveNode(volume)
    by_number = {round(row["lesion"]): row for row in rows}
    for segment in _segments(node):
        number = segment.GetLabelValue()
        segment.SetTag(LESION, str(number))
        segment.SetTag(SHAPE, _shape(labels == number))
        segment.SetTag(segment.GetTerminologyEntryTagName(), TERMINOLOGY)
        show_call(segment, by_number[number])


def show_call(segment, row):
    """Name, colour and tags of the segment of a lesion, by the call that counts."""
    number, stage, rim = round(row["lesion"]), stage_of_row(row), rim_of_row(row)
    mark = " (reader)" if changed(row) else ""
    segment.SetName(f"{number}: {stage}" + (", rim" if rim in PRESENT else "") + mark)
    segment.SetColor(*COLORS[stage])
    segment.SetTag(STAGE, stage)
    segment.SetTag(RIM, rim)


def hide_call(segment):
    """A segment that says nothing of its lesion: for a reading that is blind."""
    segment.SetName(f"{tag_of(segment, LESION)}:")
    segment.SetColor(1.0, 1.0, 0.0)


def segment_of(nodes, lesion):
    """The segment of a lesion, or None."""
    node = nodes.get("lesions")
    found = [s for s in _segments(node) if tag_of(s, LESION) == str(lesion)] if node is not None else []
    return found[0] if found else None


def segment_id(nodes, lesion):
    """Identifier of the segment of a lesion, empty where there is none."""
    segment = segment_of(nodes, lesion)
    return nodes["lesions"].GetSegmentation().GetSegmentIdBySegment(segment) if segment is not None else ""


def tag_of(segment, name):
    """Text of a tag, empty where there is none."""
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def labels_of(node, reference):
    """Labels of the lesions as the segments show them now, and which of them a reader drew anew.

    Args:
        reference: scalar volume on whose grid they are wanted.
    Returns:
        int32 [k, j, i]; set of the numbers whose shape is another than when they were staged. A segment that a reader
        added gets the next number; one that was removed or emptied is in neither.
    """
    shown = _segments(node)
    if not shown:
        return np.zeros(slicer.util.arrayFromVolume(reference).shape, np.int32), set()
    drawn = segments(node, reference, "lesions")[0]
    known = [int(tag_of(segment, LESION) or 0) for segment in shown]
    lookup, number = np.zeros(len(shown) + 1, np.int32), max(known)
    for n, lesion in enumerate(known, 1):
        number += lesion == 0
        lookup[n] = lesion or number
    labels = lookup[drawn]
    there = set(np.unique(labels[labels > 0]).tolist())
    anew = {
        int(lookup[n])
        for n, segment in enumerate(shown, 1)
        if lookup[n] in there and tag_of(segment, SHAPE) != _shape(labels == lookup[n])
    }
    return labels, anew


def _segments(node):
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]


def _shape(mask):
    """Checksum of the voxels of a lesion."""
    return f"{zlib.crc32(np.flatnonzero(mask).astype('<i8').tobytes()):08x}"
