"""The receive field of a session: from reference scans where there are, else from the maps."""

import numpy as np

from .acquisition import Role
from .alignment import Place, moved, registered
from .errors import InputError
from .multi_echo import measured_noise
from .relaxometry.receive_field import bias_field, r1_pd_field, receive_field, with_body_coil
from .resample import nearest_on_grid


def receive_profile(session, place, m0, r1, valid, lesions, settings):
    """Receive field on the grid of the flip-angle series by the route that the settings and the scans allow.

    Args:
        session: acquisition.Session. place: alignment.Place of the series.
        m0, r1: float32 [k, j, i]. valid: bool. lesions: bool or None.
        settings: settings.Settings.
    Returns:
        relaxometry.receive_field.ReceiveField; names of the files it was made from.
    Raises:
        InputError: reference scans were asked for but are not there or cannot be used.
    """
    head, body = (session.of(role) for role in (Role.RECEIVE_HEAD, Role.RECEIVE_BODY))
    route = settings.pd.receive
    if route == "auto":
        route = "body-head" if head and body else "bias-field"
    if route == "body-head":
        if not (head and body):
            raise InputError(
                f"sub-{session.subject}: the receive field by body-head needs fmap/*_acq-body_RB1COR and "
                "*_acq-head_RB1COR; add them, or set pd.receive to auto."
            )
        found = _from_references(head[0], body[0], place, settings)
        return with_body_coil(found, m0, r1, valid, place.mask, lesions), head[0].sources + body[0].sources
    if route == "r1":
        return r1_pd_field(m0, r1, valid, place.mask), ()
    return bias_field(m0, r1, valid, place.mask, lesions), ()


def _from_references(head, body, place, settings):
    """ReceiveField from the pair of reference scans."""
    images = [scan.read()[0][0] for scan in (head, body)]
    noise = tuple(measured_noise(s.name, i[None], None, s.geometry) for s, i in zip((head, body), images, strict=True))
    geometry = head.geometry
    region = nearest_on_grid(place.mask, place.geometry, geometry) > 0
    reference = Place(head.name, images[0], geometry, region)
    found = registered(body.name, images[1], body.geometry, reference, settings.registration)
    images[1] = moved(images[1], body.geometry, reference, found)
    region = region & np.logical_and(*(i > 3 * n for i, n in zip(images, noise, strict=True)))
    try:
        return receive_field(*images, geometry, noise, region, place.geometry, place.mask)
    except ValueError as error:
        raise InputError(f"{head.name}: {error}") from error
