"""`edgehar serve` for the wearers of a site: one gateway, a fleet for each placement."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List, NamedTuple, Optional, Sequence, Tuple

import click

from edgehar.cli._live import page, timelines
from edgehar.cli._show import progress_line
from edgehar.cli._streaming import Sparing, open_source, source_of, stream_marks

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Manifest
    from edgehar.cli._live import LiveAt
    from edgehar.deploy.gateway import Gateway
    from edgehar.deploy.live import LastMinutes
    from edgehar.deploy.spec import ServeSpec
    from edgehar.stream.sinks.base import Sink
    from edgehar.stream.sources.base import Source

LEAST_STALE_S = 30.0


class SiteOptions(NamedTuple):
    """What `serve` is told beside a model: models {placement: path}; places: wearers of each; leave_s: of silence."""

    source: str
    root: Optional[str]
    sinks: Sequence[str]
    missing: str
    state: Optional[str]
    address: Optional[Tuple[str, int]]
    stale_s: Optional[float]
    models: Dict[str, str]
    places: int
    leave_s: float
    live: Optional[LiveAt]


def is_of_many(source: str) -> bool:
    """Whether the source that `source` names is of many wearers: {wearer} is in its topic, or it says many=true."""
    from edgehar.registry import parse_spec

    _, options = parse_spec(source)
    return options.get("many") is True or any("{wearer}" in str(value) for value in options.values())


def require_one(sinks: Sequence[str], models: Sequence[str]) -> None:
    """Raise InputError for what only a source of many wearers can fill."""
    from edgehar.errors import InputError

    for sink in sinks:
        if "{wearer}" in sink:
            raise InputError("the sink's topic has {wearer} and the source is of one wearer; put {wearer} into the "
                             "source's topic too, as in mqtt:topic=site/{wearer}/samples, or name the wearer in both.")
    if models:
        raise InputError("--model is for a source of many wearers; put {wearer} and {placement} into its topic, as in "
                         "mqtt:topic=site/{wearer}/{placement}/samples.")


def run_gateway(spec: ServeSpec, options: SiteOptions, tell: Any) -> None:
    """Serve until it is told to stop. tell: is given sentences for a log."""
    from contextlib import ExitStack

    from edgehar.deploy.gateway import Gateway
    from edgehar.deploy.health import Health
    from edgehar.deploy.heeding import ended_in_order, signals_to
    from edgehar.deploy.notify import Manager
    from edgehar.deploy.pages import Pages
    from edgehar.deploy.service import lines_of
    from edgehar.deploy.wards import WardSpec
    from edgehar.stream.sinks import SINKS

    specs = {placement: WardSpec(replace(spec, path=path), options.places)
             for placement, path in {"": spec.path, **options.models}.items()}
    with ended_in_order(), ExitStack() as opened:
        with progress_line() as on_progress:
            wards = {placement: each.open(on_progress) for placement, each in specs.items()}
        named: Dict[str, Any] = {}
        manifest = wards[""].engine.manifest
        health = Health(options.stale_s or _stale_s(wards), lambda: lines_of(named), allow_silence=True)
        source = named["source"] = opened.enter_context(_opened(options, manifest))
        sinks = [opened.enter_context(SINKS.create(sink)) for sink in options.sinks or ["console"]]
        _require_fitting(options, sinks)
        fleet = wards[""].fleet
        timeline = timelines(options.live, fleet.tasks, fleet.hop / fleet.signal.rate_hz)
        gateway = Gateway(specs, wards, source, [*sinks, *timeline], health, Manager(), options.state, options.missing,
                          options.leave_s, tell, Sparing(lambda sentence: tell("warning: " + sentence)))
        opened.callback(gateway.close)
        named.update((outlet.name, outlet) for outlet in gateway.outlets)
        health.site = gateway.site.to_json
        if options.address:
            opened.enter_context(Pages(health, *options.address))
            click.echo("health: http://%s:%d/health and /metrics" % options.address, err=True)
        marked = stream_marks(manifest.data, source.synthetic, source_of([ward.engine for ward in wards.values()]))
        for placement, ward in wards.items():
            click.echo(_announced(placement, ward, options.places) + marked, err=True)
        with signals_to(gateway), _page(options.live, timeline, gateway, manifest, marked):
            gateway.run()
        click.echo("%s%s\nnext: edgehar bench %s" % (
            _described(gateway), marked, shlex.quote(str(spec.path))), err=True)


def _page(place: Optional[LiveAt], timeline: List[LastMinutes], gateway: Gateway, manifest: Manifest,
          marks: str) -> ContextManager[None]:
    """The live page of all wearers, where one is asked for."""
    from edgehar.deploy.live import LiveRow

    def seen() -> List[LiveRow]:
        return [LiveRow(each.wearer, each.placement, each.status, each.heard_age_s, each.decided_age_s, each.decision,
                     each.decisions, each.lost, each.gaps, each.problem) for each in gateway.site.view()]

    fleet = gateway.site.wards[""].fleet
    return page(place, timeline, manifest, fleet.hop, seen, gateway.site.signal_of, gateway.health.to_json, marks)


def _opened(options: SiteOptions, manifest: Manifest) -> Source:
    """The source; of several placements its channels are named without one, so that each model finds its own."""
    signal = manifest.signal
    if options.models:
        signal = replace(signal, channels=tuple(replace(channel, placement="") for channel in signal.channels))
    return open_source(options.source, replace(manifest, signal=signal), options.root)


def _require_fitting(options: SiteOptions, sinks: Sequence[Sink]) -> None:
    from edgehar.errors import InputError

    if options.models and "{placement}" not in options.source:
        raise InputError("--model tells models by placement, and nothing tells the placement of a message; put "
                         "{placement} into the source's topic, as in mqtt:topic=site/{wearer}/{placement}/samples.")
    for spec, sink in zip(options.sinks, sinks):
        if sink.many is False:
            raise InputError("the sink's topic is one for all wearers, whose decisions would be told apart by nothing "
                             "but their text; put {wearer} into it, as in %s:topic=site/{wearer}/activity." %
                             spec.split(":")[0])


def _stale_s(wards: Dict[str, Any]) -> float:
    return max([LEAST_STALE_S] + [2 * (ward.fleet.signal.window + ward.fleet.hop) / ward.fleet.signal.rate_hz
                                  for ward in wards.values()])


def _announced(placement: str, ward: Any, places: int) -> str:
    fleet, signal = ward.fleet, ward.fleet.signal
    fewer = "" if fleet.limit >= places else ", as many as this machine sustains of the %d asked for" % places
    return "recognising %s of up to %d wearers%s%s at %g Hz: %.2f s every %.2f s; %s" % (
        " and ".join(fleet.tasks), fleet.limit, fewer, " at %s" % placement if placement else "", signal.rate_hz,
        signal.window / signal.rate_hz, fleet.hop / signal.rate_hz, ward.way)


def _described(gateway: Gateway) -> str:
    """One line on what was done, and on what was lost."""
    facts, health = gateway.site.to_json(), gateway.health
    lost = ", ".join("{:,} {}".format(count, reason) for reason, count in sorted(facts["windows_lost"].items()))
    unread = ", ".join("{:,} {}".format(count, reason) for reason, count in sorted(facts["messages_unread"].items()))
    return "windows: {:,} due, {:,} decided, {:,} waiting{}; gaps: {:,}, late: {:,}{}".format(
        facts["windows_due"], facts["windows_due"] - facts["windows_waiting"] - sum(facts["windows_lost"].values()),
        facts["windows_waiting"], ", lost: " + lost if lost else "", facts["gaps"], health.late,
        "; messages not read: " + unread if unread else "")
