"""A board that is not there: its arithmetic in FP16 and INT8 on this CPU, its timings from the cost model.

What differs from TensorRT on the board:

- Sums are exact in FP32 here; tensor cores add FP16 products in an order of their own.
- A tensor that both INT8 and FP16 kernels read is rounded for each of them; TensorRT
  decides by timing in which of the two it is written, and rounds twice in one case.
- The classifier and global pooling stay in FP16; TensorRT may choose INT8 for the first.
- Which kernel has an INT8 form is decided by its shape alone; TensorRT also times them, and
  takes FP16 where it is faster.

Nothing here is timed: `predicted_latency_s` comes from `edgehar.artifact.cost`, and a Run of this
backend says "simulated".
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from shutil import copyfile
from typing import Dict, Optional, Sequence

from edgehar import packages
from edgehar.artifact.boards import Estimate, load_board
from edgehar.artifact.cost import predict_cost
from edgehar.artifact.folding import folded
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.operators import read_graph
from edgehar.artifact.quantise import calibrated_ranges, weakest_layer
from edgehar.backends._onnxruntime import MODEL, OrtSession
from edgehar.backends._rounding import rounded
from edgehar.backends.base import Backend, BuildSpec, Engine
from edgehar.machine import package_version
from edgehar.results.runs import SIMULATED

EXPORTED = "exported.onnx"  # beside the rounded one: what is costed


class Sim(Backend):
    """``sim:board=xavier-agx,mode=MODE_15W,graph=false``: numerics of its GPU, and what it would cost there.

    board: name, or a file as `edgehar calibrate` writes it. mode: power mode of the board. graph: kernels are launched
    as one CUDA graph.
    """

    source = SIMULATED
    precisions = ("fp32", "fp16", "int8")
    default_precision = "fp16"

    def __init__(self, board: str = "xavier-agx", mode: str = "MAXN", graph: bool = True) -> None:
        load_board(board).clocks(mode)
        self.running = {"board": board, "mode": mode, "graph": graph}

    def missing(self) -> Optional[str]:
        """As `Backend.missing`: onnx and ONNX Runtime are needed."""
        absent = [name for name in ("onnx", "onnxruntime") if package_version(name) is None]
        if absent:
            return "the package %s is not installed; run `pip install edgehar[cpu]`." % absent[0]
        return packages.fault("onnx") or packages.fault("onnxruntime")

    def compile(self, artifact: Artifact, spec: BuildSpec, folder: Path) -> None:
        """Write the graph rounded as the precision would round it, and the exported one to predict from."""
        import onnx

        model = folded(read_graph(artifact.onnx_path))
        copyfile(str(artifact.onnx_path), str(folder / EXPORTED))
        if spec.precision == "fp16":
            model = rounded(model)
        elif spec.precision == "int8":
            model = rounded(model, calibrated_ranges(artifact.onnx_path, artifact.calibration()))
        onnx.save_model(model, str(folder / MODEL))

    def weakest_layer(self, artifact: Artifact, engine: Engine) -> str:
        """Found by running both graphs on the golden inputs, layer by layer."""
        return weakest_layer(artifact.onnx_path, engine.folder / MODEL, engine.golden().x)

    def fingerprint(self) -> Dict[str, str]:
        """The runtime's version."""
        return {"onnxruntime": package_version("onnxruntime") or "none"}

    def session(self, engine: Engine, max_batch: int) -> "SimSession":
        """A session that computes here what the board would, at this machine's own speed."""
        return SimSession(engine, max_batch, {**self.running, **engine.running})


class SimSession(OrtSession):
    """The rounded graph, as it is: an optimiser may undo rounding."""

    def __init__(self, engine: Engine, max_batch: int, running: Dict[str, object]) -> None:
        super().__init__(engine, max_batch, optimised=False)
        self.running = running
        self._exported, self._precision = engine.folder / EXPORTED, engine.spec.precision

    def predicted_latency_s(self, count: int) -> Sequence[float]:
        """Expected, lowest and highest seconds of a batch of `count` windows on the board."""
        return _latency(self._exported, self._precision, count, **self.running)


@lru_cache(maxsize=64)
def _latency(path: Path, precision: str, count: int, board: str, mode: str, graph: bool) -> Estimate:
    import onnx

    return predict_cost(load_board(board), onnx.load(str(path)), mode, precision, count, graph=graph).seconds
