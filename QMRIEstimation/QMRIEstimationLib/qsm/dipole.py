"""The field of magnetised tissue: unit dipole kernel in k-space and the forward problem."""

from itertools import product

import numpy as np

from ..fft import crop, frequencies, irfftn, padded_shape, rfftn
from ..geometry import check_same_shape


def dipole_kernel(shape, geometry):
    """Unit dipole kernel D(k) = 1/3 - (k.b)^2/|k|^2 with D(0) = 0, k in cycles/mm along the voxel axes.

    Args:
        shape: transformed (padded) shape [k, j, i].
        geometry: voxel size and B0 direction.
    Returns:
        float32 half spectrum, as `fft.rfftn` of `shape`.
    Raises:
        InputError: the B0 direction is unknown.
    Reference:
        Salomir R et al. 2003, Concepts Magn Reson B 19:26-34; Marques JP, Bowtell R 2005, ibid. 25:65-78.
    """
    axes = frequencies(shape, geometry.voxel_size)
    squared = sum(k * k for k in axes)
    squared[0, 0, 0] = 1.0
    # The highest frequency of an even grid stands for +k and -k alike, so its products with the others cancel.
    paired = [np.where(np.abs(k) < 0.5 / h * (1 - 1e-9), k, 0) for k, h in zip(axes, geometry.voxel_size, strict=True)]
    along = sum(k * b for k, b in zip(paired, geometry.b0_dir, strict=True)) ** 2
    along = along + sum((k * k - p * p) * b * b for k, p, b in zip(axes, paired, geometry.b0_dir, strict=True))
    kernel = 1 / 3 - along / squared
    kernel[0, 0, 0] = 0.0
    return kernel.astype(np.float32)


def forward_field(chi, geometry):
    """Relative field shift (Lorentz-corrected) at the voxel centres of magnetised voxels in free space.

    Each voxel is a uniformly magnetised box, whose field is known exactly, so that neither the edge of the grid nor
    the largest frequency of an oblique grid leaves a trace, as both do with `dipole_kernel`.

    Args:
        chi: float32 [k, j, i], ppm; outside the grid it is zero.
        geometry: voxel size and B0 direction.
    Returns:
        float32 [k, j, i], ppm of B0.
    Raises:
        ValueError: `chi` does not have the shape of the geometry. InputError: the B0 direction is unknown.
    Reference:
        Newell AJ et al. 1993, J Geophys Res 98:9551-9555 (demagnetising tensor of a box).
    """
    check_same_shape(chi=chi, geometry=np.empty(geometry.shape, bool))
    shape = padded_shape(chi.shape, 1.0)
    spectrum = rfftn(chi, shape) * rfftn(_box_response(chi.shape, shape, geometry))
    return crop(irfftn(spectrum, shape), chi.shape).copy()


def _box_response(reach, shape, geometry):
    """Field around one box at the origin (index 0, wrapped) for offsets of less than `reach` voxels, in `shape`."""
    b0_dir = geometry.b0_dir
    corners = [(np.arange(n + 1) - 0.5) * h for n, h in zip(reach, geometry.voxel_size, strict=True)]
    x = np.meshgrid(*corners, indexing="ij", sparse=True)
    r = np.sqrt(sum(c * c for c in x))

    def over_the_box(function):
        return np.diff(np.diff(np.diff(function, axis=0), axis=1), axis=2) / (4 * np.pi)

    # Demagnetising tensor N of the first octant; b.N.b is even in the squares and odd in the products.
    even = np.zeros(reach)
    even[0, 0, 0] = 1 / 3
    odd = {}
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        even -= b0_dir[a] ** 2 * over_the_box(np.arctan(x[b] * x[c] / (x[a] * r)))
        odd[b, c] = 2 * b0_dir[b] * b0_dir[c] * over_the_box(np.log(x[a] + r))
    response = np.zeros(shape, np.float32)
    for signs in product((1, -1), repeat=3):
        places = np.ix_(*(sign * np.arange(n) % m for sign, n, m in zip(signs, reach, shape, strict=True)))
        response[places] = even + sum(signs[b] * signs[c] * part for (b, c), part in odd.items())
    return response
