"""`edgehar verify`: does an engine still do what the trained model did?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

import click

from edgehar.cli._options import engine_options, head_option, json_option, root_option, spec_option

if TYPE_CHECKING:
    from edgehar.artifact.golden import Comparison
    from edgehar.backends.base import Engine
    from edgehar.bench.fidelity import Fidelity

SECTION = "Run"


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@engine_options()
@head_option("Also check this head: its bytes, its base, its signature, and the features that it is fed.")
@click.option("--part", type=click.Choice(["valid", "test"]), help="Score it also in macro-F1 on these subjects of its "
              "split, against the trained model.  [default: test, where --max-drop is given]")
@click.option("--max-drop", type=click.FloatRange(0, 1), metavar="F1", help="Exit with 3 where it loses more macro-F1 "
              "than this, e.g. 0.005.")
@click.option("--min-agreement", type=click.FloatRange(0, 1), metavar="SHARE", help="Exit with 3 where fewer windows "
              "than this share get the same label, e.g. 0.99.")
@click.option("--against", metavar="ENGINE_OR_ARTIFACT", type=click.Path(), help="What it is scored against.  "
              "[default: its artifact in fp32 on the CPU]")
@spec_option("datasets", "--data", metavar="CORPUS",
             help="Corpus with the labels.  [default: the one the model was trained on]")
@root_option()
@json_option("the comparison as JSON")
def command(path: str, backend: Optional[str], precision: Optional[str], head: Optional[str], part: Optional[str],
            max_drop: Optional[float], min_agreement: Optional[float], against: Optional[str], data: Optional[str],
            root: Optional[str], as_json: bool) -> None:
    """Check every byte of an engine, then replay its golden inputs and compare the logits.

    With --part it is also scored on labelled windows beside the trained model: macro-F1 of both, and their difference
    with its interval over subjects. Exit 6 where a byte was changed or the machine is another, 3 where outputs differ
    or a bound is not kept.

    \b
    edgehar verify engines/student --precision int8 --max-drop 0.005 --min-agreement 0.98
    """
    from edgehar.backends import BACKENDS, ready_engine
    from edgehar.artifact.golden import require_passed
    from edgehar.bench.fidelity import fidelities, labelled_windows, reference_of, require_faithful
    from edgehar.cli._show import progress_line, show_next, show_warnings

    part = part or ("test" if max_drop is not None else None)
    with progress_line() as on_progress:
        engine = ready_engine(path, backend, precision, on_progress)
    runner = BACKENDS.create(engine.backend)
    comparisons = runner.verify(engine)
    show_warnings(runner.warnings(engine))
    scored: List[Fidelity] = []
    if part:
        reference = reference_of(engine, against or (path if Path(path).resolve() != engine.folder.resolve() else None))
        scored = fidelities(engine, reference, labelled_windows(engine, part, data, root))
    _show(engine, comparisons, scored, as_json)
    require_passed(comparisons, engine.spec.precision, "the engine at %s" % engine.folder)
    show_warnings(require_faithful(scored, comparisons, max_drop, min_agreement, "the engine at %s" % engine.folder))
    told = _checked(engine, head) if head else ""
    if not as_json:
        if told:
            click.echo(told)
        show_next("edgehar bench %s" % shlex.quote(str(engine.folder)))


def _checked(engine: Engine, head: str) -> str:
    """What a head is, once it is sure that it fits the engine."""
    from edgehar.deploy.personalising import head_for, signed_by
    from edgehar.deploy.signing import trusted_folder
    from edgehar.stream.personal import require_features

    found = head_for(head, engine.manifest)
    require_features(engine)
    known = bool(list(trusted_folder().glob("*.pub")))
    signed = "not signed" if not found.signature else (
        "signed by %s, which is trusted here" % signed_by(found) if known else "signed, by nobody who is trusted here")
    return "head of %s, made %s: fits, %s" % (found.wearer, found.created, signed)


def _show(engine: Engine, comparisons: Sequence[Comparison], scored: Sequence[Fidelity], as_json: bool) -> None:
    from edgehar.cli._show import marked, show_comparisons, show_json, show_table

    if as_json:
        show_json(_facts(comparisons, scored))
        return
    title = marked("%s on %s in %s" % (engine.manifest.name, engine.backend, engine.spec.precision),
                   engine.manifest.data)
    show_comparisons(title, comparisons)
    if scored:
        show_table("against the trained model, %s subjects" % scored[0].part, (
            "task", "macro-F1", "trained", "difference [95 % over subjects]", "argmax agreement", "subjects",
            "windows"), [
                (each.task, "%.3f" % each.macro_f1, "%.3f" % each.reference_f1,
                 "%+.3f [%+.3f, %+.3f]" % each.difference, "%.1f %%" % (100 * each.agreement), each.people,
                 each.windows) for each in scored])


def _facts(comparisons: Sequence[Comparison], scored: Sequence[Fidelity]) -> List[Dict[str, Any]]:
    """A comparison a task, with what was scored where it was."""
    by_task = {each.task: dict(each._asdict(), difference=each.difference._asdict()) for each in scored}
    return [dict(found._asdict(), **({"scored": by_task[found.task]} if found.task in by_task else {}))
            for found in comparisons]
