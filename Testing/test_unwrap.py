"""Spatial unwrapping by ROMEO and by the Laplacian: whole turns, many wraps, steep borders, separate parts, echoes."""

import numpy as np
import pytest
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.romeo import phase_quality, romeo, romeo_echoes
from QMRIEstimationLib.qsm.unwrap import laplacian_unwrap, wrap

SHAPE, VOXEL_SIZE = (31, 40, 45), (2.0, 1.0, 0.8)


@pytest.fixture
def head():
    """Geometry, coordinates (mm) and an ellipsoid mask that touches the border of the grid."""
    geometry = Geometry(SHAPE, np.diag([*VOXEL_SIZE[::-1], 1.0]))
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * h for n, h in zip(SHAPE, VOXEL_SIZE, strict=True)], indexing="ij")
    return geometry, (z, y, x), (z / 32) ** 2 + (y / 20) ** 2 + (x / 19) ** 2 < 1


def _wrong(unwrapped, truth, mask):
    """Share of the mask that is not the truth plus one common number of turns."""
    turns = np.rint((unwrapped - truth)[mask] / (2 * np.pi))
    return np.mean(turns != np.median(turns))


def _many_wraps(z, y, x):
    return (9 * np.sin(z / 14) + 12 * np.cos(y / 9) + 0.04 * x**2 + 4).astype(np.float32)


def test_unwrapped_less_wrapped_is_whole_turns(head):
    _, (z, y, x), mask = head
    phase = wrap(_many_wraps(z, y, x))
    turns = (romeo(phase, np.ones(SHAPE, np.float32), mask) - phase)[mask] / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-5)  # single precision of some ten radians
    assert np.ptp(np.rint(turns)) >= 5


def test_many_wraps_are_undone_everywhere(head):
    _, (z, y, x), mask = head
    truth = _many_wraps(z, y, x)
    assert _wrong(romeo(wrap(truth), np.ones(SHAPE, np.float32), mask), truth, mask) == 0


@pytest.mark.parametrize("noise", [0.0, 0.35])
def test_steep_air_like_field_at_the_border_is_undone(head, rng, noise):
    _, (z, y, x), mask = head
    squared = (z - 6) ** 2 + (y - 24) ** 2 + x**2
    source = (3 * (z - 6) ** 2 - squared) / squared**2.5  # a dipole 5 mm beyond the mask
    steepest = max(np.nanmax(np.abs(np.diff(np.where(mask, source, np.nan), axis=axis))) for axis in range(3))
    truth = _many_wraps(z, y, x) / 3 + source * 2.0 / steepest
    truth = (truth + noise * rng.normal(size=SHAPE)).astype(np.float32)
    weight = np.full(SHAPE, 1.0, np.float32)
    # Whole regions, not single voxels, are what breaks a field map: at most one voxel in a thousand may be off.
    assert _wrong(romeo(wrap(truth), weight, mask), truth, mask) < 1e-3


def test_noise_without_signal_does_not_break_the_rest(head, rng):
    _, (z, y, x), mask = head
    truth = _many_wraps(z, y, x)
    dead = np.abs(x - 3) < 1.0  # a sheet of noise across most of the mask
    dead &= y < 8
    phase = np.where(dead, rng.uniform(-np.pi, np.pi, SHAPE), wrap(truth)).astype(np.float32)
    weight = np.where(dead, 0.01, 1).astype(np.float32)
    assert _wrong(romeo(phase, weight, mask), truth, mask & ~dead) == 0


def test_laplacian_recovers_a_smooth_phase_within_the_mask(head):
    geometry, _, _ = head
    # Differences vanish at the faces of the grid, as the cosine transform assumes, so only the mean is lost.
    truth = np.ones(SHAPE)
    for n, axis in zip(SHAPE, range(3), strict=True):
        line = np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
        truth = truth * line.reshape([-1 if a == axis else 1 for a in range(3)])
    truth = (6 * truth).astype(np.float32)
    unwrapped = laplacian_unwrap(wrap(truth), np.ones(SHAPE, bool), geometry)
    np.testing.assert_allclose(unwrapped, truth - truth.mean(), atol=2e-3)  # float32 over a 4000-fold gain


def test_two_parts_are_each_continuous(head):
    _, (z, y, x), mask = head
    truth = _many_wraps(z, y, x)
    mask = mask & (np.abs(x) > 1.0)
    unwrapped = romeo(wrap(truth), np.ones(SHAPE, np.float32), mask)
    for part in (mask & (x < 0), mask & (x > 0)):
        assert _wrong(unwrapped, truth, part) == 0


def test_outside_the_mask_and_an_empty_mask_are_zero(head):
    _, (z, y, x), mask = head
    phase, weight = wrap(_many_wraps(z, y, x)), np.ones(SHAPE, np.float32)
    assert not romeo(phase, weight, mask)[~mask].any()
    assert not romeo(phase, weight, np.zeros(SHAPE, bool)).any()


def test_shapes_that_differ_are_named(head):
    geometry, _, mask = head
    with pytest.raises(ValueError, match="mask has shape"):
        laplacian_unwrap(np.zeros((3, 3, 3), np.float32), mask, geometry)


@pytest.mark.parametrize("turns", [0, 2, -1, 10, -50])
def test_ramp_with_an_offset_of_whole_turns_comes_back_about_zero(turns):
    ramp = np.linspace(-8, 8, 60, dtype=np.float32) + np.zeros((3, 3, 1), np.float32)
    everywhere = np.ones(ramp.shape, bool)
    phase = wrap(ramp + np.float32(2 * np.pi * turns))
    np.testing.assert_allclose(romeo(phase, np.ones_like(phase), everywhere), ramp, atol=1e-4)


def test_ramp_steeper_than_half_a_turn_is_told_by_the_other_echo():
    # 3.3 rad a voxel is seen as -3; only the gradient of an echo of half the time says which way is up.
    step = np.linspace(0, 0.4, 41, dtype=np.float32)
    ramp = np.cumsum(step - step.mean(), dtype=np.float32) * np.ones((4, 4, 1), np.float32)
    times = (0.004, 0.008)
    unwrapped = romeo_echoes(np.stack([wrap(ramp), wrap(2 * ramp)]), np.ones((2, *ramp.shape)), times, ramp < np.inf)
    np.testing.assert_allclose(unwrapped[1] - unwrapped[1].mean(), 2 * (ramp - ramp.mean()), atol=1e-3)


def test_echoes_change_by_whole_turns_and_follow_the_template(head, rng):
    _, (z, y, x), mask = head
    rate = _many_wraps(z, y, x) / 3
    times = (0.004, 0.007, 0.015)
    true = np.stack([rate * t / times[0] for t in times])
    phase = wrap(true + 0.1 * rng.normal(size=true.shape)).astype(np.float32)
    unwrapped = romeo_echoes(phase, np.ones_like(phase), times, mask)
    turns = (unwrapped - phase)[:, mask] / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-5)
    assert [_wrong(u, t, mask) for u, t in zip(unwrapped, true, strict=True)] == [0, 0, 0]


def test_quality_tells_noise_from_phase(head, rng):
    _, (z, y, x), mask = head
    dead = np.abs(x - 3) < 2.0
    phase = np.where(dead, rng.uniform(-np.pi, np.pi, SHAPE), wrap(_many_wraps(z, y, x) / 5)).astype(np.float32)
    quality = phase_quality(phase, np.ones(SHAPE, np.float32), mask)
    inner = np.abs(x - 3) < 1.0
    assert quality[mask & inner].mean() < 0.2
    assert quality[mask & ~dead].mean() > 0.6
    assert not quality[~mask].any()


def test_unwrapping_does_not_depend_on_threads(head, rng, threads):
    _, (z, y, x), mask = head
    phase = wrap(_many_wraps(z, y, x) + rng.normal(size=SHAPE)).astype(np.float32)
    results = []
    for count in (1, 3):
        threads(count)
        results.append(romeo(phase, np.ones(SHAPE, np.float32), mask).tobytes())
    assert results[0] == results[1]
