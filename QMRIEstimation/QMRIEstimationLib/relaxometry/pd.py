"""Proton density in percent of pure water from M0: receive field out, scale from fluid or white matter."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from ..errors import InputError
from ..geometry import check_same_shape
from ..parameters import Options, choice, param
from .b1_free import white_matter_peak
from .fluid import FEWEST

LARGEST = 200.0  # p.u.; above is no tissue but noise or inflow
_WHITE_BAND = 0.15  # relative distance from the peak of R1 that still is white matter, where no labels are given
_MAD = 1.4826  # robust SD over the median absolute deviation
_FAR = 3.0  # robust SDs from the median, beyond which a voxel has no part in the scale


@dataclass(frozen=True)
class PdOptions(Options):
    """Settings of proton density."""

    receive: str = choice(
        "auto",
        ("auto", "body-head", "bias-field", "r1"),
        "receive field; auto takes reference scans where there are, else the bias field",
    )
    calibration: str = choice(
        "csf", ("csf", "nawm"), "what sets the scale; with nawm a change of the normal-appearing white matter is lost"
    )
    csf_r1_low: float = param(0.17, "1/s", 0.1, 0.3, "lowest R1 of fluid; free water at 37 degrees has 0.21 to 0.25")
    csf_r1_high: float = param(0.32, "1/s", 0.2, 0.6, "highest R1 of fluid")
    csf_depth: float = param(2.5, "mm", 0.0, 10.0, "distance from tissue beyond which fluid counts as pure")
    white_matter_pd: float = param(69.0, "p.u.", 50.0, 90.0, "of normal-appearing white matter (Tofts 2003)")
    lesion_collar: float = param(3.0, "mm", 0.0, 10.0, "distance from lesions that normal-appearing white matter keeps")


@dataclass(frozen=True, eq=False)
class PdFit:
    """Result of `proton_density`.

    Attributes:
        pd, sd: float32 [k, j, i], p.u., 0 where not valid. valid: bool.
        calibration: "csf" or "nawm", what was used.
        sentence: how the scale was set, for the report.
        notes: sentences about what is doubtful.
    """

    pd: np.ndarray
    sd: np.ndarray
    valid: np.ndarray
    calibration: str
    sentence: str
    notes: tuple = ()


def without_decay(m0, m0_sd, r2star, r2star_sd, echo_times):
    """M0 at echo time 0 from M0 of images taken at, or averaged over, the given echo times.

    M0 = A / mean(exp(-TE R2*)).

    Args:
        m0, m0_sd: float32 [k, j, i], any unit. r2star, r2star_sd: 1/s; 0 where unknown, which leaves m0 as it is.
        echo_times: s, one or more.
    Returns:
        m0, sd: float32.
    Raises:
        ValueError: shapes differ, or there is no echo time.
    """
    check_same_shape(m0=m0, m0_sd=m0_sd, r2star=r2star, r2star_sd=r2star_sd)
    if len(echo_times) == 0:
        raise ValueError("echo_times is empty, expected at least one.")
    decays = [np.exp(np.float32(-time) * r2star) for time in echo_times]
    left = sum(decays) / len(decays)
    slope = sum(np.float32(time) * decay for time, decay in zip(echo_times, decays, strict=True)) / len(decays)
    result = m0 / left
    return result.astype(np.float32), np.hypot(m0_sd / left, result * slope / left * r2star_sd).astype(np.float32)


def proton_density(
    m0, m0_sd, receive, r1, valid, mask, geometry, options=PdOptions(), fluid=None, white=None, lesions=None
):  # fmt: skip
    """Proton density from M0 at echo time 0 over the receive field, scaled to fluid or to white matter.

    PD = 100 (M0 / B) / mean(M0 / B of pure fluid), or 69 p.u. for the mean of normal-appearing white matter, both
    without outliers. Where fluid is asked for and too little is found, white matter is used and the fit says so.

    Args:
        m0, m0_sd: float32 [k, j, i], any unit. receive: receive_field.ReceiveField. r1: float32, 1/s.
        valid: bool, where m0 and r1 were fitted. mask: bool, the brain with its fluid. geometry: voxel size, mm.
        fluid: fluid.Fluid, or None where there is none.
        white: bool, labels of white matter; None to tell it by R1.
        lesions: bool or integer, 0 elsewhere; None when unknown.
    Returns:
        PdFit; the SD holds the noise of M0, the uncertainty of the receive field and of the scale.
    Raises:
        ValueError: shapes differ. InputError: too few voxels for any calibration.
    Reference:
        Tofts PS 2003, Quantitative MRI of the brain, Wiley (white matter 69 p.u.); fluid as pure water as in
        Mezer A et al. 2013, Nat Med 19:1667-1672.
    """
    check_same_shape(
        m0=m0, m0_sd=m0_sd, field=receive.field, r1=r1, valid=valid, mask=mask, white=white, lesions=lesions,
        fluid=None if fluid is None else fluid.region, geometry=np.empty(geometry.shape, bool),
    )  # fmt: skip
    seen = mask & valid & receive.valid & (m0 > 0) & np.isfinite(m0) & (r1 > 0)
    relative = np.where(seen, m0, 0) / np.where(seen, receive.field, 1)
    notes, calibration = [], options.calibration
    pure = np.zeros_like(seen) if fluid is None else fluid.region & receive.valid
    if calibration == "csf" and np.count_nonzero(pure) < FEWEST:
        calibration = "nawm"
        notes.append(
            f"only {np.count_nonzero(pure)} voxels of pure fluid were found, {FEWEST} are needed; PD was scaled to "
            "normal-appearing white matter instead, which hides changes of its own."
        )
    if calibration == "csf":
        region, level, name = pure, 100.0, "pure fluid"
        values, grain = fluid.m0[region] / receive.field[region], fluid.grain
    else:
        region, level = _normal_white(r1, seen, geometry, options, white, lesions), options.white_matter_pd
        values, grain = relative[region], np.prod(geometry.effective_voxel_size)
        name = "normal-appearing white matter"
        if lesions is None:
            notes.append("lesions were not given, so the white matter that sets the scale of PD may hold some.")
    number = np.count_nonzero(region)
    if number < FEWEST:
        raise InputError(
            f"PD cannot be scaled: {number} voxels of {name} were found, {FEWEST} are needed; leave out PD with --maps."
        )
    middle = float(np.median(values))
    apart = np.abs(values - middle)
    spread = _MAD * float(np.median(apart))
    scale = float(np.mean(values[apart <= _FAR * spread], dtype=np.float64))
    spread /= scale
    independent = number * geometry.voxel_volume / grain
    field_sd = float(np.median(receive.sd[region] / receive.field[region]))  # near enough for errors to be shared
    scale_sd = np.hypot(spread / np.sqrt(max(independent, 1)), field_sd)
    pd = (level / scale * relative).astype(np.float32)
    seen &= pd < LARGEST
    safe = np.where(seen, m0, 1)
    parts = np.square(m0_sd / safe) + np.square(receive.sd / receive.field) + np.float32(scale_sd**2)
    sentence = (
        f"PD was scaled so that the mean of {number} voxels of {name} is {level:g} p.u. (spread {100 * spread:.1f} %)."
    )
    return PdFit(
        np.where(seen, pd, 0).astype(np.float32),
        np.where(seen, pd * np.sqrt(parts), 0).astype(np.float32),
        seen,
        calibration,
        sentence,
        tuple(notes),
    )


def _normal_white(r1, seen, geometry, options, white, lesions):
    """White matter away from other tissue and from lesions."""
    if white is None:
        peak = white_matter_peak(r1[seen])
        white = np.abs(r1 - peak) < _WHITE_BAND * peak
    region = binary_erosion(white & seen)
    if lesions is not None and np.any(lesions):
        region &= distance_transform_edt(np.asarray(lesions) == 0, sampling=geometry.voxel_size) > options.lesion_collar
    return region
