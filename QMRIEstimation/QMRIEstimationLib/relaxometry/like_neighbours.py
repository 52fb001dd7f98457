"""Means over those neighbours of a voxel that are of the same tissue, as far as several images can tell."""

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..threads import in_pieces

COUNT = 81  # neighbours that are looked at, the voxel itself included; a ball in mm
WIDTH = 2.0  # distance, in noise SDs of all images together, at which a neighbour counts exp(-1/2)
REACH = 6  # voxels; no neighbour lies farther along an axis
PIECE = 4096  # points one thread takes at a time


def mean_of_alike(images, noise_sd, mask, points, geometry, cancelled=None):
    """Mean of every image over the neighbours that all images together show to be alike.

    A neighbour at distance d (sum over the images of squared differences in noise SDs) has weight exp(-d / 2 WIDTH^2).

    Args:
        images: float32 [channel, k, j, i], finite in the mask. noise_sd: of each channel, in its unit.
        mask: bool [k, j, i]; neighbours outside do not count. points: three index arrays [n], within the mask.
        geometry: voxel size, mm. cancelled: optional callback.
    Returns:
        means: float64 [channel, n].
        share: float64 [n], (sum w)^2 / sum w^2 over COUNT: near 1 within one tissue, low at its edges.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        In the manner of Buades A et al. 2005, CVPR 2:60-65, with single voxels for patches.
    """
    check_same_shape(mask=mask, image=images[0], geometry=np.empty(geometry.shape, bool))
    places = np.ascontiguousarray(np.stack(points, axis=1).astype(np.int64))
    means, share = np.empty((len(images), len(places))), np.empty(len(places))
    offsets = _nearest(geometry.voxel_size)
    scaled = np.asarray(noise_sd, np.float64) * WIDTH

    def piece(first, last):
        _means(images, scaled, mask, places, offsets, first, last, means, share)

    in_pieces(piece, len(places), PIECE, cancelled=cancelled)
    return means, share


def _nearest(voxel_size):
    """Offsets (k, j, i) of the COUNT voxels nearest to one, itself included, int64 [COUNT, 3]."""
    reach = np.arange(-REACH, REACH + 1)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    distance = np.round(np.sum((offsets * voxel_size) ** 2, axis=1), 6)
    return np.ascontiguousarray(offsets[np.argsort(distance, kind="stable")[:COUNT]])


@kernel
def _means(images, scaled, mask, places, offsets, first, last, means, share):
    channels = images.shape[0]
    for n in range(first, last):
        k0, j0, i0 = places[n]
        total, squares = 0.0, 0.0
        means[:, n] = 0
        for offset in offsets:
            k, j, i = k0 + offset[0], j0 + offset[1], i0 + offset[2]
            if min(k, j, i) < 0 or k >= mask.shape[0] or j >= mask.shape[1] or i >= mask.shape[2]:
                continue
            if not mask[k, j, i]:
                continue
            distance = 0.0
            for c in range(channels):
                distance += ((images[c, k, j, i] - images[c, k0, j0, i0]) / scaled[c]) ** 2
            weight = np.exp(-0.5 * distance)
            total += weight
            squares += weight * weight
            for c in range(channels):
                means[c, n] += weight * images[c, k, j, i]
        for c in range(channels):
            means[c, n] /= total
        share[n] = total * total / squares / len(offsets)
