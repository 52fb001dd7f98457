"""R2 from the magnitudes of a multi-echo spin echo."""

import math
from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..parameters import Options, choice, param
from ..threads import in_pieces
from .r2star import R2starMethod, R2starOptions, fit_r2star
from .r2star_nlls import fit_decay
from .rician import rician_table
from .spin_echo_table import SMALLEST_FLIP, stimulated, stimulated_table
from .voxel_decay import FAST, load_voxel, plausible

LEAST_ECHOES = 3
EVEN = 1e-3  # of the echo spacing; sidecars round echo times
MOST_ROUNDS = 8  # of the fit with the stimulated echoes of the last rate
SMALL_CHANGE = 1e-5  # of the rate times the span, between rounds
TURN = 0.02  # rad, least change of the refocusing angle for the uncertainty that it brings

SPIN_ECHO_METHODS = {
    "epg": R2starMethod(
        "stimulated echoes by extended phase graphs, non-linear least squares on the Rician mean",
        "Hennig J 1988, J Magn Reson 78:397-407; Lebel RM, Wilman AH 2010, Magn Reson Med 64:1005-1014",
        "root mean square residual in noise SDs (1 expected)",
    ),
    "mono-exponential": R2starMethod(
        "one exponential, non-linear least squares on the Rician mean",
        "Gudbjartsson H, Patz S 1995, Magn Reson Med 34:910-914",
        "root mean square residual in noise SDs (1 expected)",
    ),
}


@dataclass(frozen=True)
class SpinEchoOptions(Options):
    """Settings of R2 from a multi-echo spin echo."""

    method: str = choice("epg", SPIN_ECHO_METHODS, "whether stimulated echoes are part of the model")
    refocusing_angle: float = param(math.pi, "rad", SMALLEST_FLIP, math.pi, "nominal angle of the refocusing pulses")


@dataclass(frozen=True, eq=False)
class SpinEchoFit:
    """Result of `fit_r2_spin_echo`; every array [k, j, i], 0 where not valid.

    Attributes:
        r2, sd: float32, 1/s.
        quality: float32, what SPIN_ECHO_METHODS[method].quality_meaning says.
        valid: bool.
        s0: float32, magnitude right after the excitation, unit of the image.
    """

    r2: np.ndarray
    sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray
    s0: np.ndarray


def fit_r2_spin_echo(
    magnitude,
    echo_times,
    noise_sd,
    b1,
    b1_sd,
    mask,
    options=SpinEchoOptions(),
    progress=None,
    cancelled=None,
):
    """R2 and its SD from S_e = S0 exp(-R2 TE_e) h_e, h the effect of stimulated echoes (1 at 180 degrees).

    h comes from a table over the refocusing angle times B1 and over R2, at a typical R1. The slice profile is taken as
    rectangular. A voxel is not valid where fewer than two echoes exceed three noise SDs, where the refocusing angle is
    outside the table, where the fit does not converge, or where the SD exceeds both the rate and one over the span.

    Args:
        magnitude: float32 [e, k, j, i]; a voxel with NaN or Inf is not fitted.
        echo_times: s, ascending; the method "epg" needs them evenly spaced from the excitation on.
        noise_sd: Gaussian noise SD of one channel, unit of the image.
        b1, b1_sd: float32 [k, j, i], ratio to nominal. The method "mono-exponential" takes no notice of them.
        mask: bool [k, j, i], where to fit.
    Returns:
        SpinEchoFit.
    Raises:
        ValueError: shapes differ, b1 is missing, or echo times or noise are impossible. Cancelled.
    """
    if options.method == "mono-exponential":
        plain = R2starOptions(method="nlls", gradient_correction=False)
        fit = fit_r2star(magnitude, echo_times, noise_sd, mask, plain, None, progress, cancelled)
        return SpinEchoFit(fit.r2star, fit.sd, fit.quality, fit.valid, fit.s0)
    echo_times = np.asarray(echo_times, np.float64)
    _check(magnitude, echo_times, noise_sd, b1, b1_sd, mask)
    shape, voxels = mask.shape, mask.size
    planes = np.ascontiguousarray(magnitude, np.float32).reshape(len(echo_times), -1)
    field, field_sd = (np.ascontiguousarray(a, np.float32).reshape(-1) for a in (b1, b1_sd))
    data = (
        planes,
        np.ascontiguousarray(mask, bool).reshape(-1),
        field,
        field_sd,
        echo_times,
        np.zeros((3, 0), np.float32),
    )
    results = *(np.zeros(voxels, np.float32) for _ in range(4)), np.zeros(voxels, bool)
    tables = stimulated_table(len(echo_times), float(echo_times[0])), rician_table()
    settings = float(noise_sd), float(options.refocusing_angle)

    def piece(first, last):
        _spin_echo_chunk(data, settings, *tables, first, last, results)

    in_pieces(piece, voxels, progress=progress, cancelled=cancelled, text="R2")
    r2, sd, quality, s0, valid = (array.reshape(shape) for array in results)
    return SpinEchoFit(r2, sd, quality, valid, s0)


def evenly_spaced(echo_times):
    """Whether every echo time is its number times the first.

    >>> evenly_spaced((0.01, 0.02, 0.03)), evenly_spaced((0.01, 0.03, 0.04))
    (True, False)
    """
    echo_times = np.asarray(echo_times, np.float64)
    train = echo_times[0] * np.arange(1, len(echo_times) + 1)
    return bool(echo_times[0] > 0 and np.abs(echo_times - train).max() < EVEN * echo_times[0])


def _check(magnitude, echo_times, noise_sd, b1, b1_sd, mask):
    """Raise ValueError for input the fit cannot use."""
    if np.ndim(magnitude) != 4 or len(magnitude) != len(echo_times):
        raise ValueError(
            f"magnitude has shape {np.shape(magnitude)}, expected [echo, k, j, i] with {len(echo_times)} echoes "
            "as echo_times."
        )
    for name, array in (("b1", b1), ("b1_sd", b1_sd)):
        if array is None:
            raise ValueError(f"{name} is missing, the method epg needs it; use the method mono-exponential.")
    check_same_shape(magnitude=magnitude[0], b1=b1, b1_sd=b1_sd, mask=mask)
    shown = ", ".join(f"{te:g}" for te in echo_times)
    if len(echo_times) < LEAST_ECHOES:
        raise ValueError(f"echo_times is {shown}, R2 by epg needs {LEAST_ECHOES} or more.")
    if not evenly_spaced(echo_times):
        raise ValueError(f"echo_times is {shown} s, epg needs multiples of the first; use the method mono-exponential.")
    if not (np.isfinite(noise_sd) and noise_sd > 0):
        raise ValueError(f"noise_sd is {noise_sd:g}, expected a positive number in the unit of the image.")


@kernel(fastmath=FAST)
def fit_train(flip, rate, echo_times, signal, stimulated_echoes, rician, scratch):
    """ln S0, R2 (1/s), its SD, cost and whether it converged, of one voxel from a first R2.

    ln h is followed along R2 by its tangent, which turns the fit into that of a decay with shifted echo times; so
    the SD knows what R2 does to h.
    """
    log_factor, slope, times, factor = scratch
    spacing, span = echo_times[0], echo_times[-1] - echo_times[0]
    log_s0, rate_sd, cost, ok = 0.0, 0.0, 0.0, False
    for _ in range(MOST_ROUNDS):
        stimulated(stimulated_echoes, flip, rate * spacing, log_factor, slope)
        for e in range(echo_times.size):
            shift = slope[e] * spacing
            times[e] = (echo_times[e] - shift) / span
            factor[e] = math.exp(log_factor[e] - shift * rate)
        log_s0, scaled, rate_sd, cost, ok = fit_decay(times, signal, factor, echo_times.size, rician)
        change = abs(scaled - rate * span)
        rate = scaled / span
        if not ok or change < SMALL_CHANGE:
            return log_s0, rate, rate_sd / span, cost, ok
    return log_s0, rate, rate_sd / span, cost, False


@kernel(fastmath=FAST)
def _spin_echo_chunk(data, settings, stimulated_echoes, rician, first, last, results):
    """Fit voxels `first` to `last`.

    data: magnitude [e, v], mask [v], b1 and its SD [v], echo_times (s), empty [3, 0]. settings: noise_sd, angle (rad).
    results: r2, sd, quality, s0, valid [v], written where the fit succeeds.
    """
    magnitude, mask, b1, b1_sd, echo_times, no_differences = data
    noise_sd, refocusing = settings
    r2, sd, quality, s0, valid = results
    echoes = echo_times.size
    spacing, span = echo_times[0], echo_times[-1] - echo_times[0]
    signal, unused = np.empty(echoes), np.ones(echoes)
    scratch = np.empty(echoes), np.empty(echoes), np.empty(echoes), np.empty(echoes)
    for v in range(first, last):
        if not mask[v]:
            continue
        usable = load_voxel(magnitude, v, echo_times, noise_sd, no_differences, 0.0, signal, unused)
        flip = refocusing * b1[v]
        if flip > math.pi:
            flip = 2 * math.pi - flip  # the same echoes
        if usable < echoes or not flip >= SMALLEST_FLIP or not 0 <= b1_sd[v] < np.inf:
            continue
        log_s0, rate, noise_part, cost, ok = fit_train(
            flip, 1 / span, echo_times, signal, stimulated_echoes, rician, scratch
        )
        if not ok:
            continue
        # Near 180 degrees the first derivative says nothing, so the turn is as large as the angle is uncertain.
        flip_sd = refocusing * b1_sd[v]
        turn = max(min(flip_sd, flip - SMALLEST_FLIP), TURN)
        side = flip - turn if flip - turn >= SMALLEST_FLIP else flip + turn
        _, turned, _, _, turned_ok = fit_train(side, rate, echo_times, signal, stimulated_echoes, rician, scratch)
        by_flip = (turned - rate) / turn if turned_ok else 0.0
        rate_sd = math.sqrt(noise_part * noise_part + (by_flip * flip_sd) ** 2)
        if plausible(rate, rate_sd, spacing, span):
            r2[v], sd[v], quality[v] = rate, rate_sd, math.sqrt(cost / (echoes - 2))
            s0[v] = noise_sd * math.exp(log_s0)
            valid[v] = True
