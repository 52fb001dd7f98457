"""Transmit field, receive fields and phase at echo time 0: smooth functions of the place in the magnet.

All are quadratic in the coordinates; sizes are assumed. They belong to the scanner: a head that moves, moves in them.
"""

import numpy as np

HEAD_RADII = (70.0, 88.0, 70.0)  # mm in model space, where the quadratic terms reach 1


class CoilFields:
    """The smooth fields of one patient's examination.

    Args:
        patient: Patient, for the place and size of the head. options: PatientOptions. rng: draws what differs.
    """

    def __init__(self, patient, options, rng):
        self.model = patient.model
        self.spread = options.b1_spread * {1.5: 0.4, 3.0: 1.0, 7.0: 1.6}[options.field_strength]
        self.phase_size = options.phase_offset
        self.tilt = rng.uniform(-0.12, 0.12, 3)
        self.phase_terms = rng.uniform(-1, 1, 7)

    def b1(self, geometry):
        """Transmit field as a ratio to nominal, float32 [k, j, i]: high in the middle, low at the edge."""
        x, y, z = self._coordinates(geometry)
        squared = x * x + y * y + z * z
        shape = 1 - 1.6 * squared / (0.6 + squared) + self.tilt[0] * x + self.tilt[1] * y + self.tilt[2] * z
        return (1 + self.spread * np.clip(shape, -1, 1)).astype(np.float32)

    def receive(self, geometry, coil):
        """Receive field of the "head" or "body" coil, float32 [k, j, i]; the head coil sees its near side more."""
        x, y, z = self._coordinates(geometry)
        if coil == "body":
            return (1 + 0.08 * self.tilt[1] * x - 0.05 * y * y - 0.04 * z * z).clip(0.4).astype(np.float32)
        squared = x * x + y * y + z * z
        return (
            (0.75 + 0.35 * squared / (0.8 + 0.2 * squared) + self.tilt[2] * x + 0.10 * y).clip(0.3).astype(np.float32)
        )

    def phase(self, geometry):
        """Phase at echo time 0, rad, float32 [k, j, i]."""
        x, y, z = self._coordinates(geometry)
        c = self.phase_terms
        terms = c[0] * x + c[1] * y + c[2] * z + c[3] * x * y + c[4] * y * y + c[5] * z * z
        return (self.phase_size * (0.7 * terms + c[6])).astype(np.float32)

    def _coordinates(self, geometry):
        """Model coordinates over HEAD_RADII as float32 arrays that broadcast to [k, j, i]."""
        matrix = (self.model @ geometry.ijk_to_ras).astype(np.float32)
        k, j, i = (np.arange(n, dtype=np.float32) for n in geometry.shape)
        k, j, i = k[:, None, None], j[None, :, None], i[None, None, :]
        rows = (matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k + matrix[axis, 3] for axis in range(3))
        centre = (0.0, -16.0, 10.0)
        return [(row - np.float32(c)) / np.float32(r) for row, c, r in zip(rows, centre, HEAD_RADII, strict=True)]
