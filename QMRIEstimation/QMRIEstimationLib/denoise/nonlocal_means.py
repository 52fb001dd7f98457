"""Multispectral non-local means: each voxel becomes the mean of those around it that look the same in all channels."""

from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces

_PATCH_REACH = 3  # SDs of the Gaussian weights, beyond which a voxel is not part of the patch
_TILE = (8, 32)  # planes and rows that are worked on together, so that the images stay in the cache


@dataclass(frozen=True)
class NonlocalOptions(Options):
    """Settings of multispectral non-local means."""

    search: float = param(3.0, "mm", 0.5, 20.0, "distance along each axis within which like voxels are looked for")
    patch: float = param(
        1.5,
        "mm",
        0.0,
        5.0,
        "SD of the Gaussian weights in the patches that are compared, for one channel; it falls with the cube root of "
        "their number. Smaller gains more and may draw small lesions in",
    )
    strength: float = param(
        1.0, "", 0.1, 20.0, "SDs that noise gives the distance of like patches, beyond which a patch is another tissue"
    )


def nonlocal_means(channels, squared, usable, geometry, options=NonlocalOptions(), progress=None, cancelled=None):
    """Mean of like voxels, with the same weights in all channels.

    Patches of x and y have the distance D = mean over channels of sum_p g(p) (u(x + p) - u(y + p))^2 / 2, g Gaussian of
    sum 1, so that the voxel itself counts most and a lesion of a few voxels is told from what surrounds it. D is 1 for
    like tissue and spreads by s = sqrt(2 sum(g^2) / channels). So that as many measurements tell tissues apart however
    many channels there are, the volume of a patch goes with 1 / channels. The weight is 1 up to D = 1 and falls as
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
        noise SD that is left: sqrt(v + b^2), v = sum w^2 / (sum w)^2 for independent noise, and
        b = -sum w' g(0) / (channels sum w) of a voxel's own, which chooses those that resemble it (Stein's lemma, w'
        by D).
    Raises:
        ValueError: the shapes differ. Cancelled.
    Reference:
        Buades A et al. 2005, Proc IEEE CVPR 2:60-65 (non-local means); Manjon JV et al. 2009, Int J Biomed Imaging
        2009:756897 (weights of all channels). The weights are this project's.
    """
    check_same_shape(channel=channels[0], usable=usable)
    search = _radii(options.search, geometry.voxel_size, usable.shape)
    patch = _patch(options.patch / len(channels) ** (1 / 3), geometry.voxel_size, usable.shape)
    limit = np.float32(options.strength * np.sqrt(2 * _overlap(patch) / len(channels)))
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
    """Voxels along k, j and i that a radius (mm) spans, none along an axis of one voxel."""
    return tuple(min(round(radius / h), n - 1) for h, n in zip(voxel_size, shape, strict=True))


def _patch(width, voxel_size, shape):
    """Shares along k, j and i, float32 of odd length, of a Gaussian of SD `width` (mm)."""
    parts = []
    for h, reach in zip(voxel_size, _radii(_PATCH_REACH * width, voxel_size, shape), strict=True):
        share = np.exp(-0.5 * (np.arange(-reach, reach + 1) * h / max(width, 1e-6)) ** 2)
        parts.append((share / share.sum()).astype(np.float32))
    return tuple(parts)


def _overlap(patch):
    """Sum of the squared shares of a patch."""
    return float(np.prod([np.sum(share.astype(np.float64) ** 2) for share in patch]))


@kernel
def _tile(channels, squared, usable, search, patch, limit, start, means, share):
    """Means and noise share of one tile, [k, j] from `start`."""
    count, depth, height, width = channels.shape
    k0, j0 = start
    k1, j1 = min(k0 + _TILE[0], depth), min(j0 + _TILE[1], height)
    total = np.zeros((count, k1 - k0, j1 - j0, width), np.float32)
    weights = np.zeros((k1 - k0, j1 - j0, width), np.float32)
    squares, slopes = np.zeros_like(weights), np.zeros_like(weights)
    over_k, over_j, over_i = patch
    rk, rj, ri = over_k.size // 2, over_j.size // 2, over_i.size // 2
    # distances of the tile and of the patches' margin around it, weighted over i and then over j
    row = np.empty(width + 2 * ri, np.float32)
    lines = np.empty((k1 - k0 + 2 * rk, j1 - j0 + 2 * rj, width), np.float32)
    planes = np.empty((k1 - k0 + 2 * rk, j1 - j0, width), np.float32)
    weight, slope = np.empty(width, np.float32), np.empty(width, np.float32)
    for dk in range(-search[0], search[0] + 1):
        ka, kb = max(k0 - rk, 0, -dk), min(k1 + rk, depth, depth - dk)
        for dj in range(-search[1], search[1] + 1):
            ja, jb = max(j0 - rj, 0, -dj), min(j1 + rj, height, height - dj)
            jt, je = max(j0, ja), min(j1, jb)  # rows of the tile
            for di in range(-search[2], search[2] + 1):
                ia, ib = max(0, -di), min(width, width - di)
                n = ib - ia
                for k in range(ka, kb):
                    for j in range(ja, jb):
                        _distances(channels, k, j, (dk, dj, di), ia, ib, ri, row)
                        lines[k - ka, j - ja, :n] = 0
                        for p in range(over_i.size):
                            _add_share(over_i[p], row[p : p + n], lines[k - ka, j - ja])
                    for j in range(jt, je):
                        planes[k - ka, j - jt, :n] = 0
                        for p in range(over_j.size):  # beyond the ends the last lines are repeated
                            at = min(max(j - ja + p - rj, 0), jb - ja - 1)
                            _add_share(over_j[p], lines[k - ka, at, :n], planes[k - ka, j - jt])
                for k in range(max(k0, ka), min(k1, kb)):
                    for j in range(jt, je):
                        weight[:n] = 0
                        for p in range(over_k.size):
                            at = min(max(k - ka + p - rk, 0), kb - ka - 1)
                            _add_share(over_k[p], planes[at, j - jt, :n], weight)
                        _weights(weight[:n], count, limit, usable[k + dk, j + dj, ia + di : ib + di], slope)
                        place = k - k0, j - j0
                        _add(weight[:n], weights[place][ia:ib], squares[place][ia:ib])
                        _add_share(np.float32(1), slope[:n], slopes[place][ia:ib])
                        for c in range(count):
                            other = channels[c, k + dk, j + dj, ia + di : ib + di]
                            _accumulate(weight[:n], other, squared[c], total[c, k - k0, j - j0, ia:ib])
    own = over_k[rk] * over_j[rj] * over_i[ri]
    slopes *= own / np.float32(count)
    _divide(channels, squared, usable, (k0, j0), total, (weights, squares, slopes), means, share)


@kernel
def _distances(channels, k, j, shift, first, last, margin, row):
    """Sum over the channels of squared differences to the neighbours at `shift`, along a line.

    `row` begins and ends with `margin` places that repeat its ends.
    """
    dk, dj, di = shift
    n = last - first
    out = row[margin : margin + n]
    out[:] = 0
    for c in range(channels.shape[0]):
        here, there = channels[c, k, j, first:last], channels[c, k + dk, j + dj, first + di : last + di]
        for i in range(n):
            difference = here[i] - there[i]
            out[i] += difference * difference
    row[:margin] = out[0]
    row[margin + n : n + 2 * margin] = out[n - 1]


@kernel
def _weights(weight, count, limit, usable, slope):
    """Turn the distances of a line, summed over the channels, into weights; `slope`: by how much these fall with D."""
    one, inverse, scale = np.float32(1), np.float32(1) / limit, np.float32(0.5 / count)
    for n in range(weight.size):
        excess = max(weight[n] * scale - one, np.float32(0)) * inverse
        rest = max(one - excess * excess, np.float32(0))
        weight[n] = rest * rest * usable[n]
        slope[n] = 4 * excess * rest * inverse * usable[n]


@kernel
def _add(weight, total, squares):
    for n in range(weight.size):
        total[n] += weight[n]
        squares[n] += weight[n] * weight[n]


@kernel
def _add_share(share, values, total):
    for n in range(values.size):
        total[n] += share * values[n]


@kernel
def _accumulate(weight, other, squared, total):
    if squared:
        for n in range(weight.size):
            total[n] += weight[n] * other[n] * other[n]
    else:
        for n in range(weight.size):
            total[n] += weight[n] * other[n]


@kernel
def _divide(channels, squared, usable, start, total, sums, means, share):
    """Sums of a tile into means and the share of the noise; voxels that are not usable as they were."""
    k0, j0 = start
    weights, squares, slopes = sums
    for k in range(weights.shape[0]):
        for j in range(weights.shape[1]):
            for i in range(weights.shape[2]):
                there = usable[k0 + k, j0 + j, i] > 0
                if there:
                    left = squares[k, j, i] + slopes[k, j, i] ** 2
                    share[k0 + k, j0 + j, i] = min(np.sqrt(left) / weights[k, j, i], 1)
                for c in range(len(channels)):
                    own = channels[c, k0 + k, j0 + j, i]
                    kept = own * own if squared[c] else own
                    means[c, k0 + k, j0 + j, i] = total[c, k, j, i] / weights[k, j, i] if there else kept
