"""The phase cycles of bSSFP on their own grid, since raw phase is never resampled, and R2 from them."""

from dataclasses import replace

import numpy as np

from .acquisition import acquisition_parameters
from .alignment import moved_arrays, registered
from .errors import InputError
from .maps import QuantitativeMap
from .multi_echo import measured_noise
from .relaxometry.bssfp import R2_METHODS, fit_r2_bssfp, transfer_note
from .resample import nearest_on_grid, on_grid, sd_on_grid

NEEDED = (
    ("flip_angle", "FlipAngle"),
    ("repetition_time", "RepetitionTimeExcitation"),
    ("phase_cycle", "SpoilingRFPhaseIncrement"),
)
WITHOUT = "or leave out R2 with --maps."


class PhaseCycles:
    """bSSFP scans that lie in one place, and where that is."""

    def __init__(self, scans, series, settings):
        first = scans[0]
        for scan in scans:
            for name, text in NEEDED:
                if getattr(scan, name) is None:
                    raise InputError(f"{scan.name}: {text} is missing, R2 needs it; add it, {WITHOUT}")
            if not scan.geometry.same_grid(first.geometry):
                raise InputError(
                    f"{scan.name} lies on another grid than {first.name}, expected one grid for all phase cycles; "
                    f"export them from one protocol, {WITHOUT}"
                )
        read = [scan.read() for scan in scans]
        self.series, self.geometry = series, first.geometry
        self.notes = [note for scan in scans for note in scan.notes] + [f"{first.name}: {transfer_note()}"]
        self.scans = self._together(scans, [m[0] for m, _ in read], settings)
        chosen = [n for n, scan in enumerate(scans) if scan in self.scans]
        self.magnitude = np.stack([read[n][0][0] for n in chosen])
        phases = [read[n][1] for n in chosen]
        self.phase = None if any(p is None for p in phases) else np.stack([p[0] for p in phases])
        self.options = settings.r2
        if self.phase is None and self.options.method != "magnitude":
            self.options = replace(self.options, method="magnitude")
            self.notes.append(f"{first.name}: there is no phase, so R2 was made from the magnitudes alone.")
        self.noise = float(
            np.mean(
                [
                    measured_noise(scan.name, image[None], None, self.geometry)
                    for scan, image in zip(self.scans, self.magnitude, strict=True)
                ]
            )
        )

    def _together(self, scans, images, settings):
        """The scans that lie in one place: all of them, or where the head moved those of the largest flip angle."""
        found = {}
        for angle in sorted({scan.flip_angle for scan in scans}):
            group = [n for n, scan in enumerate(scans) if scan.flip_angle == angle]
            name = scans[group[0]].name
            mean = np.mean([images[n] for n in group], axis=0)  # has no bands, so it registers like any other image
            found[angle] = registered(name, mean, self.geometry, self.series.place, settings.registration)
            self.series.keep(name, found[angle])
        largest = max(found)
        self.registration = found[largest]
        if all(np.array_equal(f.ras_transform, self.registration.ras_transform) for f in found.values()):
            return list(scans)
        self.notes.append(
            f"{scans[0].name}: the head moved between the flip angles of bSSFP, so only the largest was used for R2."
        )
        return [scan for scan in scans if scan.flip_angle == largest]

    def fit(self, fit, b1, settings, steps):
        """R2 on the grid of the series: values, SD, quality, validity."""
        source, back = self.series.place.geometry, np.linalg.inv(self.registration.ras_transform)
        r1, inside = on_grid(fit.r1, source, self.geometry, back, fit.valid)
        r1_sd, _ = sd_on_grid(fit.sd, source, self.geometry, back, fit.valid)
        b1_here, _ = on_grid(b1.b1, source, self.geometry, back)
        b1_sd, _ = on_grid(b1.sd, source, self.geometry, back)
        mask = inside & (nearest_on_grid(self.series.place.mask, source, self.geometry, back) > 0)
        try:
            found = fit_r2_bssfp(
                self.magnitude,
                self.phase,
                [scan.flip_angle for scan in self.scans],
                [scan.phase_cycle for scan in self.scans],
                self.scans[0].repetition_time,
                self.noise,
                r1,
                r1_sd,
                b1_here,
                b1_sd,
                mask,
                self.options,
                progress=steps.report,
                cancelled=steps.cancelled,
            )
        except ValueError as error:
            text = str(error).rstrip(".")
            raise InputError(f"{self.scans[0].name}: {text}; correct it, {WITHOUT}") from error
        arrays = found.r2, found.sd, found.quality, found.valid
        return moved_arrays(arrays, self.geometry, source, self.registration.ras_transform)

    def map(self, arrays, b1):
        """QuantitativeMap of R2 on the grid of the series."""
        method = R2_METHODS[self.options.method]
        degrees = {
            "FlipAngle": [scan.flip_angle for scan in self.scans],
            "PhaseCycles": [scan.phase_cycle for scan in self.scans],
        }
        listed = {name: [round(float(np.degrees(a)), 6) for a in angles] for name, angles in degrees.items()}
        sources = tuple(source for scan in self.scans for source in scan.sources)
        return QuantitativeMap(
            "R2",
            *arrays,
            geometry=self.series.place.geometry,
            algorithm=method.title,
            reference=method.reference,
            quality_meaning=method.quality_meaning,
            parameters=acquisition_parameters(self.scans[0]) | listed | {"TransmitField": b1.method},
            sources=sources + self.series.sources + b1.sources,
        )
