"""The participant level: one subject-session from raw files to maps, report and log, whole or not at all."""

from datetime import UTC, datetime
from pathlib import Path

from .errors import sentence
from .io.bids import read_session
from .io.derivatives import prefix, session_folder, whole_folder, write_estimate
from .io.nifti import relative_name
from .pipeline import estimate, needed_roles
from .provenance import run_record, write_log
from .report.subject import write_report

UNFINISHED = "the run has not ended; where it is not going on any more it was killed (out of memory?), run it again."


def run_participant(
    bids_dir, output_dir, subject, session, settings, *, maps=None, derivatives=None, progress=None, cancelled=None
):
    """Estimate, write and report one session; a log is written however it ends, by a kill too.

    Returns:
        maps.Estimate.
    Raises:
        InputError: with the sentence for the user; nothing of the session is left half-written.
    """
    started = datetime.now(UTC)
    record = {"status": "failed", "error": UNFINISHED, "outputs": [], "warnings": [], "figures": {}}
    write_log(output_dir, subject, session, record, started)
    try:
        scans = read_session(bids_dir, subject, session, derivatives, needed_roles(maps))
        record |= run_record(settings, bids_dir, _sources(scans, bids_dir))
        result = estimate(scans, maps, settings, progress, cancelled)
        record |= {"warnings": list(result.notes), "figures": result.figures}
        folder = session_folder(output_dir, subject, session)
        with whole_folder(folder) as temporary:
            outputs = write_estimate(temporary, result)
            record |= {
                "status": "done",
                "error": "",
                "outputs": [relative_name(folder / name, output_dir) for name in outputs],
            }
            write_report(Path(output_dir) / f"{prefix(subject, session)}.html", result, record)
        record["timings"] = result.timings
    except BaseException as error:
        record |= {"status": "failed", "error": sentence(error)}
        raise
    finally:
        write_log(output_dir, subject, session, record, started)
    return result


def _sources(session, bids_dir):
    """Every file the session was read from, once, relative to the data set."""
    names = [name for scan in session.scans for name in scan.sources] + list(session.sources)
    return list(dict.fromkeys(relative_name(Path(bids_dir) / name, bids_dir) for name in names))
