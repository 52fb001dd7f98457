"""The field map: real three-echo data, offset, uneven and missing echoes, and an SD that covers the noise."""

import nibabel
import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.echoes import unwrap_echoes
from QMRIEstimationLib.qsm.field import FieldOptions, field_map
from QMRIEstimationLib.qsm.field_fit import reliability
from QMRIEstimationLib.qsm.unwrap import wrap

SHAPE, VOXEL_SIZE = (21, 32, 33), (1.5, 1.0, 1.2)
ECHO_TIMES = (0.004, 0.0095, 0.013, 0.021)  # s, uneven
NOISE = 0.02


@pytest.fixture
def scan():
    """Geometry, mask, true field (Hz), true offset (rad) and a function making noisy echoes."""
    geometry = Geometry(SHAPE, np.diag([*VOXEL_SIZE[::-1], 1.0]))
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * h for n, h in zip(SHAPE, VOXEL_SIZE, strict=True)], indexing="ij")
    mask = (z / 14) ** 2 + (y / 15) ** 2 + (x / 18) ** 2 < 1
    field = 60 * np.sin(z / 9) + 45 * np.cos(y / 8) + 1.5 * x
    offset = 0.9 + 0.06 * y + 0.05 * x + 0.003 * z**2

    def echoes(times=ECHO_TIMES, noise=NOISE, rng=None, sign=1):
        times = np.array(times)[:, None, None, None]
        signal = np.exp(-25 * times) * np.exp(1j * sign * (offset + 2 * np.pi * field * times))
        if noise:
            signal = signal + noise * (rng.normal(size=signal.shape) + 1j * rng.normal(size=signal.shape))
        return np.abs(signal).astype(np.float32), np.angle(signal).astype(np.float32)

    return geometry, mask, field, offset, echoes


def _real_echoes(shared_data):
    folder = shared_data / "megre_7t_romeo"
    images = [nibabel.load(folder / f"{name}.nii.gz") for name in ("mag", "phase_rad")]
    magnitude, phase = (np.ascontiguousarray(i.get_fdata(dtype=np.float32).T) for i in images)
    geometry = Geometry(phase.shape[1:], images[0].affine)
    return magnitude, phase, geometry, np.ones(geometry.shape, bool)


def test_no_real_echo_is_more_than_pi_from_the_line_through_the_others(shared_data):
    magnitude, phase, geometry, mask = _real_echoes(shared_data)
    first, second, third = field_map(magnitude, phase, (0.004, 0.008, 0.012), mask, geometry, 0.003).unwrapped
    bend = np.abs(third - 2 * second + first)
    assert bend.max() <= np.pi + 1e-4  # first and third echo; the second lies half as far
    assert np.median(bend) < 0.1  # noise and flow


def test_real_echoes_change_by_whole_turns_only(shared_data):
    magnitude, phase, geometry, mask = _real_echoes(shared_data)
    result = field_map(magnitude, phase, (0.004, 0.008, 0.012), mask, geometry, 0.003)
    turns = (result.unwrapped - phase) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-5)
    assert turns[2].round().any()  # echo 3 is wrapped in one region


def test_real_echoes_are_continuous_in_space_and_offset_is_found(shared_data):
    magnitude, phase, geometry, mask = _real_echoes(shared_data)
    result = field_map(magnitude, phase, (0.004, 0.008, 0.012), mask, geometry, 0.003)
    jumps = np.mean([np.mean(np.abs(np.diff(result.unwrapped[2], axis=a)) > np.pi) for a in range(3)])
    assert jumps < 1e-3  # vessels and noise
    assert np.median(result.phase_offset) == pytest.approx(-0.14, abs=0.02)


@pytest.mark.parametrize("times", [ECHO_TIMES, ECHO_TIMES[:2], (0.003, 0.006, 0.009)])
def test_field_without_noise_is_the_truth(scan, times):
    geometry, mask, field, offset, echoes = scan
    magnitude, phase = echoes(times, noise=0)
    result = field_map(magnitude, phase, times, mask, geometry, NOISE)
    # What a plane over 3 mm cannot follow of the offset's curvature (0.003 rad/mm^2 x 9 mm^2) over 2 pi TE_last,
    # weighted by all echoes; three times that, for the smaller weight of the last echo.
    tolerance = 3 * 0.003 * 9 / (2 * np.pi * times[-1])
    assert np.abs(result.total_field - field)[mask].max() < tolerance
    assert np.abs(wrap(result.phase_offset - offset))[mask].max() < 3 * 0.003 * 9
    assert result.residual[mask].max() < 0.1


def test_offset_is_followed_to_the_edge_of_the_mask(scan):
    geometry, mask, _, offset, echoes = scan
    magnitude, phase = echoes(noise=0)
    result = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE)
    inner = np.zeros_like(mask)
    inner[2:-2, 2:-2, 2:-2] = mask[2:-2, 2:-2, 2:-2] & mask[4:, 2:-2, 2:-2] & mask[:-4, 2:-2, 2:-2]
    error = np.abs(wrap(result.phase_offset - offset))
    # A plain smooth mean is off by 0.08 rad/mm times 0.8 of the window's SD (2.4 mm) = 0.19 rad at the surface.
    assert error[mask & ~inner].max() < 0.07


def test_sd_covers_the_noise_of_repeated_scans(scan, rng):
    geometry, mask, _, _, echoes = scan
    runs = []
    for _ in range(60):
        magnitude, phase = echoes(rng=rng)
        runs.append(field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE))
    # One SD of the SD over 60 draws is 9 % a voxel; the median over thousands of voxels is far better, the offset's
    # own noise adds up to 2 %, phase noise at 2 % of the signal is Gaussian.
    spread = np.std([r.total_field[mask] for r in runs], axis=0)
    assert np.median(spread / runs[0].sd[mask]) == pytest.approx(1, abs=0.05)


def test_residual_is_the_phase_noise(scan, rng):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(rng=rng)
    result = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE)
    # One of four echoes' worth of noise goes into the slope: weighted squares sum to 3 sigma^2; the
    # curvature that the offset's plane cannot follow (0.027 rad) adds to it.
    expected = NOISE * np.sqrt(3 / (magnitude**2).sum(axis=0))[mask]
    assert np.sqrt(np.mean(result.residual[mask] ** 2) / np.mean(expected**2)) == pytest.approx(1.03, abs=0.07)


def alternating(step):
    """Phase of echoes that are read in alternating directions: a constant and a ramp along the readout, rad."""
    return np.array([1, -1, 1, -1])[:, None, None, None] * (0.25 * step + step * np.linspace(-0.5, 0.5, SHAPE[2]))


@pytest.mark.parametrize("step", [0.4, 2.4])
def test_phase_of_alternating_readouts_is_taken_off(scan, rng, step):
    geometry, mask, field, _, echoes = scan
    times = (0.004, 0.010, 0.016, 0.022)
    magnitude, phase = echoes(times, rng=rng)
    result = field_map(magnitude, wrap(phase + np.float32(alternating(step))), times, mask, geometry, NOISE)
    assert "alternating directions; their phase" in result.notes[-1]
    error = (result.total_field - field)[mask]
    assert abs(np.median(error)) < 0.1  # Hz
    assert np.std(error) < 1.1 * np.sqrt(np.mean(result.sd[mask] ** 2) + 0.3**2)  # 0.3 Hz: curvature of the offset


@pytest.mark.parametrize("step, said", [(0.0, False), (0.4, True), (3.0, True)])
def test_uneven_echoes_read_in_alternating_directions_are_reported(scan, rng, step, said):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(rng=rng)
    result = field_map(magnitude, wrap(phase + np.float32(alternating(step))), ECHO_TIMES, mask, geometry, NOISE)
    assert any("read in the same direction" in note for note in result.notes) == said


def test_opposite_phase_gives_the_opposite_field(scan):
    geometry, mask, _, _, echoes = scan
    a = field_map(*echoes(noise=0), ECHO_TIMES, mask, geometry, NOISE)
    b = field_map(*echoes(noise=0, sign=-1), ECHO_TIMES, mask, geometry, NOISE)
    np.testing.assert_allclose(a.total_field, -b.total_field, atol=1e-3)


def test_single_echo_is_unwrapped_and_says_what_is_missing(scan):
    geometry, mask, field, offset, echoes = scan
    magnitude, phase = echoes((0.02,), noise=0)
    result = field_map(magnitude, phase, (0.02,), mask, geometry, NOISE)
    error = (result.total_field - field - offset / (2 * np.pi * 0.02))[mask] * 0.02
    np.testing.assert_allclose(error - np.rint(error[0]), 0, atol=1e-4)  # turns
    assert "one echo" in result.notes[0]


def test_echo_that_died_in_part_of_the_brain_steers_nothing_there(scan, rng):
    geometry, mask, field, _, echoes = scan
    magnitude, phase = echoes(noise=0)
    dead = np.zeros(SHAPE, bool)
    dead[:, :12] = True
    magnitude[3, dead], phase[3, dead] = 0, rng.uniform(-np.pi, np.pi, dead.sum())
    result = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE)
    assert np.abs(result.total_field - field)[mask].max() < 2.0  # Hz; offset curvature over three echoes
    assert np.median(result.sd[mask & dead]) > 1.2 * np.median(result.sd[mask & ~dead])


def test_voxels_without_signal_are_left_out_with_a_note(scan):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(noise=0)
    magnitude[:, 10, 15, 15] = 0
    phase[:, 10, 16, 15] = np.nan
    result = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE)
    assert result.sd[10, 15, 15] == 0 and np.isfinite(result.total_field).all()
    assert result.notes[-1].startswith("2 voxels")


def test_many_echoes_with_noise_stay_within_pi_of_the_line_through_the_others(rng):
    times = np.array([0.003, 0.006, 0.01, 0.013, 0.02])
    field = rng.uniform(-80, 80, 2000)
    phase = (2 * np.pi * field * times[:, None] + 2.0 * rng.normal(size=(5, 2000))).astype(np.float32)
    difference = phase[1] - phase[0]
    weights = np.ones_like(phase)
    unwrapped = unwrap_echoes(wrap(phase), weights, times, difference, (0, 1))
    for e in range(5):
        others = np.delete(np.arange(5), e)
        line = np.polyval(np.polyfit(times[others], unwrapped[others], 1), times[e])
        assert np.abs(unwrapped[e] - line).max() <= np.pi + 1e-3


def test_bits_do_not_depend_on_threads(scan, rng, threads):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(rng=rng)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE))
    for other in results[1:]:
        for name in ("total_field", "sd", "residual", "unwrapped", "phase_offset"):
            assert getattr(results[0], name).tobytes() == getattr(other, name).tobytes()


@pytest.mark.parametrize("fit", ["least squares", "nonlinear", "weighted mean"])
def test_every_fit_has_the_spread_it_says(scan, rng, fit):
    geometry, mask, _, _, echoes = scan
    first, second = (
        field_map(*echoes(rng=rng), ECHO_TIMES, mask, geometry, NOISE, FieldOptions(fit=fit)) for _ in range(2)
    )
    z = (first.total_field - second.total_field)[mask] / np.hypot(first.sd, second.sd)[mask]
    assert np.std(z) == pytest.approx(1, abs=0.05)  # 8000 voxels; the offset's own noise adds up to 2 %


def test_weighted_mean_is_noisier_than_least_squares(scan, rng):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(rng=rng)
    sds = [field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE, FieldOptions(fit=fit)).sd[mask].mean()
           for fit in ("least squares", "weighted mean")]  # fmt: skip
    assert sds[0] < sds[1]


def test_offset_as_mcpc_3d_s_is_right_inside_and_biased_at_the_edge(scan):
    geometry, mask, field, _, echoes = scan
    errors = {}
    for offset in ("smooth", "mcpc-3d-s"):
        result = field_map(*echoes(noise=0), ECHO_TIMES, mask, geometry, NOISE, FieldOptions(offset=offset))
        error = (result.total_field - field)[mask]
        errors[offset] = np.std(error - np.median(error))
        turns = (result.unwrapped - echoes(noise=0)[1])[:, mask] / (2 * np.pi)
        np.testing.assert_allclose(turns, np.rint(turns), atol=1e-4)
    assert errors["smooth"] < 0.3 * errors["mcpc-3d-s"] < 3  # Hz


def test_late_echoes_after_a_null_of_the_signal_are_left_out(scan, rng):
    geometry, mask, field, _, echoes = scan
    magnitude, phase = echoes(rng=rng)
    steep = np.zeros(SHAPE, bool)
    steep[8:12, 12:18, 14:20] = True
    across = 60.0  # Hz over the voxel: the signal of a box vanishes at 16.7 ms and then has the opposite sign
    lost = np.sinc(across * np.array(ECHO_TIMES))[:, None]
    image = (magnitude * np.exp(1j * phase))[:, steep] * lost
    image += NOISE * (rng.normal(size=image.shape) + 1j * rng.normal(size=image.shape))
    magnitude[:, steep], phase[:, steep] = np.abs(image), np.angle(image)
    result = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE)
    error = (result.total_field - field)[mask & steep]
    sd = result.sd[mask & steep]
    assert abs(np.median(error)) < 0.5 * np.median(sd)
    assert 1.4826 * np.median(np.abs(error)) < 1.5 * np.median(sd)
    assert np.median(sd) > 1.5 * np.median(result.sd[mask & ~steep])  # less signal, and three echoes of four
    assert np.median(result.reliability[mask & steep]) > 0.9


def test_phase_that_partial_volume_bends_counts_in_full_whatever_the_snr():
    expected = np.full(4, 0.002, np.float32)  # rad, of an SNR of 500
    found = reliability(np.array([0.004, 0.02, 0.05, 0.1], np.float32), expected)
    assert found == pytest.approx([1, 1, 1, 0.25], rel=1e-5)


def test_reliability_falls_where_the_echoes_disagree(scan, rng):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(rng=rng)
    flow = np.zeros(SHAPE, bool)
    flow[8:12, 12:18, 14:20] = True
    phase[0, flow] = wrap(phase[0, flow] + 1.0)
    result = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE)
    assert np.median(result.reliability[mask & flow]) < 0.3
    assert np.median(result.reliability[mask & ~flow]) > 0.99
    assert result.reliability[mask].min() > 0


def test_single_echo_by_the_laplacian_is_smooth(scan):
    geometry, mask, field, _, echoes = scan
    magnitude, phase = echoes((0.02,), noise=0)
    result = field_map(magnitude, phase, (0.02,), mask, geometry, NOISE, FieldOptions(single_echo="laplacian"))
    assert np.corrcoef(result.total_field[mask], field[mask])[0, 1] > 0.95


def test_offset_can_be_taken_as_zero(scan):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(noise=0)
    result = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE, FieldOptions(offset="none"))
    assert not result.phase_offset.any()


def test_bad_input_is_named(scan):
    geometry, mask, _, _, echoes = scan
    magnitude, phase = echoes(noise=0)
    with pytest.raises(ValueError, match="ascending"):
        field_map(magnitude, phase, ECHO_TIMES[::-1], mask, geometry, NOISE)
    with pytest.raises(ValueError, match="phase has shape"):
        field_map(magnitude, phase[:2], ECHO_TIMES, mask, geometry, NOISE)
    with pytest.raises(InputError, match="brain mask"):
        field_map(magnitude, phase, ECHO_TIMES, np.zeros(SHAPE, bool), geometry, NOISE)
    with pytest.raises(Cancelled):
        field_map(magnitude, phase, ECHO_TIMES, mask, geometry, NOISE, cancelled=lambda: True)
