"""How long each stage takes beside the floors of this machine and beside other programs: `slicer-qmri benchmark`."""

import sys
import time
import tracemalloc
from dataclasses import dataclass
from itertools import chain

import numpy as np

from .benchmark_data import ALL_ECHOES, DENOISED_SLICES, DENOISED_SNR, SNR, benchmark_scan
from .benchmark_stages import field_stages, voxel_stages

FULL_SIZE = (144, 192, 160)  # a head at 1 mm
FIELD_SIZE, FIELD_ECHOES = (128, 160, 160), 4  # as other programs for QSM were timed in the survey of them
QUICK_SIZE = (96, 128, 112)  # smaller arrays stay in the cache, and copying them measures nothing
LEAST_REPEATS, MOST_REPEATS = 3, 9
ENOUGH_SECONDS = 4.0  # CPU time of one stage after which it is not repeated again
SHORTEST = 0.02  # s; a shorter run is timed several times in a row, for the clock's sake
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Timing:
    """CPU seconds (user and system, all threads) of one run: median, least and most of the repeats."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class PeerTiming:
    """Another program in the same run; `timing` is None where it is not installed or failed, as `note` says."""

    name: str
    voxels: int
    timing: Timing | None
    note: str = ""
    error: float | None = None


@dataclass(frozen=True)
class Row:
    """One stage as measured. `floors`: median time in units of the floor's median. `error`: None where not known."""

    name: str
    voxels: int
    timing: Timing
    peak_bytes: int
    unit: str
    floors: float
    peers: tuple
    error: float | None = None

    @property
    def microseconds(self):
        """CPU time of a voxel."""
        return 1e6 * self.timing.median / self.voxels


def run_benchmark(size=None, quick=False, stream=None, more=()):
    """Time every stage on a synthetic scan and print the table as it grows.

    Args:
        size: voxels [k, j, i]; None for whole heads (or, with `quick`, small ones).
        quick: fewest repeats.
        stream: where to print; None for standard output.
        more: benchmark_stages.Stage that follow those of the estimation.
    Returns:
        list of Row.
    Raises:
        ValueError: the size is too small.
    """
    stream = stream or sys.stdout
    small = size or (QUICK_SIZE if quick else None)
    repeats = LEAST_REPEATS if quick else MOST_REPEATS
    rows = []
    for stages, own_size, echoes, others in (
        (voxel_stages, FULL_SIZE, ALL_ECHOES, ()),
        (field_stages, FIELD_SIZE, FIELD_ECHOES, more),
    ):
        scan = benchmark_scan(tuple(small or own_size), echoes)
        print(_heading(scan), file=stream, flush=True)
        for stage in chain(stages(scan), others):
            rows.append(_measure(stage, scan, repeats))
            print(_lines(rows[-1]), file=stream, flush=True)
    print(_legend(), file=stream, flush=True)
    return rows


def _measure(stage, scan, repeats):
    """One stage, its floor and its peers."""
    result = stage.run()  # compiles
    error = stage.error(result) if stage.error else None
    del result
    peak = _peak_bytes(stage.run)
    floor = _time(stage.floor, MOST_REPEATS)
    timing = _time(stage.run, repeats)
    beside = tuple(_measure_peer(peer, stage.data or scan) for peer in stage.peers)
    return Row(stage.name, stage.voxels, timing, peak, stage.unit, timing.median / floor.median, beside, error)


def _measure_peer(peer, scan):
    try:
        run, voxels = peer.prepare(scan)
    except ImportError:
        return PeerTiming(peer.name, 0, None, f"not installed (pip install {peer.package})")
    try:
        result = run()  # compiles, where it does
        error = peer.error(result, scan) if peer.error else None
        timing = _time(run, LEAST_REPEATS)
    except Exception as failure:  # other people's code may raise anything; the table goes on
        return PeerTiming(peer.name, voxels, None, f"failed: {type(failure).__name__}: {failure}")
    return PeerTiming(peer.name, voxels, timing, error=error)


def _time(run, repeats):
    """CPU time of `run`, repeated; short runs are timed in rows."""
    once = _cpu_seconds(run, 1)
    inner = max(1, int(np.ceil(SHORTEST / max(once, 1e-6))))
    seconds = []
    while len(seconds) < repeats and (len(seconds) < LEAST_REPEATS or inner * sum(seconds) < ENOUGH_SECONDS):
        seconds.append(_cpu_seconds(run, inner) / inner)
    return Timing(float(np.median(seconds)), min(seconds), max(seconds))


def _cpu_seconds(run, times):
    start = time.process_time()
    for _ in range(times):
        run()
    return time.process_time() - start


def _peak_bytes(run):
    """Largest size of the arrays that a run holds beside its input."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _heading(scan):
    size = " x ".join(str(n) for n in scan.mask.shape)
    echoes = len(scan.echo_times)
    title = f"synthetic multi-echo GRE, {size} voxels ({scan.mask.size}), {echoes} echoes, SNR {SNR:g} at echo time 0"
    columns = f"{'stage':32}{'CPU s':>10}{'spread':>18}{'us/voxel':>10}{'floors':>16}"
    return f"{title}\n{columns}{'memory MiB':>12}{'ratio':>9}{'error':>8}"


def _lines(row):
    t = row.timing
    lines = [
        f"{row.name:32}{t.median:10.3f}{t.least:10.3f}-{t.most:<7.3f}{row.microseconds:10.3f}"
        f"{row.floors:9.1f} {row.unit:6}{row.peak_bytes / MEBIBYTE:12.0f}"
        + ("" if row.error is None else f"{row.error:17.2f}")
    ]
    for peer in row.peers:
        if peer.timing is None:
            lines.append(f"  {peer.name:30}{peer.note}")
            continue
        p = peer.timing
        each = 1e6 * p.median / peer.voxels
        lines.append(
            f"  {peer.name:30}{p.median:10.3f}{p.least:10.3f}-{p.most:<7.3f}{each:10.3f}{'':28}"
            f"{each / row.microseconds:9.1f}" + ("" if peer.error is None else f"{peer.error:8.2f}")
        )
    return "\n".join(lines)


def _legend():
    return (
        "CPU: user and system seconds of all threads, median and range of the repeats.\n"
        "Memory: peak of the arrays beside the input.\n"
        "copy: reading all input and writing all output bytes, SD included, into a fresh array, numpy, one core.\n"
        "FFT: one float32 real FFT of the same padded grid, one core.\n"
        "Indented: other programs in the same run, slow ones on some voxels; ratio: their time of a voxel over ours.\n"
        f"Denoising: {DENOISED_SLICES} slices of a digital patient or fewer, complex echoes, SNR {DENOISED_SNR:g}; "
        "error: of the first echo,\nroot mean square over the brain, in noise SDs."
    )
