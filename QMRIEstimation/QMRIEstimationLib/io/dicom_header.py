"""What a DICOM header of an MR image says, in the names and units of a BIDS sidecar.

Names follow dcm2niix where BIDS has none. Enhanced images keep most of it in functional groups, for all frames or for
one; a value of the frame counts before one of all frames, and that before one of the top.
"""

import math

import numpy as np

GE_IMAGE_KIND = (0x0043, 0x102F)  # GE writes what a voxel holds here: 0 to 3 as below
GE_PARTS = ("magnitude", "phase", "real", "imaginary")
PART_WORDS = {
    "phase": ("P", "PHASE", "PHASE MAP", "PHASE_MAP"),
    "real": ("R", "REAL"),
    "imaginary": ("I", "IMAGINARY"),
}
MILLI = 1e-3
_COPIED = {  # keyword of DICOM -> name in the sidecar
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "ManufacturersModelName",
    "SeriesDescription": "SeriesDescription",
    "ProtocolName": "ProtocolName",
    "MRAcquisitionType": "MRAcquisitionType",
    "ScanningSequence": "ScanningSequence",
    "SequenceVariant": "SequenceVariant",
    "SequenceName": "SequenceName",
    "PulseSequenceName": "PulseSequenceName",
    "ContrastBolusAgent": "ContrastBolusIngredient",
    "ContrastBolusStartTime": "ContrastBolusStartTime",
}
_NUMBERS = {  # keyword of DICOM -> name in the sidecar, factor
    "EchoTime": ("EchoTime", MILLI),
    "EffectiveEchoTime": ("EchoTime", MILLI),
    "RepetitionTime": ("RepetitionTimeExcitation", MILLI),
    "InversionTime": ("InversionTime", MILLI),
    "FlipAngle": ("FlipAngle", 1),
    "MagneticFieldStrength": ("MagneticFieldStrength", 1),
    "ImagingFrequency": ("ImagingFrequency", 1),
    "TransmitterFrequency": ("ImagingFrequency", 1),
    "SliceThickness": ("SliceThickness", 1),
    "SpacingBetweenSlices": ("SpacingBetweenSlices", 1),
    "SeriesNumber": ("SeriesNumber", 1),
}


def sidecar_fields(dataset, frame=None):
    """BIDS fields of a pydicom Dataset, or of one frame of an enhanced one; only what it holds."""
    levels = _levels(dataset, frame)
    fields = {}
    for keyword, name in _COPIED.items():
        value = _value(levels, keyword)
        if value not in (None, ""):
            several = not isinstance(value, str) and hasattr(value, "__iter__")
            fields[name] = [str(v) for v in value] if several else str(value)
    for keyword, (name, factor) in _NUMBERS.items():
        value = _number(_value(levels, keyword))
        if value is not None and name not in fields:
            fields[name] = float(f"{value * factor:.9g}")
    kind = _value(levels, "ImageType")
    if kind:
        fields["ImageType"] = [str(word) for word in kind]
    time = str(_value(levels, "AcquisitionTime") or "")
    if time[:6].isdigit():
        fields["AcquisitionTime"] = f"{time[:2]}:{time[2:4]}:{time[4:]}"
    return fields | _sequence(fields, levels) | _matrix(dataset, levels)


def part_of(dataset, frame=None):
    """magnitude, phase, real or imaginary, as the header says."""
    levels = _levels(dataset, frame)
    component = str(_value(levels, "ComplexImageComponent") or "").lower()
    if component in GE_PARTS:
        return component
    if GE_IMAGE_KIND in dataset:
        number = _number(dataset[GE_IMAGE_KIND].value)
        if number is not None and int(number) in range(len(GE_PARTS)):
            return GE_PARTS[int(number)]
    words = {str(word).upper() for word in _value(levels, "ImageType") or ()}
    return next((part for part, named in PART_WORDS.items() if words & set(named)), "magnitude")


def position_of(dataset, frame=None):
    """Corner (LPS, mm), directions of a row and of a column, and distances [between rows, between columns]; or None."""
    levels = _levels(dataset, frame)
    corner, axes, spacing = (
        _value(levels, keyword) for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    if corner is None or axes is None or spacing is None:
        return None
    axes = np.array([float(v) for v in axes])
    return np.array([float(v) for v in corner]), axes[:3], axes[3:], tuple(float(v) for v in spacing)


def rescale_of(dataset, frame=None):
    """Slope and intercept from stored numbers to values."""
    levels = _levels(dataset, frame)
    slope, intercept = (_number(_value(levels, f"Rescale{name}")) for name in ("Slope", "Intercept"))
    return slope or 1.0, intercept or 0.0


def _sequence(fields, levels):
    """PulseSequenceType and MTState from the codes of the scanner."""
    variant = fields.get("SequenceVariant", [])
    variant = {variant} if isinstance(variant, str) else set(variant)
    scanning = fields.get("ScanningSequence", [])
    gradient = "GR" in ([scanning] if isinstance(scanning, str) else scanning)
    found = {}
    spoiling = str(_value(levels, "Spoiling") or "")
    steady = str(_value(levels, "SteadyStatePulseSequence") or "")
    if (gradient and "SP" in variant) or spoiling in ("RF", "RF_AND_GRADIENT"):
        found["PulseSequenceType"] = "SPGR"
    elif (gradient and "SS" in variant) or steady not in ("", "NONE"):
        found["PulseSequenceType"] = "SSFP"
    if "MTC" in variant or str(_value(levels, "MagnetizationTransfer") or "NONE") != "NONE":
        found["MTState"] = True
    return found


def _matrix(dataset, levels):
    """What was measured along the phase-encoding axis and the other, in the names of dcm2niix."""
    direction = str(_value(levels, "InPlanePhaseEncodingDirection") or "")
    acquired = [int(n) for n in _value(levels, "AcquisitionMatrix") or () if n]
    if direction[:3] not in ("ROW", "COL") or len(acquired) != 2:
        return {}
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    along_columns = direction.startswith("COL")
    return {
        "InPlanePhaseEncodingDirectionDICOM": "COL" if along_columns else "ROW",
        "AcquisitionMatrixPE": acquired[1],
        "BaseResolution": acquired[0],
        "ReconMatrixPE": rows if along_columns else columns,
    }


def _levels(dataset, frame):
    """Datasets from the nearest to the farthest: functional groups of the frame, those of all frames, the top."""
    found = []
    if frame is not None:
        for keyword, number in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
            groups = dataset.get(keyword)
            for element in groups[number] if groups else ():
                if element.VR == "SQ" and element.value:
                    found.append(element.value[0])
    return [*found, dataset]


def _value(levels, keyword):
    for level in levels:
        value = level.get("FrameType" if keyword == "ImageType" and "FrameType" in level else keyword)
        if value is not None:
            return value
    return None


def _number(value):
    try:
        value = float(value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
