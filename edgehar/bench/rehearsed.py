"""A site rehearsed: what it makes of a load, as fast as it goes or in real time, and how many wearers it bears."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

import numpy as np

from edgehar.bench.load import Load, LoadSource, SimulatedClock, letter_of
from edgehar.stream.site import Said, Site

TURN_S = 0.02  # of simulated time between two turns
LOOK_S = 1.0


@dataclass
class SiteRehearsal:
    """What became of a load.

    windows_due: as the load counts them; what the site says of them: decided, waiting, lost {reason: windows}.
    latencies_s: from the arrival of a window's last sample until it was decided. late: over a hop.
    """

    wearers: int
    messages: int = 0
    messages_lost: int = 0
    windows_due: int = 0
    decided: int = 0
    waiting: int = 0
    lost: Dict[str, int] = field(default_factory=dict)
    late: int = 0
    signal_s: float = 0.0
    busy_s: float = 0.0
    wall_s: float = 0.0
    simulated: bool = False
    interrupted: bool = False
    latencies_s: List[float] = field(default_factory=list)

    @property
    def unaccounted(self) -> int:
        """Windows that were due and of which the site says nothing; below 0 where it tells of some that were not."""
        return self.windows_due - self.decided - self.waiting - sum(self.lost.values())

    def latency_s(self, percent: float) -> float:
        """A percentile; NaN where nothing was decided."""
        return float(np.percentile(self.latencies_s, percent)) if self.latencies_s else float("nan")

    def to_json(self) -> Dict[str, Any]:
        """All figures, latencies as percentiles."""
        facts = {key: value for key, value in asdict(self).items() if key != "latencies_s"}
        found = {"latency_p%d_s" % percent: self.latency_s(percent) for percent in (50, 99)} if self.latencies_s else {}
        return dict(facts, unaccounted=self.unaccounted, **found)


def rehearse_simulated(site: Site, source: LoadSource, load: Load, clock: SimulatedClock,
                       on_progress: Optional[Callable[[float], None]] = None) -> SiteRehearsal:
    """Let the load come as fast as it goes, on a clock that stands still while the site works.

    Latencies are then what messages wait for one another, without what computing takes.
    """
    found, turn, looked_s = SiteRehearsal(load.spec.wearers, simulated=True), _Turn(site), 0.0
    started_s, began_s = time.monotonic(), 0.0
    try:
        for stretch in load.messages():
            for sent in stretch:
                if sent.at_s - began_s >= TURN_S:
                    clock.time_s, began_s = began_s + TURN_S, sent.at_s
                    turn.take(source, found)
                    if clock.time_s - looked_s >= LOOK_S:
                        looked_s = clock.time_s
                        turn.note(site.look(), found)
                _put(source, letter_of(sent, sent.at_s))
            if on_progress is not None:
                on_progress(clock.time_s)
        clock.time_s = began_s + TURN_S
        turn.take(source, found)
    except KeyboardInterrupt:
        found.interrupted = True
    return _finished(found, site, load, turn, started_s)


def rehearse_in_time(site: Site, source: LoadSource, load: Load, unpaced_s: float,
                     clock: Callable[[], float] = time.monotonic,
                     sleep: Callable[[float], Any] = time.sleep) -> SiteRehearsal:
    """Let the load come in real time; its first `unpaced_s` as fast as it goes, to fill the windows, and not measured.
    """
    found, turn = SiteRehearsal(load.spec.wearers), _Turn(site)
    started_s, origin_s, measured = clock(), None, False  # type: float, Optional[float], bool
    try:
        for stretch in load.messages():
            for number, sent in enumerate(stretch):
                if sent.at_s >= unpaced_s and origin_s is None:
                    turn.take(source, found)
                    origin_s, measured = clock() - sent.at_s, True
                    found.latencies_s, found.busy_s, found.late = [], 0.0, 0
                due_s = clock() if origin_s is None else origin_s + sent.at_s
                if measured and due_s > clock():
                    turn.take(source, found)
                    sleep(max(0.0, due_s - clock()))
                _put(source, letter_of(sent, due_s))
                if not measured and number % 256 == 255:
                    turn.take(source, found)
        turn.take(source, found)
    except KeyboardInterrupt:
        found.interrupted = True
    return _finished(found, site, load, turn, started_s)


def _put(source: LoadSource, letter: Any) -> None:
    assert source.mailbox is not None
    source.mailbox.put(letter)


class _Turn:
    """Reads what waits, and notes what is decided."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def take(self, source: LoadSource, found: SiteRehearsal) -> None:
        began_s = time.monotonic()
        assert source.mailbox is not None
        while source.mailbox.waiting:
            self.note(self._site.take(source.mailbox.take(0.0)), found)
        self.note(self._site.decide(), found)
        found.busy_s += time.monotonic() - began_s

    def note(self, said: Iterable[Said], found: SiteRehearsal) -> None:
        for decision, latency_s in said:
            fleet = (self._site.wards.get(decision.placement) or self._site.wards[""]).fleet
            found.latencies_s.append(latency_s)
            found.late += latency_s > fleet.hop / fleet.signal.rate_hz


def _finished(found: SiteRehearsal, site: Site, load: Load, turn: _Turn, started_s: float) -> SiteRehearsal:
    site.flush()
    turn.note(site.decide(flush=True), found)
    fleet = site.wards[""].fleet
    found.wall_s = time.monotonic() - started_s
    found.messages, found.messages_lost = load.sent, load.lost
    found.windows_due = int(load.due(fleet.signal.window, fleet.hop).sum())
    found.signal_s = load.spec.seconds
    fates = [site.fate(wearer) for wearer in site.wearers.values()]
    found.decided, found.waiting = sum(each.decided for each in fates), sum(each.waiting for each in fates)
    found.lost = site.lost()
    return found


def most_wearers(passes: Callable[[int], bool], start: int, most: int) -> Tuple[int, List[Tuple[int, bool]]]:
    """The largest number of wearers that passes, to a tenth, and what was tried; 0 where not even `start` does.

    It is doubled while it passes, and then halved in between.
    """
    tried: List[Tuple[int, bool]] = []

    def tries(count: int) -> bool:
        tried.append((count, passes(count)))
        return tried[-1][1]

    low, high = 0, start
    while high <= most and tries(high):
        low, high = high, 2 * high
    while low and high - low > max(1, low // 10):
        middle = (low + high) // 2
        low, high = (middle, high) if tries(middle) else (low, middle)
    return low, tried
