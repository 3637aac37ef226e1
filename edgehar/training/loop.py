"""One loop for teachers and students: fit a network, select on validation people, survive a kill.

There is no test set here: `fit` has no parameter for one, so nothing can be chosen on
it. All randomness of an epoch comes from (seed, epoch), and a checkpoint is written
after each epoch, so that a run that was killed and resumed ends with the same weights
as one that was not.
"""

from __future__ import annotations

import copy
import logging
import math
import random
import shutil
from dataclasses import asdict, replace

from functools import reduce
from itertools import accumulate
from operator import add
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from edgehar.data.channels import choose_channels, positions
from edgehar.data.corpus import Corpus
from edgehar.data.signals import UNLABELLED, Signal, Windows, paired
from edgehar.files import PathLike, alone_in, write_json
from edgehar.results.histories import FILE as HISTORY, Progress, write_history
from edgehar.results.scores import confusion, macro_f1
from edgehar.training.augment import augment_together
from edgehar.training.checks import (chosen_tasks, needed, require_deviation, require_no_views, require_numbers,
                                     require_one_split, require_teachers_decide, require_teachers_hear)
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.base import Distiller, Phase, Teacher
from edgehar.training.folder import (CHECKPOINT, FACTS, WEIGHTS, Fitted, Taught, clear_leftovers, data_facts,
                                     load_checkpoint, of_this_version, require_same_plan, save_checkpoint,
                                     training_plan)
from edgehar.training.models import make_model, teach_as_one
from edgehar.training.models.base import Model, Outputs
from edgehar.training.recipe import Recipe
from edgehar.training.views import Views

LOG = logging.getLogger(__name__)
VIEWS = "views"
SCORED = 2048  # training windows that are scored after each epoch, at most as many as of validation people
def train(corpus: Corpus, spec: str, channels: str, recipe: Recipe, folder: PathLike, method: str = "none",
          teacher: Taught = None, watch: Optional[Callable[[Progress], None]] = None,
          tasks: Sequence[str] = (), views: Optional[PathLike] = None, teaching: Optional[Corpus] = None) -> Fitted:
    """Make the network `spec` for the corpus's signal and `fit` it; arguments as there.

    channels: a pattern for ``signals.choose``: what the network sees. tasks: what it
    decides, as in `chosen_tasks`. teaching: the same corpus as the teacher reads it, where
    that is at a higher rate.
    """
    dataset = corpus.dataset
    max_gap_s = max(dataset.max_gap_s, 2 / corpus.framing.rate_hz)  # a step of a slow signal is no gap
    signal = Signal(choose_channels(dataset.channels, channels), *corpus.framing, max_gap_s)
    LOG.info("the network sees %d of %d channels: %s", len(signal.channels), len(dataset.channels),
             ", ".join(channel.name for channel in signal.channels))
    model = make_model(spec, signal, chosen_tasks(dataset.classes, tasks), recipe.seed)
    return fit(model, corpus.parts.train, corpus.parts.valid, recipe, folder, method, teacher, data_facts(corpus),
               watch, views, teaching.parts.train if teaching else None)


def fit(model: Model, train: Windows, valid: Windows, recipe: Recipe, folder: PathLike, method: str = "none",
        teacher: Taught = None, facts: Optional[Mapping[str, Any]] = None,
        watch: Optional[Callable[[Progress], None]] = None, views: Optional[PathLike] = None,
        teaching: Optional[Windows] = None) -> Fitted:
    """Train `model` on the people of `train`, keep the epoch that is best on those of `valid`.

    method: a distiller's spec. teacher: trained on the same split; its channels may be a
    superset of the model's; several teach as their ensemble. facts: more facts to keep,
    e.g. of the data. watch: called after each epoch. views: where what the teacher says of
    the recipe's views is kept for other trainings; default in `folder`, for this one
    alone. teaching: the training windows at the teacher's rate, where that is a multiple of
    the model's; those are trained on that both have (``signals.paired``). A half-done
    training in `folder` is resumed; a finished one is returned as it is. Raises InputError
    where `folder` holds a training with other settings, or where the loss is no number,
    which leaves the epochs before it; MismatchError where train, valid and teacher come from
    different splits.
    """
    folder = Path(folder)
    distiller = DISTILLERS.create(method)
    teachers = needed(teacher, distiller, method)
    require_one_split(train, valid, teachers)
    require_deviation(train)
    require_teachers_hear(teachers, model.signal if teaching is None else teaching)
    require_teachers_decide(model, teachers)
    plan = dict(training_plan(model, train, valid, recipe, method, teachers), **facts or {})
    require_same_plan(folder, plan)
    if (folder / WEIGHTS).is_file():
        LOG.info("the finished training in %s is taken as it is", folder)
        return Fitted.load(folder)
    together = teach_as_one([each.model for each in teachers]) if teachers else None
    run = _Run(model, together, distiller, train, valid, recipe, Path(views or folder / VIEWS), teaching)
    with alone_in(folder, "another training is at work in %s; wait until it has ended, or choose another folder." %
                  folder):
        return _run_to_end(run, plan, folder, watch)


def _run_to_end(run: "_Run", plan: Dict[str, Any], folder: Path,
                watch: Optional[Callable[[Progress], None]]) -> Fitted:
    """Go on after the last epoch that `folder` knows of."""
    clear_leftovers(folder)
    run.resume(folder / CHECKPOINT)
    write_json(folder / FACTS, plan)
    LOG.info("training in %s begins after epoch %d", folder, len(run.history))
    while not run.finished:
        progress = run.epoch()
        run.save(folder / CHECKPOINT)
        write_history(folder / HISTORY, run.history)
        if watch:
            watch(progress)
    return _finish(run, plan, folder)


def predict(model: Model, x: np.ndarray, batch: int = 512, judged: str = "") -> Dict[str, np.ndarray]:
    """Logits {task: (N, K)} of windows x (N, C, T), in evaluation mode; those called `judged` in ``Outputs.named``."""
    model.eval()
    with torch.inference_mode():
        found = [model(torch.from_numpy(x[start:start + batch])) for start in range(0, len(x), batch)]
        pieces = [(each.spoken_by(judged) if judged else each).logits for each in found]
    return {task: torch.cat([piece[task] for piece in pieces]).numpy() for task in pieces[0]}


def evaluate(model: Model, windows: Windows, judged: str = "") -> Dict[str, float]:
    """{task: pooled macro-F1} of `model` on windows that hold its channels; judged: as in `predict`."""
    logits = predict(model, windows.select(model.signal.channels).x, judged=judged)
    return {task: macro_f1(confusion(windows.y[task], logits[task].argmax(axis=1), len(names)))
            for task, names in model.tasks.items()}


class _Run:
    """The state of one training: everything a checkpoint must hold, and how an epoch changes it."""

    def __init__(self, model: Model, teacher: Optional[Teacher], distiller: Distiller, train: Windows,
                 valid: Windows, recipe: Recipe, views: Path = Path(VIEWS), teaching: Optional[Windows] = None) -> None:
        torch.manual_seed(recipe.seed)
        heard = train if teaching is None else teaching
        if teaching is not None:
            require_no_views(recipe)
            train, heard = paired(train, teaching)
        self.recipe, self.train, self.valid = recipe, train, valid
        self.model, self.distiller = model, distiller
        self.teacher = teacher.eval().requires_grad_(False) if teacher is not None else None
        self.x = torch.from_numpy(train.x)
        self.y = {task: torch.from_numpy(train.y[task]) for task in model.tasks}
        self.sample = train.take(np.linspace(0, len(train) - 1, min(len(train), len(valid), SCORED)).astype(int))
        self.mine = positions(train.channels, model.signal.channels)
        self.heard = self.x if teaching is None else torch.from_numpy(heard.x)
        self.theirs = positions(heard.channels, teacher.signal.channels) if teacher is not None else []
        model.normalise.set_statistics(self.x[:, self.mine])
        self.views = Views(self.x, train.channels, recipe.augmentation, recipe.seed, recipe.views, views, self.teacher,
                           self.theirs) if recipe.views else None
        distiller.class_weights = _class_weights(self.y, model.tasks, recipe.balance)
        model.eval()
        distiller.prepare(model, self.teacher, self.x[:2, self.mine])
        self.phases = distiller.phases(recipe.epochs)
        self.starts = [0, *accumulate(phase.epochs for phase in self.phases)][:-1]
        self.optimiser = torch.optim.AdamW([*model.parameters(), *distiller.parameters()], lr=recipe.learning_rate,
                                           weight_decay=recipe.weight_decay)
        self.average = copy.deepcopy(model) if recipe.ema_decay else model
        self.best: Dict[str, Tensor] = {}
        self.kept: Dict[str, Dict[str, Tensor]] = {}
        self.history: List[Progress] = []
        self.step = 0

    @property
    def finished(self) -> bool:
        done = len(self.history)
        patient = done <= self.starts[-1] or done - self._best_epoch() <= self.recipe.patience
        return done >= self.recipe.epochs or not patient

    def epoch(self) -> Progress:
        """Train one epoch and score it on the validation people."""
        number = len(self.history) + 1
        generator = _seed_epoch(self.recipe.seed, number)
        totals: Dict[str, float] = {}
        phase, start = self._phase()
        if number == start + 1:
            self._keep_last_phase()
            self.optimiser.state.clear()
            self.distiller.begin(phase, self.model)
            self.average.load_state_dict(self.model.state_dict())
        self._free(phase)
        if self.views:
            self.views.turn_to(number)
        batches = self._batches(generator)
        for index in batches:
            for term, value in self._update(index, generator, len(batches)).items():
                totals[term] = totals.get(term, 0.0) + value / len(batches)
        require_numbers(totals, number)
        scores = evaluate(self.average, self.valid, phase.judged)
        figures = dict(self.distiller.figures(self.average), **self._beside(phase))
        return self._record(Progress(number, totals, scores, 0, phase.name, figures))

    def _beside(self, phase: Phase) -> Dict[str, float]:
        """Macro-F1 on people who are trained on, which tells overfitting, and of the method's other networks."""
        found = {"training": evaluate(self.average, self.sample, phase.judged)}
        found.update((name, evaluate(network, self.valid)) for name, network in self.distiller.companions().items())
        return {"macro-F1/%s, %s" % (name, task): value for name, scores in found.items()
                for task, value in scores.items()}

    def _phase(self) -> Tuple[Phase, int]:
        """The phase of the coming epoch, and how many epochs came before it."""
        done = len(self.history)
        return [found for found in zip(self.phases, self.starts) if found[1] <= done][-1]

    def _keep_last_phase(self) -> None:
        """Where the phase that is over keeps its best epoch, go on from that."""
        over = [phase for phase, start in zip(self.phases, self.starts) if start + phase.epochs == len(self.history)]
        for phase in over:
            if phase.kept:
                self.kept[phase.name] = self.best
                self.model.load_state_dict(self.best)

    def _free(self, phase: Phase) -> None:
        """Let only what the phase trains be changed: not even statistics of a batch normalisation that it does not."""
        for name, parameter in self._parameters():
            parameter.requires_grad_(phase.trains(name))
        self.model.train()
        for module in self.model.modules():
            frozen = [not parameter.requires_grad for parameter in module.parameters()]
            if frozen and all(frozen):
                module.eval()

    def _parameters(self) -> Iterator[Tuple[str, Tensor]]:
        for part, module in (("student", self.model), ("distiller", self.distiller)):
            for name, parameter in module.named_parameters():
                yield "%s.%s" % (part, name), parameter

    def _batches(self, generator: torch.Generator) -> List[Tensor]:
        order = torch.randperm(len(self.x), generator=generator)
        order = order[:self.recipe.windows_per_epoch or len(order)]
        batches = list(order.split(self.recipe.batch_size))
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < 2 else batches

    def _update(self, index: Tensor, generator: torch.Generator, steps_per_epoch: int) -> Dict[str, float]:
        """One optimiser step on the windows at `index`; returns the terms of the loss."""
        progress = self.step / (steps_per_epoch * self.recipe.epochs)
        phase, start = self._phase()
        step = self.step - start * steps_per_epoch
        self._set_learning_rate(phase, step, steps_per_epoch)
        view, teacher = self._look(index, generator)
        seen = view[:, self.mine]
        student = self.model(seen)
        labels = {task: y[index] for task, y in self.y.items()}
        terms = self.distiller.step(student, teacher or self._own_teacher(seen), labels, progress)
        terms = phase.minimised(terms)
        self.optimiser.zero_grad(set_to_none=True)
        reduce(add, terms.values()).backward()
        self.optimiser.step()
        self.step += 1
        self._update_average(step + 1)
        self.distiller.after_step(self.model, progress)
        return {term: float(value.detach()) for term, value in terms.items()}

    def _look(self, index: Tensor, generator: torch.Generator) -> Tuple[Tensor, Optional[Outputs]]:
        """A view of the windows at `index`, and what the teacher says of it."""
        if self.views:
            return self.views.at(index)
        rates = [self.x[index]] + ([] if self.heard is self.x else [self.heard[index]])
        seen = augment_together(rates, self.train.channels, self.recipe.augmentation, generator)
        with torch.no_grad():
            return seen[0], self.teacher(seen[-1][:, self.theirs]) if self.teacher is not None else None

    @torch.no_grad()
    def _own_teacher(self, seen: Tensor) -> Optional[Outputs]:
        return self.distiller.teach(seen)

    def _set_learning_rate(self, phase: Phase, step: int, steps_per_epoch: int) -> None:
        """At `step` of a phase: linear warm-up, then half a cosine down to zero."""
        warm = min(1.0, (step + 1) / max(1, self.recipe.warmup_epochs * steps_per_epoch))
        progress = step / (steps_per_epoch * phase.epochs)
        rate = self.recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def _update_average(self, step: int) -> None:
        if self.average is self.model:
            return
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))
        mine = self.model.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(mine[name], 1 - decay)
            else:
                value.copy_(mine[name])

    def _record(self, progress: Progress) -> Progress:
        rivals = self.history[self._phase()[1]:]
        better = not rivals or progress.score > max(past.score for past in rivals)
        if better:
            self.best = {name: value.detach().clone() for name, value in self.average.state_dict().items()}
        self.history.append(replace(progress, best_epoch=progress.epoch if better else self._best_epoch()))
        return self.history[-1]

    def _best_epoch(self) -> int:
        return self.history[-1].best_epoch

    def save(self, path: Path) -> None:
        """Everything needed to go on exactly as if nothing had happened; written whole."""
        state = {"model": self.model.state_dict(), "average": self.average.state_dict(),
                 "distiller": self.distiller.state_dict(), "optimiser": self.optimiser.state_dict(), "best": self.best,
                 "kept": self.kept, "step": self.step, "history": [asdict(past) for past in self.history]}
        save_checkpoint(state, path)

    def resume(self, path: Path) -> None:
        """Take up the state in `path`, where there is one. Raises InputError where it is damaged or of another code."""
        if not path.is_file():
            return
        state = load_checkpoint(path)
        with of_this_version(path):
            self._take_up(state)

    def _take_up(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.distiller.load_state_dict(state["distiller"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.kept, self.step = state["best"], state["kept"], state["step"]
        self.history = [Progress(**past) for past in state["history"]]


# ------------------------------------------------------------------ helpers of fit


def _finish(run: _Run, plan: Dict[str, Any], folder: Path) -> Fitted:
    """Keep what is deployed of the best weights, and drop the checkpoint."""
    write_history(folder / HISTORY, run.history)  # a kill may have come between the last checkpoint and its history
    model = run.model
    model.load_state_dict(run.best)
    found = run.distiller.finish(model, lambda network: evaluate(network, run.valid))
    write_json(folder / FACTS, dict(plan, outcome=dict(found, heads=model.head_kinds, macs=model.mac_count(),
                                                       parameters=model.parameter_count())))
    for name, weights in run.kept.items():
        save_checkpoint(weights, folder / (name + ".pt"))
    save_checkpoint(model.state_dict(), folder / WEIGHTS)
    (folder / CHECKPOINT).unlink()
    shutil.rmtree(folder / VIEWS, ignore_errors=True)
    return Fitted.load(folder)


def _class_weights(y: Mapping[str, Tensor], tasks: Mapping[str, Tuple[str, ...]], balance: bool) -> Dict[str, Tensor]:
    """{task: (K,)} inverse frequencies with mean 1 over the windows; none where `balance` is off."""
    if not balance:
        return {}
    weights = {}
    for task, names in tasks.items():
        counts = torch.bincount(y[task][y[task] != UNLABELLED], minlength=len(names)).float()
        weights[task] = torch.where(counts > 0, counts.sum() / (counts.clamp(min=1) * (counts > 0).sum()), counts)
    return weights


def _seed_epoch(seed: int, epoch: int) -> torch.Generator:
    """Seed every generator from (seed, epoch); returns the one for order and augmentation."""
    number = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)
