"""Whose labels count in a training, and which windows without one it learns from as well.

Labels are dear and recordings cheap: a teacher that a few labelled subjects made can say
of the others' windows what nobody labelled. Only subjects to train on are ever divided
here; those to select and to test on have no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from edgehar.data.labels import UNLABELLED
from edgehar.data.parts import Parts
from edgehar.data.people import people_named
from edgehar.data.signals import Windows, carries_label, concatenate, windows_sha256
from edgehar.errors import InputError
from edgehar.registry import parse_spec
from edgehar.training.distillers.base import Method

PEOPLE, ALL, NONE = "people", "all", "none"
KINDS = (PEOPLE, ALL, NONE)


@dataclass(frozen=True)
class Regime:
    """count: so many of the subjects to train on are labelled, drawn by `draw`; names: these are; neither: all.

    unlabelled: learnt from by methods that can: "people", all windows of subjects without
    labels; "all", also what is unlabelled of the others, which is mostly none of the
    classes; "none". context: the teacher's word is smoothed along each recording
    (``edgehar.training.context``).
    """

    count: int = 0
    draw: int = 0
    names: Tuple[str, ...] = ()
    unlabelled: str = PEOPLE
    context: bool = False

    def __post_init__(self) -> None:
        """Raises InputError for a kind of windows that there is not."""
        if self.unlabelled not in KINDS:
            raise InputError("unlabelled is '%s'; it must be one of %s." % (self.unlabelled, ", ".join(KINDS)))

    @classmethod
    def of(cls, labelled: Union[None, int, str, Sequence[str]], draw: int = 0, unlabelled: str = PEOPLE,
           context: bool = False) -> "Regime":
        """labelled: None for all subjects, a number of them, or their names."""
        if labelled is None:
            return cls(unlabelled=unlabelled, context=context)
        if isinstance(labelled, int):
            if labelled < 1:
                raise InputError("labelled is %d; at least one subject must be labelled." % labelled)
            return cls(labelled, draw, (), unlabelled, context)
        names = (labelled,) if isinstance(labelled, str) else tuple(labelled)
        if not names:
            raise InputError("labelled names nobody; at least one subject must be labelled.")
        return cls(0, 0, names, unlabelled, context)

    @property
    def labelled(self) -> int:
        """How many people's labels count; 0 for everybody's."""
        return self.count or len(self.names)

    @property
    def told(self) -> str:
        """"context, labelled people only": by what two trainings on the same labels differ; "" where all is usual."""
        words = {ALL: ["unlabelled stretches"], NONE: ["labelled people only"]}.get(self.unlabelled, [])
        return ", ".join((["context"] if self.context else []) + words)

    def people(self, parts: Parts) -> List[str]:
        """The labelled subjects of `parts`, in order. Raises InputError where there are not so many, or not these."""
        known = sorted(set(parts.train.subjects.tolist()), key=lambda name: (len(name), name))
        if self.names:
            return sorted({_one_of(name, known) for name in self.names}, key=known.index)
        if self.count > len(known):
            raise InputError("%d subjects are to be labelled, the split trains on %d with labels: %s; name fewer." % (
                self.count, len(known), ", ".join(known)))
        order = np.random.default_rng([self.draw, len(known)]).permutation(len(known))
        chosen = sorted(order[:self.count].tolist()) if self.count else range(len(known))
        return [known[place] for place in chosen]


def _one_of(name: str, known: Sequence[str]) -> str:
    found = people_named(name, known)
    if len(found) != 1:
        raise InputError("'%s' is to be labelled and is none of the subjects to train on who have labels: %s." % (
            name, ", ".join(known)))
    return found[0]


def parse_labelled(text: str) -> Tuple[Union[int, List[str]], int]:
    """What ``--labelled`` says: ``4``, ``4:draw=1``, or names as in ``anna,ben``. Raises InputError for others."""
    head, _, rest = text.partition(":")
    if not head.strip().isdigit() or "," in head:
        return [name.strip() for name in text.split(",") if name.strip()], 0
    options = parse_spec("labelled:" + rest)[1] if rest else {}
    draw = options.pop("draw", 0)
    if options or not isinstance(draw, int) or draw < 0:
        raise InputError("--labelled %s: write a number of subjects, as in 4 or 4:draw=1, or their names, as in "
                         "anna,ben." % text)
    return int(head), draw


def labelled_only(parts: Parts, regime: Regime) -> Windows:
    """The windows of ``parts.train`` whose labels count."""
    known = np.isin(parts.train.subjects, regime.people(parts))
    return parts.train if known.all() else parts.train.take(known)


def learnt_from(parts: Parts, regime: Regime, method: Method) -> Windows:
    """The windows of `parts` to train on, their labels hidden (-1) where the regime has none; in order of origin.

    Where everybody is labelled and nothing else is learnt from, they are ``parts.train`` itself.
    """
    pieces = [labelled_only(parts, regime)]
    if method.uses_unlabelled and regime.unlabelled != NONE:
        people = regime.people(parts)
        pieces.append(_silenced(parts.train.take(~np.isin(parts.train.subjects, people))))
        if parts.unlabelled is not None:
            usable = ~np.isin(parts.unlabelled.subjects, people) | (regime.unlabelled == ALL)
            pieces.append(parts.unlabelled.take(usable))
    pieces = [piece for piece in pieces if len(piece)]
    return pieces[0] if len(pieces) == 1 else _in_order(concatenate(pieces))


def everything(parts: Parts) -> Windows:
    """All windows of the subjects to train on, with and without a label, in order of origin."""
    silent = parts.unlabelled
    return parts.train if silent is None or not len(silent) else _in_order(concatenate([parts.train, silent]))


def _silenced(windows: Windows) -> Windows:
    return replace(windows, y={task: np.full_like(y, UNLABELLED) for task, y in windows.y.items()})


def _in_order(windows: Windows) -> Windows:
    return windows.take(np.lexsort((windows.origin[:, 1], windows.origin[:, 0])))


def regime_facts(parts: Parts, regime: Regime, windows: Windows) -> Dict[str, Any]:
    """What a training remembers of its regime, as JSON; nothing where it is the usual one."""
    if windows is parts.train and regime == Regime():
        return {}
    known = carries_label(windows)
    labels = {"labelled": regime.labelled, "told": regime.told, "people": regime.people(parts), "draw": regime.draw,
              "people_without": sorted(set(windows.subjects[~known].tolist())),
              "windows": int(known.sum()), "windows_without": int((~known).sum())}
    return {"train_sha256": windows_sha256(parts.train), "learnt_sha256": windows_sha256(windows), "labels": labels}


def labelled_of(facts: Optional[Mapping[str, Any]]) -> Optional[List[str]]:
    """The subjects whose labels a training with `facts` had, where it did not have everybody's; else None."""
    labels = (facts or {}).get("labels", {})
    return list(labels["people"]) if labels.get("labelled") else None
