"""Lesions merged, split and deleted in a label image; the image that is given stays as it is."""

import numpy as np
import SimpleITK as sitk
from QMRIEstimationLib.errors import InputError
from scipy import ndimage

from .lesion_crop import MARGIN

_ENDS = 0.15  # of the length of a lesion, that a cut keeps from either end
_BIN = 0.5  # mm along a lesion, over which its cross-section is looked at


def merged(labels, numbers):
    """Labels with several lesions as one, under the lowest of their numbers."""
    if len(set(numbers)) < 2:
        raise InputError("One lesion cannot be merged; select two or more lesions of the list.")
    return np.where(np.isin(labels, list(numbers)), min(numbers), labels)


def deleted(labels, numbers):
    """Labels without some lesions."""
    return np.where(np.isin(labels, list(numbers)), 0, labels)


def split(labels, number, voxel_size, seeds=None):
    """Labels with one lesion in parts; the largest keeps its number, the others get the next free ones.

    Args:
        labels: int32 [k, j, i]. voxel_size: mm [k, j, i].
        seeds: voxel indices [k, j, i], a row a part, in or beside the lesion: parts meet where the lesion is narrowest
            between them. None cuts across its length at its smallest cross-section.
    Raises:
        InputError: there is nothing to split, or a part would be empty.
    """
    box = ndimage.find_objects((labels == number).astype(np.int8))
    if not box or (labels == number).sum() < 2:
        raise InputError(f"Lesion {number} is too small to be split.")
    inside = labels[box[0]] == number
    voxel = np.asarray(voxel_size, float)
    if seeds is None:
        parts = _cut(inside, voxel)
    else:
        parts = _grown(inside, voxel, np.asarray(seeds, float) - [side.start for side in box[0]])
    sizes = np.bincount(parts[inside], minlength=2)[1:]
    if len(sizes) < 2 or not sizes.all():
        raise InputError(f"Lesion {number} was not split: each part needs a point of its own; place two or more in it.")
    names = np.zeros(len(sizes) + 1, np.int32)
    free = int(labels.max()) + 1
    for part in np.argsort(-sizes, kind="stable"):
        names[part + 1] = number if part == sizes.argmax() else free
        free += part != sizes.argmax()
    out = labels.copy()
    out[box[0]][inside] = names[parts[inside]]
    return out


def _cut(inside, voxel):
    """Two parts, 1 and 2, either side of the smallest cross-section."""
    places = np.argwhere(inside) * voxel
    places = places - places.mean(0)
    along = places @ np.linalg.svd(places, full_matrices=False)[2][0]
    along -= along.min()
    length = along.max()
    count = max(3, int(length / max(_BIN, voxel.max())))
    slab = np.minimum((along / length * count).astype(int), count - 1)
    area = ndimage.uniform_filter1d(np.bincount(slab, minlength=count).astype(float), 3)
    middle = np.abs(np.arange(count) + 0.5 - count / 2)
    area[middle > (0.5 - _ENDS) * count] = np.inf
    where = (np.lexsort((middle, area))[0] + 0.5) / count * length
    parts = np.zeros(inside.shape, np.int32)
    parts[inside] = np.where(along > where, 2, 1)
    return parts


def _grown(inside, voxel, seeds):
    """Parts from 1 on that grow from seeds into the depth of the lesion (watershed)."""
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=voxel)[1:-1, 1:-1, 1:-1]
    places = np.argwhere(inside)
    markers = np.zeros(inside.shape, np.int32)
    for part, seed in enumerate(seeds, 1):
        nearest = places[np.argmin((((places - seed) * voxel) ** 2).sum(1))]
        markers[tuple(nearest)] = part
    heights = sitk.GetImageFromArray(-depth)
    heights.SetSpacing(voxel[::-1].tolist())
    seeded = sitk.GetImageFromArray(markers)
    seeded.CopyInformation(heights)
    grown = sitk.MorphologicalWatershedFromMarkers(heights, seeded, markWatershedLine=False, fullyConnected=True)
    return np.where(inside, sitk.GetArrayFromImage(grown), 0).astype(np.int32)


def touched(before, after, voxel_size):
    """Numbers of the lesions that are other than before, or have something other around them.

    Args:
        before, after: int32 [k, j, i].
    """
    different = before != after
    margin = np.ceil(MARGIN / np.asarray(voxel_size)).astype(int)
    found = set()
    for number, box in enumerate(ndimage.find_objects(after), 1):
        if box is not None:
            around = tuple(slice(max(side.start - m, 0), side.stop + m) for side, m in zip(box, margin, strict=True))
            if different[around].any():
                found.add(number)
    return found
