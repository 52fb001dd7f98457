"""Zero-filled interpolation is recognised, and nothing else is taken for it."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.io.interpolation import acquired_voxel_size, matrix_by_header, matrix_by_kspace
from scipy import fft, ndimage

SHAPE = (30, 48, 40)


@pytest.fixture
def acquired(rng):
    """A complex image as measured: blocks with a smooth phase and noise (SNR 40)."""
    k, j, i = (np.linspace(-1, 1, n)[s] for n, s in zip(SHAPE, np.ix_(*map(range, SHAPE)), strict=True))
    head = (k**2 + j**2 + i**2 < 0.8) * (1 + 0.5 * (i > 0.2) + 0.3 * (k * j > 0.1))
    noise = rng.standard_normal((2, *SHAPE)) / 40
    return head * np.exp(1j * (1 + 2 * k + 3 * j**2)) + noise[0] + 1j * noise[1]


def zero_filled(image, shape):
    """The image on a finer grid by zeros around its k-space."""
    k_space = fft.fftshift(fft.fftn(image))
    padded = np.zeros(shape, complex)
    padded[tuple(slice(n // 2 - m // 2, n // 2 - m // 2 + m) for m, n in zip(image.shape, shape, strict=True))] = (
        k_space
    )
    return fft.ifftn(fft.ifftshift(padded))


def stored(image):
    """Magnitude and phase in 12 bits, as scanners keep them."""
    magnitude = np.abs(image)
    magnitude = np.rint(magnitude / magnitude.max() * 4095)
    return magnitude * np.exp(1j * np.rint(np.angle(image) * 2048 / np.pi) * np.pi / 2048)


@pytest.mark.parametrize("shape", [(60, 48, 40), (30, 96, 80), (60, 96, 80), (36, 48, 51), (30, 53, 40), (36, 54, 48)])
def test_zero_filling_is_found_with_the_matrix_that_was_measured(acquired, shape):
    assert matrix_by_kspace(stored(zero_filled(acquired, shape))) == SHAPE


def test_measured_smoothed_masked_and_partial_fourier_images_are_not_interpolated(acquired):
    smooth = ndimage.gaussian_filter(acquired.real, 1.5) + 1j * ndimage.gaussian_filter(acquired.imag, 1.5)
    masked = zero_filled(acquired, (60, 96, 80))
    masked = masked * (np.abs(masked) > 0.3 * np.abs(masked).max())
    partial = fft.fftshift(fft.fftn(acquired))
    partial[:, :12] = 0
    partial = fft.ifftn(fft.ifftshift(partial))
    assert matrix_by_kspace(stored(acquired)) == SHAPE
    for image in (smooth, partial):
        assert matrix_by_kspace(stored(image)) == SHAPE
        assert matrix_by_kspace(image) == SHAPE
    assert matrix_by_kspace(stored(masked)) == (60, 96, 80)  # no sharp edge is left: only the header could tell


def test_partial_fourier_and_interpolation_together_give_the_nominal_matrix(acquired):
    k_space = fft.fftshift(fft.fftn(acquired))
    k_space[:, :12] = 0
    image = zero_filled(fft.ifftn(fft.ifftshift(k_space)), (30, 96, 40))
    assert matrix_by_kspace(stored(image)) == SHAPE


def test_noise_free_objects_are_not_interpolated():
    k, j, i = (np.arange(n)[s] - n / 2 for n, s in zip((40, 48, 44), np.ix_(*map(range, (40, 48, 44))), strict=True))
    square = k**2 + j**2 + i**2
    for image in (square < 150, np.exp(-square / 50), np.exp(-square / 8), np.exp(-square / 200 + 0.01j * square)):
        assert matrix_by_kspace(image) == (40, 48, 44)


def test_pure_noise_and_a_constant_are_not_interpolated(rng):
    noise = rng.standard_normal((2, *SHAPE))
    assert matrix_by_kspace(noise[0] + 1j * noise[1]) == SHAPE
    assert matrix_by_kspace(np.ones(SHAPE)) == SHAPE
    assert matrix_by_kspace(np.ones((1, 5, 5))) == (1, 5, 5)


GRID = Geometry((20, 64, 48), np.diag([1.0, 1.0, 2.0, 1.0]))


@pytest.mark.parametrize(
    "fields, matrix",
    [
        ({}, (20, 64, 48)),
        ({"AcquisitionMatrixPE": 32, "ReconMatrixPE": 64, "PhaseEncodingDirection": "j-"}, (20, 32, 48)),
        ({"AcquisitionMatrixPE": 24, "ReconMatrixPE": 48, "PhaseEncodingDirection": "i"}, (20, 64, 24)),
        ({"AcquisitionMatrixPE": 64, "ReconMatrixPE": 64, "PhaseEncodingDirection": "j"}, (20, 64, 48)),
        (
            {"AcquisitionMatrixPE": 32, "ReconMatrixPE": 64, "BaseResolution": 24, "PhaseEncodingDirection": "j"},
            (20, 32, 24),
        ),
        ({"AcquisitionMatrixPE": 32, "InPlanePhaseEncodingDirectionDICOM": "COL"}, (20, 32, 48)),
        ({"AcquisitionMatrixPE": 32, "ReconMatrixPE": 256, "PhaseEncodingDirection": "j"}, (20, 64, 48)),  # resampled
        ({"AcquisitionMatrixPE": 32, "ReconMatrixPE": 64}, (20, 64, 48)),  # which axis is not said
        ({"AcquisitionMatrixPE": "32", "PhaseEncodingDirection": "j"}, (20, 64, 48)),
        ({"MRAcquisitionType": "3D", "SliceThickness": 4}, (10, 64, 48)),
        ({"MRAcquisitionType": "2D", "SliceThickness": 4}, (20, 64, 48)),
        ({"MRAcquisitionType": "3D", "SliceThickness": 2}, (20, 64, 48)),
    ],
)
def test_matrix_is_read_from_the_sidecar(fields, matrix):
    assert matrix_by_header(GRID, fields) == matrix


def test_effective_voxel_is_the_coarser_of_header_and_data(acquired):
    image = zero_filled(acquired, (30, 96, 40))
    geometry = Geometry(image.shape, np.diag([0.5, 0.5, 1.0, 1.0]))
    fields = {"AcquisitionMatrixPE": 20, "ReconMatrixPE": 40, "PhaseEncodingDirection": "i"}
    magnitude, phase = np.abs(image), np.angle(image)
    assert acquired_voxel_size(geometry, {}, magnitude, phase) == pytest.approx((1.0, 1.0, 0.5))
    assert acquired_voxel_size(geometry, fields, magnitude, phase) == pytest.approx((1.0, 1.0, 1.0))
    assert acquired_voxel_size(geometry, fields) == pytest.approx((1.0, 0.5, 1.0))
    assert acquired_voxel_size(geometry, {}) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(2, 12), st.integers(0, 999))
def test_any_margin_gives_back_the_matrix(n, m, more, seed):
    rng = np.random.default_rng(seed)
    image = rng.standard_normal((n, m, 16)) + 1j * rng.standard_normal((n, m, 16))
    more *= 2  # the same on both sides; a margin below two points is too small to be told from chance
    assert matrix_by_kspace(zero_filled(image, (n + more, m, 16))) == (n, m, 16)


def test_real_images_are_not_interpolated(shared_data):
    folder = shared_data / "megre_7t_romeo"
    magnitude, phase = (np.asarray(nibabel.load(folder / f).dataobj).T for f in ("mag.nii.gz", "phase_rad.nii.gz"))
    for m, p in zip(magnitude, phase, strict=True):
        assert matrix_by_kspace(m * np.exp(1j * p)) == m.shape
