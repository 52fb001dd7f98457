"""Whether a change of iron is one of concentration or of volume, in cohorts whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from QMRILesionStagingLib.content import NOTHING, changes, content_rows, contents_of, split
from QMRILesionStagingLib.index_page import index_page

VOLUME, CONCENTRATION = 3500.0, 16.0  # mm3 of a caudate, 1/s of R2* that iron adds
SPREAD = 0.05  # of both, between people


def rows_of(person, session, volume, concentration):
    """The rows of both sides of a caudate, and of white matter, whose volume is what lesions leave, as texts."""
    sides = [("caudate left", 0.45), ("caudate right", 0.55), ("periplaque 0-2 mm", 0.2), ("NAWM", 9.0)]
    return [
        {"participant_id": person, "session_id": session, "region": region, "map": "R2star", "n": "100",
         "volume_mm3": f"{share * volume:.3f}", "mean": f"{14.3 + concentration:.4f}",
         "content": f"{share * volume * (14.3 + concentration):.3f}",
         "excess": f"{share * volume * concentration:.3f}"}
        for region, share in sides
    ]  # fmt: skip


def study(rng, volume, concentration, count=40):
    """Rows and participants: patients whose caudates have other volumes and concentrations by these factors."""
    rows, people = [], {}
    for n in range(2 * count):
        person, patient = f"sub-{n:02d}", n % 2 == 0
        people[person] = {"group": "MS" if patient else "HC", "age": str(30 + n % 7)}
        factors = (volume, concentration) if patient else (1.0, 1.0)
        own = np.array([VOLUME, CONCENTRATION]) * factors * (1 + SPREAD * rng.standard_normal(2))
        rows += rows_of(person, "n/a", *own)
    return rows, people


numbers = st.floats(-50, 50).map(lambda value: round(value, 3))
volumes = st.floats(1, 5000).map(lambda value: round(value, 2))


@given(numbers, volumes, numbers, volumes)
def test_both_parts_are_the_whole_change(c1, v1, c2, v2):
    """Also where a concentration is negative, as that of susceptibility can be."""
    by_concentration, by_volume = split((c1 * v1, v1), (c2 * v2, v2))
    assert by_concentration + by_volume == pytest.approx(
        c2 * v2 - c1 * v1, abs=1e-6 * (abs(c1 * v1) + abs(c2 * v2) + 1)
    )
    if v1 == v2:
        assert by_volume == 0


@pytest.mark.parametrize(
    ("volume", "concentration", "pattern"),
    [
        (0.85, 1 / 0.85, "concentrated by shrinking"),  # pure atrophy: the iron stays
        (1.0, 1.15, "gain"),
        (1.0, 0.85, "loss"),
        (0.85, 1.0, "less in less volume"),
        (0.8, 1.1, "less, and concentrated by shrinking"),
    ],
)
def test_patterns_of_a_group_are_those_that_were_made(rng, volume, concentration, pattern):
    rows, people = study(rng, volume, concentration)
    (row,) = content_rows(contents_of(rows), people, set())  # neither sides nor the surroundings of lesions
    assert (row["region"], row["measure"], row["pattern"]) == ("caudate", "excess", pattern)
    error = 3 * SPREAD * np.sqrt(2 * 2 / 40)  # three standard errors of a difference of products
    before = VOLUME * CONCENTRATION
    assert row["content_difference"] / before == pytest.approx(volume * concentration - 1, abs=error)
    by_concentration, by_volume = split((before, VOLUME), (before * volume * concentration, volume * VOLUME))
    assert row["by_concentration"] / before == pytest.approx(by_concentration / before, abs=error)
    assert row["by_volume"] / before == pytest.approx(by_volume / before, abs=error)
    assert row["concentration_by_volume_alone"] == pytest.approx(CONCENTRATION / volume, rel=error)


def test_without_a_difference_none_is_mostly_shown(rng):
    found = []
    for _ in range(30):
        rows, people = study(rng, 1.0, 1.0, 15)
        found += [row["pattern"] for row in content_rows(contents_of(rows), people, set())]
    assert sum(pattern != NOTHING for pattern in found) <= 8  # two intervals of 95 % each; more than 8 happen in 1 %


def test_sessions_are_compared_in_the_same_people(rng):
    """Each loses 4 % of volume and keeps the iron, which differs by 15 % between people."""
    rows = []
    for n in range(12):
        volume, concentration = (
            VOLUME * (1 + 0.15 * rng.standard_normal()),
            CONCENTRATION * (1 + 0.15 * rng.standard_normal()),
        )
        shrink = 0.96 + 0.005 * rng.standard_normal()
        rows += rows_of(f"sub-{n:02d}", "ses-1", volume, concentration)
        rows += rows_of(f"sub-{n:02d}", "ses-2", volume * shrink, concentration / shrink)
    contents = contents_of(rows)
    (row,) = content_rows(contents, {}, set())
    assert (row["comparison"], row["participants"]) == ("ses-2 - ses-1", 12)
    assert row["pattern"] == "concentrated by shrinking"
    each = changes(contents)
    assert len(each) == 12
    assert {one["session_before"] for one in each} == {"ses-1"}
    assert np.mean([one["volume_percent"] for one in each]) == pytest.approx(-4, abs=0.5)
    assert all(one["by_concentration"] + one["by_volume"] == pytest.approx(one["change"], abs=1) for one in each)


def test_the_index_page_says_what_a_difference_is(rng):
    rows, people = study(rng, 0.85, 1 / 0.85)
    text = index_page([], [], [], contents=content_rows(contents_of(rows), people, set()))
    assert "Iron and myelin" in text
    assert "concentrated by shrinking" in text
    assert "patients - controls" in text
