"""Voxel loop of the straight-line R1 fit, written so that the compiler works on many voxels at once.

With t = tan(flip/2), a = 1/tan(flip) and d = 1 - E1 the ideal signal obeys S t = d (M0 - S a). That is the usual line
of S/sin over S/tan with slope E1 and the same least squares, but the slope -d keeps its digits.
"""

import numpy as np

from ..kernels import kernel
from .r1_nlls import half_tangent
from .spoiling import r2_place, ratio_and_slopes
from .voxel_decay import ABOVE_FLOOR, FAST

LANES = 128  # voxels side by side; their scratch arrays stay in the second cache
PASSES = 5  # where weights, repetition times or spoiling depend on R1: the last changes it by 1e-5 or less
LEAST, MOST = 1e-9, 1 - 1e-9  # range of 1 - E1
SERIES_END = 0.5  # of d, up to which the series of its logarithm is used
TINY = 1e-300

# Rows of the scratch array [row, flip, lane]: data; what depends on R1 (share is 1 - E1 of the first flip over that
# of this one, ideal one over the spoiling, slopes those of its logarithm); derivatives of ln R1 and M0.
MEASURED, NOISE, TANGENT, COTANGENT, SIGNAL, SHARE, WEIGHT, IDEAL, GAIN_BY_R1, GAIN_BY_FLIP = range(10)
R1_BY_SIGNAL, M0_BY_SIGNAL, R1_BY_B1, M0_BY_B1 = range(10, 14)
ROWS = 14
# Rows of the line [row, lane]; the first five are those of `straight_lines`.
SLOPE, X_MEAN, U_MEAN, TOTAL, SQUARES, RATE, R1_BACK, M0_BACK, R1_SD, M0_SD, BY_SLOPE, TO_LOG, COST = range(13)
LINE_ROWS = 13


@kernel(fastmath=FAST)
def load_lanes(data, protocol, first, lanes, good):
    """Fill the data rows of `good.size` voxels from `first` on, and `good`, where there is something to fit."""
    magnitude, mask, noise_sd, sd, _, b1, _, _ = data
    flip_angles, times, _, largest_flip = protocol
    count = good.size
    above = np.zeros(count)
    for f in range(flip_angles.size):
        flip, plain, plane = flip_angles[f], noise_sd[f], magnitude[f, first : first + count]
        signal, noise, tangent, cotangent = lanes[MEASURED, f], lanes[NOISE, f], lanes[TANGENT, f], lanes[COTANGENT, f]
        lanes[SHARE, f] = times[0] / times[f]
        noise[:] = plain
        tangent[:] = flip
        if sd.shape[1] > 0:
            for lane in range(count):
                noise[lane] = sd[f, first + lane]
        if b1.size > 0:
            for lane in range(count):
                tangent[lane] = flip * b1[first + lane]
        for lane in range(count):
            fine = (tangent[lane] > 0) & (tangent[lane] < largest_flip) & (abs(plane[lane]) < np.inf)
            fine &= (noise[lane] > 0) & (noise[lane] < np.inf)
            t = half_tangent(tangent[lane] if fine else flip)
            tangent[lane] = t
            cotangent[lane] = 0.5 * (1 - t * t) / t
            signal[lane] = plane[lane] if fine else plain
            above[lane] += 1.0 if signal[lane] > ABOVE_FLOOR * noise[lane] else 0.0
            above[lane] -= 0.0 if fine else 1000.0
        lanes[SIGNAL, f] = signal
        lanes[WEIGHT, f] = 1
        lanes[IDEAL, f] = 1
        lanes[GAIN_BY_R1, f] = 0
        lanes[GAIN_BY_FLIP, f] = 0
    for lane in range(count):
        good[lane] = mask[first + lane] and above[lane] >= 2


@kernel(fastmath=FAST)
def straight_lines(lanes, line):
    """Weighted line through u = S t share over x = S a: d, mean x, mean u, one over the sums of w and of w x^2."""
    slope, x_mean, u_mean, total, squares = line[SLOPE], line[X_MEAN], line[U_MEAN], line[TOTAL], line[SQUARES]
    line[:] = 0
    for f in range(lanes.shape[1]):
        signal, share, weight = lanes[SIGNAL, f], lanes[SHARE, f], lanes[WEIGHT, f]
        tangent, cotangent = lanes[TANGENT, f], lanes[COTANGENT, f]
        for lane in range(slope.size):
            total[lane] += weight[lane]
            x_mean[lane] += weight[lane] * signal[lane] * cotangent[lane]
            u_mean[lane] += weight[lane] * signal[lane] * tangent[lane] * share[lane]
    for lane in range(slope.size):
        total[lane] = 1 / total[lane]
        x_mean[lane] *= total[lane]
        u_mean[lane] *= total[lane]
    for f in range(lanes.shape[1]):
        signal, share, weight = lanes[SIGNAL, f], lanes[SHARE, f], lanes[WEIGHT, f]
        tangent, cotangent = lanes[TANGENT, f], lanes[COTANGENT, f]
        for lane in range(slope.size):
            x = signal[lane] * cotangent[lane] - x_mean[lane]
            squares[lane] += weight[lane] * x * x
            slope[lane] -= weight[lane] * x * (signal[lane] * tangent[lane] * share[lane] - u_mean[lane])
    for lane in range(slope.size):
        squares[lane] = 1 / max(squares[lane], TINY)
        slope[lane] = min(max(slope[lane] * squares[lane], LEAST), MOST)


@kernel(fastmath=FAST)
def follow_rate(data, protocol, first, lanes, good, line):
    """Shares and spoiling at the rate of the line, for the next pass."""
    _, _, _, _, _, b1, _, r2 = data
    flip_angles, times, tables, _ = protocol
    for lane in range(good.size):
        d = line[SLOPE, lane]
        rate = -np.log1p(-d) / times[0]
        log_r1 = np.log(rate)
        r2_at = r2_place(r2[first + lane]) if r2.size > 0 else 0.0
        for f in range(times.size):
            if times[f] != times[0]:
                lanes[SHARE, f, lane] = -d / np.expm1(-rate * times[f])
            if tables.shape[0] > 0 and good[lane]:
                angle = flip_angles[f] * (b1[first + lane] if b1.size > 0 else 1.0)
                gain, by_flip, by_r1 = ratio_and_slopes(tables[f], angle, r2_at, log_r1)
                lanes[IDEAL, f, lane] = 1 / gain
                lanes[GAIN_BY_FLIP, f, lane] = by_flip
                lanes[GAIN_BY_R1, f, lane] = by_r1
                lanes[SIGNAL, f, lane] = lanes[MEASURED, f, lane] / gain


@kernel(fastmath=FAST)
def follow_weights(lanes, line):
    """Weights: one over the squared noise that each signal brings to its distance from the line."""
    for f in range(lanes.shape[1]):
        noise, share, tangent, cotangent = lanes[NOISE, f], lanes[SHARE, f], lanes[TANGENT, f], lanes[COTANGENT, f]
        for lane in range(noise.size):
            lever = (tangent[lane] * share[lane] + line[SLOPE, lane] * cotangent[lane]) * noise[lane]
            lanes[WEIGHT, f, lane] = 1 / (lever * lever)


@kernel(fastmath=FAST)
def rates(time, line):
    """R1 and what turns a change of d into one of ln R1; -ln(1 - d) by its series in d / (2 - d), within 1e-10."""
    rate, by_slope, to_log = line[RATE], line[BY_SLOPE], line[TO_LOG]
    for lane in range(rate.size):
        d = line[SLOPE, lane]
        z = d / (2 - d)
        q = z * z
        tail = 1 / 9 + q * (1 / 11 + q * (1 / 13 + q * (1 / 15 + q / 17)))
        rate[lane] = 2 * z * (1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * tail)))) / time
        by_slope[lane] = 1 / d
    for lane in range(rate.size):
        if line[SLOPE, lane] > SERIES_END:
            rate[lane] = -np.log1p(-line[SLOPE, lane]) / time
        to_log[lane] = 1 / (rate[lane] * time * (1 - line[SLOPE, lane]))


@kernel(fastmath=FAST)
def derivatives(protocol, lanes, line):
    """Derivatives of ln R1 and M0 by each signal and by b1, and how R1 acts back on both through the spoiling.

    Every row is taken out as an array of its own: the compiler works on several voxels at once only where it sees that
    neighbours lie side by side.
    """
    flip_angles, times = protocol[0], protocol[1]
    rates(times[0], line)
    slope, u_means, x_means, squares = line[SLOPE], line[U_MEAN], line[X_MEAN], line[SQUARES]
    totals, by_slope, to_logs = line[TOTAL], line[BY_SLOPE], line[TO_LOG]
    for f in range(times.size):
        cotangent, tangent, signal, weight = lanes[COTANGENT, f], lanes[TANGENT, f], lanes[SIGNAL, f], lanes[WEIGHT, f]
        share, ideal, gain_by_flip = lanes[SHARE, f], lanes[IDEAL, f], lanes[GAIN_BY_FLIP, f]
        r1_by_signal, m0_by_signal = lanes[R1_BY_SIGNAL, f], lanes[M0_BY_SIGNAL, f]
        r1_by_b1, m0_by_b1 = lanes[R1_BY_B1, f], lanes[M0_BY_B1, f]
        for lane in range(slope.size):
            a, t, s, w, c = cotangent[lane], tangent[lane], signal[lane], weight[lane], share[lane]
            d, by_d, to_log = slope[lane], by_slope[lane], to_logs[lane]
            x = s * a - x_means[lane]
            residual = s * t * c - u_means[lane] + d * x
            lever = -w * squares[lane]
            d_by_x, d_by_u = lever * (x * d + residual), lever * x
            part, steep = w * totals[lane], u_means[lane] * by_d * by_d
            m0_by_x, m0_by_u = part - steep * d_by_x, part * by_d - steep * d_by_u
            r1_by_s, m0_by_s = (d_by_x * a + d_by_u * t * c) * to_log, m0_by_x * a + m0_by_u * t * c
            a_by_flip, t_by_flip = -(a + t) * (a + t), 0.5 * (1 + t * t) * c
            r1_by_flip = (d_by_x * a_by_flip + d_by_u * t_by_flip) * to_log - r1_by_s * gain_by_flip[lane]
            m0_by_flip = m0_by_x * a_by_flip + m0_by_u * t_by_flip - m0_by_s * gain_by_flip[lane]
            r1_by_signal[lane] = r1_by_s
            m0_by_signal[lane] = m0_by_s
            r1_by_b1[lane] = r1_by_flip * s * flip_angles[f]
            m0_by_b1[lane] = m0_by_flip * s * flip_angles[f]
        act_back(r1_by_signal, signal, lanes[GAIN_BY_R1, f], ideal, line[R1_BACK])
        act_back(m0_by_signal, signal, lanes[GAIN_BY_R1, f], ideal, line[M0_BACK])


@kernel(fastmath=FAST)
def act_back(by_signal, signal, gain_by_r1, ideal, back):
    """Add what R1 changes through the spoiling, and turn the derivative into one by the measured signal."""
    for lane in range(signal.size):
        back[lane] += by_signal[lane] * signal[lane] * gain_by_r1[lane]
        by_signal[lane] *= ideal[lane]


@kernel(fastmath=FAST)
def spread(data, first, lanes, line):
    """SD of ln R1 and of M0 from the noise, from shared errors and from the flip angles."""
    shared, b1_sds = data[4], data[6]
    count = line.shape[1]
    r1_variance, m0_variance, r1_back, m0_back = line[R1_SD], line[M0_SD], line[R1_BACK], line[M0_BACK]
    common = np.zeros((4, count))
    r1_shared, m0_shared, r1_flip, m0_flip = common[0], common[1], common[2], common[3]
    for lane in range(count):
        r1_back[lane] = 1 / (1 + r1_back[lane])
    for f in range(lanes.shape[1]):
        r1_by_signal, m0_by_signal, noise = lanes[R1_BY_SIGNAL, f], lanes[M0_BY_SIGNAL, f], lanes[NOISE, f]
        for lane in range(count):
            r1_by_signal[lane] *= r1_back[lane]
            m0_by_signal[lane] -= m0_back[lane] * r1_by_signal[lane]
            r1_noise, m0_noise = r1_by_signal[lane] * noise[lane], m0_by_signal[lane] * noise[lane]
            r1_variance[lane] += r1_noise * r1_noise
            m0_variance[lane] += m0_noise * m0_noise
        if shared.shape[1] > 0:
            own = shared[f, first : first + count]
            for lane in range(count):
                r1_shared[lane] += r1_by_signal[lane] * own[lane]
                m0_shared[lane] += m0_by_signal[lane] * own[lane]
        if b1_sds.size > 0:
            r1_by_b1, m0_by_b1 = lanes[R1_BY_B1, f], lanes[M0_BY_B1, f]
            for lane in range(count):
                by_b1 = r1_by_b1[lane] * r1_back[lane]
                r1_flip[lane] += by_b1
                m0_flip[lane] += m0_by_b1[lane] - m0_back[lane] * by_b1
    if b1_sds.size > 0:
        b1_sd = b1_sds[first : first + count]
        for lane in range(count):
            r1_flip[lane] *= b1_sd[lane]
            m0_flip[lane] *= b1_sd[lane]
    for lane in range(count):
        r1_variance[lane] += r1_shared[lane] * r1_shared[lane] + r1_flip[lane] * r1_flip[lane]
        m0_variance[lane] += m0_shared[lane] * m0_shared[lane] + m0_flip[lane] * m0_flip[lane]
        r1_variance[lane] = np.sqrt(r1_variance[lane])
        m0_variance[lane] = np.sqrt(m0_variance[lane])


@kernel(fastmath=FAST)
def misfit(lanes, line):
    """Squared residual in noise SDs, of the signals rather than of the line."""
    slope, u_mean, x_mean, cost = line[SLOPE], line[U_MEAN], line[X_MEAN], line[COST]
    for f in range(lanes.shape[1]):
        cotangent, tangent, signal, share = lanes[COTANGENT, f], lanes[TANGENT, f], lanes[SIGNAL, f], lanes[SHARE, f]
        ideal, noise = lanes[IDEAL, f], lanes[NOISE, f]
        for lane in range(slope.size):
            d = slope[lane]
            bottom = tangent[lane] * share[lane] + d * cotangent[lane]
            top = u_mean[lane] + d * x_mean[lane]
            residual = (signal[lane] * bottom - top) / (bottom * ideal[lane] * noise[lane])
            cost[lane] += residual * residual


@kernel(fastmath=FAST)
def linear_chunk(data, protocol, weighted, passes, first, last, results):
    """Fit voxels `first` to `last`.

    weighted: whether the weights follow the fit; passes: over the line. The rest is as in `nlls_chunk`.
    """
    flips, times, tables = protocol[0].size, protocol[1], protocol[2]
    r1_map, sd_map, m0_map, m0_sd_map, quality, valid = results
    depends = tables.shape[0] > 0 or times.min() < times.max()
    lanes, line, good = np.empty((ROWS, flips, LANES)), np.empty((LINE_ROWS, LANES)), np.empty(LANES, np.bool_)
    for begin in range(first, last, LANES):
        count = min(LANES, last - begin)
        if count < LANES:
            lanes, line, good = np.empty((ROWS, flips, count)), np.empty((LINE_ROWS, count)), np.empty(count, np.bool_)
        load_lanes(data, protocol, begin, lanes, good)
        for n in range(passes):
            if n > 0 and depends:
                follow_rate(data, protocol, begin, lanes, good, line)
            if n > 0 and weighted:
                follow_weights(lanes, line)
            straight_lines(lanes, line)
        derivatives(protocol, lanes, line)
        spread(data, begin, lanes, line)
        misfit(lanes, line)
        for lane in range(count):
            d, v = line[SLOPE, lane], begin + lane
            m0 = line[U_MEAN, lane] / d + line[X_MEAN, lane]
            determined = good[lane] and LEAST < d < MOST and m0 > 0
            if determined and line[R1_SD, lane] < 1 and line[M0_SD, lane] < np.inf:
                r1_map[v], m0_map[v] = line[RATE, lane], m0
                sd_map[v], m0_sd_map[v] = line[R1_SD, lane] * line[RATE, lane], line[M0_SD, lane]
                quality[v] = np.sqrt(line[COST, lane] / (flips - 2)) if flips > 2 else 0.0
                valid[v] = True
