"""The group level: an index page and merged tables from the participant results on disk."""

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.io.derivatives import prefix, session_folder
from QMRIEstimationLib.io.text import read_table, write_text

from .calls import LESION_TABLE, NOT_ENHANCING, REGION_TABLE
from .comparisons import compare_groups, group_of, missing_package, values_of
from .content import changes, content_rows, contents_of
from .deviations import deviations
from .index_page import index_page
from .thumbnail import thumbnail
from .voxelwise import export

TABLES = (LESION_TABLE, REGION_TABLE)
COMPARISONS, DEVIATIONS = "desc-comparisons_stats.tsv", "desc-deviations_stats.tsv"
CONTENT, CHANGES = "desc-content_stats.tsv", "desc-changes_stats.tsv"
CONTROLS_COLUMNS = ("participant_id", "session_id", "region", "map", "n", "volume_mm3", "mean", "content")
CONTROLS_TABLE = f"the {REGION_TABLE} that the group level writes for controls; give that one to --controls."
LOG_FIELDS = {"participant_id": str, "session_id": str, "status": str, "figures": dict, "warnings": list}
SESSION = re.compile(r"sub-([A-Za-z0-9+]+)(?:_ses-([A-Za-z0-9+]+))?")


@dataclass(frozen=True)
class SessionResult:
    """What lies on disk of one subject and session.

    Attributes:
        subject, session: labels without prefix. log: the latest record, {} when there is none.
        made_by: the latest record of a run that was done, {} when there is none; the results on disk are its.
        has_maps: whether there is any. report: name of the HTML file, "" when there is none.
        thumbnail: data URI or "". pd_calibration: how proton density was calibrated, "" where it is not known.
        tables: file name -> list of rows (dictionaries) of this session's tables.
    """

    subject: str
    session: str
    log: dict
    made_by: dict
    has_maps: bool
    report: str
    thumbnail: str
    pd_calibration: str
    tables: dict

    @property
    def name(self):
        """`sub-01` or `sub-01_ses-02`."""
        return prefix(self.subject, self.session)

    @property
    def failed(self):
        """Whether the latest run did not end well, or its maps are gone."""
        return self.log.get("status", "done") != "done" or not self.has_maps


def group(output_dir, bids_dir=None, progress=None, controls=None):
    """Write index.html, the merged tables, comparisons and participants.tsv of a derivative data set.

    Args:
        output_dir: where the participant level wrote. bids_dir: raw data set whose participants.tsv holds covariates
            (age, sex, group), or None. progress: optional callback progress(fraction, text).
        controls: merged table of regions of another group level, whose people count as controls; or None.
    Returns:
        The number of sessions found.
    Raises:
        InputError: there is no folder, or no result of any subject in it, or the table of controls is none.
    """
    output_dir = Path(output_dir)
    if not output_dir.is_dir():
        raise InputError(
            f"{output_dir}: there is no such folder; run the participant level first, or correct the path."
        )
    problems = []
    others = [] if controls is None else _other_controls(controls)
    if others:
        problems.append(
            f"{controls}: controls measured elsewhere; that their maps were made like these is not checked."
        )
    logs = _logs(output_dir, problems)
    names = sorted(logs.keys() | _on_disk(output_dir))
    if not names:
        raise InputError(
            f"{output_dir}: no results were found, expected sub-<label> folders or logs/sub-*.json; "
            "run the participant level first."
        )
    results = []
    for number, (subject, session) in enumerate(names):
        if progress is not None:
            progress(number / len(names), prefix(subject, session))
        results.append(_result(output_dir, subject, session, logs.get((subject, session), []), problems))
    known = _covariates(bids_dir, problems)
    rows_of = {name: _merged(results, name, known) for name in TABLES}
    active = _active(rows_of[LESION_TABLE])
    rows_of |= _compared(results, rows_of, known, active, others, problems)
    for name, rows in rows_of.items():
        _replace_tsv(output_dir / name, rows)
    _replace_tsv(output_dir / "participants.tsv", _participants(output_dir, known))
    voxelwise, more = export(output_dir, results, known, active)
    problems += more
    merged = [name for name, rows in rows_of.items() if rows] + voxelwise
    write_text(output_dir / "index.html", index_page(results, problems, merged, rows_of[COMPARISONS], rows_of[CONTENT]))
    if progress is not None:
        progress(1.0, "index page")
    return len(results)


def _logs(output_dir, problems):
    """(subject, session) -> its records, latest last."""
    found = {}
    for path in sorted((output_dir / "logs").glob("sub-*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            problems.append(f"logs/{path.name}: cannot be read as JSON ({error}); the run is not listed.")
            continue
        fields = record if isinstance(record, dict) else {}
        if any(not isinstance(fields.get(name), kind) for name, kind in LOG_FIELDS.items()):
            problems.append(f"logs/{path.name}: is not the log of a run; it was left out.")
            continue
        names = fields["participant_id"].removeprefix("sub-"), fields["session_id"].removeprefix("ses-")
        found.setdefault(names, []).append(record)
    return found


def _on_disk(output_dir):
    """(subject, session) of every result folder and report."""
    found = set()
    for path in output_dir.glob("sub-*"):
        if path.is_dir():
            label = path.name[len("sub-") :]
            sessions = [folder.name[len("ses-") :] for folder in path.glob("ses-*") if folder.is_dir()]
            found |= {(label, session) for session in sessions or [""]}
        elif path.suffix == ".html" and (known := SESSION.fullmatch(path.stem)):
            found.add((known[1], known[2] or ""))
    return found


def _result(output_dir, subject, session, logs, problems):
    name = prefix(subject, session)
    folder = session_folder(output_dir, subject, session)
    report = f"{name}.html"
    has_maps = next((folder / "anat").glob(f"{name}_*map.nii.gz"), None) is not None
    done = [log for log in logs if log["status"] == "done"] if has_maps else []
    tables = {}
    for kind in TABLES:
        path = folder / "anat" / f"{name}_{kind}"
        if path.is_file():
            try:
                tables[kind] = read_table(path)
            except ValueError as error:
                problems.append(f"{path.name}: {error}; it is not in the merged table, run the subject again.")
    try:
        picture = thumbnail(folder / "anat", name)
    except ValueError as error:  # InputError, or a sidecar that is no JSON
        picture = ""
        problems.append(f"{name}: no thumbnail: {error}")
    return SessionResult(
        subject=subject,
        session=session,
        log=logs[-1] if logs else {},
        has_maps=has_maps,
        made_by=done[-1] if done else {},
        report=report if (output_dir / report).is_file() else "",
        thumbnail=picture,
        pd_calibration=_pd_calibration(folder / "anat" / f"{name}_PDmap.json"),
        tables=tables,
    )


def _pd_calibration(sidecar):
    try:
        return json.loads(sidecar.read_text(encoding="utf-8")).get("PDCalibration", "")
    except (OSError, ValueError, AttributeError):
        return ""


def _covariates(bids_dir, problems):
    """participant_id -> row of the raw participants.tsv; {} where there is none."""
    path = Path(bids_dir) / "participants.tsv" if bids_dir is not None else None
    if path is None or not path.is_file():
        return {}
    try:
        rows = read_table(path)
    except ValueError as error:
        problems.append(f"{path}: {error}; ages, sexes and groups are not known.")
        return {}
    return {row["participant_id"]: row for row in rows if row.get("participant_id")}


def _other_controls(path):
    """Rows of a table of regions of people elsewhere who are no patients, as controls under names of their own."""
    try:
        rows = read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}; expected {CONTROLS_TABLE}") from error
    lost = [name for name in CONTROLS_COLUMNS if rows and name not in rows[0]]
    if not rows or lost:
        raise InputError(f"{path}: {', '.join(lost) or 'every row'} is missing, expected {CONTROLS_TABLE}")
    return [
        row | {"participant_id": f"{path}:{row['participant_id']}", "group": "control"}
        for row in rows
        if group_of(row) != "patient"
    ]


def _merged(results, kind, known):
    """The rows of all sessions with participant, session and covariates in front."""
    rows = []
    for result in results:
        person = f"sub-{result.subject}"
        about = {"participant_id": person, "session_id": f"ses-{result.session}" if result.session else "n/a"}
        about |= {name: value for name, value in known.get(person, {}).items() if name not in about}
        rows += [about | row for row in result.tables.get(kind, ())]
    return rows


def _active(lesions):
    """Ids of those with an enhancing lesion."""
    return {row["participant_id"] for row in lesions if row.get("enhancement", "n/a") not in (*NOT_ENHANCING, "n/a")}


def _compared(results, rows_of, known, active, others, problems):
    """Name of each table of the group -> its rows; no patient is compared where there are no controls."""
    missing = missing_package()
    known = known | {row["participant_id"]: row for row in others}
    regions = [*rows_of[REGION_TABLE], *others]
    both = {"patient", "control"} <= {group_of(row) for row in known.values()}
    if both and missing:
        problems.append(missing)
    people = known if both and not missing else {}
    barred = {f"sub-{result.subject}" for result in results if result.pd_calibration == "nawm"}
    contents = contents_of(regions)
    found = {
        CONTENT: content_rows(contents, people, active),
        CHANGES: changes(contents_of(rows_of[REGION_TABLE])),
        COMPARISONS: [],
        DEVIATIONS: [],
    }
    if people:
        values = values_of(regions)
        found |= {COMPARISONS: compare_groups(values, people, active, barred), DEVIATIONS: deviations(values, people)}
    return found


def _participants(output_dir, known):
    """One row a subject that has a folder, as BIDS asks, with what the raw data set says of it."""
    names = sorted(path.name for path in output_dir.glob("sub-*") if path.is_dir())
    return [{"participant_id": name} | known.get(name, {}) for name in names]


def _replace_tsv(path, rows):
    """Write rows as TSV, the columns in the order met, n/a where missing; without rows an old file is removed."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="n/a", delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
