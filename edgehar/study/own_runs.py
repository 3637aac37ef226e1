"""Whether a Run is the one that a cell now asks for: an edited study shows no old figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import List, Optional

from edgehar.errors import InputError
from edgehar.results.grouping import seedless
from edgehar.results.runs import Run
from edgehar.study.cells import Cell, Settings
from edgehar.training.distillers import DISTILLERS

FACTS = ("dataset", "rate_hz", "window", "hop", "model", "method", "seed", "tasks", "channel_names",
         "labelled", "learnt")  # of a Run


def own_run(cell: Cell, results: Path) -> Run:
    """The Run of `cell`. Raises InputError where it is of other settings."""
    path = cell.run_path(results)
    run = Run.load(path)
    found, wanted = _told(run), _wanted(cell)
    for what, value in wanted.items():
        if found[what] != value:
            raise InputError("%s is a Run of another %s than the study's %s now has; choose another folder with -o, or "
                             "remove it." % (path, what.replace("_", " "), cell.name))
    return run


def _told(run: Run) -> Settings:
    """What a Run tells of the cell that it is of."""
    facts = run.engine.to_json()
    return {**{key: facts.get(key) for key in FACTS}, "recipe": seedless(facts.get("recipe")),
            "teacher": _teachers_told(facts.get("teacher"))}


def _teachers_told(teacher: Optional[Settings]) -> List[Settings]:
    """Model, channels and recipe of each teacher that a Run tells of."""
    return [{**{key: each[key] for key in ("model", "channels", "recipe")}, "labelled": each.get("labelled")}
            for each in (teacher.get("members", [teacher]) if teacher else [])]


def _wanted(cell: Cell) -> Settings:
    """The same as the study has it now."""
    fold, network = cell.fold, cell.network
    needed = DISTILLERS.create(network.method).needs_teacher
    teachers = (cell.members() or [cell])[0].teachers() if needed else []
    return {"dataset": fold.corpus, "rate_hz": cell.framing.rate_hz, "window": cell.framing.window,
            "hop": cell.framing.hop, "model": network.model, "method": network.method, "seed": cell.seed,
            "tasks": sorted(fold.decided(cell.name)), "channel_names": cell.channel_names(),
            "labelled": cell.regime().labelled or None, "learnt": cell.regime().told or None,
            "recipe": seedless(_plain_recipe(cell)),
            "teacher": [{"model": each.network.model, "channels": each.channel_names(), "recipe": _plain_recipe(each),
                         "labelled": each.regime().labelled or None} for each in teachers]}


def _plain_recipe(cell: Cell) -> Settings:
    return json.loads(json.dumps(cell.recipe().to_json()))
