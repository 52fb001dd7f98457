"""The rim detector: rays along the normals of the border, brighter at the border than in the core and outside."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from .calls import GRADES, PRESENT
from .profile import OUTSIDE, Z95

_WINDOW = (2.0, 0.6)  # mm inside and outside the drawn border where a rim may lie: masks are drawn to half a voxel
_SHALLOW = 0.6  # of the depth along a ray: less deep may be rim, deeper is core
_NEXT = 2.0  # mm; gray matter or another lesion nearer takes a ray out
_PATCH = 0.055  # of the border, over which rays are averaged: seven of 128 directions
_PATCH_RADII = (0.75, 2.5)  # mm, smallest and largest
_TOP = 1 / 3  # of the window: a rim is thinner than it
_VEIN_LIMIT = 1 / 3  # of the rays that veins may take
_CONTOUR = 0.25  # of the longest contour, that a slice needs to count
_DIRECTIONS = 24  # bins of the angle around a contour


@dataclass(frozen=True, eq=False)
class Rim:
    """What the border of a lesion shows.

    Attributes:
        grade: one of GRADES. reason: of the grade, in plain words.
        coverage, low, high: share of the free border with rim and its 95 % interval; None where none is free.
        arc: longest arc in one plane, of the way around. slices: longest run of slices with rim. planes: orthogonal
            planes through the middle with rim. free: share of the border that is free. veins: share lost to veins.
        contrast: (mean, standard error) of rim minus core, ppm. r2star: the same of R2*, 1/s, or None.
        points: float32 [n, 3], mm [k, j, i] in the crop; of a staged lesion mm in RAS.
        state: int8 [n], 1 rim, 0 none, -1 not free, -2 vein.
    """

    grade: str
    reason: str
    coverage: float | None = None
    low: float | None = None
    high: float | None = None
    arc: float = 0.0
    slices: int = 0
    planes: int = 0
    free: float = 0.0
    veins: float = 0.0
    contrast: tuple | None = None
    r2star: tuple | None = None
    points: np.ndarray | None = None
    state: np.ndarray | None = None

    @property
    def present(self):
        return self.grade in PRESENT


class RayFrame:
    """What the rays of a lesion have in common, whatever map is looked at: windows and the averaging of neighbours."""

    def __init__(self, crop):
        border, rays = crop.border, crop.rays
        self.crop, self.rays = crop, rays
        radius = float(np.clip(np.sqrt(_PATCH * border.area / np.pi), *_PATCH_RADII))
        self.patch_area = np.pi * radius**2
        self.smoothing = border.smoothing(radius)
        self.neighbours = np.asarray(self.smoothing.sum(1)).reshape(-1, 1)
        along, depth = rays.along, rays.depth[:, None]
        self.window = (along >= -np.minimum(_WINDOW[0], _SHALLOW * depth)) & (along <= _WINDOW[1])
        self.window &= rays.inner | (along > 0)
        self.core = rays.inner & (along <= -_SHALLOW * depth)
        outside = (along >= OUTSIDE[0]) & (along <= OUTSIDE[1])
        barred = rays.covered(crop.barred)
        self.outside = outside & ~barred
        next_to = barred & (along >= 0) & (along <= _NEXT)
        self.free = ~next_to.any(1) & (self.outside.sum(1) >= 0.5 * outside.sum())
        self.patches = max(border.area / self.patch_area, 1.0)

    def levels(self, array, veins=None):
        """Rim, core and outside of a map along every ray, averaged over neighbouring rays: three float [n].

        `veins` (bool [point, sample]) take no part in core and outside.
        """
        values = self.rays.values(array)
        clear = True if veins is None else ~veins
        smooth = (self.smoothing @ values) / self.neighbours
        ordered = -np.sort(-np.where(self.window, smooth, -np.inf), 1)
        count = np.maximum(1, np.rint(_TOP * self.window.sum(1))).astype(int)
        sums = np.cumsum(np.where(np.isfinite(ordered), ordered, 0), 1)
        rim = sums[np.arange(len(count)), count - 1] / count
        return rim, self._mean(values, self.core & clear), self._mean(values, self.outside & clear)

    def _mean(self, values, where):
        number = self.smoothing @ where.sum(1).astype(np.float64)
        total = self.smoothing @ np.where(where, values, 0).sum(1).astype(np.float64)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def find_rim(frame, chi, spread, measured_voxel, options, valid=None, veins=None, r2star=None):
    """Rim of a lesion that passed the gates of `why_not_assessable`; "absent" is for the self-check to confirm.

    Args:
        frame: RayFrame. chi: ppm, float32 [k, j, i] of the crop. spread: ppm, of the reference white matter.
        measured_voxel: mm [k, j, i]. options: RimOptions. valid, veins: bool [k, j, i] or None.
        r2star: 1/s, float32 of the crop, or None.
    Returns:
        Rim, of grade definite, probable, possible or absent, or not assessable where too little border is free.
    """
    rays = frame.rays
    vessels = beside = None
    if veins is not None and veins.any():
        # voxels beside a vein hold a part of it, and samples between voxels hold a part of those
        vessels, beside = rays.covered(veins), rays.covered(ndimage.binary_dilation(veins))
    rim, core, out = frame.levels(chi, beside)
    free = frame.free & np.isfinite(core) & np.isfinite(out)
    if valid is not None:
        free &= rays.covered(valid)[:, np.abs(rays.along) <= 1].all(1)
    veined = np.zeros(len(free), bool)
    if vessels is not None:
        veined = (vessels & (frame.window | (np.abs(rays.along) <= 1))).any(1) & free
    state = np.where(free, 0, -1).astype(np.int8)
    state[veined] = -2
    share_free = float(free.mean())
    known = {"free": share_free, "points": crop_points(frame), "state": state}
    known["veins"] = float(veined.sum() / max(free.sum(), 1))
    counted = free & ~veined
    if share_free < options.free or not counted.any():
        beside = "another lesion, gray matter or fluid touches" if share_free < options.free else "veins touch"
        return Rim(GRADES[4], f"{beside} {100 * (1 - share_free):.0f} % of the border", **known)
    threshold = max(options.sds * spread, options.floor)
    margin = np.minimum(rim - core, rim - out) - threshold
    positive = counted & (margin > 0)
    state[positive] = 1
    coverage = float(positive.sum() / counted.sum())
    low, high = _interval(margin[counted], frame, spread, measured_voxel)
    arc, run, planes = _layout(frame, positive, counted, options, measured_voxel)
    found = known | {"coverage": coverage, "low": low, "high": high, "arc": arc, "slices": run, "planes": planes}
    where = positive if positive.any() else counted
    found["contrast"] = _difference(rim, core, where, frame)
    if r2star is not None:
        found["r2star"] = _difference(*frame.levels(r2star, beside)[:2], where, frame)
    return _graded(Rim("absent", "", **found), options)


def crop_points(frame):
    """Points of the border, float32 [n, 3], mm in the crop."""
    return frame.crop.border.points.astype(np.float32)


def why_not_assessable(crop, measured_voxel, options):
    """Why the rim of a lesion cannot be judged at all, in plain words; empty when it can."""
    needed = max(options.smallest_diameter, options.smallest_voxels * max(measured_voxel))
    if crop.diameter < needed:
        return f"the lesion measures {crop.diameter:.1f} mm, and rims are judged from {needed:.1f} mm on in this scan"
    if crop.touches_edge:
        return "the lesion lies at the edge of the image"
    return ""


def _graded(rim, options):
    """The grade by coverage, lowered where slices, arc, veins or R2* speak against it."""
    if rim.coverage >= options.definite:
        grade = 0
    elif rim.coverage >= options.probable:
        grade = 1
    elif rim.coverage >= options.possible:
        grade = 2
    else:
        return replace(rim, reason=f"{100 * rim.coverage:.0f} % of the border is brighter than core and outside")
    reason = f"{100 * rim.coverage:.0f} % of the border is brighter on QSM than core and outside"
    doubts = []
    if grade == 0 and rim.slices < options.slices and rim.planes < 2:
        doubts.append("it is not seen on consecutive slices or in two planes")
    if grade == 0 and rim.arc < options.arc:
        doubts.append("it has no long arc")
    if grade <= 1 and rim.r2star is not None and rim.r2star[0] < -2 * rim.r2star[1]:
        doubts.append("R2* is lower there than in the core")
    if rim.veins > _VEIN_LIMIT:
        doubts.append("veins take much of the border")
        grade = max(grade, 1)
    grade = min(grade + (1 if doubts else 0), 2)
    if rim.r2star is not None and rim.r2star[0] > 2 * rim.r2star[1]:
        reason += ", and R2* is higher there than in the core"
    if doubts:
        reason += f"; lowered to {GRADES[grade]}, because " + " and ".join(doubts)
    return replace(rim, grade=GRADES[grade], reason=reason)


def _difference(first, second, where, frame):
    """Mean of a difference over rays, and its standard error by the number of patches they make."""
    difference = (first - second)[where]
    patches = max(frame.patches * where.mean(), 1.0)
    return float(difference.mean()), float(difference.std() / np.sqrt(patches) if len(difference) > 1 else 0.0)


def _interval(margin, frame, spread, measured_voxel):
    """95 % interval of the coverage: the noise that all rays share shifts it, that of each patch scatters it."""
    volume = float(np.prod(measured_voxel))
    core = max(float((frame.crop.border.distance < -_SHALLOW * frame.crop.border.depth).sum()), 1.0)
    core *= min(float(frame.crop.voxel.prod()) / volume, 1.0)
    patch = max(frame.patch_area * 0.9 / volume, 1.0)
    common = spread * np.sqrt(1 / max(core, 1) + 1 / (patch * frame.patches))
    ends = [float((margin > shift).mean()) for shift in (Z95 * common, -Z95 * common)]
    return _wilson(ends[0], frame.patches)[0], _wilson(ends[1], frame.patches)[1]


def _wilson(share, number):
    """Wilson's 95 % interval of a share of `number` independent parts."""
    middle = (share + Z95**2 / (2 * number)) / (1 + Z95**2 / number)
    half = Z95 * np.sqrt(share * (1 - share) / number + Z95**2 / (4 * number**2)) / (1 + Z95**2 / number)
    return 0.0 if share == 0 else float(middle - half), 1.0 if share == 1 else float(middle + half)


def _layout(frame, positive, counted, options, measured_voxel):
    """Longest arc in a plane through the middle, longest run of slices with rim, planes with rim."""
    points, voxel = frame.crop.border.points, frame.crop.voxel
    middle = points.mean(0)
    arcs, planes, runs = [], 0, []
    for axis in range(3):
        slab = np.abs(points[:, axis] - middle[axis]) <= max(0.6 * voxel[axis], 0.5)
        chosen = slab & counted
        if chosen.any():
            planes += positive[chosen].mean() >= options.definite
            arcs.append(_longest_arc(points[slab], middle, axis, positive[slab]))
        runs.append(
            _longest_run(np.rint(points[:, axis] / voxel[axis]).astype(int), positive, counted, options.definite)
        )
    thick = int(np.argmax(measured_voxel))
    even = max(measured_voxel) <= 1.2 * min(measured_voxel)
    return max(arcs, default=0.0), max(runs) if even else runs[thick], int(planes)


def _longest_arc(points, middle, axis, positive):
    a, b = [n for n in range(3) if n != axis]
    angle = np.arctan2(points[:, a] - middle[a], points[:, b] - middle[b])
    bins = ((angle / (2 * np.pi) + 0.5) * _DIRECTIONS).astype(int) % _DIRECTIONS
    number = np.bincount(bins, minlength=_DIRECTIONS)
    share = np.bincount(bins, positive, _DIRECTIONS) / np.maximum(number, 1)
    known = np.flatnonzero(number)
    after = np.searchsorted(known, np.arange(_DIRECTIONS), side="right") - 1
    there = (share >= 0.5)[known[after]]  # a direction without a point is as the one before it (-1 is the last)
    if there.all():
        return 1.0
    longest = run = 0
    for value in np.concatenate([there, there]):
        run = run + 1 if value else 0
        longest = max(longest, run)
    return longest / _DIRECTIONS


def _longest_run(slices, positive, counted, share):
    slices = slices - slices.min()
    total = np.bincount(slices)
    free = np.bincount(slices, counted)
    rim = np.bincount(slices, positive)
    good = (free > 0) & (total >= _CONTOUR * total.max()) & (rim >= share * np.maximum(free, 1))
    longest = run = 0
    for value in good:
        run = run + 1 if value else 0
        longest = max(longest, run)
    return longest
