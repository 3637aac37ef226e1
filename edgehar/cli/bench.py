"""``edgehar bench``: engines through scenarios, one Run file each."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import click
from click.core import ParameterSource

from edgehar.cli._show import names_in_room, progress_line, show_next

if TYPE_CHECKING:
    from edgehar.backends.base import Engine
    from edgehar.bench.metering import Plan
    from edgehar.results.runs import Run
    from edgehar.bench.scenarios import Scenario

DEFAULT_SCENARIOS = ("single_stream",)
ABSOLUTE_OPTION = re.compile(r"=/([^,/]*/)*")  # all but the last part of a path such as in replay:path=/data/wall.csv
SETTINGS = {"single_stream": ("duration_s", "warmup_s"), "paced": ("duration_s", "warmup_s", "rate_hz"),
            "offline": ("duration_s", "warmup_s", "batch"), "accuracy": ("batch",), "streaming": ("hop", "hold")}


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="ENGINE_OR_ARTIFACT...", type=click.Path())
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME|FILE.toml", default=DEFAULT_SCENARIOS,
              show_default=True, help="single_stream, offline, paced, accuracy, streaming, or a file. Repeatable.")
@click.option("--backend", help="For an artifact: what runs it; default ort.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["fp32", "fp16", "int8"]),
              help="For an artifact; default fp32. Repeatable.")
@click.option("--batch", type=click.IntRange(1), help="Windows a call (offline, accuracy).")
@click.option("--duration", "duration_s", type=float, metavar="SECONDS", help="How long to measure.")
@click.option("--warmup", "warmup_s", type=float, metavar="SECONDS", help="How long to warm up, uncounted.")
@click.option("--rate", "rate_hz", type=float, metavar="HZ", help="Windows a second that fall due (paced).")
@click.option("--hop", type=click.IntRange(1), help="Samples from one window to the next (streaming).  [default: the "
              "model's]")
@click.option("--hold", type=click.IntRange(1), help="Windows that must agree before a label changes (streaming).")
@click.option("--data", metavar="CORPUS",
              help="Corpus for accuracy and streaming; default: the one the model was trained on.")
@click.option("--missing", multiple=True, metavar="PATTERN|each", help="Score also with zeros in place of "
              "these channels (accuracy), e.g. left-arm/imu or placement=torso; each: of every sensor in turn. "
              "Repeatable.")
@click.option("--root", metavar="FOLDER", help="Folder with the downloaded corpora; default EDGEHAR_DATA.")
@click.option("--power", metavar="METER", help="Measure energy too, by a meter: %s. Takes six minutes a Run." % (
    names_in_room("meters")))
@click.option("--idle", "idle_s", type=float, metavar="SECONDS", default=30.0, show_default=True,
              help="Idle before and after each load (--power).")
@click.option("--load", "load_s", type=float, metavar="SECONDS", default=60.0, show_default=True,
              help="How long each load lasts (--power).")
@click.option("--repeats", type=int, default=3, show_default=True, help="How often idle, load, idle (--power).")
@click.option("--max-p99-ms", type=float, metavar="MS",
              help="Exit with 4 where the 99th percentile of latency is above (single_stream, paced).")
@click.option("--strict", is_flag=True,
              help="Exit with 5 where a measurement is unstable, with 8 where energy cannot be told; refuse what is "
              "simulated.")
@click.option("-o", "--output", default="runs/bench", show_default=True, metavar="FOLDER", type=click.Path(),
              help="Folder for the Run files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def command(context: click.Context, paths: Sequence[str], scenarios: Sequence[str], backend: str,
            precisions: Sequence[str], data: Optional[str], root: Optional[str], power: Optional[str], idle_s: float,
            load_s: float, repeats: int, max_p99_ms: Optional[float], strict: bool, missing: Sequence[str], output: str,
            as_json: bool, quiet: bool, **settings: Any) -> None:
    """Measure latency, throughput, energy, accuracy or streams of engines.

    An artifact is built first, unless an engine of it is ready. Timing needs no data; accuracy and streaming read the
    test people of the corpus. Every Run keeps its raw values in a file of its own.
    """
    from edgehar.bench import verdicts
    from edgehar.bench.metering import Plan
    from edgehar.bench.scenarios import load_scenario
    from edgehar.cli._bench_shown import show

    asked = _adjusted([load_scenario(spec) for spec in scenarios], settings)
    _require_latency(max_p99_ms, asked)
    plan = Plan(idle_s, load_s, repeats)
    _require_meter(power, asked, strict)
    engines = _engines(paths, backend, precisions)
    if strict or power or max_p99_ms is not None:
        for engine in engines:
            verdicts.require_measured(engine)
    done = _measure_all(_jobs(engines, asked, missing), data, root, power, plan, Path(output),
                        _command_line(context), quiet or as_json)
    show(done, as_json)
    for _, run in done:
        if max_p99_ms is not None:
            verdicts.require_p99(run, max_p99_ms / 1e3)
        if strict:
            verdicts.require_stable(run)
            verdicts.require_energy(run)
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
    from edgehar.bench.verdicts import LATENCY_SCENARIOS

    if max_p99_ms is not None and not any(scenario.name in LATENCY_SCENARIOS for scenario in scenarios):
        raise click.UsageError("--max-p99-ms bounds the latency of %s; add one with --scenario" % (
            " or ".join(LATENCY_SCENARIOS)))


def _require_meter(power: Optional[str], scenarios: Sequence[Scenario], strict: bool) -> None:
    """Refuse a meter that cannot be read before anything is built, and one that has nothing to measure here."""
    from edgehar.errors import InputError, MissingError
    from edgehar.bench.meters import METERS
    from edgehar.bench.meters.base import SIMULATED_POWER
    from edgehar.bench.scenarios import UNTIMED

    if power is None:
        return
    if all(scenario.name in UNTIMED for scenario in scenarios):
        raise click.UsageError("--power measures timed scenarios; add one with --scenario")
    with METERS.create(power) as meter:
        reason = meter.missing()
    if reason:
        raise MissingError(reason)
    if strict and meter.mark == SIMULATED_POWER:
        raise InputError("meter %s gives simulated power and --strict lets none pass; leave one of the two out." % (
            meter.name))


def _engines(paths: Sequence[str], backend: Optional[str], precisions: Sequence[str]) -> List[Engine]:
    """Every engine once; an artifact stands for one engine a precision."""
    from edgehar.backends import ready_engine

    with progress_line() as on_progress:
        found = [ready_engine(path, backend, each, on_progress) for path in paths for each in precisions or (None,)]
    return list({engine.sha256: engine for engine in found}.values())


class Job(NamedTuple):
    """One Run to make. missing: pattern of the channels that are silent; none where empty."""

    engine: Engine
    scenario: Scenario
    missing: str = ""

    def __str__(self) -> str:
        return "%s %s, %s%s" % (self.engine.manifest.name, self.engine.spec.precision, self.scenario.name,
                                " without " + self.missing if self.missing else "")


def _jobs(engines: Sequence[Engine], scenarios: Sequence[Scenario], missing: Sequence[str]) -> List[Job]:
    """Every engine in every scenario, accuracy also without what may be missing, all checked before the first."""
    if missing and not any(scenario.name == "accuracy" for scenario in scenarios):
        raise click.UsageError("--missing is told by accuracy; add --scenario accuracy")
    return [Job(engine, scenario, silent) for engine in engines for scenario in scenarios
            for silent in ["", *(_silent(engine, missing) if scenario.name == "accuracy" else ())]]


def _silent(engine: Engine, missing: Sequence[str]) -> List[str]:
    """The patterns to leave out, "each" as one a sensor."""
    from edgehar.errors import InputError
    from edgehar.data.channels import choose, sensors_of

    signal = engine.manifest.signal
    sensors = list(sensors_of(signal.channels))
    if "each" in missing and len(sensors) < 2:
        raise InputError("%s reads a single sensor, without which nothing is left; name channels of it, as in "
                         "--missing gyro." % engine.manifest.name)
    found = [pattern for given in missing for pattern in (sensors if given == "each" else [given])]
    for pattern in found:
        choose(signal.channels, pattern)
    return list(dict.fromkeys(found))


def _measure_all(jobs: Sequence[Job], data: Optional[str], root: Optional[str], power: Optional[str], plan: Plan,
                 folder: Path, line: str, quiet: bool) -> List[Tuple[Path, Run]]:
    """Measure and write one Run a job; what is finished stays if a later one fails."""
    from edgehar.bench import accuracy, run as bench, streaming
    from edgehar.bench.meters import METERS
    from edgehar.bench.scenarios import UNTIMED

    done = []
    with _progress(len(jobs), quiet) as tell:
        for job in jobs:
            engine, scenario, missing = job
            tell("%s: preparing" % str(job), 0)
            windows = accuracy.windows_for(engine, data, root) if scenario.name == "accuracy" else None
            recordings = streaming.recordings_for(engine, data, root) if scenario.name == "streaming" else None
            meter = METERS.create(power) if power and scenario.name not in UNTIMED else None
            run = bench.run(engine, scenario, windows, command=line, recordings=recordings, meter=meter, plan=plan,
                            dataset=data, missing=missing,
                            on_phase=lambda phase, what=str(job): tell("%s: %s" % (what, phase), 0))
            done.append((run.write(folder / bench.file_name(run)), run))
            tell(str(job), 1)
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
    """`value` with its absolute path, or those within a spec, cut to their last part."""
    path = Path(str(value))
    return path.name if path.is_absolute() else ABSOLUTE_OPTION.sub("=", str(value))
