"""What a service keeps on disk, to go on where it was."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional

from edgehar import sysfs
from edgehar.errors import InputError
from edgehar.files import PathLike, read_json
from edgehar.stream.stream import Snapshot

FORMAT = 1


class Moment(NamedTuple):
    """A point in time that another process can tell its distance to, even where a board's clock was set meanwhile."""

    boot: str
    up_s: float
    wall_s: float

    @classmethod
    def now(cls) -> "Moment":
        """This boot, its clock and the time of day, now."""
        return cls(sysfs.text("/proc/sys/kernel/random/boot_id").strip(), time.clock_gettime(time.CLOCK_BOOTTIME),
                   time.time())

    def passed_s(self, now: "Moment") -> float:
        """Seconds until `now`, at least 0: since the machine was started last, by a clock that nobody sets."""
        same = bool(self.boot) and self.boot == now.boot
        return max(0.0, now.up_s - self.up_s if same else now.wall_s - self.wall_s)


class ServiceState(NamedTuple):
    """What a service leaves to the next.

    decision_s: time of the last decision by the source's clock, None before the first;
    decided: the same moment by the machine's. missed, starts: in all processes so far.
    waiting: decisions that had not left. stopped: it ended in order.
    """

    signal_sha256: str
    stream: Snapshot
    decision_s: Optional[float]
    decided: Moment
    missed: int = 0
    starts: int = 1
    waiting: int = 0
    stopped: bool = False

    def to_json(self) -> Dict[str, Any]:
        """As the state file holds it."""
        return dict(self._asdict(), format=FORMAT, stream=self.stream.to_json(), decided=list(self.decided))

    @classmethod
    def load(cls, path: PathLike) -> Optional["ServiceState"]:
        """What the state file holds; None where there is none. Raises InputError where it is of no use."""
        if not Path(path).exists():
            return None
        value = read_json(path)
        try:
            if value.pop("format") != FORMAT:
                raise ValueError("it is of another edgehar")
            return cls(**dict(value, stream=Snapshot.from_json(value["stream"]), decided=Moment(*value["decided"])))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError("%s is no state of a service (%s); remove it." % (path, error)) from error

    def missed_until(self, decision_s: float, goes_on: bool, hop_s: float) -> int:
        """Decisions that fell out before one at `decision_s`; goes_on: the source's clock does since then."""
        if self.decision_s is None:
            return 0
        passed_s = decision_s - self.decision_s if goes_on else self.decided.passed_s(Moment.now())
        return max(0, int(round(passed_s / hop_s)) - 1)
