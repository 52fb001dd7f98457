"""What may be varied in the digital MS patient, beside size, voxel size and seed."""

import math
from dataclasses import dataclass

from ..parameters import Options, choice, flag, param
from .protocol import PROTOCOLS


@dataclass(frozen=True)
class PatientOptions(Options):
    """The patient and the conditions of the scan; the same for every subject of a data set."""

    field_strength: float = choice(3.0, (1.5, 3.0, 7.0), "main field, tesla")
    protocol: str = choice(
        "standard",
        PROTOCOLS,
        "what is scanned: resume has two flip angles of two echoes, spin-echo a multi-echo spin echo instead of bSSFP",
    )
    spoiling_increment: float = param(
        math.radians(50), "rad", 0.0, 2 * math.pi, "RF spoiling increment of the spoiled gradient echoes"
    )
    snr: float = param(
        40.0, "", 2.0, 1000.0, "white-matter magnitude at the shortest echo of the multi-echo scan over the noise SD"
    )
    lesion_count: int = param(24, "", 0, 80, "white-matter lesions; the kinds that every patient shows come first")
    obliquity: float = param(
        0.0, "rad", 0.0, math.pi / 4, "angle between the slices of the multi-echo scan and the axial plane"
    )
    b1_spread: float = param(0.25, "", 0.0, 0.5, "half range of the transmit field over the head at 3 T, as a ratio")
    motion: bool = flag(False, "head motion between the scans")
    motion_size: float = param(
        2.0, "mm", 0.0, 10.0, "SD of the shift along each axis; the SD of each rotation is as many degrees"
    )
    magnetization_transfer: bool = flag(False, "two-pool magnetization transfer in spoiled GRE and bSSFP")
    phase_offset: float = param(2.0, "rad", 0.0, 6.0, "size of the smooth phase at echo time 0")
    shim_residual: float = param(
        0.15, "", 0.0, 1.0, "share of the second-order field over the brain that the shim leaves"
    )
