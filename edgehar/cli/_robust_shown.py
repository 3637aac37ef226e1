"""A certificate as commands show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

import click

from edgehar.cli._show import show_table

if TYPE_CHECKING:
    from edgehar.results.certificate import Certificate, CertificateRow
    from edgehar.results.limits import Breach, Limits

COLUMNS = ("disturbance", "strength", "macro-F1 [95 %]", "change [95 %]", "calibration error", "answered",
           "worst person", "worst class")


def show_certificate(certificate: Certificate) -> None:
    """A table a task, then what was not measured and who was tested on."""
    for task, rows in certificate.rows.items():
        title = "%s, %s (%s), %s of %s, test people: %d" % (
            certificate.artifact, certificate.engine["backend"], certificate.engine["precision"], task,
            certificate.dataset, len(certificate.people))
        show_table(title + (", SYNTHETIC DATA" if certificate.synthetic else ""), COLUMNS, [
            _cells(row, first) for row, first in _with_first(rows)])
        _show_unknown(certificate, task)
    for name, reason in sorted(certificate.left_out.items()):
        click.echo("not measured: %s, for %s" % (name, reason))


def show_breaches(limits: Optional[Limits], broken: Sequence[Breach]) -> None:
    """Whether the limits are kept, and which are not."""
    if limits is None:
        return
    click.echo("limits: %s" % ("NOT KEPT" if broken else "kept"))
    for each in broken:
        click.echo("  %s" % str(each))


def _show_unknown(certificate: Certificate, task: str) -> None:
    found = certificate.unknown.get(task)
    if found:
        click.echo("movements that are none of its classes (%s: %s): mean confidence %s, told apart from known ones "
                   "in %s of pairs" % (found.corpus, ", ".join(found.movements), _interval(found.confidence, 2),
                                       _interval(found.told_apart, 2)))


def _with_first(rows: Sequence[CertificateRow]) -> List[Tuple[CertificateRow, bool]]:
    """Each row, and whether it is the first of its disturbance."""
    return [(row, not number or rows[number - 1].disturbance != row.disturbance) for number, row in enumerate(rows)]


def _cells(row: CertificateRow, first: bool) -> Sequence[Any]:
    return (row.disturbance if first else "", row.label, _interval(row.macro_f1),
            "" if row.disturbance == "undisturbed" else _interval(row.change, sign="+"),
            _interval(row.calibration_error[:1]), "%.0f %%" % (100 * row.answered), _named(row.worst_person),
            _named(row.worst_class))


def _named(found: Tuple[str, Optional[float]]) -> str:
    name, value = found
    return "–" if value is None else "%s %.2f" % (name, value)


def _interval(found: Sequence[Optional[float]], digits: int = 3, sign: str = "") -> str:
    """"0.71 [0.65, 0.77]", the interval where there is one; "–" for nothing to tell."""
    form = "%" + sign + ".%df" % digits
    if not found or found[0] is None:
        return "–"
    if len(found) < 3 or None in found[1:]:
        return form % found[0]
    return "%s [%s, %s]" % tuple(form % each for each in found)
