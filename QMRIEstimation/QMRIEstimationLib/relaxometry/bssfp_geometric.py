"""Voxel loop of R2 from bSSFP by the geometric solution: the lines through opposite phase cycles cross in S0."""

import math

import numpy as np

from ..kernels import kernel
from .bssfp_ellipse import LARGEST_B
from .bssfp_lore import amplitude_at_echo, load_images
from .bssfp_refine import LEVEL, PHASE, ROWS, THETA, A, B, normal_equations
from .bssfp_steady import DIFFERENCE, FAST, despot2
from .bssfp_voxel import load_maps, store

CYCLES = 4


@kernel(fastmath=FAST)
def crossing(image):
    """S0 (complex), theta + first phase cycle (rad), a and b from four cycles 90 degrees apart.

    The lines through opposite cycles cross in S0; the shares of both sides of a line are 1 +- b cos(theta_n).
    Noise can throw the crossing far away; then the mean of the cycles is taken, as in the paper.
    """
    i1, i2, i3, i4 = image[0], image[1], image[2], image[3]
    first, second = i1 - i3, i2 - i4
    area = first.real * second.imag - first.imag * second.real
    largest = max(abs(i1), abs(i2), abs(i3), abs(i4))
    centre = 0.25 * (i1 + i2 + i3 + i4)
    if area != 0:
        cross13 = i1.real * i3.imag - i1.imag * i3.real
        cross24 = i2.real * i4.imag - i2.imag * i4.real
        met = (cross13 * second - cross24 * first) / area
        if abs(met) <= largest:
            centre = met
    side1, side2, side3, side4 = abs(i1 - centre), abs(i2 - centre), abs(i3 - centre), abs(i4 - centre)
    if side1 + side3 == 0 or side2 + side4 == 0 or centre == 0:
        return centre, 0.0, 0.0, 0.0
    b_cosine, b_sine = (side1 - side3) / (side1 + side3), (side4 - side2) / (side2 + side4)
    theta = math.atan2(b_sine, b_cosine)
    cosine, sine = math.cos(theta), math.sin(theta)
    # Im(I_n / S0) = a sin(theta_n) / (1 - b cos(theta_n)): summed with its own sign over the cycles
    tilt = sine * (((i1 / centre).imag) * (1 - b_cosine) - ((i3 / centre).imag) * (1 + b_cosine))
    tilt += cosine * (((i2 / centre).imag) * (1 + b_sine) - ((i4 / centre).imag) * (1 - b_sine))
    return centre, theta, 0.5 * tilt, min(math.sqrt(b_cosine**2 + b_sine**2), LARGEST_B)


@kernel(fastmath=FAST)
def crossing_ellipse(image, first_cycle, ellipse):
    """Fill `ellipse` by the crossing; returns the relative variance of |S0| for noise of SD 1."""
    centre, theta, ellipse[A], ellipse[B] = crossing(image)
    level = abs(centre)
    ellipse[LEVEL], ellipse[PHASE], ellipse[THETA] = level, math.atan2(centre.imag, centre.real), theta - first_cycle
    step = DIFFERENCE * max(level, 1.0)
    variance = 0.0
    for n in range(CYCLES):
        before = image[n]
        for turn in (1 + 0j, 1j):
            image[n] = before + step * turn
            variance += ((abs(crossing(image)[0]) - level) / step) ** 2
        image[n] = before
    return variance / (level * level) if level > 0 else np.inf


@kernel(fastmath=FAST)
def geometric_chunk(data, maps, plan, settings, first, last, results):
    """Fit voxels `first` to `last`; plan: cosines and sines of the cycles and their order; the rest as `lore_chunk`."""
    magnitude, phase, mask, noise_sd, nominal = data
    cosines, sines_of_cycles, order = plan
    tr = settings[0]
    quality, off_resonance, m0 = results[3:]
    flips = nominal.size
    first_cycle = math.atan2(sines_of_cycles[order[0]], cosines[order[0]])
    real, imag, image = np.empty((flips, CYCLES)), np.empty((flips, CYCLES)), np.empty(CYCLES, np.complex128)
    angles, sines, flip_cosines = np.empty(flips), np.empty(flips), np.empty(flips)
    amplitude, variance, ellipse = np.empty(flips), np.empty(flips), np.empty(5)
    row, gram = np.empty((2, 6)), np.empty((ROWS, 6))
    for v in range(first, last):
        if not mask[v] or not load_images(magnitude, phase, v, noise_sd, real, imag):
            continue
        r1, r1_sd, b1, b1_sd, usable = load_maps(maps, v, nominal, angles, sines, flip_cosines)
        if not usable:
            continue
        loss = 0.0
        for f in range(flips):
            for n in range(CYCLES):
                image[n] = complex(real[f, order[n]], imag[f, order[n]])
            variance[f] = crossing_ellipse(image, first_cycle, ellipse)
            amplitude[f] = ellipse[LEVEL]
            loss += normal_equations(real[f], imag[f], cosines, sines_of_cycles, ellipse, ROWS - 1, row, gram)
        rate, noise_part, by_r1, by_b1 = despot2(amplitude, variance, angles, sines, flip_cosines, r1, tr)
        if not loss < np.inf or not store(v, rate, noise_part, by_r1, by_b1, (r1, r1_sd, b1, b1_sd), settings, results):
            continue
        quality[v] = math.sqrt(loss / (flips * (2 * CYCLES - ROWS)))
        off_resonance[v] = math.atan2(math.sin(ellipse[THETA]), math.cos(ellipse[THETA])) / (2 * math.pi * tr)
        at_echo = amplitude_at_echo(amplitude, sines, flip_cosines, math.exp(-r1 * tr), math.exp(-rate * tr))
        m0[v] = noise_sd * at_echo * math.exp(0.5 * rate * tr)
