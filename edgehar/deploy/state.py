"""What a service keeps on disk, to go on where it was; read with the suspicion that any file from outside deserves."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar import sysfs
from edgehar.deploy.descriptors import Reserve
from edgehar.errors import InputError
from edgehar.files import OUT_OF_DESCRIPTORS, PathLike, alone_with, read_json, sweep_half_written, write_json
from edgehar.stream.ledger import NOTHING, Ledger
from edgehar.stream.sources.base import LATEST_S
from edgehar.stream.stream import Snapshot

FORMAT = 1
MOST = 1 << 53  # of anything counted
MOST_SINKS = 1000


class Moment(NamedTuple):
    """A point in time that another process can tell its distance to, even where a board's clock was set meanwhile."""

    boot: str
    up_s: float
    wall_s: float

    @classmethod
    def now(cls) -> "Moment":
        """This boot, its clock and the time of day, now."""
        return cls(_boot(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())

    def passed_s(self, now: "Moment") -> float:
        """Seconds until `now`, at least 0: since the machine was started last, by a clock that nobody sets."""
        same = bool(self.boot) and self.boot == now.boot
        return max(0.0, now.up_s - self.up_s if same else now.wall_s - self.wall_s)


@lru_cache(maxsize=1)
def _boot() -> str:
    """Read once, and so also told when descriptors have run out."""
    return sysfs.text("/proc/sys/kernel/random/boot_id").strip()


class ServiceState(NamedTuple):
    """What a service leaves to the next.

    decision_s: time of the last decision by the source's clock, None before the first;
    decided: the same moment by the machine's. missed, starts: in all processes so far.
    sinks: {name: (decisions that had not left, decisions given up)}. stopped: it ended in order.
    samples: what became of those that arrived in all processes so far.
    """

    signal_sha256: str
    stream: Snapshot
    decision_s: Optional[float]
    decided: Moment
    missed: int = 0
    starts: int = 1
    stopped: bool = False
    sinks: Mapping[str, Tuple[int, int]] = {}
    samples: Ledger = NOTHING

    def to_json(self) -> Dict[str, Any]:
        """As the state file holds it."""
        return dict(self._asdict(), format=FORMAT, stream=self.stream.to_json(), decided=list(self.decided),
                    sinks={name: list(counts) for name, counts in self.sinks.items()}, samples=self.samples.to_json())

    @classmethod
    def load(cls, path: PathLike) -> Optional["ServiceState"]:
        """What the state file holds; None where there is none.

        Raises InputError where it is of no use, UnopenedError where nothing can be said of it.
        """
        if not os.path.isfile(str(path)):
            return None
        value = read_json(path)
        try:
            if not isinstance(value, dict):
                raise ValueError("it holds no table")
            if str(value.pop("format")) != str(FORMAT):
                raise ValueError("it is of another edgehar")
            kept = cls(**dict(value, stream=Snapshot.from_json(value["stream"]), decided=Moment(*value["decided"]),
                              sinks={name: (waiting, dropped) for name, (waiting, dropped) in value["sinks"].items()},
                              samples=Ledger(**value["samples"]) if "samples" in value else NOTHING))
            kept.require_sound()
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError("%s is no state of a service (%s); remove it." % (path, error)) from error
        return kept

    def require_sound(self) -> None:
        """Raise ValueError for what no service writes: another type, a number beyond all measure."""
        count, *times_s = self.stream.clock
        counts = [self.missed, self.starts, count, *(votes for _, _, votes in self.stream.labels.values()),
                  *(each for counts in self.sinks.values() for each in counts), self.stream.pending,
                  *self.stream.skipped, *self.samples[:3], *self.samples.dropped.values(),
                  *self.samples.unread_messages.values()]
        times_s += [self.decided.up_s, self.decided.wall_s] + ([] if self.decision_s is None else [self.decision_s])
        beliefs = [share for belief in self.stream.beliefs.values() for share in belief]
        if not all(0 <= each <= 1 for each in beliefs):
            raise ValueError("its beliefs are none")
        if not all(0 <= each < len(self.stream.samples) for each in self.stream.lacking):
            raise ValueError("its samples that did not come are none")
        texts = [self.signal_sha256, self.decided.boot]
        if not all(type(each) is int and 0 <= each < MOST for each in counts) or len(self.sinks) > MOST_SINKS:
            raise ValueError("its counts are none")
        if not all(type(each) in (int, float) and math.fabs(each) <= LATEST_S for each in times_s):
            raise ValueError("its times are none")
        if not all(isinstance(each, str) for each in texts) or not isinstance(self.stopped, bool):
            raise ValueError("its texts are none")
        if not np.isfinite(self.stream.samples).all():
            raise ValueError("its samples are none")

    def missed_until(self, decision_s: float, goes_on: bool, hop_s: float) -> int:
        """Decisions that fell out before one at `decision_s`; goes_on: the source's clock does since then."""
        if self.decision_s is None:
            return 0
        passed_s = decision_s - self.decision_s if goes_on else self.decided.passed_s(Moment.now())
        return max(0, int(round(passed_s / hop_s)) - 1)


class StateFile:
    """The file in which one service at a time keeps what it leaves; path None: it keeps nothing.

    It is also written when descriptors have run out, from a reserve.
    """

    def __init__(self, path: Optional[PathLike]) -> None:
        self._path = path
        self._reserve = Reserve() if path is not None else Reserve(0)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold it against other services, where its folder can be written at all, and clear what killed ones left.

        Raises InputError where another service holds it.
        """
        with ExitStack() as held:
            if self._path is not None:
                refusal = "another service keeps its state in %s; give each a --state of its own." % self._path
                file = Path(os.path.realpath(str(self._path)))
                try:
                    held.enter_context(alone_with(file.with_name(".%s.lock" % file.name), refusal))
                except InputError as error:
                    if str(error) == refusal:
                        raise
                sweep_half_written(file)
            yield

    def load(self) -> Optional[ServiceState]:
        """As `ServiceState.load`."""
        return None if self._path is None else ServiceState.load(self._path)

    def save(self, kept: ServiceState) -> None:
        """Raises InputError where it cannot be written."""
        if self._path is None:
            return
        value = kept.to_json()
        try:
            write_json(self._path, value, indent=None, durable=False)
        except InputError as error:
            if getattr(error.__cause__, "errno", None) not in OUT_OF_DESCRIPTORS:
                raise
            with self._reserve.spent():
                write_json(self._path, value, indent=None, durable=False)

    def close(self) -> None:
        """Let go of the reserve."""
        self._reserve.close()
