"""What is refused before the first epoch, in one sentence."""

from __future__ import annotations

import math
from itertools import product
from typing import Dict, List, Mapping, Optional, Sequence, Tuple, Union

from edgehar.data.parts import Parts
from edgehar.data.signals import Signal, Windows
from edgehar.errors import InputError, MismatchError
from edgehar.nearest import did_you_mean
from edgehar.training.distillers.base import Method, WithoutTeacher, WithTeacher
from edgehar.training.folder import Fitted, Teachers
from edgehar.training.models.base import Model
from edgehar.training.plugin_faults import plugin_named
from edgehar.training.recipe import Recipe
from edgehar.training.regime import Regime, labelled_of


def chosen_tasks(classes: Mapping[str, Tuple[str, ...]], tasks: Sequence[str] = ()) -> Dict[str, Tuple[str, ...]]:
    """{task: classes} of those that a network decides: `tasks`, or all of a corpus that have two classes or more.

    Raises InputError for a task that the corpus lacks, or of which it has one class alone.
    """
    choice = {task: names for task, names in classes.items() if len(names) > 1}
    for task in (task for task in tasks if task not in choice):
        raise InputError("the corpus has %s; choose from: %s." % (
            "only one class of task '%s', so there is nothing to decide" % task if task in classes else
            "no task '%s'%s" % (task, did_you_mean(task, choice)), ", ".join(choice) or "none"))
    if not choice:
        raise InputError("the corpus has no task of two classes or more, so there is nothing to decide; choose another "
                         "corpus, or more of this one.")
    return {task: names for task, names in choice.items() if task in tasks or not tasks}


def needed(teacher: Teachers, distiller: Method, method: str) -> List[Fitted]:
    """The teachers, where the method has use for one. Raises InputError where it does not say whether it has."""
    if not isinstance(distiller, (WithTeacher, WithoutTeacher)):
        raise InputError("%s derives from neither WithTeacher nor WithoutTeacher, which say what it is handed; choose "
                         "one of them, of edgehar.training.distillers.base." % plugin_named(
                             "method", method, type(distiller)))
    teachers = [teacher] if isinstance(teacher, Fitted) else list(teacher or ())
    if distiller.needs_teacher and not teachers:
        raise InputError("method '%s' needs a teacher; give one with --teacher." % method)
    return teachers if distiller.needs_teacher else []


def require_context(method: Method, spec: str, teaching: Optional[Windows]) -> None:
    """Raise InputError where a method has no use for a teacher in context, or student and teacher read two rates."""
    if not isinstance(method, WithTeacher) or not method.takes_context:
        raise InputError("method '%s' does not learn from the logits that a teacher deploys, which is what context "
                         "smooths; leave out --context, or choose kd." % spec)
    if teaching is not None:
        raise InputError("the teacher reads another rate than the student, and context is only known at one; train a "
                         "teacher at the student's rate, or leave out --context.")


def require_no_more_labels(regime: Regime, parts: Parts, teachers: Sequence[Fitted]) -> None:
    """Raise InputError for a teacher that learnt from labels of `parts` which `regime` hides from the student."""
    people, everybody = regime.people(parts), Regime().people(parts)
    for theirs in (labelled_of(teacher.facts) or everybody for teacher in teachers):
        if set(theirs) - set(people):
            raise InputError("the teacher learnt from the labels of %s and the student has only those of %s, "
                             "so the teacher would hand on labels that count as unknown; train the teacher with the "
                             "same subjects labelled, or leave the student all labels." % (
                                 "everybody" if theirs == everybody else ", ".join(theirs), ", ".join(people)))


def require_one_split(train: Windows, valid: Windows, teachers: Sequence[Fitted]) -> None:
    """Raise MismatchError where training windows, validation windows and teachers come from different splits."""
    if train.split_sha256 != valid.split_sha256:
        raise MismatchError("the training and validation windows come from different splits; cut both from one.")
    if any(teacher.facts["split_sha256"] != train.split_sha256 for teacher in teachers):
        raise MismatchError("the teacher was trained on another split, so it may have seen the student's test "
                            "subjects; train a teacher on this split.")


def require_deviation(windows: Windows) -> None:
    """Raise InputError for windows of one sample, in whose deviation noise is measured, and for a lone window."""
    if len(windows) < 2:
        raise InputError("there is one window to train on, which has nothing to differ from; cut shorter windows, or "
                         "train on more subjects.")
    if windows.x.shape[2] < 2:
        raise InputError("windows of one sample have no deviation, so nothing is learnt from them; cut windows of 2 "
                         "samples or more.")


def require_numbers(loss: Mapping[str, float], epoch: int) -> None:
    """Raise InputError for a term of the loss of that epoch that is no number."""
    for term, value in loss.items():
        if not math.isfinite(value):
            raise InputError("the loss is no number in epoch %d (%s: %s); lower learning_rate, and train into another "
                             "folder or remove this one." % (epoch, term, value))


def require_teachers_hear(teachers: Sequence[Fitted], heard: Union[Signal, Windows]) -> None:
    """Raise MismatchError for a teacher that reads windows of another rate or length."""
    window = heard.window if isinstance(heard, Signal) else heard.x.shape[2]
    for theirs in (teacher.model.signal for teacher in teachers):
        if (theirs.rate_hz, theirs.window) != (heard.rate_hz, window):
            raise MismatchError("the teacher learnt windows of %d samples at %g Hz and the student's have %d at %g Hz; "
                                "train a teacher on the student's." % (theirs.window, theirs.rate_hz, window,
                                                                       heard.rate_hz))


def require_no_views(recipe: Recipe) -> None:
    """Raise InputError for a recipe with views, where teacher and student read different rates."""
    if recipe.views:
        raise InputError("views of a window are kept at one rate and the teacher reads another than the student; use "
                         "views = 0.")


def require_labels_alone(recipe: Recipe, distiller: Method, method: str) -> None:
    """Raise InputError for a recipe that mixes windows, where a teacher is asked of each as it is."""
    if recipe.augmentation.mixup and distiller.needs_teacher:
        raise InputError("the recipe mixes windows (mixup = %g) and %s asks a teacher, who knows nothing of mixed "
                         "ones; use mixup = 0, or train on labels alone." % (recipe.augmentation.mixup, method))


def require_teachers_decide(model: Model, teachers: Sequence[Fitted]) -> None:
    """Raise InputError where a teacher does not decide a task of the model, or between other classes."""
    for teacher, (task, names) in product(teachers, model.tasks.items()):
        if teacher.model.tasks.get(task) != names:
            raise InputError("the teacher decides %s and the student is to decide '%s' between %s; train a teacher for "
                             "it, or choose the student's tasks with --task." % (
                                 " and ".join(teacher.model.tasks), task, ", ".join(names)))
