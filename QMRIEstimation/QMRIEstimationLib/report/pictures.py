"""Pictures of a volume in three planes: slices, colours, letters. Pure functions, Pillow only.

Radiological convention: the patient's right is at the left of axial and coronal pictures; sagittal pictures have the
nose at the left. Every picture carries its four letters.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PIXELS_PER_MM = 2.0
QUALITY = 85  # WebP; 20 kB for a slice of a brain
OBLIQUE = 2.0  # degrees between voxel and anatomical axes from which a caption says so
OUTLINE = (255, 214, 10)
MARGIN = 4.0  # mm left around the brain
LETTER_ROOM = 10.0  # mm of black around the slice, where the letters stand
LETTERS = {"axial": "APRL", "coronal": "SIRL", "sagittal": "SIAP"}  # top, bottom, left, right
_NORMAL = {"axial": 0, "coronal": 1, "sagittal": 2}  # axis of [superior, anterior, right] that a plane cuts


@dataclass(frozen=True, eq=False)
class View:
    """How a voxel grid is turned for viewing: axes run from superior, anterior and right, index 0 first.

    Attributes:
        axes: which of [k, j, i] runs along superior-inferior, anterior-posterior, right-left.
        flips: for each of these, whether the voxel index runs the other way.
        spacing: mm along each. tilt: degrees between the voxel axes and the anatomical ones, the largest.
        ijk_to_ras: the matrix it was made from.
    """

    axes: tuple
    flips: tuple
    spacing: tuple
    tilt: float
    ijk_to_ras: np.ndarray

    def turn(self, array):
        """The array [k, j, i] as [superior to inferior, anterior to posterior, right to left]."""
        turned = np.transpose(array, self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def position(self, index, shape):
        """RAS (mm) of a voxel of the turned array; `shape` is that of the turned array."""
        kji = np.empty(3)
        for axis, flip, at, size in zip(self.axes, self.flips, index, shape, strict=True):
            kji[axis] = size - 1 - at if flip else at
        return self.ijk_to_ras[:3, :3] @ kji[::-1] + self.ijk_to_ras[:3, 3]


def view_of(geometry):
    """The View whose axes lie nearest to the anatomical ones; the grid is permuted and flipped, never resampled."""
    matrix = np.asarray(geometry.ijk_to_ras, float)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    cosines = (matrix[:3, :3] / spacing)[::-1, ::-1]  # rows superior, anterior, right; columns k, j, i
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    axes = max(orders, key=lambda order: sum(abs(cosines[row, order[row]]) for row in range(3)))
    along = [cosines[row, axes[row]] for row in range(3)]
    return View(
        axes=axes,
        flips=tuple(bool(c > 0) for c in along),  # the index must run away from S, A and R
        spacing=tuple(float(spacing[::-1][axis]) for axis in axes),
        tilt=float(np.degrees(np.arccos(np.clip(np.abs(along).min(), 0, 1)))),
        ijk_to_ras=matrix,
    )


@dataclass(frozen=True, eq=False)
class Cut:
    """Where the three planes lie and what part of them is shown, in indices of the turned array."""

    center: tuple
    box: tuple  # three slices


def cut_through(mask, view, *, sideways=0.0, margin=MARGIN):
    """Planes through the middle of a mask, the sagittal one `sideways` mm to the left, with a margin (mm) around it.

    Args:
        mask: bool [k, j, i]; without a voxel the whole grid counts.
    """
    turned = view.turn(mask)
    if not turned.any():
        turned = np.ones_like(turned)
    center, box = [], []
    for axis in range(3):
        line = turned.any(axis=tuple(a for a in range(3) if a != axis))
        profile = turned.sum(axis=tuple(a for a in range(3) if a != axis))
        first, last = np.flatnonzero(line)[[0, -1]]
        room = round(margin / view.spacing[axis])
        box.append(slice(max(first - room, 0), min(last + room + 1, line.size)))
        middle = round(float(np.average(np.arange(line.size), weights=profile)))
        shift = round(sideways / view.spacing[axis]) if axis == _NORMAL["sagittal"] else 0
        center.append(int(np.clip(middle + shift, first, last)))
    return Cut(tuple(center), tuple(box))


def plane(array, view, cut, name):
    """One slice [row, column] of the array, as it is seen."""
    normal = _NORMAL[name]
    index = [cut.center[axis] if axis == normal else cut.box[axis] for axis in range(3)]
    return view.turn(array)[tuple(index)]


def plane_position(view, cut, name, shape):
    """Where a plane lies, in words: `S 12 mm`. On an oblique grid it is the middle of the slice."""
    normal = _NORMAL[name]
    turned = tuple(shape[axis] for axis in view.axes)
    value = view.position(cut.center, turned)[2 - normal]
    letter = ("SI", "AP", "RL")[normal][int(round(value) < 0)]
    return f"{letter} {abs(value):.0f} mm"


def slice_picture(index, table, view, cut, name, *, outline=None, scale=PIXELS_PER_MM, room=LETTER_ROOM):
    """A slice with right aspect and letters: PIL image.

    Args:
        index: uint8 [k, j, i], entries of `table` (uint8 [256, 3]), as `colors.table_index` gives them.
        name: axial, coronal or sagittal. outline: bool [k, j, i], drawn as a line. scale: pixels per mm.
        room: mm of black around it, where the letters stand.
    """
    rows, columns = (view.spacing[axis] for axis in range(3) if axis != _NORMAL[name])
    colors = table[plane(index, view, cut, name)]
    size = (max(round(colors.shape[1] * columns * scale), 1), max(round(colors.shape[0] * rows * scale), 1))
    image = Image.fromarray(np.ascontiguousarray(colors)).resize(size, Image.Resampling.BICUBIC)
    if outline is not None:
        drawn = Image.fromarray(plane(outline, view, cut, name).astype(np.uint8) * 255)
        inside = np.asarray(drawn.resize(size, Image.Resampling.BILINEAR)) > 127
        pixels = np.array(image)
        line = edge(inside)
        pixels[line | edge(inside & ~line)] = OUTLINE
        image = Image.fromarray(pixels)
    return _lettered(image, LETTERS[name], letter_room(room, scale))


def letter_room(room, scale):
    """Pixels of black around a slice: those of `room` (mm), and enough to read a letter."""
    return max(round(room * scale), 16)


def edge(inside):
    """Pixels of a 2-D mask that touch the outside by a side."""
    padded = np.pad(inside, 1)
    kept = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~kept


def _lettered(image, letters, room):
    """The picture in a black frame of `room` pixels with its four letters at the middle of the sides."""
    width, height = image.width + 2 * room, image.height + 2 * room
    framed = Image.new("RGB", (width, height))
    framed.paste(image, (room, room))
    font = ImageFont.load_default(room)
    draw = ImageDraw.Draw(framed)
    middles = (
        (width / 2, room / 2),
        (width / 2, height - room / 2),
        (room / 2, height / 2),
        (width - room / 2, height / 2),
    )
    for letter, middle in zip(letters, middles, strict=True):
        draw.text(middle, letter, (255, 255, 255), font, "mm")
    return framed


def bar_picture(table, width=255):
    """The colours of a table from low to high, one pixel high: PIL image."""
    entries = 1 + np.arange(width) * (len(table) - 1) // width
    return Image.fromarray(table[entries][None])


def data_uri(image):
    """A picture as text for HTML: WebP, or PNG for thin colour bars that must stay exact."""
    exact = min(image.size) == 1
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if exact else "WEBP", **({} if exact else {"quality": QUALITY, "method": 4}))
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{'png' if exact else 'webp'};base64,{text}"
