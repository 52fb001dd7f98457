"""Stored phase to radians by the period that the vendor is known to use, its polarity, and alternating slices."""

from dataclasses import dataclass

import numpy as np

TWO_PI = 2 * np.pi
SLACK = 0.01  # relative: rounding of converters around a period, e.g. 3.15 for pi
FILLED = 0.9  # share of a period that noise in air reaches for certain; below it a period is not proven
FLAT = 0.1  # rad: no image with noise is that flat, so its numbers are not radians
HALF_TURN = np.pi * (1 + SLACK)
SIEMENS, THOUSANDTHS = 4096.0, 3142.0
SIEMENS_LEAST = 1000.0  # of 4096: a masked image may stay below the period, but degrees must not pass
ALTERNATING = -0.5  # mean cosine of the phase step: +0.97 in good data, -0.97 where every second slice is inverted
POLARITY = {"siemens": 1, "philips": 1, "ge": -1}


@dataclass(frozen=True)
class PhaseEncoding:
    """phase (rad) = scale * stored + offset, wrapped; `name` says which known encoding it is."""

    name: str
    scale: float
    offset: float = 0.0

    def radians(self, stored):
        """Phase in rad within -pi..pi; float32."""
        return wrapped(np.asarray(stored, np.float32) * np.float32(self.scale) + np.float32(self.offset))


RADIANS = PhaseEncoding("radians from -pi to pi", 1.0)
POSITIVE_RADIANS = PhaseEncoding("radians from 0 to 2 pi", 1.0)
SIGNED_4096 = PhaseEncoding("-4096 to 4095 for -pi to pi", np.pi / SIEMENS)
UNSIGNED_4096 = PhaseEncoding("0 to 4095 for -pi to pi", np.pi / 2048, -np.pi)
RADIANS_1000 = PhaseEncoding("thousandths of a radian", 1e-3)


def wrapped(phase):
    """Phase brought to -pi..pi; values already inside stay bit for bit. Same type as given."""
    outside = np.abs(phase) > np.pi
    if not outside.any():
        return phase
    turn = np.asarray(TWO_PI, phase.dtype)
    return np.where(outside, phase - turn * np.rint(phase / turn), phase)


def known_encoding(low, high, units="", manufacturer=""):
    """The encoding whose period fits numbers from `low` to `high`; the data are never stretched to a period.

    Args:
        low, high: extremes of all echoes after the header's slope and intercept.
        units: BIDS Units, `rad` or `arbitrary`; empty when the sidecar is silent.
        manufacturer: as the sidecar says; only Siemens changes the answer (it alone writes +-4096).
    Raises:
        ValueError: no rule fits, or the numbers contradict the units.
    """
    if low == high == 0:
        raise ValueError("the phase is 0 everywhere, expected measured phase; export the phase images again.")
    if units.lower() in ("rad", "radian", "radians"):
        return _declared_radians(low, high)
    if units.lower() not in ("", "arbitrary"):
        raise ValueError(f"Units is {units!r}, expected rad or arbitrary; correct the sidecar.")
    encoding = _proven_encoding(low, high, vendor(manufacturer) == "siemens")
    if encoding is None:
        raise ValueError(
            f"the phase runs from {low:.6g} to {high:.6g}, which is no known encoding; expected -3.14 to 3.14, 0 to "
            "6.28, -4096 to 4095, 0 to 4095 or -3142 to 3142: convert the images again with dcm2niix, or scale them "
            "to radians and write Units rad."
        )
    return encoding


def _declared_radians(low, high):
    """The encoding of numbers that are radians by their units."""
    found, reach = f"the phase runs from {low:.6g} to {high:.6g}", max(-low, high)
    if reach < FLAT:
        raise ValueError(
            f"{found}, too flat for radians because noise alone fills -pi to pi; a wrong scl_slope in the header "
            "does this: set it to 1, or export the phase again."
        )
    if reach <= HALF_TURN:
        return RADIANS
    if low >= 0 and high <= 2 * HALF_TURN:
        return POSITIVE_RADIANS
    raise ValueError(
        f"{found} but Units says rad, expected -3.14 to 3.14; write Units arbitrary if these are the "
        "scanner's own numbers, or export the phase again."
    )


def _proven_encoding(low, high, siemens):
    """The encoding whose period the numbers fill, or of Siemens fit; None when there is none."""
    if low < 0:
        reach = max(-low, high)
        if FILLED * np.pi <= reach <= HALF_TURN:
            return RADIANS
        # Siemens writes both, so its thousandths must reach both ends of their period
        both_ends = (1 - SLACK) * THOUSANDTHS <= min(-low, high) and reach <= THOUSANDTHS + 1
        if both_ends or (not siemens and FILLED * THOUSANDTHS <= reach <= (1 + SLACK) * THOUSANDTHS):
            return RADIANS_1000
        if reach <= SIEMENS and (reach >= FILLED * SIEMENS or (siemens and reach >= SIEMENS_LEAST)):
            return SIGNED_4096
    elif FILLED * TWO_PI <= high <= 2 * HALF_TURN:
        return POSITIVE_RADIANS
    elif high < SIEMENS and (high >= FILLED * SIEMENS or (siemens and high > 2048)):
        return UNSIGNED_4096
    return None


def to_radians(stored, units="", manufacturer=""):
    """Wrapped phase from stored numbers of all echoes, by known period.

    Args:
        stored: [..., k, j, i] after the header's slope and intercept.
        units, manufacturer: as in `known_encoding`.
    Returns:
        phase: float32, rad, -pi..pi. encoding: the PhaseEncoding used.
    Raises:
        ValueError: no rule fits (see `known_encoding`).
    """
    encoding = known_encoding(float(np.min(stored)), float(np.max(stored)), units, manufacturer)
    return encoding.radians(stored), encoding


def magnitude_and_phase(real, imaginary):
    """Magnitude and wrapped phase (rad) of complex images, float32."""
    return np.hypot(real, imaginary), np.arctan2(imaginary, real)


def vendor(manufacturer):
    """`siemens`, `philips`, `ge` or empty from the header's spelling."""
    words = manufacturer.lower().replace("_", " ").split()
    if words[:1] == ["ge"] or words[:2] == ["general", "electric"]:
        return "ge"
    return words[0] if words and words[0] in POLARITY else ""


def polarity(manufacturer):
    """Sign of stored phase by vendor: +1 for exp(+i 2 pi df TE), -1 for the opposite, 0 when not known."""
    return POLARITY.get(vendor(manufacturer), 0)


def alternating_axes(magnitude, phase):
    """Axes of [k, j, i] along which every second slice has the opposite sign (GE), found without the header.

    The mean of cos(phase step between neighbours), weighted by both magnitudes over all echoes, is below -0.5.

    Args:
        magnitude, phase: [echo, k, j, i]; phase in rad.
    """
    found = []
    for axis in range(3):
        if phase.shape[axis + 1] < 3:
            continue
        here = [slice(None)] * 3
        following = [slice(None)] * 3
        here[axis], following[axis] = slice(None, -1), slice(1, None)
        total = weight = 0.0
        for m, p in zip(magnitude, phase, strict=True):
            w = m[tuple(here)] * m[tuple(following)]
            total += float((w * np.cos(p[tuple(following)] - p[tuple(here)])).sum(dtype=np.float64))
            weight += float(w.sum(dtype=np.float64))
        if total < ALTERNATING * weight:
            found.append(axis)
    return tuple(found)


def mend_alternating(phase, axes):
    """Phase with half a turn added to every second slice along the axes of [k, j, i]."""
    parity = sum(np.arange(phase.shape[axis - 3]).reshape((-1,) + (1,) * (2 - axis)) for axis in axes) % 2
    half_turn = np.float32(np.pi)
    opposite = np.where(phase > 0, phase - half_turn, phase + half_turn)
    return np.where(parity == 1, opposite, phase)


def slice_offsets(magnitude, phase):
    """Phase (rad) of each slice against the first, [k], by the mean step between neighbours in the first echo.

    Taken off all echoes it leaves the evolution between them as it was, and with it the field.

    Args:
        magnitude, phase: [echo, k, j, i]; phase in rad.
    """
    first = magnitude[0] * np.exp(1j * phase[0])
    steps = (first[1:] * np.conj(first[:-1])).sum(axis=(1, 2), dtype=np.complex128)
    return np.concatenate([[0.0], np.cumsum(np.angle(steps))])


def without_offsets(phase, offsets):
    """Wrapped phase [echo, k, j, i] less one offset (rad) a slice; float32."""
    rest = np.angle(np.exp(1j * offsets)).astype(np.float32)
    return wrapped(phase - rest[:, None, None])
