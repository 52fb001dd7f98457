"""Every parameter of estimation and staging: what `slicer-qmri config` prints and `run --config` reads."""

from dataclasses import dataclass

from QMRIEstimationLib.settings import Settings

from .options import StagingOptions


@dataclass(frozen=True)
class StudySettings(Settings):
    """The settings of estimation, and those of staging below them."""

    staging: StagingOptions = StagingOptions()
