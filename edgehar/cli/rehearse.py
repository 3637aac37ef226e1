"""`edgehar rehearse`: how many wearers does this machine serve?"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Sequence

import click

from edgehar.cli._options import (constant_option, engine_options, head_option, hold_option, hop_option, json_option,
                                  root_option)
from edgehar.cli._rehearsing import SiteTrial, find_most, load_options, publish, rehearse_site
from edgehar.cli._show import names_in_room, progress_line, show_json, show_next
from edgehar.cli._streaming import open_source, stream_marks, warn

if TYPE_CHECKING:
    from edgehar.backends.base import Engine
    from edgehar.stream.choice import SessionChoice
    from edgehar.stream.crowd import Hops, Rehearsal

SECTION = "Run"
PREPARED_S = 600.0  # of the source, which the wearers go round


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@click.option("--wearers", "--streams", "wearers", type=click.IntRange(1), default=100, show_default=True,
              help="Wearers at once; with --find-max-wearers, how many to try first.")
@click.option("--seconds", "duration_s", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              help="Seconds of signal to serve to each.")
@click.option("--phases", type=click.IntRange(1), default=1, show_default=True,
              help="Instants of a hop at which wearers' hops are complete: 1 where all send whole hops on one beat, "
              "more where each was switched on at another moment. It must divide the hop.")
@click.option("--fast", is_flag=True, help="As fast as possible; otherwise in real time, and lateness is reported.")
@click.option("--source", default="replay", metavar="SPEC",
              help="What they wear is replayed from here (%s), each from another moment on.  [default: replay of the "
              "test subjects of the model's corpus]" % names_in_room("sources"))
@root_option()
@engine_options()
@head_option("Wearers have heads of their own, which `edgehar personalise` made; given several, they take turns.",
             several=True)
@click.option("--own-heads", is_flag=True, help="Every wearer has a head of its own, all of them copies of the trained "
              "one: what that costs.")
@hop_option()
@hold_option(by_task=False)
@constant_option()
@load_options()
@json_option()
def command(path: str, wearers: int, duration_s: float, phases: int, fast: bool, source: str, root: Optional[str],
            backend: Optional[str], precision: Optional[str], heads: Sequence[str], own_heads: bool,
            hop: Optional[int], hold: int, allow_constant: bool, as_json: bool, site: bool, to: Optional[str],
            find_max: bool, p99_s: float, simulated: bool, **faults: Any) -> None:
    """Rehearse with many wearers at once and tell how it went: throughput, latency, late and lost decisions.

    Whole windows and incremental steps are measured first, and the faster is kept. All wearers' hops are complete at
    the same instant, which is the worst case for latency; --phases spreads them over the hop.

    With --site they send messages, which are late or lost as you say and go through all that `serve` does with
    them; each window that was due is then decided or told of by the reason why it is not.

    \b
    Will a thousand wearers do, with a decision twice a second?
      edgehar rehearse engines/wisdm-watch-s --wearers 1000 --hop 10
    What is the most this machine could do?
      edgehar rehearse engines/wisdm-watch-s --wearers 2000 --fast
    How many wearers does a site bear, each decided within 50 ms?
      edgehar rehearse engines/wisdm-watch-s --site --find-max-wearers --p99 50ms
    What becomes of every window where messages are lost and networks fail?
      edgehar rehearse engines/wisdm-watch-s --site --simulated --wearers 10000 --seconds 60 --message-s 1 \\
          --loss 0.05 --jitter-s 0.02 --storm-every-s 20
    A load for a gateway of yours, through its broker:
      edgehar rehearse engines/wisdm-watch-s --wearers 200 --seconds 60 --to mqtt:topic=site/{wearer}/samples
    """
    from edgehar.backends import ready_engine
    from edgehar.bench.load import LoadSpec
    from edgehar.bench.verdicts import require_measured
    from edgehar.stream.crowd import in_hops
    from edgehar.stream.feed import Feed

    with progress_line() as on_progress:
        engine = ready_engine(path, backend, precision, on_progress)
    require_measured(engine, "serve its artifact by another backend, such as ort")
    manifest = engine.manifest
    signal, hop = manifest.signal, hop or manifest.signal.hop
    with open_source(source, manifest, root) as origin:
        hops = in_hops(Feed(origin, signal, PREPARED_S), signal, hop)
        synthetic = origin.synthetic
    marks = stream_marks(manifest.data, synthetic)
    if not (site or to or find_max):
        how = Fleeting(hop, hold, allow_constant, heads, own_heads)
        _rehearse_fleet(engine, hops, wearers, duration_s, not fast, phases, how, as_json, synthetic, marks)
        return
    wanted = SiteTrial(engine, hops.samples.reshape(-1, len(signal.channels)), synthetic,
                    LoadSpec(wearers, duration_s, **faults), hop, hold, allow_constant, simulated)
    if to:
        publish(wanted, to, as_json)
    elif find_max:
        find_most(wanted, p99_s, as_json, marks)
    else:
        rehearse_site(wanted, as_json, marks)


class Fleeting(NamedTuple):
    """How a fleet decides: hop in samples, hold in windows, whether a channel may stand still, and wearers' heads."""

    hop: int
    hold: int
    allow_constant: bool
    heads: Sequence[str]
    own_heads: bool


def _rehearse_fleet(engine: Engine, hops: Hops, wearers: int, duration_s: float, paced: bool, phases: int,
                    how: Fleeting, as_json: bool, synthetic: bool, marks: str) -> None:
    """Whole hops straight into a fleet."""
    from edgehar.deploy.personalising import head_for
    from edgehar.stream.choice import choose_session, with_heads
    from edgehar.stream.crowd import rehearse
    from edgehar.stream.fleet import Fleet
    from edgehar.stream.personal import HeadBank

    manifest = engine.manifest
    signal = manifest.signal
    choice = choose_session(engine, wearers, how.hop, cohorts=phases)
    if how.heads or how.own_heads:
        choice = with_heads(choice, engine, wearers)
    limit = choice.limit(signal, how.hop)
    _warn_beyond(limit, wearers)
    with choice.session as session:
        bank = HeadBank.of(session, wearers, [head_for(each, manifest) for each in how.heads])
        fleet = Fleet(session, signal, manifest.tasks, wearers, how.hop, how.hold, how.allow_constant, bank=bank)
        found = rehearse(fleet, hops, wearers, duration_s, paced, phases)
    if found.refused:
        warn("%d chunks were refused, one of them because %s." % (found.refused, next(iter(fleet.reasons.values()))))
    if as_json:
        show_json(dict(found.to_json(), engine=str(engine.folder), hop=how.hop, phases=phases, limit=limit,
                       own_heads=bool(how.heads or how.own_heads), way=choice.way, cost_s=choice.costs_s,
                       why_not_incremental=choice.reason, fed_synthetic=synthetic,
                       trained_on_synthetic=manifest.data["synthetic"]))
        return
    click.echo(_chosen(choice))
    click.echo(_told(found) + marks)
    show_next("edgehar serve %s --source sample --speed 1" % shlex.quote(str(engine.folder)))


def _warn_beyond(limit: int, wearers: int) -> None:
    if wearers > limit:
        warn("%d wearers are more than the %d that the measured cost of a window sustains; lengthen the hop, or use a "
             "smaller network or another machine." % (wearers, _rough(limit)))


def _chosen(choice: SessionChoice) -> str:
    """Which way was kept, and why."""
    costs = ", ".join("%s %.2f us" % (way, 1e6 * cost_s) for way, cost_s in choice.costs_s.items())
    why = "; not incremental: %s" % choice.reason.rstrip(".") if choice.reason else ""
    return "kept: %s, measured per window: %s%s" % (choice.way, costs, why)


def _told(found: Rehearsal) -> str:
    """Two lines on how it went."""
    paced = "" if not found.latencies_s else ", latency: %.2f ms (p99 %.2f ms), late: %s" % (
        1e3 * found.latency_s(50), 1e3 * found.latency_s(99), "{:,}".format(found.late))
    return "wearers: {:,}, signal: {:.1f} s each, decisions: {:,}{}, lost: {:,}, refused: {:,}{}\n" \
        "{:,.0f} decisions per second of work, {:.2g} % of one core; extrapolated, not tried: {:,} wearers".format(
            found.wearers, found.signal_s, found.decisions, paced, found.dropped, found.refused,
            "; stopped by Ctrl-C" if found.interrupted else "", found.decisions_per_s, 100 * found.load,
            _rough(found.sustained))


def _rough(count: int) -> int:
    """Two digits of it: no more can be told of what was not tried."""
    return int(round(count, 2 - len(str(count))))
