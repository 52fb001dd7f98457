"""What was drawn on images of the scene: segmentations and label maps as arrays on a grid."""

import numpy as np
import slicer
import vtk

from ..errors import InputError
from ..geometry import SCANNER_Z, Geometry
from ..tissue_names import plain


def geometry_of(node):
    """Geometry of a volume node, where the scene shows it.

    Raises:
        InputError: it holds no image, or lies under a transform that is not linear.
    """
    if node.GetImageData() is None:
        raise InputError(f"{node.GetName()} holds no image; load it again, or select another volume.")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    transform = node.GetParentTransformNode()
    if transform is not None:
        to_world = vtk.vtkMatrix4x4()
        if not transform.GetMatrixTransformToWorld(to_world):
            raise InputError(
                f"{node.GetName()}: is under the transform {transform.GetName()}, which is not linear; harden it first."
            )
        vtk.vtkMatrix4x4.Multiply4x4(to_world, matrix, matrix)
    shape = node.GetImageData().GetDimensions()[::-1]
    return Geometry(tuple(shape), slicer.util.arrayFromVTKMatrix(matrix), None if transform else SCANNER_Z)


def array_of(node):
    """Voxels of a volume, float32 [k, j, i].

    Raises:
        InputError: a value is not finite.
    """
    array = slicer.util.arrayFromVolume(node).astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise InputError(f"{node.GetName()}: {bad} voxels are not finite, expected numbers; load the original image.")
    return array


def drawn(node, reference, what):
    """Labels of a label map or volume on its own grid, or of all segments of a segmentation on that of a volume.

    Args:
        reference: scalar volume that gives the grid for segments.
        what: what was drawn, for the messages.
    Returns:
        int32 [k, j, i], or float32 where the volume holds fractions; Geometry.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        return segments(node, reference, what)[0], geometry_of(reference)
    array = array_of(node)
    return (array.astype(np.int32) if np.array_equal(array, np.rint(array)) else array), geometry_of(node)


def segments(node, reference, what):
    """int32 labels of all segments of a segmentation on the grid of a volume, and their names by label.

    Raises:
        InputError: it has no segment, or nothing is drawn.
    """
    segmentation, scene = node.GetSegmentation(), node.GetScene()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    if not ids:
        raise InputError(f"{node.GetName()}: holds no segment, expected the {what}; draw it, or select another node.")
    chosen = vtk.vtkStringArray()
    for segment in ids:
        chosen.InsertNextValue(segment)
    volume = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", scene.GenerateUniqueName(what))
    try:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        if not logic.ExportSegmentsToLabelmapNode(node, chosen, volume, reference):
            raise InputError(f"{node.GetName()}: its segments cannot be written as labels; check that they are drawn.")
        labels = slicer.util.arrayFromVolume(volume).astype(np.int32)
        return labels, {n: segmentation.GetSegment(segment).GetName() for n, segment in enumerate(ids, 1)}
    finally:
        colors = volume.GetDisplayNode().GetColorNode() if volume.GetDisplayNode() is not None else None
        scene.RemoveNode(volume)
        if colors is not None and not colors.GetHideFromEditors() and colors.GetReferenceCount() <= 1:
            scene.RemoveNode(colors)


def tissue(node, reference):
    """Labels of tissue, Geometry, and label -> name from the colour table or the segments.

    Raises:
        InputError: a label map without a table of names.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        labels, names = segments(node, reference, "tissue labels")
        return labels, geometry_of(reference), {n: plain(name) for n, name in names.items()}
    display = node.GetDisplayNode()
    colors = display.GetColorNode() if display is not None else None
    if colors is None:
        raise InputError(
            f"{node.GetName()}: has no colour table that names its labels; set one, or leave tissue empty."
        )
    labels = array_of(node).astype(np.int32)
    names = {int(n): colors.GetColorName(int(n)) or "" for n in np.unique(labels) if n}
    return labels, geometry_of(node), {n: plain(name) for n, name in names.items() if name}
