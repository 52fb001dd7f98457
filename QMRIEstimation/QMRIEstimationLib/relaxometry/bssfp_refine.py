"""Gauss-Newton refinement of the ellipse of one flip angle: amplitude, phase, theta, a and b free.

Relaxation and flip angle do not enter, so that magnetisation transfer, which changes b and the amplitude but not
a = E2 and the shape, cannot drive the fit away; they enter when the amplitudes are compared (DESPOT2).
Reference: Bjork M et al. 2014, Magn Reson Med 72:880-892 (LORE-GN).
"""

import numpy as np

from ..kernels import kernel
from .bssfp_steady import FAST, sine_cosine

MOST_ITERATIONS = 12
LAST_STEP = 0.25  # squared SDs to the minimum: the step from here ends much closer than the noise can tell
SMALLEST_SHARE = 1 / 16  # of a step that has to be cut because the loss rises
LEVEL, PHASE, THETA, A, B = range(5)  # of an ellipse; the first is |S0|
ROWS = 5  # of the normal equations: PHASE, THETA, B, then A and ln LEVEL in either order; column 5 is the residual


@kernel(fastmath=FAST)
def normal_equations(real, imag, cosines, sines, ellipse, level_row, row, gram):
    """Squared misfit of an ellipse; fills the reduced upper triangle gram [5, 6]; row: float64 [2, 6].

    level_row: 4 when the SD of |S0| is wanted, 3 when that of a is: the last row is reduced by all others.
    """
    level, a, b = ellipse[LEVEL], ellipse[A], ellipse[B]
    sin_theta, cos_theta = sine_cosine(ellipse[THETA])
    aside, back = sine_cosine(ellipse[PHASE])
    a_row = 7 - level_row
    loss = 0.0
    gram[:] = 0.0
    for n in range(real.size):
        c = cos_theta * cosines[n] - sin_theta * sines[n]
        s = sin_theta * cosines[n] + cos_theta * sines[n]
        q = 1 / (1 - b * c)
        pq = level * q
        x, y = pq * (1 - a * c), pq * a * s
        bend = q * b * s
        u, v = real[n] * back + imag[n] * aside - x, imag[n] * back - real[n] * aside - y
        row[0, 0], row[1, 0] = -y, x
        row[0, 1], row[1, 1] = pq * a * s - x * bend, pq * a * c - y * bend
        row[0, 2], row[1, 2] = x * c * q, y * c * q
        row[0, a_row], row[1, a_row] = -pq * c, pq * s
        row[0, level_row], row[1, level_row] = x, y
        row[0, 5], row[1, 5] = u, v
        loss += u * u + v * v
        for r in range(ROWS):
            for k in range(r, 6):
                gram[r, k] += row[0, r] * row[0, k] + row[1, r] * row[1, k]
    for pivot in range(ROWS - 1):
        if not gram[pivot, pivot] > 0:
            return np.inf
        inverse = 1 / gram[pivot, pivot]
        for r in range(pivot + 1, ROWS):
            factor = gram[pivot, r] * inverse
            for c in range(r, 6):
                gram[r, c] -= factor * gram[pivot, c]
    return loss if gram[ROWS - 1, ROWS - 1] > 0 else np.inf


@kernel(fastmath=FAST)
def solve_step(gram, step):
    """Fill the Gauss-Newton step by row; returns the fall it promises: the squared distance to the minimum in SDs."""
    promise = 0.0
    for r in range(ROWS - 1, -1, -1):
        value = gram[r, 5]
        promise += value * value / gram[r, r]
        for c in range(r + 1, ROWS):
            value -= gram[r, c] * step[c]
        step[r] = value / gram[r, r]
    return promise


@kernel(fastmath=FAST)
def move(ellipse, step, share, level_row, trial):
    """Fill `trial` with the ellipse after a share of the step; b stays below 1, where the model has no pole."""
    trial[PHASE] = ellipse[PHASE] + share * step[0]
    trial[THETA] = ellipse[THETA] + share * step[1]
    trial[B] = min(ellipse[B] + share * step[2], 0.5 * (1 + ellipse[B]))
    trial[A] = ellipse[A] + share * step[7 - level_row]
    trial[LEVEL] = ellipse[LEVEL] * max(1 + share * step[level_row], 0.5)


@kernel(fastmath=FAST)
def refine(real, imag, cosines, sines, ellipse, level_row, scratch):
    """Improve `ellipse` in place while the loss falls; returns the loss and the variance of the last row.

    A loss of Inf says that there is no ellipse to start from. scratch: row, gram, step, trial.
    """
    row, gram, step, trial = scratch
    loss = normal_equations(real, imag, cosines, sines, ellipse, level_row, row, gram)
    if not loss < np.inf:
        return np.inf, 0.0
    share = 1.0
    variance = 1 / gram[4, 4]
    promise = solve_step(gram, step)
    freedom = 2 * real.size - ROWS
    for _ in range(MOST_ITERATIONS):
        move(ellipse, step, share, level_row, trial)
        if promise < LAST_STEP * max(1.0, loss / freedom):
            ellipse[:] = trial
            return loss - promise, variance
        new_loss = normal_equations(real, imag, cosines, sines, trial, level_row, row, gram)
        if new_loss < loss:
            loss = new_loss
            ellipse[:] = trial
            share = 1.0
            variance = 1 / gram[4, 4]
            promise = solve_step(gram, step)
        else:
            share *= 0.5
            if share < SMALLEST_SHARE:
                break
    return loss, variance
