"""`edgehar bench`: engines through scenarios, one Run file each."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import click

from edgehar.cli._by_turns import measure_by_turns
from edgehar.cli._capacity import show_max_rates
from edgehar.cli._line import typed_line
from edgehar.cli._options import engine_options, json_option, quiet_option, root_option, spec_option
from edgehar.cli._show import names_in_room, progress_line, show_next

if TYPE_CHECKING:
    from edgehar.backends.base import Engine
    from edgehar.bench.jobs import Job
    from edgehar.bench.metering import MeteringPlan
    from edgehar.bench.scenarios.base import Scenario
    from edgehar.results.runs import Run

SECTION = "Measure"


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="ENGINE_OR_ARTIFACT...", type=click.Path())
@spec_option("scenarios", "--scenario", "scenarios", multiple=True, metavar="SPEC|FILE.toml",
             default=("single_stream",), show_default=True,
             help="Scenario (%s), with its settings as in paced:rate_hz=2, or a file; NAME:help tells of the "
             "settings of one. Repeatable." % names_in_room("scenarios"))
@engine_options(several=True)
@click.option("--batch", type=click.IntRange(1), help="Windows per call, where a scenario lets one choose.")
@click.option("--duration", "duration_s", type=float, metavar="SECONDS", help="How long to measure.")
@click.option("--until-stable", "until_stable_s", type=float, metavar="SECONDS",
              help="Measure on, for so long at most, until the last seconds agree; nothing is left out.")
@click.option("--warmup", "warmup_s", type=float, metavar="SECONDS", help="How long to warm up, uncounted.")
@click.option("--rate", "rate_hz", type=float, metavar="HZ", help="Windows per second that are due (paced).")
@click.option("--hop", type=click.IntRange(1), help="Samples from one window to the next (streaming).  [default: the "
              "model's]")
@click.option("--hold", type=click.IntRange(1), help="Windows that must agree before a label changes (streaming).")
@spec_option("datasets", "--data", metavar="CORPUS",
             help="Corpus for accuracy and streaming; default: the one the model was trained on.")
@click.option("--missing", multiple=True, metavar="PATTERN|each", help="Score also with zeros in place of "
              "these channels (accuracy), e.g. left-arm/imu or placement=torso; each: of every sensor in turn. "
              "Repeatable.")
@root_option()
@spec_option("meters", "--power", metavar="METER", help="Measure energy too, by a meter: %s; NAME:help tells of the "
             "options of one. Takes six minutes a Run." % names_in_room("meters"))
@click.option("--idle", "idle_s", type=float, metavar="SECONDS", default=30.0, show_default=True,
              help="Idle before and after each load (--power).")
@click.option("--load", "load_s", type=float, metavar="SECONDS", default=60.0, show_default=True,
              help="How long each load lasts (--power).")
@click.option("--repeats", type=int, default=3, show_default=True, help="How often idle, load, idle (--power).")
@click.option("--max-p99-ms", type=float, metavar="MS",
              help="Exit with 4 where the 99th percentile of latency is above, with 8 where "
              "its 95 % interval does not tell (scenarios of single windows).")
@click.option("--find-max-rate", is_flag=True, help="Find the most windows per second, arriving at random, at which "
              "--max-p99-ms is kept; --duration is that of one rate (10 s).")
@click.option("--ab", is_flag=True, help="Time two engines by turns, for --duration (30 s), and say whether one is "
              "faster: the machine does to both what it does.")
@click.option("--effect", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, metavar="PERCENT",
              help="A difference that matters (--ab).")
@click.option("--fail-if-slower", is_flag=True, help="Exit with 4 where the first is slower, with 8 where that cannot "
              "be told (--ab).")
@click.option("--strict", is_flag=True,
              help="Exit with 5 where a measurement is unstable, with 8 where energy cannot be determined; refuse what "
              "is simulated.")
@click.option("-o", "--output", default="runs/bench", show_default=True, metavar="FOLDER", type=click.Path(),
              help="Folder for the Run files.")
@json_option()
@quiet_option()
def command(paths: Sequence[str], scenarios: Sequence[str], backend: str,
            precisions: Sequence[str], data: Optional[str], root: Optional[str], power: Optional[str], idle_s: float,
            load_s: float, repeats: int, max_p99_ms: Optional[float], strict: bool, missing: Sequence[str], output: str,
            as_json: bool, quiet: bool, find_max_rate: bool, ab: bool, effect: float, fail_if_slower: bool,
            **settings: Any) -> None:
    """Measure latency, throughput, energy, accuracy or streams of engines.

    An artifact is built first, unless an engine of it is ready. Timing needs no data; accuracy and streaming read the
    test subjects of the corpus. Every Run keeps its raw values in a file of its own. `bench --ab A B` times two engines
    by turns and tells whether one is faster.
    """
    from edgehar.bench import verdicts
    from edgehar.bench.jobs import jobs
    from edgehar.bench.metering import MeteringPlan
    from edgehar.bench.scenarios import load_scenario
    from edgehar.cli._bench_shown import show
    from edgehar.probes import probe_folder

    probe_folder(output)
    if ab:
        measure_by_turns(_engines(paths, backend, precisions), settings["batch"] or 1, settings["duration_s"] or 30.0,
                         effect / 100, fail_if_slower, Path(output), typed_line(click.get_current_context()), as_json,
                         quiet)
        return
    if find_max_rate:
        show_max_rates(_engines(paths, backend, precisions), max_p99_ms, settings["duration_s"] or 10.0, Path(output),
                       typed_line(click.get_current_context()), as_json, quiet)
        return
    asked = _adjusted([load_scenario(spec) for spec in scenarios], settings)
    _require_latency(max_p99_ms, asked)
    plan = MeteringPlan(idle_s, load_s, repeats)
    _require_meter(power, asked, strict)
    engines = list({engine.sha256: engine for engine in _engines(paths, backend, precisions)}.values())
    if strict or power or max_p99_ms is not None:
        for engine in engines:
            verdicts.require_measured(engine)
    done = _measure_all(jobs(engines, asked, missing), (data, root), power, plan, Path(output),
                        typed_line(click.get_current_context()), quiet or as_json)
    show(done, as_json)
    _require_written(done)
    for _, run in done:
        if max_p99_ms is not None:
            verdicts.require_p99(run, max_p99_ms / 1e3)
        if strict:
            verdicts.require_stable(run)
            verdicts.require_energy(run)
    if not as_json:
        show_next("edgehar report %s -o report.html" % shlex.quote(output))


def _adjusted(scenarios: Sequence[Scenario], settings: Dict[str, Any]) -> List[Scenario]:
    """`scenarios`, each once, with the options that were given where they are settings of it."""
    given = {key: value for key, value in settings.items() if value is not None}
    known = [{each.name for each in fields(scenario)} for scenario in scenarios]
    for key in given:
        if not any(key in names for names in known):
            raise click.UsageError("--%s means nothing to %s" % (
                key.split("_")[0], " and ".join(scenario.name for scenario in scenarios)))
    return list(dict.fromkeys(
        replace(scenario, **{key: value for key, value in given.items() if key in names})
        for scenario, names in zip(scenarios, known)))


def _require_latency(max_p99_ms: Optional[float], scenarios: Sequence[Scenario]) -> None:
    from edgehar.bench.scenarios import SCENARIOS

    if max_p99_ms is not None and not any(scenario.has_latency for scenario in scenarios):
        raise click.UsageError("--max-p99-ms bounds the latency of %s; add one with --scenario" % (
            " or ".join(name for name in SCENARIOS.names() if SCENARIOS.kind(name).has_latency)))


def _require_meter(power: Optional[str], scenarios: Sequence[Scenario], strict: bool) -> None:
    """Refuse a meter that cannot be read before anything is built, and one that has nothing to measure here."""
    from edgehar.bench.meters import METERS
    from edgehar.bench.meters.base import SIMULATED_POWER
    from edgehar.errors import InputError, MissingError

    if power is None:
        return
    if not any(scenario.timed for scenario in scenarios):
        raise click.UsageError("--power measures timed scenarios; add one with --scenario")
    with METERS.create(power) as meter:
        reason = meter.missing()
    if reason:
        raise MissingError(reason)
    if strict and meter.mark == SIMULATED_POWER:
        raise InputError("meter %s gives simulated power and --strict lets none pass; leave one of the two out." % (
            meter.name))


def _engines(paths: Sequence[str], backend: Optional[str], precisions: Sequence[str]) -> List[Engine]:
    """One a path and precision; an artifact stands for the engine that is built of it."""
    from edgehar.backends import ready_engine

    with progress_line() as on_progress:
        return [ready_engine(path, backend, each, on_progress) for path in paths for each in precisions or (None,)]


def _measure_all(jobs: Sequence[Job], corpus: Tuple[Optional[str], Optional[str]], power: Optional[str],
                 plan: MeteringPlan, folder: Path, line: str, quiet: bool) -> List[Tuple[Path, Run]]:
    """Measure and write one Run a job; what is finished stays if a later one fails. corpus: spec and data folder."""
    from edgehar.bench.meters import METERS
    from edgehar.bench.run import data_for, run, run_file_name

    done = []
    with _progress(len(jobs), quiet) as tell:
        for job in jobs:
            engine, scenario, missing = job
            on_phase = _phases_of(job, tell)
            on_phase("preparing")
            meter = METERS.create(power) if power and scenario.timed else None
            measured = run(engine, scenario, command=line, meter=meter, plan=plan, dataset=corpus[0], missing=missing,
                           on_phase=on_phase, **data_for(engine, scenario, *corpus))
            done.append((_written(measured, folder / run_file_name(measured)), measured))
            tell(str(job), 1)
    return done


def _written(run: Run, path: Path) -> Path:
    """`path`, where the Run stands now if that can be; what was measured is shown even so."""
    from edgehar.errors import InputError

    try:
        return run.write(path)
    except InputError as error:
        click.echo("warning: %s" % error, err=True)
        return path


def _require_written(done: Sequence[Tuple[Path, Run]]) -> None:
    from edgehar.errors import InputError

    lost = [str(path) for path, _ in done if not path.is_file()]
    if lost:
        raise InputError("what is shown above could not be kept in %s; free space or choose another folder with -o, "
                         "and measure again." % ", ".join(lost))


def _phases_of(job: Job, tell: Callable[[str, int], None]) -> Callable[[str], None]:
    return lambda phase: tell("%s: %s" % (job, phase), 0)


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
