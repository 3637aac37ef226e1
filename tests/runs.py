"""Runs as `edgehar bench` writes them, for tests of tables and reports."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import List
from zlib import crc32

import numpy as np

from edgehar.results.events import score_events
from edgehar.results.runs import EngineFacts, Measurement, Run

CLASSES = ("WALKING_UPSTAIRS", "sitting", "lying & resting")


def make(artifact: str = "student", scenario: str = "accuracy", precision: str = "fp32", seed: int = 0,
         latency_s: float = 1e-3, count: int = 2000, dataset: str = "corpus", python: str = "3.8.0",
         method: str = "kd", model: str = "mobilenet", teacher: str = "teacher", **changed) -> Run:
    """A Run as `edgehar bench` writes one."""
    random = np.random.default_rng(crc32(repr((artifact, seed)).encode("utf-8")))
    digest = lambda *parts: sha256(repr(parts).encode("utf-8")).hexdigest()  # noqa: E731
    engine = EngineFacts(artifact, digest(artifact), digest(artifact, precision), "ort", precision, dataset, model,
                         size_bytes=98304, threads=1, parameters=19812, macs=1240000, channels=9, window=128,
                         rate_hz=50.0, method=method, teacher=teacher, seed=seed)
    settings = {"name": scenario, "batch": 64 if scenario in ("offline", "accuracy") else 1, "warmup_s": 1.0,
                "duration_s": 5.0, "rate_hz": 50.0, "min_queries": 1000, "seed": 0, "hop": 64, "hold": 3}
    people = {person: (random.integers(0, 9, (3, 3)) + 40 * np.eye(3, dtype=int)).tolist() for person in "abcd"}
    values = tuple((latency_s * random.lognormal(0, 0.1, count)).tolist())
    beside = {"paced": ("lateness", "s"), "offline": ("throughput", "windows/s")}.get(scenario)
    timed = [Measurement("latency", "s", values), *([Measurement(*beside, values)] if beside else [])]
    found = {"accuracy": {"people": {"activity": people}, "calibration": {"activity": calibration(people)}},
             "streaming": {"events": {"activity": events(random)}}}.get(
                 scenario, {"measurements": tuple(timed)})
    return replace(Run(settings, engine, {"processor": "Test CPU", "usable_cores": 2, "python": python},
                       classes={"activity": CLASSES}, split={"name": "published", "sha256": digest(dataset)},
                       command="edgehar bench %s" % artifact, **found), **changed)


def calibration(people):
    """{person: reliability} of windows that were all 90 % sure."""
    return {person: {"count": [0] * 13 + [int(np.sum(counts)), 0], "right": [0] * 13 + [int(np.trace(counts)), 0],
                     "confidence": [0] * 13 + [0.9 * int(np.sum(counts)), 0]} for person, counts in people.items()}


def events(random: np.random.Generator):
    """{person: scores} of a stream that says the class of half a second ago and now and then another; 50 Hz."""
    found = {}
    for person in "abcd":
        true = np.repeat(random.integers(-1, 3, 40), random.integers(100, 500, 40))
        said = np.where(np.roll(true, 25) < 0, 0, np.roll(true, 25))
        said[random.integers(0, len(said), 5)] = 2
        found[person] = score_events(true, said, 3, 50.0).to_json()
    return found


def everything(**changed) -> List[Run]:
    return [make(scenario=name, **changed) for name in ("accuracy", "streaming", "single_stream", "paced", "offline")]
