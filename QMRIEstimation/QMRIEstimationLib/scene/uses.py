"""What an image of the scene can be used for, and what must be known of it then; no node and no widget here."""

import math
from dataclasses import dataclass, field

from ..errors import InputError
from ..units import from_user, to_user

NOT_USED = "not used"
PARTS = {"magnitude": "mag", "phase": "phase", "real": "real", "imaginary": "imag"}  # shown -> entity of BIDS


@dataclass(frozen=True)
class Field:
    """One acquisition parameter: BIDS name, what the user reads, in short, BIDS unit as the engine calls it, range."""

    name: str
    title: str
    short: str
    unit: str
    low: float
    high: float

    def shown(self, values):
        """Values in BIDS units as the user reads them: milliseconds and degrees, blanks between."""
        return " ".join(f"{to_user(value, self.unit):.6g}" for value in values)

    def parsed(self, text):
        """Values in BIDS units from what the user typed.

        Raises:
            InputError: a word is no number, or out of range.
        """
        words = text.replace(",", " ").replace(";", " ").split()
        try:
            values = tuple(float(f"{from_user(float(word), self.unit):.12g}") for word in words)
        except ValueError:
            raise InputError(f"{self.title} is '{text}', expected numbers in {self.shown_unit}; correct it.") from None
        for value, word in zip(values, words, strict=True):
            if not (math.isfinite(value) and self.low <= value <= self.high):
                low, high = (f"{to_user(limit, self.unit):g}" for limit in (self.low, self.high))
                unit = self.shown_unit
                raise InputError(
                    f"{self.title} is {word}, expected {low} to {high} {unit}; correct it (is the unit right?)."
                )
        return values

    @property
    def shown_unit(self):
        """Unit that the user reads."""
        return "ms" if self.unit == "s" else "°"


# BIDS keeps angles in degrees, so only times are converted.
FIELDS = {
    f.name: f
    for f in (
        Field("EchoTime", "Echo time", "TE", "s", 1e-4, 1.0),
        Field("FlipAngle", "Flip angle", "Flip", "deg", 0.5, 360.0),
        Field("RepetitionTimeExcitation", "Repetition time", "TR", "s", 1e-4, 20.0),
        Field("SpoilingRFPhaseIncrement", "Phase increment", "Increment", "deg", -360.0, 360.0),
    )
}
TE, FA, TR, INCREMENT = FIELDS


@dataclass(frozen=True)
class Use:
    """A use of an image: what the user reads, suffix of BIDS, parameters it needs, and those it can use."""

    title: str
    suffix: str
    needs: tuple = ()
    takes: tuple = ()
    parts: tuple = ("magnitude",)
    label: str = ""


_COMPLEX = tuple(PARTS)
USES = {
    use.title: use
    for use in (
        Use("multi-echo GRE", "MEGRE", (TE,), (FA, TR), _COMPLEX),
        Use("spoiled GRE", "VFA", (FA, TR), (TE, INCREMENT), _COMPLEX),
        Use("bSSFP", "VFA", (FA, TR, INCREMENT), (TE,), _COMPLEX),
        Use("multi-echo spin echo", "MESE", (TE,), (FA, TR)),
        Use("AFI", "TB1AFI", (FA, TR), (TE, INCREMENT)),
        Use("double angle", "TB1DAM", (FA,), (TR, TE)),
        Use("transmit field map", "TB1map"),
        Use("body-coil reference", "RB1COR", label="body"),
        Use("head-coil reference", "RB1COR", label="head"),
        Use("T1-weighted", "T1w"),
        Use("T1-weighted after gadolinium", "T1w", label="gadolinium"),
        Use("FLAIR", "FLAIR"),
    )
}
ORDER = (*USES, "", NOT_USED)  # of rows in tables
SPOILED, BALANCED = "spoiled GRE", "bSSFP"


@dataclass(frozen=True)
class Acquisition:
    """What is known of one image of the scene.

    Attributes:
        name: of the node. use: key of USES, NOT_USED, or empty where it is not known. part: key of PARTS.
        frames: number of volumes. values: BIDS name -> tuple of one number for all frames or one for each.
        origin: BIDS name, "Use" or "Part" -> where the value came from.
        header: every other field that is known, in BIDS names and units.
        broken: BIDS name -> text that could not be read.
    """

    name: str
    use: str = ""
    part: str = "magnitude"
    frames: int = 1
    values: dict = field(default_factory=dict)
    origin: dict = field(default_factory=dict)
    header: dict = field(default_factory=dict)
    broken: dict = field(default_factory=dict)

    @property
    def rank(self):
        """Where it stands among others: by use, flip angle, increment, echo time, part."""
        use = ORDER.index(self.use) if self.use in ORDER else len(ORDER)
        values = tuple(self.values.get(name, (0.0,))[0] for name in (FA, INCREMENT, TR, TE))
        return (use, *values, list(PARTS).index(self.part) if self.part in PARTS else 0, self.name)

    @property
    def used(self):
        """Whether the image takes part."""
        return self.use != NOT_USED

    def problems(self):
        """What is missing or wrong: BIDS name, "Use" or "Part" -> one sentence."""
        if not self.used:
            return {}
        if self.use not in USES:
            return {"Use": f"{self.name}: it is not known what kind of scan this is; choose it, or 'not used'."}
        use, found = USES[self.use], {}
        if self.part not in use.parts:
            found["Part"] = f"{self.name}: of a {self.use} only the magnitude is used; choose magnitude or 'not used'."
        for name in (*use.needs, *use.takes):
            sentence = self._problem_of(FIELDS[name], name in use.needs)
            if sentence:
                found[name] = sentence
        return found

    def frame(self, number):
        """BIDS name -> value of one frame, without those that are missing."""
        chosen = {name: number if len(values) > 1 else 0 for name, values in self.values.items()}
        return {name: self.values[name][place] for name, place in chosen.items() if place < len(self.values[name])}

    def _problem_of(self, f, needed):
        if f.name in self.broken:
            return f"{self.name}: {self.broken[f.name]}"
        values = self.values.get(f.name, ())
        if not values and needed:
            return f"{self.name}: {f.title.lower()} is missing, a {self.use} needs it in {f.shown_unit}; enter it."
        if len(values) > 1 and len(values) != self.frames:
            return (
                f"{self.name}: {len(values)} values of {f.title.lower()} for {self.frames} volumes, expected one, or "
                "one a volume; correct them."
            )
        several = self.frames > 1 and self.use in ("multi-echo GRE", "multi-echo spin echo")
        if values and f.name == TE and several and len(set(values)) < self.frames:
            return f"{self.name}: {self.frames} volumes need {self.frames} different echo times; correct them."
        try:
            f.parsed(f.shown(values))
        except InputError as error:
            return f"{self.name}: {error}"
        return ""
