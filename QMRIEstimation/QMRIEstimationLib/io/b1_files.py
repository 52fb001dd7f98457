"""Transmit-field maps as vendors and converters write them, as ratio to the nominal flip angle."""

import numpy as np

from ..errors import InputError


def flip_angle_ratio(values, file, sidecar):
    """Ratio of true to nominal flip angle, float32, 0 where the map is 0.

    `TB1map`: Units (percent, or arbitrary and 1 for a ratio), else by the median, as the contract fixes. `TB1TFL`:
    tenths of a degree over FlipAngle. `TB1RFM`: 2048 is zero and 4096 is 180 degrees over FlipAngle (Siemens).

    Raises:
        InputError: the median is no ratio of 0.3 to 2 whatever the scale.
    """
    if file.suffix == "TB1map":
        units = sidecar.text("Units").lower()
        inside = values[values > 0]
        median = float(np.median(inside)) if inside.size else 0.0
        if units in ("percent", "%", "p.u."):
            scale = 0.01
        elif units in ("ratio", "1"):
            scale = 1.0
        else:
            scale = 0.01 if median > 10 else 1.0
        ratio = values * np.float32(scale)
        found = f"the median of the map is {median:g}"
        cure = "percent (100 for the nominal angle) or a ratio (1); rescale it or write Units"
    else:
        nominal = np.rad2deg(sidecar.flip_angle(file.suffix))
        degrees = values / 10 if file.suffix == "TB1TFL" else (values - 2048) * (180 / 2048) * (values != 0)
        ratio = (degrees / nominal).astype(np.float32)
        found = f"the map over FlipAngle {nominal:g} degrees"
        cure = "the scale of the Siemens sequence; write the map as TB1map in percent"
    known = ratio[ratio > 0]
    middle = float(np.median(known)) if known.size else 0.0
    if not 0.3 <= middle <= 2:
        raise InputError(f"{file.name}: {found}, which gives a ratio of {middle:.3g}, expected {cure}.")
    return ratio.astype(np.float32, copy=False)
