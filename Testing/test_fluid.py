"""Pure fluid at the noise of clinical scans: where it is found, and that its mean signal gives an unbiased M0."""

from types import SimpleNamespace

import numpy as np
import pytest
from QMRIEstimationLib.flip_series import FlipSeries
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.relaxometry.fluid import fluid_mean, pure_fluid
from QMRIEstimationLib.relaxometry.pd import PdOptions
from QMRIEstimationLib.relaxometry.r1 import R1Options
from scipy.ndimage import distance_transform_edt

SHAPE = (30, 34, 32)
RADIUS = 11  # mm
FLIPS, TIME, SD = np.radians([3.0, 8.0, 18.0]), 0.015, 0.006  # noise of an image, M0 of fluid being 1


@pytest.fixture(scope="module")
def ball():
    """bool [k, j, i], a ball of fluid in white matter, and its Geometry of 1 mm."""
    grid = np.indices(SHAPE) - np.array(SHAPE)[:, None, None, None] / 2
    return np.linalg.norm(grid, axis=0) < RADIUS, Geometry(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0]))


@pytest.fixture(scope="module")
def series(ball):
    """A flip-angle series of the ball with Rician noise and ideal spoiling, with what mean_fit and fit read of it."""
    fluid, geometry = ball
    r1, m0 = np.where(fluid, 0.24, 1.05), np.where(fluid, 1.0, 0.69)
    decay = np.exp(-TIME * r1)
    rng = np.random.default_rng(4)
    images = []
    for flip in FLIPS:
        signal = m0 * np.sin(flip) * (1 - decay) / (1 - decay * np.cos(flip))
        images.append(np.hypot(signal + rng.normal(0, SD, SHAPE), rng.normal(0, SD, SHAPE)).astype(np.float32))
    made = FlipSeries.__new__(FlipSeries)
    made.magnitude, made.levels, made.shared_sd = np.stack(images), [SD] * 3, None
    made.flip_angles, made.spoiling, made.fitted = FLIPS.tolist(), None, np.ones(SHAPE, bool)
    made.scans = [SimpleNamespace(repetition_time=TIME)] * 3
    made.place = SimpleNamespace(geometry=geometry)
    return made


@pytest.fixture(scope="module")
def settings():
    return SimpleNamespace(r1=R1Options())


@pytest.fixture(scope="module")
def fit(series, settings):
    """R1 of single voxels, which in fluid is off by half."""
    field = SimpleNamespace(b1=None, sd=None)
    return series.fit(field, None, settings, SimpleNamespace(report=None, cancelled=None))


def found(fit, geometry, r1=None, sd=None):
    r1, sd = fit.r1 if r1 is None else r1, fit.sd if sd is None else sd
    return pure_fluid(r1, sd, fit.valid, np.ones(SHAPE, bool), geometry, PdOptions())


def test_fluid_is_found_whatever_the_noise_of_its_voxels(ball, fit):
    fluid, geometry = ball
    inside = distance_transform_edt(fluid) > 3.5
    values = fit.r1[inside & fit.valid]
    assert values.std() > 0.08  # a third of R1: a range of R1 for each voxel would leave hardly any
    region = found(fit, geometry)
    assert region[inside].mean() > 0.9
    assert not (region & ~fluid).any()


def test_a_wall_of_one_voxel_is_not_fluid_nor_what_it_touches(ball, fit):
    _, geometry = ball
    r1, sd, wall = fit.r1.copy(), fit.sd.copy(), SHAPE[2] // 2
    r1[..., wall], sd[..., wall] = 0.8, 0.05
    region = found(fit, geometry, r1=r1, sd=sd)
    assert region.any()
    assert not region[..., wall - 2 : wall + 3].any()


def test_m0_of_the_mean_signal_has_no_bias_where_that_of_voxels_has(ball, series, fit, settings):
    _, geometry = ball
    region = found(fit, geometry)
    single = np.median(fit.m0[region & fit.valid])
    pure, grain = series.mean_fit(region, SimpleNamespace(b1=None), 0.6, settings)
    values = pure.m0[region]
    error = values.std() / np.sqrt(max(np.count_nonzero(region) * geometry.voxel_volume / grain, 1))
    assert error < 0.02
    assert abs(np.median(values) - 1) < 3 * error
    assert abs(np.median(values) - 1) < abs(single - 1)


def test_nothing_outside_the_region_enters_a_mean(ball):
    fluid, geometry = ball
    images = np.where(fluid, np.float32(2), np.float32(np.nan))[None]
    means, _ = fluid_mean(images, fluid, geometry)
    assert means[0][fluid] == pytest.approx(2, rel=1e-5)


def test_noise_of_a_mean_is_that_of_the_volume_it_names(rng):
    geometry = Geometry((40, 60, 60), np.diag([0.8, 0.8, 1.6, 1.0]))
    region = np.ones(geometry.shape, bool)
    (mean,), grain = fluid_mean(rng.standard_normal((1, *geometry.shape)), region, geometry)
    inner = mean[8:-8, 12:-12, 12:-12]
    assert inner.std() == pytest.approx(np.sqrt(geometry.voxel_volume / grain), rel=0.1)
