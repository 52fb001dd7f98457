"""Susceptibility from the total field: the order of the steps and nothing else."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import InputError, check_cancelled
from ..geometry import check_same_shape
from ..parameters import Options
from ..units import hz_per_ppm
from .background import BACKGROUND_METHODS, BackgroundOptions, remove_background
from .field import FieldOptions
from .inversion import INVERSION_METHODS, InversionOptions, invert
from .method import part
from .polarity import PolarityOptions, anatomy_strength, decide
from .reference import ReferenceOptions, reference_to
from .spheres import depth_in
from .ventricles import ventricles

_DEEP = 8.0  # mm from the edge of the mask where the anatomy is asked for the sign
QUALITY_MEANING = "weighted root mean square of the echo phases about their fit, rad"


@dataclass(frozen=True)
class QsmOptions(Options):
    """All settings of susceptibility mapping; the names are tables under [qsm]."""

    field: FieldOptions = FieldOptions()
    background: BackgroundOptions = BackgroundOptions()
    inversion: InversionOptions = InversionOptions()
    reference: ReferenceOptions = ReferenceOptions()
    polarity: PolarityOptions = PolarityOptions()


@dataclass(frozen=True, eq=False)
class Susceptibility:
    """Susceptibility and what it was made from; arrays float32 [k, j, i].

    Attributes:
        chi, sd: ppm, 0 where not valid; the reference region has mean 0.
        quality: rad, residual of the echo fit. valid: bool.
        local_field, total_field: Hz, with the sign that was applied.
        phase_sign: +1 or -1 as established, 0 undetermined. applied_sign: +1 or -1, what the map was made with.
        reference_offset: ppm, what was taken off.
        algorithm, reference: how it was made, for the sidecar. notes: sentences for the report.
    """

    chi: np.ndarray
    sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray
    local_field: np.ndarray
    total_field: np.ndarray
    phase_sign: int
    applied_sign: int
    reference_offset: float
    algorithm: str
    reference: str
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
):
    """Susceptibility map from the field map of one scan.

    Args:
        field: field.FieldMap.
        magnitude: float32 [echo, k, j, i], any unit; its decay stands in for R2* when there is none.
        mask: bool [k, j, i], the brain.
        geometry: voxel size and B0 direction.
        field_strength: T; imaging_frequency: Hz, taken instead where the scanner told it.
        options: QsmOptions.
        r2star: float32 [k, j, i], 1/s, 0 where unknown; for the sign of the phase.
        header_polarity: +1, -1, or 0 where the header is silent.
    Returns:
        Susceptibility.
    Raises:
        ValueError: the shapes differ. InputError: the B0 direction is unknown, the mask is thinner than the smallest
        sphere, or there is no fluid to refer to. Cancelled.
    """
    check_same_shape(total_field=field.total_field, mask=mask, magnitude=magnitude[0], r2star=r2star)
    per_ppm = np.float32(imaging_frequency * 1e-6 if imaging_frequency else hz_per_ppm(field_strength))
    known = field.sd > 0
    weight = np.where(known, field.reliability / np.where(known, field.sd, 1), 0).astype(np.float32)
    background = remove_background(
        field.total_field, weight, field.sd, mask, geometry, options.background, part(progress, 0.0, 0.45), cancelled
    )
    local, valid = background.field, background.valid
    kept = valid & ndimage.binary_erosion(mask)  # the outermost voxels take the sources of what lies beyond
    if not kept.any():
        raise InputError(
            "the brain mask is thinner than the smallest sphere of the background removal, so no voxel of chi is left; "
            "give a larger mask, or lower qsm.background.v_sharp.min_radius."
        )
    check_cancelled(cancelled)
    fluid = None if r2star is None else ventricles(r2star, valid, geometry)
    inverted = invert(
        local / per_ppm,
        field.sd / per_ppm,
        weight,
        magnitude[-1],
        valid,
        geometry,
        options.inversion,
        field.echo_spacing * 2 * np.pi * float(per_ppm),
        fluid,
        part(progress, 0.45, 0.45),
        cancelled,
    )
    valid = kept
    chi, sd = inverted.chi, inverted.sd * valid
    chi, offset = reference_to(chi, _reference_region(options.reference.region, fluid, valid))
    check_cancelled(cancelled)
    if progress is not None:
        progress(0.9, "sign of the phase")
    decay = _decay(magnitude) if r2star is None else r2star
    strength = 0.0 if decay is None else anatomy_strength(chi, decay, _deep(valid, geometry), geometry)
    polarity = decide(header_polarity, strength, options.polarity)
    sign = np.float32(polarity.applied)
    background_method = BACKGROUND_METHODS[options.background.method]
    inversion_method = INVERSION_METHODS[options.inversion.method]
    return Susceptibility(
        chi=sign * chi * valid,
        sd=sd,
        quality=field.residual * valid,
        valid=valid,
        local_field=sign * local,
        total_field=sign * field.total_field,
        phase_sign=polarity.sign,
        applied_sign=polarity.applied,
        reference_offset=polarity.applied * offset,
        algorithm=f"{background_method.title}; {inversion_method.title}",
        reference=f"{background_method.reference}; {inversion_method.reference}",
        notes=(*polarity.notes, *background.notes, *inverted.notes),
    )


def _reference_region(name, fluid, valid):
    """The region of that name, bool [k, j, i]."""
    if name == "whole brain":
        return valid
    if fluid is None:
        raise InputError(
            "no fluid of the ventricles was found by its R2*, so chi cannot be referenced to it; "
            'set qsm.reference.region to "whole brain".'
        )
    return fluid


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
