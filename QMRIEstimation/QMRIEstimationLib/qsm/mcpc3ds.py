"""Phase at echo time zero as MCPC-3D-S finds it: extrapolated from two echoes, smoothed as a plain mean of phasors."""

import numpy as np
from scipy.ndimage import gaussian_filter

from .echoes import closest_pair
from .romeo import romeo

_WIDTH = (5.0, 10.0, 10.0)  # SDs of the smoothing [k, j, i], voxels


def mcpc3ds_offset(phase, magnitude, echo_times, mask):
    """Phase offset theta_0 = phi_1 - theta TE_1 / (TE_2 - TE_1), theta the unwrapped phase of S_2 conj(S_1), smoothed.

    Args:
        phase, magnitude: float32 [echo, k, j, i], two echoes or more; echo_times: s. mask: bool [k, j, i].
    Returns:
        float32 [k, j, i], wrapped, rad, 0 outside the mask. The smoothing leaves a bias at the edge of the mask.
    Reference:
        Eckstein K et al. 2018, Magn Reson Med 79:2996-3006 (single-coil form; smoothing as in QSM.rs).
    """
    a, b = closest_pair(echo_times)
    strength = magnitude[a] * magnitude[b]
    difference = np.angle(np.exp(1j * (phase[b] - phase[a]))).astype(np.float32)
    theta = romeo(difference, np.sqrt(strength), mask)
    offset = phase[a] - theta * np.float32(echo_times[a] / (echo_times[b] - echo_times[a]))
    real, imaginary = (gaussian_filter(np.where(mask, f(offset), 0), _WIDTH) for f in (np.cos, np.sin))
    return np.where(mask, np.arctan2(imaginary, real), 0).astype(np.float32)
