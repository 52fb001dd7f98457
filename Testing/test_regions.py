"""Regions and what they hold, against numbers that follow from how the images were made."""

import numpy as np
import pytest
from html_checks import Page
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.maps import QuantitativeMap
from QMRILesionStagingLib.region_masks import cortical_depth, region_masks
from QMRILesionStagingLib.region_section import region_section
from QMRILesionStagingLib.regions import IRON_FREE, IRON_SLOPE, region_rows
from QMRILesionStagingLib.surroundings import surroundings_of

SHAPE = (40, 48, 56)
NAMES = {1: "white matter", 2: "cortex", 3: "CSF", 4: "caudate left", 5: "Thalamus right", 6: "DAWM"}
RADII = {"white": 15.0, "cortex": 19.0}  # mm
CSF_CHI = 0.012  # ppm


def geometry(voxel=1.0):
    return Geometry(SHAPE, np.diag([voxel, voxel, voxel, 1.0]))


def head(caudate=4.0):
    """A ball of white matter in a shell of cortex in fluid, with two nuclei; labels on voxels of 1 mm."""
    k, j, i = np.indices(SHAPE) - np.reshape(SHAPE, (3, 1, 1, 1)) / 2
    radius = np.sqrt(k**2 + j**2 + i**2)
    labels = np.full(SHAPE, 3)
    labels[radius < RADII["cortex"]] = 2
    labels[radius < RADII["white"]] = 1
    labels[k**2 + j**2 + (i - 7) ** 2 < caudate**2] = 4
    labels[k**2 + j**2 + (i + 7) ** 2 < 16] = 5
    return labels, radius


def rows_of(labels, values, lesions=None, voxel=1.0, field_strength=3.0, tissue=True):
    """(region, map) -> row for maps of given values [k, j, i]."""
    grid = geometry(voxel)
    lesions = np.zeros(SHAPE, np.int32) if lesions is None else lesions
    everywhere = np.ones(SHAPE, bool)
    nothing = np.zeros(SHAPE, np.float32)
    units = {"Chi": "ppm"}
    maps = {
        name: QuantitativeMap(name, np.asarray(array, np.float32), nothing, nothing, everywhere, grid,
                              units.get(name, "1/s"), "", "", {}, ())
        for name, array in values.items()
    }  # fmt: skip
    given = (labels, NAMES) if tissue else None
    arrays = {name: (m.values, m.valid) for name, m in maps.items()}
    around = surroundings_of(lesions, arrays, everywhere, grid, given)
    rows = region_rows(maps, lesions, around, grid, given, field_strength)
    return {(row["region"], row["map"]): row for row in rows}


def test_every_number_of_a_nucleus_is_that_of_numpy(rng):
    labels, _ = head()
    r1 = rng.normal(0.9, 0.1, SHAPE).astype(np.float32)
    row = rows_of(labels, {"R1": r1}, voxel=0.8)["caudate left", "R1"]
    inside = r1[labels == 4].astype(float)
    expected = {"n": inside.size, "mean": inside.mean(), "median": np.median(inside), "sd": inside.std(),
                "p5": np.percentile(inside, 5), "p95": np.percentile(inside, 95), "volume_mm3": inside.size * 0.8**3,
                "content": inside.sum() * 0.8**3}  # fmt: skip
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-3), name
    assert row["excess"] is None


def test_names_of_regions_are_those_of_the_labels(rng):
    labels, _ = head()
    labels[18:22, 30:33, 20:24] = 6
    found = {region for region, _ in rows_of(labels, {"R1": np.ones(SHAPE)})}
    assert found == {
        "NAWM", "DAWM", "caudate left", "thalamus right", "CSF", *(f"cortex layer {n}" for n in (1, 2, 3, 4)),
        "periplaque 0-2 mm", "periplaque 2-4 mm", "periplaque 4-6 mm",
    }  # fmt: skip
    assert {region for region, _ in rows_of(labels, {"R1": np.ones(SHAPE)}, tissue=False)} == {
        "NAWM", "periplaque 0-2 mm", "periplaque 2-4 mm", "periplaque 4-6 mm",
    }  # fmt: skip


def test_diffusely_abnormal_white_matter_is_not_normal():
    labels, _ = head()
    labels[18:24, 30:36, 24:30] = 6
    r1 = np.where(labels == 6, 0.7, 1.0)
    rows = rows_of(labels, {"R1": r1})
    assert rows["DAWM", "R1"]["mean"] == pytest.approx(0.7) and rows["NAWM", "R1"]["p5"] == pytest.approx(1.0)


def test_lesions_are_in_no_region_but_shells_lie_around_them():
    labels, _ = head()
    lesions = np.zeros(SHAPE, np.int32)
    lesions[18:22, 30:34, 26:30] = 1
    lesions[18:22, 22:26, 34:37] = 2  # in the caudate
    marked = np.where(lesions > 0, 9.0, 1.0)
    rows = rows_of(labels, {"R1": marked}, lesions)
    for (region, _), row in rows.items():
        if row["n"]:
            assert row["p95"] == row["mean"] == 1.0, region
    assert rows["periplaque 0-2 mm", "R1"]["n"] > 0


def test_iron_is_conserved_when_a_nucleus_shrinks():
    """Pure atrophy: the same iron in less volume. R2* is iron-free tissue plus what the iron adds."""
    iron, found = 90.0 * 4 / 3 * np.pi * 5.0**3, {}  # mg/kg mm3
    for radius in (5.0, 4.3):
        labels, _ = head(radius)
        volume = float((labels == 4).sum())
        r2star = np.where(labels == 4, IRON_FREE + IRON_SLOPE * iron / volume, 20.0)
        found[radius] = rows_of(labels, {"R2star": r2star})["caudate left", "R2star"]
        assert found[radius]["content"] == pytest.approx(IRON_FREE * volume + IRON_SLOPE * iron, rel=1e-3)
    before, after = found[5.0], found[4.3]
    assert after["volume_mm3"] < 0.75 * before["volume_mm3"]
    assert after["excess"] == pytest.approx(before["excess"], rel=0.02)
    assert after["iron_mg_per_kg"] > 1.3 * before["iron_mg_per_kg"]
    assert after["content"] < 0.9 * before["content"]  # R2* mass alone would be read as a loss of iron


@pytest.mark.parametrize(("field", "region"), [(7.0, "caudate left"), (3.0, "thalamus right"), (3.0, "NAWM")])
def test_iron_is_told_only_where_the_relation_holds(field, region):
    labels, _ = head()
    row = rows_of(labels, {"R2star": np.full(SHAPE, 30.0)}, field_strength=field)[region, "R2star"]
    assert row["excess"] is None and row["iron_mg_per_kg"] is None


def test_the_content_of_chi_refers_to_fluid_and_says_how_it_depends_on_it():
    labels, _ = head()
    chi = np.where(labels == 3, CSF_CHI, np.where(labels == 4, 0.06, 0.0))
    row = rows_of(labels, {"Chi": chi})["caudate left", "Chi"]
    volume = (labels == 4).sum()
    assert row["content"] == pytest.approx((0.06 - CSF_CHI) * volume, rel=1e-4)
    assert f"mean in CSF ({CSF_CHI:g} ppm)" in row["note"] and f"falls by {volume:.1f} mm3 for each ppm" in row["note"]
    shifted = rows_of(labels, {"Chi": chi + 0.5})["caudate left", "Chi"]
    assert shifted["content"] == pytest.approx(row["content"], rel=1e-3)  # the zero of chi does not matter


def test_depth_runs_from_white_matter_to_the_surface():
    labels, radius = head()
    everywhere = np.ones(SHAPE, bool)
    maps = {"R1": (np.ones(SHAPE, np.float32), everywhere)}
    around = surroundings_of(np.zeros(SHAPE, np.int32), maps, everywhere, geometry(), (labels, NAMES))
    depth = cortical_depth(around, geometry())
    inside = labels == 2
    true = ((radius - RADII["white"]) / (RADII["cortex"] - RADII["white"]))[inside]
    assert np.abs(depth[inside] - true).mean() < 0.1  # a quarter of a voxel of the 4 mm
    masks = region_masks(np.zeros(SHAPE, np.int32), around, geometry(), (labels, NAMES))
    middles = [radius[masks[f"cortex layer {n}"]].mean() for n in (1, 2, 3, 4)]
    assert middles == sorted(middles, reverse=True) and middles[0] > 18 and middles[-1] < 16


def test_the_section_of_the_report_has_a_row_for_each_region():
    labels, _ = head()
    values = {"R1": np.ones(SHAPE), "R2star": np.full(SHAPE, IRON_FREE + 27.0)}
    name, _, body = region_section(list(rows_of(labels, values).values()))
    text = Page(body).text
    assert name == "regions" and "caudate left 0.25 1.000 (0.000) 41.30 (0.00) 100" in text and "cortex layer 4" in text
