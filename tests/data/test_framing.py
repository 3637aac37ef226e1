"""A corpus at another rate: the same seconds, the same labels, nothing aliased."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.data.channels import triad
from edgehar.data.corpus import cut_corpus, framed
from edgehar.data.signals import Framing, Recording
from edgehar.errors import InputError

TASKS = {"activity": ("a", "b")}


def recording(frequency_hz: float, rate_hz: float = 50.0, seconds: float = 20.0) -> Recording:
    times_s = np.arange(int(seconds * rate_hz)) / rate_hz
    samples = np.tile(np.sin(2 * np.pi * frequency_hz * times_s)[:, None], (1, 3)).astype(np.float32)
    return Recording(samples, {"activity": (times_s >= seconds / 2).astype(np.int16)}, TASKS, rate_hz,
                     triad("acc", "m/s^2", "wrist"), "1", "s")


def test_its_own_rate_changes_nothing() -> None:
    source = recording(1.0)
    assert framed(source, 50.0) is source


@pytest.mark.parametrize("rate_hz", [25.0, 20.0, 12.5])
def test_a_slow_movement_and_its_label_stay_where_they_are(rate_hz: float) -> None:
    slow = framed(recording(1.0), rate_hz)
    times_s = np.arange(len(slow.samples)) / rate_hz
    inside = (times_s > 1) & (times_s < 19)
    assert np.abs(slow.samples[inside, 0] - np.sin(2 * np.pi * times_s[inside])).max() < 0.01
    assert slow.rate_hz == rate_hz and abs(slow.duration_s - 20.0) <= 1 / rate_hz
    changed_s = times_s[np.flatnonzero(np.diff(slow.labels["activity"]))[0] + 1]
    assert abs(changed_s - 10.0) <= 1 / rate_hz


def test_what_the_lower_rate_cannot_hold_is_gone_and_not_folded_down() -> None:
    slow = framed(recording(17.0), 25.0)
    assert np.abs(slow.samples[25:-25]).max() < 0.02


def test_a_higher_rate_is_refused() -> None:
    with pytest.raises(InputError, match="has 50 samples per second and cannot be brought to 100"):
        framed(recording(1.0), 100.0)


def test_a_corpus_is_cut_as_it_is_told() -> None:
    whole, slow = cut_corpus("synthetic"), cut_corpus("synthetic", framing=Framing(25.0, 64, 32))
    assert whole.framing == whole.dataset.framing and slow.parts.train.x.shape[2] == 64
    assert slow.parts.train.rate_hz == 25.0 and abs(len(slow.parts.test) - len(whole.parts.test)) <= 4
    assert whole.split == slow.split and whole.measured_hz == ()
