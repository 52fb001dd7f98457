"""The local mean of what denoising took off, given back: noise has none, structure that was taken for noise has one."""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from ..threads import in_pieces

# SD of the Gaussian, in cube roots of the voxel's volume, by which 7 % of the noise variance come back. With 1.5 it is
# 0.7 %, but where tissues share voxels they are mixed more: R1 of the thalamus moved by 0.8 %, of small lesions by 5 %.
_WIDTH = 0.7


def give_back_mean(means, channels, squared, usable, geometry, cancelled=None):
    """Add to `means`, in place, the Gaussian mean of what was taken off, and return the share of the noise in it.

    This is "twicing": where weights draw a lesion towards the tissue around it, part of what it lost comes back,
    whatever the weights were, and the more the larger it is (nearly all in the middle of one of 9 voxels). What stays
    taken off lacks a local mean, so that neighbours in it differ a little more than in white noise.

    Args:
        means, channels, squared, usable: as nonlocal_means gives and has them. geometry: voxel size, mm.
    Returns:
        Variance of white noise of variance 1 after the Gaussian, and the correlation of neighbours that white noise
        has once it lacks that mean, averaged over the axes.
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
            off, slope = taken_off(channels[c], means[c], squared[c])
            means[c] += slope * (_blur(np.where(usable, off, 0), width) / weight)
            if squared[c]:
                np.maximum(means[c], 0, out=means[c])

    in_pieces(work, len(channels), 1, cancelled=cancelled)
    return _of_white_noise(width)


def taken_off(channel, mean, squared):
    """What was taken off a channel, in noise SDs, and by how much `mean` changes with it.

    Of a magnitude it is that of the square over the slope: where there is only noise, the magnitude less the root of
    the mean square has a mean; and the noise of a bright voxel's square exceeds what is all in a dark one beside it.
    """
    if not squared:
        return channel - mean, np.float32(1)
    slope = 2 * np.sqrt(np.maximum(mean, 1))
    return (channel**2 - mean) / slope, slope


def _blur(image, width):
    return gaussian_filter(image, width, mode="constant", truncate=3.0)


def _of_white_noise(width):
    """Variance after a Gaussian of given width (voxels, each axis), and correlation of neighbours in what it leaves."""
    kernels = [_kernel(w) for w in width]
    here = np.array([k[k.size // 2] for k in kernels]), np.array([np.sum(k * k) for k in kernels])
    beside = np.array([k[k.size // 2 + 1] for k in kernels]), np.array([np.sum(k[1:] * k[:-1]) for k in kernels])
    once, twice = (np.prod(h) for h in here)  # the Gaussian's, and its square's, value in the middle
    wide = np.array(width) > 0
    neighbours = sum(f * m * b[wide] / h[wide] for f, m, b, h in zip((-2, 1), (once, twice), beside, here, strict=True))
    return float(twice), float(np.mean(neighbours) / (1 - 2 * once + twice)) if wide.any() else 0.0


def _kernel(width):
    """Values of the Gaussian along one axis."""
    point = np.zeros(2 * round(4 * width) + 3)
    point[point.size // 2] = 1
    return gaussian_filter1d(point, width, truncate=3.0) if width else point
