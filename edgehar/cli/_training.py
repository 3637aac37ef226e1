"""What `train` and `distill` share: options, the data, the progress bar and the closing table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

import click

if TYPE_CHECKING:
    from edgehar.datasets import Corpus
    from edgehar.training import Fitted, Recipe


def training_options(command: Callable) -> Callable:
    """The options of every command that trains."""
    for option in reversed([
        click.option("--data", required=True, metavar="SPEC", help="Corpus, e.g. uci-har or wisdm:device=watch; "
                     "`edgehar datasets` lists them."),
        click.option("--root", type=click.Path(), help="Folder with the downloaded corpora; default EDGEHAR_DATA."),
        click.option("--recipe", "recipe_file", type=click.Path(), metavar="FILE.toml",
                     help="Settings of the training; see `edgehar train --help`."),
        click.option("--epochs", type=int, help="Overrides the recipe."),
        click.option("--seed", type=int, help="Overrides the recipe."),
        click.option("-o", "folder", required=True, type=click.Path(), metavar="FOLDER",
                     help="Where the training goes; run again to resume one that was stopped."),
        click.option("--quiet", is_flag=True, help="No progress bar."),
        click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON."),
    ]):
        command = option(command)
    return command


def train(corpus: Corpus, model_spec: str, channels: str, recipe: Recipe, folder: str, quiet: bool,
          method: str = "none", teacher: Optional[Fitted] = None) -> Fitted:
    """Make the network, fit it with a progress bar, and return it."""
    from edgehar.artifact import Signal
    from edgehar.distillers import DISTILLERS
    from edgehar.models import make_model
    from edgehar.signals import choose
    from edgehar.training import fit

    DISTILLERS.create(method)  # an unknown method is told before the progress bar starts
    dataset = corpus.dataset
    signal = Signal(choose(dataset.channels, channels), dataset.rate_hz, dataset.window, dataset.hop,
                    dataset.max_gap_s)
    model = make_model(model_spec, signal, dataset.classes, recipe.seed)
    facts = data_facts(corpus)
    if teacher:
        facts["teacher"] = teacher_facts(teacher)
    with _Bar(recipe.epochs, quiet) as bar:
        return fit(model, corpus.parts.train, corpus.parts.valid, recipe, folder, method, teacher, facts, bar.advance)


def read_recipe(path: Optional[str], **overrides: Optional[int]) -> Recipe:
    """The recipe in a TOML file (or the default one), with the options that were given."""
    from edgehar.files import read_toml
    from edgehar.training import Recipe

    settings = read_toml(path) if path else {}
    settings.update({key: value for key, value in overrides.items() if value is not None})
    return Recipe.from_mapping(settings)


def data_facts(corpus: Corpus) -> Dict[str, Any]:
    """What a trained model remembers of its data and of the code."""
    from edgehar import __version__
    from edgehar.machine import package_version

    dataset, split = corpus.dataset, corpus.dataset.split()
    return {"edgehar": __version__, "torch": package_version("torch"),
            "data": {"dataset": corpus.spec, "synthetic": dataset.synthetic, "licence": dataset.licence,
                     "citation": dataset.citation, "split": dict(split.to_json(), sha256=split.sha256)}}


def teacher_facts(teacher: Fitted) -> Dict[str, Any]:
    """What a student remembers of its teacher."""
    best = max(past.score for past in teacher.history)
    return {"model": teacher.facts["model"], "parameters": teacher.facts["parameters"], "macs": teacher.facts["macs"],
            "channels": [channel.name for channel in teacher.model.signal.channels],
            "seed": teacher.facts["recipe"]["seed"], "valid_macro_f1": best}


def show_training(fitted: Fitted, folder: str, as_json: bool) -> None:
    """The closing table: what was trained, and how well it does on validation people."""
    from edgehar.cli._show import show_json, show_table

    best = max(fitted.history, key=lambda past: past.score)
    if as_json:
        show_json(dict(fitted.facts, folder=str(folder), best_epoch=best.epoch, valid_macro_f1=best.valid_macro_f1))
        return
    title = "%s, method %s%s" % (fitted.facts["model"], fitted.facts["method"],
                                 ", SYNTHETIC data" if fitted.facts["data"]["synthetic"] else "")
    show_table(title, ("task", "macro-F1 on validation people", "best epoch", "parameters", "MACs"),
               [(task, "%.3f" % score, best.epoch, fitted.facts["parameters"], fitted.facts["macs"])
                for task, score in best.valid_macro_f1.items()])


class _Bar:
    """A progress bar over epochs on stderr, with the latest score beside it."""

    def __init__(self, epochs: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn

        self._progress = Progress(TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(),
                                  TimeRemainingColumn(), TextColumn("{task.description}"),
                                  console=Console(stderr=True), disable=quiet)
        self._task = self._progress.add_task("validation macro-F1 -", total=epochs)

    def advance(self, progress: Any) -> None:
        self._progress.update(self._task, completed=progress.epoch,
                              description="validation macro-F1 %.3f, best in epoch %d" % (
                                  progress.score, progress.best_epoch))

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._progress.stop()
