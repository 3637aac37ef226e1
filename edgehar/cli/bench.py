"""``edgehar bench``: engines through scenarios, one Run file each."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import click
from click.core import ParameterSource

from edgehar.cli._show import show_json, show_next, show_table

if TYPE_CHECKING:
    from edgehar.backends.base import Engine
    from edgehar.bench import Scenario
    from edgehar.results import Run

DEFAULT_SCENARIOS = ("single_stream",)
SETTINGS = {"single_stream": ("duration_s", "warmup_s"), "paced": ("duration_s", "warmup_s", "rate_hz"),
            "offline": ("duration_s", "warmup_s", "batch"), "accuracy": ("batch",)}


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="ENGINE_OR_ARTIFACT...", type=click.Path())
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME|FILE.toml", default=DEFAULT_SCENARIOS,
              show_default=True, help="single_stream, offline, paced, accuracy, or a file. Repeatable.")
@click.option("--backend", help="For an artifact: what runs it; default ort.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["fp32", "fp16", "int8"]),
              help="For an artifact; default fp32. Repeatable.")
@click.option("--batch", type=click.IntRange(1), help="Windows a call (offline, accuracy).")
@click.option("--duration", "duration_s", type=float, metavar="SECONDS", help="How long to measure.")
@click.option("--warmup", "warmup_s", type=float, metavar="SECONDS", help="How long to warm up, uncounted.")
@click.option("--rate", "rate_hz", type=float, metavar="HZ", help="Windows a second that fall due (paced).")
@click.option("--data", metavar="CORPUS", help="Corpus for accuracy; default: the one the model was trained on.")
@click.option("--root", metavar="FOLDER", help="Folder with the downloaded corpora; default EDGEHAR_DATA.")
@click.option("--max-p99-ms", type=float, metavar="MS",
              help="Exit with 4 where the 99th percentile of latency is above (single_stream, paced).")
@click.option("--strict", is_flag=True, help="Exit with 5 where a measurement is unstable.")
@click.option("-o", "--output", default="runs/bench", show_default=True, metavar="FOLDER", type=click.Path(),
              help="Folder for the Run files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def command(context: click.Context, paths: Sequence[str], scenarios: Sequence[str], backend: str,
            precisions: Sequence[str], data: Optional[str], root: Optional[str], max_p99_ms: Optional[float],
            strict: bool, output: str, as_json: bool, quiet: bool, **settings: Any) -> None:
    """Measure latency, throughput or accuracy of engines.

    An artifact is built first, unless an engine of it is ready. Timing needs no data; accuracy reads the test people
    of the corpus. Every Run keeps its raw values in a file of its own.
    """
    from edgehar import bench

    asked = _adjusted([bench.load_scenario(spec) for spec in scenarios], settings)
    _require_latency(max_p99_ms, asked)
    engines = _engines(paths, backend, precisions)
    done = _measure_all(engines, asked, data, root, Path(output), _command_line(context), quiet or as_json)
    _show(done, as_json)
    for _, run in done:
        if max_p99_ms is not None:
            bench.require_p99(run, max_p99_ms / 1e3)
        if strict:
            bench.require_stable(run)
    if not as_json:
        show_next("edgehar report %s -o report.html" % shlex.quote(output))


def _adjusted(scenarios: Sequence[Scenario], settings: Dict[str, Any]) -> List[Scenario]:
    """`scenarios`, each once, with the options that were given where they mean something."""
    given = {key: value for key, value in settings.items() if value is not None}
    for key in given:
        if not any(key in SETTINGS[scenario.name] for scenario in scenarios):
            raise click.UsageError("--%s means nothing to %s" % (
                key.split("_")[0], " and ".join(scenario.name for scenario in scenarios)))
    return list(dict.fromkeys(
        replace(scenario, **{key: value for key, value in given.items() if key in SETTINGS[scenario.name]})
        for scenario in scenarios))


def _require_latency(max_p99_ms: Optional[float], scenarios: Sequence[Scenario]) -> None:
    from edgehar.bench import LATENCY_SCENARIOS

    if max_p99_ms is not None and not any(scenario.name in LATENCY_SCENARIOS for scenario in scenarios):
        raise click.UsageError("--max-p99-ms bounds the latency of %s; add one with --scenario" % (
            " or ".join(LATENCY_SCENARIOS)))


def _engines(paths: Sequence[str], backend: Optional[str], precisions: Sequence[str]) -> List[Engine]:
    """Every engine once; an artifact stands for one engine a precision."""
    from edgehar.backends import ready_engine

    found = [ready_engine(path, backend, each) for path in paths for each in precisions or (None,)]
    return list({engine.sha256: engine for engine in found}.values())


def _measure_all(engines: Sequence[Engine], scenarios: Sequence[Scenario], data: Optional[str], root: Optional[str],
                 folder: Path, line: str, quiet: bool) -> List[Tuple[Path, Run]]:
    """Measure and write one Run an engine and scenario; what is finished stays if a later one fails."""
    from edgehar import bench

    done = []
    with _progress(len(engines) * len(scenarios), quiet) as tell:
        for engine in engines:
            for scenario in scenarios:
                what = "%s %s, %s" % (engine.manifest.name, engine.spec.precision, scenario.name)
                tell("%s: preparing" % what, 0)
                windows = bench.windows_for(engine, data, root) if scenario.name == "accuracy" else None
                run = bench.run(engine, scenario, windows, command=line,
                                on_phase=lambda phase, what=what: tell("%s: %s" % (what, phase), 0))
                done.append((run.write(folder / bench.file_name(run)), run))
                tell(what, 1)
    return done


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """A progress line on stderr, redrawn between phases alone: a refreshing thread would disturb the timing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    bar = Progress(BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False),
                   auto_refresh=False, transient=True, disable=quiet or not console.is_terminal, console=console)
    task = bar.add_task("", total=total)
    with bar:
        yield lambda text, advance: bar.update(task, description=text, advance=advance, refresh=True)


# ------------------------------------------------------------------ results


def _show(done: Sequence[Tuple[Path, Run]], as_json: bool) -> None:
    if as_json:
        show_json({"runs": [_summary(path, run) for path, run in done]})
        return
    from edgehar import tables

    runs = [run for _, run in done]
    for group in tables.grouped(runs, lambda run: (run.engine["dataset"], run.synthetic)):
        _show_corpus(group)
    for path, run in done:
        for warning in run.warnings:
            click.echo("warning: %s: %s" % (path.name, warning))


def _show_corpus(runs: Sequence[Run]) -> None:
    """The tables of one corpus, so that generated data never share one with recorded data."""
    from edgehar import tables

    title = "%s%s" % (runs[0].engine["dataset"], ", SYNTHETIC DATA" if runs[0].synthetic else "")
    scored = [row for run in runs for row in tables.accuracy_rows([run])]
    timed = [row for run in runs for row in tables.latency_rows([run])]
    if scored:
        show_table("Accuracy on test people of %s" % title, (
            "engine", "backend", "precision", "task", "macro-F1 [95 % over people]", "balanced accuracy",
            "worst person", "people", "windows"), [_accuracy_cells(row) for row in scored])
    if timed:
        show_table("Timing, trained on %s" % title, (
            "engine", "backend", "precision", "scenario", "median", "p90", "p99", "windows", "missed", "calls"),
            [_timing_cells(row) for row in timed])


def _accuracy_cells(row: Any) -> Sequence[Any]:
    from edgehar.tables import interval_text, people_text

    return (row.label, row.engine["backend"], row.engine["precision"], row.task,
            interval_text(row.macro_f1, row.people), "%.3f" % row.balanced_accuracy,
            "%.3f (%s)" % (row.worst_f1, row.worst_person), people_text(row), row.windows)


def _timing_cells(row: Any) -> Sequence[Any]:
    from edgehar.tables import milliseconds, per_second, scenario_text

    return (row.label, row.engine["backend"], row.engine["precision"], scenario_text(row.scenario),
            milliseconds(row.median_s), milliseconds(row.p90_s), milliseconds(row.p99_s),
            per_second(row.throughput_hz),
            "–" if row.deadline_misses is None else row.deadline_misses, len(row.latency_s))


def _summary(path: Path, run: Run) -> Dict[str, Any]:
    """What a script wants of a Run; the raw values are in its file."""
    from edgehar import tables

    facts: Dict[str, Any] = {key: run.engine[key] for key in ("artifact", "backend", "precision")}
    facts.update(path=str(path), scenario=run.scenario["name"], synthetic=run.synthetic, source=run.source,
                 warnings=list(run.warnings))
    for row in tables.latency_rows([run]):
        facts.update(median_s=row.median_s, p90_s=row.p90_s, p99_s=row.p99_s, windows_per_s=row.throughput_hz,
                     calls=len(row.latency_s), deadline_misses=row.deadline_misses)
    facts["tasks"] = {row.task: _task_summary(row) for row in tables.accuracy_rows([run])}
    return facts


def _task_summary(row: Any) -> Dict[str, Any]:
    """One person gives a value and no interval."""
    found = row.macro_f1._asdict() if row.people > 1 else {"value": row.macro_f1.value}
    return {"macro_f1": found, "balanced_accuracy": row.balanced_accuracy, "worst_person": row.worst_person,
            "worst_f1": row.worst_f1, "people": row.people, "windows": row.windows}


# ------------------------------------------------------------------ the line that was typed


def _chosen(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) == ParameterSource.COMMANDLINE


def _command_line(context: click.Context) -> str:
    """The command with the options that were given; absolute paths are cut to their last part, for a Run travels."""
    words = ["edgehar", "bench", *map(_travelling, context.params["paths"])]
    for parameter in context.command.params:
        value = context.params[parameter.name]
        if isinstance(parameter, click.Option) and _chosen(context, parameter.name):
            for each in value if parameter.multiple else [value]:
                words += [parameter.opts[-1]] if parameter.is_flag else [parameter.opts[-1], _travelling(each)]
    return " ".join(map(shlex.quote, words))


def _travelling(value: Any) -> str:
    path = Path(str(value))
    return path.name if path.is_absolute() else str(value)
