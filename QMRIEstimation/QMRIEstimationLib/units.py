"""The one place for units: physical constants, the unit of every map, and the user's degrees and milliseconds.

Inside the engine: seconds, radians, tesla, hertz, ppm, 1/s. The user (panel, TOML, command line, reports) sees
degrees and milliseconds; `to_user` and `from_user` convert at that border and nowhere else.
"""

import math

GYROMAGNETIC_RATIO = 42.577478518e6  # Hz/T of the shielded-free proton, CODATA 2018 (gamma over 2 pi)

MAP_UNITS = {
    "R1": "1/s",
    "R2": "1/s",
    "R2star": "1/s",
    "PD": "p.u.",
    "Chi": "ppm",
    "ChiParamagnetic": "ppm",
    "ChiDiamagnetic": "ppm",
    "TB1": "percent",
    "fieldmap": "Hz",
}

_USER_UNITS = {"rad": ("deg", 180.0 / math.pi), "s": ("ms", 1000.0)}  # engine's unit -> user's unit and factor


def user_unit(unit):
    """The unit in which the user sees a quantity that the engine keeps in `unit`."""
    return _USER_UNITS.get(unit, (unit, 1.0))[0]


def to_user(value, unit):
    """Value in the user's unit from the engine's `unit`.

    >>> to_user(0.004, "s")
    4.0
    """
    return value * _USER_UNITS[unit][1] if unit in _USER_UNITS else value


def from_user(value, unit):
    """Value in the engine's `unit` from the user's unit.

    >>> round(from_user(180.0, "rad"), 6)
    3.141593
    """
    return value / _USER_UNITS[unit][1] if unit in _USER_UNITS else value


def hz_per_ppm(field_strength):
    """Larmor frequency shift (Hz) of one part per million at `field_strength` (T)."""
    return GYROMAGNETIC_RATIO * field_strength * 1e-6
