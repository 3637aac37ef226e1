"""`edgehar build`: an artifact becomes an engine of this machine."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Optional

import click

from edgehar.cli._options import building_options, json_option, target_option

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Artifact
    from edgehar.backends.base import Engine
    from edgehar.backends.base import Backend

SECTION = "Run"
AUTO, TURNS = "auto", 20


@click.command()
@click.argument("artifact_folder", metavar="ARTIFACT", type=click.Path())
@building_options("trt:batch=1+64,calibrator=minmax; auto: the fastest here that verifies")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of a CPU engine.")
@click.option("-o", "folder", type=click.Path(), metavar="ENGINE",
              help="Where the engine goes; default ARTIFACT/built/BACKEND-PRECISION.")
@click.option("--rebuild", is_flag=True, help="Build anew even where an engine is up to date.")
@target_option("Tell first what stands in the way there, layer by layer; nothing is built where it cannot run.")
@json_option("the engine's facts as JSON")
def command(artifact_folder: str, backend: str, precision: Optional[str], threads: int, folder: Optional[str],
            rebuild: bool, target: Optional[str], as_json: bool) -> None:
    """Build an engine from ARTIFACT for this machine and replay its golden inputs.

    An engine that does not reproduce them within the artifact's tolerance is not kept
    (exit 3). One that is up to date is not built again.
    """
    from edgehar.artifact.manifest import Artifact
    from edgehar.backends import BACKENDS
    from edgehar.probes import probe_folder
    from edgehar.cli._show import marked, show_comparisons, show_json, show_next, show_warnings

    if folder:
        probe_folder(folder)
    artifact = Artifact.load(artifact_folder)
    if target:
        _require_fit(artifact, target)
    builder = BACKENDS.create(_fastest(artifact, precision) if backend == AUTO else backend)
    engine = _engine(artifact, builder, precision or builder.default_precision, threads, folder, rebuild)
    show_warnings(builder.warnings(engine))
    if as_json:
        show_json(engine.to_json())
        return
    show_comparisons(marked("engine %s" % engine.folder, artifact.manifest.data), builder.verify(engine))
    for sentence in builder.report(engine):
        click.echo(sentence)
    show_next("edgehar bench %s" % shlex.quote(str(engine.folder)))


def _fastest(artifact: Artifact, precision: Optional[str]) -> str:
    """The backend that answers a window fastest here of those whose engine verifies; said on stderr."""
    from edgehar.backends import BACKENDS
    from edgehar.bench.runtimes import compare_runtimes
    from edgehar.cli._show import progress_line
    from edgehar.errors import MissingError

    with progress_line() as tell:
        found = compare_runtimes(artifact, (), [precision] if precision else (), (1,), turns=TURNS, tell=tell)
    usual = [each for each in found.candidates
             if precision or each.precision == BACKENDS.create(each.backend).default_precision]
    best = found._replace(candidates=usual).fastest(1)
    if best is None:
        raise MissingError("no backend here runs it (%s)." % "; ".join(
            "%s: %s" % (each.backend, each.failure.rstrip(".")) for each in usual))
    click.echo("%s is the fastest here of: %s" % (best.backend, ", ".join(
        each.backend for each in usual if not each.failure)), err=True)
    return best.backend


def _require_fit(artifact: Artifact, target: str) -> None:
    """Tell on stderr what runs elsewhere on `target`. Raises InputError where a layer cannot run there."""
    from edgehar.artifact.operators import read_graph
    from edgehar.artifact.targets import TARGETS, hindrances, require_none, run_elsewhere

    found = hindrances(read_graph(artifact.onnx_path), target)
    require_none(found, target, "the graph of %s" % artifact.folder)
    for sentence in run_elsewhere(found, target) or ["every layer of it runs on %s" % TARGETS[target].title]:
        click.echo(sentence, err=True)


def _engine(artifact: Artifact, builder: Backend, precision: str, threads: int, folder: Optional[str],
            rebuild: bool) -> Engine:
    """The engine that is up to date, said so, or a new one, with signs of life while it is built."""
    from pathlib import Path

    from edgehar.backends import built_folder, up_to_date
    from edgehar.backends.base import BuildSpec
    from edgehar.cli._show import progress_line
    from edgehar.errors import MismatchError

    spec = BuildSpec(precision, threads, builder.options)
    place = Path(folder or built_folder(artifact.folder, builder.name, precision, spec.options))
    try:
        ready = None if rebuild else up_to_date(artifact, spec, place, builder)
    except MismatchError:  # damaged: a build is the remedy
        ready = None
    if ready is not None and ready.spec == spec:
        click.echo("%s is up to date; --rebuild builds it anew." % place, err=True)
        return _to_be_run_as(ready, builder)
    with progress_line() as on_progress:
        builder.on_progress = on_progress
        return builder.build(artifact, spec, place)


def _to_be_run_as(engine: Engine, builder: Backend) -> Engine:
    """`engine`, which remembers from now on how it was asked to be run."""
    asked = engine.run_as(builder.running)
    if asked.running != engine.running:
        asked.write_sidecar()
    return asked
