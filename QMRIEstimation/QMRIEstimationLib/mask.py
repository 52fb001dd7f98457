"""Brain mask from the magnitude by classical morphology: threshold, cut the bridges to the scalp, grow back."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .errors import InputError, check_cancelled
from .geometry import check_same_shape
from .parameters import Options, param

_AIR = 0.1  # of the robust maximum; below lies air or bone
_NO_AIR = 0.02  # share of air below which the image shows tissue only
_SCALP = 4.0  # mm below the skin: scalp or skull in every head
# Share of the eroded brain that lies under the scalp: up to 0.05 where a head was defaced, 0.075 and more where scalp
# hangs on, 0.15 in a bare brain.
_LEAK = 0.06
_PARTED = 0.6  # of the leak before erosion, below which the scalp at least was parted
_RADII = (*np.arange(2.0, 10.0, 0.5), *np.arange(10.0, 15.1))  # mm, half widths of bridges that are tried: dura to neck
_NOISE_WIDTH = 0.5  # mm, SD of the smoothing that keeps noise from piercing dark tissue; thin bone stays dark
_BIAS_WIDTH = 25.0  # mm, SD of the smoothing: wide against folds, narrow against a receive profile


@dataclass(frozen=True)
class MaskOptions(Options):
    """Settings of the brain mask."""

    threshold: float = param(0.35, "", 0.1, 0.8, "tissue is above this share of the median signal deep in the head")
    closing: float = param(5.0, "mm", 0.0, 15.0, "half width of gaps (sulci, vessels) that count as brain")


def brain_mask(magnitude, geometry, options=MaskOptions(), progress=None, cancelled=None):
    """Brain mask of a head, or of an image that shows nothing but brain.

    The bias-corrected image is thresholded and eroded by as little as parts the brain from the scalp; the largest
    part is grown back, closed over sulci and filled. Where no erosion parts them there is no skull in the image
    (it was stripped, or the field of view lies within the brain), and all tissue counts.

    Args:
        magnitude: float32 [k, j, i], or [echo, k, j, i] of which the first is used; any unit.
        geometry: voxel size, mm.
        options: MaskOptions.
        progress, cancelled: optional callbacks.
    Returns:
        bool [k, j, i]; notes, a tuple of sentences.
    Raises:
        ValueError: the shape is not that of the geometry. InputError: the image holds no signal. Cancelled.
    """
    image = np.asarray(magnitude if np.ndim(magnitude) == 3 else magnitude[0], np.float32)
    check_same_shape(magnitude=image, geometry=np.empty(geometry.shape, bool))
    image = np.where(np.isfinite(image) & (image > 0), image, 0)
    if not image.any():
        raise InputError(
            "the magnitude holds no signal, so no brain mask can be made; check the image, or give a brain mask."
        )
    distance = _Distance(geometry.voxel_size)
    head = _head(image, distance)
    if head.mean() > 1 - _NO_AIR:
        whole = _closed(image > 0, options.closing, distance)
        return whole, ("the image shows no air around the tissue, so all of it was taken for brain.",)
    _tell(progress, cancelled, 0.2)
    skin = distance.inside(head)
    image = _without_bias(image, head, geometry.voxel_size)
    image = ndimage.gaussian_filter(image, [_NOISE_WIDTH / h for h in geometry.voxel_size])
    deep = head & (skin > 0.5 * skin.max())
    tissue = head & (image > options.threshold * np.median(image[deep & (image > 0)]))
    thickness = distance.inside(tissue)
    leaks = []
    for number, radius in enumerate(_RADII):
        _tell(progress, cancelled, 0.3 + 0.4 * number / len(_RADII))
        core = _largest(thickness > radius)
        if not core.any():
            break
        leaks.append((core & (skin < radius + _SCALP)).sum() / core.sum())
        if leaks[-1] <= _LEAK:
            break
    _tell(progress, cancelled, 0.7)
    best = int(np.argmin(leaks)) if leaks else 0
    if not leaks or leaks[best] > max(_LEAK, _PARTED * leaks[0]):
        note = "no skull was found around the brain, so all tissue was taken for brain; check the mask, or give one."
        return _closed(_largest(tissue), options.closing, distance), (note,)
    notes = ()
    if leaks[best] > _LEAK:
        notes = ("the brain could not be parted from all of the neck or scalp; check the mask, or give one.",)
    radius = _RADII[best]
    reach = distance.outside(_largest(thickness > radius))
    brain = tissue & (reach <= radius + 0.5 * max(geometry.voxel_size))
    return _closed(brain, options.closing, distance), notes


class _Distance:
    """Distances in mm; what lies beyond the edge of the image counts neither as inside nor as outside."""

    def __init__(self, voxel_size):
        self.voxel_size = voxel_size

    def inside(self, region):
        """Distance of each voxel of the region to the nearest outside it."""
        if region.all():
            return np.full(region.shape, np.inf, np.float32)
        return ndimage.distance_transform_edt(region, sampling=self.voxel_size).astype(np.float32)

    def outside(self, region):
        """Distance of each voxel to the nearest of the region."""
        return self.inside(~region)


def _head(image, distance):
    """Everything that is not air around the head."""
    head = _largest(image > _AIR * np.percentile(image[image > 0], 98))
    return _closed(head, 3.0, distance)


def _without_bias(image, head, voxel_size):
    """The image over its smooth part in the head."""
    sigma = [_BIAS_WIDTH / h for h in voxel_size]
    step = [max(1, int(s / 4)) for s in sigma]  # four samples a SD are plenty
    coarse = tuple(slice(None, None, s) for s in step)
    seen = (head & (image > 0))[coarse]
    logarithm = np.log(np.where(seen, image[coarse], 1))
    narrow = [s / n for s, n in zip(sigma, step, strict=True)]
    weight = ndimage.gaussian_filter(seen.astype(np.float32), narrow, mode="nearest")
    smooth = ndimage.gaussian_filter(logarithm, narrow, mode="nearest") / np.maximum(weight, 1e-3)
    grid = [(np.arange(n) / s).astype(np.float32) for n, s in zip(image.shape, step, strict=True)]
    for axis, places in enumerate(grid):  # linear interpolation, one axis at a time
        low = np.minimum(places.astype(int), smooth.shape[axis] - 1)
        high = np.minimum(low + 1, smooth.shape[axis] - 1)
        share = (places - low).reshape([-1 if a == axis else 1 for a in range(3)])
        smooth = smooth.take(low, axis) * (1 - share) + smooth.take(high, axis) * share
    return np.where(head, image * np.exp(-smooth), 0).astype(np.float32)


def _largest(region):
    """The largest connected part (faces); empty when the region is."""
    label, count = ndimage.label(region)
    if count == 0:
        return region
    return label == 1 + np.argmax(np.bincount(label.ravel())[1:])


def _closed(region, radius, distance):
    """The region with gaps up to twice `radius` (mm) closed, holes filled, and only its largest part."""
    if radius > 0:
        grown = distance.outside(region) <= radius
        region = region | (distance.inside(grown) > radius)
    return _largest(ndimage.binary_fill_holes(region))


def _tell(progress, cancelled, fraction):
    check_cancelled(cancelled)
    if progress is not None:
        progress(fraction, "brain mask")
