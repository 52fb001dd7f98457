"""Separation of paramagnetic and diamagnetic susceptibility in a voxel, by what dephases in it (R2')."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..geometry import check_same_shape
from ..parameters import Options, flag, param

REFERENCE = "Shin HG et al. 2021, NeuroImage 240:118371 (model and relaxometric constant)"
_AT = 3.0  # T at which the constants are given; static dephasing grows with the field
_CONTRADICTS = 2.0  # SDs below zero from which R2' is called contradictory


@dataclass(frozen=True)
class SeparationOptions(Options):
    """Settings of the separation of susceptibility into its paramagnetic and diamagnetic part."""

    make: bool = flag(True, "separate susceptibility where an R2 map is there too")
    paramagnetic: float = param(137.0, "1/s/ppm", 10.0, 1000.0, "R2' at 3 T of 1 ppm of paramagnetic sources")
    diamagnetic: float = param(137.0, "1/s/ppm", 10.0, 1000.0, "R2' at 3 T of 1 ppm of diamagnetic sources")


def relaxivities(options, field_strength):
    """R2' of 1 ppm of paramagnetic and of diamagnetic sources at a field strength (T), 1/s/ppm."""
    return tuple(constant * field_strength / _AT for constant in (options.paramagnetic, options.diamagnetic))


class Sources(NamedTuple):
    """Paramagnetic and diamagnetic susceptibility (ppm, 0 or more and 0 or less), their SDs, where they are valid."""

    paramagnetic: np.ndarray
    diamagnetic: np.ndarray
    paramagnetic_sd: np.ndarray
    diamagnetic_sd: np.ndarray
    valid: np.ndarray


def separate(chi, chi_sd, r2star, r2star_sd, r2, r2_sd, valid, field_strength, options=SeparationOptions()):
    """Solve chi = p + n and R2* - R2 = P p - N n for the parts p >= 0 >= n of each voxel.

    Where only one sign of p or n is allowed by the data, the other is 0 and chi is kept: p + n = chi everywhere.

    Args:
        chi, r2star, r2 and their SDs: float32 [k, j, i], ppm and 1/s; chi counts from a fluid without sources.
        valid: bool, where all three are. field_strength: T. options: SeparationOptions, P and N at 3 T.
    Returns:
        Sources; not valid where R2* is below R2 by more than two SDs, which the model cannot mean.
    Raises:
        ValueError: the shapes differ.
    Reference:
        Shin HG et al. 2021, NeuroImage 240:118371 (model; here in closed form for each voxel).
    """
    check_same_shape(chi=chi, chi_sd=chi_sd, r2star=r2star, r2star_sd=r2star_sd, r2=r2, r2_sd=r2_sd, valid=valid)
    p, n = (np.float32(constant) for constant in relaxivities(options, field_strength))
    rate, rate_sd = r2star - r2, np.hypot(r2star_sd, r2_sd)
    paramagnetic = np.maximum((np.maximum(rate, 0) + n * chi) / (p + n), np.maximum(chi, 0))
    diamagnetic = chi - paramagnetic
    valid = valid & (rate >= -_CONTRADICTS * rate_sd)
    spreads = [np.hypot(rate_sd, constant * chi_sd) / (p + n) for constant in (n, p)]
    arrays = (paramagnetic, diamagnetic, *spreads)
    return Sources(*(np.where(valid, a, 0).astype(np.float32) for a in arrays), valid)
