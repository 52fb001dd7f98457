"""Fourier and cosine transforms of single precision, and the grids they run on."""

import numpy as np
import scipy.fft

from .threads import thread_count


def padded_shape(shape, fraction=0.0):
    """Smallest shape that is fast to transform and at least `1 + fraction` times `shape`.

    >>> padded_shape((31, 64, 101), 0.25)
    (40, 80, 128)
    """
    return tuple(scipy.fft.next_fast_len(int(np.ceil(n * (1 + fraction))), real=True) for n in shape)


def rfftn(array, shape=None):
    """Half spectrum (complex64) of a real 3-D array, zero-padded at the far ends to `shape`."""
    return scipy.fft.rfftn(np.asarray(array, np.float32), shape, workers=thread_count())


def irfftn(spectrum, shape):
    """Real array (float32) of `shape` from its half spectrum; `spectrum` may be overwritten."""
    return scipy.fft.irfftn(spectrum, shape, workers=thread_count(), overwrite_x=True)


def dctn(array):
    """Cosine transform (type 2, float32)."""
    return scipy.fft.dctn(np.asarray(array, np.float32), type=2, workers=thread_count())


def idctn(spectrum):
    """Inverse of `dctn`."""
    return scipy.fft.idctn(spectrum, type=2, workers=thread_count())


def crop(array, shape):
    """The near corner of `array` that holds `shape`: undoes the padding of `rfftn`."""
    return array[tuple(slice(n) for n in shape)]


def frequencies(shape, voxel_size):
    """Spatial frequencies (cycles/mm) along [k, j, i] of the half spectrum of `shape`, ready to broadcast."""
    k, j, i = shape
    dk, dj, di = voxel_size
    axes = np.fft.fftfreq(k, dk), np.fft.fftfreq(j, dj), np.fft.rfftfreq(i, di)
    return axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :]
