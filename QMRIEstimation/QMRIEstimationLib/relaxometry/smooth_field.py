"""Smoothing of a field that varies slowly, known in some voxels only, with its SD, and continued to all others."""

import numpy as np
from scipy.ndimage import gaussian_filter

from ..errors import check_cancelled
from ..geometry import check_same_shape
from .smooth_basis import SmoothBasis, least_squares

FWHM_PER_SD = 2 * np.sqrt(2 * np.log(2))
TREND_ORDER = 2  # of the polynomial that is taken out first and continues the field where nothing was measured
TREND_SAMPLES = 100_000  # voxels that are plenty for a quadratic
TRUNCATE = 3.0  # SDs of the Gaussian
# Share of the median weight around a voxel that the trend itself weighs: it takes over some 2.5 SDs of the Gaussian
# beyond the outermost voxel that was measured.
TREND_SHARE = 0.01
BEYOND = 0.2  # of the range of the measured field, by which the continued field may leave it


def smooth_field(field, sd, valid, geometry, fwhm, cancelled=None):
    """Smooth a field by a Gaussian with weights 1/sd^2; what is not valid neither counts nor stays empty.

    A quadratic trend is fitted and taken out; the rest r is smoothed by normalised convolution, g * (w r) / g * w, and
    what that leaves is smoothed once more and added, which makes the bias one of fourth order. Where no measured voxel
    is near, the trend goes on, within the range of the measured field.

    Args:
        field, sd: float32 [k, j, i], any one unit. valid: bool [k, j, i].
        geometry: voxel size, mm. fwhm: full width at half maximum of the Gaussian, mm, at least a voxel side.
    Returns:
        field, sd: float32 [k, j, i] in every voxel of the grid. The SD is that of independent noise of the given SD
        after smoothing; far from what was measured it grows to the size of what the trend does not explain.
    Raises:
        ValueError: shapes differ, no voxel is valid, or a valid voxel has no positive SD. Cancelled.
    Reference:
        Knutsson H, Westin CF 1993, IEEE Conf Computer Vision and Pattern Recognition, 515-523.
    """
    check_same_shape(field=field, sd=sd, valid=valid, geometry=np.empty(geometry.shape, bool))
    if not valid.any():
        raise ValueError("smooth_field: no voxel is valid, expected a field that was measured somewhere.")
    known = valid & np.isfinite(field)
    if not (np.isfinite(sd[known]) & (sd[known] > 0)).all():
        raise ValueError("smooth_field: a valid voxel has an SD of 0 or not a number, expected a positive SD.")
    weight = np.zeros(field.shape, np.float32)
    typical = float(np.median(sd[known]))  # keeps single precision in range
    weight[known] = (typical / sd[known]) ** 2
    values = np.where(known, field, 0).astype(np.float32)
    trend = _trend(values, weight, known)
    rest = np.where(known, values - trend, 0)
    check_cancelled(cancelled)
    width = [max(fwhm, min(geometry.voxel_size)) / FWHM_PER_SD / side for side in geometry.voxel_size]
    near = _blur(weight, width)
    prior = TREND_SHARE * float(np.median(near[known]))
    smooth = _blur(weight * rest, width) / (near + prior)
    check_cancelled(cancelled)
    smooth += _blur(weight * (rest - smooth), width) / (near + prior)
    check_cancelled(cancelled)
    noise = typical * np.sqrt(_variance(weight, near + prior, prior, width).clip(min=0))
    unexplained = float(np.sqrt(np.average(smooth[known] ** 2, weights=weight[known])))
    share = prior / (near + prior)
    low, high = np.quantile(values[known], (0.01, 0.99))
    margin = BEYOND * (high - low)
    result = np.where(known, trend + smooth, (trend + smooth).clip(low - margin, high + margin))
    return result.astype(np.float32), np.hypot(noise, share * unexplained).astype(np.float32)


def _trend(values, weight, known):
    """Weighted polynomial fit, on the whole grid."""
    basis = SmoothBasis(known, TREND_ORDER)
    every = max(1, np.count_nonzero(known) // TREND_SAMPLES)
    voxels = tuple(index[::every] for index in np.nonzero(known))
    chosen = values[voxels].astype(np.float64), weight[voxels].astype(np.float64)
    return basis.on_grid(least_squares(basis.at(voxels), *chosen))


def _blur(array, width):
    """Gaussian of sum 1, zero outside the grid."""
    return gaussian_filter(array, width, mode="constant", truncate=TRUNCATE)


def _variance(weight, once, prior, width):
    """Variance of both passes for noise of variance 1/weight; `once` is what one pass is divided by.

    Their kernel is 2 g / (g * w) - h / (h * w) with h = g * g. Squared it has three products of Gaussians, which are
    Gaussians: g g of variance s^2/2, g h of 2 s^2/3 and h h of s^2.
    """
    twice = _blur(weight, [np.sqrt(2) * s for s in width]) + prior
    parts = []
    for own, other in ((1, 1), (1, 2), (2, 2)):  # variances of the factors over s^2
        spread = np.sqrt(own * other / (own + other))  # of the product, over s
        # Integral of the product along an axis: peaks 1/(sqrt(2 pi own) s) and 1/(sqrt(2 pi other) s), SD spread s
        area = np.prod([spread / np.sqrt(2 * np.pi * own * other) / s for s in width])
        parts.append(area * _blur(weight, [spread * s for s in width]))
    return 4 * parts[0] / once**2 - 4 * parts[1] / (once * twice) + parts[2] / twice**2
