"""A backend in numpy for `tests.linear`, added as a user would add one."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile
from typing import Dict, Optional

import numpy as np

from edgehar.artifact.features import LastLayer
from edgehar.artifact.manifest import Artifact
from edgehar.backends.base import Backend, BuildSpec, Engine, FeatureSession
from tests.linear import LinearSession


class Linear(Backend):
    """Reads the weights that stand in for the graph."""

    precisions = ("fp32",)

    def missing(self) -> Optional[str]:
        return None

    def compile(self, artifact: Artifact, spec: BuildSpec, folder: Path) -> None:
        copyfile(str(artifact.onnx_path), str(folder / "weights.npz"))

    def fingerprint(self) -> Dict[str, str]:
        return {"linear": "1"}

    def session(self, engine: Engine, max_batch: int) -> LinearSession:
        with np.load(str(engine.folder / "weights.npz")) as stored:
            return LinearSession(dict(stored), max_batch)

    def feature_session(self, engine: Engine, max_batch: int) -> "LinearFeatures":
        with np.load(str(engine.folder / "weights.npz")) as stored:
            return LinearFeatures(dict(stored), max_batch)


class LinearFeatures(FeatureSession):
    """Its features are the window itself."""

    def __init__(self, weights: Dict[str, np.ndarray], max_batch: int) -> None:
        self.layers = {task: LastLayer(each, np.zeros(len(each), np.float32)) for task, each in weights.items()}
        self.tasks, self._runs, self._count = sorted(weights), LinearSession(weights, max_batch), 0

    def input(self, slot: int = 0) -> np.ndarray:
        return self._runs.input(slot)

    def launch(self, count: int, slot: int = 0) -> None:
        self._count = count

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        flat = self.input()[:self._count].reshape(self._count, -1)
        return dict.fromkeys(self.tasks, flat)
