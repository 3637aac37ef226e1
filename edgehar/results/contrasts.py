"""One method against another: paired over the people that both were tested on."""

from __future__ import annotations

import json
from typing import Any, Dict, Hashable, List, NamedTuple, Optional, Sequence

from edgehar.errors import InputError
from edgehar.results.grouping import corpus_of, facts_of, people_of
from edgehar.results.people import Interval, non_inferiority, paired_difference, paired_p_value, share_of_gap, verdict
from edgehar.results.rows import AccuracyRow, accuracy_rows
from edgehar.results.runs import Run

NETWORK_FACTS = ("dataset", "channels", "channel_names", "tasks", "rate_hz", "window", "hop", "model", "recipe",
                 "labelled", "missing", "backend", "precision")


class Contrast(NamedTuple):
    """Macro-F1 of `row` minus that of `partner`, with its 95 % interval over people, and what it allows to say."""

    row: AccuracyRow
    partner: AccuracyRow
    difference: Interval
    verdict: str


def contrasts(rows: Sequence[AccuracyRow]) -> List[Contrast]:
    """Every row against the same network, channels, precision and task trained on labels alone, where there is one.

    Rows that were scored after an enrolment are left out: their windows are others.
    """
    rows = [row for row in rows if not row.asked]
    alone = {_network(row): row for row in rows if row.engine.method == "none"}
    pairs = [(row, alone[_network(row)]) for row in rows if _network(row) in alone]
    return [_contrast(row, partner) for row, partner in pairs if partner is not row]


def compare_methods(a: Sequence[Run], b: Sequence[Run]) -> List[Contrast]:
    """Method `a` against method `b`, each one Run or its seeds; a contrast for each task that both decide.

    Raises InputError where either is more than one method, was not scored, or where the
    two were scored on other corpora, people or classes, or share no task.
    """
    first, second = _one_method(a), _one_method(b)
    _require_alike("sources", a[0].source, b[0].source)
    if corpus_of(a[0].engine) != corpus_of(b[0].engine):
        raise _unlike("corpora", a[0].engine.dataset, b[0].engine.dataset)
    shared = sorted(set(first) & set(second))
    if not shared:
        _require_alike("tasks", sorted(first), sorted(second))
    if people_of(a[0]) != people_of(b[0]):
        raise _unlike("splits", *(_split_told(runs[0]) for runs in (a, b)))
    return [_contrast(first[task], second[task]) for task in shared]


def not_inferior(found: Contrast) -> Contrast:
    """The same contrast, judged by whether `row` is at most a point below `partner`."""
    return found._replace(verdict=non_inferiority(found.difference)) if found.row.people > 1 else found


class Recovery(NamedTuple):
    """Which share of a gap `row` has closed, with its 95 % interval over people.

    gap: the upper network against the lower one; share is None where it is none to speak of.
    """

    row: AccuracyRow
    gap: Contrast
    share: Optional[Interval]


def recoveries(runs: Sequence[Run], lower: Sequence[Run], upper: Sequence[Run]) -> List[Recovery]:
    """How much of what `upper` is better than `lower` the network of `runs` has recovered, task by task.

    There is a gap where its interval lies above zero and two people or more were tested.
    Raises InputError as `compare_methods`.
    """
    gaps = {gap.row.task: gap for gap in compare_methods(upper, lower)}
    return [Recovery(found.row, gaps[found.row.task], _share(found.row, gaps[found.row.task]))
            for found in compare_methods(runs, lower) if found.row.task in gaps]


def _share(row: AccuracyRow, gap: Contrast) -> Optional[Interval]:
    if row.people < 2 or not gap.difference.low > 0:
        return None
    return share_of_gap(row.runs, gap.partner.runs, gap.row.runs)


def _contrast(row: AccuracyRow, partner: AccuracyRow) -> Contrast:
    _require_alike("people", sorted(row.runs[0]), sorted(partner.runs[0]))
    _require_alike("classes of task '%s'" % row.task, row.classes, partner.classes)
    difference = paired_difference(row.runs, partner.runs)
    return Contrast(row, partner, difference, verdict(difference) if row.people > 1 else "inconclusive")


def p_value(found: Contrast) -> float:
    """How often so large a difference comes of two methods that are no different; for one contrast alone."""
    return paired_p_value(found.row.runs, found.partner.runs)


def difference_text(found: Contrast) -> str:
    """"+0.012 [-0.003, +0.027]"; one person gives no interval."""
    return "%+.3f [%+.3f, %+.3f]" % found.difference if found.row.people > 1 else (
        "%+.3f (one person)" % found.difference.value)


def recovery_text(found: Recovery) -> str:
    """"62 % [40 %, 85 %]", or why there is nothing to recover."""
    if found.share is None:
        return "no gap above zero" if found.row.people > 1 else "one person tells no gap"
    return "%.0f %% [%.0f %%, %.0f %%]" % tuple(100 * value for value in found.share)


def _network(row: AccuracyRow) -> Hashable:
    return row.task, tuple(sorted(row.runs[0])), json.dumps(facts_of(row.engine, NETWORK_FACTS), sort_keys=True)


def _one_method(runs: Sequence[Run]) -> Dict[str, AccuracyRow]:
    """{task: the row of `runs`}."""
    rows = accuracy_rows(runs)
    if not rows:
        raise InputError("%s was not scored; measure it with `edgehar bench --scenario accuracy`." % (
            runs[0].engine.artifact))
    if len({row.task for row in rows}) < len(rows):
        names = ["%s %s" % (row.label, row.engine.precision) for row in rows]
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
    return "'%s' of %s, %s" % (run.split.get("name", ""), run.engine.dataset, run.split.get("sha256", "")[:8])
