"""What a training remembers: of its data, its recipe and its teachers; and by what of it two are the same."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

import torch

from edgehar import __version__
from edgehar.data.corpus import Corpus
from edgehar.data.signals import Windows, windows_sha256
from edgehar.errors import InputError
from edgehar.files import read_json
from edgehar.training.folder import CHECKPOINT, FACTS, WEIGHTS, Fitted, of_this_version
from edgehar.training.models.base import Model
from edgehar.training.recipe import FP32, Recipe
from edgehar.training.speed import precision_here

VERSIONS = ("edgehar", "torch")


def training_plan(model: Model, train: Windows, valid: Windows, recipe: Recipe, method: str,
                  teachers: Sequence[Fitted]) -> Dict[str, Any]:
    """The facts that make two trainings the same training."""
    plan = {"model": model.spec, "signal": model.signal.to_json(),
            "tasks": {task: list(names) for task, names in model.tasks.items()}, "method": method,
            "recipe": recipe.to_json(), "split_sha256": train.split_sha256, "train_sha256": windows_sha256(train),
            "train_windows": len(train), "valid_windows": len(valid), "parameters": model.parameter_count(),
            "macs": model.mac_count()}
    pace = recipe.pace(len(train))
    if pace != (recipe.batch_size, len(train)):
        plan["pace"] = pace._asdict()
    if recipe.precision != FP32:
        plan["precision"] = precision_here(recipe)
    return dict(plan, teacher=_teachers_facts(teachers)) if teachers else plan


def _teachers_facts(teachers: Sequence[Fitted]) -> Dict[str, Any]:
    """What a student remembers of those who taught it as one."""
    members = [_teacher_facts(teacher) for teacher in teachers]
    if len(members) == 1:
        return members[0]
    channels = dict.fromkeys(name for member in members for name in member["channels"])
    return {"model": "ensemble of %s" % " + ".join(member["model"] for member in members), "members": members,
            "channels": list(channels), "parameters": sum(member["parameters"] for member in members),
            "macs": sum(member["macs"] for member in members)}


def _teacher_facts(teacher: Fitted) -> Dict[str, Any]:
    """What a student remembers of its teacher."""
    return {"model": teacher.facts["model"], "parameters": teacher.facts["parameters"], "macs": teacher.facts["macs"],
            "channels": [channel.name for channel in teacher.model.signal.channels],
            "recipe": teacher.facts["recipe"], "seed": teacher.facts["recipe"]["seed"],
            "valid_macro_f1": teacher.best.score,
            "weights_sha256": weights_sha256(teacher.model), **_labels_told(teacher.facts)}


def _labels_told(facts: Mapping[str, Any]) -> Dict[str, Any]:
    """How many people's labels a teacher had, where it did not have everybody's."""
    labelled = facts.get("labels", {}).get("labelled")
    return {"labelled": labelled} if labelled else {}


def weights_sha256(model: Model) -> str:
    """Digest of all weights and buffers, by name."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode("utf-8") + value.numpy().tobytes())
    return digest.hexdigest()


def data_facts(corpus: Corpus) -> Dict[str, Any]:
    """What a trained network remembers of its data and of the code."""
    dataset, split = corpus.dataset, corpus.split
    return {"edgehar": __version__, "torch": torch.__version__,
            "data": {"dataset": corpus.spec, "synthetic": dataset.synthetic, "licence": dataset.licence,
                     "citation": dataset.citation, "split": dict(split.to_json(), sha256=split.sha256),
                     "measured_hz": list(corpus.measured_hz),
                     "people": {part.part: len(set(part.subjects)) for part in corpus.parts.labelled},
                     "skipped": list(dataset.skipped)}}


def require_same_plan(folder: Path, plan: Dict[str, Any]) -> None:
    """Raise InputError where `folder` holds a begun training that differs, naming in what."""
    finished = (folder / WEIGHTS).is_file()
    if not finished and not (folder / CHECKPOINT).is_file():
        return
    with of_this_version(folder / FACTS):
        stored = _identity(read_json(folder / FACTS), finished)
    for key, value in _identity(json.loads(json.dumps(plan)), finished).items():
        if stored.get(key) != value:
            raise InputError("%s holds a training with another %s (%s); choose another folder, or remove it." % (
                folder, key.replace("_", " "), _difference(stored.get(key), value)))


def _identity(plan: Mapping[str, Any], finished: bool) -> Dict[str, Any]:
    """What of a plan makes a training the same: only one that is to continue needs the versions that it began with.

    Of the data, which train_sha256 stands for, no provenance: a licence may be reworded, a data folder moved.
    """
    told = {key: value for key, value in plan.items() if not finished or key not in VERSIONS}
    return dict(told, data={key: told["data"].get(key) for key in ("dataset", "split")}) if "data" in told else told


def _difference(there: Any, here: Any) -> str:
    """"5 there, 6 here", or "epochs: 5 there, 6 here" for the first differing entry of two tables."""
    if not isinstance(there, dict) or not isinstance(here, dict):
        return "%s there, %s here" % (there, here)
    key = next(key for key in sorted(set(there) | set(here)) if there.get(key) != here.get(key))
    return "%s: %s" % (key.replace("_", " "), _difference(there.get(key), here.get(key)))
