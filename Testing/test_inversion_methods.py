"""What every dipole inversion must do: known objects come back, and nothing depends on axes, padding or threads."""

from dataclasses import replace

import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.dipole import forward_field
from QMRIEstimationLib.qsm.inversion import INVERSION_METHODS, ITERATIVE, TYPICAL_PHASE, InversionOptions, invert
from QMRIEstimationLib.qsm.method import settings_of

SHAPE = (30, 38, 42)
# How much of a ball of 8 mm comes back. Of a point TKD keeps 85 %, the mean of |D| / max(|D|, 0.15) over directions;
# NDI, MEDI and iLSQR stop before large objects have all their contrast.
KEPT = {
    "tv": (0.95, 1.03),
    "rts": (0.9, 1.05),
    "hd-qsm": (0.9, 1.05),
    "tkd": (0.75, 0.95),
    "ndi": (0.6, 1.0),
    "medi": (0.7, 1.05),
    "ilsqr": (0.75, 1.05),
}
USUAL = (0.85, 1.1)
# Less than usual, to be quick; the grids are small.
FEWER = {"hd-qsm": {"iterations": 30}, "ndi": {"iterations": 100}, "fansi": {"iterations": 60}}

methods = pytest.mark.parametrize("method", INVERSION_METHODS)


@pytest.fixture
def head(oblique_matrix):
    """An oblique grid of unequal voxel sides, an ellipsoid mask, and positions from its middle (mm)."""
    geometry = Geometry(SHAPE, oblique_matrix)
    places = np.meshgrid(
        *[(np.arange(n) - n // 2) * h for n, h in zip(SHAPE, geometry.voxel_size, strict=True)], indexing="ij"
    )
    return geometry, sum((p / r) ** 2 for p, r in zip(places, (18, 15, 14.5), strict=True)) < 1, places


def inverted(geometry, mask, field, method, padding=0.25, **more):
    flat, ones = np.ones(mask.shape, np.float32), mask.astype(np.float32)
    options = InversionOptions(method=method)
    name = method.replace("-", "_")
    options = replace(
        options, **{name: replace(settings_of(options, method), padding=padding, **FEWER.get(method, {}))}
    )
    return invert(field.astype(np.float32), 1e-4 * ones, ones, flat, mask, geometry, options, **more)


def ball(places, centre, radius):
    return sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)) < radius**2


@methods
def test_a_ball_comes_back(head, method):
    geometry, mask, places = head
    chi = 0.1 * ball(places, (1, 1, -1), 8.0).astype(np.float32)
    found = inverted(geometry, mask, forward_field(chi, geometry), method)
    core, around = ball(places, (1, 1, -1), 6.5), mask & ball(places, (1, 1, -1), 14) & ~ball(places, (1, 1, -1), 10)
    low, high = KEPT.get(method, USUAL)
    assert low < (found.chi[core].mean() - found.chi[around].mean()) / 0.1 < high
    assert found.chi.dtype == np.float32 and not found.chi[~mask].any() and not found.sd[~mask].any()


@methods
@pytest.mark.parametrize("degrees", [0, 30, 54.7, 60, 90])
def test_a_cylinder_comes_back_at_every_angle(method, degrees):
    angle, radius = np.deg2rad(degrees), 5.0
    geometry = Geometry((40, 40, 40), np.eye(4)).with_b0((np.sin(angle), 0.0, np.cos(angle)))
    _, j, i = np.meshgrid(*[np.arange(40.0) - 20] * 3, indexing="ij")
    distance = np.hypot(j, i)
    # Of an infinite cylinder along k: (3 cos^2 - 1) / 6 within, and a two-lobed field around.
    around = np.sin(angle) ** 2 / 2 * radius**2 * (i**2 - j**2) / np.maximum(distance, 1) ** 4
    field = 0.1 * np.where(distance < radius, (3 * np.cos(angle) ** 2 - 1) / 6, around)
    found = inverted(geometry, np.ones(geometry.shape, bool), field, method, padding=0.0).chi
    middle = (distance < radius - 1.5) & (np.abs(np.arange(40.0) - 20) < 10)[:, None, None]
    contrast = found[middle].mean() - found[10:30][(distance[10:30] > 8) & (distance[10:30] < 16)].mean()
    # At the magic angle no field lies within, and the walls of voxels are rough: what the method makes of the cone.
    assert contrast / 0.1 == pytest.approx(1, abs=0.3)


@methods
def test_opposite_field_gives_the_opposite_and_no_field_nothing(head, rng, method):
    geometry, mask, _ = head
    field = 0.01 * rng.normal(size=SHAPE) * mask
    one, other = (inverted(geometry, mask, sign * field, method).chi for sign in (1, -1))
    np.testing.assert_allclose(one, -other, atol=1e-5)
    assert not inverted(geometry, mask, 0 * field, method).chi.any()


@methods
def test_it_turns_with_the_axes(head, method, rng):
    geometry, mask, places = head
    field = forward_field(0.1 * ball(places, (1, 1, -1), 6.0).astype(np.float32), geometry)
    field = (field + 1e-3 * rng.normal(size=SHAPE).astype(np.float32)) * mask  # a ball has equals that rounding orders
    first = inverted(geometry, mask, field, method).chi
    turned = Geometry(SHAPE[::-1], geometry.ijk_to_ras[:, [2, 1, 0, 3]])
    other = inverted(turned, mask.T.copy(), field.T.copy(), method).chi.T
    # Only rounding differs, which iterations may carry on.
    assert np.abs(first - other)[mask].max() < 2e-3


@pytest.mark.slow
@methods
def test_more_padding_changes_little(head, method):
    geometry, mask, places = head
    field = forward_field(0.1 * ball(places, (1, 1, -1), 6.0).astype(np.float32), geometry) * mask
    one, other = (inverted(geometry, mask, field, method, padding).chi for padding in (0.3, 0.7))
    deep = ball(places, (0, 0, 0), 9)
    assert np.std((one - other)[deep]) < 0.1 * np.std(one[deep])


@pytest.mark.slow
@pytest.mark.parametrize("method", ITERATIVE)
def test_bits_do_not_depend_on_threads_and_it_can_be_cancelled(head, rng, threads, method):
    geometry, mask, _ = head
    field, results = 0.01 * rng.normal(size=SHAPE) * mask, []
    for count in (1, 2):
        threads(count)
        found = inverted(geometry, mask, field, method)
        results.append((found.chi.tobytes(), found.sd.tobytes()))
    assert results[0] == results[1]
    with pytest.raises(Cancelled):
        inverted(geometry, mask, field, method, cancelled=lambda: True)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["medi", "ndi", "fansi"])
def test_a_turn_that_is_left_over_does_no_harm(head, rng, method):
    geometry, mask, places = head
    chi = 0.1 * ball(places, (1, 1, -1), 6.0).astype(np.float32)
    field = forward_field(chi, geometry)
    turns = 2 * np.pi / TYPICAL_PHASE * (mask & (rng.random(SHAPE) < 0.03))
    whole, wrapped, linear = (
        inverted(geometry, mask, f, m).chi[mask]
        for f, m in ((field, method), (field + turns, method), (field + turns, "tkd"))
    )
    assert np.abs(wrapped - whole).max() < 0.01
    assert np.abs(linear - whole).max() > 0.2


def test_medi_evens_out_the_ventricles(head, rng):
    geometry, mask, places = head
    fluid = ball(places, (1, 1, -1), 5.0)
    chi = 0.03 * rng.normal(size=SHAPE).astype(np.float32) * mask
    spread = [
        np.std(inverted(geometry, mask, forward_field(chi, geometry), "medi", csf=csf).chi[fluid])
        for csf in (None, fluid)
    ]
    assert spread[1] < 0.7 * spread[0]
