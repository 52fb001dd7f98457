"""The magnetic field of the object: dipoles, everything outside the field of view, and the shim."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from ..fft import crop, irfftn, rfftn
from ..units import hz_per_ppm
from .tissue import BRAIN, CHI_AIR, INDEX

MARGIN = 12  # sub-voxels of air beside the object; the far grid corrects what wraps around
COARSE = 4  # sub-voxels along each side of a voxel of the far grid
FAR = 3  # size of the far grid over the field of view: images at three times its size add less than 0.5 %


@dataclass(frozen=True, eq=False)
class Fields:
    """The field on the sub-voxels (Hz, float32 [k, j, i]) and that of the brain tissue alone."""

    total: np.ndarray
    local: np.ndarray


def dipole_field(chi, voxel_size, b0_dir, shape=None):
    """Field over B0 (ppm) of a susceptibility distribution (ppm) in a periodic box, with the sphere of Lorentz.

    F(k) = (1/3 - (k . b)^2 / |k|^2) chi(k), F(0) = 0.

    Args:
        chi: float32 [k, j, i], ppm. voxel_size: mm [k, j, i]. b0_dir: unit vector [k, j, i].
        shape: of the box, at least that of `chi`; outside chi is 0. Default: `chi` itself.
    Returns:
        float32, shape of `chi`, ppm.
    Reference:
        Marques JP, Bowtell R 2005, Concepts Magn Reson B 25:65-78.
    """
    shape = tuple(shape or chi.shape)
    spectrum = rfftn(chi, shape)
    b = [np.float32(component) for component in b0_dir]
    kz = np.fft.fftfreq(shape[0], voxel_size[0]).astype(np.float32)
    ky = np.fft.fftfreq(shape[1], voxel_size[1]).astype(np.float32)[:, None]
    kx = np.fft.rfftfreq(shape[2], voxel_size[2]).astype(np.float32)[None, :]
    # Products of two axes jump in sign at the highest frequency of an oblique grid, which would ripple from voxel to
    # voxel through the whole object; they fade out towards it.
    z, y, x = (k * (1 - (2 * k * np.float32(h)) ** 4) for k, h in zip((kz, ky, kx), voxel_size, strict=True))
    in_plane, across = kx**2 + ky**2, 2 * b[0] * (b[1] * y + b[2] * x)
    along = (b[2] * kx) ** 2 + (b[1] * ky) ** 2 + 2 * b[1] * b[2] * x * y
    for n, k in enumerate(kz):  # plane by plane: the whole kernel would double the memory
        squared = in_plane + k * k
        if n == 0:
            squared[0, 0] = 1
        plane = np.float32(1 / 3) - (along + (b[0] * k) ** 2 + across * z[n]) / squared
        if n == 0:
            plane[0, 0] = 0
        spectrum[n] *= plane
    return crop(irfftn(spectrum, shape), chi.shape)


def open_field(chi, voxel_size, b0_dir, surroundings=None):
    """Field over B0 (ppm) of an object in empty space, without the images that a periodic box adds.

    The box of the fine transform is hardly larger than the object. What its periodic images add, and what lies
    outside, is smooth inside the object: it is the difference of two transforms of the object averaged over cubes of
    COARSE sub-voxels, one in a box of the same size and one in a box FAR times as large, and is interpolated. Within
    two such cubes of a face through which the object goes on, the interpolation is coarse.

    Args:
        chi: float32 [k, j, i], ppm relative to the empty space.
        surroundings: float32 on the far grid (`far_grid`), chi outside the object; its middle is not looked at.
    """
    box = _box(chi.shape)
    field = dipole_field(chi, voxel_size, b0_dir, box)
    coarse_size = tuple(COARSE * side for side in voxel_size)
    coarse = _block_mean(chi)
    near = dipole_field(coarse, coarse_size, b0_dir, tuple(n // COARSE for n in box))
    shape, first = far_grid(chi.shape)
    far = np.zeros(shape, np.float32) if surroundings is None else surroundings.copy()
    inner = tuple(slice(a, a + n) for a, n in zip(first, coarse.shape, strict=True))
    far[inner] = coarse
    add_interpolated(field, dipole_field(far, coarse_size, b0_dir)[inner] - near)
    return field


def far_grid(shape):
    """Shape of the far grid for an object of `shape` sub-voxels, and the far index where the object begins."""
    inner = [-(-n // COARSE) for n in shape]
    far = tuple(scipy.fft.next_fast_len(FAR * n, real=True) for n in inner)
    return far, tuple((f - n) // 2 for f, n in zip(far, inner, strict=True))


def _box(shape):
    """Shape of the fine box: room for a margin, a multiple of COARSE, fast to transform."""
    return tuple(COARSE * scipy.fft.next_fast_len(-(-(n + MARGIN) // COARSE), real=True) for n in shape)


def _block_mean(array):
    """Mean over cubes of COARSE sub-voxels; beyond the edge the array counts as 0."""
    shape = [-(-n // COARSE) for n in array.shape]
    if any(COARSE * n != m for n, m in zip(shape, array.shape, strict=True)):
        array = np.pad(array, [(0, COARSE * n - m) for n, m in zip(shape, array.shape, strict=True)])
    planes = [
        array[COARSE * k : COARSE * (k + 1)].reshape(COARSE, shape[1], COARSE, shape[2], COARSE).mean((0, 2, 4))
        for k in range(shape[0])
    ]
    return np.stack(planes)


def add_interpolated(fine, coarse):
    """Add to `fine`, in place, the array `coarse` of cubes of COARSE sub-voxels, interpolated linearly."""
    (k0, k1, kw), (j0, j1, jw), (i0, i1, iw) = (
        _linear(n, m) for n, m in zip(fine.shape, coarse.shape, strict=True)
    )  # fmt: skip
    rows = coarse[:, j0] * (1 - jw[None, :, None]) + coarse[:, j1] * jw[None, :, None]
    for k in range(fine.shape[0]):
        plane = rows[k0[k]] * (1 - kw[k]) + rows[k1[k]] * kw[k]
        fine[k] += plane[:, i0] * (1 - iw) + plane[:, i1] * iw


def _linear(fine, coarse):
    """Both neighbours and the weight of the second for `fine` sub-voxels between `coarse` cube centres."""
    position = np.clip((np.arange(fine) + 0.5) / COARSE - 0.5, 0, coarse - 1)
    low = np.minimum(position.astype(int), max(coarse - 2, 0))
    return low, np.minimum(low + 1, coarse - 1), (position - low).astype(np.float32)


def patient_fields(patient, shim_residual, check=None):
    """Total field (shimmed) and local field of a patient, on the sub-voxels, in Hz.

    Args:
        shim_residual: share of the second-order field over the brain that remains after shimming.
        check: called between the transforms; may raise to stop.
    """
    check = check or (lambda: None)
    hertz = np.float32(hz_per_ppm(patient.field_strength))
    side, b0_dir = patient.fine.voxel_size, patient.fine.b0_dir
    chi = _chi(patient)
    check()
    total = open_field(chi, side, b0_dir, _surroundings(patient))
    check()
    in_brain = np.isin(patient.table.tissue, [INDEX[name] for name in (*BRAIN, "CSF")])
    brain = in_brain[patient.classes]
    total -= _shim(total, brain, patient.fine, shim_residual)
    total *= hertz
    check()
    # the local field is that of susceptibility inside the brain alone, against water
    chi += np.float32(CHI_AIR)
    chi *= brain
    local = dipole_field(chi, side, b0_dir, _box(chi.shape))
    local *= hertz
    return Fields(total, np.ascontiguousarray(local))


def _chi(patient):
    """Susceptibility of the sub-voxels relative to air, ppm."""
    chi = np.empty(patient.classes.shape, np.float32)
    for k in range(0, len(chi), 16):
        chi[k : k + 16] = patient.quantity("chi", slice(k, k + 16))
    chi -= np.float32(CHI_AIR)
    return chi


def _surroundings(patient):
    """Susceptibility relative to air of the body around the field of view, on the far grid."""
    shape, first = far_grid(patient.fine.shape)
    matrix = patient.fine.ijk_to_ras.copy()
    centre = np.array([(0.5 - a) * COARSE - 0.5 for a in first[::-1]])  # sub-voxel index of far voxel 0
    matrix[:3, 3] = (patient.fine.ijk_to_ras @ np.array([*centre, 1]))[:3]
    matrix[:3, :3] *= COARSE
    classes, _ = patient.head.paint(shape, patient.model @ matrix)
    return patient.table.column("chi")[classes] - np.float32(CHI_AIR)


def _shim(field, mask, geometry, residual):
    """What the shim coils take away: mean and linear terms whole, second order up to `residual`, fitted in `mask`."""
    step = [max(1, n // 48) for n in field.shape]
    some = tuple(slice(s // 2, None, s) for s in step)
    axes = [np.linspace(-1, 1, n, dtype=np.float32) * (n * side / 100) for n, side in
            zip(field.shape, geometry.voxel_size, strict=True)]  # fmt: skip
    z, y, x = np.meshgrid(*(axis[s] for axis, s in zip(axes, some, strict=True)), indexing="ij")
    inside = mask[some]
    basis = np.stack([b[inside] if np.ndim(b) else np.full(inside.sum(), b) for b in _harmonics(z, y, x)]).astype(float)
    # sums without BLAS, whose order depends on the number of threads
    normal = np.einsum("am,bm->ab", basis, basis, optimize=False)
    right = np.einsum("am,m->a", basis, field[some][inside].astype(float), optimize=False)
    weights = np.linalg.solve(normal, right)
    weights[4:] *= 1 - residual
    shim = np.empty_like(field)
    y, x = axes[1][:, None], axes[2][None, :]
    for k, z in enumerate(axes[0]):
        shim[k] = sum(np.float32(w) * h for w, h in zip(weights, _harmonics(z, y, x), strict=True))
    return shim


def _harmonics(z, y, x):
    """Solid harmonics up to second order in voxel axes, the constant first."""
    return (1.0, x, y, z, x * y, y * z, x * z, x * x - y * y, 2 * z * z - x * x - y * y)
