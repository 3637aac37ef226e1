"""What a network looks at: for each class one window, and how much each of its samples spoke for the class.

Made by ``edgehar.training.saliency`` when a model is exported, and kept in the artifact as
``attribution.npz``, so that a report can show it where torch is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Mapping, NamedTuple, Tuple

import numpy as np

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
    with np.load(str(path), allow_pickle=False) as stored:
        tasks = sorted({name.rsplit("/", 1)[0] for name in stored.files})
        return {task: Attribution(*(stored["%s/%s" % (task, name)] for name in Attribution._fields)) for task in tasks}


def spectrum(x: np.ndarray, rate_hz: float) -> Tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) in hertz and amplitudes (C, F) of x (C, T) about its mean, through a Hann window."""
    taper = np.hanning(x.shape[1])
    swing = (x - x.mean(axis=1, keepdims=True)) * taper
    return np.fft.rfftfreq(x.shape[1], 1 / rate_hz), 2 * np.abs(np.fft.rfft(swing, axis=1)) / taper.sum()
