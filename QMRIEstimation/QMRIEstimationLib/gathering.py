"""Where the scans of a session come together: one grid, what was registered to it, and what moved."""

import numpy as np

from .alignment import Place, moved_map
from .errors import Unusable
from .multi_echo import brain_of
from .receive import reference_pair


class Gathering:
    """A place that scans are registered to.

    Attributes:
        place: alignment.Place, None until it is known.
        registrations: scan name -> Registration. notes: sentences.
        to_multi_echo: 4x4 from RAS of the place to RAS of the multi-echo scan; None where there is no such scan.
        r2star: QuantitativeMap on the grid of the place, or None.
        sources: names of the files that every map from here owes something to.
        pair: receive.ReferencePair once a scan that had moved needed it, or None.
    """

    sources = ()

    def __init__(self, session, settings):
        self.session, self.settings = session, settings
        self.pair = self.place = self.to_multi_echo = self.r2star = None
        self.registrations, self.notes = {}, []

    @property
    def from_multi_echo(self):
        """The inverse of `to_multi_echo`."""
        return None if self.to_multi_echo is None else np.linalg.inv(self.to_multi_echo)

    def keep(self, name, found):
        """Remember a registration."""
        self.registrations[name] = found

    def other_place_in_coil(self, found):
        """What undoes that the tissue of a scan that had moved lay elsewhere in the receive field; 1 where unknown."""
        if self.pair is None:
            try:
                self.pair = reference_pair(self.session, self.place, self.settings)
            except Unusable as error:
                self.notes.append(f"{str(error).rstrip('.')}; the receive field of scans that had moved is not known.")
        return np.float32(1) if self.pair is None else self.pair.change(self.place, found)

    def here(self, result):
        """A map of the space of the multi-echo scan on the grid of the place."""
        return moved_map(result, self.place.geometry, self.to_multi_echo)


class LonePlace(Gathering):
    """Without a flip-angle series the others come to the multi-echo scan, or to the scan that a map is made of."""

    def __init__(self, session, scan, multi_echo, settings):
        super().__init__(session, settings)
        if multi_echo is not None:
            self.to_multi_echo, self.r2star = np.eye(4), multi_echo.r2star
            self.place = Place(multi_echo.scan.name, multi_echo.magnitude, multi_echo.scan.geometry, multi_echo.mask)
            return
        magnitude = scan.read()[0][0]
        mask, self.notes = brain_of(session, scan.name, magnitude, scan.geometry, settings)
        self.place = Place(scan.name, magnitude, scan.geometry, mask)
