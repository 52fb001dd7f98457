"""Every parameter of the staging, each with the source of its default.

"recalled" stands where the source could not be read again when this was written (NAIMS consensus, Bagnato F et al.
2024, Brain awae013: its abstract was read, its table was not).
"""

from dataclasses import dataclass

from QMRIEstimationLib.parameters import Options, choice, flag, param


@dataclass(frozen=True)
class InstanceOptions(Options):
    """How a mask becomes lesions."""

    split: bool = flag(True, "split confluent lesions into their centres; instance labels are never split")
    threshold: float = param(0.5, "", 0.05, 0.95, "of a probability map: above is lesion")
    neck: float = param(0.8, "", 0.4, 1.0, "parts stay one when their neck is this share as deep as the flatter one")


@dataclass(frozen=True)
class ShellOptions(Options):
    """The white matter that a lesion is compared with."""

    inner: float = param(2.0, "mm", 0.0, 10.0, "distance from the lesion where its reference begins")
    outer: float = param(5.0, "mm", 1.0, 6.0, "distance from the lesion where its reference ends")
    smallest: float = param(50.0, "mm3", 1.0, 5000.0, "white matter that a reference must hold at least")


@dataclass(frozen=True)
class RimOptions(Options):
    """When a lesion has a paramagnetic rim."""

    definite: float = param(2 / 3, "", 0.3, 1.0, "share of the border with rim (NAIMS consensus 2024, recalled)")
    probable: float = param(0.5, "", 0.2, 1.0, "share of the border with rim (half of it counts for some readers)")
    possible: float = param(1 / 3, "", 0.1, 1.0, "share of the border with rim")
    arc: float = param(0.5, "", 0.0, 1.0, "longest arc, of the way around, that a definite rim has")
    slices: int = param(2, "", 1, 10, "consecutive slices with rim that a definite rim has (NAIMS 2024, recalled)")
    sds: float = param(1.0, "", 0.3, 5.0, "a ray shows rim this many SDs of the reference above core and outside")
    floor: float = param(0.005, "ppm", 0.001, 0.05, "and at least this much above them; below is texture of tissue")
    smallest_diameter: float = param(5.0, "mm", 2.0, 20.0, "of a lesion whose rim can be judged (simulation, README)")
    smallest_voxels: float = param(2.5, "", 1.0, 10.0, "of the longest side of the measured voxel that it must span")
    free: float = param(0.5, "", 0.1, 1.0, "share of the border that no other lesion, gray matter or fluid touches")
    found: float = param(0.8, "", 0.0, 1.0, "share of virtual rims found from which on a rim is called absent")
    virtual_core: float = param(0.012, "ppm", -0.05, 0.2, "susceptibility of the core of a virtual rim (assumed)")
    virtual_rim: float = param(0.045, "ppm", 0.0, 0.3, "susceptibility of a virtual rim (assumed)")
    virtual_thickness: float = param(1.5, "mm", 0.5, 4.0, "of a virtual rim (rims are 1 to 2 mm thick)")
    virtual_rims: int = param(5, "", 1, 20, "virtual rims that are tried beside each lesion without rim")


@dataclass(frozen=True)
class EnhancementOptions(Options):
    """When a lesion takes up gadolinium."""

    mean_sds: float = param(2.0, "", 1.0, 10.0, "mean of the lesion in SDs of white matter (Jurcoane A et al. 2013)")
    part_sds: float = param(3.0, "", 1.0, 20.0, "of a part of the lesion in SDs of white matter")
    part_volume: float = param(10.0, "mm3", 1.0, 500.0, "of such a part")
    smallest_rise: float = param(0.08, "", 0.0, 1.0, "of the signal, as a share of that of white matter (assumed)")
    closed: float = param(2 / 3, "", 0.4, 1.0, "share of the border that a closed ring covers")
    open: float = param(1 / 3, "", 0.1, 0.9, "share of the border that an open ring covers")
    delay: float = param(0.0, "min", 0.0, 120.0, "from injection to the scan after it; 0 for unknown")
    long_delay: float = param(15.0, "min", 1.0, 120.0, "after which rings may have filled and look nodular (assumed)")


@dataclass(frozen=True)
class StageOptions(Options):
    """How evidence becomes a stage."""

    prior: str = choice(
        "clinical",
        ("clinical", "equal"),
        "how frequent the stages are before anything is measured: of patients' lesions, or all alike",
    )
    certain: float = param(0.45, "", 0.25, 1.0, "probability from which on a stage is called")
    margin: float = param(0.05, "", 0.0, 1.0, "by which it exceeds that of the next stage")
    smallest_volume: float = param(15.0, "mm3", 0.0, 500.0, "of a lesion that is staged (Zhang S et al. 2018)")


@dataclass(frozen=True)
class StagingOptions(Options):
    """All settings of lesion staging; the names are tables under [staging]."""

    instances: InstanceOptions = InstanceOptions()
    reference: ShellOptions = ShellOptions()
    rim: RimOptions = RimOptions()
    enhancement: EnhancementOptions = EnhancementOptions()
    stage: StageOptions = StageOptions()
