"""`edgehar install`: a bundle becomes the verified engine of this machine."""

from __future__ import annotations

import shlex
from typing import Optional, Sequence

import click

from edgehar.cli._options import building_options, json_option

SECTION = "Deploy"


@click.command()
@click.argument("file", metavar="FILE.ehar", type=click.Path())
@click.option("--to", "place", type=click.Path(), metavar="DIR",
              help="Where versions of it are kept.  [default: ~/.local/share/edgehar/NAME]")
@click.option("--key", "keys", multiple=True, type=click.Path(), metavar="NAME.pub",
              help="Whose signature counts; repeatable.  [default: every .pub in ~/.config/edgehar/trusted]")
@click.option("--unsigned", is_flag=True, help="Ask for no signature; bytes are still checked against each other.")
@building_options("trt on a Jetson")
@click.option("--require", "limits_file", type=click.Path(), metavar="FILE.toml",
              help="Refuse a bundle whose certificate, of `edgehar robust`, does not keep these limits.")
@click.option("--allow-downgrade", is_flag=True, help="Accept a version that is not above the one that is installed.")
@json_option("what is current now as JSON")
def command(file: str, place: Optional[str], keys: Sequence[str], unsigned: bool, backend: str,
            precision: Optional[str], limits_file: Optional[str], allow_downgrade: bool, as_json: bool) -> None:
    """Verify the bundle FILE.ehar, build its engine for this machine, and make it current.

    The signature and every byte are checked before anything is written. Then the engine
    is built and must reproduce the golden outputs; only then DIR/current is switched to
    it, at once. Else it is refused (exit 6) and what was current stays so. The version
    before is kept for `edgehar rollback`. The same line again changes nothing.

    \b
    Examples:
      edgehar install student-1.0.0.ehar --key keys/release.pub
      edgehar install student-1.1.0.ehar --backend trt --precision int8 --json
      edgehar install student-1.1.0.ehar --require robust.toml
      edgehar run ~/.local/share/edgehar/student/current --source csv:path=watch.csv
    """
    from edgehar.backends import BACKENDS
    from edgehar.deploy.bundle import read_bundle
    from edgehar.cli._show import marked, progress_line, show_json, show_next, show_warnings
    from edgehar.deploy.installation import default_place, install
    from edgehar.deploy.requirements import require_certified
    from edgehar.deploy.signing import trusted_keys
    from edgehar.results.limits import Limits

    if keys and unsigned:
        raise click.UsageError("say either --key NAME.pub or --unsigned.")
    limits = Limits.load(limits_file) if limits_file else None
    bundle = read_bundle(file, None if unsigned else trusted_keys(keys))
    builder = BACKENDS.create(backend)
    if limits is not None:
        show_warnings(require_certified(bundle, limits, precision or builder.default_precision))
    with progress_line() as on_progress:
        builder.on_progress = on_progress
        outcome = install(bundle, place or default_place(bundle.facts["name"]), builder, precision, allow_downgrade)
    show_warnings(builder.warnings(outcome.engine))
    if as_json:
        show_json(outcome.to_json())
        return
    click.echo(marked(outcome.describe(), outcome.engine.manifest.data))
    show_next("edgehar run %s --source sample" % shlex.quote(str(outcome.current)))
