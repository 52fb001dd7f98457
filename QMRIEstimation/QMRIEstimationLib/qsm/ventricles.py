"""The fluid of the lateral ventricles, found by its slow decay in the middle of the brain."""

import numpy as np
from scipy import ndimage

_SLOW = 5.0  # 1/s, R2* below which a voxel is fluid (Liu Z et al. 2018)
_REACH = 30.0  # mm from the middle of the brain (Liu Z et al. 2018)
_PARTS = 3  # largest connected parts that are taken (Liu Z et al. 2018)
_WIDTH = 1.0  # mm, SD of the Gaussian that quiets R2* before it is asked; chosen for an SNR of 40
_LEAST = 200.0  # mm^3 that they must have together, for a mean that noise does not decide


def ventricles(r2star, mask, geometry):
    """Fluid of the ventricles without its outermost voxels, or None where too little is found.

    Args:
        r2star: float32 [k, j, i], 1/s, 0 where unknown. mask: bool, the brain. geometry: voxel size, mm.
    Returns:
        bool [k, j, i], or None.
    Reference:
        Liu Z et al. 2018, Magn Reson Med 79:2795-2803 (MEDI+0).
    """
    if not mask.any():
        return None
    middle = [np.mean(axis) for axis in np.nonzero(mask)]
    away = [((np.arange(n) - m) * h) ** 2 for n, m, h in zip(mask.shape, middle, geometry.voxel_size, strict=True)]
    near = away[0][:, None, None] + away[1][:, None] + away[2] < _REACH**2
    known = (mask & (r2star > 0)).astype(np.float32)
    width = [_WIDTH / h for h in geometry.voxel_size]
    share = ndimage.gaussian_filter(known, width)
    quiet = ndimage.gaussian_filter(r2star * known, width) / np.where(share > 0, share, 1)
    inner = ndimage.binary_erosion((quiet < _SLOW) & (known > 0)) & near
    parts, _ = ndimage.label(inner)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest = np.argsort(sizes, kind="stable")[::-1][:_PARTS]
    found = np.isin(parts, largest[sizes[largest] > 0])
    return found if found.sum() * geometry.voxel_volume >= _LEAST else None
