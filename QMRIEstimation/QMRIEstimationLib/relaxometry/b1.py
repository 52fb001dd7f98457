"""Transmit field (flip angle over its nominal value) from the scans that measure it."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from ..errors import InputError
from ..geometry import check_same_shape
from ..parameters import Options, flag, param
from .afi_spoiling import ideal_cosine, true_angle

ABOVE_FLOOR = 3.0  # noise SDs that both images must exceed
LARGEST_SD = 0.25  # of the ratio; a voxel known less well than the field varies over a head says nothing
SAME_TR = 1.01  # ratio of repetition times, or of half the larger to the smaller flip angle, that counts as equal
# Of the upper quartile of R1 and of R2, which are those of white matter at any field strength; slower is partly fluid.
# Its coherences no spoiling model follows, and tissue mixed with a fifth of fluid reads a field 1 % too high.
SLOWEST_TISSUE = 0.6
R2_PER_R1 = 5.0  # slope from gray (R1 0.65, R2 10.8 1/s) to white matter (1.1, 13) at 3 T
USUAL_DEPHASING = 120.0  # rad/mm: 450 mT/m ms, which Yarnykh VL 2010, Magn Reson Med 63:1610 advises for AFI
DIFFUSIVITY = 0.8e-3  # mm^2/s, of brain tissue
TINY = 1e-6  # 1/s; where the rates are said to be 0 they have no SD
STEP = 1e-3  # relative change of R1, R2 and the ratio in numerical derivatives


@dataclass(frozen=True)
class B1Options(Options):
    """Settings of transmit-field scans."""

    r1: float = param(0.85, "1/s", 0.0, 5.0, "R1 where no R1 map is known yet; 0 for the textbook formula of AFI")
    r1_sd: float = param(0.25, "1/s", 0.0, 2.0, "spread of R1 between tissues where no R1 map is known yet")
    r2: float = param(12.0, "1/s", 1.0, 100.0, "R2 of tissue with the R1 above, where no R2 map is known yet")
    r2_sd: float = param(1.5, "1/s", 0.0, 20.0, "spread of R2 between tissues where no R2 map is known yet")
    spoiling: bool = flag(True, "correct AFI for imperfect RF spoiling when the increment is known")
    saturated: bool = flag(False, "the double-angle scan destroys all magnetisation after each reading")
    smoothing: float = param(8.0, "mm", 0.0, 30.0, "full width at half maximum of the smoothing of a measured field")
    vendor_sd: float = param(0.03, "", 0.001, 0.25, "SD of a ready transmit-field map, as a ratio")


@dataclass(frozen=True, eq=False)
class B1Fit:
    """A transmit field.

    Attributes:
        b1: float32 [k, j, i], ratio of the true to the nominal flip angle, 0 where not valid.
        sd: float32 [k, j, i], SD of each voxel by itself (typical of its neighbourhood), which smoothing lowers.
        valid: bool [k, j, i].
        notes: what was assumed, corrected or is doubtful, one sentence each.
        scale_sd: SD that all voxels share, as a share of b1, not part of `sd`; no smoothing lowers it.
    """

    b1: np.ndarray
    sd: np.ndarray
    valid: np.ndarray
    notes: tuple = ()
    scale_sd: float = 0.0

    @property
    def total_sd(self):
        """SD with the share that all voxels have in common, float32 [k, j, i]."""
        return np.hypot(self.sd, np.float32(self.scale_sd) * self.b1)


def afi_b1(
    first,
    second,
    flip_angle,
    repetition_times,
    noise_sd,
    mask,
    options=B1Options(),
    r1=None,
    r1_sd=None,
    r2=None,
    spoiling_increment=None,
    dephasing=None,
):
    """Transmit field from actual flip angle imaging (AFI), for finite repetition times and imperfect spoiling.

    r = S2/S1 = (1 - E1 + (1 - E2) E1 cos a) / (1 - E2 + (1 - E1) E2 cos a), solved for the angle a; the textbook
    formula is its limit for short repetitions. The angle is then taken from ideal to real spoiling by EPG. Without
    maps of R1 and R2 both are done for usual tissue, whose spread is `scale_sd`: call again once R1 is known.

    Args:
        first, second: magnitudes, float32 [k, j, i], in any order.
        flip_angle: nominal, rad.
        repetition_times: of `first` and of `second`, s; they decide which image is which.
        noise_sd: Gaussian noise SD of one channel, unit of the images.
        mask: bool [k, j, i], where to compute.
        options: B1Options.
        r1, r1_sd: map and its SD, 1/s, 0 where unknown, or None. r2: map, 1/s, 0 where unknown, or None.
        spoiling_increment: of the RF phase, rad; None when unknown: ideal spoiling is assumed.
        dephasing: by the gradients of one repetition, rad/mm; None when unknown: USUAL_DEPHASING.
    Returns:
        B1Fit.
    Raises:
        ValueError: shapes differ, or equal or impossible numbers. InputError: the images contradict their
            repetition times.
    Reference:
        Yarnykh VL 2007, Magn Reson Med 57:192-200; Nehrke K 2009, Magn Reson Med 61:84-92.
    """
    check_same_shape(first=first, second=second, mask=mask, r1=r1, r1_sd=r1_sd, r2=r2)
    _check_numbers(flip_angle, noise_sd, repetition_times)
    if max(repetition_times) < SAME_TR * min(repetition_times):
        shown = " and ".join(f"{tr:g}" for tr in repetition_times)
        raise ValueError(f"repetition_times are {shown} s, expected two that differ.")
    if repetition_times[0] > repetition_times[1]:
        first, second, repetition_times = second, first, repetition_times[::-1]
    repetition_times = tuple(float(tr) for tr in repetition_times)
    inside = _signal(first, second, noise_sd, mask)
    s1, s2 = first[inside].astype(np.float64), second[inside].astype(np.float64)
    ratio = _mean_ratio(s1, s2, noise_sd)
    if ratio.size and np.mean(ratio > 1) > 0.5:
        raise InputError(
            f"the AFI image with the longer repetition time ({repetition_times[1]:g} s) is the brighter one in "
            f"{100 * np.mean(ratio > 1):.0f} % of the voxels, which no flip angle gives; exchange "
            "RepetitionTimeExcitation of the two images, or leave them out."
        )
    rate1 = _rate(r1, r1_sd, inside, options.r1, options.r1_sd)
    usual_r2 = options.r2 + R2_PER_R1 * (rate1[0] - options.r1)
    rates = rate1, _rate(r2, None, inside, usual_r2, options.r2_sd)
    increment = spoiling_increment if options.spoiling else None
    diffusion = DIFFUSIVITY * (USUAL_DEPHASING if dephasing is None else dephasing) ** 2

    def angle(ratio, r1, r2):
        cosine = ideal_cosine(ratio, r1, repetition_times)
        ideal = np.arccos(np.where(np.abs(cosine) < 1, cosine, np.nan))
        return ideal if increment is None else true_angle(ideal, r1, r2, repetition_times, increment, diffusion)

    ratio_sd = noise_sd / s1 * np.sqrt(1 + ratio**2)
    found, (noise, *model) = _with_sds(angle, ((ratio, ratio_sd), *rates))
    found -= _of_noise(angle, found, ratio, ratio_sd, *(rate for rate, _ in rates))
    fluid = np.zeros(len(ratio), bool)
    if increment is not None and r1 is not None:
        for rate in (r1, r2):
            fluid |= False if rate is None else _slow(np.asarray(rate)[inside])
    notes = _afi_notes(found, ratio, rate1[0], repetition_times, (increment, dephasing), r1 is None)
    found[fluid] = np.nan
    return _fit(inside, found / flip_angle, noise / flip_angle, mask, notes, _common(found, model))


def double_angle_b1(
    first, second, flip_angles, noise_sd, mask, options=B1Options(), repetition_time=None, r1=None, r1_sd=None
):
    """Transmit field from two flip angles of which one is twice the other (double angle method).

    cos a = S(2a) / (2 S(a)) when the magnetisation starts from the same value: TR of 5 T1 or more, or saturation. For
    a shorter TR the steady state of a spoiled gradient echo is solved, r = 2 c (1 - E c) / (1 - E (2 c^2 - 1)).

    Args:
        first, second: magnitudes, float32 [k, j, i]. flip_angles: of `first` and of `second`, nominal, rad.
        noise_sd, mask, options, r1, r1_sd: as in `afi_b1`.
        repetition_time: s, or None for one that is long enough.
    Returns:
        B1Fit; true angles above 90 degrees read as their mirror image below, which the notes say where it can happen.
    Raises:
        ValueError: shapes differ, or the angles are not in the ratio 1:2 or impossible.
    Reference:
        Insko EK, Bolinger L 1993, J Magn Reson A 103:82-85.
    """
    check_same_shape(first=first, second=second, mask=mask, r1=r1, r1_sd=r1_sd)
    _check_numbers(min(flip_angles), noise_sd, (repetition_time or 1.0,))
    if flip_angles[0] > flip_angles[1]:
        first, second, flip_angles = second, first, flip_angles[::-1]
    if not 1 / SAME_TR < flip_angles[1] / (2 * flip_angles[0]) < SAME_TR:
        shown = " and ".join(f"{np.rad2deg(a):g}" for a in flip_angles)
        raise ValueError(f"flip_angles are {shown} degrees, expected one to be twice the other.")
    inside = _signal(first, second, noise_sd, mask)
    s1, s2 = first[inside].astype(np.float64), second[inside].astype(np.float64)
    ratio = _mean_ratio(s1, s2, noise_sd)
    rate = _rate(r1, r1_sd, inside, options.r1, options.r1_sd)
    recovering = repetition_time is not None and not options.saturated

    def angle(ratio, r1):
        e = np.exp(-r1 * repetition_time) if recovering else 0.0
        root = 1 - 2 * e * (1 - ratio) * ratio * (1 + e)
        cosine = ratio * (1 + e) / (1 + np.sqrt(np.where(root >= 0, root, np.nan)))
        return np.arccos(np.where(cosine < 1, cosine, np.nan))

    ratio_sd = noise_sd / s1 * np.sqrt(1 + ratio**2)
    found, (noise, *model) = _with_sds(angle, ((ratio, ratio_sd), rate))
    found -= _of_noise(angle, found, ratio, ratio_sd, rate[0])
    notes = []
    if recovering and np.median(rate[0]) * repetition_time < 5:
        notes.append(
            f"The double-angle scan has a TR of {repetition_time:g} s, less than 5 T1, so the steady state of a "
            "spoiled gradient echo was taken; set saturated if it saturates after each reading."
        )
    limit = np.pi / 2 / flip_angles[0]
    if limit < 1.6:
        notes.append(
            "A double-angle scan of magnitudes cannot tell angles above 90 degrees from those below: "
            f"a transmit field above {limit:.2f} of nominal reads as too low."
        )
    return _fit(inside, found / flip_angles[0], noise / flip_angles[0], mask, notes, _common(found, model))


def bloch_siegert_b1(phase_plus, phase_minus, magnitude, sensitivity, nominal_b1, noise_sd, mask, polarity=0):
    """Transmit field from the Bloch-Siegert shift of two scans with the pulse above and below resonance.

    phase_plus - phase_minus = 2 K B1^2.

    Args:
        phase_plus, phase_minus: rad, float32 [k, j, i], wrapped. magnitude: of either, same shape.
        sensitivity: K, rad/T^2, positive. nominal_b1: peak of the pulse, T.
        noise_sd: Gaussian noise SD of one channel, unit of `magnitude`. mask: bool [k, j, i].
        polarity: +1 when the difference of the phases is positive where there is a field, -1 for negative, 0 to take
            the sign that most of the signal has. Differences are unwrapped up to 1.5 pi.
    Returns:
        B1Fit; a voxel whose difference has the wrong sign is not valid.
    Raises:
        ValueError: shapes differ or impossible numbers.
    Reference:
        Sacolick LI et al. 2010, Magn Reson Med 63:1315-1322.
    """
    check_same_shape(phase_plus=phase_plus, phase_minus=phase_minus, magnitude=magnitude, mask=mask)
    for name, value in (("sensitivity", sensitivity), ("nominal_b1", nominal_b1), ("noise_sd", noise_sd)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value:g}, expected a positive number.")
    inside = _signal(magnitude, magnitude, noise_sd, mask) & np.isfinite(phase_plus) & np.isfinite(phase_minus)
    strength = magnitude[inside].astype(np.float64)
    difference = phase_plus[inside].astype(np.float64) - phase_minus[inside]
    notes = []
    if polarity == 0:
        polarity = 1 if np.sum(strength * np.sin(difference)) >= 0 else -1
        notes.append(f"The sign of the Bloch-Siegert phase ({polarity:+d}) was taken from the images.")
    difference = np.mod(polarity * difference + np.pi / 2, 2 * np.pi) - np.pi / 2  # no shift is below zero but by noise
    b1 = np.sqrt(np.where(difference > 0, difference, np.nan) / (2 * sensitivity)) / nominal_b1
    sd = b1 * np.sqrt(2) * noise_sd / strength / (2 * difference)
    return _fit(inside, b1, sd, mask, notes)


def vendor_b1(ratio, mask, options=B1Options()):
    """Transmit field from a ready map, float32 [k, j, i], ratio to nominal; 0 and what is not finite is not valid.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(ratio=ratio, mask=mask)
    inside = mask & np.isfinite(ratio) & (ratio > 0)
    values = ratio[inside].astype(np.float64)
    notes = [f"The SD of the ready transmit-field map was taken as {100 * options.vendor_sd:g} % of nominal."]
    return _fit(inside, values, np.full(len(values), options.vendor_sd), mask, notes)


def _check_numbers(flip_angle, noise_sd, repetition_times):
    if not 0 < flip_angle < np.pi:
        raise ValueError(f"flip_angle is {flip_angle:g}, expected a number between 0 and pi (radians).")
    if not (np.isfinite(noise_sd) and noise_sd > 0):
        raise ValueError(f"noise_sd is {noise_sd:g}, expected a positive number in the unit of the image.")
    if not all(np.isfinite(tr) and tr > 0 for tr in repetition_times):
        shown = ", ".join(f"{tr:g}" for tr in repetition_times)
        raise ValueError(f"repetition times are {shown}, expected positive numbers in seconds.")


def _signal(first, second, noise_sd, mask):
    """Where both images are finite and stand out of the noise."""
    floor = ABOVE_FLOOR * noise_sd
    return mask & (first > floor) & (second > floor) & (first < np.inf) & (second < np.inf)


def _mean_ratio(first, second, noise_sd):
    """second / first of magnitudes less what noise adds to it in the mean, to second order.

    A magnitude S grows by s^2 / (2 S) (Rician), the inverse of the first by its variance too.
    """
    return second / first * (1 - noise_sd**2 / 2 * (1 / first**2 + 1 / second**2))


def _of_noise(function, value, ratio, ratio_sd, *others):
    """What noise of the ratio adds to the mean of a curved function of it, to fourth order; 0 at the end of its range.

    With a step of one SD and the second difference D, the mean of value - D/2 + D(D)/6 is that without noise. At a
    signal of 12 noise SDs AFI came out 0.5 % low without it, R1 1 %.
    """
    with np.errstate(invalid="ignore"):
        far, near = (function(ratio + n * ratio_sd, *others) + function(ratio - n * ratio_sd, *others) for n in (2, 1))
    return np.nan_to_num((near - 2 * value) / 2 - (far - 4 * near + 6 * value) / 6)


def _rate(rate, sd, inside, usual, spread):
    """A rate and its SD, float64 [n]; the usual ones where the map is 0 or there is none."""
    count = np.count_nonzero(inside)
    if rate is None:
        return np.full(count, usual), np.full(count, spread)
    given = np.asarray(rate)[inside].astype(np.float64)
    given_sd = np.zeros(count) if sd is None else np.asarray(sd)[inside].astype(np.float64)
    known = (given > 0) & (given < np.inf)
    return np.where(known, given, usual), np.where(known, given_sd, spread)


def _with_sds(function, inputs):
    """Value of a function of arrays and the SD that the SD of each input gives it, from (array, SD) of each."""
    values = [value for value, _ in inputs]
    result, sds = function(*values), []
    for n, (value, sd) in enumerate(inputs):
        moved = list(values)
        with np.errstate(invalid="ignore"):
            moved[n] = value * (1 + STEP)
            up = function(*moved)
            moved[n] = value * (1 - STEP)
            sds.append(np.abs(up - function(*moved)) / (2 * STEP) * sd / np.maximum(value, TINY))
    return result, sds


def _common(found, sds):
    """Share by which the assumed rates may move all voxels together: the median over the voxels."""
    with np.errstate(invalid="ignore"):
        share = np.sqrt(sum(sd**2 for sd in sds)) / found
    return float(np.median(share[np.isfinite(share)])) if np.isfinite(share).any() else 0.0


def _afi_notes(found, ratio, r1, repetition_times, spoiling, assumed):
    """What was done to the textbook angle, one sentence each."""
    notes = []
    increment, dephasing = spoiling
    seen = np.isfinite(found)
    with np.errstate(invalid="ignore"):
        textbook = np.arccos(ideal_cosine(ratio, 0, repetition_times))
        change = 100 * np.nanmedian((found / textbook)[seen]) - 100 if seen.any() else 0.0
    if increment is None:
        notes.append(
            "AFI was taken as ideally spoiled: its RF spoiling increment is unknown or the correction is off; "
            "real angles may be 10 % higher."
        )
    else:
        notes.append(
            f"AFI was corrected for imperfect spoiling (increment {np.rad2deg(increment):g} degrees, gradients of "
            f"{USUAL_DEPHASING if dephasing is None else dephasing:.0f} rad/mm a repetition"
            + (", assumed because SpoilingGradientMoment is not in the sidecar" if dephasing is None else "")
            + f"); with the finite TR this changed the angle by {change:+.1f} % (median)."
        )
    if assumed and np.any(r1 > 0):
        notes.append(f"AFI used an R1 of {np.median(r1):g} 1/s for all tissue because no R1 map was known yet.")
    return notes


def _slow(rate):
    """Where a rate is known and lower than that of tissue."""
    known = (rate > 0) & (rate < np.inf)
    return known & (rate < SLOWEST_TISSUE * np.quantile(rate[known], 0.75)) if known.any() else known


def _fit(inside, b1, sd, mask, notes, scale_sd=0.0):
    """B1Fit from the values of the voxels `inside`."""
    usable = np.isfinite(b1) & np.isfinite(sd) & (sd < LARGEST_SD) & (b1 > 0)
    valid = np.zeros(mask.shape, bool)
    valid[inside] = usable
    maps = []
    for values in (b1, sd):
        maps.append(np.zeros(mask.shape, np.float32))
        maps[-1][valid] = values[usable]
    maps[1] = _typical_nearby(maps[1], valid)
    lost = np.count_nonzero(mask) - np.count_nonzero(valid)
    if lost:
        notes = [*notes, f"{lost} of {np.count_nonzero(mask)} voxels gave no flip angle and are filled by smoothing."]
    return B1Fit(*maps, valid, tuple(notes), scale_sd)


def _typical_nearby(sd, valid):
    """Root mean square of the SDs of the valid voxels among the 27 around each.

    The SD of a single voxel falls where its noise raises the angle, and smoothing with weights 1 / sd^2 would then
    favour such voxels: AFI came out 0.2 % high, R1 twice that.
    """
    count = uniform_filter(valid.astype(np.float32), 3, mode="constant")
    squares = uniform_filter(sd * sd, 3, mode="constant")
    return np.where(valid, np.sqrt(squares.clip(min=0) / np.where(valid, count, 1)), 0).astype(np.float32)
