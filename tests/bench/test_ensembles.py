"""Ensembles: several engines asked as one say the mean of their probabilities, and cost what all of them do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edgehar.backends.base import infer_all
from edgehar.bench import run as bench
from edgehar.bench.ensembles import EnsembleSession, ensemble_facts, mixed_logits
from edgehar.bench.scenarios import SCENARIOS
from edgehar.errors import MismatchError
from edgehar.results.runs import EngineFacts
from edgehar.stream.decision import softmax
from tests.linear import SIGNAL, TASKS, LinearSession, noise, weights


def test_the_mean_is_of_probabilities_and_not_of_logits():
    logits = [np.array([[9.0, 0, 0]], np.float32), np.array([[0, 1.0, 0]], np.float32),
              np.array([[0, 1.0, 0]], np.float32)]
    found = mixed_logits(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(softmax(found), np.mean([softmax(z) for z in logits], axis=0), rtol=1e-6)


def test_members_that_are_sure_of_different_classes_leave_numbers():
    sure = [np.array([[1e4, 0, -1e4]], np.float32), np.array([[-1e4, 0, 1e4]], np.float32)]
    np.testing.assert_allclose(softmax(mixed_logits(sure)), [[0.5, 0, 0.5]], atol=1e-6)


def test_every_member_reads_the_same_windows_in_batches():
    members = [LinearSession(weights(seed=seed), max_batch=4) for seed in (1, 2)]
    x = np.stack([noise(SIGNAL.window, seed).T for seed in range(7)])
    together, apart = infer_all(EnsembleSession(members), x), [infer_all(member, x) for member in members]
    assert sorted(together) == sorted(TASKS)
    for task, logits in together.items():
        np.testing.assert_allclose(softmax(logits), np.mean([softmax(each[task]) for each in apart], axis=0),
                                   rtol=1e-5, atol=1e-7)


def test_what_not_all_decide_is_left_out():
    members = [LinearSession(weights()), LinearSession(weights({"activity": TASKS["activity"]}))]
    assert EnsembleSession(members).tasks == ["activity"]


def test_an_ensemble_costs_what_its_members_do():
    one = EngineFacts("teacher", "b", "a", "ort", "fp32", "corpus", "resnet", parameters=10, macs=100, size_bytes=50,
                      seed=4, recipe={"epochs": 3, "seed": 4}, method="none")
    facts = ensemble_facts([one, replace(one, sha256="c", seed=5)], "both", 0)
    assert (facts.parameters, facts.macs, facts.size_bytes) == (20, 200, 100)
    assert (facts.model, facts.artifact, facts.seed) == ("ensemble of 2 x resnet", "both", 0)
    assert facts.recipe == {"epochs": 3} and [each["seed"] for each in facts.members] == [4, 5]
    assert facts.sha256 not in ("a", "c")


def test_engines_that_read_other_channels_are_no_ensemble():
    both = [SimpleNamespace(manifest=SimpleNamespace(name=name, tasks=TASKS, signal=signal))
            for name, signal in (("wide", SIGNAL), ("narrow", replace(SIGNAL, channels=SIGNAL.channels[:1])))]
    with pytest.raises(MismatchError, match="wide and narrow read other channels"):
        bench.run_as_one(both, SCENARIOS.create("accuracy"), None, "both")
