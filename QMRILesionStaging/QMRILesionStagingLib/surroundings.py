"""What lies around the lesions: white matter to compare with, and what must not be compared with."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_SPREAD = 3.0  # robust SDs that white matter may differ from its median, where there are no tissue labels
_ROUNDS = 5
_COLLAR = (3.0, 8.0)  # mm around the lesions, most of which is white matter, where there are no labels
_WHITE = ("wm", "white", "corpus callosum")
_FLUID = ("csf", "ventric", "fluid")
_OTHER = ("vein", "vessel", "calcif", "background", "skull", "choroid", "lesion", "unknown", "chiasm",
          "brain stem", "brainstem", "pons", "medulla", "midbrain")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Masks bool [k, j, i] on the grid of the maps.

    Attributes:
        white: white matter, lesions included where the labels call them so. gray, fluid: gray matter and fluid; empty
            where there are no tissue labels. labelled: whether there are. cortex: the cortex, empty where not named.
    """

    white: np.ndarray
    gray: np.ndarray
    fluid: np.ndarray
    cortex: np.ndarray
    labelled: bool


def surroundings_of(lesions, maps, brain, geometry, tissue=None):
    """Surroundings of the lesions.

    Args:
        lesions: int [k, j, i]. maps: name -> (values, valid). brain: bool. geometry: Geometry.
        tissue: (labels [k, j, i] on this grid, names: label -> name), or None.
    """
    if tissue is not None:
        labels, names = tissue
        kinds = {kind: [n for n, name in names.items() if kind_of(name) == kind] for kind in ("white", "gray", "fluid")}
        cortex = [n for n in kinds["gray"] if is_cortex(names[n])]
        white, gray, fluid = (np.isin(labels, kinds[kind]) for kind in ("white", "gray", "fluid"))
        if (white & (lesions == 0)).any():
            return Surroundings(white, gray & (lesions == 0), fluid & (lesions == 0), np.isin(labels, cortex), True)
    nothing = np.zeros(lesions.shape, bool)
    return Surroundings(_white_by_maps(lesions, maps, brain, geometry), nothing, nothing, nothing, False)


def kind_of(name):
    """white, gray, fluid or other, for the name of a tissue label; the brain stem is neither gray nor a reference.

    >>> [kind_of(name) for name in ("cerebellum WM left", "thalamus right", "CSF third ventricle", "vein")]
    ['white', 'gray', 'fluid', 'other']
    """
    lower = name.lower()
    for kind, words in (("other", _OTHER), ("fluid", _FLUID), ("white", _WHITE)):
        if any(word in lower for word in words):
            return kind
    return "gray"


def is_cortex(name):
    """Whether a tissue label is that of the cortex of the cerebrum."""
    lower = name.lower()
    return "cerebell" not in lower and ("cortex" in lower or lower in ("gm", "gray matter", "grey matter", "ctx"))


def _white_by_maps(lesions, maps, brain, geometry):
    """White matter as what is like the surroundings of the lesions on every map; robust, for want of labels."""
    known = brain & (lesions == 0)
    for _, valid in maps.values():
        known &= valid
    away = ndimage.distance_transform_edt(lesions == 0, sampling=geometry.voxel_size) if lesions.any() else None
    sample = known if away is None else known & (away > _COLLAR[0]) & (away < _COLLAR[1])
    if not sample.any():
        return known
    white = known
    for _ in range(_ROUNDS):
        white = known.copy()
        for values, _ in maps.values():
            inside = values[sample]
            middle = np.median(inside)
            spread = 1.4826 * np.median(np.abs(inside - middle))
            white &= np.abs(values - middle) <= _SPREAD * spread
        if not (white & sample).any():
            break
        sample = white & sample
    return white
