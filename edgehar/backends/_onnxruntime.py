"""A graph in ONNX Runtime on the CPU, as more than one backend runs it."""

from __future__ import annotations

from typing import Dict

import numpy as np

from edgehar.backends.base import Engine, Session

MODEL = "model.onnx"


class OrtSession(Session):
    """One slot, synchronous. Inputs are a preallocated (max_batch, C, 1, T) buffer.

    optimised: let the runtime rearrange the graph.
    """

    def __init__(self, engine: Engine, max_batch: int, optimised: bool = True) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = engine.spec.threads
        options.inter_op_num_threads = 1
        if not optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            str(engine.folder / MODEL), options, providers=["CPUExecutionProvider"])
        self.tasks = [output.name for output in self._session.get_outputs()]
        self._source = self._session.get_inputs()[0].name
        signal = engine.manifest.signal
        self._x = np.zeros((max_batch, len(signal.channels), 1, signal.window), np.float32)
        self._logits: Dict[str, np.ndarray] = {}

    def input(self, slot: int = 0) -> np.ndarray:
        """As `Session.input`: (max_batch, C, T) float32, owned by the session; there is one slot."""
        return self._x[:, :, 0]

    def launch(self, count: int, slot: int = 0) -> None:
        """Compute the first `count` windows; they are done when this returns."""
        values = self._session.run(None, {self._source: self._x[:count]})
        self._logits = dict(zip(self.tasks, values))

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        """{task: (count, K)} of the last launch, owned by the caller."""
        return self._logits

    def close(self) -> None:
        """Let go of the runtime's session."""
        self._session = None
