"""Voxel loops compiled in a second process while scans are made, read and registered, where no cache holds them yet."""

import os
import subprocess
import sys
from pathlib import Path

SIZE = (16, 16, 16)  # voxels of the scan that is fitted only to have the loops compiled
_started = []


def compile_ahead(threads):
    """Start compiling the loops of the maps, unless they are in the cache or there is no second core for it.

    The second process only fills numba's cache: what it has not finished when it is needed is compiled as ever.
    """
    name = Path(sys.executable or "").name.lower()
    if _started or threads < 2 or not name.startswith("python") or _in_cache():
        return
    folder = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(path for path in (folder, os.environ.get("PYTHONPATH")) if path)
    silent = subprocess.DEVNULL
    _started.append(
        subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=os.environ | {"PYTHONPATH": paths},
            stdin=silent,
            stdout=silent,
            stderr=silent,
        )
    )


def _in_cache():
    """Whether the loop that `compile_all` compiles last is in the cache, newer than its source."""
    from .relaxometry import bssfp_lore

    source, loop = Path(bssfp_lore.__file__), bssfp_lore.lore_chunk
    found = Path(loop.stats.cache_path).glob(f"{source.stem}.{loop.py_func.__name__}-*.nbi")
    return any(index.stat().st_mtime > source.stat().st_mtime for index in found)


def compile_all():
    """Fit every map of the usual protocol to a few voxels."""
    import numpy as np

    from .benchmark_data import (
        BSSFP_FLIP_ANGLES,
        BSSFP_TR,
        FLIP_ANGLES,
        FLIP_TR,
        PHASE_CYCLES,
        SPOILING_INCREMENT,
        benchmark_scan,
        relaxation_scan,
    )
    from .qsm.chain import susceptibility
    from .qsm.field import field_map
    from .relaxometry.bssfp import fit_r2_bssfp
    from .relaxometry.dephasing import field_differences
    from .relaxometry.r1 import fit_r1
    from .relaxometry.r2star import fit_r2star
    from .relaxometry.spoiling import RfSpoiling
    from .resample import on_grid

    scan = benchmark_scan(SIZE)
    echoes = scan.magnitude, scan.phase, scan.echo_times
    field = field_map(*echoes, scan.mask, scan.geometry, scan.noise_sd)
    differences = field_differences(field.total_field, scan.mask, scan.geometry)
    fit_r2star(scan.magnitude, scan.echo_times, scan.noise_sd, scan.mask, dephasing=differences)
    susceptibility(field, scan.magnitude, scan.mask, scan.geometry, 3.0)
    moved = np.eye(4)
    moved[:3, 3] = 0.5
    on_grid(scan.total_field, scan.geometry, scan.geometry, moved, scan.mask)
    scan = relaxation_scan(SIZE)
    known = scan.r1, scan.r1_sd, scan.b1, scan.b1_sd
    protocol = FLIP_ANGLES, [FLIP_TR] * len(FLIP_ANGLES), scan.noise_sd, scan.everywhere, scan.b1
    spoiling = RfSpoiling(float(SPOILING_INCREMENT))
    fit_r1(scan.spoiled, *protocol, spoiling=spoiling, r2=scan.r2, b1_sd=scan.b1_sd)
    flips, cycles = np.repeat(BSSFP_FLIP_ANGLES, len(PHASE_CYCLES)), np.tile(PHASE_CYCLES, len(BSSFP_FLIP_ANGLES))
    fit_r2_bssfp(scan.bssfp, scan.bssfp_phase, flips, cycles, BSSFP_TR, scan.noise_sd, *known, scan.everywhere)


if __name__ == "__main__":
    compile_all()
