"""What student and teacher see of a batch: one augmented view, and what the teacher says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Collection, NamedTuple, Optional

import torch
from torch import Tensor

from edgehar.data.channels import positions
from edgehar.data.signals import Signal, Windows, paired
from edgehar.errors import InputError
from edgehar.training.augment import augment_together
from edgehar.training.checks import require_no_views
from edgehar.training.context import Context
from edgehar.training.distillers.base import Teacher
from edgehar.training.models.base import Outputs
from edgehar.training.recipe import Recipe
from edgehar.training.speed import outputs_of, precision_here
from edgehar.training.views import Views

VIEWS = "views"


class Look(NamedTuple):
    """The same windows as both see them. student: (B, C, T); teacher: (B, C', T'), all its channels at its rate."""

    student: Tensor
    teacher: Tensor


class Lessons:
    """The training windows, a batch at a time.

    teacher: of which `ask` is to be answered, where there is one; context: what it says of `train` along each
    recording, which is then said in the place of its logits. views: the folder in which
    is kept what it says of the recipe's views. teaching: the windows at its rate, where that
    is another; those are then seen that both have.
    """

    def __init__(self, train: Windows, signal: Signal, recipe: Recipe, teacher: Optional[Teacher] = None,
                 views: Path = Path(VIEWS), teaching: Optional[Windows] = None,
                 context: Optional[Context] = None) -> None:
        heard = train
        if teaching is not None:
            require_no_views(recipe)
            train, heard = paired(train, teaching)
        self.windows, self.recipe, self._context = train, recipe, context
        self.teacher: Callable[[Tensor], Outputs] = teacher if teacher is not None else _nobody
        self.x = torch.from_numpy(train.x)
        self.mine = positions(train.channels, signal.channels)
        self._heard = self.x if teaching is None else torch.from_numpy(heard.x)
        self._theirs = positions(heard.channels, teacher.signal.channels) if teacher is not None else []
        self._precision = precision_here(recipe)
        self._views = Views(self.x, train.channels, recipe.augmentation, recipe.seed, recipe.views, views, teacher,
                            self._theirs, self._precision) if recipe.views else None

    def turn_to(self, epoch: int) -> None:
        """Begin an epoch, counted from 1."""
        if self._views:
            self._views.turn_to(epoch)

    def look(self, index: Tensor, generator: torch.Generator) -> Look:
        """The windows at `index` (B,), changed as the recipe says."""
        if self._views:
            seen = [self._views.at(index)]
        else:
            rates = [self.x[index]] + ([] if self._heard is self.x else [self._heard[index]])
            seen = augment_together(rates, self.windows.channels, self.recipe.augmentation, generator)
        return Look(seen[0][:, self.mine], seen[-1])

    @torch.no_grad()
    def ask(self, index: Tensor, look: Look, enough: Collection[str] = ()) -> Outputs:
        """What the teacher says of the windows at `index` (B,) as in `look`, which was just taken of them.

        enough: the tasks whose logits are all that is read, so that stages and embedding may be empty; none where
        more is.
        """
        along = self._context.at(index) if self._context else {}
        if along and enough and set(enough) <= set(along):
            return Outputs(along, [], look.student.new_empty(len(index), 0))
        said = self._views.said(index) if self._views else outputs_of(
            self.teacher, look.teacher[:, self._theirs], self._precision)
        return said._replace(logits={**said.logits, **along})


def _nobody(x: Tensor) -> Outputs:
    raise InputError("a teacher is asked and there is none; give one with --teacher.")
