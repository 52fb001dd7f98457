"""The scans of one examination as the renderer needs them: what each class of the object gives, and the file names."""

from dataclasses import dataclass, replace

import numpy as np

from ..acquisition import Role
from ..units import GYROMAGNETIC_RATIO, hz_per_ppm
from .gadolinium import gadolinium_uptake
from .protocol import default_protocol
from .sequences import B1_AXIS, Afi, Bssfp, SpoiledGre
from .spin_echo import MultiSpinEcho
from .tissue import INDEX, texture_coefficients
from .transfer import BOUND_FRACTION

TEXTURE_STEP = 2.0  # SDs of texture over which the slope of the signal is taken
MINUTES = 4  # from the start of one scan to that of the next
SLOWEST = 0.05  # 1/s; air has no rates, and no signal to which they would matter
SIGNAL_UNIT = 20.0  # makes numbers of the size that scanners store
GRAY = ("cortex", "thalamus", "caudate", "putamen", "pallidum", "red nucleus", "substantia nigra", "dentate",
        "cerebellar cortex")  # fmt: skip
_TITLES = {
    "MEGRE": "multi-echo GRE",
    "VFA": "flip-angle series",
    "MESE": "multi-echo spin echo",
    "TB1AFI": "transmit field",
    "RB1COR": "receive field",
}


@dataclass(frozen=True, eq=False)
class Run:
    """One series of images with the same head pose.

    Attributes:
        planned: index of the scan in the protocol; runs of one scan share the pose.
        role, sequence: what is scanned.
        entities, suffix: of the file name, `entities` with `{subject}` and, where echoes may stand, `{echo}`.
        sidecar: fields that all echoes share.
        repetition: which of the two repetitions of AFI, or which echo of a multi-echo spin echo, each a run by itself.
        reference: whether the truth lies on the grid and in the pose of this scan.
        has_phase, coil, contrast: whether the phase is kept, "head" or "body", whether gadolinium was given.
        field_strength: T. transfer: whether a bound pool takes part.
    """

    planned: int
    role: Role
    sequence: object
    entities: str
    suffix: str
    sidecar: dict
    field_strength: float
    repetition: int = 0
    reference: bool = False
    has_phase: bool = False
    coil: str = "head"
    contrast: bool = False
    transfer: bool = False

    @property
    def title(self):
        """What progress calls it."""
        return "bSSFP" if self.role is Role.BSSFP else _TITLES.get(self.suffix, self.suffix)

    @property
    def echo_times(self):
        """Echo time of each image, s."""
        times = self.sequence.echo_times
        return times[self.repetition :][:1] if self.role is Role.SPIN_ECHO else times

    @property
    def cycle_time(self):
        """Repetition time over which bSSFP precesses, s."""
        return self.sequence.repetition_time if isinstance(self.sequence, Bssfp) else 0.0

    @property
    def cycle_phase(self):
        """Phase-cycling increment, rad."""
        return self.sequence.phase_cycle if isinstance(self.sequence, Bssfp) else 0.0

    @property
    def decay_times(self):
        """Time for which the signal decays by `decay`, s; bSSFP and spin-echo trains are given at the echo."""
        return (0.0,) if isinstance(self.sequence, (Bssfp, MultiSpinEcho)) else self.sequence.echo_times

    @property
    def phase_times(self):
        """Time for which the phase grows outside the sequence's own formula, s."""
        own = isinstance(self.sequence, Bssfp) or self.sequence.spin_echo
        return (0.0,) * len(self.decay_times) if own else self.sequence.echo_times

    def decay(self, patient):
        """Rate of decay of every class and its slope per SD of texture, float32 [class, 2], 1/s."""
        values, slopes = self._rates(patient)
        column = 1 if not isinstance(self.sequence, Bssfp) and self.sequence.spin_echo else 2
        return np.stack([values[:, column], slopes[:, column]], -1).astype(np.float32)

    def table(self, patient):
        """Signal of every class: float32 [class, B1_AXIS, 3, 2] as `render` wants it."""
        values, slopes = self._rates(patient)
        bound = _bound_fraction(patient.table) if self.transfer else np.zeros(len(values))
        still = self._signal(values, bound)
        moved = self._signal(values + TEXTURE_STEP * slopes, bound)
        return np.stack([still, (moved - still) / TEXTURE_STEP], -1).astype(np.float32)

    def files(self, subject):
        """Entities and sidecar of each echo: list of (text, dictionary)."""
        if len(self.sequence.echo_times) == 1:
            entities = self.entities.format(subject=subject, echo="")
            return [(entities, self.sidecar | {"EchoTime": _clean(self.echo_times[0])})]
        first = 1 + (self.repetition if self.role is Role.SPIN_ECHO else 0)
        return [
            (
                self.entities.format(subject=subject, echo=f"_echo-{number}"),
                self.sidecar | {"EchoTime": _clean(time), "EchoNumber": number},
            )
            for number, time in enumerate(self.echo_times, first)
        ]

    def _rates(self, patient):
        """R1, R2, R2*, PD of every class and their slopes per SD of texture; after contrast with its uptake."""
        relative, absolute = texture_coefficients(patient.table)
        values = patient.table.values.astype(np.float64)
        slopes = (values * relative + absolute)[:, :4]
        values = values[:, :4]
        if self.contrast:
            uptake = gadolinium_uptake(self.field_strength)
            added = np.array([uptake.r1, uptake.r2, uptake.r2star, 0.0])
            values = values + patient.table.gadolinium[:, None] * added
        return values, slopes

    def _signal(self, values, bound):
        """A, a, b of classes with the given rates, float64 [class, B1_AXIS, 3]; A is 0 where nothing gives signal."""
        r1, r2 = (np.maximum(values[:, column], SLOWEST) for column in (0, 1))
        if isinstance(self.sequence, Bssfp):
            out = self.sequence.coefficients(r1, r2, bound)
        else:
            out = np.zeros((len(values), len(B1_AXIS), 3))
            out[..., 0] = self._amplitudes(r1, r2, bound)
        out[..., 0] *= SIGNAL_UNIT * values[:, 3:4]
        return out

    def _amplitudes(self, r1, r2, bound):
        if isinstance(self.sequence, SpoiledGre):
            return self.sequence.amplitudes(r1, r2, bound)
        if isinstance(self.sequence, (Afi, MultiSpinEcho)):
            return self.sequence.amplitudes(r1, r2, self.repetition)
        return self.sequence.amplitudes(r1)


def _bound_fraction(table):
    """Bound pool of every class."""
    fraction = np.zeros(len(table.values))
    white = np.isin(table.tissue, [INDEX["white matter"], INDEX["brain stem"]])
    fraction[white] = BOUND_FRACTION["white matter"]
    fraction[np.isin(table.tissue, [INDEX[name] for name in GRAY])] = BOUND_FRACTION["gray matter"]
    fraction[table.lesion > 0] = BOUND_FRACTION["lesion"]
    return fraction


def examination(options):
    """The runs of the protocol, the reference scan first."""
    runs, flips = [], {}
    for planned, scan in enumerate(default_protocol(options.field_strength, options.protocol)):
        sequence, role = scan.sequence, scan.role
        if isinstance(sequence, SpoiledGre):
            sequence = replace(sequence, spoiling_increment=options.spoiling_increment)
        common = {
            "MagneticFieldStrength": options.field_strength,
            "ImagingFrequency": round(hz_per_ppm(options.field_strength), 6),
            "Manufacturer": "Simulated",
            "ManufacturersModelName": "digital patient",
            "MRAcquisitionType": "3D",
            "SeriesNumber": planned + 1,
            "AcquisitionTime": f"{10 + planned * MINUTES // 60:02}:{planned * MINUTES % 60:02}:00",
        }
        if hasattr(sequence, "flip_angle"):
            common["FlipAngle"] = _clean(np.rad2deg(sequence.flip_angle))
        flip = flips.setdefault(role, {})
        number = flip.setdefault(getattr(sequence, "flip_angle", 0.0), len(flip) + 1)
        run = Run(planned, role, sequence, "", "", common, options.field_strength, reference=scan.reference)
        runs += _named(run, number, options.magnetization_transfer)
    return sorted(runs, key=lambda run: (not run.reference, run.planned))


def _named(run, flip_number, transfer):  # noqa: PLR0911 - one return for each role
    """The run with its file name and the sidecar fields that depend on the role; several runs where they repeat."""
    sequence, sidecar = run.sequence, run.sidecar
    spoiled = {
        "PulseSequenceType": "SPGR",
        "ScanningSequence": "GR",
        "SpoilingState": True,
        "SpoilingType": "COMBINED",
    }
    if isinstance(sequence, SpoiledGre):
        repetition = {"RepetitionTimeExcitation": _clean(sequence.repetition_time)}
        spoiled["SpoilingRFPhaseIncrement"] = _clean(np.rad2deg(sequence.spoiling_increment))
        run = replace(run, sidecar=sidecar | spoiled | repetition, transfer=transfer)
    match run.role:
        case Role.MULTI_ECHO_GRE:
            return [replace(run, entities="anat/{subject}{echo}", suffix="MEGRE", has_phase=True)]
        case Role.SPOILED_GRE:
            entities = f"anat/{{subject}}{{echo}}_flip-{flip_number}"
            return [replace(run, entities=entities, suffix="VFA", has_phase=len(sequence.echo_times) > 1)]
        case Role.SPIN_ECHO:
            fields = {"RepetitionTime": _clean(sequence.repetition_time), "ScanningSequence": "SE"}
            run = replace(run, entities="anat/{subject}{echo}", suffix="MESE", sidecar=sidecar | fields)
            return [replace(run, repetition=n) for n in range(len(sequence.echo_times))]
        case Role.BSSFP:
            degrees = round(float(np.rad2deg(sequence.phase_cycle)))
            fields = {
                "PulseSequenceType": "SSFP",
                "ScanningSequence": "GR",
                "RepetitionTimeExcitation": _clean(sequence.repetition_time),
                "SpoilingRFPhaseIncrement": degrees,
            }
            entities = f"anat/{{subject}}_acq-bssfpPC{degrees}_flip-{flip_number}"
            return [replace(run, entities=entities, suffix="VFA", has_phase=True, sidecar=sidecar | fields,
                            transfer=transfer)]  # fmt: skip
        case Role.AFI:
            spoiled["SpoilingRFPhaseIncrement"] = _clean(np.rad2deg(sequence.spoiling_increment))
            moment = sequence.dephasing / (2 * np.pi * GYROMAGNETIC_RATIO) * 1e6  # rad/mm to mT s/m
            spoiled["SpoilingGradientMoment"] = round(float(moment), 6)
            return [
                replace(
                    run,
                    entities=f"fmap/{{subject}}_acq-tr{n + 1}",
                    suffix="TB1AFI",
                    repetition=n,
                    sidecar=sidecar | spoiled | {"RepetitionTimeExcitation": _clean(time)},
                )
                for n, time in enumerate(sequence.repetition_times)
            ]
        case Role.RECEIVE_BODY | Role.RECEIVE_HEAD:
            coil = "body" if run.role is Role.RECEIVE_BODY else "head"
            return [replace(run, entities=f"fmap/{{subject}}_acq-{coil}", suffix="RB1COR", coil=coil)]
    fields = {"InversionTime": _clean(sequence.inversion_time), "RepetitionTime": _clean(sequence.repetition_time)}
    run = replace(run, sidecar=sidecar | fields, entities="anat/{subject}")
    if run.role is Role.FLAIR:
        return [replace(run, suffix="FLAIR")]
    if run.role is Role.T1W_GADOLINIUM:
        agent = {"ContrastBolusIngredient": "GADOLINIUM"}
        return [replace(run, entities="anat/{subject}_ce-gadolinium", suffix="T1w", contrast=True,
                        sidecar=run.sidecar | agent)]  # fmt: skip
    return [replace(run, suffix="T1w")]


def _clean(number):
    """A number without the rounding of radians and binary fractions."""
    return float(f"{number:.9g}")
