"""Agreement of readers against published examples and simulated readers."""

import pytest
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.text import read_table, write_table
from QMRILesionStagingLib.agreement import agreement_rows, compare, confusion_of, icc
from QMRILesionStagingLib.calls import PROGRAM

STAGES = ("chronic active", "chronic inactive")
# Shrout & Fleiss 1979, table 2: six targets, four judges
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def calls_of(patients, lesions, readers, error, rng):
    """Readers who see the true call of each lesion and err with a probability."""
    calls = {}
    for patient in range(patients):
        for lesion in range(lesions):
            true = rng.integers(2)
            seen = {name: true ^ (rng.random() < error) for name in readers}
            calls[f"sub-{patient:02d}", "n/a", str(lesion)] = {
                name: {"stage": STAGES[value], "rim": ("rim", "no rim")[value]} for name, value in seen.items()
            }
    return calls


def test_icc_is_that_of_the_published_example():
    value, low, high = icc(JUDGES)
    assert value == pytest.approx(0.29, abs=0.005)  # the paper's ICC(2,1)
    assert (low, high) == (pytest.approx(0.02, abs=0.005), pytest.approx(0.76, abs=0.005))  # its interval as in psych


def test_icc_of_readers_who_count_alike_is_one_and_of_nothing_is_unknown():
    assert icc([[1, 1], [2, 2], [5, 5]]) == (1.0, 1.0, 1.0)
    assert icc([[0, 0], [0, 0], [0, 0]]) is None


def test_kappa_is_what_the_errors_of_the_readers_make_it(rng):
    error = 0.1
    rows = agreement_rows(calls_of(40, 25, ("A", "B", "C"), error, rng), ["A", "B", "C"])
    expected = (1 - 2 * error) ** 2  # two readers who err independently on two calls that are equally frequent
    kappas = [row for row in rows if "kappa" in row["statistic"]]
    assert len(kappas) == 8  # three pairs and all three, of stages and of rims
    for row in kappas:
        assert row["value"] == pytest.approx(expected, abs=0.08)  # 1000 lesions: SD .025
        assert row["low"] < expected < row["high"] and row["interval"] == "bootstrap of patients"


def test_few_patients_are_drawn_by_lesion(rng):
    rows = agreement_rows(calls_of(3, 20, ("A", "B"), 0.2, rng), ["A", "B"])
    assert {row["interval"] for row in rows if "kappa" in row["statistic"]} == {"bootstrap of lesions"}


def test_lesions_that_one_reader_left_out_do_not_count(rng):
    calls = calls_of(10, 4, ("A", "B"), 0.0, rng)
    first = next(iter(calls))
    del calls[first]["B"]
    rows = agreement_rows(calls, ["A", "B"])
    assert rows[0]["lesions"] == 39 and rows[0]["value"] == 1.0
    counted = next(row for row in rows if "lesions with rim" in row["statistic"])
    assert counted["patients"] == 9


def test_readers_who_only_call_one_thing_have_no_kappa():
    calls = {("sub-1", "n/a", str(n)): {key: {"stage": STAGES[0], "rim": None} for key in "AB"} for n in range(5)}
    (row,) = agreement_rows(calls, ["A", "B"])
    assert row["value"] is None and row["same"] == 1.0


def test_confusion_counts_the_call_of_most_readers():
    def call(stage):
        return {"stage": stage, "rim": None}

    calls = {
        ("sub-1", "n/a", "1"): {"A": call(STAGES[0]), "B": call(STAGES[0]), "C": call(STAGES[1]),
                                PROGRAM: call(STAGES[1])},
        ("sub-1", "n/a", "2"): {"A": call(STAGES[0]), "B": call(STAGES[1]), PROGRAM: call(STAGES[0])},
    }  # fmt: skip
    found = confusion_of(calls, ["A", "B", "C"], "stage")
    assert found == {(STAGES[1], STAGES[0]): 1, (STAGES[0], "split"): 1}


def write_readings(folder, patient, reader, stages):
    rows = [
        {"participant_id": patient, "session_id": None, "lesion": n, "reader": reader, "stage": stage,
         "rim_grade": "definite" if stage == STAGES[0] else "absent"}
        for n, stage in enumerate(stages, 1)
    ]  # fmt: skip
    write_table(folder / f"{patient}_desc-{reader}_readings.tsv", rows)


def test_a_folder_of_readings_becomes_tables_and_a_page(tmp_path):
    for patient in ("sub-01", "sub-02"):
        write_readings(tmp_path / patient, patient, "AB", STAGES * 3)
        write_readings(tmp_path / patient, patient, "CD", [*STAGES * 2, STAGES[0], STAGES[0]])
        write_readings(tmp_path / patient, patient, PROGRAM, STAGES * 3)
    page = compare(tmp_path)
    rows = {(row["statistic"], row["readers"]): row for row in read_table(tmp_path / "desc-agreement_stats.tsv")}
    assert rows["stage: Cohen's kappa", "AB, automatic"]["value"] == "1.0"
    assert float(rows["rim: Cohen's kappa", "AB, CD"]["value"]) == pytest.approx(2 / 3, abs=0.001)
    confusion = read_table(tmp_path / "desc-confusion_stats.tsv")
    assert {"question": "stage", "automatic": STAGES[1], "most readers": "split", "lesions": "2"} in confusion
    text = page.read_text(encoding="utf-8")
    assert "fewer than 8 patients" in text and "0.67" in text and "http" not in text


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: None, "holds no"),
        (lambda folder: write_readings(folder, "sub-01", "AB", STAGES), "1 readers, expected two"),
        (lambda folder: write_readings(folder, "sub-01", "AB", ("old",)), "line 2 calls 'old'"),
        (lambda folder: write_table(folder / "sub-1_desc-A_readings.tsv", [{"lesion": 1}]), "has no column"),
        (lambda folder: (folder / "sub-1_desc-A_readings.tsv").write_text("a\tb\n1\n"), "line 2 has 1 fields"),
    ],
)
def test_bad_tables_are_named(tmp_path, spoil, words):
    spoil(tmp_path)
    with pytest.raises(InputError, match=words):
        compare(tmp_path)


def test_equal_readings_give_equal_bytes(tmp_path, rng):
    write_readings(tmp_path, "sub-01", "AB", STAGES * 3)
    write_readings(tmp_path, "sub-01", "CD", STAGES[:1] * 6)
    first = compare(tmp_path).read_bytes()
    assert compare(tmp_path).read_bytes() == first
