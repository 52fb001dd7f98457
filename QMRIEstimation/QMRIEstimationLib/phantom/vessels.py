"""Veins of the digital patient: curved tubes painted into the object."""

from itertools import pairwise

import numpy as np

from .tissue import BRAIN, INDEX

CROSSED = tuple(INDEX[name] for name in (*BRAIN, "CSF"))  # what a vein may replace
SMOOTHNESS = 6  # straight pieces between two points of a course

# Courses in model space (mm, x from the midline, both sides unless x is 0) with their radius (mm); sizes assumed.
_NAMED = (
    (1.0, ((2, 11, 11), (2, -4, 14), (2, -24, 14), (0, -38, 12))),  # internal cerebral
    (0.6, ((2, 9, 12), (9, 1, 18), (15, -12, 20), (19, -24, 20))),  # thalamostriate
    (0.5, ((2, 30, 12), (2, 20, 15), (2, 10, 12))),  # septal
    (0.8, ((15, 2, -15), (17, -18, -10), (10, -34, 2), (0, -38, 11))),  # basal
    (1.8, ((0, -38, 12), (0, -47, 4), (0, -70, 0), (0, -98, -2))),  # Galen and straight sinus
    (2.6, ((0, 64, 20), (0, 45, 58), (0, 5, 77), (0, -40, 76), (0, -85, 47), (0, -102, 8))),  # superior sagittal sinus
)
MEDULLARY, CORTICAL = 15, 8  # of each side


def vein_courses(rng):
    """Courses of all veins: list of (radius in mm, float64 [point, 3] in model space)."""
    courses = []
    for radius, points in _NAMED:
        for side in (1,) if points[1][0] == 0 else (-1, 1):
            jitter = rng.normal(0, 0.8, (len(points), 3)) * (np.array(points)[:, :1] != 0)
            courses.append((radius, _smooth((np.array(points, float) + jitter) * (side, 1, 1))))
    for side in (-1, 1):
        for y in np.linspace(34, -60, MEDULLARY):
            courses.append((rng.uniform(0.3, 0.5), _medullary(rng, side, y)))
        for _ in range(CORTICAL):
            courses.append((rng.uniform(0.5, 0.9), _cortical(rng, side)))
    return courses


def _medullary(rng, side, y):
    """From the wall of the lateral ventricle through the white matter towards the cortex."""
    angle = rng.uniform(0.1, 1.2)  # above the horizontal
    start = np.array([17 + 0.1 * abs(y), y + rng.normal(0, 2), 20 + rng.normal(0, 2)])
    out = np.array([np.cos(angle), rng.normal(0, 0.15), np.sin(angle)])
    steps = np.linspace(0, rng.uniform(18, 32), 4)[:, None]
    return _smooth((start + steps * out + rng.normal(0, 1.0, (4, 3))) * (side, 1, 1))


def _cortical(rng, side):
    """Over the convexity to the superior sagittal sinus, just under the surface of the brain."""
    front = rng.uniform(-0.9, 0.7)
    angles = np.linspace(rng.uniform(0.3, 0.8), 1.5, 5)
    front = front + rng.normal(0, 0.04, 5)
    radius = 0.985
    x = 69 * np.cos(angles) * np.cos(front) * radius
    y = -16 + 88 * np.sin(front) * radius
    z = 13 + 66 * np.sin(angles) * np.cos(front) * radius
    return _smooth(np.stack([x * side, y, z], 1))


def _smooth(points):
    """Points of a Catmull-Rom curve through the given ones."""
    p = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.arange(SMOOTHNESS)[:, None] / SMOOTHNESS
    pieces = []
    for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True):
        pieces.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.vstack([*pieces, points[-1:]])


def paint_tube(classes, geometry, points, radius, value, crossed=CROSSED):
    """Give the class `value` to sub-voxels within `radius` (mm) of a course, where their class is in `crossed`.

    Args:
        classes: uint16 [k, j, i] on Geometry `geometry`, changed in place.
        points: float64 [point, 3], RAS in mm.
        radius: mm; taken as half a sub-voxel where it is thinner, so that no vein falls between the sub-voxels.
    """
    sides = np.array(geometry.voxel_size)
    radius = max(radius, 0.5 * sides.max())
    inverse = np.linalg.inv(geometry.ijk_to_ras)
    course = (points @ inverse[:3, :3].T + inverse[:3, 3])[:, ::-1] * sides  # mm along [k, j, i]
    lookup = np.zeros(int(classes.max()) + 1, bool)
    lookup[[c for c in crossed if c < lookup.size]] = True
    for a, b in pairwise(course):
        box, distances = _box(classes.shape, sides, np.minimum(a, b) - radius, np.maximum(a, b) + radius)
        if box is None:
            continue
        step = b - a
        length = float(step @ step) + 1e-12
        t = sum((x - a[n]) * step[n] for n, x in enumerate(distances)) / length
        t = np.clip(t, 0, 1)
        squared = sum((x - a[n] - t * step[n]) ** 2 for n, x in enumerate(distances))
        part = classes[box]
        part[(squared <= radius * radius) & lookup[part]] = value


def _box(shape, sides, low, high):
    """Slices of the part of a grid between two corners (mm along [k, j, i]) and its coordinates; None outside."""
    first = np.maximum(np.ceil(low / sides), 0).astype(int)
    last = np.minimum(np.floor(high / sides) + 1, shape).astype(int)
    if (first >= last).any():
        return None, None
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    axes = [sides[n] * np.arange(first[n], last[n]) for n in range(3)]
    return box, (axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
