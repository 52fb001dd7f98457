"""The receive field of a session: from reference scans where there are, else from the maps."""

import numpy as np

from .acquisition import Role
from .alignment import Place, moved, registered
from .errors import InputError
from .multi_echo import measured_noise
from .relaxometry.receive_field import bias_field, on_target, r1_pd_field, receive_field, with_body_coil
from .resample import nearest_on_grid, on_grid


def reference_pair(session, place, settings):
    """ReferencePair of a session, or None where there is none."""
    head, body = (session.of(role) for role in (Role.RECEIVE_HEAD, Role.RECEIVE_BODY))
    return ReferencePair(head[0], body[0], place, settings) if head and body else None


class ReferencePair:
    """The receive field that a pair of reference scans gives, in the space of the scanner.

    Attributes:
        sources: names of the files.
    """

    def __init__(self, head, body, place, settings):
        """Of the head-coil and the body-coil scan, within the brain of a Place.

        Raises:
            InputError: they cannot be used. Misaligned.
        """
        images = [scan.read()[0][0] for scan in (head, body)]
        noise = tuple(measured_noise(s, i[None]).sd for s, i in zip((head, body), images, strict=True))
        self.geometry, self.sources = head.geometry, head.sources + body.sources
        region = nearest_on_grid(place.mask, place.geometry, self.geometry) > 0
        reference = Place(head.name, images[0], self.geometry, region)
        found = registered(body.name, images[1], body.geometry, reference, settings.registration)
        images[1] = moved(images[1], body.geometry, reference, found)
        region = region & np.logical_and(*(i > 3 * n for i, n in zip(images, noise, strict=True)))
        try:
            self.field = receive_field(*images, self.geometry, noise, region)
        except ValueError as error:
            raise InputError(f"{head.name}: {error}") from error

    def on(self, place):
        """ReceiveField on the grid of a Place, by the headers: it belongs to the scanner, not to the head."""
        return on_target(self.field, self.geometry, place.geometry, place.mask)

    def change(self, place, found):
        """What the intensity of a scan that had moved is to be multiplied by, float32 [k, j, i] on a Place.

        Its tissue then lay elsewhere in the coil: B(r) / B(T r) with T the Registration of the scan to the place.
        """
        here, inside = on_grid(self.field.field, self.geometry, place.geometry)
        there, also = on_grid(self.field.field, self.geometry, place.geometry, found.ras_transform)
        known = inside & also & (there > 0)
        return np.where(known, here / np.where(known, there, 1), 1).astype(np.float32)


def receive_profile(pair, session, place, m0, r1, valid, lesions, settings):
    """Receive field on the grid of the flip-angle series by the route that the settings and the scans allow.

    Args:
        pair: ReferencePair or None. session: acquisition.Session. place: alignment.Place of the series.
        m0, r1: float32 [k, j, i]. valid: bool. lesions: bool or None.
        settings: settings.Settings.
    Returns:
        relaxometry.receive_field.ReceiveField; names of the files it was made from.
    Raises:
        InputError: reference scans were asked for but are not there or cannot be used.
    """
    route = settings.pd.receive
    if route == "auto":
        route = "bias-field" if pair is None else "body-head"
    if route == "body-head":
        if pair is None:
            raise InputError(
                f"sub-{session.subject}: the receive field by body-head needs fmap/*_acq-body_RB1COR and "
                "*_acq-head_RB1COR; add them, or set pd.receive to auto."
            )
        return with_body_coil(pair.on(place), m0, r1, valid, place.mask, lesions), pair.sources
    if route == "r1":
        return r1_pd_field(m0, r1, valid, place.mask), ()
    return bias_field(m0, r1, valid, place.mask, lesions), ()
