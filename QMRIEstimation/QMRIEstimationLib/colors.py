"""Colour tables of the maps, treated as recommended for relaxometry.

lipari, navia and vik are Fabio Crameri's Scientific colour maps (MIT licence, copyright (c) 2020 Fabio Crameri,
https://doi.org/10.5281/zenodo.1243862), rounded to 8 bits; see NOTICE.
Which table for which quantity, black for "invalid", reversed tables for rates and the logarithmic treatment:
Fuderer M et al. 2025, Magn Reson Med 93:490-506, https://doi.org/10.1002/mrm.30290.
"""

import base64
import zlib
from functools import cache

import numpy as np

ENTRIES = 256  # entry 0 says "invalid", 1 to 255 are for valid values

_PACKED = {  # differences of neighbouring entries, int8, compressed
    "lipari": (
        "eNptkosNAjEMQ2N3BHZg/w2PNJ86BcQpenacq+hlvd4AjTAwgA6DgZDOCaC6iG45EQgZv3K8bOYNmqxoPUtsWeP4YgdE3b5F1540YdHt"
        "gPtIucPi4yuDaV5Jfo3gN6YMTwu3HGeVxPHVZc8O2YCKeYD1Tx+e5HUtj+4Hs+ZN5hOfUZBfwjpk0NjkrjjH9BtTFtvg6RfEIO3yOQFy"
        "qLXMPeRYv7FymdwOz9Y5r+J/ElzW8gPHRyTN"
    ),
    "navia": (
        "eNp1UgEOxCAIo+UJ94j7/wudo4jMZcZ0pRTUDP/9QRrmRiABhWvzGcrDTw+OElZDFA8PSkfqiLZaMuTqPEK5Ei25xUfETmIi41ZM+lji"
        "hCFiVoZQRKylyvxOtdrdxFr/dUp10B1eZw1UdlfJuUvidc1/6C+lI78VJlrn1N+rTREIneLw+JMefI6IpzIJI8sQbzzJPRnOpTxCSxHm"
        "izQMQ6GGg3kvzY1GqivrfUEum+Iryg=="
    ),
    "vik": (
        "eNp1kAsSwyAIRAFzgt6w9z+DbOWXYmscZ/N2IcRIrzcLEzOV/tjUY3hSfmq+q+0r0WxLZLFIoTWIZ2lH2IKxQ9Nmx6F6ne1jcvXJ/Jc4"
        "W8Jlv0DO5GBbaP0rxlICkwpMGblJlUxnqk6oui5WwCBZgxXTE7Rk6zlaG9UTH3622WY2TpIlz+NImm3F2QktO7XyddpgLbYVz4mymNom"
        "rUa/mNzYAQRs1q5wKTirEd4QVeV80fcHdddOcQ=="
    ),
}
COLOR_NAMES = ("gray", *_PACKED)


@cache
def color_table(name):
    """The plain colour table `name` (gray, lipari, navia or vik): uint8 [256, 3], dark or negative end first.

    Raises:
        ValueError: there is no table of this name.
    """
    if name == "gray":
        table = np.repeat(np.arange(ENTRIES, dtype=np.uint8)[:, None], 3, axis=1)
    elif name in _PACKED:
        steps = np.frombuffer(zlib.decompress(base64.b64decode(_PACKED[name])), np.uint8).reshape(ENTRIES, 3)
        table = np.cumsum(steps, axis=0, dtype=np.uint8)  # wraps as int8 differences must
    else:
        raise ValueError(f"no colour table is called {name}, expected one of {', '.join(COLOR_NAMES)}.")
    table.setflags(write=False)
    return table


def display_table(name, window, *, reverse=False, logarithmic=False):
    """The colour table as maps are shown with it: entry 0 black (invalid), entries 1 to 255 over `window`.

    Args:
        name: as `color_table`. window: (low, high) in the unit of the map.
        reverse: rates run against the colours of the relaxation times, so that tissue keeps its colour.
        logarithmic: spread the colours by `logarithmic_share` instead of evenly.
    Returns:
        uint8 [256, 3], to be used with `table_index` or with a linear window.
    """
    table = color_table(name)[::-1] if reverse else color_table(name)
    low, high = window
    share = (np.arange(ENTRIES - 1) + 0.5) / (ENTRIES - 1)  # middle of the part of the window an entry stands for
    if logarithmic:
        share = logarithmic_share(low + share * (high - low), window)
    shown = np.zeros((ENTRIES, 3), np.uint8)
    shown[1:] = table[1 + np.floor(share * (ENTRIES - 1)).astype(int).clip(0, ENTRIES - 2)]
    return shown


def logarithmic_share(values, window):
    """Position (0 to 1) in the colour table of values within a window: logarithmic above high/e, linear below.

    With m = max(high/e, low):  b + (1 - b) ln(x/m) / ln(high/m) for x > m,  b (x - low)/(m - low) below,
    and b = (m - low)/(2 m - low), which makes value and slope continuous at m (Fuderer 2025).

    >>> [round(float(s), 3) for s in logarithmic_share(np.array([0.0, 10 / np.e, 10.0]), (0, 10))]
    [0.0, 0.5, 1.0]
    """
    low, high = window
    if not 0 <= low < high:
        raise ValueError(f"window is {window}, expected 0 <= low < high for the logarithmic treatment.")
    values = np.clip(np.asarray(values, float), low, high)
    knee = max(high / np.e, low)
    bend = (knee - low) / (2 * knee - low)
    upper = bend + (1 - bend) * np.log(np.maximum(values, knee) / knee) / np.log(high / knee)
    lower = bend * (values - low) / (knee - low) if knee > low else np.zeros_like(values)
    return np.where(values > knee, upper, lower)


def table_index(values, valid, window):
    """Entry of `display_table` for each voxel: uint8, 0 where not valid, 1 to 255 where valid (clipped to the window).

    Raises:
        ValueError: values and valid have different shapes.
    """
    values, valid = np.asarray(values), np.asarray(valid, bool)
    if values.shape != valid.shape:
        raise ValueError(f"values has shape {values.shape}, expected {valid.shape} as valid.")
    low, high = window
    share = (np.where(valid, values, low).astype(np.float64) - low) / (high - low)
    entry = 1 + np.floor(share * (ENTRIES - 1)).clip(0, ENTRIES - 2)
    return np.where(valid, entry, 0).astype(np.uint8)
