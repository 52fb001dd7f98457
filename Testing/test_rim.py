"""The rim detector on drawn maps: what is a rim, what is none, and what cannot be judged."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lesion_maps import WHITE, Canvas
from QMRIEstimationLib.geometry import Geometry
from QMRILesionStagingLib.options import RimOptions, StagingOptions
from QMRILesionStagingLib.staging import StagingInput, stage_lesions

MIDDLE = (23.5, 24.2, 23.8)
NO_CHECK = StagingOptions(rim=RimOptions(found=0.0))  # "absent" without asking virtual rims


def _one(canvas, options=NO_CHECK, **changes):
    """The only lesion of a canvas."""
    (lesion,) = stage_lesions(canvas.given(**changes), options).lesions
    return lesion


def test_a_full_rim_is_definite_and_its_coverage_is_that_which_was_drawn():
    rim = _one(Canvas().lesion(MIDDLE, 10, rim=0.045)).rim
    assert rim.grade == "definite"
    assert rim.coverage > 0.95
    assert rim.low <= 1.0 <= rim.high + 1e-9
    assert rim.arc > 0.9
    assert rim.planes == 3
    assert rim.r2star[0] > 2 * rim.r2star[1] > 0
    assert "R2* is higher" in rim.reason


@pytest.mark.parametrize(("share", "grades"), [(0.6, ("probable", "definite")), (0.42, ("possible", "probable"))])
def test_a_partial_rim_is_graded_by_the_share_of_the_border_it_covers(share, grades):
    canvas = Canvas()
    covered = (canvas.places - np.float32(MIDDLE))[..., 0] > 5 * (1 - 2 * share)
    rim = _one(canvas.lesion(MIDDLE, 10, rim=0.045, covered=covered)).rim
    assert rim.grade in grades
    assert abs(rim.coverage - share) < 0.15  # SD of the coverage over simulated lesions is 0.07 to 0.10
    assert rim.low < share < rim.high


@pytest.mark.parametrize("chi", [0.035, 0.0, -0.02])
def test_a_lesion_without_rim_has_none(chi):
    rim = _one(Canvas().lesion(MIDDLE, 10, chi=chi)).rim
    assert rim.grade == "absent"
    assert rim.coverage < 0.1


def test_absent_is_said_only_where_virtual_rims_are_found():
    lesion = _one(Canvas().lesion(MIDDLE, 8), StagingOptions())
    assert lesion.rim.grade == "absent"
    assert lesion.recovery.found == 1.0
    assert f"{lesion.recovery.tried} of {lesion.recovery.tried}" in lesion.rim.reason
    noisy = _one(Canvas().lesion(MIDDLE, 8), StagingOptions(), noise=10)
    assert noisy.rim.grade == "not assessable"
    assert "no rim was seen, but" in noisy.rim.reason


def test_the_response_of_the_inversion_decides_what_virtual_rims_show():
    canvas = Canvas().lesion(MIDDLE, 8)
    blind = _one(canvas, StagingOptions(), respond=lambda added: 0.1 * added)
    assert blind.rim.grade == "not assessable"
    assert blind.recovery.found == 0.0
    assert blind.gain == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("diameter", [3.0, 4.0, 4.8])
def test_a_small_lesion_is_never_called_without_rim(diameter):
    for rim in (None, 0.045):
        lesion = _one(Canvas().lesion(MIDDLE, diameter, rim=rim))
        assert lesion.rim.grade == "not assessable"
        assert "judged from 5.0 mm on" in lesion.rim.reason


def test_the_measured_voxel_counts_and_not_the_interpolated_one():
    canvas = Canvas().lesion(MIDDLE, 8, rim=0.045)
    canvas.geometry = replace(canvas.geometry, acquired_voxel_size=(4.0, 1.0, 1.0))
    assert "from 10.0 mm on" in _one(canvas).rim.reason


def test_slices_of_two_millimetres_change_the_coverage_little_and_of_three_only_towards_not_assessable():
    covered, grades = {}, {}
    for slice_, in_plane, shape in ((1.0, 1.0, (48, 48, 48)), (2.0, 0.5, (24, 96, 96)), (3.0, 0.5, (16, 96, 96))):
        canvas = Canvas(shape, (slice_, in_plane, in_plane))
        middle = np.float32((24, 24, 24))
        upper = (canvas.places - middle) @ np.float32((0.48, 0.6, 0.64)) > -2.5
        canvas.lesion(middle, 10, rim=0.045, covered=upper)
        rim = _one(canvas).rim
        covered[slice_], grades[slice_] = rim.coverage, rim.grade
    assert abs(covered[1.0] - covered[2.0]) < 0.15
    order = ("definite", "probable", "possible", "absent", "not assessable")
    assert order.index(grades[3.0]) >= order.index(grades[1.0])


def test_a_vein_through_the_border_is_no_rim_and_takes_nothing_from_one():
    for rim, grade in ((None, "absent"), (0.045, "definite")):
        canvas = Canvas().lesion(MIDDLE, 9, rim=rim)
        line = canvas.places - np.float32(MIDDLE) - np.float32((4.2, 0, 0))
        tube = np.hypot(line[..., 0], line[..., 1]) < 0.55
        canvas.maps["Chi"][tube] = WHITE["Chi"] + 0.33
        found = _one(canvas).rim
        assert found.grade == grade
        assert (found.state == -2).any()
    central = Canvas().lesion(MIDDLE, 9, rim=0.045)
    line = central.places - np.float32(MIDDLE)
    central.maps["Chi"][np.hypot(line[..., 0], line[..., 1]) < 0.55] = WHITE["Chi"] + 0.33
    assert _one(central).rim.grade == "definite"


def test_gray_matter_beside_a_lesion_is_no_rim_and_its_border_does_not_count():
    canvas = Canvas().lesion(MIDDLE, 9)
    depth = canvas.ball((MIDDLE[0] + 9, *MIDDLE[1:]), 10)
    beside = (depth > 0) & (canvas.lesions == 0)
    canvas.maps["Chi"][beside] = WHITE["Chi"] + 0.085
    canvas.tissue[beside] = 2
    with_labels = _one(canvas).rim
    assert with_labels.grade == "absent"
    assert 0.5 < with_labels.free < 0.95
    assert _one(canvas, tissue=None).rim.grade == "absent"


def test_a_lesion_that_others_surround_is_not_assessable():
    canvas = Canvas().lesion(MIDDLE, 8, rim=0.045)
    shell = (canvas.ball(MIDDLE, 14) > 0) & (canvas.lesions == 0)
    canvas.tissue[shell] = 3
    rim = _one(canvas).rim
    assert rim.grade == "not assessable"
    assert "touches" in rim.reason


@pytest.mark.parametrize(("change", "words"), [("sign", "sign of chi"), ("map", "no map of susceptibility")])
def test_without_a_signed_map_of_chi_no_rim_is_judged(change, words):
    canvas = Canvas().lesion(MIDDLE, 10, rim=0.045)
    given_ = canvas.given()
    maps = dict(given_.maps)
    if change == "sign":
        maps["Chi"] = replace(maps["Chi"], parameters={"PhaseSign": "undetermined"})
    else:
        del maps["Chi"]
    (lesion,) = stage_lesions(replace(given_, maps=maps), NO_CHECK).lesions
    assert lesion.rim.grade == "not assessable"
    assert words in lesion.rim.reason


def test_two_confluent_lesions_of_which_one_has_a_rim():
    canvas = Canvas((48, 48, 56)).lesion((23.5, 23.8, 19), 9, rim=0.05)
    canvas.lesion((23.5, 23.8, 27.2), 9)
    canvas.maps["Chi"][(canvas.ball((23.5, 23.8, 19), 9) > 0) & (canvas.lesions == 2)] = WHITE["Chi"] + 0.012
    lesions = stage_lesions(canvas.given(), NO_CHECK).lesions
    assert len(lesions) == 2
    assert {lesion.parent for lesion in lesions} == {1}
    assert sorted(lesion.rim.present for lesion in lesions) == [False, True]


@settings(max_examples=8, deadline=None)
@given(axis=st.integers(0, 2), turned=st.booleans(), offset=st.floats(-0.1, 0.1))
def test_flips_turns_and_the_zero_of_chi_change_nothing(axis, turned, offset):
    canvas = Canvas(seed=3).lesion(MIDDLE, 9, rim=0.04)
    given_ = canvas.given()

    def change(array):
        out = np.rot90(array, 1, (axis, (axis + 1) % 3)) if turned else np.flip(array, axis)
        return np.ascontiguousarray(out)

    maps = {}
    for name, m in given_.maps.items():
        values = change(m.values) + np.float32(offset if name == "Chi" else 0)
        maps[name] = replace(m, values=values, sd=change(m.sd), quality=change(m.quality), valid=change(m.valid))
    labels, names = given_.tissue
    changed = StagingInput(
        maps=maps, geometry=Geometry(given_.geometry.shape, given_.geometry.ijk_to_ras), brain=change(given_.brain),
        drawn=change(given_.drawn) * np.int32(9), tissue=(change(labels), names), before=change(given_.before),
        after=change(given_.after), field_strength=3.0,
    )  # fmt: skip
    (first,), (second,) = (stage_lesions(g, NO_CHECK).lesions for g in (given_, changed))
    assert first.rim.grade == second.rim.grade
    assert first.rim.coverage == pytest.approx(second.rim.coverage, abs=0.01)
    assert first.stage.stage == second.stage.stage
    assert first.deltas["Chi"][0] == pytest.approx(second.deltas["Chi"][0], abs=1e-5)
