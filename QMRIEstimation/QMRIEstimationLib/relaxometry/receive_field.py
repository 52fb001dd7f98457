"""Receive field of the head coil: from a pair of reference scans, or from the map of M0 itself."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..geometry import check_same_shape
from ..resample import on_grid
from .smooth_basis import SmoothBasis, least_squares
from .smooth_field import smooth_field

_ORDER = 5  # of the polynomial: a head coil's profile over the brain is followed to 1 %
_BODY_ORDER = 2  # a body coil is far away, so its profile over the brain has hardly more than a curvature
_SAMPLES = 30_000  # voxels the polynomial is fitted to
_GROUPS = 40  # of equal size in R1, each with a proton density of its own
_PASSES = 5  # of reweighting
_OUTLIER = 4.685  # robust SDs at which Tukey's weight vanishes; 95 % efficient for Gaussian noise
_R1_RANGE = (0.15, 2.0)  # 1/s; beyond lies noise
_MRQ_SLOPE, _MRQ_OFFSET = 0.42, 0.95  # 1/PD = slope R1 + offset, PD as a fraction of water, R1 in 1/s; see r1_pd_field


class ReceiveMethod(NamedTuple):
    """How a route is called in sidecars and reports."""

    title: str
    reference: str
    independent: bool  # of the relation between R1 and PD that it would show


RECEIVE_METHODS = {
    "body-head": ReceiveMethod(
        "receive field from head-coil over body-coil reference scans, the body coil's own as a quadratic",
        "ratio of local signal powers; Knutsson H, Westin CF 1993, IEEE Conf Computer Vision and Pattern Recognition",
        True,
    ),
    "bias-field": ReceiveMethod(
        "receive field as the smooth part of M0 among voxels of equal R1, lesions left out",
        "polynomial with one level for each R1, least squares with Tukey's weights",
        True,
    ),
    "r1": ReceiveMethod(
        "receive field from the linear relation of 1/PD and R1; PD is no evidence independent of R1",
        "Mezer A et al. 2013, Nat Med 19:1667-1672",
        False,
    ),
}


@dataclass(frozen=True, eq=False)
class ReceiveField:
    """A receive field on the grid of M0.

    Attributes:
        field, sd: float32 [k, j, i], mean 1 over the mask, 1 and 0 where not valid.
        valid: bool.
        method: name in RECEIVE_METHODS.
        notes: sentences for the report.
    """

    field: np.ndarray
    sd: np.ndarray
    valid: np.ndarray
    method: str
    notes: tuple = ()


def receive_field(head, body, reference_geometry, noise_sd, region, fwhm=12.0, cancelled=None):
    """Receive field of the head coil over that of the body coil, from a pair of quick low-resolution scans.

    B^2 = G * (h^2 - 2 s_h^2) / G * (b^2 - 2 s_b^2): second moments have no Rician bias and contrast cancels.

    Args:
        head, body: float32 [k, j, i] on `reference_geometry`, magnitude of the same sequence; the body-coil scan
            registered to the head-coil scan and resampled by the caller where the head moved between them.
        noise_sd: (head, body), SD of the noise of one channel in these images.
        region: bool on `reference_geometry`, where there is signal in both.
        fwhm: mm, of the Gaussian.
    Returns:
        ReceiveField on `reference_geometry`, of mean 1 over the region, for `on_target`; the field of the body coil
        itself is left in it, see `with_body_coil`.
    Raises:
        ValueError: shapes differ, or no voxel shows signal in both.
    """
    check_same_shape(head=head, body=body, region=region, reference_geometry=np.empty(reference_geometry.shape, bool))
    head_power = np.square(head, dtype=np.float32) - np.float32(2 * noise_sd[0] ** 2)
    body_power = np.square(body, dtype=np.float32) - np.float32(2 * noise_sd[1] ** 2)
    known = region & (body_power > 0)
    if not known.any():
        raise ValueError("receive_field: body shows no signal above the noise in the region.")
    ratio = np.where(known, head_power, 0) / np.where(known, body_power, 1)
    # weights by the power of the body coil, as the sums ask; their size from the noise of a typical voxel
    power = float(np.median(body_power[known]))
    typical = float(np.median(ratio[known]))
    noise = 2 * typical * np.hypot(noise_sd[0] / np.sqrt(typical * power), noise_sd[1] / np.sqrt(power))
    spread = np.where(known, noise * np.sqrt(power / np.where(known, body_power, power)), 1)
    squared, squared_sd = smooth_field(
        ratio.astype(np.float32), spread.astype(np.float32), known, reference_geometry, fwhm, cancelled
    )
    field = np.sqrt(squared.clip(min=1e-6 * typical))
    field_sd = squared_sd / (2 * field)
    return _scaled(field, field_sd, field > 0, region, "body-head")


def on_target(receive, source, target, mask):
    """A ReceiveField on Geometry `source` brought to Geometry `target` by the headers, of mean 1 over `mask` there.

    The field belongs to the scanner: it stays where it is, however the head moved in between.
    """
    check_same_shape(field=receive.field, source=np.empty(source.shape, bool))
    check_same_shape(mask=mask, target=np.empty(target.shape, bool))
    field, valid = on_grid(receive.field, source, target, None, receive.valid)
    # smooth over many voxels: interpolation averages no further noise away
    sd, _ = on_grid(receive.sd, source, target, None, receive.valid)
    return _scaled(field, sd, valid & (field > 0), mask, receive.method)


def bias_field(m0, r1, valid, mask, lesions=None):
    """Receive field as the part of M0 that varies smoothly among voxels of equal R1.

    ln M0 = level(R1) + polynomial(place): nothing is assumed of the levels, and lesions do not take part, so that
    their PD stays a finding. A trend of PD across the head at equal R1 goes into the field.

    Args:
        m0, r1: float32 [k, j, i], any unit and 1/s. valid: bool, where both were fitted.
        mask: bool, the brain. lesions: bool, or None.
    Returns:
        ReceiveField; its SD is the root mean square change of the field when the order of the polynomial is one less.
    Raises:
        ValueError: shapes differ, or fewer voxels than the polynomial needs.
    """
    return _among_equal_r1(m0, r1, valid, mask, lesions, (_ORDER, _ORDER - 1))


def with_body_coil(receive, m0, r1, valid, mask, lesions=None):
    """The receive field of a pair of reference scans with that of the body coil, which the pair leaves in.

    The body coil's field is what `bias_field` finds, as a quadratic, in M0 over the field of the pair.

    Args:
        receive: ReceiveField. The others as in `bias_field`.
    Returns:
        ReceiveField; its SD also holds the root mean square change when the quadratic becomes a cubic.
    Raises:
        ValueError: as `bias_field`.
    """
    check_same_shape(m0=m0, field=receive.field)
    orders = _BODY_ORDER, _BODY_ORDER + 1
    rest = _among_equal_r1(m0 / receive.field, r1, valid & receive.valid, mask, lesions, orders)
    field = receive.field * rest.field
    sd = field * np.hypot(receive.sd / receive.field, rest.sd / rest.field)
    low, high = np.quantile(rest.field[mask & receive.valid], (0.01, 0.99))
    note = (
        f"the body coil's own receive field, {100 * low:.0f} to {100 * high:.0f} % over the brain, was taken from M0 "
        "among voxels of equal R1."
    )
    whole = _scaled(field, sd, receive.valid, mask, receive.method)
    return replace(whole, notes=(*receive.notes, note))


def _among_equal_r1(m0, r1, valid, mask, lesions, orders):
    """ReceiveField of `bias_field` with a polynomial of the first of two orders."""
    check_same_shape(m0=m0, r1=r1, valid=valid, mask=mask, lesions=lesions)
    voxels = _sample(m0, r1, valid, mask, lesions)
    rates = r1[voxels]
    edges = np.quantile(rates, np.linspace(0, 1, _GROUPS + 1)[1:-1])
    groups = np.searchsorted(edges, rates)
    return _polynomial(np.log(m0[voxels].astype(np.float64)), groups, voxels, mask, "bias-field", orders)


def r1_pd_field(m0, r1, valid, mask, lesions=None):
    """Receive field as the smooth part of M0 / PD(R1) with 1 / PD = 0.42 R1 + 0.95.

    PD then follows R1 wherever both vary slowly; its method says that it is no independent evidence.

    Args, Returns, Raises: as `bias_field`.
    Reference:
        Mezer A et al. 2013, Nat Med 19:1667-1672; the numbers are the start values of its program mrQ.
    """
    check_same_shape(m0=m0, r1=r1, valid=valid, mask=mask, lesions=lesions)
    voxels = _sample(m0, r1, valid, mask, lesions)
    expected = 1 / (_MRQ_SLOPE * r1[voxels].astype(np.float64) + _MRQ_OFFSET)
    logarithm = np.log(m0[voxels].astype(np.float64) / expected)
    return _polynomial(logarithm, np.zeros(len(logarithm), int), voxels, mask, "r1", (_ORDER, _ORDER - 1))


def _sample(m0, r1, valid, mask, lesions):
    """Indices of the voxels that the polynomial is fitted to."""
    chosen = mask & valid & (m0 > 0) & (r1 > _R1_RANGE[0]) & (r1 < _R1_RANGE[1])
    if lesions is not None:
        chosen &= ~lesions.astype(bool)
    number = np.count_nonzero(chosen)
    if number < 20 * _GROUPS:
        raise ValueError(f"m0 has {number} valid voxels in the mask, expected at least {20 * _GROUPS}.")
    return tuple(index[:: max(1, number // _SAMPLES)] for index in np.nonzero(chosen))


def _polynomial(logarithm, groups, voxels, mask, method, orders):
    """The ReceiveField from logarithms of M0 and the groups that share a level; SD from its change to another order."""
    fields = []
    for order in orders:
        basis = SmoothBasis(mask, order)
        values = basis.at(voxels)
        weights = np.ones(len(logarithm))
        for _ in range(_PASSES):
            coefficients = least_squares(_within(values, groups, weights), _within(logarithm, groups, weights), weights)
            rest = _within(logarithm - np.einsum("na,a->n", values, coefficients), groups, weights)
            scale = max(1.4826 * np.median(np.abs(rest)), 1e-6)
            weights = np.square(1 - np.square(rest / (_OUTLIER * scale)).clip(max=1)) + 1e-9
        fields.append(basis.on_grid(coefficients))
    difference = fields[0] - fields[1]
    difference -= difference[mask].mean(dtype=np.float64)
    model_sd = float(np.sqrt(np.square(difference[mask]).mean(dtype=np.float64)))
    field = np.exp(fields[0] - fields[0][mask].mean(dtype=np.float64))
    return _scaled(field, model_sd * field, mask.copy(), mask, method)


def _within(values, groups, weights):
    """Values [n] or [n, term] less the weighted mean of their group."""
    total = np.bincount(groups, weights)
    columns = values if values.ndim == 2 else values[:, None]
    means = np.stack([np.bincount(groups, weights * column) / total for column in columns.T], -1)
    out = columns - means[groups]
    return out if values.ndim == 2 else out[:, 0]


def _scaled(field, sd, valid, mask, method):
    """The ReceiveField of mean 1 over the mask."""
    inside = valid & mask
    mean = float(field[inside].mean(dtype=np.float64)) if inside.any() else 1.0
    field = np.where(valid, field / mean, 1).astype(np.float32)
    return ReceiveField(field, np.where(valid, sd / mean, 0).astype(np.float32), valid, method)
