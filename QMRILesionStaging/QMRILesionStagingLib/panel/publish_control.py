"""The buttons that write what was found and read: report, DICOM, readings, agreement."""

from pathlib import Path

import qt
import slicer
from QMRIEstimationLib.errors import InputError
from slicer.i18n import tr as _

from ..scene.record import STAGING, subject_label


class PublishControl:
    """Writes the staging that the panel shows into the chosen folder.

    Args:
        ui: widgets. logic: of the module. review: as for correct_control.CorrectControl.
    """

    def __init__(self, ui, logic, review):
        self._ui, self._logic, self._review = ui, logic, review
        ui.reportButton.connect("clicked(bool)", self.report)
        ui.dicomButton.connect("clicked(bool)", self.dicom)
        ui.readingsButton.connect("clicked(bool)", self.readings)
        ui.agreementButton.connect("clicked(bool)", self.agreement)

    def refresh(self):
        """Enable what can be written."""
        nodes = self._review.nodes()
        for button in (self._ui.reportButton, self._ui.dicomButton):
            button.enabled = "lesions" in nodes and not self._review.parameters.blind
        self._ui.readingsButton.enabled = "readings" in nodes

    def report(self, checked=False):
        self._write(lambda nodes, label, folder: [self._logic.writeReport(nodes, folder / f"{label}.html", label)])

    def dicom(self, checked=False):
        self._write(lambda nodes, label, folder: self._logic.writeDicom(nodes, folder, label))

    def readings(self, checked=False):
        self._write(lambda nodes, label, folder: self._logic.exportReadings(nodes, folder))

    def agreement(self, checked=False):
        self._write(lambda nodes, label, folder: [self._logic.compareReadings(folder)])

    def _write(self, write):
        text = ""
        with slicer.util.tryWithErrorDisplay(_("The files could not be written."), waitCursor=True):
            try:
                folder = self._folder()
                nodes = self._review.nodes()
                names = write(nodes, self._label(nodes), folder)
                files = ", ".join(Path(name).name for name in names)
                text = _("Written into {folder}: {files}.").format(folder=folder, files=files)
            except InputError as error:
                text = str(error)
        self._review.say(text)

    def _label(self, nodes):
        if self._review.parameters.label.strip():
            return self._review.parameters.label.strip()
        return subject_label(nodes["table"].GetAttribute(STAGING).rpartition("/")[0]) if nodes else ""

    def _folder(self):
        text = self._ui.publishPathLineEdit.currentPath
        if not text:
            raise InputError(_("No folder is chosen; choose where the files are to be written."))
        if not qt.QFileInfo(text).isDir():
            raise InputError(_("{folder}: there is no such folder; choose another.").format(folder=text))
        return Path(text)
