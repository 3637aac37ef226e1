"""`edgehar run`: recognise activities in a stream of samples."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Union

import click

from edgehar.cli._options import (engine_options, head_option, json_option, quiet_option, root_option, sink_option,
                                  stream_options)
from edgehar.cli._show import names_in_room, progress_line, show_json
from edgehar.cli._streaming import (OWN_CORPUS, Sparing, announce, balance_told, open_source, settling_of, source_of,
                                    stream_marks, warn)

if TYPE_CHECKING:
    from edgehar.data.signals import Signal
    from edgehar.backends.base import Engine
    from edgehar.stream.feed import Feed
    from edgehar.stream.ledger import Ledger
    from edgehar.stream.pump import Summary
    from edgehar.stream.sources.base import Source

SECTION = "Run"
WITHOUT_IT = "; or feed it from elsewhere: --source sample (generated), csv:path=FILE or mqtt:topic=TOPIC."


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@click.option("--source", default=OWN_CORPUS, metavar="SPEC",
              help="Where samples come from (%s), e.g. csv:path=walk.csv, csv:path=-,rate_hz=50 or "
              "replay:dataset=wisdm,subject=1600.  [default: replay of the test subjects of the model's corpus]"
              % names_in_room("sources"))
@root_option()
@sink_option("console:all=true or jsonl:path=decisions.jsonl, which replaces a file of that name",
             "console, or nowhere with --json")
@engine_options()
@head_option()
@stream_options()
@click.option("--route", metavar="TASK", help="Let the label of this task that stands choose the --student.")
@click.option("--student", "students", multiple=True, metavar="LABEL=ENGINE",
              help="Decides all other tasks while that label of --route stands; where none is given for it, the engine "
              "itself does. Repeatable.")
@click.option("--limit-s", type=click.FloatRange(min=0, min_open=True), default=float("inf"),
              help="Stop after that many seconds of samples.")
@quiet_option("Decisions and warnings only.")
@json_option("the summary as JSON, after the last decision")
def command(path: str, source: str, root: Optional[str], sinks: Sequence[str], backend: Optional[str],
            precision: Optional[str], head: Optional[str], hop: Optional[int], hold: Union[None, int, Dict[str, int]],
            route: Optional[str], students: Sequence[str], speed: Optional[float], limit_s: float,
            missing: str, allow_constant: bool, quiet: bool, as_json: bool, **settling: Any) -> None:
    """Recognise activities in a stream: samples in, decisions out.

    Decisions go to the sinks, the summary to standard error. Ctrl-C ends the stream.

    \b
    A model of two tasks tells where the sensor is worn too, and may call in a student for that place:
      edgehar run engines/two-tasks --hold activity=3,placement=10 --route placement \\
          --student wrist=engines/wrist --student pocket=engines/pocket
    """
    from contextlib import ExitStack

    from edgehar.backends import ready_engine
    from edgehar.cli._routing import open_route
    from edgehar.deploy.personalising import open_with
    from edgehar.stream.filling import filled
    from edgehar.deploy.installation import stream_settings
    from edgehar.stream.sinks import SINKS
    from edgehar.stream.feed import Feed, weigh
    from edgehar.stream.ledger import ledger
    from edgehar.stream.pump import pump
    from edgehar.stream.stream import Stream

    with progress_line() as on_progress:
        engine = ready_engine(path, backend, precision, on_progress)
    manifest, tell, engines = engine.manifest, Sparing(), [engine]
    with ExitStack() as opened:
        raw = opened.enter_context(open_source(source, manifest, root, tell))
        origin = filled(raw, manifest.signal.channels, missing)
        feed = Feed(origin, manifest.signal, limit_s, tell)
        session, whose = open_with(engine, head, opened)
        settings = stream_settings(engine.folder, hop, hold, allow_constant or missing != "refuse")

        def ready(other: str) -> Engine:
            engines.append(ready_engine(other, backend, precision))
            return engines[-1]

        settings["settling"] = settling_of(manifest, settings.get("hop"), **settling)
        settings["route"] = open_route(route, students, manifest, ready, opened)
        stream = Stream(session, manifest.signal, manifest.tasks, tell=tell, **settings)
        targets = [opened.enter_context(SINKS.create(sink)) for sink in sinks or ([] if as_json else ["console"])]
        kind = source_of(engines)
        marked = stream_marks(manifest.data, origin.synthetic, kind)
        if not quiet:
            click.echo(announce(stream, origin, feed) + marked, err=True)
        summary = pump(weigh(feed, manifest.signal, tell), stream, targets, speed)
        summary.busy_s += feed.busy_s
        counted = ledger(raw, feed, stream)
    _tell_losses(feed, raw)
    if as_json:
        show_json(dict(_facts(summary, kind), **feed.to_json(), samples=counted.to_json(), messages_dropped=raw.dropped,
                       **_whose(engine, origin), **whose))
    elif not quiet and (summary.decisions or summary.fault and counted.arrived):
        click.echo(_describe(summary, feed, kind, counted) + marked, err=True)
    _require_decisions(summary, manifest.signal, stream.fault, source)
    if not quiet and not as_json:
        click.echo("next: edgehar bench %s" % shlex.quote(str(engine.folder)), err=True)


def _whose(engine: Engine, origin: Source) -> Dict[str, Any]:
    return {"engine": str(engine.folder), "trained_on_synthetic": engine.manifest.data["synthetic"],
            "fed_synthetic": origin.synthetic}


def _tell_losses(feed: Feed, source: Source) -> None:
    """Warn of samples that never came, of messages that were not taken, and of a rate that was not kept."""
    if not feed.keeps_rate:
        made_up = "; %d samples never came and were interpolated" % feed.lacking
        warn("the source declares %.4g samples per second and delivered %.4g on average%s; check its rate and its "
             "connection." % (feed.claimed_hz, feed.measured_hz, made_up if feed.lacking else ""))
    if source.dropped:
        warn("%d messages were not taken; the last because: %s." % (
            source.dropped, source.problem or "it was not wanted"))


def _require_decisions(summary: Summary, signal: Signal, fault: str, source: str) -> None:
    """Raise InputError for a source that could not be read to its end, or whose samples could not be used, and
    InconclusiveError for a signal that ended before its first window was full."""
    from edgehar.errors import InconclusiveError, InputError

    if summary.fault:
        raise InputError(summary.fault if source != OWN_CORPUS else summary.fault.rstrip(".") + WITHOUT_IT)
    if not summary.decisions and not summary.interrupted:
        if fault:
            raise InputError(fault)
        raise InconclusiveError(
            "the signal ended after %.2f s with %d gaps and a window takes %.2f s without one; give a longer signal or "
            "raise --limit-s." % (summary.signal_s, summary.gaps, signal.window / signal.rate_hz))


def _facts(summary: Summary, kind: str) -> Dict[str, Any]:
    """What the stream did; how long computing took is null where it is no time of the board's."""
    from edgehar.results.runs import MEASURED

    timed = {} if kind == MEASURED else {"busy_s": None, "realtime_factor": None}
    return {**summary.to_json(), **timed, "source": kind}


def _describe(summary: Summary, feed: Feed, kind: str, counted: Ledger) -> str:
    """One line on what the stream did."""
    share = _facts(summary, kind)["realtime_factor"]
    rates = ", rate: %.4g Hz measured, %.4g Hz nominal" % (feed.measured_hz, feed.claimed_hz)
    return "decisions: {:,}, label changes: {:,}, gaps: {:,}, signal: {:,.1f} s{}{}{}{}".format(
        summary.decisions, summary.changes, summary.gaps, summary.signal_s,
        "" if share is None else ", computing took %s of it" % _percent(share), rates if feed.measured_hz else "",
        "; " + balance_told(counted),
        "; stopped by Ctrl-C" if summary.interrupted else "")


def _percent(share: float) -> str:
    return ("{:.2g} %" if share < 0.1 else "{:,.0f} %").format(100 * share)
