"""The object: a head of seeded shape in classes of tissue, on a grid finer than the voxel."""

from dataclasses import dataclass

import numpy as np

from ..geometry import Geometry
from ..threads import in_pieces
from .head import CHANNELS, GIVEN, SULCUS, SULCUS_DEPTH, SULCUS_HALF_WIDTH, TEXTURE, WARP_X, paint_head
from .tissue import QUANTITIES, texture_coefficients

SUBSAMPLES = 2  # sub-voxels along each side of a voxel
PLANES = 4  # painted by one thread at a time
TEXTURE_UNIT = 42.0  # stored texture of one SD

HEAD_CENTRE = (0.0, -16.0, 14.0)  # mm in model space, what lies in the middle of the field of view
HEAD_SIZE = (160.0, 192.0, 144.0)  # mm (x, y, z), the field of view that shows the head at scale 1
MODEL_SCALE = 0.93  # the model has the large brain of the ICBM average; a usual one is smaller
SMALLEST, LARGEST = 0.8, 1.1  # of the head; a smaller field of view crops it

_GRID_ORIGIN = np.array([-100.0, -125.0, -95.0], np.float32)
_GRID_SHAPE = (80, 91, 81)  # z, y, x
_GRID_STEP = 2.5


@dataclass(frozen=True, eq=False)
class Patient:
    """The object that is scanned, on the sub-voxels of the multi-echo grid.

    Attributes:
        geometry: acquired grid of the reference scan. fine: its sub-voxels.
        classes: uint16 [k, j, i] on `fine`, index into `table`.
        texture: int8 [k, j, i] on `fine`, smooth variation, TEXTURE_UNIT per SD.
        table: ClassTable.
        model: 4x4, from RAS (mm) to model space (mm).
        head: what `paint` needs, for the parts outside the field of view.
        field_strength: T.
        lesions: one dictionary a lesion, the truth.
        decoys: one dictionary a decoy.
    """

    geometry: Geometry
    fine: Geometry
    classes: np.ndarray
    texture: np.ndarray
    table: object
    model: np.ndarray
    head: object
    field_strength: float
    lesions: tuple = ()
    decoys: tuple = ()

    def quantity(self, name, planes=slice(None)):
        """Values of one quantity on the sub-voxels (of some k planes), float32."""
        index = QUANTITIES.index(name)
        relative, absolute = texture_coefficients(self.table)
        classes = self.classes[planes]
        values = self.table.column(name)
        slope = values * relative[:, index] + absolute[:, index]
        return values[classes] + slope[classes] * (self.texture[planes] * np.float32(1 / TEXTURE_UNIT))


@dataclass(frozen=True, eq=False)
class Head:
    """Seeded shape of a head: random grid in model space, growth of ventricles (mm), half width of sulci (mm)."""

    grid: np.ndarray
    ventricle_growth: float
    sulcus_half_width: float
    given: bool = False

    def paint(self, shape, ijk_to_model, check=None):
        """Tissue (uint16) and texture (int8) [k, j, i] on a grid given by its 4x4 matrix to model space.

        `check` is called now and then and may raise to stop.
        """
        classes, texture = np.empty(shape, np.uint16), np.zeros(shape, np.int8)
        matrix = np.array(ijk_to_model[:3], np.float32)
        shape_of_head = self.grid, _GRID_ORIGIN, _GRID_STEP, self.ventricle_growth, self.sulcus_half_width, self.given

        def piece(first, last):
            paint_head(classes, texture, matrix, *shape_of_head, first, last)

        in_pieces(piece, shape[0], PLANES, progress=None if check is None else lambda fraction, text: check())
        return classes, texture


def seeded_head(rng, depth=None):
    """A head drawn from `rng`; `depth`, float32 on `grid_points()`, replaces the brain by a given one."""
    grid = np.zeros((*_GRID_SHAPE, CHANNELS), np.float32)
    for axis in range(3):
        grid[..., WARP_X + axis] = 1.8 * _waves(rng, 12, 45.0, 90.0)[0]
    value, slope = _waves(rng, 40, 16.0, 23.0)
    # distance to the zero level, to first order; far from it only "far" matters
    grid[..., SULCUS] = np.clip(value / np.maximum(slope, 0.2), -9, 9)
    grid[..., SULCUS_DEPTH] = np.clip(4.0 * _waves(rng, 16, 25.0, 50.0)[0], -7, 9)
    grid[..., TEXTURE] = _waves(rng, 48, 9.0, 30.0)[0]
    growth, widening = rng.uniform(-0.5, 1.8), SULCUS_HALF_WIDTH + rng.uniform(-0.15, 0.25)
    if depth is not None:
        grid[..., GIVEN] = depth
    return Head(grid, float(growth), float(widening), depth is not None)


def grid_points():
    """Model coordinates (x, y, z) of the random grid as three broadcastable arrays [z, y, x]."""
    x, y, z = (_GRID_ORIGIN[n] + _GRID_STEP * np.arange(_GRID_SHAPE[2 - n]) for n in range(3))
    return x[None, None], y[None, :, None], z[:, None, None]


def _waves(rng, number, shortest, longest):
    """Random field of unit variance from plane waves between two wavelengths (mm), and the length of its gradient."""
    direction = rng.standard_normal((number, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    k = direction * (2 * np.pi / rng.uniform(shortest, longest, (number, 1)))
    phase = rng.uniform(0, 2 * np.pi, number)
    points = grid_points()
    value = np.zeros(_GRID_SHAPE, np.float32)
    gradient = np.zeros((3, *_GRID_SHAPE), np.float32)
    for n in range(number):
        factors = [np.exp(1j * k[n, axis] * points[axis]).astype(np.complex64) for axis in range(3)]
        wave = factors[2] * (factors[1] * factors[0]) * np.complex64(np.exp(1j * phase[n]))
        value += wave.real
        gradient -= k[n, :, None, None, None].astype(np.float32) * wave.imag
    scale = np.float32(np.sqrt(2 / number))
    return value * scale, np.sqrt((gradient**2).sum(0)) * scale


def model_matrix(geometry, rng=None):
    """4x4 from RAS (mm) to model space: the head in the middle of the grid, as large as the field of view allows."""
    size = np.array(geometry.shape[::-1]) * np.array(geometry.voxel_size[::-1])
    scale = np.clip((size / np.array(HEAD_SIZE)).min(), SMALLEST, LARGEST)
    stretch = np.ones(3) if rng is None else 1 - 0.04 * rng.random(3)
    centre = geometry.ijk_to_ras @ np.array([*(np.array(geometry.shape[::-1]) - 1) / 2, 1])
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(1 / (MODEL_SCALE * scale * stretch))
    matrix[:3, 3] = np.array(HEAD_CENTRE) - matrix[:3, :3] @ centre[:3]
    return matrix


def fine_geometry(geometry, subsamples=SUBSAMPLES):
    """The grid of sub-voxels of an acquired grid."""
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :3] /= subsamples
    first = (np.full(3, 0.5) / subsamples) - 0.5  # acquired index of the centre of sub-voxel 0
    matrix[:3, 3] = (geometry.ijk_to_ras @ np.array([*first, 1]))[:3]
    return Geometry(tuple(n * subsamples for n in geometry.shape), matrix, geometry.b0_ras)
