"""Statistics of regions, one row a region and map: normal-appearing white matter and shells around the lesions."""

import numpy as np
from scipy import ndimage

from .staging import MAPS

SHELLS = ((0.0, 2.0), (2.0, 4.0), (4.0, 6.0))  # mm
FROM_LESIONS = 3.0  # mm that normal-appearing white matter keeps from lesions
_BINS = 64
_FEWEST = 10  # voxels from which on a peak is told


def region_rows(maps, labels, around, geometry):
    """Rows of the table of regions.

    Args:
        maps: name -> maps.QuantitativeMap. labels: int [k, j, i], the lesions. around: surroundings.Surroundings.
        geometry: Geometry.
    """
    return [
        _row(region, maps[name], where, geometry)
        for region, where in white_matter_regions(labels, around, geometry).items()
        for name in MAPS
        if name in maps
    ]


def white_matter_regions(labels, around, geometry):
    """name -> bool [k, j, i]: NAWM, eroded by one voxel and away from lesions, and shells around all lesions."""
    voxel = geometry.voxel_size
    normal = around.white & (labels == 0)
    edge = ndimage.binary_dilation(~(around.white | (labels > 0)))
    nowhere = np.full(labels.shape, np.inf)
    distance = ndimage.distance_transform_edt(labels == 0, sampling=voxel) if labels.any() else nowhere
    distance = distance - 0.5 * min(voxel)  # from the border, not from the middle of the outermost voxel
    found = {"NAWM": normal & ~edge & (distance > FROM_LESIONS)}
    for inner, outer in SHELLS:
        found[f"periplaque {inner:g}-{outer:g} mm"] = normal & (distance > inner) & (distance <= outer) & ~edge
    return found


def _row(region, result, where, geometry):
    chosen = where & result.valid
    values = result.values[chosen].astype(np.float64)
    row = {"region": region, "map": result.name, "unit": result.unit, "n": int(values.size)}
    row["volume_mm3"] = round(values.size * geometry.voxel_volume, 1)
    names = ("mean", "median", "sd", "p5", "p25", "p75", "p95", "peak", "content")
    note = "content is the sum of the map times the volume of a voxel"
    if result.name == "Chi":
        note += f"; zero of chi: {result.parameters.get('ReferenceRegion', 'unknown')}"
    if not values.size:
        return row | dict.fromkeys(names) | {"note": "no valid voxel"}
    p5, p25, median, p75, p95 = np.percentile(values, (5, 25, 50, 75, 95))
    figures = (
        values.mean(),
        median,
        values.std(),
        p5,
        p25,
        p75,
        p95,
        _peak(values),
        values.sum() * geometry.voxel_volume,
    )
    return row | {n: _number(v) for n, v in zip(names, figures, strict=True)} | {"note": note}


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
