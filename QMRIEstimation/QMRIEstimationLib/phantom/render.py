"""The object seen by a scanner: complex signal summed over the sub-voxels of every voxel, and noise."""

import math

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces
from .anatomy import TEXTURE_UNIT
from .sequences import B1_AXIS, bssfp_signal

PLANES = 4  # that one thread takes at a time


def render(patient, field, to_object, geometry, b1, table, *, cycle_time, cycle_phase, decay, decay_times, phase_times):
    """Complex images of one scan without noise, coil and phase offset.

    S = 1/n sum_s A (1 - a exp(-i theta)) / (1 - b cos(theta)) exp(-R t_decay) exp(2 pi i f t_phase) over the n
    sub-voxels s of a voxel; A, a and b depend on class, texture and transmit field, and a = b = 0 but in bSSFP, where
    theta = 2 pi f t_cycle + theta_0 and the phase grown until the echo is part of the signal (`bssfp_signal`).

    Args:
        field: float32 [k, j, i] on the sub-voxels of the object, Hz.
        to_object: 4x4 from the sub-voxel indices (i, j, k) of the scan to those of the object.
        geometry: grid of the scan. b1: float32 on it, ratio.
        table: float32 [class, B1_AXIS, 3, 2], A (with proton density), a, b and their slopes per SD of texture.
        cycle_time: s; cycle_phase: rad (repetition time and phase-cycling increment of bSSFP).
        decay: float32 [class, 2], rate (1/s) and its slope per SD of texture.
        decay_times, phase_times: float32 [echo], s.
    Returns:
        real, imag: float32 [echo, k, j, i].
    """
    real = np.zeros((len(decay_times), *geometry.shape), np.float32)
    imag = np.zeros_like(real)
    arguments = (
        real,
        imag,
        patient.classes,
        patient.texture,
        field,
        np.ascontiguousarray(to_object[:3], np.float64),
        b1,
        np.ascontiguousarray(table, np.float32),
        float(B1_AXIS[0]),
        float(B1_AXIS[1] - B1_AXIS[0]),
        float(cycle_time),
        float(cycle_phase),
        np.ascontiguousarray(decay, np.float32),
        np.ascontiguousarray(decay_times, np.float32),
        np.ascontiguousarray(phase_times, np.float32),
        float(1 / TEXTURE_UNIT),
    )
    in_pieces(lambda first, last: _render(*arguments, first, last), geometry.shape[0], PLANES)
    return real, imag


@kernel
def _spread(field, k, j, i, matrix):
    """(pi^2 / 6) sum of d^2, d (Hz) the change of the field across a sub-voxel along each axis of the scan.

    Its signal falls by the product of sinc(d t), to 0.2 % exp(-spread t^2). Of the differences to the two neighbours
    the smaller counts: the other may cross the surface of a tissue, where the field jumps.
    """
    gk = _smaller(field, k, j, i, 0)
    gj = _smaller(field, k, j, i, 1)
    gi = _smaller(field, k, j, i, 2)
    total = 0.0
    for axis in range(3):
        d = matrix[0, axis] * gi + matrix[1, axis] * gj + matrix[2, axis] * gk
        total += d * d
    return np.float32(np.pi**2 / 6 * total)


@kernel
def _smaller(field, k, j, i, axis):
    """The smaller of the differences to both neighbours along an axis; 0 at an extremum and at the edge."""
    dk, dj, di = int(axis == 0), int(axis == 1), int(axis == 2)
    place = (k, j, i)[axis]
    if place == 0 or place == field.shape[axis] - 1:
        return np.float32(0)
    before = field[k, j, i] - field[k - dk, j - dj, i - di]
    after = field[k + dk, j + dj, i + di] - field[k, j, i]
    if before * after <= 0:
        return np.float32(0)
    return before if abs(before) < abs(after) else after


@kernel
def _render(
    real, imag, classes, texture, field, matrix, b1, table, b1_first, b1_step, cycle_time, cycle_phase, decay,
    decay_times, phase_times, texture_unit, first, last,
):  # fmt: skip
    subsamples = 2
    share = np.float32(1.0 / subsamples**3)
    turn = 2.0 * np.pi
    for k in range(first, last):
        for j in range(real.shape[2]):
            for i in range(real.shape[3]):
                node = (b1[k, j, i] - b1_first) / b1_step
                node = min(max(node, 0.0), table.shape[1] - 1.001)
                n0 = int(node)
                wb = np.float32(node - n0)
                for s in range(subsamples**3):
                    si, sj, sk = 2 * i + (s & 1), 2 * j + ((s >> 1) & 1), 2 * k + (s >> 2)
                    oi = math.floor(matrix[0, 0] * si + matrix[0, 1] * sj + matrix[0, 2] * sk + matrix[0, 3] + 0.5)
                    oj = math.floor(matrix[1, 0] * si + matrix[1, 1] * sj + matrix[1, 2] * sk + matrix[1, 3] + 0.5)
                    ok = math.floor(matrix[2, 0] * si + matrix[2, 1] * sj + matrix[2, 2] * sk + matrix[2, 3] + 0.5)
                    if oi < 0 or oj < 0 or ok < 0:
                        continue
                    if oi >= classes.shape[2] or oj >= classes.shape[1] or ok >= classes.shape[0]:
                        continue
                    c = classes[ok, oj, oi]
                    if c == 0:  # air
                        continue
                    t = np.float32(texture[ok, oj, oi] * texture_unit)
                    f = field[ok, oj, oi]
                    low, high = table[c, n0], table[c, n0 + 1]
                    amplitude = (1 - wb) * (low[0, 0] + t * low[0, 1]) + wb * (high[0, 0] + t * high[0, 1])
                    signal = complex(amplitude, 0.0)
                    if low[1, 0] > 0:
                        a = (1 - wb) * (low[1, 0] + t * low[1, 1]) + wb * (high[1, 0] + t * high[1, 1])
                        b = (1 - wb) * (low[2, 0] + t * low[2, 1]) + wb * (high[2, 0] + t * high[2, 1])
                        signal = bssfp_signal(amplitude, a, b, turn * f * cycle_time, cycle_phase)
                    x, y = np.float32(signal.real), np.float32(signal.imag)
                    rate = decay[c, 0] + decay[c, 1] * t
                    spread = _spread(field, ok, oj, oi, matrix)
                    for e in range(real.shape[0]):
                        weight = share * np.exp(-rate * decay_times[e] - spread * phase_times[e] ** 2)
                        angle = np.float32(turn) * f * phase_times[e]
                        cosine, sine = weight * np.cos(angle), weight * np.sin(angle)
                        real[e, k, j, i] += x * cosine - y * sine
                        imag[e, k, j, i] += x * sine + y * cosine


def through_coil(real, imag, receive, phase_offset):
    """Weight complex images with a receive field and turn them by a phase (rad), in place."""
    cosine, sine = receive * np.cos(phase_offset), receive * np.sin(phase_offset)
    for e in range(len(real)):
        turned = real[e] * cosine - imag[e] * sine
        imag[e] *= cosine
        imag[e] += real[e] * sine
        real[e] = turned


def add_noise(real, imag, sd, rng):
    """Add independent Gaussian noise of `sd` to both parts of complex images, in place."""
    for part in (real, imag):
        for e in range(len(part)):
            part[e] += np.float32(sd) * rng.standard_normal(part[e].shape, np.float32)
