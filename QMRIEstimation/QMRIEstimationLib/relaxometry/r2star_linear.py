"""Voxel loop of the straight line through the logarithm, written so that the compiler works on many voxels at once."""

import numpy as np

from ..kernels import kernel
from .voxel_decay import ABOVE_FLOOR, FAST, plausible, sinc

LANES = 128  # voxels side by side; their scratch arrays stay in the fastest cache
SQRT_HALF_BITS = 0x3F3504F3  # of a float32
LN_2 = np.float32(np.log(2))


@kernel(fastmath=FAST)
def logarithms(values, out):
    """Natural logarithm of positive float32 numbers, within 2e-7 absolute.

    x = 2^n m with m between sqrt(1/2) and sqrt(2);  ln m = 2 (s + s^3/3 + s^5/5 + ...), s = (m - 1)/(m + 1).
    """
    bits = values.view(np.int32)
    mantissa_bits = np.empty(values.size, np.int32)
    mantissa = mantissa_bits.view(np.float32)
    for lane in range(values.size):
        exponent = np.int32(np.int32(bits[lane] - SQRT_HALF_BITS) >> 23)
        mantissa_bits[lane] = bits[lane] - np.int32(exponent << 23)
        out[lane] = np.float32(exponent) * LN_2
    for lane in range(values.size):
        s = (mantissa[lane] - np.float32(1)) / (mantissa[lane] + np.float32(1))
        q = s * s
        tail = q * (np.float32(1 / 3) + q * (np.float32(1 / 5) + q * np.float32(1 / 7)))
        out[lane] += np.float32(2) * s * (np.float32(1) + tail)


@kernel(fastmath=FAST)
def load_lanes(data, settings, first, signal, factor, use, used, above):
    """Fill the arrays of `signal.shape[1]` voxels from `first` on.

    signal [e, lane]: in noise SDs, 1 where not usable. factor: dephasing. use: 1 or 0 for usable.
    used [lane]: number of usable echoes. above: number above the floor, negative where a value is not finite.
    """
    magnitude, _, echo_times, differences = data
    noise_sd, sinc_floor = settings
    lanes = above.size
    inverse = np.float32(1 / noise_sd)
    floor = np.float32(ABOVE_FLOOR)
    for lane in range(lanes):
        above[lane] = 0
        used[lane] = 0
    for e in range(echo_times.size):
        plane = magnitude[e, first : first + lanes]
        if differences.shape[1] > 0:
            te = np.float32(echo_times[e])
            dk = differences[0, first : first + lanes]
            dj = differences[1, first : first + lanes]
            di = differences[2, first : first + lanes]
            for lane in range(lanes):
                factor[e, lane] = sinc(dk[lane] * te) * sinc(dj[lane] * te) * sinc(di[lane] * te)
        for lane in range(lanes):
            value = plane[lane] * inverse
            some = (factor[e, lane] >= sinc_floor) & (value > 0) & (value < np.inf)
            signal[e, lane] = value if some else np.float32(1)
            use[e, lane] = np.float32(1) if some else np.float32(0)
            used[lane] += use[e, lane]
            above[lane] += np.float32(1) if some & (value > floor) else np.float32(0)
            above[lane] -= np.float32(0) if abs(value) < np.inf else np.float32(1000)


@kernel(fastmath=FAST)
def straight_lines(times, logs, weights, signal, sums):
    """Weighted line through `logs` [e, lane]: rows of `sums` become intercept, rate, SD of the rate, squared residual.

    The noise of a logarithm is the noise over the signal. Weights of 0 leave an echo out.
    """
    intercept, rate, sd, cost = sums[0], sums[1], sums[2], sums[3]
    weight, centre, level, squares, product = sums[4], sums[5], sums[6], sums[7], sums[8]
    lanes = weight.size
    sums[:] = 0
    for e in range(times.size):
        t = np.float32(times[e])
        row, log = weights[e], logs[e]
        for lane in range(lanes):
            weight[lane] += row[lane]
            centre[lane] += row[lane] * t
            level[lane] += row[lane] * log[lane]
    for lane in range(lanes):
        safe = np.float32(1) / max(weight[lane], np.float32(1e-30))
        centre[lane] *= safe
        level[lane] *= safe
    for e in range(times.size):
        t = np.float32(times[e])
        row, log, value = weights[e], logs[e], signal[e]
        for lane in range(lanes):
            offset = t - centre[lane]
            lever = row[lane] * offset
            squares[lane] += lever * offset
            product[lane] += lever * (log[lane] - level[lane])
            noise = lever / value[lane]
            sd[lane] += noise * noise
    for lane in range(lanes):
        safe = np.float32(1) / max(squares[lane], np.float32(1e-30))
        rate[lane] = -product[lane] * safe
        intercept[lane] = level[lane] + rate[lane] * centre[lane]
        sd[lane] = np.sqrt(sd[lane]) * safe
    for e in range(times.size):
        t = np.float32(times[e])
        row, log, value = weights[e], logs[e], signal[e]
        for lane in range(lanes):
            residual = (log[lane] - intercept[lane] + rate[lane] * t) * value[lane]
            cost[lane] += residual * residual if row[lane] > 0 else np.float32(0)


@kernel(fastmath=FAST)
def log_linear_chunk(data, settings, weighted, first, last, results):
    """Fit voxels `first` to `last`; `weighted` chooses the weights, the rest is as in `r2star_nlls.nlls_chunk`."""
    mask, echo_times = data[1], data[2]
    noise_sd = settings[0]
    r2star, sd, quality, s0, valid = results
    echoes = echo_times.size
    span, spacing = echo_times[-1] - echo_times[0], echo_times[1] - echo_times[0]
    times = (echo_times / span).astype(np.float32)
    for begin in range(first, last, LANES):
        lanes = min(LANES, last - begin)
        used, above = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
        signal, use = np.empty((echoes, lanes), np.float32), np.empty((echoes, lanes), np.float32)
        logs = np.empty((echoes, lanes), np.float32)
        factor = np.ones((echoes, lanes), np.float32)
        sums = np.empty((9, lanes), np.float32)
        load_lanes(data, settings, begin, signal, factor, use, used, above)
        for e in range(echoes):
            logarithms(signal[e] / factor[e], logs[e])
        straight_lines(times, logs, use, signal, sums)
        if weighted:
            # Weights from the predicted signal: those from the data themselves bias R2* down.
            for e in range(echoes):
                for lane in range(lanes):
                    predicted = factor[e, lane] * np.exp(sums[0, lane] - sums[1, lane] * times[e])
                    use[e, lane] *= predicted * predicted
            straight_lines(times, logs, use, signal, sums)
        for lane in range(lanes):
            v = begin + lane
            rate, rate_sd = sums[1, lane] / span, sums[2, lane] / span
            if not (mask[v] and above[lane] >= 2 and plausible(rate, rate_sd, spacing, span)):
                continue
            r2star[v] = rate
            sd[v] = rate_sd
            quality[v] = np.sqrt(sums[3, lane] / (used[lane] - 2)) if used[lane] > 2 else 0.0
            s0[v] = noise_sd * np.exp(sums[0, lane])
            valid[v] = True
