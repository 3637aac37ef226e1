"""`edgehar compare`: one method against another over the same people, or one time against another."""

from __future__ import annotations

import shlex
from typing import Any, Dict, List

import click

from edgehar.cli._options import json_option
from edgehar.cli._show import show_json, show_next, show_table

SECTION = "Measure"
ROUGH = 10  # people; below, a bootstrap over them is said to be rough


@click.command()
@click.argument("run_a", metavar="RUN_A", type=click.Path())
@click.argument("run_b", metavar="RUN_B", type=click.Path())
@click.option("--effect", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, metavar="PERCENT",
              help="A difference of times or energy that matters.")
@click.option("--fail-if-slower", is_flag=True, help="Exit with 4 where A takes longer or more energy, with 8 where "
              "that cannot be told.")
@json_option()
def command(run_a: str, run_b: str, effect: float, fail_if_slower: bool, as_json: bool) -> None:
    """Tell whether RUN_A is better than RUN_B, paired over the people both were tested on, or faster.

    Each is a Run of `edgehar bench --scenario accuracy`, or a folder with those of several seeds of one method, which
    are averaged. "Tied" means that the 95 % interval of the difference lies inside +-1 point of macro-F1; where it does
    not and holds zero, too few people were tested to tell, and its half-width is told.

    Two Runs of a timed scenario are compared by their times, and by energy where both have it: unlike machines, power
    modes or scenarios are refused. What the machine did between the two is in the difference; `edgehar bench --ab`
    measures by turns.
    """
    from edgehar.results.contrasts import compare_methods
    from edgehar.results.runs import load_all
    from edgehar.results.grouping import marks

    a, b = load_all([run_a]), load_all([run_b])
    if len(a) == len(b) == 1 and a[0].measurement("latency") and b[0].measurement("latency"):
        _compare_times(a[0], b[0], effect / 100, fail_if_slower, as_json)
        return
    if fail_if_slower:
        raise click.UsageError("--fail-if-slower judges Runs of timed scenarios, and these have no latency")
    found = compare_methods(a, b)
    standing = list(dict.fromkeys(mark for run in [*a, *b] for mark in marks(run)))
    if as_json:
        show_json({"tasks": {each.row.task: _facts(each) for each in found}, "marks": standing,
                   "synthetic": any(run.synthetic for run in [*a, *b]), "source": a[0].source})
        return
    show_table("Macro-F1 of A minus B on test people of %s" % ", ".join([a[0].engine.dataset, *standing]),
        ("task", "A", "B", "macro-F1 A", "macro-F1 B", "difference [95 % over people]", "A is", "people"),
        [_cells(each) for each in found])
    if found[0].row.people < ROUGH:
        click.echo("note: over %d people an interval is rough, and too narrow rather than too wide." %
                   found[0].row.people)
    show_next("edgehar report %s %s -o report.html" % (shlex.quote(run_a), shlex.quote(run_b)))


def _compare_times(a: Any, b: Any, effect: float, fail_if_slower: bool, as_json: bool) -> None:
    from edgehar.cli._by_turns import show_versus
    from edgehar.results.versus import compare_timings, require_not_slower

    found = compare_timings(a, b, effect)
    if as_json:
        show_json({"quantities": [each.to_json() for each in found], "effect": effect, "source": a.source})
    else:
        show_versus("Times of A over B, %s" % a.asked, ["%s %s" % (run.engine.artifact, run.engine.precision)
                                                        for run in (a, b)], found)
        click.echo("note: measured one after the other, so what the machine did meanwhile is in it; "
                   "`edgehar bench --ab` measures by turns.")
    if fail_if_slower:
        require_not_slower(found)


def _cells(found: Any) -> List[Any]:
    from edgehar.results.contrasts import difference_text
    from edgehar.results.words import people_text

    sides = (found.row, found.partner)
    return [found.row.task, *("%s %s" % (side.label, side.engine.precision) for side in sides),
            *("%.3f" % side.macro_f1.value for side in sides), difference_text(found), found.verdict,
            people_text(found.row)]


def _facts(found: Any) -> Dict[str, Any]:
    sides = {key: {"label": side.label, "precision": side.engine.precision, "method": side.engine.method,
                   "seeds": side.seeds, "macro_f1": side.macro_f1.value}
             for key, side in (("a", found.row), ("b", found.partner))}
    return dict(sides, difference=found.difference._asdict(), verdict=found.verdict, people=found.row.people)
