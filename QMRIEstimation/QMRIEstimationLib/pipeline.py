"""From the scans of one visit to its maps: the order of the steps and nothing else."""

import time

import numpy as np

from .acquisition import Role
from .errors import InputError, check_cancelled
from .geometry import check_same_shape
from .maps import Estimate, QuantitativeMap
from .mask import brain_mask
from .noise import noise_sd
from .qsm.chain import susceptibility
from .qsm.field import field_map
from .relaxometry.dephasing import field_differences
from .relaxometry.r2star import R2STAR_METHODS, fit_r2star
from .resample import nearest_on_grid
from .settings import Settings

MAPS = ("R2star", "Chi")  # what this version can estimate
ROLES = (Role.MULTI_ECHO_GRE,)  # from these scans
FOREGROUND = 3.0  # R2* is fitted where the first echo exceeds this many noise SDs; the fit judges the rest itself
SHARES = {  # rough part of each step in the whole time, seen on a 1 mm head
    "reading": 0.1,
    "noise": 0.05,
    "brain mask": 0.25,
    "field map": 0.25,
    "R2*": 0.15,
    "susceptibility": 0.2,
}


def estimate(session, maps=None, settings=Settings(), progress=None, cancelled=None):
    """Maps of one session.

    Args:
        session: acquisition.Session.
        maps: names to make; None for all that the data allow.
        settings: every parameter of every step.
        progress, cancelled: optional callbacks, progress(fraction, text) and cancelled().
    Returns:
        maps.Estimate on the grid of the multi-echo scan.
    Raises:
        InputError: a map that was asked for cannot be made, or data that are there cannot be used.
        Cancelled: the user asked to stop.
    """
    wanted = tuple(maps) if maps else MAPS
    steps = _Steps(progress, cancelled)
    scan = _multi_echo_scan(session)
    needs_chi = _wants_chi(scan, wanted, explicit=maps is not None)
    if "R2star" in wanted and len(scan.echo_times) < 2:
        if maps is not None or not needs_chi:
            raise InputError(
                f"{scan.name}: one echo was found, R2* needs two or more; add the other echoes, "
                "or ask for another map with --maps."
            )
        wanted = ("Chi",)

    steps.start("reading")
    magnitude, phase = scan.read()
    notes = [*session.notes, *_left_out(session, scan), *scan.notes]
    geometry = scan.geometry
    check_same_shape(magnitude=magnitude[0], grid=np.empty(geometry.shape, bool))

    steps.start("noise")
    try:
        noise = noise_sd(magnitude, phase, geometry)
    except ValueError as error:
        raise InputError(f"{scan.name}: {str(error).removeprefix('noise_sd: ')}") from error
    figures = {"noise_sd": noise, "multi_echo_scan": scan.name}

    steps.start("brain mask")
    mask, mask_notes = _brain(session, magnitude, geometry, settings)
    notes += [f"{scan.name}: {note}" for note in mask_notes]
    figures["brain_volume_ml"] = round(float(mask.sum()) * geometry.voxel_volume / 1000, 1)

    made, images, field = {}, {}, None
    if phase is not None and not scan.phase_problem:
        steps.start("field map")
        field = field_map(
            magnitude, phase, scan.echo_times, mask, geometry, noise, settings.qsm.field, steps.report, cancelled
        )
        notes += field.notes
        images = {"wrapped_phase": phase[-1], "field_residual": field.residual}

    r2star = None
    if len(scan.echo_times) >= 2:
        steps.start("R2*")
        r2star, r2star_notes = _r2star(scan, magnitude, noise, field, mask, settings, steps, cancelled)
        notes += r2star_notes
        if "R2star" in wanted:
            made["R2star"] = r2star
            figures["R2star_median"] = _median(r2star, mask)

    if needs_chi:
        steps.start("susceptibility")
        made["Chi"], result = _chi(scan, field, magnitude, mask, r2star, settings, steps, cancelled)
        notes += result.notes
        images |= {"total_field": result.total_field, "local_field": result.local_field}
        figures["phase_sign"] = {1: "+1", -1: "-1"}.get(result.phase_sign, "undetermined")
        figures["chi_reference_offset_ppm"] = round(float(result.reference_offset), 6)
    elif field is not None:
        images["total_field"] = field.total_field

    steps.finish()
    return Estimate(
        session=session,
        maps=made,
        geometry=geometry,
        brain_mask=mask,
        magnitude=magnitude[0],
        images={name: _clean(image, mask) for name, image in images.items()},
        notes=tuple(dict.fromkeys(notes)),
        figures=figures,
        timings=steps.seconds,
    )


class _Steps:
    """Progress of the whole from the progress of the steps, and the time each took."""

    def __init__(self, progress, cancelled):
        self.progress, self.cancelled = progress, cancelled
        self.seconds, self.done, self.text, self.began = {}, 0.0, "", time.perf_counter()

    def start(self, text):
        self.finish()
        self.text, self.began = text, time.perf_counter()
        self.report(0.0, text)

    def finish(self):
        check_cancelled(self.cancelled)
        if self.text:
            self.seconds[self.text] = round(time.perf_counter() - self.began, 3)
            self.done += SHARES[self.text]

    def report(self, fraction, text):
        if self.progress is not None:
            self.progress(min(self.done + SHARES[self.text] * fraction, 1.0), text)


def _multi_echo_scan(session):
    """The multi-echo GRE with phase and the most echoes; the first of equals."""
    scans = session.of(Role.MULTI_ECHO_GRE)
    if not scans:
        raise InputError(
            f"sub-{session.subject}: no multi-echo GRE was found, expected anat/*_echo-<n>_MEGRE.nii.gz; "
            "add it, or leave the subject out with --participant-label."
        )
    return max(scans, key=lambda scan: (scan.has_phase, len(scan.echo_times)))


def _left_out(session, scan):
    """A sentence when a choice was made among several multi-echo scans."""
    others = [other.name for other in session.of(Role.MULTI_ECHO_GRE) if other is not scan]
    if not others:
        return []
    return [
        f"{scan.name}: was chosen of {1 + len(others)} multi-echo scans (phase counts first, then the number of "
        f"echoes); not used: {', '.join(others)}."
    ]


def _wants_chi(scan, wanted, explicit):
    """Whether chi is to be made; raises when the phase is there, or was asked for, but cannot be used."""
    if "Chi" not in wanted:
        return False
    cure = "or leave out QSM with --maps R2star."
    if scan.phase_problem:
        raise InputError(f"{scan.phase_problem.rstrip('.')}, {cure}")
    if not scan.has_phase:
        if explicit:
            raise InputError(f"{scan.name}: there is no phase image, QSM needs one; add part-phase files, {cure}")
        return False
    if scan.field_strength is None:
        raise InputError(
            f"{scan.sources[0] if scan.sources else scan.name}: MagneticFieldStrength is missing, "
            f"QSM needs it in tesla; add it, {cure}"
        )
    try:
        scan.geometry.b0_dir  # noqa: B018 - raises when the direction is unknown
    except InputError as error:
        raise InputError(f"{scan.name}: {str(error).rstrip('.')}, {cure}") from None
    return True


def _brain(session, magnitude, geometry, settings):
    """The given brain mask on the reference grid, or one made from the magnitude."""
    if session.brain_mask is None:
        return brain_mask(magnitude, geometry, settings.mask)
    given, given_geometry = session.brain_mask()
    mask = nearest_on_grid(given != 0, given_geometry, geometry).astype(bool)
    if not mask.any():
        raise InputError(
            f"sub-{session.subject}: the given brain mask has no voxel on the multi-echo images; "
            "check that it belongs to this subject, or remove it to have one made."
        )
    return mask, []


def _r2star(scan, magnitude, noise, field, mask, settings, steps, cancelled):
    """R2* wherever there is signal, corrected for macroscopic gradients where the field is known."""
    notes = []
    options = settings.r2star
    dephasing = None
    if field is not None and options.gradient_correction:
        dephasing = field_differences(field.total_field, mask, scan.geometry)
    elif options.gradient_correction:
        why = f"{scan.phase_problem.rstrip('.')}; until then" if scan.phase_problem else f"{scan.name}: without phase,"
        notes.append(f"{why} R2* is not corrected for macroscopic field gradients.")
    foreground = magnitude[0] > FOREGROUND * noise
    fit = fit_r2star(
        magnitude, scan.echo_times, noise, foreground, options, dephasing, progress=steps.report, cancelled=cancelled
    )
    method = R2STAR_METHODS[options.method]
    result = QuantitativeMap(
        name="R2star",
        values=fit.r2star,
        sd=fit.sd,
        quality=fit.quality,
        valid=fit.valid,
        geometry=scan.geometry,
        algorithm=method.title + ("; macroscopic field gradient in the model" if dephasing is not None else ""),
        reference=method.reference,
        quality_meaning=method.quality_meaning,
        parameters=acquisition_parameters(scan),
        sources=scan.sources,
    )
    return result, notes


def _chi(scan, field, magnitude, mask, r2star, settings, steps, cancelled):
    """Susceptibility map and the result it was made from."""
    result = susceptibility(
        field,
        magnitude,
        mask,
        scan.geometry,
        scan.field_strength,
        settings.qsm,
        r2star=None if r2star is None else r2star.values,
        header_polarity=scan.phase_polarity,
        imaging_frequency=scan.imaging_frequency,
        progress=steps.report,
        cancelled=cancelled,
    )
    chi = QuantitativeMap(
        name="Chi",
        values=result.chi,
        sd=result.sd,
        quality=result.quality,
        valid=result.valid,
        geometry=scan.geometry,
        algorithm=result.algorithm,
        reference=result.reference,
        quality_meaning=result.quality_meaning,
        parameters=acquisition_parameters(scan)
        | {
            "B0_dir": [round(float(b), 6) for b in scan.geometry.b0_ras],
            "PhaseSign": {1: 1, -1: -1}.get(result.phase_sign, "undetermined"),
            "ReferenceRegion": settings.qsm.reference.region,
            "ReferenceOffset": round(float(result.reference_offset), 6),
        },
        sources=scan.sources,
    )
    return chi, result


def acquisition_parameters(scan):
    """What the scan was made with, in BIDS names and units (s, degrees, T)."""
    values = {
        "EchoTime": [float(f"{te:.9g}") for te in scan.echo_times],
        "FlipAngle": None if scan.flip_angle is None else float(f"{np.degrees(scan.flip_angle):.9g}"),
        "RepetitionTimeExcitation": scan.repetition_time,
        "MagneticFieldStrength": scan.field_strength,
        "Manufacturer": scan.manufacturer or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _median(result, mask):
    values = result.values[result.valid & mask]
    return round(float(np.median(values)), 4) if values.size else None


def _clean(image, mask):
    return np.where(mask & np.isfinite(image), image, 0).astype(np.float32)
