"""How often rims are found, and what else is taken for one, on maps estimated from simulated raw data.

The raw data come from lesion_block, which shares no code with the digital patient; seeds other than those the detector
was tried on. Tolerances are those of the issue: what readers of rims could rely on.
"""

import numpy as np
import pytest
from lesion_block import make_block
from QMRIEstimationLib.maps import QuantitativeMap
from QMRILesionStagingLib.options import RimOptions, StagingOptions
from QMRILesionStagingLib.staging import StagingInput, stage_lesions

pytestmark = pytest.mark.slow
QUICK = StagingOptions(rim=RimOptions(found=0.0))  # virtual rims do not change what is found
DECOYS = ("solid", "iso", "vein", "neighbour")


def staged(block, options=QUICK):
    """(Drawn, staging.Lesion) of every lesion of a block."""
    nothing = np.zeros(block.mask.shape, np.float32)
    maps = {}
    for name, values, sd in (("Chi", block.chi, block.chi_sd), ("R2star", block.r2star, block.r2star_sd)):
        parameters = {"PhaseSign": 1}
        maps[name] = QuantitativeMap(name, values, sd, nothing, block.mask, block.geometry, "", "", "", parameters)
    tissue = np.where(block.gray, 2, 1)
    given = StagingInput(
        maps, block.geometry, block.mask, block.labels.astype(np.int32), (tissue, {1: "white matter", 2: "cortex"})
    )
    found = {lesion.number: lesion for lesion in stage_lesions(given, options).lesions}
    return [(drawn, found[drawn.number]) for drawn in block.lesions if drawn.number in found]


@pytest.fixture(scope="module")
def rimmed():
    return staged(make_block(201, ("rim",), (5, 14), cells=(4, 6, 6), snr=30))


@pytest.fixture(scope="module")
def decoys():
    return staged(make_block(202, DECOYS, (5, 12), cells=(5, 6, 6), snr=30))


@pytest.fixture(scope="module")
def thick():
    return staged(make_block(203, ("rim", "rim", *DECOYS), (5, 13), voxel=(2.0, 0.5, 0.5), cells=(4, 5, 5), snr=30))


def share(pairs, low, high):
    chosen = [lesion.rim.present for drawn, lesion in pairs if low <= drawn.diameter < high]
    assert len(chosen) >= 20
    return np.mean(chosen)


def test_rims_are_found_at_one_millimetre(rimmed):
    assert share(rimmed, 7, 99) >= 0.90
    assert share(rimmed, 5, 7) >= 0.60


def test_the_coverage_is_right_within_a_tenth(rimmed):
    large = [(drawn.coverage, lesion.rim) for drawn, lesion in rimmed if drawn.diameter >= 7]
    difference = np.array([rim.coverage - true for true, rim in large if rim.coverage is not None])
    assert abs(difference.mean()) < 0.05
    assert difference.std() < 0.12
    assert np.mean([rim.low <= true <= rim.high for true, rim in large if rim.coverage is not None]) > 0.85


@pytest.mark.parametrize("kind", DECOYS)
def test_decoys_are_not_taken_for_rims(decoys, kind):
    false = [lesion.rim.present for drawn, lesion in decoys if drawn.kind == kind]
    assert len(false) >= 30
    assert sum(false) <= max(1, 0.01 * len(false))


def test_rims_are_found_in_thick_slices_and_decoys_are_not(thick):
    rims = [(drawn, lesion) for drawn, lesion in thick if drawn.kind == "rim" and drawn.diameter >= 7]
    assert np.mean([lesion.rim.present for _, lesion in rims]) >= 0.80
    assert not any(lesion.rim.present for drawn, lesion in thick if drawn.kind in DECOYS)


def test_no_lesion_below_five_millimetres_is_called_without_rim(rimmed, decoys):
    for _, lesion in (*rimmed, *decoys):
        assert lesion.diameter >= 5 or lesion.rim.grade == "not assessable"
