"""Denoising: noise goes, means, edges and what is no noise stay; and what is known of the noise that is left."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from bids_tree import make_bids_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib import cli
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.denoise.images import METHODS, DenoiseOptions, denoise_images
from QMRIEstimationLib.denoise.local_mean import give_back_mean
from QMRIEstimationLib.denoise.mppca import mppca
from QMRIEstimationLib.denoise.noise_map import noise_map
from QMRIEstimationLib.denoise.nonlocal_means import NonlocalOptions, nonlocal_means
from QMRIEstimationLib.denoise.session import STEP, denoised
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.noise import on_matrix
from QMRIEstimationLib.steps import Steps
from QMRIEstimationLib.threads import use_threads

SHAPE = (24, 40, 36)
GRID = Geometry(SHAPE, np.eye(4))
ECHO_TIMES = np.arange(1, 7) * 0.005


def tissues():
    """Two tissues in slabs 8 voxels wide, and a ball of a third one with a diameter of 9 mm."""
    k, j, i = np.indices(SHAPE)
    labels = (j // 8) % 2
    labels[(k - 12) ** 2 + (j - 20) ** 2 + (i - 18) ** 2 < 4.5**2] = 2
    return labels


LABELS = tissues()


def decay(shape=SHAPE, snr=25.0):
    """Echoes [e, k, j, i] in noise SDs without noise: R2* of 20, 15 and 30 1/s, S0 of 1, 1.2 and .9."""
    rate, start = np.array([20.0, 15.0, 30.0])[LABELS], np.array([1.0, 1.2, 0.9])[LABELS]
    return snr * start * np.exp(-rate * ECHO_TIMES.reshape(-1, 1, 1, 1))


def noisy_complex(rng, images, wraps=3.0):
    """Magnitude and phase of images with complex noise of SD 1 and a phase that wraps."""
    _, j, i = np.indices(SHAPE)
    ramp = np.stack([0.3 * j * e + wraps * np.sin(i / 9) for e in range(len(images))])
    noise = rng.standard_normal((2, *images.shape))
    image = images * np.exp(1j * ramp) + noise[0] + 1j * noise[1]
    return np.abs(image).astype(np.float32), np.angle(image).astype(np.float32)


def channels_of(rng, count=6, level=30.0):
    return (level + rng.standard_normal((count, *SHAPE))).astype(np.float32)


ALL = np.ones(SHAPE, bool)


@pytest.mark.parametrize("method", METHODS)
def test_noise_of_a_flat_image_goes_and_its_share_is_known(rng, method):
    channels = channels_of(rng)
    means, share = METHODS[method].function(channels, np.zeros(6, bool), ALL, GRID)
    left = (means - 30).std()
    assert left < 0.45  # MP-PCA keeps the mean of 6^3 voxels and now and then a component
    assert np.sqrt((share**2).mean()) == pytest.approx(left, abs=0.05)


def test_weights_of_white_noise_are_those_of_a_plain_mean(rng):
    """With patches that differ by noise alone nearly all 343 neighbours count, so 1/sqrt(343) of the noise stays."""
    means, share = nonlocal_means(channels_of(rng, 12), np.zeros(12, bool), ALL, GRID, NonlocalOptions(strength=6.0))
    inner = (slice(3, -3),) * 3
    assert share[inner].mean() == pytest.approx(343**-0.5, rel=0.02)
    assert (means[(slice(None), *inner)] - 30).std() == pytest.approx(343**-0.5, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_result_does_not_depend_on_threads(rng, method):
    channels = channels_of(rng)
    results = []
    for threads in (1, 3):
        use_threads(threads)
        results.append(METHODS[method].function(channels, np.zeros(6, bool), ALL, GRID)[0])
    assert np.array_equal(*results)


# noise SDs: the mean of the ball itself is uncertain by 0.05; MP-PCA shrinks what stands little above the noise
@pytest.mark.parametrize(("method", "limit"), [("nonlocal-means", 0.15), ("mp-pca", 0.25)])
def test_complex_echoes_keep_means_and_edges(rng, method, limit):
    true = decay()
    scan = noisy_complex(rng, true)
    found = denoise_images([scan], GRID, DenoiseOptions(method=method))
    magnitude = found.images[0][0]
    inner = (slice(2, -2),) * 3
    for label in range(3):
        here = (LABELS == label)[inner]
        error = (magnitude - true)[(slice(None), *inner)][:, here]
        assert np.abs(error.mean(axis=1)).max() < limit
    before = (scan[0] - true)[(slice(None), *inner)].std()
    assert (magnitude - true)[(slice(None), *inner)].std() < 0.65 * before


def test_weights_are_shared_so_that_a_faint_channel_keeps_the_edges_of_the_others(rng):
    """A ball that one channel shows at half a noise SD, and another at ten, stays in both."""
    ball = LABELS == 2
    faint, clear = np.where(ball, 20.5, 20.0), np.where(ball, 30.0, 20.0)
    channels = (np.stack([faint, clear]) + rng.standard_normal((2, *SHAPE))).astype(np.float32)
    both = nonlocal_means(channels, np.zeros(2, bool), ALL, GRID)[0][0]
    alone = nonlocal_means(channels[:1], np.zeros(1, bool), ALL, GRID)[0][0]
    shell = ball & ~np.roll(ball, 2, axis=0)  # the rim, which averaging over the neighbourhood would thin
    outside = ~ball & np.roll(ball, 3, axis=0)
    contrast = [image[shell].mean() - image[outside].mean() for image in (both, alone)]
    assert contrast[0] == pytest.approx(0.5, abs=0.15)
    assert contrast[1] < 0.35


def test_magnitudes_lose_the_floor_of_the_noise(rng):
    """True signal of two noise SDs: the mean magnitude is 2.27; what is left after denoising is 2."""
    noise = rng.standard_normal((2, 8, *SHAPE))
    magnitude = np.hypot(2 + noise[0], noise[1]).astype(np.float32)
    found = denoise_images([(magnitude, None)], GRID, DenoiseOptions(method="nonlocal-means"))
    assert magnitude.mean() == pytest.approx(2.27, abs=0.02)
    assert np.sqrt((found.images[0][0] ** 2).mean()) == pytest.approx(
        2, abs=0.07
    )  # the SD of the noise is known to 3 %


def test_what_is_left_of_the_noise_lifts_magnitudes_as_measured_noise_does(rng):
    """The fits take a floor off all magnitudes: one that found nothing like it must come back as it was."""
    noise = rng.standard_normal((2, 8, *SHAPE))
    magnitude = np.hypot(2 + noise[0], noise[1]).astype(np.float32)
    alone = DenoiseOptions(method="nonlocal-means", nonlocal_means=NonlocalOptions(search=0.5))
    found = denoise_images([(magnitude, None)], GRID, alone)
    assert found.levels[0] == pytest.approx(found.before[0])
    assert found.images[0][0] == pytest.approx(magnitude, rel=1e-3)


@pytest.mark.parametrize("snr", [3, 10])
def test_sum_of_squares_of_many_coils(rng, snr):
    """Non-central chi: the mean of the squares stands 2 n above the signal's, and the noise map knows the spread."""
    coils = 8
    channels = rng.standard_normal((2 * coils, 3, *SHAPE)).astype(np.float32)
    channels[::2] += snr / np.sqrt(coils)
    magnitude = np.sqrt((channels**2).sum(axis=0))
    options = DenoiseOptions(method="nonlocal-means", coils=coils)
    found = denoise_images([(magnitude, None)], GRID, options)
    assert np.median(found.before[0]) == pytest.approx(1, abs=0.05)
    assert found.images[0][0].mean() == pytest.approx(snr, rel=0.03)
    assert magnitude.mean() > 1.05 * snr


def test_phase_is_denoised_across_wraps(rng):
    true = decay()
    scan = noisy_complex(rng, true)
    clean = noisy_complex(np.random.default_rng(0), 1e6 * true)[1]
    found = denoise_images([scan], GRID, DenoiseOptions(method="nonlocal-means")).images[0][1]
    inner = (slice(None), *((slice(2, -2),) * 3))
    error = [np.angle(np.exp(1j * (p - clean)))[inner].std() for p in (scan[1], found)]
    assert error[1] < 0.6 * error[0]


def test_what_is_taken_off_looks_like_noise(rng):
    found = denoise_images([noisy_complex(rng, decay())], GRID, DenoiseOptions(method="nonlocal-means"))
    assert abs(found.likeness) < 0.05


@pytest.mark.parametrize("squared", [False, True])
def test_local_mean_of_what_was_taken_off_comes_back(rng, squared):
    """A ball that was levelled with what surrounds it: the middle of it comes back, with 7 % of the noise variance."""
    ball = LABELS == 2
    channels = (np.where(ball, 34.0, 30.0) + rng.standard_normal((6, *SHAPE))).astype(np.float32)
    power = 2 if squared else 1
    means = np.full_like(channels, 30.0**power)
    left, _ = give_back_mean(means, channels, [squared] * 6, ALL, GRID)
    found = means ** (1 / power)
    core = ball & (np.linalg.norm(np.indices(SHAPE) - np.array([12, 20, 18])[:, None, None, None], axis=0) < 2)
    assert found[:, core].mean() > 33.8
    assert left == pytest.approx(1 / (4 * np.pi * 0.7**2) ** 1.5, rel=0.06)  # voxels sample the Gaussian
    assert found[:, 5:-5, 30:35, 5:-5].std() == pytest.approx(np.sqrt(left), rel=0.1)


@pytest.mark.parametrize("shape", [(24, 40, 36), (1, 200, 180)])
def test_correlation_of_noise_without_its_local_mean_is_known(rng, shape):
    noise = rng.standard_normal((1, *shape)).astype(np.float32)
    means = np.zeros_like(noise)
    _, likeness = give_back_mean(means, noise, [False], np.ones(shape, bool), Geometry(shape, np.eye(4)))
    rest, axes = noise - means, [axis for axis in (1, 2, 3) if noise.shape[axis] > 1]
    found = [np.mean(rest * np.roll(rest, 1, axis)) / np.mean(rest**2) for axis in axes]
    assert np.mean(found) == pytest.approx(likeness, abs=0.015)


def test_noise_of_bright_voxels_stays_out_of_dark_ones_beside_them(rng):
    """The square of a magnitude of 60 noise SDs has sixty times the noise of that of air."""
    bright = np.indices(SHAPE)[1] < 20
    noise = rng.standard_normal((2, 1, *SHAPE))
    magnitude = np.hypot(np.where(bright, 60.0, 0.0) + noise[0], noise[1]).astype(np.float32)
    means = np.where(bright, 60.0**2 + 2, 2.0).astype(np.float32)[None]  # all noise was taken off
    give_back_mean(means, magnitude, [True], ALL, GRID)
    air = (0, slice(None), 20)
    assert np.abs(means[air] - 2).mean() < np.abs(magnitude[air] ** 2 - 2).mean()


def test_local_mean_is_as_wide_in_thick_slices_as_their_volume():
    thick = Geometry(SHAPE, np.diag([0.7, 0.7, 1.4, 1.0]))
    zeros = np.zeros((1, *SHAPE), np.float32)
    point = zeros.copy()
    point[0, 12, 20, 18] = 1
    means = zeros.copy()
    give_back_mean(means, point, [False], ALL, thick)
    assert means[0, 13, 20, 18] == pytest.approx(means[0, 12, 20, 20], rel=1e-3)  # 1.4 mm along either axis
    assert means[0, 13, 20, 18] > 0
    assert means.sum() == pytest.approx(1, abs=0.01)


def test_structure_that_is_taken_off_is_noticed(rng):
    """Waves a little below the noise in all channels at once are averaged away with it."""
    wave = 2.0 * np.sin(np.arange(SHAPE[2]) * 1.0)
    magnitude = np.abs(30 + wave + rng.standard_normal((1, *SHAPE))).astype(np.float32)
    options = DenoiseOptions("nonlocal-means", NonlocalOptions(patch=0.6, strength=20.0))
    assert denoise_images([(magnitude, None)], GRID, options).likeness > 0.05


@pytest.mark.parametrize("snr", [3, 12, 50])
@pytest.mark.parametrize("complex_data", [True, False])
def test_noise_map_finds_noise_that_varies_over_the_head(rng, snr, complex_data):
    shape = (64, 72, 68)
    k, j, i = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    sd = 1 + np.exp(-(k**2 + j**2 + i**2) / 0.3)  # twice as much in the middle, as with parallel imaging
    folds = np.where(np.sin(18 * k + 3 * np.sin(6 * j)) * np.sin(16 * i + 10 * k) > 0.1, 1.0, 1.25)
    noise = rng.standard_normal((2, 4, *shape))
    image = snr * sd.mean() * folds + sd * (noise[0] + 1j * noise[1])
    channels = np.concatenate([image.real, image.imag]) if complex_data else np.abs(image)
    geometry = Geometry(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    found = noise_map(channels.astype(np.float32), geometry, coils=0 if complex_data else 1)
    assert np.median(found / sd) == pytest.approx(1, abs=0.03)
    assert np.quantile(np.abs(found / sd - 1), 0.8) < 0.08  # the Gaussian rounds the peak off


@pytest.mark.parametrize("snr", [1, 2])
def test_noise_map_near_the_floor(rng, snr):
    noise = rng.standard_normal((2, 4, 64, 64, 64))
    magnitude = np.hypot(snr + noise[0], noise[1]).astype(np.float32)
    found = noise_map(magnitude, Geometry((64, 64, 64), np.eye(4)), coils=1)
    assert np.median(found) == pytest.approx(1, abs=0.1)


def test_masked_images_without_air(rng):
    """A skull-stripped scan: the zeros stay zeros, and they neither count as signal nor as noise."""
    inside = LABELS >= 0
    inside[:, :6] = False
    scan = noisy_complex(rng, decay())
    masked = [np.where(inside, part, 0).astype(np.float32) for part in scan]
    found = denoise_images([tuple(masked)], GRID, DenoiseOptions(method="nonlocal-means"))
    assert not found.images[0][0][:, :, :6].any()
    assert np.median(found.before[0][inside]) == pytest.approx(1, abs=0.06)


def test_voxels_that_are_not_finite_stay_and_spoil_nothing(rng):
    magnitude, phase = noisy_complex(rng, decay())
    magnitude[2, 5, 6, 7] = np.nan
    found = denoise_images([(magnitude, phase)], GRID, DenoiseOptions(method="nonlocal-means"))
    new = found.images[0][0]
    assert np.isnan(new[2, 5, 6, 7])
    assert np.isfinite(new).sum() == new.size - 1


@pytest.mark.parametrize("image", [np.zeros(SHAPE), np.full(SHAPE, 7.0)])
def test_images_without_noise_are_refused(image):
    with pytest.raises(ValueError, match="noise_map: fewer than 50 blocks"):
        denoise_images([(image[None].astype(np.float32), None)], GRID, DenoiseOptions(method="nonlocal-means"))


def test_mppca_needs_six_channels(rng):
    with pytest.raises(ValueError, match="5 channels, mp-pca needs 6 or more; use nonlocal-means"):
        mppca(channels_of(rng, 5), np.zeros(5, bool), ALL, GRID)


@pytest.mark.parametrize("method", METHODS)
def test_user_can_stop_it(rng, method):
    with pytest.raises(Cancelled):
        METHODS[method].function(channels_of(rng), np.zeros(6, bool), ALL, GRID, cancelled=lambda: True)


@settings(max_examples=10, deadline=None)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.booleans()] * 3))
def test_orientation_of_the_grid_does_not_matter(order, flips):
    rng = np.random.default_rng(5)
    channels = rng.normal(20, 1, (2, 8, 9, 10)).astype(np.float32)
    turn = tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)

    def moved(image):
        return np.ascontiguousarray(np.transpose(image, order)[turn])

    plain = nonlocal_means(channels, np.zeros(2, bool), np.ones((8, 9, 10), bool), Geometry((8, 9, 10), np.eye(4)))[0]
    turned = np.stack([moved(c) for c in channels])
    shape = turned.shape[1:]
    other = nonlocal_means(turned, np.zeros(2, bool), np.ones(shape, bool), Geometry(shape, np.eye(4)))[0]
    np.testing.assert_allclose(other, np.stack([moved(p) for p in plain]), atol=2e-4)


def test_search_and_patch_are_in_millimetres(rng):
    """Of slices 4 mm thick the neighbours are not used: each is denoised as it would be by itself."""
    channels = channels_of(rng, 4)
    thick = Geometry(SHAPE, np.diag([1.0, 1.0, 8.0, 1.0]))
    together = nonlocal_means(channels, np.zeros(4, bool), ALL, thick)[0]
    one = nonlocal_means(channels[:, 7:8].copy(), np.zeros(4, bool), ALL[7:8], Geometry((1, *SHAPE[1:]), np.eye(4)))[0]
    np.testing.assert_allclose(together[:, 7:8], one, atol=1e-5)


@pytest.fixture(scope="module")
def denoised_and_not(tmp_path_factory):
    """Results of one tiny subject with and without denoising."""
    folder = tmp_path_factory.mktemp("denoised")
    raw = make_bids_tree(folder / "raw")
    for name in ("--denoise", "--no-denoise"):
        options = ["--participant-label", "01", name]
        assert cli.main(["run", str(raw), str(folder / name), "participant", *options]) == cli.DONE
    return folder / "--denoise", folder / "--no-denoise"


def test_command_line_switches_it_and_the_record_says_so(denoised_and_not):
    logs = [json.loads(next((f / "logs").glob("sub-01_*.json")).read_text()) for f in denoised_and_not]
    assert [log["parameters"]["denoise"]["method"] for log in logs] == ["nonlocal-means", "none"]
    assert "non-local means" in logs[0]["figures"]["denoising"]
    assert "denoising" not in logs[1]["figures"]
    sidecars = [json.loads((f / "sub-01" / "anat" / "sub-01_R2starmap.json").read_text()) for f in denoised_and_not]
    assert sidecars[0]["Denoising"] == "multispectral non-local means"
    assert "Denoising" not in sidecars[1]


def test_report_shows_what_was_taken_off_and_the_methods_name_it(denoised_and_not):
    pages = [(folder / "sub-01.html").read_text() for folder in denoised_and_not]
    assert "Taken off by denoising" in pages[0]
    assert "denoised by multispectral non-local means (Manjon" in pages[0]
    assert "denois" not in pages[1].replace("denoise", "")


def test_sd_of_the_maps_falls_with_the_noise(denoised_and_not):
    def least_sd(folder):
        anat = folder / "sub-01" / "anat"
        sd, valid = (
            nibabel.load(anat / f"sub-01_desc-{name}.nii.gz").get_fdata()
            for name in ("uncertainty_R2starmap", "R2star_mask")
        )
        return np.quantile(sd[(valid > 0) & (sd > 0)], 0.25)  # at an SNR of 100 no voxel near an edge has its like

    assert least_sd(denoised_and_not[0]) < 0.8 * least_sd(denoised_and_not[1])


def session_of(magnitude, phase, geometry):
    """A session with one multi-echo scan, and the scan."""
    scan = Scan(
        Role.MULTI_ECHO_GRE, "scan.nii.gz", geometry, lambda: (magnitude, phase), tuple(ECHO_TIMES),
        has_phase=phase is not None,
    )  # fmt: skip
    return Session("01", scans=(scan,)), scan


NONLOCAL = DenoiseOptions(method="nonlocal-means")


def test_interpolated_images_are_denoised_on_the_grid_that_was_measured(rng):
    """Zero-filled to twice the points in the plane: noise falls, and the noise that is left is known."""
    true = decay()
    magnitude, phase = noisy_complex(rng, true, wraps=0.0)
    measured = magnitude * np.exp(1j * phase)
    shape = (SHAPE[0], 2 * SHAPE[1], 2 * SHAPE[2])
    image = np.stack([on_matrix(part, shape) for part in measured])
    matrix = np.diag([0.5, 0.5, 1.0, 1.0])
    geometry = Geometry(shape, matrix, acquired_voxel_size=(1.0, 1.0, 1.0))
    session, scan = session_of(np.abs(image).astype(np.float32), np.angle(image).astype(np.float32), geometry)
    new, removed, notes = denoised(session, [scan], NONLOCAL, Steps(None, None, [STEP]))
    assert not notes
    found, _ = new.scans[0].read()
    inner = (slice(None), slice(2, -2), slice(4, -4, 2), slice(4, -4, 2))  # the points that were measured
    same = (slice(None), slice(2, -2), slice(2, -2), slice(2, -2))
    error = [(m - t).std() for m, t in ((magnitude[same], true[same]), (found[inner], true[same]))]
    assert error[1] < 0.65 * error[0]
    level = new.scans[0].noise.level[inner[1:]]
    assert np.sqrt((level**2).mean()) == pytest.approx(error[1], rel=0.3)
    assert removed[0].image.shape == shape


def test_interpolated_magnitudes_are_left_as_they_are_with_the_reason(rng):
    geometry = Geometry(SHAPE, np.eye(4), acquired_voxel_size=(1.0, 2.0, 2.0))
    session, scan = session_of(noisy_complex(rng, decay())[0], None, geometry)
    new, removed, notes = denoised(session, [scan], NONLOCAL, Steps(None, None, [STEP]))
    assert new.scans[0] is scan
    assert not removed
    assert notes[0].startswith("scan.nii.gz: not denoised, because it was interpolated")


@pytest.mark.parametrize(
    ("method", "coils", "complex_data", "said"),
    [
        ("rSOS", 1, False, True),
        ("Sum of Squares", 1, False, True),
        ("Adaptive Combine", 1, False, False),
        ("rSOS", 16, False, False),
        ("rSOS", 1, True, False),
    ],
)
def test_sum_of_squares_in_the_header_is_noticed_until_the_coils_are_given(rng, method, coils, complex_data, said):
    magnitude, phase = noisy_complex(rng, decay())
    _, scan = session_of(magnitude, phase if complex_data else None, GRID)
    scan = replace(scan, header={"CoilCombinationMethod": method, "NumberReceiveCoilActiveElements": 16})
    options = replace(NONLOCAL, coils=coils)
    _, _, notes = denoised(Session("01", scans=(scan,)), [scan], options, Steps(None, None, [STEP]))
    assert any("denoise.coils" in note and "16" in note for note in notes) == said


def test_phase_for_susceptibility_stays_as_measured(rng):
    magnitude, phase = noisy_complex(rng, decay())
    session, scan = session_of(magnitude, phase, GRID)
    new, _, _ = denoised(session, [scan], NONLOCAL, Steps(None, None, [STEP]))
    assert new.scans[0].read()[1] is phase


def test_an_image_without_noise_stays_and_the_others_go_on():
    session, scan = session_of(np.full((2, *SHAPE), 7, np.float32), None, GRID)
    new, _, notes = denoised(session, [scan], NONLOCAL, Steps(None, None, [STEP]))
    assert new.scans[0] is scan
    assert "fewer than 50 blocks" in notes[0]


def test_a_scan_that_serves_twice_is_denoised_once(rng):
    """Flip angles with several echoes give chi as well; twice in the weights their noise would count as structure."""
    session, scan = session_of(*noisy_complex(rng, decay()), GRID)
    once, twice = (denoised(session, scans, NONLOCAL, Steps(None, None, [STEP]))[0] for scans in ([scan], [scan, scan]))
    assert np.array_equal(once.scans[0].read()[0], twice.scans[0].read()[0])
