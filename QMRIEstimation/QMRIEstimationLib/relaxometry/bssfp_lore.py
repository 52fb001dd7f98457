"""Voxel loop of R2 from bSSFP by LORE: load, ellipses, comparison of their amplitudes, standard deviation."""

import math

import numpy as np

from ..kernels import kernel
from .bssfp_ellipse import lore_ellipse
from .bssfp_refine import LEVEL, PHASE, ROWS, THETA, A, B, normal_equations, refine
from .bssfp_steady import FAST, despot2, sine_cosine, steady_amplitude
from .bssfp_voxel import load_maps, store

POOR = 5.0  # misfit over what noise explains, beyond which the minimum may be a false one


@kernel(fastmath=FAST)
def load_images(magnitude, phase, v, noise_sd, real, imag):
    """Fill the images [flip, cycle] in noise SDs; returns whether all are finite and one is not 0."""
    finite, largest = True, 0.0
    cycles = real.shape[1]
    inverse = 1 / noise_sd
    for f in range(len(real)):
        for n in range(cycles):
            amount, angle = magnitude[f * cycles + n, v] * inverse, phase[f * cycles + n, v]
            finite = finite and abs(amount) < np.inf and abs(angle) < np.inf
            largest = max(largest, amount)
            sine, cosine = sine_cosine(angle)
            real[f, n], imag[f, n] = amount * cosine, amount * sine
    return finite and largest > 0


@kernel(fastmath=FAST)
def steady_start(real, imag, cosines, sines, e1, flip_sine, flip_cosine, guide, ellipse):
    """Fill the ellipse that R1 and the flip angle expect with theta and a of the guide, and the S0 that fits best.

    The smaller the flip angle and the decay, the nearer b is to 1, where noise leads the linear fit far astray.
    """
    a = min(guide[A], 1.0)
    _, b = steady_amplitude(e1, a, flip_sine, flip_cosine)
    sin_theta, cos_theta = sine_cosine(guide[THETA])
    along, across, norm = 0.0, 0.0, 0.0
    for n in range(real.size):
        c = cos_theta * cosines[n] - sin_theta * sines[n]
        s = sin_theta * cosines[n] + cos_theta * sines[n]
        x, y = (1 - a * c) / (1 - b * c), a * s / (1 - b * c)
        along += x * real[n] + y * imag[n]
        across += x * imag[n] - y * real[n]
        norm += x * x + y * y
    ellipse[LEVEL], ellipse[PHASE] = math.sqrt(along * along + across * across) / norm, math.atan2(across, along)
    ellipse[THETA], ellipse[A], ellipse[B] = guide[THETA], a, b


@kernel(fastmath=FAST)
def fit_ellipses(real, imag, plan, known, refined, ellipses, variance, other, scratch):
    """Fill `ellipses` [flip, 5] and the relative variance of |S0| (one flip angle: variance of a); returns the loss.

    Starts with the largest flip angle, whose theta helps where another fits poorly. known: E1, sines and cosines.
    """
    cosines, sines, matrices = plan
    e1, flip_sines, flip_cosines = known
    row, gram, _, _ = scratch
    flips = len(real)
    level_row = 4 if flips > 1 else 3
    freedom = 2 * cosines.size - ROWS
    total = 0.0
    for f in range(flips - 1, -1, -1):
        lore_ellipse(real[f], imag[f], cosines, sines, matrices, ellipses[f])
        if refined:
            loss, variance[f] = refine(real[f], imag[f], cosines, sines, ellipses[f], level_row, scratch)
        else:
            loss = normal_equations(real[f], imag[f], cosines, sines, ellipses[f], level_row, row, gram)
            variance[f] = 1 / gram[4, 4]
        if refined and f < flips - 1 and not loss < POOR * freedom:
            steady_start(
                real[f], imag[f], cosines, sines, e1, flip_sines[f], flip_cosines[f], ellipses[flips - 1], other
            )
            again, again_variance = refine(real[f], imag[f], cosines, sines, other, level_row, scratch)
            if again < loss:
                loss, variance[f] = again, again_variance
                ellipses[f, :] = other
        total += loss
    return total


@kernel(fastmath=FAST)
def amplitude_at_echo(amplitude, sines, cosines, e1, e2):
    """M0 sqrt(E2) that fits |S0| of all flip angles best."""
    overlap, norm = 0.0, 0.0
    for f in range(sines.size):
        unit, _ = steady_amplitude(e1, e2, sines[f], cosines[f])
        overlap += unit * amplitude[f]
        norm += unit * unit
    return overlap / norm


@kernel(fastmath=FAST)
def lore_chunk(data, maps, plan, settings, refined, first, last, results):
    """Fit voxels `first` to `last`.

    data: magnitude and phase [flip x cycle, v], mask [v], noise_sd, nominal flip angles, ascending.
    maps: r1, r1_sd, b1, b1_sd [v].
    plan: cosines and sines of the phase cycles, `lore_matrices`.
    settings: repetition time (s), factor of the finite-pulse correction, 1 when R1 errs with B1, else 0.
    results: r2, sd, valid, quality, off_resonance, m0 [v], written where the fit succeeds.
    """
    magnitude, phase, mask, noise_sd, nominal = data
    tr = settings[0]
    quality, off_resonance, m0 = results[3:]
    flips, cycles = nominal.size, plan[0].size
    real, imag = np.empty((flips, cycles)), np.empty((flips, cycles))
    angles, sines, cosines = np.empty(flips), np.empty(flips), np.empty(flips)
    ellipses, amplitude, variance, other = np.empty((flips, 5)), np.empty(flips), np.empty(flips), np.empty(5)
    scratch = np.empty((2, 6)), np.empty((ROWS, 6)), np.empty(ROWS), np.empty(5)
    for v in range(first, last):
        if not mask[v] or not load_images(magnitude, phase, v, noise_sd, real, imag):
            continue
        r1, r1_sd, b1, b1_sd, usable = load_maps(maps, v, nominal, angles, sines, cosines)
        if not usable:
            continue
        e1 = math.exp(-r1 * tr)
        loss = fit_ellipses(real, imag, plan, (e1, sines, cosines), refined, ellipses, variance, other, scratch)
        if not loss < np.inf:
            continue
        by_r1, by_b1 = 0.0, 0.0
        amplitude[:] = ellipses[:, LEVEL]
        if flips > 1:
            rate, noise_part, by_r1, by_b1 = despot2(amplitude, variance, angles, sines, cosines, r1, tr)
        elif ellipses[0, A] > 0:
            rate, noise_part = -math.log(ellipses[0, A]) / tr, math.sqrt(variance[0]) / (ellipses[0, A] * tr)
        else:
            continue
        if not store(v, rate, noise_part, by_r1, by_b1, (r1, r1_sd, b1, b1_sd), settings, results):
            continue
        quality[v] = math.sqrt(max(loss, 0.0) / (flips * (2 * cycles - ROWS)))
        theta = ellipses[flips - 1, THETA]
        off_resonance[v] = math.atan2(math.sin(theta), math.cos(theta)) / (2 * math.pi * tr)
        at_echo = amplitude_at_echo(amplitude, sines, cosines, e1, math.exp(-rate * tr))
        m0[v] = noise_sd * at_echo * math.exp(0.5 * rate * tr)
