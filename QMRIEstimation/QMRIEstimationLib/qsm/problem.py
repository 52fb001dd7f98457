"""What the iterative inversions are given: one local field on a padded grid, and what is known beside it."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..fft import padded_shape

_HEAVIEST = 3.0  # weight of a voxel over the median


@dataclass(frozen=True, eq=False)
class Problem:
    """An inversion to do; arrays [k, j, i] on a periodic grid with room against wrap-around, 0 beyond the brain.

    Attributes:
        field: local field over B0, float32, ppm. sd: its standard deviation, ppm, 0 outside the mask.
        weight: float32, 1 where the field is known as well as usual, at most 3, 0 outside the mask.
        image: magnitude, float32. mask: bool.
        csf: bool, fluid of the ventricles, or None where not known.
        geometry: its voxel size and B0 direction; its shape is that of the whole image, not of this grid.
        phase_per_ppm: rad of phase that 1 ppm makes from one echo to the next.
    """

    field: np.ndarray
    sd: np.ndarray
    weight: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    geometry: object
    phase_per_ppm: float
    csf: np.ndarray | None = None

    @property
    def shape(self):
        return self.field.shape

    def with_field(self, field):
        """The same problem for another field."""
        return replace(self, field=field)


class Grid:
    """The smallest box around a mask with room behind it, of a size that is fast to transform.

    The grid is periodic, so the room is on both sides. `padding`: share by which it grows; `margin`: mm that it grows.
    """

    def __init__(self, mask, geometry, padding=0.0, margin=0.0):
        self.box = ndimage.find_objects(mask.astype(np.uint8))[0]
        self.whole = mask.shape
        self.inner = tuple(slice(b.stop - b.start) for b in self.box)
        room = [int(np.ceil(margin / h)) for h in geometry.voxel_size]
        self.shape = padded_shape([s.stop + n for s, n in zip(self.inner, room, strict=True)], padding)

    def put(self, array):
        """An image on the grid, 0 beyond the box."""
        there = np.zeros(self.shape, array.dtype)
        there[self.inner] = array[self.box]
        return there

    def take(self, array):
        """The image of an array on the grid, 0 beyond the box."""
        image = np.zeros(self.whole, array.dtype)
        image[self.box] = array[self.inner]
        return image


def capped(weight, mask):
    """The weight over its median in the mask, at most 3 (few bright vessels are not to decide), 0 outside."""
    inside = np.where(mask, weight, 0)
    typical = np.median(inside[inside > 0]) if (inside > 0).any() else 1.0
    return np.minimum(inside / np.float32(typical), np.float32(_HEAVIEST))
