"""Maps of a slab of the multi-echo scan, quickly enough to watch a parameter; the brain is what is bright there."""

from dataclasses import replace

import numpy as np

from .acquisition import Role, Session
from .errors import InputError
from .geometry import Geometry
from .multi_echo import measured_noise
from .pipeline import estimate

AROUND = {"R2star": 2, "Chi": 8}  # slices on either side that the middle one needs: gradients; dipole field
BRIGHT = 0.1  # of the 99th percentile of the first echo: tissue for a preview


class Preview:
    """Previews of one session; its images and their noise are kept, so that a parameter or a slice costs only the fit.

    Args:
        session: acquisition.Session.
    Raises:
        InputError: it has no multi-echo scan.
    """

    def __init__(self, session):
        scans = session.of(Role.MULTI_ECHO_GRE)
        if not scans:
            raise InputError("A preview needs a multi-echo gradient echo; add one.")
        self._scan = max(scans, key=lambda scan: (scan.has_phase, len(scan.echo_times)))
        self._session, self._images, self._kept = session, None, (None, None, None)

    @property
    def geometry(self):
        """Grid of the scan."""
        return self._scan.geometry

    def slab(self, name, axis, index, settings, cancelled=None):
        """One map around a slice.

        Args:
            name: R2star or Chi. axis: of [k, j, i]. index: of the slice along it. settings: settings.Settings.
        Returns:
            Values of the slice alone, float32 [k, j, i] with one voxel along the axis, and its Geometry.
        Raises:
            InputError: there is nothing bright, or the map cannot be made of the scan.
        """
        count = self.geometry.shape[axis]
        index = min(max(index, 0), count - 1)
        first, last = max(0, index - AROUND[name]), min(count, index + AROUND[name] + 1)
        scan, mask = self._cropped(axis, first, last)
        if not mask.any():
            raise InputError("There is nothing but noise in the slice that is shown; show another one.")
        session = Session(self._session.subject, scans=(scan,), brain_mask=lambda: (mask, scan.geometry), fields={})
        result = estimate(session, (name,), settings, cancelled=cancelled).maps[name]
        here = [slice(None)] * 3
        here[axis] = slice(index - first, index - first + 1)
        return np.ascontiguousarray(result.values[tuple(here)]), _part(self.geometry, axis, index, index + 1)

    def _cropped(self, axis, first, last):
        """The scan cut to slices along an axis, and where it is bright."""
        if self._kept[0] != (axis, first, last):
            if self._images is None:
                self._images = self._scan.read()
                self._scan = replace(self._scan, noise=measured_noise(self._scan, *self._images))
            magnitude, phase = self._images
            here = [slice(None)] * 4
            here[axis + 1] = slice(first, last)
            bright = BRIGHT * float(np.percentile(magnitude[0], 99))
            magnitude = np.ascontiguousarray(magnitude[tuple(here)])
            phase = None if phase is None else np.ascontiguousarray(phase[tuple(here)])
            geometry = _part(self.geometry, axis, first, last)
            scan = replace(self._scan, geometry=geometry, read=lambda: (magnitude, phase))
            self._kept = (axis, first, last), scan, magnitude[0] > bright
        return self._kept[1:]


def _part(geometry, axis, first, last):
    """Geometry of the slices from first to last (excluded) along an axis of [k, j, i]."""
    shape, matrix = list(geometry.shape), geometry.ijk_to_ras.copy()
    shape[axis] = last - first
    matrix[:3, 3] += first * matrix[:3, 2 - axis]
    return Geometry(tuple(shape), matrix, geometry.b0_ras, geometry.acquired_voxel_size)
