"""Lesions and their decoys put into the object: places, shapes, parts."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import distance_transform_edt

from .lesions import draw_lesions, lesion_parts, lesion_record
from .tissue import INDEX
from .vessels import paint_tube

PERIPLAQUE_WIDTH = 2.5  # mm
APART = 5.0  # mm between the surfaces of two lesions that are not confluent
PLACING_GRID = 2.0  # mm
NEAR_VENTRICLE = 14.0  # mm; lesions get rarer with the distance from the ventricles
LOWEST = -8.0  # mm in model space: cerebral white matter only
BUMPS = 0.10  # relative SD of the radius


@dataclass(frozen=True, eq=False)
class Shape:
    """A star-shaped body: its radius in every direction.

    Attributes:
        axes: 3x3, rows are unit vectors in RAS. half_axes: mm. waves, phases: of the bumps.
        rim_axis, rim_cosine: the rim covers directions whose cosine with the axis exceeds the limit.
    """

    axes: np.ndarray
    half_axes: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    rim_axis: np.ndarray
    rim_cosine: float

    def radius(self, direction):
        """Radius (mm) along unit vectors, [..., 3] in RAS."""
        along = direction @ self.axes.T
        ellipsoid = 1 / np.sqrt(((along / self.half_axes) ** 2).sum(-1))
        bumps = np.cos(direction @ self.waves.T + self.phases).sum(-1) * np.sqrt(2 / len(self.phases))
        return ellipsoid * (1 + BUMPS * bumps)


def add_lesions(patient, count, rng):
    """The patient with lesions, periplaque white matter, central veins and decoys painted into the object.

    `patient.classes` is changed in place. Lesions for which there is no room are left out.
    """
    lesions = draw_lesions(count, patient.field_strength, patient.table, rng)
    lesions = _place(patient, lesions, rng)
    first = len(patient.table.values)
    values, gadolinium, owner = [], [], []
    for lesion in lesions:
        for part, part_values, gd in lesion_parts(lesion):
            lesion.classes[part] = first + len(values)
            values.append(part_values)
            gadolinium.append(gd)
            owner.append(0 if part == "periplaque" else lesion.number)
    patient = replace(patient, table=patient.table.with_lesions(values, gadolinium, owner))
    for lesion in lesions:
        _paint(patient, lesion, {INDEX["white matter"]}, around=True)
    collars = {INDEX["white matter"]} | {lesion.classes["periplaque"] for lesion in lesions}
    for lesion in lesions:
        _paint(patient, lesion, collars, around=False)
    # no image shows a lesion's number, so truth is counted before veins run through it
    counts = np.bincount(patient.classes.ravel(), minlength=len(patient.table.values))
    records = []
    for lesion in lesions:
        parts = {part: int(counts[index]) for part, index in lesion.classes.items()}
        volume = (parts["core"] + parts["edge"] + parts["rim"]) * patient.fine.voxel_volume
        records.append(lesion_record(lesion, parts, volume))
    decoys = _add_veins(patient, lesions, rng) + _add_islands(patient, lesions, rng)
    return replace(patient, lesions=tuple(records), decoys=tuple(decoys))


def _place(patient, lesions, rng):
    """Give every lesion a centre in cerebral white matter and a shape; large ones choose first."""
    step = [max(1, round(PLACING_GRID / side)) for side in patient.fine.voxel_size]
    coarse = patient.classes[:: step[0], :: step[1], :: step[2]]
    sides = [n * side for n, side in zip(step, patient.fine.voxel_size, strict=True)]
    index = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip(coarse.shape, step, strict=True)), indexing="ij"), -1
    )
    matrix = patient.fine.ijk_to_ras
    ras = index[..., ::-1] @ matrix[:3, :3].T + matrix[:3, 3]
    model = ras @ patient.model[:3, :3].T + patient.model[:3, 3]
    depth = distance_transform_edt(coarse == INDEX["white matter"], sampling=sides)
    central = (coarse == INDEX["CSF"]) & (np.abs(model[..., 0]) < 40) & (np.abs(model[..., 2] - 8) < 26)
    central &= (model[..., 1] > -75) & (model[..., 1] < 38) & (_depth_from_surface(coarse, sides) > 28)
    near = distance_transform_edt(~central, sampling=sides) if central.any() else np.zeros(coarse.shape)
    allowed = (depth > 0) & (model[..., 2] > LOWEST) & (np.abs(model[..., 0]) > 6)
    points, depth, near = ras[allowed], depth[allowed], near[allowed]
    placed = []
    leaders = [n for n in range(len(lesions)) if not (lesions[n].kind.confluent and n)]
    for n in sorted(leaders, key=lambda n: (-lesions[n].diameter, n)):
        group = [lesions[n]]
        if n + 1 < len(lesions) and lesions[n + 1].kind.confluent:
            group.append(lesions[n + 1])
        _place_group(group, placed, points, depth, near, rng)
    return sorted(placed, key=lambda lesion: lesion.number)


def _depth_from_surface(coarse, sides):
    """Distance (mm) from everything outside the brain and its CSF."""
    outside = np.isin(coarse, [INDEX[name] for name in ("air", "bone", "marrow", "scalp", "muscle", "eye")])
    return distance_transform_edt(~outside, sampling=sides)


def _place_group(group, placed, points, depth, near, rng):
    """Place one lesion, or two that touch; `placed` grows unless there is no room."""
    radius = group[0].diameter / 2
    reach = radius if len(group) == 1 else radius + 0.8 * group[1].diameter
    free = depth > min(0.55 * radius, 3.5)
    for other in placed:
        gap = np.linalg.norm(points - other.centre, axis=1) - other.diameter / 2 - reach
        free &= gap > APART * 0.5
    if not free.any():
        return
    weight = np.where(free, np.exp(-near / NEAR_VENTRICLE) * np.minimum(depth / radius, 1.0) ** 2, 0)
    chosen = rng.choice(len(points), p=weight / weight.sum())
    group[0].centre = points[chosen] + rng.uniform(-0.5, 0.5, 3)
    placed.append(group[0])
    group[0].shape = _shape(group[0], rng)
    if len(group) == 1:
        return
    distance = 0.85 * (group[0].diameter + group[1].diameter) / 2
    off = np.abs(np.linalg.norm(points - group[0].centre, axis=1) - distance)
    score = np.where(off < 1.6, np.minimum(depth, group[1].diameter / 2), -1)
    best = int(np.argmax(score))
    if score[best] > 0:
        group[1].centre = points[best]
        group[1].neighbour, group[0].neighbour = group[0].number, group[1].number
        group[1].shape = _shape(group[1], rng)
        placed.append(group[1])


def _shape(lesion, rng):
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    stretch = np.exp(rng.normal(0, 0.12, 3))
    stretch /= np.prod(stretch) ** (1 / 3)
    axis = rng.standard_normal(3)
    return Shape(
        axes=axes,
        half_axes=lesion.diameter / 2 * stretch,
        waves=rng.normal(0, 2.2, (6, 3)),
        phases=rng.uniform(0, 2 * np.pi, 6),
        rim_axis=axis / np.linalg.norm(axis),
        rim_cosine=1 - 2 * lesion.coverage,
    )


def _paint(patient, lesion, over, around):
    """Paint the collar of a lesion (`around`) or its parts over the given classes."""
    box, offset, distance = _neighbourhood(patient, lesion.centre, 0.9 * lesion.diameter + PERIPLAQUE_WIDTH + 1)
    if box is None:
        return
    direction = np.where(distance[..., None] > 1e-6, offset, 1.0) / (np.maximum(distance, 1e-6)[..., None])
    depth = lesion.shape.radius(direction) - distance  # mm along the ray, positive inside
    part = patient.classes[box]
    allowed = np.isin(part, list(over))
    if around:
        part[allowed & (depth > -PERIPLAQUE_WIDTH)] = lesion.classes["periplaque"]
        return
    inside = allowed & (depth > 0)
    shell = depth < lesion.rim_thickness
    covered = direction @ lesion.shape.rim_axis > lesion.shape.rim_cosine
    part[inside & ~shell] = lesion.classes["core"]
    part[inside & shell & ~covered] = lesion.classes["edge"]
    part[inside & shell & covered] = lesion.classes["rim"]


def _neighbourhood(patient, centre, reach):
    """Slices of the sub-voxels within `reach` (mm) of a point along every axis, their offsets in RAS and distances."""
    matrix = patient.fine.ijk_to_ras
    inverse = np.linalg.inv(matrix)
    middle = (inverse[:3, :3] @ centre + inverse[:3, 3])[::-1]
    span = reach / np.array(patient.fine.voxel_size)
    first = np.maximum(np.floor(middle - span), 0).astype(int)
    last = np.minimum(np.ceil(middle + span) + 1, patient.fine.shape).astype(int)
    if (first >= last).any():
        return None, None, None
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    grid = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(first, last, strict=True)), indexing="ij"), -1)
    offset = grid[..., ::-1] @ matrix[:3, :3].T + matrix[:3, 3] - centre
    return box, offset, np.linalg.norm(offset, axis=-1)


def _add_veins(patient, lesions, rng):
    """Central veins, and as decoys veins that touch or cross lesions without rim."""
    within = {INDEX["white matter"]} | {index for lesion in lesions for index in lesion.classes.values()}
    decoys = []
    crossed = [lesion for lesion in lesions if lesion.kind.rim == "none" and not lesion.central_vein][:3]
    for lesion in lesions:
        if lesion in crossed:
            side = rng.standard_normal(3)
            side /= np.linalg.norm(side)
            along = np.cross(side, rng.standard_normal(3))
            through = lesion.centre + 0.85 * lesion.diameter / 2 * side
            decoys.append({"decoy": "vein across the edge", "lesion": lesion.number, "centre": through})
        elif lesion.central_vein:
            along, through = rng.standard_normal(3), lesion.centre
        else:
            continue
        along = along / np.linalg.norm(along)
        bend = np.cross(along, rng.standard_normal(3))
        t = np.linspace(-1, 1, 9)[:, None]
        points = through + t * (lesion.diameter + 3) * along + 1.2 * t**2 * bend / np.linalg.norm(bend)
        paint_tube(patient.classes, patient.fine, points, rng.uniform(0.4, 0.65), INDEX["vein"], tuple(within))
    return decoys


def _add_islands(patient, lesions, rng):
    """Gray matter beside lesions without rim: looks like a bright edge on R2* and R1."""
    white = [INDEX["white matter"], *(lesion.classes["periplaque"] for lesion in lesions)]
    decoys = []
    plain = [lesion for lesion in lesions if lesion.kind.rim == "none" and lesion.kind.enhancement == "none"]
    for lesion in plain[-3:]:
        radius = rng.uniform(2.0, 3.0)
        away = rng.standard_normal(3)
        away /= np.linalg.norm(away)
        centre = lesion.centre + (lesion.diameter / 2 * 1.1 + radius) * away
        box, _, distance = _neighbourhood(patient, centre, radius + 1)
        if box is None:
            continue
        part = patient.classes[box]
        part[(distance < radius) & np.isin(part, white)] = INDEX["cortex"]
        decoys.append({"decoy": "gray matter beside", "lesion": lesion.number, "centre": centre})
    return decoys
