"""Runs -> one HTML page that can be mailed: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from edgehar.artifact import attribution
from edgehar.artifact.manifest import Artifact
from edgehar.data.splits import data_marks
from edgehar.errors import InputError
from edgehar.files import PathLike, written_whole
from edgehar.results.cards import cards
from edgehar.results.certificate import Certificate, certificate_beside
from edgehar.results.contrasts import contrasts
from edgehar.results.grouping import artifact_labels, grouped, marks, measured_on, people_of
from edgehar.results.histories import History
from edgehar.results.plots import (Difference, SensorChoice, attribution_plot, choice_plot, confusion_plot, forest_plot,
                                   history_plot, interval_plot, latency_plot, reliability_plot, trade_plot)
from edgehar.results.robustness_plots import interval_of, robustness_plot
from edgehar.results.rows import (AccuracyRow, accuracy_rows, class_events, cost_rows, energy_rows, event_rows,
                                  latency_rows, on_front, sensor_choices, trades)
from edgehar.results.runs import MEASURED, SIMULATED, Run
from edgehar.results.words import (kibibytes, machine_name, millijoules, milliseconds, net_energy_text, people_text,
                                   per_second, seconds, split_text, stream_text, thousands, watts, with_prefix)


def write(runs: Sequence[Run], path: PathLike, artifacts: Sequence[Artifact] = (),
          histories: Sequence[History] = ()) -> Path:
    """Write the page on `runs` to `path`, whole or not at all. Raises InputError without any run.

    artifacts: those of which it shows what they look at, and their certificates; histories: of trainings whose
    epochs it draws.
    """
    page = render(runs, artifacts, histories)
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def render(runs: Sequence[Run], artifacts: Sequence[Artifact] = (), histories: Sequence[History] = ()) -> str:
    """The page on `runs` as HTML. Raises InputError without any run."""
    import jinja2

    if not runs:
        raise InputError("there is no Run to report on; make one with `edgehar bench`.")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)
    environment.filters.update(FILTERS)
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
    return template.render(page_of(runs), looks=[look for artifact in artifacts for look in _looks(artifact)],
                           trust=[found for artifact in artifacts for found in _trust(artifact)],
                           trainings=[(each, history_plot(each.curves(), each.kept, each.name)) for each in histories])


# ------------------------------------------------------------------ page


def page_of(runs: Sequence[Run]) -> Dict[str, Any]:
    """All that the template shows, in its order."""
    runs = sorted(runs, key=lambda run: run.synthetic)  # what was recorded comes first
    created = sorted(run.created for run in runs)
    by_source = {source: [run for run in runs if run.source == source] for source in (MEASURED, SIMULATED)}
    labels = artifact_labels(runs)
    return {
        "runs": [(labels[run.engine.artifact_sha256], run) for run in runs],
        "cards": cards(runs), "first": created[0], "last": created[-1],
        "corpora": list(dict.fromkeys(run.engine.dataset for run in runs)),
        "engines": len({run.engine.sha256 for run in runs}),
        "synthetic": sorted({run.engine.dataset for run in runs if run.synthetic}),
        "leaky": sorted({run.engine.dataset for run in runs if "shuffle_seed" in run.split}),
        "machines": [(machine_name(group[0].machine), group[0].machine) for group in grouped(runs, measured_on)],
        "sections": [_section(source, found) for source, found in by_source.items() if found],
        "plots": {"intervals": interval_plot, "forest": forest_plot, "confusion": confusion_plot,
                  "reliability": reliability_plot, "latency": latency_plot, "trade": trade_plot,
                  "choices": choice_plot},
    }


def _section(source: str, runs: Sequence[Run]) -> Dict[str, Any]:
    """Either the measured or the simulated runs: people corpus by corpus, timings also machine by machine."""
    scored = [run for run in runs if run.people or run.events]
    return {"source": source,
            "corpora": [_corpus(group) for group in grouped(scored, people_of)],
            "timings": [_timings(group) for group in grouped(runs, lambda run: (measured_on(run), people_of(run)))]}


def _corpus(runs: Sequence[Run]) -> Dict[str, Any]:
    by_task = lambda rows: [(group[0].task, group) for group in grouped(rows, lambda row: row.task)]  # noqa: E731
    return {"dataset": runs[0].engine.dataset, "split": split_text(runs), "marks": marks(runs[0]),
            "tasks": [(task, rows, _differences(rows), _choices(rows)) for task, rows in by_task(accuracy_rows(runs))],
            "streams": by_task(event_rows(runs))}


def _differences(rows: Sequence[AccuracyRow]) -> List[Difference]:
    """Every method against the same network trained on labels alone, where two people or more can be paired."""
    return [Difference(found.row.label, found.row.engine.precision, found.difference, found.verdict)
            for found in contrasts(rows) if found.row.people > 1]


def _choices(rows: Sequence[AccuracyRow]) -> List[Tuple[str, List[SensorChoice]]]:
    """[(network, its choices of sensors)] where several were tried."""
    return [(network, [SensorChoice(name, row.engine.macs, row.macro_f1, on_front(row, [row for _, row in found]))
                       for name, row in found if row.engine.macs]) for network, found in sensor_choices(rows)]


def _timings(runs: Sequence[Run]) -> Dict[str, Any]:
    rows = latency_rows(runs)
    plots = grouped([row for row in rows if not row.batched], lambda row: row.asked)
    return {"place": machine_name(runs[0].machine), "dataset": runs[0].engine.dataset,
            "marks": marks(runs[0]), "latency": rows, "cost": cost_rows(runs), "trades": trades(runs),
            "energy": [(run, energy_rows([run])) for run in runs if run.energy],
            "plots": [(group[0].asked, group[0].scheduled, group) for group in plots]}


def _looks(artifact: Artifact) -> Iterator[Tuple[str, List[str], str, List[Tuple[str, str]]]]:
    """Label, marks, task, and a picture for each class, of an artifact that keeps them."""
    manifest = artifact.manifest
    marked = data_marks(manifest.data["synthetic"], manifest.data["split"])
    for task, found in attribution.load_attribution(artifact.folder).items():
        names = [manifest.tasks[task][label] for label in found.labels]
        yield manifest.name, marked, task, [(name, attribution_plot(found, number, name, manifest.signal))
                                            for number, name in enumerate(names)]


def _trust(artifact: Artifact) -> Iterator[Tuple[Certificate, List[str], List[Tuple[str, str]]]]:
    """The certificate beside an artifact that has one, its marks, and a picture for each task."""
    found = certificate_beside(artifact.folder, artifact.sha256)
    if found:
        data = artifact.manifest.data
        yield found, data_marks(data["synthetic"], data["split"]), [(task, robustness_plot(found, task))
                                                                    for task in sorted(found.rows)]


def _fact(value: Any) -> str:
    return ", ".join("%s %s" % pair for pair in value.items()) if isinstance(value, dict) else str(value)


FILTERS = {"milliseconds": milliseconds, "people": people_text, "per_second": per_second,
           "fact": _fact, "thousands": thousands, "scaled": with_prefix, "kibibytes": kibibytes, "seconds": seconds,
           "stream": stream_text, "classes": class_events, "marks": marks, "net_energy": net_energy_text,
           "millijoules": millijoules, "watts": watts, "interval": interval_of}
