"""The steps "stage" and "regions" of one session: from the maps to files, and from the files to the report."""

import numpy as np
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.derivatives import prefix, transform_name
from QMRIEstimationLib.io.nifti import write_image
from QMRIEstimationLib.io.text import write_json, write_table
from QMRIEstimationLib.registration import save_transform

from .calls import STAGE_NAMES
from .lesion_section import lesion_section
from .lesion_table import TABLES, read_rows, read_tables, stage_labels, table_path, tables_of, write_tables
from .region_section import region_section
from .regions import region_rows
from .session_input import staging_input
from .staging import stage_lesions

PLAIN_RIMS = "virtual rims were not passed through the inversion, which only the run that estimates chi can ask."


def stage_session(folder, estimate, settings, steps, explicit, progress=None, cancelled=None):
    """Stage the lesions of a session and write label maps and tables below `folder`.

    Args:
        folder: of the session. estimate: maps.Estimate. settings: settings.StudySettings.
        steps: of "stage" and "regions". explicit: whether they were asked for; else what is missing is only noted.
    Returns:
        sections of the report, as report.subject.write_report takes them, and sentences.
    Raises:
        InputError: what was asked for cannot be done. Cancelled.
    """
    session, stem = estimate.session, _stem(folder, estimate)
    _clear(stem, steps)
    try:
        if session.lesions is None and "stage" in steps and explicit:
            raise InputError(
                f"sub-{session.subject}: no lesion mask was found, expected *_label-L_mask, *_label-lesion_mask or "
                "*_seg-lesions_dseg in a derivative; add it, or leave out --steps stage."
            )
        given, notes, registrations = staging_input(estimate, settings)
        staging = stage_lesions(given, settings.staging, progress, cancelled)
    except InputError as error:
        if explicit:
            raise
        return (), (f"{str(error).rstrip('.')}; the lesions were not staged.",)
    for scan, registration in registrations.items():
        save_transform(folder / transform_name(stem.name, scan), registration)
    if "regions" in steps and (staging.surroundings.labelled or staging.lesions):
        rows = region_rows(
            given.maps, staging.labels, staging.surroundings, estimate.geometry, given.tissue, given.field_strength
        )
        write_table(table_path(stem, "regions"), rows)
    if session.lesions is None:
        notes = (*notes, "no lesion mask was found in a derivative, so no lesions were staged.")
    elif "stage" in steps:
        _write_labels(stem, estimate, staging)
        write_tables(stem, tables_of(staging))
        plain = (PLAIN_RIMS,) if "Chi" in given.maps and given.respond is None and staging.lesions else ()
        notes = (*notes, *staging.notes, *plain)
    return _sections(stem, given), notes


def sections_on_disk(folder, estimate, settings):
    """Sections of the report of what was staged and measured before; as `stage_session` gives them."""
    stem = _stem(folder, estimate)
    if not (_label_path(stem, "lesions").is_file() or table_path(stem, "regions").is_file()):
        return ()
    return _sections(stem, staging_input(estimate, settings)[0])


def _sections(stem, given):
    """Of the files: so a report is the same when it is written with them and when it is written later."""
    tables, regions = read_tables(stem), read_rows(table_path(stem, "regions"))
    lesions = () if tables is None else (lesion_section(tables, given),)
    return (*lesions, *((region_section(regions),) if regions else ()))


def _clear(stem, steps):
    """Remove what an earlier run of the steps left."""
    if "regions" in steps:
        table_path(stem, "regions").unlink(missing_ok=True)
    if "stage" in steps:
        for desc in TABLES.values():
            table_path(stem, desc).unlink(missing_ok=True)
        for kind in ("lesions", "stages"):
            for ending in (".nii.gz", ".json", ".tsv"):
                _label_path(stem, kind, ending).unlink(missing_ok=True)


def _stem(folder, estimate):
    return folder / "anat" / prefix(estimate.session.subject, estimate.session.session)


def _label_path(stem, kind, ending=".nii.gz"):
    return stem.with_name(f"{stem.name}_seg-{kind}_dseg{ending}")


def _write_labels(stem, estimate, staging):
    sources = [f"bids:raw:{source}" for m in estimate.maps.values() for source in m.sources]
    sidecar = {"SkullStripped": True, "Sources": list(dict.fromkeys(sources))}
    lesions = [{"index": n, "name": f"lesion {n}"} for n in (lesion.number for lesion in staging.lesions)]
    stages = [{"index": n, "name": stage} for n, stage in enumerate(STAGE_NAMES, 1)]
    size = np.uint8 if staging.labels.max() < 256 else np.uint16
    kinds = (("lesions", staging.labels, size, lesions), ("stages", stage_labels(staging), np.uint8, stages))
    for kind, labels, dtype, rows in kinds:
        write_image(_label_path(stem, kind), labels, estimate.geometry, dtype=dtype)
        about = "MRI-defined stages of the lesions, not histology" if kind == "stages" else "one label a lesion"
        write_json(_label_path(stem, kind, ".json"), sidecar | {"Description": about})
        write_table(_label_path(stem, kind, ".tsv"), rows or [{"index": 0, "name": "background"}])
