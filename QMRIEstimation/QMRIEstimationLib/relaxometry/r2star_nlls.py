"""Voxel loop of the non-linear R2* fit: Levenberg-Marquardt on the Rician mean."""

import numpy as np

from ..kernels import kernel
from .rician import FLOOR_MEAN, mean_and_slope
from .voxel_decay import FAST, load_voxel, plausible

MOST_ITERATIONS = 30
SMALL_STEP = 1e-5  # of ln S0 and of R2* times the echo span; the next step would be smaller by far
LONGEST_STEP = 2.0  # same quantities; keeps the exponential in range
SAME_SPACING = 1e-6  # relative; evenly spaced echoes need one exponential instead of one each


@kernel(fastmath=FAST)
def normal_equations(log_s0, rate, times, signal, factor, usable, table):
    """Cost, J'J (3 numbers), J'r (2) and J'VJ (3) at ln S0 and a rate; V is the Rician variance of each echo."""
    cost = 0.0
    m00, m01, m11 = 0.0, 0.0, 0.0
    b0, b1 = 0.0, 0.0
    n00, n01, n11 = 0.0, 0.0, 0.0
    decay = np.exp(log_s0 - rate * times[0])
    spacing, ratio = 0.0, 0.0
    for e in range(usable):
        t = times[e]
        if e > 0:
            if abs(t - times[e - 1] - spacing) > SAME_SPACING * spacing:
                spacing = t - times[e - 1]
                ratio = np.exp(-rate * spacing)
            decay *= ratio
        true = decay * factor[e]
        mean, slope = mean_and_slope(true, table)
        residual = signal[e] - mean
        gain = slope * true
        g00 = gain * gain
        g01 = -g00 * t
        g11 = g00 * t * t
        variance = 2 + true * true - mean * mean
        cost += residual * residual
        m00 += g00
        m01 += g01
        m11 += g11
        b0 += gain * residual
        b1 -= gain * t * residual
        n00 += variance * g00
        n01 += variance * g01
        n11 += variance * g11
    return cost, m00, m01, m11, b0, b1, n00, n01, n11


@kernel(fastmath=FAST)
def start_values(times, signal, factor, usable):
    """ln S0 and rate of the straight line through ln signal, weighted by the squared signal."""
    w, wt, wtt, wy, wty = 0.0, 0.0, 0.0, 0.0, 0.0
    for e in range(usable):
        if signal[e] > 0:
            weight = signal[e] * signal[e]
            y = np.log(np.float32(signal[e] / factor[e]))
            w += weight
            wt += weight * times[e]
            wtt += weight * times[e] * times[e]
            wy += weight * y
            wty += weight * times[e] * y
    rate = (wt * wy - w * wty) / (w * wtt - wt * wt)
    return (wy + rate * wt) / w, rate


@kernel(fastmath=FAST)
def fit_decay(times, signal, factor, usable, table):
    """Least squares by Levenberg-Marquardt: ln S0, rate, SD of the rate, cost, whether it converged."""
    log_s0, rate = start_values(times, signal, factor, usable)
    cost, m00, m01, m11, b0, b1, n00, n01, n11 = normal_equations(log_s0, rate, times, signal, factor, usable, table)
    damping = 0.0
    converged = False
    for _ in range(MOST_ITERATIONS):
        d00, d11 = m00 * (1 + damping), m11 * (1 + damping)
        determinant = d00 * d11 - m01 * m01
        if not determinant > 0:
            break
        step0 = min(max((d11 * b0 - m01 * b1) / determinant, -LONGEST_STEP), LONGEST_STEP)
        step1 = min(max((d00 * b1 - m01 * b0) / determinant, -LONGEST_STEP), LONGEST_STEP)
        new = normal_equations(log_s0 + step0, rate + step1, times, signal, factor, usable, table)
        small = abs(step0) < SMALL_STEP and abs(step1) < SMALL_STEP
        if new[0] <= cost or small:
            log_s0 += step0
            rate += step1
            cost, m00, m01, m11, b0, b1, n00, n01, n11 = new
            damping *= 0.1
        else:
            damping = max(10 * damping, 0.01)
        if small:
            converged = True
            break
    determinant = m00 * m11 - m01 * m01
    if not determinant > 0:
        return log_s0, rate, 0.0, cost, False
    u0, u1 = -m01 / determinant, m00 / determinant
    variance = u0 * u0 * n00 + 2 * u0 * u1 * n01 + u1 * u1 * n11
    return log_s0, rate, np.sqrt(variance), cost, converged


@kernel(fastmath=FAST)
def true_signal(magnitude, table):
    """Signal whose Rician mean is `magnitude` (above the mean of pure noise), by Newton's method."""
    true = np.sqrt(max(magnitude * magnitude - 1, 0.01))
    for _ in range(6):
        mean, slope = mean_and_slope(true, table)
        true = max(true - (mean - magnitude) / slope, 0.01)
    return true


@kernel(fastmath=FAST)
def two_echoes(times, signal, factor, table):
    """Closed form for two echoes: ln S0, rate, SD of the rate, cost, whether both lie above the floor."""
    if signal[0] <= FLOOR_MEAN or signal[1] <= FLOOR_MEAN:
        return 0.0, 0.0, 0.0, 0.0, False
    first, second = true_signal(signal[0], table), true_signal(signal[1], table)
    spacing = times[1] - times[0]
    rate = np.log(first * factor[1] / (second * factor[0])) / spacing
    variance = 0.0
    for true in (first, second):
        mean, slope = mean_and_slope(true, table)
        variance += (2 + true * true - mean * mean) / (slope * true) ** 2
    return np.log(first / factor[0]) + rate * times[0], rate, np.sqrt(variance) / spacing, 0.0, True


@kernel(fastmath=FAST)
def nlls_chunk(data, settings, table, first, last, results):
    """Fit voxels `first` to `last`.

    data: magnitude [e, v], mask [v], echo_times [e] (s), differences [3, v] (Hz) or [3, 0].
    settings: noise_sd, sinc_floor. table: `rician_table`.
    results: r2star, sd, quality, s0, valid [v], written where the fit succeeds.
    """
    magnitude, mask, echo_times, differences = data
    noise_sd, sinc_floor = settings
    r2star, sd, quality, s0, valid = results
    span = echo_times[-1] - echo_times[0]
    times = echo_times / span  # makes both unknowns of order one
    spacing = echo_times[1] - echo_times[0]
    signal, factor = np.empty(echo_times.size), np.ones(echo_times.size)
    for v in range(first, last):
        if not mask[v]:
            continue
        usable = load_voxel(magnitude, v, echo_times, noise_sd, differences, sinc_floor, signal, factor)
        if usable < 2:
            continue
        if usable == 2:
            log_s0, rate, rate_sd, cost, ok = two_echoes(times, signal, factor, table)
        else:
            log_s0, rate, rate_sd, cost, ok = fit_decay(times, signal, factor, usable, table)
        rate /= span
        rate_sd /= span
        if ok and plausible(rate, rate_sd, spacing, span):
            r2star[v] = rate
            sd[v] = rate_sd
            quality[v] = np.sqrt(cost / max(usable - 2, 1))
            s0[v] = noise_sd * np.exp(log_s0)
            valid[v] = True
