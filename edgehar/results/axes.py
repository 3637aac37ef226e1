"""Axes and marks in SVG, that every plot is made of."""

from __future__ import annotations

from html import escape
from typing import Callable, List, Sequence

import numpy as np

WIDTH = 860
LABEL = 230  # room for labels on the left
NOTE = 130   # room for numbers on the right
CHANNEL_HUES = ("#0f7b8a", "#a8487f", "#7d7416", "#667085")  # x, y, z, others; no precision has one of these
ALONE = """<style>
svg { background: #fff; font-family: sans-serif; } text { font-size: 12px; fill: #1d2330; }
.tick, .small, .title { fill: #667085; font-size: 11px; } .grid { stroke: #e5e2dc; }
.hue0 { --hue: #2f5d8a; } .hue1 { --hue: #7a5ba6; } .hue2 { --hue: #c2703a; } .hue3 { --hue: #4c7a5a; }
.series0 { --hue: #475569; } .series1 { --hue: #9a5b13; } .series2 { --hue: #3f7d3a; } .series3 { --hue: #8b3a62; }
.axis { fill: var(--hue); font-weight: 600; } .wave { fill: none; stroke: var(--hue); stroke-width: 1.5; }
.mark { stroke: var(--hue); opacity: .5; }
.dashed { stroke-dasharray: 4 3; } .dotted { stroke-dasharray: 1.5 3; } .leader { stroke: #98a2b3; }
.dot { fill: var(--hue); } .hollow { fill: #fff; stroke: var(--hue); stroke-width: 2; }
.whisker { stroke: var(--hue); stroke-width: 2.5; opacity: .6; }
</style>"""


def curve(x: Sequence[float], y: Sequence[float], kind: str) -> str:
    """A line through the points."""
    return '<polyline class="%s" points="%s"/>' % (kind, " ".join("%.1f,%.1f" % pair for pair in zip(x, y)))


def as_file(svg: str) -> str:
    """`svg` to be opened by itself, in the colours of a page on white."""
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(">", ">" + ALONE, 1)


def spread_apart(heights: Sequence[float], least: float) -> List[float]:
    """`heights` moved down as little as keeps them `least` apart, in the order given."""
    moved, last = list(heights), -np.inf
    for index in np.argsort(heights, kind="stable"):
        moved[index] = last = max(heights[index], last + least)
    return moved


def log_edges(values_s: np.ndarray, bins: int = 90) -> np.ndarray:
    """(bins + 1,) edges that rise by one factor and enclose values_s (n,), above 0."""
    low, high = values_s.min(), max(values_s.max(), values_s.min() * 2)
    return np.geomspace(low / 1.05, high * 1.05, bins + 1)


def log_scale(low: float, high: float, left: float, right: float) -> Callable[[float], float]:
    """A function from a value, low to high, to a place, left to right, by its logarithm."""
    span = np.log(high / low)
    return lambda value: float(left + (right - left) * np.log(value / low) / span)


def log_ticks(low: float, high: float) -> List[float]:
    """1, 2 and 5 of each decade in range; 1 alone over many decades."""
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [step * 10.0 ** decade for decade in decades for step in steps if low <= step * 10.0 ** decade <= high]


def even_ticks(low: float, high: float) -> List[float]:
    """Four to eight round values in [low, high]."""
    raw = (high - low) / 6
    unit = 10 ** np.floor(np.log10(raw))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= raw)
    return [float(k * step) for k in range(int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9)) + 1)]


def as_svg(height: float, body: Sequence[str], told: str, width: float = WIDTH, kind: str = "wide") -> str:
    """The drawing; told: what is shown, for those who do not see it."""
    return '<svg class="%s" role="img" aria-label="%s" viewBox="0 0 %.0f %.0f" style="max-width:%.0fpx">%s</svg>' % (
        kind, escape(told), width, height, width, "".join(body))


def draw_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return '<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>' % (kind, x1, y1, x2, y2)


def draw_text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    """One line of text, escaped."""
    return '<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>' % (kind, x, y, anchor, escape(text))


def across_title(x: float, y: float, text: str) -> str:
    """What a horizontal axis shows, with its unit; x: its middle."""
    return draw_text(x, y, text, "title", "middle")


def upright_title(x: float, y: float, text: str) -> str:
    """What a vertical axis shows, with its unit; y: its middle."""
    return '<text class="title" text-anchor="middle" transform="translate(%.1f %.1f) rotate(-90)">%s</text>' % (
        x, y, escape(text))


def slanted_text(x: float, y: float, text: str) -> str:
    """One line of text that rises at 45 degrees."""
    return '<text class="name" transform="translate(%.1f %.1f) rotate(-45)">%s</text>' % (x, y, escape(text))


def grid_lines(x: float, bottom: float, label: str, top: float = 4) -> str:
    """A vertical line of the grid with its label below."""
    return draw_line(x, top, x, bottom, "grid") + draw_text(x, bottom + 16, label, "tick", "middle")


def rung(y: float, label: str) -> str:
    """A horizontal line of the grid with its label at the left."""
    return draw_line(60, y, WIDTH - 240, y, "grid") + draw_text(50, y + 4, label, "tick", "end")


def shortened(label: str, limit: int = 26) -> str:
    """`label`, cut off with an ellipsis where it is longer than `limit` characters."""
    return label if len(label) <= limit else label[:limit - 1] + "…"
