"""A training on disk: finished, begun, and the tensors of its checkpoint."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, Iterator, Sequence, Tuple, Union

import torch

from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.files import OUT_OF_DESCRIPTORS, PathLike, read_json, unopened, written_whole
from edgehar.results import histories
from edgehar.results.histories import Progress
from edgehar.training.models import make_model
from edgehar.training.models.base import Model

CHECKPOINT, WEIGHTS, FACTS = "checkpoint.pt", "model.pt", "training.json"


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
        return cls(model.eval(), facts, histories.load_history(folder).epochs)


Teachers = Union[None, Fitted, Sequence[Fitted]]


def begun(folder: PathLike) -> int:
    """Epochs that a training in `folder` has done; 0 where there is none to continue with, or it is finished."""
    folder = Path(folder)
    if not (folder / CHECKPOINT).is_file() or not (folder / histories.FILE).is_file():
        return 0
    return len(histories.load_history(folder).epochs)


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
