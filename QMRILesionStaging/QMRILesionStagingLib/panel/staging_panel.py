"""The panel of QMRILesionStaging: its widgets tied to its parts, and what the buttons do."""

import slicer
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.panel.plot import PanelPlot
from QMRIEstimationLib.scene.record import results_in
from slicer.i18n import tr as _

from ..calls import GRADES, STAGE_NAMES
from ..scene.fill import MAPS, fill, subject_of
from ..scene.record import staging_in
from ..scene.review import override
from ..scene.tables import rows_of
from .lesion_view import LesionView
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
        self._parameters, self._running, self._cancelled, self._refreshing = None, False, False, False
        self.list = Worklist(ui.lesionsTable, self._select)
        self.view = LesionView()
        self.plot = PanelPlot(ui.plotHolder, "QMRILesionStaging", SERIES)
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
        for combo in (ui.stagingComboBox, ui.filterComboBox):
            combo.connect("activated(int)", self._showList)
        ui.profileComboBox.connect("activated(int)", self._again)
        ui.directionsCheckBox.connect("toggled(bool)", self._again)

    def show(self, parameters):
        """Tie the panel to another parameter node, or to none."""
        self._parameters = parameters
        if parameters is None:
            self.view.clear()
        else:
            self.refresh()

    def stop(self):
        """The scene is closed."""
        self._cancelled = True
        self.view.clear()

    def refresh(self):
        """Show the parameters and what the scene holds."""
        if self._parameters is None or self._refreshing:
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
            self._showList()
        finally:
            self._refreshing = False

    def take(self, checked=False):
        fill(self._parameters, slicer.mrmlScene, self.ui.resultsComboBox.currentText)

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
        self.ui.statusLabel.text = text

    def cancel(self, checked=False):
        self._cancelled = True

    def keep(self, checked=False):
        """Keep the reader's call of the selected lesion."""
        lesion = self.list.lesion
        if lesion is None:
            self.ui.statusLabel.text = _("No lesion is selected; select one of the list.")
            return
        stage, rim = self.ui.stageComboBox.currentText, self.ui.rimComboBox.currentText
        try:
            override(
                self._nodes(),
                lesion,
                "" if stage == AUTOMATIC else stage,
                "" if rim == AUTOMATIC else rim,
                self.ui.whyLineEdit.text,
                self._parameters.reader,
            )
        except InputError as error:
            self.ui.statusLabel.text = str(error)
            return
        self._showList()
        self.ui.statusLabel.text = _("Kept for lesion {number}.").format(number=lesion)

    def _apply(self):
        """Stage; returns the sentence for the user."""
        try:
            self._install()
            nodes = self.logic.processParameters(self._parameters, self._progress, self._isCancelled)
        except InputError as error:
            return str(error)
        except Cancelled:
            return _("Cancelled; the scene was not changed.")
        return _("Done: {count} lesions.").format(count=nodes["table"].GetNumberOfRows())

    def _progress(self, fraction, text):
        self.ui.progressBar.value = int(100 * fraction)
        self.ui.statusLabel.text = text
        slicer.app.processEvents()

    def _isCancelled(self):
        slicer.app.processEvents()  # the Cancel button is looked at here
        return self._cancelled

    def _nodes(self):
        return staging_in(slicer.mrmlScene).get(self.ui.stagingComboBox.currentText, {})

    def _rows(self):
        table = self._nodes().get("table")
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
        if not any(getattr(self._parameters, name) for name in MAPS):
            return _("No map is selected; select one, or take those of QMRI Estimation.")
        subjects = {subject_of(getattr(self._parameters, name)) for name in MAPS} - {""}
        if len(subjects) > 1:
            return _("The maps are those of {names}; select maps of one subject and visit.").format(
                names=_(" and ").join(sorted(subjects))
            )
        if self._parameters.lesions is None:
            return _("No lesions are selected; select a mask, labels or a segmentation.")
        if (self._parameters.before is None) != (self._parameters.after is None):
            return _("One T1-weighted image alone shows no enhancement; select both, or none.")
        return ""

    def _showList(self, index=0):
        self.list.show(self._rows(), self.ui.filterComboBox.currentText)

    def _again(self, index=0):
        if self.list.lesion is not None:
            self._select(self.list.lesion)

    def _select(self, lesion):
        """Show a lesion everywhere."""
        nodes = self._nodes()
        row = next(row for row in self._rows() if round(row["lesion"]) == lesion)
        self.view.show(nodes, row, self.ui.directionsCheckBox.checked)
        self.ui.reasonLabel.text = _("Lesion {number}: {reason} Rim {grade}: {why}").format(
            number=lesion, reason=row["reason"], grade=row["rim_grade"], why=row["rim_reason"] or ""
        )
        for combo, name in ((self.ui.stageComboBox, "reader_stage"), (self.ui.rimComboBox, "reader_rim")):
            combo.currentIndex = combo.findText(row.get(name) or AUTOMATIC)
        self.ui.whyLineEdit.text = row.get("reader_reason") or ""
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
