"""Measurement and Run: numbers kept raw, with all that is needed to judge them.

A Run is written once and never changed. Percentiles, intervals and tables are made
from the raw values when somebody looks; see ``edgehar.results.scores`` and ``edgehar.results.page``.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edgehar.errors import InconclusiveError, InputError
from edgehar.files import PathLike, read_json, sha256_of_json, write_json

SCHEMA = 1
MEASURED = "measured"
SIMULATED = "simulated"
RELIABILITY_ROWS = ("count", "confidence", "right")
LATER_FIELDS = ("calibration", "events", "power", "energy")


@dataclass(frozen=True)
class Measurement:
    """One quantity with all its raw values, in the order they were taken."""

    name: str
    unit: str
    values: Tuple[float, ...]

    def percentile(self, percent: float) -> float:
        """The value below which `percent` of the values lie.

        Raises InconclusiveError where fewer than ten values lie beyond it.
        """
        share = min(percent, 100 - percent) / 100
        if len(self.values) * share < 10:
            raise InconclusiveError("%s has %d values, too few for its %g-percentile (%d needed); measure longer." % (
                self.name, len(self.values), percent, int(np.ceil(10 / share)) if share else 0))
        return float(np.percentile(self.values, percent))

    @property
    def median(self) -> float:
        """The median of the values."""
        return float(np.median(self.values))


@dataclass(frozen=True)
class Run:
    """One benchmark of one engine in one scenario on one machine.

    source: "measured" or "simulated"; synthetic: whether the data were generated.
    engine: facts of the engine, its artifact and model. scenario: its settings.
    people: {task: {person: (K, K) confusion as lists}} where accuracy was measured.
    calibration: {task: {person: {"count", "confidence", "right": (B,) list}}} beside it.
    events: {task: {person: what `scoring.EventScores` holds}} of a stream.
    power: raw samples and phases of a meter, as `energy.Trace` writes them; energy: what
    `energy.estimate` made of them. Both may be judged anew.
    """

    scenario: Dict[str, Any]
    engine: Dict[str, Any]
    machine: Dict[str, Any]
    measurements: Tuple[Measurement, ...] = ()
    people: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    calibration: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    events: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    power: Dict[str, Any] = field(default_factory=dict)
    energy: Dict[str, Any] = field(default_factory=dict)
    classes: Dict[str, Tuple[str, ...]] = field(default_factory=dict)
    split: Dict[str, Any] = field(default_factory=dict)
    synthetic: bool = False
    source: str = MEASURED
    command: str = ""
    warnings: Tuple[str, ...] = ()
    created: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def measurement(self, name: str) -> Optional[Measurement]:
        """The measurement called `name`, or None."""
        return next((m for m in self.measurements if m.name == name), None)

    def confusions(self, task: str) -> Dict[str, np.ndarray]:
        """{person: (K, K) int64} of `task`; empty where accuracy was not measured."""
        return {person: np.asarray(counts, dtype=np.int64) for person, counts in self.people.get(task, {}).items()}

    def reliabilities(self, task: str) -> Dict[str, np.ndarray]:
        """{person: (3, B) float64: count, confidence, right} of `task`; empty where it was not recorded."""
        return {person: np.array([bins[row] for row in RELIABILITY_ROWS], dtype=np.float64)
                for person, bins in self.calibration.get(task, {}).items()}

    def to_json(self) -> Dict[str, Any]:
        """All fields and their digest, as a Run's file holds them."""
        value = dict(asdict(self), schema=SCHEMA)
        for name in LATER_FIELDS:
            if not value[name]:
                del value[name]  # so that a Run from before they were kept has the digest it was written with
        value["sha256"] = sha256_of_json(value)
        return value

    def write(self, path: PathLike) -> Path:
        """Write to `path`. Raises InputError where a file stands there already: a Run is never changed."""
        path = Path(path)
        if path.exists():
            raise InputError("%s exists and a Run is never overwritten; choose another name with -o." % path)
        write_json(path, self.to_json(), indent=None)  # thousands of raw values, one a line, serve nobody
        return path

    @classmethod
    def load(cls, path: PathLike) -> "Run":
        """Read a Run.

        Raises InputError for a file that is no Run, was changed after it was written, or holds what this edgehar
        does not know.
        """
        value = read_json(path)
        if not isinstance(value, dict) or value.get("schema") != SCHEMA or "engine" not in value:
            raise InputError("%s is not a Run of this edgehar (schema %d); make it with `edgehar bench`." % (
                path, SCHEMA))
        written = value.pop("sha256", "")
        if written != sha256_of_json(value):
            raise InputError("%s was changed after it was written; measure again with `edgehar bench`." % path)
        try:
            return cls._from_json(value)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError("%s was written by another edgehar (%s: %s); update edgehar." % (
                path, type(error).__name__, error)) from error

    @classmethod
    def _from_json(cls, value: Mapping[str, Any]) -> "Run":
        fields = {key: item for key, item in value.items() if key != "schema"}
        fields["measurements"] = tuple(Measurement(m["name"], m["unit"], tuple(m["values"]))
                                       for m in value["measurements"])
        fields["classes"] = {task: tuple(names) for task, names in value["classes"].items()}
        fields["warnings"] = tuple(value["warnings"])
        return cls(**fields)


def load_all(paths: Sequence[PathLike]) -> List[Run]:
    """Runs from files and folders (every .json in a folder, sorted). Raises InputError where there is none."""
    files: List[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob("**/*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError("no Run was found in %s; make one with `edgehar bench`." % ", ".join(map(str, paths)))
    return [Run.load(path) for path in files]
