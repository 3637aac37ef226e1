"""What makes the figures of a training say less than they seem to: classes that a part lacks, too few steps."""

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Sequence

import numpy as np

from edgehar.data.parts import Parts
from edgehar.data.signals import Windows
from edgehar.training.recipe import Recipe

Support = Dict[str, Dict[str, Dict[str, int]]]  # {task: {part: {class: windows}}}
FEW_STEPS = 100  # of the optimiser: hardly more than the warm-up
SHOWN = 6  # classes, in a sentence
LACKS = {
    "train": "that is not learnt, and taken for something else wherever it is done",
    "valid": "the epoch that is kept is chosen without that, and the macro-F1 says nothing of it",
    "test": "no test will say whether that is recognised",
}


def class_support(parts: Parts, tasks: Mapping[str, Sequence[str]]) -> Support:
    """How many windows of each part are labelled with each class of each task."""
    return {task: {windows.part: _counts(windows, task, names) for windows in parts.labelled}
            for task, names in tasks.items()}


def _counts(windows: Windows, task: str, names: Sequence[str]) -> Dict[str, int]:
    labels = windows.y[task]
    return dict(zip(names, np.bincount(labels[labels >= 0], minlength=len(names)).tolist()))


def training_doubts(support: Support, recipe: Recipe, windows: int) -> List[str]:
    """What is told before a training on so many windows: a sentence for each doubt, none where all is well."""
    steps = recipe.steps(windows)
    short = ["the recipe makes %d step%s of the optimiser on %d windows, in which little is learnt; give it more "
             "windows, or leave epochs, windows, batch_size and windows_per_epoch as they are by default." % (
                 steps, "" if steps == 1 else "s", windows)]
    return [*(sentence for task, parts in support.items() for sentence in _about_classes(task, parts)),
            *(short if steps < FEW_STEPS else [])]


def guessing(valid_macro_f1: Mapping[str, float], support: Support) -> List[str]:
    """What is told after a training: a sentence for each task that its network does no better than by guessing."""
    found = []
    for task, score in valid_macro_f1.items():
        classes = sum(count > 0 for count in support[task]["valid"].values())
        if classes > 1 and score <= 1 / classes:
            found.append("task '%s': macro-F1 %.3f on validation subjects is no more than guessing among %d classes "
                         "gives, so nothing was learnt that holds for others; train longer, on more subjects, or look "
                         "at the labels." % (task, score, classes))
    return found


def _about_classes(task: str, parts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """What the parts of a task lack, each class told once where nobody has it."""
    there = {part: [name for name, count in counts.items() if count] for part, counts in parts.items()}
    everywhere = [name for name in parts["train"] if not any(name in found for found in there.values())]
    if everywhere:
        yield "task '%s': no subject has a window of %s, so that no network can learn it; take it out of the " \
              "classes, or look for its labels." % (task, _listed(everywhere))
    for part, found in there.items():
        lacking = [name for name in parts[part] if name not in found and name not in everywhere]
        if not found:
            yield "task '%s': no window of the %s subjects is labelled; nothing can be learnt or scored on them." % (
                task, _people(part))
        elif lacking:
            yield "task '%s': the %s subjects have no window of %s: %s." % (
                task, _people(part), _listed(lacking), LACKS[part])
        if len(found) == 1:
            yield "task '%s': the %s subjects have only windows of %s, which any network recognises that always says " \
                  "so; a macro-F1 of 1.000 means nothing there." % (task, _people(part), _listed(found))


def _people(part: str) -> str:
    return {"train": "training", "valid": "validation", "test": "test"}[part]


def _listed(names: Sequence[str]) -> str:
    """"'walk', 'sit' and 3 more"."""
    shown = ", ".join("'%s'" % name for name in names[:SHOWN])
    return shown + (" and %d more" % (len(names) - SHOWN) if len(names) > SHOWN else "")
