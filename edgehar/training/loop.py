"""One loop for teachers and students: fit a network, select on validation people, survive a kill.

There is no test set here: `fit` has no parameter for one, so nothing can be chosen on
it. A checkpoint is written after each epoch.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from edgehar.data.channels import choose_channels
from edgehar.data.corpus import Corpus
from edgehar.data.signals import Signal, Windows
from edgehar.files import PathLike, alone_in, write_json
from edgehar.results import histories
from edgehar.results.histories import Progress
from edgehar.training.checks import (chosen_tasks, needed, require_context, require_deviation, require_labels_alone,
                                     require_no_more_labels, require_one_split, require_teachers_decide,
                                     require_teachers_hear)
from edgehar.training.context import Context
from edgehar.training.distillers import DISTILLERS
from edgehar.training.dryrun import dry_run, require_computes
from edgehar.training.epochs import Training
from edgehar.training.evaluation import evaluate
from edgehar.training.facts import data_facts, require_same_plan, training_plan
from edgehar.training.folder import CHECKPOINT, FACTS, WEIGHTS, Fitted, Teachers, clear_leftovers, save_checkpoint
from edgehar.training.lessons import VIEWS
from edgehar.training.models import make_model, teach_as_one
from edgehar.training.models.base import Model
from edgehar.training.recipe import Recipe
from edgehar.training.regime import Regime, everything, learnt_from, regime_facts

LOG = logging.getLogger(__name__)


def train(corpus: Corpus, spec: str, channels: str, recipe: Recipe, folder: PathLike, method: str = "none",
          teacher: Teachers = None, watch: Optional[Callable[[Progress], None]] = None,
          tasks: Sequence[str] = (), views: Optional[PathLike] = None, teaching: Optional[Corpus] = None,
          regime: Regime = Regime()) -> Fitted:
    """Make the network `spec` for the corpus's signal and `fit` it; arguments as there.

    channels: a pattern for ``channels.choose_channels``: what the network sees. tasks: what it
    decides, as in `chosen_tasks`. teaching: the same corpus as the teacher reads it, where
    that is at a higher rate. regime: whose labels count.
    """
    dataset = corpus.dataset
    max_gap_s = max(dataset.max_gap_s, 2 / corpus.framing.rate_hz)  # a step of a slow signal is no gap
    signal = Signal(choose_channels(dataset.channels, channels), *corpus.framing, max_gap_s)
    LOG.info("the network sees %d of %d channels: %s", len(signal.channels), len(dataset.channels),
             ", ".join(channel.name for channel in signal.channels))
    model = make_model(spec, signal, chosen_tasks(dataset.classes, tasks), recipe.seed)
    distiller = DISTILLERS.create(method)
    require_no_more_labels(regime, corpus.parts, needed(teacher, distiller, method))
    windows = learnt_from(corpus.parts, regime, distiller)
    facts = {**data_facts(corpus), **regime_facts(corpus.parts, regime, windows)}
    return fit(model, windows, corpus.parts.valid, recipe, folder, method, teacher, facts, watch, views,
               everything(teaching.parts) if teaching else None, regime.context)


def fit(model: Model, train: Windows, valid: Windows, recipe: Recipe, folder: PathLike, method: str = "none",
        teacher: Teachers = None, facts: Optional[Mapping[str, Any]] = None,
        watch: Optional[Callable[[Progress], None]] = None, views: Optional[PathLike] = None,
        teaching: Optional[Windows] = None, context: bool = False) -> Fitted:
    """Train `model` on the people of `train`, keep the epoch that is best on those of `valid`.

    method: a distiller's spec. teacher: trained on the same split; its channels may be a
    superset of the model's; several teach as their ensemble. facts: more facts to keep,
    e.g. of the data. watch: called after each epoch. views: where what the teacher says of
    the recipe's views is kept for other trainings; default in `folder`, for this one
    alone. teaching: the training windows at the teacher's rate, where that is a multiple of
    the model's; those are trained on that both have (``signals.paired``). context: the
    teacher's probabilities are smoothed along each recording (``edgehar.training.context``). A half-done
    training in `folder` is resumed; a finished one is returned as it is. Raises InputError
    where `folder` holds a training with other settings, where network or method fail in a
    dry run, or where the loss is no number, which leaves the epochs before it;
    MismatchError where train, valid and teacher come from different splits.
    """
    folder = Path(folder)
    distiller = DISTILLERS.create(method)
    teachers = needed(teacher, distiller, method)
    require_labels_alone(recipe, distiller, method)
    require_one_split(train, valid, teachers)
    require_deviation(train)
    require_teachers_hear(teachers, model.signal if teaching is None else teaching)
    require_teachers_decide(model, teachers)
    if context:
        require_context(distiller, method, teaching)
    require_computes(model, train)
    plan = dict(training_plan(model, train, valid, recipe, method, teachers), **facts or {})
    require_same_plan(folder, plan)
    if (folder / WEIGHTS).is_file():
        LOG.info("the finished training in %s is taken as it is", folder)
        return Fitted.load(folder)
    together = teach_as_one([each.model for each in teachers]) if teachers else None
    dry_run(model, together, method, train, recipe, teaching)
    along = Context(together, model.tasks, train, valid) if context and together is not None else None
    training = Training(model, together, distiller, train, valid, recipe, Path(views or folder / VIEWS), teaching,
                        along)
    with alone_in(folder, "another training is at work in %s; wait until it has ended, or choose another folder." %
                  folder):
        return _run_to_end(training, plan, folder, watch)


def _run_to_end(training: Training, plan: Dict[str, Any], folder: Path,
                watch: Optional[Callable[[Progress], None]]) -> Fitted:
    """Go on after the last epoch that `folder` knows of."""
    clear_leftovers(folder)
    training.resume(folder / CHECKPOINT)
    write_json(folder / FACTS, plan)
    LOG.info("training in %s begins after epoch %d", folder, len(training.history))
    while not training.finished:
        progress = training.epoch()
        training.save(folder / CHECKPOINT)
        histories.write_history(folder / histories.FILE, training.history)
        if watch:
            watch(progress)
    return _finish(training, plan, folder)


def _finish(training: Training, plan: Dict[str, Any], folder: Path) -> Fitted:
    """Keep what is deployed of the best weights, and drop the checkpoint."""
    histories.write_history(folder / histories.FILE, training.history)  # a kill may have come before the last one
    model = training.model
    model.load_state_dict(training.best)
    found = training.distiller.finish(model, lambda network: evaluate(network, training.valid))
    if training.context:
        found["context"] = training.context.to_json()
    write_json(folder / FACTS, dict(plan, outcome=dict(found, heads=model.head_kinds, macs=model.mac_count(),
                                                       parameters=model.parameter_count())))
    for name, weights in training.kept.items():
        save_checkpoint(weights, folder / (name + ".pt"))
    save_checkpoint(model.state_dict(), folder / WEIGHTS)
    (folder / CHECKPOINT).unlink()
    shutil.rmtree(folder / VIEWS, ignore_errors=True)
    return Fitted.load(folder)
