"""A stream that several students share: which decides is for the held label of one task to say."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Callable, Dict, Optional, Sequence, Tuple

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Manifest
    from edgehar.backends.base import Engine
    from edgehar.stream.stream import Route


def open_route(task: Optional[str], students: Sequence[str], chief: Manifest, ready: Callable[[str], Engine],
               opened: ExitStack) -> Optional[Route]:
    """The engines that `students` name as LABEL=PATH, made by `ready` and open until `opened` is closed.

    chief: of the engine that tells the labels of `task`. Raises InputError where one of
    task and students lacks the other, or a label none of the engine's; MismatchError for a
    student that reads another signal or decides between other classes.
    """
    from edgehar.backends import BACKENDS
    from edgehar.errors import InputError
    from edgehar.stream.stream import Route

    if not task and not students:
        return None
    if not task or not students:
        raise InputError("a route needs a task and students for its labels: --route placement --student wrist=ENGINE "
                         "--student pocket=ENGINE.")
    named = dict(_apart(student) for student in students)
    known = chief.tasks.get(task, ())
    strange = next((label for label in named if label not in known), None)
    if strange is not None:
        raise InputError("%s decides %s, and '%s' is no label of '%s'; it has: %s." % (
            chief.name, " and ".join(chief.tasks), strange, task, ", ".join(known) or "none"))
    engines = {label: ready(path) for label, path in named.items()}
    for engine in engines.values():
        _require_stands_in(engine.manifest, chief, task)
    return Route(task, {label: opened.enter_context(BACKENDS.create(engine.backend).open(engine, max_batch=1))
                        for label, engine in engines.items()})


def _apart(student: str) -> Tuple[str, str]:
    from edgehar.errors import InputError

    label, equals, path = student.partition("=")
    if not label or not equals or not path:
        raise InputError("'%s' is no student; write LABEL=ENGINE, as in wrist=engines/wrist." % student)
    return label, path


def _require_stands_in(student: Manifest, chief: Manifest, task: str) -> None:
    """Raise MismatchError where `student` reads another signal, wherever worn, or decides something else."""
    from edgehar.errors import MismatchError

    ours, theirs = _reads(student), _reads(chief)
    unlike = next((what for what in ours if ours[what] != theirs[what]), None)
    if unlike:
        raise MismatchError("%s reads other %s than %s, so it cannot stand in for it (%s against %s); train it on the "
                            "same signal." % (student.name, unlike, chief.name, ours[unlike], theirs[unlike]))
    decided = {each: names for each, names in student.tasks.items() if each != task}
    if not decided or any(chief.tasks.get(each) != names for each, names in decided.items()):
        raise MismatchError("%s decides %s otherwise than %s, so it cannot stand in for it; train it for the same "
                            "classes." % (student.name, " and ".join(decided or student.tasks), chief.name))


def _reads(manifest: Manifest) -> Dict[str, str]:
    signal = manifest.signal
    channels = ", ".join("%s/%s in %s" % (each.kind, each.axis, each.unit) for each in signal.channels)
    return {"channels": channels, "windows": "%d samples at %g Hz" % (signal.window, signal.rate_hz)}
