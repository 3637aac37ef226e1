"""One dry run before the first epoch: what a network or a method does wrong is told in a sentence that names its file.

Copies are tried on a few training windows: forward and backward, then a step of the
method and the whole way to a graph. What was handed in stays as it was.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import torch
from torch import Tensor

from edgehar.data.signals import Windows, paired
from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.base import Teacher, total
from edgehar.training.epochs import Training
from edgehar.training.evaluation import predict
from edgehar.training.graph import OPSET, onnx_model
from edgehar.training.models.base import Model
from edgehar.training.parity import loose_limit, require_independent, require_parity
from edgehar.training.plugin_faults import blamed, plugin_named
from edgehar.training.recipe import Recipe
from edgehar.training.saliency import class_focus

WINDOWS = 8


def require_computes(model: Model, train: Windows) -> None:
    """Raise InputError where a network cannot be computed on `train`, mixes its windows, or would not learn."""
    pupil, x = _fresh(model, train)
    _require_gradients(pupil, torch.from_numpy(x))
    with blamed(model.title, "fails on a batch of another size"):
        require_independent(pupil, x)


def dry_run(model: Model, teacher: Optional[Teacher], method: str, train: Windows, recipe: Recipe,
            teaching: Optional[Windows] = None) -> None:
    """Raise InputError for what else would go wrong in the training or behind it. Arguments as of ``loop.fit``."""
    _require_exported(*_fresh(model, train))
    if teaching is not None:
        train, teaching = paired(train, teaching)
    some = _some(train)
    _require_sound_method(copy.deepcopy(model), teacher, method, train.take(some), recipe,
                          teaching.take(some) if teaching is not None else None)


def _some(windows: Windows) -> np.ndarray:
    """The numbers of a few windows, spread evenly."""
    return np.unique(np.linspace(0, len(windows) - 1, WINDOWS).astype(int))


def _fresh(model: Model, train: Windows) -> Tuple[Model, np.ndarray]:
    """A copy of the network, and a few windows (N, C, T) of its channels by which it is normalised."""
    pupil, x = copy.deepcopy(model), train.take(_some(train)).select(model.signal.channels).x
    pupil.normalise.set_statistics(torch.from_numpy(x))
    return pupil, x


# ------------------------------------------------------------------ network


def _require_gradients(model: Model, windows: Tensor) -> None:
    """Forward and backward on windows (N, C, T)."""
    with blamed(model.title, "fails on windows of shape %s" % (tuple(windows.shape),)):
        found = model.train().features(model.normalise(windows.unsqueeze(2)))
        _require_features(model, found, len(windows))
        logits = model(windows).logits
    _require_logits(model, logits, len(windows))
    with blamed(model.title, "fails in its backward pass"):
        total(values.square().sum() for values in logits.values()).backward()
    if not any(parameter.grad is not None for name, parameter in model.named_parameters() if _of_body(name)):
        raise InputError("%s lets no gradient through to its own layers, so nothing but its heads would learn; compute "
                         "the embedding from them without detach." % model.title)


def _require_exported(model: Model, x: np.ndarray) -> None:
    """All that an export asks of the network, on windows x (N, C, T)."""
    usual = predict(model, x)
    require_parity(onnx_model(model, OPSET, "dry run").SerializeToString(), model, x, usual, loose_limit(usual))
    with blamed(model.title, "fails where it is asked what it looks at"):
        for task in model.tasks:
            class_focus(model, task, torch.from_numpy(x[:1]), torch.zeros(1, dtype=torch.int64))


def _of_body(parameter: str) -> bool:
    return not parameter.startswith("heads.")


def _require_features(model: Model, found: Any, count: int) -> None:
    """Raise InputError where `found`, of `features`, is not [(B, D, 1, T')] and (B, width)."""
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], (list, tuple)):
        raise InputError("%s returns %s from features; it must return two things, a list of stages and the "
                         "embedding." % (model.title, _told(found)))
    stages, embedding = found
    for number, stage in enumerate(stages, 1):
        if not isinstance(stage, Tensor) or stage.ndim != 4 or len(stage) != count:
            raise InputError("%s returns %s as stage %d; a stage of %d windows must be (%d, D, 1, T'), e.g. by "
                             "unsqueeze(2)." % (model.title, _told(stage), number, count, count))
    wanted = (count, model.embedding_width)
    if not isinstance(embedding, Tensor) or tuple(embedding.shape) != wanted:
        raise InputError("%s returns %s as embedding and its heads expect %s; make the two agree." % (
            model.title, _told(embedding), wanted))


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return "a tensor of shape %s" % (tuple(value.shape),)
    if isinstance(value, tuple) and len(value) == 2:  # the right number of the wrong things
        return "%s and %s" % tuple(map(_told, value))
    return "%d things" % len(value) if isinstance(value, tuple) else "a %s" % type(value).__name__


def _require_logits(model: Model, logits: Mapping[str, Tensor], count: int) -> None:
    for task, names in model.tasks.items():
        values = logits.get(task)
        if not isinstance(values, Tensor) or tuple(values.shape) != (count, len(names)):
            raise InputError("%s gives %s for task '%s'; it must give logits of shape %s." % (
                model.title, _told(values), task, (count, len(names))))
        if not bool(torch.isfinite(values).all()):
            raise InputError("%s gives no numbers for task '%s' before it is trained; fix what overflows in it." % (
                model.title, task))


# ------------------------------------------------------------------ method


def _require_sound_method(model: Model, teacher: Optional[Teacher], method: str, train: Windows, recipe: Recipe,
                          teaching: Optional[Windows]) -> None:
    """Raise InputError where the method cannot teach the network, or leaves none that can be exported."""
    distiller, before = DISTILLERS.create(method), _shapes(model)
    who = plugin_named("method", method, type(distiller))
    with blamed(who, "fails before its first epoch"):
        trial = Training(model, teacher, distiller, train, train, replace(recipe, views=0), teaching=teaching)
        terms = trial.terms(torch.arange(len(trial.lessons.x)), torch.Generator().manual_seed(0), 0.0)
        _require_terms(who, trial, terms)
        total(terms.values()).backward()
        distiller.after_step(model, 0.0)
        distiller.figures(model.eval())
        distiller.companions()
        distiller.finish(model, lambda network: dict.fromkeys(network.tasks, 0.0))
    if _shapes(model) != before:
        onnx_model(model, OPSET, "dry run")


def _shapes(model: Model) -> Dict[str, Tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _require_terms(who: str, trial: Training, terms: Any) -> None:
    """Raise InputError where `terms`, of `step`, cannot be minimised in every phase."""
    if not isinstance(terms, dict) or not terms:
        raise InputError("%s returns a %s from step; it must return the terms of its loss, {name: scalar}." % (
            who, type(terms).__name__))
    for name, value in terms.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            raise InputError("%s returns %s as term '%s'; it must be one number, e.g. by mean()." % (
                who, _told(value), name))
    if not any(value.requires_grad for value in terms.values()):
        raise InputError("%s returns terms that no parameter reaches, so nothing would be learnt; compute them from "
                         "the student's outputs." % who)
    for phase in trial.phases:
        if not phase.minimised(terms):
            raise InputError("%s minimises %s in its phase '%s' and gives only %s; name terms that step returns." % (
                who, ", ".join(phase.terms), phase.name, ", ".join(terms)))
