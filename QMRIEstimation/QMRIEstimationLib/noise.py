"""The noise of one receive channel, from the finest detail of the image itself: no air is needed."""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy import special

from .geometry import check_same_shape
from .threads import thread_count

QUIET_SHARE = 0.03  # of the blocks, those with the least structure; a third reads 2 mm scans 10 to 300 % too high
FEWEST_BLOCKS = 50  # with signal, for a median that is worth its name
ENOUGH_BLOCKS = 4000  # quiet ones, for an SD to 2 %; below, blocks that begin at odd voxels are taken too
STARTS = ((0, 0, 0), (1, 1, 1), (0, 1, 1), (1, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 0), (0, 0, 1))
GAUSSIAN_MAD = 0.6744898  # median absolute deviation of a normal variable of SD 1


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of the images of a scan.

    Attributes:
        sd: SD of one channel as measured, unit of the image. share: what denoising left of it, float32 [k, j, i], or
            None where the images are as they were measured.
    """

    sd: float
    share: np.ndarray | None = None

    @property
    def level(self):
        """SD of one channel: a number, or float32 [k, j, i]."""
        return self.sd if self.share is None else np.float32(self.sd) * self.share

    def evened(self, images):
        """Images [..., k, j, i] divided by the share, so that `sd` is the noise of all voxels; rates stay the same."""
        return images if self.share is None else images / self.share


def noise_sd(magnitude, phase=None, geometry=None, mask=None):
    """Gaussian noise SD of one channel, assumed the same everywhere.

    The finest detail of 2x2x2 blocks (their triple difference) holds next to no anatomy. Its median absolute
    deviation over the blocks whose other details are smallest, which for white noise says nothing about the triple
    difference, is the SD of the magnitude; the Rician law turns it into the SD of one channel. Where the
    image was interpolated, the detail is taken from the grid that was measured. Anatomy can only add, so the echo
    with the least is believed; voxels of 4 mm and more have anatomy everywhere, and may read a third too high.

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
        if bright is None:
            bright = _voxels_of(mask, measured.shape) if mask is not None else _bright(measured)
        estimate = _channel_sd(measured, bright)
        if estimate:
            found.append(estimate)
    if not found:
        raise ValueError(
            f"noise_sd: fewer than {FEWEST_BLOCKS} blocks of 2x2x2 voxels with signal and noise were found; give "
            "images that were not masked or smoothed to nothing."
        )
    return min(found)


def _channel_sd(image, bright):
    """SD of one channel from the blocks of one echo; 0 when there are too few or they hold no noise."""
    parts, count = [], 0
    for start in STARTS:
        begun = tuple(slice(s if n > s + 1 else 0, None) for s, n in zip(start, image.shape, strict=True))
        part = _quiet_blocks(image[begun], bright[begun])
        if part is None:
            break
        parts.append(part)
        count += part.shape[1]
        if count >= ENOUGH_BLOCKS:
            break
    if not parts:
        return 0.0
    mean, detail = np.concatenate(parts, axis=1)
    magnitude_sd = float(np.median(np.abs(detail))) / GAUSSIAN_MAD
    return magnitude_sd * rician_correction(float(np.median(mean)), magnitude_sd)


def _quiet_blocks(image, bright):
    """Mean and detail [2, block] of the blocks in the bright part with the least structure; None where they are few."""
    mean, detail, structure = block_details(image)
    usable = (block_details(bright)[0] > 0.99) & (mean > 0) & (structure > 0)
    if usable.sum() < FEWEST_BLOCKS:
        return None
    share = max(QUIET_SHARE, FEWEST_BLOCKS / usable.sum())
    quiet = usable & (structure <= np.quantile(structure[usable], share))
    return np.stack([mean[quiet], detail[quiet]])


def rician_correction(mean, magnitude_sd):
    """Ratio of the channel SD to the SD of the magnitude: 1 at high signal, 1.53 in pure noise."""
    if magnitude_sd == 0:
        return 0.0
    means, sds = magnitude_law()
    return float(1 / np.interp(mean / magnitude_sd, means / sds, sds))


def magnitude_law(coils=1):
    """Means and SDs of magnitudes over the SD of one channel, float [n], for true signals of 0 to 12 SDs.

    The mean of the root of the sum of squares of n coils is sqrt(2) G(n + 1/2) / G(n) 1F1(-1/2, n, -s^2 / 2), that of
    its square s^2 + 2 n (Constantinides CD et al. 1997, Magn Reson Med 38:852-857); one coil is the Rician case.
    """
    true = np.linspace(0, 12, 1201)
    size = np.sqrt(2) * np.exp(special.gammaln(coils + 0.5) - special.gammaln(coils))
    means = size * special.hyp1f1(-0.5, coils, -(true**2) / 2)
    return means, np.sqrt(2 * coils + true**2 - means**2)


def block_details(image):
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


def _bright(image):
    """Voxels brighter than half the mean of those that are not zero: tissue, or all of a crop but its dark part."""
    positive = image[image > 0]
    return image > 0.5 * positive.mean() if positive.size else image > 0


def _voxels_of(mask, shape):
    """The mask on the grid `shape`."""
    index = [
        np.minimum(np.round(np.arange(n) * m / n), m - 1).astype(int) for n, m in zip(shape, mask.shape, strict=True)
    ]
    return mask[np.ix_(*index)]


def _measured(magnitude, phase, geometry):
    """Magnitude on the grid that was measured: the outer, zero-filled part of k-space is cut off."""
    shape = magnitude.shape
    if geometry is None or geometry.acquired_voxel_size is None:
        return magnitude
    measured = geometry.measured.shape
    if measured == shape:
        return magnitude
    image = magnitude if phase is None else magnitude * np.exp(1j * phase)
    return np.abs(on_matrix(image, measured))


def on_matrix(image, shape):
    """A complex image [k, j, i] with more or fewer points: the outer part of k-space is cut off or zero."""
    spectrum = scipy.fft.fftn(np.asarray(image, np.complex64), workers=thread_count())
    scale = np.float32(np.prod(shape) / np.prod(image.shape))
    for axis, (n, wanted) in enumerate(zip(image.shape, shape, strict=True)):
        few = min(n, wanted)
        kept = np.r_[0 : few - few // 2, -(few // 2) : 0]  # non-negative frequencies, then negative ones
        values = np.take(spectrum, kept, axis)
        spectrum = np.zeros([wanted if a == axis else m for a, m in enumerate(values.shape)], np.complex64)
        spectrum[(slice(None),) * axis + (kept,)] = values
    return scipy.fft.ifftn(spectrum, workers=thread_count()) * scale
