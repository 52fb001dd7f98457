"""The border of a lesion between the voxels: signed distance in mm, points on it, and normals."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

FINE = 0.5  # mm, side of the grid on which distances are measured
_MASK_BLUR = 0.5  # voxels; takes the stairs off a mask
_SMOOTH = 0.5  # mm; for the normals of a surface that is known to half a voxel
_FEWEST = 60  # points of a border


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

    The mask is blurred by half a voxel and interpolated; its border is the level that encloses the volume of the mask,
    found between the voxels of the finer grid along the gradient, d = (level - share) / |gradient|. Distances farther
    away are those to the border near the nearest voxel that it runs through.

    Args:
        inside: bool [k, j, i], a crop with at least one voxel around the lesion. voxel_size: mm [k, j, i].
    Returns:
        Border.
    """
    voxel = np.asarray(voxel_size, float)
    factors = np.maximum(1, np.rint(voxel / FINE)).astype(int)
    step = voxel / factors
    share = ndimage.gaussian_filter(inside.astype(np.float32), _MASK_BLUR)
    share = ndimage.zoom(share, factors, order=1, mode="grid-constant", grid_mode=True)
    share = ndimage.gaussian_filter(share, _SMOOTH / step)
    volume = int(inside.sum() * factors.prod())
    level = float(np.partition(share, share.size - volume, axis=None)[share.size - volume])
    gradient = np.stack(np.gradient(share, *step), -1)
    slope = np.linalg.norm(gradient, axis=-1)
    near = np.where(slope > 1e-4, (level - share) / np.maximum(slope, 1e-4), np.where(share > level, -np.inf, np.inf))
    index, thickness = _shell(near, step)
    places = tuple(index.T)
    normals = -gradient[places] / slope[places][:, None]
    points = (index + 0.5) * step - near[places][:, None] * normals
    distance = _distance(near, points, index, step, share >= level)
    area = len(index) * float(np.prod(step)) / thickness
    coarse = distance.reshape([n for pair in zip(inside.shape, factors, strict=True) for n in pair]).mean((1, 3, 5))
    return Border(coarse, float(-distance.min()), area, points - 0.5 * voxel, normals, distance, step, voxel)


def _shell(near, step):
    """Voxels of a thin shell around the border, as many for every square millimetre, and its thickness (mm)."""
    for share in (0.5, 1.0, 2.0):
        thickness = share * float(step.mean())
        index = np.argwhere(np.abs(near) <= 0.5 * thickness)
        if len(index) >= _FEWEST:
            break
    return index, thickness


def _distance(near, points, index, step, body):
    """Distance to the border (mm, float32), negative inside."""
    seeds = np.full(near.shape, -1, np.int32)
    seeds[tuple(index.T)] = np.arange(len(index))
    nearest = ndimage.distance_transform_edt(seeds < 0, sampling=step, return_distances=False, return_indices=True)
    nearest = points[seeds[tuple(nearest)]].astype(np.float32)
    for axis, (n, h) in enumerate(zip(near.shape, step, strict=True)):
        shape = [1, 1, 1]
        shape[axis] = n
        nearest[..., axis] -= ((np.arange(n) + 0.5) * h).reshape(shape)
    distance = np.sqrt((nearest**2).sum(-1))
    return np.where(body, -distance, distance).astype(np.float32)
