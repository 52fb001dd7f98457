"""Where the head lay in one scan relative to another: rigid registration across contrasts."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from .errors import InputError, check_cancelled
from .geometry import check_same_shape
from .io.text import write_text
from .parameters import Options, param

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS to LPS and back; ITK thinks in LPS, Slicer and NIfTI in RAS
FEWEST = 8  # voxels along an axis, below which there is nothing to smooth and little to align

_LEVELS = (6.0, 3.0, 1.0)  # mm, side of the averaged voxels, coarse to fine
_FIRST_STEP = 2.0  # mm; with relaxation 0.7 the descent comes within 0.05 mm where the usual 0.5 stops 1 mm early
_RELAXATION = 0.7
_ITERATIONS = 100  # a level ends earlier by its smallest step, 0.01 mm (the finest: 0.001 mm)
_BINS = 32
_SEED = 20261123  # of the jitter of the sample points, which keeps them off the grid of the moving image
_BRIGHTEST = 99.5  # percentile at which vessels and fat are cut, or they would take most bins of the histogram
_CONTRAST_WIDTH = 12.0  # mm; SD of the mean that intensities are compared with: wider than tissue, narrower than bands
_DARK = 0.1  # of the bright tissue, added to that mean so that noise in air stays dark
_COLLAR = 8.0  # mm of skull and scalp around the brain that take part: their edges steady the brain's


@dataclass(frozen=True)
class RegistrationOptions(Options):
    """Settings of the rigid registration."""

    samples: int = param(15000, "", 2000, 2000000, "points compared at each level and in each direction")
    largest_misfit: float = param(1.0, "mm", 0.1, 10.0, "misfit beyond which the result is refused")
    negligible: float = param(
        0.2, "", 0.0, 1.0, "displacement in the smallest voxel side below which the head counts as unmoved"
    )


@dataclass(frozen=True, eq=False)
class Registration:
    """How to find in the moving scan what lies at a place of the fixed scan.

    Attributes:
        ras_transform: 4x4 rigid, from RAS (mm) of the fixed scan to RAS of the moving scan; exactly the identity where
            the displacement is negligible.
        shift_mm: length of the displacement at the middle of the mask. rotation_deg: angle of the rotation.
        misfit: mm, root mean square over the mask of the distance between the registration and the inverse of the
            registration with the roles exchanged: the size of the error (a quarter to twice of it on the digital
            patient) without what both directions share. Infinite where none was found.
        metric: mutual information, mean of both directions, nats.
        accepted: whether the misfit is within the limit.
        problem: why it is not accepted and what to do, to follow the name of the scan; empty when it is.
        notes: sentences for the report.
    """

    ras_transform: np.ndarray
    shift_mm: float
    rotation_deg: float
    misfit: float
    metric: float
    accepted: bool
    problem: str = ""
    notes: tuple = ()

    @property
    def identity(self):
        """Whether the header positions hold, so that nothing needs to be moved."""
        return bool(np.array_equal(self.ras_transform, np.eye(4)))


def register_rigid(
    moving, moving_geometry, fixed, fixed_geometry, options=RegistrationOptions(), mask=None, progress=None,
    cancelled=None,
):  # fmt: skip
    """Rigid registration of two magnitude images of one head, of any contrast, from their header positions.

    Maximises the mutual information of Mattes by gradient descent from coarse to fine: first of the whole heads, then
    of the local contrast I / (G * I + c), which receive fields and bSSFP bands leave alone, within the mask and a
    collar. It is done in both directions; the result is half way between them. One thread each, so
    that sums never change; several may run at a time.

    Args:
        moving, fixed: float32 [k, j, i], any unit. moving_geometry, fixed_geometry: their Geometry.
        options: RegistrationOptions.
        mask: bool [k, j, i] on the fixed grid, usually the brain; None for everything.
        progress, cancelled: optional callbacks.
    Returns:
        Registration.
    Raises:
        ValueError: an array has not the shape of its geometry. Cancelled.
    Reference:
        Mattes D et al. 2003, IEEE Trans Med Imaging 22:120-128 (metric).
    """
    check_same_shape(moving=moving, moving_geometry=np.empty(moving_geometry.shape, bool))
    check_same_shape(fixed=fixed, fixed_geometry=np.empty(fixed_geometry.shape, bool), mask=mask)
    region = np.asarray(fixed > 0 if mask is None or not mask.any() else mask, bool)
    for image, name in ((moving, "this scan"), (fixed, "the scan it is registered to")):
        if min(image.shape) < FEWEST:
            return _refused(f"{name} has {min(image.shape)} slices, registration needs {FEWEST}")
        if not (np.isfinite(image) & (image > 0)).any():
            return _refused(f"{name} holds no signal")
    points = _world_points(region, fixed_geometry)
    report = progress or (lambda fraction, text: None)
    pair = _prepared(fixed, fixed_geometry), _prepared(moving, moving_geometry)
    check_cancelled(cancelled)
    near = None if mask is None else _near(region, fixed_geometry)
    centre = points.mean(0)
    try:
        forward, metric = _descend(*pair, near, centre, options, _Watch(report, cancelled, 0.1))
        back_mask = None if near is None else _resampled(near, pair[1][0], np.linalg.inv(forward))
        back_centre = (forward @ [*centre, 1])[:3]
        backward, back_metric = _descend(*pair[::-1], back_mask, back_centre, options,
                                         _Watch(report, cancelled, 0.55))  # fmt: skip
    except RuntimeError:  # ITK: the images do not overlap
        check_cancelled(cancelled)
        return _refused("the images do not overlap enough to be compared")
    return _judged(forward, np.linalg.inv(backward), (metric + back_metric) / 2, points, options,
                   min(*moving_geometry.voxel_size, *fixed_geometry.voxel_size))  # fmt: skip


def save_transform(path, registration):
    """Write a Registration as an ITK text transform that Slicer, ITK and ANTs read; whole or not at all.

    ITK's transform maps places of the fixed scan to places of the moving scan, in LPS, which is what resampling the
    moving image onto the fixed grid needs; so loaded in Slicer it carries the moving scan onto the fixed one.
    """
    matrix = LPS @ registration.ras_transform @ LPS
    numbers = " ".join(f"{value:.17g}" for value in (*matrix[:3, :3].ravel(), *matrix[:3, 3]))
    write_text(
        path,
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n",
    )


def read_transform(path):
    """4x4 from RAS of the fixed scan to RAS of the moving one, of a file that `save_transform` wrote.

    Raises:
        InputError: it is none.
    """
    try:
        transform = sitk.AffineTransform(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as a transform; run this session again.") from error
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.GetTranslation()
    return LPS @ matrix @ LPS


class _Watch:
    """Tells the progress of one direction and stops a descent that the user cancelled."""

    def __init__(self, report, cancelled, start):
        self.report, self.cancelled, self.start, self.level = report, cancelled, start, 0.0

    def at(self, level):
        """Before a level, given as a fraction of all."""
        check_cancelled(self.cancelled)
        self.level = level
        self.report(self.start + 0.45 * level, "registration")

    def follow(self, method):
        """Look at `cancelled` after every iteration of an ITK registration."""
        if self.cancelled is not None:
            method.AddCommand(sitk.sitkIterationEvent, lambda: self.cancelled() and method.StopRegistration())


def _descend(fixed, moving, near, centre, options, watch):
    """RAS transform from fixed to moving places (4x4) and the mutual information at the finest level."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter((LPS[:3, :3] @ centre).tolist())
    levels = _levels(fixed[0], moving[0])
    for number, side in enumerate(levels):
        watch.at(number / len(levels))
        finer = int(number > 0)
        reference, other = _averaged(fixed[finer], side), _averaged(moving[finer], side)
        count = reference.GetNumberOfPixels()
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)  # sums over samples depend on the number
        method.SetNumberOfWorkUnits(1)
        method.SetMetricAsMattesMutualInformation(_BINS)
        if finer and near is not None:
            inside = sitk.Resample(near, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
            method.SetMetricFixedMask(inside)
            count = max(int(sitk.GetArrayViewFromImage(inside).sum()), 1)
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(min(1.0, options.samples / count), _SEED)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=side / 6 if finer else _FIRST_STEP,
            minStep=1e-3 if number == len(levels) - 1 else 1e-2,
            numberOfIterations=_ITERATIONS,
            relaxationFactor=_RELAXATION,
            gradientMagnitudeTolerance=1e-6,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(transform, inPlace=True)
        watch.follow(method)
        method.Execute(reference, other)
        check_cancelled(watch.cancelled)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    middle = np.array(transform.GetCenter())
    matrix[:3, 3] = np.array(transform.GetTranslation()) + middle - matrix[:3, :3] @ middle
    return LPS @ matrix @ LPS, -method.GetMetricValue()


def _levels(fixed, moving):
    """Sides (mm) of the levels that differ for these images."""
    levels, seen = [], None
    for side in _LEVELS:
        factors = _factors(fixed, side), _factors(moving, side)
        if factors != seen:
            levels.append(side)
        seen = factors
    return levels


def _factors(image, side):
    """Voxels along each axis that make about `side` mm, at least four averaged voxels left."""
    pairs = zip(image.GetSpacing(), image.GetSize(), strict=True)
    return [max(1, min(round(side / spacing), size // 4)) for spacing, size in pairs]


def _averaged(image, side):
    return sitk.BinShrink(image, _factors(image, side))


def _prepared(array, geometry):
    """The image and its local contrast as ITK images."""
    array = np.where(np.isfinite(array) & (array > 0), array, 0).astype(np.float32)
    array = np.minimum(array, np.percentile(array[array > 0], _BRIGHTEST))
    image = to_itk(array, geometry)
    mean = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, _CONTRAST_WIDTH))
    contrast = array / (mean.clip(min=0) + np.float32(_DARK) * array.max())
    contrast = np.minimum(contrast, np.percentile(contrast[contrast > 0], _BRIGHTEST))
    return image, to_itk(contrast, geometry)


def to_itk(array, geometry):
    """ITK image (LPS) of a [k, j, i] array on a Geometry."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    matrix = LPS @ geometry.ijk_to_ras
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    return image


def _near(region, geometry):
    """The region and its collar, as an ITK mask."""
    distance = sitk.SignedMaurerDistanceMap(
        to_itk(region.astype(np.uint8), geometry), squaredDistance=False, useImageSpacing=True
    )
    return sitk.Cast(distance <= _COLLAR, sitk.sitkUInt8)


def _resampled(near, grid, ras_transform):
    """A mask on the grid of another scan; `ras_transform` leads from there to the mask."""
    matrix = LPS @ ras_transform @ LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return sitk.Resample(near, grid, transform, sitk.sitkNearestNeighbor)


def _world_points(region, geometry, number=2000):
    """RAS places (mm) [n, 3] spread evenly over a region."""
    places = np.argwhere(region)
    places = places[:: max(1, len(places) // number), ::-1]
    return places @ geometry.ijk_to_ras[:3, :3].T + geometry.ijk_to_ras[:3, 3]


def _judged(forward, other, metric, points, options, voxel):
    """The Registration half way between the two directions."""
    misfit = _distance(forward, other, points)
    middle = _half_way(forward, other, points.mean(0))
    shift = float(np.linalg.norm(_moved(middle, points.mean(0)) - points.mean(0)))
    rotation = float(np.rad2deg(Rotation.from_matrix(middle[:3, :3]).magnitude()))
    if misfit > options.largest_misfit:
        problem = (
            f"cannot be aligned: the registration and its reverse differ by {misfit:.2g} mm, at most "
            f"{options.largest_misfit:g} mm is trusted; check that both scans show the same head without artefact, "
            "align them by hand, or leave this scan out"
        )
        return Registration(middle, shift, rotation, misfit, metric, False, problem)
    if _distance(middle, np.eye(4), points) < options.negligible * voxel:
        return Registration(np.eye(4), 0.0, 0.0, misfit, metric, True)
    note = f"moved by {shift:.1f} mm and {rotation:.1f} degrees; aligned with a misfit of {misfit:.2f} mm"
    return Registration(middle, shift, rotation, misfit, metric, True, notes=(note,))


def _refused(reason):
    problem = f"cannot be aligned: {reason}; check the scan, or leave it out"
    return Registration(np.eye(4), 0.0, 0.0, float("inf"), 0.0, False, problem)


def _moved(transform, points):
    return points @ transform[:3, :3].T + transform[:3, 3]


def _distance(first, second, points):
    """Root mean square distance (mm) between where two transforms put the points."""
    return float(np.sqrt(((_moved(first, points) - _moved(second, points)) ** 2).sum(1).mean()))


def _half_way(first, second, centre):
    """The rigid transform with the mean rotation of two, that puts the centre half way."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_matrix([first[:3, :3], second[:3, :3]]).mean().as_matrix()
    matrix[:3, 3] = (_moved(first, centre) + _moved(second, centre)) / 2 - matrix[:3, :3] @ centre
    return matrix
