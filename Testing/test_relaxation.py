"""R1, R2 and PD through the whole command on a small digital patient: files, accuracy and what happens without."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
from QMRIEstimationLib import cli, phase_cycles
from QMRIEstimationLib.errors import Misaligned
from QMRIEstimationLib.flip_series import offset_note
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.noise import noise_sd
from scipy import ndimage
from test_run import validate

SIZE = ("72", "88", "66", "--voxel-size", "2.2", "2.2", "2.2")


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """Raw data of a small patient at SNR 60."""
    raw = tmp_path_factory.mktemp("relaxation") / "raw"
    assert cli.main(["simulate", str(raw), "--size", *SIZE, "--noise", "60"]) == cli.DONE
    return raw


@pytest.fixture(scope="module")
def made(patient, tmp_path_factory):
    """Its maps."""
    output = tmp_path_factory.mktemp("relaxation_maps") / "maps"
    assert cli.main(["run", str(patient), str(output), "participant"]) == cli.DONE
    return output


@pytest.mark.parametrize("pattern", ["*echo-1_part-mag_MEGRE", "*PC0_flip-2_part-mag_VFA", "*_flip-3_VFA", "*_FLAIR"])
def test_noise_of_every_contrast_is_found_at_coarse_voxels(patient, pattern):
    (truth,) = (patient / "sourcedata" / "truth" / "sub-01" / "fmap").glob("*_magnitude.nii.gz")
    (first,) = (patient / "sub-01" / "anat").glob("*echo-1_part-mag_MEGRE.nii.gz")
    (scan,) = (patient / "sub-01" / "anat").glob(f"{pattern}.nii.gz")
    clean, noisy, image = (read_image(path)[0] for path in (truth, first, scan))
    true = np.std((noisy - clean)[clean > 0.5 * clean.max()])  # one SD for all scans of a patient
    # Voxels of 2.2 mm are full of anatomy; the SDs of the maps are to be right within a tenth.
    assert noise_sd(image[None]) == pytest.approx(true, rel=0.1)


def without(patient, folder, *patterns):
    """A copy of the patient that lacks some files and holds only the flip-angle series of the rest."""
    raw = folder / "raw"
    shutil.copytree(patient, raw)
    for pattern in patterns:
        found = list((raw / "sub-01").glob(pattern))
        assert found, pattern
        for path in found:
            path.unlink()
    return raw


def in_tissue(patient, made, name, tissue):
    """Estimate, truth and SD of a map in a tissue eroded by one voxel, lesions left out."""
    rater = patient / "derivatives" / "rater" / "sub-01" / "anat"
    with open(rater / "sub-01_dseg.tsv", encoding="utf-8") as file:
        index = {row["name"]: int(row["index"]) for row in csv.DictReader(file, delimiter="\t")}
    labels = read_image(rater / "sub-01_dseg.nii.gz")[0]
    lesions = read_image(rater / "sub-01_label-L_mask.nii.gz")[0] > 0
    anat, truth = made / "sub-01" / "anat", patient / "sourcedata" / "truth" / "sub-01" / "anat"
    valid = read_image(anat / f"sub-01_desc-{name}_mask.nii.gz")[0] > 0
    inside = np.zeros(labels.shape, bool)
    for label, number in index.items():
        if label.startswith(tissue):
            inside |= ndimage.binary_erosion(labels == number)
    inside &= ~lesions & valid
    files = (
        anat / f"sub-01_{name}map.nii.gz",
        truth / f"sub-01_{name}map.nii.gz",
        anat / f"sub-01_desc-uncertainty_{name}map.nii.gz",
    )
    return [read_image(path)[0][inside] for path in files]


@pytest.mark.parametrize(
    ("name", "tissue", "limit"),
    [
        ("R1", "white matter", 0.015),  # issue 3 asks 1 % at 1 mm; here voxels are ten times larger
        ("R1", "putamen", 0.03),
        ("R2", "white matter", 0.02),
        ("R2", "putamen", 0.02),
        ("PD", "white matter", 0.03),
    ],
)
def test_rates_and_proton_density_of_tissue_are_near_the_truth(patient, made, name, tissue, limit):
    estimate, truth, _ = in_tissue(patient, made, name, tissue)
    assert abs(estimate.mean() / truth.mean() - 1) < limit


def test_every_map_lies_on_the_grid_of_the_multi_echo_scan_and_passes_the_validator(patient, made):
    raw = nibabel.load(patient / "sub-01" / "anat" / "sub-01_echo-1_part-mag_MEGRE.nii.gz")
    for name in ("R1", "R2", "R2star", "PD", "Chi"):
        image = nibabel.load(made / "sub-01" / "anat" / f"sub-01_{name}map.nii.gz")
        assert image.shape == raw.shape
        assert np.array_equal(image.affine, raw.affine)
    assert (made / "sub-01" / "fmap" / "sub-01_TB1map.nii.gz").exists()
    assert list((made / "sub-01" / "xfm").glob("*.txt"))
    validate(made)


def test_sidecar_says_where_the_flip_angles_came_from(made):
    sidecar = json.loads((made / "sub-01" / "anat" / "sub-01_R1map.json").read_text())
    assert sidecar["TransmitField"].startswith("actual flip angle")
    assert sidecar["FlipAngle"] == [3.0, 8.0, 18.0]
    assert any("TB1AFI" in source for source in sidecar["Sources"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "said"),
    [("information", "estimated from the information content of R1"), ("n4", "estimated by N4 on R1")],
)
def test_without_a_transmit_scan_the_scale_is_open_and_the_sd_says_so(patient, made, tmp_path, method, said):
    raw = without(patient, tmp_path, "fmap/*TB1AFI*", "anat/*bssfp*")
    output, settings = tmp_path / "maps", tmp_path / "settings.toml"
    settings.write_text(f'[b1_free]\nmethod = "{method}"\n')
    command = ["run", str(raw), str(output), "participant", "--maps", "R1", "--config", str(settings)]
    assert cli.main(command) == cli.DONE
    sidecar = json.loads((output / "sub-01" / "anat" / "sub-01_R1map.json").read_text())
    assert sidecar["TransmitField"] == said
    estimate, truth, sd = in_tissue(patient, output, "R1", "white matter")
    assert np.median(sd / estimate) > 0.1  # twice the 7 % of the anchor
    shape = (estimate / truth) / np.median(estimate / truth)
    assert abs(np.median(np.abs(shape - 1))) < 0.1  # noise of single voxels; the field's shape is tested elsewhere


@pytest.mark.slow
def test_without_flip_angles_the_other_maps_are_made(patient, tmp_path):
    raw = without(patient, tmp_path, "anat/*VFA*")
    output = tmp_path / "maps"
    assert cli.main(["run", str(raw), str(output), "participant"]) == cli.DONE
    made = {path.name for path in (output / "sub-01" / "anat").glob("sub-01_*map.nii.gz")}
    assert "sub-01_Chimap.nii.gz" in made
    assert "sub-01_R1map.nii.gz" not in made


def test_off_resonance_of_bssfp_is_the_total_field_wrapped(patient, made):
    (sidecar,) = (patient / "sub-01" / "anat").glob("*bssfpPC0_flip-1_part-mag_VFA.json")
    period = 1 / json.loads(sidecar.read_text())["RepetitionTimeExcitation"]
    fmap = "sub-01/fmap/sub-01_desc-{}_fieldmap.nii.gz"
    found, truth = (
        read_image(folder / fmap.format(kind))[0]
        for folder, kind in ((made, "offresonance"), (patient / "sourcedata" / "truth", "total"))
    )
    inside = ndimage.binary_erosion(truth != 0, iterations=3) & (found != 0)
    difference = (found - truth)[inside]
    difference -= period * np.rint(difference / period)
    # Noise of some 0.5 Hz; voxels of 2.2 mm average fields and spins in different ways where the field is steep.
    assert np.median(np.abs(difference)) < 1
    assert abs(np.median(difference)) < 0.2


@pytest.mark.slow
def test_scans_that_cannot_be_brought_together_cost_only_their_own_map(patient, tmp_path, monkeypatch, capsys):
    def refuse(scans, *_):
        raise Misaligned(f"{scans[0][0]}: cannot be aligned.")

    monkeypatch.setattr(phase_cycles, "all_registered", refuse)
    command = ["run", str(patient), str(tmp_path / "maps"), "participant"]
    assert cli.main(command) == cli.DONE
    assert "flip-1_part-mag_VFA.nii.gz: cannot be aligned; what needs it was not made." in capsys.readouterr().err
    made = {path.name for path in (tmp_path / "maps" / "sub-01" / "anat").glob("sub-01_*map.nii.gz")}
    assert "sub-01_R1map.nii.gz" in made and "sub-01_R2map.nii.gz" not in made
    assert cli.main([*command, "--maps", "R2"]) == cli.SOME_FAILED


SENTENCES = {
    "another head": ("cannot be aligned",),
    "empty": ("every voxel is 0",),
    "four slices": ("has 4 slices", "another grid"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "broken", "lost"),
    [
        ("anat/*bssfpPC90_flip-2*", "another head", {"R2"}),
        ("anat/*bssfpPC90_flip-2*", "empty", {"R2"}),
        ("anat/*bssfp*", "four slices", {"R2"}),
        ("anat/*bssfpPC90_flip-1*", "four slices", {"R2"}),
        ("fmap/*body_RB1COR", "another head", {"PD"}),
        ("fmap/*TB1AFI", "empty", {"R1", "R2", "PD"}),
        ("anat/*_flip-1_VFA", "four slices", {"R1", "R2", "PD"}),
    ],
)
def test_broken_scan_costs_only_the_maps_that_need_it(patient, tmp_path, pattern, broken, lost, capsys):
    raw = without(patient, tmp_path)
    for path in (raw / "sub-01").glob(f"{pattern}.nii.gz"):
        image = nibabel.load(path)
        data, affine = np.asanyarray(image.dataobj), image.affine.copy()
        if broken == "another head":  # smaller by a tenth, and turned over
            data = ndimage.zoom(data[:, ::-1], 0.9, order=1)
            data = np.pad(data, [(0, n - m) for n, m in zip(image.shape, data.shape, strict=True)])
        elif broken == "empty":
            data = np.zeros_like(data)
        else:
            data, affine[:, 3] = data[:, :, 30:34], affine @ [0, 0, 30, 1]
        header = image.header if broken != "four slices" else None
        changed = nibabel.Nifti1Image(data, affine, header)
        changed.set_qform(affine, 1)
        changed.set_sform(affine, 1)
        nibabel.save(changed, path)
    assert cli.main(["run", str(raw), str(tmp_path / "maps"), "participant"]) == cli.DONE
    lines = [line for line in capsys.readouterr().err.splitlines() if "not made" in line]
    assert len(lines) == 1
    assert any(text in lines[0] for text in SENTENCES[broken])
    made = {path.name for path in (tmp_path / "maps" / "sub-01" / "anat").glob("sub-01_[RPC]*map.nii.gz")}
    assert made == {f"sub-01_{name}map.nii.gz" for name in {"R1", "R2", "R2star", "PD", "Chi"} - lost}


@pytest.mark.slow
def test_motion_between_the_scans_is_put_right(tmp_path, capsys):
    raw, maps = tmp_path / "raw", tmp_path / "maps"
    assert cli.main(["simulate", str(raw), "--size", *SIZE, "--noise", "60", "--motion"]) == cli.DONE
    assert cli.main(["run", str(raw), str(maps), "participant"]) == cli.DONE
    assert "R2 was made from their magnitudes alone" in " ".join(capsys.readouterr().err.split())
    # Issue 3: at most twice the bias allowed without motion
    for name, limit in (("R1", 0.02), ("R2", 0.04), ("PD", 0.04)):
        estimate, truth, _ = in_tissue(raw, maps, name, "white matter")
        assert abs(np.median(estimate - truth)) < limit * truth.mean(), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"FlipAngle": 8.0}, ("flip angles are 8, 8, 8 degrees", "two different", "--maps")),
        ({"RepetitionTimeExcitation": None}, ("RepetitionTimeExcitation", "flip-1_VFA")),
        ({"ReceiveCoilName": "own"}, ("ReceiveCoilName", "flip-2")),
    ],
)
def test_unusable_flip_angle_series_is_refused_by_name(patient, tmp_path, capsys, change, words):
    raw = without(patient, tmp_path, "anat/*bssfp*")
    for number in (1, 2, 3):
        path = raw / "sub-01" / "anat" / f"sub-01_flip-{number}_VFA.json"
        fields = json.loads(path.read_text()) | change
        if "ReceiveCoilName" in change:
            fields["ReceiveCoilName"] = f"coil {number}"
        path.write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))
    assert cli.main(["run", str(raw), str(tmp_path / "maps"), "participant"]) == cli.SOME_FAILED
    sentence = capsys.readouterr().err
    for word in words:
        assert word in sentence


def test_an_offset_of_the_magnitude_is_said(rng):
    head = np.zeros((20, 20, 20))
    head[4:16, 4:16, 4:16] = 100.0
    noisy = np.abs(head + rng.standard_normal(head.shape) + 1j * rng.standard_normal(head.shape))
    assert offset_note("flip-1", noisy, 1.0) == []
    assert offset_note("flip-1", np.where(head > 0, noisy, 0), 1.0) == []  # skull-stripped
    (sentence,) = offset_note("flip-1", noisy + 50, 1.0)
    assert "flip-1" in sentence and "subtract it" in sentence
