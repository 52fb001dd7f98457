"""The multi-echo spin echo of a session on its own grid, and R2 from it."""

from dataclasses import replace

import numpy as np

from .acquisition import acquisition_parameters
from .alignment import moved_arrays, registered
from .errors import InputError
from .maps import QuantitativeMap
from .multi_echo import measured_noise
from .relaxometry.spin_echo import LEAST_ECHOES, SPIN_ECHO_METHODS, evenly_spaced, fit_r2_spin_echo
from .resample import nearest_on_grid, on_grid

WITHOUT = "or leave out R2 with --maps."


class EchoTrain:
    """A multi-echo spin echo, and where it lies."""

    off_resonance = None  # refocused

    def __init__(self, scan, gathering, settings):
        """Read and register it to the place of a Gathering.

        Raises:
            InputError: it has one echo. Misaligned: it cannot be brought to the place. Cancelled.
        """
        if len(scan.echo_times) < 2:
            raise InputError(
                f"{scan.name}: one spin echo was found, R2 needs {LEAST_ECHOES} or more; add the others, {WITHOUT}"
            )
        self.scan, self.gathering, self.geometry = scan, gathering, scan.geometry
        self.magnitude, _ = scan.read()
        self.noise = measured_noise(scan, self.magnitude)
        self.notes = list(scan.notes)
        if scan.is_2d:
            self.notes.append(
                f"{scan.name}: is a 2-D scan; the profile of its refocusing pulses is not in the model, R2 may be off."
            )
        self.options = settings.spin_echo
        if self.options.method == "epg" and not self._fits_the_graph():
            shown = ", ".join(f"{1e3 * te:g}" for te in scan.echo_times)
            self.options = replace(self.options, method="mono-exponential")
            self.notes.append(
                f"{scan.name}: the echoes at {shown} ms are not {LEAST_ECHOES} or more multiples of the first, so "
                "stimulated echoes could not be put into the model; R2 is of one exponential and too low where the "
                "refocusing angle was not 180 degrees."
            )
        self.back = np.eye(4)  # from RAS of the train to RAS of the place
        if scan.name != gathering.place.name:
            found = registered(scan.name, self.magnitude[0], scan.geometry, gathering.place, settings.registration)
            gathering.keep(scan.name, found)
            self.back = np.linalg.inv(found.ras_transform)

    def _fits_the_graph(self):
        return len(self.scan.echo_times) >= LEAST_ECHOES and evenly_spaced(self.scan.echo_times)

    def fit(self, _rates, b1, _settings, steps):
        """R2 on the grid of the place: values, SD, quality, validity."""
        place = self.gathering.place
        b1_here, b1_sd = (on_grid(field, place.geometry, self.geometry, self.back)[0] for field in (b1.b1, b1.sd))
        mask = nearest_on_grid(place.mask, place.geometry, self.geometry, self.back) > 0
        try:
            found = fit_r2_spin_echo(
                self.noise.evened(self.magnitude),
                self.scan.echo_times,
                self.noise.sd,
                b1_here,
                b1_sd,
                mask,
                self.options,
                progress=steps.report,
                cancelled=steps.cancelled,
            )
        except ValueError as error:
            raise InputError(f"{self.scan.name}: {str(error).rstrip('.')}; correct it, {WITHOUT}") from error
        arrays = found.r2, found.sd, found.quality, found.valid
        return moved_arrays(arrays, self.geometry, place.geometry, np.linalg.inv(self.back))

    def map(self, arrays, b1):
        """QuantitativeMap of R2 on the grid of the place."""
        method = SPIN_ECHO_METHODS[self.options.method]
        used = self.options.method == "epg"
        angle = {"RefocusingFlipAngle": round(float(np.degrees(self.options.refocusing_angle)), 6)}
        return QuantitativeMap(
            "R2",
            *arrays,
            geometry=self.gathering.place.geometry,
            algorithm=f"multi-echo spin echo: {method.title}" + (f"; transmit field: {b1.method}" if used else ""),
            reference=method.reference,
            quality_meaning=method.quality_meaning,
            parameters=acquisition_parameters(self.scan) | (angle | {"TransmitField": b1.method} if used else {}),
            sources=self.scan.sources + (b1.sources if used else ()),
        )
