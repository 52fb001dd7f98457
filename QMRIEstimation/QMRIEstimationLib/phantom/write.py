"""Raw BIDS files as a scanner's export would be: integers with a scale, phase in radians, a sidecar each."""

import gzip

import nibabel
import numpy as np

from .. import __version__
from ..io.text import write_json, write_table, write_text

BIDS_VERSION = "1.10.0"
COMPRESSION = 1  # the noise of raw data does not compress; higher levels only take time
FULL_SCALE = 32767

README = """Digital MS patients made by slicer-qmri simulate, version {version}.

Nobody was scanned. Anatomy, lesions and physics are computed; `sourcedata/truth/` holds what is true of them and
`derivatives/rater/` what a rater would have drawn. Research use only.
"""


def write_scan_image(folder, stem, magnitude, phase, geometry, sidecar):
    """Write `<stem>[_part-mag]...` and, when there is a phase, its partner, with sidecars.

    Args:
        folder: of the subject. stem: (folder and entities before `part`, suffix), as ("anat/sub-01_echo-1", "MEGRE").
        magnitude, phase: float32 [k, j, i] (rad), phase or None. sidecar: dictionary.
    """
    entities, suffix = stem
    if phase is None:
        _write(folder / f"{entities}_{suffix}", magnitude, float(magnitude.max()) / FULL_SCALE, geometry, sidecar)
        return
    magnitude_scale = float(magnitude.max()) / FULL_SCALE
    _write(folder / f"{entities}_part-mag_{suffix}", magnitude, magnitude_scale, geometry, sidecar)
    units = sidecar | {"Units": "rad"}
    _write(folder / f"{entities}_part-phase_{suffix}", phase, np.pi / FULL_SCALE, geometry, units)


def _write(path, array, scale, geometry, sidecar):
    """Write int16 with a slope; the step is a ten-thousandth of the range, far below the noise."""
    scale = float(np.float32(scale)) or 1.0
    stored = np.clip(np.rint(array * np.float32(1 / scale)), -FULL_SCALE, FULL_SCALE).astype("<i2")
    header = nibabel.Nifti1Header()
    header.set_data_dtype("<i2")
    header.set_data_shape(geometry.shape[::-1])
    header.set_xyzt_units("mm", "sec")
    header.set_sform(geometry.ijk_to_ras, 1)
    header.set_qform(geometry.ijk_to_ras, 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    header["scl_slope"], header["scl_inter"] = scale, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.nii.gz", "wb") as file, gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as packed:
        packed.write(header.binaryblock + bytes(4))
        packed.write(np.ascontiguousarray(stored).data)
    write_json(f"{path}.json", sidecar)


def write_description(folder, name, kind, **more):
    """Write the dataset_description.json of a raw or derivative data set."""
    made_by = {"Name": "slicer-qmri simulate", "Version": __version__}
    write_json(
        folder / "dataset_description.json",
        {
            "Name": name,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": kind,
            "License": "CC0",
            "Authors": ["slicer-qmri simulate"],
            "GeneratedBy": [made_by],
            **more,
        },
    )


def write_participants(bids_dir, subjects):
    """Write participants.tsv with its description, and the README."""
    rows = [{"participant_id": s, "species": "n/a", "group": "simulated"} for s in subjects]
    write_table(bids_dir / "participants.tsv", rows)
    described = {"group": {"Description": "how the subject came to be", "Levels": {"simulated": "digital patient"}}}
    write_json(bids_dir / "participants.json", described)
    write_text(bids_dir / "README", README.format(version=__version__))
