"""`edgehar serve`: recognise activities for as long as the machine is on."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Dict, Iterable, Optional, Sequence, Tuple, Union

import click

from edgehar.cli._live import LiveAt, live_option, page_of_one, timelines
from edgehar.cli._options import engine_options, head_option, root_option, sink_option, stream_options
from edgehar.cli._show import names_in_room, progress_line
from edgehar.cli._streaming import Sparing, announce, open_source, settling_of, source_of, stream_marks, warn

if TYPE_CHECKING:
    from edgehar.data.signals import Signal
    from edgehar.deploy.health import Health
    from edgehar.deploy.spec import Loaded, ServeSpec
    from edgehar.stream.sources.base import Chunk

SECTION = "Run"
PORT = 9746
LEAST_STALE_S = 30.0
TELL_S = 0.1


class Address(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has none
    """"off", or host:port."""

    name = "HOST:PORT|off"

    def convert(self, value: Any, param: Any, context: Any) -> Optional[Tuple[str, int]]:
        """(host, port), or None for "off"."""
        if value is None or value == "off" or isinstance(value, tuple):
            return None if value == "off" else value
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            self.fail("'%s' is neither 'off' nor HOST:PORT, such as 127.0.0.1:%d." % (value, PORT), param, context)
        return host.strip("[]"), int(port)


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@click.option("--source", required=True, metavar="SPEC",
              help="Where samples come from (%s), e.g. mqtt:topic=wearers/anna/samples,client=anna or csv:path=-."
              % names_in_room("sources"))
@root_option()
@sink_option("mqtt:topic=wearers/anna/activity or jsonl:path=decisions.jsonl,append=true,max_mb=10,keep=5", "console")
@engine_options()
@head_option()
@stream_options()
@click.option("--model", "models", multiple=True, metavar="PLACEMENT=ENGINE",
              help="Of many wearers: what decides where the topic's {placement} is this one. Repeatable.")
@click.option("--wearers", "places", type=click.IntRange(1), default=200, show_default=True,
              help="Of many: so many at once, for each model; less where this machine sustains less.")
@click.option("--leave-s", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
              help="Of many: so long without a message, and a wearer's place is free for another.")
@click.option("--state", type=click.Path(dir_okay=False), metavar="FILE",
              help="Kept for the next start: the samples of the window, and what was decided. Rewritten at every "
              "chunk, so best in memory, e.g. /run/edgehar/state.json.")
@click.option("--http", "address", type=Address(), default="127.0.0.1:%d" % PORT, show_default=True,
              help="Where /health, /live and /metrics are shown, or off. There is no password.")
@live_option()
@click.option("--stale-s", type=click.FloatRange(min=0, min_open=True),
              help="So long without a decision, and /health says 503.  [default: two windows, at least %g]"
              % LEAST_STALE_S)
@click.option("--allow-silence", is_flag=True,
              help="A source that sends nothing is no fault: the watchdog is fed and /health is well meanwhile.")
def command(path: str, source: str, root: Optional[str], sinks: Sequence[str], backend: Optional[str],
            precision: Optional[str], head: Optional[str], hop: Optional[int], hold: Union[None, int, Dict[str, int]],
            missing: str, allow_constant: bool, speed: Optional[float], state: Optional[str],
            address: Optional[Tuple[str, int]], live: Optional[LiveAt], stale_s: Optional[float], allow_silence: bool,
            models: Sequence[str], places: int, leave_s: float, **settling: Any) -> None:
    """Recognise activities as a service: under systemd, in a container, or by hand.

    What `edgehar run` does, for as long as samples come, with health and metrics over HTTP,
    and with systemd's readiness and watchdog where it was started by Type=notify.

    \b
      SIGHUP       verify what stands at the path now (it may be a link that was moved) and continue
                   through it without losing a sample, or say why not and continue as before
      SIGTERM      end in order, as Ctrl-C does
      kill -9      with --state, the next start continues where this one was, and says what was missed

    With {wearer} in the source's topic it serves all wearers who publish there, through one fleet: they come and go,
    each has its own decisions, and what was lost of each is counted.

    \b
    Examples:
      edgehar serve engines/wisdm-watch-s --source replay:dataset=wisdm,subject=1604 --speed 1 --live
      edgehar serve /var/lib/edgehar/watch/current --state /run/edgehar/state.json \\
          --source mqtt:topic=wearers/anna/samples,client=anna --sink mqtt:topic=wearers/anna/activity
      edgehar serve engines/wisdm-watch-s --state /run/edgehar/site.npz \\
          --source mqtt:topic=site/{wearer}/samples,client=site --sink mqtt:topic=site/{wearer}/activity
    """
    from edgehar.cli._gateway import SiteOptions, is_of_many, require_one, run_gateway
    from edgehar.deploy.spec import ServeSpec

    spec = ServeSpec(path, backend, precision, hop, hold, allow_constant or missing != "refuse", head=head, **settling)
    if is_of_many(source):
        if head:
            raise click.UsageError("--head is of one person and the source of many wearers; leave it out.")
        by_placement = dict(_placed(model) for model in models)
        run_gateway(spec, SiteOptions(source, root, sinks, missing, state, address, stale_s, by_placement, places,
                                      leave_s, live), _tell)
        return
    require_one(sinks, models)
    _serve_one(spec, source, root, sinks, missing, speed, state, address, live, stale_s, allow_silence, settling)


def _placed(model: str) -> Tuple[str, str]:
    """PLACEMENT=ENGINE as two."""
    placement, equals, path = model.partition("=")
    if not equals or not placement or not path:
        raise click.BadParameter("'%s' is no PLACEMENT=ENGINE, such as wrist=engines/wisdm-watch-s." % model,
                                 param_hint="'--model'")
    return placement.strip(), path


def _serve_one(spec: ServeSpec, source: str, root: Optional[str], sinks: Sequence[str], missing: str,
               speed: Optional[float], state: Optional[str], address: Optional[Tuple[str, int]],
               live: Optional[LiveAt], stale_s: Optional[float], allow_silence: bool,
               settling: Dict[str, Any]) -> None:
    """One wearer, from a source of one."""
    from contextlib import ExitStack

    from edgehar.stream.filling import filled
    from edgehar.deploy.health import Health
    from edgehar.deploy.notify import Manager
    from edgehar.deploy.heeding import ended_in_order, signals_to
    from edgehar.deploy.service import Service, lines_of
    from edgehar.stream.feed import Feed, weigh
    from edgehar.stream.ledger import ledger
    from edgehar.stream.sinks import SINKS

    with ended_in_order(), ExitStack() as opened:
        with progress_line() as on_progress:
            loaded = spec.load(on_progress)
        opened.callback(loaded.session.close)
        manifest, signal = loaded.engine.manifest, loaded.stream.signal
        settling_of(manifest, None, **settling)
        named: Dict[str, Any] = {}
        health = Health(stale_s or _stale_s(loaded), lambda: lines_of(named), allow_silence)
        manager, tell = Manager(), Sparing(lambda sentence: _tell("warning: " + sentence))
        _doubt_watchdog(manager.watchdog_s, loaded)
        _show_health(health, address, opened)
        origin = named["source"] = opened.enter_context(open_source(source, manifest, root, tell))
        feed = Feed(filled(origin, signal.channels, missing), signal, tell=tell)
        timeline = timelines(live, manifest.tasks, loaded.stream.hop / signal.rate_hz)
        targets = [*(opened.enter_context(SINKS.create(sink)) for sink in sinks or ["console"]), *timeline]
        marked = stream_marks(manifest.data, origin.synthetic, source_of([loaded.engine]))
        click.echo(announce(loaded.stream, origin, feed) + marked, err=True)
        service = Service(spec, loaded, targets, health, manager, state, _tell)
        opened.callback(service.close)
        named.update((outlet.name, outlet) for outlet in service.outlets)
        health.samples = lambda: ledger(origin, feed, service.stream, service.earlier).seen_meanwhile()
        with signals_to(service), page_of_one(live, timeline, loaded, lambda: service.stream, health, marked):
            service.run(_at_speed(weigh(feed, signal, tell), signal, speed), origin)
    click.echo("%s%s\nnext: edgehar bench %s" % (
        _describe(health, named), marked, shlex.quote(str(spec.path))), err=True)


def _show_health(health: Health, address: Optional[Tuple[str, int]], opened: ExitStack) -> None:
    """Over HTTP, as long as `opened`; nowhere without an address."""
    from edgehar.deploy.pages import Pages

    if address:
        opened.enter_context(Pages(health, *address))
        click.echo("health: http://%s:%d/health and /metrics" % address, err=True)


def _at_speed(chunks: Iterable[Chunk], signal: Signal, speed: Optional[float]) -> Iterable[Chunk]:
    from edgehar.stream.pump import paced

    return chunks if speed is None else paced(chunks, signal.rate_hz * speed)


def _stale_s(loaded: Loaded) -> float:
    signal = loaded.stream.signal
    return max(LEAST_STALE_S, 2 * (signal.window + loaded.stream.hop) / signal.rate_hz)


def _doubt_watchdog(watchdog_s: float, loaded: Loaded) -> None:
    signal = loaded.stream.signal
    first_s = (signal.window + loaded.stream.hop) / signal.rate_hz
    if 0 < watchdog_s < first_s:
        warn("the watchdog's %.3g s are over before the first decision can be due, after %.3g s; raise WatchdogSec."
             % (watchdog_s, first_s))


def _describe(health: Health, named: Dict[str, Any]) -> str:
    """One line on what was done, and on what never arrived."""
    said = ["decisions: {:,}".format(health.decisions), "label changes: {:,}".format(health.changes),
            "gaps: {:,}".format(health.gaps), "late: {:,}".format(health.late), "missed: {:,}".format(health.missed),
            "chunks refused: {:,}".format(health.refused)]
    lost = ["{} dropped {:,}".format(name, each.dropped) for name, each in named.items() if each.dropped]
    return ", ".join(said + lost)


def _tell(sentence: str) -> None:
    """On standard error, where its reader takes it at once: a log that stalls must not stall the service."""
    from edgehar.files import takes

    with suppress(OSError, ValueError):
        if takes(sys.stderr.fileno(), TELL_S):
            click.echo(sentence, err=True)
