"""What a corpus holds, person by person, and what is odd about it: for one page to look at before training."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Counter as Counts, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar.data.channels import Channel, kinds_of
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import UNLABELLED, Recording
from edgehar.errors import InputError
from edgehar.files import PathLike, written_whole

REST_S = 1.0  # stretches by which rest is looked for
CALMEST = 10  # per cent of them
GRAVITY = (9.3, 10.3)  # m/s^2 of a sensor at rest that is in the right unit
CONSTANT_S = 2.0  # for which a signal that moves does not stand still
SATURATED = 0.001  # share of samples at the largest value, from which it looks like a limit
COPIED = 0.5  # share of rows of one person that another has too
SNIPPET_S = 5.0
RATE_OFF = 0.02
HUES = ("#2f5d8a", "#c2703a", "#4c7a5a", "#7a5ba6", "#b5432f", "#667085")


class Person(NamedTuple):
    """One person's part. seconds: {class: labelled seconds}."""

    name: str
    part: str
    recordings: int
    sessions: int
    hours: float
    seconds: Mapping[str, float]


class Sensor(NamedTuple):
    """One kind of channel at one place. rest: median length where it is calmest; largest: of any value; unit: SI."""

    name: str
    unit: str
    rest: float
    largest: float
    saturated: float
    constant: int
    doubt: str


class Snippet(NamedTuple):
    """Some seconds of one class: samples (C, T)."""

    label: str
    person: str
    samples: np.ndarray
    rate_hz: float


class Inspection(NamedTuple):
    """All that is shown. rates: lowest, median and highest measured, empty without a clock. gaps: {session: number}."""

    title: str
    name: str
    rate_hz: float
    rates: Tuple[float, ...]
    gaps: int
    longest_gap_s: float
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


def inspect(dataset: Dataset) -> Inspection:
    """Read all of `dataset`, what is damaged left out. Raises InputError where nothing can be read."""
    recordings = list(dataset.recordings())
    if not recordings:
        raise InputError("nothing of %s can be read: %s" % (
            dataset.title, " ".join(dataset.skipped) or "it is empty."))
    task = next(iter(dataset.classes), "")
    classes = dataset.classes.get(task, ())
    sensors = tuple(_sensor(name, places, recordings) for name, places in kinds_of(dataset.channels).items())
    people = tuple(_people(dataset, recordings, task, classes))
    gaps_s = list(_gaps(recordings))
    rates = _rates(recordings)
    copies = tuple(_copies(recordings))
    return Inspection(dataset.title, dataset.name, dataset.rate_hz, rates, len(gaps_s), max(gaps_s, default=0.0),
                      people, sensors, classes, tuple(_snippets(recordings, task, classes)), copies,
                      tuple(dataset.skipped), tuple(_doubts(dataset, people, sensors, classes, rates)) + copies)


# ------------------------------------------------------------------ what is counted


def _sensor(name: str, places: Sequence[int], recordings: Sequence[Recording]) -> Sensor:
    channel = recordings[0].channels[places[0]]
    lengths, spreads, largest, at_limit, count, constant = [], [], 0.0, 0, 0, 0
    limit = max(float(np.abs(each.samples[:, places]).max()) for each in recordings)
    for each in recordings:
        values = each.samples[:, places]
        size = max(1, int(round(REST_S * each.rate_hz)))
        whole = values[:len(values) // size * size].reshape(-1, size, len(places))
        norms = np.linalg.norm(whole, axis=2)
        lengths.append(norms.mean(axis=1))
        spreads.append(norms.std(axis=1))
        largest = max(largest, float(np.abs(values).max()))
        at_limit += int((np.abs(values) >= 0.9999 * limit).any(axis=1).sum())
        count += len(values)
        constant += _still(values, int(CONSTANT_S * each.rate_hz))
    length, spread = np.concatenate(lengths), np.concatenate(spreads)
    calm = length[spread <= np.percentile(spread, CALMEST)] if len(spread) else np.zeros(1)
    rest, saturated = float(np.median(calm)), at_limit / max(1, count)
    return Sensor(name, channel.unit, rest, largest, saturated, constant,
                  _doubt(channel, rest, saturated, constant, name))


def _still(values: np.ndarray, size: int) -> int:
    """Stretches in which no channel moves for `size` samples or more."""
    moves = np.flatnonzero((np.diff(values, axis=0) != 0).any(axis=1))
    edges = np.concatenate([[-1], moves, [len(values) - 1]])
    return int((np.diff(edges) > max(size, 2)).sum())


def _doubt(channel: Channel, rest: float, saturated: float, constant: int, name: str) -> str:
    said = []
    if channel.kind == "acc" and channel.unit == "m/s^2" and not GRAVITY[0] < rest < GRAVITY[1]:
        said.append("shows %.3g m/s^2 at rest where gravity is 9.81; is its unit or scale right?" % rest)
    if saturated > SATURATED:
        said.append("is at its largest value in %.1f %% of samples, as a sensor at its limit is" % (100 * saturated))
    if constant:
        said.append("stands quite still %d times for over %g s" % (constant, CONSTANT_S))
    return "; ".join("%s %s" % (name, each) for each in said)


def _people(dataset: Dataset, recordings: Sequence[Recording], task: str, classes: Sequence[str]) -> Iterator[Person]:
    try:
        split = dataset.split()
    except InputError:
        split = None
    for name in dict.fromkeys(each.subject for each in recordings):
        mine = [each for each in recordings if each.subject == name]
        seconds: Counts[str] = Counter()
        for each in mine:
            for label, number in zip(*np.unique(each.labels.get(task, np.empty(0, dtype=int)), return_counts=True)):
                if label != UNLABELLED:
                    seconds[classes[label]] += number / each.rate_hz
        yield Person(name, split.part_of(name) if split else "", len(mine), len({each.session for each in mine}),
                     sum(each.duration_s for each in mine) / 3600, dict(seconds))


def _gaps(recordings: Sequence[Recording]) -> Iterator[float]:
    """Seconds between recordings of one session."""
    for first, second in zip(recordings, recordings[1:]):
        if (first.subject, first.session) == (second.subject, second.session):
            gap_s = second.start_s - first.start_s - first.duration_s
            if gap_s > 0:
                yield gap_s


def _rates(recordings: Sequence[Recording]) -> Tuple[float, ...]:
    rates = sorted(each.measured_hz for each in recordings if each.measured_hz and len(each.samples) > 20)
    return (rates[0], rates[len(rates) // 2], rates[-1]) if rates else ()


def _snippets(recordings: Sequence[Recording], task: str, classes: Sequence[str]) -> Iterator[Snippet]:
    """The first seconds of each class, from up to two people."""
    for number, label in enumerate(classes):
        shown: Dict[str, Snippet] = {}
        for each in recordings:
            size = int(SNIPPET_S * each.rate_hz)
            mine = np.flatnonzero(each.labels.get(task, np.empty(0)) == number)
            if each.subject not in shown and len(mine) > size and mine[size] - mine[0] == size:
                shown[each.subject] = Snippet(label, each.subject, each.samples[mine[0]:mine[0] + size].T, each.rate_hz)
            if len(shown) == 2:
                break
        yield from shown.values()


def _copies(recordings: Sequence[Recording]) -> Iterator[str]:
    """Pairs of people who share much of their samples, to the last digit."""
    names = list(dict.fromkeys(each.subject for each in recordings))
    keys, owners = [], []
    for each in recordings:
        moving = each.samples[1:][(np.diff(each.samples, axis=0) != 0).any(axis=1)]
        bits = np.ascontiguousarray(moving).view(np.uint32).astype(np.uint64)
        odd = np.random.default_rng(0).integers(1, 2 ** 62, bits.shape[1], dtype=np.uint64) | np.uint64(1)
        keys.append((bits * odd).sum(axis=1, dtype=np.uint64))
        owners.append(np.full(len(moving), names.index(each.subject), dtype=np.int32))
    key, owner = np.concatenate(keys), np.concatenate(owners)
    order = np.lexsort((owner, key))
    key, owner = key[order], owner[order]
    same = (key[1:] == key[:-1]) & (owner[1:] != owner[:-1])
    counts = np.bincount(owner, minlength=len(names))
    for (first, second), shared in Counter(zip(owner[:-1][same].tolist(), owner[1:][same].tolist())).items():
        share = shared / max(1, min(counts[first], counts[second]))
        if share > COPIED:
            yield "%.0f %% of the samples of person %s are those of person %s; one is a copy" % (
                100 * min(1, share), names[first], names[second])


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
    return [(sensor.name, [(axis, HUES[place % len(HUES)]) for place, axis in enumerate("xyz")])
            for sensor in found.sensors[:2]]


def snippet_plot(snippet: Snippet, width: int = 300, height: int = 84) -> str:
    """A snippet's first channels as SVG, each triad on a scale of its own."""
    rows = [snippet.samples[first:first + 3] for first in range(0, min(6, len(snippet.samples)), 3)]
    each = height / len(rows)
    lines: List[str] = []
    for row, channels in enumerate(rows):
        low, high = float(channels.min()), float(channels.max())
        span = (high - low) or 1.0
        for place, values in enumerate(channels):
            steps = np.linspace(0, len(values) - 1, min(len(values), width)).astype(int)
            heights = row * each + 3 + (each - 6) * (1 - (values[steps] - low) / span)
            points = " ".join("%.1f,%.1f" % point for point in zip(width * steps / max(1, len(values) - 1), heights))
            lines.append('<polyline fill="none" stroke="%s" stroke-width="1" points="%s"/>' % (
                HUES[place % len(HUES)], points))
    return '<svg viewBox="0 0 %d %d" role="img" aria-label="signal">%s</svg>' % (width, height, "".join(lines))
