"""Two ways from samples to logits in micro-batches, whole windows or incremental steps, and the choice between them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import cycle
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from edgehar.backends import BACKENDS
from edgehar.backends._engine import Engine
from edgehar.backends.base import Session, StepSession
from edgehar.data.signals import Signal
from edgehar.errors import AccuracyError, InputError
from edgehar.stream.ring import Ring
from edgehar.stream.waiting import Waiting

HEADROOM = 0.8  # share of the machine's time that admitted streams may take
FULL = "full window"
LEAST, MOST = 16, 256  # streams computed together, a multiple of the least; with more, a fleet is slower again
TRIED_GROUPS = 8


class WholeWindows:
    """Full windows, `length` samples of a stream at a time and `batch` streams.

    first: samples of a grid until the first is due. skips: one may be left out. patience: so
    many hops one waits for company, where the service does not say.
    """

    name = "whole windows"
    skips = True
    patience = 0

    def __init__(self, session: Session, window: int, batch: int, batches: int) -> None:
        self._session = session
        self.first = self.length = window
        self.batch = min(batch, session.max_batch)
        self._most = batches * self.batch

    def begin(self, places: np.ndarray, written: np.ndarray, waiting: Waiting) -> None:
        """Windows know no phase."""

    def leave(self, place: int) -> None:
        """Nor a place."""

    def snapshot(self) -> Dict[str, np.ndarray]:
        """Nothing is kept from one window to the next."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Nor put back."""

    def chosen(self, waiting: Waiting, streams: int, until_s: float) -> Tuple[np.ndarray, List[int]]:
        """The places of full micro-batches, and of all where one is due by `until_s`; the sizes of micro-batches."""
        size = max(1, min(self.batch, streams))
        count = waiting.count if waiting.due_s() <= until_s else waiting.count // size * size
        places = waiting.earliest(min(count, self._most))
        return places, [min(self.batch, len(places) - first) for first in range(0, len(places), self.batch)]

    def run(self, ring: Ring, places: np.ndarray, ends: np.ndarray, sizes: Sequence[int],
            out: Mapping[str, np.ndarray], probes: np.ndarray) -> None:
        """Logits of n places into out {task: (n, K)}, some samples of what was read into probes (., n, C)."""
        first = 0
        for size in sizes:
            rows, first = slice(first, first + size), first + size
            x = self._session.input()[:size]
            ring.gather(places[rows], ends[rows], x)
            _probe(x, probes[:, rows])
            self._session.launch(size)
            logits = self._session.wait()
            for task, values in out.items():
                values[rows] = logits[task]


class Steps:
    """Steps of a hop. A place is seated in a lane among those of its phase, with whom it advances.

    The phase is where in a hop a grid begins. Where no lane is left among its like, a
    stream sits down in an empty group, else anywhere: it is then advanced together with
    whoever is due, which takes more steps and changes no logit.
    """

    name = "incremental"
    skips = False
    patience = 1

    def __init__(self, session: StepSession, channels: int, places: int, batches: int) -> None:
        self._session = session
        self.first = self.length = session.hop
        self.batch = session.lanes
        self._batches = batches
        self._chunk = np.zeros((batches * session.lanes, channels, session.hop), np.float32)
        self._seats = np.full((session.slots // session.lanes, session.lanes), -1)
        self._phases = np.zeros(len(self._seats), np.int64)
        self._slots = np.full(places, -1)

    def begin(self, places: np.ndarray, written: np.ndarray, waiting: Waiting) -> None:
        """Seat the places by the number of their grids' first samples; who still waits keeps the old seat."""
        settled = (self._slots[places] >= 0) & (waiting.pending(places) > 0)
        for place, phase in zip(places[~settled].tolist(), (written[~settled] % self.first).tolist()):
            self.leave(place)
            self._sit(place, phase)

    def leave(self, place: int) -> None:
        if self._slots[place] >= 0:
            self._session.forget(self._slots[place:place + 1])
            self._seats.flat[self._slots[place]] = -1
            self._slots[place] = -1

    def snapshot(self) -> Dict[str, np.ndarray]:
        """Who is seated, in which phase, and the states; where they sit may be another place next time."""
        seated = np.flatnonzero(self._slots >= 0)
        slots = self._slots[seated]
        return {"seated": seated, "phases": self._phases[slots // self.batch], "states": self._session.snapshot(slots)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Seat everybody anew, in as many lanes as there are here."""
        self._session.forget(self._slots[self._slots >= 0])
        self._seats[:], self._slots[:] = -1, -1
        for place, phase in zip(arrays["seated"].tolist(), arrays["phases"].tolist()):
            self._sit(place, phase)
        self._session.restore(self._slots[arrays["seated"]], arrays["states"])

    def chosen(self, waiting: Waiting, streams: int, until_s: float) -> Tuple[np.ndarray, List[int]]:
        """The places of groups with a step of each stream, or with one due by `until_s`; the earliest group first."""
        seated = self._seats >= 0
        due_s = np.where(seated, waiting.oldest_due_s(self._seats), np.inf)
        waits, first_s = due_s < np.inf, due_s.min(axis=1)
        due = waits.any(axis=1) & ((waits == seated).all(axis=1) | (first_s <= until_s))
        groups = np.flatnonzero(due)
        groups = groups[np.argsort(first_s[groups], kind="stable")][:self._batches]
        return self._seats[groups][waits[groups]], waits[groups].sum(axis=1).tolist()

    def run(self, ring: Ring, places: np.ndarray, ends: np.ndarray, sizes: Sequence[int],
            out: Mapping[str, np.ndarray], probes: np.ndarray) -> None:
        """As with whole windows."""
        chunk, slots, first = self._chunk[:len(places)], self._slots[places], 0
        ring.gather(places, ends, chunk)
        _probe(chunk, probes)
        for size in sizes:
            rows, first = slice(first, first + size), first + size
            self._session.advance(chunk[rows], slots[rows], {task: values[rows] for task, values in out.items()})

    def _sit(self, place: int, phase: int) -> None:
        taken = (self._seats >= 0).sum(axis=1)
        free = taken < self.batch
        for wanted in (free & (taken > 0) & (self._phases == phase), taken == 0, free):
            if wanted.any():
                group = int(wanted.argmax())
                break
        if not taken[group]:
            self._phases[group] = phase
        lane = int(np.argmin(self._seats[group]))
        self._seats[group, lane] = place
        self._slots[place] = group * self.batch + lane


def _probe(x: np.ndarray, probes: np.ndarray) -> None:
    """Evenly spread samples of x (n, C, L) into probes (at most L, n, C)."""
    step = x.shape[2] // len(probes)
    probes[:] = x[:, :, :len(probes) * step:step].transpose(2, 0, 1)


# ------------------------------------------------------------------ the choice between them


class Choice(NamedTuple):
    """The session that takes less time, open; seconds a window of each, {"full window": s, "incremental": s}.

    The costs are of the session alone: what a fleet does around it comes on top. reason:
    why there is no incremental inference; empty where there is.
    """

    session: Union[Session, StepSession]
    costs_s: Dict[str, float]
    reason: str

    @property
    def way(self) -> str:
        """The one that was kept."""
        return min(self.costs_s, key=self.costs_s.__getitem__)

    def limit(self, signal: Signal, hop: Optional[int] = None) -> int:
        """How many streams are `sustained` this way: the limit to give a `Fleet` on the same session."""
        return sustained(self.costs_s[self.way], signal, hop)


def choose(engine: Engine, places: int, hop: Optional[int] = None, batch: int = 64, turns: int = 15,
           cohorts: int = 1) -> Choice:
    """Measure full windows against incremental inference for `places` streams here and now; keep the faster.

    Steps are measured in full groups, and are as fast in a fleet whose service lets them
    wait for one another, as it does unless told otherwise. cohorts: in so many groups of
    like size do hops become due: 1 where samples come in whole hops, up to the hop where
    each wearer sends sample by sample in a phase of its own; more than one may differ in
    size by a group. How many streams are best computed together depends on the network and
    the caches, so up to three widths are tried. Raises what `Backend.open` raises, and
    InputError for less than one cohort.
    """
    if cohorts < 1:
        raise InputError("cohorts is %d; it must be 1 or more." % cohorts)
    hop = engine.manifest.signal.hop if hop is None else hop
    backend, like = BACKENDS.create(engine.backend), -(-places // cohorts)
    costs_s, reason = _tried(engine, hop, batch, like, cohorts, turns)
    best = min(costs_s, key=costs_s.__getitem__)
    session = (backend.open(engine, batch) if best == FULL else
               backend.open_steps(engine, hop, best * _groups(like, best, cohorts), best))
    steps_s = [cost_s for way, cost_s in costs_s.items() if way != FULL]
    return Choice(session, {FULL: costs_s[FULL], **({"incremental": min(steps_s)} if steps_s else {})}, reason)


def _tried(engine: Engine, hop: int, batch: int, like: int, cohorts: int, turns: int) -> Tuple[Dict[Any, float], str]:
    """Seconds a window by way, the full window or so many lanes; why there are no lanes. Nothing of it stays open."""
    backend, reason = BACKENDS.create(engine.backend), ""
    with ExitStack() as trials:
        ways: Dict[Any, Turn] = {FULL: _window_turn(trials.enter_context(backend.open(engine, batch)), like)}
        for lanes in widths(like):
            slots = lanes * min(cohorts * -(-like // lanes), TRIED_GROUPS)
            try:
                steps = trials.enter_context(backend.open_steps(engine, hop, slots, lanes))
            except (InputError, AccuracyError) as refused:
                reason = str(refused)
            else:
                ways[lanes] = _step_turn(steps, engine, like)
        return _costs_s(ways, turns), reason if len(ways) == 1 else ""


def _groups(like: int, lanes: int, cohorts: int) -> int:
    """One more a cohort where there are several: by chance one is larger than another."""
    fewest = -(-like // lanes)
    return fewest if cohorts == 1 else cohorts * (fewest + 1)


def widths(places: int) -> Sequence[int]:
    """Numbers of lanes worth trying for streams that advance together.

    In as few groups as may be, or in two or four times so many, each as full as may be.
    """
    fewest = -(-places // MOST)
    return sorted({LEAST * -(-places // (fewest * times * LEAST)) for times in (1, 2, 4)})


def sustained(cost_s: float, signal: Signal, hop: Optional[int] = None) -> int:
    """How many streams may be admitted at `cost_s` seconds a window, with a fifth of the machine's time to spare.

    Where the cost is of a session alone, that fifth is also for what a fleet does around it.
    """
    return int(HEADROOM * (signal.hop if hop is None else hop) / signal.rate_hz / cost_s)


Turn = Tuple[Callable[[], Any], float]


def _window_turn(session: Session, places: int) -> Turn:
    count = min(session.max_batch, places)
    session.input()[:] = 0

    def turn() -> None:
        session.launch(count)
        session.wait()

    return turn, count


def _step_turn(session: StepSession, engine: Engine, places: int) -> Turn:
    """One group after the other, as far as there are, so that states come from where they would come.

    Lanes that would stay empty in the last group are paid by all streams.
    """
    count = min(session.lanes, places)
    chunk = np.zeros((count, len(engine.manifest.signal.channels), session.hop), np.float32)
    out = {task: np.zeros((count, len(names)), np.float32) for task, names in engine.manifest.tasks.items()}
    groups = cycle([np.arange(first, first + count) for first in range(0, session.slots, session.lanes)])
    return lambda: session.advance(chunk, next(groups), out), places / -(-places // session.lanes)


def _costs_s(ways: Mapping[Any, Turn], turns: int) -> Dict[Any, float]:
    """Median seconds a window of each, turn by turn."""
    taken: Dict[Any, List[float]] = {name: [] for name in ways}
    for _ in range(turns + 3):
        for name, (turn, count) in ways.items():
            started_s = time.perf_counter()
            turn()
            taken[name].append((time.perf_counter() - started_s) / count)
    return {name: float(np.median(values[3:])) for name, values in taken.items()}
