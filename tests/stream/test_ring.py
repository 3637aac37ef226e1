"""Ring: any window of the newest samples is one slice, whatever the chunks, the wrap and the streams' numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.stream.ring import Ring, rows_of
from tests.linear import noise

WINDOW = 7


@settings(max_examples=60, deadline=None)
@given(size=st.integers(WINDOW, 20), lengths=st.lists(st.integers(1, 7), min_size=1, max_size=20),
       apart=st.integers(0, 5))
def test_a_window_is_what_was_pushed(size, lengths, apart):
    """Two streams, the second with numbers that run `apart` ahead."""
    ring, pushed = Ring(3, 3, WINDOW, size), [np.zeros((0, 3)), np.zeros((0, 3))]
    for turn, length in enumerate(lengths):
        for stream, ahead in enumerate((0, apart)):
            chunk = noise(length, 10 * turn + stream)
            ring.push(slice(stream, stream + 1), len(pushed[stream]) + ahead, chunk[None])
            pushed[stream] = np.concatenate([pushed[stream], chunk])
    if len(pushed[0]) < WINDOW:
        return
    out = np.empty((2, 3, WINDOW), np.float32)
    ring.gather(np.array([0, 1]), np.array([len(pushed[0]), len(pushed[1]) + apart]), out)
    assert all((out[stream] == pushed[stream][-WINDOW:].T).all() for stream in (0, 1))


def test_the_newest_samples_alone_are_gathered_too():
    ring, samples = Ring(2, 3, WINDOW, 12), np.stack([noise(9), noise(9, 1)])
    ring.push(slice(0, 2), 0, samples)
    out = np.empty((2, 3, 4), np.float32)
    ring.gather(np.array([0, 1]), np.array([9, 8]), out)
    assert (out[0] == samples[0, 5:9].T).all() and (out[1] == samples[1, 4:8].T).all()


class Counting(np.ndarray):
    """Counts how often something is written into it or read out of it."""

    touched = 0

    def __setitem__(self, key, value):
        Counting.touched += 1
        super().__setitem__(key, value)

    def __getitem__(self, key):
        Counting.touched += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("length", [1, 5, WINDOW, 12])
def test_streams_that_stand_apart_cost_no_more_calls_and_hold_the_same(length, monkeypatch):
    """64 at different numbers, against the same samples pushed and gathered one stream after the other."""
    ring, alone, streams = Ring(64, 3, WINDOW, 19), Ring(64, 3, WINDOW, 19), np.arange(64)
    for part in ("_samples", "_windows"):
        monkeypatch.setattr(ring, part, getattr(ring, part).view(Counting))
    numbers = 7 * streams % 40
    for turn in range(9):
        samples, Counting.touched = np.stack([noise(length, 100 * turn + stream) for stream in streams]), 0
        ring.scatter(streams, numbers, samples)
        assert Counting.touched == 2
        for stream in streams:
            alone.push(slice(stream, stream + 1), int(numbers[stream]), samples[stream:stream + 1])
        numbers = numbers + length
    found, wanted = (np.zeros((64, 3, min(length, WINDOW)), np.float32) for _ in range(2))
    Counting.touched = 0
    ring.gather(streams, numbers, found)
    assert Counting.touched == 1
    for stream in streams:
        alone.gather(streams[stream:stream + 1], numbers[stream:stream + 1], wanted[stream:stream + 1])
    assert (found == wanted).all() and (ring.snapshot()["samples"] == alone.snapshot()["samples"]).all()


def test_streams_that_come_to_one_position_are_pushed_at_once(monkeypatch):
    pushed = []
    monkeypatch.setattr(Ring, "push", lambda self, rows, number, samples: pushed.append((rows, number)))
    Ring(4, 3, WINDOW, 12).scatter(np.array([1, 2]), np.array([3, 15]), np.zeros((2, 1, 3)))
    assert pushed == [(slice(1, 3), 3)]


def test_streams_side_by_side_are_a_view():
    assert rows_of(np.array([3])) == slice(3, 4) and rows_of(np.array([2, 3, 4])) == slice(2, 5)
    for apart in ([2, 4], [2, 4, 3, 5], [3, 2], [2, 3, 3, 5]):
        assert rows_of(np.array(apart)).tolist() == apart
