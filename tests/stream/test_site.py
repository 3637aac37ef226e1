"""A site: each wearer gets the decisions of a stream of its own, and every window that was due is told of."""

from __future__ import annotations

import json
from typing import Dict, List, Tuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.errors import MismatchError
from edgehar.stream.decision import Decision
from edgehar.stream.feed import Feed
from edgehar.stream.filling import filled
from edgehar.stream.fleet import Fleet
from edgehar.stream.mailbox import Letter, LetterLimits, Mailbox, Who
from edgehar.stream.policy import Policy
from edgehar.stream.pump import pump
from edgehar.stream.sender import Sender
from edgehar.stream.sinks.base import Sink
from edgehar.stream.site import Site
from edgehar.stream.sources._messages import parsed
from edgehar.stream.sources.base import Source
from edgehar.stream.stream import Stream
from tests.linear import CHANNELS, SIGNAL, TASKS, noise, weights
from tests.stream.test_fleet import RowSession, Watch

RATE, WINDOW, HOP = SIGNAL.rate_hz, SIGNAL.window, SIGNAL.hop
FASTER_HZ = 64.0
Message = Tuple[int, np.ndarray]


class Letters(Source):
    """Of many wearers, put in by hand."""

    stamped = True
    channels = CHANNELS

    def __init__(self, rate_hz: float = RATE, limits: LetterLimits = LetterLimits(), clock=Watch()) -> None:
        self._rate_hz = rate_hz
        self.mailbox = Mailbox(limits, clock)

    @property
    def rate_hz(self) -> float:
        return self._rate_hz

    def samples(self):
        return iter(())

    def read(self, payload: bytes):
        return parsed(payload, 3)


class One(Source):
    """What `edgehar run` reads of one wearer's messages."""

    stamped = True
    channels = CHANNELS

    def __init__(self, messages: List[bytes], rate_hz: float) -> None:
        self._messages, self._rate_hz = messages, rate_hz
        self._sender = Sender(rate_hz, 3, self.tell, self.tell)

    @property
    def rate_hz(self) -> float:
        return self._rate_hz

    def samples(self):
        for message in self._messages:
            yield from self._sender.take(*parsed(message, 3), arrived_s=0.0)


class Kept(Sink):
    def __init__(self) -> None:
        self.decisions: List[Decision] = []

    def write(self, decision: Decision) -> None:
        self.decisions.append(decision)


def alone(messages: List[bytes], rate_hz: float = RATE, signal: Signal = SIGNAL, missing: str = "refuse"):
    """The decisions of one wearer by itself, as `edgehar run` makes them."""
    sink, source = Kept(), One(messages, rate_hz)
    stream = Stream(RowSession(weights(), signal=signal), signal, TASKS, tell=lambda sentence: None,
                    allow_constant=missing != "refuse")
    assert not pump(Feed(filled(source, signal.channels, missing), signal), stream, [sink]).fault
    return sink.decisions


def message(first: int, samples: np.ndarray, rate_hz: float = RATE, **more) -> bytes:
    return json.dumps(dict({"time_s": first / rate_hz, "samples": samples.tolist()}, **more)).encode()


def site(places: int = 4, source: Source = None, clock=None, signal: Signal = SIGNAL, policy=Policy(depth=40),
         limit=None, **options) -> Site:
    clock = clock or Watch()
    fleet = Fleet(RowSession(weights(), max_batch=4, signal=signal), signal, TASKS, places, policy=policy, clock=clock,
                  limit=limit)
    return Site({"": fleet}, source or Letters(), clock=clock, **options)


def told(made: Site, letters: List[Letter], flush: bool = False) -> Dict[str, List[Decision]]:
    """{wearer: decisions} of letters that come together."""
    found: Dict[str, List[Decision]] = {}
    said = list(made.take(letters))
    if flush:
        made.flush()
    for each in [*said, *made.decide(flush=True)]:
        found.setdefault(each.decision.wearer, []).append(each.decision)
    return found


def gathered(found: Dict[str, List[Decision]], more: Dict[str, List[Decision]]) -> None:
    for name, decisions in more.items():
        found.setdefault(name, []).extend(decisions)


def alike(have: List[Decision], want: List[Decision]) -> None:
    assert [each.time_s for each in have] == [each.time_s for each in want]
    assert [(each.label, each.raw_label) for each in have] == [(each.label, each.raw_label) for each in want]
    for one, other in zip(have, want):
        for task in TASKS:
            np.testing.assert_allclose(one.probabilities[task], other.probabilities[task], atol=1e-5)


def signals(seed: int, rate_hz: float, count: int = 600) -> List[Message]:
    """(number of the first sample, samples) of messages of uneven length, some lost, late, twice or wrong."""
    random = np.random.default_rng(seed)
    walk, found, first = noise(count, seed), [], int(random.integers(0, 50))
    walk[200:200 + 2 * WINDOW + 7, 1] = 3.0  # a stuck channel
    walk[400, 0] = np.nan
    at = 0
    while at < count:
        size = int(random.integers(1, 14))
        chunk = (first + at, walk[at:at + size])
        kind = random.choice(["sent", "lost", "twice", "late", "reset"], p=[0.85, 0.06, 0.03, 0.03, 0.03])
        if kind == "late" and found:
            found.insert(len(found) - 1, chunk)
        elif kind != "lost":
            found += [chunk] * (2 if kind == "twice" else 1)
        if kind == "reset":
            first += int(random.choice([-300000, 777777]))
        at += size
    return found


@pytest.mark.parametrize("missing", ["refuse", "hold"])
@pytest.mark.parametrize("rate_hz", [RATE, FASTER_HZ])
@pytest.mark.parametrize("seed", range(3))
def test_each_wearer_s_decisions_are_those_of_run_by_itself(seed, rate_hz, missing):
    """Whatever is lost, late, sent twice, stuck or no number, and whoever else is there."""
    names = ["anna", "bert", "carla", "dora"]
    sent = {name: [message(first, samples, rate_hz) for first, samples in signals(10 * seed + number, rate_hz)]
            for number, name in enumerate(names)}
    made = site(source=Letters(rate_hz), missing=missing, leave_s=1e9)
    for ward in made.wards.values():
        ward.fleet._allow_constant = missing != "refuse"
    found: Dict[str, List[Decision]] = {}
    random = np.random.default_rng(seed)
    left = {name: list(each) for name, each in sent.items()}
    while any(left.values()):
        chosen = [name for name in names if left[name] and random.random() < 0.6]
        gathered(found, told(made, [Letter(Who(name), left[name].pop(0), 0.0) for name in chosen]))
    gathered(found, told(made, [], flush=True))
    for name in names:
        wanted = alone(sent[name], rate_hz, missing=missing)
        assert len(wanted) > 20
        alike(found[name], wanted)
        assert {each.wearer for each in found[name]} == {name}


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0, 0, 0, 2, 9, 400]), st.booleans()), min_size=1,
                      max_size=20))
def test_what_was_due_was_decided_or_is_told_of(steps):
    """Lost messages, and silences in which the wearer leaves and comes back."""
    watch, sample = Watch(), 0
    made, found = site(clock=watch, leave_s=5.0), {}
    for number, (count, lacking, _) in enumerate(steps):
        sample += lacking if number else 0
        watch.time_s += (lacking + count) / RATE
        for said in made.look():
            gathered(found, {said.decision.wearer: [said.decision]})
        gathered(found, told(made, [Letter(Who("anna"), message(sample, noise(count, number)), watch.time_s)]))
        sample += count
    (view,) = made.view()
    assert view.due == max(0, (sample - WINDOW) // HOP + 1) == view.decisions + view.waiting + sum(view.lost.values())
    assert view.decisions == len(found.get("anna", [])) and view.waiting == 0
    assert view.filled == sum(lacking for _, lacking, _ in steps[1:] if lacking == 2)


def test_who_falls_silent_leaves_and_comes_back_to_another_place():
    watch = Watch()
    made = site(places=1, clock=watch, leave_s=10.0)
    send = lambda name, first: told(made, [Letter(Who(name), message(first, noise(50, first)), watch.time_s)])  # noqa: E731
    assert send("anna", 0)["anna"]
    assert send("bert", 0) == {} and {view.wearer: view.status for view in made.view()} == {
        "anna": "ok", "bert": "turned away"}
    watch.time_s += 11
    assert list(made.look()) == [] and not made.view()[0].here
    assert send("bert", 550)["bert"]
    watch.time_s += 11
    assert list(made.look()) == [] and send("anna", 1150)["anna"]
    anna, bert = made.view()
    assert anna.status == "ok" and bert.status == "away"
    assert anna.lost == {"absence": anna.due - anna.decisions} and anna.due == (1200 - WINDOW) // HOP + 1
    assert bert.messages == {"no place is free": 1}


def test_a_clock_set_back_an_hour_costs_windows_and_is_told():
    said: List[str] = []
    watch = Watch()
    made = site(clock=watch, tell=said.append)
    for number, first in enumerate([500000, 500010, 500020, 320030, 320040, 320050]):
        watch.time_s += 0.2
        told(made, [Letter(Who("anna"), message(first, noise(10, number)), watch.time_s)])
    (view,) = made.view()
    assert view.due == (60 - WINDOW) // HOP + 1 == view.decisions + sum(view.lost.values()) and view.gaps == 1
    assert "too long to be filled" in view.problem and view.lost["gap"] >= 1


def test_what_is_damaged_is_counted_and_told_by_name():
    made = site()
    told(made, [Letter(Who("anna"), b"no JSON", 0.0), Letter(Who("bert"), message(0, noise(50)), 0.0)])
    anna, bert = made.view()
    assert anna.messages == {"damaged": 1} and "a message of anna is not {" in anna.problem
    assert bert.decisions == 7 and made.to_json()["messages_unread"] == {"damaged": 1}


def test_a_state_goes_on_in_another_process_as_if_nothing_had_happened():
    sent = {name: [message(first, samples, FASTER_HZ) for first, samples in signals(number, FASTER_HZ)]
            for number, name in enumerate(["anna", "bert"])}
    found: Dict[str, List[Decision]] = {}
    made = site(source=Letters(FASTER_HZ))
    for number, letters in enumerate(zip(*sent.values())):
        if number % 10 == 7:
            memory = json.loads(json.dumps(made.memory("net").facts)), made.memory("net").arrays
            made = site(source=Letters(FASTER_HZ))
            made.recall(type(made.memory())(*memory), "state.npz")
        gathered(found, told(made, [Letter(Who(name), payload, 0.0) for name, payload in zip(sent, letters)]))
    gathered(found, told(made, [], flush=True))
    count = min(map(len, sent.values()))
    for name, messages in sent.items():
        alike(found[name], alone(messages[:count], FASTER_HZ))


def test_a_state_of_another_version_or_model_is_one_sentence():
    memory = site().memory()
    with pytest.raises(MismatchError, match="state of another version of edgehar .*; remove it to begin anew"):
        site().recall(memory._replace(facts=dict(memory.facts, format=7)), "state.npz")
    other = Signal(triad("acc", "m/s^2", "wrist", "imu"), RATE, 32, HOP, 0.1)
    with pytest.raises(MismatchError, match="state.npz is of a fleet with another signal"):
        site(signal=other).recall(memory, "state.npz")


def test_a_flood_of_one_wearer_costs_the_others_nothing():
    watch = Watch()
    source = Letters(limits=LetterLimits(depth=20, per_s=10.0), clock=watch)
    made, found = site(source=source, clock=watch), {}
    for number in range(50):
        watch.time_s += 0.2
        for flood in range(1000):
            source.mailbox.put(Letter(Who("flood"), message(10 * (1000 * number + flood), noise(10, flood)),
                                      watch.time_s))
        source.mailbox.put(Letter(Who("anna"), message(10 * number, noise(500)[10 * number:10 * number + 10]),
                                  watch.time_s))
        gathered(found, told(made, source.mailbox.take(0.0)))
    alike(found["anna"], alone([message(0, noise(500))]))
    flood = next(view for view in made.view() if view.wearer == "flood")
    assert flood.messages["too fast"] > 49000 and flood.lost["too fast"] > 0
    assert flood.due == flood.decisions + flood.waiting + sum(flood.lost.values())
