"""The participant level: one subject-session from raw files to maps, report and log, whole or not at all."""

from dataclasses import replace
from pathlib import Path

from .display import display_of
from .io.bids import read_session
from .io.derivatives import files_below, prefix, session_folder, whole_folder, write_estimate
from .io.nifti import relative_name
from .pipeline import estimate, needed_roles
from .provenance import recorded, run_record
from .report.methods import methods_of
from .report.subject import write_report
from .steps import part

ESTIMATION = 0.85  # of the progress, where more is done with the maps


def run_participant(
    bids_dir,
    output_dir,
    subject,
    session,
    settings,
    *,
    maps=None,
    derivatives=None,
    after=None,
    progress=None,
    cancelled=None,
):
    """Estimate, write and report one session; a log is written however it ends, by a kill too.

    Args:
        after: what is done with the maps before the folder is complete: function(folder, estimate, progress,
            cancelled) that writes below the folder and returns sections of the report (Html) and sentences; or None.
    Returns:
        maps.Estimate.
    Raises:
        InputError: with the sentence for the user; nothing of the session is left half-written.
    """
    with recorded(output_dir, subject, session) as record:
        scans = read_session(bids_dir, subject, session, derivatives, needed_roles(maps))
        record.update(run_record(settings, bids_dir, sources_of(scans, bids_dir)))
        share = 1.0 if after is None else ESTIMATION
        result = estimate(scans, maps, settings, part(progress, 0.0, share), cancelled)
        notes = list(result.notes)
        record.update({"warnings": notes, "estimation_warnings": notes, "figures": result.figures})
        folder = session_folder(output_dir, subject, session)
        with whole_folder(folder) as temporary:
            outputs, sections = write_estimate(temporary, result), ()
            if after is not None:
                sections, notes = after(temporary, result, part(progress, share, 1 - share), cancelled)
                outputs = files_below(temporary)
                result = replace(result, notes=tuple(dict.fromkeys((*result.notes, *notes))))
                record["warnings"] = list(result.notes)
            record.update(
                {
                    "status": "done",
                    "error": "",
                    "outputs": [relative_name(folder / name, output_dir) for name in outputs],
                }
            )
            displays = {name: display_of(name) for name in result.maps}
            record["methods"] = methods_of(result, displays, record)
            write_report(Path(output_dir) / f"{prefix(subject, session)}.html", result, record, sections)
        record["timings"] = result.timings
    return result


def sources_of(session, bids_dir):
    """Every file the session was read from, once, relative to the data set."""
    names = [name for scan in session.scans for name in scan.sources] + list(session.sources)
    return list(dict.fromkeys(relative_name(Path(bids_dir) / name, bids_dir) for name in names))
