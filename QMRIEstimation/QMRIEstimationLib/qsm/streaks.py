"""Streak index: how much of chi lies near the magic-angle cone of k-space, beside what lies elsewhere."""

import numpy as np

from ..fft import frequencies, padded_shape, rfftn
from .dipole import dipole_kernel

_CONE, _WELL_KNOWN = 0.08, (0.35, 0.6)  # |D| (Milovic 2021)
_SHELL = 0.02  # cycles/mm, width of the shells of |k| that are compared
_WITHIN = 0.9  # of the Nyquist frequency of the coarsest axis


def streak_index(chi, geometry):
    """Root mean square over shells of |k| of the amplitude of chi in the cone over that where the dipole is strong.

    1: as much in the cone as elsewhere. Above, streaks or noise along the cone; below, the cone was left empty. Anatomy
    is not isotropic, so a map without streaks is near 1, not at it.

    Args:
        chi: float32 [k, j, i], 0 outside the brain. geometry: voxel size, mm, and B0 direction.
    Returns:
        float, nan where chi is 0 everywhere.
    Raises:
        InputError: the B0 direction is unknown.
    Reference:
        Milovic C et al. 2021, Magn Reson Med 85:480-494 (amplitudes of chi by ranges of the dipole kernel).
    """
    if not chi.any():
        return float("nan")
    shape = padded_shape(chi.shape)
    power = np.abs(rfftn(chi, shape)) ** 2
    dipole = np.abs(dipole_kernel(shape, geometry))
    radius = np.sqrt(sum(axis.astype(np.float32) ** 2 for axis in frequencies(shape, geometry.voxel_size)))
    shells = int(_WITHIN * 0.5 / max(geometry.voxel_size) / _SHELL)
    shell = np.minimum(radius / _SHELL, shells).astype(np.int32)

    def mean_power(region):
        weights = power[region]
        total = np.bincount(shell[region], weights, shells + 1)
        number = np.bincount(shell[region], minlength=shells + 1)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)[1:shells]

    ratio = mean_power(dipole < _CONE) / mean_power((dipole > _WELL_KNOWN[0]) & (dipole < _WELL_KNOWN[1]))
    known = ratio[np.isfinite(ratio)]
    return float(np.sqrt(np.mean(known))) if known.size else float("nan")
