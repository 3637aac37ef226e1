"""A corpus of three people and four recordings for tests of sources."""

from __future__ import annotations

from typing import Iterator

import numpy as np

from edgehar.data.channels import triad
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import Recording
from edgehar.data.splits import Split

LENGTHS = (("01", "a", 120), ("02", "a", 100), ("03", "a", 90), ("03", "b", 60))


class Walks(Dataset):
    """Person 03, the test person, has two recordings of 90 and 60 samples at 50 Hz."""

    title = "Walks"
    synthetic = True
    rate_hz = 50.0
    channels = triad("acc", "m/s^2", "wrist", "imu")
    classes = {"activity": ("still", "walk", "run")}
    window, hop, max_gap_s = 16, 5, 0.1

    def split(self) -> Split:
        return Split("walks", "fixed", ("01",), ("02",), ("03",))

    def recordings(self) -> Iterator[Recording]:
        for seed, (subject, session, count) in enumerate(LENGTHS):
            samples = np.random.default_rng(seed).normal(0, 4, (count, 3)).astype(np.float32)
            yield Recording(samples, {"activity": np.zeros(count, np.int16)}, self.classes, self.rate_hz,
                            self.channels, subject, session)
