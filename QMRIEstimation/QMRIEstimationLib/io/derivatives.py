"""The results of one session as files of a BIDS derivative data set; a folder appears whole or not at all."""

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import InputError
from ..registration import save_transform
from .derivatives_input import PROGRAM, generators
from .nifti import write_image
from .text import write_json, write_text

BIDS_VERSION = "1.10.0"
IGNORED = "*.html\nlogs/\nvoxelwise/\nxfm/\n**/xfm\ndesc-*_stats.tsv\n*_stats.tsv\n"


def prefix(subject, session=""):
    """`sub-01` or `sub-01_ses-02`."""
    return f"sub-{subject}" + (f"_ses-{session}" if session else "")


def session_folder(output_dir, subject, session=""):
    """Where the files of a session lie."""
    folder = Path(output_dir) / f"sub-{subject}"
    return folder / f"ses-{session}" if session else folder


def prepare_dataset(output_dir, bids_dir):
    """Write what makes a folder a derivative data set; existing files of this kind are brought up to date.

    Raises:
        InputError: the folder holds another data set (the raw one, say), whose subjects would be overwritten.
    """
    output_dir = Path(output_dir)
    if PROGRAM not in generators(output_dir) and next(output_dir.glob("sub-*"), None) is not None:
        raise InputError(
            f"{output_dir}: holds the subjects of another data set, which would be overwritten; expected a new folder "
            "or earlier results of this program, choose another OUTPUT_DIR."
        )
    output_dir.mkdir(parents=True, exist_ok=True)
    raw = os.path.relpath(Path(bids_dir).resolve(), output_dir.resolve()).replace(os.sep, "/")
    write_json(
        output_dir / "dataset_description.json",
        {
            "Name": "Quantitative maps",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": "as the raw data set",
            "GeneratedBy": [
                {
                    "Name": PROGRAM,
                    "Version": __version__,
                    "CodeURL": "https://github.com/QuantitativeMRI/SlicerQuantitativeMRI",
                }
            ],
            "SourceDatasets": [{"URL": raw}],
            "DatasetLinks": {"raw": raw},
        },
    )
    write_text(output_dir / ".bidsignore", IGNORED)


@contextmanager
def whole_folder(final):
    """A temporary folder beside `final` that takes its place when the block ends well, and vanishes otherwise.

    What an earlier run left there when it was killed goes too.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    old = temporary.with_name(temporary.name + "-old")
    try:
        temporary.chmod(0o755)  # mkdtemp keeps others out; results are for the group
        yield temporary
        if final.exists():
            os.rename(final, old)
        os.rename(temporary, final)
    finally:
        if old.exists() and not final.exists():
            os.rename(old, final)
        for leftover in final.parent.glob(f".{final.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not any(final.parent.iterdir()):
            final.parent.rmdir()


def write_estimate(folder, estimate):
    """Write maps, masks and field maps of an Estimate below `folder`, in the names of the contract.

    Returns:
        Names of the files written, relative to `folder`, in order.
    """
    folder = Path(folder)
    name = prefix(estimate.session.subject, estimate.session.session)
    for map_name, result in estimate.maps.items():
        described = {
            "Units": result.unit if map_name != "PD" else "arbitrary",
            "SkullStripped": bool(not (result.valid & ~estimate.brain_mask).any()),
            "Sources": _uris(result.sources),
            "EstimationAlgorithm": result.algorithm,
            "EstimationReference": result.reference,
            **({"Notes": list(result.notes)} if result.notes else {}),
            **result.parameters,
        }
        stem = f"anat/{name}"
        values, uncertainty, quality = (f"{stem}_{end}" for end in map_names(map_name))
        _image(folder, values, result.values, result.geometry, described)
        about = described | {"Description": result.sd_meaning}
        _image(folder, uncertainty, result.sd, result.geometry, about)
        about = described | {"Units": "arbitrary", "Description": result.quality_meaning}
        _image(folder, quality, result.quality, result.geometry, about)
        region = {"Type": "ROI", "Description": f"where {map_name} is valid", "Sources": _uris(result.sources)}
        _mask(folder, f"{stem}_desc-{map_name}_mask", result.valid, result.geometry, region)
    _mask(folder, f"anat/{name}_label-brain_mask", estimate.brain_mask, estimate.geometry, {"Type": "Brain"})
    _field_maps(folder, name, estimate)
    if "transmit_field" in estimate.images:
        sidecar = {"SkullStripped": True, "Units": "percent", "Sources": _uris(_all_sources(estimate))}
        image = estimate.images["transmit_field"]
        _image(folder, f"fmap/{name}_TB1map", image, estimate.geometry, sidecar)
    for scan, registration in estimate.registrations.items():
        save_transform(folder / transform_name(name, scan), registration)
    return files_below(folder)


def transform_name(name, scan):
    """Where below the folder of a session the transform of a scan lies. name: `prefix`. scan: name of its file."""
    label = re.sub("[^A-Za-z0-9]", "", scan.removeprefix(name).partition(".")[0])
    return f"xfm/{name}_from-{label}_to-reference_mode-image_xfm.txt"


def files_below(folder):
    """Names of all files below a folder, relative to it, in order."""
    return sorted(str(p.relative_to(folder)).replace(os.sep, "/") for p in Path(folder).rglob("*") if p.is_file())


def map_names(map_name):
    """Last parts of the names of a map, its uncertainty and its quality; parts of chi are told by `desc`."""
    if map_name.startswith("Chi") and map_name != "Chi":
        desc = map_name.removeprefix("Chi").lower()
        return f"desc-{desc}_Chimap", f"desc-{desc}Uncertainty_Chimap", f"desc-{desc}Quality_Chimap"
    return f"{map_name}map", f"desc-uncertainty_{map_name}map", f"desc-quality_{map_name}map"


def _field_maps(folder, name, estimate):
    wrapped = "off-resonance of bSSFP, wrapped at half of 1/TR, with the sign of the phase as stored"
    kinds = {
        "total": ("total_field", "total field over the brain, positive where the Larmor frequency is higher"),
        "local": ("local_field", "local field over the brain, positive where the Larmor frequency is higher"),
        "offresonance": ("off_resonance", wrapped),
    }
    present = {kind: text for kind, (image, text) in kinds.items() if image in estimate.images}
    if not present:
        return
    sources = _all_sources(estimate)
    described = {"SkullStripped": True, "Units": "Hz", "Sources": _uris(sources)}
    for kind, text in present.items():
        image, stem = estimate.images[kinds[kind][0]], f"fmap/{name}_desc-{kind}_fieldmap"
        _image(folder, stem, image, estimate.geometry, described | {"Description": text})
    _image(
        folder,
        f"fmap/{name}_magnitude",
        estimate.magnitude,
        estimate.geometry,
        {"SkullStripped": False, "Sources": _uris(sources)},
    )


def _all_sources(estimate):
    return dict.fromkeys(source for result in estimate.maps.values() for source in result.sources)


def _uris(sources):
    return [f"bids:raw:{source}" for source in sources]


def _image(folder, stem, array, geometry, sidecar, dtype=np.float32):
    write_image(folder / f"{stem}.nii.gz", array, geometry, dtype=dtype)
    write_json(folder / f"{stem}.json", sidecar)


def _mask(folder, stem, mask, geometry, sidecar):
    _image(folder, stem, mask.astype(np.uint8), geometry, sidecar | {"SkullStripped": True}, np.uint8)
