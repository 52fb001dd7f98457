"""Patients against controls on simulated tables with known differences."""

import numpy as np
import pytest
from html_checks import Page
from QMRIEstimationLib import cli
from QMRIEstimationLib.io.text import read_table, write_json, write_table, write_text
from QMRILesionStagingLib.cohort import group
from QMRILesionStagingLib.comparisons import BARRED, compare_groups, group_of, values_of
from QMRILesionStagingLib.deviations import deviations

SD = 0.02


def study(rng, count=60, effect=-0.03, active_effect=0.0):
    """values and participants: R1 of white matter that falls with age squared and by `effect` in patients."""
    people, values, active = {}, {}, set()
    for n in range(2 * count):
        patient, age = n % 2 == 0, float(rng.uniform(20, 60)) + (8 if n % 2 == 0 else 0)  # patients are older
        name = f"sub-{n:03d}"
        people[name] = {"age": f"{age:.1f}", "sex": "F" if rng.random() < 0.6 else "M",
                        "group": "MS" if patient else "control"}  # fmt: skip
        enhancing = patient and rng.random() < 0.4
        if enhancing:
            active.add(name)
        value = 1.1 - 0.00008 * (age - 40) ** 2 - 0.001 * (age - 40) + rng.normal(0, SD)
        values[name] = value + effect * patient + active_effect * enhancing
    return {("NAWM", "R1", "mean"): values}, people, active


def test_the_difference_is_found_beyond_age_and_its_interval_holds_the_truth(rng):
    inside, found = 0, []
    for _ in range(40):
        (row,) = compare_groups(*study(rng))
        inside += row["low"] <= -0.03 <= row["high"]
        found.append(row["difference"])
    assert np.mean(found) == pytest.approx(-0.03, abs=3 * SD * np.sqrt(2 / 60) / np.sqrt(40))
    assert inside >= 34  # of 40 intervals of 95 %: 34 or fewer happen in 1.4 % of tries
    assert row["covariates"].startswith("age, age squared, sex") and row["found"] == "lower, as expected"
    assert row["d"] == pytest.approx(-0.03 / SD, abs=0.6)


def test_nothing_is_shown_where_nothing_differs(rng):
    falsely = sum(compare_groups(*study(rng, effect=0.0))[0]["p"] < 0.05 for _ in range(60))
    assert falsely <= 8  # of 60 at 5 %: more than 8 happen in 0.4 %


def test_gadolinium_activity_is_a_covariate_and_does_not_bend_the_difference(rng):
    (row,) = compare_groups(*study(rng, count=200, active_effect=0.05))
    assert "gadolinium activity" in row["covariates"]
    # the average patient carries the effect of the 40 % who are active
    assert row["difference"] == pytest.approx(-0.03 + 0.4 * 0.05, abs=0.01)


def test_few_people_unknown_groups_and_equal_values_give_no_row(rng):
    values, people, active = study(rng, count=2)
    assert compare_groups(values, people, active) == []
    values, people, active = study(rng)
    assert compare_groups(values, {name: {"age": "30"} for name in people}, active) == []
    same = {("NAWM", "R1", "mean"): dict.fromkeys(people, 1.0)}
    assert compare_groups(same, people, active) == []


def test_pd_calibrated_on_white_matter_is_barred_there(rng):
    values, people, active = study(rng)
    pd = {("NAWM", "PD", "mean"): next(iter(values.values())), ("thalamus", "PD", "mean"): next(iter(values.values()))}
    barred = {name for name in people if int(name[4:]) < 60}
    rows = {row["region"]: row for row in compare_groups(pd, people, active, barred)}
    assert rows["NAWM"]["note"] == BARRED and rows["NAWM"]["patients"] == 30
    assert rows["thalamus"]["note"] is None and rows["thalamus"]["patients"] == 60
    assert compare_groups({("NAWM", "PD", "mean"): values["NAWM", "R1", "mean"]}, people, active, set(people)) == []


def test_p_is_corrected_over_all_rows(rng):
    values, people, active = study(rng)
    many = {(f"region {n}", "R1", "mean"): {p: float(rng.normal()) for p in people} for n in range(40)}
    rows = compare_groups(values | many, people, active)
    assert sum(row["p_corrected"] < 0.05 for row in rows) <= 3
    assert next(row for row in rows if row["region"] == "NAWM")["p_corrected"] < 0.05
    assert all(row["p_corrected"] >= row["p"] * 0.999 for row in rows)


def test_sides_are_put_together_and_later_sessions_left_out():
    def row(region, session, n, mean, content):
        return {"participant_id": "sub-1", "session_id": session, "region": region, "map": "R2star", "n": str(n),
                "volume_mm3": str(n), "mean": str(mean), "content": str(content), "excess": "n/a"}  # fmt: skip

    rows = [row("caudate left", "ses-1", 100, 20, 2000), row("caudate right", "ses-1", 300, 24, 7200),
            row("caudate left", "ses-2", 100, 99, 9900)]  # fmt: skip
    values = values_of(rows)
    assert values["caudate", "R2star", "mean"] == {"sub-1": 23.0}
    assert values["caudate", "R2star", "content"] == {"sub-1": 9200.0}
    assert values["caudate", "any", "volume"] == {"sub-1": 400.0}
    assert ("caudate", "R2star", "excess") not in values


def test_a_patient_is_compared_as_crawford_and_howell_do():
    """A case of 70 against ten controls of mean 100 and SD 15: t = -30 / (15 sqrt(1.1)) = -1.907."""
    healthy = 100 + 15 * np.array([-1.4, -1.0, -0.7, -0.4, -0.1, 0.1, 0.4, 0.7, 1.0, 1.4])
    healthy = 100 + 15 * (healthy - healthy.mean()) / healthy.std(ddof=1)
    values = {("NAWM", "R1", "mean"): {f"c{n}": float(v) for n, v in enumerate(healthy)} | {"p": 70.0}}
    people = {f"c{n}": {"group": "HC"} for n in range(10)} | {"p": {"group": "MS"}}
    (row,) = deviations(values, people)
    assert row["t"] == pytest.approx(-1.907, abs=0.001) and row["p"] == pytest.approx(0.0889, abs=0.0005)
    assert row["percentile"] == pytest.approx(4.45, abs=0.03)


def test_a_patient_is_compared_with_controls_of_that_age(rng):
    """R1 falls by 0.004 a year in everybody; a patient of 60 with the value of a control of 60 does not deviate."""
    people, known = {}, {}
    for n in range(30):
        age, name = 20 + 1.5 * n, f"c{n}"
        people[name], known[name] = (
            {"group": "HC", "age": f"{age}", "sex": "FM"[n % 2]},
            1.2 - 0.004 * age + rng.normal(0, SD),
        )
    for name, age, off in (("same", 60, 0.0), ("low", 60, -6 * SD), ("unknown", None, 0.0), ("old", 90, 0.0)):
        people[name] = {"group": "MS", "age": "n/a" if age is None else str(age), "sex": "F"}
        known[name] = 1.2 - 0.004 * (age or 60) + off
    rows = {row["participant_id"]: row for row in deviations({("NAWM", "R1", "mean"): known}, people)}
    assert rows["same"]["adjusted_for"] == "age, sex"
    assert rows["same"]["expected"] == pytest.approx(0.96, abs=SD)  # 2.5 standard errors of the line there
    assert abs(rows["same"]["t"]) < 1
    assert rows["low"]["t"] < -3
    assert rows["unknown"]["adjusted_for"] == "sex"
    assert "beyond" in rows["old"]["note"] and rows["same"]["note"] is None


def test_deviations_of_healthy_people_are_spread_as_t(rng):
    """p of people like the controls is uniform: 5 % lie below 0.05, also with few controls and two covariates."""
    below = 0
    for _ in range(400):
        people = {f"p{n}": {"group": "HC" if n else "MS"} for n in range(11)}
        for person in people.values():
            person |= {"age": f"{rng.uniform(20, 60):.1f}", "sex": "FM"[rng.integers(2)]}
        known = {name: 1 - 0.004 * float(person["age"]) + rng.normal(0, SD) for name, person in people.items()}
        below += deviations({("NAWM", "R1", "mean"): known}, people)[0]["p"] < 0.05
    assert 8 <= below <= 34  # 20 expected; outside happens in 0.3 %


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({"group": "HC"}, "control"), ({"diagnosis": "RRMS"}, "patient"), ({"group": "n/a"}, None), ({"age": "3"}, None)],
)
def test_groups_are_read_from_the_usual_columns(fields, expected):
    assert group_of(fields) == expected


def cohort(folder, rng, count=12, effect=-0.1):
    """Results of a cohort on disk as the participant level leaves them, and raw participants."""
    rows = []
    for n in range(count):
        name, patient = f"sub-{n:02d}", n % 2 == 0
        rows.append({"participant_id": name, "age": 30 + n, "group": "MS" if patient else "control"})
        write_text(folder / "out" / name / "anat" / f"{name}_R1map.nii.gz", "")
        write_text(folder / "out" / f"{name}.html", "<p>report</p>")
        region = {"region": "NAWM", "map": "R1", "unit": "1/s", "n": 900, "volume_mm3": 900.0,
                  "mean": 1.1 + effect * patient + rng.normal(0, SD), "content": 990.0, "note": "x"}  # fmt: skip
        write_table(folder / "out" / name / "anat" / f"{name}_desc-regions_stats.tsv", [region])
        lesion = {"lesion": 1, "stage": "chronic active", "rim_grade": "definite", "enhancement": "none"}
        if patient:
            write_table(folder / "out" / name / "anat" / f"{name}_desc-lesions_stats.tsv", [lesion])
        write_json(folder / "out" / name / "anat" / f"{name}_PDmap.json", {"PDCalibration": "csf"})
    write_table(folder / "raw" / "participants.tsv", rows)
    return folder / "out", folder / "raw"


def test_the_group_level_writes_comparisons_deviations_and_covariates(tmp_path, rng):
    output, raw = cohort(tmp_path, rng)
    assert group(output, raw) == 12
    table = read_table(output / "desc-comparisons_stats.tsv")
    row = next(row for row in table if (row["region"], row["measure"]) == ("NAWM", "mean"))
    assert row["found"] == "lower, as expected" and row["patients"] == row["controls"] == "6"
    regions = read_table(output / "desc-regions_stats.tsv")
    assert regions[3]["age"] == "33" and regions[3]["group"] == "control"
    assert {row["participant_id"] for row in read_table(output / "desc-deviations_stats.tsv")} == {
        f"sub-{n:02d}" for n in range(0, 12, 2)
    }
    assert read_table(output / "participants.tsv")[0] == {"participant_id": "sub-00", "age": "30", "group": "MS"}
    text = Page((output / "index.html").read_text(encoding="utf-8")).text
    assert "Patients against controls" in text and "NAWM R1 mean 6, 6" in text and "lower, as expected" in text


def test_without_groups_there_is_no_comparison_and_an_old_one_goes(tmp_path, rng):
    output, raw = cohort(tmp_path, rng)
    group(output, raw)
    group(output)
    assert not (output / "desc-comparisons_stats.tsv").exists()
    assert "Patients against controls" not in (output / "index.html").read_text(encoding="utf-8")


def test_controls_may_be_those_of_another_data_set(tmp_path, rng, capsys):
    output, raw = cohort(tmp_path, rng)
    others, raw_others = cohort(tmp_path / "elsewhere", rng, count=24, effect=0.0)
    group(others, raw_others)
    people = [row | {"group": "MS"} for row in read_table(raw / "participants.tsv")]
    write_table(raw / "participants.tsv", people)
    words = ["run", str(raw), str(output), "group", "--controls"]
    assert cli.main([*words, str(others / "desc-regions_stats.tsv")]) == cli.DONE
    row = next(row for row in read_table(output / "desc-comparisons_stats.tsv") if row["measure"] == "mean")
    assert (row["patients"], row["controls"]) == ("12", "12")  # the patients elsewhere are no controls
    found = {row["participant_id"]: row for row in read_table(output / "desc-deviations_stats.tsv")}
    assert len(found) == 12 and found["sub-00"]["controls"] == "12"
    assert len(read_table(output / "desc-regions_stats.tsv")) == 12  # the table of the cohort is its own
    assert "controls measured elsewhere" in (output / "index.html").read_text(encoding="utf-8")
    for bad, said in ((others / "index.html", "index.html: "), (tmp_path / "none.tsv", "No such file")):
        assert cli.main([*words, str(bad)]) == cli.WRONG_CALL
        assert said in capsys.readouterr().err
    assert cli.main(["run", str(raw), str(output), "participant", "--controls", "x.tsv"]) == cli.WRONG_CALL
