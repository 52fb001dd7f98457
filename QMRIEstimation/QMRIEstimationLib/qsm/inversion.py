"""Dipole inversion: which method, the grid it runs on, and the SD of what it gives."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ..fft import irfftn, padded_shape, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, choice
from .closed_form import L2Options, TikhonovOptions, TkdOptions, smooth_l2, tikhonov, tkd
from .dipole import dipole_kernel
from .tv import TvOptions, total_variation

_HEAVIEST = 3.0  # weight of a voxel over the median
_SEED = 20261125  # of the noise that is tried; the same input gives the same bits
_TRIED, _NEVER = 15, 1e-5  # iterations with noise; a tolerance that does not end them earlier
_NEIGHBOURHOOD = 2.0  # mm, SD of the Gaussian over which the response to noise is averaged


class InversionMethod(NamedTuple):
    """How a method is called in sidecars and reports."""

    title: str
    reference: str


INVERSION_METHODS = {
    "tv": InversionMethod(
        "noise-weighted total variation that spares the edges of the magnitude",
        "Bilgic B et al. 2014, Magn Reson Med 72:1444-1459; Milovic C et al. 2018, Magn Reson Med 80:814-821",
    ),
    "tikhonov": InversionMethod(
        "closed-form (Tikhonov) dipole inversion, true to scale",
        "de Rochefort L et al. 2008, Magn Reson Med 60:1003-1009; Schweser F et al. 2013, Magn Reson Med 69:1582-1594",
    ),
    "tkd": InversionMethod("truncated k-space division (TKD)", "Shmueli K et al. 2009, Magn Reson Med 62:1510-1522"),
    "l2": InversionMethod("closed form with smooth gradients", "Bilgic B et al. 2014, J Magn Reson Imaging 40:181-191"),
}


CLOSED_FORMS = {"tikhonov": tikhonov, "tkd": tkd, "l2": smooth_l2}


@dataclass(frozen=True)
class InversionOptions(Options):
    """Settings of the dipole inversion."""

    method: str = choice("tv", INVERSION_METHODS, "tv has the smallest error; the closed forms take a second")
    tv: TvOptions = TvOptions()
    tikhonov: TikhonovOptions = TikhonovOptions()
    tkd: TkdOptions = TkdOptions()
    l2: L2Options = L2Options()


@dataclass(frozen=True, eq=False)
class Inversion:
    """Susceptibility and its SD (float32 [k, j, i], ppm, 0 outside the mask; no absolute zero) and sentences."""

    chi: np.ndarray
    sd: np.ndarray
    notes: tuple = ()


def invert(field_ppm, field_sd, weight, magnitude, mask, geometry, options, progress=None, cancelled=None):
    """Inversion of a local field.

    Args:
        field_ppm, field_sd: local field over B0 and its SD, float32 [k, j, i], ppm.
        weight: reliability over the SD, float32, any unit; only `tv` looks at it.
        magnitude: float32, of the last echo, whose edges are spared. mask: bool.
        geometry: voxel size, mm, and B0 direction. options: InversionOptions.
    Returns:
        Inversion. The SD holds the noise of the field, not the bias of background removal and regularisation.
    Raises:
        ValueError: the shapes differ. InputError: the B0 direction is unknown. Cancelled.
    """
    check_same_shape(field_ppm=field_ppm, field_sd=field_sd, weight=weight, magnitude=magnitude, mask=mask)
    if options.method in CLOSED_FORMS:
        own = getattr(options, options.method)
        return Inversion(*CLOSED_FORMS[options.method](field_ppm, field_sd, mask, geometry, own))
    grid = _Grid(mask, options.tv.padding)
    data = [grid.put(a) for a in (_capped(weight, mask), magnitude, mask)]

    def solve(field, settings, start, share):
        tell = None if progress is None else lambda fraction, text: progress(start + share * fraction, text)
        return total_variation(field, *data, geometry, settings, tell, cancelled)

    solution = solve(grid.put(field_ppm), options.tv, 0.0, 0.7)
    # The response to noise depends on the place and on chi itself, so it is tried (a parametric bootstrap): on the
    # field of the solution with and without one draw of noise, for the few iterations in which noise gets its size.
    noise = field_sd * np.random.default_rng(_SEED).standard_normal(mask.shape, np.float32)
    fitted = irfftn(rfftn(solution.x) * dipole_kernel(grid.shape, geometry), grid.shape)
    short = replace(options.tv, iterations=_TRIED, tolerance=_NEVER)
    quiet, noisy = (solve(f, short, s, 0.15) for f, s in ((fitted, 0.7), (fitted + grid.put(noise), 0.85)))
    sd = _local_spread(grid.take(noisy.x - quiet.x), mask, geometry)
    notes = ()
    if not solution.converged:
        notes = (
            f"chi had not converged after {solution.iterations} iterations (relative change {solution.residual:.1e}, "
            f"asked for {options.tv.tolerance:g}); raise qsm.inversion.tv.iterations.",
        )
    return Inversion(np.where(mask, grid.take(solution.x), 0), sd, notes)


class _Grid:
    """The smallest box around a mask with room behind it, of a size that is fast to transform."""

    def __init__(self, mask, padding):
        self.box = ndimage.find_objects(mask.astype(np.uint8))[0]
        self.whole = mask.shape
        self.inner = tuple(slice(b.stop - b.start) for b in self.box)
        self.shape = padded_shape([s.stop for s in self.inner], padding)

    def put(self, array):
        """An image on the grid, 0 beyond the box."""
        there = np.zeros(self.shape, array.dtype)
        there[self.inner] = array[self.box]
        return there

    def take(self, array):
        """The image of an array on the grid, 0 beyond the box."""
        image = np.zeros(self.whole, array.dtype)
        image[self.box] = array[self.inner]
        return image


def _capped(weight, mask):
    """The weight over its median in the mask, at most _HEAVIEST, 0 outside."""
    inside = np.where(mask, weight, 0)
    typical = np.median(inside[inside > 0]) if (inside > 0).any() else 1.0
    return np.minimum(inside / np.float32(typical), np.float32(_HEAVIEST))


def _local_spread(difference, mask, geometry):
    """Root mean square of a difference over a Gaussian neighbourhood within the mask; 0 outside."""
    width = [_NEIGHBOURHOOD / h for h in geometry.voxel_size]
    squares = ndimage.gaussian_filter(np.where(mask, difference, 0) ** 2, width)
    share = ndimage.gaussian_filter(mask.astype(np.float32), width)
    return np.where(mask, np.sqrt(squares / np.where(mask, share, 1)), 0).astype(np.float32)
