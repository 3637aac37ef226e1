"""Trained model -> Artifact: one checked folder that needs no training code.

The graph: input ``signal`` (N, C, 1, T) in physical units, one output of logits
(N, K) a task, dynamic N; batch normalisation folded; opset 16, IR 8, no sidecar file.
"""

from __future__ import annotations

import math
import time
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from edgehar.artifact import attribution
from edgehar.artifact.attribution import Attribution
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.artifact.operators import MAX_IR_VERSION, operators, require_parsable
from edgehar.artifact.quantise import activation_ranges
from edgehar.data.channels import Channel
from edgehar.data.signals import Signal, Windows, windows_sha256
from edgehar.errors import AccuracyError, InputError, MismatchError
from edgehar.files import PathLike, folder_written_whole
from edgehar.training.folder import Fitted
from edgehar.training.heads import Competition, make_head
from edgehar.training.loop import predict
from edgehar.training.models.base import Model
from edgehar.training.saliency import attribute

OPSET = 16
PARITY = 1e-4
GOLDEN_WINDOWS = 64
CALIBRATION_WINDOWS = 512


class Samples(NamedTuple):
    """What golden and calibration inputs are made from.

    golden: "windows" of validation people, or "synthetic" signals where the data may not
    be passed on. calibration: "windows" of training people, or only their "ranges".
    """

    golden: str = "windows"
    calibration: str = "windows"


def export(fitted: Fitted, train: Windows, valid: Windows, folder: PathLike, name: str,
           samples: Samples = Samples(), opset: int = OPSET) -> Artifact:
    """Write an Artifact to `folder`, whole or not at all.

    train, valid: windows of the split the model was fitted on. Raises AccuracyError
    where ONNX Runtime differs from PyTorch by more than 1e-4, InputError for an operator
    TensorRT 8.5 cannot parse or a network that diverged, MismatchError for windows of another
    split or part, or changed data.
    """
    _require_same_windows(fitted, train, valid)
    signal = fitted.model.signal
    with folder_written_whole(folder, marker="calibration.npz") as temporary:
        model = _onnx_model(fitted.model, opset, name)
        (temporary / "model.onnx").write_bytes(model.SerializeToString())
        golden, golden_people = _golden_inputs(valid, signal, samples.golden)
        logits = predict(fitted.model, golden)
        _require_numbers(logits)
        _require_parity(temporary / "model.onnx", golden, logits)
        arrays: Dict[str, Any] = {"logits/" + task: z for task, z in logits.items()}
        np.savez(str(temporary / "golden.npz"), x=golden, **arrays)
        if samples.golden == "windows":
            attribution.save(temporary / attribution.FILE, _attributions(fitted.model, valid))
        chosen = train.take(_spread(len(train), CALIBRATION_WINDOWS))
        _write_calibration(temporary, chosen.select(signal.channels).x, samples.calibration)
        facts = _facts(fitted, name, model)
        facts["golden"] = {"kind": samples.golden, "count": len(golden), "people": golden_people}
        facts["calibration"] = {"kind": samples.calibration, "count": len(chosen), "people": _people(chosen)}
        write_manifest(temporary, facts)
    return Artifact.load(folder)


class Deployed(nn.Module):
    """What is exported: the network on (N, C, 1, T), its logits as a tuple."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, signal: Tensor) -> Tuple[Tensor, ...]:
        return tuple(self.model.recognise(signal).logits.values())


class Body(nn.Module):
    """The network without its heads: (N, C, 1, T) -> embedding (N, D)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, signal: Tensor) -> Tensor:
        return self.model.recognise(signal).embedding


def _onnx_model(model: Model, opset: int, name: str) -> Any:
    """Trace the model. Raises InputError naming what TensorRT 8.5 cannot parse."""
    import onnx

    _require_no_competition(model)
    graph = onnx.load_model_from_string(trace(Deployed(model), _example(model), list(model.tasks), opset))
    graph.ir_version = min(graph.ir_version, MAX_IR_VERSION)
    graph.graph.name = name
    onnx.checker.check_model(graph)
    require_parsable(graph, "model '%s'" % model.spec)
    if "BatchNormalization" in operators(graph):
        raise InputError("model '%s' has a batch normalisation that cannot be folded into a convolution; place it "
                         "right after one." % model.spec)
    _require_one_head(model, graph, opset)
    return graph


def _example(model: Model) -> Tensor:
    return torch.zeros(1, len(model.signal.channels), 1, model.signal.window)


def _require_no_competition(model: Model) -> None:
    for task, head in model.heads.items():
        for rival in (module for module in head.modules() if isinstance(module, Competition)):
            raise InputError("task '%s' of model '%s' still has %d competing heads, and one is to be exported; finish "
                             "its training, which keeps the winner." % (task, model.spec, len(rival.heads)))


def _require_one_head(model: Model, graph: Any, opset: int) -> None:
    """Raise InputError where the graph holds more weights than the body and one head of its kind a task."""
    with torch.random.fork_rng(devices=[]):  # untrained heads, for their number of weights; no draw of others changes
        heads = [make_head(kind, model.embedding_width, len(model.tasks[task]))
                 for task, kind in model.head_kinds.items()]
    parts = [(Body(model), _example(model)), *((head, torch.zeros(1, model.embedding_width)) for head in heads)]
    left = _weight_count(graph) - sum(_traced_weight_count(module, example, opset) for module, example in parts)
    if left > 0:
        raise InputError("the graph of model '%s' holds %d weights that belong neither to its body nor to one head a "
                         "task (%s), so another head was left in; keep one alone when the training is finished." % (
                             model.spec, left, ", ".join("%s: %s" % each for each in model.head_kinds.items())))


def _traced_weight_count(module: nn.Module, example: Tensor, opset: int) -> int:
    import onnx

    return _weight_count(onnx.load_model_from_string(trace(module, example, ["output"], opset)))


def _weight_count(graph: Any) -> int:
    return sum(math.prod(entry.dims) for entry in graph.graph.initializer)


def trace(module: nn.Module, example: Tensor, outputs: List[str], opset: int) -> bytes:
    """ONNX bytes of `module` with input ``signal`` like `example`, dynamic in its first axis, weights inside."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        # The successor (dynamo) cannot write opsets below 18, which TensorRT 8.5 does not read.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module.eval(), (example,), buffer,  # type: ignore[arg-type]  # torch declares the successor's
                          dynamo=False, opset_version=opset, input_names=["signal"], output_names=outputs,
                          do_constant_folding=True, dynamic_axes={key: {0: "N"} for key in ["signal", *outputs]})
    return buffer.getvalue()


def _require_parity(path: Path, x: np.ndarray, logits: Mapping[str, np.ndarray]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = session.run(list(logits), {"signal": x[:, :, None, :]})
    for value, (task, want) in zip(values, logits.items()):
        error = float(np.abs(value - want).max())
        if not error <= PARITY:
            raise AccuracyError("the exported graph differs from PyTorch by %.2g in task '%s' (limit %g); report the "
                                "model, its export is not faithful." % (error, task, PARITY))


def _require_numbers(logits: Mapping[str, np.ndarray]) -> None:
    for task, values in logits.items():
        if not np.isfinite(values).all():
            raise InputError("the network gives no numbers for task '%s', as after a training that diverged; train it "
                             "again with a lower learning_rate." % task)


def _golden_inputs(valid: Windows, signal: Signal, kind: str) -> Tuple[np.ndarray, List[str]]:
    """(N, C, T) float32, evenly spread validation windows or generated signals; and of which people."""
    if kind == "synthetic":
        return synthetic_signals(signal, GOLDEN_WINDOWS), []
    chosen = valid.take(_spread(len(valid), GOLDEN_WINDOWS))
    return np.ascontiguousarray(chosen.select(signal.channels).x), _people(chosen)


def _attributions(model: Model, valid: Windows) -> Dict[str, Attribution]:
    x = np.ascontiguousarray(valid.select(model.signal.channels).x)
    return attribute(model, x, valid.y, predict(model, x))


def _write_calibration(folder: Path, windows: np.ndarray, kind: str) -> None:
    """Write ``calibration.npz`` from windows (N, C, T): them, or only the ranges they give."""
    path = str(folder / "calibration.npz")
    if kind == "ranges":
        arrays: Dict[str, Any] = {name: np.array(pair) for name, pair in
                                  activation_ranges(folder / "model.onnx", windows).items()}
        np.savez(path, **arrays)
    else:
        np.savez(path, windows=windows)


def _people(windows: Windows) -> List[str]:
    return sorted(set(windows.subjects.tolist()))


def _spread(count: int, wanted: int) -> np.ndarray:
    """Up to `wanted` numbers spread evenly over 0..count-1."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int))


def synthetic_signals(signal: Signal, count: int, seed: int = 0) -> np.ndarray:
    """Generated movement (count, C, T) float32 in physical units: a posture, a rhythm, and noise a channel.

    Strengths are typical of a body: gravity and a few m/s^2, a few rad/s.
    """
    draw = np.random.default_rng(seed)
    time_s = np.arange(signal.window) / signal.rate_hz
    rhythm_hz = draw.uniform(0.3, 3.0, (count, 1, 1))
    phase = draw.uniform(0, 2 * np.pi, (count, len(signal.channels), 1))
    strength = np.array([_strength(channel) for channel in signal.channels])[:, None]
    level = draw.normal(0, 1, (count, len(signal.channels), 1)) * strength
    swing = draw.exponential(0.5, (count, len(signal.channels), 1)) * strength
    noise = 0.05 * strength * draw.normal(0, 1, (count, len(signal.channels), signal.window))
    return (level + swing * np.sin(2 * np.pi * rhythm_hz * time_s + phase) + noise).astype(np.float32)


def _strength(channel: Channel) -> float:
    return {"acc": 5.0, "linear_acc": 2.0, "gyro": 1.0}.get(channel.kind, 1.0)


def _facts(fitted: Fitted, name: str, model: Any) -> Dict[str, Any]:
    facts = fitted.facts
    return {
        "name": name, "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "edgehar": facts["edgehar"],
        "data": facts["data"], "signal": fitted.model.signal, "tasks": fitted.model.tasks,
        "model": {"spec": facts["model"], "heads": fitted.model.head_kinds, "parameters": facts["parameters"],
                  "macs": facts["macs"]},
        "training": _training_facts(facts),
        "onnx": {"opset": model.opset_import[0].version, "ir_version": model.ir_version,
                 "operators": operators(model)},
    }


def _training_facts(facts: Mapping[str, Any]) -> Dict[str, Any]:
    kept: List[str] = ["method", "teacher", "recipe", "search", "parameters", "train_windows", "torch"]
    return dict({key: facts[key] for key in kept if key in facts}, seed=facts["recipe"]["seed"])


def _require_same_windows(fitted: Fitted, train: Windows, valid: Windows) -> None:
    for windows, part in ((train, "train"), (valid, "valid")):
        if windows.part != part:
            raise MismatchError("calibration and golden inputs come from training and validation people and these "
                                "windows are of the %s people; hand in the parts in their order." % (
                                    windows.part or "unknown"))
        if windows.split_sha256 != fitted.facts["split_sha256"]:
            raise MismatchError("the windows come from another split than the model was trained on; cut them from "
                                "split %s." % fitted.facts["split_sha256"][:12])
    if windows_sha256(train) != fitted.facts["train_sha256"]:
        raise MismatchError("the corpus is not what the model was trained on: its training windows differ; use the "
                            "data folder of the training, or train again.")
