"""What `run`, `serve` and `rehearse` share: a source by its name, and what is told before the first decision."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable, Counter as Counts, Iterable, Mapping, Optional, Union

import click


if TYPE_CHECKING:
    from edgehar.artifact.manifest import Manifest
    from edgehar.artifact.settling import Settling
    from edgehar.data.signals import Signal
    from edgehar.backends.base import Engine
    from edgehar.stream.sources.base import Source
    from edgehar.stream.feed import Feed
    from edgehar.stream.ledger import Ledger
    from edgehar.stream.stream import Stream


OWN_CORPUS = "replay"  # of the model, unless it is told of another
NUMBER = re.compile(r"[-+]?\d[\d.,e+-]*")


def open_source(spec: str, manifest: Manifest, root: Optional[str],
                tell: Optional[Callable[[str], Any]] = None) -> Source:
    """The source that `spec` names; a replay is of the model's own corpus and split unless it names another corpus.

    tell: is given sentences on what is wrong with its samples.
    """
    from edgehar.registry import parse_spec
    from edgehar.stream.sources import SOURCES
    from edgehar.data.splits import Split

    name, options = parse_spec(spec)
    wanting = name == OWN_CORPUS and "dataset" not in options
    given = {"dataset": manifest.corpus if wanting else manifest.data["dataset"], "root": root or ""}
    source = SOURCES.create(spec, split=Split.from_json(manifest.data["split"]), signal=manifest.signal,
                          **{key: value for key, value in given.items() if key not in options})
    if tell is not None:
        source.tell = tell
    return source


def announce(stream: Stream, origin: Source, feed: Feed) -> str:
    """One line on what is about to be recognised, for whoever waits for the first decision."""
    signal = stream.signal
    units = ", ".join(dict.fromkeys(channel.unit for channel in signal.channels))
    said = "recognising %s from %d channels (%s) at %g Hz: %.2f s every %.2f s" % (
        " and ".join(stream.tasks), len(signal.channels), units, signal.rate_hz, signal.window / signal.rate_hz,
        stream.hop / signal.rate_hz)
    return "; ".join(filter(None, [said, origin.remark, _resampling(origin, feed, signal) if feed.resampled else ""]))


def settling_of(manifest: Manifest, hop: Optional[int], way: str, unknown: Union[None, bool, float]) -> Settling:
    """As `Settling.of`; where the fitted thresholds are used, what they cost is told on stderr."""
    from edgehar.artifact.settling import Settling, told_unknown

    found = Settling.of(manifest, way, unknown, hop)
    if unknown is True:
        click.echo(told_unknown(manifest, way), err=True)
    return found


def _resampling(origin: Source, feed: Feed, signal: Signal) -> str:
    measured = ", %.4g Hz by its clock," % origin.measured_hz if origin.measured_hz else ""
    return "the source's %.4g Hz%s are resampled to %.4g Hz, which delays decisions by %.2g s" % (
        feed.claimed_hz, measured, signal.rate_hz, feed.delay_s)


def warn(sentence: str) -> None:
    """Tell a warning on stderr."""
    click.echo("warning: " + sentence, err=True)


class Sparing:
    """Warns of each kind of fault the first, second, fourth, ... time; sentences of a kind differ in numbers."""

    def __init__(self, say: Callable[[str], Any] = warn) -> None:
        self._say = say
        self._times: Counts[str] = Counter()

    def __call__(self, sentence: str) -> None:
        kind = NUMBER.sub("#", sentence)
        self._times[kind] += 1
        times = self._times[kind]
        if times & (times - 1) == 0:
            self._say(sentence if times == 1 else "%s (%d times so far)" % (sentence, times))


def balance_told(found: Ledger) -> str:
    """What became of the samples, in some words."""
    dropped, unread = (", ".join("{:,} {}".format(count, reason) for reason, count in sorted(counts.items()))
                       for counts in (found.dropped, found.unread_messages))
    return "samples: {:,} arrived, {:,} decided, {:,} waiting{}{}".format(
        found.arrived, found.decided, found.waiting, ", dropped: " + dropped if dropped else "",
        "; beside them, messages not read: " + unread if unread else "")


def source_of(engines: Iterable[Engine]) -> str:
    """Of what they tell together, as `results.Run` has it: simulated where one of them is."""
    from edgehar.backends import BACKENDS
    from edgehar.results.runs import MEASURED, SIMULATED

    return SIMULATED if SIMULATED in {BACKENDS.kind(engine.backend).source for engine in engines} else MEASURED


def stream_marks(data: Mapping[str, Any], streamed: bool, source: str = "") -> str:
    """Generated data, a split that leaks and a board that is not there are said to be so wherever results are shown."""
    from edgehar.results.runs import SIMULATED
    from edgehar.data.splits import leak_mark

    what = ["SIMULATED" if source == SIMULATED else "", "trained on synthetic data" if data["synthetic"] else "",
            "fed synthetic data" if streamed else "", leak_mark(data["split"])]
    return " [%s]" % ", ".join(filter(None, what)) if any(what) else ""
