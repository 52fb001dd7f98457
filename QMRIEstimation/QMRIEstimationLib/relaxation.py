"""R1, R2 and proton density of a session: the order in which its scans serve."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from .alignment import motion_note
from .errors import Unusable
from .flip_series import FlipSeries
from .gathering import LonePlace
from .geometry import Geometry
from .phase_cycles import PhaseCycles
from .proton_map import proton_map
from .relaxation_plan import SERIES
from .spin_echo_train import EchoTrain
from .transmit import UNKNOWN_SD, Transmit


@dataclass(frozen=True, eq=False)
class Relaxation:
    """What was made; every map lies on `geometry`, the grid of the place where the scans came together.

    Attributes:
        magnitude: float32, the image of that place. mask: bool, the brain. b1: transmit.TransmitField or None.
        to_multi_echo: 4x4 from RAS of the multi-echo scan to RAS of the place, or None.
        registrations: scan name -> Registration. off_resonance: float32, Hz, of the phase cycles, or None.
    """

    geometry: Geometry
    magnitude: np.ndarray
    mask: np.ndarray
    maps: dict
    b1: object
    to_multi_echo: np.ndarray | None
    registrations: dict
    off_resonance: np.ndarray | None = None
    figures: dict = field(default_factory=dict)
    notes: tuple = ()


class KnownR1(NamedTuple):
    """R1 that was not fitted here, as the part of an R1Fit that R2 needs; float32 and bool [k, j, i], 1/s."""

    r1: np.ndarray
    sd: np.ndarray
    valid: np.ndarray


def relaxation_maps(session, plan, multi_echo, settings, steps, given=MappingProxyType({})):
    """Relaxation of a plan.

    Args:
        session: acquisition.Session. plan: RelaxationPlan. multi_echo: multi_echo.MultiEcho or None.
        settings: settings.Settings. steps: steps.Steps.
        given: name -> QuantitativeMap in the space of the multi-echo scan, which is not estimated.
    Raises:
        InputError, Cancelled.
    """
    steps.start(SERIES)
    made, figures, b1, off_resonance, more = {}, {}, None, None, []
    plan, series = _gathered(session, plan, multi_echo, settings, steps)
    known = {name: series.here(result) for name, result in given.items()}
    series.r2star = known.get("R2star", series.r2star)
    if "R2star" in plan.maps:
        made["R2star"] = series.r2star = series.r2star_map()
    transmit = _transmit(session, plan, series, made, more, settings, steps) if plan.relaxes else None
    if transmit is not None:
        b1, found, off_resonance = _rates(session, plan, series, transmit, known, made, settings, steps)
        more += [*b1.notes, *found]
        figures["transmit_field"] = b1.method
        figures["b1_median_percent"] = round(float(np.median(100 * b1.b1[series.place.mask])), 2)
        if transmit.registration is not None:
            series.registrations[transmit.scan.name] = transmit.registration
    return Relaxation(
        geometry=series.place.geometry,
        magnitude=series.place.magnitude,
        mask=series.place.mask,
        maps=made,
        b1=b1,
        to_multi_echo=series.from_multi_echo,
        registrations=series.registrations,
        off_resonance=off_resonance,
        figures=figures,
        notes=(*plan.notes, *motion_note(series.registrations), *series.notes, *more),
    )


def _transmit(session, plan, series, made, notes, settings, steps):
    """Transmit; None and a note where its scan cannot be aligned but a map is made that does without."""
    steps.start("transmit field")
    try:
        return Transmit(session, series.place, settings)
    except Unusable as error:
        if plan.explicit or not made:
            raise
        lost = ", ".join(name for name in plan.maps if name not in made)
        notes.append(f"{str(error).rstrip('.')}; {lost} were not made.")
        return None


def _gathered(session, plan, multi_echo, settings, steps):
    """The flip-angle series, or the place of R2 alone; and the plan, reduced to R2 where the series does not hold."""
    if plan.flips:
        try:
            return plan, FlipSeries(session, plan.flips, multi_echo, settings, steps, plan.joint)
        except Unusable as error:
            if plan.explicit or plan.train is None:
                raise
            lost = ", ".join(name for name in plan.maps if name != "R2")
            note = f"{str(error).rstrip('.')}; {lost} were not made, and R2 without them."
            plan = replace(plan, flips=(), maps=("R2",), notes=(*plan.notes, note))
    return plan, LonePlace(session, plan.train or plan.cycles[0], multi_echo, settings)


def _rates(session, plan, series, transmit, known, made, settings, steps):
    """Put R1, R2 and PD into `made`, with `known` maps on the same grid; transmit field, notes and off-resonance."""
    r1 = KnownR1(known["R1"].values, known["R1"].sd, known["R1"].valid) if "R1" in known else None
    b1, fit, slow, notes = transmit.field(*((r1.r1, r1.sd) if r1 else ())), None, None, []
    off_resonance = None
    if plan.flips:
        steps.start("R1")
        fit = series.fit(b1, None, settings, steps)
        if transmit.scan is None:
            transmit.known = b1 = series.field_from_maps(transmit, fit, settings, steps)
            fit = series.fit(b1, None, settings, steps)
        # The rates enter the spoiling of the series and the AFI a little: once more, now that they are known.
        slow = series.transverse_rates(fit)
        if "R2" in known:
            slow = np.where(known["R2"].valid, known["R2"].values, slow)
        b1, fit = series.refit(transmit, fit, slow, settings, steps)
    elif transmit.scan is None:
        notes.append(
            f"{series.place.name}: no scan measures the transmit field, so flip angles were taken as nominal, with an "
            f"uncertainty of {100 * UNKNOWN_SD:g} %."
        )
    if "R2" in plan.maps:
        steps.start("R2")
        scan = _or_note(plan, notes, *((EchoTrain, plan.train) if plan.train else (PhaseCycles, plan.cycles)),
                        series, settings)  # fmt: skip
        arrays = None if scan is None else _or_note(plan, notes, scan.fit, r1 or fit, b1, settings, steps)
        if arrays is not None:
            if fit is not None:
                r2, r2_sd, _, found = arrays
                slow = np.where(found, r2, slow)
                b1, fit = series.refit(transmit, fit, slow, settings, steps, np.where(found, r2_sd, 0))
                arrays = scan.fit(r1 or fit, b1, settings, steps)
            made["R2"], off_resonance = scan.map(arrays, b1), scan.off_resonance
            if r1 and plan.cycles:
                result = made["R2"]
                made["R2"] = replace(
                    result,
                    algorithm=f"{result.algorithm}; R1: {known['R1'].algorithm}",
                    sources=result.sources + known["R1"].sources,
                )
            notes += scan.notes
    if "R1" in plan.maps:
        made["R1"] = series.r1_map(fit, b1, settings)
    if "PD" in plan.maps:
        steps.start("PD")
        found = _or_note(plan, notes, proton_map, session, series, fit, b1, settings)
        if found is not None:
            made["PD"], pd_notes = found
            notes += pd_notes
    return b1, notes, off_resonance


def _or_note(plan, notes, make, *arguments):
    """What `make` returns; None and a note when a scan cannot be used for it, unless the map was asked for."""
    try:
        return make(*arguments)
    except Unusable as error:
        if plan.explicit:
            raise
        notes.append(f"{str(error).rstrip('.')}; what needs it was not made.")
        return None
