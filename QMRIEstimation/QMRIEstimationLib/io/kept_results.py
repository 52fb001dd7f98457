"""The results of a session as an earlier run left them on disk: maps, masks, field maps and the record of the run."""

import json
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..maps import Estimate, QuantitativeMap
from ..registration import Registration, read_transform
from ..units import MAP_UNITS
from .derivatives import map_names, prefix, session_folder, transform_name
from .nifti import read_image

IMAGES = {  # image of an Estimate -> its file
    "total_field": "fmap/{}_desc-total_fieldmap",
    "local_field": "fmap/{}_desc-local_fieldmap",
    "off_resonance": "fmap/{}_desc-offresonance_fieldmap",
    "transmit_field": "fmap/{}_TB1map",
}
OF_A_MAP = ("Units", "SkullStripped", "Sources", "EstimationAlgorithm", "EstimationReference", "Notes")


def latest_record(output_dir, subject, session):
    """The record of the latest run of a session that was done.

    Raises:
        InputError: there is none.
    """
    name = prefix(subject, session)
    for path in sorted((Path(output_dir) / "logs").glob(f"{name}_*.json"), reverse=True):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        of_this = record.get("participant_id"), record.get("session_id", "")
        if of_this == (f"sub-{subject}", f"ses-{session}" if session else "") and record.get("status") == "done":
            return record
    raise InputError(
        f"{name}: has no finished run in {output_dir}, expected maps and a record in logs/; run it without --steps and "
        "--reports-only first."
    )


def kept_estimate(output_dir, session, record, maps=None, with_transforms=False):
    """Estimate of a session from its files.

    Args:
        session: acquisition.Session, read from the raw data. record: as `latest_record`. maps: names, None for all.
        with_transforms: take the registrations of its scans, too.
    Returns:
        maps.Estimate; what only the run itself knew (`respond`, pictures of the phase) is missing.
    Raises:
        InputError: there are no such maps, or a file is damaged.
    """
    folder = session_folder(output_dir, session.subject, session.session)
    name = prefix(session.subject, session.session)
    found = {key: _map(folder / "anat" / name, key) for key in MAP_UNITS if _there(folder, name, key)}
    lost = [key for key in maps or () if key not in found]
    if lost or not found:
        raise InputError(
            f"{name}: there is no map {', '.join(lost) or 'of any kind'} in {folder}; estimate it first, by a run "
            "without --steps."
        )
    mask, grid = _image(folder / "anat" / f"{name}_label-brain_mask.nii.gz")
    geometry = next((scan.geometry for scan in session.scans if scan.geometry.same_grid(grid)), grid)  # knows B0
    images = {
        key: _image(path)[0]
        for key, stem in IMAGES.items()
        if (path := folder / f"{stem.format(name)}.nii.gz").is_file()
    }
    magnitude = folder / "fmap" / f"{name}_magnitude.nii.gz"
    return Estimate(
        session=session,
        maps={key: result for key, result in found.items() if maps is None or key in maps},
        geometry=geometry,
        brain_mask=mask > 0.5,
        magnitude=_image(magnitude)[0] if magnitude.is_file() else next(iter(found.values())).values,
        images=images,
        notes=tuple(record.get("warnings", ())),
        figures=record.get("figures", {}),
        registrations=_registrations(folder, name, session) if with_transforms else {},
    )


def _there(folder, name, key):
    return (folder / "anat" / f"{name}_{map_names(key)[0]}.nii.gz").is_file()


def _map(stem, key):
    files = [stem.with_name(f"{stem.name}_{end}") for end in (*map_names(key), f"desc-{key}_mask")]
    (values, grid), (sd, _), (quality, _), (valid, _) = (
        _image(path.with_name(f"{path.name}.nii.gz")) for path in files
    )
    about, uncertainty, fit = (_sidecar(path.with_name(f"{path.name}.json")) for path in files[:3])
    return QuantitativeMap(
        name=key,
        values=values,
        sd=sd,
        quality=quality,
        valid=valid > 0.5,
        geometry=grid,
        algorithm=about["EstimationAlgorithm"],
        reference=about["EstimationReference"],
        quality_meaning=fit.get("Description", ""),
        parameters={field: value for field, value in about.items() if field not in OF_A_MAP},
        sources=tuple(source.removeprefix("bids:raw:") for source in about["Sources"]),
        notes=tuple(about.get("Notes", ())),
        sd_meaning=uncertainty.get("Description", ""),
    )


def _image(path):
    array, geometry, _ = read_image(path)
    return np.ascontiguousarray(array, np.float32), geometry


def _sidecar(path):
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in ("EstimationAlgorithm", "EstimationReference", "Sources") if name not in fields]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run this session again.") from error
    if missing:
        raise InputError(f"{path}: {', '.join(missing)} is missing; run this session again.")
    return fields


def _registrations(folder, name, session):
    """name of scan -> Registration, of the scans whose transform is kept; how good it was is not."""
    known = {scan.name: folder / transform_name(name, scan.name) for scan in session.scans}
    return {
        scan: Registration(read_transform(path), 0.0, 0.0, 0.0, 0.0, True)
        for scan, path in known.items()
        if path.is_file()
    }
