"""The interface of a source of samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.errors import InputError
from edgehar.stream.mailbox import Letter, Mailbox

LATEST_S = 1e11  # seconds: beyond, floating point tells no samples apart, and whoever sends it means another unit


class Chunk(NamedTuple):
    """Some consecutive samples as they arrived.

    samples: (n, C) float32, SI units. time_s: time of the first sample; the source's clock.
    times_s: (n,) float64, the time of each, where that clock tells one sample from the
    next. begins: a gap stands before the first sample, whatever the times say. arrived_s:
    when the last sample came to this machine, on `time.monotonic`; None: as it is handed over.
    stands_for: (n,) int64, how many samples of the source each stands for, where it was resampled; None: itself.
    """

    samples: np.ndarray
    time_s: float
    times_s: Optional[np.ndarray] = None
    begins: bool = False
    arrived_s: Optional[float] = None
    stands_for: Optional[np.ndarray] = None


class Source(ABC):
    """Delivers samples of known channels at a known rate.

    synthetic: the samples were generated, which is said wherever their decisions are shown.
    remark: what whoever reads the decisions must know of their times; empty where all is as it seems.
    measured_hz: samples a second by the source's own clock, before all are read; 0 where it has none.
    even: samples stand at even steps; where not, every chunk must have `times_s`. stamped: `time_s` of a chunk is of
    the sensor's own clock, and tells how many samples lack before it; where not, it may waver by as much.
    waiting, dropped: chunks that have come and are not yet handed over, or never will be. problem: why none come, or
    why one was dropped; empty where all is well. All three are read from other threads.
    tell: is given sentences on what is wrong with the samples.
    mailbox: of a source of many wearers, whose letters wait there; None where all samples are of one, and come by
    `samples`. A letter of many is opened by `read`, and acknowledged once it is safe.
    """

    synthetic: bool = False
    remark: str = ""
    measured_hz: float = 0.0
    even: bool = True
    stamped: bool = False
    dropped: int = 0
    mailbox: Optional[Mailbox] = None
    tell: Callable[[str], Any] = staticmethod(lambda sentence: None)  # whoever reads the source may set another

    @property
    def lost(self) -> Mapping[str, int]:
        """How many samples came and are not handed over, by reason."""
        return {}

    @property
    def unread(self) -> Mapping[str, int]:
        """How many messages were not read, by reason; what samples were in them nobody knows."""
        return {}

    @property
    def waiting(self) -> int:
        """Chunks that have come and are not yet handed over."""
        return 0

    @property
    def problem(self) -> str:
        """Why none come, or why one was dropped; empty where all is well."""
        return ""

    @property
    @abstractmethod
    def channels(self) -> Tuple[Channel, ...]:
        """The channels of every chunk, in order."""

    @property
    @abstractmethod
    def rate_hz(self) -> float:
        """Samples a second, as measured or as stated by the source."""

    @abstractmethod
    def samples(self) -> Iterator[Chunk]:
        """Yield chunks until the signal ends. Raises InputError for damaged input, naming where."""

    def resume(self, after_s: float) -> None:
        """Leave out what would come again of the samples up to `after_s`, which an earlier process took.

        Called before `samples`. A source that delivers nothing twice has nothing to leave out.
        """

    def read(self, payload: bytes) -> Tuple[np.ndarray, float, bool]:
        """What a letter of many holds: samples (n, C), the time of the first, and whether a gap stands before.

        Raises InputError saying what is wrong with it, as the end of a sentence on it.
        """
        raise InputError("cannot be read, as this source is of one wearer.")

    def acknowledge(self, letter: Letter) -> None:
        """The letter need not come again."""

    def close(self) -> None:
        """Release what the source holds."""

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
