"""How each quantity is shown and coded, wherever it is shown: one table for the report, the panel and DICOM.

Windows are fixed, so that two patients look alike only when they are alike. They were chosen for adult brain at 3 T;
relaxation rates have windows of their own at 1.5 and 7 T (R2* grows with the field: Peters AM et al. 2007, Magn
Reson Imaging 25:748). Literature ranges are 3 T values of healthy adults and are given at 3 T only.
"""

import math
from dataclasses import dataclass

from .colors import display_table
from .units import MAP_UNITS

FIELD_STRENGTHS = (1.5, 3.0, 7.0)  # T
SD_SHARE = 0.1  # the window of an SD map, as a share of the width of the map's window


@dataclass(frozen=True)
class Display:
    """What a viewer needs to know of one quantity at one field strength.

    Attributes:
        name: R1, R2, R2star, PD, Chi, TB1, fieldmap, ... title: what people call it. unit: text of the unit.
        window: (low, high), unit of the map. color: name of the colour table; reverse, logarithmic: its treatment.
        decimals: digits after the point in tables.
        quantity: (code, coding scheme, meaning) of the quantity, None where DICOM has none. unit_code: UCUM.
        literature: ((tissue, low, high), ...) in healthy adults, for orientation.
        literature_source: where these come from.
    """

    name: str
    title: str
    unit: str
    window: tuple
    color: str
    decimals: int
    quantity: tuple | None
    unit_code: str
    reverse: bool = False
    logarithmic: bool = False
    literature: tuple = ()
    literature_source: str = ""

    @property
    def table(self):
        """Colour table over the window, entry 0 black for invalid: uint8 [256, 3]."""
        return display_table(self.color, self.window, reverse=self.reverse, logarithmic=self.logarithmic)

    @property
    def sd_window(self):
        """Window of the standard deviation, shown in gray."""
        return (0.0, SD_SHARE * (self.window[1] - self.window[0]))

    @property
    def color_name(self):
        """The colour table in words, for captions."""
        return self.color + (", reversed" if self.reverse else "") + (", logarithmic" if self.logarithmic else "")

    def text(self, value):
        """A value with the digits that the quantity deserves, without unit; n/a for none."""
        return "n/a" if value is None or not math.isfinite(value) else f"{value:.{self.decimals}f}"


CHI = ("126396", "DCM", "Magnetic Susceptibility")
_RATE = {"reverse": True, "logarithmic": True}
_ROWS = {  # name: title, windows at 1.5, 3 and 7 T, colour, decimals, quantity, UCUM, further attributes
    "R1": (
        "R1",
        ((0.2, 2.0), (0.2, 1.6), (0.2, 1.2)),
        "lipari",
        3,
        ("126393", "DCM", "R1"),
        "/s",
        _RATE
        | {
            "literature": (("gray matter", 0.55, 0.75), ("white matter", 0.92, 1.20)),
            "literature_source": "Wansapura 1999, Stanisz 2005",
        },
    ),
    "R2": (
        "R2",
        ((0.0, 20.0), (0.0, 25.0), (0.0, 40.0)),
        "navia",
        2,
        ("126394", "DCM", "R2"),
        "/s",
        _RATE
        | {
            "literature": (("gray matter", 9.1, 10.1), ("white matter", 12.6, 14.5)),
            "literature_source": "Wansapura 1999, Stanisz 2005",
        },
    ),
    "R2star": (
        "R2*",
        ((0.0, 30.0), (0.0, 50.0), (0.0, 110.0)),
        "navia",
        2,
        ("126395", "DCM", "R2*"),
        "/s",
        _RATE
        | {
            "literature": (("cortex", 14.0, 17.0), ("white matter", 18.0, 22.0)),
            "literature_source": "around T2* 66 and 53 ms of Peters 2007",
        },
    ),
    "PD": (
        "PD",
        ((50.0, 110.0),) * 3,
        "gray",
        1,
        ("113058", "DCM", "Proton Density"),
        "%",
        {
            "literature": (("white matter", 67.0, 72.0), ("gray matter", 79.0, 84.0)),
            "literature_source": "white matter is calibrated to 69",
        },
    ),
    "Chi": ("QSM (χ)", ((-0.1, 0.1),) * 3, "gray", 4, CHI, "[ppm]", {}),
    "ChiParamagnetic": ("Paramagnetic χ", ((0.0, 0.1),) * 3, "gray", 4, CHI, "[ppm]", {}),
    "ChiDiamagnetic": ("Diamagnetic χ", ((-0.1, 0.0),) * 3, "gray", 4, CHI, "[ppm]", {"reverse": True}),
    "TB1": ("Transmit field B1+", ((50.0, 150.0),) * 3, "vik", 1, None, "%", {}),
    "fieldmap": (
        "Total field",
        ((-50.0, 50.0), (-100.0, 100.0), (-230.0, 230.0)),
        "vik",
        1,
        ("110807", "DCM", "Field Map MR Signal Intensity"),
        "Hz",
        {},
    ),
    "local_field": ("Local field", ((-7.5, 7.5), (-15.0, 15.0), (-35.0, 35.0)), "gray", 2, None, "Hz", {}),
    "wrapped_phase": ("Wrapped phase, last echo", ((-math.pi, math.pi),) * 3, "gray", 2, None, "rad", {}),
    "unwrapped_phase": (
        "Unwrapped phase, last echo",
        ((-7.0, 7.0), (-15.0, 15.0), (-35.0, 35.0)),
        "vik",
        2,
        None,
        "rad",
        {},
    ),
    "field_residual": ("Residual of the field fit", ((0.0, 0.5),) * 3, "gray", 3, None, "rad", {}),
    "removed_noise": ("Taken off by denoising, first image", ((-3.0, 3.0),) * 3, "gray", 1, None, "1", {}),
    "chi_misfit": (
        "Local field less that of χ",
        ((-2.0, 2.0), (-4.0, 4.0), (-9.0, 9.0)),
        "gray",
        2,
        None,
        "Hz",
        {},
    ),
}
_PICTURE_UNITS = {
    "TB1": "%",
    "local_field": "Hz",
    "chi_misfit": "Hz",
    "removed_noise": "noise SDs",
    "wrapped_phase": "rad",
    "unwrapped_phase": "rad",
    "field_residual": "rad",
}


def display_of(name, field_strength=None):
    """The Display of a map (R1, R2, R2star, PD, Chi, TB1, fieldmap) or field picture at a field strength (T).

    The window is that of the nearest of 1.5, 3 and 7 T in ratio; 3 T where the strength is unknown.

    Raises:
        ValueError: there is no such map.
    """
    if name not in _ROWS:
        raise ValueError(f"no map is called {name}, expected one of {', '.join(_ROWS)}.")
    title, windows, color, decimals, quantity, unit_code, further = _ROWS[name]
    known = field_strength or 3.0
    nearest = min(FIELD_STRENGTHS, key=lambda strength: abs(math.log(known / strength)))
    if nearest != 3.0:
        further = {key: value for key, value in further.items() if not key.startswith("literature")}
    unit = _PICTURE_UNITS.get(name) or MAP_UNITS[name]
    window = windows[FIELD_STRENGTHS.index(nearest)]
    return Display(name, title, unit, window, color, decimals, quantity, unit_code, **further)
