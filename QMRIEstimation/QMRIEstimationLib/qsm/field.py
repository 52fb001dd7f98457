"""Total field from the phase of one or more echoes: offset, whole turns, weighted fit."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import InputError, check_cancelled
from ..geometry import check_same_shape
from ..parameters import Options, choice
from .echoes import closest_pair, line_fit, unwrap_echoes
from .offset import smooth_offset
from .unwrap import TURN, unwrap

_UNEXPLAINED = 3.0  # times the residual that noise leaves; a real brain read in one direction shows 1.2
_BENT = 0.05  # rad; smaller residuals, of flow and of voxels with two tissues, are harmless at any noise
_WEAKEST = 1e-6  # weight floor relative to the mean: a dead echo steers nothing but keeps the sums regular


@dataclass(frozen=True)
class FieldOptions(Options):
    """Settings of the field map."""

    offset: str = choice("smooth", ("smooth", "none"), "phase at echo time 0: estimated as smooth, or taken as zero")


@dataclass(frozen=True, eq=False)
class FieldMap:
    """Field of the scan and how well the echoes agree on it; arrays float32, 0 outside the mask.

    Attributes:
        total_field, sd: Hz [k, j, i], with the sign of the phase as stored; one standard deviation from the noise.
        residual: rad [k, j, i], weighted root mean square of the echoes about the fit; 0 for a single echo.
        unwrapped: rad [echo, k, j, i], with the offset.
        phase_offset: rad [k, j, i], phase at echo time 0.
        notes: sentences for the report.
    """

    total_field: np.ndarray
    sd: np.ndarray
    residual: np.ndarray
    unwrapped: np.ndarray
    phase_offset: np.ndarray
    notes: tuple = ()


def field_map(
    magnitude, phase, echo_times, mask, geometry, noise_sd, options=FieldOptions(), progress=None, cancelled=None
):
    """Total field by the weighted fit phase = offset + 2 pi f TE, weights |S|^2.

    The offset is smooth in space, so its noise is negligible and the fit has the slope alone as unknown:
    f = sum(w t p) / (2 pi sum(w t^2)), SD = noise_sd / (2 pi sqrt(sum(|S|^2 t^2))).

    Args:
        magnitude, phase: float32 [echo, k, j, i]; phase wrapped, rad.
        echo_times: s, ascending, any spacing, one or more.
        mask: bool [k, j, i].
        geometry: voxel size, mm.
        noise_sd: noise of one channel, in the unit of the magnitude.
        options: FieldOptions.
    Returns:
        FieldMap. Voxels without signal in all echoes are 0 with an SD of 0.
    Raises:
        ValueError: shapes differ, the echo times do not ascend or do not fit the echoes. InputError: no voxel of the
        mask has signal. Cancelled.
    Reference:
        Robinson S et al. 2017, NMR Biomed 30:e3601 (phase processing); Kressler B et al. 2010, IEEE Trans Med Imaging
        29:273-281 (weights from the magnitude).
    """
    times = np.asarray(echo_times, float)
    check_same_shape(magnitude=magnitude, phase=phase)
    check_same_shape(mask=mask, magnitude=magnitude[0])
    if times.shape != (len(magnitude),) or times[0] <= 0 or np.any(np.diff(times) <= 0):
        raise ValueError(f"echo_times are {times.tolist()} s, expected {len(magnitude)} ascending times above 0.")
    usable = mask & np.isfinite(phase).all(axis=0) & np.isfinite(magnitude).all(axis=0) & (magnitude > 0).any(axis=0)
    if not usable.any():
        raise InputError(
            "no voxel of the brain mask has signal and phase in the multi-echo images; "
            "check that the mask belongs to these images."
        )
    steps = _Reporter(progress, cancelled)
    wrapped = np.ascontiguousarray(phase[:, usable], np.float32)
    signal = np.ascontiguousarray(magnitude[:, usable], np.float32)
    weights = signal**2
    weights = np.maximum(weights, np.float32(_WEAKEST * weights.mean(dtype=np.float64)))
    inner = usable[ndimage.find_objects(usable.astype(np.uint8))[0]]  # the same voxels on the smallest grid
    if len(times) == 1:
        unwrapped, offset, notes = _single_echo(wrapped, signal, inner, geometry, steps)
    else:
        unwrapped, offset, notes = _multi_echo(wrapped, signal, weights, times, inner, geometry, options, steps)
    steps.at(0.9, "field fit")
    notes += _left_out(mask, usable)
    t = times.astype(np.float32)[:, None]
    information = (weights * t**2).sum(axis=0)
    slope = (weights * t * (unwrapped - offset)).sum(axis=0) / information
    rest = unwrapped - offset - slope * t
    total_weight = weights.sum(axis=0)
    residual = np.sqrt((weights * rest**2).sum(axis=0) / total_weight)
    notes += _no_line(residual, noise_sd * np.sqrt((len(times) - 1) / total_weight))
    return FieldMap(
        total_field=_placed(slope / TURN, usable),
        sd=_placed(noise_sd / (TURN * np.sqrt(information)), usable),
        residual=_placed(residual, usable),
        unwrapped=np.stack([_placed(u, usable) for u in unwrapped]),
        phase_offset=_placed(offset, usable),
        notes=tuple(notes),
    )


def _single_echo(wrapped, signal, inner, geometry, steps):
    """Unwrapped phase of the only echo; its offset cannot be told from the field."""
    steps.at(0.1, "unwrapping")
    image = _placed(wrapped[0], inner)
    unwrapped = unwrap(image, _placed(signal[0], inner), inner, geometry)
    note = "the phase has one echo, so its offset at echo time 0 was not removed and adds to the total field."
    return unwrapped[inner][None], np.zeros(wrapped.shape[1], np.float32), [note]


def _multi_echo(wrapped, signal, weights, times, inner, geometry, options, steps):
    """Unwrapped echoes and offset [voxel], agreeing on the whole turns."""
    steps.at(0.05, "unwrapping the echo difference")
    a, b = closest_pair(times)
    difference = np.angle(np.exp(1j * (wrapped[b] - wrapped[a]))).astype(np.float32)
    strength = np.minimum(signal[a], signal[b])
    difference = unwrap(_placed(difference, inner), _placed(strength, inner), inner, geometry)[inner]
    steps.at(0.4, "unwrapping the echoes")
    unwrapped = unwrap_echoes(wrapped, weights, times, difference, (a, b))
    if options.offset == "none":
        return _common_turns(unwrapped, weights, times, 0), np.zeros(wrapped.shape[1], np.float32), []
    steps.at(0.5, "phase offset")
    intercept, precision = line_fit(unwrapped, weights, times)
    precision = _placed(precision, inner)
    offset = smooth_offset(_placed(intercept, inner), precision, inner, geometry)
    steps.at(0.75, "phase offset")
    offset = unwrap(offset, precision, inner, geometry)[inner]
    return _common_turns(unwrapped, weights, times, offset), offset, []


def _common_turns(unwrapped, weights, times, offset):
    """Turns common to all echoes of a voxel, so that its line meets the offset at echo time 0."""
    intercept, _ = line_fit(unwrapped, weights, times)
    return (unwrapped + TURN * np.rint((offset - intercept) / TURN)).astype(np.float32)


def _no_line(residual, expected):
    """A note when the phase of the echoes is farther from a line than noise takes it, as with bipolar readouts."""
    excess = float(np.median(residual / expected)) if expected.any() else 0.0
    if excess <= _UNEXPLAINED or np.median(residual) <= _BENT:
        return []
    return [
        f"the phases of the echoes are {excess:.1f} times as far from a straight line as noise explains, so the field "
        "and chi are doubtful; check the echo times, and that all echoes were read in the same direction (monopolar)."
    ]


def _left_out(mask, usable):
    """A note when part of the mask has no signal."""
    lost = int(mask.sum() - usable.sum())
    return [f"{lost} voxels of the brain mask have no signal or phase and no field."] if lost else []


def _placed(values, usable):
    """Values of the usable voxels on the grid, 0 elsewhere."""
    image = np.zeros(usable.shape, np.float32)
    image[usable] = values
    return image


class _Reporter:
    """Progress and cancelling between the steps."""

    def __init__(self, progress, cancelled):
        self.progress, self.cancelled = progress, cancelled

    def at(self, fraction, text):
        check_cancelled(self.cancelled)
        if self.progress is not None:
            self.progress(fraction, text)
