"""The synthetic scan that `slicer-qmri benchmark` works on: only its size and its kind of numbers matter."""

from dataclasses import dataclass

import numpy as np

from .geometry import Geometry
from .units import hz_per_ppm

ECHO_TIMES = tuple(0.005 * n for n in range(1, 7))
FIELD_STRENGTH = 3.0  # T
SNR = 60.0
S0 = 1000.0
SEED = 20261123


@dataclass(frozen=True, eq=False)
class BenchmarkScan:
    """A noisy multi-echo GRE of an ellipsoid with spheres in it, and the fields that made its phase.

    Attributes:
        magnitude, phase: float32 [e, k, j, i], air around the object. noise_sd: of one channel.
        tissue: magnitude float32 [e, k, j, i] with signal in every voxel, for voxelwise work.
        mask: bool [k, j, i], the ellipsoid. everywhere: bool, all true.
        total_field: float32, Hz. local_field_ppm, field_sd_ppm: float32, ppm.
    """

    magnitude: np.ndarray
    phase: np.ndarray
    tissue: np.ndarray
    echo_times: tuple
    noise_sd: float
    mask: np.ndarray
    everywhere: np.ndarray
    geometry: Geometry
    total_field: np.ndarray
    local_field_ppm: np.ndarray
    field_sd_ppm: np.ndarray


def benchmark_scan(size):
    """The scan on a grid of `size` [k, j, i] voxels of 1 mm.

    Returns:
        BenchmarkScan.
    Raises:
        ValueError: fewer than 16 voxels along an axis.
    """
    if min(size) < 16:
        raise ValueError(f"size is {tuple(size)}, expected 16 voxels or more along each axis.")
    from .qsm.dipole import forward_field

    rng = np.random.default_rng(SEED)
    geometry = Geometry(tuple(size), np.eye(4))
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in size], indexing="ij", sparse=True)
    mask = sum(axis * axis for axis in axes) < 0.85**2
    chi = np.zeros(size, np.float32)
    rate = np.full(size, 18, np.float32)
    for _ in range(24):
        centre, radius, strength = rng.uniform(-0.5, 0.5, 3), rng.uniform(0.05, 0.2), rng.uniform(-0.05, 0.15)
        inside = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) < radius**2
        chi[inside] = strength
        rate[inside] = 18 + 150 * abs(strength)
    local = forward_field(chi, geometry)
    z, y, x = axes
    background = 0.3 * z + 0.2 * (x * x - y * y) + 0.1 * x * y  # harmonic
    field = ((local + background) * hz_per_ppm(FIELD_STRENGTH)).astype(np.float32)
    sd = S0 / SNR
    magnitude, phase, tissue = (np.empty((len(ECHO_TIMES), *size), np.float32) for _ in range(3))
    for e, te in enumerate(ECHO_TIMES):
        decay = S0 * np.exp(-rate * te)
        noise = sd * (rng.standard_normal(size) + 1j * rng.standard_normal(size))
        signal = np.where(mask, decay, 0) * np.exp(2j * np.pi * field * te) + noise
        magnitude[e], phase[e], tissue[e] = np.abs(signal), np.angle(signal), np.abs(decay + noise)
    return BenchmarkScan(
        magnitude=magnitude,
        phase=phase,
        tissue=tissue,
        echo_times=ECHO_TIMES,
        noise_sd=sd,
        mask=mask,
        everywhere=np.ones(size, bool),
        geometry=geometry,
        total_field=field,
        local_field_ppm=local,
        field_sd_ppm=np.where(mask, 0.002, 0).astype(np.float32),
    )
