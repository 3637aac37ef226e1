"""A graph in ONNX Runtime on the CPU, as more than one backend runs it."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

import numpy as np

from edgehar.artifact.features import FeaturesGraph, with_features
from edgehar.artifact.operators import read_graph
from edgehar.backends.base import Engine, FeatureSession, Session
from edgehar.errors import MismatchError

MODEL = "model.onnx"
REMEDY = "copy its artifact again or export it again, and %s"
FLOAT = "tensor(float)"


class OrtSession(Session):
    """One slot, synchronous. Inputs are a preallocated (max_batch, C, 1, T) buffer.

    optimised: let the runtime rearrange the graph. told: its graph with features, which are then told
    instead of logits. Raises MismatchError where the runtime
    cannot read or run the engine's graph, or the graph is not what the manifest says.
    """

    def __init__(self, engine: Engine, max_batch: int, optimised: bool = True,
                 told: Optional[FeaturesGraph] = None) -> None:
        self._path, self._remedy = engine.folder / MODEL, REMEDY % engine.rebuilding
        self._session = _opened(engine, optimised, told)
        features = [] if told is None else sorted(set(told.outputs.values()))
        self.tasks = features or [output.name for output in self._session.get_outputs()]
        self._source = self._session.get_inputs()[0].name
        signal = engine.manifest.signal
        _require_interface(self._session, engine, features)
        self._x = np.zeros((max_batch, len(signal.channels), 1, signal.window), np.float32)
        self._logits: Dict[str, np.ndarray] = {}

    def input(self, slot: int = 0) -> np.ndarray:
        """As `Session.input`: (max_batch, C, T) float32, owned by the session; there is one slot."""
        return self._x[:, :, 0]

    def launch(self, count: int, slot: int = 0) -> None:
        """Compute the first `count` windows; they are done when this returns."""
        try:
            values = self._session.run(self.tasks, {self._source: self._x[:count]})
        except Exception as error:  # the runtime's own kinds, which have no common base
            raise MismatchError("the graph %s cannot run (%s); %s." % (
                self._path, _told(error), self._remedy)) from error
        self._logits = dict(zip(self.tasks, values))

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        """{task: (count, K)} of the last launch, owned by the caller."""
        return self._logits

    def close(self) -> None:
        """Let go of the runtime's session."""
        self._session = None


class OrtFeatureSession(FeatureSession):
    """As `OrtSession`, of the engine's graph with one more output, which is made in memory.

    Raises InputError for a last layer that is not linear.
    """

    def __init__(self, engine: Engine, max_batch: int) -> None:
        found = with_features(read_graph(engine.folder / MODEL), engine.manifest.tasks)
        self.tasks, self.layers, self._outputs = list(found.outputs), found.layers, found.outputs
        self._runs = OrtSession(engine, max_batch, told=found)

    def input(self, slot: int = 0) -> np.ndarray:
        """As `Session.input`: (max_batch, C, T) float32; there is one slot."""
        return self._runs.input(slot)

    def launch(self, count: int, slot: int = 0) -> None:
        """Compute the features of the first `count` windows; they are done when this returns."""
        self._runs.launch(count, slot)

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        """{task: features (count, D)} of the last launch, owned by the caller."""
        told = self._runs.wait(slot)
        return {task: told[name] for task, name in self._outputs.items()}

    def close(self) -> None:
        """Let go of the runtime's session."""
        self._runs.close()


def _opened(engine: Engine, optimised: bool, told: Optional[FeaturesGraph]) -> Any:
    import onnxruntime

    path, options = engine.folder / MODEL, onnxruntime.SessionOptions()
    options.intra_op_num_threads = engine.spec.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it cannot open is told once, by us
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    graph = told.model.SerializeToString() if told else str(path)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own kinds, which have no common base
        raise MismatchError("ONNX Runtime %s cannot open the graph %s (%s); %s." % (
            onnxruntime.__version__, path, _told(error), REMEDY % engine.rebuilding)) from error


def _require_interface(session: Any, engine: Engine, features: Sequence[str]) -> None:
    """Raise MismatchError where the graph reads or writes something else than the manifest says, `features` aside."""
    manifest = engine.manifest
    reads = [(each.type, _sizes(each)) for each in session.get_inputs()]
    wanted = [(FLOAT, ("?", len(manifest.signal.channels), 1, manifest.signal.window))]
    writes = {each.name: (each.type, _sizes(each)[-1:]) for each in session.get_outputs()
              if each.name not in features}
    for what, has, says in (("reads", reads, wanted), ("writes", writes, {
            task: (FLOAT, (len(names),)) for task, names in manifest.tasks.items()})):
        if has != says:
            raise MismatchError("the graph %s %s %s and its manifest says %s; %s." % (
                engine.folder / MODEL, what, has or "nothing", says, REMEDY % engine.rebuilding))


def _sizes(entry: Any) -> Any:
    """The sizes of an input or output, "?" for one that is free."""
    return tuple(size if isinstance(size, int) else "?" for size in entry.shape)


def _told(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200].rstrip(". ") or type(error).__name__
