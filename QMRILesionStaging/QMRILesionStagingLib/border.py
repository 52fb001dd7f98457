"""The border of a lesion between the voxels: signed distance in mm, points on it, and normals."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

FINE = 0.5  # mm, side of the grid on which distances are measured
_MASK_BLUR = 0.5  # voxels; takes the stairs off a mask and shifts the border of a 5 mm lesion by a tenth of a voxel
_DISTANCE_BLUR = 0.7  # mm; the normals of a surface known to half a voxel


@dataclass(frozen=True, eq=False)
class Border:
    """The border of one lesion in a crop of the image.

    Attributes:
        distance: float32 [k, j, i] on the voxels of the crop, mm, negative inside.
        depth: mm, of the deepest place.
        area: mm^2. points: float [n, 3], mm from the middle of the first voxel of the crop along [k, j, i].
        normals: float [n, 3], unit vectors pointing outward. Every point stands for the same area.
        fine, step: distance on the finer grid, and its sides (mm); its first voxel begins where the crop begins.
        voxel: mm [k, j, i], of the crop.
    """

    distance: np.ndarray
    depth: float
    area: float
    points: np.ndarray
    normals: np.ndarray
    fine: np.ndarray
    step: np.ndarray
    voxel: np.ndarray

    def at(self, places):
        """Signed distance (mm) at places [..., 3] in mm."""
        index = (places + 0.5 * self.voxel) / self.step - 0.5
        return ndimage.map_coordinates(self.fine, np.moveaxis(index, -1, 0), order=1, mode="nearest")

    def smoothing(self, radius):
        """Sparse matrix that averages values at the points over their neighbours within `radius` (mm)."""
        tree = cKDTree(self.points)
        near = tree.sparse_distance_matrix(tree, radius, output_type="coo_matrix").tocsr()
        near.data[:] = 1.0
        near.setdiag(1.0)
        return near


def border_of(inside, voxel_size):
    """Border of a lesion.

    Args:
        inside: bool [k, j, i], a crop with at least one voxel around the lesion. voxel_size: mm [k, j, i].
    Returns:
        Border. The level 0.5 of the mask, blurred by half a voxel and interpolated, is the border.
    """
    voxel = np.asarray(voxel_size, float)
    factors = np.maximum(1, np.rint(voxel / FINE)).astype(int)
    step = voxel / factors
    share = ndimage.gaussian_filter(inside.astype(np.float32), _MASK_BLUR)
    share *= inside.sum() / max(share.sum(), 1e-6)
    fine = ndimage.zoom(share, factors, order=1, mode="grid-constant", grid_mode=True)
    body = fine >= min(0.5, 0.9 * float(fine.max()))
    distance = _signed(body, step)
    smooth = ndimage.gaussian_filter(distance, _DISTANCE_BLUR / step)
    gradient = np.stack(np.gradient(smooth, *step), -1)
    index = np.argwhere(np.abs(distance) <= 0.5 * step.mean())
    normals = gradient[tuple(index.T)]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-6)
    points = (index + 0.5) * step - 0.5 * voxel - distance[tuple(index.T)][:, None] * normals
    coarse = distance.reshape([n for pair in zip(inside.shape, factors, strict=True) for n in pair]).mean((1, 3, 5))
    area = len(index) * float(np.prod(step)) / step.mean()
    return Border(coarse, float(-distance.min()), area, points, normals, distance, step, voxel)


def _signed(body, step):
    """Distance to the border (mm), negative inside; the border runs half way between voxels."""
    half = 0.5 * step.mean()
    out = ndimage.distance_transform_edt(~body, sampling=step)
    into = ndimage.distance_transform_edt(body, sampling=step)
    return np.where(body, half - into, out - half).astype(np.float32)
