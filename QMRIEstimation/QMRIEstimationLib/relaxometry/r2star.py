"""R2* from the magnitudes of a multi-echo gradient echo."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..geometry import check_same_shape
from ..parameters import Options, choice, flag, param
from ..threads import in_pieces
from .r2star_arlo import arlo_chunk, triplet_weights
from .r2star_linear import log_linear_chunk
from .r2star_nlls import nlls_chunk
from .rician import rician_table


class R2starMethod(NamedTuple):
    """How a method is called in sidecars and reports."""

    title: str
    reference: str
    quality_meaning: str


_RESIDUAL = "root mean square residual in noise SDs (1 expected; 0 with two echoes)"
_LOG_RESIDUAL = (
    "root mean square residual of the logarithm, times the signal, in noise SDs (1 expected; 0 with two echoes)"
)

R2STAR_METHODS = {
    "nlls": R2starMethod(
        "non-linear least squares on the Rician mean",
        "Gudbjartsson H, Patz S 1995, Magn Reson Med 34:910-914; Levenberg-Marquardt",
        _RESIDUAL,
    ),
    "weighted": R2starMethod(
        "log-linear fit weighted by the squared predicted signal",
        "Veraart J et al. 2013, NeuroImage 81:335-346",
        _LOG_RESIDUAL,
    ),
    "log-linear": R2starMethod("log-linear fit", "ordinary least squares on the logarithm", _LOG_RESIDUAL),
    "arlo": R2starMethod(
        "auto-regression on linear operations (ARLO)", "Pei M et al. 2015, Magn Reson Med 73:843-850", _RESIDUAL
    ),
}


@dataclass(frozen=True)
class R2starOptions(Options):
    """Settings of R2*."""

    route: str = choice(
        "auto",
        ("auto", "multi-echo", "joint"),
        "data; joint fits all echoes of all flip angles together, which auto does without another multi-echo scan",
    )
    method: str = choice("nlls", R2STAR_METHODS, "how R2* is fitted; nlls is the least biased near the noise floor")
    gradient_correction: bool = flag(True, "put signal loss by macroscopic field gradients into the model")
    sinc_floor: float = param(0.5, "", 0.25, 0.95, "echoes whose signal a field gradient cuts below this are left out")


@dataclass(frozen=True, eq=False)
class R2starFit:
    """Result of `fit_r2star`; every array [k, j, i], 0 where not valid.

    Attributes:
        r2star, sd: float32, 1/s.
        quality: float32, what R2STAR_METHODS[method].quality_meaning says.
        valid: bool.
        s0: float32, magnitude at echo time 0, unit of the image.
    """

    r2star: np.ndarray
    sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray
    s0: np.ndarray


def fit_r2star(
    magnitude,
    echo_times,
    noise_sd,
    mask,
    options=R2starOptions(),
    dephasing=None,
    progress=None,
    cancelled=None,
):
    """R2* and its SD from S(TE) = S0 F(TE) exp(-R2* TE), F the dephasing by field gradients across the voxel.

    The default compares the data with the mean of Rician noise around the model; the other methods take the
    magnitudes as they are. A voxel is not valid where fewer than two usable echoes exceed three noise SDs, where the
    fit does not converge, or where the SD exceeds both the rate and one over the span of the echoes. Negative rates
    are kept: cutting them off would bias the mean of slow decays.

    Args:
        magnitude: float32 [e, k, j, i]; a voxel with NaN or Inf is not fitted.
        echo_times: s, one for each image, in any order.
        noise_sd: Gaussian noise SD of one channel, unit of the image.
        mask: bool [k, j, i], where to fit.
        options: method and gradient correction.
        dephasing: float32 [3, k, j, i], Hz across the voxel along each axis (`dephasing.field_differences`), or None.
    Returns:
        R2starFit.
    Raises:
        ValueError: shapes differ, echo times or noise are impossible, or too few echoes. Cancelled.
    """
    echo_times = np.asarray(echo_times, np.float64)
    _check(magnitude, echo_times, noise_sd, mask, options, dephasing)
    order = np.argsort(echo_times)
    if np.any(np.diff(order) < 0):
        magnitude, echo_times = magnitude[order], echo_times[order]
    shape = mask.shape
    planes = np.ascontiguousarray(magnitude, np.float32).reshape(len(echo_times), -1)
    differences = np.zeros((3, 0), np.float32)
    if dephasing is not None and options.gradient_correction:
        differences = np.ascontiguousarray(dephasing, np.float32).reshape(3, -1)
    inside = np.ascontiguousarray(mask, bool).reshape(-1)
    r2star, sd, quality, s0 = (np.zeros(inside.size, np.float32) for _ in range(4))
    valid = np.zeros(inside.size, bool)
    fit, extra = _chunk(options.method, echo_times)
    data = planes, inside, echo_times, differences
    settings = float(noise_sd), options.sinc_floor
    results = r2star, sd, quality, s0, valid

    def piece(first, last):
        fit(data, settings, extra, first, last, results)

    in_pieces(piece, inside.size, progress=progress, cancelled=cancelled, text="R2*")
    return R2starFit(*(array.reshape(shape) for array in (r2star, sd, quality, valid, s0)))


def _chunk(method, echo_times):
    """Kernel of a method and the argument that only it takes."""
    if method == "nlls":
        return nlls_chunk, rician_table()
    if method == "arlo":
        return arlo_chunk, triplet_weights(echo_times)
    return log_linear_chunk, method == "weighted"


def _check(magnitude, echo_times, noise_sd, mask, options, dephasing):
    """Raise ValueError for input no fit can use."""
    if np.ndim(magnitude) != 4 or len(magnitude) != len(echo_times):
        raise ValueError(
            f"magnitude has shape {np.shape(magnitude)}, expected [echo, k, j, i] with {len(echo_times)} echoes "
            "as echo_times."
        )
    check_same_shape(magnitude=magnitude[0], mask=mask)
    if dephasing is not None:
        check_same_shape(magnitude=np.broadcast_to(magnitude[:1], (3, *mask.shape)), dephasing=dephasing)
    needed = 3 if options.method == "arlo" else 2
    if len(echo_times) < needed:
        raise ValueError(f"echo_times has {len(echo_times)} values, R2* by {options.method} needs {needed} or more.")
    times = np.sort(echo_times)
    if not (np.isfinite(times).all() and times[0] > 0 and np.diff(times).min() > 0):
        shown = ", ".join(f"{te:g}" for te in echo_times)
        raise ValueError(f"echo_times is {shown}, expected different positive times in seconds.")
    if not (np.isfinite(noise_sd) and noise_sd > 0):
        raise ValueError(f"noise_sd is {noise_sd:g}, expected a positive number in the unit of the image.")
