"""ONNX Runtime on the CPU: fp32 as exported, int8 by static quantisation."""

from __future__ import annotations

import platform
from pathlib import Path
from shutil import copyfile
from typing import Any, Dict, Mapping, Optional

import numpy as np

from edgehar import packages
from edgehar.artifact.incremental import StepGraph
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.proof import open_graph, proven_steps
from edgehar.artifact.quantise import calibrated_ranges, quantise, weakest_layer
from edgehar.backends._onnxruntime import MODEL, OrtFeatureSession, OrtSession
from edgehar.backends.base import Backend, BuildSpec, Engine, Rows, StepSession
from edgehar.errors import InputError
from edgehar.machine import package_version


class Ort(Backend):
    """Runs anywhere ONNX Runtime does; FP16 brings nothing on a CPU and is not offered."""

    precisions = ("fp32", "int8")

    def missing(self) -> Optional[str]:
        """As `Backend.missing`: ONNX Runtime alone is needed."""
        if _runtime_version() is None:
            return "ONNX Runtime is not installed; run `pip install edgehar[cpu]`."
        return packages.fault("onnxruntime")

    def compile(self, artifact: Artifact, spec: BuildSpec, folder: Path) -> None:
        """Copy the graph, or write it with INT8 nodes from the artifact's ranges. Raises as `Backend.build`."""
        if spec.precision == "fp32":
            copyfile(str(artifact.onnx_path), str(folder / MODEL))
            return
        ranges = calibrated_ranges(artifact.onnx_path, artifact.calibration())
        quantise(artifact.onnx_path, ranges, folder / MODEL, kept=artifact.kept_layers())

    def weakest_layer(self, artifact: Artifact, engine: Engine) -> str:
        """Found by running both graphs on the golden inputs, layer by layer."""
        return weakest_layer(artifact.onnx_path, engine.folder / MODEL, engine.golden().x)

    def fingerprint(self) -> Dict[str, str]:
        """The runtime's version and the processor's architecture."""
        return {"onnxruntime": _runtime_version() or "none", "processor_architecture": platform.machine()}

    def session(self, engine: Engine, max_batch: int) -> "OrtSession":
        """A session of up to `max_batch` windows."""
        return OrtSession(engine, max_batch)

    def feature_session(self, engine: Engine, max_batch: int) -> "OrtFeatureSession":
        """As `Backend.feature_session`, in both precisions: what follows the pool stays in fp32."""
        return OrtFeatureSession(engine, max_batch)

    def step_session(self, engine: Engine, hop: int, slots: int, lanes: int) -> "OrtStepSession":
        """As `Backend.step_session`; the step is proven exact against full windows first."""
        step = proven_steps(engine.folder / MODEL, engine.golden().x, hop, lanes)
        return OrtStepSession(step, slots, engine.spec.threads)


class OrtStepSession(StepSession):
    """What a step says is written where it stays, and the next steps read it there.

    ::

        turn of a group   0      1      2      3        rounds = ages + 1
        written at       [0]    [1]    [2]    [0]
        read, 1 ago       2      0      1      2
        read, 2 ago       1      2      0      1        so nothing is moved when all lanes advance

    Lanes that do not advance with their group are moved on by hand, if anybody advanced there
    and was not forgotten since. Sums of the pool lie in a circle of their own for each lane,
    and its newest where its advances, counted round the circle, say.
    """

    def __init__(self, step: StepGraph, slots: int, threads: int = 1) -> None:
        _, channels, self.hop, self.lanes = (each.dim_value for each in
                                             step.model.graph.input[0].type.tensor_type.shape.dim)
        self.tasks, self._step = step.tasks, step
        self._session = open_graph(step.model, threads)
        self._chunk = np.zeros((1, channels, self.hop, self.lanes), np.float32)
        self._logits = {output.name: np.zeros(output.shape, np.float32)
                        for output in self._session.get_outputs()[:len(step.tasks)]}
        groups = -(-slots // self.lanes)
        self.slots, self._rounds = groups * self.lanes, step.ages + 1
        self._all_lanes = np.arange(self.lanes)
        self._turn, self._advanced = np.zeros(groups, np.int64), np.zeros((groups, self.lanes), np.int64)
        self._used = np.zeros((groups, self.lanes), bool)
        self._around = int(np.lcm.reduce([sums.shape[0] for sums in step.sums], initial=1))
        self._said = np.zeros((groups, self._rounds, step.floats, self.lanes), np.float32)
        self._sums = [np.zeros((groups, *sums.shape), np.float32) for sums in step.sums]
        self._fresh = [np.zeros((1, sums.shape[1], sums.blocks, self.lanes), np.float32) for sums in step.sums]
        self._bindings = [[self._bind(group, turn) for turn in range(self._rounds)] for group in range(groups)]

    def advance(self, chunk: np.ndarray, slots: np.ndarray, out: Mapping[str, np.ndarray]) -> None:
        """As `StepSession.advance`: chunk (n, C, hop) of slots (n,) of one group; writes out {task: (n, K)}."""
        group = int(slots[0]) // self.lanes
        lanes = self._lanes_of(slots, group)
        self._chunk[0][:, :, lanes] = chunk.transpose(1, 2, 0)
        turn = int(self._turn[group])
        self._session.run_with_iobinding(self._bindings[group][turn])
        self._move_on(group, turn, lanes)
        self._turn[group] = (turn + 1) % self._rounds
        self._keep_sums(group, lanes)
        for task, logits in self._logits.items():
            out[task][:] = logits[lanes]

    def snapshot(self, slots: np.ndarray) -> np.ndarray:
        """As `StepSession.snapshot`: (n, floats) float32, the states of slots (n,), owned by the caller."""
        groups, lanes = np.divmod(slots, self.lanes)
        said = [self._said[groups, self._ago(groups, age), :, lanes] for age in range(1, self._rounds)]
        sums = [kept[groups, :, :, lanes].reshape(len(slots), each.floats)
                for kept, each in zip(self._sums, self._step.sums)]
        return np.concatenate([self._advanced[groups, lanes, None].astype(np.float32), *said, *sums], axis=1)

    def restore(self, slots: np.ndarray, states: np.ndarray) -> None:
        """As `StepSession.restore`: states (n, floats) into slots (n,)."""
        groups, lanes = np.divmod(slots, self.lanes)
        self._advanced[groups, lanes], first = states[:, 0], 1
        self._used[groups, lanes] = True
        for age in range(1, self._rounds):
            self._said[groups, self._ago(groups, age), :, lanes] = states[:, first:first + self._step.floats]
            first += self._step.floats
        for kept, sums in zip(self._sums, self._step.sums):
            kept[groups, :, :, lanes] = states[:, first:first + sums.floats].reshape(-1, *sums.shape[:2])
            first += sums.floats

    def forget(self, slots: np.ndarray) -> None:
        """As `StepSession.forget`: slots (n,) begin anew."""
        self._used.flat[slots] = False

    def close(self) -> None:
        """Let go of the runtime's session and all states."""
        self._session = None
        self._bindings = []

    def _ago(self, groups: Rows, age: int) -> np.ndarray:
        """Where each group's words of `age` steps ago stand."""
        return (self._turn[groups] - age) % self._rounds

    def _move_on(self, group: int, turn: int, lanes: Rows) -> None:
        """What all but `lanes` remember, to where it is looked for after this turn."""
        used, said = self._used[group], self._said[group]
        used[lanes] = False
        idle = np.flatnonzero(used)
        used[lanes] = True
        if not len(idle):
            return
        for age in range(self._rounds - 1):
            said[turn - age][:, idle] = said[turn - age - 1][:, idle]

    def _keep_sums(self, group: int, lanes: Rows) -> None:
        advanced = self._advanced[group][lanes]
        alike = isinstance(lanes, slice) and bool((advanced == advanced[0]).all())
        for sums, kept, fresh in zip(self._step.sums, self._sums, self._fresh):
            for block in range(max(0, sums.blocks - sums.shape[0]), sums.blocks):
                if alike:
                    at = (int(advanced[0]) * sums.blocks + block) % sums.shape[0]
                    kept[group, at, :, lanes] = fresh[0, :, block, lanes]
                else:
                    at, which = (advanced * sums.blocks + block) % sums.shape[0], self._all_lanes[lanes]
                    kept[group, at, :, which] = fresh[0, :, block, which]
        self._advanced[group, lanes] = (advanced + 1) % self._around

    def _lanes_of(self, slots: np.ndarray, group: int) -> Rows:
        """A slice where they lie side by side in their order: that is a view and not a copy."""
        lanes = slots - group * self.lanes
        if int(lanes.min()) < 0 or int(lanes.max()) >= self.lanes:
            raise InputError("slots %s are not all of one group of %d; advance one group at a time." % (
                slots.tolist(), self.lanes))
        first = int(lanes[0])
        abreast = slice(first, first + len(lanes))
        return abreast if np.array_equal(lanes, self._all_lanes[abreast]) else lanes

    def _bind(self, group: int, turn: int) -> Any:
        """Every input and output at its place in memory."""
        binding, said = self._session.io_binding(), self._said[group]
        _bind_to(binding.bind_input, "chunk", self._chunk)
        for task, logits in self._logits.items():
            _bind_to(binding.bind_output, task, logits)
        first = 0
        for memory in self._step.memories:
            rows = slice(first, first + memory.shape[1] * memory.shape[2])
            first = rows.stop
            _bind_to(binding.bind_output, memory.said, said[turn, rows].reshape(memory.shape))
            for age, name in enumerate(memory.read, start=1):
                _bind_to(binding.bind_input, name, said[turn - age, rows].reshape(memory.shape))
        for sums, kept, fresh in zip(self._step.sums, self._sums, self._fresh):
            _bind_to(binding.bind_input, sums.read, kept[group].reshape(sums.shape[0], -1))
            _bind_to(binding.bind_output, sums.said, fresh)
        return binding


def _bind_to(bind: Any, name: str, place: np.ndarray) -> None:
    """`place` is contiguous and stays where it is."""
    bind(name, "cpu", 0, np.float32, list(place.shape), place.ctypes.data)


def _runtime_version() -> Optional[str]:
    return package_version("onnxruntime") or package_version("onnxruntime-gpu")
