"""Differences between scans, found in their headers, that change the intensity of one against another.

R1 and proton density compare intensities of several scans, so a gain that differs breaks them without leaving a trace
in the images. Echoes of one scan are compared within that scan and do not suffer.
"""

import json
import math
from dataclasses import dataclass

_ROUNDING = 1e-4  # relative difference of two factors that is rounding in the header

_CURE = "R1 and PD cannot be made from them together; export or scan them alike, or leave one out"

# Fields whose difference has no known size, and what it changes.
_UNKNOWN = {
    "ReceiveCoilName": "the receive coils",
    "ReceiveCoilActiveElements": "the coil elements that were switched on",
    "CoilString": "the coil elements that were switched on",
    "MatrixCoilMode": "the combination of coil elements",
    "CoilCombinationMethod": "the combination of coil elements",
    "NonlinearGradientCorrection": "the distortion correction",
    "ReceiverGain": "the receiver gain",
    "AnalogReceiverGain": "the receiver gain",
    "DigitalReceiverGain": "the receiver gain",
    "TransmitGain": "the transmit gain, and with it the flip angle",
    "RescaleSlope": "the scale of the stored numbers",
}

# Words of ImageType (Siemens, also in ImageTypeText of enhanced DICOM) and ScanOptions (GE), and what they say.
_WORDS = {
    "normalising filter": ("NORM",),
    "image filter": ("FILTERED", "FILTERED_GEMS"),
    "distortion correction": ("DIS2D", "DIS3D"),
}


@dataclass(frozen=True)
class ReceiveDifferences:
    """What `receive_differences` found.

    Attributes:
        intensity_factors: name of scan -> what to multiply its intensities by to have all on one scale.
        flip_angle_factors: name of scan -> what to multiply its nominal flip angle by.
        corrected: sentences about differences that these factors take away.
        refused: sentences about differences of unknown size: no R1 and PD from these scans together.
    """

    intensity_factors: dict
    flip_angle_factors: dict
    corrected: tuple = ()
    refused: tuple = ()

    @property
    def sentences(self):
        """All findings."""
        return (*self.refused, *self.corrected)


def receive_differences(fields_of_scans):
    """Differences of gain, scale, filter, coil and distortion correction between scans to be compared in intensity.

    What the header of a scan does not say counts as unknown, not as different, but for scale factors of Philips, which
    are refused when only some scans have them.

    Args:
        fields_of_scans: name of scan -> dictionary of its sidecar (names as BIDS and dcm2niix write them).
    Returns:
        ReceiveDifferences.
    """
    intensity, corrected, refused = _philips_factors(fields_of_scans)
    flip_angle, sentences = _transmit_factors(fields_of_scans)
    corrected += sentences
    for field, meaning in _UNKNOWN.items():
        found = {name: fields[field] for name, fields in fields_of_scans.items() if fields.get(field) is not None}
        if _differ(found.values()):
            shown = ", ".join(f"{name} {json.dumps(value)}" for name, value in found.items())
            refused.append(f"{meaning} differ between the scans ({field}: {shown}), so {_CURE}.")
    words = {name: _words(fields) for name, fields in fields_of_scans.items()}
    words = {name: found for name, found in words.items() if found}
    for meaning, spellings in _WORDS.items():
        states = {name: " and ".join(w for w in spellings if w in found) or "none" for name, found in words.items()}
        if _differ(states.values()):
            shown = ", ".join(f"{name}: {state}" for name, state in states.items())
            refused.append(f"the {meaning} differs between the scans (ImageType or ScanOptions; {shown}), so {_CURE}.")
    return ReceiveDifferences(intensity, flip_angle, tuple(corrected), tuple(refused))


def _philips_factors(scans):
    """Factors from the numbers that dcm2niix stored to Philips' floating-point scale; corrected, refused sentences.

    By its notes on Philips data: stored raw R, displayed D = R RS + RI, real world W = R WS + WI, and comparable only
    P = D / (RS SS). It writes W where the scanner gave it, else P, or D when UsePhilipsFloatNotDisplayScaling is 0.
    """
    none = dict.fromkeys(scans, 1.0)
    factors = {}
    for name, fields in scans.items():
        scale = _positive(fields.get("PhilipsScaleSlope"))
        real_world, slope = (_positive(fields.get(f"Philips{kind}Slope")) for kind in ("RWV", "Rescale"))
        if scale and real_world:
            factors[name] = 1 / (scale * real_world)
        elif scale and fields.get("UsePhilipsFloatNotDisplayScaling") in (1, True):
            factors[name] = 1.0
        elif scale and slope:
            factors[name] = 1 / (scale * slope)
    if not factors:
        return none, [], []
    missing = [name for name in scans if name not in factors]
    if missing:
        return none, [], [f"{', '.join(missing)}: the Philips scale factors that the other scans have are missing, "
                          f"so {_CURE}."]  # fmt: skip
    if not _differ(factors.values()):
        return none, [], []
    return _relative(factors, "the Philips scale factors differ between the scans; intensities were multiplied by")


def _transmit_factors(scans):
    """Factors of the flip angle from Siemens' transmit reference, and sentences.

    The amplitude that gives a flip angle is proportional to the reference voltage found at the adjustment, so of two
    scans the one with the higher reference has the larger true angle.
    """
    found = {name: _positive(fields.get("TxRefAmp")) for name, fields in scans.items()}
    if not all(found.values()) or not _differ(found.values()):
        return dict.fromkeys(scans, 1.0), []
    return _relative(found, "TxRefAmp differs between the scans; nominal flip angles were multiplied by")[:2]


def _relative(values, text):
    """Factors over that of the first scan, with one sentence that lists them, and no refusal."""
    first = next(iter(values.values()))
    factors = {name: value / first for name, value in values.items()}
    shown = ", ".join(f"{factor:.4g} ({name})" for name, factor in factors.items())
    return factors, [f"{text} {shown}."], []


def _words(fields):
    """Words of the fields that tell about filters, in capitals; empty when the header has no ImageType."""
    image_type = _split(fields.get("ImageType")) + _split(fields.get("ImageTypeText"))
    return {str(word).upper() for word in image_type + _split(fields.get("ScanOptions"))} if image_type else set()


def _split(value):
    """A DICOM text of several values, or a JSON list, as a list."""
    return value.split("\\") if isinstance(value, str) else list(value or [])


def _positive(value):
    """The number, or None when it is not a positive one."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return float(value) if good else None


def _differ(values):
    """Whether any two of the values differ, numbers by more than rounding."""
    values = list(values)
    if all(_positive(value) for value in values) and values:
        return max(values) > min(values) * (1 + _ROUNDING)
    return len({json.dumps(value) for value in values}) > 1
