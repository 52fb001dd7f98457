"""Stored phase becomes radians by known period, and phase of no use for susceptibility is recognised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib.io.phase import (
    alternating_axes,
    known_encoding,
    magnitude_and_phase,
    mend_alternating,
    polarity,
    slice_offsets,
    to_radians,
    without_offsets,
    wrapped,
)
from QMRIEstimationLib.io.phase_checks import (
    looks_high_pass_filtered,
    mostly_zero,
    pole_density,
    processed_name,
    random_slice_steps,
    smoothness,
    unlike_a_measurement,
)
from scipy import fft, ndimage

PI = np.pi
ENCODERS = {  # stored numbers of a phase in rad, and the step between neighbouring numbers in rad
    "radians": (lambda p: p, 0),
    "positive radians": (lambda p: p % (2 * PI), 0),
    "dcm2niix Siemens": (lambda p: 2 * np.rint(p * 2048 / PI).clip(-2048, 2047), PI / 2048),
    "raw Siemens": (lambda p: np.rint(p * 2048 / PI + 2048).clip(0, 4095), PI / 2048),
    "thousandths": (lambda p: np.rint(p * 1000), 1e-3),
}


def difference(a, b):
    return np.abs(np.angle(np.exp(1j * (a.astype(float) - b))))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(ENCODERS)), st.sampled_from(["", "Siemens", "Philips", "GE"]), st.integers(0, 99))
def test_every_known_encoding_comes_back(name, manufacturer, seed):
    encode, step = ENCODERS[name]
    phase = np.random.default_rng(seed).uniform(-PI, PI, (3, 6, 16, 16))  # as noise in air
    found, _ = to_radians(encode(phase), "arbitrary", manufacturer)
    assert found.dtype == np.float32 and np.abs(found).max() <= PI + 1e-6
    assert difference(found, phase).max() <= 1.001 * step + 1e-5  # the last number is clipped, a whole step away


def test_masked_siemens_phase_is_not_stretched():
    phase = np.linspace(-1.2, 1.0, 4096).reshape(16, 16, 16)
    found, _ = to_radians(np.rint(phase * 4096 / PI), "arbitrary", "SIEMENS")
    assert difference(found, phase).max() < PI / 4096  # stretching to the extremes would be off by a factor 2.6


def test_declared_radians_are_kept_bit_for_bit(rng):
    stored = rng.uniform(-0.4, 0.7, (2, 8, 8, 8)).astype(np.float32)  # masked: far from the period
    assert np.array_equal(to_radians(stored, "rad")[0], stored)


@pytest.mark.parametrize(
    "low, high, units, manufacturer, words",
    [
        (-0.00367, 0.00367, "rad", "Siemens", "too flat for radians"),
        (-0.00367, 0.00367, "", "", "no known encoding"),
        (-4096, 4094, "rad", "Siemens", "but Units says rad"),
        (-180, 180, "arbitrary", "Siemens", "no known encoding"),
        (-1, 1, "arbitrary", "", "no known encoding"),
        (0, 255, "arbitrary", "GE", "no known encoding"),
        (0, 65535, "arbitrary", "Philips", "no known encoding"),
        (-2000, 1900, "arbitrary", "Philips", "no known encoding"),
        (-4096, 4094, "Hz", "Siemens", "Units is 'Hz'"),
        (0, 0, "rad", "", "0 everywhere"),
    ],
)
def test_numbers_that_fit_no_rule_are_refused(low, high, units, manufacturer, words):
    with pytest.raises(ValueError, match=words):
        known_encoding(low, high, units, manufacturer)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.sampled_from(["", "rad", "arbitrary"]), st.sampled_from(["", "GE"]))
def test_any_range_gives_an_encoding_that_holds_it_or_a_refusal(low, width, units, manufacturer):
    high = low + width
    try:
        encoding = known_encoding(low, high, units, manufacturer)
    except ValueError as error:
        assert str(error).endswith(".")
    else:
        turns = np.array([low, high]) * encoding.scale + encoding.offset
        assert np.abs(turns).max() <= 2 * PI * 1.02


@settings(max_examples=100, deadline=None)
@given(st.floats(-100, 100, width=32))
def test_wrapping_keeps_the_phasor_and_what_is_inside(value):
    found = wrapped(np.array([value], np.float32))[0]
    assert abs(found) <= np.float32(PI) + 1e-5
    assert difference(np.array(found), float(value)) < 2e-5  # float32 at 100
    if abs(value) <= PI:
        assert found == np.float32(value)


def test_real_and_imaginary_parts_give_magnitude_and_phase(rng):
    signal = (rng.standard_normal((4, 4, 4)) + 1j * rng.standard_normal((4, 4, 4))).astype(np.complex64)
    magnitude, phase = magnitude_and_phase(signal.real, signal.imag)
    assert magnitude.dtype == phase.dtype == np.float32
    assert np.allclose(magnitude * np.exp(1j * phase), signal, atol=1e-6)


@pytest.mark.parametrize(
    "manufacturer, sign",
    [("Siemens", 1), ("SIEMENS Healthineers", 1), ("Philips", 1), ("Philips Medical Systems", 1), ("GE", -1),
     ("GE MEDICAL SYSTEMS", -1), ("General Electric", -1), ("UIH", 0), ("Geneva Imaging", 0), ("", 0)],
)  # fmt: skip
def test_polarity_is_known_by_vendor_or_said_unknown(manufacturer, sign):
    assert polarity(manufacturer) == sign


@pytest.fixture(scope="module")
def head():
    """A 3 T head at 20 ms: ball with iron-rich balls and vessels, a far source of background field, noise.

    Returns:
        function(background) -> complex images of two echoes [2, k, j, i].
    """
    rng = np.random.default_rng(7)
    shape = (72, 96, 96)
    k, j, i = np.meshgrid(*(np.arange(n) - n / 2 for n in shape), indexing="ij", sparse=True)
    brain = (k / 30) ** 2 + (j / 40) ** 2 + (i / 38) ** 2 < 1
    cortex = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    chi = 0.02 * np.sign(cortex)
    for centre in ((0, 5, 12), (0, 5, -12), (-4, -10, 10), (-4, -10, -10)):
        chi[(k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 < 36] = 0.13
    frequencies = np.meshgrid(*(fft.fftfreq(n) for n in shape), indexing="ij", sparse=True)
    squares = sum(f**2 for f in frequencies)
    squares[0, 0, 0] = 1
    dipole = 1 / 3 - frequencies[0] ** 2 / squares
    dipole[0, 0, 0] = 0
    local = fft.ifftn(fft.fftn(chi * brain) * dipole).real * 127.7  # Hz at 3 T
    sinus = 9.4 * ((k + 30) ** 2 + (j - 34) ** 2 + i**2 < 64)
    distant = fft.ifftn(fft.fftn(sinus) * dipole).real * 127.7

    def images(background):
        field = local + background * (distant - distant[brain].mean())
        te = np.array([0.01, 0.02])[:, None, None, None]
        noise = rng.standard_normal((2, 2, *shape)) / 30
        return brain * np.exp(2j * PI * field * te) + noise[0] + 1j * noise[1]

    return images


def homodyne(image, width):
    """Phase after division by the image from the central `width` lines of k-space (Hanning), slice by slice."""
    k_space = fft.fftshift(fft.fft2(image), axes=(1, 2))
    window = np.zeros(image.shape[1:])
    j, i = (n // 2 - width // 2 for n in window.shape)
    window[j : j + width, i : i + width] = np.outer(np.hanning(width), np.hanning(width))
    low = fft.ifft2(fft.ifftshift(k_space * window, axes=(1, 2)))
    return np.angle(image * np.conj(low))


@pytest.mark.parametrize("background", [0, 0.1, 1])
@pytest.mark.parametrize("offset", [0, 1.5])
def test_unfiltered_phase_is_not_called_filtered(head, background, offset):
    image = head(background)[1] * np.exp(1j * offset)
    assert not looks_high_pass_filtered(np.abs(image), np.angle(image))


@pytest.mark.parametrize("background", [0, 0.1, 1])
@pytest.mark.parametrize("width", [24, 32])
def test_high_pass_filtered_phase_is_recognised(head, background, width):
    image = head(background)[1]
    assert looks_high_pass_filtered(np.abs(image), homodyne(image, width))


def test_phase_of_the_middle_of_k_space_is_recognised(head):
    image = head(1)[1]
    lines = fft.fftshift(fft.fft(image, axis=1), axes=1)
    window = np.zeros((1, image.shape[1], 1))
    quarter = image.shape[1] // 4
    window[:, (image.shape[1] - quarter) // 2 :][:, :quarter] = np.hanning(quarter)[:, None]
    low = fft.ifft(fft.ifftshift(lines * window, axes=1), axis=1)
    measured, smoothed = (smoothness(np.abs(image), np.angle(z)) for z in (image, low))
    assert min(measured) > 0.8
    assert smoothed[1] < 0.2 and min(smoothed[0], smoothed[2]) > 0.3
    assert "homodyne" in unlike_a_measurement(np.abs(image)[None], np.angle(low)[None], (1, 1, 1))


@pytest.mark.parametrize("coarsest", [0, 1, 2])
def test_fringe_lines_that_end_in_the_brain_are_recognised(head, coarsest):
    image = np.moveaxis(head(1)[0], 0, coarsest)
    voxel_size = np.where(np.arange(3) == coarsest, 2.0, 1.0)
    assert pole_density(np.abs(image), np.angle(image), voxel_size) < 0.02
    j, i = np.meshgrid(*(np.arange(n) for n in np.moveaxis(image, coarsest, 0).shape[1:]), indexing="ij")
    middle = [n // 2 for n in j.shape]
    j, i = j - middle[0], i - middle[1] + 0.5
    pair = (j + 9.5 + 1j * i) * np.conj(j - 9.5 + 1j * i)
    failed = np.moveaxis(np.moveaxis(image, coarsest, 0) * pair / np.abs(pair), 0, coarsest)
    assert pole_density(np.abs(failed), np.angle(failed), voxel_size) > 0.2
    assert "fringe lines" in unlike_a_measurement(np.abs(failed)[None], np.angle(failed)[None], voxel_size)


def test_flat_phase_with_noise_is_not_called_filtered(rng):
    noise = 0.1 * (rng.standard_normal((48, 64, 64)) + 1j * rng.standard_normal((48, 64, 64)))
    image = 1 + noise
    assert not looks_high_pass_filtered(np.abs(image), np.angle(image))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_alternating_slices_are_found_along_each_axis_and_mended(head, axis):
    images = head(1)
    signs = (-1.0) ** np.arange(images.shape[axis + 1])
    alternating = images * signs.reshape((-1,) + (1,) * (2 - axis))
    magnitude, phase = np.abs(alternating), np.angle(alternating).astype(np.float32)
    assert alternating_axes(magnitude, phase) == (axis,)
    mended = mend_alternating(phase, (axis,))
    assert difference(mended, np.angle(images)).max() < 1e-5 and mended.dtype == np.float32
    assert alternating_axes(np.abs(images), np.angle(images)) == ()


def test_sign_that_alternates_along_two_axes_is_mended(head):
    images = head(0)[:1]
    checker = (-1.0) ** (np.arange(72)[:, None, None] + np.arange(96)[:, None])
    phase = np.angle(images * checker)
    axes = alternating_axes(np.abs(images), phase)
    assert axes == (0, 1) and difference(mend_alternating(phase, axes), np.angle(images)).max() < 1e-5


def test_random_slice_offsets_are_told_from_random_evolution(head, rng):
    images = head(1)
    jumps = np.exp(1j * rng.uniform(-PI, PI, (2, 72, 1, 1)))
    both, one = images * jumps[0], images * np.stack([jumps[0], jumps[1]])
    assert random_slice_steps(np.abs(images), np.angle(images)) == set()
    assert random_slice_steps(np.abs(both), np.angle(both)) == {"offset"}
    assert random_slice_steps(np.abs(one), np.angle(one)) == {"offset", "evolution"}


def test_masked_phase_is_seen():
    phase = np.ones((10, 10, 10))
    assert not mostly_zero(phase)
    phase[:3] = 0
    assert mostly_zero(phase)


@pytest.mark.parametrize(
    "image_type, description, found",
    [
        (["ORIGINAL", "PRIMARY", "P", "ND", "PHASE"], "swi3d_tra", ""),
        (["ORIGINAL", "PRIMARY", "M", "NORM", "FIL", "DIS2D"], "gre_qsm", ""),
        (["ORIGINAL", "PRIMARY", "M", "SWI", "NORM"], "", "susceptibility-weighted"),
        (["DERIVED", "PRIMARY", "MNIP", "SWI"], "", "a minimum projection"),
        (["DERIVED", "PRIMARY", "MIN_IP"], "", "a minimum projection"),
        (["ORIGINAL", "PRIMARY", "OTHER"], "FILT_PHA: Ax SWAN", "high-pass filtered"),
        (["DERIVED"], "mIP_Images(SW)", "a projection"),
    ],
)
def test_what_the_scanner_made_of_the_phase_is_read_from_its_names(image_type, description, found):
    assert processed_name(image_type, description) == found


def test_real_phase_of_seven_tesla_is_neither_filtered_nor_alternating(shared_data):
    import nibabel

    folder = shared_data / "megre_7t_romeo"
    magnitude, phase = (np.asarray(nibabel.load(folder / f).dataobj).T for f in ("mag.nii.gz", "phase_rad.nii.gz"))
    assert alternating_axes(magnitude, phase) == () and random_slice_steps(magnitude, phase) == set()
    assert not any(looks_high_pass_filtered(m, p) for m, p in zip(magnitude, phase, strict=True))
    assert unlike_a_measurement(magnitude, phase, (1.0, 0.47, 0.47)) == ""
    assert all(min(smoothness(m, p)) > 0.9 for m, p in zip(magnitude, phase, strict=True))


def test_offset_of_each_slice_goes_and_the_evolution_between_echoes_stays(rng):
    magnitude, phase = np.ones((2, 12, 6, 5), np.float32), np.zeros((2, 12, 6, 5), np.float32)
    phase[1] = 0.3 * np.arange(12)[:, None, None] + 0.2 * np.arange(5)
    jumps = rng.uniform(-np.pi, np.pi, 12).astype(np.float32)[:, None, None]
    jumped = wrapped(phase + jumps)
    mended = without_offsets(jumped, slice_offsets(magnitude, jumped))
    assert difference(mended[1], mended[0] + phase[1]).max() < 1e-5  # rad; float32 at pi, added a few times
    assert difference(mended[0], mended[0, 0]).max() < 1e-5
