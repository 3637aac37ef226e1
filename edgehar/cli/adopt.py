"""`edgehar adopt`: a network made elsewhere becomes an artifact like any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Tuple

import click

from edgehar.cli._options import json_option, root_option, spec_option, target_option

if TYPE_CHECKING:
    from edgehar.artifact.adopting import Wanted
    from edgehar.artifact.rewiring import Normalisation
    from edgehar.data.corpus import Corpus
    from edgehar.data.signals import Signal

SECTION = "Train"
MEASURED = "measured"


class Told(NamedTuple):
    """The options that tell of the network."""

    signal: str
    classes: Optional[str]
    task: str
    axes: Optional[str]
    output: Optional[str]
    mean: Optional[str]
    deviation: Optional[str]
    licence: Optional[str]
    target: str


@click.command()
@click.argument("model", metavar="MODEL.onnx", type=click.Path())
@click.option("--signal", required=True, metavar="CHANNELS@RATE,window=SAMPLES", help="What it reads, e.g. "
              "wrist/acc@50Hz,window=128 or chest/acc,chest/gyro@100Hz,window=256,hop=64: channels in its order, x, y, "
              "z of each sensor.")
@click.option("--classes", metavar="A,B,...|FILE", help="Its classes in its order; a file has one a line.  [default: "
              "the corpus']")
@click.option("-o", "folder", required=True, type=click.Path(), metavar="ARTIFACT", help="Where the artifact goes.")
@click.option("--name", help="Its name; default the folder's.")
@spec_option("datasets", "--data", metavar="CORPUS", help="Corpus of golden and calibration windows, and of test "
             "subjects; without, signals are generated.")
@click.option("--protocol", metavar="SPEC|FILE.json", help="Who of the corpus it was trained on; see `edgehar split "
              "--help`.  [default: the corpus' own split]")
@root_option()
@click.option("--mean", metavar="A,B,...|measured", help="What is subtracted from each channel, in SI units, where the "
              "network wants it so and does not do it itself; measured: on the subjects to train on.")
@click.option("--deviation", metavar="A,B,...|measured", help="What each channel is then divided by; 9.80665 for "
              "one in g.")
@click.option("--axes", metavar="ORDER", help="Order of its input's axes where sizes alone do not tell: b, c, t and "
              "perhaps 1, e.g. btc.")
@click.option("--output", metavar="NAME", help="Which of its outputs decides, where it has several.")
@click.option("--task", default="activity", show_default=True, help="What the classes are of.")
@click.option("--licence", help="Under what it may be passed on, without a corpus.")
@target_option("What must be able to run it. Operators that it does not know are written out, or the network refused "
               "by its layers.", "trt8.5")
@json_option("the manifest as JSON")
def command(model: str, folder: str, name: Optional[str], data: Optional[str], protocol: Optional[str],
            root: Optional[str], as_json: bool, **told: Any) -> None:
    """Adopt the network in MODEL.onnx, made with whatever tool, as a checked artifact.

    Input as (B, C, T), (B, T, C) or (B, C, 1, T), weights in FP32, FP16 or double, any opset: the graph is brought to
    edgehar's form, asked for the same windows as the original, and refused where it answers otherwise. From then on
    it is built, verified, measured, streamed and packed like any other.

    \b
    edgehar adopt mine.onnx --signal wrist/acc@50Hz,window=128 --classes sit,walk,run -o engines/mine
    """
    from edgehar.artifact.adopting import adopt
    from edgehar.cli._exported import show_artifact
    from edgehar.cli._show import show_json
    from edgehar.probes import probe_folder

    probe_folder(folder)
    wanted, corpus = _wanted(Told(**told), (data, protocol, root))
    adopted = adopt(model, wanted, folder, name or Path(folder).resolve().name, corpus)
    if as_json:
        show_json(adopted.artifact.manifest.to_json())
    else:
        show_artifact(adopted.artifact, folder, adopted.notes)


def _wanted(told: Told, source: Tuple[Optional[str], Optional[str], Optional[str]]) -> Tuple[
        Wanted, Optional[Corpus]]:
    """What the network is said to be, and the corpus it is compared on, if one is named."""
    from edgehar.artifact.adopting import Wanted
    from edgehar.data.asked import asked_signal
    from edgehar.data.datasets import DATASETS

    data, protocol, root = source
    if data is None:
        signal, corpus = asked_signal(told.signal), None
    else:
        dataset = DATASETS.create(data, root=root)
        signal = asked_signal(told.signal, dataset.channels, dataset.max_gap_s)
        corpus = _cut(data, root, protocol or "own", signal)
    classes = _classes(told, corpus)
    own = corpus.dataset.classes.get(told.task, ()) if corpus else ()
    reorder = tuple(own) if own and tuple(own) != classes and set(own) == set(classes) else ()
    return Wanted(signal, classes, told.task, told.axes or "", told.output or "",
                  _normalisation(told, signal, corpus), reorder, told.licence or "not stated", told.target), corpus


def _cut(data: str, root: Optional[str], protocol: str, signal: Signal) -> Corpus:
    from edgehar.cli._cutting import split_by
    from edgehar.cli._show import reading_line
    from edgehar.data.corpus import cut_corpus

    with reading_line() as watch:
        return cut_corpus(data, root, split_by(data, root, protocol), signal.framing, watch)


def _classes(told: Told, corpus: Optional[Corpus]) -> Tuple[str, ...]:
    from edgehar.errors import InputError
    from edgehar.nearest import alternatives

    if told.classes:
        return _listed(told.classes)
    if corpus is None:
        raise InputError("what the network decides between is not known; name its classes in its order with --classes "
                         "a,b,c or --classes FILE.")
    if told.task not in corpus.dataset.classes:
        raise InputError("%s has no labels for task '%s'; %s." % (
            corpus.dataset.name, told.task, alternatives(told.task, list(corpus.dataset.classes))))
    return tuple(corpus.dataset.classes[told.task])


def _listed(text: str) -> Tuple[str, ...]:
    """The names in a list, or in the lines of a file."""
    from edgehar.errors import InputError
    from edgehar.files import read_bytes

    words = read_bytes(text).decode("utf-8", "replace").splitlines() if Path(text).is_file() else text.split(",")
    names = tuple(filter(None, (word.strip() for word in words)))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or len(names) < 2:
        raise InputError("--classes %s names %s; give at least two, each once, separated by commas or one a line." % (
            text, "'%s' twice" % twice if twice is not None else "%d class" % len(names)))
    return names


def _normalisation(told: Told, signal: Signal, corpus: Optional[Corpus]) -> Optional[Normalisation]:
    """What stands before the network; None where nothing was said of it."""
    import numpy as np

    from edgehar.artifact.rewiring import Normalisation
    from edgehar.errors import InputError

    if told.mean is None and told.deviation is None:
        return None
    measured = MEASURED in (told.mean, told.deviation)
    if measured and corpus is None:
        raise InputError("a mean or deviation is measured on recordings; name their corpus with --data, or give the "
                         "numbers that the network was trained with.")
    x = corpus.parts.train.select(signal.channels).x if measured and corpus else np.zeros((1, len(signal.channels), 1))
    count = len(signal.channels)
    mean = _numbers(told.mean, x.mean(axis=(0, 2)), count, "--mean", 0.0)
    deviation = _numbers(told.deviation, x.std(axis=(0, 2)), count, "--deviation", 1.0)
    if not (deviation > 0).all():
        raise InputError("a deviation is %g and signals are divided by it; give numbers above 0." % deviation.min())
    return Normalisation(mean, deviation)


def _numbers(text: Optional[str], measured: Any, count: int, option: str, usual: float) -> Any:
    """(C,) float64, from one number, one a channel, or what was measured."""
    import numpy as np

    from edgehar.errors import InputError

    if text == MEASURED:
        return np.asarray(measured, np.float64)
    try:
        values = [float(word) for word in text.split(",")] if text is not None else [usual]
    except ValueError:
        values = []
    if len(values) not in (1, count) or not np.isfinite(values).all():
        raise InputError("%s %s is neither one number nor %d, one for each channel, nor the word %s." % (
            option, text, count, MEASURED))
    return np.broadcast_to(np.array(values, np.float64), (count,))
