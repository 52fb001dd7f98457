"""What was scanned: one Scan for every run of a pulse sequence, one Session for everything of one visit."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from .geometry import Geometry
from .noise import Noise


class Role(Enum):
    """What a scan is used for."""

    MULTI_ECHO_GRE = "multi-echo GRE"
    SPOILED_GRE = "spoiled GRE"
    BSSFP = "bSSFP"
    SPIN_ECHO = "multi-echo spin echo"
    AFI = "actual flip angle imaging"
    DOUBLE_ANGLE = "double angle"
    B1_MAP = "transmit field map"
    RECEIVE_BODY = "body-coil reference"
    RECEIVE_HEAD = "head-coil reference"
    T1W = "T1-weighted"
    T1W_GADOLINIUM = "T1-weighted after gadolinium"
    FLAIR = "FLAIR"


@dataclass(frozen=True, eq=False)
class Scan:
    """One run of a pulse sequence: every echo shares flip angle, repetition time and grid.

    A variable-flip-angle series is one Scan for each angle, a bSSFP series one for each phase cycle, AFI one for
    each repetition time. Images are read when asked for, so that a session costs memory only where it is used.

    Attributes:
        role: what the scan is used for.
        name: how the user knows it (file or node name), used in messages.
        geometry: the grid, with B0 direction and acquired voxel size.
        read: function returning (magnitude, phase): float32 [echo, k, j, i]; phase wrapped, in rad, with the sign it
            was stored with, or None. Called each time the images are needed; raises InputError.
        echo_times: s, ascending, one for each image of the first axis.
        flip_angle: nominal, rad. repetition_time: s. spoiling_increment: rad. phase_cycle: rad (bSSFP).
        spoiling_dephasing: by the spoiler gradients of one repetition, rad/mm.
        field_strength: T. imaging_frequency: Hz.
        has_phase: whether `read` returns a phase.
        phase_problem: why the phase cannot be used for susceptibility, as a sentence with its cure; empty when it can.
        phase_polarity: sign of the phase by the header: +1 for exp(+i 2 pi df TE), -1 for the opposite, 0 when the
            header is silent.
        header: fields of the sidecar of the first image, for comparing the gain of scans; empty when unknown.
        sources: names of the files or nodes the scan was made from, for the record.
        origin: where each parameter came from (parameter name -> "sidecar", "node attribute", ...).
        notes: what was found and mended or is doubtful, one sentence each.
        noise: that of the images, where they are not as they were measured; None where it is to be measured.
    """

    role: Role
    name: str
    geometry: Geometry
    read: Callable
    echo_times: tuple = ()
    flip_angle: float | None = None
    repetition_time: float | None = None
    spoiling_increment: float | None = None
    spoiling_dephasing: float | None = None
    phase_cycle: float | None = None
    field_strength: float | None = None
    imaging_frequency: float | None = None
    has_phase: bool = False
    phase_problem: str = ""
    phase_polarity: int = 0
    manufacturer: str = ""
    is_2d: bool = False
    header: dict = field(default_factory=dict)
    sources: tuple = ()
    origin: dict = field(default_factory=dict)
    notes: tuple = ()
    noise: Noise | None = None


@dataclass(frozen=True, eq=False)
class GivenField:
    """A stage of susceptibility mapping that was done elsewhere.

    Attributes:
        kind: unwrapped_phase, total_field or local_field. name: how the user knows it, for messages.
        read: function returning (float32 [volume, k, j, i], Geometry, unit); 0 where not known. An unwrapped phase is
            in rad and has one volume for each echo, in the order of the echo times; a field is in Hz or ppm, positive
            where the Larmor frequency is higher. Raises InputError.
        sources: names of the files or nodes it was read from.
    """

    kind: str
    name: str
    read: Callable
    sources: tuple = ()


@dataclass(frozen=True, eq=False)
class Session:
    """Everything scanned in one visit of one subject, and what a rater drew on it.

    Attributes:
        subject, session: labels without prefix; session is "" when there is none.
        scans: all usable scans.
        brain_mask, lesions, tissue: None or a function returning (array [k, j, i], Geometry); tissue returns the
            label names as third item; lesions are labels, or probabilities as floats.
        ready: name of a map -> function returning it as maps.QuantitativeMap on its own grid, for maps that are given.
        fields: kind -> GivenField, for stages of susceptibility mapping that are given.
        notes: sentences about the session as a whole.
    """

    subject: str
    session: str = ""
    scans: tuple = ()
    brain_mask: Callable | None = None
    lesions: Callable | None = None
    tissue: Callable | None = None
    ready: dict = field(default_factory=dict)
    sources: tuple = ()
    notes: tuple = ()
    fields: dict = field(default_factory=dict)

    def of(self, *roles):
        """The scans with one of the given roles, in the order of their parameters: names of files do not count."""
        return sorted((scan for scan in self.scans if scan.role in roles), key=_order)


def _order(scan):
    values = (scan.flip_angle, scan.repetition_time, scan.phase_cycle)
    return *(value or 0.0 for value in values), scan.echo_times, scan.name


def acquisition_parameters(scan):
    """What the scan was made with, in BIDS names and units (s, degrees, T)."""
    values = {
        "EchoTime": [float(f"{te:.9g}") for te in scan.echo_times],
        "FlipAngle": None if scan.flip_angle is None else float(f"{math.degrees(scan.flip_angle):.9g}"),
        "RepetitionTimeExcitation": scan.repetition_time,
        "MagneticFieldStrength": scan.field_strength,
        "Manufacturer": scan.manufacturer or None,
    }
    return {name: value for name, value in values.items() if value is not None}
