"""Spatial phase unwrapping: the Laplacian solution, and from it one that differs from the data by whole turns only."""

import numpy as np
from scipy import ndimage

from ..fft import dctn, idctn
from ..geometry import check_same_shape
from ..kernels import kernel

TURN = np.float32(2 * np.pi)
_BINS = 256  # steps of edge quality; finer changes nothing, coarser mixes good and bad edges


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


def unwrap(phase, weight, mask, geometry):
    """Phase with whole turns added so that it varies smoothly in space.

    The Laplacian solution takes away most of the variation; what remains is unwrapped along the tree of most
    reliable neighbours (small difference, strong signal), so that noise and singularities are crossed last.

    Args:
        phase: wrapped phase, float32 [k, j, i], rad.
        weight: signal strength, float32 [k, j, i], any unit.
        mask: bool [k, j, i].
        geometry: voxel size, mm.
    Returns:
        float32 [k, j, i], rad, 0 outside the mask; less `phase` it is a multiple of 2 pi. Every connected part is
        taken to be the one nearest to the Laplacian solution, the whole to have its median within pi of zero.
    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(phase=phase, weight=weight, mask=mask)
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    smooth = laplacian_unwrap(phase, mask, geometry)
    rest = wrap(phase - smooth)
    turns = _tree_turns(rest, weight, mask)
    estimate = (smooth + rest)[mask] + TURN * turns
    unwrapped = phase[mask] + TURN * np.rint((estimate - phase[mask]) / TURN)
    unwrapped -= TURN * np.rint(np.median(unwrapped) / TURN)
    result = np.zeros(mask.shape, np.float32)
    result[mask] = unwrapped
    return result


def _tree_turns(phase, weight, mask):
    """Whole turns for each voxel of the mask, in the order of `phase[mask]`."""
    count = int(mask.sum())
    number = np.full(mask.shape, -1, np.int32)
    number[mask] = np.arange(count, dtype=np.int32)
    scale = float(np.median(weight[mask])) or 1.0
    first, second, badness = [], [], []
    for axis in range(3):
        here, there = _neighbours(axis)
        both = mask[here] & mask[there]
        signal = np.minimum(weight[here][both], weight[there][both]) / scale
        quality = (1 - np.abs(wrap(phase[there][both] - phase[here][both])) / np.pi) * np.minimum(signal, 1)
        first.append(number[here][both])
        second.append(number[there][both])
        badness.append(np.rint((_BINS - 1) * (1 - quality.clip(0, 1))).astype(np.uint8))
    order = np.argsort(np.concatenate(badness), kind="stable")
    turns, root = np.zeros(count, np.int32), np.arange(count, dtype=np.int32)
    values = np.ascontiguousarray(phase[mask], np.float32)
    _join(values, np.concatenate(first)[order], np.concatenate(second)[order], root, turns)
    # Each part moves as a whole to where its median is within half a turn of the Laplacian solution.
    total = values + TURN * turns
    heads = np.flatnonzero(root == np.arange(count))
    if heads.size == 1:
        return turns - int(np.rint(np.median(total) / TURN))
    part = np.zeros(count, np.int32)
    part[heads] = np.arange(heads.size)
    centre = ndimage.median(total, part[root], np.arange(heads.size))
    return turns - np.rint(np.asarray(centre) / TURN).astype(np.int32)[part[root]]


@kernel
def _join(phase, first, second, root, turns):
    """Join voxels along the edges in the given order (Kruskal's tree); leaves each voxel's part and turns."""
    size = np.ones(phase.size, np.int32)
    turn = 2 * np.pi
    for edge in range(first.size):
        a, b = first[edge], second[edge]
        turns_a, turns_b = 0, 0
        while root[a] != a:  # up to the head of the part, halving the way for the next visit
            turns[a] += turns[root[a]]
            root[a] = root[root[a]]
            turns_a += turns[a]
            a = root[a]
        while root[b] != b:
            turns[b] += turns[root[b]]
            root[b] = root[root[b]]
            turns_b += turns[b]
            b = root[b]
        if a != b:
            step = int(np.rint((phase[first[edge]] - phase[second[edge]]) / turn))
            shift = turns_a + step - turns_b
            if size[a] < size[b]:
                a, b, shift = b, a, -shift
            root[b] = a
            turns[b] = shift
            size[a] += size[b]
    for voxel in range(phase.size):
        a, total = voxel, 0
        while root[a] != a:
            total += turns[a]
            a = root[a]
        # Later voxels may pass through this one: write what is true for direct children of the head.
        if a != voxel:
            turns[voxel] = total
            root[voxel] = a


def _neighbours(axis):
    """Index pairs of neighbouring voxels along `axis`: (here, there)."""
    here, there = [slice(None)] * 3, [slice(None)] * 3
    here[axis], there[axis] = slice(None, -1), slice(1, None)
    return tuple(here), tuple(there)
