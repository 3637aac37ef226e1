"""Two ways from samples to logits in micro-batches: whole windows, or incremental steps."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from edgehar.backends.base import Session, StepSession
from edgehar.data.signals import Signal
from edgehar.errors import InputError, MismatchError
from edgehar.stream.personal import HeadBank
from edgehar.stream.policy import Policy
from edgehar.stream.ring import Ring, rows_of
from edgehar.stream.waiting import Waiting


class WholeWindows:
    """Full windows, `length` samples of a stream at a time and `batch` streams.

    first: samples of a grid until the first is due. skips: one may be left out. patience: so
    many hops one waits for company, where the service does not say. bank: heads of the places,
    where `session` tells features.
    """

    name = "whole windows"
    skips = True
    patience = 0

    def __init__(self, session: Session, window: int, batch: int, batches: int,
                 bank: Optional[HeadBank] = None) -> None:
        self._session, self._bank = session, bank
        self.first = self.length = window
        self.batch = min(batch, session.max_batch)
        self._most = batches * self.batch

    def begin(self, places: np.ndarray, written: np.ndarray, waiting: Waiting) -> None:
        """Windows know no phase: places (n,) and written (n,) are not looked at."""

    def leave(self, place: int) -> None:
        """Nor a place."""

    def snapshot(self) -> Dict[str, np.ndarray]:
        """Nothing is kept from one window to the next: no array (places,) either."""
        return {}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Nor put back: {} of no array (places,)."""

    def chosen(self, waiting: Waiting, streams: int, until_s: float) -> Tuple[np.ndarray, List[int]]:
        """(n,) places of full micro-batches, and of all where one is due by `until_s`; the sizes of micro-batches."""
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
                if self._bank is None:
                    values[rows] = logits[task]
                else:
                    self._bank.decide(task, rows_of(places[rows]), logits[task], values[rows])


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
        """Seat places (n,) by the numbers of their grids' first samples, written (n,).

        Who still waits keeps the old seat.
        """
        settled = (self._slots[places] >= 0) & (waiting.pending(places) > 0)
        for place, phase in zip(places[~settled].tolist(), (written[~settled] % self.first).tolist()):
            self.leave(place)
            self._sit(place, phase)

    def leave(self, place: int) -> None:
        """Give up the seat of `place`, where it has one."""
        if self._slots[place] >= 0:
            self._session.forget(self._slots[place:place + 1])
            self._seats.flat[self._slots[place]] = -1
            self._slots[place] = -1

    def snapshot(self) -> Dict[str, np.ndarray]:
        """Who is seated (n,), in which phases (n,), and the states (n, floats).

        Where they sit may be another place next time.
        """
        seated = np.flatnonzero(self._slots >= 0)
        slots = self._slots[seated]
        return {"seated": seated, "phases": self._phases[slots // self.batch], "states": self._session.snapshot(slots)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Seat everybody of `snapshot` again, seated (n,) and phases (n,), in as many lanes as there are here."""
        self._session.forget(self._slots[self._slots >= 0])
        self._seats[:], self._slots[:] = -1, -1
        for place, phase in zip(arrays["seated"].tolist(), arrays["phases"].tolist()):
            self._sit(place, phase)
        self._session.restore(self._slots[arrays["seated"]], arrays["states"])

    def chosen(self, waiting: Waiting, streams: int, until_s: float) -> Tuple[np.ndarray, List[int]]:
        """(n,) places of groups with a step of each stream, or with one due by `until_s`; the earliest group first."""
        seated = self._seats >= 0
        due_s = np.where(seated, waiting.oldest_due_s(self._seats), np.inf)
        waits, first_s = due_s < np.inf, due_s.min(axis=1)
        due = waits.any(axis=1) & ((waits == seated).all(axis=1) | (first_s <= until_s))
        groups = np.flatnonzero(due)
        groups = groups[np.argsort(first_s[groups], kind="stable")][:self._batches]
        return self._seats[groups][waits[groups]], waits[groups].sum(axis=1).tolist()

    def run(self, ring: Ring, places: np.ndarray, ends: np.ndarray, sizes: Sequence[int],
            out: Mapping[str, np.ndarray], probes: np.ndarray) -> None:
        """As with whole windows: logits of n places into out {task: (n, K)}, samples into probes (., n, C)."""
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


def way_to_logits(session: Union[Session, StepSession], signal: Signal, hop: int, places: int,
                  policy: Policy, bank: Optional[HeadBank] = None) -> Union[WholeWindows, Steps]:
    """The one that goes with the session.

    Raises MismatchError where it does not fit the signal, InputError where not the policy.
    """
    if isinstance(session, StepSession):
        if bank is not None:
            raise InputError("heads of wearers need whole windows and this session goes by steps; open its features.")
        if session.hop != hop or session.slots // session.lanes * session.lanes < places:
            raise MismatchError("the session steps %d streams by %d samples and the fleet has %d places and a hop of "
                                "%d; open it for these." % (session.slots, session.hop, places, hop))
        if policy.overflow != "drop-oldest":
            raise InputError("overflow is '%s', but no step can be left out of incremental inference; use drop-oldest, "
                             "or whole windows." % policy.overflow)
        return Steps(session, len(signal.channels), places, policy.batches)
    wanted = (len(signal.channels), signal.window)
    if session.input().shape[1:] != wanted:
        raise MismatchError("the engine reads windows of shape %s and the signal gives %s; build the engine from the "
                            "artifact that describes this signal." % (session.input().shape[1:], wanted))
    return WholeWindows(session, signal.window, policy.batch, policy.batches, bank)
