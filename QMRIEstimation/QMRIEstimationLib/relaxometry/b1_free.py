"""Transmit field without a scan that measures it, from what it does to R1 of the whole brain.

R1 fitted with the nominal flip angles is R1 / f^2 for a transmit field f. A wrong field makes one tissue look like
many; the smooth field under which like tissue has like R1 is taken. No factor common to all voxels can be found in
this way: it is set by an anchor, and its SD is never below 5 %.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..errors import check_cancelled
from ..geometry import check_same_shape
from ..parameters import Options, choice, param
from .b1 import B1Fit
from .b1_n4 import n4_log_bias
from .like_neighbours import mean_of_alike
from .like_pairs import pairs_on_lattice, smooth_from_pairs, term_spreads
from .smooth_basis import SmoothBasis

EXPONENT = 2.0  # of f in R1 = R1_app f^2
TISSUE = (0.35, 3.0)  # 1/s, R1 of what may be compared; slower is fluid or partly so at any field strength
FLUID_R2STAR = 6.0  # 1/s; slower is fluid
LATTICE = 5.0  # mm between the places that are compared
SETTLED = 0.002  # change of the field (SD) between two exact fits of R1 that ends the rounds
MOST_ROUNDS = 5
FEWEST = 500  # places with R1, and voxels of the mask
PLAUSIBLE = (0.05, 10.0)  # 1/s, R1 that N4 is shown
PEAK_BIN = 0.01  # of ln R1
PEAK_WIDTH = 0.05  # of ln R1, smoothing under which a peak of the histogram is looked for
PEAK_SHARE = 0.3  # of the highest peak, that the peak of white matter has at least
WITHOUT_R2STAR = 1.5  # times the SD of the shape: R1 alone tells tissues apart less well (measured, as are the SDs)
BY_N4 = 3.0


@dataclass(frozen=True)
class InformationOptions(Options):
    """Settings of the transmit field that is estimated from R1 itself."""

    method: str = choice(
        "information",
        ("information", "n4"),
        "what finds the field where no scan measures it: like tissue near each other has like R1, or N4 on R1",
    )
    order: int = param(6, "", 1, 6, "highest order of the polynomials that the field is made of")
    slab_order: int = param(8, "", 0, 16, "highest order along the slab axis, where the excitation falls off")
    kernel: float = param(0.035, "", 0.005, 0.2, "difference of ln R1 within which two places count as one tissue")
    r2star_kernel: float = param(0.05, "", 0.01, 1.0, "difference of ln R2* within which they do")
    spread: float = param(0.1, "", 0.01, 0.5, "SD of ln b1 over a head that is expected; smaller is stiffer")
    anchor: str = choice("mean", ("mean", "white matter"), "what sets the scale: mean b1 of the brain is 1, or R1")
    white_matter_r1: float = param(1.1, "1/s", 0.3, 3.0, "R1 that the anchor `white matter` gives to white matter")
    scale_sd: float = param(0.07, "", 0.05, 0.5, "SD of the scale, as a share of b1")
    shape_sd: float = param(0.015, "", 0.001, 0.2, "SD of the shape, as a share of b1, with R2* known")


def information_b1(
    images,
    noise_sd,
    fit,
    mask,
    geometry,
    options=InformationOptions(),
    r2star=None,
    slab_axis=0,
    progress=None,
    cancelled=None,
):
    """Transmit field under which ln R1 of like tissue carries the least information.

    ln f = sum c_n P_n with mean 0, P_n Legendre products plus orders of the slab axis alone, minimises the local
    quadratic entropy of ln R1 (`like_pairs`) over places some millimetres apart: pairs up to 28 mm from each other
    count, by how like their R2* is (which f does not change), how like their corrected R1, and how uniform the tissue
    around each. R1 of a place is fitted anew with every field, from signals averaged over like neighbours.

    Args:
        images: float32 [channel, k, j, i], what R1 is fitted to. noise_sd: SD of the noise of each channel.
        fit: function of (signals float32 [channel, n], b1 float32 [n]) returning R1 [n], 1/s, 0 where it fails.
        mask: bool [k, j, i], the brain. geometry: voxel size, mm. options: InformationOptions.
        r2star: R2* (float32 [k, j, i], 1/s, 0 where unknown) and the SD of its noise (a number); None for unknown.
        slab_axis: array axis along which the slab was selected, None for no slab.
        progress, cancelled: optional callbacks.
    Returns:
        B1Fit, valid in the mask; the notes name the anchor.
    Raises:
        ValueError: shapes differ, or too few places with R1. Cancelled.
    Reference:
        Idea: Palma G et al. 2015 (field from the information content of relaxation maps). Basis, pairs and search are
        this project's own. Quadratic entropy by pairs: Principe JC 2010, Information Theoretic Learning, Springer.
    """
    rate = None if r2star is None else r2star[0]
    check_same_shape(mask=mask, image=images[0], geometry=np.empty(geometry.shape, bool), r2star=rate)
    points, pairs, signals, likeness = _places(
        images, noise_sd, _not_empty(mask), geometry, options.r2star_kernel, r2star, cancelled
    )  # fmt: skip
    basis = SmoothBasis(mask, options.order, slab_axis, options.slab_order)
    terms = basis.at(points)[:, 1:]
    middle = terms.mean(axis=0)
    terms -= middle
    spreads = term_spreads(basis.terms[1:], options.order, options.spread)

    log_b1, coefficients = np.zeros(len(terms)), np.zeros(terms.shape[1])
    for n in range(MOST_ROUNDS):
        if progress is not None:
            progress(n / MOST_ROUNDS, "flip angles from R1")
        r1 = _tissue(fit(signals, np.exp(log_b1).astype(np.float32)))
        apparent = np.where(r1 > 0, np.log(np.maximum(r1, TISSUE[0])) - EXPONENT * log_b1, 0)
        counts = likeness * ((r1[pairs[0]] > 0) & (r1[pairs[1]] > 0))
        coefficients = smooth_from_pairs(
            apparent, pairs, counts, terms, spreads, EXPONENT, options.kernel, coefficients, cancelled
        )
        before, log_b1 = log_b1, np.einsum("nk,k->n", terms, coefficients)
        settled = np.std(log_b1 - before) < SETTLED
        if settled:
            break
    b1 = np.exp(basis.on_grid(np.concatenate([[-(coefficients @ middle)], coefficients])))
    notes = [
        "The transmit field was not measured: it is the smooth field under which R1 of like tissue differs least "
        f"(local entropy of ln R1, polynomials of order {options.order}), which shows it only up to one factor."
    ]
    if not settled:
        notes.append(f"The field still moved after {MOST_ROUNDS} fits of R1; trust its shape less.")
    if rate is None:
        notes.append(
            "Nothing but R1 itself (no R2* map) told tissues apart, "
            "so part of the anatomy may have been taken for field."
        )
    r1 = fit(signals, np.exp(log_b1).astype(np.float32))
    return _anchored(b1, r1, mask, options, notes, 1.0 if rate is not None else WITHOUT_R2STAR)


def n4_b1(r1_app, mask, geometry, options=InformationOptions(), cancelled=None):
    """Transmit field from the bias field that N4 finds in R1: f = bias^(-1/2), R1 = R1_app f^2.

    Args:
        r1_app: R1 fitted with nominal flip angles, float32 [k, j, i], 1/s. mask: bool [k, j, i], the brain.
        geometry: voxel size, mm. options: anchor and SDs of InformationOptions.
    Returns:
        B1Fit, valid in the mask.
    Raises:
        ValueError: shapes differ, or too few voxels with R1. Cancelled.
    Reference:
        As in UNICORT, Weiskopf N et al. 2011, NeuroImage 54:2116-2124, with N4 for the segmentation.
    """
    check_same_shape(r1_app=r1_app, mask=mask, geometry=np.empty(geometry.shape, bool))
    usable = _not_empty(mask) & (r1_app > PLAUSIBLE[0]) & (r1_app < PLAUSIBLE[1])
    _check_number(np.count_nonzero(usable), "voxels")
    check_cancelled(cancelled)
    b1 = np.exp(-n4_log_bias(np.where(usable, r1_app, 0), usable, geometry) / EXPONENT)
    notes = [
        "The transmit field was not measured: it is the bias field that N4 found in R1, known up to one factor; "
        "part of the anatomy may have been taken for field."
    ]
    return _anchored(b1, (r1_app * b1**2)[usable], mask, options, notes, BY_N4)


def _not_empty(mask):
    if np.count_nonzero(mask) < FEWEST:
        raise ValueError(f"mask has {np.count_nonzero(mask)} voxels, a field from R1 needs {FEWEST} or more.")
    return mask


def _check_number(number, what):
    if number < FEWEST:
        raise ValueError(f"R1 is known of {number} {what} in the mask, a field from R1 needs {FEWEST} or more.")


def _places(images, noise_sd, mask, geometry, r2star_kernel, r2star, cancelled):
    """Places to compare (three index arrays), pairs of them, signals [channel, n], and how alike each pair is."""
    known = mask & np.isfinite(images).all(axis=0)
    if r2star is not None:
        known &= r2star[0] > FLUID_R2STAR
        images = np.concatenate([images, r2star[0][None]])
        noise_sd = [*noise_sd, r2star[1]]
    steps = [max(1, round(LATTICE / side)) for side in geometry.voxel_size]
    points = _lattice(known, steps)
    images = np.where(known, images, 0).astype(np.float32)
    signals, share = mean_of_alike(images, noise_sd, known, points, geometry, cancelled)
    pairs = pairs_on_lattice(points, mask.shape, steps, geometry.voxel_size)
    likeness = np.sqrt(share[pairs[0]] * share[pairs[1]])
    if r2star is not None:
        logarithm = np.log(signals[-1])
        signals = signals[:-1]
        likeness *= np.exp(-0.5 * ((logarithm[pairs[1]] - logarithm[pairs[0]]) / r2star_kernel) ** 2)
    return points, pairs, signals.astype(np.float32), likeness


def _lattice(known, steps):
    """Index arrays of the voxels of a lattice that are known."""
    lattice = np.zeros(known.shape, bool)
    lattice[tuple(slice(step // 2, None, step) for step in steps)] = True
    points = np.nonzero(lattice & known)
    _check_number(len(points[0]), "places")
    return points


def _tissue(r1):
    """R1 (float64 [n]) where it is that of tissue, 0 elsewhere."""
    r1 = np.asarray(r1, np.float64)
    usable = (r1 > TISSUE[0]) & (r1 < TISSUE[1])
    _check_number(np.count_nonzero(usable), "places")
    return np.where(usable, r1, 0)


def _anchored(b1, r1, mask, options, notes, doubt):
    """B1Fit with the scale that the anchor sets; `r1` [n] is R1 with b1, `doubt` multiplies the SD of the shape."""
    if options.anchor == "mean":
        factor = 1 / float(np.mean(b1[mask], dtype=np.float64))
        said = "The scale was set so that the mean transmit field of the brain is 1"
    else:
        peak = white_matter_peak(r1)
        factor = float(np.sqrt(options.white_matter_r1 / peak))
        said = (
            f"The scale was set so that white matter has an R1 of {options.white_matter_r1:g} 1/s (its peak lay at "
            f"{peak:.3g}), which hides any change of R1 that all of it shares"
        )
    shape_sd = doubt * options.shape_sd
    notes = [
        *notes,
        f"{said}; it is uncertain by {100 * options.scale_sd:g} %, R1 by twice that. Between regions b1 is uncertain "
        f"by another {100 * shape_sd:.2g} %.",
    ]
    b1 = np.where(mask, b1 * np.float32(factor), np.float32(0)).astype(np.float32)
    return B1Fit(b1, b1 * np.float32(shape_sd), mask.copy(), tuple(notes), options.scale_sd)


def white_matter_peak(r1):
    """R1 (1/s) of white matter: the peak of the histogram of ln R1 that lies at the highest R1.

    Args:
        r1: [n], 1/s, of the whole brain; not positive or not finite values do not count.
    """
    values = np.log(r1[np.isfinite(r1) & (r1 > 0)], dtype=np.float64)
    edges = np.arange(np.log(PLAUSIBLE[0]), np.log(PLAUSIBLE[1]) + PEAK_BIN, PEAK_BIN)
    density = gaussian_filter1d(
        np.histogram(values, edges)[0].astype(float), PEAK_WIDTH / PEAK_BIN, mode="constant"
    )  # fmt: skip
    inner = density[1:-1]
    peaks = 1 + np.flatnonzero((inner >= density[:-2]) & (inner > density[2:]) & (inner > PEAK_SHARE * density.max()))
    return float(np.exp(edges[peaks[-1]] + PEAK_BIN / 2))
