"""The local mean of what denoising took off, given back: noise has none, structure that was taken for noise has one."""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from ..threads import in_pieces

_WIDTH = 1.5  # SD of the Gaussian, in cube roots of the voxel's volume: 0.7 % of the noise variance comes back


def give_back_mean(means, channels, squared, usable, geometry, cancelled=None):
    """Add to `means`, in place, the Gaussian mean of what was taken off, and return the share of the noise in it.

    This is "twicing": where weights draw a lesion towards the tissue around it, part of what it lost comes back,
    whatever the weights were, and the more the larger it is (three quarters in the middle of one of 9 voxels).

    Args:
        means, channels, squared, usable: as nonlocal_means gives and has them. geometry: voxel size, mm.
    Returns:
        Variance of white noise of variance 1 after the Gaussian.
    Raises:
        Cancelled.
    Reference:
        Tukey JW 1977, Exploratory Data Analysis, section 16 (twicing).
    """
    wide = [n > 1 for n in usable.shape]
    mean_size = np.prod([h for h, w in zip(geometry.voxel_size, wide, strict=True) if w]) ** (1 / max(sum(wide), 1))
    width = [_WIDTH * mean_size / h if w else 0 for h, w in zip(geometry.voxel_size, wide, strict=True)]
    weight = _blur(usable.astype(np.float32), width)
    weight[~usable] = np.inf

    def work(first, last):
        for c in range(first, last):
            kept = np.square(channels[c]) if squared[c] else channels[c]
            means[c] += _blur(np.where(usable, kept - means[c], 0), width) / weight
            if squared[c]:
                np.maximum(means[c], 0, out=means[c])

    in_pieces(work, len(channels), 1, cancelled=cancelled)
    return float(np.prod([_left(w) for w in width]))


def _blur(image, width):
    return gaussian_filter(image, width, mode="constant", truncate=3.0)


def _left(width):
    """Variance that is left of white noise along one axis."""
    if not width:
        return 1.0
    point = np.zeros(2 * round(4 * width) + 3)
    point[point.size // 2] = 1
    return np.sum(gaussian_filter1d(point, width, truncate=3.0) ** 2)
