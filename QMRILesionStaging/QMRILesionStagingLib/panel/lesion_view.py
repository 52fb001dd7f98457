"""One lesion shown: slice views go there, its outline is filled, points of its border say where a rim was found."""

import slicer
import vtk

from ..calls import DIRECTIONS

SEEN, DULL = 0.5, 0.0  # opacity of the fill of the selected lesion and of the others
GLYPH = 1.2  # percent of the view


class LesionView:
    """Shows the selected lesion in all slice views; what it adds to the scene is not saved and goes with `clear`."""

    def __init__(self):
        self._points = {}

    def show(self, nodes, row, directions):
        """Go to the lesion of a row of the table; `directions` says whether points are shown."""
        place = [float(row[f"{axis}_ras"]) for axis in "xyz"]
        slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *place, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
        self._fill(nodes, round(row["lesion"]))
        if directions and "rim directions" in nodes:
            self._mark(nodes["rim directions"], round(row["lesion"]))
        else:
            self.clear()

    def clear(self):
        """Take the points away."""
        for node in self._points.values():
            if node.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(node)
        self._points = {}

    def _fill(self, nodes, lesion):
        node = nodes.get("lesions")
        if node is None or node.GetDisplayNode() is None:
            return
        display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
        for n in range(segmentation.GetNumberOfSegments()):
            chosen = segmentation.GetNthSegment(n).GetName().startswith(f"{lesion}:")
            display.SetSegmentOpacity2DFill(segmentation.GetNthSegmentID(n), SEEN if chosen else DULL)

    def _mark(self, table, lesion):
        import numpy as np

        number, x, y, z, state = (
            slicer.util.arrayFromTableColumn(table, name) for name in ("lesion", "x", "y", "z", "state")
        )
        places = np.stack([x, y, z], axis=1)
        for which in DIRECTIONS:
            points = vtk.vtkPoints()
            for place in places[(number == lesion) & (state == which)]:
                points.InsertNextPoint(place)
            self._node(which).SetControlPointPositionsWorld(points)

    def _node(self, which):
        """Points of one state, made once a scene: going on to the next lesion only moves them."""
        name, color = DIRECTIONS[which]
        node = self._points.get(name)
        if node is not None and node.GetScene() is not None:
            return node
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLMarkupsFiducialNode")
        node.UnRegister(None)
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.SetLocked(True)
        shown = node.GetDisplayNode()
        shown.SetSaveWithScene(False)
        shown.SetSelectedColor(*color)
        shown.SetGlyphScale(GLYPH)
        shown.SetPointLabelsVisibility(False)
        self._points[name] = node
        return node
