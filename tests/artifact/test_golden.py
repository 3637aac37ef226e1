"""A window's answer is its own: whoever shares its batch, however many they are."""

from __future__ import annotations

from typing import Dict

import numpy as np
import pytest

from edgehar.artifact.golden import batch_sizes, require_alone
from edgehar.artifact.manifest import TOLERANCES
from edgehar.errors import AccuracyError

X = np.random.default_rng(0).normal(0, 1, (64, 2, 8)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(0, 1, (16, 4)).astype(np.float32)


def alone(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1) @ WEIGHTS


def in_batches(network):
    def infer(x: np.ndarray, batch: int) -> Dict[str, np.ndarray]:
        return {"activity": np.concatenate([network(x[at:at + batch]) for at in range(0, len(x), batch)])}
    return infer


NETWORKS = {
    "reads the batch as time": lambda x: np.cumsum(alone(x), axis=0) * 0.3,
    "reads the window before": lambda x: alone(x) + 0.5 * np.roll(alone(x), 1, axis=0) * (len(x) > 1),
    "takes the batch's mean away": lambda x: alone(x - x.mean(axis=0, keepdims=True)),
    "scales by the batch's largest": lambda x: alone(x / np.abs(x).max()),
    "answers for the first of the batch": lambda x: np.repeat(alone(x[:1]), len(x), axis=0),
    "knows its place in the batch": lambda x: alone(x) + np.arange(len(x))[:, None] * [[0, .1, 0, 0]],
}


@pytest.mark.parametrize("precision", sorted(TOLERANCES))
@pytest.mark.parametrize("what", sorted(NETWORKS))
def test_a_network_that_looks_at_its_neighbours_is_refused(what, precision):
    with pytest.raises(AccuracyError, match="batch_first") as refused:
        require_alone(in_batches(NETWORKS[what]), X, batch_sizes([64]), TOLERANCES[precision], "the engine")
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("largest", [[1], [2], [7], [64], [200], [1, 8, 64]])
def test_one_that_does_not_passes(largest):
    def rounded(x):  # as a kernel for each size rounds in its own way
        return alone(x).astype(np.float64) * (1 + 1e-7 * len(x))

    for precision in TOLERANCES:
        require_alone(in_batches(rounded), X, batch_sizes(largest), TOLERANCES[precision], "the engine")


def test_the_sizes_that_are_tried():
    assert batch_sizes([64]) == [1, 32, 64]
    assert batch_sizes([1]) == [1]
    assert batch_sizes([1, 8, 64]) == [1, 8, 32, 64]
    assert batch_sizes([5]) == [1, 3, 5]
