"""A map from the core of a lesion over its border to the outside."""

from dataclasses import dataclass

import numpy as np

BIN = 0.5  # mm between the points of a curve
CORE = 0.5  # of the depth: deeper is core, but no more than
_DEEP = 2.5  # mm
RIM_OUT = 0.5  # mm outside the drawn border that a rim may reach
OUTSIDE = (1.0, 3.5)  # mm
Z95 = 1.96  # SDs of a 95 % interval


@dataclass(frozen=True, eq=False)
class Profile:
    """One map of one lesion; numbers in its unit, None where no valid voxel is there.

    Attributes:
        core, rim, outside, whole: (mean, standard error).
        along, curve, low, high: float [n], mm from the border (negative inside), weighted mean and its 95 % interval;
            NaN where nothing is known.
    """

    core: tuple | None
    rim: tuple | None
    outside: tuple | None
    whole: tuple | None
    along: np.ndarray
    curve: np.ndarray
    low: np.ndarray
    high: np.ndarray


def profile_of(values, sd, valid, crop, measured_voxel):
    """Profile of a map.

    Args:
        values, sd, valid: [k, j, i] of the crop. crop: LesionCrop. measured_voxel: mm [k, j, i].
    """
    distance = crop.border.distance
    known = valid & ~crop.others & ~(crop.barred & (distance > 0))
    share = min(float(crop.voxel.prod() / np.prod(measured_voxel)), 1.0)
    deep = min(CORE * crop.border.depth, _DEEP)
    regions = (
        crop.inside & (distance <= -deep),
        (distance > -deep) & (distance <= RIM_OUT),
        (distance >= OUTSIDE[0]) & (distance <= OUTSIDE[1]),
        crop.inside,
    )
    means = [_mean(values, sd, region & known, share) for region in regions]
    width = float(np.sqrt(measured_voxel[1] * measured_voxel[2])) / 2.3548
    along = np.arange(-np.floor(crop.border.depth / BIN), 4.0 / BIN + 1) * BIN
    near = known & (distance < 5)
    d, v, s = distance[near], values[near], sd[near]
    weight = np.exp(-0.5 * ((d - along[:, None]) / width) ** 2)
    total = weight.sum(1)
    there = total > 0.5
    total = np.where(there, total, 1)
    curve = weight @ v / total
    scatter = weight @ v**2 / total - curve**2
    variance = np.maximum(scatter, weight @ s**2 / total).clip(min=0)
    independent = np.maximum(total**2 / np.maximum((weight**2).sum(1), 1e-9) * share, 1)
    half = Z95 * np.sqrt(variance / independent)
    unknown = np.where(there, 0, np.nan)
    return Profile(*means, along, curve + unknown, curve - half + unknown, curve + half + unknown)


def _mean(values, sd, where, share):
    number = int(where.sum())
    if not number:
        return None
    inside = values[where].astype(np.float64)
    variance = max(inside.var() if number > 1 else 0.0, float(np.mean(np.square(sd[where], dtype=np.float64))))
    return float(inside.mean()), float(np.sqrt(variance / max(number * share, 1)))
