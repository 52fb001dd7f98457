"""Scans of one session brought to one place: the grid that others are registered to, and how."""

from dataclasses import dataclass, replace

import numpy as np

from .errors import Misaligned
from .geometry import Geometry
from .registration import register_rigid
from .resample import on_grid, sd_on_grid
from .threads import in_pieces


@dataclass(frozen=True, eq=False)
class Place:
    """A scan that others are registered to.

    Attributes:
        name: of the scan. magnitude: float32 [k, j, i]. geometry: its grid.
        mask: bool [k, j, i], the brain on this grid.
    """

    name: str
    magnitude: np.ndarray
    geometry: Geometry
    mask: np.ndarray


def registered(name, image, geometry, place, options):
    """Registration of a scan (moving) to a Place (fixed).

    Raises:
        Misaligned: the misfit is beyond the limit.
    """
    found = register_rigid(image, geometry, place.magnitude, place.geometry, options, place.mask)
    if not found.accepted:
        raise Misaligned(f"{name}: {found.problem}")
    return found


def all_registered(scans, place, options):
    """Registration of several scans (name, image, geometry) to a Place, some at a time.

    Raises:
        Misaligned: as `registered`, of the first that is.
    """
    found = [None] * len(scans)

    def piece(first, last):
        for number in range(first, last):
            found[number] = registered(*scans[number], place, options)

    in_pieces(piece, len(scans), 1)
    return found


def moved(image, geometry, place, found):
    """A magnitude on the grid of a Place, float32; exactly itself where nothing has moved."""
    values, _ = on_grid(image, geometry, place.geometry, found.ras_transform, order="cubic")
    return np.maximum(values, 0)


def noise_share(geometry, place, found):
    """What `moved` leaves of the noise SD of a scan, float32 [k, j, i] on the Place: neighbours are averaged."""
    ones = np.ones(geometry.shape, np.float32)
    return sd_on_grid(ones, geometry, place.geometry, found.ras_transform, order="cubic")[0]


def moved_noise(noise, geometry, place, found):
    """The Noise of a scan on the grid of a Place, before what interpolation averages (`noise_share`)."""
    if noise.share is None:
        return noise
    share, inside = on_grid(noise.share, geometry, place.geometry, found.ras_transform)
    return replace(noise, share=np.where(inside, share, 1).astype(np.float32))


def motion_note(registrations):
    """One sentence about the scans (name -> Registration) that had moved, in a list; empty when none had."""
    had_moved = {name: found for name, found in registrations.items() if not found.identity}
    if not had_moved:
        return []
    farthest, found = max(had_moved.items(), key=lambda item: item[1].shift_mm)
    misfit = max(found.misfit for found in had_moved.values())
    if len(had_moved) == 1:
        return [
            f"{farthest}: had moved by {found.shift_mm:.1f} mm and {found.rotation_deg:.1f} degrees and was put back "
            f"(misfit {misfit:.2f} mm)."
        ]
    turn = max(found.rotation_deg for found in had_moved.values())
    return [
        f"{len(had_moved)} scans had moved, by up to {found.shift_mm:.1f} mm ({farthest}) and {turn:.1f} degrees, and "
        f"were put back (largest misfit {misfit:.2f} mm); each one's motion stands in xfm/."
    ]


def moved_arrays(arrays, source, target, transform):
    """Values, SD, quality and validity on another grid."""
    values, sd, quality, valid = arrays
    moved_values, inside = on_grid(values, source, target, transform, valid)
    moved_sd, _ = sd_on_grid(sd, source, target, transform, valid)
    moved_quality, _ = on_grid(quality, source, target, transform, valid)
    return moved_values, moved_sd, moved_quality, inside


def moved_map(result, target, transform):
    """A QuantitativeMap on another grid; `transform` is from RAS of the target to RAS of the map."""
    arrays = moved_arrays((result.values, result.sd, result.quality, result.valid), result.geometry, target, transform)
    values, sd, quality, valid = arrays
    return replace(result, values=values, sd=sd, quality=quality, valid=valid, geometry=target)
