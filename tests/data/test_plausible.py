"""Samples that cannot be SI of a worn sensor are doubted, and the unit that they seem to be in is named."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.data.channels import Channel, triad
from edgehar.data.plausible import MARK, NO_GRAVITY, UNIT, doubts

ACC, GYRO, MAG = triad("acc", "m/s^2", "wrist"), triad("gyro", "rad/s", "wrist"), triad("mag", "T", "wrist")


def walking(seed: int = 0, count: int = 400) -> np.ndarray:
    """(count, 3) m/s^2 of somebody who walks, gravity and all."""
    random, phase = np.random.default_rng(seed), np.arange(count) / 50 * 2 * np.pi * 1.8
    body = np.stack([2.2 * np.sin(phase), 1.2 * np.sin(phase + 1), 1.4 * np.cos(phase)], axis=1)
    return body + random.normal(0, 0.2, body.shape) + np.array([-0.8, 0.35, 0.48]) * 9.80665


def turning(seed: int = 0, count: int = 400) -> np.ndarray:
    """(count, 3) rad/s of a wrist that swings."""
    return 1.5 * np.sin(np.arange(count)[:, None] / 8 + np.arange(3)) + np.random.default_rng(seed).normal(
        0, 0.1, (count, 3))


def found(samples: np.ndarray, channels) -> list:
    return [(doubt.sensor, doubt.kind) for doubt in doubts(samples.astype(np.float32), channels)]


@pytest.mark.parametrize("factor, unit", [
    (1 / 9.80665, "in g: multiply it by 9.80665"), (1000 / 9.80665, "milli-g (multiply it by 0.00980665)"),
    (1 / 0.3048, "ft/s^2: multiply it by 0.3048"), (100, "cm/s^2 (by 0.01)"), (1000, "mm/s^2 (multiply it by 0.001)"),
    (8192 / 9.80665, "raw counts of 8192 a g"),
    (64 / 9.80665, "raw counts of 64 a g"), (4096 / 9.80665, "raw counts of 4096 a g"),
    (16384 / 9.80665, "raw counts of 16384 a g (multiply it by 0.00059855)")])
def test_acceleration_in_another_unit_is_named(factor, unit):
    (doubt,) = doubts(walking() * factor, ACC)
    assert (doubt.sensor, doubt.kind) == ("wrist/acc", UNIT) and unit in doubt.sentence


def test_who_runs_is_not_said_to_be_in_feet():
    """A median of 3 g that turns about with every step."""
    run = walking() + 45 * np.sin(np.arange(len(walking()))[:, None] / 3 + np.arange(3))
    assert 29 < np.median(np.linalg.norm(run, axis=1)) < 80
    assert all("ft/s^2" not in doubt.sentence for factor in (0.5, 0.6, 0.7, 1) for doubt in doubts(run * factor, ACC))


def test_acceleration_without_gravity_is_doubted_unless_the_channels_say_so():
    body = walking() - walking().mean(axis=0)
    assert found(body, ACC) == [("wrist/acc", NO_GRAVITY)]
    for channels in (triad("linear_acc", "m/s^2", "wrist"), triad("acc", "m/s^2", "wrist", derived=True)):
        assert found(body, channels) == []


def test_turning_in_degrees_and_in_counts_is_named():
    (doubt,) = doubts(turning() * 180 / np.pi, GYRO)
    assert "deg/s: multiply it by 0.0174533" in doubt.sentence
    (doubt,) = doubts(turning() * 131 * 180 / np.pi, GYRO)
    assert "raw counts" in doubt.sentence


@pytest.mark.parametrize("factor, unit", [(1e6, "microtesla"), (1e4, "gauss"), (1e7, "milligauss"), (1e9, "nanotesla")])
def test_a_field_in_another_unit_is_named(factor, unit):
    field = np.random.default_rng(0).normal(0, 1e-6, (100, 3)) + np.array([2e-5, -1e-5, 4e-5])
    assert found(field, MAG) == []
    (doubt,) = doubts(field * factor, MAG)
    assert unit in doubt.sentence


@pytest.mark.parametrize("mark", [-9999.0, 32767.0, -999.0])
def test_a_mark_of_missing_values_is_named_and_hides_no_unit(mark):
    samples = walking()
    samples[::50] = mark
    (doubt,) = doubts(samples, ACC)
    assert doubt.kind == MARK and "holds %g again and again" % mark in doubt.sentence
    samples[samples != mark] /= 9.80665
    assert found(samples, ACC) == [("wrist/acc", MARK), ("wrist/acc", UNIT)]


def test_what_worn_sensors_measure_is_not_doubted():
    both = np.concatenate([walking(), turning()], axis=1)
    assert found(both, ACC + GYRO) == []
    assert found(3 * (walking() - walking().mean(axis=0)) + walking().mean(axis=0), ACC) == []  # a run
    assert found(np.zeros((50, 3)), ACC) == [] == found(walking()[:0], ACC)
    assert found(walking() * 100, triad("acc", "1", "wrist")) == []
    assert found(walking()[:, :1] * 100, (Channel("acc", "x", "m/s^2", "wrist"),)) == []


@pytest.mark.parametrize("kind, unit, factor, si", [
    ("acc", "g", "9.80665", "m/s^2"), ("linear_acc", "mg", "0.00980665", "m/s^2"),
    ("gyro", "deg/s", "0.0174533", "rad/s"), ("mag", "uT", "1e-06", "T")])
def test_a_unit_that_is_declared_and_not_si_is_doubted_whatever_the_values(kind, unit, factor, si):
    (doubt,) = doubts(np.ones((100, 3)), triad(kind, unit, "wrist"))
    assert doubt.kind == UNIT and "is declared in %s" % unit in doubt.sentence
    assert doubt.sentence.endswith("multiply it by %s and declare %s" % (factor, si))
