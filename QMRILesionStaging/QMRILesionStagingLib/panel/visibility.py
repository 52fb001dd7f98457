"""Which lesions are shown: a box for each stage, and closed surfaces in the 3-D views."""

from ..calls import STAGE_NAMES, stage_of_row
from ..scene.segments import segment_id
from ..scene.tables import rows_of


class Visibility:
    """Shows and hides segments by the stage that counts.

    Args:
        ui: widgets. nodes: function giving key -> node of the staging that the panel shows.
    """

    def __init__(self, ui, nodes):
        self._ui, self._nodes = ui, nodes
        self._boxes = dict(zip(STAGE_NAMES, (getattr(ui, f"show{n}CheckBox") for n in range(5)), strict=True))
        for box in self._boxes.values():
            box.connect("toggled(bool)", self.show)
        ui.surfacesCheckBox.connect("toggled(bool)", self.surfaces)

    def show(self, checked=False):
        """Bring what is seen up to date."""
        nodes = self._nodes()
        if "lesions" not in nodes or nodes["lesions"].GetDisplayNode() is None:
            return
        display = nodes["lesions"].GetDisplayNode()
        for row in rows_of(nodes["table"]):
            segment = segment_id(nodes, round(row["lesion"]))
            if segment:
                display.SetSegmentVisibility(segment, self._boxes[stage_of_row(row)].checked)

    def surfaces(self, checked=False):
        """Make closed surfaces, or take them away."""
        node = self._nodes().get("lesions")
        if node is None:
            return
        if checked:
            node.CreateClosedSurfaceRepresentation()
        else:
            node.RemoveClosedSurfaceRepresentation()
