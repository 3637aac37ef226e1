"""Runs -> one HTML page that can be mailed: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence

from edgehar.errors import InputError
from edgehar.files import PathLike, written_whole
from edgehar.plots import confusion_plot, interval_plot, latency_plot, trade_plot
from edgehar.results import MEASURED, SIMULATED, Run
from edgehar.tables import (accuracy_rows, artifact_labels, cost_rows, grouped, latency_rows, milliseconds, people_of,
                            people_text, per_second, place, place_name, scaled, scenario_text, thousands, trades)


def write(runs: Sequence[Run], path: PathLike) -> Path:
    """Write the page on `runs` to `path`, whole or not at all. Raises InputError without any run."""
    page = render(runs)
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)


def render(runs: Sequence[Run]) -> str:
    """The page on `runs` as HTML. Raises InputError without any run."""
    import jinja2

    if not runs:
        raise InputError("there is no Run to report on; make one with `edgehar bench`.")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)
    environment.filters.update(FILTERS)
    template = environment.from_string(Path(__file__).with_name("report.html.j2").read_text(encoding="utf-8"))
    return template.render(page_of(runs))


# ------------------------------------------------------------------ page


def page_of(runs: Sequence[Run]) -> Dict[str, Any]:
    """All that the template shows, in its order."""
    runs = sorted(runs, key=lambda run: run.synthetic)  # what was recorded comes first
    created = sorted(run.created for run in runs)
    by_source = {source: [run for run in runs if run.source == source] for source in (MEASURED, SIMULATED)}
    labels = artifact_labels(runs)
    return {
        "runs": [(labels[run.engine["artifact_sha256"]], run) for run in runs],
        "first": created[0], "last": created[-1],
        "corpora": list(dict.fromkeys(run.engine["dataset"] for run in runs)),
        "engines": len({run.engine["sha256"] for run in runs}),
        "synthetic": sorted({run.engine["dataset"] for run in runs if run.synthetic}),
        "machines": [(place_name(group[0].machine), group[0].machine) for group in grouped(runs, place)],
        "sections": [_section(source, found) for source, found in by_source.items() if found],
        "plots": {"intervals": interval_plot, "confusion": confusion_plot, "latency": latency_plot,
                  "trade": trade_plot},
    }


def _section(source: str, runs: Sequence[Run]) -> Dict[str, Any]:
    """Either the measured or the simulated runs: people corpus by corpus, timings also machine by machine."""
    scored = [run for run in runs if run.people]
    return {"source": source,
            "corpora": [_corpus(group) for group in grouped(scored, people_of)],
            "timings": [_timings(group) for group in grouped(runs, lambda run: (place(run), people_of(run)))]}


def _corpus(runs: Sequence[Run]) -> Dict[str, Any]:
    rows = accuracy_rows(runs)
    return {"dataset": runs[0].engine["dataset"], "split": runs[0].split.get("name", ""),
            "synthetic": runs[0].synthetic,
            "tasks": [(group[0].task, group) for group in grouped(rows, lambda row: row.task)]}


def _timings(runs: Sequence[Run]) -> Dict[str, Any]:
    rows = latency_rows(runs)
    drawn = [row for row in rows if row.scenario["name"] != "offline"]
    plots = grouped(drawn, lambda row: scenario_text(row.scenario))
    return {"place": place_name(runs[0].machine), "dataset": runs[0].engine["dataset"],
            "synthetic": runs[0].synthetic, "latency": rows, "cost": cost_rows(runs), "trades": trades(runs),
            "plots": [(scenario_text(group[0].scenario), group) for group in plots]}


def _kibibytes(size_bytes: int) -> str:
    return "%s KiB" % thousands(size_bytes / 1024)


def _fact(value: Any) -> str:
    return ", ".join("%s %s" % pair for pair in value.items()) if isinstance(value, dict) else str(value)


FILTERS = {"milliseconds": milliseconds, "scenario": scenario_text, "people": people_text, "per_second": per_second,
           "fact": _fact, "thousands": thousands, "scaled": scaled, "kibibytes": _kibibytes}
