"""A run seen by the user: progress with the time left, Cancel, and one sentence at the end with the details below."""

import qt
import slicer
from slicer.i18n import tr as _

from ..errors import Cancelled, InputError
from ..scene.record import MAPS

INTERVAL = 200  # ms between two looks at the second process


class RunControl:
    """Looks after one run at a time through a timer, so that the window stays alive.

    `done(nodes)` is called with the nodes of the results, {} after a failure; `changed()` when a run begins or ends.
    """

    def __init__(self, ui, done, changed):
        self._ui, self._done, self._changed = ui, done, changed
        self._run = None
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL)
        self._timer.connect("timeout()", self.look)
        ui.cancelButton.connect("clicked(bool)", self.cancel)

    @property
    def running(self):
        """Whether a run is going on."""
        return self._run is not None

    def start(self, run):
        """Look after a run (see `scene.run.SceneRun`)."""
        self._run = run
        self._ui.detailsTextEdit.plainText = ""
        self._timer.start()
        self._changed()
        self.look()

    def look(self):
        """Show how far it is, and end it when it is done."""
        if self._run is None:
            return
        if self._run.running:
            self._ui.progressBar.value = int(100 * self._run.fraction)
            self._ui.statusLabel.text = self._run.text + _time_left(self._run.seconds_left)
            return
        self._end()

    def cancel(self, checked=False):
        """Stop the run; nothing of it is left."""
        if self._run is not None:
            self._run.cancel()
            self._end()

    def _end(self):
        run, self._run = self._run, None
        self._timer.stop()
        self._ui.detailsTextEdit.plainText = run.output
        nodes, notes = {}, ()
        try:
            nodes, notes = run.finish(slicer.mrmlScene)
            text = _("Done: {names}.").format(names=", ".join(n.GetName() for key, n in nodes.items() if key in MAPS))
        except Cancelled:
            text = _("Cancelled; the scene was not changed.")
        except InputError as error:
            text = str(error)
            self._ui.detailsCollapsibleButton.collapsed = False
        if notes:
            self._ui.detailsTextEdit.plainText = "\n".join(f"- {note}" for note in notes)
            text += " " + _("{count} note(s), see Details.").format(count=len(notes))
        self._ui.progressBar.value = 0
        self._done(nodes)
        self._ui.statusLabel.text = text


def _time_left(seconds):
    if seconds is None:
        return ""
    if seconds > 90:
        return ", " + _("about {minutes} min left").format(minutes=round(seconds / 60))
    return ", " + _("about {seconds} s left").format(seconds=max(5 * round(seconds / 5), 5))
