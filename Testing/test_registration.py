"""Rigid registration across contrasts: known motions of a painted head, its file, its refusals and its bits."""

import numpy as np
import pytest
import SimpleITK as sitk
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.phantom.anatomy import fine_geometry
from QMRIEstimationLib.phantom.options import PatientOptions
from QMRIEstimationLib.phantom.simulate import make_patient
from QMRIEstimationLib.phantom.tissue import INDEX, NAMES
from QMRIEstimationLib.phantom.truth import block_mean, draw
from QMRIEstimationLib.registration import RegistrationOptions, register_rigid, save_transform, to_itk
from QMRIEstimationLib.resample import on_grid
from scipy.spatial.transform import Rotation

SIDE = 2.5  # mm
SIZE = (64, 77, 58)
QUICK = RegistrationOptions(samples=8000)  # where accuracy is not the question
# Intensities of tissues that are not listed are those of muscle.
CONTRASTS = {
    "proton density": {"white matter": 69, "cortex": 82, "CSF": 100, "scalp": 88, "bone": 10, "muscle": 75, "air": 0},
    "T1": {"white matter": 100, "cortex": 65, "CSF": 20, "scalp": 130, "bone": 5, "muscle": 60, "air": 0},
    "FLAIR": {"white matter": 60, "cortex": 80, "CSF": 4, "scalp": 90, "bone": 3, "muscle": 50, "air": 0},
    "bSSFP": {"white matter": 40, "cortex": 50, "CSF": 150, "scalp": 100, "bone": 3, "muscle": 40, "air": 0},
}


@pytest.fixture(scope="module")
def patient():
    return make_patient(SIZE, (SIDE,) * 3, PatientOptions(lesion_count=0), np.random.SeedSequence([11, 0]))


@pytest.fixture(scope="module")
def brain(patient):
    return draw(patient).brain


@pytest.fixture(scope="module")
def fixed(patient):
    return scan(patient, "T1", np.eye(4))


def rigid(shift, degrees):
    """4x4 about the middle of the magnet."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees)).as_matrix()
    matrix[:3, 3] = shift
    return matrix


def scan(patient, contrast, pose, geometry=None, snr=40.0, seed=0):
    """Rician image of the head, painted anew (not interpolated); `pose` leads from the scanner to the head, RAS."""
    geometry = geometry or patient.geometry
    fine = fine_geometry(geometry)
    classes, _ = patient.head.paint(fine.shape, patient.model @ pose @ fine.ijk_to_ras)
    values = np.full(len(NAMES), CONTRASTS[contrast]["muscle"], np.float32)
    for name, value in CONTRASTS[contrast].items():
        values[INDEX[name]] = value
    image = block_mean(values[classes])
    k, j, i = np.indices(geometry.shape, dtype=np.float32, sparse=True)
    place = [p / n - 0.5 for p, n in zip((k, j, i), geometry.shape, strict=True)]
    if contrast == "bSSFP":  # bands, which no other contrast shows
        image *= 0.1 + 0.9 * np.abs(np.sin(9 * place[1] + 5 * place[0] * place[2] + 6 * place[2]))
    image *= 1 + 0.5 * place[2] - 0.8 * place[0] ** 2  # receive field
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, *image.shape), np.float32) * np.float32(values[INDEX["white matter"]] / snr)
    return np.hypot(image + noise[0], noise[1])


def error(registration, pose, brain, geometry):
    """Root mean square error over the brain (mm) and error of the rotation (degrees)."""
    truth = np.linalg.inv(pose)  # from the fixed scan, where head and scanner agree, to the moving one
    places = np.argwhere(brain)[::50, ::-1] @ geometry.ijk_to_ras[:3, :3].T + geometry.ijk_to_ras[:3, 3]
    difference = registration.ras_transform - truth
    distance = np.sqrt(((places @ difference[:3, :3].T + difference[:3, 3]) ** 2).sum(1).mean())
    turn = Rotation.from_matrix(registration.ras_transform[:3, :3] @ truth[:3, :3].T).magnitude()
    return distance, np.rad2deg(turn)


@pytest.mark.parametrize(
    ("contrast", "shift", "degrees"),
    [
        ("T1", (1.2, -1.2, 1.1), (1.2, -1.0, 1.2)),
        ("proton density", (1.2, 1.2, -1.1), (-1.2, 1.2, 1.0)),
        ("FLAIR", (0, 8, 0), (0, 0, 0)),
        ("bSSFP", (-4.5, 4.5, 4.5), (4, -4, 3)),
    ],
)
def test_known_motion_is_found_across_contrasts(patient, brain, fixed, contrast, shift, degrees):
    pose = rigid(shift, degrees)
    found = register_rigid(scan(patient, contrast, pose, seed=1), patient.geometry, fixed, patient.geometry, mask=brain)
    distance, turn = error(found, pose, brain, patient.geometry)
    assert found.accepted
    assert distance < 0.25 * SIDE  # measured 0.04 to 0.2; 0.02 to 0.06 on the digital patient of 1 mm voxels
    assert turn < 0.25
    assert distance < 4 * max(found.misfit, 0.1)  # the misfit tells the size of the error, without what both ways share
    assert found.shift_mm == pytest.approx(np.linalg.norm(shift), abs=1.5)  # at the mask's middle, not the magnet's


def test_coarse_oblique_scan_is_aligned_to_a_tenth_of_its_voxel(patient, brain, fixed):
    turned = rigid((0, 0, 0), (12, 0, 0))[:3, :3] @ np.diag([4.0, 4.0, 4.0])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned, -turned @ [20, 24, 18]
    coarse, pose = Geometry((37, 49, 41), matrix), rigid((1.5, 1.0, -1.0), (1.5, 1.0, -1.0))
    found = register_rigid(scan(patient, "FLAIR", pose, coarse), coarse, fixed, patient.geometry, mask=brain)
    assert found.accepted
    assert error(found, pose, brain, patient.geometry)[0] < 0.4  # measured 0.16 mm


@pytest.mark.parametrize("contrast", ["proton density", "bSSFP"])
def test_head_that_did_not_move_gives_exactly_the_identity(patient, brain, fixed, contrast):
    moving = scan(patient, contrast, np.eye(4), seed=1)
    found = register_rigid(moving, patient.geometry, fixed, patient.geometry, mask=brain)
    assert found.identity
    assert found.accepted
    assert (found.shift_mm, found.rotation_deg, found.notes) == (0, 0, ())


def test_saved_transform_resamples_the_moving_scan_onto_the_fixed_one_in_itk(patient, brain, fixed, tmp_path):
    pose = rigid((6, -3, 4), (4, 0, -3))
    moving = scan(patient, "T1", pose, seed=1)
    found = register_rigid(moving, patient.geometry, fixed, patient.geometry, QUICK, brain)
    path = tmp_path / "xfm" / "sub-01_from-MEGRE_to-VFA_mode-image_xfm.txt"
    save_transform(path, found)
    grid = to_itk(fixed, patient.geometry)
    resampled = sitk.Resample(to_itk(moving, patient.geometry), grid, sitk.ReadTransform(str(path)), sitk.sitkLinear)
    resampled = sitk.GetArrayFromImage(resampled)
    ours, valid = on_grid(moving, patient.geometry, patient.geometry, found.ras_transform)
    inside = brain & valid
    assert np.abs(resampled - ours)[inside].max() < 1e-2  # of 100; ITK interpolates in double precision
    before, after = (np.corrcoef(image[inside], fixed[inside])[0, 1] for image in (moving, resampled))
    assert after > 0.95 > before
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]


def test_bits_do_not_depend_on_the_number_of_threads(patient, brain, fixed):
    moving = scan(patient, "FLAIR", rigid((2, 0, 1), (0, 1, 0)), seed=1)
    before, bits = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), []
    try:
        for threads in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found = register_rigid(moving, patient.geometry, fixed, patient.geometry, QUICK, brain)
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
            bits.append(found.ras_transform.tobytes() + np.float64(found.misfit).tobytes())
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert bits[0] == bits[1]


def test_misfit_beyond_the_limit_is_refused_with_a_sentence(patient, brain, fixed, rng):
    noise = rng.rayleigh(1.0, fixed.shape).astype(np.float32)
    found = register_rigid(noise, patient.geometry, fixed, patient.geometry, QUICK, brain)
    assert not found.accepted
    assert found.misfit > RegistrationOptions().largest_misfit
    assert "cannot be aligned" in found.problem


@pytest.mark.parametrize("broken", ["empty", "thin", "elsewhere"])
def test_scan_that_cannot_be_compared_is_refused_not_raised(patient, brain, fixed, broken):
    moving, geometry = scan(patient, "T1", np.eye(4)), patient.geometry
    if broken == "empty":
        moving = np.zeros_like(moving)
    elif broken == "thin":
        moving, geometry = moving[:3], Geometry((3, *geometry.shape[1:]), geometry.ijk_to_ras)
    else:
        matrix = geometry.ijk_to_ras.copy()
        matrix[:3, 3] += 900
        geometry = Geometry(geometry.shape, matrix)
    found = register_rigid(moving, geometry, fixed, patient.geometry, QUICK, brain)
    assert not found.accepted
    assert found.misfit == np.inf
    assert "cannot be aligned" in found.problem


def test_wrong_shape_names_the_array(patient, fixed):
    with pytest.raises(ValueError, match="moving"):
        register_rigid(fixed[1:], patient.geometry, fixed, patient.geometry)


def test_cancelling_stops_the_descent(patient, brain, fixed):
    calls = []

    def cancelled():
        calls.append(1)
        return len(calls) > 5

    with pytest.raises(Cancelled):
        register_rigid(fixed, patient.geometry, fixed, patient.geometry, mask=brain, cancelled=cancelled)
    assert len(calls) < 12
