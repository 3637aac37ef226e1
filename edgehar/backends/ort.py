"""ONNX Runtime on the CPU: fp32 as exported, int8 by static quantisation."""

from __future__ import annotations

import platform
from pathlib import Path
from shutil import copyfile
from typing import Dict, Optional

import numpy as np

from edgehar.artifact import Artifact
from edgehar.backends.base import Backend, BuildSpec, Engine, Session
from edgehar.machine import package_version
from edgehar.quantise import calibrated_ranges, quantise

MODEL = "model.onnx"


class Ort(Backend):
    """Runs anywhere ONNX Runtime does; FP16 brings nothing on a CPU and is not offered."""

    precisions = ("fp32", "int8")

    def missing(self) -> Optional[str]:
        if _runtime_version() is None:
            return "ONNX Runtime is not installed; run `pip install edgehar[cpu]`."
        return None

    def compile(self, artifact: Artifact, spec: BuildSpec, folder: Path) -> None:
        if spec.precision == "fp32":
            copyfile(str(artifact.onnx_path), str(folder / MODEL))
            return
        ranges = calibrated_ranges(artifact.onnx_path, artifact.calibration())
        quantise(artifact.onnx_path, ranges, folder / MODEL)

    def fingerprint(self) -> Dict[str, str]:
        return {"onnxruntime": _runtime_version() or "none", "processor_architecture": platform.machine()}

    def session(self, engine: Engine, max_batch: int) -> "OrtSession":
        return OrtSession(engine, max_batch)


class OrtSession(Session):
    """One slot, synchronous. Inputs are a preallocated (max_batch, C, 1, T) buffer."""

    def __init__(self, engine: Engine, max_batch: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = engine.spec.threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(engine.folder / MODEL), options, providers=["CPUExecutionProvider"])
        self.tasks = [output.name for output in self._session.get_outputs()]
        self._source = self._session.get_inputs()[0].name
        signal = engine.manifest.signal
        self._x = np.zeros((max_batch, len(signal.channels), 1, signal.window), np.float32)
        self._logits: Dict[str, np.ndarray] = {}

    def input(self, slot: int = 0) -> np.ndarray:
        return self._x[:, :, 0]

    def launch(self, count: int, slot: int = 0) -> None:
        values = self._session.run(None, {self._source: self._x[:count]})
        self._logits = dict(zip(self.tasks, values))

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        return self._logits

    def close(self) -> None:
        self._session = None


def _runtime_version() -> Optional[str]:
    return package_version("onnxruntime") or package_version("onnxruntime-gpu")
