"""Transmit field without a scan that measures it, from what it does to R1 of the whole brain.

R1 fitted with the nominal flip angles is R1 / f^2 for a transmit field f. A wrong field smears the few values that
tissue has; the smooth field that makes the histogram of R1 sharpest is taken. No factor common to all voxels can be
found in this way: it is set by an anchor, and its SD is never below 5 %.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from ..errors import check_cancelled
from ..geometry import check_same_shape
from ..parameters import Options, choice, param
from .b1 import B1Fit
from .smooth_basis import SmoothBasis

EXPONENT = 2.0  # of f in R1 = R1_app f^2
RANGE = (np.log(0.05), np.log(10.0))  # of ln R1 in the histogram; what the field could move out of it is not used
BIN = 0.01  # of ln R1
COARSE = 4.0  # first width of the histogram's kernel over the final one: keeps off local minima
MOST_VOXELS = 40_000  # drawn evenly from the mask
LARGEST_COEFFICIENT = 0.5  # of ln f
ITERATIONS = 120
SETTLED = 0.002  # change of the field (SD) between two exact fits of R1 that ends the rounds
MOST_ROUNDS = 4
NEIGHBOURS = 81  # voxels over which ln R1 is averaged, those unlike the guide not counting
GUIDE_WIDTH = 1.5  # noise SDs of the guide within which neighbours count as the same tissue
EMPTY = 1e-9  # probability that a bin has at least, for the logarithm
MODE_WIDTH = 0.05  # of ln R1, smoothing under which a peak of the histogram is looked for
MODE_SHARE = 0.3  # of the highest peak, that the peak of white matter has at least
N4_SPACING = 5.0  # mm, grid on which N4 works
N4_ITERATIONS = (50, 50, 30)
N4_KNOTS_APART = 60.0  # mm
FEWEST_VOXELS = 500
ANATOMY = 3.0  # times the SD of the shape without classes: mixed voxels and noise let anatomy pass for field


@dataclass(frozen=True)
class InformationOptions(Options):
    """Settings of the transmit field that is estimated from R1 itself."""

    order: int = param(4, "", 1, 6, "highest order of the polynomials that the field is made of")
    slab_order: int = param(8, "", 0, 16, "highest order along the slab axis, where the excitation falls off")
    kernel: float = param(0.025, "", 0.005, 0.2, "width of the histogram's kernel, of ln R1")
    ridge: float = param(0.05, "", 0.0, 10.0, "weight of the squared ln b1 beside the entropy")
    anchor: str = choice("mean", ("mean", "white matter"), "what sets the scale: mean b1 of the brain is 1, or R1")
    white_matter_r1: float = param(1.1, "1/s", 0.3, 3.0, "R1 that the anchor `white matter` gives to white matter")
    scale_sd: float = param(0.07, "", 0.05, 0.5, "SD of the scale, as a share of b1")
    shape_sd: float = param(0.015, "", 0.001, 0.2, "SD of the shape, as a share of b1, with classes")


def information_b1(
    r1_app,
    mask,
    geometry,
    options=InformationOptions(),
    refit=None,
    guide=None,
    classes=None,
    slab_axis=0,
    progress=None,
    cancelled=None,
):
    """Transmit field that makes ln R1 of the brain carry the least information (entropy).

    ln f = sum c_n P_n with mean 0, P_n Legendre products plus orders of the slab axis alone, minimises
    H(ln R1_app + 2 ln f) + ridge <(ln f)^2>, H the entropy of a smoothed histogram. R1 is then fitted anew with the
    field and the search goes on from there, until the field rests.

    Args:
        r1_app: R1 fitted with nominal flip angles, float32 [k, j, i], 1/s.
        mask: bool [k, j, i], the brain.
        geometry: voxel size, mm. options: InformationOptions.
        refit: function of b1 (float32 [k, j, i]) returning R1 with it, 1/s; None when R1 = R1_app b1^2 is exact enough.
        guide: image of good contrast (the spoiled gradient echo of the largest angle), float32 [k, j, i], and its noise
            SD; ln R1 is averaged over neighbours that the guide does not tell apart, which noise of R1 beyond some 5 %
            makes necessary. None for no averaging.
        classes: int [k, j, i], tissue or any other grouping that the field does not change (`quantile_classes` of
            R2*); the entropy is then that within the classes. None for one class: the shape is then much less sure
            where many voxels hold two tissues.
        slab_axis: array axis along which the slab was selected, None for no slab.
        progress, cancelled: optional callbacks.
    Returns:
        B1Fit, valid in the mask; the notes name the anchor.
    Raises:
        ValueError: shapes differ, or too few voxels with R1. Cancelled.
    Reference:
        Idea: Palma G et al. 2015 (field from the information content of relaxation maps). The basis, the entropy and
        the search are this project's own. Entropy for bias fields: Mangin JF 2000, IEEE MMBIA 162-169.
    """
    check_same_shape(
        r1_app=r1_app, mask=mask, geometry=np.empty(geometry.shape, bool), guide=guide and guide[0], classes=classes
    )
    basis = SmoothBasis(_not_empty(mask), options.order, slab_axis, options.slab_order)
    voxels = _drawn(r1_app, mask)
    terms = np.ascontiguousarray(basis.at(voxels)[:, 1:].T)
    middle = terms.mean(axis=1)
    terms -= middle[:, None]
    groups = _groups(None if classes is None else classes[voxels])

    def field(coefficients):
        return np.exp(basis.on_grid(np.concatenate([[-(coefficients @ middle)], coefficients])))

    r1, b1, coefficients = r1_app, np.float32(1), np.zeros(len(terms))
    rounds = 1 if refit is None else MOST_ROUNDS
    settled = False
    for n in range(rounds):
        start = EXPONENT * np.einsum("kn,k->n", terms, coefficients)
        apparent = _logarithm(r1, voxels, guide, geometry) - start
        search = _Search(apparent, terms, groups, options.ridge, cancelled)
        before = coefficients
        for width in (COARSE * options.kernel, options.kernel) if n == 0 else (options.kernel,):
            if progress is not None:
                progress(n / rounds, "flip angles from R1")
            coefficients = search.minimum(coefficients, width)
        settled = np.std(np.einsum("kn,k->n", terms, coefficients - before)) < SETTLED
        b1 = field(coefficients)
        if refit is None or settled:
            break
        r1 = refit(np.where(mask, b1, np.float32(1)))
    notes = [
        "The transmit field was not measured: it is the smooth field that makes the histogram of R1 sharpest "
        f"(entropy, polynomials of order {options.order}), which shows it only up to one factor."
    ]
    if not (settled or refit is None):
        notes.append(f"The field still moved after {rounds} fits of R1; trust its shape less.")
    corrected = r1_app * b1**2 if refit is None else refit(np.where(mask, b1, np.float32(1)))
    if classes is None:
        notes.append(
            "Nothing but R1 itself (no R2* map) told tissues apart, "
            "so part of the anatomy may have been taken for field."
        )
    return _anchored(b1, corrected, mask, options, notes, 1.0 if classes is not None else ANATOMY)


def n4_b1(r1_app, mask, geometry, options=InformationOptions(), cancelled=None):
    """Transmit field from the bias field that N4 finds in R1: f = bias^(-1/2), R1 = R1_app f^2.

    Args:
        r1_app: R1 fitted with nominal flip angles, float32 [k, j, i], 1/s. mask: bool [k, j, i], the brain.
        geometry: voxel size, mm. options: anchor and SDs of InformationOptions.
    Returns:
        B1Fit, valid in the mask. The bits do not depend on the number of threads: N4 runs on one.
    Raises:
        ValueError: shapes differ, or too few voxels with R1. Cancelled.
    Reference:
        Tustison NJ et al. 2010, IEEE Trans Med Imaging 29:1310-1320; as in UNICORT, Weiskopf N et al. 2011,
        NeuroImage 54:2116-2124.
    """
    check_same_shape(r1_app=r1_app, mask=mask, geometry=np.empty(geometry.shape, bool))
    _drawn(r1_app, mask)
    check_cancelled(cancelled)
    usable = mask & (r1_app > np.exp(RANGE[0])) & (r1_app < np.exp(RANGE[1]))
    bias = _n4_log_bias(np.where(usable, r1_app, 0), usable, geometry)
    b1 = np.exp(-bias / EXPONENT)
    notes = ["The transmit field was not measured: it is the bias field that N4 found in R1, known up to one factor."]
    return _anchored(b1, r1_app * b1**2, mask, options, notes, ANATOMY)


class _Search:
    """Entropy and its gradient over the coefficients of the field."""

    def __init__(self, apparent, terms, groups, ridge, cancelled):
        self.apparent, self.terms, self.groups = apparent, terms, groups
        self.ridge, self.cancelled = ridge, cancelled

    def minimum(self, coefficients, width):
        """Coefficients of the least cost, from those given, for a kernel of `width` (of ln R1)."""
        bounds = [(-LARGEST_COEFFICIENT, LARGEST_COEFFICIENT)] * len(coefficients)
        settings = {"maxiter": ITERATIONS, "ftol": 1e-8, "gtol": 1e-6}
        return minimize(self._cost, coefficients, (width,), "L-BFGS-B", jac=True, bounds=bounds, options=settings).x

    def _cost(self, coefficients, width):
        check_cancelled(self.cancelled)
        log_b1 = np.einsum("kn,k->n", self.terms, coefficients)
        entropy, slope = _entropy(self.apparent + EXPONENT * log_b1, self.groups, width / BIN)
        count = len(log_b1)
        slope = EXPONENT * slope + 2 * self.ridge / count * log_b1
        return entropy + self.ridge * np.sum(log_b1**2) / count, np.einsum("kn,n->k", self.terms, slope)


def _entropy(values, groups, width):
    """Entropy of the histogram of ln R1 within the groups, smoothed by a Gaussian of `width` bins, and its slopes."""
    bins = int(np.ceil((RANGE[1] - RANGE[0]) / BIN)) + 2
    place = ((values - RANGE[0]) / BIN).clip(0, bins - 2)
    low = np.minimum(place.astype(np.intp), bins - 2)
    share = place - low
    entropy, slopes = 0.0, np.empty(len(values))
    for group in groups:
        left, right = low[group], share[group]
        count = len(left)
        histogram = np.bincount(left, 1 - right, bins) + np.bincount(left + 1, right, bins)
        density = _smoothed(histogram / count, width) + EMPTY
        logarithm = np.log(density)
        entropy -= count / len(values) * np.sum(density * logarithm)
        descent = _smoothed(1 + logarithm, width)
        slopes[group] = (descent[left] - descent[left + 1]) / (BIN * len(values))
    return entropy, slopes


def _smoothed(histogram, width):
    return gaussian_filter1d(histogram, width, mode="constant")


def _groups(classes):
    """Index of the voxels of each class."""
    return [slice(None)] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]


def _not_empty(mask):
    if np.count_nonzero(mask) < FEWEST_VOXELS:
        raise ValueError(f"mask has {np.count_nonzero(mask)} voxels, a field from R1 needs {FEWEST_VOXELS} or more.")
    return mask


def _drawn(r1, mask):
    """Indices of voxels spread evenly over those of the mask that have an R1."""
    usable = mask & np.isfinite(r1) & (r1 > np.exp(RANGE[0] + 0.5)) & (r1 < np.exp(RANGE[1] - 0.5))
    voxels = np.nonzero(usable)
    if len(voxels[0]) < FEWEST_VOXELS:
        raise ValueError(
            f"r1_app has {len(voxels[0])} usable voxels in the mask, a field from R1 needs {FEWEST_VOXELS} or more."
        )
    chosen = np.linspace(0, len(voxels[0]) - 1, min(len(voxels[0]), MOST_VOXELS)).astype(np.intp)
    return tuple(index[chosen] for index in voxels)


def _logarithm(r1, voxels, guide, geometry):
    """ln R1 at voxels, averaged over the neighbours of like `guide`; float64 [n]."""
    usable = np.isfinite(r1) & (r1 > np.exp(RANGE[0])) & (r1 < np.exp(RANGE[1]))
    logarithm = np.log(np.where(usable, r1, 1))
    if guide is None:
        return np.where(usable[voxels], logarithm[voxels], RANGE[0]).astype(np.float64)
    image, noise_sd = guide
    own = image[voxels]
    total, weights = np.zeros(len(own)), np.zeros(len(own))
    for offset in _neighbours(geometry.voxel_size):
        place = tuple((v + d).clip(0, n - 1) for v, d, n in zip(voxels, offset, r1.shape, strict=True))
        weight = usable[place] * np.exp(-0.5 * ((image[place] - own) / (GUIDE_WIDTH * noise_sd)) ** 2)
        total += weight * logarithm[place]
        weights += weight
    return np.where(weights > 0, total / np.maximum(weights, EMPTY), RANGE[0])


def _neighbours(voxel_size):
    """Offsets (k, j, i) of the voxels nearest to one, itself included."""
    reach = np.arange(-3, 4)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), -1).reshape(-1, 3)
    distance = np.round(np.sum((offsets * voxel_size) ** 2, axis=1), 6)
    return offsets[np.argsort(distance, kind="stable")[:NEIGHBOURS]]


def quantile_classes(values, mask, count=6):
    """Classes of equal size by the value of a map in the mask, int8 [k, j, i].

    R2* does not depend on the transmit field, so its classes keep anatomy from being taken for field.
    """
    inside = mask & np.isfinite(values)
    limits = np.quantile(values[inside], np.arange(1, count) / count)
    return np.digitize(np.nan_to_num(values), limits).astype(np.int8)


def _anchored(b1, r1, mask, options, notes, doubt):
    """B1Fit with the scale that the anchor sets; `r1` is R1 with b1, `doubt` multiplies the SD of the shape."""
    if options.anchor == "mean":
        factor = 1 / float(np.mean(b1[mask], dtype=np.float64))
        said = "The scale was set so that the mean transmit field of the brain is 1"
    else:
        peak = white_matter_peak(r1[mask])
        factor = float(np.sqrt(options.white_matter_r1 / peak))
        said = (
            f"The scale was set so that white matter has an R1 of {options.white_matter_r1:g} 1/s (its peak lay at "
            f"{peak:.3g}), which hides any change of R1 that all of it shares"
        )
    notes = [*notes, f"{said}; it is uncertain by {100 * options.scale_sd:g} %, R1 by twice that."]
    b1 = np.where(mask, b1 * np.float32(factor), np.float32(0)).astype(np.float32)
    return B1Fit(b1, b1 * np.float32(doubt * options.shape_sd), mask.copy(), tuple(notes), options.scale_sd)


def white_matter_peak(r1):
    """R1 (1/s) of white matter: the peak of the histogram of ln R1 that lies at the highest R1.

    Args:
        r1: [n], 1/s, of the whole brain; not positive or not finite values do not count.
    """
    values = np.log(r1[np.isfinite(r1) & (r1 > 0)], dtype=np.float64)
    edges = np.arange(RANGE[0], RANGE[1] + BIN, BIN)
    density = _smoothed(np.histogram(values, edges)[0].astype(float), MODE_WIDTH / BIN)
    inner = density[1:-1]
    peaks = 1 + np.flatnonzero((inner >= density[:-2]) & (inner > density[2:]) & (inner > MODE_SHARE * density.max()))
    return float(np.exp(edges[peaks[-1]] + BIN / 2))


def _n4_log_bias(image, mask, geometry):
    """Logarithm of the bias field by N4, float32 [k, j, i], mean 0 in the mask."""
    threads = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        full, inside = (SimpleITK.GetImageFromArray(a) for a in (image.astype(np.float32), mask.astype(np.uint8)))
        for each in (full, inside):
            each.SetSpacing(geometry.voxel_size[::-1])
        shrink = [max(1, round(N4_SPACING / side)) for side in full.GetSpacing()]
        n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations(N4_ITERATIONS)
        extent = [side * n for side, n in zip(full.GetSpacing(), full.GetSize(), strict=True)]
        n4.SetNumberOfControlPoints([3 + max(1, round(length / N4_KNOTS_APART)) for length in extent])
        n4.Execute(SimpleITK.Shrink(full, shrink), SimpleITK.Shrink(inside, shrink))
        bias = SimpleITK.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full))
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    return bias - np.float32(np.mean(bias[mask], dtype=np.float64))
