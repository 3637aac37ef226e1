"""Ring: any window of the newest samples is one slice, whatever the chunks, the wrap and the streams' numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehar.ring import Ring, rows_of
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


def test_streams_side_by_side_are_a_view():
    assert rows_of(np.array([3])) == slice(3, 4) and rows_of(np.array([2, 3, 4])) == slice(2, 5)
    for apart in ([2, 4], [2, 4, 3, 5], [3, 2], [2, 3, 3, 5]):
        assert rows_of(np.array(apart)).tolist() == apart
