"""From the scans of one visit to its maps, all on one grid: which parts run, and how their results come together."""

from dataclasses import replace

import numpy as np

from .acquisition import Role
from .alignment import moved_map
from .denoise.images import METHODS, NONE
from .denoise.session import STEP as DENOISING
from .denoise.session import denoised
from .errors import InputError, Unusable
from .given import given_maps, notes_of, placed
from .maps import Estimate
from .multi_echo import multi_echo_maps, plan_multi_echo
from .relaxation import relaxation_maps
from .relaxation_plan import MAPS as RELAXATION_MAPS
from .relaxation_plan import ROLES as RELAXATION_ROLES
from .relaxation_plan import plan_relaxation
from .resample import nearest_on_grid, on_grid
from .settings import Settings
from .sources_of_chi import MAPS as SEPARATED
from .sources_of_chi import separated
from .steps import Steps

MAPS = ("R1", "R2", "R2star", "PD", "Chi")  # what this version can estimate, in the order of reports


def needed_roles(maps=None):
    """Roles of the scans that some maps (None for all) are made from; trouble with other scans is only noted."""
    relaxation = maps is None or set(maps) & set(RELAXATION_MAPS)
    return (Role.MULTI_ECHO_GRE, *(RELAXATION_ROLES if relaxation else ()))


def estimate(session, maps=None, settings=Settings(), progress=None, cancelled=None):
    """Maps of one session.

    Args:
        session: acquisition.Session.
        maps: names to make; None for all that the data allow.
        settings: every parameter of every step.
        progress, cancelled: optional callbacks, progress(fraction, text) and cancelled().
    Returns:
        maps.Estimate on the grid of the multi-echo scan; else of the flip-angle series, else of the spin echo, else of
        a map that is given.
    Raises:
        InputError: a map that was asked for cannot be made, or data that are there cannot be used.
        Cancelled: the user asked to stop.
    """
    wanted, explicit = tuple(maps or MAPS), maps is not None
    given = given_maps(session, wanted, settings.ready)
    sought = tuple(name for name in wanted if name not in given)
    # PD needs R2* and every map the brain, so the multi-echo scan is read whenever it is there.
    first = plan_multi_echo(session, sought, explicit, settings.ready)
    second = plan_relaxation(session, sought, explicit, settings, None if first is None else first.scan, given)
    if first is None and second is None and not given:
        raise InputError(
            f"sub-{session.subject}: no multi-echo GRE was found, no flip-angle series and no multi-echo spin echo, "
            "expected anat/*_echo-<n>_MEGRE.nii.gz, anat/*_flip-<n>_VFA.nii.gz or anat/*_echo-<n>_MESE.nii.gz; add "
            "them, or leave the subject out with --participant-label."
        )
    used = [scan for plan in (first, second) if plan for scan in plan.scans]
    names = [] if settings.denoise.method == NONE or not used else [DENOISING]
    steps = Steps(progress, cancelled, names + [name for plan in (first, second) if plan for name in plan.steps])
    notes, removed = [*session.notes, *notes_of(given)], []
    if names:
        steps.start(DENOISING)
        session, removed, found = denoised(session, used, settings.denoise, steps)
        notes += found
        first = plan_multi_echo(session, sought, explicit, settings.ready)
        second = plan_relaxation(session, sought, explicit, settings, None if first is None else first.scan, given)
    multi_echo, relaxation = None, None
    if first is not None:
        r2star = moved_map(given["R2star"], first.scan.geometry, None) if "R2star" in given else None
        multi_echo = multi_echo_maps(session, first, settings, steps, r2star)
    if second is not None:
        try:
            relaxation = relaxation_maps(session, second, multi_echo, settings, steps, given)
        except Unusable as error:
            if explicit or multi_echo is None:
                raise
            lost = [name for name in second.maps if name not in multi_echo.maps]
            notes.append(f"{str(error).rstrip('.')}; {', '.join(lost)} were not made.")
    steps.finish()
    taken = {name: result for name, result in given.items() if name in wanted}
    return _together(session, multi_echo, relaxation, taken, removed, settings, notes, steps.seconds)


def _together(session, multi_echo, relaxation, given, removed, settings, notes, seconds):
    """One Estimate of both parts and of the maps that are given."""
    made, images, figures, registrations = {}, {}, {}, {}
    if multi_echo is not None:
        geometry, magnitude, mask = multi_echo.scan.geometry, multi_echo.magnitude, multi_echo.mask
        made |= multi_echo.maps
        images |= multi_echo.images
        figures |= multi_echo.figures
        notes += multi_echo.notes
    elif relaxation is not None:
        geometry, magnitude, mask = relaxation.geometry, relaxation.magnitude, relaxation.mask
    else:
        geometry, magnitude, mask = _place_of(session, given)
    if relaxation is not None:
        transform = relaxation.to_multi_echo
        made |= {name: moved_map(result, geometry, transform) for name, result in relaxation.maps.items()}
        if relaxation.b1 is not None and relaxation.b1.measured:
            images["transmit_field"] = 100 * on_grid(relaxation.b1.b1, relaxation.geometry, geometry, transform)[0]
        if relaxation.off_resonance is not None:
            image = nearest_on_grid(relaxation.off_resonance, relaxation.geometry, geometry, transform)
            images["off_resonance"] = image
        figures |= relaxation.figures
        notes += relaxation.notes
        registrations = relaxation.registrations
    if removed:
        how = METHODS[settings.denoise.method]
        made = {name: replace(m, parameters=m.parameters | {"Denoising": how.title}) for name, m in made.items()}
        images["removed_noise"] = nearest_on_grid(removed[0].image, removed[0].geometry, geometry)
        left = nearest_on_grid(removed[0].left, removed[0].geometry, geometry)[mask]
        figures["denoising"] = f"{how.title} ({how.reference})"
        quartiles = np.percentile(100 * left, (25, 50, 75)) if left.size else (100.0,) * 3
        figures["noise_left_percent_quartiles"] = ", ".join(f"{quarter:.0f}" for quarter in quartiles)
        figures["likeness_of_removed_noise"] = round(max(off.likeness for off in removed), 3)
    made |= {name: placed(result, geometry, mask) for name, result in given.items()}
    if multi_echo is not None:
        parts, more = _separated(multi_echo, made, settings)
        made |= parts
        notes += more
    made = {name: made[name] for name in (*MAPS, *SEPARATED) if name in made}
    figures |= {f"{name}_median": median for name, m in made.items() if (median := _median(m, mask)) is not None}
    return Estimate(
        session=session,
        maps=made,
        geometry=geometry,
        brain_mask=mask,
        magnitude=magnitude,
        images={name: _clean(image, mask) for name, image in images.items()},
        notes=tuple(dict.fromkeys(notes)),
        figures=figures,
        timings=seconds,
        registrations=registrations,
        respond=None if multi_echo is None else multi_echo.respond,
    )


def _separated(multi_echo, made, settings):
    """Paramagnetic and diamagnetic susceptibility, and notes, where chi, R2* and R2 are there."""
    chi, r2star, r2 = made.get("Chi"), made.get("R2star", multi_echo.r2star), made.get("R2")
    strength = multi_echo.scan.field_strength
    if None in (chi, r2star, r2, strength) or not settings.qsm.separation.make:
        return {}, ()
    if chi.parameters.get("PhaseSign") == "undetermined":
        return {}, ("the sign of chi is undetermined, so its paramagnetic and diamagnetic parts were not made.",)
    csf = multi_echo.figures.get("chi_ventricles_ppm")
    return separated(chi, r2star, r2, "spin echo" in r2.algorithm, csf, strength, settings.qsm.separation)


def _place_of(session, given):
    """Grid, picture and brain where there is nothing but given maps: those of the first one."""
    first = next(given[name] for name in MAPS if name in given)
    if session.brain_mask is None:
        return first.geometry, first.values, first.valid
    mask = nearest_on_grid(*session.brain_mask(), first.geometry).astype(bool)
    return first.geometry, first.values, mask


def _median(result, mask):
    values = result.values[result.valid & mask]
    return round(float(np.median(values)), 4) if values.size else None


def _clean(image, mask):
    return np.where(mask & np.isfinite(image), image, 0).astype(np.float32)
