"""Multispectral non-local means: each voxel becomes the mean of those around it that look the same in all channels."""

from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces

_TILE = (8, 32)  # planes and rows that are worked on together, so that the images stay in the cache


@dataclass(frozen=True)
class NonlocalOptions(Options):
    """Settings of multispectral non-local means."""

    search: float = param(3.0, "mm", 0.5, 20.0, "distance along each axis within which like voxels are looked for")
    patch: float = param(1.0, "mm", 0.0, 5.0, "half the side of the patches that are compared")
    strength: float = param(
        1.5, "", 0.1, 20.0, "SDs that noise gives the distance of like patches, beyond which a patch is another tissue"
    )


def nonlocal_means(channels, squared, usable, geometry, options=NonlocalOptions(), progress=None, cancelled=None):
    """Mean of like voxels, with the same weights in all channels.

    Patches P of x and y have the distance D = mean over channels and patch of (u(x + p) - u(y + p))^2 / 2, which is 1
    for like tissue and spreads by s = sqrt(2 / n), n terms. The weight is 1 up to D = 1 and falls as
    (1 - ((D - 1) / (strength s))^2)^2 to 0. Because it follows from the statistics of the noise alone, there is nothing
    to tune to the image, and it stops at zero: other tissue has no part in the mean.

    Args:
        channels: float32 [c, k, j, i], in noise SDs, every channel with noise of SD 1 that is its own.
        squared: bool [c]; where set, the mean is that of the squares (magnitudes, whose noise adds to the square).
        usable: bool [k, j, i]; other voxels are neither changed nor used.
        geometry: voxel size, mm. options: NonlocalOptions.
        progress, cancelled: optional callbacks.
    Returns:
        float32 [c, k, j, i], the means (of the squares where `squared`), and float32 [k, j, i], the share of the
        noise SD that independent noise keeps, sqrt(sum w^2) / sum w.
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Buades A et al. 2005, Proc IEEE CVPR 2:60-65 (non-local means); Manjon JV et al. 2009, Int J Biomed Imaging
        2009:756897 (weights of all channels). The weights are this project's.
    """
    check_same_shape(channel=channels[0], usable=usable)
    search, patch = (_radii(r, geometry.voxel_size, usable.shape) for r in (options.search, options.patch))
    terms = len(channels) * np.prod([2 * r + 1 for r in patch])
    limit = np.float32(options.strength * np.sqrt(2 / terms))
    means = np.empty_like(channels)
    share = np.ones(usable.shape, np.float32)
    flags, inside = np.asarray(squared, np.uint8), usable.astype(np.float32)
    planes, rows = (-(-n // t) for n, t in zip(usable.shape, _TILE, strict=False))

    def tiles(first, last):
        for tile in range(first, last):
            k, j = (tile // rows) * _TILE[0], (tile % rows) * _TILE[1]
            _tile(channels, flags, inside, search, patch, limit, (k, j), means, share)

    in_pieces(tiles, planes * rows, 1, progress, cancelled, "denoising")
    return means, share


def _radii(radius, voxel_size, shape):
    """Voxels along [k, j, i] that a radius (mm) spans, none along an axis of one voxel."""
    return tuple(min(round(radius / h), n - 1) for h, n in zip(voxel_size, shape, strict=True))


@kernel
def _tile(channels, squared, usable, search, patch, limit, start, means, share):
    """Means and noise share of one tile, [k, j] from `start`."""
    count, depth, height, width = channels.shape
    k0, j0 = start
    k1, j1 = min(k0 + _TILE[0], depth), min(j0 + _TILE[1], height)
    total = np.zeros((count, k1 - k0, j1 - j0, width), np.float32)
    weights = np.zeros((k1 - k0, j1 - j0, width), np.float32)
    squares = np.zeros_like(weights)
    # distances of the tile and of the patches' margin around it
    field = np.empty((k1 - k0 + 2 * patch[0], j1 - j0 + 2 * patch[1], width), np.float32)
    row, weight = np.empty(width, np.float32), np.empty(width, np.float32)
    for dk in range(-search[0], search[0] + 1):
        ka, kb = max(k0 - patch[0], 0, -dk), min(k1 + patch[0], depth, depth - dk)
        for dj in range(-search[1], search[1] + 1):
            ja, jb = max(j0 - patch[1], 0, -dj), min(j1 + patch[1], height, height - dj)
            for di in range(-search[2], search[2] + 1):
                ia, ib = max(0, -di), min(width, width - di)
                for k in range(ka, kb):
                    for j in range(ja, jb):
                        _distances(channels, k, j, (dk, dj, di), ia, ib, row)
                        _box(row[ia:ib], patch[2], field[k - ka, j - ja, ia:ib])
                for k in range(max(k0, ka), min(k1, kb)):
                    near = max(k - patch[0], ka) - ka, min(k + patch[0] + 1, kb) - ka
                    for j in range(max(j0, ja), min(j1, jb)):
                        lines = max(j - patch[1], ja) - ja, min(j + patch[1] + 1, jb) - ja
                        scale = np.float32(0.5 / count)
                        there = usable[k + dk, j + dj, ia + di : ib + di]
                        around = field[near[0] : near[1], lines[0] : lines[1], ia:ib]
                        _weights(around, scale, limit, there, weight[: ib - ia])
                        _add(weight[: ib - ia], weights[k - k0, j - j0, ia:ib], squares[k - k0, j - j0, ia:ib])
                        for c in range(count):
                            other = channels[c, k + dk, j + dj, ia + di : ib + di]
                            _accumulate(weight[: ib - ia], other, squared[c], total[c, k - k0, j - j0, ia:ib])
    _divide(channels, squared, usable, (k0, j0), total, weights, squares, means, share)


@kernel
def _distances(channels, k, j, shift, first, last, row):
    """Sum over the channels of squared differences to the neighbours at `shift`, along one line."""
    dk, dj, di = shift
    row[first:last] = 0
    out = row[first:last]
    for c in range(channels.shape[0]):
        here, there = channels[c, k, j, first:last], channels[c, k + dk, j + dj, first + di : last + di]
        for n in range(last - first):
            difference = here[n] - there[n]
            out[n] += difference * difference


@kernel
def _box(values, radius, out):
    """Mean over a window of `radius` on both sides, cut at the ends."""
    n = values.size
    for i in range(n):
        out[i] = values[i]
    for r in range(1, radius + 1):
        for i in range(n - r):
            out[i] += values[i + r]
            out[i + r] += values[i]
    for i in range(min(radius, n)):
        out[i] /= min(i, radius) + min(n - 1 - i, radius) + 1
    for i in range(radius, n - radius):
        out[i] *= np.float32(1 / (2 * radius + 1))
    for i in range(max(n - radius, radius), n):
        out[i] /= min(i, radius) + min(n - 1 - i, radius) + 1


@kernel
def _weights(field, scale, limit, usable, weight):
    """Weights along a line from the mean of the lines of `field` [k, j, i], which hold distances."""
    one, scale = np.float32(1), scale / np.float32(field.shape[0] * field.shape[1])
    inverse = one / limit
    weight[:] = 0
    for k in range(field.shape[0]):
        for j in range(field.shape[1]):
            part = field[k, j]
            for n in range(weight.size):
                weight[n] += part[n]
    for n in range(weight.size):
        excess = max(weight[n] * scale - one, np.float32(0)) * inverse
        rest = max(one - excess * excess, np.float32(0))
        weight[n] = rest * rest * usable[n]


@kernel
def _add(weight, total, squares):
    for n in range(weight.size):
        total[n] += weight[n]
        squares[n] += weight[n] * weight[n]


@kernel
def _accumulate(weight, other, squared, total):
    if squared:
        for n in range(weight.size):
            total[n] += weight[n] * other[n] * other[n]
    else:
        for n in range(weight.size):
            total[n] += weight[n] * other[n]


@kernel
def _divide(channels, squared, usable, start, total, weights, squares, means, share):
    """Sums of a tile into means and the share of the noise; voxels that are not usable as they were."""
    k0, j0 = start
    for k in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            for i in range(weights.shape[2]):
                there = usable[k0 + k, j0 + j, i] > 0
                if there:
                    share[k0 + k, j0 + j, i] = np.sqrt(squares[k, j, i]) / weights[k, j, i]
                for c in range(len(channels)):
                    own = channels[c, k0 + k, j0 + j, i]
                    kept = own * own if squared[c] else own
                    means[c, k0 + k, j0 + j, i] = total[c, k, j, i] / weights[k, j, i] if there else kept
