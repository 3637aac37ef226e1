"""Sources of messages that a thread of their own takes in: of one wearer, or with many=true of all whom they name.

::

    {"wearer": "anna", "seq": 17, "time_s": 12.5, "samples": [[0.12, -0.30, 9.79], [0.15, -0.28, 9.81]]}

wearer: where there are many. seq: where the sender counts its messages; those that lack are counted.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from abc import abstractmethod
from collections import Counter
from typing import Any, Counter as Counts, Dict, Iterator, Mapping, NamedTuple, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.errors import InputError
from edgehar.files import parse_json
from edgehar.stream.mailbox import TOO_MANY, Letter, LetterLimits, Mailbox, Who
from edgehar.stream.mqtt import MOST_DEPTH
from edgehar.stream.sender import Sender
from edgehar.stream.sources._messages import DAMAGED, Form
from edgehar.stream.sources.base import Chunk, Source

POLL_S = 0.2
ON_THE_WAY = "lost on the way"
RESTARTED = 1 << 20  # a number so far behind the last one is of a sender that began anew


class LetterHead(NamedTuple):
    """Whose a message is, and its number; -1 where its sender counts none."""

    who: Who
    number: int = -1


class MessageSource(Source):
    """Messages in the form that is given; `_run` takes them in and calls `_deliver` for each, then `_end`."""

    stamped = True

    def __init__(self, form: Form, many: bool, depth: int, idle_s: float, most_bytes: int, most_per_s: float) -> None:
        if not isinstance(depth, int) or not 1 <= depth <= MOST_DEPTH or not 0 <= float(idle_s) < math.inf:
            raise InputError("depth is %s and idle_s %s; depth must be 1 to %d messages, and idle_s 0 s or more." % (
                depth, idle_s, MOST_DEPTH))
        self._form, self._idle_s = form, float(idle_s)
        self._arrived: "queue.Queue[Tuple[bytes, float]]" = queue.Queue(depth)
        self._sender = Sender(form.rate_hz, len(form.channels), self._complain, lambda sentence: self.tell(sentence))
        self._unread: Counts[str] = Counter()
        self._numbers: Dict[Who, int] = {}
        self._problem = ""
        self._ended = threading.Event()
        if many:
            self.mailbox = Mailbox(LetterLimits(depth, most_bytes, most_per_s))
        self._thread = threading.Thread(target=self._guarded, name=type(self).__name__.lower(), daemon=True)

    @property
    def lost(self) -> Mapping[str, int]:
        """Samples that came and were not handed over, by reason."""
        return self._sender.lost

    @property
    def unread(self) -> Mapping[str, int]:
        """Messages that were not read, by reason; and of those that are numbered, those that never came."""
        return self._unread

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """As they were stated, else those of the model's signal."""
        return self._form.channels

    @property
    def rate_hz(self) -> float:
        """As it was stated, else that of the model's signal."""
        return self._form.rate_hz

    @property
    def waiting(self) -> int:
        """Messages that have come and are not yet handed over."""
        return self.mailbox.waiting if self.mailbox else self._arrived.qsize()

    @property
    def problem(self) -> str:
        """Why none come, or what was wrong with the last."""
        return self._problem

    def resume(self, after_s: float) -> None:
        """Leave out messages up to `after_s`, which an earlier process took."""
        self._sender.resume(after_s)

    def samples(self) -> Iterator[Chunk]:
        """Yield the chunks of each message, until none came for `idle_s`, or the source has ended."""
        quiet_s = time.monotonic()
        while not self._idle_s or time.monotonic() - quiet_s < self._idle_s:
            try:
                payload, arrived_s = self._arrived.get(timeout=min(POLL_S, self._idle_s or POLL_S))
            except queue.Empty:
                if self._ended.is_set() and self._arrived.empty():
                    return
                continue
            yield from self._chunks(payload, arrived_s)
            quiet_s = time.monotonic()

    def read(self, payload: bytes) -> Tuple[np.ndarray, float, bool]:
        """Samples (n, C), time of the first, and whether a gap stands before."""
        return self._form.read(payload)

    @abstractmethod
    def _run(self) -> None:
        """Take messages in until the source ends or is closed."""

    def _head(self, payload: bytes) -> LetterHead:
        """Raises InputError where it cannot be told whose the message is."""
        value: Any = parse_json(payload)
        who = Who(str(value["wearer"])) if self.mailbox is not None else Who("")
        return LetterHead(who, int(value.get("seq", -1)))

    def _deliver(self, payload: bytes, patience_s: float = 0.0) -> None:
        """Let a message wait for its turn, after up to `patience_s` where there is no room yet; else count it."""
        try:
            head = self._head(payload)
        except (ArithmeticError, AttributeError, InputError, LookupError, TypeError, ValueError):
            head = LetterHead(Who(""))
        self._count_lacking(head)
        if self.mailbox is None:
            try:
                self._arrived.put((payload, time.monotonic()), timeout=patience_s or None, block=bool(patience_s))
            except queue.Full:
                self._leave(TOO_MANY, "%d messages wait and no more are taken; is the machine too slow?" % self.waiting)
        elif not head.who.wearer:
            self._leave(DAMAGED, 'a message names no "wearer"')
        else:
            self.mailbox.put(Letter(head.who, payload, time.monotonic()))

    def _end(self, problem: str = "") -> None:
        """No more will come."""
        self._problem = problem or self._problem
        self._ended.set()
        if self.mailbox is not None:
            self.mailbox.end()

    def _guarded(self) -> None:
        try:
            self._run()
        except (OSError, InputError) as error:
            self._end("it cannot be read on (%s)" % error)
            return
        self._end()

    def _count_lacking(self, head: LetterHead) -> None:
        last = self._numbers.get(head.who)
        if head.number < 0 or (last is None and len(self._numbers) >= MOST_DEPTH):
            return
        lacking = 0 if last is None or head.number < last - RESTARTED else head.number - last - 1
        if lacking > 0 and self.mailbox is not None:
            self.mailbox.unread.setdefault(head.who, Counter())[ON_THE_WAY] += lacking
        elif lacking > 0:
            self._unread[ON_THE_WAY] += lacking
        self._numbers[head.who] = head.number if lacking >= 0 else max(head.number, last or 0)

    def _chunks(self, payload: bytes, arrived_s: float) -> Iterator[Chunk]:
        try:
            samples, time_s, begins = self._form.read(payload)
        except InputError as error:
            self._leave(DAMAGED, "a message %s" % error)
            return
        yield from self._sender.take(samples, time_s, begins, arrived_s)

    def _leave(self, reason: str, why: str) -> None:
        self._unread[reason] += 1
        self._complain(why)

    def _complain(self, why: str) -> None:
        self.dropped += 1
        self._problem = why
