"""The step "stage" (and the first part of "regions") of one session: from the maps to files."""

import numpy as np
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.derivatives import prefix
from QMRIEstimationLib.io.nifti import write_image
from QMRIEstimationLib.io.text import write_json, write_table

from .calls import STAGE_NAMES
from .lesion_section import lesion_section
from .lesion_table import stage_labels, tables_of
from .region_section import region_section
from .regions import region_rows
from .session_input import staging_input
from .staging import stage_lesions


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
    session = estimate.session
    try:
        if session.lesions is None and "stage" in steps and explicit:
            raise InputError(
                f"sub-{session.subject}: no lesion mask was found, expected *_label-L_mask, *_label-lesion_mask or "
                "*_seg-lesions_dseg in a derivative; add it, or leave out --steps stage."
            )
        given, notes = staging_input(estimate, settings)
        staging = stage_lesions(given, settings.staging, progress, cancelled)
    except InputError as error:
        if explicit:
            raise
        return (), (f"{str(error).rstrip('.')}; the lesions were not staged.",)
    anat, name = folder / "anat", prefix(session.subject, session.session)
    regions = ()
    if "regions" in steps and (staging.surroundings.labelled or staging.lesions):
        rows = region_rows(
            given.maps, staging.labels, staging.surroundings, estimate.geometry, given.tissue, given.field_strength
        )
        write_table(anat / f"{name}_desc-regions_stats.tsv", rows)
        regions = (region_section(rows),)
    if session.lesions is None:
        return regions, (*notes, "no lesion mask was found in a derivative, so no lesions were staged.")
    if "stage" not in steps:
        return regions, notes
    _write_labels(anat / name, estimate, staging)
    tables = tables_of(staging)
    if tables.rows:
        write_table(anat / f"{name}_desc-lesions_stats.tsv", tables.rows)
        write_table(anat / f"{name}_desc-profiles_stats.tsv", tables.profiles)
    return (lesion_section(tables, given), *regions), (*notes, *staging.notes)


def _write_labels(stem, estimate, staging):
    sources = [f"bids:raw:{source}" for m in estimate.maps.values() for source in m.sources]
    sidecar = {"SkullStripped": True, "Sources": list(dict.fromkeys(sources))}
    lesions = [{"index": n, "name": f"lesion {n}"} for n in (lesion.number for lesion in staging.lesions)]
    stages = [{"index": n, "name": stage} for n, stage in enumerate(STAGE_NAMES, 1)]
    size = np.uint8 if staging.labels.max() < 256 else np.uint16
    kinds = (("lesions", staging.labels, size, lesions), ("stages", stage_labels(staging), np.uint8, stages))
    for kind, labels, dtype, rows in kinds:
        path = stem.with_name(f"{stem.name}_seg-{kind}_dseg.nii.gz")
        write_image(path, labels, estimate.geometry, dtype=dtype)
        about = "MRI-defined stages of the lesions, not histology" if kind == "stages" else "one label a lesion"
        write_json(stem.with_name(f"{stem.name}_seg-{kind}_dseg.json"), sidecar | {"Description": about})
        write_table(stem.with_name(f"{stem.name}_seg-{kind}_dseg.tsv"), rows or [{"index": 0, "name": "background"}])
