"""Wrapping, and unwrapping by the Laplacian, which knows no paths and so no errors along them, but is not exact."""

import numpy as np
from scipy import ndimage

from ..fft import dctn, idctn
from ..geometry import check_same_shape

TURN = np.float32(2 * np.pi)


def wrap(phase):
    """The same angle within -pi to pi."""
    return phase - TURN * np.rint(phase / TURN)


def laplacian_unwrap(phase, mask, geometry):
    """Smooth phase whose Laplacian is the divergence of the wrapped differences of neighbours.

    Args:
        phase: wrapped phase, float32 [k, j, i], rad.
        mask: bool [k, j, i]; only differences between two of its voxels count.
        geometry: voxel size, mm.
    Returns:
        float32 [k, j, i], rad, mean zero in the mask and 0 outside. It differs from the data by more than whole
        turns: by a slowly varying (harmonic) phase, and where neighbours differ by more than pi.
    Raises:
        ValueError: the shapes differ.
    Reference:
        Schofield MA, Zhu Y 2003, Opt Lett 28:1194-1196; Ghiglia DC, Romero LA 1994, J Opt Soc Am A 11:107-117
        (wrapped differences, cosine transform).
    """
    check_same_shape(phase=phase, mask=mask)
    smooth = np.zeros(mask.shape, np.float32)
    if not mask.any():
        return smooth
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    smooth[box] = _poisson(phase[box], mask[box], geometry.voxel_size)
    smooth[mask] -= smooth[mask].mean(dtype=np.float64).astype(np.float32)
    return np.where(mask, smooth, 0)


def _poisson(phase, mask, voxel_size):
    """Solution of the discrete Poisson equation with no slope across the faces of the box, whence no padding."""
    divergence = np.zeros(mask.shape, np.float32)
    laplacian = np.zeros(mask.shape, np.float32)  # eigenvalues of the cosine transform
    for axis, (n, h) in enumerate(zip(mask.shape, voxel_size, strict=True)):
        here, there = _neighbours(axis)
        slope = wrap(phase[there] - phase[here]) * (mask[there] & mask[here]) / np.float32(h * h)
        divergence[here] += slope
        divergence[there] -= slope
        along = ((2 * np.cos(np.pi * np.arange(n) / n) - 2) / (h * h)).astype(np.float32)
        laplacian += along.reshape([-1 if a == axis else 1 for a in range(3)])
    laplacian[0, 0, 0] = 1.0  # the mean is free
    return idctn(dctn(divergence) / laplacian)


def _neighbours(axis):
    """Index pairs of neighbouring voxels along `axis`: (here, there)."""
    here, there = [slice(None)] * 3, [slice(None)] * 3
    here[axis], there[axis] = slice(None, -1), slice(1, None)
    return tuple(here), tuple(there)
