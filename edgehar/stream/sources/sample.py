"""A generated signal of whatever channels a model reads, to see it at work without a sensor. It is synthetic.

::

    movement    rest ......... walking ~~~~~~~~~ shaking /\\/\\/\\/\\ rest ...
                0 s            20 s              40 s              60 s

No person ever moved so: what a model recognises in it shows that the way from samples to decisions works, and nothing
else.
"""

from __future__ import annotations

from typing import Dict, Iterator, NamedTuple, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.signals import STANDARD_GRAVITY, Signal
from edgehar.errors import InputError
from edgehar.stream.sources.base import Chunk, Source

PHASE_S = 20.0
HARMONICS = (1.0, 0.5, 0.2)  # of a movement: the step, its double and its triple
GAINS: Dict[str, float] = {"m/s^2": 1.0, "rad/s": 0.3}  # of a movement of 1 m/s^2, by unit
OTHER_GAIN = 0.1
LONGEST_S = 86400.0


class Movement(NamedTuple):
    """amplitude: m/s^2 of its first harmonic. step_hz: how often it repeats."""

    amplitude: float
    step_hz: float


MOVEMENTS = (Movement(0.02, 0.3), Movement(2.0, 2.0), Movement(15.0, 4.0))  # rest, walking, shaking
NOISE = 0.03  # m/s^2
HANGING = {"x": -0.9, "y": 0.3, "z": 0.2}  # where an accelerometer at a hanging arm feels gravity
TILT = 0.1  # standard deviation of each of them from one sensor to another


class Sample(Source):
    """Rest, walking-like and shaking movement by turns, in SI units at the model's rate; synthetic.

    seconds: how long, at most a day. seed: which of all such signals; the same one gives the same samples, however they
    are cut into chunks. chunk_s: seconds of samples a chunk.

    An accelerometer feels gravity of 9.81 m/s^2, as at a hanging arm; channels in other units than m/s^2 move in
    proportion. Raises InputError for an impossible duration.
    """

    synthetic = True
    remark = "the samples are generated (synthetic) and of no person"

    def __init__(self, signal: Signal, seconds: float = 60.0, seed: int = 0, chunk_s: float = 0.5) -> None:
        if not 0 < seconds <= LONGEST_S:
            raise InputError("seconds is %s; give more than 0 and at most %d." % (seconds, LONGEST_S))
        self._signal = signal
        self._count = max(1, int(round(seconds * signal.rate_hz)))
        self._seed = int(seed)
        self._chunk = max(1, int(round(chunk_s * signal.rate_hz)))

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """The model's."""
        return self._signal.channels

    @property
    def rate_hz(self) -> float:
        """The model's."""
        return self._signal.rate_hz

    def samples(self) -> Iterator[Chunk]:
        """Yield the chunks of the whole signal."""
        rows = generated(self._signal, self._count, self._seed)
        for first in range(0, self._count, self._chunk):
            yield Chunk(rows[first:first + self._chunk], first / self.rate_hz)


def generated(signal: Signal, count: int, seed: int) -> np.ndarray:
    """`count` samples (count, C) float32 of all channels of `signal`, SI units; owned by the caller."""
    random = np.random.default_rng(seed)
    time_s = np.arange(count) / signal.rate_hz
    rows = np.stack([_column(channel, time_s, signal.rate_hz, random) for channel in signal.channels], axis=1)
    return (rows + _gravity(signal.channels, random)).astype(np.float32)


def _column(channel: Channel, time_s: np.ndarray, rate_hz: float, random: np.random.Generator) -> np.ndarray:
    """One channel's movement (T,), in its unit."""
    shift = random.uniform(0, 2 * np.pi, size=len(HARMONICS))
    phase = (time_s // PHASE_S).astype(int) % len(MOVEMENTS)
    moved = np.zeros(len(time_s))
    for number, movement in enumerate(MOVEMENTS):
        during = phase == number
        moved[during] = movement.amplitude * _wave(movement.step_hz, time_s[during], rate_hz, shift)
    gain = GAINS.get(channel.unit, OTHER_GAIN)
    return gain * (moved + random.normal(0, NOISE, size=len(time_s)))


def _wave(step_hz: float, time_s: np.ndarray, rate_hz: float, shift: np.ndarray) -> np.ndarray:
    """A periodic wave of those harmonics that the rate can hold, at least the first."""
    wave = np.zeros(len(time_s))
    for number, (share, start) in enumerate(zip(HARMONICS, shift), start=1):
        if number == 1 or 2 * number * step_hz < rate_hz:
            wave += share * np.sin(2 * np.pi * number * step_hz * time_s + start)
    return wave


def _gravity(channels: Tuple[Channel, ...], random: np.random.Generator) -> np.ndarray:
    """What each channel feels of gravity (C,), m/s^2; 0 for all but accelerometers."""
    down = np.zeros(len(channels))
    for place in dict.fromkeys((channel.placement, channel.sensor) for channel in channels):
        tilted = {axis: share + random.normal(0, TILT) for axis, share in HANGING.items()}
        length = np.linalg.norm(list(tilted.values()))
        for index, channel in enumerate(channels):
            if channel.kind == "acc" and (channel.placement, channel.sensor) == place:
                down[index] = STANDARD_GRAVITY * tilted.get(channel.axis, 0.0) / length
    return down
