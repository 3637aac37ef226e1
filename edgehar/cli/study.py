"""`edgehar study`: networks and methods compared over corpora and folds."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import click

from edgehar.cli._options import json_option, quiet_option, root_option

if TYPE_CHECKING:
    from edgehar.study.cells import Study
    from edgehar.results.modalities import Modality
    from edgehar.study.outcomes import Outcome

SECTION = "Train"


Table = Tuple[str, Sequence[str], List[Sequence[Any]]]  # title, columns, rows


@click.command()
@click.argument("path", metavar="FILE.toml", type=click.Path())
@click.option("--plan", "only_plan", is_flag=True, help="Only probe each network and print the predicted time.")
@root_option()
@click.option("--work", default="runs/study", show_default=True, type=click.Path(), metavar="FOLDER",
              help="Where trainings and artifacts go.")
@click.option("-o", "results", default="runs/study/results", show_default=True, type=click.Path(), metavar="FOLDER",
              help="Where the Runs go.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Folds at a time.")
@click.option("--markdown", is_flag=True, help="Only print the tables of a study that is done, for a README.")
@click.option("--forest", "only_forest", is_flag=True, help="Only draw the contrasts of a study that is done, again: "
              "<corpus>-forest.svg beside the Runs.")
@click.option("--modalities", "by_sensors", is_flag=True, help="Only train and rank the choices of sensors that FILE "
              "names in its table [modalities]: what a second sensor adds.")
@quiet_option()
@json_option()
def command(path: str, only_plan: bool, root: Optional[str], work: str, results: str, jobs: int, markdown: bool,
            only_forest: bool, by_sensors: bool, quiet: bool, as_json: bool) -> None:
    """Train, export and score every network of FILE in every fold, and compare them over subjects.

    Stop it at will, by Ctrl-C or even kill -9: the same line continues where it stopped, and a
    cell that has its Run is never done again. What FILE may hold is told at the top of
    edgehar/study/file.py.
    """
    from edgehar.study.cells import only_modalities
    from edgehar.study.file import load_study
    from edgehar.cli._show import at, show_next
    from edgehar.study.outcomes import outcomes, write_forests
    from edgehar.probes import probe_folder
    from edgehar.study.runner import run_study

    study = only_modalities(load_study(path, root)) if by_sensors else load_study(path, root)
    if only_plan:
        _show_plan(study, root, results, jobs, quiet or as_json, as_json)
        if not as_json:
            show_next("edgehar study %s%s%s --work %s -o %s --jobs %d" % (
                shlex.quote(path), at(root), " --modalities" if by_sensors else "", shlex.quote(work),
                shlex.quote(results), jobs))
        return
    if not markdown and not only_forest:
        probe_folder(results)
        probe_folder(work)
        with _cell_bar(len(study.cells()), quiet or as_json) as watch:
            run_study(study, root, work, results, jobs, "edgehar study %s" % path, watch)
    found = outcomes(study, results)
    if markdown:
        _show_markdown(found)
        return
    drawn = write_forests(found, results)
    if only_forest:
        click.echo("\n".join(map(str, drawn)) or "nothing to draw: no two networks are paired over several subjects.")
        return
    _show_results(found, as_json)
    if not as_json:
        show_next("edgehar report %s -o report.html" % shlex.quote(results))


def _show_plan(study: Study, root: Optional[str], results: str, jobs: int, quiet: bool, as_json: bool) -> None:
    from edgehar.cli._show import show_json, show_table
    from edgehar.study.plan import asked_less, plan

    watch = lambda what: None if quiet else click.echo("probing %s" % what, err=True)  # noqa: E731
    found = plan(study, root, results, watch, jobs)
    hours = sum(each.hours for each in found)
    if as_json:
        networks = [each._asdict() for each in found]
        show_json({"source": "predicted", "hours_of_one_process": hours, "networks": networks,
                   "teachers_overcounted": asked_less(study)})
        return
    show_table("Predicted from a probe, time of one process", ("corpus", "network", "cells", "done", "time left"),
               [(each.corpus, each.network, each.cells, each.done, _time_text(each.hours)) for each in found])
    click.echo("predicted: %s of one process, so at least %s with --jobs %d" % (
        _time_text(hours), _time_text(hours / jobs), jobs))
    if asked_less(study):
        click.echo("note: a teacher is counted in every epoch; with views of the windows it runs once per view, so "
                   "less is needed.")


def _time_text(hours: float) -> str:
    """In hours, minutes or seconds, in the largest of which there is one or more."""
    if hours >= 1:
        return "%.1f h" % hours
    return "%.0f min" % (60 * hours) if hours >= 1 / 60 else "%.0f s" % (3600 * hours)


@contextmanager
def _cell_bar(cells: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Yield what to call with the number of cells done."""
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    columns = (bars.TextColumn("cells"), bars.MofNCompleteColumn(), bars.BarColumn(), bars.TimeElapsedColumn(),
               bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=cells)
        yield lambda done: bar.update(task, completed=done)


def _show_results(found: Sequence[Outcome], as_json: bool) -> None:
    from edgehar.cli._show import show_json, show_table

    if as_json:
        show_json([_summary(outcome) for outcome in found])
        return
    for table in (table for outcome in found for table in _tables(outcome)):
        show_table(*table)


def _show_markdown(found: Sequence[Outcome]) -> None:
    from edgehar.results.markdown import table

    pieces = ["%s:\n\n%s" % (title, table(columns, rows)) for outcome in found
              for title, columns, rows in _tables(outcome)]
    click.echo("\n\n".join(pieces))


def _tables(outcome: Outcome) -> Iterator[Table]:
    from edgehar.results.contrasts import difference_text, recovery_text
    from edgehar.results.words import interval_text, people_text, with_prefix

    yield ("Test subjects of %s" % ", ".join([outcome.corpus, *outcome.marks]),
           ("network", "task", "trained as", "macro-F1 [95 % over subjects]", "worst subject", "subjects", "seeds",
            "parameters", "MACs"),
           [(row.label, row.task, row.origin, interval_text(row.macro_f1, row.people), "%.3f" % row.worst_f1,
             people_text(row), row.seeds, with_prefix(row.engine.parameters), with_prefix(row.engine.macs))
            for row in outcome.rows])
    if outcome.contrasts:
        yield ("Contrasts fixed beforehand, paired over subjects", ("difference", "task", "macro-F1", "verdict"),
               [("%s - %s" % (first, second), contrast.row.task, difference_text(contrast), contrast.verdict)
                for first, second, contrast in outcome.contrasts])
    if outcome.recovered:
        yield ("Recovered of the gap between two of them", ("network", "task", "gap", "recovered [95 % over subjects]"),
               [(name, found.row.task, difference_text(found.gap), recovery_text(found))
                for name, found in outcome.recovered])
    if outcome.modalities:
        yield _modality_table(outcome)
    if outcome.exploratory:
        yield ("Exploratory contrasts, p-values adjusted for their number in the study (Benjamini-Hochberg)",
               ("difference", "task", "macro-F1", "adjusted p"),
               [("%s - %s" % (first, second), contrast.row.task, difference_text(contrast), "%.3f" % p_value)
                for first, second, contrast, p_value in outcome.exploratory])


def _modality_table(outcome: Outcome) -> Table:
    """The choices of sensors, the most accurate first; what a gain is told over is the best part of the choice."""
    from edgehar.results.contrasts import difference_text
    from edgehar.results.words import interval_text, with_prefix

    return ("What each sensor adds on %s (exploratory; * none is as accurate at fewer MACs)" % ", ".join(
        [outcome.corpus, *outcome.marks]),
        ("sensors", "task", "channels", "rate Hz", "MACs", "macro-F1 [95 % over subjects]", "gain", "over"),
        [("%s%s" % (found.name, " *" if found.best else ""), found.row.task, found.row.engine.channels,
          "%g" % found.row.engine.rate_hz if found.row.engine.rate_hz else "–", with_prefix(found.row.engine.macs),
          interval_text(found.row.macro_f1, found.row.people), difference_text(found.gain) if found.gain else "–",
          found.over or "–") for found in outcome.modalities])


def _summary(outcome: Outcome) -> Dict[str, Any]:
    rows = [{"network": row.label, "task": row.task, "macro_f1": row.macro_f1._asdict(), "worst_f1": row.worst_f1,
             "people": row.people, "seeds": row.seeds, "parameters": row.engine.parameters,
             "macs": row.engine.macs} for row in outcome.rows]
    contrasts = [{"first": first, "second": second, "task": contrast.row.task,
                  "difference": contrast.difference._asdict(), "verdict": contrast.verdict}
                 for first, second, contrast in outcome.contrasts]
    exploratory = [{"first": first, "second": second, "task": contrast.row.task,
                    "difference": contrast.difference._asdict(), "adjusted_p": p_value}
                   for first, second, contrast, p_value in outcome.exploratory]
    recovered = [{"network": name, "task": found.row.task, "share": found.share._asdict() if found.share else None}
                 for name, found in outcome.recovered]
    return {"corpus": outcome.corpus, "marks": outcome.marks, "rows": rows, "contrasts": contrasts,
            "exploratory": exploratory, "recovered": recovered, "modalities": list(map(_choice, outcome.modalities))}


def _choice(found: Modality) -> Dict[str, Any]:
    engine = found.row.engine
    facts = {key: getattr(engine, key) for key in ("channels", "channel_names", "rate_hz", "macs", "parameters")}
    return dict(facts, name=found.name, task=found.row.task, macro_f1=found.row.macro_f1._asdict(), best=found.best,
                over=found.over or None, gain=found.gain.difference._asdict() if found.gain else None)
