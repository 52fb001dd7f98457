"""From an Estimate and its session to what staging needs, all on the grid of the maps."""

from typing import NamedTuple

import numpy as np
from QMRIEstimationLib.acquisition import Role
from QMRIEstimationLib.alignment import Place, moved, registered
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.resample import lesions_on_grid, nearest_on_grid, on_grid

from .contrast_agent import LONGEST_DAYS, days_apart, timing_of, why_not_comparable
from .staging import MAPS, StagingInput


class _Images(NamedTuple):
    """T1-weighted images before and after the agent on the grid of the maps, or why there are none; sentences.

    `registrations`: name of scan -> Registration to the maps.
    """

    before: np.ndarray | None
    after: np.ndarray | None
    unknown: str
    notes: tuple = ()
    registrations: dict = {}  # noqa: RUF012  # is only read


def staging_input(estimate, settings):
    """StagingInput of an Estimate, sentences, and how the T1-weighted scans were moved (name -> Registration).

    Those that the estimate has a registration of are not registered again.

    Raises:
        InputError: the lesions lie elsewhere. Cancelled.
    """
    session, geometry = estimate.session, estimate.geometry
    drawn, notes = _drawn(session, geometry)
    tissue = None
    if session.tissue is not None:
        labels, own, names = session.tissue()
        tissue = nearest_on_grid(labels, own, geometry), names
    agent_scans = [(scan.name, scan.header) for scan in session.of(Role.T1W_GADOLINIUM)]
    maps = {name: estimate.maps[name] for name in MAPS if name in estimate.maps}
    timings = {name: _timing(session, result, agent_scans) for name, result in maps.items()}
    images = _t1_images(estimate, settings)
    strengths = [scan.field_strength for scan in session.scans if scan.field_strength]
    given = StagingInput(
        maps=maps,
        geometry=geometry,
        brain=estimate.brain_mask,
        drawn=drawn,
        tissue=tissue,
        before=images.before,
        after=images.after,
        uptake_unknown=images.unknown,
        timings=timings,
        respond=estimate.respond,
        field_strength=strengths[0] if strengths else None,
    )
    return given, (*notes, *images.notes), images.registrations


def _drawn(session, geometry):
    """What was drawn, on the grid of the maps; no label is lost. Nothing where there is no drawing."""
    if session.lesions is None:
        return np.zeros(geometry.shape, bool), ()
    drawn, own = session.lesions()[:2]
    if own.same_grid(geometry):
        return drawn, ()
    if drawn.dtype.kind == "f":
        return on_grid(drawn, own, geometry)[0], ()
    moved_labels, notes = lesions_on_grid(drawn, own, geometry)
    if drawn.any() and not moved_labels.any():
        raise InputError(
            f"sub-{session.subject}: the drawn lesions lie outside the field of view of the maps; check that they "
            "belong to this visit, or remove them."
        )
    return moved_labels, notes


def _timing(session, result, agent_scans):
    """Timing of a map: of the latest of the scans that it was made from."""
    own = [scan for scan in session.scans if set(scan.sources) & set(result.sources)]
    found = [timing_of(scan.name, scan.header, agent_scans) for scan in own]
    found.sort(key=lambda timing: ("after", "unknown", "before").index(timing.state))
    return found[0] if found else timing_of(result.name, {}, agent_scans)


def _t1_images(estimate, settings):
    """_Images of the session: the first pair of T1-weighted scans of one sequence before and after the agent."""
    session = estimate.session
    before, after = session.of(Role.T1W), session.of(Role.T1W_GADOLINIUM)
    if not after:
        return _Images(None, None, "there is no T1-weighted scan after gadolinium")
    if not before:
        note = f"{after[0].name}: there is no T1-weighted scan before the contrast agent; enhancement is unknown."
        return _Images(None, None, "there is no T1-weighted scan before gadolinium", (note,))
    problems = [why_not_comparable((a.name, a.header), (b.name, b.header)) for a in before for b in after]
    if all(problems):
        return _Images(None, None, "the scans before and after gadolinium are not of one sequence", (problems[0],))
    number = problems.index("")
    first, second = before[number // len(after)], after[number % len(after)]
    far = [days_apart(scan.header, second.header) for scan in session.scans if scan.role not in (Role.T1W_GADOLINIUM,)]
    if any(days is not None and days > LONGEST_DAYS for days in far):
        note = (
            f"{second.name}: was made more than {LONGEST_DAYS} days from the other scans, expected one visit; "
            "enhancement is unknown."
        )
        return _Images(None, None, "the scan after gadolinium was made more than a week from the maps", (note,))
    place = Place("the maps", estimate.magnitude, estimate.geometry, estimate.brain_mask)
    images, registrations = [], {}
    for scan in (first, second):
        image = scan.read()[0][0]
        try:
            found = estimate.registrations.get(scan.name)
            found = found or registered(scan.name, image, scan.geometry, place, settings.registration)
        except InputError as error:  # Misaligned
            why = "the scans before and after gadolinium cannot be aligned with the maps"
            return _Images(None, None, why, (f"{str(error).rstrip('.')}; enhancement is unknown.",))
        images.append(moved(image, scan.geometry, place, found))
        registrations[scan.name] = found
    return _Images(*images, "", registrations=registrations)
