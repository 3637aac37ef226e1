"""Certificate: how far a model can be trusted, on test people, when a sensor is not as it was in training.

It stands beside the manifest as ``certificate.json``, names the artifact by its digest, and
carries a digest of its own. ``edgehar.bench.robustness`` measures one, ``edgehar.results.limits`` judges it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, parse_json, read_bytes, sha256_of_json, write_json
from edgehar.results.people import (Interval, calibration_error_over_people, macro_f1_over_people, paired_difference)
from edgehar.results.scores import f1_each, macro_f1, pooled

SCHEMA = 1
FILE = "certificate.json"
KIND = "robustness"
DRAWS = 2000  # of people, for an interval
UNDISTURBED, PLACEMENT = "undisturbed", "placement"


class Tally(NamedTuple):
    """What was decided of windows of test people under one condition.

    confusions: {person: (K, K)}; reliabilities: {person: (3, B)}; both of all people, whose counts may be zeros.
    draws: how many were added up.
    """

    confusions: Dict[str, np.ndarray]
    reliabilities: Dict[str, np.ndarray]
    draws: int = 1

    @property
    def windows(self) -> int:
        """Decided, in all draws together."""
        return int(sum(counts.sum() for counts in self.confusions.values()))


@dataclass(frozen=True)
class CertificateRow:
    """The figures of one task under one condition.

    disturbance: its name; label: its strength in words; strength: None where strengths lie on no line. macro_f1:
    pooled over people, with its interval; change: from the undisturbed signal, paired over the same people. None
    stands for what no window tells. confidence: mean probability of the label that was given. answered: windows that
    were decided, as a share of those of the undisturbed signal. people: {person: macro-F1}. worst_person,
    worst_class: (name, F1).
    """

    disturbance: str
    label: str
    strength: Optional[float]
    macro_f1: Tuple[Optional[float], ...]
    change: Tuple[Optional[float], ...]
    calibration_error: Tuple[Optional[float], ...]
    confidence: Optional[float]
    accuracy: Optional[float]
    answered: float
    worst_person: Tuple[str, Optional[float]]
    worst_class: Tuple[str, Optional[float]]
    people: Dict[str, Optional[float]]


@dataclass(frozen=True)
class Unknown:
    """How sure a model is of movements that are none of its classes.

    corpus: where they are from; movements: their names there. confidence: mean probability of the label that it
    gives all the same, with its interval over people. told_apart: how often a window of a known movement has a higher
    confidence than one of these (area under the ROC curve); 0.5 is chance.
    """

    corpus: str
    movements: Tuple[str, ...]
    windows: int
    people: int
    confidence: Tuple[Optional[float], ...]
    told_apart: Tuple[Optional[float], ...]


@dataclass(frozen=True)
class Certificate:
    """What was found of one artifact, and all that is needed to find it again.

    artifact: its name; engine: backend, precision and digest; split: name and sha256; people: who was tested on.
    rows: {task: undisturbed first, then each disturbance, its strengths from the mildest on}. unknown: by task.
    left_out: {disturbance: why it was not measured}. seed, draws: of chance. machine: with versions.
    """

    artifact: str
    artifact_sha256: str
    engine: Dict[str, Any]
    dataset: str
    split: Dict[str, str]
    people: Tuple[str, ...]
    synthetic: bool
    seed: int
    draws: int
    rows: Dict[str, Tuple[CertificateRow, ...]]
    unknown: Dict[str, Unknown] = field(default_factory=dict)
    left_out: Dict[str, str] = field(default_factory=dict)
    machine: Dict[str, Any] = field(default_factory=dict)
    created: str = ""
    command: str = ""

    def of(self, task: str, disturbance: str) -> List[CertificateRow]:
        """Its rows, the mildest first; none where it was not measured."""
        return [each for each in self.rows.get(task, ()) if each.disturbance == disturbance]

    def disturbances(self, task: str) -> List[str]:
        """What was measured, in order; the undisturbed signal is none of them."""
        return list(dict.fromkeys(each.disturbance for each in self.rows[task] if each.disturbance != UNDISTURBED))

    def to_json(self) -> Dict[str, Any]:
        """All fields and their digest, as the file holds them."""
        value = dict(asdict(self), schema=SCHEMA, kind=KIND)
        return dict(value, sha256=sha256_of_json(value))

    def write(self, path: PathLike) -> Path:
        """Write to `path`, whole or not at all; one that stands there is replaced."""
        write_json(path, self.to_json())
        return Path(path)

    @classmethod
    def from_json(cls, value: Any, where: PathLike) -> "Certificate":
        """Raises InputError for what is no certificate of robustness, MismatchError where it was changed."""
        if not isinstance(value, dict) or (value.get("schema"), value.get("kind")) != (SCHEMA, KIND):
            raise InputError("%s is no certificate that `edgehar robust` writes; make one with it." % where)
        body = {key: item for key, item in value.items() if key != "sha256"}
        if value.get("sha256") != sha256_of_json(body):
            raise MismatchError("%s was changed after it was measured: its digest does not match; measure again with "
                                "`edgehar robust`." % where)
        del body["schema"], body["kind"]
        try:
            return cls(**dict(
                body, people=tuple(body["people"]),
                rows={task: tuple(CertificateRow(**_with_tuples(each)) for each in found)
                          for task, found in body["rows"].items()},
                unknown={task: Unknown(**_with_tuples(each)) for task, each in body["unknown"].items()}))
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError("%s was written by another edgehar (%s: %s); measure again with `edgehar robust`." % (
                where, type(error).__name__, error)) from error

    @classmethod
    def parse(cls, content: bytes, where: PathLike) -> "Certificate":
        """The certificate in the bytes of a file. Raises as `from_json` does."""
        try:
            value = parse_json(content)
        except ValueError as error:
            raise InputError("%s holds no JSON (%s); measure again with `edgehar robust`." % (where, error)) from error
        return cls.from_json(value, where)

    @classmethod
    def load(cls, path: PathLike) -> "Certificate":
        """Read one. Raises as `from_json` does, and InputError where there is no file."""
        return cls.parse(read_bytes(path), path)


def certificate_beside(folder: PathLike, artifact_sha256: str) -> Optional[Certificate]:
    """The certificate in the folder of an artifact; None where there is none.

    Raises MismatchError where it speaks of another artifact.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    found = Certificate.load(path)
    require_of(found, artifact_sha256, path)
    return found


def require_of(certificate: Certificate, artifact_sha256: str, where: PathLike) -> None:
    """Raise MismatchError where `certificate` speaks of another artifact than that of this digest."""
    if certificate.artifact_sha256 != artifact_sha256:
        raise MismatchError("%s speaks of another artifact (%s, not %s); measure this one with `edgehar robust`." % (
            where, certificate.artifact_sha256[:8], artifact_sha256[:8]))


# ------------------------------------------------------------------ figures from counts


def certificate_row(disturbance: str, label: str, strength: Optional[float], tally: Tally, undisturbed: Tally,
            classes: Sequence[str]) -> CertificateRow:
    """The figures of `tally`, compared with what was decided of the undisturbed signal of the same people."""
    everything, bins = pooled(tally.confusions), pooled(tally.reliabilities)
    count, sure, right = bins.sum(axis=1)
    return CertificateRow(
        disturbance, label, strength,
        macro_f1=_plain(macro_f1_over_people([tally.confusions])),
        change=_plain(paired_difference([tally.confusions], [undisturbed.confusions])),
        calibration_error=_plain(calibration_error_over_people([tally.reliabilities])),
        confidence=_number(sure / count) if count else None, accuracy=_number(right / count) if count else None,
        answered=round(tally.windows / tally.draws / max(1, undisturbed.windows), 4),
        worst_person=_worst({person: macro_f1(counts) for person, counts in tally.confusions.items()}),
        worst_class=_worst(dict(zip(classes, f1_each(everything)))),
        people={person: _number(macro_f1(counts)) for person, counts in sorted(tally.confusions.items())})


def unknown_figures(corpus: str, movements: Sequence[str], known: Mapping[str, np.ndarray],
                    strange: Mapping[str, np.ndarray]) -> Unknown:
    """How sure a model is of `movements` of `corpus`, and how well its confidence tells them from known ones.

    known, strange: {person: (B,) windows by confidence, in equal bins from 0 to 1} of known and of these movements.
    The people of both are drawn.
    """
    here, there = (np.stack([counts for _, counts in sorted(each.items())]) for each in (known, strange))
    middle = (np.arange(there.shape[1]) + 0.5) / there.shape[1]
    draw = np.random.default_rng(0)
    drawn = [each[draw.integers(0, len(each), size=(DRAWS, len(each)))].sum(axis=1) for each in (here, there)]
    ours, theirs = (np.concatenate([each.sum(axis=0)[None], some]) for each, some in zip((here, there), drawn))
    sure = theirs @ middle / theirs.sum(axis=1)
    below = np.cumsum(theirs, axis=1) - theirs / 2
    apart = (ours * below).sum(axis=1) / (ours.sum(axis=1) * theirs.sum(axis=1))
    return Unknown(corpus, tuple(movements), int(there.sum()), len(there),
                   *(tuple(map(_number, (each[0], *np.percentile(each[1:], [2.5, 97.5])))) for each in (sure, apart)))


def _worst(found: Mapping[str, float]) -> Tuple[str, Optional[float]]:
    """The name of the lowest figure and it; of none that says nothing."""
    known = {name: value for name, value in found.items() if np.isfinite(value)}
    if not known:
        return "", None
    name = min(known, key=lambda each: known[each])
    return name, _number(known[name])


def _plain(found: Interval) -> Tuple[Optional[float], ...]:
    return tuple(map(_number, found))


def _number(value: float) -> Optional[float]:
    """To four digits; None for what is no number, which JSON cannot hold."""
    return round(float(value), 4) if np.isfinite(value) else None


def _with_tuples(value: Mapping[str, Any]) -> Dict[str, Any]:
    return {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
