"""Hysteresis and a forward filter side by side, on whole recordings of people whom no network saw.

    python benchmarks/settling.py --root FOLDER [--work FOLDER]

The students are the nine `all-labels` ones of benchmarks/studies/few-labels-hapt.toml, three folds by three seeds, so
that each of 30 people is tested; run that study with the same --work first. Stay probabilities and thresholds are
fitted by `edgehar settle`, on training and validation people. Every recording of the test people is then streamed three
times: each window by itself, three windows that must agree, and the filter. What is compared was fixed here before the
first run. Runs go to benchmarks/results/<machine>/settling-hapt; what share of the test people's windows is told where
doubtful labels are unknown goes to unknown-hapt beside it; at the end the tables of docs/results.md are printed.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from edgehar import machine
from edgehar.artifact.manifest import Artifact
from edgehar.artifact.sequences import filtered
from edgehar.artifact.settling import HMM, HYSTERESIS, Settling
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends.base import infer_all
from edgehar.bench.accuracy import windows_for
from edgehar.bench.run import run
from edgehar.bench.scenarios import SCENARIOS
from edgehar.bench.settled import parts_for, settle_artifact
from edgehar.bench.streaming import recordings_for
from edgehar.data.signals import Windows
from edgehar.errors import InputError
from edgehar.files import read_json, write_json
from edgehar.results.events import EventScores, event_f1, false_alarms_per_h, median_delay_s, share_detected
from edgehar.results.people import Interval, bootstrap, one_by_one
from edgehar.results.runs import Run, load_all
from edgehar.stream.decision import softmax

STUDENT, FOLDS, SEEDS, TASK = "all-labels", (1, 2, 3), (0, 1, 2), "activity"
WAYS = {"each window": "streaming:hold=1", "hysteresis": "streaming:hold=3", "hmm": "streaming:settle=hmm"}
COMMAND, DRAWS = "python benchmarks/settling.py", 400
ByPerson = Dict[str, EventScores]
FIGURES: Dict[str, Callable[[Sequence[ByPerson]], Interval]] = {
    "event F1": event_f1, "detected": share_detected, "median delay, s": median_delay_s,
    "false alarms an hour": false_alarms_per_h}


def main() -> None:
    options = _options()
    work, results = Path(options.work), Path(options.folder)
    for fold in FOLDS:
        for seed in SEEDS:
            stream_one(work, results, fold, seed, options.root)
    path = results.with_name("unknown-hapt") / "unknown.json"
    if not path.exists():
        write_json(path, {"command": COMMAND, "machine": machine.describe(),
                          "students": [told_by(settled(work, fold, seed, options.root), fold, seed, options.root)
                                       for fold in FOLDS for seed in SEEDS]})
    print(table(load_all([results])), unknown_table(read_json(path)), sep="\n\n")


def stream_one(work: Path, results: Path, fold: int, seed: int, root: Optional[str]) -> None:
    """The three Runs of one student; nothing where they are there."""
    paths = {way: results / ("fold%d-seed%d-%s.json" % (fold, seed, way.replace(" ", "-"))) for way in WAYS}
    if all(path.exists() for path in paths.values()):
        return
    artifact = settled(work, fold, seed, root)
    engine = ready_engine(artifact.folder, "ort", "fp32")
    recordings = list(recordings_for(engine, root=root))
    for way, path in paths.items():
        run(engine, SCENARIOS.create(WAYS[way]), recordings=recordings, command=COMMAND).write(path)
    print("fold %d, seed %d" % (fold, seed), flush=True)


def settled(work: Path, fold: int, seed: int, root: Optional[str]) -> Artifact:
    """A copy of the study's artifact that knows how long activities last."""
    name = Path("hapt") / ("folds-n-3-fold-%d" % fold) / ("%s-seed%d" % (STUDENT, seed))
    made, folder = work / "artifacts" / name, work / "settled" / name
    if not (made / "manifest.json").is_file():
        raise InputError("%s is not there; run `edgehar study benchmarks/studies/few-labels-hapt.toml --work %s` "
                         "first." % (made, work))
    if not folder.exists():
        shutil.copytree(str(made), str(folder), ignore=shutil.ignore_patterns("built"))
    artifact = Artifact.load(folder)
    if artifact.manifest.settling:
        return artifact
    engine = ready_engine(folder, "ort", "fp32")
    with BACKENDS.create("ort").open(engine, max_batch=64) as session:
        return settle_artifact(artifact, session, parts_for(artifact, root=root))


def told_by(artifact: Artifact, fold: int, seed: int, root: Optional[str]) -> Dict[str, Any]:
    """What one student tells of labelled windows of its test people: {way: {person: [windows, told, right of these,
    right of all]}}, each window by itself, and by the filter along the recording."""
    manifest, engine = artifact.manifest, ready_engine(artifact.folder, "ort", "fp32")
    windows = windows_for(engine, root=root)
    with BACKENDS.create("ort").open(engine, max_batch=64) as session:
        logits = infer_all(session, windows.select(manifest.signal.channels).x)
    said, settling = softmax(logits[TASK]), Settling.of(manifest, HMM, True)
    by_way = {HYSTERESIS: said, HMM: filtered(said, windows, settling.stays[TASK])}
    return {"fold": fold, "seed": seed, "artifact_sha256": manifest.sha256,
            "split_sha256": manifest.data["split"]["sha256"],
            "people": {way: _told(found, windows, manifest.settling[TASK]["unknown"][way]["below"])
                       for way, found in by_way.items()}}


def _told(found: np.ndarray, windows: Windows, below: float) -> Dict[str, List[int]]:
    told, right = found.max(axis=1) >= below, found.argmax(axis=1) == windows.y[TASK]
    return {person: [int(mine.sum()), int((mine & told).sum()), int((mine & told & right).sum()),
                     int((mine & right).sum())]
            for person in sorted(set(windows.subjects.tolist())) for mine in [windows.subjects == person]}


# ------------------------------------------------------------------ the tables


def unknown_table(found: Mapping[str, Any]) -> str:
    """Markdown: what is told and how often that is right, with 95 % intervals over people, seeds averaged."""
    lines = ["| label of | told | right of these | right of all |", "| --- | --- | --- | --- |"]
    for way, name in ((HYSTERESIS, "each window"), (HMM, "the filter")):
        people = sorted({person for each in found["students"] for person in each["people"][way]})
        counts = np.array([[each["people"][way][person] for each in sorted(
            found["students"], key=lambda each: each["seed"]) if person in each["people"][way]] for person in people])
        lines.append("| %s | %s |" % (name, " | ".join(_percent(counts, *pair) for pair in ((1, 0), (2, 1), (3, 0)))))
    return "\n".join(lines)


def _percent(counts: np.ndarray, top: int, below: int) -> str:
    """counts: (people, seeds, 4)."""
    def share(chosen: np.ndarray) -> float:
        total = counts[chosen].sum(axis=0)
        return float(np.mean(100 * total[:, top] / total[:, below]))

    return "%.1f %% [%.1f, %.1f]" % bootstrap(len(counts), one_by_one(share), DRAWS, seed=0)


class Row(NamedTuple):
    """One way, by all people and seeds: {figure: interval}, and its difference from hysteresis, paired over people."""

    way: str
    figures: Dict[str, Interval]
    against: Dict[str, Interval]


def rows(runs: Sequence[Run]) -> List[Row]:
    """One row a way, in their order."""
    by_way = {way: by_seed([run for run in runs if _is(run, spec)]) for way, spec in WAYS.items()}
    return [Row(way, {name: figure(people) for name, figure in FIGURES.items()},
                {name: paired(figure, people, by_way["hysteresis"]) for name, figure in FIGURES.items()
                 if way != "hysteresis"})
            for way, people in by_way.items()]


def _is(run: Run, spec: str) -> bool:
    asked = SCENARIOS.create(spec)
    return (run.scenario["hold"], run.scenario["settle"]) == (asked.hold, asked.settle)


def by_seed(runs: Sequence[Run]) -> List[ByPerson]:
    """[{person: scores of the fold that tests them}] of each seed."""
    return [{person: EventScores.from_json(value) for run in runs if run.engine.seed == seed
             for person, value in run.events[TASK].items()} for seed in sorted({run.engine.seed for run in runs})]


def paired(figure: Callable[..., Interval], a: Sequence[ByPerson], b: Sequence[ByPerson]) -> Interval:
    """`figure` of `a` minus that of `b`, drawn over the same people in both."""
    people = sorted(a[0])

    def drawn(side: Sequence[ByPerson], chosen: np.ndarray) -> float:
        return figure([{str(place): one[people[number]] for place, number in enumerate(chosen)} for one in side],
                      draws=1).value

    return bootstrap(len(people), one_by_one(lambda chosen: drawn(a, chosen) - drawn(b, chosen)), DRAWS, seed=0)


def table(runs: Sequence[Run]) -> str:
    """Markdown: a row a way, and below each what it differs by from hysteresis."""
    lines = ["| settled by | %s |" % " | ".join(FIGURES), "| --- |%s" % (" --- |" * len(FIGURES))]
    for row in rows(runs):
        lines.append("| %s | %s |" % (row.way, " | ".join(map(_text, row.figures.values()))))
        if row.against:
            lines.append("| … minus hysteresis | %s |" % " | ".join(map(_text, row.against.values())))
    return "\n".join(lines)


def _text(found: Interval) -> str:
    digits = 2 if abs(found.value) < 10 else 0
    return "%.*f [%.*f, %.*f]" % (digits, found.value, digits, found.low, digits, found.high)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="folder with the downloaded corpora; default EDGEHAR_DATA")
    parser.add_argument("--work", default="runs/few-labels-hapt", help="of the study, with its artifacts")
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/settling-hapt" % machine.label())
    return parser.parse_args()


if __name__ == "__main__":
    main()
