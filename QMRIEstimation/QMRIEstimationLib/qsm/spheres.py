"""Spheres in a voxel mask: how large one fits where, and the weights of its mean."""

import numpy as np
from scipy import ndimage

ROUNDING = 1e-5  # relative; a voxel at exactly the radius belongs to the sphere and must lie in the mask


def sphere_mean(shape, radius, voxel_size):
    """Weights of the mean over a voxelised sphere about the origin (index 0, wrapped), sum 1; float32.

    The voxels of a small sphere on an unequal grid have unequal second moments, and their plain mean would leave a
    part of any quadratic background. The weights are tilted by squares of the coordinates until the moments agree,
    which makes the mean exact for harmonic polynomials up to the third degree.
    """
    reach = [int(np.floor(radius / h + 1e-6)) for h in voxel_size]
    offsets = [np.arange(-r, r + 1) for r in reach]
    squares = np.meshgrid(*[(o * h) ** 2 for o, h in zip(offsets, voxel_size, strict=True)], indexing="ij")
    ball = (sum(squares) <= (radius * (1 + 0.1 * ROUNDING)) ** 2).astype(float)
    basis = np.stack([ball, *(ball * s for s in squares)]).reshape(4, -1)
    conditions = np.stack([np.ones(ball.size), *(squares[a].ravel() - squares[0].ravel() for a in (1, 2))])
    # Smallest change of the plain mean that meets sum 1 and equal moments.
    plain = basis[0] / basis[0].sum()
    tilt, *_ = np.linalg.lstsq(conditions @ basis.T, np.array([1.0, 0.0, 0.0]) - conditions @ plain, rcond=None)
    weights = np.zeros(shape, np.float32)
    wrapped = np.ix_(*(o % n for o, n in zip(offsets, shape, strict=True)))
    np.add.at(weights, wrapped, (plain + tilt @ basis).reshape(ball.shape))
    return weights


def depth_in(mask, geometry):
    """Distance of each voxel to the nearest outside `mask`, mm (float32 [k, j, i], 0 outside).

    Nothing is known beyond the edge of the image, so that edge counts as the mask's.
    """
    depth = np.zeros(mask.shape, np.float32)
    if mask.any():
        box = ndimage.find_objects(mask.astype(np.uint8))[0]
        inside = np.pad(mask[box], 1)
        depth[box] = ndimage.distance_transform_edt(inside, sampling=geometry.voxel_size)[1:-1, 1:-1, 1:-1]
    return depth


def radii_that_fit(depth, largest, smallest, voxel_size):
    """Radii (mm, falling by 1 mm) that fit into a mask; the smallest reaches a neighbour along every axis."""
    smallest = max(smallest, *voxel_size)
    count = int(np.floor(max(largest - smallest, 0) + 1e-6)) + 1
    return [smallest + n for n in reversed(range(count)) if smallest + n < depth.max()]
