"""A model on test people whose sensors are disturbed -> Certificate.

::

    recordings of test people -disturb-> recordings -cut-> windows -engine-> counts of each person
                                                                               |
    the same people, undisturbed ------------------------------------> paired -+-> figures

Only people whom the split of the manifest keeps for testing are measured, and nothing is
chosen by what is found. Chance is drawn anew for each person and draw, from the seed, and
alike at every strength and for every model, so that two certificates can be compared.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.artifact.manifest import Manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine, Session
from edgehar.bench.accuracy import scores
from edgehar.bench.disturbances import DISTURBANCES
from edgehar.bench.disturbances.base import Change, Disturbance
from edgehar.bench.streaming import recordings_for, test_recordings_of
from edgehar.bench.unknown import Unfamiliar, stand_ins, tell_unknown
from edgehar.data.channels import positions
from edgehar.data.datasets import DATASETS
from edgehar.data.signals import Recording, Signal, carries_label, concatenate, cut
from edgehar.errors import InconclusiveError
from edgehar.results.certificate import PLACEMENT, UNDISTURBED, Certificate, Tally, certificate_row
from edgehar.results.runs import RELIABILITY_ROWS
from edgehar.results.scores import RELIABILITY_BINS

BATCH = 64
DRAWS = 3
NOTHING_TO_DISTURB = "the model reads no sensor that it can happen to"
NOT_ELSEWHERE = "the corpus has no sensors like the model's at another place"

Tallies = Dict[str, Tally]  # by task
People = Dict[str, List[Recording]]
Tell = Callable[[str], Any]


class _Found(NamedTuple):
    """What was decided under one condition, and of the same people undisturbed; strength: of those that have order."""

    disturbance: str
    label: str
    strength: Optional[float]
    decided: Tallies
    undisturbed: Tallies


def certify(engine: Engine, recordings: Optional[Iterable[Recording]] = None, dataset: Optional[str] = None,
            root: Optional[str] = None, only: Sequence[str] = (), unknown: Optional[Unfamiliar] = None, seed: int = 0,
            draws: int = DRAWS, command: str = "", tell: Tell = lambda text: None) -> Certificate:
    """Measure `engine` on the test people of its split, their sensors disturbed in every way.

    recordings: of test people, with all channels; read from `dataset` (a spec, by default the manifest's corpus) below
    `root` where None. only: names of disturbances, or "placement"; empty for all. unknown: where movements are from
    that are none of the model's classes. draws: how often what chance decides is drawn. tell: is told how far it is.
    Raises InputError or MismatchError as `bench.streaming` and `bench.unknown` do, InconclusiveError where the test
    people have no labelled window.
    """
    chosen = [DISTURBANCES.create(name) for name in only or DISTURBANCES.names() if name != PLACEMENT]
    people, elsewhere = _people_at_hand(engine, recordings, dataset, root, not only or PLACEMENT in only)
    with BACKENDS.create(engine.backend).open(engine, max_batch=BATCH) as session:
        measuring = _Measuring(session, engine.manifest)
        found = _disturbed(measuring, people, chosen, seed, draws, tell)
        plain = found[0].decided
        for place, others in sorted(elsewhere.items()):
            tell("worn at %s" % place)
            both = {person: others[person] for person in people if person in others}
            found.append(_Found(PLACEMENT, place, None, measuring.tallies(both), _of_people(plain, both)))
        strange = {}
        if unknown is not None:
            tell("movements of %s" % unknown.corpus)
            strange = tell_unknown(session, engine.manifest, people, unknown, root)
    without = {each.name: NOTHING_TO_DISTURB for each in chosen if not len(each.strengths(engine.manifest.signal))}
    if not elsewhere and (not only or PLACEMENT in only):
        without[PLACEMENT] = NOT_ELSEWHERE
    return _certificate(engine, dataset, people, found, left_out=without, unknown=strange, seed=seed, draws=draws,
                        command=command)


def _disturbed(measuring: _Measuring, people: People, chosen: Sequence[Disturbance], seed: int, draws: int,
               tell: Tell) -> List[_Found]:
    """What is decided of the undisturbed signal, then under each of `chosen` at each strength."""
    signal = measuring.manifest.signal
    plain = measuring.tallies(people)
    _require_windows(plain, measuring.manifest)
    found = [_Found(UNDISTURBED, "", None, plain, plain)]
    asked = [(each, strength) for each in chosen for strength in each.strengths(signal)]
    for number, (each, strength) in enumerate(asked):
        label = each.label(strength, signal)
        tell("%d of %d: %s, %s" % (number + 1, len(asked), each.name, label))
        decided = _drawn(measuring, people, each, strength, seed, draws)
        found.append(_Found(each.name, label, float(strength) if each.ordered else None, decided, plain))
    return found


def _certificate(engine: Engine, dataset: Optional[str], people: People, found: Sequence[_Found],
                 **more: Any) -> Certificate:
    manifest, data = engine.manifest, engine.manifest.data
    return Certificate(
        artifact=manifest.name, artifact_sha256=manifest.sha256,
        engine={"backend": engine.backend, "precision": engine.spec.precision, "sha256": engine.sha256},
        dataset=dataset or data["dataset"], split={key: data["split"][key] for key in ("name", "sha256")},
        people=tuple(sorted(people)), synthetic=bool(data["synthetic"]),
        rows={task: tuple(certificate_row(each.disturbance, each.label, each.strength, each.decided[task],
                                          each.undisturbed[task], names) for each in found)
                  for task, names in manifest.tasks.items()},
        machine=machine.describe(), created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **more)


def _require_windows(plain: Tallies, manifest: Manifest) -> None:
    for task, tally in plain.items():
        if not tally.windows:
            raise InconclusiveError("no window of the test people of %s at hand carries a label of task '%s', so "
                                    "nothing can be said of %s; get more of the corpus." % (
                                        manifest.data["dataset"], task, manifest.name))


def _of_people(tallies: Tallies, people: Iterable[str]) -> Tallies:
    """The same of `people` alone."""
    return {task: Tally({person: tally.confusions[person] for person in people},
                        {person: tally.reliabilities[person] for person in people}, tally.draws)
            for task, tally in tallies.items()}


def _people_at_hand(engine: Engine, recordings: Optional[Iterable[Recording]], dataset: Optional[str],
                    root: Optional[str], with_elsewhere: bool) -> Tuple[People, Dict[str, People]]:
    """{person: recordings} with the model's channels alone, and {place: the same} of sensors worn elsewhere."""
    signal = engine.manifest.signal
    people: People = {}
    elsewhere: Dict[str, People] = {}
    given = recordings if recordings is not None else recordings_for(engine, dataset, root)
    for recording in test_recordings_of(engine, given):
        own = replace(recording, channels=signal.channels,
                      samples=recording.samples[:, positions(recording.channels, signal.channels)])
        people.setdefault(recording.subject, []).append(own)
        if with_elsewhere:
            _add_elsewhere(elsewhere, recording, signal)
    if with_elsewhere and recordings is None:
        for spec in DATASETS.create(dataset or engine.manifest.data["dataset"], root=root).elsewhere:
            for recording in test_recordings_of(engine, recordings_for(engine, spec, root)):
                _add_elsewhere(elsewhere, recording, signal)
    return people, {place: each for place, each in elsewhere.items() if set(each) & set(people)}


def _add_elsewhere(elsewhere: Dict[str, People], recording: Recording, signal: Signal) -> None:
    for place, other in worn_elsewhere(recording, signal).items():
        elsewhere.setdefault(place, {}).setdefault(recording.subject, []).append(other)


def worn_elsewhere(recording: Recording, signal: Signal) -> Dict[str, Recording]:
    """{place: `recording` as the model would have it from sensors there}, for each place with sensors like the model's.

    None where the model reads sensors of several places, or of one that its channels do not name.
    """
    own = {channel.placement for channel in signal.channels}
    if len(own) != 1 or own == {""}:
        return {}
    found = {}
    for place in sorted({channel.placement for channel in recording.channels} - own):
        there = [number for number, channel in enumerate(recording.channels) if channel.placement == place]
        index = stand_ins([recording.channels[number] for number in there], signal)
        if index is not None:
            found[place] = replace(recording, samples=recording.samples[:, [there[number] for number in index]],
                                   channels=signal.channels)
    return found


# ------------------------------------------------------------------ counting


class _Measuring:
    """Counts what the open session decides of test people, one person at a time."""

    def __init__(self, session: Session, manifest: Manifest) -> None:
        self.manifest, self._session = manifest, session

    def tallies(self, people: People, changes: Mapping[str, Change] = {}) -> Tallies:
        """What is decided of the recordings of `people` once each went through the change of its person."""
        counts = {person: self._counts([part for recording in recordings
                                        for part in changes.get(person, _as_it_is)(recording)])
                  for person, recordings in people.items()}
        return {task: Tally({person: each[task][0] for person, each in counts.items()},
                            {person: each[task][1] for person, each in counts.items()})
                for task in self.manifest.tasks}

    def _counts(self, recordings: Sequence[Recording]) -> Dict[str, Tuple[np.ndarray, np.ndarray]]:
        """{task: confusion (K, K) and reliability (3, B)} of one person; zeros where no window is left."""
        signal = self.manifest.signal
        pieces = [cut(recording, signal.window, signal.hop) for recording in recordings]
        windows = concatenate(pieces).take(np.concatenate(list(map(carries_label, pieces)))) if pieces else None
        if windows is None or not len(windows):
            return {task: (np.zeros((len(names), len(names)), np.int64), np.zeros((3, RELIABILITY_BINS)))
                    for task, names in self.manifest.tasks.items()}
        confusions, reliabilities = scores(self._session, windows, BATCH)
        return {task: (np.array(_only(confusions[task])),
                       np.array([_only(reliabilities[task])[row] for row in RELIABILITY_ROWS]))
                for task in self.manifest.tasks}


def _only(by_person: Mapping[str, Any]) -> Any:
    """What stands there of the one person."""
    (found,) = by_person.values()
    return found


def _as_it_is(recording: Recording) -> List[Recording]:
    return [recording]


def _drawn(measuring: _Measuring, people: People, disturbance: Disturbance, strength: float, seed: int,
           draws: int) -> Tallies:
    """All draws of a disturbance at one strength, their counts added up; one where nothing is left to chance."""
    signal, times = measuring.manifest.signal, draws if disturbance.drawn else 1
    found = [measuring.tallies(people, {
        person: disturbance.change(strength, signal, _chance(seed, number, disturbance.name, person))
        for person in people}) for number in range(times)]
    return {task: _added([each[task] for each in found]) for task in measuring.manifest.tasks}


def _added(tallies: Sequence[Tally]) -> Tally:
    """Of the same people."""
    people = tallies[0].confusions
    return Tally({person: np.sum([each.confusions[person] for each in tallies], axis=0) for person in people},
                 {person: np.sum([each.reliabilities[person] for each in tallies], axis=0) for person in people},
                 len(tallies))


def _chance(seed: int, number: int, name: str, person: str) -> np.random.Generator:
    """An own generator for each draw, disturbance and person, whatever else is measured."""
    return np.random.default_rng([seed, number, zlib.crc32(name.encode("utf-8")), zlib.crc32(person.encode("utf-8"))])
