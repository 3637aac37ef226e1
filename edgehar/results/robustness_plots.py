"""Pictures of a certificate: macro-F1 over the strength of each disturbance, beside that of the undisturbed signal."""

from __future__ import annotations

from typing import List, Optional, Sequence

from edgehar.results.axes import as_svg, curve, draw_line, draw_text, even_ticks
from edgehar.results.certificate import UNDISTURBED, Certificate, CertificateRow
from edgehar.results.people import Interval

WIDE, HIGH, BESIDE = 280, 190, 3


def interval_of(found: Sequence[Optional[float]]) -> Optional[Interval]:
    """Three figures of a row as an interval; None where no window tells them."""
    value, low, high = found
    return None if value is None or low is None or high is None else Interval(value, low, high)


def robustness_plot(certificate: Certificate, task: str) -> str:
    """A small picture for each disturbance whose strengths lie on a line; the dashed line is the undisturbed signal."""
    (plain,) = certificate.of(task, UNDISTURBED)
    curves = [rows for rows in (certificate.of(task, name) for name in certificate.disturbances(task))
              if all(row.strength is not None for row in rows)]
    body = [_panel(rows, plain, 44 + WIDE * (number % BESIDE), (HIGH + 10) * (number // BESIDE))
            for number, rows in enumerate(curves)]
    return as_svg((HIGH + 10) * -(-len(curves) // BESIDE), body,
                  "macro-F1 of %s over the strength of each disturbance" % certificate.artifact)


def _panel(rows: Sequence[CertificateRow], plain: CertificateRow, left: float, top: float) -> str:
    """One disturbance: its strengths evenly apart, with 95 % intervals over people as whiskers."""
    points = _in_order(rows, plain)
    step, bottom = 210 / max(1, len(points) - 1), top + 150
    up = lambda value: bottom - 120 * value  # noqa: E731
    body = [draw_text(left, top + 14, rows[0].disturbance, "name")]
    body += [draw_line(left, up(tick), left + 210, up(tick), "grid") + draw_text(left - 5, up(tick) + 4, "%.2g" % tick,
                                                                                "tick", "end")
             for tick in even_ticks(0.0, 1.0)]
    level = interval_of(plain.macro_f1)
    body += [draw_line(left, up(level.value), left + 210, up(level.value), "leader dashed")] if level else []
    seen = [(left + step * place, interval_of(row.macro_f1)) for place, row in enumerate(points)]
    known = [(x, found) for x, found in seen if found is not None]
    body.append(curve([x for x, _ in known], [up(found.value) for _, found in known], "wave series0"))
    for x, found in known:
        body.append(draw_line(x, up(found.low), x, up(found.high), "whisker series0"))
        body.append('<circle class="dot series0" cx="%.1f" cy="%.1f" r="3"/>' % (x, up(found.value)))
    return "".join(body + _strengths(points, left, step, bottom))


def _in_order(rows: Sequence[CertificateRow], plain: CertificateRow) -> List[CertificateRow]:
    """From the least to the greatest where there are two signs, with the undisturbed signal at its place."""
    if any((row.strength or 0) < 0 for row in rows):
        return sorted([*rows, plain], key=lambda row: row.strength or 0.0)
    return [plain, *rows]


def _strengths(points: Sequence[CertificateRow], left: float, step: float, bottom: float) -> List[str]:
    """Their numbers below the axis; the unit stands below, once."""
    ticks = [draw_text(left + step * place, bottom + 16, "%g" % row.strength if row.strength is not None else "\u2013",
                       "tick", "middle") for place, row in enumerate(points)]
    label = max((row.label for row in points), key=len)
    unit = label.split(" ", 1)[1] if " " in label else ""
    return [*ticks, draw_text(left + step * (len(points) - 1) / 2, bottom + 30, unit, "title", "middle")]
