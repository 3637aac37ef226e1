"""Any corpus of files that a TOML file describes: ``table:FILE.toml``. docs/your-data.md tells how to write one."""

from __future__ import annotations

import os
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Counter as Counts, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.channels import columns_by_kind
from edgehar.data.datasets.base import Dataset
from edgehar.data.description import Description, LeftOut, read_description
from edgehar.data.found import FoundFile, Opened, below, matching, natural
from edgehar.data.labelling import Marks, classes_of, label_numbers, labels_along, read_intervals, require_used
from edgehar.data.laid_out import read_samples
from edgehar.data.making import gridded
from edgehar.data.resampling import mean_rate, unbroken
from edgehar.data.signals import UNLABELLED, Recording
from edgehar.data.splits import PARTS, Split
from edgehar.data.tracks import MERGED, Track, concatenated, in_order, merged, on_one_grid, taken_apart
from edgehar.errors import InputError

LARGE = 1 << 27  # bytes of files whose recordings are handed on one by one, rather than all or none
ROWS = 1 << 22  # a longer stretch goes on as a further recording, so that memory is bounded


class Unit(NamedTuple):
    """The files of one session of one person: those of each sensor, in their order."""

    subject: str
    session: str
    placement: str
    files: Mapping[str, Tuple[FoundFile, ...]]


class Table(Dataset):
    """A corpus described by a TOML file.

    path: of that file. Its recordings lie below ``--root`` where that is given and holds
    them, else beside the TOML file, else below EDGEHAR_DATA. A gap, a clock that steps back
    and, where the description says so, a change of label each end a Recording. A row with a
    missing value is left out, so that a pause up to ``max_gap_s`` is read across and a
    longer one is a gap. Where files have a clock, samples are brought to the rate of the
    corpus by it. Samples in SI units.
    """

    title = "a described corpus"
    alias_form = "[corpus] aliases = { %s = %s }"

    def __init__(self, root: Optional[str] = None, path: str = "", skip_bad: bool = False) -> None:
        if not path:
            raise InputError("dataset 'table' reads what a TOML file describes; name it, e.g. table:my.toml, and make "
                             "a first one with `edgehar describe FOLDER`.")
        self.description = description = read_description(path)
        super().__init__(root, skip_bad)
        _require_corpus(description)
        self.rate_hz = float(description.corpus("rate_hz"))
        self.window = _samples_in(description, "window_s", self.rate_hz)
        self.hop = _samples_in(description, "hop_s", self.rate_hz, self.window // 2)
        self.max_gap_s = float(description.corpus("max_gap_s", max(0.1, 2.5 / self.rate_hz)))
        self.channels = description.channels
        self.classes = classes_of(description)
        for fact in ("title", "licence", "citation", "url"):
            setattr(self, fact, description.corpus(fact) or (description.name if fact == "title" else ""))
        self.aliases: Dict[str, str] = description.corpus("aliases", {})  # type: ignore[misc]
        self.together = description.corpus("together", [])  # type: ignore[misc]
        self.left_out = description.facts["split"].get("left_out", [])  # type: ignore[misc]

    @property
    def name(self) -> str:
        """``table-NAME`` of the description."""
        return "table-%s" % self.description.name.replace("_", "-")

    @property
    def spec(self) -> str:
        """``table:FILE.toml``."""
        return "table:%s" % self.description.path

    @property
    def told_in(self) -> str:
        """The TOML file."""
        return self.description.path

    def unit_remedy(self, sensor: str) -> str:
        """The line of the unit."""
        return "correct its unit or scale (%s)" % self.description.line_of("channels.%s" % sensor, "unit")

    @property
    def folder(self) -> Path:
        """Where the files lie: the first that holds some of ``--root``, the TOML's own folder, and EDGEHAR_DATA."""
        roots = [Path(self.root)] if self.root else []
        roots += [Path(self.description.path).parent]
        roots += [Path(value) for value in [os.environ.get("EDGEHAR_DATA", "")] if value]
        for root in (root / self.description.folder for root in roots):
            if root.is_dir() and matching(below(root, self.description.archive), self.description.pattern):
                return root
        raise InputError("no file that %s means (%s) is below %s; give the folder that holds them with --root." % (
            self.description.line_of("files", "pattern"), " in ".join(filter(None, (
                self.description.pattern, " or ".join(self.description.archive)))), " or ".join(map(str, roots))))

    def split(self) -> Split:
        """As [split] says; else subjects by chance, three fifths to train, and the same ones every time."""
        stated = self.description.facts["split"]
        if "train" in stated:
            train, valid, test = (tuple(stated.get(part, ())) for part in PARTS)
            return Split(self.name, "described", train, valid, test)
        people = sorted({unit.subject for unit in self._units()}, key=natural)
        return proposed_split(self.name, people, int(stated.get("seed", 0)))

    def files(self) -> Dict[str, Path]:
        """The TOML file and all files that are read."""
        found = {each.path.name if each.member else each.name: each.path for each in self._found()}
        return dict(found, **{"": Path(self.description.path)})

    def lacking(self) -> str:
        """The subjects of the split of whom no file is there, in a sentence."""
        at_hand = {unit.subject for unit in self._units()}
        absent = [person for person in self.split().people if person not in at_hand]
        return "of %s, nothing was found of subject %s." % (self.title, ", ".join(absent)) if absent else ""

    def recordings(self) -> Iterator[Recording]:
        """Yield what the files hold, file by file in the order of their names."""
        beside = self._beside()
        with Opened() as opened:
            marks = read_intervals(self.description, beside, opened)
            for unit in self._units():
                yield from self._sound_unit(opened, unit, marks)
            require_used(self.description, marks)

    # -------------------------------------------------------------- files

    def _beside(self) -> List[FoundFile]:
        """Everything in the folder or zip in which the files of the pattern are."""
        return below(self.folder, self.description.archive)

    @property
    def _interval_file(self) -> str:
        labels = self.description.labels
        return labels.intervals.file if labels is not None and labels.intervals is not None else ""

    def _found(self) -> List[FoundFile]:
        whole = {rule.files for rule in self.description.left_out if rule.rows is None}
        everything = matching(self._beside(), self.description.pattern)
        whole.update(each for each in [self._interval_file] if each)
        gone = {each.name for pattern in whole for each in matching(everything, pattern)}
        return [each for each in everything if each.name not in gone]

    def _units(self) -> List[Unit]:
        aliases = self.aliases
        grouped: Dict[Tuple[str, ...], Dict[str, List[FoundFile]]] = {}
        for each in self._found():
            subject = each.groups.get("subject", "one")
            key = (aliases.get(subject, subject), each.groups.get("session", ""), each.groups.get("placement", ""),
                   each.groups.get("label", ""), "" if {"session", "part", "label"} & set(each.groups) else each.name
                   if "sensor" not in each.groups else "")
            grouped.setdefault(key, {}).setdefault(each.groups.get("sensor", ""), []).append(each)
        return [Unit(key[0], "-".join(filter(None, (key[1], key[3]))) or _stem(files), key[2], {
            sensor: tuple(sorted(parts, key=lambda each: natural(each.groups.get("part", each.name))))
            for sensor, parts in files.items()}) for key, files in grouped.items()]

    # -------------------------------------------------------------- recordings

    def _sound_unit(self, opened: Opened, unit: Unit, marks: Marks) -> Iterator[Recording]:
        """The recordings of a unit, all or nothing; a large one is read twice where that is asked for, not held."""
        large = sum(each.size for files in unit.files.values() for each in files) > LARGE
        if not large:
            yield from self.sound(self._recordings, opened, unit, marks)
        elif not self.skip_bad or self.sound(self._first_if_sound, opened, unit, marks):
            yield from self._recordings(opened, unit, marks)

    def _first_if_sound(self, opened: Opened, unit: Unit, marks: Marks) -> Iterator[Recording]:
        """The first recording of a unit that can be read to its end; none is kept."""
        found = self._recordings(opened, unit, marks)
        yield from islice(found, 1)
        for _ in found:
            pass

    def _recordings(self, opened: Opened, unit: Unit, marks: Marks) -> Iterator[Recording]:
        seen: Dict[str, int] = {}
        last_s: Dict[str, float] = {}
        dropped = self.unordered_rows["%s/%s" % (unit.subject, unit.session)] = Counter()
        for track in self._tracks(opened, unit, marks):
            for piece in self._pieces(track, dropped):
                session = self._session(unit, piece)
                for rows in unbroken(piece.times_s, self.max_gap_s):
                    if piece.begins or piece.times_s[rows.start] <= last_s.get(session, -np.inf):
                        seen[session] = seen.get(session, 0) + 1
                        piece = piece._replace(begins=False)
                    named = session if seen.get(session, 1) <= 1 else "%s-%d" % (session, seen[session])
                    yield from self._recording(unit, named, piece, rows)
                    last_s[session] = piece.times_s[rows.stop - 1]

    def _pieces(self, track: Track, dropped: Counts[str]) -> Iterator[Track]:
        """The stretches of `track` that are read as they stand, each in the order of time."""
        for piece in taken_apart(track, self.description.labels is not None and self.description.labels.apart):
            yield from in_order(piece, self.max_gap_s, dropped)

    def _recording(self, unit: Unit, session: str, piece: Track, rows: slice) -> Iterator[Recording]:
        times_s, values, labels = piece.times_s[rows], piece.values[rows], piece.labels[rows]
        start_s, measured_hz = float(times_s[0]), mean_rate(times_s) if piece.clocked else 0.0
        if not piece.on_grid:
            even = gridded(times_s, values, labels, self.rate_hz, self.max_gap_s, self.description.time.fastest_hz)
            if even is None:
                return
            start_s, values, labels = even
        task = next(iter(self.classes), "")
        yield Recording(samples=values, labels={task: labels.astype(np.int16)} if task else {}, classes=self.classes,
                        rate_hz=self.rate_hz, channels=self.channels, subject=unit.subject, session=session,
                        start_s=start_s, placement=unit.placement, measured_hz=measured_hz)

    def _session(self, unit: Unit, piece: Track) -> str:
        labels = self.description.labels
        if labels is None or not labels.apart or not len(piece.labels) or piece.labels[0] == UNLABELLED:
            return unit.session
        name = self.classes[labels.task][piece.labels[0]]
        return name if not unit.session else "%s-%s" % (unit.session, name)

    def _tracks(self, opened: Opened, unit: Unit, marks: Marks) -> Iterator[Track]:
        """The samples of a unit, all sensors together, up to `ROWS` at a time."""
        sensors = list(dict.fromkeys(each.sensor for each in self.description.measured))
        absent = [sensor for sensor in sensors if sensor not in unit.files]
        if absent:
            raise InputError("subject %s, session %s has no file of sensor '%s', which %s names; its files are: %s." % (
                unit.subject, unit.session, absent[0], self.description.line_of("channels"), ", ".join(
                    each.name for files in unit.files.values() for each in files)))
        if len(sensors) == 1:
            for track in concatenated(self._blocks(opened, unit, sensors[0], marks), ROWS):
                yield from self._complete(track)
            return
        tracks = [next(concatenated(self._blocks(opened, unit, sensor, marks), 1 << 62)) for sensor in sensors]
        order = np.argsort([place for sensor in sensors for place, each in enumerate(self.description.measured)
                            if each.sensor == sensor])  # back to the order of the channels
        if self.description.join == "time":
            for track in on_one_grid(tracks, self.rate_hz, self.max_gap_s):
                yield track._replace(values=track.values[:, order])
            return
        if len({len(track.values) for track in tracks}) > 1:
            raise InputError("the files of subject %s, session %s have %s rows, so that they cannot be joined by row "
                             "(%s)." % (unit.subject, unit.session, " and ".join(
                                 str(len(each.values)) for each in tracks), self.description.line_of("files", "join")))
        yield from self._complete(tracks[0]._replace(values=np.hstack([track.values for track in tracks])[:, order]))

    def _complete(self, track: Track) -> Iterator[Track]:
        """Only the rows without a missing value; sensors on rows of their own are brought to one grid."""
        whole = np.isfinite(track.values).all(axis=1)
        if whole.all():
            yield track
            return
        groups = columns_by_kind(self.channels)
        if whole.mean() < MERGED and len(groups) > 1 and track.clocked:
            yield from merged(track, list(groups.values()), self.rate_hz, self.max_gap_s)
        else:
            yield track.rows(whole)._replace(on_grid=False)

    def _count_missing(self, found: FoundFile, values: np.ndarray, goes_on: bool) -> None:
        """Rows with a missing value; where most lack some, as in a merged table, those without any value."""
        there = np.isfinite(values)
        lacking = ~there.all(axis=1) if there.all(axis=1).mean() >= MERGED else ~there.any(axis=1)
        before = self.missing_rows.get(found.where, 0) if goes_on else 0
        self.missing_rows[found.where] = before + int(lacking.sum())

    def _blocks(self, opened: Opened, unit: Unit, sensor: str, marks: Marks) -> Iterator[Track]:
        """The rows of one sensor's files, one after the other, with their times and labels."""
        description, row = self.description, 0
        names = self.classes.get(description.labels.task, ()) if description.labels else ()
        for found in unit.files[sensor]:
            codes: Dict[str, int] = {}
            begins, in_file = row == 0 or _is_named(found, description.breaks), 0
            with opened.open(found) as stream:
                for plan, samples in read_samples(stream, description, found.where, codes, sensor,
                                                  found.name):
                    count, values = len(samples.values), samples.values
                    rate_hz = plan.rate_hz or self.rate_hz
                    numbers = label_numbers(description, names, codes, found)
                    labels = np.full(count, UNLABELLED, dtype=np.int32) if samples.labels is None else numbers[
                        samples.labels]
                    if description.labels is not None and description.labels.from_name:
                        labels[:] = numbers[codes[found.groups["label"]]]
                    keep = _kept(values, found, description.left_out, in_file, description.zeros_are_missing)
                    places = row + np.arange(count) if keep is None else row + np.cumsum(keep[1]) - keep[1]
                    times_s = places / rate_hz if samples.times_s is None else samples.times_s
                    if description.labels is not None and description.labels.intervals is not None:
                        labels = labels_along(description.labels.intervals, marks, found, places, times_s, labels)
                    track = Track(times_s, values, labels, begins, samples.times_s is not None,
                                  samples.times_s is None and rate_hz == self.rate_hz)
                    self._count_missing(found, values, bool(in_file))
                    row += count if keep is None else int(keep[1].sum())
                    in_file += count
                    yield track if keep is None else track.rows(keep[0])
                    begins = False


def _kept(values: np.ndarray, found: FoundFile, rules: Sequence[LeftOut], first: int,
          zeros: bool) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Which rows are read, and which count as time; None where all are."""
    counted = np.ones(len(values), dtype=bool)
    for rule in (rule for rule in rules if rule.rows is not None and matching([found], rule.files)):
        start, stop = rule.rows  # type: ignore[misc]
        counted[max(0, start - 1 - first):max(0, stop - first)] = False
    read = counted & values.any(axis=1) if zeros else counted
    return None if read.all() else (read, counted)


def _is_named(found: FoundFile, names: Sequence[str]) -> bool:
    return any(found.name == name or found.name.endswith("/" + name) for name in names)


def _stem(files: Mapping[str, Sequence[FoundFile]]) -> str:
    first = next(iter(files.values()))[0]
    return Path(first.name).name.split(".")[0]


def _samples_in(description: Description, key: str, rate_hz: float, default: int = 0) -> int:
    seconds = description.corpus(key, None)
    if seconds is None:
        return default
    samples = seconds * rate_hz
    if abs(samples - round(samples)) > 1e-6 or samples < 1:
        raise InputError("%s: [corpus] %s is %g s, which is %g samples at %g Hz; it must be a whole number of them." % (
            description.line_of("corpus", key), key, seconds, samples, rate_hz))
    return int(round(samples))


def _require_corpus(description: Description) -> None:
    for key in ("rate_hz", "window_s"):
        if not description.corpus(key):
            raise InputError("%s: [corpus] lacks %s, which training needs." % (description.line_of("corpus"), key))
    if not description.pattern:
        raise InputError("%s: [files] lacks pattern or glob, which says which files are read." % (
            description.line_of("files")))
    if not description.measured:
        raise InputError("%s: a corpus needs its channels in [channels]." % description.line_of("files", "header"))


def proposed_split(name: str, people: Sequence[str], seed: int = 0) -> Split:
    """`people` by chance of a seed: three fifths to train, a fifth each to select and to test on, at least one each.

    One or two are all to train on.
    """
    if len(people) < 3:  # one of them can be divided in time
        return Split(name, "proposed:seed=%d" % seed, tuple(people), (), ())
    order = np.random.default_rng(seed).permutation(len(people))
    fifth = max(1, len(people) // 5)
    train, valid, test = (tuple(people[place] for place in sorted(part)) for part in (
        order[2 * fifth:], order[:fifth], order[fifth:2 * fifth]))
    return Split(name, "proposed:seed=%d" % seed, train, valid, test)
