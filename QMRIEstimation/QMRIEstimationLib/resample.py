"""Images moved from one grid to another: maps interpolated within their mask, labels by nearest neighbour."""

import numpy as np
from scipy.ndimage import affine_transform

from .geometry import check_same_shape
from .kernels import kernel
from .threads import in_pieces

TAPS = {"linear": 2, "cubic": 4}
PLANES = 4  # that one thread takes at a time
_INSIDE = 0.5  # of the weight of an interpolation that must fall on valid voxels; the mask keeps its size


def on_grid(array, source, target, transform=None, valid=None, order="linear"):
    """A map on the grid `target`; what is not valid takes no part, so that the zeros outside a mask do not bleed.

    v = sum(c m f) / sum(c m) with c the weights of the interpolation and m the validity. Cubic (Catmull-Rom) is used
    where all its 64 voxels are valid, linear elsewhere. A target voxel that spans several source voxels is averaged
    over as many points along each axis.

    Args:
        array: [k, j, i] on Geometry `source`, becomes float32.
        source, target: Geometry.
        transform: 4x4 rigid from RAS of the target to RAS of the source, as Registration.ras_transform of the source
            scan (moving) to the target scan (fixed); None for the same space.
        valid: bool [k, j, i] on `source`; None for everywhere.
        order: "linear" or "cubic".
    Returns:
        values: float32 [k, j, i], 0 where not valid. valid: bool, where at least half of the weight is valid.
    Raises:
        ValueError: the shapes differ, or the order is unknown.
    """
    return _on_grid(array, source, target, transform, valid, order, power=1)


def sd_on_grid(sd, source, target, transform=None, valid=None, order="linear"):
    """Standard deviation of what `on_grid` makes of a map whose voxels have independent noise of this SD.

    sd = sqrt(sum((c m s)^2)) / sum(c m); smaller than around it between voxels, because neighbours were averaged.

    Args, Returns, Raises: as `on_grid`.
    """
    array = np.square(np.asarray(sd, np.float32))
    variance, inside = _on_grid(array, source, target, transform, valid, order, power=2)
    return np.sqrt(variance), inside


def nearest_on_grid(array, source, target, transform=None):
    """`array` on the grid `target` by nearest neighbour; 0 where the source does not reach.

    Args:
        array: [k, j, i] on Geometry `source`.
        source, target: Geometry.
        transform: as in `on_grid`.
    Returns:
        Array of the dtype of `array` (bool becomes uint8), shape `target.shape`.
    """
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if _unmoved(source, target, transform):
        return array.copy()
    matrix, offset = _voxel_mapping(source, target, transform)
    # grid-constant: the outer half of the outermost voxels belongs to them
    return affine_transform(
        array, matrix, offset, output_shape=target.shape, order=0, mode="grid-constant", cval=0, prefilter=False
    )


def lesions_on_grid(labels, source, target, transform=None):
    """Lesion labels on the grid `target` so that no lesion is lost.

    Nearest neighbour; a lesion that falls between the points of a coarser grid gets the target voxel that holds most
    of it, if need be from a neighbour that has others left.

    Args:
        labels: integers [k, j, i] on Geometry `source`, one number a lesion, 0 elsewhere.
        source, target, transform: as in `on_grid`.
    Returns:
        labels: of the dtype of `labels`, shape `target.shape`; notes, a tuple of sentences.
    """
    moved = nearest_on_grid(labels, source, target, transform)
    numbers = np.setdiff1d(labels, 0)
    lost = np.setdiff1d(numbers, moved)
    matrix, offset = (None, None) if not lost.size else _voxel_mapping(target, source, _inverse(transform))
    outside = []
    for number in lost:
        places = np.rint(np.argwhere(labels == number) @ matrix.T + offset).astype(int)
        places = places[((places >= 0) & (places < target.shape)).all(1)]
        voxels, counts = np.unique(places, axis=0, return_counts=True)
        for voxel in voxels[np.argsort(-counts, kind="stable")]:
            owner = moved[tuple(voxel)]
            if owner == 0 or np.count_nonzero(moved == owner) > 1:
                moved[tuple(voxel)] = number
                break
        else:
            outside.append(int(number))
    kept = len(lost) - len(outside)
    notes = []
    if kept:
        notes.append(f"{kept} small lesions fell between the voxels of the grid of the maps and were given one voxel.")
    if outside:
        names = ", ".join(str(number) for number in outside)
        notes.append(f"lesions outside the field of view of the maps, or hidden by others, are left out: {names}.")
    return moved, tuple(notes)


def _on_grid(array, source, target, transform, valid, order, power):
    """Interpolated values (power 1) or variances (power 2) and where they are valid."""
    array = np.ascontiguousarray(array, np.float32)
    check_same_shape(array=array, valid=valid, source=np.empty(source.shape, bool))
    if order not in TAPS:
        raise ValueError(f"order is {order!r}, expected one of {', '.join(TAPS)}.")
    inside = np.ones(array.shape, bool) if valid is None else np.ascontiguousarray(valid, bool)
    if _unmoved(source, target, transform):
        return np.where(inside, array, 0), inside.copy()
    matrix, offset = _voxel_mapping(source, target, transform)
    points = np.maximum(1, np.rint(np.linalg.norm(matrix, axis=0))).astype(np.int64)  # source voxels a target voxel
    averaged = points.prod() > 1
    out = np.zeros(target.shape, np.float32)
    reached = np.zeros(target.shape, bool)
    arguments = array, inside, matrix, offset, points, TAPS[order], 1 if averaged else power, out, reached
    in_pieces(lambda first, last: _interpolate(*arguments, first, last), target.shape[0], PLANES)
    if averaged and power == 2:
        out /= np.float32(max(1.0, target.voxel_volume / source.voxel_volume))  # the mean of as many voxels
    return out, reached


def _unmoved(source, target, transform):
    return source.same_grid(target) and (transform is None or np.array_equal(transform, np.eye(4)))


def _inverse(transform):
    return None if transform is None else np.linalg.inv(transform)


def _voxel_mapping(source, target, transform):
    """Matrix (3x3) and offset from voxels [k, j, i] of the target to voxels [k, j, i] of the source."""
    ras = np.eye(4) if transform is None else np.asarray(transform, float)
    ijk = np.linalg.inv(source.ijk_to_ras) @ ras @ target.ijk_to_ras
    return np.ascontiguousarray(ijk[:3, :3][::-1, ::-1]), np.ascontiguousarray(ijk[:3, 3][::-1])


@kernel
def _weights(fraction, taps, out):
    """Weights of the two (linear) or four (Catmull-Rom) voxels around a place between the middle two."""
    t = fraction
    if taps == 2:
        out[0], out[1] = 1 - t, t
    else:
        out[0] = t * (-0.5 + t * (1 - 0.5 * t))
        out[1] = 1 + t * t * (-2.5 + 1.5 * t)
        out[2] = t * (0.5 + t * (2 - 1.5 * t))
        out[3] = t * t * (-0.5 + 0.5 * t)


@kernel
def _gather(array, inside, place, taps, power, w):
    """sum(c^power f), sum(c) over valid voxels, and whether all voxels were valid."""
    total, norm, whole = 0.0, 0.0, True
    first = np.empty(3, np.int64)
    for axis in range(3):
        low = int(np.floor(place[axis]))
        first[axis] = low + 1 - taps // 2
        _weights(place[axis] - low, taps, w[axis])
    for a in range(taps):
        k = first[0] + a
        for b in range(taps):
            j = first[1] + b
            for c in range(taps):
                i = first[2] + c
                weight = w[0, a] * w[1, b] * w[2, c]
                if weight == 0:
                    continue
                if 0 <= k < array.shape[0] and 0 <= j < array.shape[1] and 0 <= i < array.shape[2] and inside[k, j, i]:
                    norm += weight
                    total += (weight * weight if power == 2 else weight) * array[k, j, i]
                else:
                    whole = False
    return total, norm, whole


@kernel
def _interpolate(array, inside, matrix, offset, points, taps, power, out, reached, first, last):
    """Fill planes `first` to `last` of `out` and `reached` with the mean over `points` places along each axis."""
    from_axis = 1.0 / points
    number = points[0] * points[1] * points[2]
    for k in range(first, last):
        place, w = np.empty(3), np.empty((3, 4))
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                total, norm = 0.0, 0.0
                for n in range(number):
                    dk = (n // (points[1] * points[2]) + 0.5) * from_axis[0] - 0.5
                    dj = (n // points[2] % points[1] + 0.5) * from_axis[1] - 0.5
                    di = (n % points[2] + 0.5) * from_axis[2] - 0.5
                    for a in range(3):
                        place[a] = (
                            matrix[a, 0] * (k + dk) + matrix[a, 1] * (j + dj) + matrix[a, 2] * (i + di) + offset[a]
                        )
                    part, share, whole = _gather(array, inside, place, taps, power, w)
                    if taps > 2 and not whole:
                        part, share, whole = _gather(array, inside, place, 2, power, w)
                    total += part
                    norm += share
                if norm >= _INSIDE * number * (1 - 1e-6):
                    out[k, j, i] = total / norm**power
                    reached[k, j, i] = True
