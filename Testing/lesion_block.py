"""A block of white matter full of lesions, simulated finer than the voxel with its own physics, and its maps.

It shares no code with the digital patient: hundreds of lesions of one kind in one volume, for detection rates. The
object is drawn with soft edges on sub-voxels, its field is the convolution with the dipole of those sub-voxels, every
echo is the mean of the signal of the sub-voxels of a voxel, with complex Gaussian noise.
"""

from dataclasses import dataclass

import numpy as np
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.qsm.chain import QsmOptions, susceptibility
from QMRIEstimationLib.qsm.field import field_map
from QMRIEstimationLib.relaxometry.r2star import fit_r2star
from scipy import fft, ndimage

ECHO_TIMES = (0.004, 0.009, 0.014, 0.019, 0.024, 0.029)
FIELD_STRENGTH = 3.0
PER_PPM = 42.577478518 * FIELD_STRENGTH  # Hz
CELL = 24.0  # mm between the middles of two lesions
WHITE_R2STAR = 20.5
MARGIN = 6.0  # mm of the block outside the mask
KINDS = ("rim", "arc", "solid", "iso", "vein", "neighbour")


@dataclass(eq=False)
class Drawn:
    """One lesion: its kind (of KINDS), diameter (mm, of the sphere of its volume), true coverage, chi (ppb)."""

    number: int
    kind: str
    diameter: float
    coverage: float
    core: float
    rim: float
    centre: np.ndarray


@dataclass(eq=False)
class Block:
    """What was drawn and what the maps show of it; arrays float32 [k, j, i], labels int."""

    geometry: Geometry
    labels: np.ndarray
    mask: np.ndarray
    gray: np.ndarray
    chi: np.ndarray
    chi_sd: np.ndarray
    r2star: np.ndarray
    r2star_sd: np.ndarray
    local_field: np.ndarray
    field_sd: np.ndarray
    true_chi: np.ndarray
    lesions: list


def make_block(seed, kinds, diameters, voxel=(1.0, 1.0, 1.0), cells=(6, 7, 7), snr=40.0, cell=CELL):
    """A Block with one lesion a cell.

    Args:
        kinds: names of KINDS, drawn from at random. diameters: lowest and highest, mm.
        voxel: mm [k, j, i]. cells: lesions [k, j, i]. snr: magnitude of white matter at the first echo over the noise
            SD of one channel.
    """
    rng = np.random.default_rng(seed)
    sub = [max(2, round(v / 0.5)) for v in voxel]
    shape = [fft.next_fast_len(round(n * cell / v), real=True) for n, v in zip(cells, voxel, strict=True)]
    step = np.array([v / s for v, s in zip(voxel, sub, strict=True)], np.float32)
    fine = [n * s for n, s in zip(shape, sub, strict=True)]
    chi = _texture(rng, fine, step, 0.003)
    r2star = WHITE_R2STAR * (1 + _texture(rng, fine, step, 0.03))
    density = np.ones(fine, np.float32)
    labels, gray, drawn = np.zeros(fine, np.int16), np.zeros(fine, bool), []
    for number, place in enumerate(np.ndindex(*cells), 1):
        centre = (np.array(place) + 0.5) * cell + rng.uniform(-1, 1, 3)
        kind = kinds[rng.integers(len(kinds))]
        lesion = _draw(number, kind, rng.uniform(*diameters), centre, rng)
        _paint(lesion, chi, r2star, density, labels, gray, step, rng)
        drawn.append(lesion)
    images = _acquire(chi, r2star, density, sub, step, snr, rng)
    matrix = np.diag([*voxel[::-1], 1.0])
    geometry = Geometry(tuple(shape), matrix)
    mask = np.zeros(shape, bool)
    edge = [round(MARGIN / v) for v in voxel]
    mask[tuple(slice(e, n - e) for e, n in zip(edge, shape, strict=True))] = True
    share = _mean(np.where(labels > 0, 1.0, 0.0).astype(np.float32), sub)
    nearest = labels[tuple(slice(s // 2, None, s) for s in sub)]
    around = ndimage.grey_dilation(nearest, size=(3, 3, 3))
    rated = np.where(share >= 0.5, np.where(nearest > 0, nearest, around), 0)
    maps = _maps(*images, mask, geometry, 1.0 / snr * np.exp(-WHITE_R2STAR * ECHO_TIMES[0]))
    return Block(geometry, rated, mask, _mean(gray.astype(np.float32), sub) > 0.3, *maps, _mean(chi, sub), drawn)


def _texture(rng, shape, step, size):
    coarse = rng.standard_normal([max(4, round(n * s / 2.0)) for n, s in zip(shape, step, strict=True)])
    coarse = ndimage.gaussian_filter(coarse, 1.0, mode="wrap")
    zoom = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    smooth = ndimage.zoom(coarse, zoom, order=1, mode="grid-wrap", grid_mode=True).astype(np.float32)
    return smooth * np.float32(size / smooth.std())


def _draw(number, kind, diameter, centre, rng):
    core = {"solid": rng.normal(33, 8), "iso": rng.normal(0, 5)}.get(kind, rng.normal(12, 8))
    if kind in ("vein", "neighbour"):
        core = rng.choice([rng.normal(0, 5), rng.normal(25, 8)])
    rim, coverage = core, 0.0
    if kind in ("rim", "arc"):
        rim = max(np.clip(rng.normal(45, 15), 18, 72), core + 15)
        coverage = rng.uniform(0.8, 1.0) if kind == "rim" else rng.uniform(0.35, 0.55)
    return Drawn(number, kind, diameter, coverage, float(core), float(rim), centre)


def _paint(lesion, chi, r2star, density, labels, gray, step, rng):
    reach = 0.75 * lesion.diameter + 9
    first = np.maximum(np.floor((lesion.centre - reach) / step), 0).astype(int)
    last = np.minimum(np.ceil((lesion.centre + reach) / step), chi.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    grid = np.stack(np.meshgrid(*(np.arange(a, b) + 0.5 for a, b in zip(first, last, strict=True)), indexing="ij"), -1)
    offset = (grid * step - lesion.centre).astype(np.float32)
    distance = np.linalg.norm(offset, axis=-1)
    direction = offset / np.maximum(distance, 1e-4)[..., None]
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    half = np.exp(rng.normal(0, 0.12, 3))
    half *= 0.5 * lesion.diameter / np.prod(half) ** (1 / 3)
    radius = 1 / np.sqrt(((direction @ axes.T / half) ** 2).sum(-1))
    radius = radius * (
        1 + 0.12 * (direction @ _unit(rng)) * (direction @ _unit(rng)) + 0.1 * (direction @ _unit(rng)) ** 3
    )
    depth = radius - distance
    soft = float(step.max())
    inside = np.clip(0.5 + depth / soft, 0, 1)
    thickness = rng.uniform(1.2, 2.0)
    covered = direction @ _unit(rng) > 1 - 2 * lesion.coverage
    shell = inside * np.clip(0.5 + (thickness - depth) / soft, 0, 1) * covered
    chi[box] += 1e-3 * (inside * lesion.core + shell * (lesion.rim - lesion.core))
    bonus = max(rng.normal(4, 2), 1.0) if lesion.coverage else 0.0
    r2star[box] += inside * rng.normal(-3, 2.4) + shell * bonus
    density[box] += 0.15 * inside
    labels[box][depth > 0] = lesion.number
    if lesion.kind == "vein":
        _vein(lesion, chi[box], r2star[box], offset, soft, rng)
    if lesion.kind == "neighbour":
        away = _unit(rng)
        size = rng.uniform(3, 5)
        ball = np.linalg.norm(offset - away * (lesion.diameter / 2 + size - rng.uniform(0, 1.0)), axis=-1)
        nearby = np.clip(0.5 + (size - ball) / soft, 0, 1) * (1 - inside)
        chi[box] += 1e-3 * nearby * rng.choice([40.0, 85.0])
        r2star[box] += nearby * rng.choice([-5.5, 6.5])
        gray[box] |= nearby > 0.5


def _vein(lesion, chi, r2star, offset, soft, rng):
    """A vein along the surface, across it, or through the middle."""
    along, side = _unit(rng), _unit(rng)
    side = np.cross(along, side)
    side /= np.linalg.norm(side)
    through = side * lesion.diameter / 2 * rng.choice([0.0, 0.85, 1.0])
    from_line = np.linalg.norm(np.cross(offset - through, along), axis=-1)
    tube = np.clip(0.5 + (rng.uniform(0.4, 0.65) - from_line) / soft, 0, 1)
    chi += 0.33 * tube
    r2star += 25 * tube


def _unit(rng):
    v = rng.standard_normal(3)
    return (v / np.linalg.norm(v)).astype(np.float32)


def _mean(array, sub):
    k, j, i = (n // s for n, s in zip(array.shape, sub, strict=True))
    return array.reshape(k, sub[0], j, sub[1], i, sub[2]).mean((1, 3, 5), dtype=np.float32)


def _acquire(chi, r2star, density, sub, step, snr, rng):
    """Magnitude and phase [echo, k, j, i]; B0 along k."""
    f = [np.fft.fftfreq(n, s).astype(np.float32) for n, s in zip(chi.shape, step, strict=True)]
    f[2] = np.abs(f[2][: chi.shape[2] // 2 + 1])
    square = f[0][:, None, None] ** 2 + f[1][:, None] ** 2 + f[2] ** 2
    square[0, 0, 0] = 1
    dipole = 1 / 3 - f[0][:, None, None] ** 2 / square
    dipole[0, 0, 0] = 0
    field = np.float32(PER_PPM) * fft.irfftn(fft.rfftn(chi, workers=2) * dipole, chi.shape, workers=2)
    noise = np.exp(-WHITE_R2STAR * ECHO_TIMES[0]) / snr
    magnitude, phase = [], []
    for te in ECHO_TIMES:
        size = density * np.exp(-te * r2star)
        turn = (2 * np.pi * te) * field
        signal = _mean(size * np.cos(turn), sub) + 1j * _mean(size * np.sin(turn), sub)
        signal += noise * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
        magnitude.append(np.abs(signal).astype(np.float32))
        phase.append(np.angle(signal).astype(np.float32))
    return np.stack(magnitude), np.stack(phase)


def _maps(magnitude, phase, mask, geometry, noise, options=QsmOptions()):
    field = field_map(magnitude, phase, ECHO_TIMES, mask, geometry, noise, options.field)
    decay = fit_r2star(magnitude, ECHO_TIMES, noise, mask)
    result = susceptibility(field, magnitude, mask, geometry, FIELD_STRENGTH, options, decay.r2star, header_polarity=1)
    local = result.local_field / np.float32(PER_PPM)
    return result.chi, result.sd, decay.r2star, decay.sd, local, field.sd / np.float32(PER_PPM)
