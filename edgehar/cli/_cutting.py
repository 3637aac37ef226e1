"""Which corpus a command trains on, how its subjects are divided and its signal is cut."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Optional, Sequence

import click

from edgehar.cli._options import Decorator, root_option, spec_option, together

if TYPE_CHECKING:
    from edgehar.data.corpus import Corpus
    from edgehar.data.signals import Framing
    from edgehar.data.splits import Split
    from edgehar.training.folder import Fitted


class Asked(NamedTuple):
    """The options of `corpus_options`; None where nothing was said. window and hop: samples at rate_hz."""

    data: str
    root: Optional[str]
    skip_bad: bool
    protocol: Optional[str]
    rate_hz: Optional[float]
    window: Optional[int]
    hop: Optional[int]

    @property
    def spec(self) -> str:
        """The corpus with the option of ``--skip-bad``, so that whatever reads it again skips the same."""
        return "%s%sskip_bad=true" % (self.data, "," if ":" in self.data else ":") if self.skip_bad else self.data


def corpus_options(whose: str = "the corpus' own") -> Decorator:
    """What every command that trains asks about its corpus; gather it as ``Asked(**asked)``.

    whose: split and framing it takes unless told otherwise.
    """
    return together(
        spec_option("datasets", "--data", required=True, metavar="SPEC", help="Corpus, e.g. uci-har or "
                    "wisdm:device=watch; `edgehar datasets` lists them, NAME:help tells of the options of one."),
        root_option(),
        click.option("--skip-bad", is_flag=True, help="Leave out what is damaged (a person, a session) and list it at "
                     "the end, instead of refusing the corpus."),
        click.option("--protocol", metavar="SPEC|FILE.json", help="Who is trained on; see `edgehar split --help`.  "
                     "[default: %s split]" % whose),
        click.option("--rate", "rate_hz", type=float, metavar="HZ", help="Samples per second, at most the corpus' own."
                     "  [default: %s]" % whose),
        click.option("--window", type=click.IntRange(1), metavar="SAMPLES", help="Length of a window.  "
                     "[default: as many seconds as %s]" % whose),
        click.option("--hop", type=click.IntRange(1), metavar="SAMPLES", help="From one window to the next."))


def asked_corpus(asked: Asked, teacher: Optional[Mapping[str, Any]] = None) -> Corpus:
    """The corpus, divided and cut as asked for, else like the training with the facts `teacher`, else as its own."""
    from edgehar.cli._show import reading_line
    from edgehar.data.signals import Signal
    from edgehar.data.corpus import cut_corpus
    from edgehar.data.splits import Split

    if teacher is None or asked.protocol:
        split = split_by(asked.data, asked.root, asked.protocol or "own")
    else:
        split = Split.from_json(teacher["data"]["split"])
    framing = _framing(asked, Signal.from_json(teacher["signal"]).framing if teacher else None)
    with reading_line() as watch:
        return cut_corpus(asked.spec, asked.root, split, framing, watch)


def heard_by(teachers: Sequence[Fitted], corpus: Corpus, root: Optional[str]) -> Optional[Corpus]:
    """`corpus` as the teachers read it, where that is at another rate; else None."""
    from edgehar.data.corpus import cut_corpus

    if not teachers or teachers[0].model.signal.rate_hz == corpus.framing.rate_hz:
        return None
    return cut_corpus(corpus.spec, root, corpus.split, teachers[0].model.signal.framing)


def split_by(data: str, root: Optional[str], protocol: str) -> Split:
    """The split in a file, or that a protocol makes of the subjects of the corpus `data`."""
    from edgehar.data.datasets import DATASETS
    from edgehar.files import read_json
    from edgehar.data.protocols import People, make_split
    from edgehar.data.splits import Split
    from edgehar.errors import InputError

    if Path(protocol).suffix == ".json":
        return Split.from_json(read_json(protocol), protocol)
    if Path(protocol).is_file():
        raise InputError("a split is read from a file that ends in .json; name %s so, or name a protocol." % protocol)
    dataset = DATASETS.create(data, root=root)
    return make_split(protocol, People(dataset.split(), dataset.aliases, dataset.together))


def _framing(asked: Asked, base: Optional[Framing]) -> Framing:
    """`base`, else the corpus' own, with what was asked for; windows and hops keep their seconds at another rate."""
    from edgehar.data.datasets import DATASETS
    from edgehar.errors import InputError
    from edgehar.data.signals import Framing

    base = base or DATASETS.create(asked.data, root=asked.root).framing
    rate_hz = base.rate_hz if asked.rate_hz is None else asked.rate_hz
    if not 0 < rate_hz < float("inf"):
        raise InputError("--rate is %s; it must be a number of samples per second above 0." % rate_hz)
    window, hop = (max(1, round(samples * rate_hz / base.rate_hz)) for samples in (base.window, base.hop))
    return Framing(rate_hz, asked.window or window, asked.hop or hop)
