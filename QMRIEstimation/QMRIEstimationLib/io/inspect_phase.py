"""What the phase of a scan turns out to be: its encoding, what must be mended, and why it may be of no use for QSM."""

from dataclasses import dataclass

import numpy as np

from . import phase_checks
from .echoes import load_magnitude_and_phase
from .interpolation import acquired_voxel_size
from .phase import RADIANS, alternating_axes, known_encoding, mend_alternating, slice_offsets, without_offsets

FEWEST_SLICES = 8  # the dipole field of a thinner slab comes from outside it
GAP_SEEN, GAP_REFUSED = 1.05, 1.5  # distance of slices over their thickness
AXES = ("slices", "rows", "columns")


@dataclass(frozen=True, eq=False)
class PhaseReport:
    """What is to be done with the stored phase.

    Attributes:
        encoding: None when unknown. alternating: axes to mend. offsets: rad, to take off each slice, or None.
        problem: why QSM cannot use it. notes. acquired: measured voxel, mm [k, j, i], or None.
    """

    encoding: object
    alternating: tuple = ()
    offsets: np.ndarray | None = None
    problem: str = ""
    notes: tuple = ()
    acquired: tuple | None = None

    def mended(self, stored):
        """Wrapped phase in rad from the stored numbers [echo, k, j, i]."""
        phase = self.encoding.radians(stored)
        if self.alternating:
            phase = mend_alternating(phase, self.alternating)
        return phase if self.offsets is None else without_offsets(phase, self.offsets)


def inspect_phase(images, geometry, file, sidecar):
    """Look once at the images of a series that has phase.

    Args:
        images: parts as from `echoes.collect`, each with all echoes.
        geometry: the grid, b0_ras None when unknown.
        file, sidecar: first file that carries the phase, for the messages, and its sidecar.
    """
    magnitude, stored = load_magnitude_and_phase(images)
    name, fields = file.name, sidecar.fields
    if "phase" in images:
        try:
            encoding = known_encoding(
                float(stored.min()), float(stored.max()), sidecar.text("Units"), sidecar.text("Manufacturer")
            )
        except ValueError as error:
            return PhaseReport(None, problem=f"{name}: {error}")
    else:
        encoding = RADIANS
    phase = encoding.radians(stored)
    axes = alternating_axes(magnitude, phase)
    notes = []
    if axes:
        phase = mend_alternating(phase, axes)
        which = " and ".join(AXES[axis] for axis in axes)
        notes.append(f"{name}: the sign of the complex image alternates between {which}; it was mended.")
    if phase_checks.mostly_zero(stored):
        notes.append(
            f"{name}: more than a fifth of the phase is exactly 0; it was masked, the noise cannot be checked."
        )
    random = phase_checks.random_slice_steps(magnitude, phase)
    offsets = None
    if random == {"offset"} and len(phase) > 1:
        offsets = slice_offsets(magnitude, phase)
        phase = without_offsets(phase, offsets)
        notes.append(f"{name}: every slice has its own phase offset, the same in all echoes; it was taken off.")
    problem = _header_problem(name, geometry, sidecar) or _data_problem(
        name, magnitude, phase, geometry.voxel_size, random
    )
    ratio = _gap(fields)
    if ratio > GAP_SEEN:
        notes.append(f"{name}: slices are {ratio:.2f} thicknesses apart; the field between them was not measured.")
    acquired = acquired_voxel_size(geometry, fields, magnitude[0], phase[0])
    return PhaseReport(encoding, axes, offsets, problem, tuple(notes), acquired)


def _header_problem(name, geometry, sidecar):
    processed = phase_checks.processed_name(sidecar.image_type(), sidecar.text("SeriesDescription"))
    if processed:
        return f"{name}: the sidecar says the image is {processed}, expected unprocessed phase; export the raw phase."
    if geometry.shape[0] < FEWEST_SLICES:
        return f"{name}: has {geometry.shape[0]} slices, QSM needs {FEWEST_SLICES} or more; use the whole volume."
    if _gap(sidecar.fields) > GAP_REFUSED:
        return (
            f"{name}: SpacingBetweenSlices is more than {GAP_REFUSED:g} times SliceThickness, expected slices without "
            "gaps; QSM needs the whole field, use a 3-D acquisition."
        )
    return ""


def _data_problem(name, magnitude, phase, voxel_size, random):
    found = phase_checks.unlike_a_measurement(magnitude, phase, voxel_size)
    if found:
        return f"{name}: {found}, export the raw phase."
    if "evolution" in random or (random and len(phase) == 1):
        return (
            f"{name}: the phase jumps at random from slice to slice, expected a continuous volume; "
            "use a 3-D acquisition."
        )
    return ""


def _gap(fields):
    thickness, distance = fields.get("SliceThickness"), fields.get("SpacingBetweenSlices")
    numbers = all(isinstance(v, (int, float)) and v > 0 for v in (thickness, distance))
    return distance / thickness if numbers and fields.get("MRAcquisitionType") == "2D" else 1.0
