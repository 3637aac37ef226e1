"""A crowd of wearers made of the recordings at hand, served for a while: what a machine would do with so many.

::

    one signal, in hops   |0|1|2|...                               |K-1|   (a gap restarts a wearer)
    wearer 0               ^->            all at one place apart, each goes its own way round,
    wearer 1                     ^->      and everybody's hop comes at the same instant: the worst case
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple

import numpy as np

from edgehar.errors import InconclusiveError
from edgehar.fleet import Decided, Fleet
from edgehar.microbatches import HEADROOM
from edgehar.sources.base import Chunk


class Hops(NamedTuple):
    """A signal in pieces of one hop: samples (K, hop, C) float32; begins (K,) bool, before which a gap stands."""

    samples: np.ndarray
    begins: np.ndarray


def in_hops(chunks: Iterable[Chunk], hop: int, window: int) -> Hops:
    """What a source gave, cut at its gaps; less than a hop before a gap is left out.

    Raises InconclusiveError where that is less than a window.
    """
    stretches: List[List[np.ndarray]] = []
    for chunk in chunks:
        if chunk.begins or not stretches:
            stretches.append([])
        stretches[-1].append(np.asarray(chunk.samples, np.float32))
    pieces, begins = [], []
    for stretch in (np.concatenate(each) for each in stretches):
        count = len(stretch) // hop
        pieces.append(stretch[:count * hop].reshape(count, hop, stretch.shape[1]))
        begins.append(np.arange(count) == 0)
    if not pieces or sum(map(len, pieces)) * hop < window:
        raise InconclusiveError("the source gave less than one window of %d samples; give a longer signal." % window)
    return Hops(np.concatenate(pieces), np.concatenate(begins))


@dataclass
class Outcome:
    """What became of a rehearsal.

    signal_s: seconds of signal served to each wearer; busy_s: seconds of work; wall_s: how
    long it took. latencies_s: of each decision, from the arrival of the hop with its last
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
        facts = {key: value for key, value in asdict(self).items() if key != "latencies_s"}
        found = {"latency_p%d_s" % percent: self.latency_s(percent) for percent in (50, 99)} if self.latencies_s else {}
        return dict(facts, decisions_per_s=self.decisions_per_s, load=self.load, sustained=self.sustained, **found)


def rehearse(fleet: Fleet, hops: Hops, wearers: int, duration_s: float, paced: bool = True,
             clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = time.sleep) -> Outcome:
    """Let `wearers` join an empty fleet, fill their windows, and serve them for so many seconds of signal.

    paced: in real time, else as fast as it goes. Ctrl-C ends it as the time would.
    """
    found = Outcome(wearers)
    places = np.array([fleet.join() for _ in range(wearers)])
    offsets = np.arange(wearers) * len(hops.samples) // wearers
    hop_s, filled = fleet.hop / fleet.signal.rate_hz, -(-fleet.signal.window // fleet.hop)
    for turn in range(filled):
        deque(_serve(fleet, places, hops, offsets + turn), maxlen=0)
    started_s = clock()
    try:
        for turn in range(max(1, int(round(duration_s / hop_s)))):
            if paced:
                sleep(max(0.0, started_s + (turn + 1) * hop_s - clock()))
            began_s = clock()
            for decided in _serve(fleet, places, hops, offsets + filled + turn):
                found.decisions += len(decided.places)
                if paced:
                    came_in = np.rint(decided.time_s * fleet.signal.rate_hz) // fleet.hop - filled  # the turn
                    found.latencies_s.append(clock() - started_s - (came_in + 1) * hop_s)
            found.busy_s += clock() - began_s
            found.signal_s += hop_s
    except KeyboardInterrupt:
        found.interrupted = True
    found.wall_s = clock() - started_s
    found.late = sum(int((each > hop_s).sum()) for each in found.latencies_s)
    found.dropped, found.refused = int(fleet.dropped[places].sum()), int(fleet.refused[places].sum())
    return found


def _serve(fleet: Fleet, places: np.ndarray, hops: Hops, at: np.ndarray) -> Iterator[Decided]:
    """One hop of each, `at` so many hops of the way round; and all that is then due."""
    at = at % len(hops.samples)
    fleet.push(places, hops.samples[at], None, hops.begins[at])
    yield from fleet.drain()
