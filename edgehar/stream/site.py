"""All wearers of a site: their messages in, through one fleet for each placement, and their decisions out.

::

    mailbox -take-> letters -read, ordered, brought to the model's grid-> chunks -pushed together-> fleet -> decisions
                    one of each wearer in turn                             alike in length

    a wearer    is heard -> has a place -> falls silent -> is away, and the place free -> is heard again, and goes on
                         -> no place is free: turned away, until one is

One thread takes and decides; any other may look.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import (Any, Callable, Counter as Counts, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional,
                    Tuple)

import numpy as np

from edgehar.errors import InputError, MismatchError
from edgehar.stream.decision import Decided, Decision
from edgehar.stream.fleet import Fleet
from edgehar.stream.mailbox import TOO_FAST as LETTERS_TOO_FAST, TOO_LARGE, TOO_MANY, Letter, Who
from edgehar.stream.saved import FleetMemory, from_json, in_json
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.tally import ABSENCE, GAP, OVERLOAD, RESTART, TOO_FAST, Arrivals, Fate
from edgehar.stream.wearers import AWAY, NOBODY, OK, SILENT, TURNED_AWAY, UNDECIDED, WAITING, Wearer, WearerView

FORMAT = 1
DAMAGED, NO_PLACE, NO_MODEL = "damaged", "no place is free", "no model for the placement"
GIVEN_UP = (LETTERS_TOO_FAST, TOO_LARGE, TOO_MANY)  # letters, of which the mailbox knows that they came
MOST_KNOWN = 20_000  # wearers; of more, those who have been away for longest are forgotten
JUMP_S = 60.0  # more than so much further than the time that passed here, and a sender's clock was set
SILENT_WINDOWS = 2


class Said(NamedTuple):
    """A decision, and how long after the last of its samples had come it was made; NaN where nobody knows."""

    decision: Decision
    latency_s: float


class Ward(NamedTuple):
    """The fleet for one placement, and who has each of its places."""

    fleet: Fleet
    seated: Dict[int, Wearer]


class Site:
    """Wearers who come and go, in fleets that are this object's alone.

    fleets: {placement: fleet}; the one named "" is for every placement that has none of its own. source: whose
    letters are taken. missing: as for `stream.filling.filled`. leave_s: so long without a message, and a wearer's
    place is free. tell: is given sentences on what is wrong with a wearer's messages. clock: on which letters arrive.
    """

    def __init__(self, fleets: Mapping[str, Fleet], source: Source, missing: str = "refuse", leave_s: float = 60.0,
                 tell: Callable[[str], Any] = lambda sentence: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.wards = {placement: Ward(fleet, {}) for placement, fleet in fleets.items()}
        self._source, self._missing, self.leave_s, self._tell, self._clock = source, missing, leave_s, tell, clock
        self.wearers: Dict[Who, Wearer] = {}
        self.unknown: Counts[str] = Counter()  # messages of those who are not remembered
        self.decisions = 0
        self.forgotten: Counts[str] = Counter()  # windows lost of wearers who are remembered no more

    # -------------------------------------------------------------- messages in

    def take(self, letters: Iterable[Letter]) -> Iterator[Said]:
        """Read the letters, push what follows from them into the fleets, of all together, and yield what is then due.
        """
        pending: List[Tuple[Wearer, Iterator[Chunk]]] = []
        for letter in letters:
            wearer = self._heard(letter)
            if wearer is not None:
                pending.append((wearer, self._opened(wearer, letter)))
        while pending:
            chunks = [(wearer, each, next(each, None)) for wearer, each in pending]
            self._push([(wearer, chunk) for wearer, _, chunk in chunks if chunk is not None])
            yield from self.decide()
            pending = [(wearer, each) for wearer, each, chunk in chunks if chunk is not None]

    def _heard(self, letter: Letter) -> Optional[Wearer]:
        """Who sent it, with a place; None where there is none for it, which is counted."""
        ward = self.wards.get(letter.who.placement, self.wards.get(""))
        if ward is None:
            self.unknown[NO_MODEL] += 1
            return None
        wearer = self.wearers.get(letter.who)
        if wearer is None:
            wearer = self.wearers[letter.who] = Wearer(letter.who, self._source, ward.fleet.signal, self._missing,
                                                       self._tell)
            self._forget_oldest()
        self._note_unread(wearer)
        if wearer.place == NOBODY and not self._seat(wearer, ward):
            wearer.messages[NO_PLACE] += 1
            wearer.heard_s = letter.arrived_s
            return None
        return wearer

    def _opened(self, wearer: Wearer, letter: Letter) -> Iterator[Chunk]:
        """The chunks that follow from a letter, none where it is damaged."""
        try:
            samples, time_s, begins = self._source.read(letter.payload)
            yield from wearer.chunks(samples, time_s, begins, letter.arrived_s)
        except InputError as error:
            wearer.messages[DAMAGED] += 1
            wearer.complain("a message of %s %s" % (wearer.who.name, error))
        wearer.heard_s = max(wearer.heard_s, letter.arrived_s)

    def _note_unread(self, wearer: Wearer) -> None:
        """Letters that the mailbox gave up since make the next gap one of overload."""
        unread = self._source.mailbox.unread.get(wearer.who) if self._source.mailbox else None
        if unread is not None:
            count = sum(unread[reason] for reason in GIVEN_UP)
            if count > wearer.unread:
                wearer.cause = TOO_FAST if unread[LETTERS_TOO_FAST] else OVERLOAD
            wearer.unread = count

    def _push(self, chunks: List[Tuple[Wearer, Chunk]]) -> None:
        """One chunk each of several wearers, those of one length together."""
        alike: Dict[Tuple[int, int], List[Tuple[Wearer, Chunk]]] = {}
        for wearer, chunk in chunks:
            alike.setdefault((id(self._ward(wearer)), len(chunk.samples)), []).append((wearer, chunk))
        for group in alike.values():
            group.sort(key=lambda each: each[0].place)
            fleet, now_s = self._ward(group[0][0]).fleet, self._clock()
            places = np.array([wearer.place for wearer, _ in group])
            gaps = fleet.gaps[places]
            fleet.push(places, np.stack([chunk.samples for _, chunk in group]),
                       np.array([chunk.time_s for _, chunk in group]), np.array([chunk.begins for _, chunk in group]),
                       np.stack([_came(chunk) for _, chunk in group]), Arrivals(
                           np.array([now_s if chunk.arrived_s is None else chunk.arrived_s for _, chunk in group]),
                           np.array([wearer.cause for wearer, _ in group]),
                           np.array([self._lacking(wearer, chunk, fleet) for wearer, chunk in group])))
            for (wearer, chunk), gap in zip(group, fleet.gaps[places] > gaps):
                wearer.end_s = chunk.time_s + len(chunk.samples) / fleet.signal.rate_hz
                wearer.cause = GAP
                if gap:
                    wearer.problem = "a gap before %.2f s was too long to be filled, and its windows begin anew" % (
                        chunk.time_s)

    def _lacking(self, wearer: Wearer, chunk: Chunk, fleet: Fleet) -> int:
        """Samples that lack before `chunk`; -1 where its time tells.

        Where a clock went further than time did, or back, it was set, and the time that passed here tells.
        """
        step_s = chunk.time_s - wearer.end_s
        returns = wearer.counts is not None
        if math.isnan(step_s) or not (returns or abs(step_s) > JUMP_S):
            return -1
        wearer.counts = None
        passed_s = math.inf if chunk.arrived_s is None else max(0.0, chunk.arrived_s - wearer.heard_s)
        was_set = step_s < -1 / fleet.signal.rate_hz or step_s > passed_s + JUMP_S
        known_s = passed_s - len(chunk.samples) / fleet.signal.rate_hz if was_set else step_s
        return max(0, int(round(known_s * fleet.signal.rate_hz))) if math.isfinite(known_s) else 0

    # -------------------------------------------------------------- who is there

    @property
    def seated(self) -> int:
        """How many wearers are here."""
        return sum(len(ward.seated) for ward in self.wards.values())

    def note_restart(self) -> None:
        """The next gap of everybody is one in which no gateway was there."""
        for wearer in self.wearers.values():
            wearer.cause = RESTART

    def replace(self, placement: str, fleet: Fleet) -> None:
        """Go on through another fleet of the same signal and size, where nothing waits in the old one.

        Raises MismatchError where it reads another signal or decides other tasks; the old one goes on then.
        """
        ward = self.wards[placement]
        old = ward.fleet
        tasks, others = ({task: list(names) for task, names in each.tasks.items()} for each in (old, fleet))
        if (old.signal, old.hop, tasks) != (fleet.signal, fleet.hop, others):
            raise MismatchError("it reads another signal or hop, or decides other tasks; restart the service for it.")
        fleet.succeed(old)
        fleet.limit = old.limit
        self.wards[placement] = Ward(fleet, ward.seated)

    def _ward(self, wearer: Wearer) -> Ward:
        return self.wards.get(wearer.who.placement) or self.wards[""]

    def _seat(self, wearer: Wearer, ward: Ward) -> bool:
        """Whether there is a place for it, which it then has."""
        fleet = ward.fleet
        wearer.turned_away = len(ward.seated) >= fleet.limit
        if wearer.turned_away:
            wearer.problem = "there is no place, as %d wearers are here" % fleet.limit
            return False
        wearer.place = fleet.join()
        ward.seated[wearer.place] = wearer
        if wearer.counts is not None:
            fleet.tally.put_in(wearer.place, wearer.counts)
            fleet.tally.restart(np.array([wearer.place]), ABSENCE)
        return True

    def look(self) -> Iterator[Said]:
        """Let those leave who have been silent for long, and yield what is decided before they do."""
        now_s = self._clock()
        leaving = [(wearer, ward) for ward in self.wards.values() for wearer in ward.seated.values()
                   if now_s - wearer.heard_s > self.leave_s]
        for wearer, _ in leaving:
            self._flush(wearer)
        if leaving:
            yield from self.decide(flush=True)
        for wearer, ward in leaving:
            self._leave(wearer, ward)

    def flush(self) -> None:
        """Push what the feeds of all still hold: no more will come."""
        for ward in self.wards.values():
            for wearer in ward.seated.values():
                self._flush(wearer)

    def _flush(self, wearer: Wearer) -> None:
        for chunk in wearer.feed.flush():
            self._push([(wearer, chunk)])

    def _leave(self, wearer: Wearer, ward: Ward) -> None:
        place = wearer.place
        ward.fleet.leave(place)
        wearer.counts = ward.fleet.tally.taken_out(place)
        wearer.gaps_before += int(ward.fleet.gaps[place]) + 1
        del ward.seated[place]
        wearer.place = NOBODY

    def _forget_oldest(self) -> None:
        if len(self.wearers) <= MOST_KNOWN:
            return
        away = [wearer for wearer in self.wearers.values() if wearer.place == NOBODY]
        for wearer in sorted(away, key=lambda each: each.heard_s)[:1 + len(self.wearers) - MOST_KNOWN]:
            self.forgotten.update(self.fate(wearer).lost)
            del self.wearers[wearer.who]

    # -------------------------------------------------------------- decisions out

    @property
    def due_s(self) -> float:
        """When something is due to be decided, by the clock; infinite where nothing waits."""
        return min(ward.fleet.due_s for ward in self.wards.values())

    def decide(self, flush: bool = False) -> Iterator[Said]:
        """Yield the decisions that are due; flush: all that could be made."""
        for ward in self.wards.values():
            while True:
                decided = ward.fleet.tick(flush)
                if decided is None:
                    break
                yield from self._said(ward, decided)

    def _said(self, ward: Ward, decided: Decided) -> Iterator[Said]:
        now_s = self._clock()
        for row, place in enumerate(decided.places.tolist()):
            wearer = ward.seated[place]
            decision = decided.one(row, *wearer.who)
            wearer.decision, wearer.decided_s = decision, now_s
            self.decisions += 1
            yield Said(decision, now_s - float(decided.arrived_s[row]))

    # -------------------------------------------------------------- seen from elsewhere

    def fate(self, wearer: Wearer) -> Fate:
        """What became of its windows."""
        if wearer.place != NOBODY:
            return self._ward(wearer).fleet.fate(wearer.place)
        return UNDECIDED if wearer.counts is None else self._ward(wearer).fleet.tally.fate_of(wearer.counts)

    def view(self) -> List[WearerView]:
        """All wearers who are known, by name."""
        return [self._viewed(wearer) for _, wearer in sorted(self.wearers.copy().items())]

    def _viewed(self, wearer: Wearer) -> WearerView:
        fate, now_s, fleet = self.fate(wearer), self._clock(), self._ward(wearer).fleet
        here = wearer.place != NOBODY
        unread: Mapping[str, int] = self._source.mailbox.unread.get(wearer.who, {}) if self._source.mailbox else {}
        return WearerView(*wearer.who, here, self._status(wearer, now_s), now_s - wearer.heard_s, wearer.decision,
                          now_s - wearer.decided_s, fate.decided, fate.due, fate.waiting, fate.lost,
                          wearer.gaps_before + (int(fleet.gaps[wearer.place]) if here else 0), wearer.feed.filled,
                          wearer.dropped_samples(), dict(wearer.messages + Counter(unread)), wearer.problem)

    def _status(self, wearer: Wearer, now_s: float) -> str:
        if wearer.place == NOBODY:
            return TURNED_AWAY if wearer.turned_away else AWAY
        signal = self._ward(wearer).fleet.signal
        if now_s - wearer.heard_s > SILENT_WINDOWS * signal.window / signal.rate_hz:
            return SILENT
        return WAITING if wearer.decision is None else OK

    def signal_of(self, wearer: str, placement: str = "") -> np.ndarray:
        """(n, C) float32: the newest samples of a wearer on the model's grid, at most a window; none where it is away.
        """
        found = self.wearers.get(Who(wearer, placement))
        if found is None or found.place == NOBODY:
            return np.empty((0, 0), np.float32)
        return self._ward(found).fleet.newest(found.place).T

    def lost(self) -> Dict[str, int]:
        """{reason: windows} of all wearers."""
        total = Counter(self.forgotten)
        for wearer in list(self.wearers.values()):
            total.update(self.fate(wearer).lost)
        return dict(total)

    def to_json(self) -> Dict[str, Any]:
        """Of all wearers together."""
        views = self.view()
        count = Counter(view.status for view in views)
        samples, messages = Counter(), Counter(self.unknown)  # type: Counts[str], Counts[str]
        for view in views:
            samples.update(view.samples)
            messages.update(view.messages)
        return {"wearers": dict(sorted(count.items())), "places": sum(ward.fleet.limit for ward in self.wards.values()),
                "decisions": self.decisions, "windows_due": sum(view.due for view in views),
                "windows_waiting": sum(view.waiting for view in views), "windows_lost": self.lost(),
                "gaps": sum(view.gaps for view in views), "samples_filled": sum(view.filled for view in views),
                "samples_dropped": dict(samples), "messages_unread": dict(messages)}

    # -------------------------------------------------------------- taken down and put back

    def memory(self, network: str = "") -> FleetMemory:
        """All that is remembered, owned by the caller. network: of all engines."""
        facts: Dict[str, Any] = {"format": FORMAT, "network": network, "wards": {}}
        arrays: Dict[str, np.ndarray] = {}
        for placement, ward in self.wards.items():
            kept = ward.fleet.memory()
            facts["wards"][placement] = kept.facts
            arrays.update(("%s:%s" % (placement, name), array) for name, array in kept.arrays.items())
        facts.update(wearers=[in_json(wearer.snapshot()) for wearer in self.wearers.values()], decisions=self.decisions,
                     unknown=dict(self.unknown), forgotten=dict(self.forgotten))
        return FleetMemory(facts, arrays)

    def recall(self, memory: FleetMemory, path: str) -> None:
        """Go on from what `memory` gave, which was read from `path`; nobody is here yet.

        Raises MismatchError where it is of another version or of other models, InputError where it is damaged;
        nothing is changed then.
        """
        if memory.facts.get("format") != FORMAT:
            raise MismatchError("%s is the state of another version of edgehar (format %s, and this one reads %d); "
                                "remove it to begin anew." % (path, memory.facts.get("format"), FORMAT))
        kept = {placement: FleetMemory(memory.facts["wards"].get(placement, {}), {
            name[len(placement) + 1:]: array for name, array in memory.arrays.items()
            if name.startswith(placement + ":")}) for placement in self.wards}
        for placement, ward in self.wards.items():
            kept[placement].require_like(ward.fleet.memory(), path)
        try:
            wearers = [self._recalled(from_json(each)) for each in memory.facts["wearers"]]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError("%s is no state of a site (%s); remove it." % (path, error)) from error
        for placement, ward in self.wards.items():
            ward.fleet.recall(kept[placement], path)
        for wearer in wearers:
            self.wearers[wearer.who] = wearer
            if wearer.place != NOBODY:
                self._ward(wearer).seated[wearer.place] = wearer
        self.decisions = memory.facts["decisions"]
        self.unknown, self.forgotten = Counter(memory.facts["unknown"]), Counter(memory.facts["forgotten"])

    def _recalled(self, kept: Mapping[str, Any]) -> Wearer:
        who = Who(*kept["who"])
        ward = self.wards.get(who.placement) or self.wards[""]
        wearer = Wearer(who, self._source, ward.fleet.signal, self._missing, self._tell)
        wearer.restore(kept, self._clock())
        return wearer


def _came(chunk: Chunk) -> np.ndarray:
    """(n,) for how many samples each stands."""
    return np.ones(len(chunk.samples), np.int64) if chunk.stands_for is None else chunk.stands_for
