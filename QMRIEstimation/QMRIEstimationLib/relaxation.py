"""R1, R2 and proton density of a session: which scans serve and in which order."""

from dataclasses import dataclass, field

import numpy as np

from .acquisition import Role
from .errors import InputError, Misaligned
from .flip_series import FlipSeries
from .geometry import Geometry
from .maps import QuantitativeMap
from .phase_cycles import PhaseCycles
from .receive import receive_profile
from .receive_settings import receive_differences
from .relaxometry.pd import proton_density, without_decay
from .relaxometry.r1 import R1_METHODS, SAME_FLIP
from .relaxometry.receive_field import RECEIVE_METHODS
from .resample import nearest_on_grid, sd_on_grid
from .transmit import Transmit

MAPS = ("R1", "R2", "PD")
ROLES = (
    Role.SPOILED_GRE, Role.BSSFP, Role.AFI, Role.DOUBLE_ANGLE, Role.B1_MAP, Role.RECEIVE_BODY, Role.RECEIVE_HEAD,
)  # fmt: skip
STRUCTURE = "flip-angle series"


@dataclass(frozen=True, eq=False)
class RelaxationPlan:
    """What will be made of which scans.

    Attributes:
        flips: spoiled gradient echoes, ascending flip angle. cycles: bSSFP, empty when R2 is not to be made.
        maps: names to make. explicit: whether the user asked for them by name.
    """

    flips: tuple
    cycles: tuple
    maps: tuple
    explicit: bool

    @property
    def steps(self):
        """Names of the steps."""
        names = [STRUCTURE, "transmit field", "R1"]
        return names + [name for name in ("R2", "PD") if name in self.maps]


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What was made of the flip-angle series; every map lies on `geometry`, the grid of that series.

    Attributes:
        magnitude: float32, the largest flip angle. mask: bool, the brain. b1: transmit.TransmitField.
        to_multi_echo: 4x4 from RAS of the multi-echo scan to RAS of the series, or None.
        registrations: scan name -> Registration.
    """

    geometry: Geometry
    magnitude: np.ndarray
    mask: np.ndarray
    maps: dict
    b1: object
    to_multi_echo: np.ndarray | None
    registrations: dict
    figures: dict = field(default_factory=dict)
    notes: tuple = ()


def plan_relaxation(session, wanted, explicit):
    """RelaxationPlan, or None when there is nothing to make R1 of.

    Raises:
        InputError: a map that was asked for cannot be made, or scans are there but lack what R1 needs.
    """
    asked = [name for name in MAPS if name in wanted]
    flips = sorted(session.of(Role.SPOILED_GRE), key=lambda scan: scan.flip_angle or 0)
    if not asked or (not flips and not explicit):
        return None
    cure = f"or leave out {', '.join(asked)} with --maps."
    if not flips:
        raise InputError(
            f"sub-{session.subject}: no spoiled GRE with several flip angles was found, {', '.join(asked)} need "
            f"anat/*_flip-<n>_VFA.nii.gz; add it, {cure}"
        )
    for scan in flips:
        for name, text in (("flip_angle", "FlipAngle"), ("repetition_time", "RepetitionTimeExcitation")):
            if getattr(scan, name) is None:
                raise InputError(f"{scan.name}: {text} is missing, R1 needs it; add it, {cure}")
    angles = [scan.flip_angle for scan in flips]
    if max(angles) - min(angles) < SAME_FLIP:
        shown = ", ".join(f"{np.degrees(a):g}" for a in angles)
        if not explicit and len(flips) == 1:
            return None
        raise InputError(
            f"{flips[0].name}: the flip angles are {shown} degrees, R1 needs two different ones; "
            f"add the other flip angle, {cure}"
        )
    differences = receive_differences({scan.name: scan.header for scan in flips})
    if differences.refused:
        raise InputError(f"sub-{session.subject}: {differences.refused[0].rstrip('.')}, {cure}")
    cycles = tuple(session.of(Role.BSSFP)) if "R2" in wanted else ()
    if "R2" in wanted and not cycles:
        if explicit:
            raise InputError(
                f"sub-{session.subject}: no phase-cycled bSSFP was found, R2 needs anat/*_acq-bssfpPC<deg>_VFA.nii.gz; "
                "add it, or leave out R2 with --maps."
            )
        asked.remove("R2")
    return RelaxationPlan(tuple(flips), cycles, tuple(asked), explicit)


def relaxation_maps(session, plan, multi_echo, settings, steps):
    """Relaxation of a plan.

    Args:
        session: acquisition.Session. plan: RelaxationPlan. multi_echo: multi_echo.MultiEcho or None.
        settings: settings.Settings. steps: steps.Steps.
    Raises:
        InputError, Cancelled.
    """
    steps.start(STRUCTURE)
    series = FlipSeries(session, plan.flips, multi_echo, settings, steps)
    notes = list(series.notes)
    steps.start("transmit field")
    transmit = Transmit(session, series.place, settings)
    steps.start("R1")
    b1 = transmit.field()
    fit = series.fit(b1, None, settings, steps)
    if transmit.scan is None:
        transmit.known = b1 = series.field_from_maps(transmit, fit, multi_echo, settings, steps)
        fit = series.fit(b1, None, settings, steps)
    # The rates enter the spoiling of the series and the AFI a little: once more, now that they are known.
    slow = series.transverse_rates(fit, multi_echo)
    b1, fit = series.refit(transmit, fit, slow, settings, steps)
    made, figures = {}, {"transmit_field": b1.method}
    if "R2" in plan.maps:
        steps.start("R2")
        cycles = _or_note(plan, notes, PhaseCycles, plan.cycles, series, settings)
        if cycles is not None:
            r2, _, _, known = cycles.fit(fit, b1, settings, steps)
            slow = np.where(known, r2, slow)
            b1, fit = series.refit(transmit, fit, slow, settings, steps)
            made["R2"] = cycles.map(cycles.fit(fit, b1, settings, steps), b1)
            notes += cycles.notes
    notes += b1.notes
    if "R1" in plan.maps:
        made["R1"] = series.r1_map(fit, b1, settings)
    if "PD" in plan.maps:
        steps.start("PD")
        found = _or_note(plan, notes, _pd, session, series, fit, b1, multi_echo, settings)
        if found is not None:
            made["PD"], pd_notes = found
            notes += pd_notes
    figures["b1_median_percent"] = round(float(np.median(100 * b1.b1[series.place.mask])), 2)
    return Relaxation(
        geometry=series.place.geometry,
        magnitude=series.place.magnitude,
        mask=series.place.mask,
        maps=made,
        b1=b1,
        to_multi_echo=series.from_multi_echo,
        registrations=series.registrations
        | ({} if transmit.registration is None else {transmit.scan.name: transmit.registration}),
        figures=figures,
        notes=tuple(notes),
    )


def _or_note(plan, notes, make, *arguments):
    """What `make` returns; None and a note when scans cannot be brought together, unless the map was asked for."""
    try:
        return make(*arguments)
    except Misaligned as error:
        if plan.explicit:
            raise
        notes.append(f"{str(error).rstrip('.')}; what needs it was not made.")
        return None


def _pd(session, series, fit, b1, multi_echo, settings):
    """Proton density on the grid of the series, and notes."""
    geometry, mask = series.place.geometry, series.place.mask
    m0, m0_sd, valid = fit.m0, fit.m0_sd, fit.valid
    notes = []
    times = sorted({te for scan in series.scans for te in scan.echo_times[:1]})
    if multi_echo is not None and multi_echo.r2star is not None and times:
        r2star, source = multi_echo.r2star, multi_echo.scan.geometry
        transform = series.registrations[multi_echo.scan.name].ras_transform
        rate, known = series.from_multi_echo_grid(multi_echo)
        rate_sd, _ = sd_on_grid(r2star.sd, source, geometry, transform, r2star.valid)
        m0, m0_sd = without_decay(m0, m0_sd, rate.clip(min=0), rate_sd, times)
        valid = valid & known
    else:
        notes.append("there is no R2* map, so PD still holds the decay until the first echo of the flip-angle series.")
    lesions = None
    if session.lesions is not None:
        drawn, drawn_geometry = session.lesions()[:2]
        lesions = nearest_on_grid(drawn, drawn_geometry, geometry, _drawing_transform(series, multi_echo)) != 0
    receive, sources = receive_profile(session, series.place, m0, fit.r1, valid, lesions, settings)
    result = proton_density(m0, m0_sd, receive, fit.r1, valid, mask, geometry, settings.pd, lesions=lesions)
    method = RECEIVE_METHODS[receive.method]
    notes += [f"PD: {note}" for note in (*receive.notes, result.sentence, *result.notes)]
    return QuantitativeMap(
        name="PD",
        values=result.pd,
        sd=result.sd,
        quality=fit.quality,
        valid=result.valid,
        geometry=geometry,
        algorithm=f"M0 of the flip-angle series; {method.title}; {result.sentence.rstrip('.')}",
        reference=method.reference,
        quality_meaning=R1_METHODS[settings.r1.method].quality_meaning,
        parameters=series.parameters(b1) | {"PDCalibration": result.calibration},
        sources=series.sources + b1.sources + sources,
    ), notes


def _drawing_transform(series, multi_echo):
    """A rater's drawing lies in the space of the multi-echo scan; from RAS of the series to there."""
    return None if multi_echo is None else series.registrations[multi_echo.scan.name].ras_transform
