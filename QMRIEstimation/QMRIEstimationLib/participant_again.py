"""The participant level on maps that an earlier run made: staged or measured anew, or only reported."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from .errors import InputError
from .io.bids import read_session
from .io.derivatives import files_below, prefix, session_folder, whole_folder
from .io.kept_results import kept_estimate, latest_record
from .io.nifti import relative_name
from .participant import sources_of
from .pipeline import needed_roles
from .provenance import recorded, run_record
from .report.page import section_of
from .report.subject import write_report

REPORTED = ("status", "error", "outputs", "warnings", "figures", "software", "parameters", "inputs")
OF_THE_MAPS = ("methods", "estimation_warnings")  # of the record, that stay as they are
ONLY_BY_A_RUN = ("mask", "field")  # sections of the report with pictures of what is not kept on disk


def report_again(bids_dir, output_dir, subject, session, *, derivatives=None, sections_of=None):
    """Write the report of a session from the files on disk; nothing else is touched.

    Args:
        sections_of: function(folder, estimate) -> sections of what was made of the maps, or None.
    Returns:
        maps.Estimate.
    Raises:
        InputError: there is no finished run.
    """
    record = latest_record(output_dir, subject, session)
    scans = read_session(bids_dir, subject, session, derivatives, needed_roles())
    result = kept_estimate(output_dir, scans, record, with_transforms=True)
    sections = () if sections_of is None else sections_of(session_folder(output_dir, subject, session), result)
    _report(output_dir, result, record, sections)
    return result


def run_again(
    bids_dir,
    output_dir,
    subject,
    session,
    settings,
    after,
    *,
    maps=None,
    derivatives=None,
    progress=None,
    cancelled=None,
):
    """Do what follows the maps with those of an earlier run; as `participant.run_participant` otherwise.

    The settings of estimation are those that the maps were made with.

    Raises:
        InputError: there is no finished run, or the scans are others now.
    """
    before = latest_record(output_dir, subject, session)
    with recorded(output_dir, subject, session) as record:
        scans = read_session(bids_dir, subject, session, derivatives, needed_roles(maps))
        estimated = kept_estimate(output_dir, scans, before, maps)
        now = run_record(settings, bids_dir, sources_of(scans, bids_dir))
        _check_unchanged(estimated, before, now)
        notes = [*_about_settings(before, now), *scans.notes, *before.get("estimation_warnings", ())]
        own = {"parameters": now["parameters"] | {k: v for k, v in before["parameters"].items() if k != "staging"}}
        record.update(
            now | own | {"figures": before["figures"], "estimated": before.get("estimated", before["started"])}
        )
        record.update({key: before[key] for key in OF_THE_MAPS if key in before})
        folder = session_folder(output_dir, subject, session)
        with whole_folder(folder) as temporary:
            _link_tree(folder, temporary)
            sections, more = after(temporary, estimated, progress, cancelled)
            notes = tuple(dict.fromkeys((*notes, *more)))
            outputs = [relative_name(folder / name, output_dir) for name in files_below(temporary)]
            record.update({"status": "done", "error": "", "outputs": outputs, "warnings": list(notes)})
            result = replace(estimated, notes=notes)
            _report(output_dir, result, record, sections)
    return result


def _report(output_dir, result, record, sections):
    """Write the report; pictures of what only the run itself had are taken over from the one before."""
    path = Path(output_dir) / f"{prefix(result.session.subject, result.session.session)}.html"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    kept = {name: part for name in ONLY_BY_A_RUN if (part := section_of(before, name))}
    write_report(path, result, {key: record[key] for key in REPORTED if key in record}, sections, kept)


def _check_unchanged(estimated, before, now):
    """Raise InputError where a scan that a map was made of is not what it was."""
    old, new = ({item["file"]: item["sha256"] for item in record["inputs"]} for record in (before, now))
    for name in dict.fromkeys(source for result in estimated.maps.values() for source in result.sources):
        if old.get(name) != new.get(name):
            raise InputError(
                f"{name}: has changed since the maps were made; run this session without --steps, or put the file back."
            )


def _about_settings(before, now):
    """Sentences where the maps were made otherwise than they would be now."""
    ours, theirs = ({k: v for k, v in r["parameters"].items() if k != "staging"} for r in (now, before))
    if json.dumps(ours, sort_keys=True) != json.dumps(theirs, sort_keys=True):
        yield "The maps were made with other settings of estimation than these, and were not made again."
    if before["software"]["version"] != now["software"]["version"]:
        yield f"The maps were made by version {before['software']['version']}, and were not made again."


def _link_tree(source, target):
    """The files of a folder in another one without copying them where the disk can; they are only ever replaced."""
    for name in files_below(source):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, place)
        except OSError:
            shutil.copyfile(source / name, place)
