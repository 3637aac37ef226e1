"""Messages of many wearers that wait to be read: bounded for each, and taken in turn, so that nobody floods the others.

::

    network thread -put-> anna  |||||||||||||| full: the new one is not taken     -take-> one of each, in turn
                          bert  ||
                          carla |
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import Any, Callable, Counter as Counts, Deque, Dict, List, NamedTuple

from edgehar.errors import InputError

TOO_LARGE, TOO_MANY, TOO_FAST, TOO_MANY_NAMES = "too large", "too many at once", "too fast", "too many wearers"
WAITING_BYTES = 64 << 20  # of all that wait
ROUND = 512  # letters of one turn, so that decisions are not held up by those that came together
NAMES = 50_000  # of wearers; whoever else is heard is counted and not remembered


class Who(NamedTuple):
    """A wearer and, where topics name it, the place on the body where one of the wearer's sensors is."""

    wearer: str
    placement: str = ""

    @property
    def name(self) -> str:
        """``anna``, or ``anna at wrist``."""
        return "%s at %s" % self if self.placement else self.wearer


class Letter(NamedTuple):
    """A message as it came. arrived_s: on `time.monotonic`. receipt: what its source needs to acknowledge it."""

    who: Who
    payload: bytes
    arrived_s: float
    receipt: Any = None


class LetterLimits(NamedTuple):
    """Of one wearer: letters that wait, bytes of a letter, and letters a second beyond a burst of as many as may wait.
    """

    depth: int = 1000
    letter_bytes: int = 1 << 20
    per_s: float = 100.0

    def require_sensible(self) -> None:
        """Raise InputError for a limit that nothing can keep to."""
        if not isinstance(self.depth, int) or self.depth < 1 or self.letter_bytes < 1 or not float(self.per_s) > 0:
            raise InputError("depth is %s, most_bytes %s and most_per_s %s; all must be above 0, and depth a whole "
                             "number." % self)


class Mailbox:
    """Letters of many, of whom each may have `limits.depth` waiting. Any thread puts; one takes.

    unread: {who: {reason: letters}} that were not taken in. ended: no more will come.
    """

    def __init__(self, limits: LetterLimits = LetterLimits(), clock: Callable[[], float] = time.monotonic) -> None:
        limits.require_sensible()
        self.limits, self._clock = limits, clock
        self.unread: Dict[Who, Counts[str]] = {}
        self._waiting: Dict[Who, Deque[Letter]] = {}  # only of those who have one; the first is next
        self._allowance: Dict[Who, List[float]] = {}  # letters that may still come at once, and when that was so
        self._bytes = self._count = 0
        self.ended = False
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Letters that wait."""
        return self._count

    def put(self, letter: Letter) -> str:
        """Let it wait for its turn; else why it is not taken in, which is counted."""
        with self._changed:
            reason = self._refusal(letter)
            if reason:
                who = letter.who if letter.who in self.unread or len(self.unread) < NAMES else Who("")
                self.unread.setdefault(who, Counter())[reason] += 1
                return reason
            self._waiting.setdefault(letter.who, deque()).append(letter)
            self._bytes += len(letter.payload)
            self._count += 1
            self._changed.notify()
            return ""

    def take(self, within_s: float) -> List[Letter]:
        """The oldest letter of each who has one, at most 512; empty where none comes within so many seconds."""
        with self._changed:
            if not self._count and not self.ended:
                self._changed.wait(within_s)
            taken = []
            for who in list(self._waiting)[:ROUND]:
                mine = self._waiting.pop(who)
                taken.append(mine.popleft())
                if mine:
                    self._waiting[who] = mine  # behind all others
            self._count -= len(taken)
            self._bytes -= sum(len(letter.payload) for letter in taken)
            return taken

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def _refusal(self, letter: Letter) -> str:
        mine = self._waiting.get(letter.who)
        if len(letter.payload) > self.limits.letter_bytes:
            return TOO_LARGE
        if not self._allowed(letter.who):
            return TOO_FAST if letter.who in self._allowance else TOO_MANY_NAMES
        if mine and (len(mine) >= self.limits.depth or self._bytes + len(letter.payload) > WAITING_BYTES):
            return TOO_MANY
        return ""

    def _allowed(self, who: Who) -> bool:
        """Whether one more letter of `who` keeps to the rate."""
        now_s = self._clock()
        allowance = self._allowance.get(who)
        if allowance is None:
            if len(self._allowance) >= NAMES:
                return False
            self._allowance[who] = [self.limits.depth - 1.0, now_s]
            return True
        left = min(float(self.limits.depth), allowance[0] + (now_s - allowance[1]) * self.limits.per_s)
        allowance[:] = [left - (left >= 1), now_s]
        return left >= 1
