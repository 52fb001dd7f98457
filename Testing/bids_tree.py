"""A tiny raw BIDS data set from simple physics: a ball of brain with a denser, iron-rich ball inside, two subjects.

For tests of files and commands: 24 x 20 x 16 voxels, three echoes, magnitude and phase, made in a few milliseconds.
"""

import json
from pathlib import Path

import nibabel
import numpy as np

SHAPE = (16, 20, 24)  # [k, j, i]
VOXEL = (2.0, 1.5, 1.5)  # mm [k, j, i]
ECHO_TIMES = (0.005, 0.012, 0.020)
NOISE = 0.01
R2STAR, R2STAR_CORE = 20.0, 60.0  # 1/s
FIELDS = {
    "MagneticFieldStrength": 3.0,
    "Manufacturer": "Siemens",
    "MRAcquisitionType": "3D",
    "ImageType": ["ORIGINAL", "PRIMARY", "M"],
    "FlipAngle": 15,
    "RepetitionTime": 0.03,
}


def matrix():
    """IJK-to-RAS of the tiny images."""
    affine = np.diag([*VOXEL[::-1], 1.0])
    affine[:3, 3] = [-17.0, -15.0, -16.0]
    return affine


def signal(seed):
    """Complex images [echo, k, j, i] and brain mask: exp(-R2* TE + i 2 pi f TE) with a quadratic field and noise."""
    rng = np.random.default_rng(seed)
    k, j, i = (np.linspace(-1, 1, n)[s] for n, s in zip(SHAPE, np.ix_(*(range(n) for n in SHAPE)), strict=True))
    radius = np.sqrt(k**2 + j**2 + i**2)
    brain, core = radius < 0.85, radius < 0.3
    r2star = np.where(core, R2STAR_CORE, R2STAR)
    dipole = np.where(core, 0, 0.3**3 * (2 * k**2 - i**2 - j**2) / radius.clip(0.3) ** 5)
    field = 25 * k + 12 * (i**2 - j**2) + 13 * dipole  # Hz; 13 is a third of 0.3 ppm at 3 T
    te = np.array(ECHO_TIMES)[:, None, None, None]
    clean = brain * np.exp(-r2star * te + 1j * (2 * np.pi * field * te + 0.5))
    noise = rng.standard_normal((2, *clean.shape)) * NOISE
    return clean + noise[0] + 1j * noise[1], brain


def save(path, array, affine=None):
    """Write an array [k, j, i] or [t, k, j, i] as NIfTI of its own type, with codes 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = matrix() if affine is None else affine
    image = nibabel.Nifti1Image(np.ascontiguousarray(array).T, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nibabel.save(image, path)


def write_json(path, fields):
    """Write a sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, indent=1))


def image_of(bids_dir, echo=1, part="mag", subject="01", extension=".nii.gz"):
    """Path of an image of the multi-echo scan, or of its sidecar with extension `.json`."""
    return Path(bids_dir) / f"sub-{subject}" / "anat" / f"sub-{subject}_echo-{echo}_part-{part}_MEGRE{extension}"


def make_bids_tree(bids_dir, subjects=("01", "02")):
    """Write the data set with brain mask, lesion and tissue labels of a rater; returns `bids_dir` as a Path."""
    bids_dir = Path(bids_dir)
    description = {"Name": "tiny", "BIDSVersion": "1.10.0"}
    write_json(bids_dir / "dataset_description.json", description)
    rater = bids_dir / "derivatives" / "rater"
    write_json(
        rater / "dataset_description.json",
        description | {"DatasetType": "derivative", "GeneratedBy": [{"Name": "rater"}]},
    )
    for subject in subjects:
        images, brain = signal(int(subject))
        for echo, (te, image) in enumerate(zip(ECHO_TIMES, images, strict=True), 1):
            for part, array in (("mag", np.abs(image)), ("phase", np.angle(image))):
                units = {"Units": "rad"} if part == "phase" else {}
                save(image_of(bids_dir, echo, part, subject), array.astype(np.float32))
                write_json(
                    image_of(bids_dir, echo, part, subject, ".json"),
                    FIELDS | units | {"EchoTime": te, "EchoNumber": echo},
                )
        stem = rater / f"sub-{subject}" / "anat" / f"sub-{subject}"
        lesion = np.zeros(SHAPE, np.uint8)
        lesion[9:12, 12:15, 14:17] = 1
        save(stem.with_name(f"{stem.name}_label-brain_mask.nii.gz"), brain.astype(np.uint8))
        save(stem.with_name(f"{stem.name}_label-L_mask.nii.gz"), lesion)
        save(stem.with_name(f"{stem.name}_dseg.nii.gz"), brain.astype(np.uint8) * 2)
        stem.with_name(f"{stem.name}_dseg.tsv").write_text("index\tname\n2\tWM\n")
    return bids_dir
