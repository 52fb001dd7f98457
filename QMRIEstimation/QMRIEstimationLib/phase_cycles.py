"""The phase cycles of bSSFP on their own grid, since raw phase is never resampled, and R2 from them."""

from dataclasses import replace

import numpy as np

from .acquisition import acquisition_parameters
from .alignment import all_registered, moved, moved_arrays, moved_noise, noise_share
from .errors import InputError, Misaligned, Unusable
from .maps import QuantitativeMap
from .multi_echo import measured_noise
from .noise import Noise
from .relaxometry.bssfp import R2_METHODS, fit_r2_bssfp, transfer_note
from .resample import nearest_on_grid, on_grid, sd_on_grid

NEEDED = (
    ("flip_angle", "FlipAngle"),
    ("repetition_time", "RepetitionTimeExcitation"),
    ("phase_cycle", "SpoilingRFPhaseIncrement"),
)
WITHOUT = "or leave out R2 with --maps."
LARGEST_MISFIT = 1.5  # median over the brain, in noise SDs; 1 is expected of cycles of the same place


class PhaseCycles:
    """bSSFP scans that lie in one place, and where that is.

    The ellipse of LORE needs all phase cycles of the very same place. Where its misfit says that they are not, each
    cycle is registered by itself; if the head did move, only magnitudes can be moved, and R2 is made of those.
    """

    def __init__(self, scans, series, settings):
        first = scans[0]
        for scan in scans:
            for name, text in NEEDED:
                if getattr(scan, name) is None:
                    raise InputError(f"{scan.name}: {text} is missing, R2 needs it; add it, {WITHOUT}")
            if not scan.geometry.same_grid(first.geometry):
                raise Unusable(
                    f"{scan.name} lies on another grid than {first.name}, expected one grid for all phase cycles; "
                    f"export them from one protocol, {WITHOUT}"
                )
        read = [scan.read() for scan in scans]
        self.series, self.geometry, self.settings = series, first.geometry, settings
        self.notes = [note for scan in scans for note in scan.notes] + [f"{first.name}: {transfer_note()}"]
        self.scans, self.images = list(scans), [m[0] for m, _ in read]
        noise = [measured_noise(scan, image[None]) for scan, image in zip(scans, self.images, strict=True)]
        self.noise = Noise(float(np.mean([n.sd for n in noise])), noise[0].share)  # denoised together or not at all
        self.options, self.looked, self.noise_share, self.off_resonance = settings.r2, False, None, None
        self.magnitude = self.noise.evened(np.stack(self.images))
        self.phase = None if any(p is None for _, p in read) else np.stack([p[0] for _, p in read])
        if self.phase is None and self.options.method != "magnitude":
            self.options = replace(self.options, method="magnitude")
            self.notes.append(f"{first.name}: there is no phase, so R2 was made from the magnitudes alone.")
        self._together()

    def _together(self):
        """Register the flip angles; where they lie in different places, each cycle by itself."""
        means = []
        for angle in sorted({scan.flip_angle for scan in self.scans}):
            group = [n for n, scan in enumerate(self.scans) if scan.flip_angle == angle]
            mean = np.mean([self.images[n] for n in group], axis=0)  # has no bands: registers like any other image
            means.append((self.scans[group[0]].name, mean, self.geometry))
        try:
            found = all_registered(means, self.series.place, self.settings.registration)
        except Misaligned:
            self._separately()
            return
        self.registration = found[-1]
        if any(not np.array_equal(f.ras_transform, self.registration.ras_transform) for f in found):
            self._separately()
            return
        self.series.keep(self.scans[0].name, self.registration)

    def _separately(self):
        """Register each cycle; where they lie in different places, go on with their magnitudes on the series' grid."""
        self.looked = True
        place = self.series.place
        scans = [(scan.name, image, self.geometry) for scan, image in zip(self.scans, self.images, strict=True)]
        found = all_registered(scans, place, self.settings.registration)
        self.registration = found[0]
        if all(np.array_equal(f.ras_transform, found[0].ras_transform) for f in found):
            return
        moved_images, variance = [], np.zeros(place.geometry.shape, np.float32)
        for scan, image, own in zip(self.scans, self.images, found, strict=True):
            self.series.keep(scan.name, own)
            factor = np.float32(1) if own.identity else self.series.other_place_in_coil(own)
            moved_images.append(factor * moved(image, self.geometry, place, own))
            left = factor * noise_share(self.geometry, place, own)
            if self.noise.share is not None:
                left = left * moved_noise(self.noise, self.geometry, place, own).share
            variance += np.square(left) / len(self.scans)
        self.magnitude, self.phase, self.noise_share = np.stack(moved_images), None, np.sqrt(variance)
        self.geometry, self.registration = place.geometry, replace(found[0], ras_transform=np.eye(4))
        self.options, self.off_resonance = replace(self.options, method="magnitude"), None
        self.notes.append(
            f"{self.scans[0].name}: the head moved between the phase cycles of bSSFP, so R2 was made from their "
            "magnitudes alone, each put back; phase cannot be."
        )

    def fit(self, fit, b1, settings, steps):
        """R2 on the grid of the series: values, SD, quality, validity."""
        arrays, misfit = self._fit(fit, b1, steps)
        if misfit > LARGEST_MISFIT and self.phase is not None and not self.looked:
            self._separately()
            if self.phase is None:
                arrays, _ = self._fit(fit, b1, steps)
            else:
                self.notes.append(
                    f"{self.scans[0].name}: the phase cycles of bSSFP fit their model only to {misfit:.1f} noise SDs, "
                    "though the head did not move; flow, or a tissue of several frequencies, may be the reason."
                )
        return arrays

    def _fit(self, fit, b1, steps):
        """R2 on the grid of the series, and the median misfit in noise SDs."""
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
                self.noise.sd,
                r1,
                r1_sd,
                b1_here,
                b1_sd,
                mask,
                self.options,
                noise_share=self.noise_share,
                progress=steps.report,
                cancelled=steps.cancelled,
            )
        except ValueError as error:
            text = str(error).rstrip(".")
            raise InputError(f"{self.scans[0].name}: {text}; correct it, {WITHOUT}") from error
        misfit = float(np.median(found.quality[found.valid])) if found.valid.any() else 0.0
        arrays = found.r2, found.sd, found.quality, found.valid
        if found.off_resonance is not None:  # jumps where it wraps, which an interpolation would fill
            there = np.where(found.valid, found.off_resonance, 0).astype(np.float32)
            self.off_resonance = nearest_on_grid(there, self.geometry, source, self.registration.ras_transform)
        return moved_arrays(arrays, self.geometry, source, self.registration.ras_transform), misfit

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
