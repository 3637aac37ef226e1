"""`edgehar distill`: a small network that learns from a trained one."""

from __future__ import annotations

from typing import Any, Optional, Sequence

import click

from edgehar.cli._cutting import Asked, asked_corpus, corpus_options, heard_by
from edgehar.cli._options import model_option, spec_option
from edgehar.cli._show import names_in_room
from edgehar.cli._training import labelled_option, training_options

SECTION = "Train"


@click.command()
@click.option("--teacher", "teacher_folders", multiple=True, type=click.Path(), metavar="FOLDER",
              help="A finished training; not needed by methods without a teacher. Repeatable: several teach as one, by "
              "the mean of their probabilities.")
@spec_option("distillers", "--method", default="kd", show_default=True, metavar="SPEC",
             help="Method and its options, e.g. kd:temperature=4,share=0.9. There are: %s; NAME:help tells of the "
             "options of one." % names_in_room("distillers"))
@model_option("mobilenet:size=S", "The student, e.g. mobilenet:size=S,conv=valid")
@click.option("--channels", default="live", show_default=True, metavar="PATTERN",
              help='What the student sees: "live" (what a live sensor delivers), "all", parts of names as in wrist/acc,'
              " or fields as in kind=acc/placement=wrist.")
@corpus_options("the teacher's, else the corpus' own")
@labelled_option()
@click.option("--unlabelled", type=click.Choice(("people", "all", "none")), default="people", show_default=True,
              help="Windows without a label that the teacher labels: of subjects who have no labels at all, also of "
              "others (mostly none of the classes), or none. Methods such as kd, smldist and tsak learn from them.")
@click.option("--context", is_flag=True, help="Smooth what the teacher says along each recording, as strongly as is "
              "best on validation subjects, or not at all where that is best.")
@training_options
def command(teacher_folders: Sequence[str], method: str, model_spec: str, channels: str, tasks: Sequence[str],
            recipe_file: Optional[str], epochs: Optional[int], seed: Optional[int], folder: str, quiet: bool,
            as_json: bool, labelled: Optional[str], unlabelled: str, context: bool, **asked: Any) -> None:
    """Train a student on a teacher's outputs and on the labels.

    Teacher and student see the same augmented windows; the student may see fewer
    channels. The teacher must have been trained on the same split, or it would have seen
    the student's test subjects; unless told otherwise, the student takes the teacher's
    split, rate and window. With --rate it may be slower: at a half or a quarter of the
    teacher's rate it reads the same seconds in fewer samples.

    It pays most where few subjects are labelled and others were only recorded: the teacher,
    trained with --labelled, says of the others' windows what nobody labelled, and
    the student takes the same labelled subjects unless told otherwise.
    """
    from edgehar.cli._show import exporting, show_next
    from edgehar.cli._training import Doubts, epoch_bar, read_recipe, regime_of, show_training, tell_resumed
    from edgehar.probes import probe_folder
    from edgehar.training.folder import Fitted
    from edgehar.training.loop import train

    probe_folder(folder)
    recipe = read_recipe(recipe_file, epochs=epochs, seed=seed)
    teachers = [Fitted.load(teacher_folder) for teacher_folder in teacher_folders]
    corpus = asked_corpus(Asked(**asked), teachers[0].facts if teachers else None)
    teaching = heard_by(teachers, corpus, asked["root"])
    regime = regime_of(labelled, unlabelled, context, teachers[0].facts if teachers else None)
    doubts = Doubts(corpus, tasks, recipe, regime)
    tell_resumed(folder)
    with epoch_bar(recipe.epochs, quiet or as_json) as watch:
        fitted = train(corpus, model_spec, channels, recipe, folder, method, teachers, watch, tasks,
                       teaching=teaching, regime=regime)
    show_training(fitted, folder, as_json, doubts)
    if not as_json:
        show_next(exporting(folder))
