"""What `train` and `distill` share: options, the data, the progress bar and the closing table."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, Optional, Sequence

import click

from edgehar.cli._options import Decorator, json_option, quiet_option, together

if TYPE_CHECKING:
    from rich.console import Console

    from edgehar.data.corpus import Corpus
    from edgehar.results.histories import Progress
    from edgehar.training.folder import Fitted
    from edgehar.training.recipe import Recipe
    from edgehar.training.regime import Regime


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that trains, but for those on its corpus."""
    return together(
        click.option("--task", "tasks", multiple=True, metavar="NAME",
                     help="What the network decides, e.g. activity. Repeatable.  [default: all tasks of the corpus "
                     "that have two classes or more]"),
        click.option("--recipe", "recipe_file", type=click.Path(), metavar="FILE.toml",
                     help="Settings of the training; see `edgehar train --help`."),
        click.option("--epochs", type=int, help="Overrides the recipe."),
        click.option("--seed", type=int, help="Overrides the recipe."),
        click.option("-o", "folder", required=True, type=click.Path(), metavar="FOLDER",
                     help="Where the training goes; run again to resume one that was stopped."),
        quiet_option(), json_option("the facts as JSON"))(command)


def labelled_option() -> Decorator:
    """Whose labels count."""
    return click.option("--labelled", metavar="N|NAMES", help="Learn from the labels of so many of the people to "
                        "train on, drawn at random, as in 4 or 4:draw=1, or of these, as in anna,ben; everybody else "
                        "then counts as recorded and not labelled.  [default: all labels that there are]")


def regime_of(labelled: Optional[str], unlabelled: str = "people", context: bool = False,
              teacher: Optional[Mapping[str, Any]] = None) -> Regime:
    """What the options say, else as the training with the facts `teacher` had it."""
    from edgehar.training.regime import Regime, labelled_of, parse_labelled

    people, draw = parse_labelled(labelled) if labelled is not None else (labelled_of(teacher), 0)
    return Regime.of(people, draw, unlabelled, context)


def read_recipe(path: Optional[str], **overrides: Optional[int]) -> Recipe:
    """The recipe in a TOML file (or the default one), with the options that were given."""
    from edgehar.files import read_toml
    from edgehar.training.recipe import Recipe

    settings = read_toml(path) if path else {}
    settings.update({key: value for key, value in overrides.items() if value is not None})
    return Recipe.from_mapping(settings)


class Doubts:
    """What is to be known before a figure is trusted: told on stderr, and kept for --json.

    support: {task: {part: {class: windows}}}.
    """

    def __init__(self, corpus: Corpus, tasks: Sequence[str], recipe: Recipe, regime: Regime) -> None:
        from edgehar.training.checks import chosen_tasks
        from edgehar.training.doubts import class_support, training_doubts
        from edgehar.training.regime import labelled_only

        parts = corpus.parts._replace(train=labelled_only(corpus.parts, regime))
        self.support = class_support(parts, chosen_tasks(corpus.dataset.classes, tasks))
        self.sentences: List[str] = []
        self._tell([*corpus.remarks, *training_doubts(self.support, recipe, len(parts.train))])

    def tell_of(self, fitted: Fitted) -> None:
        """What the finished training leaves in doubt."""
        from edgehar.training.doubts import guessing

        self._tell(guessing(fitted.best.valid_macro_f1, self.support))

    def _tell(self, sentences: Sequence[str]) -> None:
        from edgehar.cli._show import show_warnings

        show_warnings(sentences)
        self.sentences.extend(sentences)


def show_training(fitted: Fitted, folder: str, as_json: bool, doubts: Doubts) -> None:
    """The closing table: what was trained, and how well it does on validation people."""
    from edgehar.cli._show import marked, show_json, show_table
    from edgehar.data.vetting import remarks

    best = fitted.best
    doubts.tell_of(fitted)
    if as_json:
        show_json(dict(fitted.facts, folder=str(folder), best_epoch=best.epoch, valid_macro_f1=best.valid_macro_f1,
                       support=doubts.support, warnings=doubts.sentences))
        return
    data = fitted.facts["data"]
    title = marked(fitted.facts["model"], data)
    click.echo(_people_told(fitted))
    click.echo(rate_told(fitted.facts["signal"]["rate_hz"], data["measured_hz"]))
    _tell_skipped(data["skipped"])
    for sentence in remarks(fitted.model.tasks):
        click.echo(sentence)
    click.echo(_method_told(fitted.facts["method"]))
    _tell_labels(fitted.facts)
    _tell_pace(fitted.facts)
    _tell_heads(fitted.facts.get("search", {}))
    show_table(title, ("task", "macro-F1 on validation people", "best epoch", "parameters", "MACs"),
               [(task, "%.3f" % score, best.epoch, fitted.facts["parameters"], fitted.facts["macs"])
                for task, score in best.valid_macro_f1.items()])


def _tell_labels(facts: Mapping[str, Any]) -> None:
    """Whose labels counted, what else was learnt from, and what context was worth."""
    if "labels" in facts:
        labels = facts["labels"]
        click.echo("labels of %s: %d windows; without labels: %s" % (
            ", ".join(labels["people"]), labels["windows"], "%d windows of %s" % (
                labels["windows_without"], ", ".join(labels["people_without"])) if labels["windows_without"] else
            "none"))
    for task, choice in facts.get("context", {}).items():
        scores = choice["valid_macro_f1"]
        click.echo("teacher in context, %s: macro-F1 on validation people %.3f, without it %.3f%s" % (
            task, scores["with"], scores["without"], "" if choice["stickiness"] else "; so it is switched off"))


def _tell_pace(facts: Mapping[str, Any]) -> None:
    """Where the recipe was brought to the size of the corpus."""
    if "pace" in facts:
        click.echo("%d windows to train on: an epoch draws %d of them, in batches of %d" % (
            facts["train_windows"], facts["pace"]["windows"], facts["pace"]["batch_size"]))


def _tell_heads(searches: Mapping[str, Mapping[str, Any]]) -> None:
    for task, search in searches.items():
        click.echo("head for %s: %s, importance %.2f; best on validation people: %s" % (
            task, search["kept"], search["importances"][search["kept"]], search["best_on_validation"]))


def _tell_skipped(sentences: Sequence[str]) -> None:
    if sentences:
        click.echo("skipped as damaged: %d" % len(sentences))
    for sentence in sentences:
        click.echo("  " + sentence)


def rate_told(rate_hz: float, measured_hz: Sequence[float]) -> str:
    """"rate: 20 Hz, from samples taken at 19.2 to 100 Hz (median 20)"."""
    taken = ", from samples taken at %.4g to %.4g Hz (median %.4g)" % (
        measured_hz[0], measured_hz[2], measured_hz[1]) if measured_hz else " by the corpus' own account"
    return "rate: %g Hz%s" % (rate_hz, taken)


def _method_told(method: str) -> str:
    """"method kd (arXiv:1503.02531)"."""
    from edgehar.training.distillers import DISTILLERS
    from edgehar.registry import parse_spec

    paper = DISTILLERS.kind(parse_spec(method)[0]).paper
    return "method %s%s" % (method, " (%s)" % paper if paper else "")


def tell_resumed(folder: str) -> None:
    """Say on stderr where a begun training in `folder` goes on."""
    from edgehar.training.folder import begun

    epochs = begun(folder)
    if epochs:
        click.echo("%s: going on after epoch %d" % (folder, epochs), err=True)


def _people_told(fitted: Fitted) -> str:
    """"people: 29 of 31 train, 9 of 10 valid, 8 of 10 test are at hand"."""
    from edgehar.data.splits import PARTS

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
    phase = "" if progress.phase == "all" else "%s, " % progress.phase
    return "%svalidation macro-F1 %.3f, best in epoch %d" % (phase, progress.score, progress.best_epoch)
