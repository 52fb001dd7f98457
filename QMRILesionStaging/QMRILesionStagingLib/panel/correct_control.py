"""The buttons that correct the lesions themselves: merge, split, delete, draw, take the drawing over, undo."""

import slicer
from QMRIEstimationLib.errors import InputError
from slicer.i18n import tr as _

from ..scene.segments import segment_id


class CorrectControl:
    """Corrects the staging that the panel shows.

    Args:
        ui: widgets. review: has `nodes()`, `lesions()` (numbers of the selected rows), `parameters`, `reason()`,
            `say(text)` and `corrected(lesions)`, which is called with the numbers that were staged again.
    """

    def __init__(self, ui, review):
        self._ui, self._review, self._known = ui, review, {}
        for button, slot in (
            (ui.mergeButton, self.merge),
            (ui.splitButton, self.split),
            (ui.deleteButton, self.delete),
            (ui.drawButton, self.draw),
            (ui.takeButton, self.take),
            (ui.undoButton, self.undo),
        ):
            button.connect("clicked(bool)", slot)

    def refresh(self):
        """Enable what can be done now."""
        nodes, blind = self._review.nodes(), self._review.parameters.blind
        identity = nodes["table"].GetID() if nodes else None
        self._known = {name: known for name, known in self._known.items() if name == identity}
        there = "lesions" in nodes and not blind
        count = len(self._review.lesions())
        for button, possible in (
            (self._ui.mergeButton, count > 1),
            (self._ui.splitButton, count == 1),
            (self._ui.deleteButton, count > 0),
            (self._ui.drawButton, count == 1),
            (self._ui.takeButton, True),
            (self._ui.undoButton, any(known.can_undo for known in self._known.values())),
        ):
            button.enabled = there and possible

    def merge(self, checked=False):
        self._do(lambda corrections, *signed: corrections.merge(self._review.lesions(), *signed))

    def split(self, checked=False):
        points = self._review.parameters.points
        seeds = None if points is None else slicer.util.arrayFromMarkupsControlPoints(points, world=True)
        self._do(lambda corrections, *signed: corrections.split(self._review.lesions()[0], *signed, seeds))

    def delete(self, checked=False):
        self._do(lambda corrections, *signed: corrections.delete(self._review.lesions(), *signed))

    def take(self, checked=False):
        self._do(lambda corrections, *signed: corrections.take_drawing(*signed))

    def undo(self, checked=False):
        self._do(lambda corrections, reader, reason: corrections.undo(reader) or [])

    def draw(self, checked=False):
        """Open the selected lesion in the Segment Editor."""
        from ..scene.case import reference_of

        nodes = self._review.nodes()
        try:
            reference = reference_of(nodes["table"])
        except InputError as error:
            self._review.say(str(error))
            return
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.SegmentEditorWidget.editor
        editor.setSegmentationNode(nodes["lesions"])
        editor.setSourceVolumeNode(reference)
        editor.setCurrentSegmentID(segment_id(nodes, self._review.lesions()[0]))

    def _corrections(self):
        """Corrections of the staging, the same object as long as it is the same staging: it knows how to undo."""
        from ..scene.correct import Corrections  # brings the engine

        nodes = self._review.nodes()
        identity = nodes["table"].GetID()
        if identity not in self._known:
            self._known[identity] = Corrections(nodes)
        return self._known[identity]

    def _do(self, change):
        lesions = None
        with slicer.util.tryWithErrorDisplay(_("The lesions could not be corrected."), waitCursor=True):
            try:
                lesions = change(self._corrections(), self._review.parameters.reader, self._review.reason())
            except InputError as error:
                self._review.say(str(error))
        if lesions is not None:
            self._review.corrected(lesions)
