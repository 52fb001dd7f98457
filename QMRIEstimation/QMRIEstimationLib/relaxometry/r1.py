"""R1 and M0 from spoiled gradient echoes of several flip angles."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..geometry import check_same_shape
from ..parameters import Options, choice, flag
from ..threads import in_pieces
from .r1_linear import PASSES, linear_chunk
from .r1_nlls import nlls_chunk
from .rician import rician_table
from .spoiling import spoiling_table

LARGEST_B1 = 2.0  # the spoiling tables reach this many times the nominal flip angle
SAME_FLIP = 1e-3  # rad; nominal flip angles closer than this are taken for the same


class R1Method(NamedTuple):
    """How a method is called in sidecars and reports."""

    title: str
    reference: str
    quality_meaning: str


_RESIDUAL = "root mean square residual in noise SDs (1 expected; 0 with two flip angles)"

R1_METHODS = {
    "nlls": R1Method(
        "non-linear least squares on the Rician mean",
        "Gudbjartsson H, Patz S 1995, Magn Reson Med 34:910-914; Levenberg-Marquardt",
        _RESIDUAL,
    ),
    "weighted": R1Method(
        "iteratively weighted straight line", "Chang LC et al. 2008, Magn Reson Med 60:496-501", _RESIDUAL
    ),
    "linear": R1Method(
        "straight line of S/sin over S/tan (DESPOT1)", "Deoni SCL et al. 2003, Magn Reson Med 49:515-526", _RESIDUAL
    ),
    "two-angle": R1Method(
        "exact solution for two flip angles", "Deoni SCL et al. 2003, Magn Reson Med 49:515-526", _RESIDUAL
    ),
}


@dataclass(frozen=True)
class R1Options(Options):
    """Settings of the R1 fit."""

    method: str = choice("nlls", R1_METHODS, "how R1 is fitted; nlls is the least biased and the most precise")
    spoiling_correction: bool = flag(True, "put imperfect RF spoiling into the model")
    all_echoes: bool = flag(True, "where flip angles have several echoes, fit all of them together; no takes the first")


@dataclass(frozen=True, eq=False)
class R1Fit:
    """Result of `fit_r1`; every array [k, j, i], 0 where not valid.

    Attributes:
        r1, sd: float32, 1/s.
        m0, m0_sd: float32, equilibrium signal, unit of the image.
        quality: float32, what R1_METHODS[method].quality_meaning says.
        valid: bool.
    """

    r1: np.ndarray
    sd: np.ndarray
    m0: np.ndarray
    m0_sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray


def fit_r1(
    magnitude,
    flip_angles,
    repetition_times,
    noise_sd,
    mask,
    b1=None,
    options=R1Options(),
    spoiling=None,
    r2=None,
    b1_sd=None,
    shared_sd=None,
    progress=None,
    cancelled=None,
):
    """R1, M0 and their SDs from S = M0 sin(a) (1 - E1) / (1 - E1 cos(a)) g, E1 = exp(-TR R1), a = b1 flip.

    g is the signal with the spoiling of the sequence over that with ideal spoiling (`spoiling.signal_ratio`). By nlls
    the mean over voxels does not depend on their noise; the median falls, by 0.5 % at a CV of 10 %. The SD
    holds the noise and, where given, the uncertainty of b1; both fall on M0 too. A voxel is not valid where fewer
    than two signals exceed three noise SDs, where the true flip angle is not between 0 and 180 degrees (or, with
    spoiling, above LARGEST_B1 times the largest nominal one), where the fit finds no positive rate or does not
    converge, or where the SD exceeds the rate.

    Args:
        magnitude: float32 [flip, k, j, i], with the same receive gain; a voxel with NaN or Inf is not fitted.
        flip_angles: nominal, rad. repetition_times: s. One for each image, in any order.
        noise_sd: Gaussian noise SD of one channel, unit of the image, one for all images or one for each; or, for
            amplitudes from `fit_estatics`, float32 [flip, k, j, i], which counts as Gaussian.
        mask: bool [k, j, i], where to fit.
        b1: float32 [k, j, i], transmit field over nominal; None takes 1 everywhere.
        options: method and spoiling correction.
        spoiling: `spoiling.RfSpoiling`, or None where it is unknown or ideal.
        r2: float32 [k, j, i], 1/s, for the spoiling; None takes `spoiling.typical_r2` of the R1 found.
        b1_sd: float32 [k, j, i], SD of b1, an error that all flip angles share.
        shared_sd: float32 [flip, k, j, i], change of each amplitude by one SD of an error that all share, with sign.
    Returns:
        R1Fit.
    Raises:
        ValueError: shapes differ, flip angles, times or noise are impossible, or fewer than two flip angles differ.
            Cancelled.
    """
    flips, times = np.asarray(flip_angles, np.float64), np.asarray(repetition_times, np.float64)
    noise = np.asarray(noise_sd)
    maps = {"b1": b1, "b1_sd": b1_sd, "r2": r2}
    _check(magnitude, flips, times, noise, mask, options, maps, shared_sd)
    order = np.argsort(flips)
    count = len(flips)
    levels = np.broadcast_to(noise, count)[order].astype(np.float64) if noise.ndim < 2 else np.ones(count)
    planes = (_planes(a, order) for a in (magnitude, noise if noise.ndim > 1 else None, shared_sd))
    scans, sd, shared = planes
    inside = np.ascontiguousarray(mask, bool).reshape(-1)
    data = scans, inside, levels, sd, shared, _volume(b1), _volume(b1_sd), _volume(r2)
    protocol = _protocol(flips[order], times[order], order, options, spoiling, r2 is not None)
    results = (*(np.zeros(inside.size, np.float32) for _ in range(5)), np.zeros(inside.size, bool))
    weighted = options.method == "weighted"
    passes = PASSES if weighted or len(protocol[2]) > 0 or np.ptp(times) > 0 else 1

    def piece(first, last):
        if options.method == "nlls":
            nlls_chunk(data, protocol, rician_table(), first, last, results)
        else:
            linear_chunk(data, protocol, weighted, passes, first, last, results)

    in_pieces(piece, inside.size, progress=progress, cancelled=cancelled, text="R1")
    return R1Fit(*(array.reshape(mask.shape) for array in results))


def _planes(images, order):
    """Images [flip, k, j, i] in the given order as float32 [flip, voxel]; no voxels for None."""
    if images is None:
        return np.zeros((len(order), 0), np.float32)
    if np.any(np.diff(order) < 0):
        images = images[order]
    return np.ascontiguousarray(images, np.float32).reshape(len(order), -1)


def _volume(image):
    """Image [k, j, i] as float32 [voxel]; no voxels for None."""
    return np.zeros(0, np.float32) if image is None else np.ascontiguousarray(image, np.float32).reshape(-1)


def _protocol(flips, times, order, options, spoiling, over_r2):
    """What the kernels know of the sequence: flip angles, times, spoiling tables and largest true flip angle."""
    if spoiling is None or not options.spoiling_correction:
        return flips, times, np.zeros((0, 2, 1, 2), np.float32), np.pi
    largest = min(LARGEST_B1 * flips.max(), np.pi)
    increments = np.broadcast_to(spoiling.increment, len(flips))[order]
    diffusion = spoiling.diffusivity * spoiling.dephasing**2 * times
    tables = [
        spoiling_table(float(time), float(increment), float(largest), over_r2, float(d))
        for time, increment, d in zip(times, increments, diffusion, strict=True)
    ]
    return flips, times, np.stack(tables), largest


def _check(magnitude, flips, times, noise, mask, options, maps, shared_sd):
    """Raise ValueError for input no fit can use."""
    if np.ndim(magnitude) != 4 or not len(magnitude) == flips.size == times.size:
        raise ValueError(
            f"magnitude has shape {np.shape(magnitude)}, expected [flip, k, j, i] with {flips.size} images as "
            f"flip_angles and {times.size} as repetition_times."
        )
    check_same_shape(mask=mask, **maps)
    check_same_shape(mask=mask, magnitude=magnitude[0])
    for name, images in (("noise_sd", noise if noise.ndim > 1 else None), ("shared_sd", shared_sd)):
        check_same_shape(magnitude=magnitude, **{name: images})
    shown = ", ".join(f"{np.rad2deg(flip):g}" for flip in flips)
    if not (np.isfinite(flips).all() and np.all((flips > 0) & (flips < np.pi))):
        raise ValueError(f"flip_angles are {shown} degrees, expected values between 0 and 180 degrees, in radians.")
    different = 1 + np.sum(np.diff(np.sort(flips)) > SAME_FLIP) if flips.size else 0
    if different < 2:
        raise ValueError(f"flip_angles are {shown} degrees, R1 needs at least two different ones.")
    if options.method == "two-angle" and flips.size != 2:
        raise ValueError(f"flip_angles has {flips.size} values, R1 by two-angle takes two; choose nlls.")
    if not (np.isfinite(times).all() and np.all(times > 0)):
        raise ValueError(f"repetition_times is {times.tolist()}, expected positive times in seconds.")
    if noise.ndim == 1 and noise.size != flips.size:
        raise ValueError(f"noise_sd has {noise.size} values, expected one or {flips.size} as flip_angles.")
    if noise.ndim < 2 and not (np.isfinite(noise).all() and np.all(noise > 0)):
        raise ValueError(f"noise_sd is {noise.tolist()}, expected positive numbers in the unit of the image.")
