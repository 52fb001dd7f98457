"""What is said of a susceptibility map: streaks, where the phase is trusted, two passes, the two parts of chi."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.maps import QuantitativeMap
from QMRIEstimationLib.qsm.background import BackgroundOptions
from QMRIEstimationLib.qsm.chain import QsmOptions, susceptibility
from QMRIEstimationLib.qsm.closed_form import TkdOptions, tkd
from QMRIEstimationLib.qsm.dipole import forward_field
from QMRIEstimationLib.qsm.field import field_map
from QMRIEstimationLib.qsm.inversion import InversionOptions
from QMRIEstimationLib.qsm.quality import QualityOptions, trusted_phase
from QMRIEstimationLib.qsm.separation import SeparationOptions, separate
from QMRIEstimationLib.qsm.streaks import streak_index
from QMRIEstimationLib.sources_of_chi import separated
from QMRIEstimationLib.units import hz_per_ppm

SHAPE = (48, 52, 44)
TILT = np.deg2rad(25)
OBLIQUE = np.diag([1.0, 1.0, 1.2, 1.0]) @ np.array(
    [[1, 0, 0, 0], [0, np.cos(TILT), -np.sin(TILT), 0], [0, np.sin(TILT), np.cos(TILT), 0], [0, 0, 0, 1]]
)
GEOMETRY = Geometry(SHAPE, OBLIQUE)


def ball(radius, centre=(0, 0, 0)):
    axes = np.meshgrid(*[np.arange(n) - n // 2 - c for n, c in zip(SHAPE, centre, strict=True)], indexing="ij")
    return sum(a**2 for a in axes) < radius**2


# --- streaks


def test_white_noise_has_an_index_of_one(rng):
    assert streak_index(rng.normal(size=SHAPE).astype(np.float32), GEOMETRY) == pytest.approx(1, abs=0.05)


def test_index_grows_with_streaks_and_falls_where_the_cone_is_empty(rng):
    chi = sum(v * ball(4, c) for v, c in ((0.1, (0, 0, 0)), (-0.1, (12, 5, -9)), (0.2, (-11, -9, 6))))
    field = forward_field(chi.astype(np.float32), GEOMETRY)
    field += 2e-3 * rng.normal(size=SHAPE).astype(np.float32)
    sd, mask = np.full(SHAPE, 2e-3, np.float32), ball(21)
    found = [
        streak_index(tkd(field, sd, mask, GEOMETRY, TkdOptions(threshold=t))[0] * mask, GEOMETRY)
        for t in (0.02, 0.06, 0.3)
    ]
    assert found[0] > 1.2 * found[1] > 1.2 * found[2]
    assert found[0] > 1.3 and found[2] < 0.8


def test_index_of_nothing_is_not_a_number():
    assert np.isnan(streak_index(np.zeros(SHAPE, np.float32), GEOMETRY))


# --- where the phase is trusted, and two passes


@pytest.fixture(scope="module")
def bleeding():
    """Echoes of a ball of brain in air with a bleeding inside that has lost its signal; chi of what is around it."""
    rng = np.random.default_rng(8)
    brain, clot = ball(19), ball(4, (4, 3, -5))
    nuclei = [ball(3, c) for c in ((-6, 8, 4), (6, -8, 6), (-9, -6, -4))]
    chi = 1.5 * clot + sum(v * n for v, n in zip((0.1, 0.15, 0.2), nuclei, strict=True)) + 9.0 * ball(3, (21, 0, 0))
    field = hz_per_ppm(3.0) * forward_field(chi.astype(np.float32), GEOMETRY)
    echo_times = np.array([0.005, 0.010, 0.015, 0.02])
    signal = np.where(brain, np.where(clot, 0.02, 1.0), 0)
    t = echo_times[:, None, None, None]
    images = signal * np.exp(-t * np.where(chi > 0, 60 * np.minimum(chi, 0.3), 0) + 2j * np.pi * field * t)
    noise = rng.normal(size=(2, *images.shape))
    images = images + 0.02 * (noise[0] + 1j * noise[1])
    magnitude, phase = np.abs(images).astype(np.float32), np.angle(images).astype(np.float32)
    return magnitude, phase, echo_times, brain, clot, chi, nuclei


def test_noise_is_not_trusted_and_smooth_phase_is(bleeding):
    magnitude, phase, _, _, clot, _, _ = bleeding
    trusted = trusted_phase(magnitude, phase, GEOMETRY)
    inner = ball(16) & ~ball(8, (4, 3, -5))
    assert trusted[inner].mean() > 0.99
    assert trusted[clot].mean() < 0.5
    assert trusted[~ball(22)].mean() < 0.05


def test_image_without_noise_is_trusted_everywhere():
    phase = np.linspace(-1, 1, SHAPE[0])[:, None, None] * np.ones((2, *SHAPE))
    assert trusted_phase(np.ones((2, *SHAPE)), phase, GEOMETRY).all()


def test_two_passes_keep_the_streaks_of_a_bleeding_out_of_the_rest(bleeding):
    magnitude, phase, times, brain, clot, chi, nuclei = bleeding
    field = field_map(magnitude, phase, times, brain, GEOMETRY, 0.02)
    trusted = trusted_phase(magnitude, phase, GEOMETRY)
    around = ball(15) & ~ball(7, (4, 3, -5))
    tissue = around & ~np.any(nuclei, axis=0)
    plain = {"background": BackgroundOptions(method="pdf"), "inversion": InversionOptions(method="tkd")}
    spreads, results = {}, {}
    for use in ("weight", "two passes"):
        options = QsmOptions(quality=QualityOptions(use=use), **plain)
        results[use] = susceptibility(field, magnitude, brain, GEOMETRY, 3.0, options, trusted=trusted)
        spreads[use] = (results[use].chi - chi)[tissue].std()
    assert spreads["two passes"] < 0.7 * spreads["weight"]
    assert results["two passes"].valid[clot].all()  # it has a value all the same
    assert results["two passes"].algorithm.endswith("two passes")


def test_quality_as_a_mask_cuts_the_edge_and_leaves_no_hole(bleeding):
    magnitude, phase, times, _, clot, _, _ = bleeding
    larger = ball(22)  # a mask that reaches into the air
    field = field_map(magnitude, phase, times, larger, GEOMETRY, 0.02)
    options = QsmOptions(quality=QualityOptions(use="mask"), inversion=InversionOptions(method="tkd"))
    trusted = trusted_phase(magnitude, phase, GEOMETRY)
    result = susceptibility(field, magnitude, larger, GEOMETRY, 3.0, options, trusted=trusted)
    assert result.valid[clot].all()
    assert result.valid[~ball(20)].mean() < 0.05
    assert result.coverage == pytest.approx(result.valid.sum() / larger.sum())


def test_misfit_is_what_chi_leaves_of_the_local_field(bleeding):
    magnitude, phase, times, brain, _, _, _ = bleeding
    field = field_map(magnitude, phase, times, brain, GEOMETRY, 0.02)
    quiet = ball(15) & ~ball(9, (4, 3, -5))
    spreads = {}
    for method in ("tv", "tkd"):
        options = QsmOptions(inversion=InversionOptions(method=method))
        rest = susceptibility(field, magnitude, brain, GEOMETRY, 3.0, options).misfit[quiet]
        spreads[method] = 1.4826 * np.median(np.abs(rest - np.median(rest)))
    assert 0.3 < spreads["tv"] / np.median(field.sd[quiet]) < 3  # noise, and little else
    assert spreads["tv"] < spreads["tkd"]


# --- paramagnetic and diamagnetic parts

P, N = 137.0, 137.0
PARTS = hnp.arrays(np.float32, (3, 3, 3), elements=st.floats(0, 0.25, width=32))


def _separate(chi, rate, field_strength=3.0, options=SeparationOptions(), sd=0.0):
    zero = np.full(chi.shape, sd, np.float32)
    r2 = np.full(chi.shape, 15.0, np.float32)
    arrays = (chi, zero, (r2 + rate), zero, r2, zero, np.ones(chi.shape, bool))
    return separate(*(a.astype(np.float32) if a.dtype != bool else a for a in arrays), field_strength, options)


@given(PARTS, PARTS, st.sampled_from([1.5, 3.0, 7.0]))
@settings(max_examples=30, deadline=None)
def test_parts_that_made_the_data_are_found_again(para, dia, field_strength):
    rate = (P * para + N * dia) * field_strength / 3
    found = _separate(para - dia, rate, field_strength)
    np.testing.assert_allclose(found.paramagnetic, para, atol=1e-5)
    np.testing.assert_allclose(found.diamagnetic, -dia, atol=1e-5)
    assert found.valid.all()


@given(hnp.arrays(np.float32, 20, elements=st.floats(-0.25, 0.25, width=32)),
       hnp.arrays(np.float32, 20, elements=st.floats(0, 40, width=32)))  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_parts_have_their_sign_and_add_up_to_chi(chi, rate):
    found = _separate(chi, rate)
    assert (found.paramagnetic >= 0).all() and (found.diamagnetic <= 0).all()
    np.testing.assert_allclose(found.paramagnetic + found.diamagnetic, chi, atol=1e-6)


def test_spread_of_the_parts_is_that_of_repeated_noise(rng):
    n = 20_000
    chi, r2star, r2 = (v + s * rng.normal(size=n) for v, s in ((0.02, 0.01), (28.0, 1.0), (18.0, 0.5)))
    sds = [np.full(n, s, np.float32) for s in (0.01, 1.0, 0.5)]
    arrays = [x for pair in zip((chi, r2star, r2), sds, strict=True) for x in pair]
    found = separate(*(a.astype(np.float32) for a in arrays), np.ones(n, bool), 3.0)
    assert found.paramagnetic.std() == pytest.approx(found.paramagnetic_sd.mean(), rel=0.03)
    assert found.diamagnetic.std() == pytest.approx(found.diamagnetic_sd.mean(), rel=0.03)


def test_r2star_far_below_r2_is_not_valid():
    found = _separate(np.zeros(3, np.float32), np.array([-5.0, -1.0, 5.0], np.float32), sd=1.0)
    assert found.valid.tolist() == [False, True, True]


def quantity(name, value):
    data, valid = np.full((3, 4, 5), value, np.float32), np.ones((3, 4, 5), bool)
    grid = Geometry(valid.shape, np.eye(4))
    return QuantitativeMap(
        name, data, 0.01 * data, 0 * data, valid, grid, "method", "paper", "", sources=(f"{name}.nii",)
    )  # fmt: skip


def test_maps_of_the_parts_say_what_is_doubtful():
    chi, r2star = quantity("Chi", 0.05), quantity("R2star", 30.0)
    made, notes = separated(chi, r2star, quantity("R2", 20.0), True, 0.01, 3.0, SeparationOptions())
    assert notes == []
    parts = [made[name].values[0, 0, 0] for name in ("ChiParamagnetic", "ChiDiamagnetic")]
    assert sum(parts) == pytest.approx(0.04)  # from fluid
    assert parts[0] - parts[1] == pytest.approx(10 / P)
    assert made["ChiParamagnetic"].sources == ("Chi.nii", "R2star.nii", "R2.nii")
    _, notes = separated(chi, r2star, quantity("R2", 35.0), False, None, 3.0, SeparationOptions())
    assert [word in note for word, note in zip(("bSSFP", "ventricles", "below R2"), notes, strict=True)] == [True] * 3


def test_relaxivities_grow_with_the_field():
    rate = np.full(1, 20.0, np.float32)
    low, high = (_separate(np.zeros(1, np.float32), rate, b0).paramagnetic[0] for b0 in (3.0, 7.0))
    assert low / high == pytest.approx(7 / 3)
    assert replace(SeparationOptions(), paramagnetic=274.0).paramagnetic == 274.0
