"""Total field from the phase of one or more echoes: offset, whole turns, weighted fit."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..errors import InputError, check_cancelled
from ..geometry import check_same_shape
from ..parameters import Options, choice
from .bipolar import readout_phase
from .echoes import closest_pair, line_fit, unwrap_echoes
from .field_fit import FIELD_FITS, UNEXPLAINED, fit_field, reliability, spread_of_noise
from .mcpc3ds import mcpc3ds_offset
from .offset import smooth_offset
from .romeo import romeo, romeo_echoes
from .unwrap import TURN, laplacian_unwrap, wrap

_BENT = 0.05  # rad; smaller residuals, of flow and of voxels with two tissues, are harmless at any noise
_BETTER = 0.5  # share of the residual that is left where a correction of alternating readouts is believed
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
        "field from the echoes: straight line, complex signal, or mean of phase over echo time weighted by both",
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
    """

    total_field: np.ndarray
    sd: np.ndarray
    residual: np.ndarray
    reliability: np.ndarray
    unwrapped: np.ndarray
    phase_offset: np.ndarray
    notes: tuple = ()
    echo_spacing: float = 5e-3


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
        unwrapped, offset, notes = _single_echo(wrapped, signal, inner, geometry, options, steps)
    else:
        unwrapped, offset, notes = _multi_echo(wrapped, signal, weights, times, inner, geometry, options, steps)
    expected = noise_sd * np.sqrt((len(times) - 1) / weights.sum(axis=0))
    slope, residual = fit_field(unwrapped - offset, weights, times, options.fit)
    if options.bipolar != "no" and (options.bipolar == "yes" or _bent(residual, expected)):
        steps.at(0.85, "phase of alternating readouts")
        found = _without_alternation(wrapped, signal, weights, times, inner, geometry, options, steps)
        if found is not None:
            again = fit_field(found[0] - found[1], weights, times, options.fit)
            if options.bipolar == "yes" or np.median(again[1]) < _BETTER * np.median(residual):
                (unwrapped, offset, notes), (slope, residual) = found, again
    steps.at(0.9, "field fit")
    notes += _left_out(mask, usable) + _no_line(residual, expected)
    return FieldMap(
        total_field=_placed(slope / TURN, usable),
        sd=_placed(noise_sd * spread_of_noise(weights, times, options.fit), usable),
        residual=_placed(residual, usable),
        reliability=_placed(reliability(residual, expected), usable),
        unwrapped=np.stack([_placed(u, usable) for u in unwrapped]),
        phase_offset=_placed(offset, usable),
        notes=tuple(notes),
        echo_spacing=float((times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else times[0]),
    )


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
    note = "the phase has one echo, so its offset at echo time 0 was not removed and adds to the total field."
    return unwrapped[inner][None], np.zeros(wrapped.shape[1], np.float32), [note]


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
    if options.offset == "none":
        return _common_turns(unwrapped, weights, times, 0), np.zeros(wrapped.shape[1], np.float32), []
    steps.at(0.5, "phase offset")
    intercept, precision = line_fit(unwrapped, weights, times)
    precision = _placed(precision, inner)
    offset = smooth_offset(_placed(intercept, inner), precision, inner, geometry)
    steps.at(0.75, "phase offset")
    offset = romeo(offset, precision, inner)[inner]
    return _common_turns(unwrapped, weights, times, offset), offset, []


def _common_turns(unwrapped, weights, times, offset):
    """Turns common to all echoes of a voxel, so that its line meets the offset at echo time 0."""
    intercept, _ = line_fit(unwrapped, weights, times)
    return (unwrapped + TURN * np.rint((offset - intercept) / TURN)).astype(np.float32)


def _bent(residual, expected):
    """Whether the phases of the echoes are farther from a line than noise takes them, as with bipolar readouts."""
    excess = float(np.median(residual / expected)) if expected.any() else 0.0
    return excess > UNEXPLAINED and np.median(residual) > _BENT


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
