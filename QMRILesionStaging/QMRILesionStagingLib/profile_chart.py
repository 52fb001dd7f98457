"""The profile of a lesion as inline SVG: mean with its 95 % interval over the distance from the border."""

import numpy as np
from QMRIEstimationLib.report.charts import ticks
from QMRIEstimationLib.report.page import Html, html

WIDTH, HEIGHT = 360, 170
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 10, 36


def profile_chart(profile, display):
    """Html with one svg element.

    Args:
        profile: rows of lesion_table.profile_rows of one lesion and map. display: display.Display of its map.
    """
    if len(profile) < 2:
        return Html("")
    x, mean, low, high = (np.array([row[name] for row in profile]) for name in ("mm", "mean", "low", "high"))
    bottom, top = float(low.min()), float(high.max())
    top += 1e-6 if top == bottom else 0.0

    def place(values, levels):
        across = LEFT + (WIDTH - LEFT - RIGHT) * (values - x[0]) / (x[-1] - x[0])
        up = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (levels - bottom) / (top - bottom)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(np.atleast_1d(across), np.atleast_1d(up), strict=True)]

    band = " ".join([*place(x, low), *place(x, high)[::-1]])
    floor = HEIGHT - BOTTOM
    border = place(np.array([0.0]), np.array([bottom]))[0].partition(",")[0]
    name = f"{display.title} over the distance from the border"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html(name)}">',
        f'<polygon points="{band}" fill="#9ccbe8" fill-opacity=".6"/>',
        f'<polyline points="{" ".join(place(x, mean))}" fill="none" stroke="#1f5f8b" stroke-width="2"/>',
        f'<line x1="{border}" y1="{TOP}" x2="{border}" y2="{floor}" stroke="#5b6675" stroke-dasharray="3 3"/>',
        f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}" stroke="#5b6675"/>',
    ]
    for value in ticks(float(x[0]), float(x[-1])):
        at = place(np.array([value]), np.array([bottom]))[0].partition(",")[0]
        parts.append(f'<text x="{at}" y="{floor + 15}" font-size="11" text-anchor="middle">{value:g}</text>')
    for value in ticks(bottom, top, most=4):
        at = float(place(x[:1], np.array([value]))[0].partition(",")[2]) + 4
        parts.append(f'<text x="{LEFT - 6}" y="{at:.1f}" font-size="11" text-anchor="end">{value:.4g}</text>')
    axis = f"{display.title} ({display.unit}) over mm from the border"
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 5}" font-size="11" fill="#5b6675">{html(axis)}</text></svg>')
    return Html("".join(parts))
