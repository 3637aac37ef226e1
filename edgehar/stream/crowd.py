"""A crowd of wearers made of the recordings at hand, served for a while: what a machine would do with so many.

::

    one signal, in hops   |0|1|2|...                               |K-1|   (a gap restarts a wearer)
    wearer 0               ^->            all at one place apart, each goes its own way round,
    wearer 1                     ^->      and everybody's hop comes at the same instant: the worst case

In phases, samples come in smaller pieces, to everybody at the same instants, and each wearer's
hop is complete with the piece of its cohort::

    pieces            |0|1|2|0|1|2|0|1|2|
    cohort 0           [ hop ][ hop ][ hop ]
    cohort 1             [ hop ][ hop ]          the work of a hop is spread over it
    cohort 2               [ hop ][ hop ]
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple

import numpy as np

from edgehar.data.signals import Signal
from edgehar.errors import InconclusiveError, InputError
from edgehar.stream.choice import HEADROOM
from edgehar.stream.clock import Clock
from edgehar.stream.decision import Decided
from edgehar.stream.fleet import Fleet
from edgehar.stream.sources.base import Chunk


class Hops(NamedTuple):
    """A signal in pieces of one hop: samples (K, hop, C) float32; begins (K,) bool, before which a gap stands."""

    samples: np.ndarray
    begins: np.ndarray


def in_hops(chunks: Iterable[Chunk], signal: Signal, hop: int) -> Hops:
    """What a source gave, cut at its gaps; less than a hop before a gap is left out.

    Raises InconclusiveError where that leaves less than a window everywhere.
    """
    stretches: List[List[np.ndarray]] = []
    clock = Clock(signal.rate_hz, signal.max_gap_s)
    for chunk in chunks:
        if chunk.begins or clock.is_gap(chunk.time_s) or not stretches:
            stretches.append([])
            clock.start(chunk.time_s)
        clock.stamp(chunk.time_s, len(chunk.samples))
        stretches[-1].append(np.asarray(chunk.samples, np.float32))
    pieces, begins = [], []
    for stretch in (np.concatenate(each) for each in stretches):
        count = len(stretch) // hop
        pieces.append(stretch[:count * hop].reshape(count, hop, stretch.shape[1]))
        begins.append(np.arange(count) == 0)
    if max(map(len, pieces), default=0) * hop < signal.window:
        raise InconclusiveError("the source gave less than one window of %d samples without a gap; give a longer "
                                "signal." % signal.window)
    return Hops(np.concatenate(pieces), np.concatenate(begins))


@dataclass
class Rehearsal:
    """What became of a rehearsal.

    signal_s: seconds of signal served to each wearer; busy_s: seconds of work; wall_s: how
    long it took. latencies_s: of each decision, from the arrival of the piece with its last
    sample; empty where nothing was paced. late: decided after the wearer's next hop had come.
    """

    wearers: int
    signal_s: float = 0.0
    busy_s: float = 0.0
    wall_s: float = 0.0
    decisions: int = 0
    late: int = 0
    dropped: int = 0
    refused: int = 0
    interrupted: bool = False
    latencies_s: List[np.ndarray] = field(default_factory=list)

    @property
    def decisions_per_s(self) -> float:
        """Decisions a second of work."""
        return self.decisions / self.busy_s if self.busy_s else 0.0

    @property
    def load(self) -> float:
        """Seconds of work for one second of everybody's signal; above 1 the machine falls behind."""
        return self.busy_s / self.signal_s if self.signal_s else 0.0

    @property
    def sustained(self) -> int:
        """So many wearers at this load, with a fifth of the machine's time to spare."""
        return int(HEADROOM * self.wearers / self.load) if self.load else 0

    def latency_s(self, percent: float) -> float:
        """A percentile of the latency; NaN where nothing was paced."""
        return float(np.percentile(np.concatenate(self.latencies_s), percent)) if self.latencies_s else float("nan")

    def to_json(self) -> Dict[str, Any]:
        """All figures, latencies as two percentiles of them."""
        facts = {key: value for key, value in asdict(self).items() if key != "latencies_s"}
        found = {"latency_p%d_s" % percent: self.latency_s(percent) for percent in (50, 99)} if self.latencies_s else {}
        return dict(facts, decisions_per_s=self.decisions_per_s, load=self.load, sustained=self.sustained, **found)


class Crowd:
    """Wearers in a fleet that was empty, each `phases` pieces to a hop and in its cohort's phase."""

    def __init__(self, fleet: Fleet, hops: Hops, wearers: int, phases: int) -> None:
        self._fleet, self._phases, self._pieces = fleet, phases, _in_pieces(hops, phases)
        self.places = np.array([fleet.join() for _ in range(wearers)])
        self._cohorts = np.arange(wearers) % phases
        self._offsets = np.arange(wearers) * len(hops.samples) // wearers
        self.piece_s = fleet.hop / fleet.signal.rate_hz / phases

    def fill(self) -> int:
        """Serve until every window is full; the pieces it took."""
        pieces = self._phases * -(-self._fleet.signal.window // self._fleet.hop) + self._phases - 1
        for number in range(pieces):
            deque(self.serve(number), maxlen=0)
        return pieces

    def serve(self, number: int) -> Iterator[Decided]:
        """To each wearer the piece with that number; and all that is then due."""
        at = (self._offsets * self._phases + number - self._cohorts) % len(self._pieces.samples)
        begins = self._pieces.begins[at] | (self._cohorts == number)
        self._fleet.push(self.places, self._pieces.samples[at], None, begins)
        yield from self._fleet.drain()

    def came_in(self, decided: Decided) -> np.ndarray:
        """(n,) the number of the piece that brought each window's last sample."""
        return np.rint(decided.time_s * self._fleet.signal.rate_hz) // (self._fleet.hop // self._phases)


def _in_pieces(hops: Hops, phases: int) -> Hops:
    """Each hop in so many; a gap stands before the first of them. Raises InputError where they are not alike."""
    count, hop, channels = hops.samples.shape
    if not 1 <= phases <= hop or hop % phases:
        raise InputError("a hop of %d samples cannot come in %d equal pieces; choose phases that divide it: %s." % (
            hop, phases, ", ".join(str(each) for each in range(1, hop + 1) if hop % each == 0)))
    begins = np.zeros((count, phases), bool)
    begins[:, 0] = hops.begins
    return Hops(hops.samples.reshape(count * phases, hop // phases, channels), begins.reshape(-1))


def rehearse(fleet: Fleet, hops: Hops, wearers: int, duration_s: float, paced: bool = True, phases: int = 1,
             clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = time.sleep) -> Rehearsal:
    """Let `wearers` join an empty fleet, fill their windows, and serve them for so many seconds of signal.

    paced: in real time, else as fast as it goes. phases: at so many instants of a hop, the
    wearers' hops are complete. Ctrl-C ends it as the time would. Raises InputError where
    phases do not divide the hop.
    """
    found, crowd = Rehearsal(wearers), Crowd(fleet, hops, wearers, phases)
    filled, piece_s = crowd.fill(), crowd.piece_s
    started_s = clock()
    try:
        for turn in range(max(1, int(round(duration_s / piece_s)))):
            if paced:
                sleep(max(0.0, started_s + (turn + 1) * piece_s - clock()))
            began_s = clock()
            for decided in crowd.serve(filled + turn):
                found.decisions += len(decided.places)
                if paced:
                    found.latencies_s.append(clock() - started_s - (crowd.came_in(decided) - filled + 1) * piece_s)
            found.busy_s += clock() - began_s
            found.signal_s += piece_s
    except KeyboardInterrupt:
        found.interrupted = True
    found.wall_s = clock() - started_s
    found.late = sum(int((each > phases * piece_s).sum()) for each in found.latencies_s)
    found.dropped, found.refused = int(fleet.dropped[crowd.places].sum()), int(fleet.refused[crowd.places].sum())
    return found
