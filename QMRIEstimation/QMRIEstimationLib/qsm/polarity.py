"""Sign of the phase: what the header says, what the anatomy says, and what follows when they do not agree."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..geometry import check_same_shape
from ..parameters import Options, choice

_IRON = 97.0  # percentile of R2* above which voxels are taken for iron-rich nuclei and veins
_STRONG = 0.5  # contrast in robust SDs of chi beyond which the anatomy is believed
_SPAN = 3.0  # mm, means over cubes of this side: the nuclei are wider, the noise is not
_FEWEST = 200  # voxels in the tail below which nothing is concluded


@dataclass(frozen=True)
class PolarityOptions(Options):
    """Settings of the sign of the phase."""

    sign: str = choice(
        "auto", ("auto", "+1", "-1"), "+1: phase grows with the field; -1: falls; auto: ask header and anatomy"
    )


@dataclass(frozen=True)
class Polarity:
    """The decision.

    Attributes:
        sign: +1 or -1 as established, 0 undetermined.
        applied: +1 or -1, what the maps are made with.
        strength: contrast of iron-rich voxels in the map made with +1, in robust SDs; positive means +1.
        notes: sentences for the report.
    """

    sign: int
    applied: int
    strength: float
    notes: tuple = ()


def anatomy_strength(chi, r2star, valid, geometry):
    """How much more paramagnetic the voxels of highest R2* are than the rest, in robust SDs of chi.

    Iron-rich nuclei and veins have a high R2* and a positive chi in every adult head. The median of chi above the
    97th percentile of R2* is compared with the median of all, over 1.4826 times the median absolute deviation; both
    maps are averaged over some voxels first, or at low signal the noise alone would decide which R2* are highest.

    Args:
        chi: ppm, made with the sign +1. r2star: 1/s or anything that grows with it. Both float32 [k, j, i].
        valid: bool [k, j, i], away from the edge of the brain, where air-made dephasing looks like iron.
        geometry: voxel size, mm.
    Returns:
        float, 0 when there are too few voxels.
    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(chi=chi, r2star=r2star, valid=valid)
    usable = valid & np.isfinite(r2star)
    if usable.sum() * (1 - _IRON / 100) < _FEWEST:
        return 0.0
    span = [max(1, round(_SPAN / h)) for h in geometry.voxel_size]
    values, rates = (ndimage.uniform_filter(np.where(usable, m, 0), span)[usable] for m in (chi, r2star))
    centre = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - centre))
    tail = values[rates > np.percentile(rates, _IRON)]
    if spread == 0 or tail.size < _FEWEST:
        return 0.0
    return float((np.median(tail) - centre) / spread)


def decide(header, strength, options=PolarityOptions()):
    """The sign of the phase from the header (+1, -1 or 0 for silent), the anatomy and the user.

    The user's word is taken. Otherwise a sign is established when the anatomy is strong and the header agrees or is
    silent; else it is undetermined and the maps follow the header, or +1 where that is silent.

    Returns:
        Polarity.
    """
    if options.sign != "auto":
        forced = int(options.sign)
        return Polarity(forced, forced, strength, (f"the sign of the phase was set to {forced:+d} by the user.",))
    anatomy = int(np.sign(strength)) if abs(strength) >= _STRONG else 0
    seen = f"contrast of iron-rich voxels {strength:+.2f} robust SDs"
    if anatomy and header in (0, anatomy):
        by = "header and anatomy" if header else "the anatomy alone, the header is silent"
        return Polarity(anatomy, anatomy, strength, (f"the sign of the phase is {anatomy:+d} by {by} ({seen}).",))
    applied = header or 1
    why = "the anatomy is too weak" if not anatomy else f"the header says {header:+d} but the anatomy {anatomy:+d}"
    note = (
        f"the sign of the phase is undetermined: {why} ({seen}); chi was made with {applied:+d}, "
        "set qsm.polarity.sign to +1 or -1 when you know it."
    )
    return Polarity(0, applied, strength, (note,))
