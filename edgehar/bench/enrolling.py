"""Every test person enrolled with the first seconds of each class, and tested on what comes later.

::

    each class of one wearing   |-- enrolment, at most so many seconds --|...|middle| a window |--- tested ---|
    wearing "other"             the first wearing enrols, the last is tested, as it is for "same"
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.artifact.enrolment import Enrolled
from edgehar.artifact.gate import judge
from edgehar.artifact.personalisers import PERSONALISERS
from edgehar.artifact.personalisers.base import Moments, Personaliser
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine, FeatureSession
from edgehar.data.channels import positions
from edgehar.data.signals import UNLABELLED, Recording
from edgehar.errors import InconclusiveError, InputError
from edgehar.results.runs import NOT_SCORED, RunWarning
from edgehar.results.scores import confusion
from edgehar.stream.enrolling import enrolled_by, people_moments

SAME, OTHER = "same", "other"


class Enrolment(NamedTuple):
    """What is asked: seconds of each class, the way to fit, which wearing, and whether the gate decides."""

    seconds: float
    method: str
    wearing: str
    gated: bool


def enrol_people(engine: Engine, recordings: Iterable[Recording],
                 asked: Enrolment) -> Tuple[Dict[str, Dict[str, Any]], Tuple[RunWarning, ...]]:
    """{task: {person: confusion}} after each person's own enrolment, and who was left out.

    A session is a wearing where one class is in two of them; else all sessions are one.
    Raises InconclusiveError where nobody can be tested, InputError for an unknown wearing.
    """
    if asked.wearing not in (SAME, OTHER):
        raise InputError("wearing is '%s'; it is '%s' or '%s'." % (asked.wearing, SAME, OTHER))
    personaliser, mine = PERSONALISERS.create(asked.method), _by_person(recordings)
    found: Dict[str, Dict[str, Any]] = {}
    left_out: List[str] = []
    with BACKENDS.create(engine.backend).open_features(engine) as session:
        for task in engine.manifest.tasks:
            people = people_moments(session, engine, task) if personaliser.referred else None
            for person, theirs in sorted(mine.items()):
                counts = _confusion(session, engine, theirs, task, personaliser, people, asked)
                if counts is None:
                    left_out.append(person)
                else:
                    found.setdefault(task, {})[person] = counts.tolist()
    if not found:
        where = " in one wearing and be tested in another" * (asked.wearing == OTHER)
        raise InconclusiveError("no test person was recorded long enough to enrol%s (first and second half of a class "
                                "are a window apart); ask for less, or use a longer corpus." % where)
    warning = RunWarning(NOT_SCORED, "not enough of test person %s was recorded to enrol and to test." % ", ".join(
        sorted(set(left_out))))
    return found, (warning,) if left_out else ()


def _by_person(recordings: Iterable[Recording]) -> Dict[str, List[Recording]]:
    found: Dict[str, List[Recording]] = {}
    for recording in recordings:
        found.setdefault(recording.subject, []).append(recording)
    return found


def _confusion(session: FeatureSession, engine: Engine, recordings: List[Recording], task: str,
               personaliser: Personaliser, people: Optional[Moments], asked: Enrolment) -> Optional[np.ndarray]:
    """(K, K) of one person; None where there is too little to enrol or to test."""
    signal, trained = engine.manifest.signal, session.layers[task]
    chosen = [replace(each, samples=each.samples[:, positions(each.channels, signal.channels)],
                      channels=signal.channels) for each in _worn(recordings, task)]
    everything = enrolled_by(session, signal, chosen, task, max(1, signal.hop // 2))
    everything = everything.take(everything.labels != UNLABELLED)
    if not len(everything):
        return None
    enrolled, tested = _divided(everything, signal.hop, asked)
    if enrolled is None or len(np.unique(enrolled.labels)) < 2 or not len(tested):
        return None
    passed = not asked.gated or judge(personaliser, trained, enrolled, people).passed
    layer = personaliser.fit(trained, enrolled.features, enrolled.labels, people) if passed else trained
    return confusion(tested.labels, layer.logits(tested.features).argmax(axis=1), len(trained.bias))


def _worn(recordings: List[Recording], task: str) -> List[Recording]:
    """`recordings`, all as one wearing where no class comes in two sessions."""
    seen: Dict[int, str] = {}
    for each in recordings:
        for label in np.unique(each.labels.get(task, np.empty(0, int))).tolist():
            if label != UNLABELLED and seen.setdefault(label, each.session) != each.session:
                return recordings
    return [replace(each, session="once") for each in recordings]


def _divided(everything: Enrolled, hop: int, asked: Enrolment) -> Tuple[Optional[Enrolled], Enrolled]:
    """What enrols, and what is tested: of the last wearing in both cases."""
    early, late = everything.divided(hop)
    first, last = int(everything.wearings.min()), int(everything.wearings.max())
    tested = late.take(late.wearings == last)
    if asked.wearing == OTHER:
        if first == last:
            return None, tested
        early, last = everything, first
    return early.take(early.wearings == last).within(0.0, asked.seconds), tested
