"""Where an image lies: grid, voxel size and the direction of the main field. The one place for the B0 direction."""

from dataclasses import dataclass, replace

import numpy as np

from .errors import InputError

SCANNER_Z = (0.0, 0.0, 1.0)  # closed-bore magnets: B0 along the patient's head-foot axis, RAS


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in patient space.

    Attributes:
        shape: number of voxels [k, j, i].
        ijk_to_ras: 4x4 matrix from voxel indices (i, j, k) to millimetres in RAS.
        b0_ras: unit vector of the main field in RAS, or None where it is unknown (aligned images).
        acquired_voxel_size: mm [k, j, i] of the voxel that was really measured, when the image was interpolated.
    """

    shape: tuple
    ijk_to_ras: np.ndarray
    b0_ras: tuple | None = SCANNER_Z
    acquired_voxel_size: tuple | None = None

    @property
    def voxel_size(self):
        """Distance of neighbouring voxels, mm [k, j, i]."""
        return tuple(float(s) for s in np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)[::-1])

    @property
    def effective_voxel_size(self):
        """Size of the voxel that was measured, mm [k, j, i]: what size gates and noise estimates must use."""
        return self.acquired_voxel_size or self.voxel_size

    @property
    def measured(self):
        """The grid that was measured, with the same first voxel; this one where the image was not interpolated."""
        ratios = [min(v / a, 1.0) for v, a in zip(self.voxel_size, self.effective_voxel_size, strict=True)]
        shape = tuple(max(1, round(n * ratio)) for n, ratio in zip(self.shape, ratios, strict=True))
        if shape == self.shape:
            return self
        matrix = self.ijk_to_ras.copy()
        matrix[:, :3] *= [n / m for n, m in zip(self.shape[::-1], shape[::-1], strict=True)]
        return Geometry(shape, matrix, self.b0_ras)

    @property
    def voxel_volume(self):
        """Volume of a grid cell, mm^3."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3])))

    @property
    def b0_dir(self):
        """Unit vector of the main field along the voxel axes [k, j, i].

        b_i = a_i . b0 / |a_i| with a_i the columns of the IJK-to-RAS matrix; the columns are orthogonal.

        Raises:
            InputError: the direction is unknown.
        """
        if self.b0_ras is None:
            raise InputError(
                "the direction of B0 is unknown because the image was aligned to another space; "
                "use the original export, or add B0_dir (unit vector in RAS) to the sidecar."
            )
        columns = self.ijk_to_ras[:3, :3] / np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        b0 = (columns.T @ np.asarray(self.b0_ras, float))[::-1]
        return tuple(float(b) for b in b0 / np.linalg.norm(b0))

    def with_b0(self, b0_ras):
        """The same grid with another main-field direction (RAS; None for unknown)."""
        return replace(self, b0_ras=b0_ras)

    def same_grid(self, other, tolerance=1e-3):
        """Whether both grids coincide to `tolerance` (mm at the farthest corner)."""
        if self.shape != other.shape:
            return False
        corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
        corners[:, :3] *= np.array(self.shape[::-1]) - 1
        return bool(np.abs(corners @ (self.ijk_to_ras - other.ijk_to_ras).T).max() <= tolerance)


def check_same_shape(**arrays):
    """Raise ValueError naming two arrays and their shapes unless all (not None) agree."""
    given = [(name, np.shape(a)) for name, a in arrays.items() if a is not None]
    for name, shape in given[1:]:
        if shape != given[0][1]:
            raise ValueError(f"{name} has shape {shape}, expected {given[0][1]} as {given[0][0]}.")
