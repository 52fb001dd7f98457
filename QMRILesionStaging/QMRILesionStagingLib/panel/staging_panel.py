"""The panel of QMRILesionStaging: its widgets tied to its parts, and what the buttons do."""

import slicer
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.panel.plot import PanelPlot
from QMRIEstimationLib.scene.record import results_in
from slicer.i18n import tr as _

from ..calls import GRADES, STAGE_NAMES
from ..scene.fill import MAPS, fill, subject_of
from ..scene.readings import keep_reading, order_of, readings_of
from ..scene.record import STAGING, staging_in
from ..scene.review import override
from ..scene.segments import hide_call, segment_of, show_call
from ..scene.tables import rows_of
from .correct_control import CorrectControl
from .lesion_view import LesionView
from .publish_control import PublishControl
from .visibility import Visibility
from .worklist import FILTERS, Worklist

AUTOMATIC = "automatic"
MEAN, LOW, HIGH = "mean", "95 % low", "95 % high"
SERIES = {MEAN: ((0.0, 0.45, 0.70), True), LOW: ((0.6, 0.75, 0.85), True), HIGH: ((0.6, 0.75, 0.85), True)}
PROFILES = {"QSM": "Chi profiles", "R2*": "R2star profiles"}
UNITS = {"QSM": "ppm", "R2*": "1/s"}


class StagingPanel:
    """What happens when something is clicked; computes nothing itself.

    `show(parameters)` ties the panel to a parameter node (None: to nothing); `refresh()` shows what changed in it.
    """

    def __init__(self, ui, logic, install):
        self.ui, self.logic, self._install = ui, logic, install
        self.parameters, self._running, self._cancelled, self._refreshing = None, False, False, False
        self._hidden = None  # what is hidden from a blind reader: name of the staging, or None
        self.list = Worklist(ui.lesionsTable, self._select)
        self.view = LesionView()
        self.plot = PanelPlot(ui.plotHolder, "QMRILesionStaging", SERIES)
        self.correct = CorrectControl(ui, self)
        self.publish = PublishControl(ui, logic, self)
        self.visibility = Visibility(ui, self.nodes)
        ui.filterComboBox.addItems(list(FILTERS))
        ui.profileComboBox.addItems(list(PROFILES))
        ui.stageComboBox.addItems([AUTOMATIC, *STAGE_NAMES])
        ui.rimComboBox.addItems([AUTOMATIC, *GRADES])
        for button, slot in (
            (ui.fillButton, self.take),
            (ui.applyButton, self.apply),
            (ui.cancelButton, self.cancel),
            (ui.previousButton, lambda checked=False: self.list.step(-1)),
            (ui.nextButton, lambda checked=False: self.list.step(1)),
            (ui.keepButton, self.keep),
        ):
            button.connect("clicked(bool)", slot)
        ui.stagingComboBox.connect("activated(int)", self.refresh)
        ui.filterComboBox.connect("activated(int)", self._showList)
        ui.profileComboBox.connect("activated(int)", self._again)
        ui.directionsCheckBox.connect("toggled(bool)", self._again)

    def show(self, parameters):
        """Tie the panel to another parameter node, or to none."""
        self.parameters = parameters
        if parameters is None:
            self.view.clear()
        else:
            self.refresh()

    def stop(self):
        """The scene is closed."""
        self._cancelled = True
        self.view.clear()

    def refresh(self, index=0):
        """Show the parameters and what the scene holds."""
        if self.parameters is None or self._refreshing:
            return
        self._refreshing = True
        try:
            for combo, names in (
                (self.ui.resultsComboBox, results_in(slicer.mrmlScene)),
                (self.ui.stagingComboBox, staging_in(slicer.mrmlScene)),
            ):
                if [combo.itemText(n) for n in range(combo.count)] != sorted(names):
                    combo.clear()
                    combo.addItems(sorted(names))
                combo.enabled = bool(names)
            self.ui.fillButton.enabled = self.ui.resultsComboBox.count > 0
            self._showState()
            self._hide()
            self._showList()
        finally:
            self._refreshing = False

    def take(self, checked=False):
        fill(self.parameters, slicer.mrmlScene, self.ui.resultsComboBox.currentText)

    def apply(self, checked=False):
        self._running, self._cancelled, text = True, False, ""
        self._showState()
        try:
            with slicer.util.tryWithErrorDisplay(_("The lesions could not be staged."), waitCursor=True):
                text = self._apply()
        finally:
            self._running = False
            self.ui.progressBar.value = 0
            self.refresh()
        self.say(text)

    def cancel(self, checked=False):
        self._cancelled = True

    def keep(self, checked=False):
        """Keep the reader's call, or blind reading, of the selected lesion."""
        lesion, parameters = self.list.lesion, self.parameters
        if lesion is None:
            self.say(_("No lesion is selected; select one of the list."))
            return
        chosen = (self.ui.stageComboBox.currentText, self.ui.rimComboBox.currentText)
        stage, rim = ("" if text == AUTOMATIC else text for text in chosen)
        try:
            if parameters.blind:
                keep_reading(self.nodes(), lesion, parameters.reader, parameters.years, stage, rim, self.reason())
            else:
                override(self.nodes(), lesion, stage, rim, self.reason(), parameters.reader)
        except InputError as error:
            self.say(str(error))
            return
        self._showList()
        self.visibility.show()
        self.say(_("Kept for lesion {number}.").format(number=lesion))

    def lesions(self):
        """Numbers of the selected lesions."""
        return self.list.lesions

    def reason(self):
        """Why, in the reader's words."""
        return self.ui.whyLineEdit.text

    def say(self, text):
        """One sentence for the user."""
        self.ui.statusLabel.text = text

    def corrected(self, lesions):
        """Show lesions that were staged again."""
        self._showList()
        self.visibility.show()
        self.view.clear()
        self._again()
        names = ", ".join(str(lesion) for lesion in lesions) or _("none")
        self.say(_("Staged again: {names}.").format(names=names))

    def _apply(self):
        """Stage; returns the sentence for the user."""
        try:
            self._install()
            nodes = self.logic.processParameters(self.parameters, self._progress, self._isCancelled)
        except InputError as error:
            return str(error)
        except Cancelled:
            return _("Cancelled; the scene was not changed.")
        self.refresh()
        combo = self.ui.stagingComboBox
        combo.currentIndex = combo.findText(nodes["table"].GetAttribute(STAGING).rpartition("/")[0])
        return _("Done: {count} lesions.").format(count=nodes["table"].GetNumberOfRows())

    def _progress(self, fraction, text):
        self.ui.progressBar.value = int(100 * fraction)
        self.ui.statusLabel.text = text
        slicer.app.processEvents()

    def _isCancelled(self):
        slicer.app.processEvents()  # the Cancel button is looked at here
        return self._cancelled

    def nodes(self):
        """Key -> node of the staging that is reviewed."""
        return staging_in(slicer.mrmlScene).get(self.ui.stagingComboBox.currentText, {})

    def _rows(self):
        table = self.nodes().get("table")
        return rows_of(table) if table is not None else []

    def _showState(self):
        """Enable Apply, or say in its tooltip what is missing."""
        problem = _("The lesions are being staged.") if self._running else self._problem()
        self.ui.applyButton.enabled = not problem
        self.ui.applyButton.toolTip = problem or _("Stage the lesions into a new folder of the scene.")
        self.ui.cancelButton.enabled = self._running
        self.ui.progressBar.visible = self._running
        self.ui.statusLabel.text = problem or _("Ready.")

    def _problem(self):
        if not any(getattr(self.parameters, name) for name in MAPS):
            return _("No map is selected; select one, or take those of QMRI Estimation.")
        subjects = {subject_of(getattr(self.parameters, name)) for name in MAPS} - {""}
        if len(subjects) > 1:
            return _("The maps are those of {names}; select maps of one subject and visit.").format(
                names=_(" and ").join(sorted(subjects))
            )
        if self.parameters.lesions is None:
            return _("No lesions are selected; select a mask, labels or a segmentation.")
        if (self.parameters.before is None) != (self.parameters.after is None):
            return _("One T1-weighted image alone shows no enhancement; select both, or none.")
        return ""

    def _showList(self, index=0):
        rows, reader = self._rows(), self.parameters.reader
        if self.parameters.blind:
            readings = readings_of(self.nodes(), reader)
            self.list.show(rows, "", order_of([round(row["lesion"]) for row in rows], reader), readings)
            self.ui.readLabel.text = _("{read} of {count} read").format(read=len(readings), count=len(rows))
        else:
            self.list.show(rows, self.ui.filterComboBox.currentText)
            self.ui.readLabel.text = ""
        for widget in (self.ui.filterComboBox, self.ui.showCollapsibleButton):
            widget.enabled = not self.parameters.blind
        self.correct.refresh()
        self.publish.refresh()

    def _hide(self):
        """Names and colours of the segments say nothing to a blind reader, and everything again afterwards."""
        wanted = self.ui.stagingComboBox.currentText if self.parameters.blind else None
        if wanted == self._hidden:
            return
        for name in {self._hidden, wanted} - {None}:
            nodes = staging_in(slicer.mrmlScene).get(name, {})
            for row in rows_of(nodes["table"]) if "table" in nodes else ():
                segment = segment_of(nodes, round(row["lesion"]))
                if segment is not None and name == wanted:
                    hide_call(segment)
                elif segment is not None:
                    show_call(segment, row)
        self._hidden = wanted
        self.view.clear()
        self._clearCall()

    def _clearCall(self):
        """Nothing of a lesion is left in the form."""
        self.ui.reasonLabel.text = ""
        self.ui.whyLineEdit.text = ""
        self.ui.stageComboBox.currentIndex = self.ui.rimComboBox.currentIndex = 0

    def _again(self, index=0):
        if self.list.lesion is not None:
            self._select(self.list.lesion)

    def _select(self, lesion):
        """Show a lesion everywhere."""
        nodes = self.nodes()
        row = next(row for row in self._rows() if round(row["lesion"]) == lesion)
        blind = self.parameters.blind
        self.view.show(nodes, row, self.ui.directionsCheckBox.checked and not blind)
        call = {"stage": row.get("reader_stage"), "rim_grade": row.get("reader_rim"), "note": row.get("reader_reason")}
        if blind:
            call = readings_of(nodes, self.parameters.reader).get(lesion, {})
            self.ui.reasonLabel.text = ""
        else:
            self.ui.reasonLabel.text = _("Lesion {number}: {reason}. Rim {grade}: {why}.").format(
                number=lesion, reason=row["reason"], grade=row["rim_grade"], why=row["rim_reason"] or ""
            )
        for combo, name in ((self.ui.stageComboBox, "stage"), (self.ui.rimComboBox, "rim_grade")):
            combo.currentIndex = combo.findText(call.get(name) or AUTOMATIC)
        self.ui.whyLineEdit.text = call.get("note") or ""
        self.correct.refresh()
        self._showProfile(nodes, lesion)

    def _showProfile(self, nodes, lesion):
        which = self.ui.profileComboBox.currentText
        table = nodes.get(PROFILES[which])
        if table is None:
            return
        names = {MEAN: f"lesion {lesion}", LOW: f"lesion {lesion} low", HIGH: f"lesion {lesion} high"}
        rows = rows_of(table)
        curves = {}
        for series, column in names.items():
            pairs = [(row["mm from the border"], row[column]) for row in rows if row.get(column) is not None]
            curves[series] = tuple(zip(*pairs, strict=True)) if pairs else ((), ())
        title = _("{map} of lesion {number}").format(map=which, number=lesion)
        self.plot.show(title, _("mm from the border, inside negative"), UNITS[which], curves)
