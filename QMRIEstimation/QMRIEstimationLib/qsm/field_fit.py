"""Field from the unwrapped phase of the echoes, offset taken off: three estimators, their noise and their misfit."""

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces
from .unwrap import TURN

WEIGHTED_MEAN = "weighted mean"
FIELD_FITS = ("least squares", "nonlinear", WEIGHTED_MEAN)
_UNEXPLAINED = 2.0  # times the residual that noise leaves; of six echoes on a line it takes 0.1 % of voxels that far
BENT = 0.05  # rad; smaller residuals, of flow and of voxels with two tissues, are harmless at any noise
_MOST_ITERATIONS, _SMALL_STEP = 30, 1e-4  # of the nonlinear fit; rad at the last echo


def fit_field(phase, weights, echo_times, method):
    """Slope of the phase over echo time and how far the echoes are from it.

    Args:
        phase: unwrapped, float32 [echo, voxel], rad. weights: squared magnitude, same shape. echo_times: s.
        method: "least squares": sum(w t p) / sum(w t^2); "weighted mean": sum(|S| p) / sum(|S| t);
            "nonlinear": least squares of the complex signal, sum of w |1 - exp(i (p - slope t))|^2.
    Returns:
        slope: rad/s; residual: rad, weighted root mean square about the line; float32 [voxel].
    Reference:
        Kressler B et al. 2010, IEEE Trans Med Imaging 29:273-281; Liu T et al. 2013, Magn Reson Med 69:467-476
        (nonlinear).
    """
    t = np.asarray(echo_times, np.float32)[:, None]
    if method == WEIGHTED_MEAN:
        magnitude = np.sqrt(weights)
        slope = (magnitude * phase).sum(axis=0) / (magnitude * t).sum(axis=0)
    else:
        information = (weights * t**2).sum(axis=0)
        slope = (weights * t * phase).sum(axis=0) / information
        for _ in range(_MOST_ITERATIONS if method == "nonlinear" else 0):
            step = (weights * t * np.sin(phase - slope * t)).sum(axis=0) / information  # Gauss-Newton
            slope = slope + step
            if np.abs(step).max() * echo_times[-1] < _SMALL_STEP:
                break
    rest = phase - slope * t
    return slope, np.sqrt((weights * rest**2).sum(axis=0) / weights.sum(axis=0))


def spread_of_noise(weights, echo_times, method):
    """SD of the field (Hz) for noise of SD 1 in the images; the phase of an echo has an SD of 1 / |S|."""
    t = np.asarray(echo_times, np.float32)[:, None]
    if method == WEIGHTED_MEAN:
        return np.sqrt(np.float32(len(t))) / (TURN * (np.sqrt(weights) * t).sum(axis=0))
    return 1 / (TURN * np.sqrt((weights * t**2).sum(axis=0)))


def early_echoes(phase, weights, echo_times, noise_sd, floor):
    """Weights that leave out the late echoes of a voxel where they are off the line of the early ones.

    Where the field varies over a voxel by a turn its signal vanishes and comes back with the opposite sign (a sinc for
    a gradient), so the phase of what follows says nothing of the mean field. The longest run of first echoes, two at
    least, is kept whose residual is explained by noise.

    Args:
        phase: unwrapped and without offset, float32 [echo, voxel], rad. weights: squared magnitude, same shape.
        echo_times: s. noise_sd: in the unit of the magnitude. floor: weight of the echoes that are left out.
    Returns:
        float32 [echo, voxel], and how many echoes count, int32 [voxel]; None where all do everywhere.
    """
    kept, count = weights.copy(), np.empty(weights.shape[1], np.int32)
    times = np.asarray(echo_times, np.float32)
    phase = np.ascontiguousarray(phase, np.float32)
    limit = np.float32(_UNEXPLAINED * noise_sd)

    def piece(first, last):
        _keep_early(phase, kept, count, times, limit, np.float32(floor), first, last)

    in_pieces(piece, phase.shape[1])
    return None if (count == len(phase)).all() else (kept, count)


@kernel
def _keep_early(phase, weights, count, times, limit, floor, first, last):
    echoes = len(phase)
    for v in range(first, last):
        for n in range(echoes, 1, -1):
            total, moment, product = 0.0, 0.0, 0.0
            for e in range(n):
                w = weights[e, v]
                total += w
                moment += w * times[e] * times[e]
                product += w * times[e] * phase[e, v]
            slope = product / moment
            rest = 0.0
            for e in range(n):
                rest += weights[e, v] * (phase[e, v] - slope * times[e]) ** 2
            if rest <= max(limit * limit * (n - 1), BENT * BENT * total) or n == 2:
                count[v] = n
                for e in range(n, echoes):
                    weights[e, v] = floor
                break


def reliability(residual, expected):
    """1 up to _UNEXPLAINED times the residual that noise explains, and up to BENT; beyond it falls with the square.

    By noise alone the voxels around veins and calcifications, where the field differs within a voxel and phase is no
    line, lose their weight as the SNR grows: at 400 a calcification lost a fifth of its contrast, at 1000 two fifths.
    """
    if not expected.any():  # a single echo
        return np.ones_like(residual)
    allowed = np.maximum(_UNEXPLAINED * expected, np.float32(BENT))
    return np.minimum(1, np.square(allowed / np.maximum(residual, np.float32(1e-6))))
