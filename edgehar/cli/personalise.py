"""`edgehar personalise`: a last layer of one's own, fitted on the device to a few recorded minutes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence

import click

from edgehar.cli._options import engine_options, json_option, root_option, spec_option
from edgehar.cli._show import names_in_room, progress_line, show_json, show_next, show_table
from edgehar.cli._streaming import Sparing, open_source

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Manifest
    from edgehar.data.signals import Recording
    from edgehar.deploy.personalising import Personalised
    from edgehar.stream.enrolling import Labeller

SECTION = "Run"


class Wearing(NamedTuple):
    """One wearing: where its samples come from and the file of its labels; None where the wearer is guided."""

    source: str
    labels: Optional[str]


@click.command()
@click.argument("path", metavar="ENGINE_OR_ARTIFACT", type=click.Path())
@spec_option("sources", "--source", "sources", multiple=True, metavar="SPEC",
             help="Where the samples of the enrolment come from (%s). Repeatable: one for each wearing."
             % names_in_room("sources"))
@root_option()
@click.option("--labels", multiple=True, metavar="FILE.csv", type=click.Path(),
              help="What was done when: start_s,end_s,label in the clock of the source. One for each --source.")
@click.option("--guided", is_flag=True, help="Instead of --labels: tells the wearer what to do, by the samples of a "
              "live source.")
@click.option("--classes", default="", metavar="NAME,NAME,...",
              help="With --guided: what is asked for.  [default: all]")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=20.0, show_default=True,
              help="With --guided: of each class, after 3 s to change over.")
@spec_option("personalisers", "--method", default="map", show_default=True, metavar="SPEC",
             help="How the last layer is fitted (%s), e.g. map:strength=1; NAME:help tells of one." % (
                 names_in_room("personalisers")))
@click.option("--task", default="", metavar="NAME", help="What is personalised.  [default: the first of the model]")
@click.option("--wearer", default="", metavar="NAME", help="Whose head it is.  [default: the name of the file]")
@click.option("--key", type=click.Path(), metavar="NAME.key", help="Sign the head with this key.")
@click.option("--fold", "head", type=click.Path(), metavar="HEAD",
              help="Instead of an enrolment: make an artifact of its own of this head and its base.")
@engine_options()
@click.option("-o", "output", required=True, type=click.Path(), metavar="FILE",
              help="Where the head goes; with --fold the folder of the new artifact.")
@json_option()
def command(path: str, sources: Sequence[str], root: Optional[str], labels: Sequence[str], guided: bool, classes: str,
            seconds: float, method: str, task: str, wearer: str, key: Optional[str], head: Optional[str],
            backend: Optional[str], precision: Optional[str], output: str, as_json: bool) -> None:
    """Fit a student's last layer to one subject, from a few minutes that were recorded for it (the enrolment).

    The head is a small file beside a base that stays as it is. It is written only where a held-back half of the
    enrolment says that it is better than the base: exit 3 where it is not, 8 where too little was recorded to tell.
    Nothing is trained and nothing leaves this machine.

    \b
    Examples:
      edgehar personalise engines/wisdm-watch-s --source csv:path=anna.csv --labels anna-labels.csv -o anna
      edgehar personalise engines/wisdm-watch-s --source mqtt:topic=wearers/anna/samples --guided \\
          --classes walking,sitting,standing,stairs -o anna
      edgehar run engines/wisdm-watch-s --head anna --source csv:path=later.csv
      edgehar personalise engines/wisdm-watch-s --fold anna -o engines/watch-anna
    """
    if head is not None:
        _fold(path, head, output, as_json)
        return
    sessions = _sessions(sources, labels, guided)
    fitted = _fitted(path, sessions, root, (classes, seconds), method, task, wearer or Path(output).name, backend,
                     precision, output, key, as_json)
    if as_json:
        show_json(dict(fitted.head.enrolment, head=output, wearer=fitted.head.wearer, sha256=fitted.head.sha256,
                       base=fitted.head.base, signed=bool(fitted.head.signature)))
        return
    _show(fitted, output)
    show_next("edgehar run %s --head %s --source %s" % (shlex.quote(path), shlex.quote(output),
                                                        shlex.quote(sessions[0].source)))


def _sessions(sources: Sequence[str], labels: Sequence[str], guided: bool) -> List[Wearing]:
    if not sources:
        raise click.UsageError("an enrolment needs samples; add --source csv:path=FILE or another, or --fold a head")
    if guided == bool(labels):
        raise click.UsageError("say what was done: either --labels FILE.csv for each --source, or --guided")
    if labels and len(labels) != len(sources):
        raise click.UsageError("each --source needs its own --labels, in the same order")
    files: List[Optional[str]] = list(labels) or [None] * len(sources)
    return [Wearing(*each) for each in zip(sources, files)]


def _fitted(path: str, sessions: Sequence[Wearing], root: Optional[str], program: Any, method: str, task: str,
            wearer: str, backend: Optional[str], precision: Optional[str], output: str, key: Optional[str],
            quiet: bool) -> Personalised:
    """Record, fit, judge and write."""
    from edgehar.artifact.personalisers import PERSONALISERS
    from edgehar.backends import BACKENDS, ready_engine
    from edgehar.deploy.personalising import personal_head, signed_with
    from edgehar.probes import probe_file
    from edgehar.stream.enrolling import enrolled_by
    from edgehar.stream.personal import require_features

    probe_file(output)
    PERSONALISERS.create(method)
    with progress_line() as on_progress:
        engine = ready_engine(path, backend, precision, on_progress)
    require_features(engine)
    manifest = engine.manifest
    task = _task(task, manifest)
    recordings = [each for number, session in enumerate(sessions)
                  for each in _recorded(session, str(number), manifest, root, program, task, wearer, quiet)]
    with BACKENDS.create(engine.backend).open_features(engine) as opened:
        enrolled = enrolled_by(opened, manifest.signal, recordings, task)
        fitted = personal_head(engine, opened, enrolled, task, method, wearer)
    fitted = fitted._replace(head=signed_with(fitted.head, key))
    fitted.head.write(output)
    return fitted


def _task(asked: str, manifest: Manifest) -> str:
    from edgehar.errors import InputError

    if asked and asked not in manifest.tasks:
        raise InputError("%s decides no '%s'; it decides: %s." % (manifest.name, asked, ", ".join(manifest.tasks)))
    return asked or next(iter(manifest.tasks))


def _recorded(session: Wearing, number: str, manifest: Manifest, root: Optional[str], program: Any, task: str,
              wearer: str, quiet: bool) -> List[Recording]:
    from edgehar.stream.enrolling import stretches_of
    from edgehar.stream.feed import Feed, weigh

    names, tell = manifest.tasks[task], Sparing()
    labeller = _labeller(session, names, program, quiet)
    with open_source(session.source, manifest, root, tell) as origin:
        feed = weigh(Feed(origin, manifest.signal, tell=tell), manifest.signal, tell)
        return stretches_of(feed, manifest.signal, labeller, task, names, wearer, number)


def _labeller(session: Wearing, names: Sequence[str], program: Any, quiet: bool) -> Labeller:
    from edgehar.stream.enrolling import Marked, Program, class_choice, read_marks

    if session.labels is not None:
        return Marked(read_marks(session.labels, names))
    return Program(class_choice(program[0], names), program[1], tell=lambda text: click.echo(text, err=True))


def _show(fitted: Personalised, output: str) -> None:
    facts, verdict = fitted.head.enrolment, fitted.verdict
    seconds: Dict[str, float] = facts["seconds"]
    show_table("%s: head of %s for %s" % (output, fitted.head.wearer, fitted.head.base), ("class", "enrolled s"),
               [(name, "%.1f" % each) for name, each in seconds.items()])
    click.echo("on the held-back halves (%d windows): %.0f %% right, the base %.0f %%" % (
        verdict.windows, 100 * verdict.after, 100 * verdict.before))
    click.echo("fitted by %s to %d windows of %d wearing%s%s" % (
        facts["method"], facts["windows"], facts["wearings"], "" if facts["wearings"] == 1 else "s",
        ", signed" if fitted.head.signature else ""))
    if facts["wearings"] == 1:
        click.echo("it knows how the sensor sat this once: enrol again, or several wearings, where it is worn again")


def _fold(path: str, head: str, folder: str, as_json: bool) -> None:
    """An artifact of its own of a head and its base."""
    from edgehar.artifact.manifest import Artifact
    from edgehar.artifact.merging import merge
    from edgehar.deploy.personalising import head_for

    artifact = Artifact.load(path)
    made = merge(artifact, head_for(head, artifact.manifest), folder, Path(folder).resolve().name)
    if as_json:
        show_json({"artifact": folder, "name": made.manifest.name, "sha256": made.sha256})
        return
    click.echo("artifact %s: %s with the head of %s" % (
        made.manifest.name, artifact.manifest.name, made.manifest.training["personal"]["wearer"]))
    show_next("edgehar build %s" % shlex.quote(folder))
