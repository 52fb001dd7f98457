"""Maps and field pictures as figures: three planes, the fixed window, the colour bar and the unit."""

import numpy as np

from ..colors import display_table, table_index
from .charts import ticks
from .page import Html, html, join
from .pictures import LETTERS, PIXELS_PER_MM, bar_picture, data_uri, plane_position, slice_picture

SMALL = 1.1  # pixels per mm of uncertainty and field pictures


def map_figure(result, display, view, cut):
    """A QuantitativeMap in three planes with its colour bar."""
    index = table_index(result.values, result.valid, display.window)
    return join(
        three_planes(index, display.table, view, cut, title=display.title),
        color_bar(display.title, display.unit, display.window, display.table, display.color_name),
    )


def sd_figure(result, display, view, cut):
    """The standard deviation of a map, small, in gray over the tenth part of the map's window."""
    title, window = f"{display.title}, one standard deviation", display.sd_window
    colors = display_table("gray", window)
    return join(
        three_planes(
            table_index(result.sd, result.valid & (result.sd > 0), window), colors, view, cut, title=title, scale=SMALL
        ),
        color_bar(title, display.unit, window, colors, "gray"),
    )


def image_figure(image, valid, display, view, cut):
    """A field picture, small, with its colour bar; outside `valid` it is black."""
    return join(
        three_planes(
            table_index(image, valid, display.window), display.table, view, cut, title=display.title, scale=SMALL
        ),
        color_bar(display.title, display.unit, display.window, display.table, display.color_name),
    )


def magnitude_figure(magnitude, mask, view, cut):
    """The magnitude with the outline of the brain mask; its window follows the brain, for it has no unit."""
    inside = magnitude[mask] if mask.any() else magnitude
    top = max(1.2 * float(np.percentile(inside, 99)), np.finfo(np.float32).tiny)
    index = table_index(magnitude, np.ones(magnitude.shape, bool), (0.0, top))
    return three_planes(
        index, display_table("gray", (0.0, top)), view, cut, title="Magnitude with brain outline", outline=mask
    )


def three_planes(index, table, view, cut, *, title, outline=None, scale=PIXELS_PER_MM):
    """Axial, coronal and sagittal slices side by side at one scale, each with its letters and position."""
    figures = []
    for name in LETTERS:
        picture = slice_picture(index, table, view, cut, name, outline=outline, scale=scale)
        where = f"{name}, {plane_position(view, cut, name, index.shape)}"
        figures.append(
            f'<figure style="flex-grow:{picture.width}"><img src="{data_uri(picture)}" width="{picture.width}" '
            f'height="{picture.height}" alt="{html(f"{title}, {where}")}">'
            f"<figcaption>{html(where)}</figcaption></figure>"
        )
    size = " small" if scale < PIXELS_PER_MM else ""
    return Html(f'<div class="tiles{size}">{"".join(figures)}</div>\n')


def color_bar(title, unit, window, table, color_name):
    """What is shown, its unit and fixed window, what black means, and the colours over the window with their values."""
    low, high = window
    room = 0.08 * (high - low)  # so that no number runs into those at the ends
    values = [low, *(value for value in ticks(low, high, 5) if low + room < value < high - room), high]
    marks = "".join(
        f'<span style="left:{100 * (value - low) / (high - low):.2f}%">{value:.3g}</span>' for value in values
    )
    span = f"{low:.3g} to {high:.3g} {unit}"
    return Html(
        f'<div class="bar"><p><b>{html(title)}</b>, {html(span)}, fixed window; {html(color_name)}; '
        '<span class="swatch"></span> no valid value</p>'
        f'<img src="{data_uri(bar_picture(table))}" alt="{html(f"colours from {span}")}">'
        f'<div class="ticks">{marks}</div></div>\n'
    )
