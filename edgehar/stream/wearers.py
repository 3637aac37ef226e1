"""One of the wearers of a site: what came, what was decided, and what was lost."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Callable, Counter as Counts, Dict, Iterator, Mapping, NamedTuple, Optional

import numpy as np

from edgehar.data.signals import Signal
from edgehar.stream.decision import Decision
from edgehar.stream.feed import Feed
from edgehar.stream.filling import Filled, filled
from edgehar.stream.mailbox import Who
from edgehar.stream.sender import Sender
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.tally import GAP, Fate

NOBODY = -1  # has no place
UNDECIDED = Fate(0, 0, 0, {})
OK, WAITING, SILENT, AWAY, TURNED_AWAY = "ok", "waiting", "silent", "away", "turned away"


class WearerView(NamedTuple):
    """A wearer as seen from another thread, at one moment.

    here: has a place in the fleet. status: "ok"; "waiting", nothing was decided yet; "silent", nothing came for a
    while; "away", left after a long silence; "turned away", there is no place. heard_age_s, decided_age_s: since the
    last message and decision, infinite before the first. due: windows that an unbroken signal would have given; it
    is decisions + waiting + all of lost, {reason: windows}. gaps: that were too long to be filled; filled: samples in
    those that were not. samples, messages: {reason: number} that came and were not used. problem: what was wrong last.
    """

    wearer: str
    placement: str
    here: bool
    status: str
    heard_age_s: float
    decision: Optional[Decision]
    decided_age_s: float
    decisions: int
    due: int
    waiting: int
    lost: Dict[str, int]
    gaps: int
    filled: int
    samples: Dict[str, int]
    messages: Dict[str, int]
    problem: str

    def to_json(self) -> Dict[str, Any]:
        """All of it; a time that never was is null."""
        ages = {name: None if math.isinf(age_s) else round(age_s, 3)
                for name, age_s in (("heard_age_s", self.heard_age_s), ("decided_age_s", self.decided_age_s))}
        return dict(self._asdict(), decision=self.decision and self.decision.to_json(), **ages)


class Wearer:
    """Turns the messages of one wearer into chunks on a model's grid, and remembers what became of them.

    source: whose channels and rate the messages have. missing: as for `filled`. tell: is given sentences.
    place: in the fleet, or `NOBODY`. counts: of its windows, while it has no place. cause: why the next gap will be.
    """

    def __init__(self, who: Who, source: Source, signal: Signal, missing: str, tell: Callable[[str], Any]) -> None:
        self.who, self.place, self.cause = who, NOBODY, GAP
        self._say = tell
        self._sender = Sender(source.rate_hz, len(source.channels), self.complain, self._tell)
        self._filler = filled(source, signal.channels, missing)
        self.feed = Feed(self._filler, signal, tell=self._tell)
        self.counts: Optional[Dict[str, np.ndarray]] = None
        self.gaps_before = 0
        self.heard_s = self.decided_s = -math.inf
        self.end_s = math.nan  # when the next sample would be taken, by the sender's clock
        self.decision: Optional[Decision] = None
        self.messages: Counts[str] = Counter()
        self.samples: Counts[str] = Counter()
        self.unread = 0  # of the mailbox's count, as it was seen last
        self.turned_away = False
        self.problem = ""

    def chunks(self, samples: np.ndarray, time_s: float, begins: bool, arrived_s: float) -> Iterator[Chunk]:
        """What follows from a message of samples (n, C) from `time_s` on."""
        for chunk in self._sender.take(samples, time_s, begins, arrived_s):
            mended = self._filler.mended(chunk) if isinstance(self._filler, Filled) else chunk
            for each in self.feed.push(mended):
                if len(each.samples):
                    yield each

    def complain(self, sentence: str) -> None:
        """What is wrong with a message."""
        self.problem = sentence

    def dropped_samples(self) -> Dict[str, int]:
        """{reason: samples} that came and were not used."""
        parts = (self.samples, self._sender.lost, self.feed.dropped)
        return dict(sum((Counter(dict(each)) for each in parts), Counter()))  # copies, for they grow meanwhile

    def snapshot(self) -> Dict[str, Any]:
        """What the next process must know, {name: anything that `saved.in_json` takes}."""
        return {"who": list(self.who), "place": self.place, "cause": self.cause, "counts": self.counts,
                "gaps_before": self.gaps_before, "end_s": self.end_s, "messages": dict(self.messages),
                "samples": dict(self.samples), "sender": self._sender.snapshot(), "feed": self.feed.snapshot()}

    def restore(self, kept: Mapping[str, Any], now_s: float) -> None:
        """Go on from what `snapshot` gave; heard last when this process began."""
        self.place, self.cause, self.counts = kept["place"], kept["cause"], kept["counts"]
        self.gaps_before, self.end_s, self.heard_s = kept["gaps_before"], kept["end_s"], now_s
        self.messages, self.samples = Counter(kept["messages"]), Counter(kept["samples"])
        self._sender.restore(kept["sender"])
        self.feed.restore(kept["feed"])

    def _tell(self, sentence: str) -> None:
        self.problem = sentence
        self._say("%s: %s" % (self.who.name, sentence))
