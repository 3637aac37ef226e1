"""How a training went: what `edgehar train`, `distill` and `study` wrote of each epoch, read without torch."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.errors import InputError
from edgehar.files import PathLike, UnopenedError, parse_json, read_bytes, written_whole

FILE = "history.jsonl"
GAP = "overfitting gap"
TRAINED = "macro-F1/training, "  # the figure of the people who are trained on, before the task


@dataclass(frozen=True)
class Progress:
    """One epoch's figures, as they stand in the history.

    loss: {term: mean} of what was minimised. best_epoch: of the same phase so far; figures: what the method tells.
    """

    epoch: int
    loss: Dict[str, float]
    valid_macro_f1: Dict[str, float]
    best_epoch: int
    phase: str = "all"
    figures: Dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean over the tasks; one that no validation window is labelled for does not count."""
        known = [value for value in self.valid_macro_f1.values() if not math.isnan(value)]
        return float(np.mean(known)) if known else 0.0


class History(NamedTuple):
    """Name of the training, and its epochs."""

    name: str
    epochs: Tuple[Progress, ...]

    @property
    def kept(self) -> int:
        """The epoch whose weights were kept, counted from 1."""
        return self.epochs[-1].best_epoch

    def curves(self) -> Dict[str, Dict[str, List[float]]]:
        """{what: {line: a value an epoch}}; NaN where an epoch lacks it, as those of another phase do.

        What is "loss", "macro-F1", "overfitting gap" as in `gaps`, and the method's figures
        by all but the last part of their names: "importance/activity/mlp" is the line "mlp"
        of "importance/activity". Lines of macro-F1 name the task where there are several.
        """
        found: Dict[str, Dict[str, List[float]]] = {}
        for number, epoch in enumerate(self.epochs):
            for what, line, value in _values(epoch):
                line = line.split(", ")[0] if len(epoch.valid_macro_f1) == 1 else line
                lines = found.setdefault(what, {})
                lines.setdefault(line, [float("nan")] * len(self.epochs))[number] = value
        gaps = self.gaps()
        return dict(found, **{GAP: gaps}) if gaps else found

    def gaps(self) -> Dict[str, List[float]]:
        """{task: macro-F1 of subjects who are trained on minus validation people's, a value an epoch}, where told."""
        return {task: [epoch.figures[TRAINED + task] - epoch.valid_macro_f1[task] for epoch in self.epochs]
                for task in self.epochs[0].valid_macro_f1
                if all(TRAINED + task in epoch.figures for epoch in self.epochs)}


def load_history(path: PathLike) -> History:
    """Read a training's folder, or its history. Raises InputError where there is none or it is damaged."""
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    try:
        epochs = tuple(Progress(**parse_json(line)) for line in read_bytes(file).decode("utf-8").splitlines())
        if not epochs:
            raise ValueError("it holds no epochs")
    except UnopenedError:
        raise
    except InputError:
        raise InputError("%s holds no history of a training; name the folder that `edgehar train` or `edgehar distill` "
                         "wrote." % path) from None
    except (ValueError, TypeError) as error:
        raise InputError("%s is damaged or no history of a training (%s); name another, or remove its folder and train "
                         "again." % (file, error)) from error
    return History(path.name if path.is_dir() else file.name.split(".")[0], epochs)


def write_history(path: Path, epochs: Sequence[Progress]) -> None:
    """Write one line of JSON an epoch, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text("".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs), encoding="utf-8")


def _values(epoch: Progress) -> List[Tuple[str, str, float]]:
    """(what, line, value) of everything that an epoch tells."""
    found = [("loss", term, value) for term, value in epoch.loss.items()]
    found += [("macro-F1", "validation, %s" % task, value) for task, value in epoch.valid_macro_f1.items()]
    return found + [(*_apart(name), value) for name, value in epoch.figures.items()]


def _apart(name: str) -> Tuple[str, str]:
    what, _, line = name.rpartition("/")
    return what or line, line
