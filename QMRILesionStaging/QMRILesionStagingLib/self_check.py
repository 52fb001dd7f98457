"""Virtual rims on this very scan: how much of a known rim the maps show, and how often the detector finds it.

Spheres with a rim are added to the object, the inversion is asked once what it makes of all of them, and what it made
is then laid at other places of the same map, with their noise, texture and neighbours, for the detector to find.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from .lesion_crop import LesionCrop
from .reference import level
from .rim import RayFrame, find_rim

SIZES = (5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 16.0)  # mm, diameters of virtual lesions
_REACH = 6.0  # mm around a virtual lesion that its response is known
_SEATS = 3  # places at which the response of one size is asked for
_FROM_LESIONS = 2.0  # mm
_PARTS = 5  # of a voxel along each axis, for the share of a sphere in it
_MOST_CANDIDATES = 4000


class Recovery(NamedTuple):
    """found: share of virtual rims with a rim. tried: their number. gain: of the map, for a lesion of this size."""

    found: float | None
    tried: int
    gain: float


class VirtualRims:
    """Virtual rims in the map of chi of one scan.

    Args:
        chi, valid: ppm and bool [k, j, i]. white: bool, white matter. lesions: int. geometry: Geometry.
        respond: function from added susceptibility (ppm) to the change of the map, or None where it is not known: the
            map is then taken to show what is there, averaged over the voxel.
        diameters: mm, of the lesions that will be asked about. options: RimOptions.
    """

    def __init__(self, chi, valid, white, lesions, geometry, respond, diameters, options):
        self.chi, self.geometry, self.options = chi, geometry, options
        self.voxel = np.asarray(geometry.voxel_size)
        allowed = valid & white & (lesions == 0)
        if lesions.any():
            allowed &= ndimage.distance_transform_edt(lesions == 0, sampling=self.voxel) > _FROM_LESIONS
        self.allowed = allowed
        self.room = ndimage.distance_transform_edt(allowed, sampling=self.voxel)
        self.sizes = sorted({_size(d) for d in diameters})
        self.balls = {size: _ball(size, self.voxel, options) for size in self.sizes}
        self.frames = {size: RayFrame(_virtual_crop(self.balls[size], self.voxel)) for size in self.sizes}
        self.responses = self._responses(respond)

    def recovery(self, diameter, centre):
        """Recovery of a rim on a lesion of `diameter` (mm) beside `centre` (voxel [k, j, i])."""
        size = _size(diameter)
        gain = self._gain(size)
        frame = self.frames[size]
        found = [self._found(frame, size, seat) for seat in self._seats_near(size, np.asarray(centre))]
        return Recovery(float(np.mean(found)) if found else None, len(found), gain)

    def gain(self, diameter):
        """Measured over true contrast of a rimmed lesion of this diameter with its surroundings."""
        return self._gain(_size(diameter))

    def _gain(self, size):
        true, body = self.balls[size]
        shown = self.responses[size]
        outside = ~body & (true == 0)
        return float((shown[body].mean() - shown[outside].mean()) / true[body].mean())

    def _responses(self, respond):
        """size -> what the map shows of a virtual lesion, ppm, float32 on its crop."""
        if respond is None or not self.sizes:
            return {size: true for size, (true, _) in self.balls.items()}
        added = np.zeros(self.chi.shape, np.float32)
        room, seats = self.room.copy(), {}
        for _ in range(_SEATS):
            for size in reversed(self.sizes):
                seat = self._deepest(room, size)
                if seat is not None:
                    seats.setdefault(size, []).append(seat)
                    _lay(added, self.balls[size][0], seat)
                    _close(room, seat, size + _REACH, self.voxel)
        change = respond(added) if seats else added
        shown = {}
        for size, (true, _) in self.balls.items():
            boxes = [_box(seat, true.shape) for seat in seats.get(size, ())]
            shown[size] = np.mean([change[box] for box in boxes], 0) if boxes else None
        return {size: _nearest_known(shown, size, self.balls) for size in self.sizes}

    def _deepest(self, room, size):
        """The place with most room that a crop of this size has, or None."""
        half = np.array(self.balls[size][0].shape) // 2
        inner = tuple(slice(h, n - h) for h, n in zip(half, room.shape, strict=True))
        if min(room[inner].shape) < 1 or room[inner].max() <= 0:
            return None
        return np.array(np.unravel_index(room[inner].argmax(), room[inner].shape)) + half

    def _seats_near(self, size, centre):
        """Places for a virtual lesion with the most white matter around, near a lesion."""
        half = np.array(self.balls[size][0].shape) // 2
        room = self.room[tuple(slice(h, n - h) for h, n in zip(half, self.room.shape, strict=True))]
        if not room.size:
            return []
        needed = min(size / 2 + 1.0, 0.8 * float(room.max()))
        places = np.argwhere(room >= max(needed, 0.5)) + half
        if not len(places):
            return []
        places = places[:: max(1, len(places) // _MOST_CANDIDATES)]
        distance = np.linalg.norm((places - centre) * self.voxel, axis=1)
        chosen = []
        for index in np.argsort(distance, kind="stable"):
            if all(np.linalg.norm((places[index] - other) * self.voxel) >= size / 2 for other in chosen):
                chosen.append(places[index])
            if len(chosen) == self.options.virtual_rims:
                break
        return chosen

    def _found(self, frame, size, seat):
        box = _box(seat, self.balls[size][0].shape)
        chi = self.chi[box] + self.responses[size]
        distance = frame.crop.border.distance
        shell = (distance > 2) & (distance < 5)
        where = shell & self.allowed[box] if (shell & self.allowed[box]).any() else shell
        known = level(self.chi[box], np.ones(where.shape, bool), where, 1.0, 1.0)
        measured = self.geometry.effective_voxel_size
        return find_rim(frame, chi, known.spread, measured, self.options).present


def _size(diameter):
    """The largest virtual size that does not exceed a diameter."""
    return max([size for size in SIZES if size <= diameter], default=SIZES[0])


def _ball(size, voxel, options):
    """Susceptibility (ppm, float32) of a virtual lesion averaged over the voxels of its crop, and its voxels (bool)."""
    half = np.ceil((size / 2 + _REACH) / voxel).astype(int)
    part = (np.arange(_PARTS) + 0.5) / _PARTS - 0.5
    axes = [((np.arange(-h, h + 1)[:, None] + part).ravel() * v) ** 2 for h, v in zip(half, voxel, strict=True)]
    radius = np.sqrt(axes[0][:, None, None] + axes[1][:, None] + axes[2])
    body, core = (
        (radius <= r).reshape([n for h in half for n in (2 * h + 1, _PARTS)]).mean((1, 3, 5))
        for r in (size / 2, size / 2 - options.virtual_thickness)
    )
    chi = options.virtual_rim * body + (options.virtual_core - options.virtual_rim) * core
    return chi.astype(np.float32), body >= 0.5


def _virtual_crop(ball, voxel):
    _, body = ball
    nothing = np.zeros(body.shape, bool)
    box = tuple(slice(0, n) for n in body.shape)
    return LesionCrop(0, box, voxel, body, nothing, nothing, ~body, False)


def _box(seat, shape):
    return tuple(slice(int(s) - n // 2, int(s) + n // 2 + 1) for s, n in zip(seat, shape, strict=True))


def _lay(image, ball, seat):
    image[_box(seat, ball.shape)] += ball


def _close(room, seat, reach, voxel):
    """Take the room around a seat."""
    span = np.ceil(reach / voxel).astype(int)
    box = tuple(slice(max(int(s) - n, 0), int(s) + n + 1) for s, n in zip(seat, span, strict=True))
    room[box] = 0


def _nearest_known(shown, size, balls):
    """The response of a size; where it could not be asked for, the object with the gain of the nearest size."""
    if shown[size] is not None:
        return shown[size].astype(np.float32)
    known = [other for other in shown if shown[other] is not None]
    if not known:
        return balls[size][0]
    nearest = min(known, key=lambda other: abs(other - size))
    true, body = balls[nearest]
    return balls[size][0] * np.float32(shown[nearest][body].mean() / true[body].mean())
