"""What every disturbance in the registry keeps to: it changes what it says, by chance alone of the draw it is given."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.bench.disturbances import DISTURBANCES
from edgehar.data.channels import Channel, triad
from edgehar.data.signals import Recording, Signal

CHANNELS = triad("acc", "m/s^2", "wrist", "imu") + triad("gyro", "rad/s", "wrist", "imu")
SIGNAL = Signal(CHANNELS, 50.0, 64, 32, 0.1)
PRESSURE = Signal((Channel("pressure", "", "Pa", "wrist"),), 50.0, 64, 32, 0.1)


def recording(seed: int = 0, count: int = 900) -> Recording:
    """Strong motion of two activities, one after the other."""
    samples = np.random.default_rng(seed).normal(0, 40, (count, 6)).astype(np.float32)
    labels = {"activity": np.repeat(np.array([0, 1], np.int16), [count // 2, count - count // 2])}
    return Recording(samples, labels, {"activity": ("still", "walk")}, 50.0, CHANNELS, "03", "a")


@pytest.fixture(params=DISTURBANCES.names())
def disturbance(request):
    return DISTURBANCES.create(request.param)


def disturbed(disturbance, strength, seed=1, signal=SIGNAL, one=None):
    return disturbance.change(strength, signal, np.random.default_rng(seed))(one or recording())


def test_every_strength_has_a_label_of_its_own(disturbance):
    strengths = list(disturbance.strengths(SIGNAL))
    labels = [disturbance.label(strength, SIGNAL) for strength in strengths]
    assert strengths and len(set(labels)) == len(labels) and all(labels)
    assert list(map(abs, strengths)) == sorted(map(abs, strengths), reverse=strengths[0] > strengths[-1] > 0)


def test_it_changes_the_signal_and_leaves_the_recording_as_it_is(disturbance):
    whole = recording()
    strongest = list(disturbance.strengths(SIGNAL))[-1]
    parts = disturbed(disturbance, strongest, one=whole)
    assert [part.samples.tobytes() for part in parts] != [whole.samples.tobytes()]
    assert np.array_equal(whole.samples, recording().samples)


def test_what_is_left_is_a_recording_of_the_same_person_channels_and_rate(disturbance):
    for strength in disturbance.strengths(SIGNAL):
        for part in disturbed(disturbance, strength):
            assert (part.subject, part.channels, part.rate_hz) == ("03", CHANNELS, 50.0)
            assert part.samples.dtype == np.float32 and np.isfinite(part.samples).all()
            assert part.labels["activity"].shape == (len(part.samples),)


def test_only_the_draw_decides(disturbance):
    strongest = list(disturbance.strengths(SIGNAL))[-1]
    one, same, other = ([part.samples.tobytes() for part in disturbed(disturbance, strongest, seed)]
                        for seed in (1, 1, 2))
    assert one == same and (one != other) == disturbance.drawn


def test_a_model_without_such_a_sensor_is_spared_or_changed_in_its_units(disturbance):
    strengths = list(disturbance.strengths(PRESSURE))
    kinds = ("gain", "rate-error", "dropped-samples", "dropped-packets")
    assert bool(strengths) == (disturbance.name in kinds)
