"""Dipole field, background removal, inversion, reference, sign and the chain, against analytic truth."""

from dataclasses import replace

import numpy as np
import pytest
from QMRIEstimationLib import fft
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.background import BackgroundOptions
from QMRIEstimationLib.qsm.chain import QsmOptions, susceptibility
from QMRIEstimationLib.qsm.closed_form import L2Options, TikhonovOptions, TkdOptions, smooth_l2, tikhonov, tkd
from QMRIEstimationLib.qsm.dipole import dipole_kernel, forward_field
from QMRIEstimationLib.qsm.field import FieldMap
from QMRIEstimationLib.qsm.inversion import InversionOptions
from QMRIEstimationLib.qsm.polarity import PolarityOptions, anatomy_strength, decide
from QMRIEstimationLib.qsm.reference import ReferenceOptions, reference_to
from QMRIEstimationLib.qsm.reliable import ReliabilityOptions, mixed_surface, without_weak_surface
from QMRIEstimationLib.qsm.spheres import sphere_mean
from QMRIEstimationLib.qsm.ventricles import ventricles
from QMRIEstimationLib.qsm.vsharp import VsharpOptions, vsharp
from QMRIEstimationLib.units import hz_per_ppm
from scipy import ndimage

SHAPE = (64, 66, 72)
STRAIGHT = np.diag([1.0, 1.0, 1.0, 1.0])


def _geometry(matrix, shape=SHAPE):
    return Geometry(shape, matrix)


@pytest.fixture(params=["straight", "oblique"])
def geometry(request, oblique_matrix):
    """An isotropic grid along the magnet, and an oblique one with unequal voxel sides."""
    return _geometry(STRAIGHT if request.param == "straight" else oblique_matrix)


def _from_centre(geometry, centre=(0.0, 0.0, 0.0)):
    """Position of each voxel along the voxel axes [k, j, i], mm from the middle of the grid."""
    return np.meshgrid(
        *[(np.arange(n) - n // 2) * h - c for n, h, c in zip(geometry.shape, geometry.voxel_size, centre, strict=True)],
        indexing="ij",
    )


def _rendered(geometry, inside, fine=5):
    """Share of each voxel for which `inside` (of positions in mm) holds, by fine^3 points a voxel."""
    share = np.zeros(geometry.shape, np.float32)
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    positions = _from_centre(geometry)
    for a in steps:
        for b in steps:
            for c in steps:
                shift = [s * h for s, h in zip((a, b, c), geometry.voxel_size, strict=True)]
                share += inside(*[p + s for p, s in zip(positions, shift, strict=True)])
    return share / fine**3


def _sphere_field(geometry, radius, centre=(0.0, 0.0, 0.0)):
    """Analytic field of a sphere of 1 ppm outside it, and the distance from its centre (mm)."""
    position = _from_centre(geometry, centre)
    distance = np.sqrt(sum(p * p for p in position))
    along = sum(p * b for p, b in zip(position, geometry.b0_dir, strict=True))
    safe = np.maximum(distance, 1e-6)
    return (radius / safe) ** 3 / 3 * (3 * (along / safe) ** 2 - 1), distance


def _sphere(geometry, radius):
    return _rendered(geometry, lambda k, j, i: k * k + j * j + i * i < radius**2)


def test_field_of_a_sphere_is_within_2_percent_of_the_analytic_one(geometry):
    radius = 8.0
    field = forward_field(_sphere(geometry, radius), geometry)
    truth, distance = _sphere_field(geometry, radius)
    outside = distance > radius + 1.5 * max(geometry.voxel_size)
    # Of the largest field at that distance from the centre, so that the zero of the magic angle is no excuse.
    amplitude = 2 / 3 * (radius / distance[outside]) ** 3
    assert (np.abs(field - truth)[outside] / amplitude).max() < 0.02


def test_field_inside_a_sphere_is_zero(geometry):
    field = forward_field(_sphere(geometry, 8.0), geometry)
    _, distance = _sphere_field(geometry, 8.0)
    # Lorentz sphere; what is left comes from the rough surface of the voxels
    assert np.abs(field[distance < 8.0 - 1.5 * max(geometry.voxel_size)]).max() < 0.02


@pytest.mark.parametrize("degrees", [0, 35, 90])
def test_field_of_a_long_cylinder_follows_its_angle(degrees):
    angle, radius = np.deg2rad(degrees), 4.0
    geometry = Geometry((200, 36, 36), STRAIGHT).with_b0((np.sin(angle), 0.0, np.cos(angle)))
    cylinder = _rendered(Geometry((1, 36, 36), STRAIGHT), lambda k, j, i: j * j + i * i < radius**2)
    chi = np.broadcast_to(cylinder, geometry.shape)
    field = forward_field(chi, geometry)[100]
    _, j, i = (p[100] for p in _from_centre(geometry))
    distance = np.hypot(j, i)
    inside = field[distance < radius - 1.5].mean()
    # The ends, 100 mm away, change it by (a / L)^2 / 2 = 0.0008; the voxelised wall is not quite round.
    assert inside == pytest.approx((3 * np.cos(angle) ** 2 - 1) / 6, abs=0.003)
    ring = (distance > radius + 1.5) & (distance < 14)
    truth = (
        np.sin(angle) ** 2 / 2 * (radius / np.maximum(distance, 1)) ** 2 * (i**2 - j**2) / np.maximum(distance, 1) ** 2
    )
    assert np.abs(field - truth)[ring].max() < 0.01


def test_field_turns_with_b0_and_volume(rng):
    geometry = Geometry((24, 24, 24), STRAIGHT).with_b0((0.6, 0.0, 0.8))
    turned = geometry.with_b0((0.0, 0.6, 0.8))  # i -> j, j -> -i
    chi = rng.normal(size=geometry.shape).astype(np.float32)
    expected = np.rot90(forward_field(chi, geometry), 1, axes=(2, 1))
    np.testing.assert_allclose(forward_field(np.rot90(chi, 1, axes=(2, 1)), turned), expected, atol=1e-5)


def test_kernel_is_a_real_operator_on_even_oblique_grids(oblique_matrix, rng):
    shape = (12, 10, 16)
    kernel = dipole_kernel(shape, _geometry(oblique_matrix, shape))
    a, b = rng.normal(size=(2, *shape)).astype(np.float32)
    apply = lambda x: fft.irfftn(fft.rfftn(x) * kernel, shape)  # noqa: E731
    assert np.vdot(apply(a), b) == pytest.approx(np.vdot(a, apply(b)), rel=1e-4)


def test_constant_susceptibility_makes_no_field(geometry):
    chi = np.ones(geometry.shape, np.float32)
    field = fft.irfftn(fft.rfftn(chi) * dipole_kernel(chi.shape, geometry), chi.shape)
    np.testing.assert_allclose(field, 0, atol=1e-6)


def test_constant_field_makes_no_susceptibility(geometry):
    field = np.ones(geometry.shape, np.float32)
    everywhere, no_padding = np.ones(geometry.shape, bool), TikhonovOptions(padding=0.0)
    geometry = replace(geometry, shape=(32, 30, 36))  # sizes that are fast as they are
    field, everywhere = field[:32, :30, :36], everywhere[:32, :30, :36]
    chi, _ = tikhonov(field, 0 * field, everywhere, geometry, no_padding)
    np.testing.assert_allclose(chi, 0, atol=1e-5)  # single precision times a gain of 12


def test_sphere_is_inverted_within_10_percent(geometry):
    radius = 8.0
    chi = 0.2 * _sphere(geometry, radius)
    field = forward_field(chi, geometry)
    everywhere = np.ones(geometry.shape, bool)
    result, _ = tikhonov(field, 0 * field, everywhere, geometry)  # the default weight
    _, distance = _sphere_field(geometry, radius)
    size = max(geometry.voxel_size)
    contrast = result[distance < radius - size].mean() - result[distance > radius + 3 * size].mean()
    assert contrast == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("radius", [3.0, 5.0, 12.0])
def test_scale_does_not_depend_on_the_size_of_the_object(radius):
    geometry = _geometry(STRAIGHT)
    chi = _sphere(geometry, radius)
    field = forward_field(chi, geometry)
    result, _ = tikhonov(field, 0 * field, np.ones(geometry.shape, bool), geometry)
    contrast = (result * chi).sum() / (chi**2).sum() - result[chi == 0].mean()
    assert contrast == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("method", [tikhonov, tkd, smooth_l2])
def test_inversion_is_linear_and_odd(geometry, rng, method):
    mask = np.ones(geometry.shape, bool)
    f, g = rng.normal(size=(2, *geometry.shape)).astype(np.float32)
    invert = lambda x: method(x, 0 * x, mask, geometry)[0]  # noqa: E731
    np.testing.assert_allclose(invert(f - 2 * g), invert(f) - 2 * invert(g), atol=1e-3)  # gain up to 12
    np.testing.assert_array_equal(invert(-f), -invert(f))


@pytest.mark.parametrize(("method", "kept"), [(tkd, 0.85), (smooth_l2, 0.9)])
def test_other_closed_forms_keep_what_their_kernel_keeps(geometry, method, kept):
    # Of a point source TKD at 0.15 keeps the mean of |D| / max(|D|, 0.15) over directions, 0.85; the penalty on
    # gradients leaves a sphere of 8 mm nearly whole.
    chi = 0.2 * _sphere(geometry, 8.0)
    field = forward_field(chi, geometry)
    result, _ = method(field, 0 * field, np.ones(geometry.shape, bool), geometry)
    _, distance = _sphere_field(geometry, 8.0)
    size = max(geometry.voxel_size)
    contrast = result[distance < 8.0 - size].mean() - result[distance > 8.0 + 3 * size].mean()
    assert contrast == pytest.approx(0.2 * kept, rel=0.1)


def test_thresholds_are_obeyed(geometry, rng):
    f = rng.normal(size=geometry.shape).astype(np.float32)
    mask = np.ones(geometry.shape, bool)
    gains = [np.std(tkd(f, 0 * f, mask, geometry, TkdOptions(threshold=t))[0]) for t in (0.1, 0.2)]
    rough = [np.std(np.diff(smooth_l2(f, 0 * f, mask, geometry, L2Options(lam=lam))[0])) for lam in (1e-3, 1e-1)]
    assert gains[0] > 1.2 * gains[1] and rough[0] > 3 * rough[1]


@pytest.mark.parametrize("method", [tikhonov, tkd, smooth_l2])
def test_chi_sd_covers_the_noise_of_repeated_fields(oblique_matrix, rng, method):
    geometry = _geometry(oblique_matrix, (20, 24, 27))
    k, j, i = _from_centre(geometry)
    mask = (k / 13) ** 2 + (j / 11) ** 2 + (i / 10) ** 2 < 1
    sd = (1 + 0.5 * (k > 0)).astype(np.float32)
    runs = []
    for _ in range(60):
        noise = (sd * rng.normal(size=mask.shape)).astype(np.float32)
        chi, chi_sd = method(noise, sd, mask, geometry)
        runs.append(chi[mask])
    ratio = np.std(runs, axis=0) / chi_sd[mask]
    assert np.sqrt(np.mean(ratio**2)) == pytest.approx(1, abs=0.03)  # 9 % a voxel over thousands of voxels


def test_mean_over_a_sphere_is_exact_for_harmonics_on_unequal_voxels():
    size, radius = (2.0, 0.7, 1.0), 2.0
    weights = np.fft.fftshift(sphere_mean((16, 16, 16), radius, size)).astype(float)
    k, j, i = np.meshgrid(*[(np.arange(16) - 8) * h for h in size], indexing="ij")
    assert weights.sum() == pytest.approx(1)
    for harmonic in (2 * k * k - j * j - i * i, j * j - i * i, k * j * i, k * (2 * k * k - 3 * j * j - 3 * i * i)):
        assert abs((weights * harmonic).sum()) < 1e-5  # mm^2, float32 weights


def _head(geometry):
    k, j, i = _from_centre(geometry)
    radius = [0.42 * n * h for n, h in zip(geometry.shape, geometry.voxel_size, strict=True)]
    return sum((p / r) ** 2 for p, r in zip((k, j, i), radius, strict=True)) < 1


def test_field_of_an_outside_source_is_removed(geometry):
    mask = _head(geometry)
    outside = (0.0, 0.42 * geometry.shape[1] * geometry.voxel_size[1] + 12.0, 5.0)
    background, _ = _sphere_field(geometry, 8.0, outside)
    background = (9.4 * background + 0.3).astype(np.float32)
    local, valid, _ = vsharp(background, mask * 1.0, mask, geometry)
    # What is left comes from voxels next to the source, where a sphere of voxels misses the fifth degree and up.
    assert local[valid].std() < 0.01 * background[valid].std()
    assert np.abs(local).max() < 0.05 * np.ptp(background[valid])


def test_field_of_an_inside_source_is_kept(geometry):
    mask = _head(geometry)
    field = forward_field(_sphere(geometry, 4.0), geometry)
    local, valid, _ = vsharp(field, mask * 1.0, mask, geometry)
    _, distance = _sphere_field(geometry, 4.0)
    near = valid & (distance < 10)
    # V-SHARP loses slow parts (wavelengths above 10 cm), and the deconvolution stops at the mask's edge.
    assert np.polyfit(field[near], local[near], 1)[0] == pytest.approx(1, abs=0.1)
    assert np.linalg.norm((local - field)[near]) < 0.15 * np.linalg.norm(field[near])


def test_valid_mask_is_the_mask_less_the_smallest_sphere(geometry):
    mask = np.ones(geometry.shape, bool)  # touches every border
    local, valid, _ = vsharp(np.ones(geometry.shape, np.float32), mask * 1.0, mask, geometry)
    size = max(geometry.voxel_size)
    margin = [int(np.floor(size / h + 1e-6)) for h in geometry.voxel_size]
    expected = np.zeros_like(mask)
    expected[tuple(slice(m, -m) for m in margin)] = True
    np.testing.assert_array_equal(valid, expected)
    assert np.abs(local).max() < 1e-4  # a constant is harmonic


def test_background_removal_can_be_cancelled(geometry):
    with pytest.raises(Cancelled):
        vsharp(
            np.ones(geometry.shape, np.float32),
            _head(geometry) * 1.0,
            _head(geometry),
            geometry,
            cancelled=lambda: True,
        )


def test_reference_region_has_mean_zero(rng):
    chi = rng.normal(size=(5, 6, 7)).astype(np.float32)
    region = chi > 0
    shifted, offset = reference_to(chi, region)
    assert shifted[region].mean() == pytest.approx(0, abs=1e-6)
    assert offset == pytest.approx(chi[region].mean(), abs=1e-6)
    with pytest.raises(ValueError, match="region is empty"):
        reference_to(chi, np.zeros_like(region))


@pytest.mark.parametrize(
    ("header", "strength", "chosen", "sign", "applied"),
    [
        (1, 2.0, "auto", 1, 1),
        (-1, -2.0, "auto", -1, -1),
        (0, 2.0, "auto", 1, 1),
        (0, -2.0, "auto", -1, -1),
        (1, -2.0, "auto", 0, 1),
        (-1, 2.0, "auto", 0, -1),
        (1, 0.1, "auto", 0, 1),
        (-1, 0.1, "auto", 0, -1),
        (0, 0.1, "auto", 0, 1),
        (1, -2.0, "-1", -1, -1),
        (0, 0.0, "+1", 1, 1),
    ],
)
def test_sign_is_established_only_where_nothing_speaks_against_it(header, strength, chosen, sign, applied):
    polarity = decide(header, strength, PolarityOptions(sign=chosen))
    assert (polarity.sign, polarity.applied) == (sign, applied)
    assert polarity.notes and ("undetermined" in polarity.notes[0]) == (sign == 0)


@pytest.fixture(scope="module")
def iron_head():
    """Geometry, mask, chi (ppm), R2* (1/s), field map (Hz) and magnitude of a head with six iron-rich nuclei."""
    angle = np.deg2rad(20)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] *= 1.5
    geometry = Geometry((57, 71, 66), matrix)
    rng = np.random.default_rng(3)
    mask = _head(geometry)
    chi = 0.01 * rng.normal(size=geometry.shape) * mask
    r2star = 20 + rng.normal(size=geometry.shape)
    nuclei = []
    for value, centre in zip(
        (0.05, 0.08, 0.11, 0.14, 0.17, 0.2),
        ((10, 12, 14), (10, 12, -14), (0, -12, 12), (0, -12, -12), (-14, 0, 10), (-14, 0, -10)),
        strict=True,
    ):
        _, distance = _sphere_field(geometry, 1.0, centre)
        nucleus = distance < 6
        chi += value * nucleus
        r2star += 150 * value * nucleus
        nuclei.append(nucleus)
    outside, _ = _sphere_field(geometry, 8.0, (-25.0, 55.0, 0.0))
    total = hz_per_ppm(3.0) * (forward_field(chi.astype(np.float32), geometry) + 9.4 * outside)
    total = ((total + 0.05 * rng.normal(size=geometry.shape)) * mask).astype(np.float32)
    flat = np.zeros(geometry.shape, np.float32)
    field = FieldMap(total, (0.05 * mask).astype(np.float32), flat, mask.astype(np.float32), flat[None], flat)
    return geometry, mask, chi, r2star.astype(np.float32), field, np.ones((2, *geometry.shape), np.float32), nuclei


def _chain(iron_head, **changes):
    geometry, mask, _, r2star, field, magnitude, _ = iron_head
    arguments = {"field_strength": 3.0, "r2star": r2star, "header_polarity": 1} | changes
    return susceptibility(arguments.pop("field", field), magnitude, mask, geometry, **arguments)


def test_nuclei_keep_the_slope_of_their_susceptibility(iron_head):
    _, _, chi, _, _, _, nuclei = iron_head
    result = _chain(iron_head)
    means = [[image[n].mean() for n in nuclei] for image in (chi, result.chi)]
    assert 0.8 < np.polyfit(*means, 1)[0] < 1.1
    assert result.phase_sign == 1
    assert result.chi[result.valid].mean() == pytest.approx(0, abs=1e-6)


def test_weak_surface_is_left_out_and_weak_veins_stay():
    mask = np.zeros((12, 12, 12), bool)
    mask[2:, 2:10, 2:10] = True
    sd = np.where(mask, 1.0, 0.0)
    sd[2:8, 4:6, 4:6] = 5.0  # from the surface inwards: weak surface first, then a vein that reaches it
    sd[7, 7, 7] = 5.0
    expected = mask.copy()
    expected[2:4, 4:6, 4:6] = False
    geometry = Geometry(mask.shape, np.diag([3.0, 3.0, 1.0, 1.0]))
    np.testing.assert_array_equal(without_weak_surface(mask, sd, geometry, ReliabilityOptions(depth=2.0)), expected)


def test_opposite_phase_sign_flips_chi(iron_head):
    field = iron_head[4]
    result = _chain(iron_head)
    opposite = _chain(iron_head, field=replace(field, total_field=-field.total_field), header_polarity=-1)
    assert opposite.phase_sign == -1
    np.testing.assert_array_equal(opposite.chi, result.chi)
    np.testing.assert_array_equal(opposite.total_field, result.total_field)
    forced = _chain(iron_head, options=QsmOptions(polarity=PolarityOptions(sign="-1")))
    np.testing.assert_array_equal(forced.chi, -result.chi)


def test_header_against_anatomy_leaves_the_sign_undetermined(iron_head):
    result = _chain(iron_head, header_polarity=-1)
    assert (result.phase_sign, result.applied_sign) == (0, -1)
    assert "undetermined" in result.notes[0]


def test_without_r2star_contrast_the_sign_is_undetermined(iron_head):
    result = _chain(iron_head, r2star=None)  # the magnitude does not decay
    assert (result.phase_sign, result.applied_sign) == (0, 1)


def test_anatomy_says_nothing_in_few_voxels():
    few, ramp = np.ones((5, 5, 5), bool), np.arange(125.0).reshape(5, 5, 5)
    assert anatomy_strength(ramp, ramp, few, _geometry(STRAIGHT, few.shape)) == 0


def test_anatomy_is_heard_through_the_noise_of_single_voxels(rng):
    shape = (40, 40, 40)
    nucleus = np.zeros(shape, bool)
    nucleus[10:17, 10:20, 10:20], nucleus[25:32, 10:20, 25:35] = True, True
    chi = np.where(nucleus, 0.1, 0.0) + rng.normal(scale=0.05, size=shape)
    r2star = np.where(nucleus, 35, 20) + rng.normal(scale=15, size=shape)  # 97 % of the highest rates are noise
    assert anatomy_strength(chi, r2star, np.ones(shape, bool), _geometry(STRAIGHT, shape)) > 2
    assert anatomy_strength(-chi, r2star, np.ones(shape, bool), _geometry(STRAIGHT, shape)) < -2


def test_imaging_frequency_scales_chi(iron_head):
    linear = QsmOptions(inversion=InversionOptions(method="tikhonov"))
    nominal = _chain(iron_head, options=linear)
    measured = _chain(iron_head, options=linear, imaging_frequency=0.96 * hz_per_ppm(3.0) * 1e6)
    np.testing.assert_allclose(measured.chi, nominal.chi / 0.96, rtol=1e-4, atol=1e-6)


def test_chi_is_finite_and_zero_where_not_valid(iron_head):
    result = _chain(iron_head)
    for name in ("chi", "sd", "quality"):
        image = getattr(result, name)
        assert image.dtype == np.float32 and np.isfinite(image).all() and not image[~result.valid].any()
    assert (result.sd[result.valid] > 0).all()


@pytest.mark.slow
def test_bits_do_not_depend_on_threads(iron_head, threads):
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(_chain(iron_head))
    for other in results[1:]:
        for name in ("chi", "sd", "local_field"):
            assert getattr(results[0], name).tobytes() == getattr(other, name).tobytes()


def test_ventricles_are_found_and_chi_is_referenced_to_them(iron_head):
    geometry, mask, chi, r2star, field, magnitude, _ = iron_head
    k, j, i = _from_centre(geometry)
    fluid = ((k / 9) ** 2 + (j / 20) ** 2 + ((np.abs(i) - 8) / 8) ** 2 < 1) & (chi < 0.05)
    speckled = np.where(fluid, 1.0, r2star) + 1.5 * np.random.default_rng(5).normal(size=mask.shape)
    speckled = np.where(mask, np.maximum(speckled, 0.1), 0).astype(np.float32)
    found = ventricles(speckled, mask, geometry)
    assert found[fluid].mean() > 0.3 and fluid[found].mean() > 0.99
    options = QsmOptions(reference=ReferenceOptions(region="csf"), inversion=InversionOptions(method="tikhonov"))
    result = susceptibility(field, magnitude, mask, geometry, 3.0, options, r2star=speckled)
    assert result.chi[found].mean() == pytest.approx(0, abs=1e-6)
    for unknown in (None, r2star):
        with pytest.raises(InputError, match="no fluid of the ventricles"):
            susceptibility(field, magnitude, mask, geometry, 3.0, options, r2star=unknown)


def test_mask_thinner_than_the_smallest_sphere_is_refused(iron_head):
    geometry, _, _, _, field, magnitude, _ = iron_head
    thin = np.zeros(geometry.shape, bool)
    thin[28] = True
    options = QsmOptions(background=BackgroundOptions(method="v-sharp"))
    with pytest.raises(InputError, match="thinner"):
        susceptibility(field, magnitude, thin, geometry, 3.0, options)


def test_shapes_that_differ_are_named(geometry):
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="mask has shape"):
        vsharp(np.zeros(SHAPE, np.float32), mask * 1.0, mask, geometry)
    with pytest.raises(ValueError, match="mask has shape"):
        tikhonov(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32), mask, geometry)


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="lam"):
        TikhonovOptions(lam=0.0)
    with pytest.raises(InputError, match="max_radius"):
        VsharpOptions(max_radius=0.0)


def test_outermost_voxels_that_hold_what_lies_beyond_are_left_out(iron_head):
    geometry, mask, _, _, field, magnitude, _ = iron_head
    options = QsmOptions(inversion=InversionOptions(method="tikhonov"))
    inner = ndimage.binary_erosion(mask)
    right = np.arange(mask.shape[2]) >= mask.shape[2] // 2
    partly = mask & ~inner & right  # half of their signal is of bone
    result = susceptibility(field, np.where(partly, 0.5, magnitude), mask, geometry, 3.0, options)
    np.testing.assert_array_equal(result.valid[..., right], inner[..., right])
    assert result.valid[..., ~right].sum() > 0.95 * mask[..., ~right].sum()
    assert not result.chi[~result.valid].any() and not result.sd[~result.valid].any()
    assert result.chi[result.valid].mean() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("signal", [0.85, 1.15])
def test_a_surface_of_other_signal_is_mixed_and_one_of_the_same_is_not(signal, rng):
    mask = np.zeros((14, 15, 16), bool)
    mask[2:, 3:12, 4:13] = True  # the last slice is brain as well
    image = (1 + 0.01 * rng.normal(size=mask.shape)).astype(np.float32)
    inner = ndimage.binary_erosion(mask)
    surface = mask & ~inner
    corners = surface & ~ndimage.binary_dilation(inner)
    np.testing.assert_array_equal(mixed_surface(mask, image), corners)  # with nothing further in to compare with
    np.testing.assert_array_equal(mixed_surface(mask, np.where(surface, signal, image)), surface)


def test_a_mask_of_one_layer_is_mixed_throughout():
    thin = np.zeros((5, 6, 7), bool)
    thin[2] = True
    np.testing.assert_array_equal(mixed_surface(thin, np.ones(thin.shape, np.float32)), thin)
    nothing = np.zeros((3, 3, 3), bool)
    assert not mixed_surface(nothing, np.ones((3, 3, 3), np.float32)).any()
