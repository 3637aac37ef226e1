"""One model of time: whatever is sent twice, exchanged, lost or stamped by a clock that was set gives the decisions of
the same samples in order, once each; and every sample is counted once."""

from __future__ import annotations

from dataclasses import replace
from typing import List, NamedTuple, Tuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.data.timeline import DEPTH, LATE, Ordered, Timeline
from edgehar.errors import InputError
from edgehar.stream.feed import Feed
from edgehar.stream.gridding import Gridding
from edgehar.stream.ledger import Ledger, ledger
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.stream import Stream
from tests.linear import CHANNELS, SIGNAL, TASKS, LinearSession, noise, same, weights

SLOW = replace(SIGNAL, rate_hz=20.0, max_gap_s=0.3)
STEP_S = 0.05


class Stamped(Source):
    """Samples with a stamp each, in chunks of `size`."""

    channels = CHANNELS

    def __init__(self, times_s: np.ndarray, samples: np.ndarray, rate_hz: float = 20.0, size: int = 7,
                 even: bool = True, timed: bool = True) -> None:
        self.times_s, self.values, self._rate_hz, self.size = times_s, samples, rate_hz, size
        self.even, self.timed = even, timed

    @property
    def rate_hz(self) -> float:
        return self._rate_hz

    def samples(self):
        for first in range(0, len(self.times_s), self.size):
            rows = slice(first, first + self.size)
            yield Chunk(self.values[rows], self.times_s[first], self.times_s[rows] if self.timed else None)


def stream(**options) -> Stream:
    return Stream(LinearSession(weights(signal=SLOW), signal=SLOW), SLOW, TASKS, **options)


def decisions_of(source: Source, into: Stream, feed: Feed = None) -> list:
    feed = feed or Feed(source, SLOW)
    return [decision for chunk in feed for decision in into.push(chunk.samples, chunk.time_s, chunk.begins,
                                                                 chunk.stands_for)]


# ------------------------------------------------------------------ the property


class Line(NamedTuple):
    """A stretch on one clock: its samples' numbers, of which some lack, and how far the clock was set before it."""

    count: int
    holes: Tuple[Tuple[int, int], ...]  # (position, samples that lack)
    set_by_s: float


class Mess(NamedTuple):
    """Lines, and what happened to their samples on the way: (kind, position)."""

    lines: Tuple[Line, ...]
    faults: Tuple[Tuple[str, int], ...]


@st.composite
def messes(draw) -> Mess:
    lines = tuple(Line(draw(st.integers(30, 90)),
                       tuple(draw(st.lists(st.tuples(st.integers(12, 60), st.integers(1, 40)), max_size=3))),
                       draw(st.sampled_from([-3600.0, -40.0, 7.5, 500.0]))) for _ in range(draw(st.integers(1, 3))))
    faults = draw(st.lists(st.tuples(st.sampled_from(["twice", "again", "swap"]), st.integers(12, 250)), max_size=6))
    return Mess(lines, tuple(faults))


def stamped(mess: Mess) -> Tuple[List[Tuple[np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    """The lines in order, as (times, samples) without what lacks; and all of it as it arrived."""
    random, start_s, clean = np.random.default_rng(7), 1000.0, []
    for line in mess.lines:
        numbers = np.arange(line.count)
        for position, size in line.holes:
            numbers = numbers[(numbers < position) | (numbers >= position + size)]
        samples = random.normal(0, 4, (line.count, 3)).astype(np.float32)[numbers]
        clean.append((start_s + numbers * STEP_S, samples))
        start_s += (line.count + 10) * STEP_S + line.set_by_s
    order = list(range(sum(len(times_s) for times_s, _ in clean)))
    edges = set(np.cumsum([len(times_s) for times_s, _ in clean]).tolist())
    times_s, samples = (np.concatenate([each[part] for each in clean]) for part in (0, 1))
    taken: set = set()
    for kind, position in sorted(mess.faults, key=lambda fault: -fault[1]):
        around = set(range(position - 10, position + 11))
        if around & (taken | edges) or position + 10 >= len(order) or (np.diff(times_s)[position - 10:position + 10]
                                                                       > 1.5 * STEP_S).any():
            continue  # one fault at a time, away from the ends of a line
        taken |= around
        if kind == "swap":
            order[position], order[position + 1] = order[position + 1], order[position]
        else:
            order.insert(position + (1 if kind == "twice" else 6), order[position])
    return clean, times_s[order], samples[order]


@settings(max_examples=150, deadline=None)
@given(messes(), st.integers(1, 40), st.booleans())
def test_any_mixture_of_faults_gives_the_decisions_of_the_same_samples_in_order(mess, size, even):
    clean, times_s, samples = stamped(mess)
    source, into = Stamped(times_s, samples, size=size, even=even), stream()
    feed = Feed(source, SLOW)
    found = decisions_of(source, into, feed)
    wanted = []
    for line_s, line in clean:  # each clock's line by itself, as Recordings are
        wanted += decisions_of(Stamped(line_s, line, size=1000, even=even), stream())
    assert same(found, wanted)
    unique = sum(len(line_s) for line_s, _ in clean)
    assert feed.dropped.get("duplicate", 0) == len(times_s) - unique
    assert feed.to_json()["swapped"] == sum(np.abs(np.diff(times_s) + STEP_S) < 1e-6)
    assert feed.to_json()["clock_steps"] == sum(a.set_by_s < 0 for a, _ in zip(mess.lines[:-1], mess.lines[1:]))
    counted = ledger(source, feed, into)
    assert counted.balanced and counted.arrived == len(times_s)


def test_a_line_cut_at_a_pause_is_two_recordings():
    """Where more lacks than a gap allows, each side gives the decisions it gives alone."""
    samples, times_s = noise(200), np.arange(200) * STEP_S
    times_s[90:] += 2.0
    whole = decisions_of(Stamped(times_s, samples), stream())
    alone = [decision for rows in (slice(0, 90), slice(90, 200))
             for decision in decisions_of(Stamped(times_s[rows], samples[rows]), stream())]
    assert same(whole, alone) and len(whole) > 20


# ------------------------------------------------------------------ the balance


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["plain"] * 6 + ["twice", "swap", "lose", "pause", "back", "far", "late", "nan",
                                                 "stuck", "alike", "wrap"]), min_size=1, max_size=30),
       st.integers(1, 33), st.sampled_from([(20.0, True, True), (20.0, False, True), (100.0, True, True),
                                            (20.0, True, False), (100.0, True, False)]),
       st.integers(3, 40), st.booleans())
def test_every_sample_is_counted_once(events, size, kind, hop, tells):
    rate_hz, even, timed = kind
    random, stamps, rows, now_s = np.random.default_rng(len(events)), [], [], 50.0
    for event in events:
        count = int(random.integers(5, 40))
        times_s = now_s + np.arange(count) / rate_hz
        values = random.normal(0, 4, (count, 3)).astype(np.float32)
        now_s = times_s[-1] + 1 / rate_hz
        if event == "twice":
            times_s, values = np.tile(times_s, 2), np.tile(values, (2, 1))
        elif event == "swap":
            times_s[[2, 3]] = times_s[[3, 2]]
        elif event == "lose":
            times_s, values = np.delete(times_s, 2), np.delete(values, 2, axis=0)
        elif event == "pause":
            times_s, now_s = times_s + 9, now_s + 9
        elif event in ("back", "wrap"):
            now_s -= 40.0 if event == "back" else now_s
        elif event == "far":
            times_s[3] += 1e6
        elif event == "late":
            times_s[3] -= 20
        elif event == "nan":
            values[1, 1] = np.nan
        elif event == "stuck":
            values[:, 2] = 1.0
        elif event == "alike":
            times_s[3] = times_s[2]
        stamps.append(times_s)
        rows.append(values)
    source = Stamped(np.concatenate(stamps), np.concatenate(rows), rate_hz, size, even, timed)
    feed, into = Feed(source, SLOW), stream(hop=hop, tell=(lambda sentence: None) if tells else None)
    for chunk in feed:
        try:
            into.push(chunk.samples, chunk.time_s, chunk.begins, chunk.stands_for)
        except InputError:
            assert not tells
        counted = ledger(source, feed, into)
        assert min(counted.decided, counted.waiting, *counted.dropped.values(), 0) == 0
    assert ledger(source, feed, into).balanced
    assert ledger(source, feed, into).arrived == sum(map(len, stamps))


# ------------------------------------------------------------------ one by one


def ordered(times_s, samples=None, rate_hz: float = 20.0, size: int = 5, tell=None) -> Tuple[Timeline, List[Ordered]]:
    timeline, found = Timeline(rate_hz, 0.3, tell), []
    times_s = np.asarray(times_s, dtype=np.float64)
    samples = np.arange(len(times_s), dtype=np.float32)[:, None] if samples is None else samples
    for first in range(0, len(times_s), size):
        found += timeline.push(times_s[first:first + size], samples[first:first + size])
    found += timeline.flush()
    assert timeline.waiting == 0
    assert sum(len(piece.times_s) for piece in found) + sum(timeline.dropped.values()) == len(times_s)
    return timeline, found


def lines(pieces: List[Ordered]) -> List[List[float]]:
    found: List[List[float]] = []
    for piece in pieces:
        if piece.begins:
            found.append([])
        found[-1] += piece.times_s.tolist()
    return found


GRID = np.arange(40) * STEP_S


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("width, unit_s", [(8, 0.01), (16, 1e-3), (32, 1e-6), (24, 1 / 32768), (64, 1e-9),
                                           (0, 86400.0)])
def test_a_counter_that_begins_again_goes_on(width, unit_s, size):
    period_s, said = 2 ** width * unit_s, []
    times_s = period_s - 20 * STEP_S + GRID
    timeline, found = ordered(times_s % period_s, size=size, tell=said.append)
    assert timeline.wraps == 1 == len(said) and len(lines(found)) == 1 and not timeline.dropped
    assert lines(found)[0] == pytest.approx(times_s.tolist(), abs=1e-5)


@pytest.mark.parametrize("size", [2, 4, 6, 7, 8])
def test_packets_that_were_exchanged_in_pairs_are_put_back(size):
    """The first is lost, for nothing told that one lacked; no other is a wrap, a gap or a wrong stamp."""
    order = np.arange(20 * size).reshape(-1, 2, size)[:, ::-1].ravel()
    timeline, found = ordered((np.arange(20 * size) * STEP_S)[order])
    assert timeline.dropped == {LATE: size} and not timeline.wraps and not timeline.steps
    (line,) = lines(found)
    assert line == pytest.approx((np.arange(size, 20 * size) * STEP_S).tolist())


def test_two_packets_exchanged_at_the_start_are_no_counter_of_13_bits():
    at_20_hz = np.arange(32) * 0.05
    timeline = Timeline(20.0, 0.125)
    for first in (8, 0, 24, 16):
        timeline.push(at_20_hz[first:first + 8], np.arange(first, first + 8.0)[:, None])
    timeline.flush()
    assert timeline.wraps == timeline.steps == 0 and timeline.dropped == {LATE: 8}


def test_a_counter_with_a_sign_goes_on_too():
    period_s = 2 ** 32 * 1e-6
    times_s = period_s / 2 - 20 * STEP_S + GRID
    timeline, found = ordered((times_s + period_s / 2) % period_s - period_s / 2)
    assert timeline.wraps == 1 and len(lines(found)) == 1


def test_a_clock_that_was_set_back_is_a_gap_and_told():
    said: list = []
    timeline, found = ordered(np.concatenate([1e9 + GRID, 1e9 - 3598 + GRID]), tell=said.append)
    assert timeline.steps == 1 and [len(line) for line in lines(found)] == [40, 40] and not timeline.dropped
    assert "goes back by 3599.950 s" in said[0]


def test_one_wrong_stamp_costs_one_sample_and_silences_nobody():
    for wrong_s, reason in ((1e6, "wrong time stamp"), (-1e6, "came too late")):
        times_s = np.arange(60) * STEP_S
        times_s[30] += wrong_s
        timeline, found = ordered(times_s)
        assert timeline.dropped == {reason: 1} and len(lines(found)) == 1


def test_a_clean_signal_passes_at_once_and_untouched():
    timeline = Timeline(20.0, 0.3)
    samples = noise(len(GRID))
    for size in (1, 13):
        (piece,) = timeline.push(GRID[:size] + timeline.waiting, samples[:size])
        assert len(piece.times_s) == size and piece.samples.tobytes() == samples[:size].tobytes()
        timeline.flush()


def test_few_samples_wait_whatever_comes():
    timeline = Timeline(20.0, 0.3)
    random = np.random.default_rng(0)
    for _ in range(3000):
        timeline.push(random.uniform(0, 1e4, 1), noise(1))
        assert timeline.waiting <= 2 * (DEPTH + 1)


def test_equal_stamps_are_one_step_apart_where_there_is_room():
    times_s = np.delete(GRID, 12)
    late = times_s.copy()
    late[11] = late[10]
    _, found = ordered(late)
    assert lines(found)[0] == pytest.approx(times_s.tolist())


# ------------------------------------------------------------------ holes


def test_a_hole_is_filled_by_the_cubic_and_a_stall_is_none():
    signal = np.sin(GRID * 2)[:, None].astype(np.float32)
    gridding = Gridding(20.0)
    kept = np.delete(np.arange(40), [10, 11, 20])
    found = gridding.push(Ordered(GRID[kept], signal[kept], True)) + gridding.flush()
    assert gridding.filled == 3 and np.concatenate([each.samples for each in found]) == pytest.approx(signal, abs=1e-2)
    assert np.concatenate([each.arrived for each in found]).tolist() == [k in kept for k in range(40)]
    stalled_s = GRID.copy()
    stalled_s[10:15] = GRID[15] - 0.01 + np.arange(5) * 0.001
    gridding = Gridding(20.0)
    found = gridding.push(Ordered(stalled_s, signal, True)) + gridding.flush()
    assert gridding.filled == 0 and np.concatenate([each.samples for each in found]).tobytes() == signal.tobytes()


def test_a_piece_in_hand_is_seen_as_waiting():
    at_rest, at_work = Ledger(20, 16, 3, {"duplicate": 1}), Ledger(28, 16, 3, {"duplicate": 1})
    assert at_rest.balanced and at_rest.seen_meanwhile() == at_rest
    assert not at_work.balanced and at_work.seen_meanwhile() == at_work._replace(waiting=11)
    assert at_work.seen_meanwhile().balanced
