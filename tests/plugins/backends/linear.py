"""A backend in numpy for `tests.linear`, added as a user would add one."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile
from typing import Dict, Optional

import numpy as np

from edgehar.artifact.manifest import Artifact
from edgehar.backends.base import Backend, BuildSpec, Engine
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
