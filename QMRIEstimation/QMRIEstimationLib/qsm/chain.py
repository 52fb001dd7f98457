"""Susceptibility from the total field: the order of the steps and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..errors import InputError, check_cancelled
from ..geometry import check_same_shape
from ..parameters import Options
from ..steps import part
from ..units import hz_per_ppm
from .background import BACKGROUND_METHODS, BackgroundOptions, LocalField, remove_background
from .field import FieldOptions
from .inversion import INVERSION_METHODS, InversionOptions, invert
from .polarity import PolarityOptions, anatomy_strength, decide
from .quality import QualityOptions
from .reference import ReferenceOptions, reference_to
from .reliable import mixed_surface
from .separation import SeparationOptions
from .spheres import depth_in
from .streaks import streak_index
from .ventricles import ventricles

_DEEP = 8.0  # mm from the edge of the mask where the anatomy is asked for the sign
QUALITY_MEANING = "weighted root mean square of the echo phases about their fit, rad"
GIVEN_LOCAL_FIELD = "given local field"


@dataclass(frozen=True)
class QsmOptions(Options):
    """All settings of susceptibility mapping; the names are tables under [qsm]."""

    field: FieldOptions = FieldOptions()
    quality: QualityOptions = QualityOptions()
    background: BackgroundOptions = BackgroundOptions()
    inversion: InversionOptions = InversionOptions()
    reference: ReferenceOptions = ReferenceOptions()
    polarity: PolarityOptions = PolarityOptions()
    separation: SeparationOptions = SeparationOptions()


@dataclass(frozen=True, eq=False)
class Susceptibility:
    """Susceptibility and what it was made from; arrays float32 [k, j, i].

    Attributes:
        chi, sd: ppm, 0 where not valid; the reference region has mean 0.
        quality: rad, residual of the echo fit. valid: bool.
        local_field, total_field: Hz, with the sign that was applied.
        misfit: Hz, local field less that of chi.
        phase_sign: +1 or -1 as established, 0 undetermined. applied_sign: +1 or -1, what the map was made with.
        reference_offset: ppm, what was taken off.
        reference_mean, reference_sd: ppm, of the reference region when the whole brain is called zero.
        coverage: share of the brain mask that is valid. streaks: index, see streaks.streak_index.
        csf_mean: ppm, of the ventricles' fluid in chi; None where none was found.
        algorithm, reference: how it was made, for the sidecar. notes: sentences for the report.
        respond: as inversion.Inversion.respond, with the sign that was applied.
    """

    chi: np.ndarray
    sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray
    local_field: np.ndarray
    total_field: np.ndarray
    misfit: np.ndarray
    phase_sign: int
    applied_sign: int
    reference_offset: float
    reference_mean: float
    reference_sd: float
    coverage: float
    streaks: float
    csf_mean: float | None
    algorithm: str
    reference: str
    respond: Callable
    notes: tuple = ()
    quality_meaning: str = QUALITY_MEANING


def susceptibility(
    field,
    magnitude,
    mask,
    geometry,
    field_strength,
    options=QsmOptions(),
    r2star=None,
    header_polarity=0,
    imaging_frequency=None,
    progress=None,
    cancelled=None,
    local_field=None,
    trusted=None,
    segment=None,
    denoised=False,
):
    """Susceptibility map from the field map of one scan.

    Args:
        field: field.FieldMap.
        magnitude: float32 [echo, k, j, i], any unit; its decay stands in for R2* when there is none.
        mask: bool [k, j, i], the brain.
        geometry: voxel size and B0 direction.
        field_strength: T; imaging_frequency: Hz, taken instead where the scanner told it.
        options: QsmOptions.
        r2star: float32 [k, j, i], 1/s, 0 where unknown; for the sign of the phase and the fluid of the ventricles.
        header_polarity: +1, -1, or 0 where the header is silent.
        local_field: float32 [k, j, i], Hz, 0 where not known, when the background was removed elsewhere.
        trusted: bool [k, j, i], where the phase is good, for the uses of quality.QualityOptions other than "weight".
        segment: bool [k, j, i], the region "segment" of the reference.
        denoised: noise was taken out of the magnitude; see inversion.invert.
    Returns:
        Susceptibility.
    Raises:
        ValueError: the shapes differ. InputError: the B0 direction is unknown, the mask is thinner than the smallest
        sphere, or there is no fluid or segment to refer to. Cancelled.
    """
    check_same_shape(total_field=field.total_field, mask=mask, magnitude=magnitude[0], r2star=r2star)
    check_same_shape(mask=mask, local_field=local_field, trusted=trusted, segment=segment)
    per_ppm = np.float32(imaging_frequency * 1e-6 if imaging_frequency else hz_per_ppm(field_strength))
    brain = mask
    passes = [mask]
    if options.quality.use != "weight" and trusted is not None:
        mask = mask & ndimage.binary_fill_holes(trusted & mask)
        passes = [mask & trusted, mask] if options.quality.use == "two passes" else [mask]
    fluid = None if r2star is None else ventricles(r2star, mask, geometry)
    made = []
    for number, region in enumerate(passes):
        share = 0.9 / len(passes)
        reporter = part(progress, number * share, share)
        made.append(
            _one_pass(
                field, local_field, magnitude, region, geometry, per_ppm, options, fluid, reporter, cancelled, denoised
            )
        )
    found = made[0] if len(made) == 1 else _first_where_valid(*made)
    valid = found.valid
    if not valid.any():
        raise InputError(
            "the brain mask is thinner than the smallest sphere of the background removal, so no voxel of chi is left; "
            "give a larger mask, or lower qsm.background.v_sharp.min_radius."
        )
    chi, _ = reference_to(found.chi, valid)
    region = _reference_region(options.reference, fluid, segment, valid)
    reference_sd = float(chi[region].std(dtype=np.float64))
    chi, reference_mean = reference_to(chi, region)
    offset = float(found.chi[region].mean(dtype=np.float64))
    check_cancelled(cancelled)
    if progress is not None:
        progress(0.9, "sign of the phase")
    decay = _decay(magnitude) if r2star is None else r2star
    strength = 0.0 if decay is None else anatomy_strength(chi, decay, _deep(valid, geometry), geometry)
    polarity = decide(header_polarity, strength, options.polarity)
    sign = np.float32(polarity.applied)
    chi = sign * chi * valid
    last = made[-1].respond
    background_method = BACKGROUND_METHODS[options.background.method]
    inversion_method = INVERSION_METHODS[options.inversion.method]
    steps = [(GIVEN_LOCAL_FIELD, "") if local_field is not None else background_method[:2], inversion_method[:2]]
    return Susceptibility(
        chi=chi,
        sd=found.sd * valid,
        quality=field.residual * valid,
        valid=valid,
        local_field=sign * found.local,
        total_field=sign * field.total_field,
        misfit=sign * found.misfit,
        phase_sign=polarity.sign,
        applied_sign=polarity.applied,
        reference_offset=polarity.applied * offset,
        reference_mean=polarity.applied * reference_mean,
        reference_sd=reference_sd,
        coverage=float(valid.sum() / brain.sum()),
        streaks=streak_index(chi, geometry),
        csf_mean=None if fluid is None or not (fluid & valid).any() else float(chi[fluid & valid].mean()),
        algorithm="; ".join(title for title, _ in steps) + ("; two passes" if len(made) > 1 else ""),
        reference="; ".join(reference for _, reference in steps if reference),
        respond=lambda added: sign * valid * last(sign * added),
        notes=tuple(dict.fromkeys((*polarity.notes, *found.notes))),
    )


@dataclass(frozen=True, eq=False)
class _Pass:
    """Local field (Hz), chi and its SD (ppm, any zero), the field they leave (Hz), where chi is valid, sentences."""

    local: np.ndarray
    chi: np.ndarray
    sd: np.ndarray
    misfit: np.ndarray
    valid: np.ndarray
    respond: Callable | None = None
    notes: tuple = ()


def _one_pass(field, local_field, magnitude, mask, geometry, per_ppm, options, fluid, progress, cancelled, denoised):
    """Background removal and inversion within one mask."""
    known = field.sd > 0
    weight = np.where(known, field.reliability / np.where(known, field.sd, 1), 0).astype(np.float32)
    if local_field is None:
        background = remove_background(
            field.total_field, weight, field.sd, mask, geometry, options.background, part(progress, 0, 0.5), cancelled
        )
    else:
        there = mask & known & (local_field != 0)
        background = LocalField(np.where(there, local_field, 0).astype(np.float32), there)
    local, inside = background.field, background.valid
    kept = inside & ~mixed_surface(mask, magnitude[0])  # they take the sources of what lies beyond
    if not kept.any():
        return _Pass(local, local, local, local, kept)
    check_cancelled(cancelled)
    inverted = invert(
        local / per_ppm,
        field.sd / per_ppm,
        weight,
        np.sqrt(np.einsum("ekji,ekji->kji", magnitude, magnitude)),
        inside,
        geometry,
        options.inversion,
        field.echo_spacing * 2 * np.pi * float(per_ppm),
        fluid,
        part(progress, 0.5, 0.5),
        cancelled,
        denoised,
    )
    notes = (*background.notes, *inverted.notes)
    return _Pass(local, inverted.chi, inverted.sd, inverted.misfit * per_ppm, kept, inverted.respond, notes)


def _first_where_valid(first, second):
    """Chi of the first pass where there is one, else of the second, whose zero is brought to that of the first.

    Reference:
        Stewart AW et al. 2022, Magn Reson Med 87:1289-1300 (two passes).
    """
    both = first.valid & second.valid
    if not both.any():
        return second
    shift = np.float32((first.chi[both] - second.chi[both]).mean(dtype=np.float64))
    second = replace(second, chi=second.chi + shift)
    merged = {
        name: np.where(first.valid, getattr(first, name), getattr(second, name))
        for name in ("local", "chi", "sd", "misfit")
    }
    return _Pass(**merged, valid=first.valid | second.valid, notes=first.notes + second.notes)


def _reference_region(options, fluid, segment, valid):
    """The region that is called zero, bool [k, j, i]."""
    if options.region == "whole brain":
        return valid
    if options.region == "segment":
        if segment is None or not (segment & valid).any():
            raise InputError(
                f"there is no voxel of the segment {options.segment} where chi is valid, so chi cannot be referenced "
                'to it; correct qsm.reference.segment, or set qsm.reference.region to "whole brain".'
            )
        return segment & valid
    if fluid is None or not (fluid & valid).any():
        raise InputError(
            "no fluid of the ventricles was found by its R2*, so chi cannot be referenced to it; "
            'set qsm.reference.region to "whole brain".'
        )
    return fluid & valid


def _decay(magnitude):
    """Logarithm of first over last echo, which grows with R2*; None for a single echo."""
    if len(magnitude) < 2:
        return None
    first, last = magnitude[0], magnitude[-1]
    signal = (first > 0) & (last > 0)
    return np.where(signal, np.log(np.where(signal, first, 1) / np.where(signal, last, 1)), np.nan)


def _deep(valid, geometry):
    """Voxels far from the edge of the brain; all of it where nothing is that deep."""
    deep = depth_in(valid, geometry) > _DEEP
    return deep if deep.any() else valid
