"""`edgehar demo`: a ready student at work, without recordings and without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import click

from edgehar.cli._options import json_option, speed_option

SECTION = "Run"


@click.command()
@click.option("--seconds", type=click.FloatRange(10, 3600), default=60.0, show_default=True,
              help="How long the generated signal lasts.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which generated signal.")
@speed_option("20", "Times faster than a watch would be.")
@json_option("the decisions as JSON lines, without a chart")
def command(seconds: float, seed: int, speed: Optional[float], as_json: bool) -> None:
    """Watch a ready student recognise a generated signal; needs no data, no training and no PyTorch.

    The student travels with edgehar. The signal is made by a random generator: rest, then
    walking-like, then shaking movement of a wrist. It shows the way from samples to
    decisions at work, and says nothing about accuracy on subjects.
    """
    from tempfile import TemporaryDirectory

    from edgehar.artifact.manifest import Artifact
    from edgehar.backends import BACKENDS
    from edgehar.backends.base import BuildSpec
    from edgehar.cli._ready import as_typed, ready_student

    artifact, builder = Artifact.load(ready_student()), BACKENDS.create("ort")
    with TemporaryDirectory() as folder:  # the package's own folder is left as it was installed
        engine = builder.build(artifact, BuildSpec(builder.default_precision), Path(folder) / "engine")
        with builder.open(engine, max_batch=1) as session:
            _recognise(session, artifact, "sample:seconds=%g,seed=%d" % (seconds, seed), speed, as_json)
    if not as_json:
        from edgehar.cli._show import show_next

        show_next("edgehar bench %s" % as_typed())


def _recognise(session: Any, artifact: Any, spec: str, speed: Optional[float], as_json: bool) -> None:
    import numpy as np

    from edgehar.cli._chart import Chart
    from edgehar.cli._streaming import open_source, stream_marks
    from edgehar.errors import InputError
    from edgehar.stream.pump import pump
    from edgehar.stream.sinks import SINKS
    from edgehar.stream.stream import Stream

    manifest = artifact.manifest
    with open_source(spec, manifest, None) as source:
        chunks = list(source.samples())
    stream = Stream(session, manifest.signal, manifest.tasks, hold=1)
    if not as_json:
        click.echo("%s, trained on %s, reads a GENERATED signal of no person%s" % (
            manifest.name, manifest.data["dataset"], stream_marks(manifest.data, False)))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    with SINKS.create("jsonl:path=-") if as_json else Chart(samples, manifest.signal) as sink:
        summary = pump(chunks, stream, [sink], None if as_json else speed)
    if summary.fault:
        raise InputError(summary.fault)
    if not as_json:
        click.echo("%d decisions on %.0f s of generated signal, computed by this machine's CPU" % (
            summary.decisions, summary.signal_s))
