"""The operators that inversions share: differences of neighbours on a periodic grid, shrinkage, and free edges."""

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces

_PLANES = 8  # that one thread takes at a time
_SAMPLED = 200_000  # gradients that a quantile is taken of


def difference_spectrum(shape, voxel_size):
    """|G|^2 of the forward differences over all axes, 1/mm^2: float32, to broadcast over the half spectrum."""
    total = 0
    for axis, (n, h) in enumerate(zip(shape, voxel_size, strict=True)):
        count = n // 2 + 1 if axis == 2 else n
        along = (2 - 2 * np.cos(2 * np.pi * np.arange(count) / n)) / (h * h)
        total = total + along.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return total


def gradient(image, voxel_size):
    """Forward differences, float32 [axis, k, j, i], per mm; the last voxel of a line is followed by the first."""
    return np.stack([(np.roll(image, -1, a) - image) / np.float32(h) for a, h in enumerate(voxel_size)])


def gradient_adjoint(vectors, voxel_size):
    """The adjoint of `gradient`: minus the backward divergence, float32 [k, j, i]."""
    return sum((np.roll(v, 1, a) - v) / np.float32(h) for a, (v, h) in enumerate(zip(vectors, voxel_size, strict=True)))


def free_edges(image, mask, voxel_size, share):
    """Where a picture has its strongest gradients, which susceptibility is likely to share.

    Args:
        image: float32 [k, j, i]. mask: bool. share: of the differences within the mask that are called edges.
    Returns:
        uint8 [k, j, i]; bit a is set where the difference along axis a is an edge or leaves the mask.
    Reference:
        Liu J et al. 2012, NeuroImage 59:2560-2568 (morphology from the magnitude; there the edges are left free).
    """
    limit = np.float32(_strong(image, mask, voxel_size, share))
    edges = np.empty(mask.shape, np.uint8)
    inverse = np.array([1 / h for h in voxel_size], np.float32)
    in_pieces(lambda first, last: _edges(image, mask, inverse, limit, edges, first, last), len(image), _PLANES)
    return edges


def _strong(image, mask, voxel_size, share):
    """Size of difference, per mm, that the share of those within the mask exceeds; taken from a part of them."""
    voxels = np.flatnonzero(mask)
    here = np.unravel_index(voxels[:: max(1, 3 * voxels.size // _SAMPLED)], mask.shape)
    sizes = []
    for axis, h in enumerate(voxel_size):
        there = tuple((x + 1) % mask.shape[a] if a == axis else x for a, x in enumerate(here))
        sizes.append((np.abs(image[there] - image[here]) / np.float32(h))[mask[there]])
    sizes = np.concatenate(sizes)
    return np.quantile(sizes, 1 - share) if share > 0 and sizes.size else np.inf


@kernel
def _edges(image, mask, inverse, limit, edges, first, last):
    shape = image.shape
    for k in range(first, last):
        after_k = k + 1 if k + 1 < shape[0] else 0
        for j in range(shape[1]):
            after_j = j + 1 if j + 1 < shape[1] else 0
            for i in range(shape[2]):
                after_i = i + 1 if i + 1 < shape[2] else 0
                here, inside, found = image[k, j, i], mask[k, j, i], 0
                if not (inside and mask[after_k, j, i] and abs(image[after_k, j, i] - here) * inverse[0] <= limit):
                    found += 1
                if not (inside and mask[k, after_j, i] and abs(image[k, after_j, i] - here) * inverse[1] <= limit):
                    found += 2
                if not (inside and mask[k, j, after_i] and abs(image[k, j, after_i] - here) * inverse[2] <= limit):
                    found += 4
                edges[k, j, i] = found


def shrink_differences(x, dual, split, edges, voxel_size, threshold, relaxation=np.float32(1)):
    """One step of the splitting z = G x with y = r G x + (1 - r) z: z = soft(y + s, t), s = y + s - z.

    Args:
        x: float32 [k, j, i]. dual (s), split (z - s): float32 [axis, k, j, i], changed in place. relaxation: r.
        edges: as `free_edges` gives; there the threshold is 0.
    """
    inverse = np.array([1 / h for h in voxel_size], np.float32)

    def planes(first, last):
        _shrink(x, dual, split, edges, inverse, np.float32(threshold), relaxation, first, last)

    in_pieces(planes, len(x), _PLANES)


def adjoint_into(vectors, out, voxel_size):
    """`gradient_adjoint` written into `out`."""
    inverse = np.array([1 / h for h in voxel_size], np.float32)
    in_pieces(lambda first, last: _adjoint(vectors, out, inverse, first, last), len(out), _PLANES)


@kernel
def _shrink(x, dual, split, edges, inverse, threshold, relaxation, first, last):
    shape = x.shape
    for k in range(first, last):
        after_k = k + 1 if k + 1 < shape[0] else 0
        for j in range(shape[1]):
            after_j = j + 1 if j + 1 < shape[1] else 0
            here, edge, most = x[k, j], edges[k, j], shape[2] - 1
            d, s = dual[0, k, j], split[0, k, j]
            _shrink_line(here, x[after_k, j], d, s, edge, 1, inverse[0], threshold, relaxation)
            d, s = dual[1, k, j], split[1, k, j]
            _shrink_line(here, x[k, after_j], d, s, edge, 2, inverse[1], threshold, relaxation)
            d, s = dual[2, k, j], split[2, k, j]
            _shrink_line(here[:most], here[1:], d[:most], s[:most], edge[:most], 4, inverse[2], threshold, relaxation)
            _shrink_line(here[most:], here[:1], d[most:], s[most:], edge[most:], 4, inverse[2], threshold, relaxation)


@kernel
def _shrink_line(here, there, dual, split, edges, bit, inverse, threshold, relaxation):
    """One line of voxels and their neighbours along the axis of `bit`; free of branches, for vector registers."""
    kept = np.float32(1) - relaxation
    for i in range(here.size):
        s = dual[i]
        total = relaxation * (there[i] - here[i]) * inverse + kept * (split[i] + s) + s
        limit = threshold * np.float32((edges[i] & bit) == 0)
        rest = min(max(total, -limit), limit)
        dual[i] = rest
        split[i] = total - rest - rest


@kernel
def _adjoint(vectors, out, inverse, first, last):
    shape = out.shape
    for k in range(first, last):
        before_k = k - 1 if k > 0 else shape[0] - 1
        for j in range(shape[1]):
            before_j = j - 1 if j > 0 else shape[1] - 1
            for i in range(shape[2]):
                before_i = i - 1 if i > 0 else shape[2] - 1
                out[k, j, i] = (
                    (vectors[0, before_k, j, i] - vectors[0, k, j, i]) * inverse[0]
                    + (vectors[1, k, before_j, i] - vectors[1, k, j, i]) * inverse[1]
                    + (vectors[2, k, j, before_i] - vectors[2, k, j, i]) * inverse[2]
                )


def weighted_roughness(x, weights, voxel_size):
    """The adjoint of `gradient` on `weights` (float32 [axis, k, j, i]) times the gradient of x; float32 [k, j, i]."""
    squares = np.array([1 / h**2 for h in voxel_size], np.float32)
    out = np.empty_like(x)
    in_pieces(lambda first, last: _roughness(x, weights, squares, out, first, last), len(x), _PLANES)
    return out


@kernel
def _roughness(x, weights, squares, out, first, last):
    shape = x.shape
    for k in range(first, last):
        k0, k1 = k - 1 if k > 0 else shape[0] - 1, k + 1 if k + 1 < shape[0] else 0
        for j in range(shape[1]):
            j0, j1 = j - 1 if j > 0 else shape[1] - 1, j + 1 if j + 1 < shape[1] else 0
            for i in range(shape[2]):
                i0, i1 = i - 1 if i > 0 else shape[2] - 1, i + 1 if i + 1 < shape[2] else 0
                here = x[k, j, i]
                out[k, j, i] = (
                    squares[0]
                    * (weights[0, k0, j, i] * (here - x[k0, j, i]) - weights[0, k, j, i] * (x[k1, j, i] - here))
                    + squares[1]
                    * (weights[1, k, j0, i] * (here - x[k, j0, i]) - weights[1, k, j, i] * (x[k, j1, i] - here))
                    + squares[2]
                    * (weights[2, k, j, i0] * (here - x[k, j, i0]) - weights[2, k, j, i] * (x[k, j, i1] - here))
                )
