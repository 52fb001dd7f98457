"""The report of one session: a self-contained page to be read in two minutes, and kept with the results."""

import numpy as np

from ..display import display_of
from ..geometry import check_same_shape
from ..io.derivatives import prefix
from ..io.text import write_text
from .charts import histogram
from .gallery import image_figure, magnitude_figure, map_figure, sd_figure
from .methods import methods_paragraph
from .page import Html, html, join, notes, page, table
from .pictures import OBLIQUE, cut_through, view_of
from .record import record_section
from .summary import scan_section

SIDEWAYS = 18.0  # mm to the left of the middle: the sagittal plane through the deep nuclei
FIELD_IMAGES = (
    "wrapped_phase",
    "unwrapped_phase",
    "field_residual",
    "total_field",
    "local_field",
    "chi_misfit",
    "transmit_field",
    "removed_noise",
)
DISPLAY_NAMES = {"total_field": "fieldmap", "transmit_field": "TB1"}  # images whose Display has another name
RESEARCH = Html('<p class="research">Research use only. Not for diagnosis.</p>')


def write_report(path, estimate, record, sections=(), kept=None):
    """Write the report of one session as one HTML file without script or outside references.

    Equal estimates and records give equal bytes: times of computing are shown only where the record has them.

    Args:
        path: where to write. estimate: maps.Estimate.
        record: the provenance dictionary, as in logs/: software, parameters, inputs, outputs, warnings, figures and,
            where given, command, started, duration_s, timings, status, error.
        sections: (id, title, Html) of what was made of the maps; they stand before the maps.
        kept: id -> Html of the sections "mask" and "field" of an earlier report, instead of making them; or None.
    Raises:
        ValueError: a map does not lie on the grid of the estimate.
    """
    write_text(path, report_html(estimate, record, sections, kept))


def report_html(estimate, record, sections=(), kept=None):
    """The report as text; see `write_report`."""
    for result in estimate.maps.values():
        check_same_shape(**{result.name: result.values, "brain_mask": estimate.brain_mask})
    kept = kept or {}
    name = prefix(estimate.session.subject, estimate.session.session).replace("_", " ")
    view = view_of(estimate.geometry)
    cut = cut_through(estimate.brain_mask, view, sideways=SIDEWAYS)
    displays = {name: display_of(name, _field_strength(estimate)) for name in estimate.maps}
    body = join(
        header(name, "Quantitative MRI report", _links(displays, sections)),
        _notes(estimate, record),
        *(section for _, _, section in sections),
        _numbers(estimate, displays),
        kept.get("mask") or _mask_section(estimate, view, cut),
        *(map_section(estimate.maps[name], displays[name], estimate.brain_mask, view, cut) for name in displays),
        kept.get("field") or _field_section(estimate, view, cut),
        scan_section(estimate, view),
        methods_paragraph(estimate, displays, record),
        record_section(record),
        footer(record.get("software", {})),
    )
    return page(f"{name} - quantitative MRI", body)


def _field_strength(estimate):
    """Field strength (T) of the session, None where no scan says it."""
    known = [scan.field_strength for scan in estimate.session.scans if scan.field_strength]
    return known[0] if known else None


def _links(displays, sections):
    """(id, title) of every part of the page."""
    parts = [(target, title) for target, title, _ in sections]
    parts += [("numbers", "Numbers"), ("mask", "Brain mask")]
    parts += [(key, display.title) for key, display in displays.items()]
    return [*parts, ("field", "Field"), ("scans", "What was scanned"), ("methods", "Methods"), ("record", "Record")]


def header(title, about, links):
    """Top of a report: title, what it is, that it is for research, and (id, title) of its parts."""
    anchors = "".join(f'<a href="#{html(target)}">{html(text)}</a>' for target, text in links)
    return join(
        Html("<header><h1>"), title, Html('</h1><p class="soft">'), about, Html("</p>"), RESEARCH,
        Html(f"<nav>{anchors}</nav></header>\n"),
    )  # fmt: skip


def footer(made_by):
    """Last line of a report. made_by: as provenance.software gives it."""
    name, version = made_by.get("name", "slicer-qmri"), made_by.get("version", "")
    return join(Html('<footer class="soft">'), f"Made by {name} {version}. Research use only.", Html("</footer>"))


def _notes(estimate, record):
    """Everything that was mended or is doubtful, once each; maps' own notes are named."""
    sentences = [*estimate.notes, *record.get("warnings", ())]
    sentences += [
        f"{display_of(name).title}: {note}" for name, result in estimate.maps.items() for note in result.notes
    ]
    if record.get("error"):
        sentences.insert(0, record["error"])
    sentences = list(dict.fromkeys(sentences))
    if not sentences:
        return notes("Nothing was mended and nothing is doubtful.", (), "good")
    return notes("Read this first", sentences)


def _numbers(estimate, displays):
    """Median and quartiles of each map over the valid voxels of the brain mask, and further figures."""
    inside = int(estimate.brain_mask.sum())
    rows = []
    for name, display in displays.items():
        result = estimate.maps[name]
        chosen = result.valid & estimate.brain_mask
        quartiles = np.percentile(result.values[chosen], (25, 50, 75)) if chosen.any() else (None,) * 3
        first, middle, third = (display.text(value) for value in quartiles)
        known = chosen & (result.sd > 0)
        spread = display.text(float(np.median(result.sd[known])) if known.any() else None)
        share = f"{100 * chosen.sum() / inside:.1f}" if inside else "n/a"
        rows.append((display.title, display.unit, middle, f"{first} to {third}", spread, share))
    header = ("Map", "Unit", "Median", "Quartiles", "Median SD", "Valid, % of brain")
    parts = [
        Html('<section id="numbers"><h2>Numbers</h2>\n'),
        table(header, rows, caption="Over the valid voxels of the brain mask.", numeric=(2, 3, 4, 5)),
    ]
    figures = {key: value for key, value in estimate.figures.items() if not key.endswith("_median")}  # they stand above
    if figures:
        parts.append(table((), [(key.replace("_", " "), _figure(value)) for key, value in figures.items()]))
    return join(*parts, Html("</section>\n"))


def _figure(value):
    return f"{value:.5g}" if isinstance(value, (float, np.floating)) else value


def _mask_section(estimate, view, cut):
    tilted = (
        f" The voxel axes are tilted by {view.tilt:.0f} degrees to the anatomical ones: pictures follow the voxels, "
        "and letters name the nearest direction."
        if view.tilt >= OBLIQUE
        else ""
    )
    return join(
        Html('<section id="mask"><h2>Brain mask on the magnitude</h2><div class="map">\n'),
        magnitude_figure(estimate.magnitude, estimate.brain_mask, view, cut),
        Html('<p class="soft">'),
        "The line is the edge of the brain mask. The patient's right is at the left of axial and coronal pictures."
        + tilted,
        Html("</p></div></section>\n"),
    )


def map_section(result, display, brain, view, cut):
    """A map in three planes, its histogram over the brain (bool [k, j, i]) and its standard deviation."""
    chosen = result.values[result.valid & brain]
    source = f" Bands: healthy adults at 3 T ({display.literature_source})." if display.literature else ""
    return join(
        Html(f'<section id="{html(display.name)}"><h2>{html(display.title)} map</h2><div class="map">\n'),
        map_figure(result, display, view, cut),
        Html('</div><div class="pair"><div><h3>Over the brain</h3>'),
        histogram(chosen, display),
        Html(f'<p class="soft">{html("Valid voxels of the brain mask." + source)}</p></div>'),
        Html("<div><h3>Uncertainty</h3>"),
        sd_figure(result, display, view, cut),
        Html("</div></div></section>\n"),
    )


def _field_section(estimate, view, cut):
    """Wrapped phase, total field, local field and residual, as far as they were made."""
    strength = _field_strength(estimate)
    cells = []
    for name in FIELD_IMAGES:
        if name in estimate.images:
            display = display_of(DISPLAY_NAMES.get(name, name), strength)
            figure = image_figure(estimate.images[name], estimate.brain_mask, display, view, cut)
            cells += [Html(f'<div class="map"><h3>{html(display.title)}</h3>'), figure, Html("</div>")]
    if not cells:
        return join(Html('<section id="field"><h2>Field</h2><p>'), "No phase was used.", Html("</p></section>\n"))
    return join(
        Html('<section id="field"><h2>Fields</h2><div class="pair">'), *cells,
        Html("</div></section>\n"),
    )  # fmt: skip
