"""The transmit field of a session on the grid of the flip-angle series: which scan gives it, moved and smoothed."""

from dataclasses import dataclass

import numpy as np

from .acquisition import Role
from .alignment import registered
from .errors import InputError, Unusable
from .noise import noise_sd
from .relaxometry.b1 import afi_b1, double_angle_b1, vendor_b1
from .relaxometry.b1_free import information_b1, n4_b1
from .relaxometry.smooth_field import smooth_field
from .resample import nearest_on_grid, on_grid

UNKNOWN_SD = 0.10  # of the ratio, where no scan measures the field: about its spread over a head at 3 T (assumed)


@dataclass(frozen=True, eq=False)
class TransmitField:
    """Transmit field on the grid of the flip-angle series.

    Attributes:
        b1, sd: float32 [k, j, i], ratio to nominal, with all that the field has in common.
        measured: whether a scan gave it. method: how, for sidecars and the report.
        sources: names of the files. notes: sentences.
    """

    b1: np.ndarray
    sd: np.ndarray
    measured: bool
    method: str
    sources: tuple = ()
    notes: tuple = ()


class Transmit:
    """The best transmit-field scan of a session: AFI, then double angle, then a ready map, then none; read once."""

    def __init__(self, session, place, settings):
        """Read and register it to a Place (that of the flip-angle series).

        Raises:
            InputError: a scan is there but cannot be used. Cancelled.
        """
        self.place, self.settings = place, settings
        afi, double, ready = (session.of(role) for role in (Role.AFI, Role.DOUBLE_ANGLE, Role.B1_MAP))
        self.pair = tuple(afi[:2]) if len(afi) >= 2 else tuple(double[:2]) if len(double) >= 2 else ()
        self.scan = self.pair[0] if self.pair else ready[0] if ready else None
        self.needs_rates = bool(self.pair)
        self.registration = None
        self.known = None  # the field where no scan measures it, once `from_maps` has found it
        if self.pair:
            self._read_pair()

    def _read_pair(self):
        first, second = self.pair
        needed = {"flip_angle": "FlipAngle"}
        if first.role is Role.AFI:
            needed["repetition_time"] = "RepetitionTimeExcitation"
        for scan in self.pair:
            for name, text in needed.items():
                if getattr(scan, name) is None:
                    raise InputError(f"{scan.name}: {text} is missing, the transmit field needs it; add it.")
        if not first.geometry.same_grid(second.geometry):
            raise Unusable(
                f"{second.name} lies on another grid than {first.name}, expected the same for both images of the "
                "transmit field; convert them again from one scan."
            )
        self.images = [scan.read()[0][0] for scan in self.pair]
        self.noise = float(np.mean([noise_sd(image[None], None, first.geometry) for image in self.images]))
        self.registration = registered(
            first.name, self.images[0], first.geometry, self.place, self.settings.registration
        )

    def field(self, r1=None, r1_sd=None, r2=None):
        """TransmitField with what is known of the relaxation rates.

        Args:
            r1, r1_sd, r2: float32 [k, j, i] on the grid of the series, 1/s, 0 where unknown; or None.
        """
        if self.scan is None:
            return self.known or _nominal(self.place.geometry.shape)
        if not self.pair:
            ratio, geometry = self.scan.read()[0][0], self.scan.geometry
            mask = nearest_on_grid(self.place.mask, self.place.geometry, geometry).astype(bool)
            return self._placed(vendor_b1(ratio, mask, self.settings.b1), "map of the scanner", self.scan.sources)
        geometry, options = self.scan.geometry, self.settings.b1
        back = np.linalg.inv(self.registration.ras_transform)
        mask = nearest_on_grid(self.place.mask, self.place.geometry, geometry, back).astype(bool)
        known = [
            None if rate is None else on_grid(rate, self.place.geometry, geometry, back, rate > 0)[0]
            for rate in (r1, r1_sd, r2)
        ]
        first, second = self.pair
        times, angles = ([getattr(s, name) for s in self.pair] for name in ("repetition_time", "flip_angle"))
        try:
            if first.role is Role.AFI:
                fit = afi_b1(
                    *self.images, first.flip_angle, times, self.noise, mask, options, *known,
                    spoiling_increment=first.spoiling_increment, dephasing=first.spoiling_dephasing,
                )  # fmt: skip
                title = "actual flip angle imaging (AFI)"
            else:
                fit = double_angle_b1(*self.images, angles, self.noise, mask, options, times[0], *known[:2])
                title = "double angle method"
        except ValueError as error:
            raise InputError(f"{first.name}: {error}") from error
        return self._placed(fit, title, first.sources + second.sources)

    def _placed(self, fit, title, sources):
        """A B1Fit smoothed and brought to the flip-angle series."""
        name, geometry = self.scan.name, self.scan.geometry
        if not fit.valid.any():
            raise Unusable(
                f"{name}: no voxel of the brain has a usable transmit field; check that the scan belongs to this "
                "subject, or leave it out."
            )
        smooth, sd = smooth_field(fit.b1, fit.sd, fit.valid, geometry, self.settings.b1.smoothing)
        transform = None if self.registration is None else self.registration.ras_transform
        b1, inside = on_grid(smooth, geometry, self.place.geometry, transform)
        sd, _ = on_grid(sd, geometry, self.place.geometry, transform)  # neighbours share the smooth field's error
        b1 = np.where(inside, b1, 1).astype(np.float32)
        total = np.where(inside, np.hypot(sd, fit.scale_sd * b1), UNKNOWN_SD).astype(np.float32)
        notes = [f"{name}: {note}" for note in fit.notes]
        outside = self.place.mask & ~inside
        if outside.any():
            notes.append(
                f"{name}: {100 * outside.sum() / self.place.mask.sum():.1f} % of the brain lies outside the "
                "transmit-field scan; nominal flip angles were taken there."
            )
        return TransmitField(b1, total, True, title, tuple(sources), tuple(notes))

    def from_maps(self, nominal, images, noise_sd, fit, r2star, steps):
        """Transmit field without any scan for it, from R1 itself, by the method of the settings.

        Args:
            nominal: R1Fit with nominal flip angles. images: float32 [flip, k, j, i]; noise_sd: of each.
            fit: function of (signals [flip, n], b1 [n]) returning R1 [n], 1/s.
            r2star: R2* (float32 on the grid of the series, 0 where unknown) and the SD of its noise; or None.
            steps: steps.Steps.
        """
        mask, geometry, options = self.place.mask & nominal.valid, self.place.geometry, self.settings.b1_free
        if options.method == "n4":
            found = n4_b1(nominal.r1, mask, geometry, options, cancelled=steps.cancelled)
            method = "estimated by N4 on R1"
        else:
            found = information_b1(
                images, noise_sd, fit, mask, geometry, options, r2star,
                progress=steps.report, cancelled=steps.cancelled,
            )  # fmt: skip
            method = "estimated from the information content of R1"
        b1 = np.where(found.valid, found.b1, 1).astype(np.float32)
        sd = np.where(found.valid, found.total_sd, UNKNOWN_SD).astype(np.float32)
        return TransmitField(b1, sd, False, method, notes=tuple(found.notes))


def _nominal(shape):
    sd = np.full(shape, UNKNOWN_SD, np.float32)
    return TransmitField(np.ones(shape, np.float32), sd, False, "nominal flip angles")
