"""Susceptibility from raw complex data against the truth, beside the usual chain of tools, by the scorer of QSM-CI."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from QMRIEstimationLib import cli
from QMRIEstimationLib.acquisition import Role
from QMRIEstimationLib.io.bids import read_session
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.mask import brain_mask
from QMRIEstimationLib.noise import noise_sd
from QMRIEstimationLib.qsm.background import BackgroundOptions
from QMRIEstimationLib.qsm.chain import QsmOptions, susceptibility
from QMRIEstimationLib.qsm.field import FieldOptions, field_map
from QMRIEstimationLib.qsm.inversion import InversionOptions, invert
from QMRIEstimationLib.units import hz_per_ppm
from qsm_ci import qsm_eval
from scipy import ndimage

pytestmark = pytest.mark.slow

NUCLEI = ("thalamus", "caudate", "putamen", "pallidum", "red nucleus", "substantia nigra", "dentate")
DEEP = 5.0  # mm from the surface of the brain
PATIENTS = {
    "straight": ("--seed", "57", "--noise", "80", "--phase-offset", "300"),
    "oblique": ("--seed", "58", "--noise", "40", "--phase-offset", "200", "--obliquity", "22"),
}


@pytest.fixture(scope="module", params=PATIENTS)
def patient(request, tmp_path_factory):
    """Echoes, brain and truth of one digital patient, with the field map of the default chain."""
    raw = tmp_path_factory.mktemp(request.param) / "raw"
    assert cli.main(["simulate", str(raw), *PATIENTS[request.param]]) == cli.DONE
    session = read_session(raw, "01")
    scan = session.of(Role.MULTI_ECHO_GRE)[0]
    magnitude, phase = scan.read()
    mask = session.brain_mask()[0] > 0
    truth, rater = (raw / name for name in ("sourcedata/truth/sub-01", "derivatives/rater/sub-01/anat"))
    with open(rater / "sub-01_dseg.tsv", encoding="utf-8") as file:
        index = {row["name"]: int(row["index"]) for row in csv.DictReader(file, delimiter="\t")}
    with open(truth / "anat" / "sub-01_desc-lesions_stats.tsv", encoding="utf-8") as file:
        rims = [int(row["lesion"]) for row in csv.DictReader(file, delimiter="\t") if row["rim"] not in ("none", "n/a")]
    noise = noise_sd(magnitude, phase, scan.geometry)
    found = field_map(magnitude, phase, scan.echo_times, mask, scan.geometry, noise)
    return SimpleNamespace(
        scan=scan,
        geometry=scan.geometry,
        magnitude=magnitude,
        phase=phase,
        mask=mask,
        noise=noise,
        field=found,
        hz=hz_per_ppm(scan.field_strength),
        chi=read_image(truth / "anat" / "sub-01_Chimap.nii.gz")[0],
        local=read_image(truth / "fmap" / "sub-01_desc-local_fieldmap.nii.gz")[0],
        lesions=read_image(truth / "anat" / "sub-01_seg-lesions_dseg.nii.gz")[0],
        rims=rims,
        labels=read_image(rater / "sub-01_dseg.nii.gz")[0],
        index=index,
        depth=_depth(mask, scan.geometry),
    )


def _depth(mask, geometry):
    return ndimage.distance_transform_edt(np.pad(mask, 1), sampling=geometry.voxel_size)[1:-1, 1:-1, 1:-1]


@pytest.fixture(scope="module")
def ours(patient):
    """Result of the default chain."""
    return _chain(patient, patient.field, QsmOptions())


@pytest.fixture(scope="module")
def usual(patient):
    """Result of MCPC-3D-S, ROMEO, weighted mean, V-SHARP of 12 radii and RTS."""
    p = patient
    options = FieldOptions(offset="mcpc-3d-s", fit="weighted mean")
    field = field_map(p.magnitude, p.phase, p.scan.echo_times, p.mask, p.geometry, p.noise, options)
    return _chain(p, field, QsmOptions(background=BackgroundOptions("v-sharp"), inversion=InversionOptions("rts")))


def _chain(p, field, options):
    return susceptibility(
        field, p.magnitude, p.mask, p.geometry, p.scan.field_strength, options, header_polarity=p.scan.phase_polarity
    )


def error(p, chi, valid):
    """Norm of the demeaned error over that of the demeaned truth, percent, in valid voxels deeper than DEEP."""
    inside = valid & (p.depth > DEEP)
    found, truth = (image[inside] - image[inside].mean() for image in (chi, p.chi))
    return 100 * np.linalg.norm(found - truth) / np.linalg.norm(truth)


def slope(p, chi, valid):
    """Of the means of the nuclei against their truth."""
    regions = [ndimage.binary_erosion(p.labels == i) for name, i in p.index.items() if name.startswith(NUCLEI)]
    regions = [region & valid & (p.lesions == 0) for region in regions]
    means = [[image[region].mean() for region in regions if region.sum() > 20] for image in (p.chi, chi)]
    return np.polyfit(*means, 1)[0]


def rim_contrast(p, chi, valid):
    """Shell of 1.5 mm less core of rim lesions, over its truth, mean over the lesions."""
    kept = []
    for lesion in p.rims:
        own = p.lesions == lesion
        depth = _depth(own, p.geometry)
        shell, core = own & valid & (depth <= 1.5), own & valid & (depth > 3)
        true = p.chi[shell].mean() - p.chi[core].mean() if core.sum() >= 5 else 0
        if abs(true) > 0.005:
            kept.append((chi[shell].mean() - chi[core].mean()) / true)
    assert len(kept) >= 3
    return np.mean(kept)


def test_own_brain_mask_is_that_of_the_patient(patient):
    own, notes = brain_mask(patient.magnitude, patient.geometry)
    assert 2 * (own & patient.mask).sum() / (own.sum() + patient.mask.sum()) > 0.95  # issue 4; found 0.99
    assert notes == ()


def test_error_is_within_the_limit_and_far_below_the_usual_chain(patient, ours, usual):
    both = ours.valid & usual.valid
    own = error(patient, ours.chi, both)
    assert own < 28  # issue 4; found 17 and 24
    assert own < 0.6 * error(patient, usual.chi, both)


def test_nuclei_keep_their_susceptibility(patient, ours):
    assert 0.95 < slope(patient, ours.chi, ours.valid) < 1.05  # issue 4; found 1.03, and up to 1.06 in other patients


def test_rims_keep_their_contrast(patient, ours):
    assert rim_contrast(patient, ours.chi, ours.valid) > 0.9  # issue 4


def test_nearly_all_of_the_brain_is_covered(ours):
    assert ours.coverage > 0.95  # issue 4


def test_structure_is_seen_as_the_scorer_of_the_field_sees_it(patient, ours, usual):
    deep = patient.mask & (patient.depth > DEEP)
    scores = [qsm_eval.xsim(result.chi * deep, patient.chi * deep, deep) for result in (ours, usual)]
    assert scores[0] > 0.75  # found 0.79 and 0.83
    assert scores[0] > 1.5 * scores[1]


def test_chain_leaves_nothing_but_noise_of_the_field(patient, ours):
    inside = ours.valid & (patient.depth > DEEP)
    rest, sd = ours.misfit[inside], patient.field.sd[inside]
    assert 1.4826 * np.median(np.abs(rest / sd)) < 1.5


def all_echoes(patient):
    return np.sqrt(np.square(patient.magnitude).sum(axis=0))


@pytest.mark.parametrize(("method", "clean", "noisy"), [("tv", 13.5, 24), ("fansi", 14, 24), ("rts", 27, 32)])
def test_inversion_of_the_true_field(patient, method, clean, noisy):
    # Issue 4 asks tv for 13.5 and 24 on the straight patient; on the oblique one no peer was measured, a third more.
    more = 1.0 if patient.geometry.b0_dir[0] > 0.999 else 4 / 3
    rng = np.random.default_rng(1)
    sd = patient.field.sd / patient.hz
    weight = np.where(sd > 0, patient.field.reliability / np.where(sd > 0, sd, 1), 0).astype(np.float32)
    for limit, noise in ((clean, 0), (noisy, sd)):
        field = (patient.local / patient.hz + noise * rng.standard_normal(sd.shape)).astype(np.float32)
        found = invert(
            field, sd, weight, all_echoes(patient), patient.mask, patient.geometry, InversionOptions(method),
            2 * np.pi * patient.hz * patient.field.echo_spacing,
        )  # fmt: skip
        assert error(patient, found.chi, patient.mask & (sd > 0)) < more * limit


def test_ilsqr_is_as_good_as_its_ports_or_better(patient):
    sd = patient.field.sd / patient.hz
    field = (patient.local / patient.hz).astype(np.float32)
    arrays = field, sd, (sd > 0).astype(np.float32), all_echoes(patient), patient.mask, patient.geometry
    found = invert(*arrays, InversionOptions("ilsqr")).chi
    deep = patient.mask & (patient.depth > DEEP)
    assert error(patient, found, patient.mask) < 45  # issue 4; ports 46 to 48; found 40 and 42
    straight = patient.geometry.b0_dir[0] > 0.999
    # Ports 0.65, and issue 4 asks for 0.78 on such a patient; the oblique one is harder. Found 0.80 and 0.74.
    assert qsm_eval.xsim(found * deep, patient.chi * deep, deep) > (0.78 if straight else 0.72)
