"""Total field from the phase of one or more echoes: offset, whole turns, weighted fit."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import InputError, check_cancelled
from ..geometry import check_same_shape
from ..parameters import Options, choice
from .bipolar import readout_phase
from .echoes import closest_pair, line_fit, unwrap_echoes
from .field_fit import (
    BENT,
    FIELD_FITS,
    WEIGHTED_MEAN,
    early_echoes,
    fit_field,
    reliability,
    spread_of_noise,
)
from .mcpc3ds import mcpc3ds_offset
from .offset import smooth_offset
from .romeo import romeo, romeo_echoes
from .uneven_decay import uneven_decay
from .unwrap import TURN, laplacian_unwrap, wrap

_BETTER = 0.5  # share of the residual that is left where a correction of alternating readouts is believed
_ONE_ECHO = "the phase has one echo, so its offset at echo time 0 was not removed and adds to the total field."
_NOT_A_LINE = 3.0  # times the residual that noise leaves, in half of the voxels; a real brain shows 1.2
_WEAKEST = 1e-6  # weight floor relative to the mean: a dead echo steers nothing but keeps the sums regular


@dataclass(frozen=True)
class FieldOptions(Options):
    """Settings of the field map."""

    offset: str = choice(
        "smooth",
        ("smooth", "mcpc-3d-s", "none"),
        "phase at echo time 0: smooth (local-linear, weighted), as MCPC-3D-S, or taken as zero",
    )
    fit: str = choice(
        "least squares",
        FIELD_FITS,
        "field from the echoes: straight line, complex signal, or mean of phase over echo time weighted by both (which "
        "alone is not corrected for uneven decay within voxels)",
    )
    bipolar: str = choice("auto", ("auto", "yes", "no"), "correct echoes read in alternating directions")
    single_echo: str = choice("romeo", ("romeo", "laplacian"), "unwrapping of a scan with one echo")


@dataclass(frozen=True, eq=False)
class FieldMap:
    """Field of the scan and how well the echoes agree on it; arrays float32, 0 outside the mask.

    Attributes:
        total_field, sd: Hz [k, j, i], with the sign of the phase as stored; one standard deviation from the noise.
        residual: rad [k, j, i], weighted root mean square of the echoes about the fit; 0 for a single echo.
        reliability: 0 to 1, 1 where the echoes agree as well as the noise allows; a weight for what follows.
        unwrapped: rad [echo, k, j, i], with the offset.
        phase_offset: rad [k, j, i], phase at echo time 0.
        notes: sentences for the report.
        echo_spacing: s, mean; the echo time where there is one.
        alternating: the phase of echoes read in alternating directions was taken off.
    """

    total_field: np.ndarray
    sd: np.ndarray
    residual: np.ndarray
    reliability: np.ndarray
    unwrapped: np.ndarray
    phase_offset: np.ndarray
    notes: tuple = ()
    echo_spacing: float = 5e-3
    alternating: bool = False


def field_map(
    magnitude,
    phase,
    echo_times,
    mask,
    geometry,
    noise_sd,
    options=FieldOptions(),
    progress=None,
    cancelled=None,
    unwrapped=False,
):
    """Total field by the weighted fit phase = offset + 2 pi f TE, weights |S|^2.

    The offset is smooth in space, so its noise is negligible and the fit has the slope alone as unknown:
    f = sum(w t p) / (2 pi sum(w t^2)), SD = noise_sd / (2 pi sqrt(sum(|S|^2 t^2))). To f is added what decay that
    differs within a voxel takes off (uneven_decay); its own noise is below 1 % of the SD.

    Args:
        magnitude, phase: float32 [echo, k, j, i]; phase in rad, wrapped.
        echo_times: s, ascending, any spacing, one or more.
        mask: bool [k, j, i].
        geometry: voxel size, mm.
        noise_sd: noise of one channel, in the unit of the magnitude.
        options: FieldOptions.
        unwrapped: the phase was unwrapped elsewhere; whole turns that an echo is off the others are taken off it, and
            of the options only `fit` and whether there is an offset count.
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
    if unwrapped:
        echoes = _without_common_turns(wrapped, times)
        echoes, offset, notes = _offset_of(echoes, weights, times, inner, geometry, options, steps)
    elif len(times) == 1:
        echoes, offset, notes = _single_echo(wrapped, signal, inner, geometry, options, steps)
    else:
        echoes, offset, notes = _multi_echo(wrapped, signal, weights, times, inner, geometry, options, steps)
    expected = noise_sd * np.sqrt((len(times) - 1) / weights.sum(axis=0))
    slope, residual = fit_field(echoes - offset, weights, times, options.fit)
    alternating = False
    if not unwrapped and options.bipolar != "no" and (options.bipolar == "yes" or _bent(residual, expected)):
        steps.at(0.85, "phase of alternating readouts")
        found = _without_alternation(wrapped, signal, weights, times, inner, geometry, options, steps)
        if found is not None:
            again = fit_field(found[0] - found[1], weights, times, options.fit)
            if options.bipolar == "yes" or np.median(again[1]) < _BETTER * np.median(residual):
                (echoes, offset, notes), (slope, residual), alternating = found, again, True
    steps.at(0.9, "field fit")
    doubts = _no_line(residual, expected)
    if not doubts and len(times) > 2:
        early = early_echoes(echoes - offset, weights, times, noise_sd, _WEAKEST * weights.mean(dtype=np.float64))
        if early is not None:
            weights, kept = early
            echoes = _common_turns(echoes, weights, times, offset)
            slope, residual = fit_field(echoes - offset, weights, times, options.fit)
            expected = noise_sd * np.sqrt((kept - 1) / weights.sum(axis=0))
    if len(times) > 1 and options.fit != WEIGHTED_MEAN:
        rest = echoes - offset - slope * times[:, None].astype(np.float32)
        slope = slope + uneven_decay(rest, slope, signal, weights, times, inner, geometry.voxel_size, noise_sd)
    notes += _left_out(mask, usable) + doubts
    return FieldMap(
        total_field=_placed(slope / TURN, usable),
        sd=_placed(noise_sd * spread_of_noise(weights, times, options.fit), usable),
        residual=_placed(residual, usable),
        reliability=_placed(reliability(residual, expected), usable),
        unwrapped=np.stack([_placed(echo, usable) for echo in echoes]),
        phase_offset=_placed(offset, usable),
        notes=tuple(notes),
        echo_spacing=_echo_spacing(times),
        alternating=alternating,
    )


def field_from_elsewhere(total_field, magnitude, echo_times, mask, noise_sd, options=FieldOptions()):
    """FieldMap of a total field that was made elsewhere: its SD is that of a fit of these echoes, its misfit unknown.

    Args:
        total_field: float32 [k, j, i], Hz, 0 where not known; the others as in `field_map`.
    Raises:
        InputError: no voxel of the mask has a field and signal.
    """
    usable = mask & (total_field != 0) & (magnitude > 0).any(axis=0)
    if not usable.any():
        raise InputError(
            "no voxel of the brain mask has a value in the given field; check that it belongs to these images."
        )
    weights = np.ascontiguousarray(magnitude[:, usable], np.float32) ** 2
    weights = np.maximum(weights, np.float32(_WEAKEST * weights.mean(dtype=np.float64)))
    nothing = np.zeros(mask.shape, np.float32)
    return FieldMap(
        total_field=np.where(usable, total_field, 0).astype(np.float32),
        sd=_placed(noise_sd * spread_of_noise(weights, echo_times, options.fit), usable),
        residual=nothing,
        reliability=usable.astype(np.float32),
        unwrapped=np.zeros((0, *mask.shape), np.float32),
        phase_offset=nothing,
        notes=tuple(_left_out(mask, usable)),
        echo_spacing=_echo_spacing(echo_times),
    )


def _echo_spacing(times):
    """Mean distance of the echoes, s; the echo time where there is one."""
    return float((times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else times[0])


def _without_alternation(wrapped, signal, weights, times, inner, geometry, options, steps):
    """What `_multi_echo` finds once the alternating phase is taken off; None where it cannot be estimated."""
    images = (np.stack([_placed(a, inner) for a in arrays]) for arrays in (wrapped, weights))
    alternating = readout_phase(*images, times, inner, geometry)
    if alternating is None:
        return None
    sign = (-1) ** np.arange(len(times), dtype=np.float32)[:, None]
    corrected = wrap(wrapped - sign * alternating[inner]).astype(np.float32)
    unwrapped, offset, notes = _multi_echo(corrected, signal, weights, times, inner, geometry, options, steps)
    size = float(np.sqrt(np.mean(alternating[inner] ** 2)))
    note = f"echoes were read in alternating directions; their phase ({size:.2f} rad, root mean square) was taken off."
    return unwrapped, offset, [*notes, note]


def _single_echo(wrapped, signal, inner, geometry, options, steps):
    """Unwrapped phase of the only echo; its offset cannot be told from the field."""
    steps.at(0.1, "unwrapping")
    image = _placed(wrapped[0], inner)
    if options.single_echo == "laplacian":
        unwrapped = laplacian_unwrap(image, inner, geometry)
    else:
        unwrapped = romeo(image, _placed(signal[0], inner), inner)
    return unwrapped[inner][None], np.zeros(wrapped.shape[1], np.float32), [_ONE_ECHO]


def _multi_echo(wrapped, signal, weights, times, inner, geometry, options, steps):
    """Unwrapped echoes and offset [voxel], agreeing on the whole turns."""
    if options.offset == "mcpc-3d-s":
        steps.at(0.05, "phase offset")
        images = [np.stack([_placed(a, inner) for a in arrays]) for arrays in (wrapped, signal)]
        offset = mcpc3ds_offset(*images, times, inner)
        steps.at(0.4, "unwrapping the echoes")
        unwrapped = romeo_echoes(wrap(images[0] - offset), images[1], times, inner)
        return unwrapped[:, inner] + offset[inner], offset[inner], []
    steps.at(0.05, "unwrapping the echo difference")
    a, b = closest_pair(times)
    difference = np.angle(np.exp(1j * (wrapped[b] - wrapped[a]))).astype(np.float32)
    strength = np.minimum(signal[a], signal[b])
    difference = romeo(_placed(difference, inner), _placed(strength, inner), inner)[inner]
    steps.at(0.4, "unwrapping the echoes")
    unwrapped = unwrap_echoes(wrapped, weights, times, difference, (a, b))
    return _offset_of(unwrapped, weights, times, inner, geometry, options, steps)


def _offset_of(unwrapped, weights, times, inner, geometry, options, steps):
    """The echoes with their common turns such that their lines meet the offset, which is found or taken as zero."""
    nothing = np.zeros(unwrapped.shape[1], np.float32)
    if len(times) == 1:
        return unwrapped, nothing, [_ONE_ECHO]
    if options.offset == "none":
        return _common_turns(unwrapped, weights, times, 0), nothing, []
    steps.at(0.5, "phase offset")
    intercept, precision = line_fit(unwrapped, weights, times)
    precision = _placed(precision, inner)
    offset = smooth_offset(_placed(intercept, inner), precision, inner, geometry)
    steps.at(0.75, "phase offset")
    offset = romeo(offset, precision, inner)[inner]
    return _common_turns(unwrapped, weights, times, offset), offset, []


def _without_common_turns(phase, times):
    """Unwrapped echoes [echo, voxel] less the turns that most voxels of an echo are off the line of two others."""
    phase = phase.copy()
    if len(times) == 1:
        return phase
    a, b = closest_pair(times)
    phase[b] -= TURN * np.rint(np.median(phase[b] - phase[a]) / TURN)
    for echo in set(range(len(times))) - {a, b}:
        line = phase[a] + (phase[b] - phase[a]) * np.float32((times[echo] - times[a]) / (times[b] - times[a]))
        phase[echo] -= TURN * np.rint(np.median(phase[echo] - line) / TURN)
    return phase


def _common_turns(unwrapped, weights, times, offset):
    """Turns common to all echoes of a voxel, so that its line meets the offset at echo time 0."""
    intercept, _ = line_fit(unwrapped, weights, times)
    return (unwrapped + TURN * np.rint((offset - intercept) / TURN)).astype(np.float32)


def _bent(residual, expected):
    """Whether the phases of the echoes are farther from a line than noise takes them, as with bipolar readouts."""
    excess = float(np.median(residual / expected)) if expected.any() else 0.0
    return excess > _NOT_A_LINE and np.median(residual) > BENT


def _no_line(residual, expected):
    """A note when the echoes do not lie on a line."""
    if not _bent(residual, expected):
        return []
    excess = float(np.median(residual / expected))
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
