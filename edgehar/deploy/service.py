"""One wearer's stream, kept up for months: watched, reloaded and killed without losing its place.

::

    main thread    source -> take a chunk, piece by piece -> outlets -> write the state -> next chunk (which is the
                   source's receipt)
    outlets        one thread a sink; what a sink does not take waits in its queue and holds nobody up
    keeper         feeds the watchdog while decisions advance, looks whether a reload is asked for
    listener       hears of signals, also of those that the main thread does not see because it waits
    reload         verifies a new engine while the old one decides, and swaps them between two pieces

A killed service continues from its state file: the samples of its window are kept, so that
what was delivered and not yet written there, less than a piece, is all that is lost. A
decision that no sink had taken by then is counted as dropped after the restart.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Union

import numpy as np

from edgehar.backends import BACKENDS
from edgehar.data.signals import Signal
from edgehar.deploy.health import Health, Line
from edgehar.deploy.heeding import Heeding
from edgehar.deploy.notify import Manager
from edgehar.deploy.outlets import Outlet, end_all
from edgehar.deploy.spec import Loaded, ServeSpec
from edgehar.deploy.state import Moment, ServiceState, StateFile
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, UnopenedError, sha256_of_json
from edgehar.stream.decision import Decision
from edgehar.stream.ledger import NOTHING, Ledger
from edgehar.stream.sinks.base import Sink
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.stream import Stream

LOG = logging.getLogger(__name__)
TICK_S = 0.1  # how soon a reload begins after it was asked for
SAID_EVERY_S = 5.0
SETTLE_S = 1.0  # for sinks to take what a piece gave, before its receipt
PIECE = 32  # decisions, at most, between two looks whether to stop
FAULTS = 3  # chunks in a row that nobody knows how to refuse, before the engine is the likelier culprit

Tell = Callable[[str], Any]


# ------------------------------------------------------------------ the service


class _Stopped(BaseException):
    """Ends the wait for samples; no source means it when it catches an Exception."""


class Service(Heeding):
    """Decides until its source ends or it is told to stop.

    loaded: what it starts with; `close` closes it, or whatever took its place. sinks and
    source stay the caller's to close. state: its file, none where None; what an earlier
    service left there is taken up, and no other service may have it meanwhile. tell: is given sentences for a log.
    earlier: what became of the samples of earlier services.

    A chunk that cannot be used is counted and told; a sink that cannot be written is told, and its decisions wait.
    BrokenPipeError where every sink's reader has gone for good.
    """

    def __init__(self, spec: ServeSpec, loaded: Loaded, sinks: Sequence[Sink], health: Health, manager: Manager,
                 state: Optional[PathLike] = None, tell: Tell = print,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._spec, self._loaded = spec, loaded
        self.outlets = [Outlet("sink %d (%s)" % (number, type(sink).__name__.lower()), sink)
                        for number, sink in enumerate(sinks, 1)]
        self._health, self._manager, self._tell, self._clock = health, manager, tell, clock
        self._state, self.earlier = StateFile(state), NOTHING
        self._kept = ServiceState(_digest(loaded), loaded.stream.snapshot(), None, Moment.now())
        self._before: Optional[ServiceState] = None  # until the first decision after it
        self._goes_on: Optional[bool] = None
        self._swapping = threading.Lock()
        self._closed = threading.Event()
        self._stopping = self._interruptible = self._reload_asked = False
        self._begins, self._faults, self._fed = False, 0, 0
        self._problems: Dict[str, str] = {}
        self._describe()

    def run(self, chunks: Iterable[Chunk], source: Source) -> None:
        """Decide on `chunks`, which come of `source`, to their end or until `stop`.

        Raises InputError where another service has the state, or it cannot be opened.
        """
        with self._state.alone():
            self._take_up(source)
            self._decide_all(chunks)

    def _decide_all(self, chunks: Iterable[Chunk]) -> None:
        keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        try:
            self._manager.ready()
            keeper.start()
            with suppress(_Stopped):
                for chunk in self._awaited(iter(chunks)):
                    self._take(chunk)
            self._kept = self._kept._replace(samples=self._counted())
        finally:
            self._interruptible = False
            self._health.stopping = True
            self._manager.stopping()
            end_all(self.outlets)
            self._closed.set()
            if keeper.ident:
                keeper.join()
            self._save(stopped=True)

    @property
    def stream(self) -> Stream:
        """What decides now; another one after a reload."""
        return self._loaded.stream

    def close(self) -> None:
        """Release the engine; one that is being loaded meanwhile will not take its place."""
        for outlet in self.outlets:
            outlet.end()
        self._state.close()
        with self._swapping:
            self._closed.set()
            self._loaded.session.close()

    def stop(self) -> None:
        """End in order, after the piece in hand. For a signal's handler on the thread that runs."""
        first, self._stopping = not self._stopping, True
        if first and self._interruptible:  # a second signal must not disturb the end
            raise _Stopped

    def reload(self) -> None:
        """Verify what stands at the path now and continue through it; else tell why not and continue as before."""
        LOG.info("reloading what stands at the path now")
        self._manager.reloading()
        try:
            if self._swap(self._spec.load()):
                self._health.reloads += 1
                self._tell("reloaded: %s continues where the old engine stood." % self._loaded.engine.folder)
        except Exception as error:  # whatever a foreign engine does, the old one goes on
            LOG.debug("the new engine is refused", exc_info=True)
            self._health.refused_reloads += 1
            self._tell("the new engine is refused and the old one continues: %s" % (error or type(error).__name__))
        self._manager.ready()

    # -------------------------------------------------------------- main thread

    def _awaited(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """`chunks`, between which a signal may end the service."""
        while True:
            self._interruptible = True
            if self._stopping:
                return
            self._health.moved(waiting=True)
            chunk = next(chunks, None)
            self._interruptible = False
            self._health.moved(waiting=False)
            if chunk is None:
                return
            yield chunk

    def _take(self, chunk: Chunk) -> None:
        """Decide on it piece by piece; told to stop in between, what is left of it has no receipt and comes again."""
        arrived_s = self._clock() if chunk.arrived_s is None else chunk.arrived_s
        if self._goes_on is None:
            self._goes_on = self._before is not None and chunk.time_s > self._before.stream.end_s
        for piece in _pieces(chunk, self._loaded.stream):
            self._take_piece(piece, arrived_s)
            self._health.moved(waiting=False)
            if self._stopping:
                return

    def _take_piece(self, piece: Chunk, arrived_s: float) -> None:
        with self._swapping:
            stream = self._loaded.stream
            decisions = self._pushed(stream, piece)
            snapshot = stream.snapshot()
        for decision in decisions:
            self._account(decision, stream)
            for outlet in self.outlets:
                outlet.put(decision)
            latency_s = self._clock() - arrived_s
            self._health.decided(decision.label, latency_s, late=latency_s > stream.hop / stream.signal.rate_hz)
        self._settle()
        self._kept = self._kept._replace(stream=snapshot, samples=self._counted())
        self._save()

    def _counted(self) -> Ledger:
        return self._health.samples() or self.earlier

    def _settle(self) -> None:
        """See that decisions are with their sinks before the receipt; those of a sink that is late are counted."""
        until_s = time.monotonic() + SETTLE_S
        for outlet in self.outlets:
            outlet.settle(until_s)
        if self.outlets and all(outlet.gone for outlet in self.outlets):
            raise BrokenPipeError("the readers of all sinks have gone")

    def _pushed(self, stream: Stream, piece: Chunk) -> List[Decision]:
        """Its decisions; none where it is refused, and then nothing that comes after it spans it."""
        begins, self._begins = piece.begins or self._begins, False
        try:
            decisions = stream.push(piece.samples, piece.time_s, begins, piece.stands_for)
            self._faults = 0 if decisions else self._faults
        except Exception as error:  # a chunk that ended the service would come again and end it again
            decisions = []
            self._refuse(error)
        self._health.gaps = stream.gaps
        return decisions

    def _refuse(self, error: Exception) -> None:
        """Count and tell it. Raises `error` where chunk after chunk ends in a fault that is not theirs."""
        self._begins = True
        if not isinstance(error, InputError):
            self._faults += 1
            if self._faults >= FAULTS:
                raise error
        self._health.refused += 1
        if _is_power_of_two(self._health.refused):
            self._tell("chunk refused (%d so far): %s" % (self._health.refused, error or type(error).__name__))

    def _account(self, decision: Decision, stream: Stream) -> None:
        """Note the decision; at the first one, tell how many fell out while no service was there."""
        if self._before is not None:
            missed = self._before.missed_until(decision.time_s, bool(self._goes_on),
                                               stream.hop / stream.signal.rate_hz)
            self._health.missed += missed
            self._tell("back after %.1f s: decisions missed: %d%s." % (
                self._before.decided.passed_s(Moment.now()), missed,
                "" if self._goes_on else ", by this machine's clock, as the source's times began again"))
            self._before = None
        self._kept = self._kept._replace(decision_s=decision.time_s, decided=Moment.now(), missed=self._health.missed)

    # -------------------------------------------------------------- state

    def _take_up(self, source: Source) -> None:
        """Go on where an earlier service stood, as far as its state is of use."""
        try:
            before = self._state.load()
        except UnopenedError:
            raise
        except InputError as error:
            self._tell("begins again: %s" % error)
            return
        if before is None:
            return
        self._before = before
        self._health.missed, self._health.starts = before.missed, before.starts + 1
        self._count_lost(before)
        usable = before.signal_sha256 == self._kept.signal_sha256 and self._restored(before)
        if usable and len(before.stream.samples):
            source.resume(before.stream.end_s)
        stream = before.stream if usable else self._kept.stream
        self.earlier = before.samples.kept(stream.pending)
        self._kept = before._replace(starts=before.starts + 1, signal_sha256=self._kept.signal_sha256, stream=stream,
                                     samples=self._counted())
        self._tell(_earlier(before, usable))

    def _restored(self, before: ServiceState) -> bool:
        try:
            self._loaded.stream.restore(before.stream)
        except MismatchError:
            return False
        return True

    def _count_lost(self, before: ServiceState) -> None:
        """What an earlier service's sinks gave up, and what they had not sent when it ended."""
        for outlet in self.outlets:
            outlet.note_lost(sum(before.sinks.get(outlet.name, ())))

    def _save(self, stopped: bool = False) -> None:
        self._kept = self._kept._replace(stopped=stopped, sinks={
            outlet.name: (outlet.waiting, outlet.dropped) for outlet in self.outlets})
        try:
            self._state.save(self._kept)
            self._note_problem("state", "")
        except InputError as error:
            self._note_problem("state", str(error))

    # -------------------------------------------------------------- keeper and reload

    def _keep(self) -> None:
        period_s = self._manager.watchdog_s / 3 or SAID_EVERY_S
        due_s = self._clock()
        reloading = threading.Thread()
        while not self._closed.wait(min(TICK_S, period_s)):
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
                    self._tell("the keeper continues: %s" % (error or type(error).__name__))

    def _feed(self) -> None:
        health, decisions = self._health, self._health.decisions
        if decisions > self._fed or (health.allow_silence and health.waiting):
            self._fed = decisions
            self._manager.feed()
        self._manager.say("%s; %s; decisions %d, missed %d, late %d; p99 %.1f ms" % (
            health.status, ", ".join(health.label.values()) or "no decision yet", decisions, health.missed,
            health.late, 1e3 * health.quantiles_s()[0.99]))
        for line in health.lines():
            self._note_problem(line.name, line.problem)

    def _note_problem(self, name: str, problem: str) -> None:
        """Tell a problem once, and its end."""
        if problem != self._problems.get(name, ""):
            self._problems[name] = problem
            self._tell("%s: %s" % (name, problem or "all is well again."))

    def _swap(self, new: Loaded) -> bool:
        """Whether `new` took the place of the old engine, which it does not of one that has ended."""
        with self._swapping:
            old = self._loaded
            if self._closed.is_set():
                new.session.close()
                return False
            try:
                _require_same_signal(old.stream.signal, new.stream.signal)
                new.stream.restore(old.stream.snapshot())
            except MismatchError:
                new.session.close()
                raise
            new.stream.succeed(old.stream)
            self._loaded = new
        old.session.close()
        self._describe()
        return True

    def _describe(self) -> None:
        engine = self._loaded.engine
        manifest = engine.manifest
        self._health.facts = {"model": manifest.name, "engine_sha256": engine.sha256,
                              "source": BACKENDS.kind(engine.backend).source,
                              "trained_on_synthetic": str(bool(manifest.data["synthetic"])).lower()}


def lines_of(named: Mapping[str, Union[Source, Outlet]]) -> List[Line]:
    """How far sources and sinks are behind."""
    return [Line(name, each.waiting, each.dropped, each.problem, isinstance(each, Outlet) and bool(each.problem))
            for name, each in list(named.items())]


def _digest(loaded: Loaded) -> str:
    """What a stream that was kept must have read to be gone on with."""
    return sha256_of_json(replace(loaded.stream.signal, hop=0).to_json())


def _require_same_signal(old: Signal, new: Signal) -> None:
    if replace(old, hop=0) != replace(new, hop=0):
        raise MismatchError("it reads another signal (%d channels, %d samples at %g Hz instead of %d, %d at %g Hz, or "
                            "other channels); restart the service for it." % (
                                len(new.channels), new.window, new.rate_hz, len(old.channels), old.window, old.rate_hz))


def _earlier(before: ServiceState, usable: bool) -> str:
    last = "none yet" if before.decision_s is None else "at %.2f s" % before.decision_s
    waited = sum(waiting for waiting, _ in before.sinks.values())
    lost = "; up to %d decisions that waited to be sent are lost" % waited if waited else ""
    window = "its window is kept" if usable else "its window was of another signal and is not kept"
    return "start %d: the earlier service was %s; last decision %s; %s%s." % (
        before.starts + 1, "stopped" if before.stopped else "killed", last, window, lost)


def _pieces(chunk: Chunk, stream: Stream) -> Iterator[Chunk]:
    """`chunk` in pieces of so few samples that each is soon decided on."""
    most = max(PIECE * stream.hop, stream.signal.window)
    for start in range(0, max(1, len(chunk.samples)), most):
        cut: Dict[str, Any] = {name: value[start:start + most] for name, value in chunk._asdict().items()
                               if isinstance(value, np.ndarray)}
        yield chunk._replace(begins=chunk.begins and not start, time_s=chunk.time_s + start / stream.signal.rate_hz,
                             **cut)


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
