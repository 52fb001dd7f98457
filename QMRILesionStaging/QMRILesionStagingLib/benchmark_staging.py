"""Staging in the table of `slicer-qmri benchmark`: its cost follows the lesions, not the image."""

import numpy as np
from QMRIEstimationLib.benchmark_stages import COPIES, Stage, copy_floor
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.maps import QuantitativeMap

from .options import RimOptions, StagingOptions
from .staging import StagingInput, stage_lesions

WHITE = {"R1": (1.15, 0.02), "R2star": (20.5, 0.5), "Chi": (-0.03, 0.003)}  # level and noise
CELL = 24  # mm from one lesion to the next


def staging_stages():
    """Yield the stages: lesions without virtual rims, twice their diameter, twice the image, and with virtual rims."""
    plain = StagingOptions(rim=RimOptions(virtual_rims=1, found=0.0))
    for name, cells, count, diameter, options in (
        ("staging, 12 lesions of 6 mm", (2, 3, 2), 12, 6.0, plain),
        ("staging, 12 lesions of 12 mm", (2, 3, 2), 12, 12.0, plain),
        ("the same, image 4 times as large", (4, 3, 4), 12, 12.0, plain),
        ("the same, 5 virtual rims each", (4, 3, 4), 12, 12.0, StagingOptions()),
    ):
        given, voxels = _lesions(cells, count, diameter)
        images = [m.values for m in given.maps.values()] * 2
        run = _run(given, options)
        yield Stage(name, run, voxels, COPIES, copy_floor(images, (given.drawn,)))


def _run(given, options):
    return lambda: stage_lesions(given, options)


def _lesions(cells, count, diameter):
    """StagingInput with `count` lesions in a grid of cells, and the number of their voxels."""
    rng = np.random.default_rng(5)
    shape = tuple(n * CELL for n in cells)
    drawn = np.zeros(shape, np.int32)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    for number, cell in enumerate(list(np.ndindex(*cells))[:count], 1):
        middle = (np.array(cell) + 0.5) * CELL
        drawn[np.linalg.norm(places - middle, axis=-1) <= diameter / 2] = number
    everywhere = np.ones(shape, bool)
    geometry = Geometry(shape, np.eye(4))
    maps = {}
    for name, (level, noise) in WHITE.items():
        values = (level + noise * rng.standard_normal(shape)).astype(np.float32)
        sd = np.full(shape, noise, np.float32)
        maps[name] = QuantitativeMap(name, values, sd, values, everywhere, geometry, "", "", "", {"PhaseSign": 1})
    tissue = np.ones(shape, np.int32), {1: "white matter"}
    return StagingInput(maps, geometry, everywhere, drawn, tissue), int(np.count_nonzero(drawn))
