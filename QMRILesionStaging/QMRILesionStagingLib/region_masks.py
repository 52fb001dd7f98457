"""Regions of the brain on the grid of the maps: white matter near lesions and away, nuclei, layers of cortex."""

import numpy as np
from scipy import ndimage

from .surroundings import is_cortex, kind_of

SHELLS = ((0.0, 2.0), (2.0, 4.0), (4.0, 6.0))  # mm
FROM_LESIONS = 3.0  # mm that normal-appearing white matter keeps from lesions
LAYERS = 4  # of the cortex, as Lema Dopico A et al. 2021 have them; the first is the outermost
ABNORMAL = ("dawm", "diffusely abnormal", "dirty")  # white matter that is neither lesion nor normal
CSF, NAWM, DAWM, CORTICAL_LESIONS = "CSF", "NAWM", "DAWM", "cortical lesions"


def region_masks(labels, around, geometry, tissue=None):
    """name -> bool [k, j, i].

    Args:
        labels: int [k, j, i], the lesions. around: surroundings.Surroundings. geometry: Geometry.
        tissue: (labels [k, j, i], label -> name), or None: then there is white matter only.
    Returns:
        NAWM (eroded by one voxel and away from lesions) and shells around all lesions; with tissue labels also DAWM,
        every nucleus under the name of its label, `cortex layer 1` (outermost) to 4, what lesions hold of the cortex,
        and CSF, eroded.
    """
    found = _white_matter(labels, around, geometry, _abnormal(tissue))
    if tissue is None:
        return found
    numbers, names = tissue
    free = labels == 0
    abnormal = _abnormal(tissue)
    if abnormal is not None:
        found[DAWM] = abnormal & free
    for number, name in names.items():
        if kind_of(name) == "gray" and not is_cortex(name):
            region = " ".join(name.lower().split())
            found[region] = found.get(region, False) | ((numbers == number) & free)  # several labels may be parts
    layers = layer_of(cortical_depth(around, geometry))
    for layer in range(1, LAYERS + 1):
        found[f"cortex layer {layer}"] = around.cortex & free & (layers == layer)
    found[CORTICAL_LESIONS] = around.cortex & ~free
    found[CSF] = ndimage.binary_erosion(around.fluid) & free
    return {name: mask for name, mask in found.items() if mask.any() or name == NAWM or name.startswith("periplaque")}


def cortical_depth(around, geometry):
    """Depth of every voxel of the cortex, 0 at the white matter to 1 at its surface, by the ratio of the distances."""
    if not around.cortex.any():
        return np.zeros(around.cortex.shape, np.float32)
    voxel = geometry.voxel_size
    half = 0.5 * min(voxel)  # distances run to the middle of voxels, borders lie half a voxel before
    solid = around.cortex | around.white | around.gray
    inner = ndimage.distance_transform_edt(~around.white, sampling=voxel) - half
    outer = ndimage.distance_transform_edt(solid, sampling=voxel) - half
    return (inner / np.maximum(inner + outer, 1e-6)).clip(0, 1).astype(np.float32)


def layer_of(depth):
    """Number of the layer, 1 (outermost) to LAYERS, of a depth as `cortical_depth` gives it; uint8.

    >>> layer_of(np.array([1.0, 0.8, 0.75, 0.1])).tolist()
    [1, 1, 2, 4]
    """
    return (LAYERS - np.ceil(depth * LAYERS) + 1).clip(1, LAYERS).astype(np.uint8)


def _white_matter(labels, around, geometry, abnormal):
    voxel = geometry.voxel_size
    normal = around.white & (labels == 0)
    if abnormal is not None:
        normal &= ~abnormal
    edge = ndimage.binary_dilation(~(around.white | (labels > 0)))
    nowhere = np.full(labels.shape, np.inf)
    distance = ndimage.distance_transform_edt(labels == 0, sampling=voxel) if labels.any() else nowhere
    distance = distance - 0.5 * min(voxel)  # from the border, not from the middle of the outermost voxel
    found = {NAWM: normal & ~edge & (distance > FROM_LESIONS)}
    for inner, outer in SHELLS:
        found[f"periplaque {inner:g}-{outer:g} mm"] = normal & (distance > inner) & (distance <= outer) & ~edge
    return found


def _abnormal(tissue):
    """Diffusely abnormal white matter, or None where no label is called so."""
    if tissue is None:
        return None
    called = [number for number, name in tissue[1].items() if any(word in name.lower() for word in ABNORMAL)]
    return np.isin(tissue[0], called) if called else None
