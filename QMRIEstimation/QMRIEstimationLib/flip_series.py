"""The spoiled gradient echoes of several flip angles, brought to one grid, and R1 from them."""

from dataclasses import replace

import numpy as np

from .acquisition import acquisition_parameters
from .alignment import Place, all_registered, moved, moved_noise, noise_share
from .gathering import Gathering
from .maps import QuantitativeMap
from .multi_echo import FOREGROUND, brain_of, measured_noise
from .noise import Noise
from .receive_settings import receive_differences
from .relaxometry.dephasing import field_differences
from .relaxometry.estatics import ESTATICS, fit_estatics
from .relaxometry.fluid import fluid_mean
from .relaxometry.r1 import R1_METHODS, fit_r1
from .relaxometry.spoiling import RfSpoiling, default_increment, typical_r2

FLUID_R2STAR = 6.0  # 1/s; slower is fluid, half as much as the slowest tissue at 1.5 T
WATER_R2 = 0.6  # 1/s, of cerebrospinal fluid
SLOW_R2 = 3.0  # 1/s; of faster rates the spoiling hardly depends
SAME_ECHO = 1e-5  # s; decays by less than the noise in between
DARKEST = 1.0  # percent of the voxels; a head scan has more of air and bone
BRIGHT_FOR_AIR = 6.0  # noise SDs; the magnitude of pure noise exceeds it in one voxel of a hundred million


class FlipSeries(Gathering):
    """The flip angles of one session on one grid.

    Attributes:
        scans: ascending flip angle. joint: EstaticsFit of all echoes, or None where the first ones alone are used.
        magnitude, levels, shared_sd: amplitudes for `fit_r1` with their uncertainty. fitted: where R1 can be fitted.
        noise: noise.Noise of the images of each scan on its own grid.
    """

    def __init__(self, session, flips, multi_echo, settings, steps, joint=False):
        super().__init__(session, settings)
        self.scans = flips
        self.notes = [note for scan in flips for note in scan.notes]
        gain = receive_differences({scan.name: scan.header for scan in flips})
        self.notes += gain.corrected
        images = [self._images(scan, gain.intensity_factors[scan.name], joint) for scan in flips]
        self.flip_angles = [gain.flip_angle_factors[scan.name] * scan.flip_angle for scan in flips]
        self.noise = [
            measured_noise(scan, echoes, gain=gain.intensity_factors[scan.name])
            for scan, echoes in zip(flips, images, strict=True)
        ]
        for scan, echoes, noise in zip(flips, images, self.noise, strict=True):
            self.notes += offset_note(scan.name, echoes[0], noise.sd)
        own = multi_echo is not None and multi_echo.scan in flips
        first = flips.index(multi_echo.scan) if own else len(flips) - 1 if multi_echo is None else None
        self.place = self._place(session, first, images, multi_echo, settings)
        noise, shares = list(self.noise), [np.float32(1)] * len(flips)  # of the images once moved
        others = [number for number in range(len(flips)) if number != first]
        steps.report(0.5, "registering the flip angles")
        scans = [(flips[number].name, images[number][0], flips[number].geometry) for number in others]
        for number, found in zip(others, all_registered(scans, self.place, settings.registration), strict=True):
            geometry = flips[number].geometry
            self.keep(flips[number].name, found)
            if found.identity and geometry.same_grid(self.place.geometry):
                continue
            images[number] = np.stack([moved(echo, geometry, self.place, found) for echo in images[number]])
            shares[number] = noise_share(geometry, self.place, found)
            noise[number] = moved_noise(noise[number], geometry, self.place, found)
            if not found.identity:
                factor = self.other_place_in_coil(found)
                images[number] *= factor
                noise[number] = Noise(noise[number].sd * factor, noise[number].share)
        self.notes += [
            f"{scan.name}: is a 2-D scan, whose slice profile makes R1 and PD uncertain; 3-D is needed."
            for scan in flips
            if scan.is_2d
        ]
        self.spoiling = self._spoiling()
        self.joint = self._joint(images, noise, multi_echo, settings, steps) if joint else None
        self.magnitude, self.levels, self.shared_sd, self.fitted = self._amplitudes(images, noise, shares)

    @staticmethod
    def _images(scan, factor, joint):
        """Magnitude [echo, k, j, i] at the gain of the first scan; the first echo alone where one is used."""
        magnitude = scan.read()[0]
        return (magnitude if joint else magnitude[:1]) * np.float32(factor)

    def _place(self, session, first, images, multi_echo, settings):
        """The grid of the series: that of the multi-echo scan, so that everything is interpolated once at most.

        Without a multi-echo scan it is that of the largest flip angle, which has the contrast that registers best.
        """
        if multi_echo is None:
            scan, magnitude = self.scans[first], images[first][0]
            mask, mask_notes = brain_of(session, scan.name, magnitude, scan.geometry, settings)
            self.notes += mask_notes
            return Place(scan.name, magnitude, scan.geometry, mask)
        self.to_multi_echo, self.r2star = np.eye(4), multi_echo.r2star
        return Place(multi_echo.scan.name, multi_echo.magnitude, multi_echo.scan.geometry, multi_echo.mask)

    def _joint(self, images, noise, multi_echo, settings, steps):
        """EstaticsFit of all echoes, wherever all flip angles have signal; with the field of the multi-echo scan."""
        dephasing, field = None, None if multi_echo is None else multi_echo.images.get("total_field")
        if field is not None and settings.r2star.gradient_correction:
            dephasing = field_differences(field, multi_echo.mask, self.place.geometry)
        self.dephased = dephasing is not None
        lit = [echoes[0] > FOREGROUND * own.sd for echoes, own in zip(images, noise, strict=True)]
        return fit_estatics(
            [own.evened(echoes) for echoes, own in zip(images, noise, strict=True)],
            [scan.echo_times for scan in self.scans],
            [own.sd for own in self.noise],
            np.logical_and.reduce(lit),
            settings.r2star,
            dephasing,
            progress=steps.report,
            cancelled=steps.cancelled,
        )

    def _amplitudes(self, images, noise, shares):
        """Amplitudes [flip, k, j, i], their noise, the SD they share, and where they are known.

        Where the echoes could not be fitted together the first ones stand in: decay that is common to all flip angles
        leaves R1 as it is. An interpolated magnitude has the Rician excess of the noise before (`noise`) but less
        spread (by `shares`), so the excess is taken off to first order, v^2 - s^2, and the rest counts as Gaussian;
        likewise a denoised one, whose noise varies.
        """
        first, joint = np.stack([echoes[0] for echoes in images]), self.joint
        changed = any(np.ndim(share) for share in shares) or any(own.share is not None for own in noise)
        if joint is None and not changed:
            return first, [own.sd for own in self.noise], None, self.place.mask
        spread = np.empty_like(first)
        for number, (own, share) in enumerate(zip(noise, shares, strict=True)):
            spread[number] = own.level * share
            if changed:
                first[number] = np.sqrt(np.maximum(first[number] ** 2 - np.square(own.level), 0))
        if joint is None:
            return first, spread, None, self.place.mask
        times = [scan.echo_times[0] for scan in self.scans]
        whole = joint.valid | (max(times) - min(times) > SAME_ECHO)
        fitted_sd = np.stack([sd * share for sd, share in zip(joint.amplitude_sd, shares, strict=True)])
        even = np.stack([np.ones(whole.shape, np.float32) if own.share is None else own.share for own in noise])
        return (
            np.where(whole, even * joint.amplitude, first),
            np.where(whole, even * fitted_sd, spread),
            even * joint.shared_sd,
            self.place.mask & (joint.valid | ~whole),
        )

    def _spoiling(self):
        increments = []
        for scan in self.scans:
            increment = scan.spoiling_increment
            if increment is None:
                increment, note = default_increment(scan.manufacturer)
                self.notes.append(f"{scan.name}: {note}")
            increments.append(increment)
        return None if None in increments else RfSpoiling(tuple(increments))

    def fit(self, b1, r2, settings, steps, where=None):
        """R1Fit with a transmit field and, for the spoiling, R2 (None for what is typical); `where`: bool or all."""
        return fit_r1(
            self.magnitude,
            self.flip_angles,
            [scan.repetition_time for scan in self.scans],
            self.levels,
            self.fitted if where is None else self.fitted & where,
            b1.b1,
            settings.r1,
            spoiling=self.spoiling,
            r2=r2,
            b1_sd=b1.sd,
            shared_sd=self.shared_sd,
            progress=steps.report,
            cancelled=steps.cancelled,
        )

    def mean_fit(self, region, b1, r2, settings):
        """R1Fit of the signals of a region of one tissue in the mean over neighbours, and fluid.fluid_mean's volume.

        `r2`: 1/s, one for all. Means of amplitudes have no Rician excess; what is left of the noise counts as Gaussian.
        """
        images, levels, geometry = self.magnitude, self.levels, self.place.geometry
        if np.ndim(levels) == 1:  # as measured: magnitudes with one noise SD each
            images = [np.sqrt(np.maximum(v * v - np.float32(s * s), 0)) for v, s in zip(images, levels, strict=True)]
        region = region & np.isfinite(self.magnitude).all(axis=0)
        means, grain = fluid_mean(images, region, geometry)
        left = np.sqrt(np.prod(geometry.effective_voxel_size) / grain)
        typical = [float(np.median(s[region])) if np.ndim(s) else s for s in levels]
        noise = np.stack([np.full(region.shape, left * s, np.float32) for s in typical])  # as volumes: Gaussian
        return fit_r1(
            means,
            self.flip_angles,
            [scan.repetition_time for scan in self.scans],
            noise,
            region,
            b1.b1,
            settings.r1,
            spoiling=self.spoiling,
            r2=np.full(region.shape, r2, np.float32),
        ), grain

    def refit(self, transmit, fit, r2, settings, steps, r2_sd=None):
        """Transmit field and R1 anew, with R1 and R2 known; `r2_sd`: where R2 was measured, 0 elsewhere."""
        b1 = transmit.field(fit.r1, fit.sd, r2)
        fit = self.fit(b1, r2, settings, steps)
        if r2_sd is None or self.spoiling is None:
            return b1, fit
        # In fluid the spoiling needs R2, R2 came from R1, and so the errors of both grow together.
        slow = fit.valid & (r2_sd > 0) & (r2 < SLOW_R2)
        other = self.fit(b1, np.where(slow, r2 + r2_sd, r2), settings, steps, slow)
        slow &= other.valid
        return b1, replace(
            fit,
            sd=fit.sd + np.where(slow, np.abs(other.r1 - fit.r1), 0),
            m0_sd=fit.m0_sd + np.where(slow, np.abs(other.m0 - fit.m0), 0),
        )

    def field_from_maps(self, transmit, nominal, settings, steps):
        """TransmitField where no scan measures it; `nominal` is the R1Fit with nominal flip angles."""
        r2star = None
        if self.r2star is not None:
            r2star = self.r2star.values, float(np.median(self.r2star.sd[self.r2star.valid]))
        times = [scan.repetition_time for scan in self.scans]
        noise = [float(np.median(own[self.fitted])) if np.ndim(own) else own for own in self.levels]

        def fit(signals, b1):
            column = (len(b1), 1, 1)  # as an image one voxel wide; R2 is what is typical of the R1 found
            return fit_r1(
                signals.reshape(-1, *column), self.flip_angles, times, noise, np.ones(column, bool),
                b1.reshape(column), settings.r1, spoiling=self.spoiling, cancelled=steps.cancelled,
            ).r1.reshape(-1)  # fmt: skip

        return transmit.from_maps(nominal, self.magnitude, noise, fit, r2star, steps)

    def transverse_rates(self, fit):
        """R2 (1/s) as far as it is known without a scan for it: typical of R1, but that of water where R2* is low.

        Slow and fast R2 both can explain the signal of fluid, each with an R1 of its own; R2* decides.
        """
        r2 = typical_r2(fit.r1)
        if self.r2star is not None:
            r2 = np.where(self.r2star.valid & (self.r2star.values < FLUID_R2STAR), WATER_R2, r2)
        return np.where(fit.valid, r2, 0).astype(np.float32)

    @property
    def sources(self):
        """Names of the files of the series."""
        return tuple(source for scan in self.scans for source in scan.sources)

    def parameters(self, b1=None):
        """What the sidecar of every map from this series says."""
        first = acquisition_parameters(self.scans[0])
        first.pop("RepetitionTimeExcitation")  # said below for all scans
        times = [scan.repetition_time for scan in self.scans]
        increments = () if self.spoiling is None else np.round(np.degrees(self.spoiling.increment), 6).tolist()
        angles = {"FlipAngle": [round(float(np.degrees(angle)), 6) for angle in self.flip_angles]}
        used = slice(None) if self.joint is not None else slice(1)
        echoes = [acquisition_parameters(scan).get("EchoTime", [])[used] for scan in self.scans]
        same = all(own == echoes[0] for own in echoes)
        first |= {"EchoTime": echoes[0]} if same else {"EchoTimes": echoes}
        varying = _one_or_list("RepetitionTimeExcitation", times) | _one_or_list("SpoilingRFPhaseIncrement", increments)
        return first | angles | varying | ({} if b1 is None else {"TransmitField": b1.method})

    def r2star_map(self):
        """QuantitativeMap of the R2* that all flip angles share."""
        fit = self.joint
        return QuantitativeMap(
            name="R2star",
            values=fit.r2star,
            sd=fit.sd,
            quality=fit.quality,
            valid=fit.valid,
            geometry=self.place.geometry,
            algorithm=ESTATICS.title + ("; macroscopic field gradient in the model" if self.dephased else ""),
            reference=ESTATICS.reference,
            quality_meaning=ESTATICS.quality_meaning,
            parameters=self.parameters(),
            sources=self.sources,
        )

    def r1_map(self, fit, b1, settings):
        """QuantitativeMap of R1."""
        method = R1_METHODS[settings.r1.method]
        corrected = self.spoiling is not None and settings.r1.spoiling_correction
        at_zero = "" if self.joint is None else f"; amplitudes at echo time 0: {ESTATICS.title}"
        return QuantitativeMap(
            name="R1",
            values=fit.r1,
            sd=fit.sd,
            quality=fit.quality,
            valid=fit.valid,
            geometry=self.place.geometry,
            algorithm=f"{method.title}; transmit field: {b1.method}; RF spoiling "
            + ("by extended phase graphs" if corrected else "not corrected")
            + at_zero,
            reference=method.reference + (f"; {ESTATICS.reference}" if at_zero else ""),
            quality_meaning=method.quality_meaning,
            parameters=self.parameters(b1),
            sources=self.sources + b1.sources,
        )


def offset_note(name, image, noise_sd):
    """A sentence when even the darkest voxels stand far above zero, as a list; empty for an image with air or zeros."""
    darkest = float(np.percentile(image, DARKEST))
    if darkest <= BRIGHT_FOR_AIR * noise_sd:
        return []
    return [
        f"{name}: its darkest voxels lie {darkest / noise_sd:.0f} noise SDs above zero; if a constant was added to the "
        "image, R1 and PD are wrong: subtract it, or export the magnitude again. A scan without air in view is fine."
    ]


def _one_or_list(name, values):
    """Sidecar field for values of several scans; BIDS has room for one number, a list gets a name of its own."""
    if not values:
        return {}
    return {name: values[0]} if len(set(values)) == 1 else {f"{name}s": list(values)}
