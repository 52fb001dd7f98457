"""R2* and susceptibility of the multi-echo scan: the order of the steps and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .acquisition import Role, Scan, acquisition_parameters
from .errors import InputError, Unusable
from .geometry import check_same_shape
from .given import ReadyOptions
from .maps import QuantitativeMap
from .mask import brain_mask
from .multi_echo_qsm import FieldSource, chi_map, field_source, fields_of, wants_chi
from .noise import Noise, noise_sd
from .relaxometry.dephasing import field_differences
from .relaxometry.r2star import R2STAR_METHODS, fit_r2star
from .resample import nearest_on_grid

MAPS = ("R2star", "Chi")
WHITE_MATTER_R1 = 1.0  # 1/s, for telling which flip angle gives most signal
FOREGROUND = 3.0  # R2* is fitted where the first echo exceeds this many noise SDs; the fit judges the rest itself


@dataclass(frozen=True, eq=False)
class MultiEchoPlan:
    """What will be made of which scan; r2star is made whenever there are two echoes, since PD and the sign need it."""

    scan: Scan
    r2star: bool
    chi: bool
    source: FieldSource

    @property
    def scans(self):
        """The scans that are used."""
        return (self.scan,)

    @property
    def steps(self):
        """Names of the steps."""
        names = ["reading", "noise", "brain mask"]
        names += ["field map"] if self.source.makes_field_map or self.source.given else []
        names += ["R2*"] if len(self.scan.echo_times) >= 2 else []
        return names + (["susceptibility"] if self.chi else [])


@dataclass(frozen=True, eq=False)
class MultiEcho:
    """What was made of the multi-echo scan.

    Attributes:
        magnitude: float32 [k, j, i], first echo. mask: bool, the brain. noise: noise.Noise.
        r2star: QuantitativeMap or None, also when it was not asked for.
        maps, images, figures, notes, respond: as in maps.Estimate.
    """

    scan: Scan
    magnitude: np.ndarray
    mask: np.ndarray
    r2star: QuantitativeMap | None
    maps: dict
    images: dict
    figures: dict = field(default_factory=dict)
    notes: tuple = ()
    respond: Callable | None = None


def plan_multi_echo(session, wanted, explicit, ready=ReadyOptions()):
    """MultiEchoPlan, or None when nothing is to be made of a multi-echo scan; `ready`: given.ReadyOptions.

    Raises:
        InputError: a map that was asked for cannot be made, or the phase is there but cannot be used.
    """
    scans = _multi_echo_scans(session)
    asked = [name for name in MAPS if name in wanted]
    if not scans:
        if asked and explicit:
            raise InputError(
                f"sub-{session.subject}: no multi-echo GRE was found, {' and '.join(asked)} need "
                "anat/*_echo-<n>_MEGRE.nii.gz or several echoes of each flip angle "
                "(anat/*_echo-<n>_flip-<n>_VFA.nii.gz); add them, or ask for other maps with --maps."
            )
        return None
    scan = max(scans, key=lambda scan: (scan.has_phase, len(scan.echo_times), _signal(scan)))
    source = field_source(session, scan, ready)
    chi = wants_chi(scan, source, wanted, explicit)
    enough = len(scan.echo_times) >= 2
    if "R2star" in wanted and not enough and (explicit or not chi):
        raise InputError(
            f"{scan.name}: one echo was found, R2* needs two or more; add the other echoes, "
            "or ask for another map with --maps."
        )
    return MultiEchoPlan(scan, "R2star" in wanted and enough, chi, source)


def multi_echo_maps(session, plan, settings, steps, r2star=None):
    """MultiEcho of a plan.

    Args:
        session: acquisition.Session. plan: MultiEchoPlan. settings: settings.Settings. steps: steps.Steps.
        r2star: QuantitativeMap on the grid of the scan when it is given, which then is not estimated; else None.
    Raises:
        InputError, Cancelled.
    """
    scan = plan.scan
    steps.start("reading")
    magnitude, phase = scan.read()
    notes = [*_left_out(session, scan), *scan.notes]
    geometry = scan.geometry
    check_same_shape(magnitude=magnitude[0], grid=np.empty(geometry.shape, bool))

    steps.start("noise")
    noise = measured_noise(scan, magnitude, phase)
    figures = {"noise_sd": noise.sd, "multi_echo_scan": scan.name}

    steps.start("brain mask")
    mask, mask_notes = brain_of(session, scan.name, magnitude, geometry, settings)
    notes += mask_notes
    figures["brain_volume_ml"] = round(float(mask.sum()) * geometry.voxel_volume / 1000, 1)

    respond = None
    made, images, fields = {}, {} if phase is None else {"wrapped_phase": phase[-1]}, None
    if "field map" in plan.steps:
        steps.start("field map")
        fields = fields_of(scan, plan.source, magnitude, phase, mask, noise.sd, settings.qsm, steps)
        notes += fields.notes
        images |= _pictures_of_field(fields.field)
    fieldmap = None if fields is None else fields.field

    if r2star is None and "R2*" in plan.steps:
        steps.start("R2*")
        r2star, r2star_notes = _r2star(scan, magnitude, noise, fieldmap, mask, settings, steps)
        notes += r2star_notes
        if plan.r2star:
            made["R2star"] = r2star

    if plan.chi:
        steps.start("susceptibility")
        made["Chi"], result = chi_map(
            scan, plan.source, fields, magnitude, phase, mask, r2star, session, settings, noise.sd, steps
        )
        notes += result.notes
        respond = result.respond
        images |= {"local_field": result.local_field, "chi_misfit": result.misfit}
        images |= {} if fieldmap is None else {"total_field": result.total_field}
        figures["phase_sign"] = {1: "+1", -1: "-1"}.get(result.phase_sign, "undetermined")
        figures["chi_reference_offset_ppm"] = round(float(result.reference_offset), 6)
        figures["chi_coverage_percent"] = round(100 * result.coverage, 1)
        figures["chi_streak_index"] = round(result.streaks, 3)
        if result.csf_mean is not None:
            figures["chi_ventricles_ppm"] = round(result.csf_mean, 6)
    elif fieldmap is not None:
        images["total_field"] = fieldmap.total_field
    return MultiEcho(scan, magnitude[0], mask, r2star, made, images, figures, tuple(notes), respond)


def measured_noise(scan, magnitude, phase=None, gain=1.0):
    """Noise of the images of a scan, which were multiplied by `gain`; its name stands before what goes wrong."""
    if scan.noise is not None:
        return Noise(gain * scan.noise.sd, scan.noise.share)
    try:
        return Noise(noise_sd(magnitude, phase, scan.geometry))
    except ValueError as error:
        raise Unusable(f"{scan.name}: {str(error).removeprefix('noise_sd: ')}") from error


def _multi_echo_scans(session):
    """The multi-echo scans; where none has two echoes, the flip angles that have, if any."""
    several = [scan for scan in session.of(Role.MULTI_ECHO_GRE, Role.SPOILED_GRE) if len(scan.echo_times) > 1]
    separate = [scan for scan in several if scan.role is Role.MULTI_ECHO_GRE]
    return separate or several or session.of(Role.MULTI_ECHO_GRE)


def _signal(scan):
    """Signal of white matter for M0 = 1 (Ernst formula), 0 where flip angle or repetition time are unknown."""
    if scan.flip_angle is None or scan.repetition_time is None:
        return 0.0
    e1 = np.exp(-WHITE_MATTER_R1 * scan.repetition_time)
    return float(np.sin(scan.flip_angle) * (1 - e1) / (1 - e1 * np.cos(scan.flip_angle)))


def _left_out(session, scan):
    """A sentence when a choice was made among several multi-echo scans."""
    if scan.role is Role.SPOILED_GRE:
        return [
            f"{scan.name}: serves as the multi-echo scan of the session, which has no other (phase counts first, then "
            "the number of echoes, then the signal); chi is made of its phase and all maps lie on its grid."
        ]
    others = [other.name for other in session.of(Role.MULTI_ECHO_GRE) if other is not scan]
    if not others:
        return []
    return [
        f"{scan.name}: was chosen of {1 + len(others)} multi-echo scans (phase counts first, then the number of "
        f"echoes); not used: {', '.join(others)}."
    ]


def brain_of(session, name, magnitude, geometry, settings):
    """The given brain mask on the grid of a scan, or one made from its magnitude; and notes."""
    if session.brain_mask is None:
        mask, notes = brain_mask(magnitude, geometry, settings.mask)
        return mask, [f"{name}: {note}" for note in notes]
    given, given_geometry = session.brain_mask()
    mask = nearest_on_grid(given != 0, given_geometry, geometry).astype(bool)
    if not mask.any():
        raise InputError(
            f"sub-{session.subject}: the given brain mask has no voxel on the images; "
            "check that it belongs to this subject, or remove it to have one made."
        )
    return mask, []


def _r2star(scan, magnitude, noise, field, mask, settings, steps):
    """R2* wherever there is signal, corrected for macroscopic gradients where the field is known."""
    notes = []
    options = settings.r2star
    dephasing = None
    if field is not None and options.gradient_correction:
        dephasing = field_differences(field.total_field, mask, scan.geometry)
    elif options.gradient_correction:
        why = f"{scan.phase_problem.rstrip('.')}; until then" if scan.phase_problem else f"{scan.name}: without phase,"
        notes.append(f"{why} R2* is not corrected for macroscopic field gradients.")
    # Also of denoised images: what noise hid before is not told from its floor after.
    foreground = magnitude[0] > FOREGROUND * noise.sd
    fit = fit_r2star(
        noise.evened(magnitude),
        scan.echo_times,
        noise.sd,
        foreground,
        options,
        dephasing,
        progress=steps.report,
        cancelled=steps.cancelled,
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


def _pictures_of_field(fieldmap):
    """What is looked at of a field map: the unwrapped last echo without offset, and the residual, where known."""
    if fieldmap is None or not len(fieldmap.unwrapped):
        return {}
    unwrapped = fieldmap.unwrapped[-1] - fieldmap.phase_offset
    return {"unwrapped_phase": unwrapped, "field_residual": fieldmap.residual}
