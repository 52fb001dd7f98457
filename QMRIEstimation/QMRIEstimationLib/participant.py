"""The participant level: one subject-session from raw files to maps, report and log, whole or not at all."""

from datetime import UTC, datetime
from pathlib import Path

from .errors import Cancelled, InputError
from .io.bids import read_session
from .io.derivatives import prefix, session_folder, whole_folder, write_estimate
from .io.nifti import relative_name
from .pipeline import estimate
from .provenance import run_record, write_log
from .report.subject import write_report


def run_participant(
    bids_dir, output_dir, subject, session, settings, *, maps=None, derivatives=None, progress=None, cancelled=None
):
    """Estimate, write and report one session; a log is written however it ends.

    Returns:
        maps.Estimate.
    Raises:
        InputError: with the sentence for the user; nothing of the session is left half-written.
    """
    started = datetime.now(UTC)
    record = {"status": "failed", "error": "", "outputs": [], "warnings": [], "figures": {}}
    try:
        scans = read_session(bids_dir, subject, session, derivatives)
        record |= run_record(settings, bids_dir, _sources(scans, bids_dir))
        result = estimate(scans, maps, settings, progress, cancelled)
        record |= {"warnings": list(result.notes), "figures": result.figures}
        folder = session_folder(output_dir, subject, session)
        with whole_folder(folder) as temporary:
            outputs = write_estimate(temporary, result)
        record["outputs"] = [relative_name(folder / name, output_dir) for name in outputs]
        write_report(Path(output_dir) / f"{prefix(subject, session)}.html", result, record | {"status": "done"})
        record |= {"status": "done", "timings": result.timings}
    except Exception as error:
        known = isinstance(error, (InputError, Cancelled))
        record["error"] = str(error) if known else f"{type(error).__name__}: {error}"
        raise
    finally:
        write_log(output_dir, subject, session, record, started)
    return result


def _sources(session, bids_dir):
    """Every file the session was read from, once, relative to the data set."""
    names = [name for scan in session.scans for name in scan.sources] + list(session.sources)
    return list(dict.fromkeys(relative_name(Path(bids_dir) / name, bids_dir) for name in names))
