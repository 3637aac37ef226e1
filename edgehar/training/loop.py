"""One loop for teachers and students: fit a network, select on validation people, survive a kill.

There is no test set here: `fit` has no parameter for one, so nothing can be chosen on
it. All randomness of an epoch comes from (seed, epoch), and a checkpoint is written
after each epoch, so that a run that was killed and resumed ends with the same weights
as one that was not.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from itertools import accumulate, product
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from edgehar import __version__
from edgehar.data.channels import choose, positions
from edgehar.data.corpus import Corpus
from edgehar.data.signals import UNLABELLED, Signal, Windows, paired, windows_sha256
from edgehar.errors import InputError, MismatchError
from edgehar.files import PathLike, alone_in, read_json, write_json, written_whole
from edgehar.results.histories import FILE as HISTORY
from edgehar.results.scores import confusion, macro_f1
from edgehar.training.augment import Augmentation, augment_together
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.base import Distiller, Phase, Teacher
from edgehar.training.models import make_model, teach_as_one
from edgehar.training.models.base import Model, Outputs
from edgehar.training.views import Views

CHECKPOINT, WEIGHTS, FACTS = "checkpoint.pt", "model.pt", "training.json"
VIEWS = "views"
SCORED = 2048  # training windows that are scored after each epoch, at most as many as of validation people
BELOW = {"ema_decay": 1, "seed": 1 << 47}  # edgehar.training.views shifts a seed by 16 bits
VERSIONS = ("edgehar", "torch")


@dataclass(frozen=True)
class Recipe:
    """How to train; people write it as TOML.

    ema_decay: decay of the averaged weights that are validated and kept, 0 for none.
    patience: epochs without a better validation macro-F1 before stopping. balance:
    weight classes by their inverse frequency. windows_per_epoch: 0 for all. views: so many
    augmented views of a window, taken in turn by the epochs (see ``edgehar.training.views``); 0
    for a new one in each.
    """

    epochs: int = 40
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warmup_epochs: int = 2
    ema_decay: float = 0.99
    patience: int = 15
    balance: bool = True
    windows_per_epoch: int = 0
    views: int = 0
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 2), ("patience", 0), ("windows_per_epoch", 0),
                            ("views", 0), ("seed", 0), ("warmup_epochs", 0), ("weight_decay", 0), ("ema_decay", 0),
                            ("learning_rate", 0)):
            value = getattr(self, name)
            if not least <= value < BELOW.get(name, math.inf):
                raise InputError("the recipe has %s = %s; it must be %s or more%s." % (
                    name, value, least, " and below %d" % BELOW[name] if name in BELOW else ""))
        if self.learning_rate == 0:
            raise InputError("the recipe has learning_rate = 0, at which nothing is learnt; it must be above 0.")

    def to_json(self) -> Dict[str, Any]:
        """All settings; one that came later is left out where it is off, so that older trainings stay the same."""
        value = asdict(self)
        if not self.augmentation.sensor_dropout:
            del value["augmentation"]["sensor_dropout"]
        return value

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any]) -> "Recipe":
        """Raises InputError for an unknown or ill-typed setting."""
        value = dict(value)
        inner = value.pop("augmentation", {})
        if not isinstance(inner, dict):
            raise InputError("the recipe's augmentation is %r; write it as a table, [augmentation]." % (inner,))
        _require_fields(cls, value, "recipe")
        _require_fields(Augmentation, inner, "recipe's augmentation")
        return cls(augmentation=Augmentation(**inner), **value)


@dataclass(frozen=True)
class Progress:
    """One epoch's figures, as they stand in the history.

    loss: {term: mean} of what was minimised. best_epoch: of the same phase so far; figures: what the method tells.
    """

    epoch: int
    loss: Dict[str, float]
    valid_macro_f1: Dict[str, float]
    best_epoch: int
    phase: str = "all"
    figures: Dict[str, float] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean over the tasks; one that no validation window is labelled for does not count."""
        known = [value for value in self.valid_macro_f1.values() if not math.isnan(value)]
        return float(np.mean(known)) if known else 0.0


@dataclass(frozen=True)
class Fitted:
    """A trained network with the facts of its training; `facts` goes into the artifact's manifest."""

    model: Model
    facts: Dict[str, Any]
    history: Tuple[Progress, ...]

    @property
    def best(self) -> Progress:
        """The epoch whose weights were kept."""
        return self.history[self.history[-1].best_epoch - 1]

    @classmethod
    def load(cls, folder: PathLike) -> "Fitted":
        """Read a finished training. Raises InputError where the folder holds none, or one of other code."""
        folder = Path(folder)
        if not (folder / WEIGHTS).is_file():
            raise InputError("%s holds no finished training; run `edgehar train` or `edgehar distill` with -o %s." % (
                folder, folder))
        facts, weights = read_json(folder / FACTS), _load(folder / WEIGHTS)
        with _of_this_version(folder / FACTS):
            facts.update(facts.pop("outcome", {}))
            model = make_model(facts["model"], Signal.from_json(facts["signal"]),
                               {task: tuple(names) for task, names in facts["tasks"].items()})
            model.put_heads(facts.get("heads", {}))
        with _of_this_version(folder / WEIGHTS):
            model.load_state_dict(weights)
        return cls(model.eval(), facts, _read_history(folder / HISTORY))


Taught = Union[None, Fitted, Sequence[Fitted]]


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
    signal = Signal(choose(dataset.channels, channels), *corpus.framing, max_gap_s)
    model = make_model(spec, signal, chosen_tasks(dataset.classes, tasks), recipe.seed)
    return fit(model, corpus.parts.train, corpus.parts.valid, recipe, folder, method, teacher, _data_facts(corpus),
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
    teachers = _needed(teacher, distiller, method)
    _require_one_split(train, valid, teachers)
    _require_deviation(train)
    _require_teachers_hear(teachers, model.signal if teaching is None else teaching)
    _require_teachers_decide(model, teachers)
    plan = dict(_plan(model, train, valid, recipe, method, teachers), **facts or {})
    _require_same_plan(folder, plan)
    if (folder / WEIGHTS).is_file():
        return Fitted.load(folder)
    together = teach_as_one([each.model for each in teachers]) if teachers else None
    run = _Run(model, together, distiller, train, valid, recipe, Path(views or folder / VIEWS), teaching)
    with alone_in(folder, "another training is at work in %s; wait until it has ended, or choose another folder." %
                  folder):
        return _run_to_end(run, plan, folder, watch)


def _run_to_end(run: "_Run", plan: Dict[str, Any], folder: Path,
                watch: Optional[Callable[[Progress], None]]) -> Fitted:
    """Go on after the last epoch that `folder` knows of."""
    _clear_leftovers(folder)
    run.resume(folder / CHECKPOINT)
    write_json(folder / FACTS, plan)
    while not run.finished:
        progress = run.epoch()
        run.save(folder / CHECKPOINT)
        _write_history(folder / HISTORY, run.history)
        if watch:
            watch(progress)
    return _finish(run, plan, folder)


def begun(folder: PathLike) -> int:
    """Epochs that a training in `folder` has done; 0 where there is none to go on with, or it is finished."""
    folder = Path(folder)
    if not (folder / CHECKPOINT).is_file() or not (folder / HISTORY).is_file():
        return 0
    return len(_read_history(folder / HISTORY))


def chosen_tasks(classes: Mapping[str, Tuple[str, ...]], tasks: Sequence[str] = ()) -> Dict[str, Tuple[str, ...]]:
    """{task: classes} of those that a network decides: `tasks`, or all of a corpus that have two classes or more.

    Raises InputError for a task that the corpus lacks, or of which it has one class alone.
    """
    choice = {task: names for task, names in classes.items() if len(names) > 1}
    for task in (task for task in tasks if task not in choice):
        raise InputError("the corpus has %s; choose from: %s." % (
            "one class alone of task '%s', which leaves nothing to decide" % task if task in classes else
            "no task '%s'" % task, ", ".join(choice) or "none"))
    if not choice:
        raise InputError("the corpus has no task of two classes or more, so there is nothing to decide; choose another "
                         "corpus, or more of this one.")
    return {task: names for task, names in choice.items() if task in tasks or not tasks}


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
            _require_no_views(recipe)
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
        _require_numbers(totals, number)
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
        sum(terms.values()).backward()
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
        _save(state, path)

    def resume(self, path: Path) -> None:
        """Take up the state in `path`, where there is one. Raises InputError where it is damaged or of another code."""
        if not path.is_file():
            return
        state = _load(path)
        with _of_this_version(path):
            self._take_up(state)

    def _take_up(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.distiller.load_state_dict(state["distiller"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.kept, self.step = state["best"], state["kept"], state["step"]
        self.history = [Progress(**past) for past in state["history"]]


# ------------------------------------------------------------------ helpers of fit


def _needed(teacher: Taught, distiller: Distiller, method: str) -> List[Fitted]:
    """The teachers, where the method has use for one."""
    teachers = [teacher] if isinstance(teacher, Fitted) else list(teacher or ())
    if distiller.needs_teacher and not teachers:
        raise InputError("method '%s' needs a teacher; give one with --teacher." % method)
    return teachers if distiller.needs_teacher else []


def _plan(model: Model, train: Windows, valid: Windows, recipe: Recipe, method: str,
          teachers: Sequence[Fitted]) -> Dict[str, Any]:
    """The facts that make two trainings the same training."""
    plan = {"model": model.spec, "signal": model.signal.to_json(),
            "tasks": {task: list(names) for task, names in model.tasks.items()}, "method": method,
            "recipe": recipe.to_json(), "split_sha256": train.split_sha256, "train_sha256": windows_sha256(train),
            "train_windows": len(train), "valid_windows": len(valid), "parameters": model.parameter_count(),
            "macs": model.mac_count()}
    return dict(plan, teacher=_teachers_facts(teachers)) if teachers else plan


def _teachers_facts(teachers: Sequence[Fitted]) -> Dict[str, Any]:
    """What a student remembers of those who taught it as one."""
    members = [_teacher_facts(teacher) for teacher in teachers]
    if len(members) == 1:
        return members[0]
    channels = dict.fromkeys(name for member in members for name in member["channels"])
    return {"model": "ensemble of %s" % " + ".join(member["model"] for member in members), "members": members,
            "channels": list(channels), "parameters": sum(member["parameters"] for member in members),
            "macs": sum(member["macs"] for member in members)}


def _teacher_facts(teacher: Fitted) -> Dict[str, Any]:
    """What a student remembers of its teacher."""
    return {"model": teacher.facts["model"], "parameters": teacher.facts["parameters"], "macs": teacher.facts["macs"],
            "channels": [channel.name for channel in teacher.model.signal.channels],
            "recipe": teacher.facts["recipe"], "seed": teacher.facts["recipe"]["seed"],
            "valid_macro_f1": teacher.best.score,
            "weights_sha256": _weights_sha256(teacher.model)}


def _weights_sha256(model: Model) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode("utf-8") + value.numpy().tobytes())
    return digest.hexdigest()


def _data_facts(corpus: Corpus) -> Dict[str, Any]:
    """What a trained network remembers of its data and of the code."""
    dataset, split = corpus.dataset, corpus.split
    return {"edgehar": __version__, "torch": torch.__version__,
            "data": {"dataset": corpus.spec, "synthetic": dataset.synthetic, "licence": dataset.licence,
                     "citation": dataset.citation, "split": dict(split.to_json(), sha256=split.sha256),
                     "measured_hz": list(corpus.measured_hz),
                     "people": {part.part: len(set(part.subjects)) for part in corpus.parts},
                     "skipped": list(dataset.skipped)}}


def _require_one_split(train: Windows, valid: Windows, teachers: Sequence[Fitted]) -> None:
    if train.split_sha256 != valid.split_sha256:
        raise MismatchError("the training and validation windows come from different splits; cut both from one.")
    if any(teacher.facts["split_sha256"] != train.split_sha256 for teacher in teachers):
        raise MismatchError("the teacher was trained on another split, so it may have seen the student's test people; "
                            "train a teacher on this split.")


def _require_deviation(windows: Windows) -> None:
    """Raise InputError for windows of one sample: the noise of an augmented view is measured in their deviation."""
    if windows.x.shape[2] < 2:
        raise InputError("windows of one sample have no deviation, so nothing is learnt from them; cut windows of 2 "
                         "samples or more.")


def _require_numbers(loss: Mapping[str, float], epoch: int) -> None:
    for term, value in loss.items():
        if not math.isfinite(value):
            raise InputError("the loss is no number in epoch %d (%s: %s); lower learning_rate, and train into another "
                             "folder or remove this one." % (epoch, term, value))


def _require_teachers_hear(teachers: Sequence[Fitted], heard: Union[Signal, Windows]) -> None:
    """Raise MismatchError for a teacher that reads windows of another rate or length."""
    window = heard.window if isinstance(heard, Signal) else heard.x.shape[2]
    for theirs in (teacher.model.signal for teacher in teachers):
        if (theirs.rate_hz, theirs.window) != (heard.rate_hz, window):
            raise MismatchError("the teacher learnt windows of %d samples at %g Hz and the student's have %d at %g Hz; "
                                "train a teacher on the student's." % (theirs.window, theirs.rate_hz, window,
                                                                       heard.rate_hz))


def _require_no_views(recipe: Recipe) -> None:
    if recipe.views:
        raise InputError("views of a window are kept at one rate and the teacher reads another than the student; use "
                         "views = 0.")


def _require_teachers_decide(model: Model, teachers: Sequence[Fitted]) -> None:
    for teacher, (task, names) in product(teachers, model.tasks.items()):
        if teacher.model.tasks.get(task) != names:
            raise InputError("the teacher decides %s and the student is to decide '%s' between %s; train a teacher for "
                             "it, or choose the student's tasks with --task." % (
                                 " and ".join(teacher.model.tasks), task, ", ".join(names)))


def _require_same_plan(folder: Path, plan: Dict[str, Any]) -> None:
    """Raise InputError where `folder` holds a begun training that differs, naming in what."""
    finished = (folder / WEIGHTS).is_file()
    if not finished and not (folder / CHECKPOINT).is_file():
        return
    with _of_this_version(folder / FACTS):
        stored = _identity(read_json(folder / FACTS), finished)
    for key, value in _identity(json.loads(json.dumps(plan)), finished).items():
        if stored.get(key) != value:
            raise InputError("%s holds a training with another %s (%s); choose another folder, or remove it." % (
                folder, key.replace("_", " "), _difference(stored.get(key), value)))


def _identity(plan: Mapping[str, Any], finished: bool) -> Dict[str, Any]:
    """What of a plan makes a training the same: only one that is to go on needs the versions that it began with.

    Of the data, which train_sha256 stands for, no provenance: a licence may be reworded, a data folder moved.
    """
    told = {key: value for key, value in plan.items() if not finished or key not in VERSIONS}
    return dict(told, data={key: told["data"].get(key) for key in ("dataset", "split")}) if "data" in told else told


def _difference(there: Any, here: Any) -> str:
    """"5 there, 6 here", or "epochs: 5 there, 6 here" for the first differing entry of two tables."""
    if not isinstance(there, dict) or not isinstance(here, dict):
        return "%s there, %s here" % (there, here)
    key = next(key for key in sorted(set(there) | set(here)) if there.get(key) != here.get(key))
    return "%s: %s" % (key.replace("_", " "), _difference(there.get(key), here.get(key)))


def _clear_leftovers(folder: Path) -> None:
    """Remove the half-written temporary files of a training that was killed."""
    for left in folder.glob(".*.part"):
        left.unlink()


def _finish(run: _Run, plan: Dict[str, Any], folder: Path) -> Fitted:
    """Keep what is deployed of the best weights, and drop the checkpoint."""
    _write_history(folder / HISTORY, run.history)  # a kill may have come between the last checkpoint and its history
    model = run.model
    model.load_state_dict(run.best)
    found = run.distiller.finish(model, lambda network: evaluate(network, run.valid))
    write_json(folder / FACTS, dict(plan, outcome=dict(found, heads=model.head_kinds, macs=model.mac_count(),
                                                       parameters=model.parameter_count())))
    for name, weights in run.kept.items():
        _save(weights, folder / (name + ".pt"))
    _save(model.state_dict(), folder / WEIGHTS)
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


def _save(state: Any, path: Path) -> None:
    """Write tensors, whole or not at all."""
    buffer = BytesIO()  # torch tells of a full disk in ways of its own
    torch.save(state, buffer)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _load(path: Path) -> Any:
    """Read tensors. Raises InputError for a damaged file."""
    try:
        return torch.load(str(path), weights_only=True)
    except Exception as error:
        raise InputError("%s is damaged (%s); remove its folder and train again." % (path, _cause(error))) from error


@contextmanager
def _of_this_version(path: Path) -> Iterator[None]:
    """Raise InputError where what was read from `path` does not fit this code."""
    try:
        yield
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError("%s was left by another version of edgehar or of a plug-in (%s); remove its folder and train "
                         "again." % (path, _cause(error))) from error


def _cause(error: Exception) -> str:
    """What `error` says, on one line; its name where it says nothing."""
    return " ".join(str(error).split())[:100] or type(error).__name__


def _write_history(path: Path, history: List[Progress]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text("".join(json.dumps(asdict(past)) + "\n" for past in history), encoding="utf-8")


def _read_history(path: Path) -> Tuple[Progress, ...]:
    """Raises InputError for a damaged file."""
    try:
        history = tuple(Progress(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())
        if not history:
            raise ValueError("it holds no epochs")
    except (OSError, ValueError, TypeError) as error:
        raise InputError("%s is damaged (%s); remove its folder and train again." % (path, error)) from error
    return history


def _require_fields(kind: type, value: Mapping[str, Any], what: str) -> None:
    """Raise InputError for a setting that `kind` lacks or that has another type."""
    known = {item.name: getattr(kind(), item.name) for item in kind.__dataclass_fields__.values()}
    for key, given in value.items():
        if key not in known or key == "augmentation":
            raise InputError("the %s has no setting '%s'; it takes: %s." % (what, key, ", ".join(sorted(known))))
        wanted = type(known[key])
        if not (type(given) is wanted or (wanted is float and type(given) is int)):
            raise InputError("the %s's setting '%s' must be %s, not %r." % (what, key, wanted.__name__, given))
