"""`edgehar rehearse --site`: messages of many wearers through all that `serve` does with them, or to a broker."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import click

from edgehar.cli._options import Decorator, together
from edgehar.cli._show import progress_line, show_json, show_next

if TYPE_CHECKING:
    import numpy as np

    from edgehar.backends.base import Engine
    from edgehar.bench.load import LoadSpec
    from edgehar.bench.rehearsed import SiteRehearsal
    from edgehar.stream.fleet import Fleet

MOST = 100_000  # wearers that are tried


class Millis(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has none
    """``50ms`` or ``0.05s``, in seconds."""

    name = "TIME"

    def convert(self, value: Any, param: Any, context: Any) -> Optional[float]:
        """Seconds; a number stays what it is."""
        if value is None or isinstance(value, float):
            return value
        for ending, unit_s in (("ms", 1e-3), ("s", 1.0)):
            text = value[:-len(ending)] if value.endswith(ending) else ""
            if text.replace(".", "", 1).isdigit() and float(text) > 0:
                return float(text) * unit_s
        return self.fail("'%s' is no time such as 50ms or 0.05s." % value, param, context)


def load_options() -> Decorator:
    """What wearers send, and what befalls it."""
    share, above = click.FloatRange(0, 1), click.FloatRange(min=0)
    return together(
        click.option("--site", is_flag=True, help="Messages through all that `serve` does, in real time."),
        click.option("--simulated", is_flag=True, help="On a clock that stands still while the site computes."),
        click.option("--to", metavar="SPEC", help="Send the messages to a broker instead, in real time, e.g. "
                     "mqtt:topic=site/{wearer}/samples."),
        click.option("--find-max-wearers", "find_max", is_flag=True,
                     help="How many wearers a site bears in real time."),
        click.option("--p99", "p99_s", type=Millis(), default="50ms", show_default=True,
                     help="With --find-max-wearers: from a window's last sample until it is decided."),
        click.option("--message-s", type=click.FloatRange(min=0, min_open=True), default=0.2, show_default=True,
                     help="Seconds of samples a message."),
        click.option("--loss", type=share, default=0.0, help="Share of messages that never come."),
        click.option("--jitter-s", type=above, default=0.0, help="So much later messages come, at most."),
        click.option("--skew-ppm", type=above, default=0.0, help="So much too fast or slow clocks run, at most."),
        click.option("--resets-per-h", type=above, default=0.0, help="How often a wearer's clock is set."),
        click.option("--storm-every-s", type=above, default=0.0,
                     help="So often many go offline and come back together; 0: never."),
        click.option("--storm-s", type=above, default=5.0, show_default=True, help="So long they are gone, at most."),
        click.option("--storm-share", type=share, default=0.5, show_default=True,
                     help="Share of wearers in a storm; half of them send afterwards what they kept."),
        click.option("--seed", type=int, default=0, help="All is drawn from it."))


class SiteTrial(NamedTuple):
    """What is rehearsed: walk (T, C) of the signal; hop, hold, allow_constant: as for a fleet."""

    engine: Engine
    walk: np.ndarray
    synthetic: bool
    load: LoadSpec
    hop: int
    hold: int
    allow_constant: bool
    simulated: bool


def rehearse_site(wanted: SiteTrial, as_json: bool, marks: str) -> None:
    """One load, through a site in process."""
    with progress_line() as on_progress:
        found, way = _tried(wanted, wanted.load, lambda now_s: on_progress(
            "simulated %.0f of %.0f s" % (now_s, wanted.load.seconds)))
    if as_json:
        show_json(dict(found.to_json(), engine=str(wanted.engine.folder), hop=wanted.hop, way=way,
                       load=dict(vars(wanted.load)), **_whose(wanted)))
        return
    click.echo("kept: %s" % way)
    click.echo(told_of_site(found) + marks)
    show_next("edgehar serve %s --source mqtt:topic=site/{wearer}/samples" % wanted.engine.folder)


def find_most(wanted: SiteTrial, p99_s: float, as_json: bool, marks: str) -> None:
    """How many wearers a site bears in real time with latencies of at most `p99_s`."""
    from edgehar.bench.rehearsed import most_wearers
    from dataclasses import replace

    runs: List[Dict[str, Any]] = []

    def passes(count: int) -> bool:
        found, _ = _tried(wanted, replace(wanted.load, wearers=count), lambda now_s: None)
        passed = found.latency_s(99) <= p99_s and not found.unaccounted and not found.lost.get("overload")
        runs.append({"wearers": count, "latency_p99_s": found.latency_s(99), "load": found.busy_s / max(
            1e-9, wanted.load.seconds), "overload": found.lost.get("overload", 0), "passed": passed})
        click.echo("%7d wearers: p99 %7.1f ms, %d windows lost to overload: %s" % (
            count, 1e3 * found.latency_s(99), found.lost.get("overload", 0), "passes" if passed else "too many"),
            err=as_json)
        return passed

    most, _ = most_wearers(passes, wanted.load.wearers, MOST)
    if as_json:
        show_json(dict(most_wearers=most, p99_s=p99_s, tried=runs, engine=str(wanted.engine.folder), **_whose(wanted)))
        return
    click.echo("at most {:,} wearers at a p99 of {:g} ms, of those tried{}".format(most, 1e3 * p99_s, marks))


def publish(wanted: SiteTrial, to: str, as_json: bool) -> None:
    """The load to a broker in real time, each wearer on a topic of its own."""
    from edgehar.bench.load import Load
    from edgehar.bench.published import publish_load

    load = Load(wanted.load, wanted.walk, wanted.engine.manifest.signal)
    with progress_line() as on_progress:
        found = publish_load(load, to, lambda now_s: on_progress("sent %.0f of %.0f s" % (now_s, wanted.load.seconds)))
    due = int(load.due(wanted.engine.manifest.signal.window, wanted.hop).sum())
    if as_json:
        show_json(dict(found, windows_due=due, load=dict(vars(wanted.load)), **_whose(wanted)))
        return
    click.echo("wearers: {:,}, messages: {:,} sent, {:,} lost on purpose{}, at worst {:.0f} ms late; windows due: "
               "{:,}".format(wanted.load.wearers, found["sent"], found["lost"],
                             "" if found["confirmed"] else ", the last not confirmed by the broker",
                             1e3 * found["late_s"], due))


def told_of_site(found: SiteRehearsal) -> str:
    """Two lines on how it went."""
    lost = ", ".join("{:,} {}".format(count, reason) for reason, count in sorted(found.lost.items())) or "none"
    return "wearers: {:,}, messages: {:,}, lost on the way: {:,}; windows: {:,} due, {:,} decided, {:,} waiting, " \
        "lost: {}; unaccounted: {:,}\n" \
        "time to decision: {:.1f} ms (p99 {:.1f} ms){}, late: {:,}; computing took {:.1f} s for {:.0f} s of " \
        "signal{}".format(
            found.wearers, found.messages, found.messages_lost, found.windows_due, found.decided, found.waiting, lost,
            found.unaccounted, 1e3 * found.latency_s(50), 1e3 * found.latency_s(99),
            " on a simulated clock" if found.simulated else "", found.late, found.busy_s, found.signal_s,
            "; stopped by Ctrl-C" if found.interrupted else "")


def _whose(wanted: SiteTrial) -> Dict[str, Any]:
    return {"fed_synthetic": wanted.synthetic, "trained_on_synthetic": wanted.engine.manifest.data["synthetic"]}


def _tried(wanted: SiteTrial, spec: LoadSpec, on_progress: Callable[[float], None]) -> Tuple[SiteRehearsal, str]:
    """What a site of its own makes of the load; and in which way it decided."""
    from edgehar.bench.load import Load, LoadSource, SimulatedClock
    from edgehar.bench.rehearsed import rehearse_in_time, rehearse_simulated
    from edgehar.stream.choice import choose_session
    from edgehar.stream.site import Site

    manifest = wanted.engine.manifest
    load = Load(spec, wanted.walk, manifest.signal)
    choice = choose_session(wanted.engine, spec.wearers, wanted.hop, cohorts=min(8, wanted.hop, spec.wearers))
    with choice.session as session:
        if wanted.simulated:
            clock = SimulatedClock()
            source = LoadSource.on(manifest.signal, clock)
            site = Site({"": _fleet(wanted, session, spec.wearers, clock)}, source, clock=clock)
            return rehearse_simulated(site, source, load, clock, on_progress), choice.way
        source = LoadSource.on(manifest.signal, _clock())
        site = Site({"": _fleet(wanted, session, spec.wearers, _clock())}, source)
        unpaced_s = math.ceil((manifest.signal.window + wanted.hop) / manifest.signal.rate_hz)
        return rehearse_in_time(site, source, load, unpaced_s), choice.way


def _clock() -> Any:
    import time

    return time.monotonic


def _fleet(wanted: SiteTrial, session: Any, places: int, clock: Any) -> Fleet:
    from edgehar.deploy.wards import policy_for
    from edgehar.stream.fleet import Fleet

    manifest = wanted.engine.manifest
    return Fleet(session, manifest.signal, manifest.tasks, places, wanted.hop, wanted.hold, wanted.allow_constant,
                 policy_for(session), clock=clock, quality=True)
