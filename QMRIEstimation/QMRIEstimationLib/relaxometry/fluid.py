"""Pure fluid, which sets the scale of proton density: where it is, and its signal in the mean over neighbours.

Fluid relaxes so slowly that at an SNR of 25 the R1 of a single voxel is off by half, and with it M0. Neither a range of
R1 nor the median of M0 is worth anything there; means of the signals over a few voxels are.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, median_filter

FEWEST = 30  # voxels for a calibration
_WINDOW = 3  # voxels along each axis of the median of R1
_EDGE = 1.5  # times the highest R1 of fluid; a voxel at the edge of tissue with more has less than two thirds of fluid
_SURE = 4.0  # SDs above the edge, from which on a voxel is tissue, whatever is around it
_WIDTH = 2.0  # mm, SD of the Gaussian over which signals are averaged


class Fluid(NamedTuple):
    """Pure fluid and its signal.

    Attributes:
        region: bool [k, j, i]. m0: float32, known in the region, any unit.
        grain: mm^3, the volume whose voxels share one value of m0.
    """

    region: np.ndarray
    m0: np.ndarray
    grain: float


def pure_fluid(r1, r1_sd, known, mask, geometry, options):
    """Voxels of fluid away from tissue: the ventricles and the widest cisterns.

    R1 is judged by its median over 3x3x3 voxels, and depth from what then is not fluid; a thin wall that the median
    passes over counts as tissue where its own R1 is certain.

    Args:
        r1, r1_sd: float32 [k, j, i], 1/s. known: bool, where they were fitted; elsewhere noise is taken for the reason.
        mask: bool, the brain with its fluid. geometry: voxel size, mm. options: pd.PdOptions.
    Returns:
        bool [k, j, i]; those deeper than options.csf_depth where there are enough of them, else the deeper ones.
    """
    edge = np.float32(_EDGE * options.csf_r1_high)
    around = median_filter(np.where(known, r1, 0), _WINDOW)
    wall = known & (r1 - np.float32(_SURE) * r1_sd > edge)
    depth = distance_transform_edt(mask & (around < edge) & ~wall, sampling=geometry.voxel_size)
    slow = mask & (around > options.csf_r1_low) & (around < options.csf_r1_high)
    least = 1.01 * max(geometry.voxel_size)  # the outermost layer always holds some tissue
    deep = slow & (depth > max(options.csf_depth, least))
    return deep if np.count_nonzero(deep) >= FEWEST else slow & (depth > least)


def fluid_mean(images, region, geometry):
    """Images [n, k, j, i] in the Gaussian mean over the voxels of the region, and the volume of a mean, mm^3.

    White noise falls to sqrt(voxel volume / that volume) where fluid is all around.
    """
    width = [_WIDTH / h for h in geometry.voxel_size]
    weight = gaussian_filter(region.astype(np.float32), width)
    means = [gaussian_filter(np.where(region, image, 0).astype(np.float32), width) for image in images]
    near = np.where(region, weight, 1)
    grain = np.prod([max(h, 2 * np.sqrt(np.pi) * _WIDTH) for h in geometry.effective_voxel_size])
    return np.stack(means) / near, float(grain)
