"""A site's wearers, kept served for months: watched, reloaded and killed without losing a sample that came.

::

    source's thread   letters -> mailbox
    main thread       mailbox -> journal -> site -> decisions -> outlets -> receipts; at times: a state for the saver
    saver             the state to disk, then journals from before it go
    outlets           one thread a sink; what a sink does not take waits in its queue and holds nobody up
    keeper            feeds the watchdog, looks whether a reload is asked for; another thread loads the new engines
    listener          hears of signals

A killed gateway goes on from its state and what was journalled since. Decisions that had left by then are not sent
again; one that was just leaving may come twice.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Callable, Deque, Dict, Iterable, List, Mapping, Optional, Sequence, Set

from edgehar.backends import BACKENDS
from edgehar.deploy.health import Health
from edgehar.deploy.heeding import Heeding
from edgehar.deploy.journal import Journal, Left
from edgehar.deploy.notify import Manager
from edgehar.deploy.outlets import Outlet, end_all
from edgehar.deploy.wards import OpenWard, WardSpec
from edgehar.errors import EdgeharError, InputError, MismatchError
from edgehar.files import PathLike, alone_with, sha256_of_json
from edgehar.stream.decision import Decision
from edgehar.stream.mailbox import Letter, Who
from edgehar.stream.saved import FleetMemory
from edgehar.stream.sinks.base import Sink
from edgehar.stream.site import Said, Site
from edgehar.stream.sources.base import Source

LOG = logging.getLogger(__name__)
LOOK_S = 0.1  # the longest wait for letters
TURNS_S = 1.0  # between two looks who has fallen silent
SAVE_S = 5.0  # between two states
DEPTH = 100_000  # decisions that wait for a sink
SAID_EVERY_S = 5.0

Tell = Callable[[str], Any]


class Gateway(Heeding):
    """Serves the wearers of `source` until it is told to stop.

    specs, wards: {placement: what is to run, and that, open}; `close` closes it, or whatever took its place. sinks and
    source stay the caller's to close. state: its file, beside which journals are; none where None. site: who is there
    and what became of them. tell: is given sentences for a log.
    """

    def __init__(self, specs: Mapping[str, WardSpec], wards: Mapping[str, OpenWard], source: Source,
                 sinks: Sequence[Sink], health: Health, manager: Manager, state: Optional[PathLike] = None,
                 missing: str = "refuse", leave_s: float = 60.0, tell: Tell = print,
                 tell_of_wearers: Tell = lambda sentence: None, clock: Callable[[], float] = time.monotonic) -> None:
        self._specs, self._wards, self._source = dict(specs), dict(wards), source
        self.outlets = [Outlet("sink %d (%s)" % (number, type(sink).__name__.lower()), sink, depth=DEPTH)
                        for number, sink in enumerate(sinks, 1)]
        self.health, self._manager, self._tell, self._clock = health, manager, tell, clock
        self.site = Site({placement: ward.fleet for placement, ward in wards.items()}, source, missing, leave_s,
                         tell_of_wearers, clock)
        self._state = None if state is None else Path(state)
        self._journal = Journal(state) if state is not None else None
        self._leaving: Deque[Left] = deque()  # decisions that were handed to the outlets, the oldest first
        self._had_left: Set[Left] = set()  # before this process
        self._waits = threading.Event()  # a state is being written
        self._closed = threading.Event()
        self._new: Dict[str, OpenWard] = {}  # engines that are to take over
        self._swapping = threading.Lock()
        self._left_steps: Set[str] = set()
        self._problems: Dict[str, str] = {}
        self._fed = 0
        self.recovered_s = math.nan  # what it took to go on from a killed gateway's state
        self._describe()

    # -------------------------------------------------------------- main thread

    def run(self) -> None:
        """Serve until `stop`. Raises InputError where another gateway has the state."""
        with ExitStack() as held:
            if self._state is not None:
                held.enter_context(alone_with(self._state.with_name(".%s.lock" % self._state.name),
                                              "another service keeps its state in %s; give each a --state of its own."
                                              % self._state))
            self._take_up()
            self._serve()

    def stop(self) -> None:
        """End in order, after the turn in hand."""
        self._stopping = True

    def close(self) -> None:
        """Release the engines; those that are being loaded meanwhile will not take their place."""
        for outlet in self.outlets:
            outlet.end()
        with self._swapping:
            self._closed.set()
            for ward in [*self._wards.values(), *self._new.values()]:
                ward.session.close()
        if self._journal is not None:
            self._journal.close()

    def _serve(self) -> None:
        keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        looked_s = saved_s = self._clock()
        try:
            self._manager.ready()
            keeper.start()
            while not self._stopping and not self._ended:
                self._turn()
                now_s = self._clock()
                if now_s - looked_s >= TURNS_S:
                    looked_s = now_s
                    self._emit(self.site.look())
                    self._leave_steps()
                if now_s - saved_s >= SAVE_S and not self._waits.is_set():
                    saved_s = now_s
                    self._save_soon()
                if self._new:
                    self._swap()
        finally:
            self.health.stopping = True
            self._manager.stopping()
            if self._ended and not self._stopping:
                self.site.flush()
            self._emit(self.site.decide(flush=True))
            end_all(self.outlets)
            self._closed.set()
            if keeper.ident:
                keeper.join()
            self._save_last()

    @property
    def _ended(self) -> bool:
        """Whether the source has come to its end, and all of it was taken."""
        mailbox = self._source.mailbox
        return mailbox is not None and mailbox.ended and not mailbox.waiting

    def _turn(self) -> None:
        """The letters that have come, one of each wearer, and all that is due."""
        assert self._source.mailbox is not None
        self.health.moved(waiting=not self.site.seated)
        letters = self._source.mailbox.take(max(0.0, min(LOOK_S, self.site.due_s - self._clock())))
        self.health.moved(waiting=not self.site.seated)
        self._note(letters)
        self._emit(self.site.take(letters))
        self._emit(self.site.decide())
        for letter in letters:
            self._source.acknowledge(letter)

    def _emit(self, said: Iterable[Said]) -> None:
        for decision, latency_s in said:
            left = Left(Who(decision.wearer, decision.placement), decision.time_s)
            if left in self._had_left:
                continue
            for outlet in self.outlets:
                outlet.put(decision)
            if self._journal is not None:
                self._leaving.append(left)
            self._count(decision, latency_s)
        if self.outlets and all(outlet.gone for outlet in self.outlets):
            raise BrokenPipeError("the readers of all sinks have gone")

    def _count(self, decision: Decision, latency_s: float) -> None:
        fleet = self._wards.get(decision.placement, self._wards.get("")) or next(iter(self._wards.values()))
        known_s = 0.0 if math.isnan(latency_s) else latency_s
        self.health.decided({}, known_s, late=known_s > fleet.fleet.hop / fleet.fleet.signal.rate_hz)

    # -------------------------------------------------------------- state

    def _note(self, letters: Sequence[Letter]) -> None:
        """Journal what came, before it has a receipt, and what has left meanwhile."""
        if self._journal is None:
            return
        waiting = max((outlet.waiting for outlet in self.outlets), default=0)
        left = [self._leaving.popleft() for _ in range(len(self._leaving) - waiting)]
        try:
            self._journal.write(letters, left)
            self._note_problem("state", "")
        except InputError as error:
            self._note_problem("state", str(error))

    def _save_soon(self) -> None:
        """Hand what is remembered now to the saver; what comes from now on is in the next journal."""
        if self._journal is None:
            return
        self._note([])
        try:
            self._journal.begin(self._journal.number + 1)
        except InputError as error:
            self._note_problem("state", str(error))
            return
        self._waits.set()
        threading.Thread(target=self._write, args=(self._remembered(),), name="saver", daemon=True).start()

    def _remembered(self) -> FleetMemory:
        assert self._journal is not None
        memory = self.site.memory(self._network())
        memory.facts.update(journal=self._journal.number, starts=self.health.starts)
        return memory

    def _write(self, memory: FleetMemory) -> None:
        try:
            assert self._state is not None and self._journal is not None
            memory.write(self._state)
            self._journal.forget_before(memory.facts["journal"])
            self._note_problem("state", "")
        except InputError as error:
            self._note_problem("state", str(error))
        finally:
            self._waits.clear()

    def _save_last(self) -> None:
        if self._journal is None:
            return
        while self._waits.is_set():
            time.sleep(0.01)
        self._note([])
        with suppress(InputError):
            self._journal.begin(self._journal.number + 1)
        self._write(self._remembered())

    def _take_up(self) -> None:
        """Go on where an earlier gateway stood, as far as its state and journals are of use."""
        if self._journal is None or self._state is None:
            return
        started_s, first = self._clock(), self._journal.last() + 1
        try:
            usable = self._recalled()
        except (InputError, MismatchError) as error:
            self._tell("begins anew: %s" % error)
            usable = False
        if usable:
            self.recovered_s = self._clock() - started_s
            self._tell("start %d: goes on with %d wearers, of whose windows %d were decided before, after %.2f s." % (
                self.health.starts, self.site.seated, self.site.decisions, self.recovered_s))
        self._journal.begin(first)
        self._write(self._remembered())

    def _recalled(self) -> bool:
        """Whether there was a state; its journals are read too, and what had left is not sent again."""
        assert self._journal is not None and self._state is not None
        if not self._state.is_file():
            return False
        memory = FleetMemory.read(self._state)
        if memory.facts.get("network") != self._network():
            raise MismatchError("%s is of another model; what it remembers is of no use." % self._state)
        self.site.recall(memory, str(self._state))
        self.health.starts = int(memory.facts.get("starts", 0)) + 1
        records = list(self._journal.read(int(memory.facts.get("journal", 0))))
        self._had_left = {record for record in records if isinstance(record, Left)}
        for record in records:
            if isinstance(record, Letter):
                self._emit(self.site.take([record]))
        self._emit(self.site.decide(flush=True))
        self._had_left = set()
        self.site.note_restart()
        return True

    def _network(self) -> str:
        """What a state must be of to be gone on with: the same signals and classes, whatever the weights."""
        return sha256_of_json({placement: [ward.fleet.signal.to_json(), {task: list(names) for task, names in
                                                                        ward.fleet.tasks.items()}]
                               for placement, ward in sorted(self._wards.items())})

    # -------------------------------------------------------------- keeper and reload

    def reload(self) -> None:
        """Verify what stands at each path now and go on through it; else tell why not and go on as before."""
        self._manager.reloading()
        for placement in self._specs:
            self._load(placement)
        self._manager.ready()

    def _load(self, placement: str) -> None:
        try:
            new = self._specs[placement].open(measured=False)
        except Exception as error:  # whatever a foreign engine does, the old one goes on
            LOG.debug("the new engine is refused", exc_info=True)
            self.health.refused_reloads += 1
            self._tell("the new engine%s is refused and the old one goes on: %s" % (
                _of(placement), error or type(error).__name__))
            return
        with self._swapping:
            if self._closed.is_set():
                new.session.close()
            else:
                self._new[placement] = new

    def _leave_steps(self) -> None:
        """Where incremental steps fall behind, go on in whole windows: there all lose alike, and nobody is starved."""
        for placement, ward in self._wards.items():
            if ward.fleet.in_steps and ward.fleet.dropped.any() and placement not in self._left_steps:
                self._left_steps.add(placement)
                self._tell("incremental steps%s fall behind; it goes on in whole windows, in which all wearers lose "
                           "alike." % _of(placement))
                threading.Thread(target=self._load, args=(placement,), name="whole windows", daemon=True).start()

    def _swap(self) -> None:
        """Between two turns: decide what waits by the old engines, and go on with the same samples by the new."""
        self._emit(self.site.decide(flush=True))
        with self._swapping:
            taken, self._new = self._new, {}
        for placement, new in taken.items():
            try:
                self.site.replace(placement, new.fleet)
            except EdgeharError as error:
                new.session.close()
                self.health.refused_reloads += 1
                self._tell("the new engine%s is refused and the old one goes on: %s" % (_of(placement), error))
                continue
            self._wards[placement].session.close()
            self._wards[placement] = new
            self.health.reloads += 1
            self._tell("reloaded: %s goes on where the old engine stood." % new.engine.folder)
        self._describe()

    def _keep(self) -> None:
        period_s = self._manager.watchdog_s / 3 or SAID_EVERY_S
        due_s = self._clock()
        reloading = threading.Thread()
        while not self._closed.wait(min(LOOK_S, period_s)):
            try:
                if self._reload_asked and not reloading.is_alive():
                    self._reload_asked = False
                    reloading = threading.Thread(target=self.reload, name="reload", daemon=True)
                    reloading.start()
                if self._clock() >= due_s:
                    due_s = self._clock() + period_s
                    self._feed()
            except Exception as error:  # whatever is short, it may be there again at the next turn
                with suppress(Exception):
                    self._tell("the keeper goes on: %s" % (error or type(error).__name__))

    def _feed(self) -> None:
        health, decisions = self.health, self.health.decisions
        if decisions > self._fed or health.waiting:
            self._fed = decisions
            self._manager.feed()
        self._manager.say("%s; %d wearers; decisions %d, late %d; p99 %.1f ms" % (
            health.status, self.site.seated, decisions, health.late, 1e3 * health.quantiles_s()[0.99]))
        for line in health.lines():
            self._note_problem(line.name, line.problem)

    def _note_problem(self, name: str, problem: str) -> None:
        """Tell a problem once, and its end."""
        if problem != self._problems.get(name, ""):
            self._problems[name] = problem
            self._tell("%s: %s" % (name, problem or "all is well again."))

    def _describe(self) -> None:
        engines: List[Any] = [ward.engine for _, ward in sorted(self._wards.items())]
        self.health.facts = {
            "model": "+".join(engine.manifest.name for engine in engines),
            "engine_sha256": "+".join(engine.sha256 for engine in engines),
            "source": "+".join(sorted({BACKENDS.kind(engine.backend).source for engine in engines})),
            "trained_on_synthetic": str(any(engine.manifest.data["synthetic"] for engine in engines)).lower()}


def _of(placement: str) -> str:
    return " for %s" % placement if placement else ""
