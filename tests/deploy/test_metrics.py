"""What Prometheus reads, by its own parser."""

from __future__ import annotations

import sys
from typing import Dict, Tuple

import pytest

from edgehar.deploy.health import Health, Line
from edgehar.deploy.metrics import metrics_of
from edgehar.deploy.pages import _page
from edgehar.errors import MissingError
from edgehar.stream.ledger import Ledger

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")


def scraped(health: Health) -> Dict[Tuple[str, str], float]:
    """{(name without edgehar_, value of its label or ""): value}"""
    return {(sample.name[len("edgehar_"):], "".join(sample.labels.values())): sample.value
            for family in parser.text_string_to_metric_families(metrics_of(health)) for sample in family.samples}


def test_every_count_stands_under_its_name():
    health = Health(5.0, lambda: [Line("source", 3, 2, "")], clock=lambda: 50.0)
    counts = {"decisions": ("decisions_total", ""), "changes": ("label_changes_total", ""),
              "late": ("late_decisions_total", ""), "gaps": ("gaps_total", ""), "refused": ("refused_chunks_total", ""),
              "missed": ("missed_decisions_total", ""), "starts": ("starts_total", ""),
              "reloads": ("reloads_total", "taken"), "refused_reloads": ("reloads_total", "refused")}
    for number, name in enumerate(counts, start=11):
        setattr(health, name, number)
    health.facts = {"model": 'a "b"\\c'}
    shown = scraped(health)
    assert {name: shown[at] for name, at in counts.items()} == {name: 11 + n for n, name in enumerate(counts)}
    assert shown["waiting", "source"] == 3 and shown["dropped_total", "source"] == 2 and shown["alive", ""] == 1
    assert shown["info", 'a "b"\\c'] == 1 and shown["last_decision_age_seconds", ""] == float("inf")
    assert ("samples_total", "") not in shown


def test_what_became_of_the_samples():
    health = Health(30.0)
    health.samples = lambda: Ledger(9, 5, 1, {"duplicate": 3}, {"damaged": 2})
    shown = scraped(health)
    assert (shown["samples_total", ""], shown["samples_decided_total", ""], shown["samples_waiting", ""]) == (9, 5, 1)
    assert shown["samples_dropped_total", "duplicate"] == 3 and shown["unread_messages_total", "damaged"] == 2


def test_latencies_are_a_histogram():
    health = Health(5.0)
    for latency_s in (0.0005, 0.001, 0.03, 0.03, 70.0):
        health.decided({}, latency_s, late=False)
    shown = scraped(health)
    assert [shown["decision_latency_seconds_bucket", bound] for bound in ("0.001", "0.02", "0.05", "10.0", "+Inf")] == [
        2, 2, 4, 4, 5]
    assert shown["decision_latency_seconds_count", ""] == 5
    assert shown["decision_latency_seconds_sum", ""] == pytest.approx(70.0615)


def test_of_many_wearers_what_was_lost_has_its_reason():
    from edgehar.stream.mailbox import Letter, Who
    from tests.stream.test_site import Watch, message, noise, site, told

    watch = Watch()
    made = site(clock=watch)
    told(made, [Letter(Who("anna"), message(0, noise(60)), watch()), Letter(Who("bert"), b"no JSON", watch() - 50)])
    told(made, [Letter(Who("anna"), message(900, noise(60)), watch())])
    health = Health(5.0)
    health.site = made.to_json
    shown, facts = scraped(health), made.to_json()
    assert shown["windows_due_total", ""] == facts["windows_due"] > 0 and shown["wearers", "ok"] == 1
    assert shown["windows_lost_total", "gap"] == facts["windows_lost"]["gap"] > 0
    assert shown["unread_messages_total", "damaged"] == 1 and shown["stale_wearers", ""] == 1
    assert shown["places", ""] == 4


def test_without_the_client_library_the_page_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingError, match="metrics need the package prometheus-client"):
        metrics_of(Health(5.0))
    code, _, text = _page(Health(5.0), "/metrics")
    assert code == 501 and "pip install 'edgehar[metrics]'" in text
