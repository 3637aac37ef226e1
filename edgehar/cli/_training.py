"""What `train` and `distill` share: options, the data, the progress bar and the closing table."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Iterator, Optional

import click

if TYPE_CHECKING:
    from rich.console import Console

    from edgehar.training import Fitted, Progress, Recipe


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


def read_recipe(path: Optional[str], **overrides: Optional[int]) -> Recipe:
    """The recipe in a TOML file (or the default one), with the options that were given."""
    from edgehar.files import read_toml
    from edgehar.training import Recipe

    settings = read_toml(path) if path else {}
    settings.update({key: value for key, value in overrides.items() if value is not None})
    return Recipe.from_mapping(settings)


def show_training(fitted: Fitted, folder: str, as_json: bool) -> None:
    """The closing table: what was trained, and how well it does on validation people."""
    from edgehar.cli._show import show_json, show_table

    best = max(fitted.history, key=lambda past: past.score)
    if as_json:
        show_json(dict(fitted.facts, folder=str(folder), best_epoch=best.epoch, valid_macro_f1=best.valid_macro_f1))
        return
    title = "%s%s" % (fitted.facts["model"], ", SYNTHETIC data" if fitted.facts["data"]["synthetic"] else "")
    click.echo(_people_told(fitted))
    click.echo(_method_told(fitted.facts["method"]))
    show_table(title, ("task", "macro-F1 on validation people", "best epoch", "parameters", "MACs"),
               [(task, "%.3f" % score, best.epoch, fitted.facts["parameters"], fitted.facts["macs"])
                for task, score in best.valid_macro_f1.items()])


def _method_told(method: str) -> str:
    """"method kd (arXiv:1503.02531)"."""
    from edgehar.distillers import DISTILLERS
    from edgehar.registry import parse_spec

    paper = DISTILLERS.kind(parse_spec(method)[0]).paper
    return "method %s%s" % (method, " (%s)" % paper if paper else "")


def tell_resumed(folder: str) -> None:
    """Say on stderr where a begun training in `folder` goes on."""
    from edgehar.training import begun

    epochs = begun(folder)
    if epochs:
        click.echo("%s: going on after epoch %d" % (folder, epochs), err=True)


def _people_told(fitted: Fitted) -> str:
    """"people: 29 of 31 train, 9 of 10 valid, 8 of 10 test are at hand"."""
    from edgehar.splits import PARTS

    data = fitted.facts["data"]
    parts = ["%d of %d %s" % (data["people"][part], len(data["split"][part]), part) for part in PARTS]
    return "people at hand: %s" % ", ".join(parts)


@contextmanager
def epoch_bar(epochs: int, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield what to call after each epoch: it moves a bar on a terminal, and prints a line elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda progress: None
    elif console.is_terminal:
        yield from _moving_bar(epochs, console)
    else:
        yield lambda progress: click.echo("epoch %d of %d, %s" % (progress.epoch, epochs, _told(progress)), err=True)


def _moving_bar(epochs: int, console: Console) -> Iterator[Callable[[Progress], None]]:
    from rich import progress as bars

    columns = (bars.TextColumn("epoch"), bars.MofNCompleteColumn(), bars.BarColumn(), bars.TimeElapsedColumn(),
               bars.TimeRemainingColumn(), bars.TextColumn("{task.description}"))
    with bars.Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=epochs)
        yield lambda progress: bar.update(task, completed=progress.epoch, description=_told(progress))


def _told(progress: Progress) -> str:
    return "validation macro-F1 %.3f, best in epoch %d" % (progress.score, progress.best_epoch)
