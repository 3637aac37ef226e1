"""A training on disk: its checkpoint, its facts, and whether it may be gone on with."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Sequence, Tuple, Union

import torch

from edgehar import __version__
from edgehar.data.corpus import Corpus
from edgehar.data.signals import Signal, Windows, windows_sha256
from edgehar.errors import InputError
from edgehar.files import OUT_OF_DESCRIPTORS, PathLike, read_json, unopened, written_whole
from edgehar.results.histories import FILE as HISTORY, Progress, read_history
from edgehar.training.models import make_model
from edgehar.training.models.base import Model
from edgehar.training.recipe import Recipe

CHECKPOINT, WEIGHTS, FACTS = "checkpoint.pt", "model.pt", "training.json"
VERSIONS = ("edgehar", "torch")


@dataclass(frozen=True)
class Fitted:
    """A trained network with the facts of its training; `facts` goes into the artifact's manifest."""

    model: Model
    facts: Dict[str, Any]
    history: Tuple[Progress, ...]

    @property
    def best(self) -> Progress:
        """The epoch whose weights were kept."""
        return self.history[self.history[-1].best_epoch - 1]

    @classmethod
    def load(cls, folder: PathLike) -> "Fitted":
        """Read a finished training. Raises InputError where the folder holds none, or one of other code."""
        folder = Path(folder)
        if not (folder / WEIGHTS).is_file():
            raise InputError("%s holds no finished training; run `edgehar train` or `edgehar distill` with -o %s." % (
                folder, folder))
        facts, weights = read_json(folder / FACTS), load_checkpoint(folder / WEIGHTS)
        with of_this_version(folder / FACTS):
            facts.update(facts.pop("outcome", {}))
            model = make_model(facts["model"], Signal.from_json(facts["signal"]),
                               {task: tuple(names) for task, names in facts["tasks"].items()})
            model.put_heads(facts.get("heads", {}))
        with of_this_version(folder / WEIGHTS):
            model.load_state_dict(weights)
        return cls(model.eval(), facts, read_history(folder / HISTORY))


Taught = Union[None, Fitted, Sequence[Fitted]]


def begun(folder: PathLike) -> int:
    """Epochs that a training in `folder` has done; 0 where there is none to go on with, or it is finished."""
    folder = Path(folder)
    if not (folder / CHECKPOINT).is_file() or not (folder / HISTORY).is_file():
        return 0
    return len(read_history(folder / HISTORY))


def training_plan(model: Model, train: Windows, valid: Windows, recipe: Recipe, method: str,
          teachers: Sequence[Fitted]) -> Dict[str, Any]:
    """The facts that make two trainings the same training."""
    plan = {"model": model.spec, "signal": model.signal.to_json(),
            "tasks": {task: list(names) for task, names in model.tasks.items()}, "method": method,
            "recipe": recipe.to_json(), "split_sha256": train.split_sha256, "train_sha256": windows_sha256(train),
            "train_windows": len(train), "valid_windows": len(valid), "parameters": model.parameter_count(),
            "macs": model.mac_count()}
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
            "weights_sha256": _weights_sha256(teacher.model)}


def _weights_sha256(model: Model) -> str:
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
                     "people": {part.part: len(set(part.subjects)) for part in corpus.parts},
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
    """What of a plan makes a training the same: only one that is to go on needs the versions that it began with.

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


def clear_leftovers(folder: Path) -> None:
    """Remove the half-written temporary files of a training that was killed."""
    for left in folder.glob(".*.part"):
        left.unlink()


def save_checkpoint(state: Any, path: Path) -> None:
    """Write tensors, whole or not at all."""
    buffer = BytesIO()  # torch tells of a full disk in ways of its own
    torch.save(state, buffer)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_checkpoint(path: Path) -> Any:
    """Read tensors. Raises InputError for a damaged file."""
    try:
        return torch.load(str(path), weights_only=True)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OUT_OF_DESCRIPTORS:
            raise unopened(path, error) from error
        raise InputError("%s is damaged (%s); remove its folder and train again." % (path, _cause(error))) from error


@contextmanager
def of_this_version(path: Path) -> Iterator[None]:
    """Raise InputError where what was read from `path` does not fit this code."""
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError("%s was left by another version of edgehar or of a plug-in (%s); remove its folder and train "
                         "again." % (path, _cause(error))) from error


def _cause(error: Exception) -> str:
    """What `error` says, on one line; its name where it says nothing."""
    return " ".join(str(error).split())[:100] or type(error).__name__
