"""What a service keeps, counts and tells, without a process of its own; the real one is in test_cli_serve."""

from __future__ import annotations

import ctypes
import json
import math
import os
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from edgehar.deploy.health import Health, Line
from edgehar.deploy.notify import Manager
from edgehar.deploy.pages import Pages
from edgehar.deploy.heeding import signals_to
from edgehar.deploy.service import Service, lines_of
from edgehar.deploy.spec import Loaded, ServeSpec
from edgehar.deploy.state import Moment, ServiceState
from edgehar.errors import InputError, MismatchError
from edgehar.stream.feed import Feed
from edgehar.stream.ledger import Ledger, ledger
from edgehar.stream.sinks.base import Sink
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.stream import Snapshot
from tests.broker import until
from tests.linear import CHANNELS, SIGNAL, add_plugins, decision, noise, same, stream, write_artifact

# ------------------------------------------------------------------ what a stream keeps


@pytest.mark.parametrize("cut", [0, 3, 15, 16, 40, 83])
def test_a_stream_goes_on_in_another_one_as_if_nothing_had_happened(cut):
    samples, whole = noise(200), stream()
    wanted = whole.push(samples[:100], 7.0) + whole.push(samples[100:], 9.0)
    first, second = stream(), stream()
    found = first.push(samples[:cut], 7.0)
    text = json.dumps(first.snapshot().to_json())
    second.restore(Snapshot.from_json(json.loads(text)))
    found += second.push(samples[cut:100], 7.0 + cut / 50) + second.push(samples[100:], 9.0)
    assert same(found, wanted) and second.gaps == 0


def test_a_gap_while_nobody_was_there_is_a_gap():
    first, second = stream(), stream()
    first.push(noise(40), 0.0)
    second.restore(first.snapshot())
    assert second.push(noise(10), 3.0) == [] and second.gaps == 1


def test_a_label_that_is_no_class_any_more_is_forgotten():
    kept = stream().snapshot()
    changed = stream()
    changed.restore(kept._replace(labels={"activity": ("swim", "", 0), "mood": ("glad", "", 0)}))
    assert changed.snapshot().labels["activity"] == ("", "", 0)


def test_a_stream_of_another_signal_is_refused():
    kept = stream().snapshot()._replace(samples=np.zeros((16, 2), np.float32), clock=(16, 0.0, 0.0, 0.3))
    with pytest.raises(MismatchError, match="16 samples of 2 channels and the model reads 16 of 3"):
        stream().restore(kept)


# ------------------------------------------------------------------ state


def test_what_is_kept_is_read_again_and_nonsense_is_refused(tmp_path):
    path = tmp_path / "state.json"
    assert ServiceState.load(path) is None
    kept = ServiceState("digest", stream().snapshot(), 1.5, Moment("boot", 10.0, 1e9), missed=4, starts=2,
                sinks={"sink 1 (mqtt)": (3, 1)})
    path.write_text(json.dumps(kept.to_json()))
    again = ServiceState.load(path)
    assert again._replace(stream=None) == kept._replace(stream=None)
    for text in ("[1]", "{}", json.dumps(dict(kept.to_json(), format=9)),
                 json.dumps(dict(kept.to_json(), stream={"samples": "?"})),
                 *(json.dumps(strange) for strange in of_other_types(kept.to_json()))):
        path.write_text(text)
        with pytest.raises(InputError, match="is no state of a service .*; remove it"):
            ServiceState.load(path)
    for text in ("[]", "[1]", "3", '"x"', "null"):
        path.write_text(text)
        with pytest.raises(InputError, match="it holds no table"):
            ServiceState.load(path)


OTHERS = (None, True, -1, 1.5, 1e308, 10 ** 30, "x", [], {}, [[]], {"a": 1}, "[" * 100)


def of_other_types(value):
    """Copies of a state, each with one value, however deep, that is none of its kind."""
    kinds = {"decision_s": (type(None), int, float), "stopped": (bool,), "boot": (str,)}
    for key in value:
        for other in OTHERS:
            if type(other) is not type(value[key]) and not isinstance(other, kinds.get(key, ())):
                yield {**value, key: other}
    clock, label = value["stream"]["clock"], value["stream"]["labels"]["activity"]
    for other in (None, "x", [], {}, math.nan, 1e308, -1e12):
        yield {**value, "decided": ["boot", other, 0.0]}
        yield {**value, "stream": {**value["stream"], "clock": [*clock[:3], other]}}
        yield {**value, "stream": {**value["stream"], "channels": other}}
        yield {**value, "sinks": {"sink": [0, other]}}
        yield {**value, "stream": {**value["stream"], "labels": {"activity": [*label[:2], other]}}}
        yield {**value, "samples": {**value["samples"], "arrived": other}}
        yield {**value, "samples": {**value["samples"], "dropped": {"late": other}}}
        yield {**value, "stream": {**value["stream"], "pending": other}}
        yield {**value, "stream": {**value["stream"], "skipped": [other]}}
        yield {**value, "stream": {**value["stream"], "lacking": [other]}}
        yield {**value, "stream": {**value["stream"], "beliefs": {"activity": [other]}}}
    yield {**value, "decision_s": math.nan}
    yield {**value, "more": 1}


def test_decisions_missed_are_counted_by_the_source_or_by_the_machine_that_nobody_set():
    now = Moment.now()
    kept = ServiceState("", stream().snapshot(), 20.0, now._replace(up_s=now.up_s - 3.02))
    assert kept.missed_until(20.5, goes_on=True, hop_s=0.5) == 0
    assert kept.missed_until(22.0, goes_on=True, hop_s=0.5) == 3
    assert kept.missed_until(0.3, goes_on=False, hop_s=0.5) == 5
    rebooted = kept._replace(decided=Moment("before", 1e6, now.wall_s - 10))
    assert rebooted.missed_until(0.3, goes_on=False, hop_s=0.5) == 19
    set_back = kept._replace(decided=Moment("before", 1e6, now.wall_s + 1e6))
    assert set_back.missed_until(0.3, goes_on=False, hop_s=0.5) == 0
    assert kept._replace(decision_s=None).missed_until(0.3, False, 0.5) == 0


# ------------------------------------------------------------------ service


class Given(Source):
    """Chunks as given."""

    channels, rate_hz = CHANNELS, 50.0

    def __init__(self, chunks):
        self.chunks, self.after_s = chunks, None

    def samples(self):
        yield from self.chunks

    def resume(self, after_s):
        self.after_s = after_s


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    add_plugins(monkeypatch)
    return ServeSpec(write_artifact(tmp_path / "linear").folder, backend="linear")


def served(recipe, source, state=None, sinks=(), clock=None):
    """The health of a service that ran to the end of its source, and what it told."""
    told, health = [], Health(stale_s=10.0)
    options = {} if clock is None else {"clock": clock}
    service = Service(recipe, recipe.load(), list(sinks), health, Manager({}), state, told.append, **options)
    try:
        service.run(source.samples(), source)
    finally:
        service.close()
    return health, told


def chunks(first: int, last: int, size: int = 5):
    return [Chunk(noise(2000)[start:start + size], start / 50) for start in range(first, last, size)]


def test_each_start_goes_on_and_counts_on(recipe, tmp_path):
    state = tmp_path / "state.json"
    health, told = served(recipe, Given(chunks(0, 100)), state)
    assert (health.starts, health.missed, told) == (1, 0, [])
    source = Given(chunks(100, 200))
    health, told = served(recipe, source, state)
    assert (health.starts, health.missed, health.gaps, source.after_s) == (2, 0, 0, 99 / 50)
    assert told[0] == "start 2: the earlier service was stopped; last decision at 1.90 s; its window is kept."
    assert "decisions missed: 0." in told[1]
    health, told = served(recipe, Given(chunks(300, 400)), state)
    assert (health.starts, health.gaps, health.missed) == (3, 1, 23)
    health, told = served(recipe, Given(chunks(0, 100)), state)
    assert health.gaps == 1 and "by this machine's clock, as the source's times began again" in told[1]


@pytest.mark.parametrize("hop, rate_hz, size", [(5, 50.0, 7), (23, 50.0, 7), (5, 80.0, 7), (5, 50.0, 400),
                                               (23, 80.0, 400)])
def test_every_sample_is_counted_once_over_restarts(recipe, tmp_path, hop, rate_hz, size):
    """Also of services that are killed, within a chunk too; where samples are resampled; where windows stand apart."""
    state, arrived, rows = tmp_path / "state.json", 0, noise(2800)
    for number, saves in enumerate((math.inf, 3, 1, math.inf, 2, math.inf, math.inf)):
        starts = range(400 * number, 400 * number + 400, size)
        source = Given([Chunk(rows[start:start + size], start / rate_hz) for start in starts])
        source.rate_hz = rate_hz
        counted = counted_by(replace(recipe, hop=hop), source, state, saves)
        kept = ServiceState.load(state).samples
        arrived += sum(len(chunk.samples) for chunk in source.chunks)
        assert counted.balanced and counted.arrived == arrived
        assert kept == counted if saves == math.inf else 0 < kept.arrived <= arrived
        arrived = kept.arrived
    assert counted.decided > 600 and ("lost at a restart" in counted.dropped) == (size == 400 or rate_hz == 80)


def counted_by(recipe, source, state, saves=math.inf):
    """What a service counts that runs to the end of `source`, of which so many states reach the disk."""
    health, loaded = Health(stale_s=10.0), recipe.load()
    feed = Feed(source, loaded.stream.signal)
    service = Service(recipe, loaded, [], health, Manager({}), state, lambda sentence: None)
    health.samples = lambda: ledger(source, feed, service.stream, service.earlier).seen_meanwhile()
    save, written = service._state.save, iter(range(10 ** 6))
    service._state.save = lambda kept: save(kept) if next(written) < saves else None
    service.run(feed, source)
    service.close()
    return health.samples()


def test_what_waited_for_another_signal_is_lost_and_counted(recipe, tmp_path):
    state = tmp_path / "state.json"
    before = counted_by(recipe, Given(chunks(0, 100)), state)
    state.write_text(state.read_text().replace('"signal_sha256": "', '"signal_sha256": "0'))
    counted = counted_by(recipe, Given(chunks(100, 200)), state)
    assert counted.balanced and counted.dropped["lost at a restart"] == before.waiting > 0


def test_a_state_without_counts_is_gone_on_with(recipe, tmp_path):
    state = tmp_path / "state.json"
    served(recipe, Given(chunks(0, 100)), state)
    value = json.loads(state.read_text())
    del value["samples"], value["stream"]["pending"], value["stream"]["skipped"]
    state.write_text(json.dumps(value))
    assert served(recipe, Given(chunks(100, 200)), state)[0].starts == 2


def test_the_state_of_another_signal_or_a_damaged_one_is_not_gone_on_with(recipe, tmp_path):
    state = tmp_path / "state.json"
    served(recipe, Given(chunks(0, 100)), state)
    state.write_text(state.read_text().replace('"signal_sha256": "', '"signal_sha256": "0'))
    source = Given(chunks(100, 200))
    health, told = served(recipe, source, state)
    assert "its window was of another signal and is not kept" in told[0] and source.after_s is None
    state.write_text("half")
    assert "begins again: " in served(recipe, Given(chunks(0, 100)), state)[1][0]


def test_what_was_kept_of_another_signal_is_gone_for_good(recipe, tmp_path):
    state = tmp_path / "state.json"
    served(recipe, Given(chunks(0, 100)), state)
    state.write_text(state.read_text().replace('"signal_sha256": "', '"signal_sha256": "0'))
    served(recipe, Given(()), state)
    assert len(ServiceState.load(state).stream.samples) == 0 and ServiceState.load(state).decision_s == 1.9
    source = Given(chunks(100, 200))
    health, _ = served(recipe, source, state)
    assert source.after_s is None and (health.decisions, health.missed, health.starts) == (17, 3, 3)


def test_a_second_signal_does_not_disturb_the_end(recipe, tmp_path):
    state, loaded = tmp_path / "state.json", recipe.load()

    class Stopping(Manager):
        def stopping(self):
            service.stop()

    def signalled():
        for chunk in chunks(0, 20):
            yield chunk
        service.stop()

    service = Service(recipe, loaded, [], Health(stale_s=10.0), Stopping({}), state)
    service.run(signalled(), Given(()))
    service.close()
    assert ServiceState.load(state).stopped and ServiceState.load(state).decision_s == 0.3


def test_a_signal_at_the_end_of_a_source_that_failed_does_not_disturb_it(recipe, tmp_path):
    class Stopping(Manager):
        def stopping(self):
            service.stop()

    def failing():
        yield from chunks(0, 100)
        raise OSError("unplugged")

    service = Service(recipe, recipe.load(), [], Health(stale_s=10.0), Stopping({}), tmp_path / "state.json")
    with pytest.raises(OSError, match="unplugged"):
        service.run(failing(), Given(()))
    service.close()
    assert ServiceState.load(tmp_path / "state.json").stopped


def test_a_state_that_cannot_be_written_is_told_once_and_costs_no_decision(recipe, tmp_path):
    (tmp_path / "file").write_text("")
    health, told = served(recipe, Given(chunks(0, 100)), tmp_path / "file" / "state.json")
    assert health.decisions == 17 and len(told) == 1 and told[0].startswith("state: cannot write ")


def test_a_decision_over_a_hop_after_its_samples_is_late(recipe):
    now_s = [0.0]
    slow = [chunk._replace(arrived_s=chunk.time_s - 0.11 * (number % 2)) for number, chunk in
            enumerate(chunks(0, 100))]

    def ticking():
        for chunk in slow:
            now_s[0] = chunk.time_s
            yield chunk

    source = Given(())
    source.samples = ticking
    health, _ = served(recipe, source, clock=lambda: now_s[0])
    assert (health.decisions, health.late) == (17, 9)
    assert health.quantiles_s()[0.5] == pytest.approx(0.11) and health.latency_sum_s == pytest.approx(9 * 0.11)


def test_a_new_engine_for_another_signal_is_refused(recipe, tmp_path, monkeypatch):
    health, told = Health(10.0), []
    service = Service(recipe, recipe.load(), [], health, Manager({}), None, told.append)
    loaded = recipe.load()
    other = stream(replace(SIGNAL, rate_hz=25.0))
    monkeypatch.setattr(ServeSpec, "load", lambda self: Loaded(loaded.engine, loaded.session, other))
    service.reload()
    assert (health.reloads, health.refused_reloads) == (0, 1)
    assert "it reads another signal (3 channels, 16 samples at 25 Hz instead of 3, 16 at 50 Hz" in told[0]
    monkeypatch.setattr(ServeSpec, "load", lambda self: 1 / 0)
    service.reload()
    assert health.refused_reloads == 2 and "division by zero" in told[1]
    service.close()


def test_an_engine_that_is_loaded_while_the_service_ends_is_released(recipe, monkeypatch):
    told, late = [], recipe.load()
    service = Service(recipe, recipe.load(), [], Health(10.0), Manager({}), None, told.append)

    def load(self):
        service.close()
        return late

    monkeypatch.setattr(ServeSpec, "load", load)
    service.reload()
    assert late.session.closed and told == []


# ------------------------------------------------------------------ signals


def take_and_wait(number: int, descriptor: int) -> None:
    """Take a signal and wait for a byte, with no step of Python between the two at which its handler would run."""
    list(map(partial.__call__, [partial(ctypes.CDLL(None)["raise"], int(number)), partial(os.read, descriptor, 1)]))


@pytest.fixture
def surprised(recipe):
    """A function that runs a service which takes a signal just before it waits for samples.

    It gives back the service's health, what it told, and whether the wait had to be ended by somebody else.
    """
    samples_come, bring = os.pipe()
    late = threading.Timer(30.0, os.write, (bring, b"."))
    told, health = [], Health(stale_s=10.0)

    def tell(sentence: str) -> None:
        told.append(sentence)
        os.write(bring, b".")

    def run(number: int):
        def samples():
            yield from chunks(0, 100)
            take_and_wait(number, samples_come)
            yield from chunks(100, 200)

        late.start()
        service = Service(recipe, recipe.load(), [], health, Manager({}), None, tell)
        with signals_to(service):
            service.run(samples(), Given(()))
        service.close()
        return health, told, not late.is_alive()

    yield run
    late.cancel()
    late.join()
    os.close(samples_come), os.close(bring)


def test_a_reload_asked_for_just_before_a_wait_for_samples_is_done_while_it_waits(surprised):
    health, told, had_to_be_ended = surprised(signal.SIGHUP)
    assert not had_to_be_ended and (health.reloads, health.decisions) == (1, 37)
    assert [sentence.split(":")[0] for sentence in told] == ["reloaded"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_just_before_a_wait_for_samples_ends_it(surprised, number):
    health, told, had_to_be_ended = surprised(number)
    assert not had_to_be_ended and health.decisions == 17 and health.stopping


def test_what_signals_did_before_they_do_again(recipe):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    service = Service(recipe, recipe.load(), [], Health(10.0), Manager({}))
    with signals_to(service):
        assert all(signal.getsignal(number) != handler for number, handler in before.items())
    service.close()
    assert {number: signal.getsignal(number) for number in before} == before
    assert signal.set_wakeup_fd(-1) == -1


# ------------------------------------------------------------------ health


def test_health_tells_starting_ok_stale_and_stopping_and_life_from_use():
    now_s = [0.0]
    health = Health(stale_s=5.0, clock=lambda: now_s[0])
    assert (health.status, health.alive, health.age_s) == ("starting", True, math.inf)
    health.moved(waiting=False)
    now_s[0] = 6.0
    assert (health.status, health.alive) == ("stale", False)  # busy for so long: stuck
    health.moved(waiting=True)
    assert (health.status, health.alive) == ("starting", True)
    health.decided({"activity": "walk"}, 0.1, late=False)
    assert (health.status, health.age_s) == ("ok", 0.0)
    now_s[0] = 12.0
    assert (health.status, health.alive) == ("stale", True)
    health.allow_silence = True
    assert health.status == "ok"
    health.stopping = True
    assert health.status == "stopping"


class Full(Sink):
    """Says why it takes nothing."""

    problem = "the disk is full"

    def write(self, decision):
        raise InputError(self.problem)


class Stuck(Sink):
    """Does not come back from a write until it is `free`."""

    def __init__(self):
        self.free = threading.Event()

    def write(self, decision):
        self.free.wait()

    def close(self):
        self.free.set()


@pytest.mark.parametrize("kind, problem", [(Stuck, "it has taken nothing"), (Full, "the disk is full")])
def test_a_sink_that_takes_nothing_degrades_a_service_that_goes_on(recipe, kind, problem):
    named = {"source": Given(())}
    health = Health(30.0, lambda: lines_of(named))
    with kind() as sink:
        service = Service(recipe, recipe.load(), [sink], health, Manager({}), None, lambda sentence: None)
        (outlet,) = service.outlets
        named[outlet.name] = outlet
        outlet.put(decision())
        health.decided({"activity": "walk"}, 0.1, late=False)
        until(lambda: outlet._hand is not None, "it is in hand")
        outlet._hand_s -= 60.0
        until(lambda: outlet.problem, "it is told")
        assert health.status == "degraded" and health.lines()[1].problem.startswith(problem)
        with Pages(health) as pages:
            code, _, text = fetched(pages, "health")
            assert code == 200 and json.loads(text)["status"] == "degraded"
    service.close()


def test_what_became_of_the_samples_is_on_the_page_of_health_and_json_is_json():
    health = Health(30.0, lambda: [Line("sink 1 (mqtt)", 3, 2, 'the "broker" is away')])
    assert health.to_json()["samples"] == {}
    health.samples = lambda: Ledger(9, 5, 1, {"duplicate": 3}, {"damaged": 2})
    assert health.to_json()["samples"]["dropped"] == {"duplicate": 3}
    json.loads(json.dumps(health.to_json(), allow_nan=False))


def test_a_change_is_a_label_that_differs_from_the_last_one_and_the_first_is_none():
    health = Health(5.0)
    for label in ("walk", "walk", "run", "run", "walk"):
        health.decided({"activity": label}, 0.1, late=label == "run")
    assert (health.decisions, health.changes, health.late) == (5, 2, 2)
    assert health.label == {"activity": "walk"} and health.latency_sum_s == pytest.approx(0.5)


def test_the_age_of_a_decision_is_bounded_by_stale_s_itself_and_told_to_a_millisecond():
    now_s = [100.0]
    health = Health(stale_s=5.0, clock=lambda: now_s[0])
    health.moved(waiting=False)
    health.decided({"activity": "walk"}, 0.1, late=False)
    now_s[0] = 105.0
    assert (health.status, health.alive, health.age_s) == ("ok", True, 5.0)
    now_s[0] = 101.23456
    assert health.to_json()["last_decision_age_s"] == 1.235
    assert Health(5.0).to_json()["last_decision_age_s"] is None


def test_quantiles_are_of_the_newest_latencies_alone():
    health = Health(5.0)
    assert all(math.isnan(value) for value in health.quantiles_s().values())
    for number in range(101):
        health.decided({}, number / 100, late=False)
    assert health.quantiles_s() == {0.5: 0.5, 0.9: 0.9, 0.99: 0.99}
    for _ in range(1024):
        health.decided({}, 7.0, late=False)
    assert set(health.quantiles_s().values()) == {7.0}


def test_the_page_of_health_shows_every_count_under_its_name():
    health = Health(5.0, lambda: [Line("source", 3, 2, "")], clock=lambda: 50.0)
    counts = ("decisions", "changes", "late", "gaps", "refused", "missed", "starts", "reloads", "refused_reloads")
    for number, name in enumerate(counts, start=11):
        setattr(health, name, number)
    health.facts = {"model": "small"}
    told = health.to_json()
    assert {name: told[name] for name in counts if name != "changes"} == {
        name: number for number, name in enumerate(counts, start=11) if name != "changes"}
    assert told["lines"] == [{"name": "source", "waiting": 3, "dropped": 2, "problem": "", "stuck": False}]
    assert told["model"] == "small"


def fetched(pages: Pages, path: str):
    """(status, type, text) of one page."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/%s" % (pages.port, path), timeout=60) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_pages_tell_use_from_life_by_their_status():
    now_s = [0.0]
    health = Health(stale_s=5.0, clock=lambda: now_s[0])
    with Pages(health) as pages:
        assert [fetched(pages, path)[0] for path in ("health", "live")] == [503, 200]  # it starts
        health.decided({"activity": "walk"}, 0.1, late=False)
        assert [fetched(pages, path)[0] for path in ("health?by=probe", "live")] == [200, 200]
        now_s[0] = 6.0
        assert [fetched(pages, path)[0] for path in ("health", "live")] == [503, 503]  # it is stuck
        code, kind, text = fetched(pages, "live")
        assert kind == "application/json" and list(json.loads(text)) == sorted(health.to_json())
        assert fetched(pages, "metrics")[:2] == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert fetched(pages, "") == (404, "text/plain; charset=utf-8", "there are /health, /live and /metrics\n")


def test_pages_are_shown_to_several_at_once():
    with Pages(Health(5.0)) as pages, socket.create_connection(("127.0.0.1", pages.port)):  # one who says nothing
        assert fetched(pages, "metrics")[0] == 200


# ------------------------------------------------------------------ systemd


@pytest.mark.parametrize("environment, watchdog_s", [
    ({}, 0), ({"WATCHDOG_USEC": "5000000"}, 0), ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5000000"}, 5),
    ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, 0),
    ({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}, 0),
])
def test_the_watchdog_is_fed_only_where_it_is_asked_of_this_process(environment, watchdog_s):
    assert Manager(environment).watchdog_s == watchdog_s


def test_a_manager_is_told_also_by_an_abstract_socket_and_its_absence_is_no_fault():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0edgehar-test-%d" % id(heard))
        manager = Manager({"NOTIFY_SOCKET": "@edgehar-test-%d" % id(heard)})
        manager.ready()
        manager.say("two\nlines")
        manager.reloading()
        assert [heard.recv(99) for _ in range(2)] == [b"READY=1", b"STATUS=two lines"]
        assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", heard.recv(99))
    manager.feed()
    Manager({}).ready()
