"""Staging of a drawing on maps: what is measured, odd drawings, missing maps, tables and regions."""

from dataclasses import replace

import numpy as np
import pytest
from lesion_maps import NOISE, WHITE, Canvas
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRILesionStagingLib.calls import STAGE_NAMES
from QMRILesionStagingLib.lesion_table import lesion_rows, profile_rows, stage_labels
from QMRILesionStagingLib.options import RimOptions, StagingOptions
from QMRILesionStagingLib.regions import region_rows
from QMRILesionStagingLib.staging import MAPS, stage_lesions
from QMRILesionStagingLib.surroundings import kind_of

MIDDLE = (23.5, 24.2, 23.8)
QUICK = StagingOptions(rim=RimOptions(found=0.0))
CHRONIC = {"R1": -0.4, "R2": -4.0, "R2star": -2.0, "PD": 18.0}
CONTRACT = (
    "lesion volume_mm3 x_ras y_ras z_ras max_diameter_mm stage substage p_early_active p_late_active p_chronic_active "
    "p_chronic_inactive reason rim_grade rim_coverage rim_coverage_low rim_coverage_high enhancement"
).split() + [f"{m}_{part}" for m in MAPS for part in ("core", "rim", "outside", "reference", "delta", "delta_sd")]


def test_what_was_drawn_is_what_is_measured():
    canvas = Canvas().lesion(MIDDLE, 10, chi=0.03, **CHRONIC)
    (lesion,) = stage_lesions(canvas.given(), QUICK).lesions
    assert lesion.volume == pytest.approx(np.pi / 6 * 1000, rel=0.03)
    assert lesion.longest == pytest.approx(10, abs=0.7)
    assert lesion.diameter == pytest.approx(10, abs=0.1)
    for name, delta in (CHRONIC | {"Chi": 0.03}).items():
        value, sd = lesion.deltas[name]
        # the outermost voxels hold white matter too: 5 to 15 % of the contrast of a whole lesion of 10 mm
        assert 0.82 < value / delta < 1.0 + 4 * sd / abs(delta)
        core, error = lesion.profiles[name].core
        assert core == pytest.approx(WHITE[name] + delta, abs=4 * error + 0.02 * abs(delta))
        assert lesion.references[name].spread == pytest.approx(NOISE[name], rel=0.25)
        assert lesion.references[name].median == pytest.approx(WHITE[name], abs=4 * lesion.references[name].error)
    assert lesion.stage.stage == "chronic inactive"
    assert lesion.reference == "local"


def test_the_profile_goes_from_core_to_white_matter_with_an_interval():
    canvas = Canvas().lesion(MIDDLE, 12, chi=0.03, **CHRONIC)
    (lesion,) = stage_lesions(canvas.given(), QUICK).lesions
    profile = lesion.profiles["R1"]
    core = profile.along < -2.5
    far = profile.along > 2.0
    assert np.nanmean(profile.curve[core]) == pytest.approx(WHITE["R1"] - 0.4, abs=0.02)
    assert np.nanmean(profile.curve[far]) == pytest.approx(WHITE["R1"], abs=0.02)
    half = profile.along[np.nanargmin(np.abs(profile.curve - (WHITE["R1"] - 0.2)))]
    assert abs(half) <= 0.5
    assert (profile.low <= profile.curve).all()
    assert (profile.curve <= profile.high).all()


def test_the_errors_of_differences_are_those_of_repeated_noise():
    values, errors = [], []
    for seed in range(12):
        canvas = Canvas((36, 36, 36), seed=seed).lesion((17.5, 18.2, 17.8), 8, chi=0.03, **CHRONIC)
        (lesion,) = stage_lesions(canvas.given(), QUICK).lesions
        values.append(lesion.deltas["R1"][0])
        errors.append(lesion.deltas["R1"][1])
    # a lesion is not flat (partial volume), so its own scatter is more than the noise: never less, at most four times
    assert 0.6 * np.std(values) < np.mean(errors) < 4 * np.std(values)


def test_an_oblique_anisotropic_grid_gives_places_and_sizes_in_millimetres(oblique_matrix):
    canvas = Canvas((30, 44, 48), (1.4, 0.9, 0.8), matrix=oblique_matrix).lesion((20.0, 19.0, 18.5), 11, chi=0.03)
    (lesion,) = stage_lesions(canvas.given(), QUICK).lesions
    index = np.array((20.0, 19.0, 18.5)) / (1.4, 0.9, 0.8) - 0.5
    expected = oblique_matrix[:3, :3] @ index[::-1] + oblique_matrix[:3, 3]
    assert np.linalg.norm(lesion.centre - expected) < 0.2
    assert lesion.volume == pytest.approx(np.pi / 6 * 11**3, rel=0.04)
    assert lesion.longest == pytest.approx(11, abs=0.8)


def test_no_lesions_are_a_sentence():
    staging = stage_lesions(Canvas((24, 24, 24)).given())
    assert staging.lesions == ()
    assert "holds no lesion" in staging.notes[-1]


def test_a_lesion_at_the_edge_of_the_image_and_one_outside_the_brain():
    canvas = Canvas().lesion((2, 24, 24), 9).lesion((30, 24, 24), 9)
    given = canvas.given()
    brain = given.brain.copy()
    brain[24:, :, :] = False
    edge, outside = stage_lesions(replace(given, brain=brain), QUICK).lesions
    assert "edge of the image" in edge.rim.reason
    assert outside.stage.stage == "indeterminate"
    assert "outside the brain mask" in outside.stage.reason


def test_a_lesion_without_any_valid_voxel_has_no_stage_and_no_number():
    given = Canvas().lesion(MIDDLE, 9).given()
    maps = {}
    for name, m in given.maps.items():
        valid = m.valid & ~given.drawn
        maps[name] = replace(m, valid=valid)
    (lesion,) = stage_lesions(replace(given, maps=maps, before=None), QUICK).lesions
    assert lesion.stage.stage == "indeterminate"
    assert lesion.deltas == {}
    (row,) = lesion_rows(stage_lesions(replace(given, maps=maps, before=None), QUICK))
    assert row["R1_core"] is None


@pytest.mark.parametrize("missing", MAPS)
def test_each_map_may_be_missing(missing):
    names = tuple(name for name in MAPS if name != missing)
    given = Canvas().lesion(MIDDLE, 10, chi=0.03, **CHRONIC).given(names=names)
    (lesion,) = stage_lesions(given, QUICK).lesions
    assert missing not in lesion.deltas
    assert lesion.stage.stage == ("indeterminate" if missing == "Chi" else "chronic inactive")
    assert lesion.rim.grade == ("not assessable" if missing == "Chi" else "absent")
    if missing == "Chi":
        assert "chronic, but active and inactive are not told apart without the rim" in lesion.stage.reason


@pytest.mark.parametrize(("name", "factor"), [("R1", 1000), ("Chi", 1000), ("R2star", 0.001), ("PD", 0.01)])
def test_absurd_units_are_refused_by_name(name, factor):
    given = Canvas((30, 30, 30)).lesion((15, 15, 15), 8).given()
    wrong = replace(given.maps[name], values=given.maps[name].values * np.float32(factor))
    with pytest.raises(InputError, match=f"^{name}: white matter has .*, expected .*; check the unit"):
        stage_lesions(replace(given, maps=given.maps | {name: wrong}))


def test_without_tissue_labels_white_matter_is_found_by_its_values():
    canvas = Canvas().lesion(MIDDLE, 9, chi=0.03, **CHRONIC)
    gray = (canvas.places[..., 2] > 36) & (canvas.lesions == 0)
    for name, value in {"R1": 0.68, "R2": 10.8, "R2star": 15.0, "PD": 82.0, "Chi": 0.01}.items():
        canvas.maps[name][gray] = value
    staging = stage_lesions(canvas.given(tissue=None), QUICK)
    white = staging.surroundings.white
    inner = np.zeros(canvas.shape, bool)
    inner[4:-4, 4:-4, 4:30] = True
    assert white[inner & (staging.labels == 0)].mean() > 0.8
    assert white[:, :, 40:].mean() < 0.02
    assert any("no tissue labels" in note for note in staging.notes)
    assert staging.lesions[0].stage.stage == "chronic inactive"


def test_little_white_matter_nearby_falls_back_to_all_of_it():
    canvas = Canvas().lesion(MIDDLE, 9, chi=0.03, **CHRONIC)
    shell = (canvas.ball(MIDDLE, 21) > 0) & (canvas.lesions == 0)
    canvas.tissue[shell] = 2
    (lesion,) = stage_lesions(canvas.given(), QUICK).lesions
    assert lesion.reference == "all white matter"
    assert lesion.references["R1"].median == pytest.approx(WHITE["R1"], abs=0.005)


@pytest.mark.parametrize(
    ("chi", "diameter", "words"), [(0.3, 9, "blood products"), (0.02, 24, "tumefactive")]
)  # fmt: skip
def test_what_does_not_look_like_ms_is_flagged_and_not_staged(chi, diameter, words):
    (lesion,) = stage_lesions(Canvas().lesion(MIDDLE, diameter, chi=chi).given(), QUICK).lesions
    assert lesion.stage.stage == "indeterminate"
    assert "atypical: check" in lesion.stage.reason
    assert words in lesion.stage.reason


def test_a_speck_is_too_small_for_a_stage():
    (lesion,) = stage_lesions(Canvas((24, 24, 24)).lesion((12, 12, 12), 2.6).given(), QUICK).lesions
    assert "too small" in lesion.stage.reason


def test_cancelling_stops_it():
    with pytest.raises(Cancelled):
        stage_lesions(Canvas((24, 24, 24)).lesion((12, 12, 12), 6).given(), cancelled=lambda: True)


def test_progress_rises_to_one():
    told = []
    stage_lesions(Canvas((30, 30, 30)).lesion((15, 15, 15), 8).given(), progress=lambda f, t: told.append(f))
    assert told == sorted(told)
    assert told[-1] == 1


def test_rows_have_the_columns_of_the_contract_and_labels_the_stages():
    canvas = Canvas().lesion(MIDDLE, 10, chi=0.03, **CHRONIC).lesion((8, 8, 8), 5, uptake="nodular")
    staging = stage_lesions(canvas.given(), QUICK)
    rows = lesion_rows(staging)
    assert [name for name in CONTRACT if name not in rows[0]] == []
    assert [row["lesion"] for row in rows] == [1, 2]
    assert rows[0]["R1_z"] == pytest.approx(rows[0]["R1_delta"] / staging.lesions[0].references["R1"].spread, abs=0.05)
    labels = stage_labels(staging)
    for row in rows:
        here = labels[staging.labels == row["lesion"]]
        assert (here == STAGE_NAMES.index(row["stage"]) + 1).all()
    assert (labels[staging.labels == 0] == 0).all()


def test_profiles_are_rows_with_their_interval():
    staging = stage_lesions(Canvas().lesion(MIDDLE, 10, chi=0.03, **CHRONIC).given(), QUICK)
    rows = [row for row in profile_rows(staging) if row["map"] == "R1"]
    assert [row["mm"] for row in rows] == sorted(row["mm"] for row in rows)
    assert rows[0]["mm"] <= -4
    assert all(row["low"] <= row["mean"] <= row["high"] for row in rows)
    assert {row["map"] for row in profile_rows(staging)} == {*MAPS, "uptake"}


def test_the_numbers_of_labels_are_kept():
    canvas = Canvas().lesion(MIDDLE, 9, chi=0.03, **CHRONIC)
    staging = stage_lesions(canvas.given(drawn=canvas.labels() * 41), QUICK)
    (lesion,) = staging.lesions
    assert lesion.number == 1  # one label is a mask
    second = canvas.lesion((8, 8, 8), 7).labels()
    numbers = np.array([0, 41, 7])[second].astype(np.int32)
    assert [x.number for x in stage_lesions(canvas.given(drawn=numbers), QUICK).lesions] == [7, 41]


def test_regions_are_normal_white_matter_and_shells_around_lesions():
    canvas = Canvas().lesion(MIDDLE, 10, chi=0.03, **CHRONIC)
    shell = (canvas.ball(MIDDLE, 14) > 0) & (canvas.lesions == 0)
    canvas.maps["R1"][shell] *= 0.94
    given = canvas.given()
    staging = stage_lesions(given, QUICK)
    rows = {
        (r["region"], r["map"]): r
        for r in region_rows(given.maps, staging.labels, staging.surroundings, given.geometry)
    }
    assert rows["NAWM", "R1"]["median"] == pytest.approx(WHITE["R1"], rel=0.003)
    assert rows["NAWM", "R1"]["peak"] == pytest.approx(WHITE["R1"], rel=0.01)
    assert rows["NAWM", "R1"]["sd"] == pytest.approx(NOISE["R1"], rel=0.1)
    assert rows["periplaque 4-6 mm", "R1"]["median"] == pytest.approx(WHITE["R1"], rel=0.005)
    assert 0.90 < rows["periplaque 0-2 mm", "R1"]["median"] / WHITE["R1"] < 0.96
    volume = rows["periplaque 2-4 mm", "R1"]["volume_mm3"]
    assert volume == pytest.approx(4 / 3 * np.pi * (9**3 - 7**3), rel=0.12)
    chi = rows["NAWM", "Chi"]
    assert chi["content"] == pytest.approx(chi["mean"] * chi["volume_mm3"], rel=1e-4)
    assert "zero of chi" in chi["note"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("WM left", "white"), ("cerebellum WM right", "white"), ("white matter", "white"), ("cortex left", "gray"),
        ("GM", "gray"), ("thalamus right", "gray"), ("CSF", "fluid"), ("lateral ventricle", "fluid"), ("vein", "other"),
        ("calcification", "other"), ("brain stem", "other"), ("lesion", "other"), ("choroid plexus left", "other"),
        ("ventral DC left", "gray"), ("WM hypointensities", "white"),
    ],
)  # fmt: skip
def test_names_of_tissue_labels_are_understood(name, kind):
    assert kind_of(name) == kind
