"""From what was drawn to lesions: components, and confluent ones split into their centres."""

from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import check_same_shape
from scipy import ndimage

from .border import FINE

ALL_NEIGHBOURS = np.ones((3, 3, 3), bool)
_SHALLOW = 0.25  # mm; differences of depth below are those of a mask's stairs
_HESSIAN_WIDTH = 1.0  # mm
_SURROUNDED = 16.5  # of the 26 neighbours, from which on a voxel is a hole
_SMALLEST_CENTRE = 3  # voxels


class Instances(NamedTuple):
    """labels: int32 [k, j, i], lesions from 1 on. parents: lesion -> confluent lesion it is a part of. notes."""

    labels: np.ndarray
    parents: dict
    notes: tuple


def lesion_instances(drawn, voxel_size, options):
    """Lesions of a drawing.

    Args:
        drawn: [k, j, i], a mask (bool, or 0 and one other number), labels (integers, one a lesion, kept as they are),
            or probabilities (floats from 0 to 1). voxel_size: mm [k, j, i]. options: InstanceOptions.
    Returns:
        Instances. A mask is taken apart into components that touch in no way (26 neighbours), numbered from the
        lowest voxel on; a component with several centres is split by watershed of its depth (masks), or into the
        places nearest to each centre, where the probability is concave in every direction.
    Raises:
        InputError: probabilities outside 0 to 1.
    Reference:
        Dworkin JD et al. 2018, AJNR Am J Neuroradiol 39:626-633 (centres by the Hessian).
    """
    drawn = np.asarray(drawn)
    if drawn.dtype.kind == "f" and not np.array_equal(drawn, np.rint(drawn)):
        if drawn.min() < 0 or drawn.max() > 1:
            raise InputError(
                f"the drawing of the lesions holds {drawn.min():g} to {drawn.max():g}, expected a mask, whole numbers "
                "or probabilities from 0 to 1; convert it."
            )
        return _split_all(drawn > options.threshold, voxel_size, options, drawn)
    numbers = np.unique(drawn[drawn != 0])
    if len(numbers) > 1:
        return Instances(drawn.astype(np.int32), {}, _scattered(drawn, numbers))
    return _split_all(drawn != 0, voxel_size, options, None)


def _scattered(labels, numbers):
    """A sentence where one label stands for several places."""
    several = [int(n) for n, box in _boxes(labels, numbers) if ndimage.label(labels[box] == n, ALL_NEIGHBOURS)[1] > 1]
    if not several:
        return ()
    names = ", ".join(str(n) for n in several)
    return (f"lesion labels that stand for several separate places were each taken as one lesion: {names}.",)


def _boxes(labels, numbers):
    found = ndimage.find_objects(labels.astype(np.int32))
    return [(n, found[int(n) - 1]) for n in numbers if found[int(n) - 1] is not None]


def _split_all(mask, voxel_size, options, probability):
    components = ndimage.label(mask, ALL_NEIGHBOURS)[0]
    labels = np.zeros(mask.shape, np.int32)
    parents, number, confluent = {}, 0, 0
    for component, box in enumerate(ndimage.find_objects(components), 1):
        inside = components[box] == component
        parts = inside.astype(np.int32)
        if options.split and probability is None:
            parts = split_mask(inside, voxel_size, options.neck)
        elif options.split:
            parts = split_probability(np.where(inside, probability[box], 0), inside, voxel_size)
        several = int(parts.max())
        for part in range(1, several + 1):
            number += 1
            labels[box][parts == part] = number
            if several > 1:
                parents[number] = confluent + 1
        confluent += several > 1
    notes = ()
    if confluent:
        notes = (f"{confluent} confluent lesions were split into {len(parents)}; {number} lesions in all.",)
    return Instances(labels, parents, notes)


def split_mask(inside, voxel_size, neck):
    """Parts of one component, int32 [k, j, i] from 1 on, by watershed of its depth.

    Two parts stay one when the deepest place of the pass between them is at least `neck` times as deep as the flatter
    of the two, or their depths differ by less than the stairs of a mask.
    """
    voxel = np.asarray(voxel_size, float)
    factors = np.maximum(1, np.rint(voxel / FINE)).astype(int)
    step = voxel / factors
    padded = np.pad(inside, 1)
    # a vein that runs through leaves a hole in a mask, which is no neck
    whole = padded | (ndimage.uniform_filter(padded.astype(np.float32), 3) * 27 > _SURROUNDED)
    share = ndimage.zoom(whole.astype(np.float32), factors, order=1, mode="grid-constant", grid_mode=True)
    depth = ndimage.distance_transform_edt(share >= 0.5, sampling=step).astype(np.float32)
    depth = ndimage.gaussian_filter(depth, FINE / step)
    depth[share < 0.5] = 0
    if depth.max() <= 2 * _SHALLOW:
        return inside.astype(np.int32)
    basins = sitk.MorphologicalWatershed(sitk.GetImageFromArray(-depth), level=_SHALLOW, markWatershedLine=False)
    basins = np.where(share >= 0.5, sitk.GetArrayFromImage(basins), 0).astype(np.int64)
    names, basins = np.unique(basins, return_inverse=True)
    merged = _merged(basins.reshape(depth.shape), depth, names.size, neck)
    parts = _majority(merged, padded.shape, factors)[1:-1, 1:-1, 1:-1]
    return _renumbered(np.where(inside, np.where(parts > 0, parts, _nearest(parts, voxel)), 0))


def _merged(basins, depth, count, neck):
    """Basins with shallow passes between them made one."""
    deepest = ndimage.maximum(depth, basins, np.arange(count))
    owner = np.arange(count)
    passes = _passes(basins, depth)
    while passes:
        (a, b), height = max(passes.items(), key=lambda item: item[1])
        if height < neck * min(deepest[a], deepest[b]) and min(deepest[a], deepest[b]) - height > _SHALLOW:
            del passes[a, b]
            continue
        owner[owner == b] = a
        deepest[a] = max(deepest[a], deepest[b])
        renamed = {}
        for pair, saddle in passes.items():
            c, d = (a if basin == b else basin for basin in pair)
            if c != d:
                key = min(c, d), max(c, d)
                renamed[key] = max(renamed.get(key, 0.0), saddle)
        passes = renamed
    return owner[basins]


def _passes(basins, depth):
    """(basin, other basin) -> depth of the deepest place where they touch."""
    found = {}
    for axis in range(3):
        first = [slice(None)] * 3
        second = [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        a, b = basins[tuple(first)], basins[tuple(second)]
        touch = (a != b) & (a > 0) & (b > 0)
        height = np.minimum(depth[tuple(first)], depth[tuple(second)])[touch]
        for x, y, h in zip(a[touch], b[touch], height, strict=True):
            key = (min(x, y), max(x, y))
            found[key] = max(found.get(key, 0.0), float(h))
    return found


def _majority(fine, shape, factors):
    """The label that most of the finer voxels of every voxel have; 0 where none has one."""
    blocks = fine.reshape([n for pair in zip(shape, factors, strict=True) for n in pair])
    names = np.unique(fine[fine > 0])
    votes = np.stack([(blocks == name).sum((1, 3, 5)) for name in names])
    return np.where(votes.max(0) > 0, names[votes.argmax(0)], 0)


def _nearest(labels, voxel):
    index = ndimage.distance_transform_edt(labels == 0, sampling=voxel, return_distances=False, return_indices=True)
    return labels[tuple(index)]


def _renumbered(parts):
    """Numbers from 1 on in the order of the first voxel."""
    names, first = np.unique(parts[parts > 0], return_index=True)
    out = np.zeros(parts.shape, np.int32)
    for number, name in enumerate(names[np.argsort(first)], 1):
        out[parts == name] = number
    return out


def split_probability(probability, inside, voxel_size):
    """Parts of one component by the centres of its probability map, int32 [k, j, i] from 1 on."""
    check_same_shape(probability=probability, inside=inside)
    voxel = np.asarray(voxel_size, float)
    padded = np.pad(probability.astype(np.float64), 3)
    width = np.maximum(_HESSIAN_WIDTH / voxel, 0.5)
    hessian = np.empty((*padded.shape, 3, 3))
    for a in range(3):
        for b in range(a, 3):
            order = [0, 0, 0]
            order[a] += 1
            order[b] += 1
            derivative = ndimage.gaussian_filter(padded, width, order=order) / (voxel[a] * voxel[b])
            hessian[..., a, b] = hessian[..., b, a] = derivative
    concave = (np.linalg.eigvalsh(hessian)[..., 2] < 0)[3:-3, 3:-3, 3:-3] & inside
    centres, count = ndimage.label(concave, ndimage.generate_binary_structure(3, 1))
    sizes = np.bincount(centres.ravel(), minlength=count + 1)
    keep = np.flatnonzero(sizes >= _SMALLEST_CENTRE)
    centres = np.where(np.isin(centres, keep[keep > 0]), centres, 0)
    if len(np.unique(centres)) <= 2:
        return inside.astype(np.int32)
    return _renumbered(np.where(inside, _nearest(centres, voxel), 0))
