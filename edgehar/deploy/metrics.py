"""The health of a service in Prometheus' text format, by its own client library.

Needs the package prometheus-client, `pip install 'edgehar[metrics]'`; it is imported only where metrics are asked for.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, Optional

from edgehar.deploy.health import BUCKETS_S, Health
from edgehar.errors import MissingError
from edgehar.stream.ledger import Ledger

PREFIX = "edgehar_"


def metrics_of(health: Health) -> str:
    """All figures, text format 0.0.4. Raises MissingError where the client library is not installed."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "prometheus_client":
            raise
        raise MissingError(
            "metrics need the package prometheus-client; run `pip install 'edgehar[metrics]'`.") from None
    registry = CollectorRegistry()
    registry.register(_Collected(health))
    return generate_latest(registry).decode("utf-8")


class _Collected:
    """What prometheus_client asks for families of metrics."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Any]:
        health = self._health
        yield from _plain(health)
        yield _counter("reloads", "New engines, taken or refused.", "result",
                       {"taken": health.reloads, "refused": health.refused_reloads})
        yield _latencies(health)
        lines = health.lines()
        yield _gauge("waiting", "Chunks, letters or decisions that wait.", "line",
                     {line.name: line.waiting for line in lines})
        yield _counter("dropped", "Chunks or decisions that were given up.", "line",
                       {line.name: line.dropped for line in lines})
        yield from _samples(health.samples())
        if health.site is not None:
            yield from _site(health.site())
        yield _facts(health.facts)


def _plain(health: Health) -> Iterator[Any]:
    for name, meaning, value in (
            ("decisions", "Decisions made by this process.", health.decisions),
            ("label_changes", "Decisions whose label differs from the last one's.", health.changes),
            ("late_decisions", "Decisions over a hop after their last sample.", health.late),
            ("gaps", "Gaps in the signal.", health.gaps),
            ("refused_chunks", "Chunks that could not be used.", health.refused),
            ("missed_decisions", "Decisions due while no service was there.", health.missed),
            ("starts", "Times the service was started.", health.starts)):
        yield _counter(name, meaning, None, {"": value})
    yield _gauge("last_decision_age_seconds", "Since the last decision.", None, {"": health.age_s})
    yield _gauge("alive", "Whether the loop works or waits for samples.", None, {"": int(health.alive)})


def _samples(samples: Optional[Ledger]) -> Iterator[Any]:
    if samples is None:
        return
    yield _counter("samples", "Samples that arrived, in all starts.", None, {"": samples.arrived})
    yield _gauge("samples_waiting", "Samples that no window is full with yet.", None, {"": samples.waiting})
    yield _counter("samples_decided", "Samples in a window that was decided.", None, {"": samples.decided})
    yield _counter("samples_dropped", "Samples that were given up.", "reason", samples.dropped)
    yield _counter("unread_messages", "Messages that were not read; their samples are in no count.", "reason",
                   samples.unread_messages)


def _site(facts: Mapping[str, Any]) -> Iterator[Any]:
    """Of many wearers together."""
    wearers = facts["wearers"]
    yield _gauge("wearers", "Wearers, by what they do.", "status", wearers)
    yield _gauge("stale_wearers", "Wearers who are here and silent.", None, {"": wearers.get("silent", 0)})
    yield _gauge("places", "Wearers that are admitted at once.", None, {"": facts["places"]})
    yield _counter("windows_due", "Windows that unbroken signals would have given.", None, {"": facts["windows_due"]})
    yield _gauge("windows_waiting", "Full windows that are not decided yet.", None, {"": facts["windows_waiting"]})
    yield _counter("windows_lost", "Windows that were due and are not decided.", "reason", facts["windows_lost"])
    yield _counter("wearer_gaps", "Gaps too long to be filled.", None, {"": facts["gaps"]})
    yield _counter("samples_filled", "Samples made up in short gaps.", None, {"": facts["samples_filled"]})
    yield _counter("samples_dropped", "Samples that were given up.", "reason", facts["samples_dropped"])
    yield _counter("unread_messages", "Messages that were not read; their samples are in no count.", "reason",
                   facts["messages_unread"])


def _latencies(health: Health) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    total, buckets = 0, []
    for bound_s, count in zip((*BUCKETS_S, float("inf")), list(health.latency_counts)):
        total += count
        buckets.append(("+Inf" if bound_s == float("inf") else str(bound_s), total))
    return HistogramMetricFamily(PREFIX + "decision_latency_seconds",
                                 "From the arrival of a window's last sample until its decision has left.",
                                 buckets=buckets, sum_value=health.latency_sum_s)


def _counter(name: str, meaning: str, label: Optional[str], values: Mapping[str, float]) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(PREFIX + name, meaning, labels=[label] if label else []), label, values)


def _gauge(name: str, meaning: str, label: Optional[str], values: Mapping[str, float]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(PREFIX + name, meaning, labels=[label] if label else []), label, values)


def _facts(facts: Dict[str, str]) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(PREFIX + "info", "What is running.", labels=sorted(facts))
    family.add_metric([facts[name] for name in sorted(facts)], 1)
    return family


def _filled(family: Any, label: Optional[str], values: Mapping[str, float]) -> Any:
    for value, count in sorted(values.items()):
        family.add_metric([value] if label else [], count)
    return family
