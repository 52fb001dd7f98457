"""Small charts as inline SVG: they scale, print and need no script."""

import numpy as np

from .page import Html, html

WIDTH, HEIGHT = 480, 190
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 34, 38
BINS = 100
BAND_COLORS = ("#9ccbe8", "#f3c98b")


def histogram(values, display):
    """Distribution of the values of a map over its fixed window, with the literature ranges as bands.

    Args:
        values: 1-D, unit of the map. display: display.Display.
    Returns:
        Html with one svg element; the share of values outside the window is written beside the axis.
    """
    low, high = display.window
    counts, _ = np.histogram(values, BINS, (low, high))
    inner = WIDTH - LEFT - RIGHT
    floor = HEIGHT - BOTTOM

    def across(value):
        return LEFT + inner * (value - low) / (high - low)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html(f"histogram of {display.title}")}">']
    for number, (tissue, start, end) in enumerate(display.literature):
        color = BAND_COLORS[number % len(BAND_COLORS)]
        x, width = across(start), across(end) - across(start)
        parts.append(f'<rect x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{floor - TOP}" fill="{color}"/>')
        parts.append(
            f'<text x="{x + width / 2:.1f}" y="{14 + 14 * (number % 2)}" font-size="12.5" text-anchor="middle" '
            f'fill="#1d2530">{html(tissue)}</text>'
        )
    parts.append(_area(counts, inner, floor))
    parts.append(f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - RIGHT}" y2="{floor}" stroke="#5b6675"/>')
    for value in ticks(low, high):
        x = across(value)
        anchor = "start" if x < LEFT + 12 else "end" if x > WIDTH - RIGHT - 12 else "middle"
        parts.append(
            f'<line x1="{x:.1f}" y1="{floor}" x2="{x:.1f}" y2="{floor + 4}" stroke="#5b6675"/>'
            f'<text x="{x:.1f}" y="{floor + 17}" font-size="13" text-anchor="{anchor}" fill="#1d2530">{value:g}</text>'
        )
    below, above = (100 * float(np.mean(test)) if len(values) else 0.0 for test in (values < low, values > high))
    outside = f"{display.title} ({display.unit}); outside the axis: {below:.1f} % below, {above:.1f} % above"
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 5}" font-size="12" fill="#5b6675">{html(outside)}</text></svg>')
    return Html("".join(parts))


def _area(counts, inner, floor):
    """The counts as a filled step line that reaches the top at the highest bin."""
    top = max(int(counts.max()), 1)
    step = inner / len(counts)
    heights = floor - (floor - TOP) * counts / top
    line = " ".join(f"H{LEFT + step * i:.1f}V{h:.1f}H{LEFT + step * (i + 1):.1f}" for i, h in enumerate(heights))
    return (
        f'<path d="M{LEFT} {floor} {line}V{floor}Z" fill="#33506b" fill-opacity=".55" '
        'stroke="#22384d" stroke-width="1"/>'
    )


def ticks(low, high, most=6):
    """Round values between low and high for an axis, at most `most` steps.

    >>> ticks(0.0, 50.0)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    first = np.ceil(low / step - 1e-6)
    return [float(round(n * step, 10)) + 0.0 for n in np.arange(first, np.floor(high / step + 1e-6) + 1)]
