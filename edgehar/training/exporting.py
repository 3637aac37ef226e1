"""Trained model -> Artifact: one checked folder that needs no training code.

Its graph is that of ``edgehar.training.graph``; golden inputs come from validation
subjects, calibration inputs from training subjects, nothing from those of the test.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

import numpy as np

from edgehar.artifact import attribution
from edgehar.artifact.attribution import Attribution
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.artifact.operators import operators
from edgehar.artifact.quantise import activation_ranges
from edgehar.data.channels import Channel
from edgehar.data.signals import Signal, Windows, windows_sha256
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, folder_written_whole
from edgehar.training.evaluation import predict
from edgehar.training.folder import Fitted
from edgehar.training.graph import OPSET, onnx_model
from edgehar.training.models.base import Model
from edgehar.training.parity import require_independent, require_parity
from edgehar.training.saliency import attribute

GOLDEN_WINDOWS = 64
CALIBRATION_WINDOWS = 512


class Samples(NamedTuple):
    """What golden and calibration inputs are made from.

    golden: "windows" of validation subjects, or "synthetic" signals where the data may not
    be passed on. calibration: "windows" of training subjects, or only their "ranges".
    """

    golden: str = "windows"
    calibration: str = "windows"


def export(fitted: Fitted, train: Windows, valid: Windows, folder: PathLike, name: str,
           samples: Samples = Samples(), opset: int = OPSET) -> Artifact:
    """Write an Artifact to `folder`, whole or not at all.

    train, valid: windows of the split the model was fitted on. Raises AccuracyError
    where ONNX Runtime differs from PyTorch by more than 1e-4, InputError for an operator
    TensorRT 8.5 cannot parse, a network that mixes the windows of a batch or one that
    diverged, MismatchError for windows of another split or part, or changed data.
    """
    _require_same_windows(fitted, train, valid)
    signal = fitted.model.signal
    with folder_written_whole(folder, marker="calibration.npz") as temporary:
        model = onnx_model(fitted.model, opset, name)
        graph = model.SerializeToString()
        (temporary / "model.onnx").write_bytes(graph)
        golden, golden_people = _golden_inputs(valid, signal, samples.golden)
        _require_numbers(predict(fitted.model, golden))
        logits = require_independent(fitted.model, golden)
        require_parity(graph, fitted.model, golden, logits)
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


def _require_numbers(logits: Mapping[str, np.ndarray]) -> None:
    for task, values in logits.items():
        if not np.isfinite(values).all():
            raise InputError("the network gives no numbers for task '%s', as after a training that diverged; train it "
                             "again with a lower learning_rate." % task)


def _golden_inputs(valid: Windows, signal: Signal, kind: str) -> Tuple[np.ndarray, List[str]]:
    """(N, C, T) float32, evenly spread validation windows or generated signals; and of which subjects."""
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
    kept: List[str] = ["method", "teacher", "recipe", "pace", "labels", "context", "search", "parameters",
                       "train_windows", "torch"]
    return dict({key: facts[key] for key in kept if key in facts}, seed=facts["recipe"]["seed"])


def _require_same_windows(fitted: Fitted, train: Windows, valid: Windows) -> None:
    for windows, part in ((train, "train"), (valid, "valid")):
        if windows.part != part:
            raise MismatchError("calibration and golden inputs come from training and validation subjects and these "
                                "windows are of the %s subjects; hand in the parts in their order." % (
                                    windows.part or "unknown"))
        if windows.split_sha256 != fitted.facts["split_sha256"]:
            raise MismatchError("the windows come from another split than the model was trained on; cut them from "
                                "split %s." % fitted.facts["split_sha256"][:12])
    if windows_sha256(train) != fitted.facts["train_sha256"]:
        raise MismatchError("the corpus is not what the model was trained on: its training windows differ; use the "
                            "data folder of the training, or train again.")
