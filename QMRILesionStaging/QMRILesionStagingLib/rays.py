"""Values of a map along the normals of a lesion's border."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

STEP = 0.25  # mm between the samples of a ray
INWARD, OUTWARD = 8.0, 4.0  # mm that a ray reaches


@dataclass(frozen=True, eq=False)
class Rays:
    """Places along the normals of a Border.

    Attributes:
        along: float [sample], mm from the border, negative inside. places: float32 [point, sample, 3], mm.
        depth: float [point], mm, how deep the lesion is along each ray.
        inner: bool [point, sample], samples of the lesion up to its deepest place along the ray.
    """

    along: np.ndarray
    places: np.ndarray
    depth: np.ndarray
    inner: np.ndarray
    voxel: np.ndarray

    def values(self, array, order=1):
        """A map [k, j, i] of the crop along the rays, float32 [point, sample]."""
        index = np.moveaxis(self.places / self.voxel, -1, 0)
        return ndimage.map_coordinates(array, index, order=order, mode="nearest", output=np.float32)

    def covered(self, mask):
        """Whether the nearest voxel of each sample is in a mask, bool [point, sample]; outside the crop False."""
        index = np.rint(self.places / self.voxel).astype(np.int64)
        inside = ((index >= 0) & (index < mask.shape)).all(-1)
        return inside & mask[tuple(np.moveaxis(np.where(inside[..., None], index, 0), -1, 0))]


def rays_of(border):
    """Rays of a Border."""
    reach = min(INWARD, border.depth + STEP)
    along = np.arange(-np.ceil(reach / STEP), round(OUTWARD / STEP) + 1) * STEP
    places = (border.points[:, None] + along[:, None] * border.normals[:, None]).astype(np.float32)
    distance = border.at(places)
    deepest = np.where(along <= 0, distance, np.inf).argmin(1)
    depth = -np.minimum(distance[np.arange(len(distance)), deepest], 0)
    inner = (along <= 0) & (along >= along[deepest][:, None])
    return Rays(along, places, depth, inner, border.voxel)
