"""The main job on a real scan: three echoes of a human brain stem at 7 T, magnitude and phase (../shared/data)."""

import json
import logging

import nibabel
import numpy as np
import pytest
from QMRIEstimationLib import cli
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.mask import brain_mask
from QMRIEstimationLib.qsm.field import field_map

PLAIN = "[r2star]\nmethod = 'log-linear'\ngradient_correction = false\n"


@pytest.fixture(scope="module")
def brain_stem(shared_data):
    """Magnitude and phase [echo, k, j, i], echo times (s), affine."""
    folder = shared_data / "megre_7t_romeo"
    about = json.loads((folder / "megre.json").read_text())
    images = [nibabel.load(folder / name) for name in ("mag.nii.gz", "phase_rad.nii.gz")]
    magnitude, phase = (np.ascontiguousarray(image.get_fdata(dtype=np.float32).T) for image in images)
    return magnitude, phase, tuple(about["EchoTime_s"]), images[0].affine


@pytest.fixture(scope="module")
def bids(brain_stem, tmp_path_factory):
    """The same as a BIDS tree, one file an echo and part."""
    magnitude, phase, times, affine = brain_stem
    root = tmp_path_factory.mktemp("brain_stem") / "raw"
    anat = root / "sub-01" / "anat"
    anat.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "brain stem", "BIDSVersion": "1.10.0"}')
    for echo, te in enumerate(times, start=1):
        for part, array in (("mag", magnitude), ("phase", phase)):
            stem = f"sub-01_echo-{echo}_part-{part}_MEGRE"
            image = nibabel.Nifti1Image(array[echo - 1].T, affine)
            image.set_sform(affine, 1)
            image.set_qform(affine, 1)
            nibabel.save(image, anat / f"{stem}.nii.gz")
            sidecar = {"EchoTime": te, "MagneticFieldStrength": 7}
            (anat / f"{stem}.json").write_text(json.dumps(sidecar | ({"Units": "rad"} if part == "phase" else {})))
    return root


def run(bids, output, *options):
    assert cli.main(["run", str(bids), str(output), "participant", *options]) == 0
    return lambda name: nibabel.load(output / "sub-01" / "anat" / f"sub-01_{name}.nii.gz").get_fdata().T


def test_log_linear_r2star_of_the_brain_stem_has_the_known_quartiles(bids, brain_stem, tmp_path, caplog):
    config = tmp_path / "plain.toml"
    config.write_text(PLAIN)
    bright = brain_stem[0][0] > brain_stem[0][0].mean()
    plain = run(bids, tmp_path / "plain", "--config", str(config))("R2starmap")
    default = run(bids, tmp_path / "default")("R2starmap")
    caplog.set_level(logging.INFO)
    for name, values in (("log-linear", plain), ("default", default)):
        logging.info("R2* of the brain stem, %s: %s", name, np.percentile(values[bright], (25, 50, 75)).round(2))
    assert np.percentile(plain[bright], (25, 50, 75)) == pytest.approx((25.45, 33.37, 41.28), abs=0.05)


def test_susceptibility_of_the_brain_stem_is_finite_and_small(bids, tmp_path):
    read = run(bids, tmp_path / "out")
    chi, valid = read("Chimap"), read("desc-Chi_mask") > 0
    assert valid.mean() > 0.5
    assert np.isfinite(chi).all()
    assert (chi[~valid] == 0).all()
    assert 0.005 < chi[valid].std() < 0.2  # ppm: tissue differs by tens of ppb, veins by 0.3 ppm


def test_no_unwrapped_echo_is_more_than_pi_from_the_line_through_the_others(brain_stem):
    magnitude, phase, times, affine = brain_stem
    geometry = Geometry(magnitude.shape[1:], affine)
    mask, _ = brain_mask(magnitude, geometry)
    unwrapped = field_map(magnitude, phase, times, mask, geometry, noise_sd=1.0).unwrapped
    for echo in range(3):
        others = [e for e in range(3) if e != echo]
        slope = (unwrapped[others[1]] - unwrapped[others[0]]) / (times[others[1]] - times[others[0]])
        line = unwrapped[others[0]] + slope * (times[echo] - times[others[0]])
        # With three echoes the weighted line through two is that through them.
        assert np.abs(unwrapped[echo] - line)[mask].max() <= np.pi + 1e-4
    turns = (unwrapped - phase)[:, mask] / (2 * np.pi)
    assert np.abs(turns - np.rint(turns)).max() < 1e-3
