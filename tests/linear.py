"""A linear model in numpy, its signal and its artifact: real enough for streams, small enough to reason about."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

import numpy as np

from edgehar import registry
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.backends.base import Session
from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.data.splits import Split
from edgehar.stream.decision import Decision
from edgehar.stream.stream import Stream

PLUGINS = Path(__file__).with_name("plugins")
BACKEND = PLUGINS / "backends" / "linear.py"
DATASET = PLUGINS / "datasets" / "walks.py"
CHANNELS = triad("acc", "m/s^2", "wrist", "imu")
SIGNAL = Signal(channels=CHANNELS, rate_hz=50.0, window=16, hop=5, max_gap_s=0.1)
TASKS = {"activity": ("still", "walk", "run"), "placement": ("left", "right")}
SPLIT = Split("walks", "fixed", ("01",), ("02",), ("03",))


class LinearSession(Session):
    """logits = W x for each task. weights: {task: (K, C * T) float32}."""

    def __init__(self, weights: Dict[str, np.ndarray], max_batch: int = 1, signal: Signal = SIGNAL) -> None:
        self.tasks = sorted(weights)
        self._weights = weights
        self._x = np.zeros((max_batch, len(signal.channels), signal.window), dtype=np.float32)
        self._logits: Dict[str, np.ndarray] = {}
        self.closed = False

    def input(self, slot: int = 0) -> np.ndarray:
        return self._x

    def launch(self, count: int, slot: int = 0) -> None:
        flat = self._x[:count].reshape(count, -1)
        self._logits = {task: flat @ weight.T for task, weight in self._weights.items()}

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        return self._logits

    def close(self) -> None:
        self.closed = True


class ScriptedSession(LinearSession):
    """Speaks the class in the window's last sample of its first channel: labels by hand."""

    def launch(self, count: int, slot: int = 0) -> None:
        spoken = self._x[:count, 0, -1].astype(int)
        self._logits = {task: 10 * np.eye(len(weight), dtype=np.float32)[spoken % len(weight)]
                        for task, weight in self._weights.items()}


def weights(tasks: Dict[str, Sequence[str]] = TASKS, signal: Signal = SIGNAL, seed: int = 3) -> Dict[str, np.ndarray]:
    """Seeded weights for every task."""
    random = np.random.default_rng(seed)
    size = len(signal.channels) * signal.window
    return {task: random.normal(0, 0.3, (len(names), size)).astype(np.float32) for task, names in tasks.items()}


def stream(signal: Signal = SIGNAL, session: type = LinearSession, **options) -> Stream:
    """A Stream over the linear model."""
    return Stream(session(weights(signal=signal), signal=signal), signal, TASKS, **options)


def noise(count: int, seed: int = 0) -> np.ndarray:
    """(count, 3) float32 of samples that no check objects to."""
    return np.random.default_rng(seed).normal(0, 4, (count, 3)).astype(np.float32)


def pieces(samples: np.ndarray, cuts: Sequence[int]) -> Iterator[np.ndarray]:
    """`samples` chopped at the sorted positions `cuts`."""
    edges = [0, *sorted(cuts), len(samples)]
    return (samples[a:b] for a, b in zip(edges[:-1], edges[1:]))


def same(a: List[Decision], b: List[Decision]) -> bool:
    """Whether two lists of decisions are equal bit for bit."""
    return [bits(decision) for decision in a] == [bits(decision) for decision in b]


def bits(decision: Decision):
    probabilities = {task: p.tobytes() for task, p in decision.probabilities.items()}
    return (decision.time_s, decision.label, decision.raw_label, probabilities, decision.confidence, decision.quality,
            decision.staleness_s, decision.begins)


def decision(label: str = "walk", time_s: float = 1.5, raw: str = "", confidence: float = 0.7,
             begins: bool = False) -> Decision:
    """A decision for sinks."""
    return Decision(time_s, {"activity": label}, {"activity": raw or label},
                    {"activity": np.array([0.1, 0.7, 0.2], dtype=np.float32)}, {"activity": confidence},
                    begins=begins)


def write_artifact(folder, dataset: str = "walks", seed: int = 3) -> Artifact:
    """An artifact whose ``model.onnx`` is in truth the weights that backend ``linear`` reads."""
    folder.mkdir(parents=True)
    buffer = io.BytesIO()
    np.savez(buffer, **weights(seed=seed))
    (folder / "model.onnx").write_bytes(buffer.getvalue())
    x = np.stack([noise(16, seed).T for seed in range(8)])
    session = LinearSession(weights(seed=seed), max_batch=8)
    np.savez(str(folder / "golden.npz"), x=x, **{"logits/" + task: out for task, out in session.infer(x).items()})
    np.savez(str(folder / "calibration.npz"), windows=x)
    write_manifest(folder, {
        "name": "linear", "created": "2024-01-01T00:00:00Z", "edgehar": "0", "signal": SIGNAL, "tasks": TASKS,
        "data": {"dataset": dataset, "synthetic": True, "licence": "free", "citation": "none",
                 "split": dict(SPLIT.to_json(), sha256=SPLIT.sha256)},
        "model": {"spec": "linear", "parameters": 240, "macs": 240}, "training": {"method": "none", "seed": seed},
        "onnx": {"opset": 16, "ir_version": 8, "operators": []},
        "golden": {"kind": "synthetic", "count": 8, "people": []},
        "calibration": {"kind": "windows", "count": 8, "people": ["01"]}})
    return Artifact.load(folder)


def add_plugins(monkeypatch) -> None:
    """Let backend ``linear`` and dataset ``walks`` stand in their rooms until the test ends."""
    monkeypatch.setattr(registry, "_extra_files", {room: dict(files) for room, files in registry._extra_files.items()})
    for path in (BACKEND, DATASET):
        registry.add_plugin(path)
