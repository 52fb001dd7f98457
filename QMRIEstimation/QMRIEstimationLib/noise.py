"""The noise of one receive channel, from the finest detail of the image itself: no air is needed."""

import numpy as np
import scipy.fft

from .geometry import check_same_shape
from .relaxometry.rician import rician_mean

QUIET_SHARE = 0.3  # of the blocks, those with the least structure
FEWEST_BLOCKS = 50  # for a median that is worth its name
GAUSSIAN_MAD = 0.6744898  # median absolute deviation of a normal variable of SD 1


def noise_sd(magnitude, phase=None, geometry=None, mask=None):
    """Gaussian noise SD of one channel, assumed the same everywhere.

    The finest detail of 2x2x2 blocks (their triple difference) holds next to no anatomy. Its median absolute
    deviation over the blocks whose other details are smallest, which for white noise says nothing about the triple
    difference, is the SD of the magnitude; the Rician law turns it into the SD of one channel. Where the image was
    interpolated, the detail is taken from the grid that was measured. Anatomy can only add, so the echo with the
    least is believed.

    Args:
        magnitude: float32 [e, k, j, i].
        phase: rad, same shape, or None; only serves to go back to the measured grid.
        geometry: tells whether the image was interpolated; None for no.
        mask: bool [k, j, i] where to look; None for the bright part of the first echo.
    Returns:
        SD in the unit of the image.
    Raises:
        ValueError: the shapes differ, or there is too little signal, or no noise in it.
    Reference:
        Coupe P et al. 2010, Med Image Anal 14:483-493 (detail of magnitude images); Koay CG, Basser PJ 2006,
        J Magn Reson 179:317-322 (Rician correction).
    """
    check_same_shape(magnitude=magnitude, phase=phase)
    if np.ndim(magnitude) != 4:
        raise ValueError(f"magnitude has shape {np.shape(magnitude)}, expected [echo, k, j, i].")
    if mask is not None:
        check_same_shape(mask=mask, magnitude=magnitude[0])
    found, bright = [], None
    for e in range(len(magnitude)):
        measured = _measured(magnitude[e], None if phase is None else phase[e], geometry)
        mean, detail, structure = _block_details(measured)
        if bright is None:
            bright = _blocks_of(mask, measured.shape) if mask is not None else _bright(mean)
        estimate = _channel_sd(mean, detail, structure, bright)
        if estimate:
            found.append(estimate)
    if not found:
        raise ValueError(
            f"noise_sd: {int(bright.sum())} blocks of 2x2x2 voxels with signal and noise were found, expected "
            f"{FEWEST_BLOCKS} or more; give images that were not masked or smoothed to nothing."
        )
    return min(found)


def _channel_sd(mean, detail, structure, bright):
    """SD of one channel from the blocks of one echo; 0 when there are too few or they hold no noise."""
    usable = bright & (mean > 0) & (structure > 0)
    if usable.sum() < FEWEST_BLOCKS:
        return 0.0
    quiet = usable & (structure <= np.quantile(structure[usable], QUIET_SHARE))
    magnitude_sd = float(np.median(np.abs(detail[quiet]))) / GAUSSIAN_MAD
    return magnitude_sd * rician_correction(float(np.median(mean[quiet])), magnitude_sd)


def rician_correction(mean, magnitude_sd):
    """Ratio of the channel SD to the SD of the magnitude: 1 at high signal, 1.53 in pure noise."""
    if magnitude_sd == 0:
        return 0.0
    signal = np.linspace(0, 12, 1201)
    means = rician_mean(signal)
    sds = np.sqrt(2 + signal**2 - means**2)
    return float(1 / np.interp(mean / magnitude_sd, means / sds, sds))


def _block_details(image):
    """Mean of 2x2x2 blocks, their triple difference and the size of their other details, orthonormal (Haar)."""
    axes = [a for a in range(3) if image.shape[a] > 1]
    blocks = image[tuple(slice(n - n % 2 if n > 1 else 1) for n in image.shape)]
    parts = {(): blocks.astype(np.float32)}
    for axis in axes:
        even = tuple(slice(0, None, 2) if a == axis else slice(None) for a in range(3))
        odd = tuple(slice(1, None, 2) if a == axis else slice(None) for a in range(3))
        scale = np.float32(np.sqrt(0.5))
        split = {}
        for name, part in parts.items():
            split[(*name, 0)] = (part[even] + part[odd]) * scale
            split[(*name, 1)] = (part[even] - part[odd]) * scale
        parts = split
    low, high = (0,) * len(axes), (1,) * len(axes)
    mean = parts.pop(low) / np.float32(np.sqrt(2.0 ** len(axes)))
    detail = parts.pop(high, 0 * mean)  # a single voxel has none
    return mean, detail, sum(part * part for part in parts.values())


def _bright(mean):
    """Blocks brighter than the mean of those that are not zero: tissue, or all of a crop but its dark part."""
    positive = mean[mean > 0]
    return mean > positive.mean() if positive.size else mean > 0


def _blocks_of(mask, shape):
    """Blocks that lie in the mask with all voxels; the mask is first taken to the grid `shape`."""
    index = [
        np.minimum(np.round(np.arange(n) * m / n), m - 1).astype(int) for n, m in zip(shape, mask.shape, strict=True)
    ]
    on_grid = mask[np.ix_(*index)]
    return _block_details(on_grid)[0] > 0.99


def _measured(magnitude, phase, geometry):
    """Magnitude on the grid that was measured: the outer, zero-filled part of k-space is cut off."""
    shape = magnitude.shape
    if geometry is None or geometry.acquired_voxel_size is None:
        return magnitude
    ratios = [min(v / a, 1.0) for v, a in zip(geometry.voxel_size, geometry.acquired_voxel_size, strict=True)]
    measured = tuple(max(1, round(n * ratio)) for n, ratio in zip(shape, ratios, strict=True))
    if measured == shape:
        return magnitude
    image = magnitude if phase is None else magnitude * np.exp(1j * phase)
    spectrum = scipy.fft.fftn(image.astype(np.complex64))
    for axis, n in enumerate(measured):
        frequency = np.rint(scipy.fft.fftfreq(shape[axis]) * shape[axis]).astype(int)
        keep = (frequency >= -(n // 2)) & (frequency < n - n // 2)
        spectrum = np.compress(keep, spectrum, axis=axis)
    scale = np.float32(np.prod(measured) / np.prod(shape))
    return np.abs(scipy.fft.ifftn(spectrum)) * scale
