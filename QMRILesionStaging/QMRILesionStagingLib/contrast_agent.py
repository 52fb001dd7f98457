"""Whether a scan was made before the contrast agent, and whether two T1-weighted scans can be compared."""

import re
from datetime import datetime
from typing import NamedTuple

AGENT_FIELDS = ("ContrastBolusAgent", "ContrastBolusIngredient", "ContrastBolusRoute", "ContrastBolusVolume")
SAME_SEQUENCE = {  # field -> relative difference that is still the same sequence
    "EchoTime": 0.05,
    "RepetitionTime": 0.02,
    "RepetitionTimeExcitation": 0.02,
    "InversionTime": 0.02,
    "FlipAngle": 0.05,
    "MagneticFieldStrength": 0.02,
}
SAME_WORDS = ("PulseSequenceType", "ScanningSequence", "MRAcquisitionType", "SequenceName")
LONGEST_DAYS = 7  # between the maps and the scan after the agent

BEFORE, AFTER, UNKNOWN = "before", "after", "unknown"


class Timing(NamedTuple):
    """state: before, after or unknown. sentence: what was found, empty where no agent was given."""

    state: str
    sentence: str


def timing_of(name, header, agent_scans):
    """Timing of a scan against the contrast agent.

    Args:
        name: of the scan. header: its sidecar fields. agent_scans: list of (name, header) of the scans that were made
            after the agent.
    """
    if _given(header):
        return Timing(AFTER, f"{name}: its header names a contrast agent, so it was made after it; its maps show the "
                             "agent, and no rim or stage is read from them.")  # fmt: skip
    if not agent_scans:
        return Timing(BEFORE, "")
    order = [_order(header, other) for _, other in agent_scans]
    if AFTER in order:
        return Timing(AFTER, f"{name}: was made after {agent_scans[order.index(AFTER)][0]}, and so after the contrast "
                             "agent; its maps show the agent, and no rim or stage is read from them.")  # fmt: skip
    if UNKNOWN in order:
        text = (
            f"{name}: whether it was made before the contrast agent of {agent_scans[0][0]} is not known; it was taken "
            "for so, check the order (AcquisitionTime or SeriesNumber)."
        )
        return Timing(UNKNOWN, text)
    return Timing(BEFORE, "")


def why_not_comparable(before, after):
    """Why two T1-weighted scans cannot show uptake, as a sentence; empty when they can.

    Args:
        before, after: (name, header).
    """
    for field, tolerance in SAME_SEQUENCE.items():
        a, b = before[1].get(field), after[1].get(field)
        if _number(a) and _number(b) and abs(a - b) > tolerance * max(abs(a), abs(b)):
            return (
                f"{after[0]}: {field} is {b:g} and of {before[0]} {a:g}, expected the same sequence before and after "
                "the contrast agent; enhancement is unknown."
            )
    for field in SAME_WORDS:
        a, b = before[1].get(field), after[1].get(field)
        if a and b and str(a) != str(b):
            return (
                f"{after[0]}: {field} is {b} and of {before[0]} {a}, expected the same sequence before and after the "
                "contrast agent; enhancement is unknown."
            )
    return ""


def days_apart(first, second):
    """Days between two scans by their headers, None where one does not tell its date."""
    times = [_date(header) for header in (first, second)]
    return None if None in times else abs((times[0] - times[1]).total_seconds()) / 86400


def _number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _given(header):
    words = [str(header[field]).strip().lower() for field in AGENT_FIELDS if header.get(field)]
    return any(word not in ("none", "no", "0", "n/a", "na") for word in words)


def _order(header, other):
    """BEFORE, AFTER or UNKNOWN: of the first scan against the second, by time of day, else by series number."""
    dates = _date(header), _date(other)
    if None not in dates and dates[0] != dates[1]:
        return BEFORE if dates[0] < dates[1] else AFTER
    times = _seconds(header.get("AcquisitionTime")), _seconds(other.get("AcquisitionTime"))
    if None not in times and times[0] != times[1]:
        return BEFORE if times[0] < times[1] else AFTER
    series = header.get("SeriesNumber"), other.get("SeriesNumber")
    if _number(series[0]) and _number(series[1]) and series[0] != series[1]:
        return BEFORE if series[0] < series[1] else AFTER
    return UNKNOWN


def _date(header):
    text = str(header.get("AcquisitionDateTime", ""))
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _seconds(text):
    """Seconds of a time of day as dcm2niix (13:45:10.5) or DICOM (134510.5) writes it."""
    match = re.fullmatch(r"(\d{1,2}):?(\d{2}):?(\d{2}(?:\.\d*)?)", str(text or "").strip())
    return None if match is None else 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
