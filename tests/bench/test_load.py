"""A load of simulated wearers: the same from one seed, and a site says what became of each window of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgehar.bench.load import Load, LoadSource, LoadSpec, SimulatedClock
from edgehar.bench.rehearsed import most_wearers, rehearse_in_time, rehearse_simulated
from edgehar.errors import InputError
from edgehar.stream.fleet import Fleet
from edgehar.stream.policy import Policy
from edgehar.stream.site import Site
from tests.broker import Mosquitto, Peer, require_mosquitto, until
from tests.linear import SIGNAL, TASKS, LinearSession, noise, weights

HARD = dict(message_s=0.2, loss=0.05, jitter_s=0.02, skew_ppm=50.0, storm_every_s=4.0, storm_s=3.0)


def load(wearers: int = 20, seconds: float = 20.0, **options) -> Load:
    return Load(LoadSpec(wearers, seconds, **options), noise(5000), SIGNAL)


def site(clock, wearers: int = 20, leave_s: float = 60.0, policy: Policy = Policy()):
    """A site and its source, on one clock."""
    source = LoadSource.on(SIGNAL, clock)
    fleet = Fleet(LinearSession(weights(), max_batch=64), SIGNAL, TASKS, wearers, policy=policy, clock=clock)
    return Site({"": fleet}, source, clock=clock, leave_s=leave_s), source


def test_a_load_is_the_same_again_and_comes_in_order():
    one, two = ([each for stretch in load(5, seed=3, **HARD).messages() for each in stretch] for _ in range(2))
    assert [each._replace(samples=None) for each in one] == [each._replace(samples=None) for each in two]
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(one, two))
    for number in range(5):
        mine = [each for each in one if each.number == number]
        assert [each.at_s for each in mine] == sorted(each.at_s for each in mine)
        assert [each.time_s for each in mine] == sorted(each.time_s for each in mine)


@pytest.mark.parametrize("leave_s", [60.0, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_decisions_and_windows_lost_are_the_windows_due(seed, leave_s):
    """Under loss, jitter, drifting clocks and storms; the load counts what was due by itself."""
    clock = SimulatedClock()
    made, source = site(clock, 200, leave_s)
    found = rehearse_simulated(made, source, load(200, seed=seed, **HARD), clock)
    assert found.windows_due > 10000 and found.unaccounted == 0 and found.waiting == 0
    assert found.lost["gap"] > 100 and ("absence" in found.lost) == (leave_s < 1)
    assert found.decided == len(found.latencies_s) and found.latency_s(99) < 0.03
    assert json.loads(json.dumps(found.to_json()))["unaccounted"] == 0


def test_where_nothing_is_lost_all_is_decided():
    clock = SimulatedClock()
    made, source = site(clock)
    found = rehearse_simulated(made, source, load(), clock)
    assert found.decided == found.windows_due == 20 * ((1000 - 16) // 5 + 1) and found.lost == {}


def test_clocks_that_are_set_cost_windows_and_no_more():
    """How long a clock was wrong nobody knows; what the site says adds up all the same."""
    clock = SimulatedClock()
    made, source = site(clock)
    found = rehearse_simulated(made, source, load(resets_per_h=1000.0), clock)
    facts = made.to_json()
    assert facts["windows_due"] == found.decided + sum(found.lost.values()) and found.lost["gap"] > 10
    assert abs(found.unaccounted) < 0.01 * found.windows_due


def test_overload_is_counted_and_the_identity_holds():
    clock = SimulatedClock()
    made, source = site(clock, policy=Policy(batch=2, batches=1, depth=1))
    ticked = made.wards[""].fleet.tick
    made.wards[""].fleet.tick = lambda flush=False: ticked(flush) if flush or clock.time_s % 1.0 < 0.05 else None
    found = rehearse_simulated(made, source, load(), clock)
    assert found.lost["overload"] > 100 and found.unaccounted == 0


def test_in_real_time_latency_is_from_the_arrival():
    now = SimulatedClock()
    made, source = site(now)

    def sleep(pause_s: float) -> None:
        now.time_s += pause_s

    found = rehearse_in_time(made, source, load(seconds=5.0), 1.0, now, sleep)
    assert found.unaccounted == 0 and found.latency_s(99) == pytest.approx(0.0, abs=1e-6)
    assert len(found.latencies_s) < found.decided  # what filled the windows was not measured


@pytest.mark.parametrize("bears", [0, 1, 37, 100, 5000])
def test_the_most_wearers_are_found_to_a_tenth(bears):
    found, tried = most_wearers(lambda count: count <= bears, 10, 100000)
    assert (found == 0) if bears < 10 else bears - max(1, found // 10) <= found <= bears
    assert len(tried) < 20


@pytest.mark.parametrize("options", [{"loss": 1.5}, {"jitter_s": -1.0}, {"message_s": 0.0}, {"storm_share": 2.0}])
def test_what_cannot_be_is_refused(options):
    with pytest.raises(InputError, match="cannot be"):
        load(**options)


def test_a_load_reaches_a_broker_a_topic_a_wearer(tmp_path):
    require_mosquitto()
    from edgehar.bench.published import publish_load

    broker = Mosquitto(tmp_path / "broker")
    peer = Peer(broker.port, "site/+/samples")
    found = publish_load(load(3, 2.0), "mqtt:topic=site/{wearer}/samples,port=%d" % broker.port, lambda now_s: None)
    until(lambda: len(peer.received) == found["sent"] == 30, "all have come")
    assert found["confirmed"] and {topic for topic, _ in peer.received} == {
        "site/wearer-%05d/samples" % number for number in range(3)}
    for to in ("mqtt:topic=site/samples", "csv:path=x"):
        with pytest.raises(InputError, match="a load goes to a broker"):
            publish_load(load(), to, lambda now_s: None)
    peer.close()
    broker.stop()
