"""The stages that `slicer-qmri benchmark` times, each with the floor it is measured against."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from . import benchmark_peers as peers
from .benchmark_data import DENOISED_SLICES, FIELD_STRENGTH, denoising_scan
from .fft import padded_shape

COPIES, FFTS = "copies", "FFTs"
BRAIN_SHARE = 0.34  # of the voxels of a head scan, those of the brain: 1.5 of 4.4 million


@dataclass(frozen=True, eq=False)
class Stage:
    """One row of the table.

    Attributes:
        name: what is done. run: function without arguments that does it.
        voxels: it works on. unit: "copies" for voxelwise work, "FFTs" for work on a field.
        floor: function without arguments to time as that unit.
        peers: programs that do the same on `data`, what they are given.
        error: function of the result that tells how far it is from the truth, where that is known.
    """

    name: str
    run: object
    voxels: int
    unit: str
    floor: object
    peers: tuple = ()
    data: object = None
    error: object = None


def copy_floor(inputs, outputs):
    """Function that reads all bytes of `inputs` and writes as many as `outputs` have into a fresh array, by numpy."""
    source = np.ones(-(-sum(a.nbytes for a in inputs) // 4), np.float32)
    wanted = -(-sum(a.nbytes for a in outputs) // 4)

    def run():
        fresh = np.empty(wanted, np.float32)
        for start in range(0, wanted, source.size):
            part = fresh[start : start + source.size]
            part[...] = source[: part.size]
        if source.size > wanted:
            source[wanted:].max()
        return fresh

    return run


def fft_floor(shape):
    """Function that makes one real FFT of a float32 grid of `shape` on one core."""
    grid = np.ones(shape, np.float32)
    return lambda: scipy.fft.rfftn(grid, workers=1)


def voxel_stages(scan):
    """Yield the stages that fit or denoise voxels of a benchmark_data.BenchmarkScan, in the order of the pipeline."""
    yield from _voxelwise(scan)
    yield from _denoising(scan.mask.shape)
    yield from _relaxation(scan.mask.shape)


def _voxelwise(scan):
    from .noise import noise_sd
    from .relaxometry.dephasing import field_differences
    from .relaxometry.r2star import R2STAR_METHODS, R2starOptions, fit_r2star

    inputs = scan.tissue, scan.everywhere
    images = scan.tissue[:4]  # R2*, SD, quality and S0 have the bytes of four images
    floor = copy_floor(inputs, (images, scan.everywhere))
    beside = {"nlls": peers.NLLS_PEERS, "log-linear": peers.LOG_LINEAR_PEERS}
    voxels = scan.everywhere.size
    yield Stage("noise SD", lambda: noise_sd(scan.magnitude), voxels, COPIES, copy_floor(inputs[:1], ()))
    for method in R2STAR_METHODS:
        options = R2starOptions(method=method)

        def run(options=options):
            return fit_r2star(scan.tissue, scan.echo_times, scan.noise_sd, scan.everywhere, options)

        yield Stage(f"R2* {method} with SD", run, voxels, COPIES, floor, beside.get(method, ()))
    differences = field_differences(scan.total_field, scan.everywhere, scan.geometry)

    def corrected():
        return fit_r2star(scan.tissue, scan.echo_times, scan.noise_sd, scan.everywhere, R2starOptions(), differences)

    floor = copy_floor((*inputs, differences), (images, scan.everywhere))
    yield Stage("R2* nlls, field gradients", corrected, voxels, COPIES, floor)


def _denoising(size):
    """On some slices of six complex echoes; `voxels` counts every channel."""
    from .denoise.images import METHODS, DenoiseOptions, denoise_images
    from .denoise.noise_map import noise_map

    scan = denoising_scan((min(DENOISED_SLICES, size[0]), *size[1:]))
    parts = [part(scan.phase) * scan.magnitude for part in (np.cos, np.sin)]
    channels = np.concatenate(parts).astype(np.float32)
    floor = copy_floor((channels,), (channels, channels[0]))
    yield Stage(
        "noise map", lambda: noise_map(channels, scan.geometry), channels.size, COPIES, copy_floor((channels,), ())
    )
    beside = {"nonlocal-means": peers.NONLOCAL_PEERS, "mp-pca": peers.MPPCA_PEERS}
    for name in METHODS:

        def run(options=DenoiseOptions(method=name)):
            return denoise_images([(scan.magnitude, scan.phase)], scan.geometry, options)

        def error(found):
            return scan.error(found.images[0][0][0])

        yield Stage(f"denoising, {name}", run, channels.size, COPIES, floor, beside[name], scan, error)


def _relaxation(size):
    from .benchmark_data import (
        BSSFP_FLIP_ANGLES,
        BSSFP_TR,
        FLIP_ANGLES,
        FLIP_TR,
        PHASE_CYCLES,
        SPOILING_INCREMENT,
        relaxation_scan,
    )
    from .relaxometry.bssfp import R2Options, fit_r2_bssfp
    from .relaxometry.r1 import R1Options, fit_r1
    from .relaxometry.spoiling import RfSpoiling

    size = (max(1, round(size[0] * BRAIN_SHARE)), *size[1:])
    scan = relaxation_scan(size)
    voxels, image = scan.everywhere.size, scan.b1
    inputs = scan.spoiled, scan.everywhere, scan.b1, scan.b1_sd
    floor = copy_floor(inputs, (*[image] * 5, scan.everywhere))  # R1, M0, their SDs, quality and validity
    beside = {"nlls": peers.R1_NLLS_PEERS, "linear": peers.R1_LINEAR_PEERS}
    for method, spoiling, extra in (
        ("linear", None, ()),
        ("weighted", None, ()),
        ("nlls", None, ()),
        ("nlls", RfSpoiling(float(SPOILING_INCREMENT)), (scan.r2,)),
    ):

        def run(method=method, spoiling=spoiling, r2=extra[0] if extra else None):
            protocol = FLIP_ANGLES, [FLIP_TR] * len(FLIP_ANGLES), scan.noise_sd, scan.everywhere, scan.b1
            return fit_r1(scan.spoiled, *protocol, R1Options(method), spoiling, r2, scan.b1_sd)

        name = f"R1 {method} with SD" + (", RF spoiling" if spoiling else "")
        own = copy_floor((*inputs, *extra), (*[image] * 5, scan.everywhere))
        others = () if spoiling else beside.get(method, ())
        yield Stage(name, run, voxels, COPIES, own if extra else floor, others, scan)
    flips, cycles = np.repeat(BSSFP_FLIP_ANGLES, len(PHASE_CYCLES)), np.tile(PHASE_CYCLES, len(BSSFP_FLIP_ANGLES))
    known = scan.r1, scan.r1_sd, scan.b1, scan.b1_sd
    floor = copy_floor((scan.bssfp, scan.bssfp_phase, scan.everywhere, *known), (*[image] * 5, scan.everywhere))

    def run(phase=scan.bssfp_phase, options=R2Options()):
        protocol = flips, cycles, BSSFP_TR, scan.noise_sd
        return fit_r2_bssfp(scan.bssfp, phase, *protocol, *known, scan.everywhere, options)

    yield Stage("R2 LORE, DESPOT2 with SD", run, voxels, COPIES, floor)
    magnitude = R2Options(method="magnitude")
    floor = copy_floor((scan.bssfp, scan.everywhere, *known), (*[image] * 3, scan.everywhere))
    yield Stage("R2 of magnitudes with SD", lambda: run(None, magnitude), voxels, COPIES, floor)


def field_stages(scan):
    """Yield the stages from raw phase to susceptibility on a benchmark_data.BenchmarkScan, in their order."""
    from .mask import brain_mask
    from .qsm.field import field_map
    from .qsm.romeo import romeo, romeo_echoes
    from .qsm.unwrap import laplacian_unwrap

    mask, geometry, wrapped = scan.mask, scan.geometry, scan.phase[-1]
    voxels, plain = mask.size, fft_floor(padded_shape(mask.shape))
    yield Stage("brain mask", lambda: brain_mask(scan.magnitude, geometry), voxels, FFTS, plain)
    yield Stage(
        "Laplacian unwrapping",
        lambda: laplacian_unwrap(wrapped, mask, geometry),
        voxels,
        FFTS,
        fft_floor(padded_shape(mask.shape, 0.05)),
        peers.LAPLACIAN_PEERS,
    )
    yield Stage(
        "ROMEO, one echo",
        lambda: romeo(wrapped, scan.magnitude[-1], mask),
        voxels,
        FFTS,
        plain,
        peers.UNWRAP_PEERS,
    )
    yield Stage(
        "ROMEO, all echoes",
        lambda: romeo_echoes(scan.phase, scan.magnitude, scan.echo_times, mask),
        voxels,
        FFTS,
        plain,
    )
    yield Stage(
        "field map of all echoes",
        lambda: field_map(scan.magnitude, scan.phase, scan.echo_times, mask, geometry, scan.noise_sd),
        voxels,
        FFTS,
        plain,
    )
    yield from _background_and_inversion(scan, plain)


def _background_and_inversion(scan, plain):
    """Every listed method without its SD, and the default chain with it."""
    from .qsm.background import BACKGROUND_METHODS, BackgroundOptions
    from .qsm.chain import susceptibility
    from .qsm.field import field_map
    from .qsm.inversion import CLOSED_FORMS, ITERATIVE, TYPICAL_PHASE, InversionOptions
    from .qsm.method import settings_of
    from .qsm.problem import Grid, Problem, capped

    mask, geometry, voxels = scan.mask, scan.geometry, scan.mask.size
    weight = (scan.field_sd_ppm > 0) / np.maximum(scan.field_sd_ppm, np.float32(1e-9))
    for name, method in BACKGROUND_METHODS.items():
        own = settings_of(BackgroundOptions(), name)

        def run(method=method, own=own):
            return method.function(scan.total_field, weight, mask, geometry, own)

        beside = peers.BACKGROUND_PEERS if name == "v-sharp" else ()
        yield Stage(f"background field, {name}", run, voxels, FFTS, plain, beside)
    for name, method in CLOSED_FORMS.items():
        own = settings_of(InversionOptions(), name)

        def run(method=method, own=own):
            return method.function(scan.local_field_ppm, scan.field_sd_ppm, mask, geometry, own)

        beside = peers.INVERSION_PEERS if name == "tikhonov" else ()
        yield Stage(f"inversion, {name}, with SD", run, voxels, FFTS, plain, beside)
    for name, method in ITERATIVE.items():
        own = settings_of(InversionOptions(), name)
        grid = Grid(mask, geometry, own.padding)
        fields = np.where(mask, scan.local_field_ppm, 0), scan.field_sd_ppm, capped(weight, mask), scan.magnitude[-1]
        problem = Problem(*(grid.put(a) for a in fields), grid.put(mask), geometry, TYPICAL_PHASE)
        yield Stage(f"inversion, {name}", lambda m=method, p=problem, o=own: m.function(p, o), voxels, FFTS, plain)

    def chain():
        field = field_map(scan.magnitude, scan.phase, scan.echo_times, mask, geometry, scan.noise_sd)
        return susceptibility(field, scan.magnitude, mask, geometry, FIELD_STRENGTH)

    yield Stage("raw data to chi with SD, default", chain, voxels, FFTS, plain)
