"""The operators that inversions share: differences of neighbours on a periodic grid, shrinkage, and free edges."""

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces

_PLANES = 4  # that one thread takes at a time
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
    edges = np.zeros(mask.shape, np.uint8)
    size = np.abs(gradient(image, voxel_size))
    both = np.stack([mask & np.roll(mask, -1, a) for a in range(3)])
    sampled = size[both][:: max(1, np.count_nonzero(both) // _SAMPLED)]
    limit = np.quantile(sampled, 1 - share) if share > 0 and sampled.size else np.inf
    for axis in range(3):
        edges |= ((size[axis] > limit) | ~both[axis]).astype(np.uint8) << axis
    return edges


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
            for i in range(shape[2]):
                after_i = i + 1 if i + 1 < shape[2] else 0
                here, edge = x[k, j, i], edges[k, j, i]
                for axis in range(3):
                    if axis == 0:
                        there = x[after_k, j, i]
                    elif axis == 1:
                        there = x[k, after_j, i]
                    else:
                        there = x[k, j, after_i]
                    s = dual[axis, k, j, i]
                    total = (
                        relaxation * (there - here) * inverse[axis] + (1 - relaxation) * (split[axis, k, j, i] + s) + s
                    )
                    limit = np.float32(0) if (edge >> axis) & 1 else threshold
                    rest = min(max(total, -limit), limit)
                    dual[axis, k, j, i] = rest
                    split[axis, k, j, i] = total - 2 * rest


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
