"""The sinks of a service, each with a queue and a thread of its own: what one does not take costs the others nothing.

::

    Service -put-> queue, up to `depth` -> in hand -> Sink.write -> what the sink itself has waiting
                   overflow: the oldest is given up, and counted
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Deque, List, Optional, Sequence

from edgehar.errors import InputError
from edgehar.stream.decision import Decision
from edgehar.stream.sinks.base import NotTaken, Sink

DEPTH = 1000  # decisions
PATIENCE_S = 0.5  # for a reader that takes nothing, before it is looked whether to end
RETRY_S = 1.0  # after a disk was full
STUCK_S = 5.0  # in hand, before it is said that the sink takes nothing
END_S = 5.0  # for what waits to leave at the end


class Outlet:
    """Hands decisions to `sink`, in order, for as long as it takes them.

    dropped: what was given up here and in the sink, and before by an earlier service. problem:
    why decisions wait. gone: the sink's reader went and cannot come back; what comes is given up.
    """

    def __init__(self, name: str, sink: Sink, dropped: int = 0, depth: int = DEPTH) -> None:
        self.name, self._sink, self._depth = name, sink, depth
        self._queue: Deque[Decision] = deque()
        self._hand: Optional[Decision] = None
        self._hand_s = 0.0
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._problem = ""
        self._dropped = dropped
        self.gone = False
        sink.patience_s = PATIENCE_S
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Decisions that wait here, and those that wait in the sink."""
        return len(self._queue) + (self._hand is not None) + self._sink.waiting

    @property
    def dropped(self) -> int:
        """Decisions that were given up here, and those that the sink gave up."""
        return self._dropped + self._sink.dropped

    @property
    def problem(self) -> str:
        """Why decisions wait, here or in the sink; empty where all is well."""
        stuck = "it has taken nothing for over %g s" % STUCK_S if self._stuck else ""
        return self._problem or self._sink.problem or stuck

    @property
    def _stuck(self) -> bool:
        return self._hand is not None and time.monotonic() - self._hand_s > STUCK_S

    def note_lost(self, count: int) -> None:
        """An earlier service's decisions that never arrived."""
        self._dropped += count

    def put(self, decision: Decision) -> None:
        """Let a decision wait for its turn; returns at once."""
        with self._changed:
            if self.gone or self._ending.is_set():
                self._dropped += 1
                return
            if len(self._queue) >= self._depth:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(decision)
            self._changed.notify_all()

    def settle(self, until_s: float) -> bool:
        """Wait until the sink has been handed all; not longer than until `until_s`, and not at all while it is late."""
        with self._changed:
            self._changed.wait_for(lambda: self._problem or self._stuck or not self._unhanded,
                                   max(0.0, until_s - time.monotonic()))
            return not self._unhanded

    def end(self) -> None:
        """Stop handing over; what waits here is given up. The sink stays the caller's to close."""
        self._ending.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(2 * PATIENCE_S)  # longer only where a sink has no patience of its own
        with self._changed:
            self._dropped += self._unhanded
            self._queue.clear()
            self._hand = None

    @property
    def _unhanded(self) -> int:
        return len(self._queue) + (self._hand is not None)

    def _work(self) -> None:
        while self._next() is not None:
            while not self._ending.is_set() and self._hand is not None:
                if not self._try(self._hand):
                    self._ending.wait(RETRY_S)

    def _next(self) -> Optional[Decision]:
        """The one to be handed over now; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ending.is_set())
            if self._ending.is_set():
                return None
            self._hand, self._hand_s = self._queue.popleft(), time.monotonic()
            return self._hand

    def _try(self, decision: Decision) -> bool:
        """Hand it over, or keep it in hand and say why; a decision that is a fault to the sink is given up.

        Returns whether to continue at once: not where a disk is full.
        """
        problem, lost, at_once = "", 0, True
        try:
            self._sink.write(decision)
        except InputError as error:
            problem, at_once = str(error), isinstance(error, NotTaken)
        except BrokenPipeError:
            self.gone, problem = True, "the reader of standard output has gone"
        except Exception as error:  # of a plug-in: the others go on
            problem, lost = "it cannot take a decision (%s: %s)" % (type(error).__name__, error), 1
        with self._changed:
            self._problem = problem
            if self.gone:
                lost = self._unhanded
                self._queue.clear()
            if (lost or not problem) and self._hand is decision:
                self._hand = None
                self._dropped += lost
            self._changed.notify_all()
        return at_once


def end_all(outlets: Sequence[Outlet], within_s: float = END_S) -> None:
    """Let what waits leave, where its sink has no problem, and stop them all."""
    until_s = time.monotonic() + within_s
    late: List[Outlet] = list(outlets)
    while late and time.monotonic() < until_s:
        late = [outlet for outlet in late if outlet.waiting and not outlet.problem]
        if late:
            time.sleep(0.005)
    for outlet in outlets:
        outlet.end()
