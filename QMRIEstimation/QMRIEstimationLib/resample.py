"""Images moved from one grid to another."""

import numpy as np
from scipy.ndimage import affine_transform


def nearest_on_grid(array, source, target):
    """`array` on the grid `target` by nearest neighbour; 0 where the source does not reach.

    Args:
        array: [k, j, i] on Geometry `source`.
        source, target: Geometry.
    Returns:
        Array of the dtype of `array` (bool becomes uint8), shape `target.shape`.
    """
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if source.same_grid(target):
        return array.copy()
    ijk = np.linalg.inv(source.ijk_to_ras) @ target.ijk_to_ras  # target voxel (i, j, k) -> source voxel (i, j, k)
    matrix = ijk[:3, :3][::-1, ::-1]  # the same for indices [k, j, i]
    return affine_transform(array, matrix, ijk[:3, 3][::-1], output_shape=target.shape, order=0, cval=0)
