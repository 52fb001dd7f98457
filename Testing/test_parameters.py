"""Options: ranges are kept, TOML goes out and comes back, users see degrees and milliseconds."""

import math
import tomllib
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.text import write_json
from QMRIEstimationLib.parameters import Options, as_user_dict, choice, flag, from_table, param, toml_lines
from QMRIEstimationLib.settings import read_settings
from QMRILesionStagingLib.settings import StudySettings


@dataclass(frozen=True)
class Inner(Options):
    threshold: float = param(0.15, "", 0.01, 0.66, "smallest |D| divided by")
    method: str = choice("tkd", ("tkd", "l2"), "inversion")


@dataclass(frozen=True)
class Outer(Options):
    angle: float = param(math.radians(15), "rad", 0.0, math.pi, "flip angle")
    echo: float = param(0.004, "s", 0.0, 1.0, "echo time")
    steps: int = param(20, "", 1, 100, "iterations")
    on: bool = flag(True, "switch")
    inner: Inner = Inner()


def read_back(options):
    return from_table(type(options)(), tomllib.loads("\n".join(toml_lines(options))), "study.toml")


@given(
    st.floats(0.01, 0.66),
    st.sampled_from(["tkd", "l2"]),
    st.floats(0, math.pi),
    st.floats(0, 1),
    st.integers(1, 100),
    st.booleans(),
)
def test_toml_reads_back_what_was_printed(threshold, method, angle, echo, steps, on):
    options = Outer(angle, echo, steps, on, Inner(threshold, method))
    back = read_back(options)
    assert back.angle == pytest.approx(angle, rel=1e-11, abs=1e-11)  # 12 digits are printed
    assert back.echo == pytest.approx(echo, rel=1e-11, abs=1e-11)
    assert back.inner.threshold == pytest.approx(threshold, rel=1e-11)
    assert (back.steps, back.on, back.inner.method) == (steps, on, method)


def test_user_sees_degrees_and_milliseconds():
    assert as_user_dict(Outer())["angle"] == pytest.approx(15)
    assert as_user_dict(Outer())["echo"] == pytest.approx(4)
    assert "deg" in "\n".join(toml_lines(Outer()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[inner]\nthreshold = 0.9", ["study.toml", "inner.threshold", "0.9", "0.01 to 0.66", "0.15"]),
        ("[inner]\nthreshhold = 0.1", ["inner.threshhold", "is not a parameter", "threshold"]),
        ("[inner]\nmethod = 'medi'", ["inner.method", "medi", '"tkd", "l2"']),
        ("angle = 200.0", ["angle", "200", "0 to 180 deg"]),
        ("steps = 2.5", ["steps", "2.5", "a whole number from 1 to 100"]),
        ("steps = true", ["steps", "true"]),
        ("on = 1", ["on", "1", "false, true"]),
        ("on = 'yes'", ["on", "yes"]),
        ("angle = nan", ["angle", "NaN"]),
        ("inner = 3", ["inner", "expected a table"]),
        ("angle = '15'", ["angle", "15"]),
    ],
)
def test_wrong_value_is_named_with_what_is_expected(text, words):
    with pytest.raises(InputError) as error:
        from_table(Outer(), tomllib.loads(text), "study.toml")
    for word in words:
        assert word in str(error.value)


def test_constructor_refuses_what_the_file_would_refuse():
    with pytest.raises(InputError, match=r"Inner\.threshold is 0\.9"):
        Inner(threshold=0.9)


@pytest.mark.parametrize("changed", [{}, {"staging": {"rim": {"definite": 0.7}}, "qsm": {"polarity": {"sign": "+1"}}}])
def test_the_record_of_a_run_brings_every_parameter_back_exactly(changed, tmp_path):
    settings = from_table(StudySettings(), changed, "test")
    path = tmp_path / "sub-01_20261126T190754274161Z.json"
    write_json(path, {"parameters": as_user_dict(settings), "status": "done"})
    assert read_settings(path, StudySettings()) == settings


@given(st.floats(1e-6, 1e3), st.sampled_from(("rad", "s", "ppm", "")))
def test_a_number_comes_back_from_the_users_unit_unchanged(value, unit):
    @dataclass(frozen=True)
    class One(Options):
        number: float = param(1.0, unit, 0.0, 1e6, "any")

    one = One(value)
    assert from_table(One(), as_user_dict(one), "test").number == pytest.approx(value, rel=1e-15)


def test_json_that_is_no_log_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="not the log of a run"):
        read_settings(tmp_path / "x.json")
