"""Two easy classes and a small network: trainings of a second (torch)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgehar.data.channels import triad
from edgehar.data.parts import Parts, partition
from edgehar.data.signals import Recording, Signal
from edgehar.data.splits import Split
from edgehar.training.recipe import Recipe

SIGNAL = Signal(triad("acc", "m/s^2", "wrist"), rate_hz=50.0, window=64, hop=32, max_gap_s=0.1)
TASKS = {"activity": ("still", "moving", "shaking")}
SPLIT = Split("small", "fixed", ("p1", "p2", "p3"), ("p4",), ("p5",))
RECIPE = Recipe(epochs=3, batch_size=16, warmup_epochs=1)
DATA = {"edgehar": "0.1.0", "data": {"dataset": "small", "synthetic": True, "licence": "none", "citation": "none",
                                     "split": dict(SPLIT.to_json(), sha256=SPLIT.sha256)}}


def recordings(noise: float = 0.3):
    """One recording a person and class: gravity, and a swing that grows with the class."""
    for person, subject in enumerate(SPLIT.train + SPLIT.valid + SPLIT.test):
        for number in range(3):
            draw = np.random.default_rng([person, number])
            time_s = np.arange(480) / SIGNAL.rate_hz
            swing = number * np.sin(2 * np.pi * (1 + number) * time_s[:, None] + draw.uniform(0, 6, 3))
            samples = np.array([0, 0, 9.81]) + swing + draw.normal(0, noise, (480, 3))
            yield Recording(samples.astype(np.float32), {"activity": np.full(480, number, np.int16)}, TASKS,
                            SIGNAL.rate_hz, SIGNAL.channels, subject, "s%d" % number)


def parts(noise: float = 0.3) -> Parts:
    return partition(recordings(noise), SPLIT, SIGNAL.window, SIGNAL.hop)


def recipe(**changes) -> Recipe:
    return replace(RECIPE, **changes)
