"""Blind readings in the scene: kept apart from the calls that count, exported one table a reader."""

import pytest
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.text import read_table
from QMRILesionStagingLib.agreement import compare
from QMRILesionStagingLib.scene.correct import Corrections
from QMRILesionStagingLib.scene.readings import export_readings, keep_reading, order_of, readings_of
from QMRILesionStagingLib.scene.tables import rows_of


def test_a_reading_is_kept_beside_the_automatic_call_and_replaced_by_a_later_one(nodes):
    before = rows_of(nodes["table"])
    keep_reading(nodes, 1, "AB", 7, "late active", "absent")
    keep_reading(nodes, 1, "CD", 2, "chronic active", "definite")
    keep_reading(nodes, 1, "AB", 7, "chronic active", "probable", "seen again")
    assert rows_of(nodes["table"]) == before
    assert {name: readings_of(nodes, name)[1]["stage"] for name in ("AB", "CD")} == {
        "AB": "chronic active", "CD": "chronic active",
    }  # fmt: skip
    assert readings_of(nodes, "AB")[1]["note"] == "seen again" and readings_of(nodes, "EF") == {}


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ((3, "AB", 1, "late active", "absent"), "there is no lesion 3"),
        ((1, " ", 1, "late active", "absent"), "needs the reader's name"),
        ((1, "AB", 1, "", "absent"), "needs both a stage and a rim grade"),
        ((1, "AB", 1, "old", "absent"), "no stage 'old'"),
    ],
)
def test_incomplete_readings_are_refused(nodes, reading, words):
    with pytest.raises(InputError, match=words):
        keep_reading(nodes, *reading)
    assert "readings" not in nodes


def test_every_reader_has_an_order_of_its_own_that_stays():
    orders = {name: order_of(range(1, 24), name) for name in ("AB", "CD")}
    assert orders["AB"] != orders["CD"] and sorted(orders["AB"]) == list(range(1, 24))
    assert order_of(range(1, 24), " AB ") == orders["AB"]


def test_exported_readings_are_what_agreement_reads(nodes, tmp_path):
    with pytest.raises(InputError, match="No blind reading"):
        export_readings(nodes, tmp_path)
    for lesion in (1, 2):
        keep_reading(nodes, lesion, "Dr. A", 12, "chronic active", "definite")
        keep_reading(nodes, lesion, "Dr. B", 3, "chronic inactive", "absent")
    names = export_readings(nodes, tmp_path)
    assert names == [f"sub-01_desc-{name}_readings.tsv" for name in ("DrA", "DrB", "automatic")]
    first = read_table(tmp_path / names[0])[0]
    assert first["participant_id"] == "sub-01" and first["lesion"] == "1" and float(first["years"]) == 12
    assert float(first["volume_mm3"]) == pytest.approx(rows_of(nodes["table"])[0]["volume_mm3"])
    text = compare(tmp_path).read_text(encoding="utf-8")
    assert "2 lesions of 1 patients, read by Dr. A, Dr. B" in text


def test_readings_of_a_lesion_that_was_split_are_forgotten(nodes):
    keep_reading(nodes, 1, "AB", 7, "late active", "absent")
    keep_reading(nodes, 2, "AB", 7, "late active", "absent")
    Corrections(nodes).split(1, "AB", "two lesions")
    assert set(readings_of(nodes, "AB")) == {2}
