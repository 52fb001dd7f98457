"""The noise SD at every place of an image: parallel imaging makes it vary over the head."""

import numpy as np
from scipy.ndimage import gaussian_filter

from ..noise import FEWEST_BLOCKS, block_details, magnitude_law

_WIDTH = 10.0  # mm, SD of the Gaussian over which blocks are averaged: wide against folds, narrow against a coil array
_ROUNDS = 4  # of telling quiet blocks by the noise found; the last one changes the result by less than 1 %
_LOG_MEAN = -(np.euler_gamma + np.log(2)) / 2  # of the logarithm of |x|, x normal with SD 1
_FEWEST = 2.0  # quiet blocks that the Gaussian must weigh; where there are fewer the mean of the image stands in


def noise_map(channels, geometry, coils=0):
    """Noise SD of one channel, which varies smoothly.

    The logarithm of the finest detail (the triple difference of 2x2x2 blocks, noise.block_details) is averaged over
    those blocks around a place whose other details are no larger than noise makes them on average; for white noise they
    say nothing about the triple difference. What passes is told by the noise that was found in the round before, which
    starts too high, from all blocks.

    Args:
        channels: float32 [c, k, j, i], all of one noise; real and imaginary parts without their smooth phase, or
            magnitudes. Voxels that are 0 or not finite in a channel are not looked at.
        geometry: voxel size, mm, of the grid that was measured.
        coils: whose squares were added to the magnitudes, 1 for a combined one; 0: the channels are no magnitudes.
    Returns:
        float32 [k, j, i] in the unit of the images.
    Raises:
        ValueError: too few blocks hold a signal with noise.
    Reference:
        Aja-Fernandez S et al. 2015, Med Image Anal 20:184-197 (averaging the logarithm); Coupe P et al. 2010, Med
        Image Anal 14:483-493 (detail of magnitude images); Koay CG, Basser PJ 2006, J Magn Reson 179:317-322.
    """
    details = [block_details(np.nan_to_num(c)) for c in channels]
    seen = [block_details((np.isfinite(c) & (c != 0)).astype(np.float32))[0] > 0.99 for c in channels]
    width = [_WIDTH / min(2, n) / h for n, h in zip(channels[0].shape, geometry.voxel_size, strict=True)]
    whole = np.logical_and.reduce(seen)
    structure = sum(s for _, _, s in details) / (len(details) * _details_beside(channels[0].shape))
    usable = whole & np.logical_and.reduce([d != 0 for _, d, _ in details])
    if np.count_nonzero(usable) < FEWEST_BLOCKS:
        raise ValueError(
            f"noise_map: fewer than {FEWEST_BLOCKS} blocks of 2x2x2 voxels with signal and noise were found; give "
            "images that were not masked or smoothed to nothing."
        )
    logs = [np.log(np.abs(np.where(usable, d, 1))) - np.float32(_LOG_MEAN) for _, d, _ in details]
    level = _averaged(sum(logs) / len(logs), usable, width)
    for _ in range(_ROUNDS):
        shrunk = 0
        spread = np.float32(1)
        if coils:
            shares = [magnitude_share(mean / np.exp(level), coils) for mean, _, _ in details]
            shrunk = sum(np.log(s) for s in shares) / len(shares)
            spread = sum(s**2 for s in shares) / len(shares)
        quiet = usable & (structure <= spread * np.exp(2 * level))
        level = _averaged(sum(logs) / len(logs) - shrunk, quiet, width)
    return _on_voxels(np.exp(level), channels[0].shape)


def magnitude_share(signal, coils=1):
    """SD of a magnitude over that of one channel, 0.66 to 1, for its mean over the channel's SD."""
    return np.interp(signal, *magnitude_law(coils)).astype(np.float32)


def _details_beside(shape):
    """Number of details of a block beside the finest one and the mean."""
    return max(2 ** sum(n > 1 for n in shape) - 2, 1)


def _averaged(values, chosen, width):
    """Gaussian mean of the chosen blocks, which turns into the mean of all where there are few."""
    common = float(values[chosen].mean()) if chosen.any() else 0.0
    weight = _blur(chosen, width)
    fewest = _FEWEST / np.prod([np.sqrt(2 * np.pi) * w for w in width if w > 0])
    mean = _blur(np.where(chosen, values - common, 0), width) / (weight + np.float32(fewest))
    return (mean + common).astype(np.float32)


def _blur(array, width):
    return gaussian_filter(array.astype(np.float32), width, mode="constant", truncate=3.0)


def _on_voxels(blocks, shape):
    """Linear interpolation between the centres of blocks."""
    for axis, n in enumerate(shape):
        place = (np.arange(n) - 0.5) / 2 if n > 1 else np.zeros(1)
        place = np.clip(place, 0, blocks.shape[axis] - 1)
        low = np.minimum(place.astype(int), max(blocks.shape[axis] - 2, 0))
        high = np.minimum(low + 1, blocks.shape[axis] - 1)
        share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        blocks = (1 - share) * np.take(blocks, low, axis) + share * np.take(blocks, high, axis)
    return blocks
