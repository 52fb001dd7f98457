"""The procedural head: which tissue lies at a point of model space.

Model space is in millimetres, x right, y front, z up, with the proportions of the ICBM 152 average (origin at the
anterior commissure); all sizes below are read off no particular person and are assumed. A point is first displaced
by a smooth random warp, so that no two patients and no two sides are alike. Sulci are the zero level of a random
field with one wavelength, evaluated where the point projects to the outer surface: this makes sheets that stand on
the surface, as sulci do. The cortex lies along the sheets and the surface.
"""

import numpy as np

from ..kernels import kernel
from .tissue import INDEX

AIR, WM, CORTEX, CSF = (INDEX[name] for name in ("air", "white matter", "cortex", "CSF"))
BONE, MARROW, SCALP, MUSCLE, EYE = (INDEX[name] for name in ("bone", "marrow", "scalp", "muscle", "eye"))
CEREBELLUM, STEM, CAUDATE_NUCLEUS = (INDEX[name] for name in ("cerebellar cortex", "brain stem", "caudate"))
CALCIFICATION = INDEX["calcification"]

# Channels of the random grid in model space.
WARP_X, WARP_Y, WARP_Z, SULCUS, SULCUS_DEPTH, TEXTURE, GIVEN = range(7)
CHANNELS = 7

UPPER, BASE, LOBE = range(3)  # which surface of the cerebrum is nearest

SUBARACHNOID = 2.6  # mm of CSF between the crowns of the gyri and the skull
SKULL = 6.5  # mm, with the marrow from 2.0 to 4.3
SKIN = 5.5  # mm of scalp over the skull, of skin over the muscle
CORTEX_THICKNESS = 2.9  # mm
SULCUS_HALF_WIDTH = 0.75  # mm

# centre x, y, z; half axes x, y, z; rotation about z in degrees. x is the distance from the midline.
_NUCLEI = {
    "thalamus": (10.8, -18.0, 8.5, 8.6, 15.5, 9.5, -20.0),
    "pallidum": (19.8, -2.5, 0.0, 4.9, 10.5, 7.0, -25.0),
    "putamen": (27.3, 2.5, 2.0, 6.2, 17.0, 10.0, -12.0),
    "red nucleus": (5.2, -20.0, -8.0, 3.2, 3.6, 4.2, 0.0),
    "substantia nigra": (10.5, -17.0, -12.0, 2.4, 6.0, 2.8, 35.0),
    "dentate": (15.0, -57.0, -33.0, 4.5, 7.5, 4.0, 25.0),
}
NUCLEI = np.array([(*row[:6], *np.round([np.cos(np.deg2rad(row[6])), np.sin(np.deg2rad(row[6]))], 9), INDEX[name])
                   for name, row in _NUCLEI.items()], np.float32)  # fmt: skip

# Chains of tapered capsules: start x, y, z, radius; end x, y, z, radius.
_VENTRICLE_POINTS = [(13, 34, 3, 2.5), (11.5, 24, 10, 5.0), (9.5, 8, 19, 5.2), (11, -12, 23, 4.6), (17, -30, 20, 5.6),
                     (25, -42, 11, 6.8), (27, -62, 7, 3.6), (26, -74, 5, 1.8)]  # fmt: skip
_HORN_POINTS = [(25, -42, 11, 6.0), (33, -36, -4, 3.6), (35, -20, -15, 2.8), (32, -8, -20, 2.6)]
_CAUDATE_POINTS = [(14.5, 21, 0, 5.5), (16, 15, 7, 6.0), (17.5, 2, 16, 4.2), (19.5, -14, 21, 3.0), (24, -27, 18, 2.0)]
_AQUEDUCT_POINTS = [(0, -27, -3, 1.0), (0, -33, -14, 1.1), (0, -40, -22, 2.0)]
_CAVITY_POINTS = [(75, -20, -32, 3.2), (46, -17, -30, 3.0)]  # ear canal
_PHARYNX_POINTS = [(0, 62, -48, 8.0), (0, 25, -58, 9.0), (0, 18, -110, 9.0)]
_STEM_POINTS = [(0, -20, -8, 15.0), (0, -25, -30, 14.0), (0, -33, -48, 9.0), (0, -45, -110, 7.0)]


def _chain(points):
    p = np.array(points, np.float32)
    return np.hstack([p[:-1], p[1:]])


VENTRICLE = np.vstack([_chain(_VENTRICLE_POINTS), _chain(_HORN_POINTS), _chain(_AQUEDUCT_POINTS)])
CAUDATE = _chain(_CAUDATE_POINTS)
CAVITY = np.vstack([_chain(_CAVITY_POINTS), _chain(_PHARYNX_POINTS)])
STEM_CHAIN = _chain(_STEM_POINTS)

# Air cells: centre, half axes. Frontal, ethmoid, sphenoid, maxillary sinus and mastoid cells.
SINUSES = np.array(
    [
        (12, 80, 2, 10, 5, 9),
        (6, 56, -30, 7, 17, 12),
        (7, 22, -34, 7, 11, 9),
        (29, 52, -58, 13, 15, 15),
        (60, -36, -36, 8, 11, 13),
    ],
    np.float32,
)


@kernel
def _ellipsoid(x, y, z, a, b, c):
    """Depth (mm, positive inside) below the surface of a centred ellipsoid; first-order distance."""
    qx, qy, qz = x / a, y / b, z / c
    k0 = np.sqrt(qx * qx + qy * qy + qz * qz)
    gx, gy, gz = qx / a, qy / b, qz / c
    k1 = np.sqrt(gx * gx + gy * gy + gz * gz)
    return k0 * (1.0 - k0) / (k1 + 1e-9)


@kernel
def _chain_depth(x, y, z, chain):
    """Depth (mm, positive inside) in a union of tapered capsules."""
    best = -1e9
    for n in range(chain.shape[0]):
        ax, ay, az = x - chain[n, 0], y - chain[n, 1], z - chain[n, 2]
        bx, by, bz = chain[n, 4] - chain[n, 0], chain[n, 5] - chain[n, 1], chain[n, 6] - chain[n, 2]
        t = (ax * bx + ay * by + az * bz) / (bx * bx + by * by + bz * bz)
        t = min(max(t, 0.0), 1.0)
        dx, dy, dz = ax - t * bx, ay - t * by, az - t * bz
        depth = chain[n, 3] + t * (chain[n, 7] - chain[n, 3]) - np.sqrt(dx * dx + dy * dy + dz * dz)
        best = max(best, depth)
    return best


@kernel
def _union(a, b, k):
    """Union of two depths, rounded over `k` mm where they meet."""
    h = max(k - abs(a - b), 0.0) / k
    return max(a, b) + h * h * k * 0.25


@kernel
def _sample(grid, origin, step, x, y, z, channel):
    """Trilinear value of one channel of the random grid [z, y, x, channel] at a model point; the edge continues."""
    u = min(max((x - origin[0]) / step, 0.0), grid.shape[2] - 1.001)
    v = min(max((y - origin[1]) / step, 0.0), grid.shape[1] - 1.001)
    w = min(max((z - origin[2]) / step, 0.0), grid.shape[0] - 1.001)
    i, j, k = int(u), int(v), int(w)
    u, v, w = u - i, v - j, w - k
    low = (1 - v) * ((1 - u) * grid[k, j, i, channel] + u * grid[k, j, i + 1, channel]) + v * (
        (1 - u) * grid[k, j + 1, i, channel] + u * grid[k, j + 1, i + 1, channel]
    )
    high = (1 - v) * ((1 - u) * grid[k + 1, j, i, channel] + u * grid[k + 1, j, i + 1, channel]) + v * (
        (1 - u) * grid[k + 1, j + 1, i, channel] + u * grid[k + 1, j + 1, i + 1, channel]
    )
    return (1 - w) * low + w * high


@kernel
def _cerebrum(ax, y, z):
    """Depth in the cerebrum below its upper surface, above its base, and in the temporal lobe."""
    main = _ellipsoid(ax, y + 16.0, z - 13.0, 69.0, 88.0, 66.0)
    base = z + 20.0 + 0.0022 * (y - 10.0) * abs(y - 10.0)  # lower in front, higher towards the tentorium
    lobe = _ellipsoid(ax - 43.0, y + 12.0 + 0.25 * (z + 22.0), z + 20.0, 21.0, 46.0, 21.0)
    return main, base, lobe


@kernel
def _outside(ax, y, z, outer, depth_stem):  # noqa: PLR0911 - one return for each tissue
    """Tissue outside the brain, `outer` mm from its hull."""
    head = max(SKULL + SUBARACHNOID + SKIN - outer, _ellipsoid(ax, y - 32.0, z + 48.0, 60.0, 62.0, 62.0))
    head = max(head, _ellipsoid(ax, y + 38.0, z + 110.0, 62.0, 66.0, 90.0))  # neck
    head = max(head, _ellipsoid(ax, y + 30.0, z + 290.0, 220.0, 110.0, 110.0))  # shoulders
    head = max(head, _ellipsoid(ax, y - 92.0, z + 42.0, 11.0, 16.0, 18.0))  # nose
    if head < 0.0:
        return AIR
    if outer < SUBARACHNOID or depth_stem > -3.0:
        return CSF
    if _ellipsoid(ax - 33.0, y - 58.0, z + 30.0, 12.0, 12.0, 12.0) > 0.0:
        return EYE
    in_bone = outer < SUBARACHNOID + SKULL
    if y > 15.0 or ax > 40.0:
        for n in range(SINUSES.shape[0]):
            s = SINUSES[n]
            if _ellipsoid(ax - s[0], y - s[1], z - s[2], s[3], s[4], s[5]) > 0.0:
                return AIR
        if _chain_depth(ax, y, z, CAVITY) > 0.0:
            return AIR
    if in_bone:
        table = outer - SUBARACHNOID
        return MARROW if 2.0 < table < 4.3 and z > -25.0 else BONE
    if _ellipsoid(ax - 33.0, y - 48.0, z + 30.0, 16.0, 24.0, 15.0) > 0.0:  # fat of the orbit
        return SCALP
    return SCALP if head < SKIN or outer < SUBARACHNOID + SKULL + 1.0 else MUSCLE


@kernel
def _folded(x, y, z, depth, side, bend, grid, origin, step, widening):
    """Cortex, white matter or CSF of a sulcus at `depth` mm in the cerebrum."""
    ax = abs(x)
    callosum = _ellipsoid(0.0, y + 4.0, z - 6.0, 1e3, 43.0, 27.0)
    fissure = np.sqrt(ax * ax + max(callosum + 2.0, 0.0) ** 2)
    if z < -16.0 - 0.1 * y and y < 10.0:
        fissure = 1e3
    surface, reach = min(depth, fissure), 15.0
    # the point where this one projects to: along x near the midline, along z over the base, else radially
    if fissure < depth:
        px, py, pz = np.copysign(24.0, x), y, z
    elif side == BASE:
        px, py, pz = x, y, -24.0
        reach = 9.0 - 0.6 * max(24.0 - ax, 0.0) * (y < 14.0)  # no sulci over the cisterns
    else:
        if side == LOBE:
            cx, cy, cz, a, b, c = np.copysign(34.0, x), -12.0, -14.0, 28.0, 46.0, 24.0
            reach = 9.0
        else:
            cx, cy, cz, a, b, c = 0.0, -16.0, 0.0, 69.0, 88.0, 79.0
        m = np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2) + 1e-6
        px, py, pz = cx + (x - cx) / m, cy + (y - cy) / m, cz + (z - cz) / m
    px, py, pz = px + surface * bend[1], py + surface * bend[2], pz + surface * bend[0]  # sulci are not flat
    reach += _sample(grid, origin, step, px, py, pz, SULCUS_DEPTH)
    sheet = _sample(grid, origin, step, px, py, pz, SULCUS)
    deep = max(surface - max(reach, 0.0), 0.0)
    sulcus = np.sqrt(sheet * sheet + deep * deep) - widening
    # Sylvian fissure with the insula at its end
    slope = z + 4.0 + 0.45 * y
    beyond = max(36.0 - ax, y - 22.0, -34.0 - y, 0.0)
    sylvian = np.sqrt(0.83 * slope * slope + beyond * beyond) - widening - 0.2
    pial = min(depth, sulcus, fissure - widening, sylvian)
    if pial < 0.0:
        return CSF
    return CORTEX if pial < CORTEX_THICKNESS else WM


@kernel
def _cerebellum(ax, y, z, depth):
    """Folia of the cerebellum around its white matter."""
    angle = np.arctan2(z + 30.0, -(y + 44.0))
    radius = np.sqrt((z + 30.0) ** 2 + (y + 44.0) ** 2)
    phase = angle * radius / 5.2 + 0.02 * ax
    furrow = abs(phase - np.floor(phase) - 0.5) * 5.2
    furrow = np.sqrt(furrow * furrow + max(depth - 7.0, 0.0) ** 2)
    pial = min(depth, furrow - 0.45)
    if pial < 0.0:
        return CSF
    return CEREBELLUM if pial < 2.3 and depth < 11.0 else WM


@kernel
def _deep(ax, y, z, ventricle_growth):  # noqa: PLR0911 - one return for each structure
    """Ventricles, nuclei and calcifications; -1 where there is none."""
    if ax > 45.0 or y > 42.0 or y < -80.0 or z > 34.0 or z < -45.0:
        return -1
    if _ellipsoid(ax, y + 33.0, z - 4.0, 3.0, 3.0, 3.5) > 0.0:  # pineal gland
        return CALCIFICATION
    if _ellipsoid(ax - 25.0, y + 44.0, z - 11.0, 2.2, 3.0, 2.2) > 0.0:  # choroid plexus
        return CALCIFICATION
    if ax > 0.7 or y > 20.0 or z < 4.0:
        if _chain_depth(ax, y, z, VENTRICLE) + ventricle_growth > 0.0 and (ax > 0.7 or z < 0.0):
            return CSF
    if _ellipsoid(ax, y + 12.0, z + 2.0, 1.8 + 0.5 * ventricle_growth, 13.0, 10.0) > 0.0:  # third ventricle
        return CSF
    if _ellipsoid(ax, y + 46.0, z + 33.0, 6.0, 4.5, 8.5) > 0.0:  # fourth ventricle
        return CSF
    for n in range(NUCLEI.shape[0]):
        s = NUCLEI[n]
        dx, dy = ax - s[0], y - s[1]
        if _ellipsoid(dx * s[6] + dy * s[7], dy * s[6] - dx * s[7], z - s[2], s[3], s[4], s[5]) > 0.0:
            return int(s[8])
    if _chain_depth(ax, y, z, CAUDATE) > 0.0:
        return CAUDATE_NUCLEUS
    return -1


@kernel
def _tissue(x, y, z, grid, origin, step, ventricle_growth, widening, given):  # noqa: PLR0911 - as above
    """Tissue at a model point; with `given` the brain comes as depth in the grid and is left as CSF."""
    if given:
        outer = -_sample(grid, origin, step, x, y, z, GIVEN)
        return CSF if outer < 0.0 else _outside(abs(x), y, z, outer, -1e9)
    wx = x + _sample(grid, origin, step, x, y, z, WARP_X)
    wy = y + _sample(grid, origin, step, x, y, z, WARP_Y)
    wz = z + _sample(grid, origin, step, x, y, z, WARP_Z)
    ax = abs(wx)
    upper, base, lobe = _cerebrum(ax, wy, wz)
    main = -_union(-upper, -base, 8.0)
    small = _ellipsoid(ax - 20.0, wy + 64.0, wz + 33.0, 32.0, 29.0, 25.0)
    stem = _chain_depth(ax, wy, wz, STEM_CHAIN)
    outer = -_union(_union(main, lobe, 10.0), small, 16.0)
    depth = max(main, lobe)
    found = _deep(ax, wy, wz, ventricle_growth) if outer < 0.0 else -1
    if found >= 0:
        return found
    if small > 0.0 and wz < -6.0 - 0.15 * (wy + 64.0):
        return _cerebellum(ax, wy, wz, small)
    if stem > 0.0:
        return STEM if wz < -6.0 else WM
    if depth > 0.0:
        if small > -1.2 and wz < 0.0:  # under the tentorium
            return CSF
        side = LOBE if lobe > main else (BASE if base < upper else UPPER)
        bend = (0.13 * (wx - x), 0.13 * (wy - y), 0.13 * (wz - z))
        return _folded(wx, wy, wz, depth, side, bend, grid, origin, step, widening)
    return _outside(ax, wy, wz, max(outer, 0.0), stem)


@kernel
def paint_head(classes, texture, matrix, grid, origin, step, ventricle_growth, widening, given, first, last):
    """Fill planes `first` to `last` of `classes` (uint16) and `texture` (int8, 42 per SD) [k, j, i] with the head.

    Args:
        matrix: float32 3x4, from indices (i, j, k) to model space.
        grid: float32 [z, y, x, channel], random fields; origin (x, y, z) and step in mm.
        ventricle_growth, widening: mm added to the radius of ventricles; half width of sulci.
        given: whether the brain is given by its depth in the last channel.
    """
    for k in range(first, last):
        for j in range(classes.shape[1]):
            for i in range(classes.shape[2]):
                x = matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k + matrix[0, 3]
                y = matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k + matrix[1, 3]
                z = matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k + matrix[2, 3]
                classes[k, j, i] = _tissue(x, y, z, grid, origin, step, ventricle_growth, widening, given)
                if classes[k, j, i] != AIR:
                    t = 42.0 * _sample(grid, origin, step, x, y, z, TEXTURE)
                    texture[k, j, i] = int(min(max(t, -127.0), 127.0))
