"""Field from the unwrapped phase of the echoes, offset taken off: three estimators, their noise and their misfit."""

import numpy as np

from .unwrap import TURN

FIELD_FITS = ("least squares", "nonlinear", "weighted mean")
UNEXPLAINED = 3.0  # times the residual that noise leaves; a real brain read in one direction shows 1.2
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
    if method == "weighted mean":
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
    if method == "weighted mean":
        return np.sqrt(np.float32(len(t))) / (TURN * (np.sqrt(weights) * t).sum(axis=0))
    return 1 / (TURN * np.sqrt((weights * t**2).sum(axis=0)))


def reliability(residual, expected):
    """1 where noise explains the residual; beyond UNEXPLAINED times that it falls with the square."""
    if not expected.any():  # a single echo
        return np.ones_like(residual)
    return np.minimum(1, np.square(UNEXPLAINED * expected / np.maximum(residual, np.float32(1e-6))))
