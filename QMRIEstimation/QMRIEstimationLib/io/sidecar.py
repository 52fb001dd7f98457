"""JSON sidecars: merged by BIDS inheritance, every field checked and turned into the engine's units.

Units are read, never guessed: a value that only makes sense in another unit is refused with both named.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..units import GYROMAGNETIC_RATIO, from_user
from .names import parse_name

SPOILED = ("SPGR", "FLASH", "SPOILED", "T1FFE", "VIBE", "LAVA")
BALANCED = ("SSFP", "TRUEFISP", "TRUFI", "FIESTA", "BALANCED", "BFFE", "BTFE")


@dataclass(frozen=True, eq=False)
class Sidecar:
    """The fields that apply to one image.

    Attributes:
        image: path of the image. fields: name -> value as in JSON. origin: field -> file it came from.
        files: the JSON files that apply, the nearest last.
    """

    image: Path
    fields: dict
    origin: dict
    files: tuple

    def where(self, field=""):
        """File name for a message: where the field stands, else the nearest sidecar, else the one expected."""
        if field in self.origin:
            return self.origin[field].name
        return self.files[-1].name if self.files else self.image.name.split(".")[0] + ".json"

    def text(self, field):
        """A string field; empty when absent."""
        value = self.fields.get(field, "")
        return value if isinstance(value, str) else self._refuse(field, "a text in quotes")

    def number(self, field, low, high, unit, *, needed_by="", hint=""):
        """A number within `low` (excluded) to `high`, in BIDS units; None when absent and not needed.

        Raises:
            InputError: missing though `needed_by` names who needs it, not a number, or out of range.
        """
        value = self.fields.get(field)
        if value is None:
            if needed_by:
                raise InputError(
                    f"{self.where()}: {field} is missing, {needed_by} needs it in {unit}; add it to the sidecar."
                )
            return None
        return self.checked(field, value, low, high, unit, hint)

    def checked(self, field, value, low, high, unit, hint=""):
        """`value` as a float when it is a number within the range; see `number`."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._refuse(field, f"a number in {unit}, without quotes")
        if not (math.isfinite(value) and low < value <= high):
            looks = f" (this looks like {hint})" if hint and value > high else ""
            raise InputError(
                f"{self.where(field)}: {field} is {value:g}{looks}, expected above {low:g} up to {high:g} {unit}; "
                "correct the sidecar."
            )
        return float(value)

    def echo_times(self, count):
        """Echo time (s) of each of `count` images of the file."""
        value = self.fields.get("EchoTime")
        if count == 1 and not isinstance(value, list):
            return (self.number("EchoTime", 0, 1, "s", needed_by="every map", hint="milliseconds"),)
        if not isinstance(value, list) or len(value) != count:
            found = f"{len(value)} numbers" if isinstance(value, list) else json.dumps(value)
            wanted, held = (f"a list of {count} numbers", f"{count} volumes") if count > 1 else ("one", "one volume")
            raise InputError(
                f"{self.where('EchoTime')}: EchoTime is {found}, expected {wanted} in s because "
                f"{self.image.name} holds {held}; correct the sidecar."
            )
        return tuple(self.checked("EchoTime", v, 0, 1, "s", "milliseconds") for v in value)

    def repetition_time(self, high, needed_by=""):
        """RepetitionTimeExcitation, or RepetitionTime where that is absent, in s; and which of both it was."""
        field = "RepetitionTimeExcitation" if "RepetitionTimeExcitation" in self.fields else "RepetitionTime"
        if field not in self.fields and needed_by:
            field = "RepetitionTimeExcitation"
        return self.number(field, 0, high, "s", needed_by=needed_by, hint="milliseconds"), field

    def flip_angle(self, needed_by=""):
        """FlipAngle in rad."""
        degrees = self.number("FlipAngle", 0, 360, "degrees", needed_by=needed_by)
        if degrees is not None and degrees < 0.5:
            raise InputError(
                f"{self.where('FlipAngle')}: FlipAngle is {degrees:g} (this looks like radians), expected degrees; "
                "correct the sidecar."
            )
        return None if degrees is None else from_user(degrees, "rad")

    def phase_increment(self, needed_by=""):
        """SpoilingRFPhaseIncrement (of SSFP: the phase-cycling increment) in rad."""
        degrees = self.number("SpoilingRFPhaseIncrement", -360.001, 360, "degrees", needed_by=needed_by)
        return None if degrees is None else from_user(degrees, "rad")

    def spoiling_dephasing(self):
        """SpoilingGradientMoment (mT s/m) as dephasing of protons, rad/mm."""
        moment = self.number("SpoilingGradientMoment", 0, 10, "mT s/m", hint="mT ms/m")
        return None if moment is None else 2 * math.pi * GYROMAGNETIC_RATIO * moment * 1e-6

    def field_strength(self):
        """MagneticFieldStrength in T."""
        return self.number("MagneticFieldStrength", 0, 25, "tesla", hint="another unit")

    def imaging_frequency(self):
        """ImagingFrequency in Hz; BIDS writes MHz."""
        megahertz = self.number("ImagingFrequency", 0, 1200, "MHz", hint="hertz")
        return None if megahertz is None else megahertz * 1e6

    def b0_dir(self):
        """B0_dir: unit vector of the main field in RAS, or None."""
        value = self.fields.get("B0_dir")
        if value is None:
            return None
        numbers = isinstance(value, list) and len(value) == 3
        numbers = numbers and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
        length = math.sqrt(sum(v * v for v in value)) if numbers else math.nan
        if not abs(length - 1) <= 0.01:
            self._refuse("B0_dir", "three numbers in RAS of length 1, as [0, 0, 1]")
        return tuple(v / length for v in value)

    def magnetization_transfer(self):
        """MTState: True, False, or None when the sidecar is silent."""
        value = self.fields.get("MTState")
        return value if value is None or isinstance(value, bool) else self._refuse("MTState", "true or false")

    def image_type(self):
        """ImageType as a list of words; scanners' exports write it as a list or with backslashes."""
        value = self.fields.get("ImageType", [])
        return value.split("\\") if isinstance(value, str) else list(value) if isinstance(value, list) else []

    def frequency_note(self):
        """A sentence when ImagingFrequency and MagneticFieldStrength contradict each other, else empty."""
        strength, frequency = self.field_strength(), self.imaging_frequency()
        if strength is None or frequency is None or abs(frequency / (strength * GYROMAGNETIC_RATIO) - 1) < 0.1:
            return ""  # nominal 3 T is 2.89 T in some magnets
        return (
            f"{self.where('ImagingFrequency')}: ImagingFrequency {frequency / 1e6:g} MHz does not belong to protons at "
            f"MagneticFieldStrength {strength:g} T; the field strength was used."
        )

    def pulse_sequence(self):
        """`SPGR`, `SSFP` or empty, from any spelling of PulseSequenceType, else from the scanner's own codes."""
        written = "".join(c for c in self.text("PulseSequenceType").upper() if c.isalnum())
        if any(word in written for word in BALANCED):
            return "SSFP"
        variant = self.fields.get("SequenceVariant", "")
        variant = variant if isinstance(variant, list) else str(variant).replace("\\", "_").split("_")
        spoiled = any(word in written for word in SPOILED) or self.fields.get("SpoilingState") is True
        return "SPGR" if spoiled or "SP" in variant else ""

    def _refuse(self, field, expected):
        raise InputError(
            f"{self.where(field)}: {field} is {json.dumps(self.fields[field])}, expected {expected}; "
            "correct the sidecar."
        )


def read_sidecar(image, root):
    """The Sidecar of a BidsFile: every applicable JSON from `root` down to its folder, the nearer one wins.

    Raises:
        InputError: a file that is not JSON, or not a JSON object.
    """
    root = Path(root).resolve()
    folder = image.path.parent.resolve()
    fields, origin, files = {}, {}, []
    for level in reversed([folder, *folder.parents]):
        if level != root and root not in level.parents:
            continue
        for path in _applicable(image, level):
            for field, value in _load(path).items():
                fields[field], origin[field] = value, path
            files.append(path)
    return Sidecar(image.path, fields, origin, tuple(files))


def _applicable(image, folder):
    """JSON files of a folder whose suffix is the image's and whose entities the image has; the more exact last."""
    candidates = (parse_name(path) for path in folder.glob(f"*{image.suffix}.json"))
    found = [
        c
        for c in candidates
        if c is not None and c.suffix == image.suffix and c.entities.items() <= image.entities.items()
    ]
    return [c.path for c in sorted(found, key=lambda c: (len(c.entities), c.name))]


def _load(path):
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path.name}: is not valid JSON ({error}), expected a JSON object; correct the file."
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{path.name}: holds a JSON {type(value).__name__}, expected an object; correct the file.")
    return value
