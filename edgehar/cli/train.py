"""`edgehar train`: a network from labels alone."""

from __future__ import annotations

import shlex
from typing import Any, Optional, Sequence

import click

from edgehar.cli._cutting import Asked, asked_corpus, corpus_options
from edgehar.cli._options import model_option
from edgehar.cli._training import labelled_option, training_options

SECTION = "Train"


@click.command()
@model_option("resnet", "Network and its options, e.g. resnet:width=32")
@click.option("--channels", default="all", show_default=True, metavar="PATTERN",
              help='"all", "live" (what a live sensor delivers), parts of names as in wrist/acc,gyro, or fields as in '
              "kind=acc/placement=wrist+ankle.")
@corpus_options()
@labelled_option()
@training_options
def command(model_spec: str, channels: str, tasks: Sequence[str], recipe_file: Optional[str], epochs: Optional[int],
            seed: Optional[int], folder: str, quiet: bool, as_json: bool, labelled: Optional[str],
            **asked: Any) -> None:
    """Train a network on the labels of a corpus: a teacher, or a student without one.

    People are split before windows are cut; the epoch that is best on the validation
    people is kept, and test people are never looked at. Run the same line again to
    resume after a stop.

    \b
    A recipe is a TOML file with any of these lines:
      epochs = 40            learning_rate = 0.003     ema_decay = 0.99   seed = 0
      batch_size = 128       weight_decay = 0.02       patience = 15      balance = true
      warmup_epochs = 2      windows = 0               (drawn in all epochs together; 0: as many as fit the corpus)
      windows_per_epoch = 0  (instead of windows)
      precision = "fp32"     (or "bf16": faster for residual networks where the processor can)
      views = 0              (so many augmented views of a window in turn; 0: a new one in each epoch)
      [augmentation]         rotation_deg = 15.0       scale = 0.1
      jitter = 0.03          shift = 0.1               sensor_dropout = 0.0
      mixup = 0.0            (above 0, such as 0.2: windows are mixed, where labels alone are learnt from)

    Where the recipe says neither epochs nor windows, each window is drawn 64 times, 480,000
    in all at most, and on few windows a batch is a tenth of them.
    """
    from edgehar.cli._show import at, exporting, show_next
    from edgehar.cli._training import Doubts, epoch_bar, read_recipe, regime_of, show_training, tell_resumed
    from edgehar.probes import probe_folder
    from edgehar.training.loop import train

    probe_folder(folder)
    recipe = read_recipe(recipe_file, epochs=epochs, seed=seed)
    corpus = asked_corpus(Asked(**asked))
    regime = regime_of(labelled)
    doubts = Doubts(corpus, tasks, recipe, regime)
    tell_resumed(folder)
    with epoch_bar(recipe.epochs, quiet or as_json) as watch:
        fitted = train(corpus, model_spec, channels, recipe, folder, watch=watch, tasks=tasks, regime=regime)
    show_training(fitted, folder, as_json, doubts)
    if not as_json:
        student = folder.rstrip("/") + "-student"
        show_next("edgehar distill --teacher %s --data %s%s -o %s" % (
            shlex.quote(folder), shlex.quote(corpus.spec), at(asked["root"]), shlex.quote(student)))
        show_next(exporting(folder))
