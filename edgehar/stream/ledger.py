"""What became of the samples that arrived: each is counted once."""

from __future__ import annotations

from collections import Counter
from typing import Any, Counter as Counts, Dict, Iterable, Mapping, NamedTuple

from edgehar.stream.feed import Feed
from edgehar.stream.sources.base import Source
from edgehar.stream.stream import Stream

RESTART = "lost at a restart"


class Ledger(NamedTuple):
    """arrived = decided + waiting + all of dropped.

    arrived: samples that a source delivered. decided: those in a window that was decided.
    waiting: those that no window is full with yet, or that others must come before.
    dropped: {reason: samples}. unread_messages: {reason: messages} that came beside them and were not read; their
    samples are not among those that arrived, for nobody knows how many they are.
    """

    arrived: int
    decided: int
    waiting: int
    dropped: Mapping[str, int]
    unread_messages: Mapping[str, int] = {}

    @property
    def balanced(self) -> bool:
        """Whether every sample that arrived is decided, waiting or dropped."""
        return self.arrived == self.decided + self.waiting + sum(self.dropped.values())

    def seen_meanwhile(self) -> "Ledger":
        """The same, looked at by another thread while a piece is decided on: those samples wait too."""
        return self._replace(waiting=max(self.waiting, self.arrived - self.decided - sum(self.dropped.values())))

    def kept(self, pending: int) -> "Ledger":
        """What the next process counts on from; `pending` of those that waited are in its stream, the others lost."""
        known = self.decided + pending + sum(self.dropped.values())
        lost = {RESTART: self.arrived - known} if self.arrived > known else {}
        return Ledger(max(self.arrived, known), self.decided, 0, _sum([self.dropped, lost]), self.unread_messages)

    def to_json(self) -> Dict[str, Any]:
        """{field: value}, reasons sorted."""
        return {"arrived": self.arrived, "decided": self.decided, "waiting": self.waiting,
                "dropped": dict(sorted(self.dropped.items())),
                "unread_messages": dict(sorted(self.unread_messages.items()))}


NOTHING = Ledger(0, 0, 0, {})


def ledger(source: Source, feed: Feed, stream: Stream, earlier: Ledger = NOTHING) -> Ledger:
    """The samples of `source`, which went through `feed` into `stream`, and those that an earlier process counted."""
    decided, waiting = earlier.decided + stream.decided, feed.waiting + stream.pending
    dropped = _sum([earlier.dropped, source.lost, feed.dropped, stream.dropped])
    arrived = earlier.arrived + feed.arrived + sum(source.lost.values())  # read last
    return Ledger(arrived, decided, waiting, dropped, _sum([earlier.unread_messages, source.unread]))


def _sum(each: Iterable[Mapping[str, int]]) -> Dict[str, int]:
    total: Counts[str] = Counter()
    for counts in each:
        total.update(counts)
    return {reason: count for reason, count in total.items() if count}
