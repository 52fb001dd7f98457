"""RESUME, multi-echo spin echo and given maps: recognised from the data, near the truth, said in the sidecars."""

import json
import shutil

import numpy as np
import pytest
from bad_routes import given, put
from bids_tree import R2STAR, SHAPE, make_bids_tree
from QMRIEstimationLib import cli, flip_series, relaxation_plan, transmit
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.alignment import Place
from QMRIEstimationLib.errors import InputError, Misaligned
from QMRIEstimationLib.flip_series import FlipSeries
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.multi_echo import plan_multi_echo
from QMRIEstimationLib.noise import Noise
from QMRIEstimationLib.pipeline import MAPS
from QMRIEstimationLib.relaxation_plan import plan_relaxation
from QMRIEstimationLib.relaxometry.bssfp import R2Options
from QMRIEstimationLib.relaxometry.r1 import R1Options
from QMRIEstimationLib.relaxometry.r2star import R2starOptions
from QMRIEstimationLib.settings import Settings
from QMRIEstimationLib.steps import Steps
from QMRIEstimationLib.transmit import TransmitField
from test_relaxation import in_tissue
from test_run import validate

SMALL = ("--noise", "60", "--size", "44", "54", "40", "--voxel-size", "3.6", "3.6", "3.6")
LARGE = ("--noise", "60", "--seed", "7", "--size", "80", "96", "72", "--voxel-size", "2", "2", "2")


def simulated(folder, protocol, size=SMALL):
    """Raw data of one patient by a protocol."""
    raw = folder / "raw"
    assert cli.main(["simulate", str(raw), "--protocol", protocol, *size]) == cli.DONE
    return raw


def run(raw, output, *words):
    """The maps of a data set, the texts of the sidecars by map."""
    assert cli.main(["run", str(raw), str(output), "participant", *words]) == cli.DONE
    paths = (output / "sub-01" / "anat").glob("sub-01_*map.json")
    plain = {
        path.name.removeprefix("sub-01_").removesuffix("map.json"): path for path in paths if "desc" not in path.name
    }
    return {name: json.loads(path.read_text()) for name, path in plain.items()}


# --- plans: which scans serve, from what is there


def gre(role, echoes, flip=0.0, name="", phase=True):
    """A scan that is only planned with."""
    return Scan(role, name or f"{role.name} {flip}", None, None, tuple(0.005 * (n + 1) for n in range(echoes)),
                flip_angle=flip or None, repetition_time=0.028, field_strength=3.0, has_phase=phase)  # fmt: skip


def flip(degrees, echoes=2, **more):
    """A flip angle."""
    return gre(Role.SPOILED_GRE, echoes, np.deg2rad(degrees), **more)


def spin_echo(echoes=10):
    """A multi-echo spin echo."""
    return gre(Role.SPIN_ECHO, echoes)


def planned(*scans, wanted=("R1", "R2", "R2star", "PD"), explicit=False, known=(), **options):
    """Both plans of a session."""
    session = Session("01", scans=scans)
    first = plan_multi_echo(session, wanted, explicit)
    scan = None if first is None else first.scan
    return first, plan_relaxation(session, wanted, explicit, Settings(**options), scan, known)


def test_flip_angles_of_several_echoes_need_no_other_multi_echo_scan():
    first, second = planned(flip(3), flip(20))
    assert first.scan.flip_angle == pytest.approx(np.deg2rad(20))  # which has more signal
    assert second.joint and second.maps == ("R1", "PD", "R2star")


def test_the_flip_angle_with_phase_gives_chi():
    first, _ = planned(flip(3), flip(20, phase=False))
    assert first.scan.flip_angle == pytest.approx(np.deg2rad(3))


def test_a_multi_echo_scan_keeps_r2star_and_all_echoes_serve_r1():
    first, second = planned(flip(3), flip(20), gre(Role.MULTI_ECHO_GRE, 6))
    assert first.scan.role is Role.MULTI_ECHO_GRE
    assert second.joint and second.maps == ("R1", "PD")


def test_a_multi_echo_scan_of_one_echo_leaves_r2star_to_the_flip_angles():
    first, second = planned(flip(3), flip(20), gre(Role.MULTI_ECHO_GRE, 1))
    assert first.scan.role is Role.SPOILED_GRE and "R2star" in second.maps


@pytest.mark.parametrize(
    ("options", "joint", "maps"),
    [
        ({"r2star": R2starOptions(route="joint")}, True, ("R1", "PD", "R2star")),
        ({"r2star": R2starOptions(route="multi-echo")}, True, ("R1", "PD")),
        ({"r1": R1Options(all_echoes=False)}, False, ("R1", "PD")),
    ],
)
def test_settings_choose_the_route_of_r2star_and_r1(options, joint, maps):
    _, second = planned(flip(3), flip(20), gre(Role.MULTI_ECHO_GRE, 6), **options)
    assert (second.joint, second.maps) == (joint, maps)


@pytest.mark.parametrize(
    ("scans", "route", "by"),
    [
        ((flip(3, 1), flip(20, 1), spin_echo()), "auto", "train"),
        ((flip(3, 1), flip(20, 1), gre(Role.BSSFP, 1), spin_echo()), "auto", "cycles"),
        ((flip(3, 1), flip(20, 1), gre(Role.BSSFP, 1), spin_echo()), "spin-echo", "train"),
        ((flip(3, 1), flip(20, 1), gre(Role.BSSFP, 1), spin_echo()), "bssfp", "cycles"),
        ((gre(Role.BSSFP, 1), spin_echo()), "auto", "train"),  # bSSFP needs R1
        ((spin_echo(),), "auto", "train"),
    ],
)
def test_r2_is_made_of_what_the_data_or_the_user_say(scans, route, by):
    _, plan = planned(*scans, r2=R2Options(route=route))
    assert "R2" in plan.maps
    assert (plan.train is not None, bool(plan.cycles)) == (by == "train", by == "cycles")


@pytest.mark.parametrize(
    ("scans", "options", "words"),
    [
        ((flip(3, 1), flip(20, 1)), {"r2star": R2starOptions(route="joint")}, "r2star.route is joint, which needs"),
        ((spin_echo(),), {"r2": R2Options(route="bssfp")}, "r2.route is bssfp, which needs anat"),
        ((flip(3, 1), flip(20, 1)), {"r2": R2Options(route="spin-echo")}, "needs anat/.*_MESE"),
    ],
)
def test_a_route_whose_scans_are_missing_is_refused(scans, options, words):
    with pytest.raises(InputError, match=words):
        planned(*scans, **options)


def test_given_r1_lets_bssfp_do_without_flip_angles():
    _, plan = planned(gre(Role.BSSFP, 1), known=("R1",))
    assert plan.cycles and not plan.flips and plan.maps == ("R2",)


# --- echoes of flip angles


def test_flip_angles_may_have_different_echoes(rng, monkeypatch):
    """Echo times and their number differ between the flip angles; QUIT takes those of the first for all."""
    geometry = Geometry((12, 14, 16), np.diag([2.0, 2, 2, 1]))
    r1 = 0.6 + 0.8 * rng.random(geometry.shape)
    noise, r2star, times = 0.2, 40.0, {3: (0.004, 0.011, 0.03), 20: (0.009,)}
    scans = []
    for degrees, echoes in times.items():
        angle, e1 = np.deg2rad(degrees), np.exp(-0.028 * r1)
        signal = 2000 * np.sin(angle) * (1 - e1) / (1 - e1 * np.cos(angle))
        clean = signal * np.exp(-r2star * np.array(echoes))[:, None, None, None]
        image = np.abs(clean + noise * (rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape)))
        scans.append(
            Scan(Role.SPOILED_GRE, str(degrees), geometry, lambda i=image: (i.astype(np.float32), None), echoes,
                 flip_angle=angle, repetition_time=0.028, spoiling_increment=None)
        )  # fmt: skip
    everywhere = np.ones(geometry.shape, bool)
    monkeypatch.setattr(flip_series, "measured_noise", lambda *_, **__: Noise(noise))
    monkeypatch.setattr(
        FlipSeries, "_place", lambda _, __, ___, images, *____: Place("20", images[1][0], geometry, everywhere)
    )
    still = type("Still", (), {"ras_transform": np.eye(4), "identity": True, "shift_mm": 0, "rotation_deg": 0})()
    monkeypatch.setattr(flip_series, "all_registered", lambda scans, *_: [still] * len(scans))
    monkeypatch.setattr(flip_series.Gathering, "keep", lambda *_: None)
    steps = Steps(None, None, [relaxation_plan.SERIES])
    steps.start(relaxation_plan.SERIES)
    series = FlipSeries(Session("01"), tuple(scans), None, Settings(), steps, joint=True)
    one = np.ones(geometry.shape, np.float32)
    fit = series.fit(TransmitField(one, 0 * one, True, ""), None, Settings(), steps)
    z = ((fit.r1 - r1) / fit.sd)[fit.valid]
    assert fit.valid.mean() > 0.99
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=5 / np.sqrt(2 * z.size))
    assert series.parameters()["EchoTimes"] == [[0.004, 0.011, 0.03], [0.009]]


@pytest.fixture(scope="module")
def resume(tmp_path_factory):
    """Raw data of RESUME, its maps and their sidecars."""
    folder = tmp_path_factory.mktemp("resume")
    raw = simulated(folder, "resume")
    return raw, folder / "maps", run(raw, folder / "maps")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "limit"), [("R1", 0.02), ("R2star", 0.03), ("PD", 0.03)])
def test_resume_is_near_the_truth(resume, name, limit):
    raw, maps, _ = resume
    estimate, truth, _ = in_tissue(raw, maps, name, "white matter")
    assert abs(np.median(estimate - truth)) < limit * truth.mean()  # voxels of 3.6 mm; the slow test has tight limits


@pytest.mark.slow
def test_resume_gives_four_maps_and_says_how(resume):
    _, maps, sidecars = resume
    assert set(sidecars) == {"R1", "R2star", "PD", "Chi"}
    assert "all echoes together (ESTATICS)" in sidecars["R2star"]["EstimationAlgorithm"]
    assert "amplitudes at echo time 0" in sidecars["R1"]["EstimationAlgorithm"]
    assert sidecars["R2star"]["EchoTime"] == [0.0076, 0.022] and sidecars["R2star"]["FlipAngle"] == [3.0, 20.0]
    assert all("flip-2_part-phase" in source or "flip-2" in source for source in sidecars["Chi"]["Sources"])
    assert any("echo-2_flip-1" in source for source in sidecars["R1"]["Sources"])
    report = (maps / "sub-01.html").read_text()
    assert "serves as the multi-echo scan of the session" in report and "ESTATICS" in report
    validate(maps)


@pytest.mark.slow
def test_r2star_alone_is_made_of_all_flip_angles_too(resume, tmp_path):
    raw, maps, _ = resume
    run(raw, tmp_path / "maps", "--maps", "R2star")
    name = "sub-01/anat/sub-01_R2starmap.nii.gz"
    assert np.array_equal(read_image(maps / name)[0], read_image(tmp_path / "maps" / name)[0])


@pytest.mark.slow
def test_a_transmit_scan_that_cannot_be_aligned_leaves_r2star(resume, tmp_path, monkeypatch, capsys):
    def refuse(name, *_):
        raise Misaligned(f"{name}: cannot be aligned.")

    raw, maps, _ = resume
    monkeypatch.setattr(transmit, "registered", refuse)
    assert set(run(raw, tmp_path / "maps")) == {"R2star", "Chi"}
    assert "TB1AFI.nii.gz: cannot be aligned; R1, PD were not made." in capsys.readouterr().err
    name = "sub-01/anat/sub-01_R2starmap.nii.gz"
    assert np.array_equal(read_image(maps / name)[0], read_image(tmp_path / "maps" / name)[0])


# --- multi-echo spin echo


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Raw data with nothing but a multi-echo spin echo and a map of the transmit field."""
    folder = tmp_path_factory.mktemp("train")
    raw = simulated(folder, "spin-echo")
    for path in (raw / "sub-01").rglob("*"):
        if path.is_file() and "MESE" not in path.name:
            path.unlink()
    for extension in (".nii.gz", ".json"):
        name = f"fmap/sub-01_TB1map{extension}"
        shutil.copy(raw / "sourcedata" / "truth" / "sub-01" / name, raw / "sub-01" / name)
    return raw


def test_spin_echo_alone_gives_r2(train, tmp_path):
    sidecars = run(train, tmp_path / "maps")
    assert set(sidecars) == {"R2"} and "stimulated echoes" in sidecars["R2"]["EstimationAlgorithm"]
    assert len(sidecars["R2"]["EchoTime"]) == 10 and sidecars["R2"]["TransmitField"] == "map of the scanner"
    for tissue in ("white matter", "cortex", "thalamus"):
        estimate, truth, _ = in_tissue(train, tmp_path / "maps", "R2", tissue)
        assert abs(np.median(estimate - truth)) < 0.02 * truth.mean()


def test_spin_echo_without_a_transmit_scan_is_less_certain_and_says_so(train, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(train, raw)
    shutil.rmtree(raw / "sub-01" / "fmap")
    run(raw, tmp_path / "maps")
    assert "no scan measures the transmit field" in capsys.readouterr().err
    estimate, truth, sd = in_tissue(raw, tmp_path / "maps", "R2", "white matter")
    # the error grows with the square of that of the field, whose spread here is just below what is assumed
    assert np.mean(np.abs(estimate - truth) < 2 * sd) > 0.8


def test_uneven_spin_echoes_are_fitted_by_one_exponential(train, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(train, raw)
    for path in (raw / "sub-01" / "anat").glob("*_echo-2_MESE*"):
        path.unlink()
    sidecars = run(raw, tmp_path / "maps")
    assert "not 3 or more multiples of the first" in capsys.readouterr().err
    assert "one exponential" in sidecars["R2"]["EstimationAlgorithm"] and "TransmitField" not in sidecars["R2"]


# --- maps that are given


@pytest.fixture
def tiny(tmp_path):
    """The tiny data set, one subject."""
    return make_bids_tree(tmp_path / "raw", ("01",))


@pytest.mark.parametrize(
    ("name", "stored", "units", "made", "value"),
    [
        ("R1map", 0.9, "1/s", "R1", 0.9),
        ("T1map", 1250.0, "ms", "R1", 0.8),
        ("T1map", 1.25, "s", "R1", 0.8),
        ("T2map", 80.0, "ms", "R2", 12.5),
        ("R2starmap", 0.03, "1/ms", "R2star", 30.0),
        ("PDmap", 70.0, "percent", "PD", 70.0),
        ("Chimap", 40.0, "ppb", "Chi", 0.04),
    ],
)
def test_given_map_is_taken_in_its_units(tiny, tmp_path, capsys, name, stored, units, made, value):
    data = np.full(SHAPE, stored, np.float32)
    given(name, data, uncertainty=0.1 * data, Units=units, EstimationAlgorithm="theirs")(tiny)
    sidecars = run(tiny, tmp_path / "maps")
    anat = tmp_path / "maps" / "sub-01" / "anat"
    valid = read_image(anat / f"sub-01_desc-{made}_mask.nii.gz")[0] > 0
    brain = read_image(anat / "sub-01_label-brain_mask.nii.gz")[0] > 0
    assert np.array_equal(valid, brain) if made == "Chi" else valid.all()
    np.testing.assert_allclose(read_image(anat / f"sub-01_{made}map.nii.gz")[0][valid], value, rtol=1e-5)
    sd = read_image(anat / f"sub-01_desc-uncertainty_{made}map.nii.gz")[0]
    np.testing.assert_allclose(sd[valid], 0.1 * value, rtol=1e-5)
    assert "theirs" in sidecars[made]["EstimationAlgorithm"]
    assert any("derivatives/other" in source for source in sidecars[made]["Sources"])
    error = capsys.readouterr().err
    assert "it was not registered" in error and "without a standard deviation" not in error


def test_given_map_without_sd_is_said_to_be_unknown(tiny, tmp_path, capsys):
    given("R1map", np.full(SHAPE, 0.9, np.float32), Units="1/s")(tiny)
    run(tiny, tmp_path / "maps")
    assert "came without a standard deviation" in capsys.readouterr().err
    path = tmp_path / "maps" / "sub-01" / "anat" / "sub-01_desc-uncertainty_R1map.json"
    assert json.loads(path.read_text())["Description"].startswith("unknown")


def test_given_map_can_be_left_out_by_a_setting(tiny, tmp_path):
    given("R2starmap", np.full(SHAPE, 5.0, np.float32), Units="1/s")(tiny)
    (tmp_path / "own.toml").write_text("[ready]\nr2star = false\n")
    run(tiny, tmp_path / "maps", "--config", str(tmp_path / "own.toml"))
    values = read_image(tmp_path / "maps" / "sub-01" / "anat" / "sub-01_R2starmap.nii.gz")[0]
    assert np.median(values[values > 0]) == pytest.approx(R2STAR, rel=0.1)


def test_of_rate_and_time_the_rate_counts(tiny, tmp_path, capsys):
    given("R1map", np.full(SHAPE, 0.9, np.float32), Units="1/s")(tiny)
    given("T1map", np.full(SHAPE, 2.0, np.float32), Units="s")(tiny)
    run(tiny, tmp_path / "maps")
    assert "T1map.nii.gz: there is another R1 map" in capsys.readouterr().err
    assert read_image(tmp_path / "maps" / "sub-01" / "anat" / "sub-01_R1map.nii.gz")[0].max() == np.float32(0.9)


def test_given_maps_alone_make_a_result(tiny, tmp_path):
    shutil.rmtree(tiny / "sub-01" / "anat")
    put(tiny / "sub-01" / "anat", "sub-01_T1w", {})
    given("R1map", np.full(SHAPE, 0.9, np.float32), Units="1/s")(tiny)
    assert set(run(tiny, tmp_path / "maps")) == {"R1"}


# --- whole protocols, at 2 mm


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["resume", "spin-echo"])
def test_protocol_is_unbiased_and_knows_its_spread(protocol, tmp_path):
    raw, maps = simulated(tmp_path, protocol, LARGE), tmp_path / "maps"
    run(raw, maps)
    names = ("R1", "R2star", "PD") if protocol == "resume" else ("R1", "R2", "R2star")
    for name in names:
        for tissue in ("white matter", "thalamus", "caudate", "putamen", "pallidum"):
            estimate, truth, sd = in_tissue(raw, maps, name, tissue)
            error = estimate - truth
            rare = 3 * 1.25 * np.median(sd) / np.sqrt(error.size)  # what noise does to a median
            assert abs(np.median(error)) < 0.02 * truth.mean() + rare, (name, tissue)
        estimate, truth, sd = in_tissue(raw, maps, name, "white matter")
        z = (estimate - truth) / sd
        assert 0.8 < 1.4826 * np.median(np.abs(z - np.median(z))) < 1.2, name
        if name == "R2star":
            assert abs(np.median(estimate - truth)) < 0.3
    assert set(names) <= set(MAPS)
