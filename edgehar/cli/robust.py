"""`edgehar robust`: how far a model can be trusted when a sensor is not as it was in training."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Optional, Sequence

import click

from edgehar.cli._options import engine_options, json_option, quiet_option, root_option, spec_option
from edgehar.cli._show import names_in_room

SECTION = "Measure"


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@engine_options()
@spec_option("datasets", "--data", metavar="CORPUS", help="Corpus of the test subjects; default: that of the training.")
@root_option()
@spec_option("disturbances", "--disturbance", "names", multiple=True, metavar="NAME",
             help="Only these: %s, placement; NAME:help tells of one. Repeatable.  [default: all]" % (
                 names_in_room("disturbances")))
@click.option("--unknown", metavar="CORPUS", help="How sure it is of movements that are none of its classes: those of "
              "this corpus, which may be its own.")
@click.option("--unknown-channels", metavar="PATTERN", default="", help="Sensors of that corpus in the place of the "
              "model's, e.g. placement=right-arm; default: those like them.")
@click.option("--movement", "movements", multiple=True, metavar="NAME", help="Only these classes of that corpus, or "
              "unlabelled. Repeatable.  [default: all that the model has not]")
@click.option("--limits", "limits_file", type=click.Path(), metavar="FILE.toml",
              help="Exit with 3 where one of these limits is not kept.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what chance decides.")
@click.option("--draws", type=click.IntRange(1), default=3, show_default=True,
              help="How often what chance decides is drawn for each subject.")
@click.option("-o", "--output", metavar="FILE.json", type=click.Path(),
              help="Where the certificate goes.  [default: certificate.json beside the manifest]")
@json_option("the certificate as JSON")
@quiet_option("No lines of progress.")
def command(path: str, backend: Optional[str], precision: Optional[str], data: Optional[str], root: Optional[str],
            names: Sequence[str], unknown: Optional[str], unknown_channels: str, movements: Sequence[str],
            limits_file: Optional[str], seed: int, draws: int, output: Optional[str], as_json: bool,
            quiet: bool) -> None:
    """Measure a model on its test subjects with sensors disturbed in every way, and certify what was found.

    Turned, swapped, noisy in time, silent or worn elsewhere: for each the macro-F1 over subjects and what it lost,
    paired over the same subjects; the worst subject, the worst class, and how often the model is right when it is
    sure. The certificate names the artifact by its digest; `edgehar pack` carries it and
    `edgehar install --require FILE.toml` asks for it.

    \b
    Examples:
      edgehar robust engines/student
      edgehar robust engines/student --limits robust.toml --disturbance rotation --disturbance rate-error
    """
    from edgehar.backends import ready_engine
    from edgehar.bench.robustness import certify
    from edgehar.bench.unknown import Unfamiliar
    from edgehar.cli._line import typed_line
    from edgehar.cli._robust_shown import show_breaches, show_certificate
    from edgehar.cli._show import progress_line, show_json
    from edgehar.probes import probe_file
    from edgehar.results.certificate import FILE
    from edgehar.results.limits import Limits, breaches, require_kept

    if not unknown and (movements or unknown_channels):
        raise click.UsageError("--movement and --unknown-channels are of a corpus; name it with --unknown")
    limits = Limits.load(limits_file) if limits_file else None
    _require_known(names)
    target = Path(output or Path(path) / FILE)
    probe_file(target)
    with progress_line() as tell:
        engine = ready_engine(path, backend, precision, tell)
        certificate = certify(engine, dataset=data, root=root, only=names, seed=seed, draws=draws,
                              unknown=Unfamiliar(unknown, unknown_channels, tuple(movements)) if unknown else None,
                              command=typed_line(click.get_current_context()),
                              tell=(lambda text: None) if quiet or as_json else tell)
    certificate.write(target)
    broken = breaches(certificate, limits) if limits else []
    if as_json:
        show_json(dict(certificate.to_json(), breaches=[each._asdict() for each in broken]))
    else:
        show_certificate(certificate)
        show_breaches(limits, broken)
        click.echo("certificate: %s" % target)
    require_kept(broken, certificate.artifact)
    if not as_json:
        _show_next(path, output)


def _require_known(names: Sequence[str]) -> None:
    """Refuse an unknown disturbance before anything is read."""
    from edgehar.bench.disturbances import DISTURBANCES
    from edgehar.results.certificate import PLACEMENT

    for name in names:
        if name != PLACEMENT:
            DISTURBANCES.create(name)


def _show_next(path: str, output: Optional[str]) -> None:
    from edgehar.cli._show import show_next

    show_next("edgehar pack %s --version 1.0.0 --unsigned%s" % (
        shlex.quote(path), " --certificate %s" % shlex.quote(output) if output else ""))
