"""The labels that a description names: their classes, in a column, in the name of a file or in a file of intervals."""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence, Set, Tuple

import numpy as np

from edgehar.data.arrays import AnyBlock, open_table
from edgehar.data.clocks import NUMBERS, in_seconds, text_reader
from edgehar.data.description import Description, Intervals, Text
from edgehar.data.found import FoundFile, Opened, matching
from edgehar.data.signals import UNLABELLED
from edgehar.data.tables import position_of
from edgehar.errors import InputError
from edgehar.nearest import did_you_mean

class Marks:
    """Labelled stretches: {values of the matched groups: (k, 3) first, end, class}. used: the keys asked for."""

    def __init__(self, stretches: Mapping[Tuple[str, ...], np.ndarray]) -> None:
        self.stretches = stretches
        self.used: Set[Tuple[str, ...]] = set()

    def of(self, key: Tuple[str, ...]) -> np.ndarray:
        """(k, 3) of one key, none where there is none of it."""
        self.used.add(key)
        return self.stretches.get(key, np.empty((0, 3)))


def classes_of(description: Description) -> Dict[str, Tuple[str, ...]]:
    """{task: names}, as [corpus] classes says, else those that the map leads to, in its order."""
    labels = description.labels
    if labels is None:
        return {}
    names = description.corpus("classes", []) or list(dict.fromkeys(labels.names.values()))
    if not names:
        raise InputError("%s: [corpus] lacks classes, the names of what is recognised in their order." % (
            description.line_of("corpus")))
    stray = [name for name in labels.names.values() if name not in names]
    if stray:
        raise InputError("%s: [labels] map leads to '%s', which is none of the classes: %s." % (
            description.line_of("labels", "map"), stray[0], ", ".join(names)))
    return {labels.task: tuple(names)}


def label_numbers(description: Description, names: Sequence[str], codes: Dict[str, int],
                  found: FoundFile) -> np.ndarray:
    """The class of each code, (codes,) int32; -1 for one to ignore. Raises InputError for a label unheard of."""
    labels = description.labels
    if labels is None:
        return np.empty(0, dtype=np.int32)
    if labels.from_name:
        if "label" not in found.groups:
            raise InputError("%s has no group 'label' in its name, from which its label comes; see %s." % (
                found.where, description.line_of("files", "pattern")))
        codes.setdefault(found.groups["label"], len(codes))
    numbers = np.full(len(codes), UNLABELLED, dtype=np.int32)
    for text, code in codes.items():
        numbers[code] = class_of(description, names, text, found.where)
    return numbers


def class_of(description: Description, names: Sequence[str], text: str, where: str) -> int:
    """The number of the class that a label in a file stands for; -1 for one to ignore."""
    labels = description.labels
    assert labels is not None
    name = labels.names.get(text, text)
    if text in labels.ignore or name in labels.ignore or not text:
        return UNLABELLED
    if name not in names:
        raise InputError("%s holds the label '%s', which is none of the classes of %s%s; add it to [labels] map, or to "
                         "ignore." % (where, text, description.line_of("corpus", "classes"),
                                      did_you_mean(name, names)))
    return list(names).index(name)


def read_intervals(description: Description, beside: Sequence[FoundFile], opened: Opened) -> Marks:
    """The labelled stretches of all files, by the groups of the recordings that they belong to."""
    labels = description.labels
    if labels is None or labels.intervals is None:
        return Marks({})
    rule, names = labels.intervals, classes_of(description)[labels.task]
    files = matching(beside, rule.file)
    if not files:
        raise InputError("%s: no file fits '%s', in which the labels stand." % (
            description.line_of("labels.intervals", "file"), rule.file))
    marks: Dict[Tuple[str, ...], List[Tuple[float, float, int]]] = {}
    for found in files:
        with opened.open(found) as stream:
            table = open_table(stream, Text(separator=rule.separator, header=rule.header), found.where, found.name)
            place = {key: position_of(column, table.head.names, found.where) for key, column in dict(
                rule.match, **{":start": rule.start, ":end": rule.end, ":label": rule.label}).items()}
            for block in table.blocks():
                bounds = _bounds(rule, block, (place[":start"], place[":end"]), found.where)
                texts = {key: block.texts(column).tolist() for key, column in place.items()}
                for row, (first, last) in enumerate(bounds.tolist()):
                    key = tuple(_plain(texts[group][row].decode("utf-8")) for group in sorted(rule.match))
                    key = key or tuple("%s=%s" % item for item in sorted(found.groups.items()))
                    label = class_of(description, names, texts[":label"][row].decode("utf-8"),
                                     "%s line %d" % (found.where, block.line_of(row)))
                    marks.setdefault(key, []).append((first, last, label))
    return Marks({key: np.array(rows, dtype=np.float64) for key, rows in marks.items()})


def _bounds(rule: Intervals, block: AnyBlock, columns: Sequence[int], where: str) -> np.ndarray:
    """First and end of each interval, (n, 2): seconds, or samples from 0 and the one after the last."""
    if rule.unit in NUMBERS:
        return np.asarray(in_seconds(block.numbers(columns), rule.unit))
    if rule.unit == "samples":
        return block.numbers(columns) + np.array([0, rule.inclusive]) - rule.first
    read = text_reader(rule.unit)
    found = np.empty((block.count, 2))
    for place, column in enumerate(columns):
        for row, cell in enumerate(block.texts(column).tolist()):
            text = cell.decode("utf-8", errors="replace").strip('"')
            try:
                found[row, place] = read(text)
            except ValueError:
                raise InputError("%s line %d holds '%s' where a time belongs; fix that line, or unit of "
                                 "[labels.intervals]." % (where, block.line_of(row), text)) from None
    return found


def labels_along(rule: Intervals, marks: Marks, found: FoundFile, places: np.ndarray, times_s: np.ndarray,
                 labels: np.ndarray) -> np.ndarray:
    """`labels` (n,) with those of the intervals of this file; places: (n,) numbers of its samples, from 0."""
    key = tuple(_plain(found.groups.get(group, "")) for group in sorted(rule.match))
    if not key:
        shared = [each for each in marks.stretches if set(each) <= {"%s=%s" % item for item in found.groups.items()}]
        key = shared[0] if shared else ()
    along = places if rule.unit == "samples" else times_s
    for first, end, label in marks.of(key):
        inside = slice(*np.searchsorted(along, [first, end]).tolist())
        labels[inside] = int(label)
    return labels


def require_used(description: Description, marks: Marks) -> None:
    """Raise InputError where no recording had a stretch of its own, though there are some."""
    if not marks.stretches or marks.used & set(marks.stretches):
        return
    one = next(iter(marks.stretches))
    raise InputError("%s: the labelled stretches belong to %s and to no recording that was read; fix match, or the "
                     "groups in the files' names." % (
                         description.line_of("labels.intervals"), ", ".join(one) or "none"))


def _plain(text: str) -> str:
    """Numbers without leading zeros, so that user01 is subject 1."""
    return str(int(text)) if text.isdigit() else text
