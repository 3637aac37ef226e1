"""What stands in for a sensor that says nothing, so that a stream can continue without it.

::

    refuse   nothing: a model is not fed what it was not made for
    zero     zeros, as a network saw them that was trained with sensor_dropout
    hold     the last value that came; zeros before the first

A channel is silent where the source has none of its name, or delivers NaN for it. What
decisions are worth then is told by ``edgehar bench --scenario accuracy --missing``.
"""

from __future__ import annotations

from typing import Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.channels import Channel, same_end
from edgehar.errors import InputError
from edgehar.stream.sources.base import Chunk, Source

POLICIES = ("refuse", "zero", "hold")


def filled(source: Source, wanted: Sequence[Channel], policy: str) -> Source:
    """`source` with all channels of `wanted`, finite; itself under the policy "refuse". Closing stays the caller's.

    Raises InputError for an unknown policy, or a source that has none of the channels.
    """
    if policy not in POLICIES:
        raise InputError("there is no policy '%s' for a missing sensor; choose from: %s." % (
            policy, ", ".join(POLICIES)))
    return source if policy == "refuse" else Filled(source, wanted, policy == "hold")


class Filled(Source):
    """The samples of another source, silent channels filled. absent: those that it has not at all."""

    def __init__(self, source: Source, wanted: Sequence[Channel], hold: bool) -> None:
        self.absent = tuple(channel for channel in wanted
                            if not any(same_end(have.name, channel.name) for have in source.channels))
        if len(self.absent) == len(wanted):
            raise InputError("the source has no channel that the model reads (%s); check the names of its columns." % (
                ", ".join(channel.name for channel in wanted)))
        self._source, self._hold = source, hold
        self._last: Optional[np.ndarray] = None
        self.synthetic, self.remark, self.even = source.synthetic, _told(source.remark, self.absent), source.even
        self.stamped, self.measured_hz = source.stamped, source.measured_hz

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """Those of the source, then those that are filled in."""
        return (*self._source.channels, *self.absent)

    @property
    def rate_hz(self) -> float:
        """The source's."""
        return self._source.rate_hz

    @property
    def lost(self) -> Mapping[str, int]:
        """As of the source."""
        return self._source.lost

    def samples(self) -> Iterator[Chunk]:
        """As they come, each value that did not come replaced; nothing is held over a gap that the source tells."""
        for chunk in self._source.samples():
            yield self.mended(chunk)

    def mended(self, chunk: Chunk) -> Chunk:
        """The next chunk of the source, each value that did not come replaced."""
        samples = fill(chunk.samples, None if chunk.begins or not self._hold else self._last, self._hold)
        self._last = samples[-1] if len(samples) else self._last
        silent = np.zeros((len(samples), len(self.absent)), dtype=np.float32)
        return chunk._replace(samples=np.concatenate([samples, silent], axis=1))


def fill(samples: np.ndarray, last: Optional[np.ndarray], hold: bool) -> np.ndarray:
    """samples (n, C) with the value before it in place of each NaN, beginning with `last` (C,), or with zeros."""
    gone = np.isnan(samples)
    if not gone.any():
        return samples
    if not hold:
        return np.where(gone, np.float32(0), samples)
    before = np.zeros(samples.shape[1], dtype=np.float32) if last is None else last
    rows = np.where(gone, 0, np.arange(1, len(samples) + 1)[:, None])
    return np.concatenate([before[None], samples])[np.maximum.accumulate(rows), np.arange(samples.shape[1])]


def _told(remark: str, absent: Sequence[Channel]) -> str:
    names: List[str] = [channel.name for channel in absent]
    return "; ".join(filter(None, (remark, "zeros stand in for %s, which the source has not" % ", ".join(names)
                                   if names else "")))
