"""The part of the image around one lesion: everything that is measured of it costs with its size."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from .border import border_of
from .rays import rays_of

MARGIN = 6.0  # mm around the lesion: the reference shell and the outer ends of the rays


@dataclass(frozen=True, eq=False)
class LesionCrop:
    """One lesion and what lies around it.

    Attributes:
        number: its label. box: slices of the image. voxel: mm [k, j, i].
        inside: bool [k, j, i], the lesion. others: bool, other lesions.
        barred: bool, what its outside must not be compared with: other lesions, gray matter, fluid.
        white: bool, white matter that is no lesion.
        touches_edge: whether the lesion lies at the edge of the image.
    """

    number: int
    box: tuple
    voxel: np.ndarray
    inside: np.ndarray
    others: np.ndarray
    barred: np.ndarray
    white: np.ndarray
    touches_edge: bool

    @cached_property
    def border(self):
        return border_of(self.inside, self.voxel)

    @cached_property
    def rays(self):
        return rays_of(self.border)

    @property
    def volume(self):
        """mm^3"""
        return float(self.inside.sum() * self.voxel.prod())

    @property
    def diameter(self):
        """mm, of the sphere of its volume."""
        return (6 * self.volume / np.pi) ** (1 / 3)

    def of(self, array):
        """The crop of an image."""
        return array[self.box]


def crop_lesions(labels, surroundings, voxel_size):
    """LesionCrop of every label, in order."""
    voxel = np.asarray(voxel_size, float)
    margin = np.ceil(MARGIN / voxel).astype(int)
    for number, found in enumerate(ndimage.find_objects(labels), 1):
        if found is None:
            continue
        box, edge = [], False
        for side, m, n in zip(found, margin, labels.shape, strict=True):
            edge |= side.start == 0 or side.stop == n
            box.append(slice(max(side.start - m, 0), min(side.stop + m, n)))
        box = tuple(box)
        part = labels[box]
        inside = part == number
        others = (part != 0) & ~inside
        barred = others | surroundings.gray[box] | surroundings.fluid[box]
        white = surroundings.white[box] & (part == 0)
        yield LesionCrop(number, box, voxel, inside, others, barred & ~inside, white, bool(edge))
