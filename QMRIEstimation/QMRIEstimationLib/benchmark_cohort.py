"""How much longer a cohort takes than its subjects, and how much shorter with two at a time; wall-clock time."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from .background import BackgroundRun
from .phantom.simulate import simulate

SIZE, VOXEL = (56, 67, 50), (2.8, 2.8, 2.8)  # a whole head, small
SUBJECTS, REPEATS = 4, 3
QUICK_SUBJECTS, QUICK_REPEATS = 2, 1
SHORT = ("--maps", "R2star", "--steps", "estimate")  # little work, so that what is added to it shows
LONG = ("--maps", "R2star", "Chi")


def cohort_benchmark(quick=False, stream=None):
    """Time a cohort of small patients: each by itself, by the runner one at a time, and two at a time; print it.

    Returns:
        (seconds that the runner adds to a subject, ratio of one at a time to two at a time).
    """
    stream = stream or sys.stdout
    count, repeats = (QUICK_SUBJECTS, QUICK_REPEATS) if quick else (SUBJECTS, REPEATS)
    with tempfile.TemporaryDirectory(prefix="qmri-benchmark-") as name:
        folder = Path(name)
        simulate(folder / "raw", subjects=count, size=SIZE, voxel_size=VOXEL)
        labels = sorted(path.name.removeprefix("sub-") for path in (folder / "raw").glob("sub-*"))
        _timed(folder, *LONG, "--force")  # compiles
        alone, short, nothing, one, two = [], [], [], [], []
        for _ in range(repeats):  # in turns, so that what the machine does beside hits all of them
            each = [
                _timed(folder, *SHORT, "--force", "--threads", "1", "--participant-label", label) for label in labels
            ]
            alone.append(sum(each))
            short.append(_timed(folder, *SHORT, "--force", "--threads", "1", "--nprocs", "1"))
            nothing.append(_timed(folder, *SHORT))  # all is done: the command itself
            one.append(_timed(folder, *LONG, "--force", "--threads", "1", "--nprocs", "1"))
            two.append(_timed(folder, *LONG, "--force", "--threads", "2", "--nprocs", "2"))
    added = [(b - c - a) / count for a, b, c in zip(alone, short, nothing, strict=True)]
    ratio = [(b - n) / (c - n) for b, c, n in zip(one, two, nothing, strict=True)]
    print(
        f"cohort of {count} small subjects, wall-clock s, median of {repeats} (range)\n"
        f"  R2*: each by itself {_spread(alone)}, --nprocs 1 {_spread(short)}; nothing to do {_spread(nothing)}: the "
        f"runner adds {_spread(added)} to a subject\n"
        f"  R2*, QSM, lesions: --nprocs 1 {_spread(one)}, --nprocs 2 {_spread(two)}: {_spread(ratio)} times "
        "as many an hour, not counting the start of the command",
        file=stream,
        flush=True,
    )
    return statistics.median(added), statistics.median(ratio)


def _timed(folder, *words):
    """Seconds of one call."""
    began = time.perf_counter()
    run = BackgroundRun(["run", folder / "raw", folder / "maps", "participant", *words], folder / "log.txt")
    while run.running:
        time.sleep(0.02)
    if run.error:
        raise RuntimeError(run.error)
    return time.perf_counter() - began


def _spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
