"""Pictures of rows as inline SVG: no script, no font, no file; all text is escaped here."""

from __future__ import annotations

from html import escape
from typing import Callable, List, Sequence

import numpy as np

from edgehar.tables import PRECISION_ORDER, AccuracyRow, LatencyRow, Trade, milliseconds

WIDTH = 860
LABEL = 230  # room for labels on the left
NOTE = 130   # room for numbers on the right


def interval_plot(rows: Sequence[AccuracyRow]) -> str:
    """Macro-F1 as a dot and its 95 % interval as a line, one row each."""
    low = min(min(row.macro_f1.low, row.macro_f1.value) for row in rows)
    left = max(0.0, np.floor(10 * low - 0.5) / 10)
    scale = lambda value: LABEL + (WIDTH - LABEL - NOTE) * (value - left) / (1 - left)  # noqa: E731
    bottom = 26 * len(rows) + 8
    body = [_grid(scale(tick), bottom, "%.2g" % tick) for tick in _even_ticks(left, 1.0)]
    for number, row in enumerate(rows):
        y, found, hue = 26 * number + 20, row.macro_f1, _hue(row.engine["precision"])
        body.append(_row_label(y, row.label, row.engine["precision"]))
        if row.people > 1:
            body.append(_line(scale(found.low), y, scale(found.high), y, "whisker %s" % hue))
        body.append('<circle class="dot %s" cx="%.1f" cy="%d" r="5"/>' % (hue, scale(found.value), y))
        body.append(_text(WIDTH - NOTE + 16, y + 4, "%.3f" % found.value, "value"))
    return _svg(bottom + 22, body, "macro-F1 with its 95 % interval over people")


def confusion_plot(row: AccuracyRow) -> str:
    """Heat map (K, K): of each true class, where its windows went, in per cent."""
    count = len(row.classes)
    side = 46 if count <= 8 else 32
    gutter = 14 + 6.6 * max(map(len, row.classes))
    top = 18 + 5.0 * max(map(len, row.classes))
    shares = row.counts / np.maximum(row.counts.sum(axis=1, keepdims=True), 1)
    body = [_text(gutter - 8, top + side * (i + 0.5) + 4, name, "name", "end") for i, name in enumerate(row.classes)]
    body += [_slanted(gutter + side * (k + 0.5), top - 8, name) for k, name in enumerate(row.classes)]
    body += [_cell(row, shares, i, k, gutter + side * k, top + side * i, side)
             for i in range(count) for k in range(count)]
    width = gutter + side * count + 4.5 * len(row.classes[-1]) + 10
    return _svg(top + side * count + 8, body, "confusion of %s" % row.label, width, "confusion")


def _cell(row: AccuracyRow, shares: np.ndarray, i: int, k: int, x: float, y: float, side: float) -> str:
    share = shares[i, k]
    told = "%s taken for %s: %d of %d windows" % (row.classes[i], row.classes[k], row.counts[i, k], row.counts[i].sum())
    shown = "%.0f" % (100 * share) if share >= 0.005 else ""
    kind = "hit" if i == k else "miss"
    return '<g><title>%s</title><rect class="ground" x="%.1f" y="%.1f" width="%d" height="%d" rx="3"/>' \
           '<rect class="%s" fill-opacity="%.3f" x="%.1f" y="%.1f" width="%d" height="%d" rx="3"/>%s</g>' % (
               escape(told), x + 1, y + 1, side - 2, side - 2, kind, share ** 0.7, x + 1, y + 1, side - 2, side - 2,
               _text(x + side / 2, y + side / 2 + 4, shown, "share strong" if share > 0.5 else "share", "middle"))


def latency_plot(rows: Sequence[LatencyRow]) -> str:
    """One histogram a row on a common logarithmic axis, with ticks at median, 90 and 99 per cent."""
    edges = _log_edges(np.concatenate([row.latency_s for row in rows]))
    scale = _log_scale(edges[0], edges[-1], LABEL, WIDTH - NOTE)
    bottom = 58 * len(rows) + 8
    body = [_grid(scale(tick), bottom, "%g ms" % (1e3 * tick)) for tick in _log_ticks(edges[0], edges[-1])]
    for number, row in enumerate(rows):
        body += _ridge(row, 58 * number + 52, edges, scale)
    return _svg(bottom + 22, body, "distribution of latency")


def _ridge(row: LatencyRow, base: float, edges: np.ndarray, scale: Callable[[float], float]) -> List[str]:
    counts = np.histogram(row.latency_s, edges)[0]
    seen = np.flatnonzero(counts)
    edges, counts = edges[seen[0]:seen[-1] + 2], counts[seen[0]:seen[-1] + 1]
    heights = 40 * np.sqrt(counts / counts.max())  # square root, so that a tail of one per cent can be seen
    hue = _hue(row.engine["precision"])
    steps = "".join("L%.1f,%.1fL%.1f,%.1f" % (scale(a), base - h, scale(b), base - h)
                    for a, b, h in zip(edges[:-1], edges[1:], heights))
    path = "M%.1f,%.1f%sL%.1f,%.1fZ" % (scale(edges[0]), base, steps, scale(edges[-1]), base)
    marks = [_line(scale(at), base - reach, scale(at), base + 4, "mark %s" % hue)
             for at, reach in ((row.median_s, 44), (row.p90_s, 20), (row.p99_s, 20)) if at is not None]
    return [_line(LABEL, base, WIDTH - NOTE, base, "grid"), '<path class="ridge %s" d="%s"/>' % (hue, path), *marks,
            _row_label(base - 14, row.label, row.engine["precision"]),
            _text(WIDTH - NOTE + 16, base - 20, milliseconds(row.median_s), "value"),
            _text(WIDTH - NOTE + 16, base - 4, "p99 %s" % milliseconds(row.p99_s), "small")]


def trade_plot(points: Sequence[Trade]) -> str:
    """Macro-F1 over median latency: the upper left is best."""
    medians = np.array([point.median_s for point in points])
    across = _log_scale(medians.min() / 1.5, medians.max() * 1.5, 60, WIDTH - 240)
    low, high = (limit([point.macro_f1 for point in points]) for limit in (min, max))
    floor, ceiling = max(0.0, low - 0.25 * (high - low) - 0.01), min(1.0, high + 0.25 * (high - low) + 0.01)
    up = lambda value: 250 - 230 * (value - floor) / (ceiling - floor)  # noqa: E731
    body = [_grid(across(tick), 260, "%g ms" % (1e3 * tick))
            for tick in _log_ticks(medians.min() / 1.5, medians.max() * 1.5)]
    body += [_rung(up(tick), "%.3g" % tick) for tick in _even_ticks(floor, ceiling)]
    beside = _spread([up(point.macro_f1) + 4 for point in points], 15)
    for point, y in zip(points, beside):
        x, hue = across(point.median_s), _hue(point.precision)
        body.append(_line(x + 7, up(point.macro_f1), x + 15, y - 4, "leader"))
        body.append('<circle class="dot %s" cx="%.1f" cy="%.1f" r="6"/>' % (hue, x, up(point.macro_f1)))
        body.append(_text(x + 18, y, "%s, %s" % (_short(point.label), point.precision), "name"))
    return _svg(284, body, "macro-F1 over median latency")


def _spread(heights: Sequence[float], least: float) -> List[float]:
    """`heights` moved down as little as keeps them `least` apart, in the order given."""
    moved, last = list(heights), -np.inf
    for index in np.argsort(heights, kind="stable"):
        moved[index] = last = max(heights[index], last + least)
    return moved


def _log_edges(values_s: np.ndarray, bins: int = 90) -> np.ndarray:
    low, high = values_s.min(), max(values_s.max(), values_s.min() * 2)
    return np.geomspace(low / 1.05, high * 1.05, bins + 1)


def _log_scale(low: float, high: float, left: float, right: float) -> Callable[[float], float]:
    span = np.log(high / low)
    return lambda value: float(left + (right - left) * np.log(value / low) / span)


def _log_ticks(low: float, high: float) -> List[float]:
    """1, 2 and 5 of each decade in range; 1 alone over many decades."""
    steps = (1, 2, 5) if high / low < 1000 else (1,)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [step * 10.0 ** decade for decade in decades for step in steps if low <= step * 10.0 ** decade <= high]


def _even_ticks(low: float, high: float) -> List[float]:
    """Four to eight round values in [low, high]."""
    raw = (high - low) / 6
    unit = 10 ** np.floor(np.log10(raw))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= raw)
    return [float(k * step) for k in range(int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9)) + 1)]


def _hue(precision: str) -> str:
    return "hue%d" % PRECISION_ORDER.get(precision, 3)


def _svg(height: float, body: Sequence[str], told: str, width: float = WIDTH, kind: str = "wide") -> str:
    return '<svg class="%s" role="img" aria-label="%s" viewBox="0 0 %.0f %.0f" style="max-width:%.0fpx">%s</svg>' % (
        kind, escape(told), width, height, width, "".join(body))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return '<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>' % (kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return '<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>' % (kind, x, y, anchor, escape(text))


def _slanted(x: float, y: float, text: str) -> str:
    return '<text class="name" transform="translate(%.1f %.1f) rotate(-45)">%s</text>' % (x, y, escape(text))


def _grid(x: float, bottom: float, label: str) -> str:
    return _line(x, 4, x, bottom, "grid") + _text(x, bottom + 16, label, "tick", "middle")


def _rung(y: float, label: str) -> str:
    return _line(60, y, WIDTH - 240, y, "grid") + _text(50, y + 4, label, "tick", "end")


def _row_label(y: float, label: str, precision: str) -> str:
    return '<g><title>%s</title>%s%s</g>' % (
        escape(label), _text(LABEL - 58, y + 4, _short(label), "name", "end"),
        _text(LABEL - 50, y + 4, precision, "tick"))


def _short(label: str, limit: int = 26) -> str:
    return label if len(label) <= limit else label[:limit - 1] + "…"
