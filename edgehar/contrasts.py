"""One method against another: paired over the people that both were tested on."""

from __future__ import annotations

import json
from typing import Any, Dict, Hashable, List, NamedTuple, Sequence

from edgehar.errors import InputError
from edgehar.results import Run
from edgehar.scoring import Interval, paired_difference, paired_p_value, verdict
from edgehar.tables import AccuracyRow, accuracy_rows, people_of, seedless

NETWORK_FACTS = ("dataset", "channels", "channel_names", "tasks", "rate_hz", "window", "hop", "model", "recipe",
                 "backend", "precision")


class Contrast(NamedTuple):
    """Macro-F1 of `row` minus that of `partner`, with its 95 % interval over people, and what it allows to say."""

    row: AccuracyRow
    partner: AccuracyRow
    difference: Interval
    verdict: str


def contrasts(rows: Sequence[AccuracyRow]) -> List[Contrast]:
    """Every row against the same network, channels, precision and task trained on labels alone, where there is one."""
    alone = {_network(row): row for row in rows if row.engine["method"] == "none"}
    pairs = [(row, alone[_network(row)]) for row in rows if _network(row) in alone]
    return [_contrast(row, partner) for row, partner in pairs if partner is not row]


def compare(a: Sequence[Run], b: Sequence[Run]) -> List[Contrast]:
    """Method `a` against method `b`, each one Run or its seeds; a contrast a task.

    Raises InputError where either is more than one method, was not scored, or where the
    two were scored on other people, tasks or classes.
    """
    first, second = _one_method(a), _one_method(b)
    _require_alike("sources", a[0].source, b[0].source)
    _require_alike("tasks", sorted(first), sorted(second))
    if people_of(a[0]) != people_of(b[0]):
        raise _unlike("splits", *(_split_told(runs[0]) for runs in (a, b)))
    return [_contrast(first[task], second[task]) for task in sorted(first)]


def _contrast(row: AccuracyRow, partner: AccuracyRow) -> Contrast:
    _require_alike("people", sorted(row.runs[0]), sorted(partner.runs[0]))
    _require_alike("classes of task '%s'" % row.task, row.classes, partner.classes)
    difference = paired_difference(row.runs, partner.runs)
    return Contrast(row, partner, difference, verdict(difference) if row.people > 1 else "not resolvable")


def p_value(found: Contrast) -> float:
    """How often so large a difference comes of two methods that are no different; for one contrast alone."""
    return paired_p_value(found.row.runs, found.partner.runs)


def difference_text(found: Contrast) -> str:
    """"+0.012 [-0.003, +0.027]"; one person gives no interval."""
    return "%+.3f [%+.3f, %+.3f]" % found.difference if found.row.people > 1 else (
        "%+.3f (one person)" % found.difference.value)


def _network(row: AccuracyRow) -> Hashable:
    facts = [seedless(row.engine.get(key)) for key in NETWORK_FACTS]
    return row.task, tuple(sorted(row.runs[0])), json.dumps(facts, sort_keys=True)


def _one_method(runs: Sequence[Run]) -> Dict[str, AccuracyRow]:
    """{task: the row of `runs`}."""
    rows = accuracy_rows(runs)
    if not rows:
        raise InputError("%s was not scored; measure it with `edgehar bench --scenario accuracy`." % (
            runs[0].engine["artifact"]))
    if len({row.task for row in rows}) < len(rows):
        names = ["%s %s" % (row.label, row.engine["precision"]) for row in rows]
        raise InputError("a side of a comparison is one method in one precision and here are %d, from %s to %s; name "
                         "the Run files of one." % (len(names), names[0], names[-1]))
    return {row.task: row for row in rows}


def _require_alike(what: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise _unlike(what, *(each if isinstance(each, str) else ", ".join(each) for each in (ours, theirs)))


def _unlike(what: str, ours: str, theirs: str) -> InputError:
    return InputError("the Runs differ in their %s (%s against %s), so their scores do not compare; measure both on "
                      "the same people and task." % (what, ours, theirs))


def _split_told(run: Run) -> str:
    return "'%s' of %s, %s" % (run.split.get("name", ""), run.engine["dataset"], run.split.get("sha256", "")[:8])
