"""What a corpus holds, person by person, and what is odd about it: for one page to look at before training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np

from edgehar.data.channels import Channel, columns_by_kind
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import UNLABELLED, Recording
from edgehar.data.vetting import Vetting
from edgehar.errors import InputError
from edgehar.files import PathLike, written_whole
from edgehar.results.axes import CHANNEL_HUES

REST_S = 1.0  # stretches by which rest is looked for
CALMEST = 10  # per cent of them
GRAVITY = (9.3, 10.3)  # m/s^2 of a sensor at rest that is in the right unit
CONSTANT_S = 2.0  # for which a signal that moves does not stand still
SATURATED = 0.001  # share of samples at the largest value, from which it looks like a limit
LIMIT_RUN, LIMIT_OVER_REST = 3, 1.3  # samples in a row at a limit, and how far above rest it lies
STILL = 0.2  # share of its largest value that a gyroscope at rest does not show
SNIPPET_S = 5.0
RATE_OFF = 0.02


class Person(NamedTuple):
    """One person's part. seconds: {class: labelled seconds}."""

    name: str
    part: str
    recordings: int
    sessions: int
    hours: float
    seconds: Mapping[str, float]


class Sensor(NamedTuple):
    """One kind of channel at one place. rest: median length where it is calmest; largest: of any value; unit: SI.

    saturated: share of samples at a limit, where a channel stays at its largest value. constant: stretches in which a
    channel does not move; constant_s: seconds of them.
    """

    name: str
    unit: str
    rest: float
    largest: float
    saturated: float
    constant: int
    constant_s: float
    doubt: str


class Snippet(NamedTuple):
    """Some seconds of one class: samples (C, T)."""

    label: str
    person: str
    samples: np.ndarray
    rate_hz: float


class Inspection(NamedTuple):
    """All that is shown. rates: lowest, median and highest measured, empty without a clock.

    gaps: pauses inside sessions. missing: rows left out for a missing value. unordered: {reason: rows} dropped while
    the others were put in the order of time.
    """

    title: str
    name: str
    rate_hz: float
    rates: Tuple[float, ...]
    gaps: int
    longest_gap_s: float
    missing: int
    unordered: Mapping[str, int]
    people: Tuple[Person, ...]
    sensors: Tuple[Sensor, ...]
    classes: Tuple[str, ...]
    snippets: Tuple[Snippet, ...]
    copies: Tuple[str, ...]
    refused: Tuple[str, ...]
    doubts: Tuple[str, ...]

    @property
    def hours(self) -> float:
        """Hours of signal of all people together."""
        return sum(person.hours for person in self.people)

    def to_json(self) -> Dict[str, Any]:
        """Everything but the signals."""
        shown = {key: value for key, value in self._asdict().items() if key != "snippets"}
        return dict(shown, people=[person._asdict() for person in self.people],
                    sensors=[sensor._asdict() for sensor in self.sensors], hours=self.hours)


def inspect(dataset: Dataset, watch: Callable[[Recording], Any] = lambda recording: None) -> Inspection:
    """Read all of `dataset` once, what is damaged left out; no recording is kept. watch: is given each.

    Raises InputError where nothing can be read.
    """
    task = next(iter(dataset.classes), "")
    classes = dataset.classes.get(task, ())
    looks = [SensorLook(name, places) for name, places in columns_by_kind(dataset.channels).items()]
    people, pauses, snippets, vetting = PeopleLook(task, classes), Pauses(), Snippets(task, classes), Vetting(dataset)
    takers = [each.add for each in looks] + [people.add, pauses.add, snippets.add, vetting.add, watch]
    for recording in dataset.recordings():
        for take in takers:
            take(recording)
    if not pauses.recordings:
        raise InputError("nothing of %s can be read: %s" % (
            dataset.title, _first(dataset.skipped) or "it is empty."))
    sensors, found = tuple(look.found() for look in looks), tuple(people.found(dataset))
    copies = (*vetting.copies(), *vetting.repeats())
    doubts = [*vetting.units(), *_doubts(dataset, found, sensors, classes, pauses.rates), *copies,
              *vetting.too_short(dataset.window / dataset.rate_hz)]
    return Inspection(dataset.title, dataset.name, dataset.rate_hz, pauses.rates, len(pauses.gaps_s),
                      max(pauses.gaps_s, default=0.0), sum(dataset.missing_rows.values()),
                      dict(sum(dataset.unordered_rows.values(), Counter())), found, sensors, classes,
                      tuple(snippets.found()), copies, tuple(dataset.skipped), tuple(doubts))


def _first(sentences: Sequence[str]) -> str:
    """The first, and how many more there are."""
    more = " (and %d more)" % (len(sentences) - 1) if len(sentences) > 1 else ""
    return "".join(sentences[:1]) + more


# ------------------------------------------------------------------ what is counted


class SensorLook:
    """Looks at one kind of channel at one place. places: of its channels."""

    def __init__(self, name: str, places: Sequence[int]) -> None:
        self._name, self._places = name, places
        self._lengths: List[np.ndarray] = []
        self._spreads: List[np.ndarray] = []
        self._limits: List[Tuple[float, int]] = []  # (value, samples) where a channel stays at its largest
        self._largest = self._constant_s = 0.0
        self._count = self._constant = 0

    def add(self, recording: Recording) -> None:
        """Take the next recording."""
        self._channel = recording.channels[self._places[0]]
        values, rate_hz = recording.samples[:, self._places], recording.rate_hz
        size = max(1, int(round(REST_S * rate_hz)))
        norms = np.linalg.norm(values[:len(values) // size * size].reshape(-1, size, len(self._places)), axis=2)
        self._lengths.append(norms.mean(axis=1))
        self._spreads.append(norms.std(axis=1))
        self._largest = max(self._largest, float(np.abs(values).max()))
        self._count += values.size
        for column in values.T:
            edges = np.concatenate([[-1], np.flatnonzero(np.diff(column)), [len(column) - 1]])
            runs, at = np.diff(edges), column[edges[1:]]
            for limit in {float(column.max()), float(column.min())}:
                self._limits.append((abs(limit), int(runs[(at == limit) & (runs >= LIMIT_RUN)].sum())))
            still = runs[runs > max(int(CONSTANT_S * rate_hz), 2)]
            self._constant += len(still)
            self._constant_s += float(still.sum()) / rate_hz

    def found(self) -> Sensor:
        """What was seen."""
        length, spread = np.concatenate(self._lengths), np.concatenate(self._spreads)
        calm = length[spread <= np.percentile(spread, CALMEST)] if len(spread) else np.zeros(1)
        rest = float(np.median(calm))
        least = max(self._largest / 2, LIMIT_OVER_REST * rest)
        saturated = sum(count for limit, count in self._limits if limit >= least) / max(1, self._count)
        seen = Sensor(self._name, self._channel.unit, rest, self._largest, saturated, self._constant,
                      self._constant_s, "")
        return seen._replace(doubt=_doubt(self._channel, seen))


def _doubt(channel: Channel, seen: Sensor) -> str:
    said = []
    if channel.kind == "acc" and channel.unit == "m/s^2" and not GRAVITY[0] < seen.rest < GRAVITY[1]:
        said.append("shows %.3g m/s^2 at rest where gravity is 9.81; is its unit or scale right?" % seen.rest)
    if channel.kind == "gyro" and seen.rest > STILL * seen.largest:
        said.append("shows %.3g %s at rest, where nothing turns, and never more than %.3g; is it a rate of turning, in "
                    "its right unit?" % (seen.rest, channel.unit, seen.largest))
    if seen.saturated > SATURATED:
        said.append("stays at its largest value in %.2g %% of samples, as a sensor at its limit does" % (
            100 * seen.saturated))
    if seen.constant:
        said.append("stands quite still %d times for over %g s, %.0f s in all" % (
            seen.constant, CONSTANT_S, seen.constant_s))
    return "; ".join("%s %s" % (seen.name, each) for each in said)


class PeopleLook:
    """Counts what each person has."""

    def __init__(self, task: str, classes: Sequence[str]) -> None:
        self._task, self._classes = task, classes
        self._people: Dict[str, Person] = {}
        self._sessions: Dict[str, Set[str]] = {}

    def add(self, recording: Recording) -> None:
        """Take the next recording."""
        name = recording.subject
        mine = self._people.get(name) or Person(name, "", 0, 0, 0.0, Counter())
        seconds = Counter(mine.seconds)
        labels = recording.labels.get(self._task, np.empty(0, dtype=int))
        for label, number in zip(*np.unique(labels, return_counts=True)):
            if label != UNLABELLED:
                seconds[self._classes[label]] += number / recording.rate_hz
        self._sessions.setdefault(name, set()).add(recording.session)
        self._people[name] = mine._replace(recordings=mine.recordings + 1, sessions=len(self._sessions[name]),
                                           hours=mine.hours + recording.duration_s / 3600, seconds=seconds)

    def found(self, dataset: Dataset) -> Iterator[Person]:
        """Everybody, with the part of the split of each, where there is one."""
        try:
            split = dataset.split()
        except InputError:
            split = None
        for name, person in self._people.items():
            yield person._replace(part=split.part_of(name) if split else "", seconds=dict(person.seconds))


class Pauses:
    """recordings: how many; gaps_s: between those of one session."""

    def __init__(self) -> None:
        self.recordings = 0
        self.gaps_s: List[float] = []
        self._rates: List[float] = []
        self._last: Tuple[str, str, float] = ("", "", np.inf)

    def add(self, recording: Recording) -> None:
        """Take the next recording."""
        subject, session, end_s = self._last
        pause_s = recording.start_s - end_s
        if (subject, session) == (recording.subject, recording.session) and pause_s > 1.5 / recording.rate_hz:
            self.gaps_s.append(pause_s)
        self._last = (recording.subject, recording.session, recording.start_s + recording.duration_s)
        self.recordings += 1
        if recording.measured_hz and len(recording.samples) > 20:
            self._rates.append(recording.measured_hz)

    @property
    def rates(self) -> Tuple[float, ...]:
        """Lowest, median and highest measured; empty where none was."""
        rates = sorted(self._rates)
        return (rates[0], rates[len(rates) // 2], rates[-1]) if rates else ()


class Snippets:
    """Takes the first seconds of each class, from up to two people."""

    def __init__(self, task: str, classes: Sequence[str]) -> None:
        self._task, self._classes = task, classes
        self._shown: Dict[str, Dict[str, Snippet]] = {label: {} for label in classes}

    def add(self, recording: Recording) -> None:
        """Take the next recording."""
        labels, size = recording.labels.get(self._task, np.empty(0)), int(SNIPPET_S * recording.rate_hz)
        for number, (label, shown) in enumerate(self._shown.items()):
            if len(shown) == 2 or recording.subject in shown:
                continue
            mine = np.flatnonzero(labels == number)
            if len(mine) > size and mine[size] - mine[0] == size:
                samples = recording.samples[mine[0]:mine[0] + size].T.copy()
                shown[recording.subject] = Snippet(label, recording.subject, samples, recording.rate_hz)

    def found(self) -> Iterator[Snippet]:
        """All of them, class by class."""
        for shown in self._shown.values():
            yield from shown.values()


def _doubts(dataset: Dataset, people: Sequence[Person], sensors: Sequence[Sensor], classes: Sequence[str],
            rates: Sequence[float]) -> Iterator[str]:
    yield from (sensor.doubt for sensor in sensors if sensor.doubt)
    if rates and abs(rates[1] / dataset.rate_hz - 1) > RATE_OFF:
        yield "it is said to have %g samples a second, and %.4g come, which were resampled" % (
            dataset.rate_hz, rates[1])
    for label in classes:
        having = [person for person in people if person.seconds.get(label)]
        if not having:
            yield "nobody has a sample of class %s" % label
        elif any(person.part for person in people) and not any(person.part == "train" for person in having):
            yield "nobody who is trained on has a sample of class %s" % label
    lacking = dataset.missing()
    if lacking:
        yield lacking.rstrip(".")


# ------------------------------------------------------------------ page


def write_inspection(found: Inspection, path: PathLike) -> Path:
    """Write the page, whole or not at all."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)
    template = environment.from_string(Path(__file__).with_name("inspection.html.j2").read_text(encoding="utf-8"))
    most_s = max((seconds for person in found.people for seconds in person.seconds.values()), default=1.0)
    page = template.render(found=found, plot=snippet_plot, most_s=most_s, axes=_axes(found))
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def _axes(found: Inspection) -> List[Tuple[str, List[Tuple[str, str]]]]:
    """Each sensor and the names of its channels with their colours, as snippets draw them."""
    return [(sensor.name, [(axis, CHANNEL_HUES[place % len(CHANNEL_HUES)]) for place, axis in enumerate("xyz")])
            for sensor in found.sensors[:2]]


def snippet_plot(snippet: Snippet, width: int = 300, height: int = 84) -> str:
    """A snippet's first channels as SVG, each triad on a scale of its own."""
    rows = [snippet.samples[first:first + 3] for first in range(0, min(6, len(snippet.samples)), 3)]
    each = height / len(rows)
    lines = ['<line x1="0" x2="%d" y1="%g" y2="%g" stroke="currentColor" opacity=".2"/>' % (
        width, row * each, row * each) for row in range(1, len(rows))]
    for row, channels in enumerate(rows):
        low, high = float(channels.min()), float(channels.max())
        span = (high - low) or 1.0
        for place, values in enumerate(channels):
            steps = np.linspace(0, len(values) - 1, min(len(values), width)).astype(int)
            heights = row * each + 3 + (each - 6) * (1 - (values[steps] - low) / span)
            points = " ".join("%.1f,%.1f" % point for point in zip(width * steps / max(1, len(values) - 1), heights))
            lines.append('<polyline fill="none" stroke="%s" stroke-width="1" points="%s"/>' % (
                CHANNEL_HUES[place % len(CHANNEL_HUES)], points))
    return '<svg viewBox="0 0 %d %d" role="img" aria-label="signal">%s</svg>' % (width, height, "".join(lines))
