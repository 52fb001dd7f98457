"""Denoising by principal components of the channels: what noise alone explains is left out (MP-PCA)."""

from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..parameters import Options, param
from ..threads import in_pieces
from .noise_map import magnitude_share

FEWEST_CHANNELS = 6  # below, signal and noise fill the same few components
_BLOCK = 2  # voxels along each axis that one decomposition serves


@dataclass(frozen=True)
class MppcaOptions(Options):
    """Settings of MP-PCA."""

    window: float = param(2e-3, "m", 5e-4, 0.02, "distance around two voxels within which components are looked for")


def mppca(channels, squared, usable, geometry, options=MppcaOptions(), progress=None, cancelled=None):
    """Components of the channels over a window whose variance exceeds what noise of SD 1 can make.

    Of the covariance of n voxels and c channels noise has eigenvalues up to (1 + sqrt(c / n))^2 (Marchenko and Pastur);
    the mean and the components above are kept. Each window serves the two voxels along each axis in its middle.

    Args, Returns:
        as nonlocal_means.nonlocal_means; at least six channels. The share of the noise that is kept, sqrt(r / c) with r
        components and the mean, is that of an average channel.
    Raises:
        ValueError: the shapes differ, or there are fewer than six channels. Cancelled.
    Reference:
        Veraart J et al. 2016, NeuroImage 142:394-406, with the noise of a map in place of that of the window.
    """
    check_same_shape(channel=channels[0], usable=usable)
    if len(channels) < FEWEST_CHANNELS:
        raise ValueError(
            f"mppca: there are {len(channels)} channels, mp-pca needs {FEWEST_CHANNELS} or more; use nonlocal-means."
        )
    reach = tuple(
        min(round(1e3 * options.window / h), n - 1) for h, n in zip(geometry.voxel_size, usable.shape, strict=True)
    )
    kept, share = channels.copy(), np.ones(usable.shape, np.float32)
    lines = [-(-n // _BLOCK) for n in usable.shape[:2]]

    def blocks(first, last):
        for line in range(first, last):
            start = _BLOCK * (line // lines[1]), _BLOCK * (line % lines[1])
            _line(channels, usable, reach, start, kept, share)

    in_pieces(blocks, lines[0] * lines[1], 8, progress, cancelled, "denoising")
    for number in np.flatnonzero(squared):  # to the mean of squares: what PCA gives is the mean of magnitudes
        own = np.maximum(kept[number], 0)
        kept[number] = np.where(usable, own**2 + magnitude_share(own) ** 2, channels[number] ** 2)
    return kept, share


@kernel
def _line(channels, usable, reach, start, kept, share):
    """All blocks along i at [k, j] = start."""
    count, depth, height, width = channels.shape
    k0, j0 = start
    ends = min(k0 + _BLOCK + reach[0], depth), min(j0 + _BLOCK + reach[1], height)
    rows = max(k0 - reach[0], 0), ends[0], max(j0 - reach[1], 0), ends[1]
    data = np.empty(((rows[1] - rows[0]) * (rows[3] - rows[2]) * (2 * reach[2] + _BLOCK), count))
    mean = np.empty(count)
    for i0 in range(0, width, _BLOCK):
        columns = max(i0 - reach[2], 0), min(i0 + _BLOCK + reach[2], width)
        n = _gather(channels, usable, rows, columns, data, mean)
        if n <= count:
            continue
        values, vectors = np.linalg.eigh(_covariance(data[:n], mean))
        edge = (1 + np.sqrt(count / (n - 1))) ** 2
        rank = 0
        while rank < count and values[count - 1 - rank] > edge:
            rank += 1
        left = np.sqrt(min(1.0, rank / count + 1 / n))
        signal = vectors[:, count - rank :].copy()
        for k in range(k0, min(k0 + _BLOCK, depth)):
            for j in range(j0, min(j0 + _BLOCK, height)):
                for i in range(i0, min(i0 + _BLOCK, width)):
                    if usable[k, j, i]:
                        share[k, j, i] = left
                        _project(channels[:, k, j, i], mean, signal, kept[:, k, j, i])


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
def _project(values, mean, signal, out):
    """The mean and what of a voxel lies along the components `signal` [channel, component]."""
    out[:] = mean
    for r in range(signal.shape[1]):
        amount = 0.0
        for c in range(mean.size):
            amount += signal[c, r] * (values[c] - mean[c])
        for c in range(mean.size):
            out[c] += amount * signal[c, r]
