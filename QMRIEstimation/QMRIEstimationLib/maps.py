"""What comes out: a quantitative map with its uncertainty, quality and validity."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .geometry import Geometry, check_same_shape
from .units import MAP_UNITS


@dataclass(frozen=True, eq=False)
class QuantitativeMap:
    """One quantity on one grid.

    Attributes:
        name: R1, R2, R2star, PD or Chi, or ChiParamagnetic, ChiDiamagnetic.
        values, sd: float32 [k, j, i] in `unit`; 0 where not valid, and 0 everywhere for an SD that is not known.
        quality: float32 [k, j, i], what `quality_meaning` says.
        valid: bool [k, j, i].
        algorithm, reference: method and paper, for the sidecar.
        parameters: acquisition parameters used, in BIDS names and units.
        sources: names of what it was made from.
        notes: sentences for the report (what was corrected, what is doubtful).
        sd_meaning: what `sd` is.
    """

    name: str
    values: np.ndarray
    sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray
    geometry: Geometry
    algorithm: str
    reference: str
    quality_meaning: str
    parameters: dict = field(default_factory=dict)
    sources: tuple = ()
    notes: tuple = ()
    sd_meaning: str = "one standard deviation, propagated from the measured noise"

    def __post_init__(self):
        check_same_shape(values=self.values, sd=self.sd, quality=self.quality, valid=self.valid)
        for name in ("values", "sd", "quality"):
            array = getattr(self, name)
            clean = np.where(self.valid & np.isfinite(array), array, 0).astype(np.float32)
            object.__setattr__(self, name, clean)

    @property
    def unit(self):
        """Unit of values and sd."""
        return MAP_UNITS[self.name]


@dataclass(frozen=True, eq=False)
class Estimate:
    """Everything the pipeline made of one session.

    Attributes:
        session: what it was made from.
        maps: name -> QuantitativeMap, only those that the data allowed.
        geometry: the reference grid; all arrays below lie on it.
        brain_mask: bool [k, j, i]. magnitude: float32, first echo, for pictures.
        images: name -> float32 [k, j, i]: total_field, local_field and chi_misfit (Hz), wrapped_phase and
            unwrapped_phase (rad, last echo), field_residual (rad), transmit_field (percent), off_resonance (Hz, of
            bSSFP, wrapped), removed_noise (noise SDs).
        notes: warnings and corrections, one sentence each.
        figures: name -> number or text for the record (noise SD, medians, sign of the phase, reference offset).
        timings: stage -> seconds.
        registrations: name of scan -> registration.Registration to the scan that the others were brought to.
        respond: function from susceptibility added to the object (ppm, on the grid) to the change of the map of chi;
            None where chi was not made here.
    """

    session: object
    maps: dict
    geometry: Geometry
    brain_mask: np.ndarray
    magnitude: np.ndarray
    images: dict = field(default_factory=dict)
    notes: tuple = ()
    figures: dict = field(default_factory=dict)
    timings: dict = field(default_factory=dict)
    registrations: dict = field(default_factory=dict)
    respond: Callable | None = None
