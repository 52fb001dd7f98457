"""The digital MS patient in Slicer's module Sample Data, made on the spot; nothing is downloaded."""

import tempfile
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _

CATEGORY = "Quantitative MRI"
NAME = "QMRIDigitalPatient"
SIZE, VOXEL = (120, 144, 108), ("1.33", "1.33", "1.33")
SEED = 7
PAUSE = 0.05  # s between two looks at the second process


def register():
    """Tell Slicer's Sample Data module about the patient."""
    import SampleData

    if hasattr(SampleData.SampleDataLogic, "registerCustomSampleDataCategory"):  # from Slicer 5.12 on
        SampleData.SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, title=_("Quantitative MRI"))
    icon = Path(__file__).resolve().parents[2] / "Resources" / "Icons" / "QMRIDigitalPatient.png"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        sampleDescription=_(
            "QMRI digital MS patient: raw scans of a simulated patient with lesions; made in a minute."
        ),
        thumbnailFileName=str(icon),
        customDownloader=make_patient,
    )


def make_patient(source=None):
    """Simulate the patient in a second process and load it; returns the image nodes.

    Raises:
        RuntimeError: it could not be made.
    """
    from ..slicer_packages import ensure_packages

    requirements = Path(__file__).resolve().parents[2] / "Resources" / "requirements_QMRIEstimation.txt"
    ensure_packages(requirements, _("QMRI digital MS patient"))
    from QMRIEstimation import QMRIEstimationLogic

    from ..background import BackgroundRun
    from ..scene import wish
    from ..scene.loading import load_bids

    with tempfile.TemporaryDirectory(prefix="qmri-sample-") as folder:
        raw = Path(folder) / "raw"
        words = ["simulate", raw, "--seed", SEED, "--size", *SIZE, "--voxel-size", *VOXEL, "-v"]
        run = BackgroundRun(words, Path(folder) / "log.txt")
        try:
            while run.running:
                slicer.util.showStatusMessage(f"{100 * run.fraction:.0f} % {run.text}")
                slicer.app.processEvents()
                time.sleep(PAUSE)
        finally:
            if run.running:
                run.cancel()
        if run.error:
            raise RuntimeError(run.error)
        loaded = load_bids(raw, slicer.mrmlScene)
    parameters = QMRIEstimationLogic().getParameterNode()
    if not wish.images_of(parameters):  # the panel is ready for Apply, unless the user has filled it already
        wish.take_subject(parameters, *loaded)
    return loaded[0]
