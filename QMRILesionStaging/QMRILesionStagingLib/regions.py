"""Statistics of regions, one row a region and map: spread, peak, and what a region holds in all (iron, myelin)."""

import numpy as np
from scipy import ndimage

from .region_masks import CSF, region_masks
from .staging import MAPS

IRON_FREE, IRON_SLOPE = 14.3, 0.27  # 1/s, and 1/s per mg/kg wet tissue: R2* of gray matter at 3 T
IRON_SOURCE = "Langkammer C et al. 2010, Radiology 257:455"
IRON_FIELD = (2.8, 3.2)  # T, of that relation
NOT_IRON = ("thalamus", "pulvinar", "cortex", "cortical", "cerebell")  # gray matter whose R2* is not told by iron alone
_BINS = 64
_FEWEST = 10  # voxels from which on a peak is told


def region_rows(maps, labels, around, geometry, tissue=None, field_strength=None):
    """Rows of the table of regions.

    Args:
        maps: name -> maps.QuantitativeMap. labels: int [k, j, i], the lesions. around: surroundings.Surroundings.
        geometry: Geometry. tissue: as for `region_masks`. field_strength: T, or None.
    Returns:
        Dictionaries with the columns of the contract and, for R2* of nuclei at 3 T, `excess` (R2* above that of gray
        matter without iron, times volume: what stays when a nucleus shrinks and keeps its iron) and `iron_mg_per_kg`.
    """
    regions = region_masks(labels, around, geometry, tissue)
    reference = _mean(maps["Chi"], regions[CSF]) if "Chi" in maps and CSF in regions else None
    at_3t = field_strength is not None and IRON_FIELD[0] <= field_strength <= IRON_FIELD[1]
    return [
        _row(region, maps[name], where, geometry, reference, at_3t and tissue is not None)
        for region, where in regions.items()
        for name in MAPS
        if name in maps
    ]


def _row(region, result, where, geometry, reference, at_3t):
    chosen = where & result.valid
    values = result.values[chosen].astype(np.float64)
    volume = values.size * geometry.voxel_volume
    row = {"region": region, "map": result.name, "unit": result.unit, "n": int(values.size)}
    row["volume_mm3"] = round(volume, 1)
    names = ("mean", "median", "sd", "p5", "p25", "p75", "p95", "peak", "content")
    if not values.size:
        nothing = dict.fromkeys((*names, "excess", "iron_mg_per_kg"))
        return row | nothing | {"note": "no valid voxel"}
    p5, p25, median, p75, p95 = np.percentile(values, (5, 25, 50, 75, 95))
    content, note = _content(result, values, volume, reference)
    figures = (values.mean(), median, values.std(), p5, p25, p75, p95, _peak(values), content)
    row |= {n: _number(v) for n, v in zip(names, figures, strict=True)}
    row |= {"excess": None, "iron_mg_per_kg": None}
    if result.name == "R2star" and at_3t and _holds_iron(region):
        row["excess"] = _number((values - IRON_FREE).sum() * geometry.voxel_volume)
        row["iron_mg_per_kg"] = _number((values.mean() - IRON_FREE) / IRON_SLOPE)
        note += f"; excess: above {IRON_FREE:g} 1/s, iron by {IRON_SLOPE:g} 1/s per mg/kg ({IRON_SOURCE})"
    return row | {"note": note}


def _content(result, values, volume, reference):
    """Sum of a map times the volume of a voxel, and what it refers to."""
    whole = float(values.mean() * volume)
    if result.name != "Chi":
        return whole, "content is the sum of the map times the volume of a voxel"
    if reference is None:
        zero = result.parameters.get("ReferenceRegion", "unknown")
        return whole, f"content is the sum of chi times the volume of a voxel; zero of chi: {zero}"
    note = (
        f"content is the sum of chi less its mean in CSF ({reference:.6g} ppm) times the volume of a voxel; it falls "
        f"by {volume:.1f} mm3 for each ppm of that reference"
    )
    return whole - reference * volume, note


def _holds_iron(region):
    """Whether R2* of a region is told by its iron: nuclei of gray matter, and not all of them."""
    white = region.startswith(("NAWM", "DAWM", "periplaque", CSF))
    return not white and not any(word in region for word in NOT_IRON)


def _mean(result, where):
    chosen = where & result.valid
    return float(result.values[chosen].mean(dtype=np.float64)) if chosen.any() else None


def _peak(values):
    """Where the histogram is highest; None for few voxels or no spread."""
    low, high = np.percentile(values, (0.5, 99.5))
    if values.size < _FEWEST or high <= low:
        return None
    counts, edges = np.histogram(values, _BINS, (low, high))
    smooth = ndimage.gaussian_filter1d(counts.astype(float), 1.5)
    return 0.5 * (edges[smooth.argmax()] + edges[smooth.argmax() + 1])


def _number(value):
    return None if value is None else float(f"{value:.6g}")
