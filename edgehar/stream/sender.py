"""What the messages of one sender hold, in order and each sample once."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import Any, Callable, Counter as Counts, Deque, Dict, List, Mapping

import numpy as np

from edgehar.data.timeline import DUPLICATE, LATE
from edgehar.stream.sources.base import Chunk

BEFORE_S = 300.0  # so far back a message comes too late; farther, its sender's clock was set back
RECENT = 1024  # messages that are known by their times when they come again, however far back
RESENT = 32  # messages in a row that a broker may send again of those that an earlier process took
ROWS = 4096  # of a chunk; a longer message is handed over in parts
TAIL = 1024  # samples by which those that stand in two messages are known
KEPT = 64  # of the recent messages, and four times as many samples, that the next process knows


class Sender:
    """Makes chunks of messages, each of which says when its first sample was taken, at `rate_hz` and of C channels.

    A message that is earlier than the last one is too late; where the next one goes on from
    it, the clock was set back, or the last one's time was wrong, and both are believed.
    Samples that stand in two messages, at the same times, are handed on once.

    lost: {reason: samples} that came before, or too late. refuse: is given a sentence for a message that is too late,
    tell: for a clock that is believed to have been set.
    """

    def __init__(self, rate_hz: float, channels: int, refuse: Callable[[str], Any], tell: Callable[[str], Any]) -> None:
        self._rate_hz, self._refuse, self._tell = rate_hz, refuse, tell
        self.lost: Counts[str] = Counter()
        self._taken_s = self._resumed_s = -math.inf
        self._recent_s: Deque[float] = deque(maxlen=RECENT)
        self._late_s, self._late = math.nan, 0  # where a message would go on from the one too late, and how many were
        self._tail = np.zeros((0, channels), dtype=np.float32)

    def resume(self, after_s: float) -> None:
        """Leave out what comes again of the samples up to `after_s`, which an earlier process took."""
        self._taken_s = self._resumed_s = after_s

    def take(self, samples: np.ndarray, time_s: float, begins: bool, arrived_s: float) -> List[Chunk]:
        """The chunks of a message of samples (n, C) from `time_s` on, each at most `ROWS`; none where it is refused."""
        if not len(samples):
            return []
        again = 0 if begins else self._known(samples, time_s)
        if again:
            self.lost[DUPLICATE] += again
            samples, time_s = samples[again:], time_s + again / self._rate_hz
        reason = "" if begins else self._refusal(time_s, self._last_s(time_s, len(samples)))
        if reason:
            self.lost[reason] += len(samples)
            return []
        believed, self._late = self._late > 0, 0
        chunk = Chunk(samples, time_s, begins=begins or believed, arrived_s=arrived_s)
        parts = self._parts(chunk)
        self._note_taken(chunk)
        return parts

    def snapshot(self) -> Dict[str, Any]:
        """What the next process must know, {name: JSON or (n, C) samples}."""
        return {"taken_s": self._taken_s, "recent_s": list(self._recent_s)[-KEPT:], "late": [self._late, self._late_s],
                "tail": self._tail[-4 * KEPT:], "lost": dict(self.lost)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `snapshot` gave, samples (n, C). Raises LookupError, TypeError or ValueError for else."""
        self._taken_s = float(kept["taken_s"])
        self._recent_s.extend(float(each) for each in kept["recent_s"])
        self._late, self._late_s = int(kept["late"][0]), float(kept["late"][1])
        self._tail = kept["tail"]
        self.lost = Counter({str(reason): int(count) for reason, count in kept["lost"].items()})

    def _known(self, samples: np.ndarray, time_s: float) -> int:
        """How many of the first samples (n, C) are, by their times and values, the last that were handed over.

        All but one at most: a message that brings nothing new is told by its time alone.
        """
        if not abs(self._taken_s - time_s) * self._rate_hz < len(self._tail):
            return 0
        count = int(round((self._taken_s - time_s) * self._rate_hz)) + 1
        if not 0 < count < len(samples) or not np.array_equal(self._tail[-count:], samples[:count]):
            return 0
        return count

    def _parts(self, chunk: Chunk) -> List[Chunk]:
        """In chunks of at most `ROWS`, without the samples that an earlier process took of it."""
        first = 0
        if not chunk.begins and chunk.time_s <= self._resumed_s < self._last_s(chunk.time_s, len(chunk.samples)):
            first = int((self._resumed_s - chunk.time_s) * self._rate_hz + 0.5) + 1
            self.lost[DUPLICATE] += first
        return [chunk._replace(samples=chunk.samples[start:start + ROWS], begins=chunk.begins and not start,
                               time_s=chunk.time_s + start / self._rate_hz)
                for start in range(first, len(chunk.samples), ROWS)]

    def _note_taken(self, chunk: Chunk) -> None:
        last_s = self._last_s(chunk.time_s, len(chunk.samples))
        if chunk.begins or last_s < self._taken_s:  # times of the old clock say nothing of the new one's
            self._recent_s.clear()
            self._resumed_s = -math.inf
        self._recent_s.append(last_s)
        self._taken_s = last_s
        self._tail = np.concatenate([self._tail, chunk.samples])[-TAIL:]

    def _last_s(self, time_s: float, count: int) -> float:
        return time_s + (count - 1) / self._rate_hz

    def _refusal(self, time_s: float, last_s: float) -> str:
        """Why a message with samples from `time_s` to `last_s` is not taken; empty where it is."""
        if last_s in self._recent_s:
            return DUPLICATE
        if not self._taken_s - BEFORE_S <= last_s < self._taken_s + 0.5 / self._rate_hz:
            self._late = 0
            return ""
        again = last_s <= self._resumed_s
        if self._late >= (RESENT if again else 1) and abs(time_s - self._late_s) <= 0.5 / self._rate_hz:
            self._tell("the times of messages went back to %.3f s; either the clock was set, or one of them was wrong."
                       % time_s)
            return ""
        goes_on = abs(time_s - self._late_s) <= 0.5 / self._rate_hz
        self._late, self._late_s = self._late + 1 if goes_on else 1, last_s + 1 / self._rate_hz
        if not again:
            self._refuse("a message of %.3f s came after later ones; are its senders two?" % last_s)
        return DUPLICATE if again else LATE
