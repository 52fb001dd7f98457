"""Stages of susceptibility mapping that the user has done elsewhere, the segment of reference, and the report table."""

import json

import numpy as np
import pytest
from bad_routes import put
from bids_tree import ECHO_TIMES, SHAPE, image_of, make_bids_tree, matrix
from QMRIEstimationLib import cli
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.qsm.field import FieldOptions, field_map
from QMRIEstimationLib.units import hz_per_ppm

UNITS = {"Hz": 1.0, "ppm": 1 / hz_per_ppm(3.0), "ppb": 1e3 / hz_per_ppm(3.0), "rad/s": 2 * np.pi}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Results of the tiny patient from its phase: total and local field (Hz), chi (ppm), brain."""
    folder = tmp_path_factory.mktemp("first")
    raw = make_bids_tree(folder / "raw", ("01",))
    return results(raw, folder / "maps")


@pytest.fixture
def raw(tmp_path):
    return make_bids_tree(tmp_path / "raw", ("01",))


def run(raw, output, *words):
    return cli.main(["run", str(raw), str(output), "participant", "--maps", "Chi", "R2star", *words])


def results(raw, output, *words):
    assert run(raw, output, *words) == cli.DONE
    folder = output / "sub-01"
    names = {
        "total": "fmap/sub-01_desc-total_fieldmap",
        "local": "fmap/sub-01_desc-local_fieldmap",
        "chi": "anat/sub-01_Chimap",
        "r2star": "anat/sub-01_R2starmap",
        "valid": "anat/sub-01_desc-Chi_mask",
    }
    found = {key: read_image(path)[0] for key, name in names.items() if (path := folder / f"{name}.nii.gz").exists()}
    return found | {"sidecar": json.loads((folder / "anat" / "sub-01_Chimap.json").read_text())}


def give(raw, name, data, units="Hz", folder="fmap", affine=None):
    fields = {"Units": units} if units else {}
    put(raw / "derivatives" / "other" / "sub-01" / folder, f"sub-01_{name}", fields, data.astype(np.float32), affine)


def without_phase(raw):
    for path in (raw / "sub-01" / "anat").glob("*_part-phase_*"):
        path.unlink()


def unwrapped(raw, turns=(0, 0, 0)):
    """Unwrapped phase of the tiny patient, each echo off by whole turns."""
    images = [[read_image(image_of(raw, e, part))[0] for e in (1, 2, 3)] for part in ("mag", "phase")]
    magnitude, phase = (np.stack(volumes) for volumes in images)
    brain = read_image(raw / "derivatives/rater/sub-01/anat/sub-01_label-brain_mask.nii.gz")[0] > 0
    fit = field_map(magnitude, phase, ECHO_TIMES, brain, Geometry(SHAPE, matrix()), 0.01, FieldOptions())
    return fit.unwrapped + 2 * np.pi * np.array(turns)[:, None, None, None] * brain


@pytest.mark.parametrize("units", UNITS)
def test_total_field_in_any_unit_takes_the_place_of_the_phase(raw, first, tmp_path, capsys, units):
    give(raw, "desc-total_fieldmap", first["total"] * UNITS[units], units)
    without_phase(raw)
    found = results(raw, tmp_path / "maps")
    inside = first["valid"] > 0
    np.testing.assert_allclose(found["total"][inside], first["total"][inside], rtol=1e-4, atol=1e-3)
    # the weights differ where the echoes did not agree, so the local field is close and not equal
    assert np.std((found["local"] - first["local"])[inside]) < 0.1 * np.std(first["local"][inside])
    np.testing.assert_allclose(found["r2star"], first["r2star"], rtol=0.02, atol=0.05)  # corrected by the same field
    assert found["sidecar"]["SusceptibilityReport"]["Processing"]["Field map"]["Method"] == "given total field"
    assert any("derivatives/other" in source for source in found["sidecar"]["Sources"])
    assert "was taken for the total field" in capsys.readouterr().err


def test_field_of_the_opposite_sign_is_not_believed_silently(raw, first, tmp_path):
    give(raw, "desc-total_fieldmap", -first["total"])
    without_phase(raw)
    found = results(raw, tmp_path / "maps")
    assert found["sidecar"]["PhaseSign"] in (-1, "undetermined")
    if found["sidecar"]["PhaseSign"] == -1:  # the anatomy turned it back
        np.testing.assert_allclose(found["total"], first["total"], rtol=1e-4, atol=1e-3)


def test_local_field_is_inverted_as_it_is(raw, first, tmp_path):
    give(raw, "desc-local_fieldmap", first["local"] * UNITS["ppm"], "ppm")
    found = results(raw, tmp_path / "maps")
    np.testing.assert_allclose(np.abs(found["local"]), np.abs(first["local"]), rtol=1e-4, atol=1e-4)
    inside = (first["valid"] > 0) & (found["valid"] > 0)
    assert np.std((found["chi"] - first["chi"])[inside]) < 0.05 * np.std(first["chi"][inside])
    assert found["sidecar"]["EstimationAlgorithm"].startswith("given local field; ")
    np.testing.assert_allclose(found["total"], first["total"], atol=1e-3)  # R2* still needs it


def test_local_field_alone_is_enough(raw, first, tmp_path, capsys):
    give(raw, "desc-local_fieldmap", first["local"])
    without_phase(raw)
    found = results(raw, tmp_path / "maps")
    assert "total" not in found  # nobody knows it
    inside = (first["valid"] > 0) & (found["valid"] > 0)
    assert np.corrcoef(found["chi"][inside], first["chi"][inside])[0, 1] > 0.98
    assert "not corrected for macroscopic field gradients" in capsys.readouterr().err


@pytest.mark.parametrize("files", [1, 3])
def test_unwrapped_phase_is_only_fitted_and_turns_of_an_echo_do_not_matter(raw, first, tmp_path, files):
    echoes = unwrapped(raw, turns=(3, -2, 7))
    if files == 1:
        give(raw, "part-phase_desc-unwrapped_MEGRE", echoes, "rad", "anat")
    else:
        for number, echo in enumerate(echoes, 1):
            give(raw, f"echo-{number}_part-phase_desc-unwrapped_MEGRE", echo, "rad", "anat")
    without_phase(raw)
    found = results(raw, tmp_path / "maps")
    inside = first["valid"] > 0
    shift = np.median((found["total"] - first["total"])[inside])  # a turn of the closest echoes is a constant field
    np.testing.assert_allclose(found["total"][inside] - shift, first["total"][inside], atol=0.05)
    assert "unwrapped by the user" in found["sidecar"]["SusceptibilityReport"]["Processing"]["Field map"]["Method"]


def test_field_in_ppm_without_a_field_strength_is_refused(raw, first, tmp_path, capsys):
    give(raw, "desc-total_fieldmap", first["total"] * UNITS["ppm"], "ppm")
    for path in (raw / "sub-01" / "anat").glob("*_MEGRE.json"):
        fields = json.loads(path.read_text())
        path.write_text(json.dumps({key: v for key, v in fields.items() if key != "MagneticFieldStrength"}))
    assert cli.main(["run", str(raw), str(tmp_path / "maps"), "participant", "--maps", "R2star"]) == cli.SOME_FAILED
    message = capsys.readouterr().err
    assert "total_fieldmap.nii.gz: is in ppm" in message and "MagneticFieldStrength" in message


def test_quality_as_a_mask_needs_phase(raw, first, tmp_path, capsys):
    give(raw, "desc-total_fieldmap", first["total"])
    without_phase(raw)
    (tmp_path / "own.toml").write_text('[qsm.quality]\nuse = "mask"\n')
    assert run(raw, tmp_path / "maps", "--config", str(tmp_path / "own.toml")) == cli.SOME_FAILED
    assert "no phase to judge" in capsys.readouterr().err


def test_two_passes_run_from_the_command(raw, first, tmp_path):
    (tmp_path / "own.toml").write_text('[qsm.quality]\nuse = "two passes"\n')
    found = results(raw, tmp_path / "maps", "--config", str(tmp_path / "own.toml"))
    assert found["sidecar"]["EstimationAlgorithm"].endswith("two passes")
    assert found["sidecar"]["SusceptibilityReport"]["Processing"]["Phase quality"]["Method"] == "used as two passes"
    inside = (first["valid"] > 0) & (found["valid"] > 0)
    assert np.corrcoef(found["chi"][inside], first["chi"][inside])[0, 1] > 0.9


def test_given_stage_can_be_left_out_by_a_setting(raw, first, tmp_path):
    give(raw, "desc-total_fieldmap", 0 * first["total"] + 5, "Hz")
    (tmp_path / "own.toml").write_text("[ready]\ntotal_field = false\n")
    found = results(raw, tmp_path / "maps", "--config", str(tmp_path / "own.toml"))
    np.testing.assert_array_equal(found["chi"], first["chi"])


FAR = matrix()
FAR[:3, 3] += 1.0


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("desc-total_fieldmap", {"units": "tesla"}, ("Units is 'tesla'", "hz", "ready.total_field")),
        ("desc-total_fieldmap", {"units": None}, ("total_fieldmap.json", "Units is missing")),
        ("desc-local_fieldmap", {"affine": FAR}, ("local_fieldmap.nii.gz", "another grid", "never resampled")),
        ("desc-total_fieldmap", {"data": np.zeros(SHAPE)}, ("given field",)),
        ("desc-total_fieldmap", {"data": np.ones((2, *SHAPE))}, ("total_fieldmap", "one volume")),
        (
            "part-phase_desc-unwrapped_MEGRE",
            {"data": np.ones((2, *SHAPE)), "units": "rad", "folder": "anat"},
            ("2 volumes", "expected 3"),
        ),
    ],
)
def test_stage_that_does_not_fit_gets_one_sentence(raw, tmp_path, capsys, name, change, words):
    give(raw, name, **({"data": np.ones(SHAPE)} | change))
    assert run(raw, tmp_path / "maps") == cli.SOME_FAILED
    message = capsys.readouterr().err
    assert "Traceback" not in message and message.count("failed:") == 1
    for word in words:
        assert word in message
    assert not (tmp_path / "maps" / "sub-01").exists()


# --- the segment that is called zero


def test_chi_is_referenced_to_a_segment_of_the_tissue_labels(raw, first, tmp_path):
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:11, 6:9, 6:9], labels[8:11, 6:9, 15:18] = 4, 5
    folder = raw / "derivatives" / "aaa" / "sub-01" / "anat"
    put(folder, "sub-01_dseg", {}, labels)
    (folder / "sub-01_dseg.tsv").write_text("index\tname\n4\tThing left\n5\tthing right\n")
    (tmp_path / "own.toml").write_text('[qsm.reference]\nregion = "segment"\nsegment = "Thing"\n')
    found = results(raw, tmp_path / "maps", "--config", str(tmp_path / "own.toml"))
    region = (labels > 0) & (found["valid"] > 0)
    assert found["chi"][region].mean() == pytest.approx(0, abs=1e-6)
    reference = found["sidecar"]["SusceptibilityReport"]["Reference"]
    assert reference["Region"] == "the segment Thing"
    assert reference["MeanOfRegionToWholeBrainPpm"] == pytest.approx(first["chi"][region].mean(), abs=2e-6)
    assert reference["SdOfRegionPpm"] == pytest.approx(first["chi"][region].std(), abs=2e-6)


@pytest.mark.parametrize(("name", "words"), [("GM", ("no tissue label is called GM", "WM")), ("WM", ("no voxel",))])
def test_segment_that_is_not_there_is_named(raw, tmp_path, capsys, name, words):
    if name == "WM":
        put(
            raw / "derivatives/aaa/sub-01/anat", "sub-01_dseg", {}, np.eye(20, 24)[None] * np.ones((16, 1, 1)) * 0 + 0.0
        )
        (raw / "derivatives/aaa/sub-01/anat/sub-01_dseg.tsv").write_text("index\tname\n2\tWM\n")
    (tmp_path / "own.toml").write_text(f'[qsm.reference]\nregion = "segment"\nsegment = "{name}"\n')
    assert run(raw, tmp_path / "maps", "--config", str(tmp_path / "own.toml")) == cli.SOME_FAILED
    message = capsys.readouterr().err
    for word in words:
        assert word in message


# --- the table of the consensus


def test_sidecar_holds_the_table_of_the_consensus_and_a_paragraph(first):
    table, text = first["sidecar"]["SusceptibilityReport"], first["sidecar"]["MethodsParagraph"]
    scan = table["Acquisition"]
    assert scan["Field strength"] == "3.0 T" and scan["Vendor"] == "Siemens" and scan["Dimension"] == "3D"
    assert scan["Echoes"] == "TE 5, 12, 20 ms" and scan["Voxel size"] == "1.5 x 1.5 x 2 mm"
    assert scan["Orientation"] == "axial" and scan["Readout"].startswith("one-direction")
    assert table["NotStatedByTheHeader"] == ["Sequence", "Bandwidth", "Parallel imaging factor", "Partial Fourier"]
    inversion = table["Processing"]["Dipole inversion"]
    assert inversion["Parameters"]["lam"] == 1.5e-4 and "Bilgic" in inversion["Reference"]
    assert table["BrainCoveragePercent"] == pytest.approx(first_coverage(first), abs=0.1)
    for word in ("Siemens", "3.0 T", "total variation", "ROMEO", "the mean of the whole brain mask", "ppm"):
        assert word in text


def first_coverage(first):
    k, j, i = (np.linspace(-1, 1, n)[s] for n, s in zip(SHAPE, np.ix_(*(range(n) for n in SHAPE)), strict=True))
    return 100 * (first["valid"] > 0).sum() / (np.sqrt(k**2 + j**2 + i**2) < 0.85).sum()
