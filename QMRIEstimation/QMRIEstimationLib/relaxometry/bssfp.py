"""R2 from phase-cycled balanced SSFP at one or more flip angles."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..geometry import check_same_shape
from ..parameters import Options, choice, flag, param
from ..threads import in_pieces
from .bssfp_ellipse import LEAST_LORE_CYCLES, cycle_sense, lore_matrices
from .bssfp_geometric import CYCLES, geometric_chunk
from .bssfp_lore import lore_chunk
from .bssfp_magnitude import magnitude_chunk
from .bssfp_pulse import TYPICAL_R1, TYPICAL_R2, typical_images
from .r2star import R2starMethod

SAME_ANGLE = 1e-4  # rad; sidecars give whole or tenth degrees
SENSE_VOXELS = 1 << 14  # that decide the sense of the phase cycles
FAINT = 1e-5  # noise of simulated images, of the brightest

_RESIDUAL = "root mean square residual of the ellipses in noise SDs (1 expected)"

R2_METHODS = {
    "lore": R2starMethod(
        "ellipse of the phase cycles by linear least squares (LORE) and Gauss-Newton steps, then elliptical DESPOT2",
        "Bjork M et al. 2014, Magn Reson Med 72:880-892; Deoni SCL et al. 2003, Magn Reson Med 49:515-526",
        _RESIDUAL,
    ),
    "geometric": R2starMethod(
        "geometric solution of four phase cycles, then elliptical DESPOT2",
        "Xiang QS, Hoff MN 2014, Magn Reson Med 71:927-933; Deoni SCL et al. 2003, Magn Reson Med 49:515-526",
        _RESIDUAL,
    ),
    "magnitude": R2starMethod(
        "DESPOT2 of every phase cycle, summed over the cycles",
        "Jutras JD et al. 2016, Magn Reson Med 76:1790-1804",
        "R2 by the sum of squares over R2 by the sum (1 expected; 0 with two phase cycles)",
    ),
}

# Two-pool model of the digital patient (phantom/transfer.py: bound pool 0.15, exchange 30/s), its default protocol at
# 3 T, R1 from its flip angles; Testing/test_bssfp.py measures it again.
WHITE_MATTER_TRANSFER_BIAS = 0.14


def transfer_note():
    """What the reader of an R2 map by bSSFP must know of magnetisation transfer, as a sentence."""
    return (
        f"bSSFP sees magnetisation transfer: in the two-pool digital patient R2 of white matter comes out "
        f"{100 * WHITE_MATTER_TRANSFER_BIAS:+.0f} %; compare R2 only between scans of the same protocol."
    )


@dataclass(frozen=True)
class R2Options(Options):
    """Settings of R2: the data it is made from, and the fit of bSSFP."""

    route: str = choice("auto", ("auto", "bssfp", "spin-echo"), "data; auto takes bSSFP, else a multi-echo spin echo")
    method: str = choice("lore", R2_METHODS, "how the phase cycles are combined; magnitude where there is no phase")
    gauss_newton: bool = flag(True, "refine lore by non-linear least squares; kept where the misfit falls")
    pulse_duration: float = param(
        0.0, "s", 0.0, 0.003, "rectangular equivalent of the RF pulse for the finite-pulse correction; 0 for none"
    )


@dataclass(frozen=True, eq=False)
class R2Fit:
    """Result of `fit_r2_bssfp`; every array [k, j, i], 0 where not valid.

    Attributes:
        r2, sd: float32, 1/s.
        quality: float32, what R2_METHODS[method].quality_meaning says.
        valid: bool.
        off_resonance: float32, Hz in the sense of the phase as stored, between -+1/(2 TR); None by magnitude.
        m0: float32, at echo time 0, unit of the image; None by magnitude.
        sense: +1 or -1, theta = 2 pi df TR + or - phase cycle; 0 by magnitude.
        sense_ratio: how many times worse the squared misfit of the other sense is; near 1 it was not determined.
    """

    r2: np.ndarray
    sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray
    off_resonance: np.ndarray | None
    m0: np.ndarray | None
    sense: int
    sense_ratio: float


class _Plan(NamedTuple):
    """Images [flip x cycle, v] sorted by flip angle and cycle, and what they were taken with."""

    order: np.ndarray
    flip_angles: np.ndarray
    phase_cycles: np.ndarray


def fit_r2_bssfp(
    magnitude,
    phase,
    flip_angles,
    phase_cycles,
    repetition_time,
    noise_sd,
    r1,
    r1_sd,
    b1,
    b1_sd,
    mask,
    options=R2Options(),
    r1_follows_b1=True,
    noise_share=None,
    progress=None,
    cancelled=None,
):
    """R2 and its SD from the steady state of bSSFP, free of bands, with R1 and the transmit field known.

    The signal is that of `bssfp_steady`, the echo at half the repetition time. Phase and off-resonance may differ
    between flip angles, not between the cycles of one. A voxel is not valid where R1 or B1 is missing, where the
    amplitudes fit no R2, or where the SD exceeds the rate. With one flip angle R2 is that of a = E2, which needs
    neither R1 nor B1 but is far noisier.

    Args:
        magnitude: float32 [image, k, j, i], in any order; a voxel with NaN or Inf is not fitted.
        phase: float32 like magnitude, rad, or None for the method "magnitude".
        flip_angles, phase_cycles: nominal, rad, one for each image; every flip angle with the same cycles.
        repetition_time: s. noise_sd: Gaussian noise SD of one channel, unit of the image.
        r1, r1_sd: float32 [k, j, i], 1/s. b1, b1_sd: float32 [k, j, i], ratio to nominal.
        mask: bool [k, j, i], where to fit.
        r1_follows_b1: whether R1 was fitted to flip angles with this very B1 map, so that both err together.
        noise_share: float32 [k, j, i], SD of interpolated magnitudes over that of measured ones, for the method
            "magnitude"; None for 1.
    Returns:
        R2Fit.
    Raises:
        ValueError: shapes differ, phase or R1 is missing, or the phase cycles and flip angles do not do for the method.
            Cancelled.
    """
    images = {"magnitude": magnitude} | ({"phase": phase} if options.method != "magnitude" else {})
    maps = {"r1": r1, "r1_sd": r1_sd, "b1": b1, "b1_sd": b1_sd}
    check_same_shape(noise_share=noise_share, mask=mask)
    _check_arrays(images, maps, mask, len(flip_angles), repetition_time, noise_sd, options)
    plan = _sorted_plan(np.asarray(flip_angles, np.float64), np.asarray(phase_cycles, np.float64))
    _check_plan(plan, options)
    shape, voxels = mask.shape, mask.size
    planes = [np.ascontiguousarray(a, np.float32).reshape(len(plan.order), -1)[plan.order] for a in images.values()]
    known = tuple(np.ascontiguousarray(a, np.float32).reshape(-1) for a in maps.values())
    inside = np.ascontiguousarray(mask, bool).reshape(-1)
    gain = _finite_pulse(np.asarray(flip_angles), np.asarray(phase_cycles), repetition_time, options)
    settings = float(repetition_time), gain, float(r1_follows_b1)
    r2, sd, quality = (np.zeros(voxels, np.float32) for _ in range(3))
    valid = np.zeros(voxels, bool)
    data = *planes, inside, float(noise_sd), plan.flip_angles
    if options.method == "magnitude":
        off_resonance = m0 = None
        sense, ratio = 0, 1.0
        results = r2, sd, valid, quality
        share = np.ones(1, np.float32) if noise_share is None else noise_share
        data = *data, np.broadcast_to(np.asarray(share, np.float32).reshape(-1), voxels)
    else:
        off_resonance, m0 = np.zeros(voxels, np.float32), np.zeros(voxels, np.float32)
        sense, ratio = _sense(*planes, inside, plan)
        cycles = sense * plan.phase_cycles
        waves = np.cos(cycles), np.sin(cycles)
        results = r2, sd, valid, quality, off_resonance, m0
        order = np.argsort(np.mod(cycles + SAME_ANGLE, 2 * np.pi), kind="stable")
        ellipse = *waves, lore_matrices(cycles)

    def piece(first, last):
        if options.method == "magnitude":
            magnitude_chunk(data, known, plan.phase_cycles.size, settings, first, last, results)
        elif options.method == "geometric":
            geometric_chunk(data, known, (*waves, order), settings, first, last, results)
        else:
            lore_chunk(data, known, ellipse, settings, options.gauss_newton, first, last, results)

    in_pieces(piece, voxels, progress=progress, cancelled=cancelled, text="R2")
    maps = (None if a is None else a.reshape(shape) for a in (r2, sd, quality, valid, off_resonance, m0))
    return R2Fit(*maps, sense, ratio)


def _sorted_plan(flip_angles, phase_cycles):
    """Order of the images by flip angle, then by cycle, each between 0 and 2 pi."""
    if flip_angles.ndim != 1 or flip_angles.shape != phase_cycles.shape:
        raise ValueError(
            f"flip_angles has shape {flip_angles.shape} and phase_cycles {phase_cycles.shape}, expected one value each "
            "for every image."
        )
    cycles = np.round(np.mod(phase_cycles, 2 * np.pi) / SAME_ANGLE) * SAME_ANGLE
    cycles = np.where(cycles > 2 * np.pi - SAME_ANGLE, 0.0, cycles)
    order = np.lexsort((cycles, flip_angles))
    sorted_flips = flip_angles[order]
    starts = np.flatnonzero(np.diff(sorted_flips, prepend=-np.inf) > SAME_ANGLE)
    sizes = np.diff([*starts, order.size])
    shown = ", ".join(f"{flip:.4g} rad: {size}" for flip, size in zip(sorted_flips[starts], sizes, strict=True))
    if np.ptp(sizes):
        raise ValueError(f"the phase cycles differ between flip angles ({shown}), expected the same for each.")
    grid = np.mod(phase_cycles[order], 2 * np.pi).reshape(starts.size, -1)
    apart = np.abs(np.angle(np.exp(1j * (grid - grid[0]))))
    if apart.max() > SAME_ANGLE:
        raise ValueError("the phase cycles differ between flip angles, expected the same for each.")
    return _Plan(order, sorted_flips[starts], grid[0])


def _check_plan(plan, options):
    """Raise ValueError for flip angles or phase cycles a method cannot use."""
    flips, cycles = plan.flip_angles, plan.phase_cycles
    if not (np.isfinite(flips).all() and flips[0] > 0 and flips[-1] < math.pi and np.isfinite(cycles).all()):
        raise ValueError("flip_angles must lie between 0 and pi and phase_cycles be finite, both in rad.")
    gaps = np.diff(cycles, append=cycles[0] + 2 * np.pi)
    shown = ", ".join(f"{c:.4g}" for c in cycles)
    if cycles.size > 1 and gaps.min() < SAME_ANGLE:
        raise ValueError(f"phase_cycles is {shown} rad at one flip angle, expected all different.")
    even = np.ptp(gaps) < 10 * SAME_ANGLE
    method = options.method
    if method == "lore" and cycles.size < LEAST_LORE_CYCLES:
        raise ValueError(
            f"phase_cycles is {shown} rad, lore needs {LEAST_LORE_CYCLES} or more; use the method magnitude."
        )
    if method == "geometric" and not (cycles.size == CYCLES and even):
        raise ValueError(f"phase_cycles is {shown} rad, geometric needs four, 90 degrees apart; use the method lore.")
    if method == "magnitude" and not (cycles.size >= 2 and even):
        raise ValueError(f"phase_cycles is {shown} rad, magnitude needs two or more, evenly spaced over the circle.")
    if method != "lore" and flips.size < 2:
        raise ValueError(f"flip_angles has one value, R2 by {method} needs two or more.")


def _check_arrays(images, maps, mask, count, repetition_time, noise_sd, options):
    """Raise ValueError for arrays or numbers no method can use."""
    for name, array in images.items():
        if array is None:
            raise ValueError(f"{name} is missing, R2 by {options.method} needs it; use the method magnitude.")
        if np.ndim(array) != 4 or len(array) != count:
            raise ValueError(
                f"{name} has shape {np.shape(array)}, expected [image, k, j, i] with {count} images as flip_angles."
            )
    for name, array in maps.items():
        if array is None:
            raise ValueError(f"{name} is missing, R2 from bSSFP needs R1 and the transmit field with their SDs.")
    check_same_shape(**{name: array[0] for name, array in images.items()}, **maps, mask=mask)
    for name, value in (("repetition_time", repetition_time), ("noise_sd", noise_sd)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value:g}, expected a positive number.")
    if options.pulse_duration >= repetition_time:
        raise ValueError(
            f"pulse_duration is {options.pulse_duration:g} s, expected below repetition_time, {repetition_time:g} s."
        )


def _finite_pulse(flip_angles, phase_cycles, repetition_time, options):
    """Factor from the R2 that instant pulses explain to that of pulses of the given duration."""
    if options.pulse_duration == 0:
        return 1.0
    images = typical_images(flip_angles, phase_cycles, repetition_time, options.pulse_duration)
    magnitude, phase = np.abs(images).astype(np.float32), np.angle(images).astype(np.float32)
    one, none = np.ones(images.shape[1:], np.float32), np.zeros(images.shape[1:], np.float32)
    known = TYPICAL_R1 * one, none, one, none
    instant = replace(options, pulse_duration=0.0)
    noise_sd = FAINT * float(magnitude.max())
    fit = fit_r2_bssfp(magnitude, phase, flip_angles, phase_cycles, repetition_time, noise_sd, *known, one > 0, instant)
    return TYPICAL_R2 / float(fit.r2[fit.valid].mean(dtype=np.float64))


def _sense(magnitude, phase, inside, plan):
    """`cycle_sense` from evenly picked voxels of the mask."""
    chosen = np.flatnonzero(inside)
    chosen = chosen[:: max(1, chosen.size // SENSE_VOXELS)]
    chosen = chosen[np.isfinite(magnitude[:, chosen] + phase[:, chosen]).all(axis=0)]
    images = magnitude[:, chosen] * np.exp(1j * phase[:, chosen])
    return cycle_sense(images.reshape(plan.flip_angles.size, -1, images.shape[1]), plan.phase_cycles)
