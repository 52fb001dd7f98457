"""Malformed inputs, each of another kind: how to damage sub-01 of the tiny data set and what the sentence must say."""

import json
from dataclasses import dataclass

import nibabel
import numpy as np
from bids_tree import FIELDS, SHAPE, image_of, matrix, save, write_json


@dataclass(frozen=True)
class BadInput:
    """One damage.

    Attributes:
        name: what is wrong. damage: function(bids_dir) that changes sub-01 only.
        words: all of them stand in the sentence for the user.
        stage: `read` (reading the session, its images or drawings raises), `phase` (only susceptibility is refused:
            Scan.phase_problem says why), `pipeline` (the scan is read; estimating raises) or `drawing` (whoever uses
            the rater's lesions or labels is told; the maps are made without them).
    """

    name: str
    damage: object
    words: tuple
    stage: str = "read"


def _change(bids_dir, echo, part, **fields):
    """Put fields into a sidecar; None takes a field out."""
    path = image_of(bids_dir, echo, part, extension=".json")
    merged = json.loads(path.read_text()) | fields
    write_json(path, {key: value for key, value in merged.items() if value is not None})


def field(echo=1, parts=("mag",), **fields):
    """Damage that changes sidecar fields of an echo; of every echo with 0."""

    def damage(bids_dir):
        for number in (1, 2, 3) if echo == 0 else (echo,):
            for part in parts:
                _change(bids_dir, number, part, **fields)

    return damage


def array(change, echo=1, part="mag"):
    """Damage that changes the voxels of an image; of every echo with 0."""

    def damage(bids_dir):
        for number in (1, 2, 3) if echo == 0 else (echo,):
            path = image_of(bids_dir, number, part)
            image = nibabel.load(path)
            save(path, change(np.asarray(image.dataobj).T), image.affine)

    return damage


def header(change, parts=("mag", "phase")):
    """Damage that changes the header of every image of some parts: change(image)."""

    def damage(bids_dir):
        for echo in (1, 2, 3):
            for part in parts:
                path = image_of(bids_dir, echo, part)
                loaded = nibabel.load(path)
                image = nibabel.Nifti1Image(np.asarray(loaded.dataobj), loaded.affine, loaded.header)
                change(image)
                nibabel.save(image, path)

    return damage


def content(data, echo=2, part="mag", extension=".nii.gz"):
    """Damage that puts other bytes into a file."""
    return lambda bids_dir: image_of(bids_dir, echo, part, extension=extension).write_bytes(data)


def drawing(name, data):
    """Damage that replaces a rater's image."""
    return lambda bids_dir: save(bids_dir / "derivatives" / "rater" / "sub-01" / "anat" / f"sub-01_{name}.nii.gz", data)


def remove(*which):
    """Damage that removes images, given as (echo, part), with their sidecars."""

    def damage(bids_dir):
        for echo, part in which:
            for extension in (".nii.gz", ".json"):
                image_of(bids_dir, echo, part, extension=extension).unlink()

    return damage


def _truncate(bids_dir):
    path = image_of(bids_dir, 2)
    path.write_bytes(path.read_bytes()[:4000])


def _affine_differs(bids_dir):
    path = image_of(bids_dir, 2, "phase")
    moved = matrix()
    moved[2, 3] += 3
    save(path, np.asarray(nibabel.load(path).dataobj).T, moved)


def _shear(image):
    sheared = image.affine.copy()
    sheared[0, 1] += 0.3
    image.set_sform(sheared, 1)


def _aligned(image):
    image.set_sform(image.affine, 2)


def _forms_differ(image):
    turned = image.affine.copy()
    c, s = np.cos(0.2), np.sin(0.2)
    turned[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ turned[:3, :3]
    image.set_sform(turned, 1)


def _no_orientation(image):
    image.set_sform(None, 0)
    image.set_qform(None, 0)


def _flat_voxel(image):
    image.set_qform(None, 0)
    image.set_sform(np.diag([1.5, 0, 2, 1.0]), 1)


def _wrong_slope(image):
    image.header.set_slope_inter(0.00117, 0)


def _same_echo_twice(bids_dir):
    save(image_of(bids_dir, 2, extension=".nii"), np.ones(SHAPE, np.float32))


def _colour(bids_dir):
    colours = np.zeros(SHAPE[::-1], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, matrix()), image_of(bids_dir, 2))


def _four_dimensional(bids_dir):
    folder = image_of(bids_dir).parent
    magnitudes = [np.asarray(nibabel.load(image_of(bids_dir, e)).dataobj).T for e in (1, 2, 3)]
    remove(*((e, p) for e in (1, 2, 3) for p in ("mag", "phase")))(bids_dir)
    save(folder / "sub-01_MEGRE.nii.gz", np.stack(magnitudes))
    write_json(folder / "sub-01_MEGRE.json", FIELDS | {"EchoTime": 0.005})


def _real_only(bids_dir):
    for echo in (1, 2, 3):
        for part in ("mag", "phase"):
            for extension in (".nii.gz", ".json"):
                path = image_of(bids_dir, echo, part, extension=extension)
                if part == "mag":
                    path.rename(image_of(bids_dir, echo, "real", extension=extension))
                else:
                    path.unlink()


def _unknown_part(bids_dir):
    image_of(bids_dir, 2, "phase").rename(image_of(bids_dir, 2, "angle"))


def _slices_jump(phase):
    jumps = np.random.default_rng(3).uniform(-np.pi, np.pi, (len(phase), 1, 1))
    return np.angle(np.exp(1j * (phase + jumps))).astype(np.float32)


def _nan(values):
    values = values.copy()
    values[5, 5, 5] = np.nan
    return values


def _tsv_without_names(bids_dir):
    (bids_dir / "derivatives" / "rater" / "sub-01" / "anat" / "sub-01_dseg.tsv").write_text("number\tcolor\n2\tred\n")


BOTH = ("mag", "phase")
FAR_MASK = np.pad(np.ones((1, 1, 1), np.uint8), [(40, 0)] * 3)  # another patient's grid: one voxel far off

BAD_INPUTS = (
    BadInput("missing echo time", field(EchoTime=None), ("echo-1_part-mag_MEGRE.json", "EchoTime is missing")),
    BadInput("echo time in ms", field(2, BOTH, EchoTime=12.0), ("EchoTime is 12", "milliseconds")),
    BadInput("negative echo time", field(EchoTime=-0.005), ("EchoTime is -0.005", "above 0")),
    BadInput("echo time as text", field(EchoTime="0.005"), ('EchoTime is "0.005"', "without quotes")),
    BadInput("equal echo times", field(0, BOTH, EchoTime=0.005), ("echo-1", "echo-2", "0.005 s in both")),
    BadInput("phase of another echo time", field(2, ("phase",), EchoTime=0.013), ("echo-2_part-phase", "0.013 s")),
    BadInput("one volume, several expected", _four_dimensional, ("sub-01_MEGRE.json", "a list of 3 numbers")),
    BadInput("truncated gz", _truncate, ("echo-2_part-mag_MEGRE.nii.gz", "truncated")),
    BadInput("empty file", content(b""), ("echo-2_part-mag_MEGRE.nii.gz", "is empty")),
    BadInput("not NIfTI", content(b"not an image" * 99), ("echo-2_part-mag_MEGRE.nii.gz", "cannot be read as NIfTI")),
    BadInput("shape mismatch", array(lambda a: a[:-1], 2), ("24 x 20 x 15", "24 x 20 x 16")),
    BadInput("affine mismatch", _affine_differs, ("echo-2_part-phase", "lies elsewhere than")),
    BadInput("five axes", array(lambda a: np.stack([a, a])[:, None], 2), ("5 axes", "expected 3, or 4")),
    BadInput("colours", _colour, ("echo-2_part-mag", "colours (RGB)")),
    BadInput("large shear", header(_shear), ("sheared", "right-angled")),
    BadInput("voxel of no size", header(_flat_voxel), ("voxel size is 1.5, 0, 2 mm", "above 0")),
    BadInput("NaN in the magnitude", array(_nan), ("1 of 7680 voxels are NaN or infinite", "echo-1_part-mag")),
    BadInput(
        "infinity in the phase",
        array(lambda a: np.full_like(a, np.inf), 3, "phase"),
        ("NaN or infinite", "echo-3_part-phase"),
    ),
    BadInput("all zero", array(np.zeros_like, 2), ("echo-2_part-mag", "every voxel is 0")),
    BadInput("negative magnitude", array(np.negative), ("values below 0", "part-real")),
    BadInput("phase without magnitude", remove(*((e, "mag") for e in (1, 2, 3))), ("no part-mag image", "part-phase")),
    BadInput("phase echo without magnitude", remove((2, "mag")), ("echo-2_part-phase", "no part-mag image")),
    BadInput("real without imaginary", _real_only, ("no part-imag image", "echo-1_part-real")),
    BadInput("unknown part", _unknown_part, ("part-angle is not known", "mag, phase, real, imag")),
    BadInput("echo twice", _same_echo_twice, ("MEGRE.nii.gz", "is the same echo as")),
    BadInput(
        "broken JSON", content(b"{'EchoTime': 5}", extension=".json"), ("echo-2_part-mag_MEGRE.json", "not valid")
    ),
    BadInput("JSON list", content(b"[1, 2]", extension=".json"), ("echo-2_part-mag_MEGRE.json", "JSON list")),
    BadInput("negative repetition time", field(RepetitionTime=-0.03), ("RepetitionTime is -0.03", "above 0")),
    BadInput("repetition time in ms", field(RepetitionTime=30), ("RepetitionTime is 30", "milliseconds")),
    BadInput(
        "repetition before last echo", field(0, BOTH, RepetitionTime=0.015), ("0.015 s", "last echo is at 0.02 s")
    ),
    BadInput("flip angle as text", field(FlipAngle="15"), ('FlipAngle is "15"', "a number in degrees")),
    BadInput("flip angle in radians", field(FlipAngle=0.26), ("FlipAngle is 0.26", "radians")),
    BadInput("flip angles differ", field(2, FlipAngle=20), ("echo-2_part-mag_MEGRE.json", "one value for all echoes")),
    BadInput("field strength in mT", field(MagneticFieldStrength=3000), ("MagneticFieldStrength is 3000", "tesla")),
    BadInput("frequency in Hz", field(ImagingFrequency=123.2e6), ("ImagingFrequency is 1.232e+08", "hertz")),
    BadInput("B0_dir not a unit vector", field(B0_dir=[0, 0, 2]), ("B0_dir is [0, 0, 2]", "length 1")),
    BadInput("empty brain mask", drawing("label-brain_mask", np.zeros(SHAPE, np.uint8)), ("label-brain", "is empty")),
    BadInput(
        "lesions in fractions",
        drawing("seg-lesions_dseg", np.full(SHAPE, 0.4, np.float32)),
        ("0.4", "labels"),
        "drawing",
    ),
    BadInput("labels without names", _tsv_without_names, ("sub-01_dseg.tsv", "columns index"), "drawing"),
    BadInput("aligned image", header(_aligned), ("part-phase_MEGRE.nii.gz", "sform code 2", "B0_dir"), "phase"),
    BadInput("no orientation", header(_no_orientation), ("no orientation", "B0_dir"), "phase"),
    BadInput("sform and qform differ", header(_forms_differ), ("differ by 11.5 degrees", "B0_dir"), "phase"),
    BadInput("phase in degrees", field(0, ("phase",), Units="degrees"), ("Units is 'degrees'", "arbitrary"), "phase"),
    BadInput(
        "phase in unknown numbers",
        lambda d: (array(lambda a: a * 180 / np.pi, 0, "phase")(d), field(0, ("phase",), Units="arbitrary")(d)),
        ("no known encoding", "Units rad"),
        "phase",
    ),
    BadInput(
        "scanner's numbers called radians",
        array(lambda a: (a * 4095 / np.pi).astype(np.int16), 0, "phase"),
        ("but Units says rad", "arbitrary"),
        "phase",
    ),
    BadInput("slope on radians", header(_wrong_slope, ("phase",)), ("too flat for radians", "scl_slope"), "phase"),
    BadInput("phase zero", array(np.zeros_like, 0, "phase"), ("0 everywhere",), "phase"),
    BadInput(
        "susceptibility-weighted",
        field(0, ("phase",), ImageType=["DERIVED", "SWI"]),
        ("susceptibility-weighted",),
        "phase",
    ),
    BadInput(
        "minimum projection", field(0, ("phase",), ImageType=["DERIVED", "MIN_IP"]), ("minimum projection",), "phase"
    ),
    BadInput(
        "filtered phase",
        field(0, ("phase",), SeriesDescription="FILT_PHA: AX SWAN"),
        ("high-pass filtered", "raw phase"),
        "phase",
    ),
    BadInput(
        "gaps between slices",
        field(0, ("phase",), MRAcquisitionType="2D", SliceThickness=1, SpacingBetweenSlices=2),
        ("SpacingBetweenSlices", "3-D acquisition"),
        "phase",
    ),
    BadInput("slices jump", array(_slices_jump, 2, "phase"), ("jumps at random from slice to slice",), "phase"),
    BadInput("one phase echo missing", remove((2, "phase")), ("12 ms has no phase image",), "phase"),
    BadInput(
        "missing field strength",
        field(0, BOTH, MagneticFieldStrength=None),
        ("part-phase_MEGRE.json", "MagneticFieldStrength is missing"),
        "pipeline",
    ),
    BadInput(
        "one echo only",
        remove(*((e, p) for e in (2, 3) for p in BOTH), (1, "phase")),
        ("one echo was found", "two or more"),
        "pipeline",
    ),
    BadInput(
        "no noise",
        array(lambda a: np.full_like(a, 0.5), 0),
        ("echo-1_part-mag_MEGRE.nii.gz: fewer than 50 blocks", "smoothed to nothing"),
        "pipeline",
    ),
    BadInput(
        "no images",
        remove(*((e, p) for e in (1, 2, 3) for p in BOTH)),
        ("sub-01", "no multi-echo GRE was found"),
        "pipeline",
    ),
    BadInput(
        "another patient's mask",
        drawing("label-brain_mask", FAR_MASK),
        ("brain mask has no voxel", "sub-01"),
        "pipeline",
    ),
)
