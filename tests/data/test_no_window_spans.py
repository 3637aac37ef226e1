"""From raw samples with clocks to windows: none holds two people, sessions, placements or sides of a gap."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Tuple

import numpy as np
from hypothesis import given, settings, strategies as st

from edgehar.data.channels import Channel
from edgehar.data.parts import partition
from edgehar.data.resampling import resample
from edgehar.data.signals import Recording
from edgehar.data.splits import PARTS, Split

RATE_HZ, MAX_GAP_S, WINDOW, HOP = 20.0, 0.2, 16, 8
CHANNELS = (Channel("owner", "", "1", "wrist"), Channel("clock", "", "s", "wrist"))


class Worn(NamedTuple):
    """One session of one person at one place: stretches of so many raw samples, with so long a gap after each."""

    subject: int
    session: int
    placement: int
    stretches: List[Tuple[int, float]]


stretches = st.lists(st.tuples(st.integers(1, 80), st.floats(0.21, 5.0)), min_size=1, max_size=4)
worn = st.builds(Worn, st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), stretches)


def recordings(everything: List[Worn], seed: int) -> Iterator[Recording]:
    """What a loader does: every stretch becomes a Recording. Each sample tells whose it is, and when it was taken."""
    draw = np.random.default_rng(seed)
    for number, one in enumerate(everything):
        steps_s, owner = [], []
        for part, (count, gap_s) in enumerate(one.stretches):
            steps_s += [*draw.uniform(0.03, 0.07, count - 1), gap_s]
            owner += [100 * number + part] * count
        times_s = 3.0 + np.cumsum([0.0, *steps_s[:-1]])
        values = np.column_stack([owner, times_s]).astype(np.float32)
        for stretch in resample(times_s, values, RATE_HZ, RATE_HZ, MAX_GAP_S):
            labels = np.zeros(len(stretch.samples), np.int16)
            yield Recording(stretch.samples, {"activity": labels}, {"activity": ("any",)}, RATE_HZ, CHANNELS,
                            str(one.subject), "s%d" % one.session, stretch.start_s, str(one.placement))


@settings(deadline=None, max_examples=60)
@given(everything=st.lists(worn, min_size=1, max_size=5), seed=st.integers(0, 5))
def test_no_window_spans_two_of_anything(everything: List[Worn], seed: int) -> None:
    whole = [Worn(person, 1, 1, [(200, 1.0)]) for person in (1, 2, 3)]  # so that no part is empty
    everything = whole + everything
    parts = partition(recordings(everything, seed), Split("any", "fixed", ("1",), ("2",), ("3",)), WINDOW, HOP)
    for part, name in zip(parts.labelled, PARTS):
        owner, clock = part.x[:, 0], part.x[:, 1]
        assert (owner == owner[:, :1]).all() and (owner == owner.round()).all()
        assert np.abs(np.diff(clock, axis=1) - 1 / RATE_HZ).max() < 0.01  # a gap is 0.21 s or longer
        for person, session, mine in zip(part.subjects, part.sessions, owner[:, 0]):
            source = everything[int(mine) // 100]
            assert (person, session) == (str(source.subject), "s%d" % source.session)
            assert person in getattr(Split("any", "fixed", ("1",), ("2",), ("3",)), name)
