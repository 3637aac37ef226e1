"""What labels and their classes keep to, looked at when a Recording is made."""

from __future__ import annotations

from typing import Dict, Mapping, Sequence

import numpy as np

from edgehar.data.people import plain_name
from edgehar.errors import InputError

UNLABELLED = -1


def require_classes(classes: Mapping[str, Sequence[str]], where: str) -> None:
    """Raise InputError for a task without a name or classes, or a class that is no text or has the name of another one.

    Names that differ only by case, blanks, leading zeros or Unicode form are one name.
    """
    for task, names in classes.items():
        if not isinstance(task, str) or not task.strip():
            raise InputError("%s has a task %r, which is no name; give text, as in \"activity\"." % (where, task))
        if isinstance(names, str) or not len(names) or not all(isinstance(name, str) for name in names):
            raise InputError("%s has classes %r of task '%s'; give a tuple of names." % (where, names, task))
        _require_apart(names, task, where)


def _require_apart(names: Sequence[str], task: str, where: str) -> None:
    seen: Dict[str, str] = {}
    for name in names:
        plain = plain_name(name)
        if plain in seen:
            other = seen[plain]
            what = "two classes named '%s'" % name if name == other else (
                "classes %s and %s, which differ only by case, blanks, leading zeros or Unicode form," % (
                    ascii(other), ascii(name)))
            raise InputError("%s has %s of task '%s'; give each a name of its own, or join them into one." % (
                where, what, task))
        seen[plain] = name


def require_labels(labels: Mapping[str, np.ndarray], classes: Mapping[str, Sequence[str]], count: int,
                   where: str) -> None:
    """Raise InputError for labels, (count,) a task, that are no numbers of classes, -1 where there is none."""
    for task, values in labels.items():
        if task not in classes:
            raise InputError("%s has labels of task '%s', which has no classes; classes are given for: %s." % (
                where, task, ", ".join(classes) or "none"))
        if not isinstance(values, np.ndarray) or values.shape != (count,):
            shape = getattr(values, "shape", None)
            raise InputError("%s has labels of task '%s' of shape %s for %d samples; give one per sample, (%d,)." % (
                where, task, shape if shape is not None else type(values).__name__, count, count))
        if values.dtype.kind not in "iu":
            raise InputError("%s has labels of task '%s' of type %s; give whole numbers, the positions of the classes "
                             "in their list from 0 on, and -1 where there is none." % (where, task, values.dtype))
        if count:
            _require_known(values, task, classes[task], where)


def _require_known(values: np.ndarray, task: str, names: Sequence[str], where: str) -> None:
    low, high = int(values.min()), int(values.max())
    if UNLABELLED <= low and high < len(names):
        return
    strange = low if low < UNLABELLED else high
    hint = ""
    if low >= 1 and high == len(names):
        hint = "; do they count from 1? Then subtract 1"
    elif strange in (255, 65535):
        hint = "; a whole number without a sign cannot be -1, so use int16"
    elif strange < UNLABELLED:
        hint = "; only -1 stands for no label"
    raise InputError("%s has label %d of task '%s' and its classes are numbered from 0 to %d (%s)%s." % (
        where, strange, task, len(names) - 1, ", ".join(names[:6]) + (", ..." if len(names) > 6 else ""), hint))
