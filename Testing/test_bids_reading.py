"""BIDS trees become sessions, and malformed ones one sentence."""

import json
import shutil

import nibabel
import numpy as np
import pytest
from bad_input import BAD_INPUTS
from bad_routes import BAD_ROUTES
from bids_tree import ECHO_TIMES, FIELDS, SHAPE, image_of, make_bids_tree, matrix, save, signal, write_json
from hypothesis import given, settings
from hypothesis import strategies as st
from QMRIEstimationLib.acquisition import Role
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.bids import find_sessions, read_session
from QMRIEstimationLib.io.names import parse_name
from QMRIEstimationLib.io.sidecar import read_sidecar
from QMRIEstimationLib.tissue_names import plain
from QMRILesionStagingLib.surroundings import is_cortex, kind_of


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A data set that no test changes."""
    return make_bids_tree(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tree(tmp_path):
    """A data set of one subject for a test to change."""
    return make_bids_tree(tmp_path / "bids", ("01",))


def only_scan(bids_dir, session=""):
    (scan,) = read_session(bids_dir, "01", session).scans
    return scan


def put(folder, name, array=None, **fields):
    """Write an image and its sidecar."""
    save(folder / f"{name}.nii.gz", np.ones(SHAPE, np.float32) if array is None else array)
    write_json(folder / f"{name}.json", fields)


@pytest.mark.parametrize("case", (*BAD_INPUTS, *BAD_ROUTES), ids=lambda case: case.name)
def test_malformed_input_ends_in_its_sentence(case, tmp_path):
    bids_dir = make_bids_tree(tmp_path / "bids")
    with np.errstate(divide="ignore", invalid="ignore"):
        case.damage(bids_dir)
    sentence = ""
    try:
        session = read_session(bids_dir, "01")
        for scan in session.scans:
            scan.read()
        problems = [scan.phase_problem for scan in session.scans]
        for draw in (session.brain_mask, session.lesions, session.tissue):
            draw()
    except InputError as error:
        assert case.stage in ("read", "drawing"), f"only {case.stage} should refuse this: {error}"
        sentence = str(error)
    if case.stage == "phase":
        sentence = problems[0]
    if case.stage != "pipeline":
        assert all(word in sentence for word in case.words), sentence
        assert "\n" not in sentence and sentence.endswith(".")
    assert read_session(bids_dir, "02").scans[0].read()[0].shape == (3, *SHAPE)


def test_images_come_back_as_they_were_made(tiny):
    scan = only_scan(tiny)
    magnitude, phase = scan.read()
    truth = signal(1)[0]
    assert np.allclose(magnitude * np.exp(1j * phase), truth, atol=1e-6)  # float32
    assert (scan.echo_times, scan.has_phase, scan.phase_problem) == (ECHO_TIMES, True, "")
    assert (scan.field_strength, scan.phase_polarity, scan.is_2d) == (3.0, 1, False)
    assert scan.flip_angle == pytest.approx(np.deg2rad(15)) and scan.repetition_time == 0.03
    assert scan.geometry.acquired_voxel_size is None and scan.notes == ()


def test_labels_are_accepted_with_and_without_prefix(tiny):
    assert find_sessions(tiny) == [("01", ""), ("02", "")]
    assert find_sessions(tiny, ["sub-02"]) == find_sessions(tiny, ["02"]) == [("02", "")]
    with pytest.raises(InputError, match=r"sub-07.*01, 02"):
        find_sessions(tiny, ["07"])
    with pytest.raises(InputError, match="no such folder"):
        find_sessions(tiny / "nowhere")


def test_sessions_are_found_and_read(tree):
    for label in ("a", "b"):
        folder = tree / "sub-01" / f"ses-{label}" / "anat"
        for path in sorted((tree / "sub-01" / "anat").iterdir()):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.name.replace("sub-01", f"sub-01_ses-{label}"))
    shutil.rmtree(tree / "sub-01" / "anat")
    assert find_sessions(tree, session_labels=["ses-b"]) == [("01", "b")]
    assert "ses-b" in only_scan(tree, "b").name
    assert read_session(tree, "01", "b").brain_mask()[0].any()  # drawn once for the subject


def test_sourcedata_is_never_read(tree):
    (tree / "sourcedata" / "truth").mkdir(parents=True)
    shutil.copytree(tree / "sub-01", tree / "sourcedata" / "truth" / "sub-03")
    assert find_sessions(tree) == [("01", "")]


def test_nearer_sidecar_wins_and_missing_fields_are_inherited(tree):
    for part in ("mag", "phase"):
        for echo in (1, 2, 3):
            path = image_of(tree, echo, part, extension=".json")
            write_json(path, {k: v for k, v in json.loads(path.read_text()).items() if k != "FlipAngle"})
    write_json(tree / "MEGRE.json", {"FlipAngle": 30, "EchoTime": 0.9})
    write_json(tree / "sub-01" / "sub-01_MEGRE.json", {"FlipAngle": 20})
    write_json(tree / "T1w.json", {"FlipAngle": 5})
    scan = only_scan(tree)
    assert scan.flip_angle == pytest.approx(np.deg2rad(20)) and scan.echo_times == ECHO_TIMES
    assert scan.origin["flip_angle"] == "sub-01_MEGRE.json"
    assert scan.origin["echo_times"] == "sub-01_echo-1_part-mag_MEGRE.json"


def test_echoes_are_sorted_by_echo_time_not_by_name(tree):
    for part in ("mag", "phase"):
        first, third = (image_of(tree, e, part, extension=".json") for e in (1, 3))
        one, three = json.loads(first.read_text()), json.loads(third.read_text())
        write_json(first, one | {"EchoTime": 0.02})
        write_json(third, three | {"EchoTime": 0.005})
    scan = only_scan(tree)
    assert scan.echo_times == ECHO_TIMES
    assert np.allclose(scan.read()[0][0], np.abs(signal(1)[0][2]), atol=1e-6)


def test_missing_echo_is_noted_and_the_others_used(tree):
    for part in ("mag", "phase"):
        for extension in (".nii.gz", ".json"):
            image_of(tree, 2, part, extension=extension).unlink()
    scan = only_scan(tree)
    assert scan.echo_times == (0.005, 0.020) and any("echo 2 is missing" in note for note in scan.notes)


def test_magnitude_alone_is_read(tree):
    for echo in (1, 2, 3):
        for extension in (".nii.gz", ".json"):
            image_of(tree, echo, "phase", extension=extension).unlink()
    scan = only_scan(tree)
    assert not scan.has_phase and scan.phase_problem == "" and scan.read()[1] is None


def _rewrite(tree, layout):
    """Write the tiny scan in another layout of files."""
    folder = tree / "sub-01" / "anat"
    shutil.rmtree(folder)
    images = signal(1)[0].astype(np.complex64)
    fields = FIELDS | {"EchoTime": list(ECHO_TIMES), "Units": "rad"}
    if layout == "4-D":
        put(folder, "sub-01_part-mag_MEGRE", np.abs(images), **fields)
        put(folder, "sub-01_part-phase_MEGRE", np.angle(images), **fields)
    elif layout == "complex 4-D":
        put(folder, "sub-01_MEGRE", images, **fields)
    for echo, (te, image) in enumerate(zip(ECHO_TIMES, images, strict=True), 1):
        single = FIELDS | {"EchoTime": te, "Units": "arbitrary"}
        if layout == "real and imaginary":
            put(folder, f"sub-01_echo-{echo}_part-real_MEGRE", image.real, **single)
            put(folder, f"sub-01_echo-{echo}_part-imag_MEGRE", image.imag, **single)
        elif layout == "T2starw with 12-bit phase":
            put(folder, f"sub-01_echo-{echo}_part-mag_T2starw", np.abs(image), **single)
            turns = np.rint(np.angle(image) * 2048 / np.pi + 2048).clip(0, 4095).astype(np.int16)
            put(folder, f"sub-01_echo-{echo}_part-phase_T2starw", turns, **single)


@pytest.mark.parametrize("layout", ["4-D", "complex 4-D", "real and imaginary", "T2starw with 12-bit phase"])
def test_every_layout_of_files_gives_the_same_signal(tree, layout):
    _rewrite(tree, layout)
    scan = only_scan(tree)
    magnitude, phase = scan.read()
    assert scan.echo_times == ECHO_TIMES and scan.has_phase and scan.phase_problem == ""
    step = np.pi / 2048 if "12-bit" in layout else 1e-6  # half a step, and a whole one at the clipped end
    assert np.abs(magnitude * np.exp(1j * phase) - signal(1)[0]).max() <= 1.5 * step


def test_runs_are_repeats_not_echoes(tree):
    folder = tree / "sub-01" / "anat"
    for path in sorted(folder.iterdir()):
        for run in (1, 2):
            shutil.copy(path, folder / path.name.replace("_echo", f"_run-{run}_echo"))
        path.unlink()
    scans = read_session(tree, "01").scans
    assert [len(s.echo_times) for s in scans] == [3, 3] and "run-1" in scans[0].name


@pytest.mark.parametrize(
    "spelling, role",
    [("SPGR", Role.SPOILED_GRE), ("Spoiled Gradient Echo", Role.SPOILED_GRE), ("3D T1-FFE", Role.SPOILED_GRE),
     ("SSFP", Role.BSSFP), ("Balanced SSFP", Role.BSSFP), ("TrueFISP", Role.BSSFP)],
)  # fmt: skip
def test_pulse_sequence_is_known_in_any_spelling(tree, spelling, role):
    folder = tree / "sub-01" / "anat"
    put(
        folder,
        "sub-01_flip-1_VFA",
        PulseSequenceType=spelling,
        FlipAngle=10,
        RepetitionTime=0.01,
        SpoilingRFPhaseIncrement=90,
    )
    (scan,) = read_session(tree, "01").of(role)
    assert scan.flip_angle == pytest.approx(np.deg2rad(10)) and scan.repetition_time == 0.01
    increment = scan.phase_cycle if role is Role.BSSFP else scan.spoiling_increment
    assert increment == pytest.approx(np.pi / 2)


def test_every_row_of_the_input_table_becomes_its_scan(tree):
    anat, fmap = tree / "sub-01" / "anat", tree / "sub-01" / "fmap"
    gre = {"RepetitionTimeExcitation": 0.02}
    for flip in (1, 2):
        put(anat, f"sub-01_flip-{flip}_VFA", PulseSequenceType="SPGR", FlipAngle=8 * flip, **gre)
        for mt in ("on", "off"):
            put(anat, f"sub-01_flip-{flip}_mt-{mt}_MPM", FlipAngle=6 * flip, MTState=mt == "on", **gre)
        put(fmap, f"sub-01_flip-{flip}_TB1DAM", FlipAngle=60 * flip)
        put(fmap, f"sub-01_acq-tr{flip}_TB1AFI", FlipAngle=60, RepetitionTimeExcitation=0.02 * flip)
    bssfp = {"PulseSequenceType": "SSFP", "FlipAngle": 30, "RepetitionTimeExcitation": 0.006}
    for cycle in (0, 90, 180, 270):
        put(anat, f"sub-01_acq-bssfpPC{cycle:03}_flip-1_part-mag_VFA", **bssfp)
    for echo in (1, 2):
        put(anat, f"sub-01_echo-{echo}_MESE", EchoTime=0.01 * echo)
    for coil in ("body", "head"):
        put(fmap, f"sub-01_acq-{coil}_RB1COR")
    for name in ("T1w", "ce-gadolinium_T1w", "FLAIR"):
        put(anat, f"sub-01_{name}")
    put(fmap, "sub-01_TB1map", np.full(SHAPE, 95, np.float32))
    put(fmap, "sub-01_acq-anat_TB1TFL", FlipAngle=80)
    put(fmap, "sub-01_acq-famp_TB1TFL", np.full(SHAPE, 720, np.float32), FlipAngle=80)
    session = read_session(tree, "01")
    count = {role: len(session.of(role)) for role in Role}
    assert count == {
        Role.MULTI_ECHO_GRE: 1, Role.SPOILED_GRE: 4, Role.BSSFP: 4, Role.SPIN_ECHO: 1, Role.AFI: 2,
        Role.DOUBLE_ANGLE: 2, Role.B1_MAP: 2, Role.RECEIVE_BODY: 1, Role.RECEIVE_HEAD: 1, Role.T1W: 1,
        Role.T1W_GADOLINIUM: 1, Role.FLAIR: 1,
    }  # fmt: skip
    cycles = [scan.phase_cycle for scan in session.of(Role.BSSFP)]
    assert cycles == pytest.approx(np.deg2rad([0, 90, 180, 270]))  # from the label where the sidecar is silent
    ratios = sorted(float(scan.read()[0].max()) for scan in session.of(Role.B1_MAP))
    assert ratios == pytest.approx([0.9, 0.95])  # tenths of a degree; percent


def test_echoes_of_mpm_become_one_scan_a_flip_angle(tree):
    for angle in (6, 20):
        for echo in (1, 2):
            name = f"sub-01_echo-{echo}_flip-{angle}_mt-off_MPM"
            fields = {"FlipAngle": angle, "EchoTime": 0.002 * echo, "RepetitionTimeExcitation": 0.02, "MTState": False}
            put(tree / "sub-01" / "anat", name, **fields)
    scans = read_session(tree, "01").of(Role.SPOILED_GRE)
    assert [scan.echo_times for scan in scans] == [(0.002, 0.004)] * 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("echo-1_flip-1_TB1EPI", "stimulated echoes (EPI) are not read"),
        ("TB1SRGE", "Sa2RAGE is not read"),
        ("acq-plus_TB1BS", "Bloch-Siegert"),
        ("acq-b1_TB1TFL", "acq-b1 is neither famp"),
        ("flip-1_mt-on_MPM", "magnetization transfer"),
    ],
)
def test_scan_that_is_not_read_is_named(name, words, tree):
    put(tree / "sub-01" / ("anat" if "MPM" in name else "fmap"), f"sub-01_{name}", FlipAngle=60)
    (note,) = [note for note in read_session(tree, "01").notes if name in note]
    assert words in note and "not used" in note


def test_siemens_flip_angle_map_becomes_a_ratio(tree):
    stored = np.full(SHAPE, 2048 + 2048 * 54 / 180, np.float32)  # 54 degrees
    put(tree / "sub-01" / "fmap", "sub-01_acq-famp_TB1RFM", stored, FlipAngle=60)
    (scan,) = read_session(tree, "01").of(Role.B1_MAP)
    np.testing.assert_allclose(scan.read()[0], 0.9, rtol=1e-3)


def test_transmit_map_that_is_no_ratio_is_refused(tree):
    put(tree / "sub-01" / "fmap", "sub-01_TB1map", np.full(SHAPE, 5, np.float32))
    (scan,) = read_session(tree, "01").of(Role.B1_MAP)
    with pytest.raises(InputError, match=r"TB1map.*median.*percent"):
        scan.read()


def test_own_results_are_not_taken_for_a_raters(tree):
    own = tree / "derivatives" / "aaa"
    write_json(own / "dataset_description.json", {"GeneratedBy": [{"Name": "slicer-qmri"}]})
    save(own / "sub-01" / "anat" / "sub-01_label-brain_mask.nii.gz", np.zeros(SHAPE, np.uint8))
    mask, _ = read_session(tree, "01").brain_mask()
    assert mask.any()


def test_freesurfer_labels_are_named_without_a_table(tree):
    folder = tree / "derivatives" / "rater" / "sub-01" / "anat"
    (folder / "sub-01_dseg.tsv").unlink()
    labels = np.zeros(SHAPE, np.int16)
    labels[5:8] = np.array([2, 11, 50])[:, None, None]
    save(folder / "sub-01_dseg.nii.gz", labels)
    found, _, names = read_session(tree, "01").tissue()
    assert np.array_equal(found, labels) and names == {2: "WM left", 11: "caudate left", 50: "caudate right"}


def test_parcels_of_freesurfer_are_cortex_and_tables_apply_as_bids_says(tree):
    """As sMRIPrep leaves them: two tables above, of which only one is that of the image."""
    root = tree / "derivatives" / "rater"
    folder = root / "sub-01" / "anat"
    for path in folder.glob("sub-01_dseg*"):
        path.unlink()
    labels = np.zeros(SHAPE, np.int16)
    labels[5:9] = np.array([2, 10, 1035, 4])[:, None, None]
    save(folder / "sub-01_desc-aseg_dseg.nii.gz", labels)
    (root / "desc-aparcaseg_dseg.tsv").write_text("index\tname\n2\tx\n10\tx\n")
    rows = (
        "2\tLeft-Cerebral-White-Matter",
        "10\tLeft-Thalamus-Proper",
        "1035\tctx-lh-insula",
        "4\tLeft-Lateral-Ventricle",
    )
    (root / "desc-aseg_dseg.tsv").write_text("\n".join(("index\tname", *rows)) + "\n")
    expected = {2: "cerebral white matter left", 10: "thalamus left", 1035: "cortex left", 4: "lateral ventricle left"}
    assert read_session(tree, "01").tissue()[2] == expected
    (root / "desc-aseg_dseg.tsv").unlink()  # FreeSurfer's numbers then
    names = {2: "WM left", 10: "thalamus left", 1035: "cortex left", 4: "CSF left"}
    assert read_session(tree, "01").tissue()[2] == names


@pytest.mark.parametrize(
    ("name", "kind", "cortex"),
    [
        ("ctx-lh-insula", "gray", True), ("ctx-rh-unknown", "other", False), ("wm-lh-insula", "white", False),
        ("Left-Cerebral-Cortex", "gray", True), ("Right-Cerebellum-Cortex", "gray", False),
        ("Left-Cerebellum-White-Matter", "white", False), ("Left-Inf-Lat-Vent", "fluid", False),
        ("3rd-Ventricle", "fluid", False), ("Left-choroid-plexus", "other", False), ("Brain-Stem", "other", False),
        ("CC_Posterior", "white", False), ("left thalamus", "gray", False), ("CGM", "gray", True),
        ("BG", "other", False), ("CSF", "fluid", False), ("SGM", "gray", False), ("Left-Lesion", "other", False),
    ],
)  # fmt: skip
def test_usual_names_are_of_the_right_tissue(name, kind, cortex):
    assert (kind_of(plain(name)), is_cortex(plain(name))) == (kind, cortex)


def test_real_sidecars_are_merged_and_checked(shared_data):
    root = shared_data / "bids_metadata_cc0" / "qmri_mp2rageme"
    file = parse_name(root / "sub-1" / "anat" / "sub-1_echo-1_inv-2_MP2RAGE.nii.gz")
    sidecar = read_sidecar(file, root)
    assert sidecar.echo_times(1) == (0.006,) and sidecar.field_strength() == 7.0
    assert sidecar.repetition_time(10) == (0.032, "RepetitionTimeExcitation")
    root = shared_data / "bids_metadata_cc0" / "qmri_tb1tfl"
    sidecar = read_sidecar(parse_name(root / "sub-01" / "fmap" / "sub-01_acq-famp_TB1TFL.nii.gz"), root)
    with pytest.raises(InputError, match=r"1\.97.*milliseconds"):  # these files are in ms
        sidecar.echo_times(1)
    with pytest.raises(InputError, match=r'"6\.8".*without quotes'):
        sidecar.repetition_time(10)


@pytest.fixture
def romeo(shared_data, tmp_path):
    """BIDS tree of the real 7 T brain stem: function(magnitude file, phase file) -> folder."""

    def make(magnitude, phase):
        folder = tmp_path / "romeo" / "sub-01" / "anat"
        folder.mkdir(parents=True)
        for part, name in (("mag", magnitude), ("phase", phase)):
            source = shared_data / "megre_7t_romeo" / name
            nibabel.save(nibabel.load(source), folder / f"sub-01_part-{part}_MEGRE.nii.gz")
            fields = {"EchoTime": [0.004, 0.008, 0.012], "MagneticFieldStrength": 7, "Units": "rad"}
            write_json(folder / f"sub-01_part-{part}_MEGRE.json", fields)
        return tmp_path / "romeo"

    return make


def test_real_seven_tesla_data_pass_every_check(romeo, shared_data):
    scan = only_scan(romeo("mag.nii.gz", "phase_rad.nii.gz"))
    magnitude, phase = scan.read()
    stored = np.asarray(nibabel.load(shared_data / "megre_7t_romeo" / "phase_rad.nii.gz").dataobj).T
    assert np.array_equal(phase, stored) and magnitude.shape == (3, 41, 51, 51)
    assert (scan.phase_problem, scan.notes, scan.geometry.acquired_voxel_size) == ("", (), None)


def test_published_wrong_slope_is_refused_for_susceptibility_only(romeo):
    scan = only_scan(romeo("as_published/Mag.nii", "as_published/Phase.nii"))
    assert "-0.00367" in scan.phase_problem and "scl_slope" in scan.phase_problem
    magnitude, phase = scan.read()
    assert phase is None and magnitude.shape == (3, 41, 51, 51)


@pytest.mark.parametrize(
    "folder, magnitude, phase",
    [("gre_fieldmap_siemens_ve_nifti", "me_FieldMap_GRE_2_e2", "me_FieldMap_GRE_3_e2_ph"),
     ("gre_fieldmap_siemens_xa30_enhanced", "8_gre_field_mapping_e2", "9_gre_field_mapping_e2_ph")],
)  # fmt: skip
def test_real_siemens_phase_is_scaled_by_its_period(shared_data, tmp_path, folder, magnitude, phase):
    anat = tmp_path / "sub-01" / "anat"
    anat.mkdir(parents=True)
    for part, name in (("mag", magnitude), ("phase", phase)):
        for extension in (".nii.gz", ".json"):
            shutil.copy(shared_data / folder / f"{name}{extension}", anat / f"sub-01_part-{part}_T2starw{extension}")
    scan = only_scan(tmp_path)
    _, radians = scan.read()
    stored = np.asarray(nibabel.load(anat / "sub-01_part-phase_T2starw.nii.gz").dataobj).T
    assert np.allclose(radians[0], stored * np.pi / 4096, atol=1e-5)  # float32
    assert scan.phase_problem == "" and scan.phase_polarity == 1 and scan.is_2d
    assert scan.geometry.acquired_voxel_size is None


labels = st.text("abcXYZ0123456789", min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["sub", "ses", "acq", "run", "echo", "part"]), labels, min_size=1), labels)
def test_names_survive_being_taken_apart(entities, suffix):
    name = "_".join([*(f"{k}-{v}" for k, v in entities.items()), suffix]) + ".nii.gz"
    file = parse_name(name)
    assert (file.entities, file.suffix, file.extension) == (entities, suffix, ".nii.gz")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_any_name_is_parsed_or_none(name):
    file = parse_name("/data/" + name.replace("/", "").replace("\0", ""))
    assert file is None or all(file.entities.values())


def test_slices_with_their_own_phase_offset_keep_their_evolution(tree):
    rng = np.random.default_rng(3)
    truth = signal(1)[0]
    jumped = truth * np.exp(1j * rng.uniform(-np.pi, np.pi, (SHAPE[0], 1, 1)))
    for echo, image in enumerate(jumped, 1):
        save(image_of(tree, echo, "phase"), np.angle(image).astype(np.float32))
    scan = only_scan(tree)
    magnitude, phase = scan.read()
    images = magnitude * np.exp(1j * phase)
    assert np.allclose(images[1:] * images[:1].conj(), truth[1:] * truth[:1].conj(), atol=1e-5)  # float32 phase
    middle = images[0, :, SHAPE[1] // 2, SHAPE[2] // 2]
    assert (
        np.abs(np.angle(middle[3:-2] * middle[2:-3].conj())).max() < 1
    )  # they were up to pi; the field turns them 0.4
    assert sum("own phase offset" in note for note in scan.notes) == 1 and not scan.phase_problem


def test_link_without_its_file_says_how_to_fetch_it(tree):
    image_of(tree, 2).unlink()
    image_of(tree, 2).symlink_to(tree / ".git" / "annex" / "content")
    with pytest.raises(InputError, match=r"echo-2_part-mag_MEGRE.nii.gz: is a link to a file that is not there"):
        read_session(tree, "01")


def test_list_of_echo_times_beside_one_volume_is_refused_in_words(tree):
    put(image_of(tree).parent, "sub-01_echo-1_part-mag_MEGRE", EchoTime=[0.005, 0.012])
    with pytest.raises(InputError, match=r"EchoTime is 2 numbers, expected one in s because .* holds one volume"):
        read_session(tree, "01")


def test_mask_of_small_fractions_is_called_empty_with_its_highest_value(tree):
    mask = tree / "derivatives" / "rater" / "sub-01" / "anat" / "sub-01_label-brain_mask.nii.gz"
    save(mask, np.full(SHAPE, 0.4, np.float32))
    with pytest.raises(InputError, match=r"mask is empty \(its highest value is 0.4\)"):
        read_session(tree, "01").brain_mask()


def test_headers_that_were_rounded_differently_are_one_grid(tree):
    rounded = matrix()
    rounded[:3] += np.array([[1e-4, 0, 0, 2e-3]]) * [[1], [-1], [1]]
    path = image_of(tree, 2, "phase")
    save(path, np.asarray(nibabel.load(path).dataobj).T, rounded)
    assert np.array_equal(only_scan(tree).geometry.ijk_to_ras, matrix())
