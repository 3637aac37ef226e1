"""`edgehar verify`: does an engine still do what the trained model did?"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Optional

import click

from edgehar.cli._options import engine_options, head_option, json_option

if TYPE_CHECKING:
    from edgehar.backends.base import Engine

SECTION = "Run"


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@engine_options()
@head_option("Also check this head: its bytes, its base, its signature, and the features that it is fed.")
@json_option("the comparison as JSON")
def command(path: str, backend: Optional[str], precision: Optional[str], head: Optional[str], as_json: bool) -> None:
    """Check every byte of an engine, then replay its golden inputs and compare the logits.

    Exit 6 where a byte was changed or the machine is another, 3 where outputs differ.
    """
    from edgehar.backends import BACKENDS, ready_engine
    from edgehar.artifact.golden import require_passed
    from edgehar.cli._show import marked, progress_line, show_comparisons, show_json, show_next, show_warnings

    with progress_line() as on_progress:
        engine = ready_engine(path, backend, precision, on_progress)
    runner = BACKENDS.create(engine.backend)
    comparisons = runner.verify(engine)
    show_warnings(runner.warnings(engine))
    if as_json:
        show_json([found._asdict() for found in comparisons])
    else:
        title = "%s on %s in %s" % (engine.manifest.name, engine.backend, engine.spec.precision)
        show_comparisons(marked(title, engine.manifest.data), comparisons)
    require_passed(comparisons, engine.spec.precision, "the engine at %s" % engine.folder)
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
