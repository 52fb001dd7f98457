"""Steady state of balanced SSFP and its inverse for one voxel: from amplitudes at several flip angles to R2.

The ellipse of the phase cycles n, S0 being A sqrt(E2) turned by the receiver's phase:

    I_n = S0 (1 - a exp(-i theta_n)) / (1 - b cos(theta_n)),   theta_n = 2 pi df TR + phase_cycle_n,   a = E2,
    A = M0 (1 - E1) sin(flip) / D,   b = E2 (1 - E1) (1 + cos(flip)) / D,
    D = 1 - E1 cos(flip) - E2^2 (E1 - cos(flip)).

Reference:
    Freeman R, Hill HDW 1971, J Magn Reson 4:366-383; Bjork M et al. 2014, Magn Reson Med 72:880-892.
"""

import math

from ..kernels import kernel

FAST = {"contract", "arcp", "reassoc", "nsz"}  # NaN and Inf keep their meaning: they are looked for
DIFFERENCE = 1e-4  # of the signal or parameter, for numerical derivatives


@kernel(fastmath=FAST)
def sine_cosine(angle):
    """Both of an angle up to some thousand turns, within 1e-11: series about the nearest quarter turn, no branches."""
    quarter = math.floor(angle * (2 / math.pi) + 0.5)
    r = angle - quarter * (0.5 * math.pi)
    q = r * r
    sine = r * (1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110)))))
    cosine = 1 - q / 2 * (1 - q / 12 * (1 - q / 30 * (1 - q / 56 * (1 - q / 90 * (1 - q / 132)))))
    odd = quarter - 2 * math.floor(0.5 * quarter)
    sign = 1 - 2 * (math.floor(0.5 * quarter) - 2 * math.floor(0.25 * quarter))
    return sign * (sine + odd * (cosine - sine)), sign * (cosine - odd * (cosine + sine))


@kernel(fastmath=FAST)
def steady_amplitude(e1, e2, sine, cosine):
    """Amplitude A for M0 = 1 and b of the ellipse."""
    scale = (1 - e1) / (1 - e1 * cosine - e2 * e2 * (e1 - cosine))
    return scale * sine, scale * e2 * (1 + cosine)


@kernel(fastmath=FAST)
def line_slope(amplitude, sines, cosines, e1):
    """Slope of amplitude/sin(flip) over amplitude/tan(flip), two passes of weights; nan where there is none.

    The error of a point off the line is that of its amplitude times (1 - slope cos(flip)) / sin(flip).
    """
    if sines.size == 2:
        y0, y1 = amplitude[0] / sines[0], amplitude[1] / sines[1]
        run = y0 * cosines[0] - y1 * cosines[1]
        return (y0 - y1) / run if run != 0 else math.nan
    slope = e1
    for _ in range(2):
        w, wx, wy, wxx, wxy = 0.0, 0.0, 0.0, 0.0, 0.0
        for f in range(sines.size):
            y = amplitude[f] / sines[f]
            x = y * cosines[f]
            weight = (sines[f] / (1 - slope * cosines[f])) ** 2
            w += weight
            wx += weight * x
            wy += weight * y
            wxx += weight * x * x
            wxy += weight * x * y
        spread = w * wxx - wx * wx
        if not spread > 0:
            return math.nan
        slope = (w * wxy - wx * wy) / spread
    return slope


@kernel(fastmath=FAST)
def decay_of_slope(slope, e1):
    """E2^2 of the elliptical line, or E2 of the line in the middle of the pass band: (slope - E1)/(slope E1 - 1)."""
    return (slope - e1) / (slope * e1 - 1)


@kernel(fastmath=FAST)
def despot2(amplitude, relative_variance, angles, sines, cosines, r1, tr):
    """R2 from |S0| at several flip angles, its noise SD and its derivatives by R1 and by the logarithm of B1.

    S0 carries sqrt(E2) at every flip angle alike, so the slope of the line does not know it. R2 is nan where there is
    none. relative_variance: of every amplitude. The derivatives are differences; `amplitude` comes back as it was.
    """
    e1 = math.exp(-r1 * tr)
    slope = line_slope(amplitude, sines, cosines, e1)
    squared = decay_of_slope(slope, e1)
    if not 0 < squared < 1:
        return math.nan, 0.0, 0.0, 0.0
    by_slope = (e1 * e1 - 1) / (slope * e1 - 1) ** 2
    by_e1 = (1 - slope * slope) / (slope * e1 - 1) ** 2
    by_b1, variance = 0.0, 0.0
    for f in range(angles.size):
        kept, sine, cosine = amplitude[f], sines[f], cosines[f]
        amplitude[f] = kept * (1 + DIFFERENCE)
        by_amplitude = (line_slope(amplitude, sines, cosines, e1) - slope) / DIFFERENCE
        amplitude[f] = kept
        turn = DIFFERENCE * angles[f]
        sines[f], cosines[f] = sine + turn * cosine, cosine - turn * sine
        by_b1 += (line_slope(amplitude, sines, cosines, e1) - slope) / DIFFERENCE
        sines[f], cosines[f] = sine, cosine
        variance += by_amplitude * by_amplitude * relative_variance[f]
    by_squared = -0.5 / (tr * squared)
    spread = abs(by_squared * by_slope) * math.sqrt(variance)
    return -0.5 * math.log(squared) / tr, spread, -by_squared * by_e1 * tr * e1, by_squared * by_slope * by_b1
