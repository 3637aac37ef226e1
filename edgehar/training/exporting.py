"""Trained model -> Artifact: one checked folder that needs no training code.

Its graph is that of ``edgehar.training.graph``; golden inputs come from validation
people, calibration inputs from training people, nothing from those of the test.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from edgehar.artifact import attribution
from edgehar.artifact.attribution import Attribution
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.artifact.operators import operators
from edgehar.artifact.samples import (CALIBRATION_WINDOWS, GOLDEN_WINDOWS, Samples, spread_out,
                                      synthetic_signals, whose, write_calibration, write_golden)
from edgehar.artifact.sequences import fit_settling
from edgehar.data.signals import Signal, Windows, windows_sha256
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, folder_written_whole
from edgehar.training.context import probabilities
from edgehar.training.evaluation import predict
from edgehar.training.folder import Fitted
from edgehar.training.graph import OPSET, TARGET, graph_and_changes
from edgehar.training.models.base import Model
from edgehar.training.parity import require_independent, require_parity
from edgehar.training.regime import labelled_of
from edgehar.training.saliency import attribute


def export(fitted: Fitted, train: Windows, valid: Windows, folder: PathLike, name: str,
           samples: Samples = Samples(), opset: int = OPSET, target: str = TARGET) -> Artifact:
    """Write an Artifact to `folder`, whole or not at all.

    train, valid: windows of the split the model was fitted on. Raises AccuracyError
    where ONNX Runtime differs from PyTorch by more than 1e-4, InputError for an operator
    that the target cannot run, a network that mixes the windows of a batch or one that
    diverged, MismatchError for windows of another split or part, or changed data.
    """
    _require_same_windows(fitted, train, valid)
    signal = fitted.model.signal
    with folder_written_whole(folder, marker="calibration.npz") as temporary:
        model, changes = graph_and_changes(fitted.model, opset, name, target)
        graph = model.SerializeToString()
        (temporary / "model.onnx").write_bytes(graph)
        golden, golden_people = _golden_inputs(valid, signal, samples.golden)
        _require_numbers(predict(fitted.model, golden))
        logits = require_independent(fitted.model, golden)
        require_parity(graph, fitted.model, golden, logits)
        write_golden(temporary, golden, logits)
        if samples.golden == "windows":
            attribution.save(temporary / attribution.FILE, _attributions(fitted.model, valid))
        chosen = spread_out(train, CALIBRATION_WINDOWS)
        write_calibration(temporary, chosen.select(signal.channels).x, samples.calibration)
        facts = _facts(fitted, name, model)
        facts["onnx"].update({"target": target, "changes": changes} if changes or target != TARGET else {})
        facts["settling"] = _settling(fitted, train, valid)
        facts["golden"] = {"kind": samples.golden, "count": len(golden), "people": golden_people}
        facts["calibration"] = {"kind": samples.calibration, "count": len(chosen), "people": whose(chosen)}
        write_manifest(temporary, facts)
    return Artifact.load(folder)


def _require_numbers(logits: Mapping[str, np.ndarray]) -> None:
    for task, values in logits.items():
        if not np.isfinite(values).all():
            raise InputError("the network gives no numbers for task '%s', as after a training that diverged; train it "
                             "again with a lower learning_rate." % task)


def _golden_inputs(valid: Windows, signal: Signal, kind: str) -> Tuple[np.ndarray, List[str]]:
    """(N, C, T) float32, evenly spread validation windows or generated signals; and of which people."""
    if kind == "synthetic":
        return synthetic_signals(signal, GOLDEN_WINDOWS), []
    chosen = spread_out(valid, GOLDEN_WINDOWS)
    return np.ascontiguousarray(chosen.select(signal.channels).x), whose(chosen)


def _attributions(model: Model, valid: Windows) -> Dict[str, Attribution]:
    x = np.ascontiguousarray(valid.select(model.signal.channels).x)
    return attribute(model, x, valid.y, predict(model, x))


def _settling(fitted: Fitted, train: Windows, valid: Windows) -> Dict[str, Dict[str, Any]]:
    """How labels come to stand, by the labels that the training knew."""
    people = labelled_of(fitted.facts)
    known = train if people is None else train.take(np.isin(train.subjects, people))
    return fit_settling(fitted.model.tasks, known, valid, probabilities(fitted.model, valid))


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
            raise MismatchError("calibration and golden inputs come from training and validation people and these "
                                "windows are of the %s people; hand in the parts in their order." % (
                                    windows.part or "unknown"))
        if windows.split_sha256 != fitted.facts["split_sha256"]:
            raise MismatchError("the windows come from another split than the model was trained on; cut them from "
                                "split %s." % fitted.facts["split_sha256"][:12])
    if windows_sha256(train) != fitted.facts["train_sha256"]:
        raise MismatchError("the corpus is not what the model was trained on: its training windows differ; use the "
                            "data folder of the training, or train again.")
