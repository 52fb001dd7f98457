"""Voxel loop of ARLO: R2* from sums over triplets of echoes, without logarithm."""

import numpy as np

from ..kernels import kernel
from .voxel_decay import FAST, load_voxel, plausible


@kernel(fastmath=FAST)
def triplet_weights(echo_times):
    """Integral over three neighbouring echoes by quadratic interpolation: weights [e - 2, 3], s."""
    weights = np.empty((echo_times.size - 2, 3))
    for e in range(echo_times.size - 2):
        before, after = echo_times[e + 1] - echo_times[e], echo_times[e + 2] - echo_times[e + 1]
        whole = before + after
        weights[e, 0] = whole / 6 * (2 - after / before)
        weights[e, 1] = whole**3 / (6 * before * after)
        weights[e, 2] = whole / 6 * (2 - before / after)
    return weights


@kernel(fastmath=FAST)
def auto_regression(decay, factor, weights, usable, lever):
    """Rate and its SD (in noise SDs of 1) of one voxel.

    Each triplet gives the integral y of the decay and its loss x = S1 - S3 = R2* y. Over all triplets
    R2* = sum z x / sum z y with z = y + c x, which for even spacing is the formula of the paper.
    """
    loss, integral = 0.0, 0.0
    for e in range(usable - 2):
        x = decay[e] - decay[e + 2]
        y = weights[e, 0] * decay[e] + weights[e, 1] * decay[e + 1] + weights[e, 2] * decay[e + 2]
        z = y + weights[e, 2] * x
        loss += z * x
        integral += z * y
    if not integral > 0:
        return 0.0, np.inf
    rate = loss / integral
    lever[:usable] = 0.0
    for e in range(usable - 2):  # derivative of loss - rate * integral by each echo
        a, b, c = weights[e, 0], weights[e, 1], weights[e, 2]
        x = decay[e] - decay[e + 2]
        y = a * decay[e] + b * decay[e + 1] + c * decay[e + 2]
        z, rest = y + c * x, x - rate * y
        lever[e] += z * (1 - rate * a) + (a + c) * rest
        lever[e + 1] += b * (rest - rate * z)
        lever[e + 2] -= z * (1 + rate * c)
    spread = 0.0
    for e in range(usable):
        spread += (lever[e] / factor[e]) ** 2
    return rate, np.sqrt(spread) / integral


@kernel(fastmath=FAST)
def arlo_chunk(data, settings, weights, first, last, results):
    """Fit voxels `first` to `last`; `weights` as `triplet_weights`, the rest is as in `r2star_nlls.nlls_chunk`."""
    magnitude, mask, echo_times, differences = data
    noise_sd, sinc_floor = settings
    r2star, sd, quality, s0, valid = results
    echoes = echo_times.size
    span, spacing = echo_times[-1] - echo_times[0], echo_times[1] - echo_times[0]
    signal, factor = np.empty(echoes), np.ones(echoes)
    decay, scratch = np.empty(echoes), np.empty(echoes)
    for v in range(first, last):
        if not mask[v]:
            continue
        usable = load_voxel(magnitude, v, echo_times, noise_sd, differences, sinc_floor, signal, factor)
        if usable < 3:
            continue
        for e in range(usable):
            decay[e] = signal[e] / factor[e]
        rate, rate_sd = auto_regression(decay, factor, weights, usable, scratch)
        if not plausible(rate, rate_sd, spacing, span):
            continue
        overlap, norm = 0.0, 0.0
        for e in range(usable):
            scratch[e] = factor[e] * np.exp(-rate * echo_times[e])
            overlap += scratch[e] * signal[e]
            norm += scratch[e] * scratch[e]
        amplitude = overlap / norm
        cost = 0.0
        for e in range(usable):
            cost += (signal[e] - amplitude * scratch[e]) ** 2
        r2star[v] = rate
        sd[v] = rate_sd
        quality[v] = np.sqrt(cost / (usable - 2))
        s0[v] = noise_sd * amplitude
        valid[v] = True
