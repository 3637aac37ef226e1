"""A network as an ONNX graph that TensorRT 8.5 parses.

The graph: input ``signal`` (N, C, 1, T) in physical units, one output of logits
(N, K) a task, dynamic N; batch normalisation folded; opset 16, IR 8, no sidecar file.
"""

from __future__ import annotations

import math
import warnings
from io import BytesIO
from typing import Any, List, Tuple

import torch
from torch import Tensor, nn

from edgehar.artifact.operators import MAX_IR_VERSION, operators
from edgehar.artifact.targets import prepare_for
from edgehar.errors import InputError
from edgehar.training.heads import Competition, make_head
from edgehar.training.models.base import Model
from edgehar.training.plugin_faults import first_words

OPSET = 16
TARGET = "trt8.5"
REMEDIES = {"fft": "use a convolution with a fixed basis", "stft": "use a convolution with a fixed basis",
            "adaptive": "choose an output size that divides the input's"}


class Deployed(nn.Module):
    """What is exported: the network on (N, C, 1, T), its logits as a tuple."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, signal: Tensor) -> Tuple[Tensor, ...]:
        """signal (N, C, 1, T) -> logits (N, K) a task, in order."""
        return tuple(self.model.recognise(signal).logits.values())


class Body(nn.Module):
    """The network without its heads: (N, C, 1, T) -> embedding (N, D)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, signal: Tensor) -> Tensor:
        """signal (N, C, 1, T) -> embedding (N, D)."""
        return self.model.recognise(signal).embedding


def onnx_model(model: Model, opset: int, name: str, target: str = TARGET) -> Any:
    """The graph of `model`, made for a target of `edgehar.artifact.targets`.

    Raises InputError naming what PyTorch cannot write or the target cannot run.
    """
    return graph_and_changes(model, opset, name, target)[0]


def graph_and_changes(model: Model, opset: int, name: str, target: str = TARGET) -> Tuple[Any, List[str]]:
    """As `onnx_model`, and sentences on what was changed for the target, or runs elsewhere there."""
    import onnx

    _require_no_competition(model)
    graph = onnx.load_model_from_string(_traced(model, opset))
    graph.ir_version = min(graph.ir_version, MAX_IR_VERSION)
    graph.graph.name = name
    onnx.checker.check_model(graph)
    changes = prepare_for(graph, target, model.title)
    if "BatchNormalization" in operators(graph):
        raise InputError("%s has a batch normalisation that cannot be folded into a convolution; place it right after "
                         "one." % model.title)
    _require_one_head(model, graph, opset)
    return graph, changes


def _traced(model: Model, opset: int) -> bytes:
    try:
        return trace(Deployed(model), _example(model), list(model.tasks), opset)
    except Exception as error:  # of the exporter's own kinds, and of whatever the network does while it is watched
        said = first_words(error)
        raise InputError("%s cannot be exported (%s: %s); %s." % (
            model.title, type(error).__name__, said, _remedy(said))) from error


def _remedy(said: str) -> str:
    return next((remedy for word, remedy in REMEDIES.items() if word in said), "replace what it names by plain layers")


def _example(model: Model) -> Tensor:
    return torch.zeros(1, len(model.signal.channels), 1, model.signal.window)


def _require_no_competition(model: Model) -> None:
    for task, head in model.heads.items():
        for rival in (module for module in head.modules() if isinstance(module, Competition)):
            raise InputError("task '%s' of %s still has %d competing heads, and one is to be exported; finish its "
                             "training, which keeps the winner." % (task, model.title, len(rival.heads)))


def _require_one_head(model: Model, graph: Any, opset: int) -> None:
    """Raise InputError where the graph holds more weights than the body and one head of its kind a task."""
    with torch.random.fork_rng(devices=[]):  # untrained heads, for their number of weights; no draw of others changes
        heads = [make_head(kind, model.embedding_width, len(model.tasks[task]))
                 for task, kind in model.head_kinds.items()]
    parts = [(Body(model), _example(model)), *((head, torch.zeros(1, model.embedding_width)) for head in heads)]
    left = _weight_count(graph) - sum(_traced_weight_count(module, example, opset) for module, example in parts)
    if left > 0:
        raise InputError("the graph of %s holds %d weights that belong neither to its body nor to one head a "
                         "task (%s), so another head was left in; keep one alone when the training is finished." % (
                             model.title, left, ", ".join("%s: %s" % each for each in model.head_kinds.items())))


def _traced_weight_count(module: nn.Module, example: Tensor, opset: int) -> int:
    import onnx

    return _weight_count(onnx.load_model_from_string(trace(module, example, ["output"], opset)))


def _weight_count(graph: Any) -> int:
    return sum(math.prod(entry.dims) for entry in graph.graph.initializer)


def trace(module: nn.Module, example: Tensor, outputs: List[str], opset: int) -> bytes:
    """ONNX bytes of `module`, dynamic in its first axis, weights inside; input ``signal`` like `example` (N, ...)."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        # Of the successor (dynamo), which cannot write opsets below 18, that TensorRT 8.5 does not read; and of what a
        # trace may have frozen, for which edgehar.training.parity looks.
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (example,), buffer,  # type: ignore[arg-type]  # torch declares the successor's
                          dynamo=False, opset_version=opset, input_names=["signal"], output_names=outputs,
                          do_constant_folding=True, dynamic_axes={key: {0: "N"} for key in ["signal", *outputs]})
    return buffer.getvalue()
