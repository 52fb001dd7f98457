"""The spoiled gradient echoes of several flip angles, brought to one grid, and R1 from them."""

import numpy as np

from .acquisition import acquisition_parameters
from .alignment import Place, motion_note, moved, registered
from .maps import QuantitativeMap
from .multi_echo import brain_of, measured_noise
from .receive_settings import receive_differences
from .relaxometry.r1 import R1_METHODS, fit_r1
from .relaxometry.spoiling import RfSpoiling, default_increment, typical_r2
from .resample import nearest_on_grid, on_grid

FLUID_R2STAR = 6.0  # 1/s; slower is fluid, half as much as the slowest tissue at 1.5 T
WATER_R2 = 0.6  # 1/s, of cerebrospinal fluid


class FlipSeries:
    """The flip angles of one session on one grid."""

    def __init__(self, session, flips, multi_echo, settings, steps):
        self.scans = flips
        last = flips[-1]  # the largest flip angle has the contrast that registers best
        images = [scan.read()[0][0] for scan in flips]
        self.notes = [note for scan in flips for note in scan.notes]
        gain = receive_differences({scan.name: scan.header for scan in flips})
        self.notes += gain.corrected
        images = [image * np.float32(gain.intensity_factors[s.name]) for s, image in zip(flips, images, strict=True)]
        self.flip_angles = [gain.flip_angle_factors[scan.name] * scan.flip_angle for scan in flips]
        self.noise = [
            measured_noise(scan.name, i[None], None, scan.geometry) for scan, i in zip(flips, images, strict=True)
        ]
        self.registrations, self.from_multi_echo = {}, None
        place = Place(last.name, images[-1], last.geometry, None)
        if multi_echo is not None:
            scan = multi_echo.scan
            found = registered(scan.name, multi_echo.magnitude, scan.geometry, place, settings.registration)
            self.keep(scan.name, found)
            self.from_multi_echo = np.linalg.inv(found.ras_transform)
            mask = nearest_on_grid(multi_echo.mask, scan.geometry, last.geometry, found.ras_transform).astype(bool)
        else:
            mask, mask_notes = brain_of(session, last.name, images[0], last.geometry, settings)
            self.notes += mask_notes
        self.place = Place(place.name, place.magnitude, place.geometry, mask)
        for number, (scan, image) in enumerate(zip(flips[:-1], images[:-1], strict=True)):
            steps.report((number + 1) / len(flips), f"registering {scan.name}")
            found = registered(scan.name, image, scan.geometry, self.place, settings.registration)
            self.keep(scan.name, found)
            images[number] = moved(image, scan.geometry, self.place, found)
        self.magnitude = np.stack(images)
        if any(scan.is_2d for scan in flips):
            self.notes.append(
                f"{last.name}: is a 2-D scan, whose slice profile makes R1 and PD uncertain; 3-D is needed."
            )
        self.spoiling = self._spoiling()

    def keep(self, name, found):
        """Remember a registration and say what had moved."""
        self.registrations[name] = found
        self.notes += motion_note(name, found)

    def _spoiling(self):
        increments = []
        for scan in self.scans:
            increment = scan.spoiling_increment
            if increment is None:
                increment, note = default_increment(scan.manufacturer)
                self.notes.append(f"{scan.name}: {note}")
            increments.append(increment)
        return None if None in increments else RfSpoiling(tuple(increments))

    def fit(self, b1, r2, settings, steps):
        """R1Fit of the series with a transmit field and, for the spoiling, R2 (None for what is typical)."""
        return fit_r1(
            self.magnitude,
            self.flip_angles,
            [scan.repetition_time for scan in self.scans],
            self.noise,
            self.place.mask,
            b1.b1,
            settings.r1,
            spoiling=self.spoiling,
            r2=r2,
            b1_sd=b1.sd,
            progress=steps.report,
            cancelled=steps.cancelled,
        )

    def refit(self, transmit, fit, r2, settings, steps):
        """Transmit field and R1 anew, with R1 and R2 known."""
        b1 = transmit.field(fit.r1, fit.sd, r2)
        return b1, self.fit(b1, r2, settings, steps)

    def field_from_maps(self, transmit, nominal, multi_echo, settings, steps):
        """TransmitField where no scan measures it; `nominal` is the R1Fit with nominal flip angles."""
        r2star = None
        if multi_echo is not None and multi_echo.r2star is not None:
            rate, known = self.from_multi_echo_grid(multi_echo)
            noise = float(np.median(multi_echo.r2star.sd[multi_echo.r2star.valid]))
            r2star = np.where(known, rate, 0).astype(np.float32), noise
        times = [scan.repetition_time for scan in self.scans]

        def fit(signals, b1):
            column = (len(b1), 1, 1)  # as an image one voxel wide; R2 is what is typical of the R1 found
            return fit_r1(
                signals.reshape(-1, *column), self.flip_angles, times, self.noise, np.ones(column, bool),
                b1.reshape(column), settings.r1, spoiling=self.spoiling, cancelled=steps.cancelled,
            ).r1.reshape(-1)  # fmt: skip

        return transmit.from_maps(nominal, self.magnitude, self.noise, fit, r2star, steps)

    def transverse_rates(self, fit, multi_echo):
        """R2 (1/s) as far as it is known without a scan for it: typical of R1, but that of water where R2* is low.

        Slow and fast R2 both can explain the signal of fluid, each with an R1 of its own; R2* decides.
        """
        r2 = typical_r2(fit.r1)
        if multi_echo is not None and multi_echo.r2star is not None:
            rate, known = self.from_multi_echo_grid(multi_echo)
            r2 = np.where(known & (rate < FLUID_R2STAR), WATER_R2, r2)
        return np.where(fit.valid, r2, 0).astype(np.float32)

    def from_multi_echo_grid(self, multi_echo):
        """R2* on the grid of the series and where it is valid."""
        transform = self.registrations[multi_echo.scan.name].ras_transform
        r2star = multi_echo.r2star
        return on_grid(r2star.values, multi_echo.scan.geometry, self.place.geometry, transform, r2star.valid)

    @property
    def sources(self):
        """Names of the files of the series."""
        return tuple(source for scan in self.scans for source in scan.sources)

    def parameters(self, b1):
        """What the sidecar of every map from this series says."""
        first = acquisition_parameters(self.scans[0])
        first.pop("RepetitionTimeExcitation")  # said below for all scans
        times = [scan.repetition_time for scan in self.scans]
        increments = () if self.spoiling is None else np.round(np.degrees(self.spoiling.increment), 6).tolist()
        angles = {"FlipAngle": [round(float(np.degrees(angle)), 6) for angle in self.flip_angles]}
        varying = _one_or_list("RepetitionTimeExcitation", times) | _one_or_list("SpoilingRFPhaseIncrement", increments)
        return first | angles | varying | {"TransmitField": b1.method}

    def r1_map(self, fit, b1, settings):
        """QuantitativeMap of R1."""
        method = R1_METHODS[settings.r1.method]
        corrected = self.spoiling is not None and settings.r1.spoiling_correction
        return QuantitativeMap(
            name="R1",
            values=fit.r1,
            sd=fit.sd,
            quality=fit.quality,
            valid=fit.valid,
            geometry=self.place.geometry,
            algorithm=f"{method.title}; transmit field: {b1.method}; RF spoiling "
            + ("by extended phase graphs" if corrected else "not corrected"),
            reference=method.reference,
            quality_meaning=method.quality_meaning,
            parameters=self.parameters(b1),
            sources=self.sources + b1.sources,
        )


def _one_or_list(name, values):
    """Sidecar field for values of several scans; BIDS has room for one number, a list gets a name of its own."""
    if not values:
        return {}
    return {name: values[0]} if len(set(values)) == 1 else {f"{name}s": list(values)}
