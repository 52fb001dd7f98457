"""Centre, offset and E2 of the ellipse that the phase cycles of one voxel and flip angle lie on.

LORE by variable projection: with y_n = I_n (1 - x cos D_n + z sin D_n) the model of `bssfp_steady` reads
y_n = S0 - S0 a exp(-i theta) exp(-i D_n), x = b cos(theta), z = b sin(theta), D_n the phase cycles. What of y lies
outside the two functions of D_n must vanish: two real unknowns. The six-parameter least squares has the same minimum.
"""

import math

import numpy as np

from ..kernels import kernel
from .bssfp_refine import LEVEL, PHASE, THETA, A, B
from .bssfp_steady import FAST

LEAST_LORE_CYCLES = 4
LARGEST_B = 0.9999  # noise cannot carry it over 1, where the ellipse is open
SENSE_SAMPLE = 4096  # voxels that decide the sense of the phase cycles


def lore_matrices(phase_cycles):
    """What `lore_ellipse` multiplies the images with: complex128 [N, N] for N phase cycles (rad).

    Rows: N - 2 for what of an image lies outside the model, then S0 and S0 a exp(-i theta).
    """
    cycles = np.asarray(phase_cycles, np.float64)
    model = np.stack([np.ones(cycles.size, complex), -np.exp(-1j * cycles)], axis=1)
    outside = np.linalg.svd(model)[0][:, 2:].conj().T
    return np.ascontiguousarray(np.concatenate([outside, np.linalg.pinv(model)]))


@kernel(fastmath=FAST)
def lore_ellipse(real, imag, cosines, sines, matrices, ellipse):
    """Fill `ellipse` (`bssfp_refine`) by linear least squares; returns the squared misfit. real, imag: [cycle].

    A level of 0 says that the images do not determine one.
    """
    cycles = real.size
    rows = cycles - 2
    cc, ss, cs, cu, su, uu = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(rows):
        ur, ui, cr, ci, sr, si = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for n in range(cycles):
            m = matrices[k, n]
            x, y = m.real * real[n] - m.imag * imag[n], m.real * imag[n] + m.imag * real[n]
            ur += x
            ui += y
            cr += x * cosines[n]
            ci += y * cosines[n]
            sr += x * sines[n]
            si += y * sines[n]
        cc += cr * cr + ci * ci
        ss += sr * sr + si * si
        cs += cr * sr + ci * si
        cu += cr * ur + ci * ui
        su += sr * ur + si * ui
        uu += ur * ur + ui * ui
    ellipse[:] = 0.0
    determinant = cc * ss - cs * cs
    if not determinant > 0:
        return uu
    x, z = (cu * ss - cs * su) / determinant, (cu * cs - cc * su) / determinant
    cr, ci, tr, ti = 0.0, 0.0, 0.0, 0.0
    for n in range(cycles):
        keep = 1 - x * cosines[n] + z * sines[n]
        u, v = real[n] * keep, imag[n] * keep
        m, w = matrices[rows, n], matrices[rows + 1, n]
        cr += m.real * u - m.imag * v
        ci += m.real * v + m.imag * u
        tr += w.real * u - w.imag * v
        ti += w.real * v + w.imag * u
    squared = cr * cr + ci * ci
    if squared > 0:
        re, im = (tr * cr + ti * ci) / squared, (ti * cr - tr * ci) / squared  # a exp(-i theta)
        ellipse[LEVEL], ellipse[PHASE] = math.sqrt(squared), math.atan2(ci, cr)
        ellipse[A], ellipse[THETA] = math.sqrt(re * re + im * im), -math.atan2(im, re)
        ellipse[B] = min(math.sqrt(x * x + z * z), LARGEST_B)
    return uu - x * cu + z * su


def cycle_sense(images, phase_cycles):
    """Whether theta = 2 pi df TR + cycle (+1) or - cycle (-1) in these data, and how much worse the other fits.

    It is -1 where the vendor turns the pulse the other way than the phase is stored; then the ellipses of LORE close
    only with opposite cycles.

    Args:
        images: complex [flip, cycle, voxel], in which signal stands above noise.
        phase_cycles: rad [cycle], four or more.
    Returns:
        sense, and the ratio of the squared misfits, 1 or more.
    """
    step = max(1, images.shape[2] // SENSE_SAMPLE)
    sample = images[:, :, ::step].astype(np.complex128).transpose(0, 2, 1).reshape(-1, len(phase_cycles))
    misfits = []
    for sense in (1, -1):
        cycles = sense * np.asarray(phase_cycles, np.float64)
        outside = lore_matrices(cycles)[:-2]
        u, c, s = (np.einsum("kn,vn->vk", outside, sample * w) for w in (1, np.cos(cycles), np.sin(cycles)))
        uu, cc, ss, cs, cu, su = (
            (a.conj() * b).real.sum(1) for a, b in ((u, u), (c, c), (s, s), (c, s), (c, u), (s, u))
        )
        determinant = np.maximum(cc * ss - cs * cs, np.finfo(float).tiny)
        explained = (cu * cu * ss - 2 * cs * cu * su + su * su * cc) / determinant
        misfits.append(max(float(np.sum(uu - explained)), 1e-12 * float(np.sum(uu)) + np.finfo(float).tiny))
    return (1 if misfits[0] <= misfits[1] else -1), max(misfits) / min(misfits)
