"""What `edgehar doctor` says of one job: which findings it rests on, and whether it can be done here."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from edgehar.cli._finding import MISSING, OK, Finding

RAILS = "rails by "  # a meter's name follows


class Task(NamedTuple):
    """A job of this machine. shown: whether a finding has to do with it; any_of: of each group one must be usable.

    remedy: a command for a machine that lacks a group of which nothing was found at all.
    """

    shown: Callable[[Finding], bool]
    any_of: Sequence[Callable[[Finding], bool]]
    lacking: str
    remedy: str


def _in(*rooms: str) -> Callable[[Finding], bool]:
    return lambda finding: finding.room in rooms


def _is(room: str, *subjects: str) -> Callable[[Finding], bool]:
    return lambda finding: finding.room == room and finding.subject in subjects


def _is_rail(finding: Finding) -> bool:
    return finding.subject.startswith(RAILS)


def _of_trt(finding: Finding) -> bool:
    return finding.subject == "trt" or finding.room in ("jetson", "container", "disk") or finding.subject == "clocks"


TASKS: Dict[str, Task] = {
    "run": Task(_in("backend", "provider", "bundle", "disk", "machine", "container"), [_in("backend")],
                "no inference backend works on this machine", "pip install 'edgehar[cpu]'"),
    "train": Task(lambda finding: _in("training", "corpus", "disk")(finding) or finding.subject == "ort",
                  [_is("training", "torch"), _is("training", "onnx"), _is("backend", "ort")],
                  "this machine cannot train and export", "pip install 'edgehar[train]'"),
    "build-trt": Task(_of_trt, [_is("backend", "trt")],
                      "TensorRT engines cannot be built on this machine, but on the board",
                      "./deploy.sh push USER@BOARD --bundle FILE.ehar --key KEY.pub --backend trt --precision fp16"),
    "power": Task(lambda finding: _in("power", "container", "clocks")(finding) or finding.subject == "jetson-stats",
                  [_is_rail], "no power meter works on this machine; log a wall meter beside it",
                  "edgehar bench ENGINE --power replay:path=FILE.csv,clock=unix"),
}


def lacks(found: Sequence[Finding], name: str) -> str:
    """"" where the job `name` can be done, else what keeps it from that; its remedy helps."""
    task = TASKS[name]
    missing = [group for group in task.any_of if not any(group(each) and each.state != MISSING for each in found)]
    return task.lacking if missing else ""


def of_task(found: Sequence[Finding], name: str) -> List[Finding]:
    """The findings that the job `name` rests on."""
    return [each for each in found if TASKS[name].shown(each)]


def remedies(found: Sequence[Finding]) -> List[Tuple[str, str]]:
    """(what and why, remedy) of all that is not in order, equal remedies told once."""
    grouped: Dict[str, List[Finding]] = {}
    for each in found:
        if each.state != OK and each.remedy:
            grouped.setdefault(each.remedy, []).append(each)
    return [("%s: %s" % (", ".join(each.subject for each in group), group[0].detail), remedy)
            for remedy, group in grouped.items()]
