"""Uptake of gadolinium in a lesion, from T1-weighted images before and after it."""

from dataclasses import dataclass

import numpy as np
from QMRIEstimationLib.errors import InputError
from scipy import ndimage

from .rim import RayFrame
from .veins import tubeness

PATTERNS = ("none", "nodular", "closed ring", "open ring", "unknown")
_TUBE_SDS = 0.5  # tubeness of a vessel, in SDs of uptake; noise alone makes up to 0.3
_SMALLEST_BODY = 1 / 3  # of a lesion, that vessels and what lies beside them may leave
_VESSEL_REACH = 3.0  # mm that it reaches out of the lesion
_RING_BORDER, _RING_DIAMETER = 0.3, 6.0  # tubes along more of the border of a lesion of so many mm are a ring (in
# three simulated patients vessels reached 0.21 of it, broken rings from 0.36 on; smaller lesions a vessel can fill)
_EDGE = 2.0  # mm outside the lesion, where a misplaced image has its edges
_EDGE_SHARE = 0.25  # of a bright part, from which on as large a dark part makes it the edge of a misplaced image
_END = 0.45  # of the height of a ring, where it ends
_RING_SHARE = 0.5  # of the rise at the border, that a ring's core keeps below


@dataclass(frozen=True, eq=False)
class Uptake:
    """The image of uptake on the grid of the maps.

    Attributes:
        rise: float32 [k, j, i], (after / gain - before) over the signal of white matter before.
        spread: of the rise in white matter, robust SD.
    """

    rise: np.ndarray
    spread: float


@dataclass(frozen=True, eq=False)
class Enhancement:
    """What one lesion takes up.

    Attributes:
        pattern: of PATTERNS. mean_sds: rise of the lesion, in SDs of white matter. coverage: of the border, by a ring.
        reason: in plain words. ring_sds: height of a ring above core and outside, in SDs of white matter.
    """

    pattern: str
    mean_sds: float | None = None
    coverage: float | None = None
    reason: str = ""
    ring_sds: float | None = None

    @property
    def active(self):
        """True, False, or None where it is unknown."""
        return None if self.pattern == "unknown" else self.pattern != "none"


def uptake_of(before, after, white):
    """Uptake from two images of the same sequence, whatever their gain.

    Args:
        before, after: float32 [k, j, i] on the grid of the maps, any unit. white: bool, normal-appearing white matter,
            which takes up nothing: it gives the gain between the two.
    Raises:
        InputError: there is no signal in the white matter.
    """
    there = white & (before > 0) & (after > 0)
    if not there.any():
        raise InputError("the T1-weighted images show no signal in the white matter; check that they belong together.")
    gain = float(np.median(after[there] / before[there]))
    signal = float(np.median(before[there]))
    rise = ((after / np.float32(gain) - before) / np.float32(signal)).astype(np.float32)
    middle = np.median(rise[there])
    return Uptake(rise, float(1.4826 * np.median(np.abs(rise[there] - middle))))


def enhancement_of(frame, uptake, white, veins, options):
    """Pattern of uptake of one lesion.

    Args:
        frame: rim.RayFrame of its LesionCrop. uptake: Uptake. white: bool [k, j, i] of the crop, its reference.
        veins: bool of the crop, veins by chi.
        options: EnhancementOptions.
    Reference:
        Jurcoane A et al. 2013, J Magn Reson Imaging 38:1454 (2 SDs); Gaitan MI et al. 2011, Ann Neurol 70:22 (rings).
    """
    crop = frame.crop
    rise = crop.of(uptake.rise)
    near = float(np.median(rise[white])) if white.any() else 0.0
    rise = rise - near
    spread = max(uptake.spread, 1e-6)
    body = crop.inside & ~_vessels(rise, frame, spread, veins, options.part_sds)
    if body.sum() < _SMALLEST_BODY * crop.inside.sum():  # a small lesion around its vein
        body = crop.inside & ~veins
    if not body.any():
        return Enhancement("unknown", reason="a vessel fills the lesion")
    mean = float(rise[body].mean())
    threshold = options.part_sds * spread
    bright = _largest_part(rise > threshold, crop, body)
    dark = _largest_part(rise < -threshold, crop, crop.border.distance < _EDGE)  # a shift darkens the other side
    strong = bright >= options.part_volume and float(np.percentile(rise[body], 90)) > options.smallest_rise
    whole = mean > options.mean_sds * spread and mean > 0.5 * options.smallest_rise
    if not (strong or whole):
        return Enhancement("none", mean / spread, reason=f"uptake {mean / spread:.1f} SDs of white matter")
    if dark >= _EDGE_SHARE * bright:
        pattern = "unknown" if whole else "none"
        return Enhancement(pattern, mean / spread, reason="bright and dark edges are those of a misplaced image")
    return _pattern(frame, rise, spread, mean / spread, options)


def _pattern(frame: RayFrame, rise, spread, mean_sds, options):
    """Ring or nodule by rays: a ring is brighter at the border than in the core."""
    rim, core, out = frame.levels(rise)
    known = np.isfinite(core) & np.isfinite(out)
    height = rim - out
    # averaging over neighbours blurs the ends of a ring, whose middle is at half of its height
    peak = float(np.percentile(height[known], 90)) if known.any() else 0.0
    ring = height > max(spread, 0.5 * options.smallest_rise, _END * peak)
    with np.errstate(invalid="ignore"):
        ring &= core - out < _RING_SHARE * height
    if not known.any():
        return Enhancement("nodular", mean_sds, None, "too small for a ring")
    coverage = float((ring & known).sum() / known.sum())
    tall = float(np.median(height[ring & known])) / spread if (ring & known).any() else None
    text = f"uptake {mean_sds:.1f} SDs of white matter"
    if coverage >= options.closed:
        return Enhancement("closed ring", mean_sds, coverage, f"{text}, a ring around {100 * coverage:.0f} %", tall)
    if coverage >= options.open:
        return Enhancement("open ring", mean_sds, coverage, f"{text}, a ring around {100 * coverage:.0f} %", tall)
    return Enhancement("nodular", mean_sds, coverage, f"{text}, without ring")


def _vessels(rise, frame: RayFrame, spread, veins, sds):
    """Voxels of vessels that run through or along the lesion: veins of the map of chi, and tubes that enhance.

    A thin ring on few voxels looks like tubes, too, and touches a vessel outside; but it lies along much of the border.
    """
    crop = frame.crop
    bright = rise > sds * spread
    tubes = (tubeness(rise, crop.voxel) > _TUBE_SDS * spread) & bright
    labels, count = ndimage.label(tubes, np.ones((3, 3, 3), bool))
    distance = crop.border.distance
    parts = [labels == number for number in range(1, count + 1)]
    parts = [part for part in parts if distance[part].max() > _VESSEL_REACH]
    vessels = ndimage.binary_dilation(veins) if veins.any() else veins.copy()
    along = np.logical_or.reduce([np.zeros_like(bright), *parts]) & (np.abs(distance) < _EDGE)
    near = np.abs(frame.rays.along) < _EDGE
    share = frame.rays.covered(along)[:, near].any(1).mean()
    if share > _RING_BORDER and crop.diameter >= _RING_DIAMETER:
        return vessels
    for part in parts:
        vessels |= ndimage.binary_dilation(part) & bright  # voxels beside it hold a part of it
    return vessels


def _largest_part(mask, crop, body):
    """Volume (mm^3) of the largest connected part of a mask within the lesion."""
    labels, count = ndimage.label(mask & body, np.ones((3, 3, 3), bool))
    return float(np.bincount(labels.ravel())[1:].max() * crop.voxel.prod()) if count else 0.0
