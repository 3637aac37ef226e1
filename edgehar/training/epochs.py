"""The epochs of a training: everything a checkpoint must hold, and how an epoch changes it.

All randomness of an epoch comes from (seed, epoch), so that a training that was killed
and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import copy
import math
import random
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from edgehar.data.signals import UNLABELLED, Windows, carries_label
from edgehar.errors import InputError
from edgehar.results.histories import Progress
from edgehar.training.augment import draw_mixture
from edgehar.training.checks import require_numbers
from edgehar.training.context import Context
from edgehar.training.distillers.base import Method, Phase, Teacher, WithoutTeacher, prepare, total
from edgehar.training.evaluation import evaluate
from edgehar.training.folder import load_checkpoint, of_this_version, save_checkpoint
from edgehar.training.lessons import VIEWS, Lessons
from edgehar.training.models.base import Model
from edgehar.training.recipe import Recipe
from edgehar.training.speed import Follower, optimiser_of, outputs_of, precision_here, scored_of_training


class Training:
    """One training between its first and its last epoch. Arguments as of ``edgehar.training.loop.fit``."""

    def __init__(self, model: Model, teacher: Optional[Teacher], distiller: Method, train: Windows,
                 valid: Windows, recipe: Recipe, views: Path = Path(VIEWS), teaching: Optional[Windows] = None,
                 context: Optional[Context] = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.valid, self.model, self.distiller = recipe, valid, model, distiller
        self.context = context
        teacher = teacher.eval().requires_grad_(False) if teacher is not None else None
        self.lessons = Lessons(train, model.signal, recipe, teacher, views, teaching, context)
        windows = self.lessons.windows
        self.pace, self.precision = recipe.pace(len(train)), precision_here(recipe)
        self.y = {task: torch.from_numpy(windows.y[task]) for task in model.tasks}
        self.sample = _some_labelled(windows, scored_of_training(len(windows), len(valid), self.pace.windows))
        mine = self.lessons.x[:, self.lessons.mine]
        model.normalise.set_statistics(mine)
        distiller.class_weights = class_weights(self.y, model.tasks, recipe.balance)
        prepare(distiller, model.eval(), teacher, mine[:2])
        self.phases = distiller.phases(recipe.epochs)
        self.starts = [0, *accumulate(phase.epochs for phase in self.phases)][:-1]
        self.optimiser = optimiser_of([*model.parameters(), *distiller.parameters()], recipe.learning_rate,
                                      recipe.weight_decay)
        self.average = copy.deepcopy(model) if recipe.ema_decay else model
        self.follower = Follower(self.average, model)
        self.best: Dict[str, Tensor] = {}
        self.kept: Dict[str, Dict[str, Tensor]] = {}
        self.history: List[Progress] = []
        self.step = 0

    @property
    def finished(self) -> bool:
        """Whether all epochs were trained, or patience has ended."""
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
        self.lessons.turn_to(number)
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
        """Indices (B,) of an epoch's windows; a last one of a single window, which has no deviation, is left out."""
        passes = math.ceil(self.pace.windows / len(self.lessons.x))
        order = torch.cat([torch.randperm(len(self.lessons.x), generator=generator) for _ in range(passes)])
        batches = list(order[:self.pace.windows].split(self.pace.batch_size))
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < 2 else batches

    def _update(self, index: Tensor, generator: torch.Generator, steps_per_epoch: int) -> Dict[str, float]:
        """One optimiser step on the windows at `index`; returns the terms of the loss."""
        progress = self.step / (steps_per_epoch * self.recipe.epochs)
        phase, start = self._phase()
        step = self.step - start * steps_per_epoch
        self._set_learning_rate(phase, step, steps_per_epoch)
        terms = self.terms(index, generator, progress)
        terms = phase.minimised(terms)
        self.optimiser.zero_grad(set_to_none=True)
        total(terms.values()).backward()
        self.optimiser.step()
        self.step += 1
        self._update_average(step + 1)
        self.distiller.after_step(self.model, progress)
        return {term: float(value.detach()) for term, value in terms.items()}

    def terms(self, index: Tensor, generator: torch.Generator, progress: float) -> Dict[str, Tensor]:
        """{term: scalar} of the method for the training windows at `index` (B,); progress: 0 to 1 of the training."""
        look = self.lessons.look(index, generator)
        labels = {task: y[index] for task, y in self.y.items()}
        if self.recipe.augmentation.mixup and isinstance(self.distiller, WithoutTeacher):
            return self._mixed(self.distiller, look.student, labels, generator, progress)
        student = outputs_of(self.model, look.student, self.precision)
        if isinstance(self.distiller, WithoutTeacher):
            return self.distiller.step(student, look.student, labels, progress)
        said = self.lessons.ask(index, look, self.model.tasks if self.distiller.logits_suffice else ())
        return self.distiller.step(student, said, labels, progress)

    def _mixed(self, method: WithoutTeacher, x: Tensor, labels: Mapping[str, Tensor], generator: torch.Generator,
               progress: float) -> Dict[str, Tensor]:
        """The terms of windows x (B, C, T), each mixed with another of its batch."""
        mixture = draw_mixture(len(x), self.recipe.augmentation.mixup, generator)
        mixed = mixture.of(x)
        student = outputs_of(self.model, mixed, self.precision)
        partners = {task: y[mixture.partner] for task, y in labels.items()}
        return mixture.loss(*(method.step(student, mixed, each, progress) for each in (labels, partners)))

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
        self.follower.move(1 - min(self.recipe.ema_decay, (1 + step) / (10 + step)))

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


def _some_labelled(windows: Windows, count: int) -> Windows:
    """`count` of those with a label, spread evenly."""
    known = np.flatnonzero(carries_label(windows))
    if not len(known):
        raise InputError("no window to train on carries a label; name labelled people, or look at the labels.")
    return windows.take(known[np.linspace(0, len(known) - 1, min(len(known), count)).astype(int)])


def class_weights(y: Mapping[str, Tensor], tasks: Mapping[str, Tuple[str, ...]], balance: bool) -> Dict[str, Tensor]:
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
