"""The smooth phase of complex images taken off, so that patches can be compared, and put back."""

import numpy as np
from scipy.ndimage import gaussian_filter

_WIDTH = 1.5  # mm, SD of the Gaussian: the phase of coils and of the background field goes, that of a rim stays


def demodulated(magnitude, phase, geometry):
    """Real and imaginary part of a complex image without its smooth phase, and that phase's factor.

    Args:
        magnitude, phase: float32 [k, j, i], rad. geometry: voxel size, mm.
    Returns:
        float32 [2, k, j, i], and complex64 [k, j, i] of modulus 1, by which they are to be multiplied again.
    """
    image = magnitude * np.exp(1j * phase.astype(np.complex64))
    width = [_WIDTH / h for h in geometry.voxel_size]
    smooth = gaussian_filter(image.real, width) + 1j * gaussian_filter(image.imag, width)
    size = np.abs(smooth)
    factor = np.where(size > 0, smooth / np.where(size > 0, size, 1), 1).astype(np.complex64)
    image *= factor.conj()
    return np.stack([image.real, image.imag]), factor
