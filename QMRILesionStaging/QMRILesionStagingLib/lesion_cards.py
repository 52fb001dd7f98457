"""One card a lesion for the report: three planes of each map with border and rim, the profiles, and the reasons."""

import numpy as np
from PIL import ImageDraw
from QMRIEstimationLib.colors import table_index
from QMRIEstimationLib.display import display_of
from QMRIEstimationLib.report.page import Html, html, join
from QMRIEstimationLib.report.pictures import (
    LETTERS,
    Cut,
    data_uri,
    letter_room,
    plane_position,
    slice_picture,
    view_of,
)

from .calls import DIRECTIONS, changed, rim_of_row, stage_of_row
from .profile_chart import profile_chart

SHOWN = ("Chi", "R2star", "R1")  # maps of a card, those that there are
HALF = 16.0  # mm from the centre of the lesion to the edge of a picture
SCALE = 3.5  # pixels a mm
ROOM = 4.6  # mm of black around a picture
NEAR = 0.75  # of the distance of slices: points of the border that are drawn
DOTS = {state: tuple(round(255 * c) for c in color) for state, (_, color) in DIRECTIONS.items()}
DOT = 1.1  # pixels, radius
AGENT = "after gadolinium"
LEGEND = "Dots on the border in QSM: green rim found, red none, gray not judged, blue vein."


def cards(tables, given):
    """Html of the cards of all lesions, largest first. tables: LesionTables. given: staging.StagingInput."""
    pictures = _Pictures(tables, given)
    order = sorted(tables.rows, key=lambda row: -row["volume_mm3"])
    return join(
        Html('<section id="lesion-cards"><h2>Lesion by lesion</h2><p class="soft">'),
        LEGEND,
        Html("</p>"),
        *(_card(row, tables.profiles, pictures) for row in order),
        Html("</section>\n"),
    )


def _card(row, profiles, pictures):
    number, coverage = row["lesion"], row["rim_coverage"]
    place = row.get("place")
    facts = (
        *((place,) if place else ()),
        f"{row['volume_mm3']:.0f} mm³, {row['max_diameter_mm']:.1f} mm long",
        f"rim {rim_of_row(row)}" + (f" ({100 * coverage:.0f} % of the border)" if coverage is not None else ""),
        f"enhancement {row['enhancement']}",
        _place([row[f"{axis}_ras"] for axis in "xyz"]),
    )
    own = [profile for profile in profiles if profile["lesion"] == number]
    charts = [profile_chart([p for p in own if p["map"] == name], display_of(name)) for name in ("Chi", "R2star")]
    sentences = [by_reader(row), row["reason"], f"Rim: {row['rim_reason']}." if row["rim_reason"] else ""]
    sentences += [f"Enhancement: {row['enhancement_reason']}."] if row["enhancement_reason"] else []
    sentences.append(_in_cortex(row))
    return join(
        Html(f'<article class="map lesion" id="lesion-{number}"><h3>'),
        f"Lesion {number}: {stage_of_row(row)}",
        Html('</h3><p class="soft">'),
        "; ".join(facts),
        Html("</p>"),
        pictures.of(row),
        Html('<div class="pair">' + "".join(f"<div>{chart}</div>" for chart in charts if chart) + "</div>"),
        *(join(Html("<p>"), sentence, Html("</p>")) for sentence in sentences if sentence),
        Html("</article>\n"),
    )


def by_reader(row):
    """Who called a lesion otherwise, and why; empty where nobody did."""
    if not changed(row):
        return ""
    automatic = f"automatic: {row['stage']}, rim {row['rim_grade']}"
    return f"Called by {row['reader']} on {row['read_at']}: {row['reader_reason']} ({automatic})."


def _in_cortex(row):
    """How the cortex in a lesion differs from that beside it; empty where there is none or it is not known."""
    told = []
    for name in ("Chi", "R2star"):
        if row.get(f"cortex_{name}_delta") is not None:
            display = display_of(name)
            delta, error = row[f"cortex_{name}_delta"], row[f"cortex_{name}_delta_se"]
            told.append(f"{display.title} {display.text(delta)} (SE {display.text(error)}) {display.unit}")
    if not told:
        return ""
    kind = f"; {row['cortex_chi_class']} in QSM" if row["cortex_chi_class"] else ""
    share = 100 * row["cortex_share"]
    return f"Cortex: {share:.0f} % of it; less the cortex of the same depth beside it: {', '.join(told)}{kind}."


def _place(ras):
    """`R 35, A 6, S 19 mm`"""
    letters = (letter[int(value < 0)] for letter, value in zip(("RL", "AP", "SI"), ras, strict=True))
    return ", ".join(f"{letter} {abs(value):.0f}" for letter, value in zip(letters, ras, strict=True)) + " mm"


def _by_lesion(points):
    """lesion -> RAS [n, 3] of the points of its border, and what they show [n]."""
    numbers = np.array([point["lesion"] for point in points], int)
    places = np.array([[point[axis] for axis in "xyz"] for point in points]).reshape(-1, 3)
    states = np.array([point["state"] for point in points], int)
    return {int(number): (places[numbers == number], states[numbers == number]) for number in np.unique(numbers)}


class _Pictures:
    """Pictures of the surroundings of lesions; colours of a whole map are looked up once."""

    def __init__(self, tables, given):
        self.labels, self.geometry = tables.labels, given.geometry
        self.points = _by_lesion(tables.points)
        self.view = view_of(given.geometry)
        self.shape = tuple(self.labels.shape[axis] for axis in self.view.axes)
        self.images = []
        for name in SHOWN:
            if name in given.maps:
                result, display = given.maps[name], display_of(name, given.field_strength)
                index = table_index(result.values, result.valid, display.window)
                self.images.append((display.title, index, display.table, name == "Chi"))
        if given.after is not None:
            high = float(np.percentile(given.after[given.brain], 99.5)) if given.brain.any() else 1.0
            index = table_index(given.after, given.brain, (0.0, high or 1.0))
            self.images.append((AGENT, index, display_of("PD").table, False))

    def of(self, row):
        """Html of three planes of each image around the lesion of a row."""
        number = row["lesion"]
        cut = self._cut([row[f"{axis}_ras"] for axis in "xyz"])
        figures, outline = [], self.labels == number
        for title, index, table, marked in self.images:
            for plane in LETTERS:
                dots = marked and number in self.points
                line = None if dots else outline  # both together would hide the rim
                picture = slice_picture(index, table, self.view, cut, plane, outline=line, scale=SCALE, room=ROOM)
                if dots:
                    self._mark(picture, cut, plane, *self.points[number])
                where = f"{title}, {plane} {plane_position(self.view, cut, plane, self.labels.shape)}"
                size = f'width="{picture.width}" height="{picture.height}"'
                alt = html(f"lesion {number}, {where}")
                figures.append(
                    f'<figure style="flex: none; width: {picture.width}px"><img src="{data_uri(picture)}" {size} '
                    f'alt="{alt}"><figcaption>{html(where)}</figcaption></figure>'
                )
        return Html(f'<div class="tiles small">{"".join(figures)}</div>\n')

    def _turned(self, ras):
        """Index in the turned array of points in RAS [n, 3]."""
        matrix = self.geometry.ijk_to_ras
        kji = np.linalg.solve(matrix[:3, :3], (np.atleast_2d(ras) - matrix[:3, 3]).T).T[:, ::-1]
        along = [
            size - 1 - kji[:, axis] if flip else kji[:, axis]
            for axis, flip, size in zip(self.view.axes, self.view.flips, self.shape, strict=True)
        ]
        return np.stack(along, axis=1)

    def _cut(self, centre):
        places = zip(self._turned(centre)[0], self.shape, strict=True)
        middle = [int(np.clip(round(place), 0, size - 1)) for place, size in places]
        half = [round(HALF / spacing) for spacing in self.view.spacing]
        box = [slice(max(m - h, 0), min(m + h + 1, size)) for m, h, size in zip(middle, half, self.shape, strict=True)]
        return Cut(tuple(middle), tuple(box))

    def _mark(self, picture, cut, plane, points, states):
        """Draw the points of the border that lie in a plane."""
        normal = list(LETTERS).index(plane)  # axial cuts superior, coronal anterior, sagittal right
        down, across = (axis for axis in range(3) if axis != normal)
        room = letter_room(ROOM, SCALE)
        turned, draw = self._turned(points), ImageDraw.Draw(picture)
        here = np.abs(turned[:, normal] - cut.center[normal]) <= NEAR
        for point, state in zip(turned[here], states[here], strict=True):
            x, y = (
                room + (point[axis] - cut.box[axis].start + 0.5) * self.view.spacing[axis] * SCALE
                for axis in (across, down)
            )
            draw.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), fill=DOTS[int(state)])
