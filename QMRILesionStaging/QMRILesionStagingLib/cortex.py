"""How far lesions reach into the cortex, and how the cortex in them differs from that of the same depth beside them.

Iron of the cortex lies in layers, so a lesion is compared layer by layer (Jonkman LE et al. 2016, Mult Scler 22:1306;
Castellaro M et al. 2017, AJNR Am J Neuroradiol 38:1087, who found cortical lesions with more, as much and less
susceptibility than their surroundings).
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from .region_masks import LAYERS, cortical_depth, layer_of

PART = 0.1  # of a lesion in cortex and in white matter each, from which on it is leukocortical
NEAR = 1.5  # mm to the cortex, up to which a lesion of white matter is juxtacortical
REACH = (2.0, 10.0)  # mm from a lesion, of the cortex that it is compared with
ALIKE = 3.0  # mm within which values of the cortex belong together, so that they count once (assumed)
FEWEST = 8  # voxels of cortex in a lesion, and of the same layer beside it
SURE = 1.96  # standard errors beyond which a difference is called one
PLACES = ("cortical", "leukocortical", "juxtacortical", "white matter")
HYPER, ISO, HYPO = "hyperintense", "isointense", "hypointense"


class CorticalPart(NamedTuple):
    """share: of the lesion in the cortex. place: of PLACES. deltas: map -> (cortex in the lesion less that of the same
    depth beside it, standard error), for chi and R2*. kind: of chi, HYPER, ISO or HYPO; None where not known.
    """

    share: float
    place: str
    deltas: dict
    kind: str | None


def cortical_parts(labels, maps, around, geometry, usable=lambda name: True):
    """lesion -> CorticalPart; nothing where the cortex is not labelled.

    Args:
        labels: int [k, j, i]. maps: name -> maps.QuantitativeMap. around: surroundings.Surroundings.
        geometry: Geometry. usable: function from the name of a map to whether it counts.
    """
    if not (labels.any() and around.cortex.any()):
        return {}
    layers = layer_of(cortical_depth(around, geometry))
    voxel = np.array(geometry.voxel_size)
    margin = np.ceil(REACH[1] / voxel).astype(int) + 1
    found = {}
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        wide = tuple(
            slice(max(side.start - m, 0), min(side.stop + m, size))
            for side, m, size in zip(box, margin, labels.shape, strict=True)
        )
        own = labels[wide] == number
        cortex = around.cortex[wide]
        away = ndimage.distance_transform_edt(~own, sampling=voxel) - 0.5 * voxel.min()  # from the border
        share = float(cortex[own].mean())
        beside = cortex & (labels[wide] == 0) & (away > REACH[0]) & (away < REACH[1])
        deltas = {}
        for name in ("Chi", "R2star"):
            if name in maps and usable(name):
                values, valid = maps[name].values[wide], maps[name].valid[wide]
                delta = _delta(values, own & cortex & valid, beside & valid, layers[wide], float(voxel.prod()))
                if delta is not None:
                    deltas[name] = delta
        touches = bool((cortex & (away <= NEAR)).any())
        found[number] = CorticalPart(share, _place(share, touches), deltas, _kind(deltas.get("Chi")))
    return found


def _place(share, touches):
    if share > 1 - PART:
        return PLACES[0]
    if share >= PART:
        return PLACES[1]
    return PLACES[2] if touches else PLACES[3]


def _delta(values, inside, beside, layers, voxel_volume):
    """(difference, standard error) of the same layers; None where there is too little to compare."""
    differences, spreads, counts = [], [], []
    for layer in range(1, LAYERS + 1):
        here, there = values[inside & (layers == layer)], values[beside & (layers == layer)]
        if here.size and there.size >= FEWEST:
            middle = np.median(there)
            differences.append(here.astype(np.float64) - middle)
            spread = 1.4826 * np.median(np.abs(there - middle))
            spreads.append((here.size, spread, _independent(there.size, voxel_volume)))
            counts.append(here.size)
    if sum(counts) < FEWEST:
        return None
    weights = np.array(counts) / sum(counts)
    variance = (
        sum((size * spread**2 for size, spread, _ in spreads)) / sum(counts) / _independent(sum(counts), voxel_volume)
    )
    variance += sum((w * spread) ** 2 / n for w, (_, spread, n) in zip(weights, spreads, strict=True))
    return float(np.concatenate(differences).mean()), float(np.sqrt(variance))


def _independent(voxels, voxel_volume):
    """Number of values that do not belong together."""
    return max(voxels * min(voxel_volume / ALIKE**3, 1.0), 1.0)


def _kind(delta):
    if delta is None:
        return None
    if abs(delta[0]) <= SURE * delta[1]:
        return ISO
    return HYPER if delta[0] > 0 else HYPO
