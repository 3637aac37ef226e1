"""`edgehar build`: an artifact becomes an engine of this machine."""

from __future__ import annotations

from typing import Optional

import click


@click.command()
@click.argument("artifact_folder", metavar="ARTIFACT", type=click.Path())
@click.option("--backend", default="ort", show_default=True, help="What runs it.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of a CPU engine.")
@click.option("-o", "folder", type=click.Path(), metavar="ENGINE",
              help="Where the engine goes; default ARTIFACT/built/BACKEND-PRECISION.")
@click.option("--json", "as_json", is_flag=True, help="Print the engine's facts as JSON.")
def command(artifact_folder: str, backend: str, precision: str, threads: int, folder: Optional[str],
            as_json: bool) -> None:
    """Build an engine from ARTIFACT for this machine and replay its golden inputs.

    An engine that does not reproduce them within the artifact's tolerance is not kept
    (exit 3).
    """
    from edgehar.artifact import Artifact
    from edgehar.backends import BACKENDS, built_folder
    from edgehar.backends.base import BuildSpec
    from edgehar.cli._show import show_comparisons, show_json, show_next

    builder = BACKENDS.create(backend)
    engine = builder.build(Artifact.load(artifact_folder), BuildSpec(precision, threads),
                           folder or built_folder(artifact_folder, backend, precision))
    if as_json:
        show_json(engine.to_json())
        return
    show_comparisons("engine %s" % engine.folder, builder.verify(engine))
    show_next("edgehar bench %s" % engine.folder)
