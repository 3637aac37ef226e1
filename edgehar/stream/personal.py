"""One graph for all, a last layer for each: a session of one person's head, and the heads of a fleet in one product.

::

    windows (n, C, T) -> the base engine -> features (n, D) -> heads of their wearers (n, K, D) -> logits (n, K)
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

import numpy as np

from edgehar.artifact.features import LastLayer
from edgehar.artifact.golden import compare_logits, require_passed
from edgehar.artifact.personal import Head
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine, FeatureSession, Rows, Session
from edgehar.files import PathLike


class PersonalSession(Session):
    """`session` through `layers` {task: LastLayer}: the logits of one person. It closes what it was made of."""

    def __init__(self, session: FeatureSession, layers: Mapping[str, LastLayer]) -> None:
        self._session = session
        self._layers = {**session.layers, **layers}
        self.tasks = list(self._layers)

    @property
    def warnings(self) -> Sequence[str]:  # type: ignore[override]  # its own has none to change
        """Those of what it was made of."""
        return self._session.warnings

    def input(self, slot: int = 0) -> np.ndarray:
        """As `Session.input`: (max_batch, C, T) float32, owned by the session."""
        return self._session.input(slot)

    def launch(self, count: int, slot: int = 0) -> None:
        """Start on the first `count` windows of the slot's input."""
        self._session.launch(count, slot)

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        """{task: (count, K) float32} of the last launch, owned by the caller."""
        features = self._session.wait(slot)
        return {task: layer.logits(features[task]) for task, layer in self._layers.items()}

    def close(self) -> None:
        """Release the engine."""
        self._session.close()


class HeadBank:
    """The heads of a fleet's places, side by side in memory; the base engine's own layers where nobody has one.

    session: tells features; it stays the caller's to close.
    """

    def __init__(self, session: FeatureSession, places: int) -> None:
        self._trained = session.layers
        self._weights = {task: np.repeat(layer.weights[None], places, axis=0) for task, layer in self._trained.items()}
        self._bias = {task: np.repeat(layer.bias[None], places, axis=0) for task, layer in self._trained.items()}

    @classmethod
    def of(cls, session: Any, places: int, heads: Sequence[Head] = ()) -> "Optional[HeadBank]":
        """With `heads` on the places in turn, where `session` tells features; else None."""
        if not isinstance(session, FeatureSession):
            return None
        bank = cls(session, places)
        for place in range(places if heads else 0):
            bank.seat(place, heads[place % len(heads)])
        return bank

    def seat(self, place: int, head: Optional[Head] = None) -> None:
        """From now on `place` is decided by `head`; by the base's own layers where there is none."""
        for task, trained in self._trained.items():
            layer = trained if head is None else head.layers.get(task, trained)
            self._weights[task][place], self._bias[task][place] = layer

    def decide(self, task: str, rows: Rows, features: np.ndarray, out: np.ndarray) -> None:
        """Logits into out (n, K) of features (n, D), each by the head of its place; rows: of the n places."""
        np.matmul(self._weights[task][rows], features[:, :, None], out=out[:, :, None])
        out += self._bias[task][rows]


def open_for(engine: Engine, head: Optional[Head], where: PathLike = "this head", max_batch: int = 1) -> Session:
    """`engine`, open, with the logits of `head` where there is one. Raises MismatchError for a head of another base."""
    backend = BACKENDS.create(engine.backend)
    if head is None:
        return backend.open(engine, max_batch=max_batch)
    head.require_base(engine.manifest, where)
    return PersonalSession(backend.open_features(engine, max_batch), head.layers)


def require_features(engine: Engine) -> None:
    """Raise AccuracyError where features through the trained layers are not the golden logits."""
    golden, precision = engine.golden(), engine.spec.precision
    with PersonalSession(BACKENDS.create(engine.backend).open_features(engine, len(golden.x)), {}) as session:
        found = compare_logits(golden.logits, session.infer(golden.x), engine.manifest.tolerances[precision])
    require_passed(found, precision, "the features of the %s engine" % engine.backend)
