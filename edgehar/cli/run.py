"""``edgehar run``: recognise activities in a stream of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

import click

from edgehar.cli._show import names_in_room, progress_line, show_json

if TYPE_CHECKING:
    from edgehar.artifact import Signal
    from edgehar.sources.base import Source
    from edgehar.stream import Feed, Stream, Summary


class Speed(click.ParamType):
    """"max", or a positive factor of real time."""

    name = "max|FACTOR"

    def convert(self, value: Any, param: Any, context: Any) -> Optional[float]:
        if value == "max" or value is None:
            return None
        try:
            factor = float(value)
        except ValueError:
            factor = 0.0
        if not 0 < factor < float("inf"):
            self.fail("'%s' is neither 'max' nor a positive number." % value, param, context)
        return factor


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@click.option("--source", default="replay", metavar="SPEC",
              help="Where samples come from (%s), e.g. csv:path=walk.csv, csv:path=-,rate_hz=50 or "
              "replay:dataset=wisdm,subject=1600.  [default: replay of the test people of the model's corpus]"
              % names_in_room("sources"))
@click.option("--root", type=click.Path(), help="Folder with the downloaded corpora; default EDGEHAR_DATA.")
@click.option("--sink", "sinks", multiple=True, metavar="SPEC",
              help="Where decisions go (%s), e.g. console:all=true or jsonl:path=decisions.jsonl, which replaces a "
              "file of that name. Repeatable.  [default: console, or nowhere with --json]" % names_in_room("sinks"))
@click.option("--backend", help="For an artifact: what runs it; default ort.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="For an artifact; default fp32.")
@click.option("--hop", type=int, help="Samples from one window to the next.  [default: the model's]")
@click.option("--hold", type=int, default=3, show_default=True, help="Windows that must agree before a label changes.")
@click.option("--speed", type=Speed(), default="max", help="1.0 is real time.  [default: max]")
@click.option("--limit-s", type=click.FloatRange(min=0, min_open=True), default=float("inf"),
              help="Stop after that many seconds of samples.")
@click.option("--allow-constant", is_flag=True, help="Accept a channel that does not move during a window.")
@click.option("--quiet", is_flag=True, help="Decisions and warnings only.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, after the last decision.")
def command(path: str, source: str, root: Optional[str], sinks: Sequence[str], backend: Optional[str],
            precision: Optional[str], hop: Optional[int], hold: int, speed: Optional[float], limit_s: float,
            allow_constant: bool, quiet: bool, as_json: bool) -> None:
    """Recognise activities in a stream: samples in, decisions out.

    Decisions go to the sinks, the summary to standard error. Ctrl-C ends the stream.
    """
    from contextlib import ExitStack

    from edgehar.backends import BACKENDS, ready_engine
    from edgehar.sinks import SINKS
    from edgehar.stream import Feed, Stream, pump, weigh

    with progress_line() as on_progress:
        engine = ready_engine(path, backend, precision, on_progress)
    manifest = engine.manifest
    with ExitStack() as opened:
        origin = opened.enter_context(_source(source, manifest.data, root))
        feed = Feed(origin, manifest.signal, limit_s)
        session = opened.enter_context(BACKENDS.create(engine.backend).open(engine, max_batch=1))
        stream = Stream(session, manifest.signal, manifest.tasks, hop, hold, allow_constant)
        targets = [opened.enter_context(SINKS.create(sink)) for sink in sinks or ([] if as_json else ["console"])]
        marks = _marks(manifest.data, origin.synthetic)
        if not quiet:
            click.echo(_announce(stream, origin, feed) + marks, err=True)
        summary = pump(weigh(feed, manifest.signal, _warn), stream, targets, speed)
        summary.busy_s += feed.busy_s
    _require_decisions(summary, manifest.signal)
    if not feed.keeps_rate:
        _warn("the source claims %.4g samples a second and delivered %.4g on average; check its rate." % (
            feed.claimed_hz, feed.measured_hz))
    if as_json:
        show_json(dict(summary.to_json(), **feed.to_json(), engine=str(engine.folder),
                       trained_on_synthetic=manifest.data["synthetic"], fed_synthetic=origin.synthetic))
    elif not quiet:
        click.echo("%s%s\nnext: edgehar bench %s" % (_describe(summary, feed), marks, engine.folder), err=True)


def _source(spec: str, data: Mapping[str, Any], root: Optional[str]) -> Source:
    """The source that `spec` names; a replay is of the model's own corpus and split unless it names another corpus."""
    from edgehar.registry import parse_spec
    from edgehar.sources import SOURCES
    from edgehar.splits import Split

    given = {"dataset": data["dataset"], "root": root or ""}
    return SOURCES.create(spec, split=Split.from_json(data["split"]),
                          **{key: value for key, value in given.items() if key not in parse_spec(spec)[1]})


def _announce(stream: Stream, origin: Source, feed: Feed) -> str:
    """One line on what is about to be recognised, for whoever waits for the first decision."""
    signal = stream.signal
    units = ", ".join(dict.fromkeys(channel.unit for channel in signal.channels))
    said = "recognising %s from %d channels (%s) at %g Hz: %.2f s every %.2f s" % (
        " and ".join(stream.tasks), len(signal.channels), units, signal.rate_hz, signal.window / signal.rate_hz,
        stream.hop / signal.rate_hz)
    return "; ".join(filter(None, [said, origin.remark, _resampling(origin, feed, signal) if feed.resampled else ""]))


def _resampling(origin: Source, feed: Feed, signal: Signal) -> str:
    measured = ", %.4g Hz by its clock," % origin.measured_hz if origin.measured_hz else ""
    return "the source's %.4g Hz%s are resampled to %.4g Hz, which delays decisions by %.2g s" % (
        feed.claimed_hz, measured, signal.rate_hz, feed.delay_s)


def _warn(sentence: str) -> None:
    click.echo("warning: " + sentence, err=True)


def _require_decisions(summary: Summary, signal: Signal) -> None:
    """Raise InconclusiveError for a signal that ended before its first window was full."""
    from edgehar.errors import InconclusiveError

    if not summary.decisions and not summary.interrupted:
        raise InconclusiveError(
            "the signal ended after %.2f s with %d gaps and a window takes %.2f s without one; give a longer signal or "
            "raise --limit-s." % (summary.signal_s, summary.gaps, signal.window / signal.rate_hz))


def _describe(summary: Summary, feed: Feed) -> str:
    """One line on what the stream did."""
    rates = ", rate: %.4g Hz measured, %.4g Hz claimed" % (feed.measured_hz, feed.claimed_hz)
    return "decisions: {:,}, label changes: {:,}, gaps: {:,}, signal: {:,.1f} s, computing took {} of it{}{}".format(
        summary.decisions, summary.changes, summary.gaps, summary.signal_s, _percent(summary.realtime_factor),
        rates if feed.measured_hz else "", "; stopped by Ctrl-C" if summary.interrupted else "")


def _percent(share: float) -> str:
    return ("{:.2g} %" if share < 0.1 else "{:,.0f} %").format(100 * share)


def _marks(data: Mapping[str, Any], streamed: bool) -> str:
    """Generated data and a split that leaks are said to be so wherever their results are shown."""
    from edgehar.splits import leak_mark

    what = ["trained on synthetic data" if data["synthetic"] else "", "fed synthetic data" if streamed else "",
            leak_mark(data["split"])]
    return " [%s]" % ", ".join(filter(None, what)) if any(what) else ""
