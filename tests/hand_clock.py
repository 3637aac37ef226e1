"""Time that passes only when it is told to, and a power meter that lives in it.

However busy the machine is, a recording of six minutes is made in the time its calls
take, and every sample of it stands where it should.
"""

from __future__ import annotations

import math
import random
from contextlib import closing
from threading import Condition
from typing import Callable, Dict, Iterator, Optional, Tuple

from edgehar.bench.meters.base import Meter, PowerSample

PATIENCE_S = 60.0


class HandClock:
    """Called, it tells the time; `sleep` moves it, and `moments` are met on the way, each at its own time."""

    def __init__(self) -> None:
        self._now_s = self._until_s = 1000.0
        self._changed = Condition()
        self._awaited_s: Optional[float] = math.inf  # by whoever takes the moments; None while one is dealt with

    def __call__(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Back when all moments of these seconds were dealt with."""
        with self._changed:
            self._until_s = self._now_s + seconds
            self._changed.notify_all()
            assert self._changed.wait_for(self._all_met, PATIENCE_S), "nobody takes the moments"
            self._now_s = self._until_s

    def moments(self, interval_s: float, ended: Callable[[], bool]) -> Iterator[float]:
        """Times, the first at once, then at uneven steps of this mean, until ``ended()``; for one other thread."""
        draw, due_s = random.Random(0), self._now_s
        try:
            while self._comes(due_s, ended):
                yield due_s
                due_s += interval_s * draw.uniform(0.5, 1.5)
        finally:
            self._await(math.inf)

    def wake(self) -> None:
        """Let `moments` look whether it has ended."""
        with self._changed:
            self._changed.notify_all()

    def _all_met(self) -> bool:
        return self._awaited_s is not None and self._awaited_s > self._until_s

    def _comes(self, due_s: float, ended: Callable[[], bool]) -> bool:
        with self._changed:
            self._await(due_s)
            self._changed.wait_for(lambda: due_s <= self._until_s or ended())
            self._awaited_s = None
            if not ended():
                self._now_s = due_s
            return not ended()

    def _await(self, due_s: float) -> None:
        with self._changed:
            self._awaited_s = due_s
            self._changed.notify_all()


class HandMeter(Meter):
    """Two rails: 4 W, and 6 W while `loaded`, and 1 W; about ten times a second of its `clock`."""

    scope = "a test"

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.loaded = HandClock(), False

    @property
    def rails(self) -> Tuple[str, ...]:
        return ("GPU", "SYS5V")

    def missing(self) -> None:
        return None

    def steps_w(self) -> Dict[str, float]:
        return dict.fromkeys(self.rails, 0.01)

    def samples(self) -> Iterator[PowerSample]:
        with closing(self.clock.moments(0.1, self._stop.is_set)) as moments:
            for now_s in moments:
                yield PowerSample(now_s, (6.0 if self.loaded else 4.0, 1.0))

    def close(self) -> None:
        super().close()
        self.clock.wake()

    def under_load(self, seconds: float) -> None:
        """Let so much time pass with the load on."""
        self.loaded = True
        self.clock.sleep(seconds)
        self.loaded = False
