"""What a network looks at: for each class one window, and how much each of its samples spoke for the class.

Made by ``edgehar.training.saliency`` when a model is exported, and kept in the artifact as
``attribution.npz``, so that a report can show it where torch is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.artifact.arrays import read_arrays, read_heads, require_head, require_names
from edgehar.errors import MismatchError
from edgehar.files import PathLike, written_whole

FILE = "attribution.npz"


class Attribution(NamedTuple):
    """M windows of one task, each of another class that was recognised in it.

    labels: (M,) class numbers, rising. x: (M, C, T) float32 in physical units. focus:
    (M, T) float32, from 0 to 1 where most was found. probability: (M,) float32 of the class.
    """

    labels: np.ndarray
    x: np.ndarray
    focus: np.ndarray
    probability: np.ndarray


def save(path: PathLike, found: Mapping[str, Attribution]) -> None:
    """Write {task: Attribution}, whole or not at all."""
    arrays = {"%s/%s" % (task, name): array for task, each in found.items() for name, array in each._asdict().items()}
    with written_whole(path) as temporary, open(str(temporary), "wb") as stream:
        np.savez(stream, **arrays)


def load_attribution(folder: PathLike) -> Dict[str, Attribution]:
    """{task: Attribution} of the artifact in `folder`; empty where it keeps none, as one without recorded samples."""
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    stored = read_arrays(path)
    tasks = sorted({name.rsplit("/", 1)[0] for name in stored})
    return {task: Attribution(*(stored["%s/%s" % (task, name)] for name in Attribution._fields)) for task in tasks}


def require(path: PathLike, tasks: Mapping[str, Sequence[str]], channels: int, window: int) -> None:
    """Raise MismatchError where the file at `path` holds something else than attributions of these `tasks`."""
    heads = read_heads(path)
    for task in sorted({name.rsplit("/", 1)[0] for name in heads} & set(tasks)):
        head = heads.get(task + "/labels")
        if head is None or head.kind not in "iu" or len(head.shape) != 1 or head.shape[0] > len(tasks[task]):
            raise MismatchError("%s has no class numbers for task '%s'; export the artifact again." % (path, task))
        count = head.shape[0]
        for name, shape in (("x", (count, channels, window)), ("focus", (count, window)), ("probability", (count,))):
            require_head(path, heads, "%s/%s" % (task, name), shape)
    require_names(path, heads, ["%s/%s" % (task, name) for task in tasks for name in Attribution._fields])


def spectrum(x: np.ndarray, rate_hz: float) -> Tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) in hertz and amplitudes (C, F) of x (C, T) about its mean, through a Hann window."""
    taper = np.hanning(x.shape[1])
    swing = (x - x.mean(axis=1, keepdims=True)) * taper
    return np.fft.rfftfreq(x.shape[1], 1 / rate_hz), 2 * np.abs(np.fft.rfft(swing, axis=1)) / taper.sum()
