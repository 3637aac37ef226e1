"""``edgehar run``: recognise activities in a stream of samples."""

from __future__ import annotations

import click


class Speed(click.ParamType):
    """"max", or a positive factor of real time."""

    name = "max|FACTOR"

    def convert(self, value, param, context):
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
@click.option("--source", default="replay",
              help="Where samples come from, e.g. csv:path=walk.csv, csv:path=-,rate_hz=50 or "
              "replay:dataset=wisdm,subject=1600.  [default: the test people of the model's corpus]")
@click.option("--sink", "sinks", multiple=True, default=("console",), show_default=True,
              help="Where decisions go, e.g. console:all=true or jsonl:path=decisions.jsonl; may be repeated.")
@click.option("--backend", default="ort", show_default=True, help="Runs an artifact; an engine knows its own.")
@click.option("--precision", default="fp32", show_default=True, help="Precision an artifact is built in.")
@click.option("--hop", type=int, help="Samples from one window to the next.  [default: the model's]")
@click.option("--hold", type=int, default=3, show_default=True, help="Windows that must agree before a label changes.")
@click.option("--speed", type=Speed(), default="max", help="1.0 is real time.  [default: max]")
@click.option("--limit-s", type=click.FloatRange(min=0, min_open=True), default=float("inf"),
              help="Stop after that many seconds of samples.")
@click.option("--allow-constant", is_flag=True, help="Accept a channel that does not move during a window.")
@click.option("--quiet", is_flag=True, help="Decisions only, no summary.")
def command(path, source, sinks, backend, precision, hop, hold, speed, limit_s, allow_constant, quiet):
    """Recognise activities in a stream: samples in, decisions out.

    Decisions go to the sinks, the summary to standard error. Ctrl-C ends the stream.
    """
    from contextlib import ExitStack

    from edgehar.backends import BACKENDS, ready_engine
    from edgehar.sinks import SINKS
    from edgehar.sources import SOURCES
    from edgehar.stream import Stream, feed, pump

    engine = ready_engine(path, backend, precision)
    manifest = engine.manifest
    with ExitStack() as opened:
        origin = opened.enter_context(SOURCES.create(source, dataset=manifest.data["dataset"]))
        chunks = feed(origin, manifest.signal, limit_s)
        session = opened.enter_context(BACKENDS.create(engine.backend).open(engine, max_batch=1))
        stream = Stream(session, manifest.signal, manifest.tasks, hop, hold, allow_constant)
        targets = [opened.enter_context(SINKS.create(sink)) for sink in sinks]
        marks = _synthetic_marks(manifest.data["synthetic"], origin.synthetic)
        if not quiet:
            click.echo(_announce(stream) + marks, err=True)
        summary = pump(chunks, stream, targets, speed)
    if not quiet:
        click.echo("%s%s\nnext: edgehar bench %s" % (_describe(summary), marks, engine.folder), err=True)


def _announce(stream):
    """One line on what is about to be recognised, for whoever waits for the first decision."""
    signal = stream.signal
    return "recognising %s from %d channels at %g Hz: %.2f s every %.2f s" % (
        " and ".join(stream.tasks), len(signal.channels), signal.rate_hz, signal.window / signal.rate_hz,
        stream.hop / signal.rate_hz)


def _describe(summary):
    """One line on what the stream did."""
    text = "decisions: %d, label changes: %d, gaps: %d, signal: %.1f s" % (
        summary.decisions, summary.changes, summary.gaps, summary.signal_s)
    if not summary.decisions:
        return text + "; no stretch was as long as one window"
    return text + ", %.3g times real time%s" % (
        summary.realtime_factor, "; stopped by Ctrl-C" if summary.interrupted else "")


def _synthetic_marks(trained, streamed):
    """Generated data is said to be so wherever its results are shown."""
    what = [text for text, holds in (("trained on synthetic data", trained), ("fed synthetic data", streamed)) if holds]
    return " [%s]" % ", ".join(what) if what else ""
