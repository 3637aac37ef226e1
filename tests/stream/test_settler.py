"""Labels by a forward filter, unknown ones, quality and staleness: alike in a stream, a fleet and after a restart."""

from __future__ import annotations

import json
from typing import List

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.artifact.settling import Settling, Stays, believed
from edgehar.errors import InputError
from edgehar.stream.bouts import Bout, OpenBouts
from edgehar.stream.decision import Decision
from edgehar.stream.fleet import Fleet
from edgehar.stream.policy import Policy
from edgehar.stream.sinks import SINKS
from edgehar.stream.stream import Snapshot
from tests.linear import SIGNAL, TASKS, LinearSession, ScriptedSession, bits, decision, noise, same, stream, weights

HMM = Settling({"activity": Stays(np.array([0.9, 0.8, 0.95]), 0.5)}, {"activity": 0.9, "placement": 0.6})
RATE, WINDOW, HOP = SIGNAL.rate_hz, SIGNAL.window, SIGNAL.hop


class Rows(LinearSession):
    """Computes row by row, so that a window's bits do not depend on its neighbours."""

    def launch(self, count: int, slot: int = 0) -> None:
        self._logits = {task: np.stack([self._x[row].reshape(1, -1) @ weight.T for row in range(count)])[:, 0]
                        for task, weight in self._weights.items()}


def fleet(places: int, settling: Settling = HMM) -> Fleet:
    made = Fleet(Rows(weights(), max_batch=4), SIGNAL, TASKS, places, policy=Policy(batch=4, depth=40),
                 settling=settling, quality=True)
    for _ in range(places):
        made.join()
    return made


def test_a_stream_tells_what_the_filter_believes():
    said = stream(settling=HMM).push(noise(200))
    belief = np.zeros(3)
    for number, each in enumerate(said):
        belief = believed(belief, each.probabilities["activity"], HMM.stays["activity"], number == 0)
        best = int(belief.argmax())
        assert each.confidence["activity"] == belief[best]
        assert each.label["activity"] == (TASKS["activity"][best] if belief[best] >= 0.9 else "unknown")
    assert {"unknown"} < {each.label["activity"] for each in said}
    assert [each.begins for each in said] == [True] + [False] * (len(said) - 1)


def test_hysteresis_is_as_sure_as_this_window_is_of_the_label_that_stands():
    said = stream(hold=3).push(noise(200))
    assert any(each.label != each.raw_label for each in said)
    for each in said:
        for task, names in TASKS.items():
            assert each.confidence[task] == each.probabilities[task][names.index(each.label[task])]


def test_a_doubtful_label_is_unknown_and_hysteresis_goes_on_beneath():
    plain, doubting = (stream(settling=Settling({}, below)).push(noise(300)) for below in ({}, {"activity": 0.7}))
    for one, other in zip(plain, doubting):
        doubtful = one.confidence["activity"] < 0.7
        assert other.label == dict(one.label, **({"activity": "unknown"} if doubtful else {}))
        assert other.raw_label == one.raw_label
    assert 0 < sum(each.label["activity"] == "unknown" for each in doubting) < len(doubting)


def test_the_filter_begins_anew_after_a_gap():
    one = stream(settling=HMM)
    one.push(noise(100), 0.0)
    after = one.push(noise(100, 1), 60.0)
    assert same(after, stream(settling=HMM).push(noise(100, 1), 60.0)) and after[0].begins


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), st.integers(0, 50))
def test_a_stream_goes_on_from_its_snapshot_with_belief_and_holes(at, seed):
    samples = noise(200)
    counts = (np.random.default_rng(seed).random(200) < 0.8).astype(np.int64)
    whole = stream(settling=HMM).push(samples, 0.0, stands_for=counts)
    first = stream(settling=HMM)
    said = first.push(samples[:at], 0.0, stands_for=counts[:at])
    second = stream(settling=HMM)
    second.restore(Snapshot.from_json(json.loads(json.dumps(first.snapshot().to_json()))))
    assert same(said + second.push(samples[at:], stands_for=counts[at:]), whole)


def test_quality_is_the_share_that_came_and_staleness_how_long_ago_the_last_did():
    counts = np.ones(40, np.int64)
    counts[20:26] = 0
    said = stream().push(noise(40), 0.0, stands_for=counts)
    assert [each.quality for each in said] == [1.0, 1 - 1 / 16, 1 - 6 / 16, 1 - 6 / 16, 1 - 6 / 16]
    assert [each.staleness_s for each in said] == [0.0, 1 / RATE, 6 / RATE, 0.0, 0.0]
    nothing = stream().push(noise(WINDOW), 0.0, stands_for=np.zeros(WINDOW, np.int64))
    assert (nothing[0].quality, nothing[0].staleness_s) == (0.0, WINDOW / RATE)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(0, 100))
def test_a_fleet_settles_as_each_wearer_alone(places, seed):
    draw = np.random.default_rng(seed)
    made, alone = fleet(places), [stream(session=Rows, settling=HMM) for _ in range(places)]
    expected: List[List[Decision]] = [[] for _ in range(places)]
    found: List[List[Decision]] = [[] for _ in range(places)]
    time_s = np.zeros(places)
    for turn in range(8):
        count = int(draw.integers(1, 3 * HOP))
        samples = np.stack([noise(count, seed + 100 * turn + place) for place in range(places)])
        counts = (draw.random((places, count)) < 0.7).astype(np.int64)
        time_s += np.where(draw.random(places) < 0.2, 9.0, 0.0)
        made.push(np.arange(places), samples, time_s, stands_for=counts)
        for place in range(places):
            expected[place] += alone[place].push(samples[place], time_s[place], stands_for=counts[place])
        for decided in made.drain():
            for row, place in enumerate(decided.places.tolist()):
                found[place].append(decided.one(row))
        time_s += count / RATE
    for ours, theirs in zip(found, expected):
        assert [bits(each) for each in ours] == [bits(each) for each in theirs]


def test_a_fleet_with_a_filter_goes_on_in_another_process(tmp_path):
    samples = np.stack([noise(200, 0), noise(200, 1)])
    whole, first, second = fleet(2), fleet(2), fleet(2)
    whole.push(np.arange(2), samples)
    expected = [bits(each.one(row)) for each in whole.drain() for row in range(len(each.places))]
    first.push(np.arange(2), samples[:, :80])
    found = [bits(each.one(row)) for each in first.drain() for row in range(len(each.places))]
    first.save(tmp_path / "fleet.npz")
    second.load(tmp_path / "fleet.npz")
    second.push(np.arange(2), samples[:, 80:])
    found += [bits(each.one(row)) for each in second.drain() for row in range(len(each.places))]
    assert found == expected


# ------------------------------------------------------------------ bouts


def spoken(labels: str, begins=()) -> List[Decision]:
    return [decision(label, float(number), confidence=0.5 + number / 100, begins=number in (0, *begins))
            for number, label in enumerate(labels)]


def test_bouts_are_stretches_of_one_label():
    bouts = OpenBouts()
    ended = [bout for each in spoken("aaabb") for bout in bouts.push(each)] + bouts.flush()
    assert ended == [Bout("activity", "a", 0.0, 3.0, pytest.approx(0.51), 3),
                     Bout("activity", "b", 3.0, 4.0, pytest.approx(0.535), 2)]
    assert bouts.flush() == []


def test_no_bout_spans_a_gap():
    bouts = OpenBouts()
    ended = [bout for each in spoken("aaaa", begins=[2]) for bout in bouts.push(each)] + bouts.flush()
    assert [(bout.start_s, bout.end_s, bout.windows) for bout in ended] == [(0.0, 1.0, 2), (2.0, 3.0, 2)]


def test_each_wearer_has_bouts_of_its_own():
    bouts, ended = OpenBouts(), []
    for one, other in zip(spoken("aab"), spoken("bbb", begins=[2])):
        for who, each in (("anna", one), ("ben", other)):
            object.__setattr__(each, "wearer", who)  # as a site's decisions have it
            ended += bouts.push(each)
    assert [(bout.wearer, bout.label, bout.end_s) for bout in ended] == [("anna", "a", 2.0), ("ben", "b", 1.0)]
    assert [(bout.wearer, bout.label) for bout in bouts.flush()] == [("anna", "b"), ("ben", "b")]
    assert ended[0].to_json()["wearer"] == "anna" and "placement" not in ended[0].to_json()


def test_bouts_of_a_stream_cover_it_without_overlap():
    samples = noise(400)
    samples[:, 0] = np.repeat([0.0, 1.0, 2.0, 1.0], 100)
    said = stream(session=ScriptedSession, allow_constant=True).push(samples)
    bouts = OpenBouts()
    ended = [bout for each in said for bout in bouts.push(each)] + bouts.flush()
    for task in TASKS:
        of_task = [bout for bout in ended if bout.task == task]
        assert (of_task[0].start_s, of_task[-1].end_s) == (said[0].time_s, said[-1].time_s)
        assert all(one.end_s == other.start_s for one, other in zip(of_task, of_task[1:]))
        assert sum(bout.windows for bout in of_task) == len(said)
    assert [bout.label for bout in ended if bout.task == "activity"] == ["still", "walk", "run", "walk"]


def test_a_file_of_bouts_has_a_line_for_each_when_it_ends(tmp_path):
    path = tmp_path / "bouts.jsonl"
    sink = SINKS.create("jsonl:path=%s,of=bouts" % path)
    for each in spoken("aab"):
        sink.write(each)
    assert [json.loads(line)["label"] for line in path.read_text().splitlines()] == ["a"]
    sink.close()
    sink.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"task": "activity", "label": "a", "start_s": 0.0, "end_s": 2.0, "confidence": 0.505, "windows": 2},
        {"task": "activity", "label": "b", "start_s": 2.0, "end_s": 2.0, "confidence": 0.52, "windows": 1}]
    with pytest.raises(InputError, match="'windows' or 'bouts', not of 'days'"):
        SINKS.create("jsonl:path=%s,of=days" % path)
