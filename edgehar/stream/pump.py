"""From a source through a stream into sinks."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, Optional, Sequence

from edgehar.errors import InputError
from edgehar.stream.sinks.base import Sink
from edgehar.stream.sources.base import Chunk
from edgehar.stream.stream import Stream


@dataclass
class Summary:
    """What a stream did.

    signal_s: seconds of signal taken; busy_s: seconds spent on them, waiting left out. fault:
    what the source could not read on for; empty where it came to its end.
    """

    decisions: int = 0
    changes: int = 0
    gaps: int = 0
    signal_s: float = 0.0
    busy_s: float = 0.0
    interrupted: bool = False
    fault: str = ""

    @property
    def realtime_factor(self) -> float:
        """Seconds of work for one second of signal; below 1 the machine keeps up."""
        return self.busy_s / self.signal_s if self.signal_s else 0.0

    def to_json(self) -> Dict[str, Any]:
        """All figures, and how many times faster than real time it was."""
        return dict(asdict(self), realtime_factor=self.realtime_factor)


def pump(chunks: Iterable[Chunk], stream: Stream, sinks: Sequence[Sink], speed: Optional[float] = None,
         clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = time.sleep) -> Summary:
    """Push all chunks through the stream and every decision into every sink, in order.

    speed: 1.0 delivers samples at the rate they were taken at, 2.0 twice as fast, None
    as fast as possible; pauses between chunks are not waited for. Ctrl-C ends it like
    the end of the signal does, and so does a source that cannot be read on. Source and
    sinks stay the caller's to close.
    """
    summary = Summary()
    label: Dict[str, str] = {}
    try:
        for chunk in chunks if speed is None else paced(chunks, stream.signal.rate_hz * speed, clock, sleep):
            started_s = clock()
            for decision in stream.push(chunk.samples, chunk.time_s, chunk.begins, chunk.stands_for):
                summary.changes += bool(label) and label != decision.label
                summary.decisions += 1
                label = decision.label
                for sink in sinks:
                    sink.write(decision)
            summary.busy_s += clock() - started_s
            summary.signal_s += len(chunk.samples) / stream.signal.rate_hz
    except KeyboardInterrupt:
        summary.interrupted = True
    except InputError as error:
        summary.fault = str(error)
    summary.gaps = stream.gaps
    return summary


def paced(chunks: Iterable[Chunk], rate_hz: float, clock: Callable[[], float] = time.monotonic,
          sleep: Callable[[float], Any] = time.sleep) -> Iterator[Chunk]:
    """Yield each chunk when its last sample would have been taken."""
    due_s = clock()
    for chunk in chunks:
        due_s += len(chunk.samples) / rate_hz
        sleep(max(0.0, due_s - clock()))
        yield chunk
