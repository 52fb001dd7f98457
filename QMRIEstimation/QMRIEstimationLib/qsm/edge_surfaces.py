"""Edges as surfaces: across one susceptibility may change as it will, along one it changes as the picture does."""

from dataclasses import dataclass

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces

_MANY = 2  # free differences of a voxel, from which there is something to tie
_BITS = np.array([bin(n).count("1") for n in range(8)], np.uint8)


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Voxels with several free differences, int64 [n], flat, and the direction across, float32 [n, axis], of length 1.

    The direction is 0 along axes whose difference is not free, or leaves the mask.
    """

    voxels: np.ndarray
    across: np.ndarray


def edge_surfaces(image, edges, mask, voxel_size):
    """Direction of the picture's gradient where edges free more than one difference of a voxel.

    Args:
        image: float32 [k, j, i], periodic. edges: as operators.free_edges gives for it. mask: bool.
    Returns:
        Surfaces.
    """
    voxels = np.flatnonzero((_BITS[edges] >= _MANY) & mask)
    here = np.unravel_index(voxels, mask.shape)
    across = np.zeros((voxels.size, 3), np.float32)
    for axis, h in enumerate(voxel_size):
        there = tuple((x + 1) % mask.shape[a] if a == axis else x for a, x in enumerate(here))
        free = (edges[here] >> axis & 1).astype(bool) & mask[there]
        across[:, axis] = np.where(free, (image[there] - image[here]) / np.float32(h), 0)
    several = (across != 0).sum(axis=1) >= _MANY
    across = across[several]
    return Surfaces(voxels[several], across / np.sqrt(np.einsum("na,na->n", across, across))[:, None])


def shrink_along(dual, split, surfaces, threshold):
    """What operators.shrink_differences does, for the part of free gradients that lies along surfaces.

    Where two tissues share voxels, picture and susceptibility are mixed alike, so that their gradients are parallel:
    the part of the gradient of chi across that of the picture costs its length, the part along it nothing.

    Args:
        dual (0 at free edges), split: float32 [axis, k, j, i], changed in place. threshold: as there.
    Reference:
        Ehrhardt MJ, Betcke MM 2016, SIAM J Imaging Sci 9:1084-1106 (directional total variation).
    """
    flat = dual.reshape(3, -1), split.reshape(3, -1)
    limit = np.float32(threshold)
    in_pieces(
        lambda first, last: _shrink_along(*flat, surfaces.voxels, surfaces.across, limit, first, last),
        surfaces.voxels.size,
    )


@kernel
def _shrink_along(dual, split, voxels, across, threshold, first, last):
    for n in range(first, last):
        v, normal = voxels[n], across[n]
        share = normal[0] * split[0, v] + normal[1] * split[1, v] + normal[2] * split[2, v]
        square = np.float32(0)
        for axis in range(3):
            if normal[axis] != 0:
                square += (split[axis, v] - share * normal[axis]) ** 2
        if square > 0:
            kept = min(np.float32(1), threshold / np.sqrt(square))
            for axis in range(3):
                if normal[axis] != 0:
                    rest = kept * (split[axis, v] - share * normal[axis])
                    dual[axis, v] = rest
                    split[axis, v] -= rest + rest
