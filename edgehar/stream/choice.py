"""Whole windows or incremental steps, and how many together: chosen by measurement."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from itertools import cycle
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine, Session, StepSession
from edgehar.data.signals import Signal
from edgehar.errors import AccuracyError, InputError

LOG = logging.getLogger(__name__)
HEADROOM = 0.8  # share of the machine's time that admitted streams may take
FULL = "full window"
LEAST, MOST = 16, 256  # streams computed together, a multiple of the least; with more, a fleet is slower again
TRIED_GROUPS = 8


class SessionChoice(NamedTuple):
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


def choose_session(engine: Engine, places: int, hop: Optional[int] = None, batch: int = 64, turns: int = 15,
                   cohorts: int = 1) -> SessionChoice:
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
    LOG.info("%s: seconds a window %s; kept: %s%s", engine.manifest.name, costs_s, best, reason and "; " + reason)
    steps_s = [cost_s for way, cost_s in costs_s.items() if way != FULL]
    return SessionChoice(session, {FULL: costs_s[FULL], **({"incremental": min(steps_s)} if steps_s else {})}, reason)


def with_heads(choice: SessionChoice, engine: Engine, places: int, batch: int = 64, turns: int = 15) -> SessionChoice:
    """Instead of `choice`, which is closed, the features of whole windows, for heads of wearers; measured anew.

    Raises InputError where backend or network tell none.
    """
    choice.session.close()
    session = BACKENDS.create(engine.backend).open_features(engine, batch)
    costs_s = _costs_s({FULL: _window_turn(session, places)}, turns)
    return SessionChoice(session, costs_s, "heads of wearers are fed by whole windows")


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
