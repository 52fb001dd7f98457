"""Signal of every scan at one place, with the curve that the maps there predict; for plots in the panel."""

import math
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from .attributes import acquisition_of
from .uses import BALANCED, FA, INCREMENT, SPOILED, TE, TR, USES

POINTS = 100  # of a drawn curve
PHASES = 180  # off-resonance angles that are tried for bSSFP


@dataclass(frozen=True, eq=False)
class Curve:
    """Samples (x, y) of one scan and the fitted curve; x in what `x_title` says, y as the scanner wrote it."""

    title: str
    x_title: str
    x: np.ndarray
    y: np.ndarray
    fit_x: np.ndarray
    fit_y: np.ndarray


class Place:
    """A point of the scene, or a segment: gives the value or the mean of a volume there.

    Args:
        ras: point, mm; or None with segmentation and segment (ID).
    """

    def __init__(self, ras=None, segmentation=None, segment=""):
        self._ras, self._segmentation, self._segment, self._masks = ras, segmentation, segment, {}

    def value(self, volume, component=None):
        """Value of a volume node there; NaN outside it."""
        if volume is None or volume.GetImageData() is None:
            return math.nan
        array = slicer.util.arrayFromVolume(volume)
        array = array if component is None else array[..., component]
        if self._ras is not None:
            index = _index(volume, self._ras)
            inside = all(0 <= n < size for n, size in zip(index, array.shape, strict=True))
            return float(array[index]) if inside else math.nan
        mask = self._mask(volume)
        return float(array[mask].mean()) if mask.any() else math.nan

    def _mask(self, volume):
        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        key = (volume.GetImageData().GetDimensions(), tuple(np.ravel(slicer.util.arrayFromVTKMatrix(matrix))))
        if key not in self._masks:
            scene = self._segmentation.GetScene()
            chosen = vtk.vtkStringArray()
            chosen.InsertNextValue(self._segment)
            labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "place")
            try:
                slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(
                    self._segmentation, chosen, labels, volume
                )
                self._masks[key] = slicer.util.arrayFromVolume(labels) > 0
            finally:
                scene.RemoveNode(labels)
        return self._masks[key]


def values_at(place, results):
    """Map -> (value, SD) at a place; NaN where there is none.

    Args:
        results: key (`R2star`, `R2star SD`, ...) -> volume node.
    """
    names = [key for key in results if f"{key} SD" in results]
    found = {name: (place.value(results[name]), place.value(results[f"{name} SD"])) for name in names}
    return found | ({"TB1": (place.value(results["TB1"]), math.nan)} if "TB1" in results else {})


def curves_at(place, images, results):
    """Curves of all scans of which the maps predict one.

    Args:
        images: nodes described by attributes. results: as in `values_at`.
    """
    samples = {}
    for node in images:
        found = acquisition_of(node)
        if found.use not in USES or found.part != "magnitude" or found.problems():
            continue
        for number in range(found.frames):
            volume = node.GetNthDataNode(number) if node.IsA("vtkMRMLSequenceNode") else node
            component = number if volume is node and found.frames > 1 else None
            samples.setdefault(found.use, []).append((found.frame(number), place.value(volume, component)))
    values = {name: value for name, (value, _) in values_at(place, results).items()}
    makers = {
        "multi-echo GRE": _decay("R2star"),
        "multi-echo spin echo": _decay("R2"),
        SPOILED: _flips,
        BALANCED: _cycles,
    }
    made = [makers[use](use, found, values) for use, found in samples.items() if use in makers and len(found) > 1]
    return [curve for curves in made for curve in curves]


def _index(volume, ras):
    """[k, j, i] of the voxel at a point of the scene."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(matrix)
    ijk = matrix.MultiplyPoint((*ras, 1.0))[:3]
    return tuple(round(n) for n in ijk[::-1])


def _curve(title, x_title, x, y, fit_x, model):
    """A Curve whose amplitude is fitted; `model` gives the signal of amplitude 1 at given x."""
    order = np.argsort(x)
    x, y = np.asarray(x, float)[order], np.asarray(y, float)[order]
    unit = model(x)
    amplitude = float(y @ unit / (unit @ unit)) if np.isfinite(unit).all() and unit.any() else math.nan
    return Curve(title, x_title, x, y, fit_x, amplitude * model(fit_x))


def _decay(rate):
    def make(use, samples, values):
        x = [frame[TE] for frame, _ in samples]
        fit_x = np.linspace(0, max(x), POINTS)
        known = values.get(rate, math.nan)
        curve = _curve(use, "ms", x, [y for _, y in samples], fit_x, lambda t: np.exp(-known * t))
        yield _in_milliseconds(curve)

    return make


def _in_milliseconds(curve):
    return Curve(curve.title, "echo time, ms", 1000 * curve.x, curve.y, 1000 * curve.fit_x, curve.fit_y)


def _flips(use, samples, values):
    """Signal over the flip angle of the first echo: Ernst's equation with R1 and the transmit field."""
    first = min((frame.get(TE, 0.0) for frame, _ in samples), default=0.0)
    samples = [(frame, y) for frame, y in samples if frame.get(TE, 0.0) == first]
    b1, tr = _b1(values), samples[0][0][TR]
    e1 = math.exp(-values.get("R1", math.nan) * tr)
    x = [frame[FA] for frame, _ in samples]

    def model(degrees):
        angle = np.deg2rad(degrees) * b1
        return np.sin(angle) * (1 - e1) / (1 - e1 * np.cos(angle))

    if len(set(x)) > 1:
        yield _curve(
            use, "flip angle, degrees", x, [y for _, y in samples], np.linspace(1, 1.2 * max(x), POINTS), model
        )


def _cycles(use, samples, values):
    """Signal over the phase increment at each flip angle; the off-resonance that fits best is taken."""
    r1, r2, b1 = values.get("R1", math.nan), values.get("R2", math.nan), _b1(values)
    for degrees in sorted({frame[FA] for frame, _ in samples}):
        chosen = [(frame, y) for frame, y in samples if frame[FA] == degrees]
        tr, angle = chosen[0][0][TR], math.radians(degrees) * b1
        e1, e2 = math.exp(-r1 * tr), math.exp(-r2 * tr)
        x, y = np.array([frame[INCREMENT] for frame, _ in chosen]), np.array([value for _, value in chosen])

        # numba, which is there once there are maps, must not be needed to open the panel
        from ..relaxometry.bssfp_steady import steady_amplitude

        amplitude, b = steady_amplitude(e1, e2, math.sin(angle), math.cos(angle))

        def magnitude(increment, offset, amplitude=amplitude, a=e2, b=b):
            turn = np.deg2rad(increment) + offset
            return np.abs(amplitude * (1 - a * np.exp(-1j * turn)) / (1 - b * np.cos(turn)))

        offsets = np.linspace(0, 2 * np.pi, PHASES, endpoint=False)
        misfits = [_misfit(y, magnitude(x, offset)) for offset in offsets]
        best = offsets[int(np.nanargmin(misfits))] if np.isfinite(misfits).any() else 0.0
        fit_x = np.linspace(0, 360, POINTS)
        title = f"{use}, {degrees:g} degrees"
        yield _curve(title, "phase increment, degrees", x, y, fit_x, lambda t, best=best, m=magnitude: m(t, best))


def _misfit(y, unit):
    amplitude = y @ unit / (unit @ unit) if np.isfinite(unit).all() and unit.any() else math.nan
    return float(((y - amplitude * unit) ** 2).sum())


def _b1(values):
    """Transmit field as a ratio; 1 where it was not measured."""
    b1 = values.get("TB1", math.nan) / 100
    return b1 if math.isfinite(b1) and b1 > 0 else 1.0
