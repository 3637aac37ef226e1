"""ONNX Runtime on the CPU: fp32 as exported, int8 by static quantisation."""

from __future__ import annotations

import platform
from pathlib import Path
from shutil import copyfile
from typing import Any, Dict, Mapping, Optional, Sequence

import numpy as np

from edgehar.artifact import Artifact
from edgehar.backends._onnxruntime import MODEL, OrtSession
from edgehar.backends.base import Backend, BuildSpec, Engine, StepSession
from edgehar.errors import InputError
from edgehar.machine import package_version
from edgehar.quantise import calibrated_ranges, quantise
from edgehar.steps import StepGraph, open_graph, proven_steps


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

    def step_session(self, engine: Engine, hop: int, slots: int, lanes: int) -> "OrtStepSession":
        step = proven_steps(engine.folder / MODEL, engine.golden().x, hop, lanes)
        return OrtStepSession(step, slots, engine.spec.threads)


class OrtStepSession(StepSession):
    """A step writes all its states to one place that stays in the cache, and from there they go back to their group."""

    def __init__(self, step: StepGraph, slots: int, threads: int = 1) -> None:
        _, channels, self.hop, self.lanes = (each.dim_value for each in
                                             step.model.graph.input[0].type.tensor_type.shape.dim)
        self.tasks = step.tasks
        self._session = open_graph(step.model, threads)
        self._chunk = np.zeros((1, channels, self.hop, self.lanes), np.float32)
        self._logits = {output.name: np.zeros(output.shape, np.float32)
                        for output in self._session.get_outputs()[:len(step.tasks)]}
        groups = -(-slots // self.lanes)
        self.slots = groups * self.lanes
        self._states = np.zeros((groups, step.floats, self.lanes), np.float32)
        self._next = np.zeros_like(self._states[0])
        self._bindings = [self._bind(step, states) for states in self._states]

    def advance(self, chunk: np.ndarray, slots: np.ndarray, out: Mapping[str, np.ndarray]) -> None:
        group = int(slots[0]) // self.lanes
        lanes = slots - group * self.lanes
        if int(lanes.min()) < 0 or int(lanes.max()) >= self.lanes:
            raise InputError("slots %s are not all of one group of %d; advance one group at a time." % (
                slots.tolist(), self.lanes))
        if len(slots) == self.lanes and (lanes[1:] > lanes[:-1]).all():
            lanes = slice(None)  # all in order: views instead of copies
        self._chunk[0][:, :, lanes] = chunk.transpose(1, 2, 0)
        self._session.run_with_iobinding(self._bindings[group])
        self._states[group][:, lanes] = self._next[:, lanes]
        for task, logits in self._logits.items():
            out[task][:] = logits[lanes]

    def snapshot(self, slots: np.ndarray) -> np.ndarray:
        groups, lanes = np.divmod(slots, self.lanes)
        return self._states[groups, :, lanes]

    def restore(self, slots: np.ndarray, states: np.ndarray) -> None:
        groups, lanes = np.divmod(slots, self.lanes)
        self._states[groups, :, lanes] = states

    def close(self) -> None:
        self._session = None
        self._bindings = []

    def _bind(self, step: StepGraph, states: np.ndarray) -> Any:
        """Every input and output at its place in memory."""
        binding, first = self._session.io_binding(), 0
        _bind_to(binding.bind_input, "chunk", self._chunk, self._chunk.shape)
        for task, logits in self._logits.items():
            _bind_to(binding.bind_output, task, logits, logits.shape)
        for name, shape in step.states.items():
            last = first + shape[1] * shape[2]
            _bind_to(binding.bind_input, name, states[first:last], shape)
            _bind_to(binding.bind_output, name + ".next", self._next[first:last], shape)
            first = last
        return binding


def _bind_to(bind: Any, name: str, place: np.ndarray, shape: Sequence[int]) -> None:
    bind(name, "cpu", 0, np.float32, list(shape), place.ctypes.data)


def _runtime_version() -> Optional[str]:
    return package_version("onnxruntime") or package_version("onnxruntime-gpu")
