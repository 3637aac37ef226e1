"""Golden and calibration inputs of an artifact: windows of a corpus, or generated signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple

import numpy as np

from edgehar.artifact.golden import LOGITS
from edgehar.artifact.quantise import activation_ranges
from edgehar.data.channels import Channel
from edgehar.data.signals import Signal, Windows

GOLDEN_WINDOWS = 64
CALIBRATION_WINDOWS = 512


class Samples(NamedTuple):
    """What golden and calibration inputs are made from.

    golden: "windows" of validation people, or "synthetic" signals where the data may not
    be passed on. calibration: "windows" of training people, or only their "ranges".
    """

    golden: str = "windows"
    calibration: str = "windows"


def spread_out(windows: Windows, wanted: int) -> Windows:
    """Up to `wanted` of `windows`, spread evenly over them."""
    count = len(windows)
    return windows.take(np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int)))


def whose(windows: Windows) -> List[str]:
    """Whose `windows` these are, sorted."""
    return sorted(set(windows.subjects.tolist()))


def write_golden(folder: Path, x: np.ndarray, logits: Mapping[str, np.ndarray]) -> None:
    """Write ``golden.npz``: inputs x (N, C, T) and the logits {task: (N, K)} of the model."""
    arrays: Dict[str, Any] = {LOGITS + task: values for task, values in logits.items()}
    np.savez(str(folder / "golden.npz"), x=x, **arrays)


def write_calibration(folder: Path, windows: np.ndarray, kind: str) -> None:
    """Write ``calibration.npz`` from windows (N, C, T): them, or only the ranges they give ``model.onnx`` beside it."""
    path = str(folder / "calibration.npz")
    if kind == "ranges":
        arrays: Dict[str, Any] = {name: np.array(pair) for name, pair in
                                  activation_ranges(folder / "model.onnx", windows).items()}
        np.savez(path, **arrays)
    else:
        np.savez(path, windows=windows)


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
