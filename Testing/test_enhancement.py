"""Uptake of gadolinium: patterns, other gains, shifts, vessels, and scans that cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest
from lesion_maps import Canvas
from QMRILesionStagingLib.contrast_agent import AFTER, BEFORE, UNKNOWN, days_apart, timing_of, why_not_comparable
from QMRILesionStagingLib.options import RimOptions, StagingOptions
from QMRILesionStagingLib.staging import stage_lesions
from scipy import ndimage

MIDDLE = (23.5, 24.2, 23.8)
OPTIONS = StagingOptions(rim=RimOptions(found=0.0))
T1W = {"EchoTime": 0.003, "RepetitionTime": 2.3, "InversionTime": 1.1, "FlipAngle": 9.0}


def _pattern(canvas, **changes):
    (lesion,) = stage_lesions(canvas.given(**changes), OPTIONS).lesions
    return lesion.enhancement


@pytest.mark.parametrize("uptake", [None, "nodular", "ring"])
@pytest.mark.parametrize("gain", [0.8, 1.0, 1.2])
def test_the_pattern_is_found_at_any_gain(uptake, gain):
    canvas = Canvas().lesion(MIDDLE, 10, uptake=uptake)
    canvas.after *= np.float32(gain)
    assert _pattern(canvas).pattern == {None: "none", "nodular": "nodular", "ring": "closed ring"}[uptake]


def test_a_ring_over_half_of_the_border_is_open():
    canvas = Canvas().lesion(MIDDLE, 10)
    depth = canvas.ball(MIDDLE, 10)
    half = (canvas.places - np.float32(MIDDLE))[..., 1] > 0
    canvas.after[(depth > 0) & (depth < 1.5) & half] += 0.5
    found = _pattern(canvas)
    assert found.pattern == "open ring"
    assert abs(found.coverage - 0.5) < 0.15


@pytest.mark.parametrize("diameter", [3.0, 4.0])
def test_a_small_nodule_is_found(diameter):
    assert _pattern(Canvas().lesion(MIDDLE, diameter, uptake="nodular")).pattern == "nodular"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_voxel_of_shift_is_no_enhancement(axis):
    given = Canvas().lesion(MIDDLE, 8).given()
    shifted = np.roll(given.after, 1, axis)
    (lesion,) = stage_lesions(replace(given, after=shifted), OPTIONS).lesions
    assert not lesion.enhancement.active


def test_a_vessel_beside_a_lesion_is_not_its_enhancement():
    canvas = Canvas().lesion(MIDDLE, 8)
    line = canvas.places - np.float32(MIDDLE) - np.float32((3.5, 0, 0))
    canvas.after[np.hypot(line[..., 0], line[..., 1]) < 0.6] += 1.0
    assert _pattern(canvas).pattern == "none"


def test_a_thin_ring_of_coarse_voxels_that_touches_a_vessel_is_a_ring():
    canvas = Canvas((36, 36, 36), (1.33, 1.33, 1.33)).lesion(MIDDLE, 11)
    depth = canvas.ball(MIDDLE, 11)
    ring = (depth > -0.3) & (depth < 0.9)  # less than a voxel thick
    canvas.after[ring] += 0.8 * np.random.default_rng(4).uniform(0.6, 1.4, ring.sum())
    line = canvas.places - np.float32(MIDDLE) - np.float32((0, 6.0, 0))
    canvas.after[np.hypot(line[..., 0], line[..., 1]) < 1.0] += 1.0
    assert _pattern(canvas).pattern == "closed ring"


def test_images_without_signal_are_refused_with_a_sentence():
    canvas = Canvas().lesion(MIDDLE, 8)
    canvas.after *= 0
    with pytest.raises(ValueError, match="no signal in the white matter"):
        _pattern(canvas, **{"after": np.zeros(canvas.shape, np.float32)})


def test_drawn_enhancement_counts_instead_of_images():
    canvas = Canvas().lesion(MIDDLE, 10)
    lesion = canvas.labels() > 0
    core = ndimage.binary_erosion(lesion, iterations=2)
    assert _pattern(canvas, enhancing=lesion).pattern == "nodular"
    assert _pattern(canvas, enhancing=lesion & ~core).pattern == "closed ring"
    assert _pattern(canvas, enhancing=np.zeros_like(lesion)).pattern == "none"


def test_without_a_scan_after_the_agent_enhancement_is_unknown():
    found = _pattern(Canvas().lesion(MIDDLE, 10), after=None)
    assert found.pattern == "unknown"
    assert "no T1-weighted scan after gadolinium" in found.reason


@pytest.mark.parametrize(
    ("field", "value"), [("EchoTime", 0.012), ("RepetitionTime", 0.6), ("InversionTime", 0.9), ("FlipAngle", 15.0)]
)
def test_another_sequence_after_the_agent_is_refused_by_name(field, value):
    problem = why_not_comparable(("pre", T1W), ("post", T1W | {field: value}))
    assert problem.startswith(f"post: {field} is {value:g}")
    assert not why_not_comparable(("pre", T1W), ("post", dict(T1W)))


@pytest.mark.parametrize(
    ("own", "other", "state"),
    [
        ({"AcquisitionTime": "10:00:00"}, {"AcquisitionTime": "10:40:00.5"}, BEFORE),
        ({"AcquisitionTime": "104100"}, {"AcquisitionTime": "10:40:00"}, AFTER),
        ({"SeriesNumber": 4}, {"SeriesNumber": 12}, BEFORE),
        ({"SeriesNumber": 14}, {"SeriesNumber": 12}, AFTER),
        ({"AcquisitionDateTime": "2025-01-02T10:00:00"}, {"AcquisitionDateTime": "2025-01-01T12:00:00"}, AFTER),
        ({}, {"SeriesNumber": 12}, UNKNOWN),
        ({"ContrastBolusAgent": "Gadovist"}, {"SeriesNumber": 12}, AFTER),
        ({"ContrastBolusAgent": "none", "SeriesNumber": 1}, {"SeriesNumber": 12}, BEFORE),
    ],
)
def test_the_order_of_maps_and_agent_is_read_from_the_headers(own, other, state):
    timing = timing_of("megre", own, [("post", other)])
    assert timing.state == state
    assert bool(timing.sentence) == (state != BEFORE)


def test_without_agent_every_scan_was_made_before_it():
    assert timing_of("megre", {}, []).state == BEFORE


def test_days_between_scans_are_counted_where_both_tell_their_date():
    first, second = {"AcquisitionDateTime": "2025-01-01T10:00:00"}, {"AcquisitionDateTime": "2025-01-10T10:00:00"}
    assert days_apart(first, second) == 9
    assert days_apart(first, {}) is None


def test_maps_made_after_the_agent_give_neither_rim_nor_stage_from_them():
    canvas = Canvas().lesion(MIDDLE, 10, rim=0.045)
    timing = timing_of("megre", {"SeriesNumber": 14}, [("post", {"SeriesNumber": 12})])
    given = canvas.given(timings=dict.fromkeys(("R1", "R2", "R2star", "PD", "Chi"), timing))
    staging = stage_lesions(given, OPTIONS)
    (lesion,) = staging.lesions
    assert lesion.rim.grade == "not assessable"
    assert "after the contrast agent" in lesion.rim.reason
    assert "QSM" not in lesion.stage.reason.split("not known")[0]
    assert timing.sentence in staging.notes
