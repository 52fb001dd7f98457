"""Bright tubes in a map: veins, the commonest false rim."""

import numpy as np
from scipy import ndimage

WIDTH = 0.8  # mm, SD of the Gaussian; a vein of 1 mm and the blur of a voxel of 1 mm
_OVER_NOISE = 6.0  # SDs of the tubeness of white matter
_SMALLEST = 0.010  # ppm; rims reach 0.009 and veins of 0.8 to 1.3 mm at least 0.012 (blocks of Testing/lesion_block.py)
_LONG = 3.0  # mm that a vein reaches out of the lesion, or
_LINEAR = 4.0  # the ratio of the two largest variances of its voxels


def tubeness(values, voxel_size, width=WIDTH):
    """How much each voxel looks like a bright tube, in the unit of `values`; 0 for blobs, sheets and dark tubes.

    -l2 - |l1| of the eigenvalues l1 >= l2 >= l3 of the Hessian, times the squared width: of a tube l2 and l3 are
    negative and l1 is small, of a sheet only l3 is, of a blob all are alike.

    Args:
        values: float [k, j, i], a crop. voxel_size: mm. width: mm.
    Reference:
        Sato Y et al. 1998, Med Image Anal 2:143-168 (the idea of comparing eigenvalues).
    """
    voxel = np.asarray(voxel_size, float)
    sigma = np.maximum(width / voxel, 0.6)
    hessian = np.empty((*values.shape, 3, 3), np.float32)
    for a in range(3):
        for b in range(a, 3):
            order = [0, 0, 0]
            order[a] += 1
            order[b] += 1
            derivative = ndimage.gaussian_filter(values, sigma, order=order, output=np.float32, mode="nearest")
            hessian[..., a, b] = hessian[..., b, a] = derivative * np.float32(width**2 / (voxel[a] * voxel[b]))
    low, middle, high = np.moveaxis(np.linalg.eigvalsh(hessian), -1, 0)
    return np.where((low < 0) & (middle < 0), np.maximum(-middle - np.abs(high), 0), 0).astype(np.float32)


def veins_near(chi, lesion, reference, voxel_size):
    """Voxels of veins that touch or cross a lesion, bool [k, j, i].

    Args:
        chi: ppm, a crop. lesion: bool. reference: bool, white matter for the noise of the tubeness.
        voxel_size: mm.
    """
    tubes = tubeness(chi, voxel_size)
    noise = 1.4826 * np.median(tubes[reference]) if reference.any() else 0.0
    bright = tubes > max(_OVER_NOISE * noise, _SMALLEST)
    labels, count = ndimage.label(bright, np.ones((3, 3, 3), bool))
    if not count:
        return bright
    reach = ndimage.distance_transform_edt(~lesion, sampling=voxel_size)
    veins = np.zeros_like(bright)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        part = labels[box] == number
        if reach[box][part].min() > _LONG:
            continue
        if reach[box][part].max() > _LONG or _is_linear(np.argwhere(part) * np.asarray(voxel_size)):
            veins[box] |= part
    return veins


def _is_linear(places):
    if len(places) < 4:
        return False
    variances = np.linalg.eigvalsh(np.cov(places.T) + 0.05 * np.eye(3))
    return variances[2] / variances[1] > _LINEAR
