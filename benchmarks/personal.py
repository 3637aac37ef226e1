"""What enrolling a person is worth: a last layer of one's own, in the same wearing and in another.

    python benchmarks/personal.py --root FOLDER [--work FOLDER] [--corpus hapt] [--choose | --table]

Five folds of people of WISDM and HAPT and four of DSADS; each fold's student (mobilenet S, a
minute or two of training) is tested on people that it never saw. Of each class and wearing the
first half of a person's time may enrol, windows of a stream that begin a window after it are
tested. A wearing is an experiment of HAPT; WISDM and DSADS have one. Transitions of HAPT are
neither enrolled nor counted. --choose: strength and gate, on validation people alone, from
which the defaults of `map` and of the gate are taken; the test people were looked at after
that. Stop and start at will: finished students are kept. Results go to
benchmarks/figures/personal, one file a student; at the end the tables of
docs/personal.md are printed from all files there (--table: only that).
"""

from __future__ import annotations

import argparse
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.artifact.enrolment import Enrolled, enrolled_together
from edgehar.artifact.features import LastLayer
from edgehar.artifact.gate import LEAST_GAIN, TOO_LITTLE, Verdict, judge
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.personalisers import PERSONALISERS
from edgehar.artifact.personalisers.base import Moments, moments
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import Engine, FeatureSession, infer_all
from edgehar.data.channels import positions
from edgehar.data.corpus import cut_corpus, framed
from edgehar.data.datasets import DATASETS, read_recordings
from edgehar.data.protocols import People, make_split
from edgehar.data.signals import Recording
from edgehar.errors import InputError
from edgehar.files import read_json, write_json
from edgehar.results.histories import Progress
from edgehar.results.people import macro_f1_over_people, paired_difference
from edgehar.results.runs import Run
from edgehar.results.scores import confusion, macro_f1
from edgehar.stream.enrolling import enrolled_by

COMMAND = "python benchmarks/personal.py"
TASK, STUDENT = "activity", "mobilenet:size=S"
SIX = ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "lying")
SECONDS = (5.0, 10.0, 15.0, 30.0, 60.0)
STRENGTHS, MARGINS = (0.5, 1.0, 2.0, 5.0, 20.0), (0.0, 0.02, 0.05, 0.08)
TURNED_DEG = 30.0
WORSE = 0.02  # of macro-F1, by which somebody counts as worse
HELD_SHARE = 0.5  # of a person's classes must hold so many seconds, or the person does not count at them


class Student(NamedTuple):
    """One fold of a corpus: name of its files, how it is trained."""

    name: str
    corpus: str
    channels: str
    protocol: str
    windows: int
    rotation_deg: float = 15.0


STUDENTS = [
    *(Student("wisdm-%d" % k, "wisdm:device=watch", "live", "folds:n=5,fold=%d" % k, 160000) for k in range(1, 6)),
    *(Student("hapt-r15-%d" % k, "hapt", "live", "folds:n=5,fold=%d" % k, 120000) for k in range(1, 6)),
    *(Student("dsads-%d" % k, "dsads", "placement=right-arm/kind=acc", "folds:n=4,fold=%d" % k, 120000)
      for k in range(1, 5)),
    *(Student("hapt-r90-%d" % k, "hapt", "live", "folds:n=5,fold=%d" % k, 120000, 90.0) for k in range(1, 6))]


def main() -> None:
    options = _options()
    results, chosen = Path(options.folder), [each for each in STUDENTS if each.name.startswith(options.corpus)]
    if options.choose:
        chosen = [each for each in chosen if "r90" not in each.name]
    if options.choose:
        if not (results / "choice.json").exists():
            choose(chosen, options.root, Path(options.work), results / "choice.json")
        print(choice_tables(results / "choice.json"))
        return
    if not options.table:
        for student in chosen:
            path = results / (student.name + ".json")
            if not path.exists():
                found = measured(student, options.root, Path(options.work), results / "choice.json")
                write_json(path, found, indent=None)
                print("%s: done" % student.name, flush=True)
    print(tables(results))


# ------------------------------------------------------------------ students and people


def artifact_of(student: Student, root: Optional[str], work: Path) -> Artifact:
    """Trained and exported once."""
    folder = work / "art" / student.name
    if (folder / "manifest.json").is_file():
        return Artifact.load(folder)
    from edgehar.training.exporting import export
    from edgehar.training.loop import train
    from edgehar.training.recipe import Recipe

    recipe = Recipe(epochs=20, windows=student.windows)
    recipe = replace(recipe, augmentation=replace(recipe.augmentation, rotation_deg=student.rotation_deg))
    dataset = DATASETS.create(student.corpus, root=root)
    split = make_split(student.protocol, People(dataset.split(), dataset.aliases, dataset.together))
    corpus = cut_corpus(student.corpus, root, split)
    fitted = train(corpus, STUDENT, student.channels, recipe, work / "runs" / student.name,
                   watch=lambda past: _tell(student.name, past))
    return export(fitted, corpus.parts.train, corpus.parts.valid, folder, student.name)


def _tell(name: str, past: Progress) -> None:
    print("%s: epoch %d, validation macro-F1 %.3f" % (name, past.epoch, past.score), flush=True)


class Person(NamedTuple):
    """One person's windows: as recorded, and turned by 30 degrees two ways, as if worn anew."""

    name: str
    plain: Enrolled
    turned: Enrolled
    turned_otherwise: Enrolled


def people_of(engine: Engine, session: FeatureSession, part: str, root: Optional[str]) -> Iterator[Person]:
    """Those of `part` of the student's split, with every window of theirs."""
    manifest, signal = engine.manifest, engine.manifest.signal
    dataset = DATASETS.create(manifest.data["dataset"], root=root)
    mine: Dict[str, List[Recording]] = {}
    for recording in _recordings(manifest.data["dataset"], root):
        person = dataset.aliases.get(recording.subject, recording.subject)
        if person in manifest.data["split"][part]:
            one = framed(recording, signal.rate_hz)
            samples = one.samples[:, positions(one.channels, signal.channels)]
            mine.setdefault(person, []).append(_counted(replace(one, samples=samples, channels=signal.channels)))
    for name, recordings in sorted(mine.items()):
        made = [enrolled_by(session, signal, [_turned(each, axis) for each in recordings], TASK, signal.hop // 2)
                for axis in (None, (1.0, 2.0, 3.0), (3.0, -1.0, 2.0))]
        yield Person(name, *(each.take(each.labels >= 0) for each in made))


_READ: Dict[Tuple[str, Optional[str]], List[Recording]] = {}


def _recordings(spec: str, root: Optional[str]) -> List[Recording]:
    if (spec, root) not in _READ:
        _READ.clear()
        _READ[spec, root] = list(read_recordings(DATASETS.create(spec, root=root)))
    return _READ[spec, root]


def _counted(recording: Recording) -> Recording:
    """HAPT's transitions without a label, and every corpus but HAPT in one wearing."""
    names = recording.classes[TASK]
    if set(SIX) <= set(names):
        labels = recording.labels[TASK].copy()
        labels[~np.isin(labels, [names.index(name) for name in SIX])] = -1
        return replace(recording, labels={TASK: labels})
    return replace(recording, session="once", labels={TASK: recording.labels[TASK]})


def _turned(recording: Recording, axis: Optional[Sequence[float]]) -> Recording:
    """Turned by 30 degrees about `axis`, all sensors together; Rodrigues' formula."""
    if axis is None:
        return recording
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross, angle = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]), np.deg2rad(TURNED_DEG)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    if len(recording.channels) % 3:
        raise InputError("channels of %s do not come in threes." % recording.name)
    samples = recording.samples.reshape(len(recording.samples), -1, 3) @ turn.T
    return replace(recording, samples=samples.reshape(recording.samples.shape).astype(np.float32))


# ------------------------------------------------------------------ one person, one condition


class Outcome(NamedTuple):
    """What a head did to one person: macro-F1 of the base, of the fitted layer, and of what its gate lets decide.

    seconds: enrolled, in the mean over classes; held: half of the classes held what was asked.
    """

    before: float
    fitted: float
    gated: float
    verdict: Verdict
    seconds: float
    held: bool

    def to_json(self) -> Dict[str, Any]:
        facts = dict(self._asdict(), verdict=self.verdict.verdict)
        return {key: round(each, 4) if isinstance(each, float) else each for key, each in facts.items()}


class Judging(NamedTuple):
    """How a last layer is fitted unless a condition says otherwise, and by what margin the gate lets it pass."""

    method: str
    margin: float = LEAST_GAIN


def outcome(trained: LastLayer, enrolled: Enrolled, tested: Enrolled, judging: Judging,
            people: Optional[Moments] = None, seconds: float = 0.0, layer: Optional[LastLayer] = None) -> Outcome:
    """Fit, judge and test. seconds: asked of each class; layer: fitted otherwise, to be tested without a gate."""
    personaliser = PERSONALISERS.create(judging.method)
    verdict = judge(personaliser, trained, enrolled, people, judging.margin)
    fitted = layer or personaliser.fit(trained, enrolled.features, enrolled.labels, people)
    before, after = (_score(each, tested) for each in (trained, fitted))
    has = enrolled.seconds()
    classes = len(np.unique(tested.labels))
    held = sum(each >= seconds - 0.5 * enrolled.window_s for each in has.values()) >= HELD_SHARE * classes
    return Outcome(before, after, after if verdict.passed else before, verdict,
                   float(np.mean(list(has.values()) or [0.0])), bool(held))


def _score(layer: LastLayer, tested: Enrolled) -> float:
    count = len(layer.bias)
    return macro_f1(confusion(tested.labels, layer.logits(tested.features).argmax(axis=1), count))


def _wearing(person: Enrolled, number: int) -> Enrolled:
    return person.take(person.wearings == number)


def _first_seconds(enrolled: Enrolled, seconds: float) -> Enrolled:
    return enrolled.within(0.0, seconds)


# ------------------------------------------------------------------ strength and gate, on validation people


def choose(students: Sequence[Student], root: Optional[str], work: Path, path: Path) -> None:
    """Every strength and what the gate saw, for each validation person and length of enrolment."""
    rows: List[Dict[str, Any]] = []
    for student in students:
        engine = ready_engine(artifact_of(student, root, work).folder, "ort", "fp32")
        with BACKENDS.create("ort").open_features(engine) as session:
            for person in people_of(engine, session, "valid", root):
                rows += [{"student": student.name, "person": person.name, **row}
                         for row in _choices(session.layers[TASK], person, engine.manifest.signal.hop)]
        print("%s: done" % student.name, flush=True)
    write_json(path, {"command": COMMAND + " --choose", "machine": machine.describe(), "rows": rows}, indent=None)


def _choices(trained: LastLayer, person: Person, hop: int) -> Iterator[Dict[str, Any]]:
    """Same wearing; the gain without a gate, and what a gate would have seen."""
    wearing = int(person.plain.wearings.max())
    early, tested = (_wearing(each, wearing) for each in person.plain.divided(hop))
    for seconds in SECONDS:
        enrolled = _first_seconds(early, seconds)
        for strength in STRENGTHS if len(np.unique(enrolled.labels)) > 1 else ():
            found = outcome(trained, enrolled, tested, Judging("map:strength=%g" % strength), seconds=seconds)
            seen = found.verdict
            yield {"asked_s": seconds, "strength": strength, "held": found.held, "verdict": seen.verdict,
                   "gain": round(found.fitted - found.before, 4), "seen": round(seen.after - seen.before, 4)}


def choice_tables(path: Path) -> str:
    """Mean gain by strength, and what each margin of the gate lets pass, corpus by corpus."""
    rows = [row for row in read_json(path)["rows"] if row["held"]]
    lines = ["| validation subjects | s of each class | subjects | %s |" % " | ".join(
        "strength %g" % strength for strength in STRENGTHS),
             "| --- | --- | --- |" + " --- |" * len(STRENGTHS)]
    gates = ["| validation subjects | s of each class | subjects | %s |" % " | ".join("over %g" % m for m in MARGINS),
             "| --- | --- | --- |" + " --- |" * len(MARGINS)]
    chosen = inspect.signature(PERSONALISERS.kind("map")).parameters["strength"].default
    for corpus in ("wisdm", "hapt", "dsads"):
        for seconds in SECONDS:
            mine = [row for row in rows if row["student"].startswith(corpus) and row["asked_s"] == seconds]
            by = {each: np.array([row["gain"] for row in mine if row["strength"] == each]) for each in STRENGTHS}
            if len(by[STRENGTHS[0]]) < 3:
                continue
            head = "| %s | %g | %d | " % (corpus, seconds, len(by[STRENGTHS[0]]))
            lines.append(head + " | ".join("%+.3f" % each.mean() for each in by.values()) + " |")
            seen = [row for row in mine if row["strength"] == chosen]
            gates.append(head + " | ".join(_passing(seen, margin) for margin in MARGINS) + " |")
    return "\n".join(lines) + "\n\n" + "\n".join(gates)


def choice(rows: Sequence[Dict[str, Any]]) -> Tuple[float, float]:
    """Strength and margin that validation people ask for.

    The strength that loses least to a corpus' own best one, on the corpus where it loses most; gains are means over
    lengths. The smallest margin by which, at each length from 15 s on, fewer than one in twenty people of all corpora
    together lose over two points, even were it one person more.
    """
    cells: Dict[str, Dict[float, Dict[float, List[float]]]] = {}
    for row in rows:
        if row["held"]:
            of_corpus = cells.setdefault(row["student"].split("-")[0], {})
            of_corpus.setdefault(row["strength"], {}).setdefault(row["asked_s"], []).append(row["gain"])
    gains = [{strength: np.mean([np.mean(each) for each in lengths.values()]) for strength, lengths in corpus.items()}
             for corpus in cells.values()]
    strength = min(STRENGTHS, key=lambda each: max(max(corpus.values()) - corpus[each] for corpus in gains))
    seen = [row for row in rows if row["held"] and row["strength"] == strength and row["asked_s"] >= 15]
    for margin in MARGINS:
        lost = [[row["verdict"] != TOO_LITTLE and row["seen"] > margin and row["gain"] < -WORSE for row in seen
                 if row["asked_s"] == seconds] for seconds in SECONDS if seconds >= 15]
        if all((sum(each) + 1) / len(each) < 0.05 for each in lost):
            return strength, margin
    return strength, MARGINS[-1]


def choices_without(path: Path, tested: Dict[str, Sequence[str]]) -> Dict[str, Tuple[float, float]]:
    """{student: what `choice` says where its own test people say nothing}. tested: {student: its test people}."""
    rows = read_json(path)["rows"]
    return {student: choice([row for row in rows if row["student"].split("-")[0] != student.split("-")[0]
                             or row["person"] not in people]) for student, people in tested.items()}


def ready_table(runs: Sequence[Run]) -> str:
    """The ready student on its test people: each Run of the scenario beside the one without heads."""
    base = next(each for each in runs if each.scenario["method"] == "none")
    lines = ["| s of each class | gate | subjects | macro-F1 | worst subject | difference, paired over subjects |",
             "| --- | --- | --- | --- | --- | --- |"]
    for run in sorted(runs, key=lambda each: (each is not base, each.scenario["seconds"], not each.scenario["gate"])):
        counts = run.confusions(TASK)
        difference = paired_difference([counts], [base.confusions(TASK)])
        lines.append("| %s | %s | %d | %.3f [%.3f, %.3f] | %.3f | %s |" % (
            "0" if run is base else "%g" % run.scenario["seconds"],
            "" if run is base else "yes" if run.scenario["gate"] else "no", len(counts),
            *macro_f1_over_people([counts]), min(macro_f1(each) for each in counts.values()),
            "" if run is base else "%+.3f [%+.3f, %+.3f]" % difference))
    return "\n".join(lines)


def _passing(rows: Sequence[Dict[str, Any]], margin: float) -> str:
    passed = np.array([row["verdict"] != TOO_LITTLE and row["seen"] > margin for row in rows])
    gains = np.array([row["gain"] for row in rows]) * passed
    return "%d pass, %+.3f, %d worse" % (passed.sum(), gains.mean(), (gains < -WORSE).sum())


# ------------------------------------------------------------------ the measurement, on test people


def measured(student: Student, root: Optional[str], work: Path, chosen: Path) -> Dict[str, Any]:
    """All conditions for each test person of one student, with what it takes to do it again.

    Strength and margin are what validation people ask for, of all students, but the test people of this one.
    """
    artifact = artifact_of(student, root, work)
    strength, margin = choices_without(chosen, {student.name: artifact.manifest.data["split"]["test"]})[student.name]
    judging = Judging("map:strength=%g" % strength, margin)
    engine, rows = ready_engine(artifact.folder, "ort", "fp32"), []
    with BACKENDS.create("ort").open_features(engine) as session:
        trained, hop = session.layers[TASK], engine.manifest.signal.hop
        everybody = moments(infer_all(session, artifact.calibration()["windows"])[TASK])
        for person in people_of(engine, session, "test", root):
            for condition, seconds, found in conditions(trained, person, hop, everybody, judging):
                rows.append({"person": person.name, "condition": condition, "asked_s": seconds, **found.to_json()})
    manifest = engine.manifest
    return {"command": COMMAND, "machine": machine.describe(), "student": student._asdict(), "rows": rows,
            "strength": strength, "margin": margin, "artifact": manifest.sha256,
            "split": manifest.data["split"]["sha256"], "edgehar": manifest.edgehar,
            "seed": manifest.training["seed"], "parameters": manifest.model["parameters"]}


Row = Tuple[str, float, Outcome]


def conditions(trained: LastLayer, person: Person, hop: int, everybody: Moments, judging: Judging) -> Iterator[Row]:
    """(condition, seconds of each class, outcome) of one person."""
    worn = sorted(set(person.plain.wearings.tolist()))
    last = worn[-1]
    early, tested = (_wearing(each, last) for each in person.plain.divided(hop))
    turned = _wearing(person.turned.divided(hop)[1], last)
    for seconds in SECONDS:
        enrolled = _first_seconds(early, seconds)
        if len(np.unique(enrolled.labels)) < 2:
            continue
        yield "same", seconds, outcome(trained, enrolled, tested, judging, seconds=seconds)
        if seconds in (15.0, 30.0):
            yield from _disturbed(trained, person, enrolled, tested, turned, seconds, last, judging)
        if len(worn) > 1:
            yield from _elsewhere(trained, person, early, tested, seconds, worn[0], judging)
    yield "norm, same wearing, unlabelled", 60.0, outcome(
        trained, _first_seconds(early, 60.0), tested, judging._replace(method="norm"), everybody, 60.0)


def _disturbed(trained: LastLayer, person: Person, enrolled: Enrolled, tested: Enrolled, turned: Enrolled,
               seconds: float, last: int, judging: Judging) -> Iterator[Row]:
    """Another method, wrong labels, classes not enrolled, and worn anew."""
    yield "means", seconds, outcome(trained, enrolled, tested, judging._replace(method="means"), seconds=seconds)
    draw = np.random.default_rng(0)
    known = np.unique(enrolled.labels)
    labels, wrong = enrolled.labels.copy(), draw.random(len(enrolled)) < 0.1
    labels[wrong] = draw.choice(known, int(wrong.sum()))
    yield "10 % wrong labels", seconds, outcome(trained, replace(enrolled, labels=labels), tested, judging,
                                                seconds=seconds)
    half = enrolled.take(np.isin(enrolled.labels, known[::2]))
    yield "every second class enrolled, all tested", seconds, outcome(trained, half, tested, judging, seconds=seconds)
    rest = tested.take(~np.isin(tested.labels, known[::2]))
    if len(rest):
        yield "every second class enrolled, the others tested", seconds, outcome(trained, half, rest, judging,
                                                                                 seconds=seconds)
    yield "enrolled, then turned by 30 degrees", seconds, outcome(trained, enrolled, turned, judging, seconds=seconds)
    other = _wearing(person.turned_otherwise.divided(1)[0], last)
    both = enrolled_together([enrolled, _first_seconds(replace(other, wearings=other.wearings + 100), seconds)])
    yield "enrolled in two ways of wearing, then turned by 30 degrees", seconds, outcome(trained, both, turned, judging,
                                                                                         seconds=seconds)


def _elsewhere(trained: LastLayer, person: Person, early: Enrolled, tested: Enrolled, seconds: float, first: int,
               judging: Judging) -> Iterator[Row]:
    """Enrolled in the first wearing, tested in the last, alone and with what is said to close the gap."""
    other = _first_seconds(_wearing(person.plain, first), seconds)
    yield "other", seconds, outcome(trained, other, tested, judging, seconds=seconds)
    minute = _first_minute(early)
    fitted = PERSONALISERS.create(judging.method).fit(trained, other.features, other.labels)
    moved = PERSONALISERS.create("norm").fit(fitted, minute.features, minute.labels, moments(other.features))
    yield "other, and an unlabelled minute", seconds, outcome(trained, other, tested, judging, seconds=seconds,
                                                              layer=moved)
    ten = _first_seconds(early.take(np.isin(early.labels, _quick(early))), 10.0)
    yield "other, and 10 s of two classes", seconds, outcome(trained, enrolled_together([other, ten]), tested, judging,
                                                             seconds=seconds)
    both = enrolled_together([other, _first_seconds(early, seconds)])
    yield "other and same", seconds, outcome(trained, both, tested, judging, seconds=seconds)
    turned = [replace(each.take(each.wearings == first), wearings=each.wearings[each.wearings == first] + 100 * number)
              for number, each in enumerate((person.turned, person.turned_otherwise), start=1)]
    views = enrolled_together([other, *(_first_seconds(each, seconds) for each in turned)])
    yield "other, enrolment turned too", seconds, outcome(trained, views, tested, judging, seconds=seconds)


def _first_minute(enrolled: Enrolled) -> Enrolled:
    """As many windows of each class as make up a minute together."""
    each_s = 60.0 / max(1, len(np.unique(enrolled.labels)))
    return _first_seconds(enrolled, max(each_s, enrolled.window_s))


def _quick(enrolled: Enrolled) -> List[int]:
    """The numbers of standing and walking in the corpus that has two wearings."""
    return [0, 4]


# ------------------------------------------------------------------ tables


def tables(results: Path) -> str:
    """All conditions, over people, one table a corpus, and who got worse."""
    files = [read_json(path) for path in sorted(results.glob("*.json")) if path.name != "choice.json"]
    groups: Dict[str, List[Dict[str, Any]]] = {}
    for each in files:
        groups.setdefault(each["student"]["name"].rsplit("-", 1)[0], []).extend(each["rows"])
    return "\n\n".join([_table(name, rows) for name, rows in groups.items()] + [_worse(groups)])


def _table(name: str, rows: Sequence[Dict[str, Any]]) -> str:
    lines = ["| %s | s of each class | subjects | base | gain, ungated | gain, gated | worst subject | passed |" % name,
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for condition in dict.fromkeys(row["condition"] for row in rows):
        for seconds in SECONDS:
            mine = [row for row in rows if (row["condition"], row["asked_s"]) == (condition, seconds) and row["held"]]
            if len(mine) >= 3:
                lines.append(_line(condition, seconds, mine))
    return "\n".join(lines)


def _line(condition: str, seconds: float, rows: Sequence[Dict[str, Any]]) -> str:
    before, fitted, gated = (np.array([row[name] for row in rows]) for name in ("before", "fitted", "gated"))
    return "| %s | %g | %d | %.3f | %s | %s | %.2f to %.2f | %d |" % (
        condition, seconds, len(rows), before.mean(), _interval(fitted - before), _interval(gated - before),
        before.min(), gated.min(), sum(row["gated"] != row["before"] for row in rows))


def _interval(gains: np.ndarray, draws: int = 4000) -> str:
    """The mean over people with its 95 % bootstrap interval."""
    drawn = gains[np.random.default_rng(0).integers(0, len(gains), (draws, len(gains)))].mean(axis=1)
    return "%+.3f [%+.3f, %+.3f]" % (gains.mean(), *np.quantile(drawn, (0.025, 0.975)))


def _worse(groups: Dict[str, List[Dict[str, Any]]]) -> str:
    """The share of people who lost over two points with the gate, of all corpora together, students of 90 degrees
    left out."""
    rows = [row for name, each in groups.items() if "r90" not in name for row in each if row["held"]]
    lines = ["| condition | s of each class | subjects | worse by over 2 points, ungated | gated | "
             "too little to judge |",
             "| --- | --- | --- | --- | --- | --- |"]
    for condition in ("same", "other"):
        for seconds in SECONDS:
            mine = [row for row in rows if (row["condition"], row["asked_s"]) == (condition, seconds)]
            if mine:
                fitted, gated = (sum(row[name] < row["before"] - WORSE for row in mine) for name in ("fitted", "gated"))
                lines.append("| %s | %g | %d | %d (%.0f %%) | %d (%.1f %%) | %d |" % (
                    condition, seconds, len(mine), fitted, 100 * fitted / len(mine), gated, 100 * gated / len(mine),
                    sum(row["verdict"] == TOO_LITTLE for row in mine)))
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder with the downloaded corpora; default EDGEHAR_DATA")
    parser.add_argument("--work", default="runs/personal", help="where trainings and artifacts go")
    parser.add_argument("--corpus", default="", help="only students whose name begins so")
    parser.add_argument("--choose", action="store_true", help="strength and gate, on validation people")
    parser.add_argument("--table", action="store_true", help="only print the tables of what is there")
    parser.add_argument("-o", dest="folder", default="benchmarks/figures/personal")
    return parser.parse_args()


if __name__ == "__main__":
    main()
