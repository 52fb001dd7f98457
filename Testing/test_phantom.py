"""The digital MS patient: its field, object, images, files and truth."""

import hashlib
import json

import nibabel
import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.phantom import lesion_values
from QMRIEstimationLib.phantom.anatomy import Head, Patient, fine_geometry
from QMRIEstimationLib.phantom.examination import SIGNAL_UNIT, examination
from QMRIEstimationLib.phantom.field import dipole_field, far_grid, open_field
from QMRIEstimationLib.phantom.lesions import KINDS, draw_lesions
from QMRIEstimationLib.phantom.options import PatientOptions
from QMRIEstimationLib.phantom.render import render
from QMRIEstimationLib.phantom.simulate import make_patient, simulate
from QMRIEstimationLib.phantom.tissue import INDEX, QUANTITIES, tissue_table
from QMRIEstimationLib.phantom.truth import averaged_map, draw

SIZE, VOXEL = (64, 72, 56), (2.5, 2.5, 2.5)
SMALL = {"size": (32, 36, 28), "voxel_size": (5.0, 5.0, 5.0)}


@pytest.fixture(scope="module")
def patient():
    return make_patient(SIZE, VOXEL, PatientOptions(), np.random.SeedSequence([7, 0]))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patients") / "bids"
    simulate(folder, seed=5, **SMALL)
    return folder


def _sphere(shape, voxel_size, radius, centre=(0.0, 0.0, 0.0), parts=5):
    """Share of every voxel inside a sphere about the middle of the grid (mm)."""
    share = np.zeros(shape, np.float32)
    steps = (np.arange(parts) + 0.5) / parts - 0.5
    axes = [(np.arange(n) - (n - 1) / 2) * d - c for n, d, c in zip(shape, voxel_size, centre, strict=True)]
    for dz in steps:
        for dy in steps:
            for dx in steps:
                z, y, x = (a + s * d for a, s, d in zip(axes, (dz, dy, dx), voxel_size, strict=True))
                share += z[:, None, None] ** 2 + y[:, None] ** 2 + x**2 < radius**2
    return share / parts**3, np.meshgrid(*axes, indexing="ij")


def _analytic(axes, radius, b0_dir):
    """Field of a sphere of 1 ppm: 0 inside (Lorentz), (1/3) (R/r)^3 (3 cos^2 - 1) outside."""
    r = np.sqrt(sum(a * a for a in axes)) + 1e-9
    cosine = sum(a * b for a, b in zip(axes, b0_dir, strict=True)) / r
    return np.where(r > radius, (radius / r) ** 3 * (3 * cosine**2 - 1) / 3, 0), r


def _voxels(fine):
    k, j, i = (n // 2 for n in fine.shape)
    return fine.reshape(k, 2, j, 2, i, 2).mean((1, 3, 5))


@pytest.mark.parametrize("angle", [0, 25, 60])
@pytest.mark.parametrize("centre", [(0, 0, 0), (7.5, -10.0, 6.0)])
def test_sphere_field_is_within_2_percent_of_the_analytic_one(angle, centre):
    # the criterion: beyond 1.5 voxels (of two sub-voxels) from the surface, over the largest field
    side, radius = (1.0, 1.2, 0.9), 14.0
    b0_dir = (np.cos(np.deg2rad(angle)), 0.6 * np.sin(np.deg2rad(angle)), 0.8 * np.sin(np.deg2rad(angle)))
    chi, axes = _sphere((72, 64, 80), side, radius, centre)
    analytic, r = _analytic(axes, radius, b0_dir)
    error = _voxels(open_field(chi, side, b0_dir) - analytic)
    far = _voxels(np.abs(r - radius)) > 1.5 * 2 * max(side)
    assert np.abs(error[far]).max() < 0.02 * 2 / 3


def test_field_inside_a_sphere_is_zero():
    chi, axes = _sphere((64, 64, 64), (1.0, 1.0, 1.0), 14.0)
    field = open_field(chi, (1.0, 1.0, 1.0), (0.8, 0.6, 0.0))
    inside = sum(a * a for a in axes) < 11.0**2
    assert abs(field[inside].mean()) < 2e-3  # the far images at three box sizes


def test_surroundings_outside_the_box_reach_into_it():
    # a sphere cut by the edge of the box, its other part on the far grid, must be a whole sphere again
    shape, side, b0_dir, radius = (64, 64, 64), (1.0,) * 3, (1.0, 0.0, 0.0), 15.0
    middle = (0.0, 0.0, 34.0)  # two millimetres beyond the face
    chi, axes = _sphere(shape, side, radius, middle)
    far_shape, first = far_grid(shape)
    shift = [(f - 1) / 2 - (a + 7.5) for f, a in zip(far_shape, first, strict=True)]  # far middle to box middle
    around, _ = _sphere(far_shape, (4.0,) * 3, radius, tuple(m - 4 * s for m, s in zip(middle, shift, strict=True)))
    analytic, r = _analytic(axes, radius, b0_dir)
    error = open_field(chi, side, b0_dir, around) - analytic
    far = (r > radius + 3) & (axes[2] < -10)  # two far voxels from the cut, where the interpolation holds
    assert np.abs(error[far]).max() < 0.02 * 2 / 3


def test_dipole_field_is_linear_and_has_no_mean(rng):
    chi = rng.standard_normal((16, 18, 20)).astype(np.float32)
    field = dipole_field(chi, (1, 1, 2), (0.6, 0.0, 0.8))
    assert abs(field.mean()) < 1e-6
    np.testing.assert_allclose(dipole_field(3 * chi, (1, 1, 2), (0.6, 0.0, 0.8)), 3 * field, atol=1e-5)


def test_every_stage_substage_rim_and_pattern_is_present(patient):
    for column, wanted in (
        ("stage", {"early active", "late active", "chronic active", "chronic inactive"}),
        ("substage", {"n/a", "late active with rim", "remyelinated", "late inactive"}),
        ("rim", {"none", "partial", "full"}),
        ("enhancement", {"none", "nodular", "closed ring", "open ring"}),
    ):
        assert {lesion[column] for lesion in patient.lesions} == wanted
    assert len(patient.lesions) == PatientOptions().lesion_count
    assert sum(lesion["confluent_with"] is not None for lesion in patient.lesions) == 4
    assert any(lesion["central_vein"] for lesion in patient.lesions)
    assert {decoy["decoy"] for decoy in patient.decoys} == {"vein across the edge", "gray matter beside"}


def test_first_ten_kinds_show_everything():
    assert {kind.stage for kind in KINDS[:10]} == {kind.stage for kind in KINDS}
    assert {kind.enhancement for kind in KINDS[:10]} == {"none", "nodular", "closed ring", "open ring"}
    assert {kind.rim for kind in KINDS[:10]} == {"none", "partial", "full"}


def test_rim_coverage_of_the_truth_is_that_of_the_object(patient):
    counts = np.bincount(patient.classes.ravel(), minlength=len(patient.table.values))
    for lesion in patient.lesions:
        if lesion["rim"] == "none":
            continue
        # drawn 0.35-0.6 and 0.8-1; neighbours and gray matter cut into some shells
        low, high = {"partial": (0.25, 0.7), "full": (0.65, 1.0)}[lesion["rim"]]
        assert low <= lesion["rim_coverage"] <= high
        core, edge, rim = np.flatnonzero(patient.table.lesion == lesion["lesion"])[:3]
        # veins run through some lesions after the truth was counted
        assert counts[rim] / (counts[rim] + counts[edge]) == pytest.approx(lesion["rim_coverage"], abs=0.05)
        assert patient.table.column("chi")[rim] > patient.table.column("chi")[core] + 0.014


def test_every_structure_has_a_plausible_volume(patient):
    # adults: white matter 350-600 ml, cortex 350-650 ml, thalamus 8-18 ml both sides (wide: shapes are assumed)
    volumes = np.bincount(patient.classes.ravel(), minlength=80) * patient.fine.voxel_volume / 1000
    for name, low, high in (
        ("white matter", 300, 700),
        ("cortex", 300, 700),
        ("CSF", 150, 550),
        ("thalamus", 6, 20),
        ("putamen", 4, 14),
        ("pallidum", 1.2, 5),
        ("red nucleus", 0.1, 1),
        ("dentate", 0.5, 3),
        ("vein", 2, 20),
        ("bone", 150, 600),
    ):
        assert low < volumes[INDEX[name]] < high, name


def test_truth_is_the_mean_of_the_sub_voxels(patient):
    values = patient.quantity("r2star")
    expected = values.reshape(56, 2, 72, 2, 64, 2).astype(np.float64).mean((1, 3, 5))
    np.testing.assert_allclose(averaged_map(patient, "r2star"), expected, rtol=2e-6)  # float32 sums


def test_lesion_values_follow_the_published_ones():
    # means of many drawn lesions against the published means, in standard errors of the published SD
    table = tissue_table(3.0)
    lesions = draw_lesions(len(KINDS) * 40, 3.0, table, np.random.default_rng(1))
    nawm = table.values[INDEX["white matter"]]
    early = np.array([lesion.core - nawm for lesion in lesions if lesion.kind.stage == "early active"])
    for q, name, unit in (("chi", "zhang16_nod_chi", 1e3), ("r2star", "zhang16_nod_r2s", 1.0)):
        value = lesion_values.VALUES[name]
        drawn = early[:, QUANTITIES.index(q)] * unit
        assert abs(drawn.mean() - value.mean) < 4 * value.sd / np.sqrt(len(drawn))
        assert 0.7 * value.sd < drawn.std() < 1.05 * value.sd  # cut at 1.8 SD


def test_r2star_contrast_grows_with_the_field():
    low, high = (tissue_table(b0).column("r2star") for b0 in (3.0, 7.0))
    white, pallidum = INDEX["white matter"], INDEX["pallidum"]
    contrast = (high[pallidum] - high[white]) / (low[pallidum] - low[white])
    assert contrast == pytest.approx(7 / 3, rel=1e-4)


def _uniform(tissue, shape=(4, 4, 4)):
    """A patient that is one tissue throughout, 1 mm."""
    geometry = Geometry(shape, np.eye(4))
    fine = fine_geometry(geometry)
    classes = np.full(fine.shape, INDEX[tissue], np.uint16)
    head = Head(np.zeros((2, 2, 2, 7), np.float32), 0.0, 0.7)
    return Patient(geometry, fine, classes, np.zeros(fine.shape, np.int8), tissue_table(3.0), np.eye(4), head, 3.0)


def _rendered(patient, run, field):
    b1 = np.ones(patient.geometry.shape, np.float32)
    times = {"decay_times": run.decay_times, "phase_times": run.phase_times}
    cycle = {"cycle_time": run.cycle_time, "cycle_phase": run.cycle_phase}
    real, imag = render(
        patient, field, np.eye(4), patient.geometry, b1, run.table(patient), decay=run.decay(patient), **cycle, **times
    )
    return real + 1j * imag


def test_uniform_tissue_decays_with_its_r2star_and_turns_with_the_field():
    patient, run = _uniform("white matter"), examination(PatientOptions())[0]
    signal = _rendered(patient, run, np.full(patient.fine.shape, 12.5, np.float32))[:, 1, 1, 1]
    te = np.array(run.sequence.echo_times)
    r2star = patient.table.column("r2star")[INDEX["white matter"]]
    expected = np.abs(signal[0]) * np.exp(-(te - te[0]) * r2star + 2j * np.pi * 12.5 * te)
    np.testing.assert_allclose(signal, expected, rtol=2e-5)  # float32 arithmetic


def test_signal_is_proton_density_times_the_ernst_formula():
    # ideal spoiling; an increment of 50 degrees at TR 36 ms differs from it by a few percent
    patient, run = _uniform("white matter"), examination(PatientOptions())[0]
    signal = abs(_rendered(patient, run, np.zeros(patient.fine.shape, np.float32))[0, 1, 1, 1])
    r1, _, r2star, pd, _ = patient.table.values[INDEX["white matter"]]
    e1, flip = np.exp(-run.sequence.repetition_time * r1), run.sequence.flip_angle
    ernst = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip)) * np.exp(-run.sequence.echo_times[0] * r2star)
    assert signal == pytest.approx(SIGNAL_UNIT * pd * ernst, rel=0.05)


def test_two_frequencies_in_a_voxel_beat():
    # half of the sub-voxels at +f, half at -f: the mean is a cosine, without any phase
    patient, run = _uniform("white matter"), examination(PatientOptions())[0]
    field = np.where(np.arange(8)[:, None, None] % 2, 20.0, -20.0) * np.ones((8, 8, 8))
    still = _rendered(patient, run, np.zeros((8, 8, 8), np.float32))
    beating = _rendered(patient, run, field.astype(np.float32))
    cosine = np.cos(2 * np.pi * 20.0 * np.array(run.sequence.echo_times))
    np.testing.assert_allclose(beating[:, 1, 1, 1], still[:, 1, 1, 1] * cosine, atol=2e-5 * abs(still).max())


def test_bssfp_bands_repeat_with_the_inverse_of_the_repetition_time():
    patient = _uniform("white matter")
    runs = [run for run in examination(PatientOptions()) if run.suffix == "VFA" and run.has_phase]
    one, two = runs[0], runs[2]  # cycles of 0 and 180 degrees
    period = 1 / one.sequence.repetition_time

    def size(run, field):
        return abs(_rendered(patient, run, np.full((8, 8, 8), field, np.float32))[0, 1, 1, 1])

    assert size(one, 10.0) == pytest.approx(size(one, 10.0 + period), rel=1e-3)
    # half a period off resonance is what half a turn of the phase cycle is
    assert size(one, 10.0) == pytest.approx(size(two, 10.0 + period / 2), rel=1e-3)
    assert size(one, 0.0) < 0.5 * size(one, period / 2)  # the band


def test_gadolinium_brightens_enhancing_lesions_only(patient):
    plain, contrast = (run for run in examination(PatientOptions()) if run.suffix == "T1w")
    before, after = (run.table(patient)[:, 17, 0, 0] for run in (plain, contrast))
    uptake = patient.table.gadolinium > 0
    assert (after[uptake] > 1.02 * before[uptake]).all()
    np.testing.assert_array_equal(after[~uptake], before[~uptake])
    numbers = set(patient.table.lesion[uptake]) - {0}
    assert numbers == {lesion["lesion"] for lesion in patient.lesions if lesion["enhancement"] != "none"}


def test_snr_of_the_images_is_the_one_asked_for(dataset):
    magnitude = _read(dataset, "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    tissue = _read(dataset, "derivatives/rater/sub-01/anat/sub-01_dseg.nii.gz")
    lesions = _read(dataset, "derivatives/rater/sub-01/anat/sub-01_label-L_mask.nii.gz")
    corner = magnitude[:, :3, :3]  # air: the magnitude is Rayleigh, mean square 2 sd^2
    noise = np.sqrt((corner**2).mean() / 2)
    white = magnitude[(tissue == 1) & (lesions == 0)].mean()
    # 252 voxels give the noise to 3 %
    assert white / noise == pytest.approx(PatientOptions().snr, rel=0.1)


def test_integers_on_disk_are_far_finer_than_the_noise(dataset):
    image = nibabel.load(dataset / "sub-01/anat/sub-01_echo-1_part-mag_MEGRE.nii.gz")
    magnitude = np.asarray(image.dataobj)
    assert image.get_data_dtype() == np.int16
    noise = np.sqrt((magnitude[:3, :3] ** 2).mean() / 2)
    assert image.dataobj.slope < 0.05 * noise  # adds 0.01 % to the variance
    phase = np.asarray(nibabel.load(dataset / "sub-01/anat/sub-01_echo-1_part-phase_MEGRE.nii.gz").dataobj)
    assert 3.1 < phase.max() <= np.pi * (1 + 1e-6)
    assert -np.pi * (1 + 1e-6) <= phase.min() < -3.1


def test_raw_names_and_sidecars_are_those_of_the_contract(dataset):
    subject = dataset / "sub-01"
    names = {str(p.relative_to(subject)) for p in subject.rglob("*.nii.gz")}
    expected = {f"anat/sub-01_echo-{n}_part-{p}_MEGRE.nii.gz" for n in range(1, 7) for p in ("mag", "phase")}
    expected |= {f"anat/sub-01_flip-{n}_VFA.nii.gz" for n in (1, 2, 3)}
    expected |= {
        f"anat/sub-01_acq-bssfpPC{c}_flip-{n}_part-{p}_VFA.nii.gz"
        for c in (0, 90, 180, 270)
        for n in (1, 2)
        for p in ("mag", "phase")
    }
    expected |= {f"fmap/sub-01_acq-{a}_TB1AFI.nii.gz" for a in ("tr1", "tr2")}
    expected |= {f"fmap/sub-01_acq-{a}_RB1COR.nii.gz" for a in ("body", "head")}
    expected |= {f"anat/sub-01_{n}.nii.gz" for n in ("FLAIR", "T1w", "ce-gadolinium_T1w")}
    assert names == expected
    top = {"README", "dataset_description.json", "participants.tsv", "participants.json"}
    assert {p.name for p in dataset.iterdir()} == top | {"sub-01", "derivatives", "sourcedata"}
    sidecar = json.loads((subject / "anat/sub-01_echo-2_part-phase_MEGRE.json").read_text())
    assert (sidecar["EchoTime"], sidecar["Units"], sidecar["MagneticFieldStrength"]) == (0.009, "rad", 3.0)
    assert sidecar["ImagingFrequency"] == pytest.approx(3 * 42.577478518)
    cycle = json.loads((subject / "anat/sub-01_acq-bssfpPC270_flip-2_part-mag_VFA.json").read_text())
    assert (cycle["PulseSequenceType"], cycle["SpoilingRFPhaseIncrement"]) == ("SSFP", 270)


def test_truth_files_agree_with_the_lesion_table(dataset):
    anat = dataset / "sourcedata/truth/sub-01/anat"
    rows = [line.split("\t") for line in (anat / "sub-01_desc-lesions_stats.tsv").read_text().splitlines()]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    labels = _read(dataset, "sourcedata/truth/sub-01/anat/sub-01_seg-lesions_dseg.nii.gz")
    stages = _read(dataset, "sourcedata/truth/sub-01/anat/sub-01_seg-stages_dseg.nii.gz")
    order = ["early active", "late active", "chronic active", "chronic inactive"]
    for row in table:
        here = labels == int(row["lesion"])
        assert here.sum() == int(row["voxels"])
        assert set(np.unique(stages[here])) <= {order.index(row["stage"]) + 1}
    chi = _read(dataset, "sourcedata/truth/sub-01/anat/sub-01_Chimap.nii.gz")
    tissue = _read(dataset, "derivatives/rater/sub-01/anat/sub-01_dseg.nii.gz")
    assert np.median(chi[tissue == 1]) == pytest.approx(-0.03, abs=0.02)


def test_same_seed_gives_the_same_bytes_with_any_number_of_threads(dataset, tmp_path, threads):
    threads(1)
    simulate(tmp_path / "again", seed=5, **SMALL)
    first, second = (_digests(folder) for folder in (dataset, tmp_path / "again"))
    assert first == second


def test_another_seed_gives_another_patient():
    one, two = (
        make_patient((32, 36, 28), (5.0,) * 3, PatientOptions(), np.random.SeedSequence([s, 0])) for s in (1, 2)
    )
    assert (one.classes != two.classes).mean() > 0.05
    assert one.lesions[0]["x_ras"] != two.lesions[0]["x_ras"]


def test_oblique_slab_has_an_oblique_matrix_and_the_same_head():
    options = PatientOptions(obliquity=np.deg2rad(20), lesion_count=0)
    tilted = make_patient((32, 36, 28), (5.0,) * 3, options, np.random.SeedSequence([1, 0]))
    straight = make_patient((32, 36, 28), (5.0,) * 3, PatientOptions(lesion_count=0), np.random.SeedSequence([1, 0]))
    assert tilted.geometry.b0_dir == pytest.approx((np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20)), 0))
    here = np.bincount(tilted.classes.ravel(), minlength=20)[INDEX["putamen"]]
    there = np.bincount(straight.classes.ravel(), minlength=20)[INDEX["putamen"]]
    assert here == pytest.approx(there, rel=0.1)


def test_labels_of_a_rater_tell_left_from_right(patient):
    drawing = draw(patient)
    number = {row["name"]: row["index"] for row in drawing.names}
    for name in ("thalamus", "putamen", "caudate"):
        left, right = (np.argwhere(drawing.tissue == number[f"{name} {side}"])[:, 2] for side in ("left", "right"))
        matrix = patient.geometry.ijk_to_ras
        assert matrix[0, 0] * left.mean() + matrix[0, 3] < -5
        assert matrix[0, 0] * right.mean() + matrix[0, 3] > 5


def test_given_labels_take_the_place_of_the_made_up_brain(tmp_path):
    labels = np.zeros((36, 44, 34), np.uint8)
    z, y, x = np.indices(labels.shape) - np.array([17.5, 21.5, 16.5])[:, None, None, None]
    inside = (z / 15) ** 2 + (y / 20) ** 2 + (x / 15) ** 2
    labels[inside < 1], labels[inside < 0.8] = 2, 1
    labels[(np.abs(z) < 3) & (np.abs(y) < 3) & (np.abs(x) < 3)] = 7
    nibabel.Nifti1Image(labels, np.diag([4.0, 4.0, 4.0, 1.0])).to_filename(tmp_path / "labels.nii.gz")
    names = {"0": "background", "1": "white matter", "2": "cortical grey matter", "7": "Thalamus (both)"}
    (tmp_path / "labels.json").write_text(json.dumps(names))
    options = PatientOptions(lesion_count=0)
    streams = np.random.SeedSequence(0)
    patient = make_patient((32, 36, 28), (5.0,) * 3, options, streams, tmp_path / "labels.nii.gz")
    present = set(np.unique(patient.classes))
    assert {INDEX[name] for name in ("white matter", "cortex", "thalamus", "bone", "scalp", "air")} <= present
    assert INDEX["putamen"] not in present
    (tmp_path / "labels.json").write_text(json.dumps(names | {"7": "something"}))
    with pytest.raises(InputError, match="label 7 is named 'something'"):
        make_patient((32, 36, 28), (5.0,) * 3, options, streams, tmp_path / "labels.nii.gz")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"subjects": 0}, "--subjects 0"),
        ({"size": (8, 36, 28)}, "--size 8 36 28"),
        ({"size": (2000, 2000, 2000)}, "voxels in all"),
        ({"voxel_size": (0.0, 1.0, 1.0)}, "--voxel-size 0 1 1"),
    ],
)
def test_numbers_out_of_range_are_refused_and_nothing_is_written(tmp_path, wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        simulate(tmp_path / "out", **(SMALL | wrong))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "precious.txt").write_text("data")
    with pytest.raises(InputError, match="not an empty folder"):
        simulate(tmp_path, **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_cancelling_leaves_no_half_made_subject(tmp_path):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 4

    with pytest.raises(Cancelled):
        simulate(tmp_path / "out", cancelled=cancelled, **SMALL)
    assert not list((tmp_path / "out").rglob("*sub-01*"))
    assert not list((tmp_path / "out").glob(".unfinished*"))


def _read(folder, name):
    return np.asarray(nibabel.load(folder / name).dataobj).T


def _digests(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
