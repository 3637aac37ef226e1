"""Pictures of rows as inline SVG: no script, no font, no file; all text is escaped here."""

from __future__ import annotations

from html import escape
from typing import Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.attribution import Attribution, spectrum
from edgehar.data.signals import Signal
from edgehar.results.axes import (LABEL, NOTE, WIDTH, across_title, as_svg, curve, draw_line, draw_text, even_ticks,
                                  grid_lines, log_edges, log_scale, log_ticks, rung, shortened, slanted_text,
                                  spread_apart, upright_title)
from edgehar.results.people import Interval
from edgehar.results.rows import PRECISION_ORDER, AccuracyRow, LatencyRow, Trade
from edgehar.results.words import milliseconds


def interval_plot(rows: Sequence[AccuracyRow]) -> str:
    """Macro-F1 as a dot and its 95 % interval as a line, one row each."""
    low = min(min(row.macro_f1.low, row.macro_f1.value) for row in rows)
    left = max(0.0, np.floor(10 * low - 0.5) / 10)
    scale = lambda value: LABEL + (WIDTH - LABEL - NOTE) * (value - left) / (1 - left)  # noqa: E731
    bottom = 26 * len(rows) + 8
    body = [grid_lines(scale(tick), bottom, "%.2g" % tick) for tick in even_ticks(left, 1.0)]
    for number, row in enumerate(rows):
        y, found, hue = 26 * number + 20, row.macro_f1, _hue(row.engine.precision)
        body.append(_row_label(y, row.label, row.engine.precision))
        if row.people > 1:
            body.append(draw_line(scale(found.low), y, scale(found.high), y, "whisker %s" % hue))
        body.append('<circle class="dot %s" cx="%.1f" cy="%d" r="5"/>' % (hue, scale(found.value), y))
        body.append(draw_text(WIDTH - NOTE + 16, y + 4, "%.3f" % found.value, "value"))
    body.append(across_title((LABEL + WIDTH - NOTE) / 2, bottom + 34, "macro-F1, with its 95 % interval over subjects"))
    return as_svg(bottom + 42, body, "macro-F1 with its 95 % interval over subjects")


class Difference(NamedTuple):
    """One line of a forest plot: what is compared, the paired difference, what it allows to say."""

    label: str
    precision: str
    difference: Interval
    verdict: str


def forest_plot(lines: Sequence[Difference]) -> str:
    """Paired differences of macro-F1 to training without distillation, as dots with their 95 % intervals."""
    reach, bottom, right = _reach(lines), 26 * len(lines) + 8, _right_of_axis(lines)
    scale = lambda value: LABEL + (right - LABEL) * (value + reach) / (2 * reach)  # noqa: E731
    body = _zero_grid(scale, reach, bottom)
    for number, line in enumerate(lines):
        y = 26 * number + 20
        body.append(_row_label(y, line.label, line.precision))
        body += _whisker(line.difference, y, scale, _hue(line.precision))
        body.append(draw_text(right + 12, y + 4, _told(line), "small"))
    body += _favours(scale, reach, bottom, "no distillation", "the method")
    return as_svg(bottom + 58, body, "paired differences of macro-F1 with their 95 % intervals over subjects")


def contrast_plot(fixed: Sequence[Difference], exploratory: Sequence[Difference], title: str) -> str:
    """A study's paired differences as in `forest_plot`: those fixed beforehand above, the others below, hollow."""
    groups = [group for group in (("fixed beforehand", fixed, "hue0"), ("exploratory", exploratory, "hue0 hollow"))
              if group[1]]
    every = [*fixed, *exploratory]
    reach, bottom = _reach(every), 26 * (len(every) + len(groups)) + 36
    left, right = 24 + 6.6 * max(len(line.label) for line in every), _right_of_axis(every)
    scale = lambda value: left + (right - left) * (value + reach) / (2 * reach)  # noqa: E731
    body, y = [draw_text(8, 18, title, "axis"), *_zero_grid(scale, reach, bottom, 30)], 44
    for name, lines, kind in groups:
        body.append(draw_text(8, y + 4, name, "tick"))
        for line in lines:
            y += 26
            body.append(draw_text(left - 12, y + 4, line.label, "name", "end"))
            body += _whisker(line.difference, y, scale, kind)
            body.append(draw_text(right + 12, y + 4, _told(line), "small"))
        y += 26
    body += _favours(scale, reach, bottom, *_sides(every))
    return as_svg(bottom + 58, body, "%s, paired, with 95 %% intervals over subjects" % title)


def _told(line: Difference) -> str:
    """The numbers of a difference, and what they allow to say; its interval says the half-width already."""
    return "%+.3f [%+.3f, %+.3f] %s" % (*line.difference, line.verdict.split(" (")[0])


def _right_of_axis(lines: Sequence[Difference]) -> float:
    """Where the axis ends, so that what is told beside it fits the picture."""
    return WIDTH - 18 - 5.8 * max(len(_told(line)) for line in lines)


def _sides(lines: Sequence[Difference]) -> Tuple[str, str]:
    """What a difference "a - b" below zero speaks for, and one above; by name where it is one name on all lines."""
    named = [line.label.split(",")[0].split(" - ") for line in lines]
    firsts, seconds = ({names[end] for names in named} for end in (0, -1))
    return (seconds.pop() if len(seconds) == 1 else "the second of the two",
            firsts.pop() if len(firsts) == 1 else "the first of the two")


def _favours(scale: Callable[[float], float], reach: float, bottom: float, below: str, above: str) -> List[str]:
    """Below the ticks: which side of zero speaks for what, and what the axis shows."""
    return [draw_text(scale(0) - 12, bottom + 33, "\u2190 favours " + shortened(below, 30), "title", "end"),
            draw_text(scale(0) + 12, bottom + 33, "favours %s \u2192" % shortened(above, 30), "title"),
            across_title(scale(0), bottom + 50, "difference of macro-F1, paired, 95 % interval over subjects")]


def _reach(lines: Sequence[Difference]) -> float:
    """How far the axis of differences goes to either side: the farthest end, rounded up to a point."""
    farthest = max(abs(end) for line in lines for end in line.difference)
    return float(np.ceil(100 * max(farthest, 0.01)) / 100)


def _zero_grid(scale: Callable[[float], float], reach: float, bottom: float, top: float = 4) -> List[str]:
    ticks = reach * np.array([-1, -0.5, 0, 0.5, 1])
    return [*(grid_lines(scale(tick), bottom, "%+.2g" % tick if tick else "0", top) for tick in ticks),
            draw_line(scale(0), top - 4, scale(0), bottom, "leader")]


def _whisker(found: Interval, y: float, scale: Callable[[float], float], kind: str) -> List[str]:
    """A dot, and its interval as a line."""
    return [draw_line(scale(found.low), y, scale(found.high), y, "whisker %s" % kind.split()[0]),
            '<circle class="dot %s" cx="%.1f" cy="%d" r="5"/>' % (kind, scale(found.value), y)]


def confusion_plot(row: AccuracyRow) -> str:
    """Heat map: of each true class, where its windows went, in per cent; classes that never occur are left out."""
    row = _of_occurring(row)
    count = len(row.classes)
    side = 46 if count <= 8 else 32
    gutter = 32 + 6.6 * max(map(len, row.classes))
    top = 18 + 5.0 * max(map(len, row.classes))
    shares = row.counts / np.maximum(row.counts.sum(axis=1, keepdims=True), 1)
    body = [draw_text(gutter - 8, top + side * (i + 0.5) + 4, name, "name", "end")
            for i, name in enumerate(row.classes)]
    body += [slanted_text(gutter + side * (k + 0.5), top - 8, name) for k, name in enumerate(row.classes)]
    body += [_cell(row, shares, i, k, gutter + side * k, top + side * i, side)
             for i in range(count) for k in range(count)]
    width = gutter + side * count + 4.5 * len(row.classes[-1]) + 10
    body += [upright_title(12, top + side * count / 2, "true class"),
             across_title(gutter + side * count / 2, top + side * count + 18, "predicted class; per cent of the row")]
    return as_svg(top + side * count + 26, body, "confusion matrix of %s" % row.label, width, "confusion")


def _of_occurring(row: AccuracyRow) -> AccuracyRow:
    """`row` without the classes that no window has and that were predicted for none; whole where that is all."""
    occurs = row.counts.sum(axis=0) + row.counts.sum(axis=1) > 0
    if not occurs.any():
        return row
    return row._replace(classes=tuple(name for name, here in zip(row.classes, occurs) if here),
                        counts=row.counts[occurs][:, occurs])


def _cell(row: AccuracyRow, shares: np.ndarray, i: int, k: int, x: float, y: float, side: float) -> str:
    share = shares[i, k]
    told = "true %s, predicted %s: %d of %d windows" % (
        row.classes[i], row.classes[k], row.counts[i, k], row.counts[i].sum())
    shown = "%.0f" % (100 * share) if share >= 0.005 else ""
    kind = "hit" if i == k else "miss"
    return '<g><title>%s</title><rect class="ground" x="%.1f" y="%.1f" width="%d" height="%d" rx="3"/>' \
           '<rect class="%s" fill-opacity="%.3f" x="%.1f" y="%.1f" width="%d" height="%d" rx="3"/>%s</g>' % (
               escape(told), x + 1, y + 1, side - 2, side - 2, kind, share ** 0.7, x + 1, y + 1, side - 2, side - 2,
               draw_text(x + side / 2, y + side / 2 + 4, shown, "share strong" if share > 0.5 else "share", "middle"))


def reliability_plot(row: AccuracyRow) -> str:
    """The share of correct windows over their confidence, one dot a bin; its area: how many windows it holds."""
    known = np.zeros((3, 0)) if row.reliability is None else row.reliability
    count, confidence, right = known[:, known[0] > 0]
    across = lambda value: 44 + 240 * value  # noqa: E731
    up = lambda value: 254 - 240 * value  # noqa: E731
    body = [grid_lines(across(tick), 254, "%g" % tick) + draw_line(44, up(tick), 284, up(tick), "grid")
            + draw_text(36, up(tick) + 4, "%g" % tick, "tick", "end") for tick in (0, 0.25, 0.5, 0.75, 1)]
    body.append(draw_line(across(0), up(0), across(1), up(1), "leader"))
    for number, sure, share in zip(count, confidence / count, right / count):
        told = "confidence %.0f %%, correct %.0f %%, %d windows" % (100 * sure, 100 * share, round(number))
        body.append('<g><title>%s</title>%s<circle class="dot bin %s" cx="%.1f" cy="%.1f" r="%.1f"/></g>' % (
            told, draw_line(across(sure), up(sure), across(sure), up(share), "gap"), _hue(row.engine.precision),
            across(sure), up(share), 2.5 + 13 * np.sqrt(number / count.sum())))
    body += [across_title(164, 288, "confidence"), upright_title(10, 134, "share of windows that are correct")]
    return as_svg(296, body, "share correct over confidence of %s" % row.label, 300, "reliability")


def latency_plot(rows: Sequence[LatencyRow]) -> str:
    """One histogram a row on a common logarithmic axis, with ticks at median, 90 and 99 per cent."""
    edges = log_edges(np.concatenate([row.latency_s for row in rows]))
    scale = log_scale(edges[0], edges[-1], LABEL, WIDTH - NOTE)
    bottom = 58 * len(rows) + 8
    body = [grid_lines(scale(tick), bottom, "%g" % (1e3 * tick)) for tick in log_ticks(edges[0], edges[-1])]
    for number, row in enumerate(rows):
        body += _ridge(row, 58 * number + 52, edges, scale)
    body.append(across_title((LABEL + WIDTH - NOTE) / 2, bottom + 34, "latency per call, ms (logarithmic)"))
    return as_svg(bottom + 42, body, "distribution of latency")


def _ridge(row: LatencyRow, base: float, edges: np.ndarray, scale: Callable[[float], float]) -> List[str]:
    counts = np.histogram(row.latency_s, edges)[0]
    seen = np.flatnonzero(counts)
    edges, counts = edges[seen[0]:seen[-1] + 2], counts[seen[0]:seen[-1] + 1]
    heights = 40 * np.sqrt(counts / counts.max())  # square root, so that a tail of one per cent can be seen
    hue = _hue(row.engine.precision)
    steps = "".join("L%.1f,%.1fL%.1f,%.1f" % (scale(a), base - h, scale(b), base - h)
                    for a, b, h in zip(edges[:-1], edges[1:], heights))
    path = "M%.1f,%.1f%sL%.1f,%.1fZ" % (scale(edges[0]), base, steps, scale(edges[-1]), base)
    marks = [draw_line(scale(at), base - reach, scale(at), base + 4, "mark %s" % hue)
             for at, reach in ((row.median_s, 44), (row.p90_s, 20), (row.p99_s, 20)) if at is not None]
    return [draw_line(LABEL, base, WIDTH - NOTE, base, "grid"), '<path class="ridge %s" d="%s"/>' % (hue, path), *marks,
            _row_label(base - 14, row.label, row.engine.precision),
            draw_text(WIDTH - NOTE + 16, base - 20, milliseconds(row.median_s), "value"),
            draw_text(WIDTH - NOTE + 16, base - 4, "p99 %s" % milliseconds(row.p99_s), "small")]


def trade_plot(points: Sequence[Trade]) -> str:
    """Macro-F1 over median latency: the upper left is best."""
    medians = np.array([point.median_s for point in points])
    across = log_scale(medians.min() / 1.5, medians.max() * 1.5, 60, WIDTH - 240)
    low, high = (limit([point.macro_f1 for point in points]) for limit in (min, max))
    floor, ceiling = max(0.0, low - 0.25 * (high - low) - 0.01), min(1.0, high + 0.25 * (high - low) + 0.01)
    up = lambda value: 250 - 230 * (value - floor) / (ceiling - floor)  # noqa: E731
    body = [grid_lines(across(tick), 260, "%g" % (1e3 * tick))
            for tick in log_ticks(medians.min() / 1.5, medians.max() * 1.5)]
    body += [rung(up(tick), "%.3g" % tick) for tick in even_ticks(floor, ceiling)]
    beside = spread_apart([up(point.macro_f1) + 4 for point in points], 15)
    for point, y in zip(points, beside):
        x, hue = across(point.median_s), _hue(point.precision)
        body.append(draw_line(x + 7, up(point.macro_f1), x + 15, y - 4, "leader"))
        body.append('<circle class="dot %s" cx="%.1f" cy="%.1f" r="6"/>' % (hue, x, up(point.macro_f1)))
        body.append(draw_text(x + 18, y, "%s, %s" % (shortened(point.label), point.precision), "name"))
    body += [across_title(WIDTH / 2 - 90, 294, "median latency of one window, ms (logarithmic)"),
             upright_title(12, 135, "macro-F1")]
    return as_svg(302, body, "macro-F1 over median latency")


class SensorChoice(NamedTuple):
    """One choice of sensors: what a window costs, and how often the network is right. best: as in ``modalities``."""

    name: str
    macs: float
    macro_f1: Interval
    best: bool


def choice_plot(choices: Sequence[SensorChoice]) -> str:
    """Macro-F1 with its interval over MACs a window; a line joins the choices that no other beats in both."""
    macs = np.array([choice.macs for choice in choices])
    across = log_scale(macs.min() / 1.2, macs.max() * 1.2, 60, WIDTH - 240)
    low, high = min(choice.macro_f1.low for choice in choices), max(choice.macro_f1.high for choice in choices)
    floor, ceiling = max(0.0, low - 0.02), min(1.0, high + 0.02)
    up = lambda value: 290 - 270 * (value - floor) / (ceiling - floor)  # noqa: E731
    ticks = log_ticks(macs.min() / 1.2, macs.max() * 1.2)
    if len(ticks) < 2:
        ticks = even_ticks(macs.min() / 1.2, macs.max() * 1.2)
    body = [grid_lines(across(tick), 300, "%gM" % (tick / 1e6)) for tick in ticks]
    body += [rung(up(tick), "%.3g" % tick) for tick in even_ticks(floor, ceiling)]
    front = sorted((choice for choice in choices if choice.best), key=lambda choice: choice.macs)
    body.append(curve([across(choice.macs) for choice in front], [up(choice.macro_f1.value) for choice in front],
                       "front"))
    beside = spread_apart([up(choice.macro_f1.value) + 4 for choice in choices], 15)
    for choice, y in zip(choices, beside):
        x, at, hue = across(choice.macs), up(choice.macro_f1.value), "hue0" if choice.best else "hue0 hollow"
        body.append(draw_line(x, up(choice.macro_f1.low), x, up(choice.macro_f1.high), "whisker hue0"))
        body.append(draw_line(x + 7, at, WIDTH - 236, y - 4, "leader"))
        body.append('<circle class="dot %s" cx="%.1f" cy="%.1f" r="5"/>' % (hue, x, at))
        body.append(draw_text(WIDTH - 230, y, "%s, %.3f" % (shortened(choice.name, 30), choice.macro_f1.value), "name"))
    body += [across_title(WIDTH / 2 - 90, 334, "multiply-accumulates per window (logarithmic)"),
             upright_title(12, 155, "macro-F1, with its 95 % interval over subjects")]
    return as_svg(342, body, "macro-F1 with its 95 % interval over multiply-accumulates per window")


def attribution_plot(found: Attribution, number: int, name: str, signal: Signal) -> str:
    """Window `number` of `found`, of class `name`: its signal where the network looked, and its spectrum.

    Left, over time: the channels of the first sensor, on a ground as dark as the sample
    spoke for the class. Right, over frequency: their mean amplitude, faint in the whole
    window, strong in the part the network looked at.
    """
    first = signal.channels[0]
    shown = [index for index, channel in enumerate(signal.channels)
             if (channel.kind, channel.placement, channel.unit) == (first.kind, first.placement, first.unit)]
    x, focus = found.x[number][shown], found.focus[number]
    sensor = " ".join(filter(None, (first.placement, first.kind)))
    few = "" if len(shown) == len(signal.channels) else " (%d of %d channels)" % (len(shown), len(signal.channels))
    legend = "confidence %.0f %%; %s%s:" % (100 * found.probability[number], sensor, few)
    axes = [draw_text(52 + 5.8 * len(legend) + 18 * line, 14, signal.channels[index].axis,
                      "axis channel%d" % (line % 4)) for line, index in enumerate(shown)]
    body = [draw_text(44, 14, legend, "small"), *axes, *_focused_signal(x, focus, signal),
            *_focused_spectrum(x, focus, signal)]
    return as_svg(190, body, "class activation map of %s" % name, WIDTH, "wide attribution")


def _focused_signal(x: np.ndarray, focus: np.ndarray, signal: Signal) -> List[str]:
    """Channels x (C, T) over seconds, on a ground of focus (T,)."""
    across = lambda sample: 44 + 516 * sample / x.shape[1]  # noqa: E731
    spare = 0.04 * max(x.max() - x.min(), 1e-3)
    low, high = x.min() - spare, x.max() + spare
    up = lambda value: 148 - 124 * (value - low) / (high - low)  # noqa: E731
    body = ['<rect class="focus" fill-opacity="%.3f" x="%.1f" y="24" width="%.1f" height="124"/>' % (
        0.5 * share, across(sample), 516 / len(focus) + 0.3) for sample, share in enumerate(focus) if share > 0.01]
    body += [draw_line(44, up(tick), 560, up(tick), "grid") + draw_text(38, up(tick) + 4, "%g" % tick, "tick", "end")
             for tick in even_ticks(low, high)]
    body += [curve([across(sample + 0.5) for sample in range(x.shape[1])], [up(value) for value in line],
                    "wave channel%d" % (number % 4)) for number, line in enumerate(x)]
    ends = ((44, "0", "start"), (560, "%.3g" % (x.shape[1] / signal.rate_hz), "end"))
    return body + [draw_text(at, 166, text, "tick", anchor) for at, text, anchor in ends] + [
        across_title(302, 180, "time, s"), upright_title(10, 86, signal.channels[0].unit)]


def _focused_spectrum(x: np.ndarray, focus: np.ndarray, signal: Signal) -> List[str]:
    """Mean amplitude of the channels x (C, T) over hertz: of all, and of what focus (T,) keeps of their swing."""
    swing = x - x.mean(axis=1, keepdims=True)
    frequencies_hz, whole = spectrum(swing, signal.rate_hz)
    kept = spectrum(swing * focus, signal.rate_hz)[1]
    across = lambda value: 620 + 220 * value / frequencies_hz[-1]  # noqa: E731
    top = max(whole.mean(axis=0).max(), kept.mean(axis=0).max(), 1e-9)
    body = [draw_line(across(tick), 24, across(tick), 148, "grid")
            + draw_text(across(tick), 166, "%g" % tick, "tick", "middle")
            for tick in even_ticks(0.0, frequencies_hz[-1])[:-1]]
    body += [draw_text(614, 148, "0", "tick", "end"), draw_text(614, 30, "%.2g" % top, "tick", "end"),
             across_title(across(frequencies_hz[-1] / 2), 180, "frequency, Hz"),
             upright_title(582, 86, "amplitude, %s" % signal.channels[0].unit)]
    return body + [curve([across(value) for value in frequencies_hz],
                          [148 - 124 * value / top for value in amplitudes.mean(axis=0)], kind)
                   for amplitudes, kind in ((whole, "wave whole"), (kept, "wave looked"))]


def history_plot(curves: Mapping[str, Mapping[str, Sequence[float]]], kept: int, name: str) -> str:
    """Values over epochs, a small picture for each of `curves` {what: {line: (E,)}}; the epoch `kept` is marked."""
    wide, high, beside = 250, 170, 3
    body = [_over_epochs(what, lines, kept, 45 + (wide + 35) * (number % beside), (high + 20) * (number // beside))
            for number, (what, lines) in enumerate(curves.items())]
    return as_svg((high + 20) * -(-len(curves) // beside), body, "how %s was trained" % name)


def _over_epochs(what: str, lines: Mapping[str, Sequence[float]], kept: int, left: float, top: float) -> str:
    """One picture of `history_plot`, 200 wide and 100 high below its title, each line named at its last value."""
    values = np.array(list(lines.values()), dtype=float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    high = max(high, low + 1e-3)
    across = lambda epoch: left + 160 * epoch / max(1, values.shape[1] - 1)  # noqa: E731
    up = lambda value: top + 140 - 110 * (value - low) / (high - low)  # noqa: E731
    body = [draw_text(left, top + 14, what, "name"), draw_text(left, top + 158, "1", "tick", "middle"),
            draw_text(left + 160, top + 158, "%d epochs" % values.shape[1], "tick", "middle"),
            draw_line(across(kept - 1), top + 26, across(kept - 1), top + 140, "leader")]
    body += [draw_line(left, up(tick), left + 160, up(tick), "grid")
             + draw_text(left - 5, up(tick) + 4, "%.3g" % tick, "tick", "end") for tick in even_ticks(low, high)]
    ends = spread_apart([up(line[np.flatnonzero(~np.isnan(line))[-1]]) + 4 for line in values], 12)
    ends = [y - max(0.0, max(ends) - top - 146) for y in ends]
    for number, (name, line, y) in enumerate(zip(lines, values, ends)):
        seen = np.flatnonzero(~np.isnan(line))
        body.append(curve([across(epoch) for epoch in seen], [up(value) for value in line[seen]],
                           "wave series%d%s" % (number % 4, " dashed" if number >= 4 else "")))
        body.append(draw_text(left + 164, y, shortened(name, 14), "axis series%d" % (number % 4)))
    return "".join(body)


class ModeLine(NamedTuple):
    """Predicted joules a window of one power mode, and what of them is above idle; None where it cannot keep up.

    best: no other mode is sure to be cheaper.
    """

    mode: str
    precision: str
    joules: Optional[float]
    above_idle_j: Optional[float]
    best: bool


def mode_plot(lines: Sequence[ModeLine]) -> str:
    """Predicted energy a window above idle as bars, one power mode each; those that may be the cheapest marked."""
    most = max((line.above_idle_j for line in lines if line.above_idle_j is not None), default=1.0)
    body = []
    for number, line in enumerate(lines):
        y, told, length = 26 * number + 20, "cannot keep up", 0.0
        if line.joules is not None and line.above_idle_j is not None:
            told = "%.3g mJ above idle (%.4g J in all)" % (1e3 * line.above_idle_j, line.joules)
            length = (WIDTH - LABEL - 2 * NOTE) * line.above_idle_j / most
            body.append('<rect class="bar%s" x="%d" y="%d" width="%.1f" height="16"/>' % (
                " best" if line.best else "", LABEL, y - 8, length))
        body.append(draw_text(LABEL - 16, y + 4, "%s, %s" % (line.mode, line.precision), "name", "end"))
        body.append(draw_text(LABEL + length + 8, y + 4, told, "value"))
    body.append(across_title(LABEL + (WIDTH - LABEL - 2 * NOTE) / 2, 26 * len(lines) + 26,
                             "length of a bar: energy per window above idle; dark: may be the least in all"))
    return as_svg(26 * len(lines) + 36, body, "predicted energy per window of each power mode")


class ScalingLine(NamedTuple):
    """Seconds a window with so many streams at once; limit_s: what the core's arithmetic alone would take."""

    label: str
    streams: Sequence[int]
    cost_s: Sequence[float]
    limit_s: float


def scaling_plot(lines: Sequence[ScalingLine]) -> str:
    """Cost of a window over the number of streams, both logarithmic; a line's limit is dashed below it.

    Lines whose labels begin alike, up to the first comma, have one colour; the second of them is dotted.
    """
    low, high = min(line.limit_s for line in lines), max(max(line.cost_s) for line in lines)
    most = max(max(line.streams) for line in lines)
    across = log_scale(1, max(most, 2), 60, WIDTH - 240)
    up = log_scale(low / 1.2, high * 1.2, 330, 20)
    body = [rung(up(tick), "%g" % (1e6 * tick)) for tick in log_ticks(low / 1.2, high * 1.2)]
    body += [draw_text(across(tick), 348, "%d" % tick, "tick", "middle") for tick in log_ticks(1, most)]
    families = list(dict.fromkeys(line.label.split(",")[0] for line in lines))
    drawn: List[str] = []
    ends = spread_apart([up(line.cost_s[-1]) + 4 for line in lines], 14)
    for line, y in zip(lines, ends):
        family = line.label.split(",")[0]
        hue = "series%d%s" % (families.index(family) % 4, " dotted" if family in drawn else "")
        drawn.append(family)
        body.append(curve(list(map(across, line.streams)), list(map(up, line.cost_s)), "wave " + hue))
        body.append(draw_line(60, up(line.limit_s), WIDTH - 240, up(line.limit_s), "mark dashed " + hue.split()[0]))
        body.append(draw_text(WIDTH - 232, y, "%s: %.2f us, %.0f %%" % (
            line.label, 1e6 * line.cost_s[-1], 100 * line.limit_s / line.cost_s[-1]), "axis " + hue))
    told = "dashed: what the multiply-adds alone would take this core; per cent: that share of the cost"
    body += [across_title((WIDTH - 180) / 2, 366, "streams on one core (logarithmic)"),
             upright_title(12, 175, "cost per window, \u00b5s (logarithmic)"), draw_text(60, 386, told, "small")]
    return as_svg(396, body, "cost of a window over the number of streams")


def _hue(precision: str) -> str:
    return "hue%d" % PRECISION_ORDER.get(precision, 3)


def _row_label(y: float, label: str, precision: str) -> str:
    return '<g><title>%s</title>%s%s</g>' % (
        escape(label), draw_text(LABEL - 58, y + 4, shortened(label), "name", "end"),
        draw_text(LABEL - 50, y + 4, precision, "tick"))
