"""What `slicer-qmri benchmark` works on: scans of which size and kind of numbers matter, and a patient to denoise."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .geometry import Geometry
from .units import hz_per_ppm

ALL_ECHOES, ECHO_SPACING = 6, 0.005  # s
FIELD_STRENGTH = 3.0  # T
SNR = 60.0
S0 = 1000.0
SEED = 20261123
FLIP_ANGLES, FLIP_TR, SPOILING_INCREMENT = np.deg2rad([3, 8, 18]), 0.015, np.deg2rad(50)
BSSFP_FLIP_ANGLES, PHASE_CYCLES, BSSFP_TR = np.deg2rad([12, 35]), np.deg2rad([0, 90, 180, 270]), 0.006
M0 = 5000.0
DENOISED_SNR = 25.0  # the median of the brain at the first echo, of the scan that denoising works on
DENOISED_SLICES = 20


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


def benchmark_scan(size, echoes=ALL_ECHOES):
    """The scan on a grid of `size` [k, j, i] voxels of 1 mm with some echoes, 5 ms apart.

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
    echo_times = tuple(ECHO_SPACING * n for n in range(1, echoes + 1))
    magnitude, phase, tissue = (np.empty((echoes, *size), np.float32) for _ in range(3))
    for e, te in enumerate(echo_times):
        decay = S0 * np.exp(-rate * te)
        noise = _complex_noise(rng, sd, size)
        signal = np.where(mask, decay, 0) * np.exp(2j * np.pi * field * te) + noise
        magnitude[e], phase[e], tissue[e] = np.abs(signal), np.angle(signal), np.abs(decay + noise)
    return BenchmarkScan(
        magnitude=magnitude,
        phase=phase,
        tissue=tissue,
        echo_times=echo_times,
        noise_sd=sd,
        mask=mask,
        everywhere=np.ones(size, bool),
        geometry=geometry,
        total_field=field,
        local_field_ppm=local,
        field_sd_ppm=np.where(mask, 0.002, 0).astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class RelaxationScan:
    """Noisy spoiled GRE of three flip angles and phase-cycled bSSFP with signal in every voxel.

    Attributes:
        spoiled: magnitude, float32 [flip, k, j, i]. bssfp, bssfp_phase: float32 [flip x cycle, k, j, i].
        noise_sd: of one channel. b1, b1_sd, r1, r1_sd, r2: float32 [k, j, i]. everywhere: bool, all true.
    """

    spoiled: np.ndarray
    bssfp: np.ndarray
    bssfp_phase: np.ndarray
    noise_sd: float
    b1: np.ndarray
    b1_sd: np.ndarray
    r1: np.ndarray
    r1_sd: np.ndarray
    r2: np.ndarray
    everywhere: np.ndarray


def relaxation_scan(size):
    """The RelaxationScan on a grid of `size` [k, j, i] voxels: rates of brain, transmit field from 0.7 to 1.2."""
    rng = np.random.default_rng(SEED)
    r1, r2 = (rng.uniform(low, high, size).astype(np.float32) for low, high in ((0.6, 1.4), (9.0, 17.0)))
    b1 = np.broadcast_to(np.linspace(0.7, 1.2, size[2], dtype=np.float32), size).copy()
    turns = np.broadcast_to(np.linspace(-3, 3, size[1], dtype=np.float32)[:, None], size)  # of 2 pi in one TR
    spoiled = np.empty((len(FLIP_ANGLES), *size), np.float32)
    sd = 0.0
    for f, flip in enumerate(FLIP_ANGLES):
        e1 = np.exp(-FLIP_TR * r1)
        clean = M0 * np.sin(flip * b1) * (1 - e1) / (1 - e1 * np.cos(flip * b1))
        sd = sd or float(clean.mean()) / SNR
        spoiled[f] = np.abs(clean + _complex_noise(rng, sd, size))
    count = len(BSSFP_FLIP_ANGLES) * len(PHASE_CYCLES)
    bssfp, phase = np.empty((count, *size), np.float32), np.empty((count, *size), np.float32)
    e1, e2 = np.exp(-BSSFP_TR * r1), np.exp(-BSSFP_TR * r2)
    for n in range(count):
        flip = b1 * BSSFP_FLIP_ANGLES[n // len(PHASE_CYCLES)]
        theta = 2 * np.pi * turns + PHASE_CYCLES[n % len(PHASE_CYCLES)]
        below = 1 - e1 * np.cos(flip) - e2**2 * (e1 - np.cos(flip))
        level = M0 * np.sqrt(e2) * (1 - e1) * np.sin(flip) / below
        b = e2 * (1 - e1) * (1 + np.cos(flip)) / below
        image = level * np.exp(1j * np.pi * turns) * (1 - e2 * np.exp(-1j * theta)) / (1 - b * np.cos(theta))
        image = image + _complex_noise(rng, sd, size)
        bssfp[n], phase[n] = np.abs(image), np.angle(image)
    small = np.full(size, 0.02, np.float32)
    return RelaxationScan(spoiled, bssfp, phase, sd, b1, small, r1, small, r2, np.ones(size, bool))


@dataclass(frozen=True, eq=False)
class DenoisingScan:
    """Middle slices of a digital patient's multi-echo GRE; float32 [e, k, j, i].

    Attributes:
        magnitude, phase: with noise of SD `noise_sd`. true: magnitude without. mask: bool [k, j, i], the brain.
    """

    magnitude: np.ndarray
    phase: np.ndarray
    true: np.ndarray
    noise_sd: float
    mask: np.ndarray
    geometry: Geometry

    def error(self, image):
        """Root mean square error of the first magnitude over the brain, in noise SDs."""
        off = (image - self.true[0])[self.mask]
        return float(np.sqrt(np.mean(np.square(off, dtype=np.float64)))) / self.noise_sd


def denoising_scan(size):
    """DenoisingScan on a grid of `size` [k, j, i] voxels of 1 mm."""
    from .acquisition import Role
    from .io.bids import read_session
    from .phantom.options import PatientOptions
    from .phantom.simulate import simulate

    with TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        simulate(raw, seed=SEED, size=size[::-1], options=PatientOptions(snr=1000.0))  # as good as no noise
        session = read_session(raw, "01")
        scan = session.of(Role.MULTI_ECHO_GRE)[0]
        (true, angle), mask = scan.read(), session.brain_mask()[0] > 0
    noise_sd = float(np.median(true[0][mask])) / DENOISED_SNR
    rng = np.random.default_rng(SEED)
    signal = true * np.exp(1j * angle) + _complex_noise(rng, noise_sd, true.shape)
    magnitude, phase = (part.astype(np.float32) for part in (np.abs(signal), np.angle(signal)))
    return DenoisingScan(magnitude, phase, true, noise_sd, mask, scan.geometry)


def _complex_noise(rng, sd, size):
    return sd * (rng.standard_normal(size, np.float32) + 1j * rng.standard_normal(size, np.float32))
