"""The report of lesions that were staged in the scene, with what readers made of them: one self-contained page."""

import json

from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.io.text import write_text
from QMRIEstimationLib.parameters import as_user_dict
from QMRIEstimationLib.provenance import software
from QMRIEstimationLib.report.page import Html, details, join, notes, page, table
from QMRIEstimationLib.report.pictures import cut_through, view_of
from QMRIEstimationLib.report.record import record_section
from QMRIEstimationLib.report.subject import SIDEWAYS, footer, header, map_section
from QMRIEstimationLib.scene.attributes import header_of

from ..lesion_section import lesion_section
from ..region_section import region_section
from ..regions import region_rows
from ..surroundings import surroundings_of
from .case import NOTES, given_again, recall, reference_of
from .fill import subject_of
from .results import tables_in
from .review import HISTORY
from .tables import rows_of

DATES = ("AcquisitionDateTime", "AcquisitionDate", "SeriesDate", "StudyDate")  # the first that is known is shown


def write_scene_report(nodes, path, title, given=None):
    """Write the report of a staging in the scene.

    Args:
        nodes: key -> node, as `record.staging_in` gives them. path: of the HTML file.
        title: under which name the patient is shown; names of patients never come from the scene.
        given: staging.StagingInput of the staging where it is at hand, else it is read again.
    Raises:
        InputError: what the lesions were staged from is no longer in the scene.
    """
    table_node = nodes["table"]
    tables = tables_in(nodes, reference_of(table_node))
    maps, images, strength, options = recall(table_node)
    if given is None:
        given, _ = given_again(table_node, tables.labels)
    view = view_of(given.geometry)
    cut = cut_through(given.brain, view, sideways=SIDEWAYS)
    displays = {name: display_of(name, given.field_strength) for name in given.maps}
    section = lesion_section(tables, given)
    made_by = software()
    links = [("lesions", "Lesions"), ("lesion-cards", "Lesion by lesion"), ("regions", "Regions")]
    links += [(name, display.title) for name, display in displays.items()]
    links += [("inputs", "What it was made of"), ("record", "Record")]
    body = join(
        header(title, "Lesions of multiple sclerosis by quantitative MRI", links),
        _notes(json.loads(table_node.GetAttribute(NOTES) or "[]"), maps | images),
        section[2],
        _regions(tables, given),
        *(map_section(given.maps[name], displays[name], given.brain, view, cut) for name in displays),
        _inputs(maps, images, strength),
        _history(nodes),
        record_section({"software": made_by, "parameters": as_user_dict(options)}),
        footer(made_by),
    )
    write_text(path, page(f"{title} - lesions", body))


def _notes(sentences, kinds):
    """What was doubtful, with kinds of images instead of the names of nodes, which can hold those of patients."""
    for kind, node in kinds.items():
        if node is not None:
            sentences = [sentence.replace(node.GetName(), kind) for sentence in sentences]
    return notes("Read this first", sentences) if sentences else ""


def _regions(tables, given):
    arrays = {name: (m.values, m.valid) for name, m in given.maps.items()}
    around = surroundings_of(tables.labels, arrays, given.brain, given.geometry, given.tissue)
    rows = region_rows(given.maps, tables.labels, around, given.geometry, given.tissue, given.field_strength)
    return region_section(rows)[2]


def _inputs(maps, images, strength):
    """Which kinds of images were used, when they were made, and where they came from."""
    rows = []
    for kind, node in (maps | images).items():
        if node is not None:
            rows.append((kind, *_told_of(node)))
    rows.append(("field strength", "not known", "the maps say it, else 3 T" if strength is None else f"{strength:g} T"))
    return join(
        Html('<section id="inputs"><h2>What it was made of</h2>\n'),
        table(("Image", "Date", "Origin"), rows),
        Html("</section>\n"),
    )


def _told_of(node):
    """When an image was made, and how; without its name."""
    known = header_of(node)
    date = next((str(known[name]) for name in DATES if known.get(name)), "not known")
    origin = f"QMRI Estimation, {subject_of(node)}" if subject_of(node) else "image of the scene"
    return date, "; ".join(text for text in (origin, known.get("EstimationAlgorithm")) if text)


def _history(nodes):
    rows = rows_of(nodes[HISTORY]) if HISTORY in nodes else []
    if not rows:
        return ""
    columns = list(rows[0])
    titles = [name.replace("_", " ") for name in columns]
    body = table(titles, [[row[name] or "" for name in columns] for row in rows])
    return details(f"What readers did: {len(rows)}", body)
