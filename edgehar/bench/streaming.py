"""What becomes of the events in recordings of test people, streamed."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.manifest import Manifest
from edgehar.artifact.settling import HYSTERESIS, Settling
from edgehar.backends.base import Engine, Session
from edgehar.bench.accuracy import require_finite_logits, require_same_classes
from edgehar.data.channels import positions
from edgehar.data.corpus import framed, require_split_of
from edgehar.data.datasets import DATASETS, read_recordings
from edgehar.data.signals import UNLABELLED, Recording
from edgehar.data.splits import Split
from edgehar.errors import InconclusiveError, InputError, MismatchError
from edgehar.results.events import EventScores, add_events, held, score_events
from edgehar.results.runs import NOT_SCORED, RunWarning
from edgehar.stream.stream import Stream


def recordings_for(engine: Engine, dataset: Optional[str] = None, root: Optional[str] = None) -> Iterator[Recording]:
    """The recordings that `engine`'s split keeps for testing, one by one, with all channels.

    dataset: a spec, by default the corpus of the manifest; root: its data folder. Raises
    MismatchError for a corpus that the engine's split does not divide, before it is read.
    """
    data, rate_hz = engine.manifest.data, engine.manifest.signal.rate_hz
    corpus, split = DATASETS.create(dataset or engine.manifest.corpus, root=root), Split.from_json(data["split"])
    require_split_of(corpus, split)
    _require_whole(split)
    return (framed(recording, rate_hz) for recording in read_recordings(corpus) if split.place(recording) == "test")


def test_recordings_of(engine: Engine, recordings: Optional[Iterable[Recording]]) -> Iterator[Recording]:
    """`recordings`, each once it is sure that it is of the engine's test people, at its rate and with its classes."""
    if recordings is None:
        raise InputError("this is measured on recordings of test people and none were given; name the corpus.")
    split = Split.from_json(engine.manifest.data["split"])
    _require_whole(split)
    return (_tested(engine.manifest, split, recording) for recording in recordings)


def _tested(manifest: Manifest, split: Split, recording: Recording) -> Recording:
    if split.place(recording) != "test":
        raise MismatchError("%s is not kept for testing by split '%s' and streaming is measured on test people alone; "
                            "hand in their recordings." % (recording.name, split.name))
    if recording.rate_hz != manifest.signal.rate_hz:
        raise MismatchError("%s reads %g Hz and %s has %g Hz; use the corpus it was trained on." % (
            manifest.name, manifest.signal.rate_hz, recording.name, recording.rate_hz))
    require_same_classes(manifest.tasks, recording.classes, manifest.name)
    return recording


def _require_whole(split: Split) -> None:
    if split.same_people:
        raise MismatchError("split '%s' deals out single windows, so no recording is there to test on alone; stream "
                            "through a model of a split by people." % split.name)


def replay(session: Session, manifest: Manifest, hop: int, hold: int, recordings: Iterable[Recording],
           settle: str = HYSTERESIS) -> Tuple[Dict[str, Dict[str, Any]], Tuple[RunWarning, ...]]:
    """What a Run keeps of a stream over `recordings`: {task: {person: events}}, and what gave no decision.

    hop: in samples; hold: windows that must agree before a label changes; settle: one of `settling.WAYS`. Raises
    InconclusiveError where no recording is as long as a window.
    """
    people: Dict[str, List[Dict[str, EventScores]]] = {}
    short_s: List[float] = []
    settling = Settling.of(manifest, settle, hop=hop)
    for recording in recordings:
        if len(recording.samples) < manifest.signal.window:
            short_s.append(recording.duration_s)
        else:
            people.setdefault(recording.subject, []).append(_events_of(
                Stream(session, manifest.signal, manifest.tasks, hop, hold, True, settling=settling), recording))
    if not people:
        raise InconclusiveError("no recording of the test people of %s at hand is as long as a window of %s (%.2f s); "
                                "get more of the corpus." % (
                                    manifest.data["dataset"], manifest.name, _window_s(manifest)))
    events = {task: {person: add_events([each[task] for each in people[person]]).to_json()
                     for person in sorted(people)} for task in sorted(manifest.tasks)}
    return events, _short_warnings(short_s, _window_s(manifest))


def _events_of(stream: Stream, recording: Recording) -> Dict[str, EventScores]:
    """Put one recording through a Stream of its own; {task: what became of its events}."""
    signal = stream.signal
    decisions = stream.push(recording.samples[:, positions(recording.channels, signal.channels)])
    at = signal.window - 1 + stream.hop * np.arange(len(decisions))  # each window's last sample
    unknown = np.full(len(recording.samples), UNLABELLED)
    found = {}
    for task, names in stream.tasks.items():
        require_finite_logits(np.array([decision.probabilities[task] for decision in decisions]), task)
        said = held(at.tolist(), [names.index(decision.label[task]) for decision in decisions], len(recording.samples))
        found[task] = score_events(recording.labels.get(task, unknown), said, len(names), signal.rate_hz)
    return found


def _window_s(manifest: Manifest) -> float:
    return manifest.signal.window / manifest.signal.rate_hz


def _short_warnings(short_s: Sequence[float], window_s: float) -> Tuple[RunWarning, ...]:
    if not short_s:
        return ()
    return (RunWarning(NOT_SCORED, "%d recordings (%.1f s in all) are shorter than a window of %.2f s and end before "
                                   "its first decision." % (len(short_s), sum(short_s), window_s)),)
