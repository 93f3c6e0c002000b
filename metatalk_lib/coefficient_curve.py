"""One coefficient over time as a small SVG drawing, far quicker than a figure, for redraws at every move."""

import html

import numpy as np
from jaxtyping import Float, Int

MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 50, 10, 20, 30
LEAST_RANGE = 0.02  # of the vertical axis, in the coefficient's unit; a constant gets a flat line in its middle
CURVE_COLOUR, CURSOR_COLOUR = "#1f77b4", "#ff7f0e"


def draw_curve(
    values: Float[np.ndarray, " T"],
    times: Float[np.ndarray, " T"],
    row: int,
    *,
    value: float,
    label: str,
    time_label: str,
    width: int = 560,
    height: int = 150,
) -> str:
    """The curve, a line at the current frame, and a dot at its value with the change that is being looked at.

    Args:
        values: of every frame, as fitted.
        times: of every frame, increasing.
        row: the current frame.
        value: its value with the change.
        label: of the vertical axis, with unit.
        time_label: of the horizontal axis, with unit.
        width: of the drawing, px; a narrower place shrinks it.
        height: px.

    Returns:
        SVG text; what is written takes the colour of the surrounding text.
    """
    left, right, top, bottom = MARGIN_LEFT, width - MARGIN_RIGHT, MARGIN_TOP, height - MARGIN_BOTTOM
    low, high = _axis_range(values, value)
    x = np.interp(times, (times[0], max(times[-1], times[0] + 1e-9)), (left, right))
    y = np.interp(np.append(values, value), (low, high), (bottom, top))
    points = " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in thin_curve(values, right - left))
    lines = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)} over time" style="width:100%;'
        f'max-width:{width}px;display:block;font:11px sans-serif;fill:currentColor;line-height:1">',
        f'<text x="4" y="11">{html.escape(label)}</text>',
        f'<text x="{left}" y="{height - 16}">{times[0]:.4g}</text>',
        f'<text x="{right}" y="{height - 16}" text-anchor="end">{times[-1]:.4g}</text>',
        f'<text x="{(left + right) / 2}" y="{height - 5}" text-anchor="middle">{html.escape(time_label)}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        tick, at = low + share * (high - low), bottom + share * (top - bottom)
        lines.append(f'<path d="M{left} {at}H{right}" stroke="currentColor" stroke-opacity="0.15"/>')
        lines.append(f'<text x="{left - 5}" y="{at + 4}" text-anchor="end">{_signed(tick)}</text>')
    lines.append(f'<polyline points="{points}" fill="none" stroke="{CURVE_COLOUR}" stroke-width="1.3"/>')
    lines.append(f'<path d="M{x[row]:.1f} {top}V{bottom}" stroke="{CURSOR_COLOUR}"/>')
    lines.append(f'<circle cx="{x[row]:.1f}" cy="{y[-1]:.1f}" r="4" fill="{CURSOR_COLOUR}"/></svg>')
    return "".join(lines)


def thin_curve(values: Float[np.ndarray, " T"], columns: int) -> Int[np.ndarray, " K"]:
    """Positions that draw the same curve with fewer points: lowest and highest of each column, and the ends.

    Args:
        values: of every frame.
        columns: of the drawing, px.
    """
    if len(values) <= 2 * columns:
        return np.arange(len(values))
    length = len(values) // columns
    starts = np.arange(columns) * length
    blocks = values[: columns * length].reshape(columns, length)
    rest = np.arange(columns * length, len(values))
    return np.unique(np.concatenate(([0], starts + blocks.argmin(1), starts + blocks.argmax(1), rest)))


def _signed(value: float) -> str:
    return f"{value + 0.0:.2f}".replace("-", "−")


def _axis_range(values: Float[np.ndarray, " T"], value: float) -> tuple[float, float]:
    low, high = min(float(values.min()), value), max(float(values.max()), value)
    missing = max(LEAST_RANGE - (high - low), 0.0) / 2
    return low - missing, high + missing
