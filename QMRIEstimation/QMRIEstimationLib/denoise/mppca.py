"""Denoising by principal components of the channels: what noise alone explains is left out (MP-PCA)."""

from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces
from .noise_map import magnitude_share

FEWEST_CHANNELS = 6  # below, signal and noise fill the same few components
_BLOCK = 2  # voxels along each axis between the middles of windows
_PLANES = 4  # of blocks that a thread takes at a time


@dataclass(frozen=True)
class MppcaOptions(Options):
    """Settings of MP-PCA."""

    window: float = param(2.0, "mm", 0.5, 20.0, "distance around two voxels within which components are looked for")


def mppca(channels, squared, usable, geometry, options=MppcaOptions(), progress=None, cancelled=None):
    """Components of the channels over a window whose variance exceeds what noise of SD 1 can make.

    Of the covariance of n voxels and c channels noise has eigenvalues up to (1 + sqrt(c / n))^2 (Marchenko and Pastur).
    The mean is kept, and of the components above that limit the share that is not noise. This is an affine map of the
    channels; a voxel gets the mean of the maps of all windows around it, those with few components counting more.

    Args, Returns:
        as nonlocal_means.nonlocal_means; at least six channels. The share of the noise that is kept is that of the
        mean map, over all channels.
    Raises:
        ValueError: the shapes differ, or there are fewer than six channels. Cancelled.
    Reference:
        Veraart J et al. 2016, NeuroImage 142:394-406, with the noise of a map in place of that of the window; Manjon JV
        et al. 2013, PLoS One 8:e73021 (overlapping windows); Gavish M, Donoho DL 2017, IEEE Trans Inf Theory
        63:2137-2152 (shrinkage).
    """
    check_same_shape(channel=channels[0], usable=usable)
    if len(channels) < FEWEST_CHANNELS:
        raise ValueError(
            f"mppca: there are {len(channels)} channels, mp-pca needs {FEWEST_CHANNELS} or more; use nonlocal-means."
        )
    reach = tuple(min(round(options.window / h), n - 1) for h, n in zip(geometry.voxel_size, usable.shape, strict=True))
    kept, share = channels.copy(), np.ones(usable.shape, np.float32)
    blocks = tuple(-(-n // _BLOCK) for n in usable.shape)
    around = tuple(-(-r // _BLOCK) for r in reach)  # blocks beside a voxel's own whose windows reach it

    def planes(first, last):
        low, high = max(first - around[0], 0), min(last + around[0], blocks[0])
        maps = _maps(channels, usable, reach, (low, high), blocks)
        _apply(channels, usable, maps, around, (first, last, low), kept, share)

    in_pieces(planes, blocks[0], _PLANES, progress, cancelled, "denoising")
    for number in np.flatnonzero(squared):  # to the mean of squares: what PCA gives is the mean of magnitudes
        own = np.maximum(kept[number], 0)
        kept[number] = np.where(usable, own**2 + magnitude_share(own) ** 2, channels[number] ** 2)
    return kept, share


@kernel
def _maps(channels, usable, reach, planes, blocks):
    """Affine maps x -> P x + q of the windows of some planes of blocks: P, q and their weights (0 for none)."""
    count, depth, height, width = channels.shape
    size = planes[1] - planes[0], blocks[1], blocks[2]
    projections = np.zeros((*size, count, count), np.float32)
    offsets = np.zeros((*size, count), np.float32)
    weights = np.zeros(size, np.float32)
    sides = [2 * r + _BLOCK for r in reach]
    data, mean = np.empty((sides[0] * sides[1] * sides[2], count)), np.empty(count)
    for bk in range(planes[0], planes[1]):
        rows_k = max(_BLOCK * bk - reach[0], 0), min(_BLOCK * (bk + 1) + reach[0], depth)
        for bj in range(blocks[1]):
            rows = *rows_k, max(_BLOCK * bj - reach[1], 0), min(_BLOCK * (bj + 1) + reach[1], height)
            for bi in range(blocks[2]):
                columns = max(_BLOCK * bi - reach[2], 0), min(_BLOCK * (bi + 1) + reach[2], width)
                n = _gather(channels, usable, rows, columns, data, mean)
                if n <= count:
                    continue
                values, vectors = np.linalg.eigh(_covariance(data[:n], mean))
                edge = (1 + np.sqrt(count / (n - 1))) ** 2
                rank = 0
                while rank < count and values[count - 1 - rank] > edge:
                    rank += 1
                place = bk - planes[0], bj, bi
                weights[place] = 1 / (1 + rank)
                shrunk = _shrinkage(values[count - rank :], count / (n - 1))
                _project(vectors[:, count - rank :], shrunk, mean, projections[place], offsets[place])
    return projections, offsets, weights


@kernel
def _gather(channels, usable, rows, columns, data, mean):
    """Fill `data` [voxel, channel] and `mean` with the usable voxels of a window; their number."""
    n = 0
    mean[:] = 0
    for k in range(rows[0], rows[1]):
        for j in range(rows[2], rows[3]):
            for i in range(columns[0], columns[1]):
                if usable[k, j, i]:
                    for c in range(mean.size):
                        data[n, c] = channels[c, k, j, i]
                        mean[c] += data[n, c]
                    n += 1
    mean /= max(n, 1)
    return n


@kernel
def _covariance(data, mean):
    """Of the channels over the voxels [voxel, channel]; data loses its mean."""
    count = mean.size
    covariance = np.zeros((count, count))
    for v in range(len(data)):
        for a in range(count):
            data[v, a] -= mean[a]
            for b in range(a + 1):
                covariance[a, b] += data[v, a] * data[v, b]
    for a in range(count):
        for b in range(a):
            covariance[b, a] = covariance[a, b]
    return covariance / (len(data) - 1)


@kernel
def _shrinkage(values, ratio):
    """What of a component above the edge is signal, of its eigenvalue with noise of variance 1; ratio: c / n."""
    return np.sqrt(np.maximum((values - ratio - 1) ** 2 - 4 * ratio, 0)) / values


@kernel
def _project(signal, shrunk, mean, projection, offset):
    """Fill P = S d S' with the components S [channel, component] and their shares d, and q = m - P m."""
    for a in range(mean.size):
        for b in range(mean.size):
            total = 0.0
            for r in range(signal.shape[1]):
                total += shrunk[r] * signal[a, r] * signal[b, r]
            projection[a, b] = total
    for a in range(mean.size):
        total = mean[a]
        for b in range(mean.size):
            total -= projection[a, b] * mean[b]
        offset[a] = total


@kernel
def _apply(channels, usable, maps, around, planes, kept, share):
    """Mean map of the blocks around, for the voxels of the planes of blocks [first, last)."""
    count = len(channels)
    first, last, low = planes
    _, height, width = usable.shape
    matrix, offset = np.empty((count, count), np.float32), np.empty(count, np.float32)
    for bk in range(first, last):
        for bj in range(maps[2].shape[1]):
            for bi in range(maps[2].shape[2]):
                if not _mean_map(maps, around, (bk - low, bj, bi), matrix, offset):
                    continue
                left = np.sqrt(np.sum(matrix**2) / count)
                for k in range(_BLOCK * bk, min(_BLOCK * (bk + 1), len(usable))):
                    for j in range(_BLOCK * bj, min(_BLOCK * (bj + 1), height)):
                        for i in range(_BLOCK * bi, min(_BLOCK * (bi + 1), width)):
                            if usable[k, j, i]:
                                share[k, j, i] = left
                                for c in range(count):
                                    total = offset[c]
                                    for b in range(count):
                                        total += matrix[c, b] * channels[b, k, j, i]
                                    kept[c, k, j, i] = total


@kernel
def _mean_map(maps, around, place, matrix, offset):
    """Fill the weighted mean of the maps around a block; False where there is none."""
    projections, offsets, weights = maps
    ends = [(max(place[a] - around[a], 0), min(place[a] + around[a] + 1, weights.shape[a])) for a in range(3)]
    matrix[:] = 0
    offset[:] = 0
    total = 0.0
    for k in range(ends[0][0], ends[0][1]):
        for j in range(ends[1][0], ends[1][1]):
            for i in range(ends[2][0], ends[2][1]):
                weight = weights[k, j, i]
                if weight > 0:
                    total += weight
                    matrix += weight * projections[k, j, i]
                    offset += weight * offsets[k, j, i]
    if total == 0:
        return False
    matrix /= np.float32(total)
    offset /= np.float32(total)
    return True
