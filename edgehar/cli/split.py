"""`edgehar split`: who is trained on and who is tested on, audited, as a file."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence

import click

from edgehar.cli._options import json_option, root_option

if TYPE_CHECKING:
    from edgehar.data.corpus import Corpus
    from edgehar.data.parts import Parts

SECTION = "Machine and data"


@click.command()
@click.argument("data", metavar="CORPUS")
@click.option("--protocol", default="own", show_default=True, metavar="SPEC|FILE.json",
              help="own, folds:n=5,fold=1, leave-one-out:person=3, placement-shift:train=A+B,test=C, "
              "session-shift:train=S01*,test=S05*, in-time:person=3 (tested on later, and is marked), paper-random "
              "(leaks, and is marked), or a file this command wrote.")
@root_option()
@click.option("-o", "path", type=click.Path(), metavar="FILE.json", help="Write the split, to train by or to publish.")
@json_option("the split as JSON")
def command(data: str, protocol: str, root: Optional[str], path: Optional[str], as_json: bool) -> None:
    """Divide the people of a corpus by a protocol, and prove that nothing leaks.

    The audit looks at every window: no person as the corpus names them, no raw sample, and
    no copy of samples under another name may be in two parts. Exit 2 where it finds one. The
    hash of the split goes with every training, artifact, engine and result made from it.
    """
    from edgehar.cli._cutting import split_by
    from edgehar.cli._show import at, reading_line, show_json, show_next
    from edgehar.data.corpus import cut_corpus
    from edgehar.errors import InputError
    from edgehar.files import write_json
    from edgehar.probes import probe_file

    if path and not path.endswith(".json"):
        raise InputError("a split is written to a file that ends in .json, not to %s." % path)
    if path:
        probe_file(path)
    with reading_line() as watch:
        corpus = cut_corpus(data, root, split_by(data, root, protocol), watch=watch)
    found = dict(corpus.split.to_json(), sha256=corpus.split.sha256, sessions_at_hand=_sessions(corpus))
    if as_json:
        show_json(found)
    else:
        _show(corpus)
    if path:
        write_json(path, found)
    if as_json:
        return
    show_next("edgehar train --data %s%s --protocol %s -o runs/teacher" % (
        shlex.quote(data), at(root), shlex.quote(path or protocol)))


def _sessions(corpus: Corpus) -> Dict[str, Dict[str, Any]]:
    """{part: {person: sessions}} of all windows."""
    found: Dict[str, Dict[str, Any]] = {}
    for part in corpus.parts.labelled:
        pairs = sorted(set(zip(part.subjects.tolist(), part.sessions.tolist())))
        found[part.part] = {person: [session for other, session in pairs if other == person] for person, _ in pairs}
    return found


def _show(corpus: Corpus) -> None:
    from edgehar.cli._show import show_table
    from edgehar.cli._training import rate_told
    from edgehar.data.copies import EVERY, STRETCH
    from edgehar.data.parts import overlapping
    from edgehar.data.splits import LEAKY, SAME_PEOPLE

    split, parts = corpus.split, corpus.parts
    click.echo(rate_told(corpus.framing.rate_hz, corpus.measured_hz))
    show_table("split '%s' of %s (%s)" % (split.name, split.dataset, split.sha256[:12]),
               ("part", "people", "at hand", "sessions", "windows", "names"),
               [(part.part, len(getattr(split, part.part)), len(set(part.subjects)),
                 len(set(zip(part.subjects, part.sessions))), len(part), " ".join(getattr(split, part.part)))
                for part in parts.labelled])
    if split.leaky:
        share = overlapping(parts.test, parts.train).mean()
        click.echo("%s: %.0f %% of the test windows hold samples that are trained on" % (LEAKY, 100 * share))
    elif split.same_people:
        click.echo("%s: divided in time; audited: no sample of the %d windows, by its place in its recording, is in "
                   "two parts; recordings of one person that share samples are told by edgehar datasets %s --check" % (
                       SAME_PEOPLE, sum(map(len, parts.labelled)), corpus.dataset.name))
    else:
        click.echo("audited: no person as the corpus names them, no sample of the %d windows by its place in its "
                   "recording, and no copy of %d samples (about one stretch in %d was looked at) is in two parts; nor, "
                   "over some hundred samples, one in another unit or resolution, by its first channels" % (
                       sum(map(len, parts.labelled)), STRETCH, EVERY))
    _tell_unlabelled(parts)
    _tell_left_out(corpus)
    _tell_untrained(parts)


def _tell_unlabelled(parts: Parts) -> None:
    """Say what of the people to train on has no label, which `edgehar distill` can learn from."""
    silent = parts.unlabelled
    if silent is not None and len(silent):
        nobody = sorted(set(silent.subjects.tolist()) - set(parts.train.subjects.tolist()))
        click.echo("without a label in train: %d windows%s" % (
            len(silent), "; no label at all have: " + ", ".join(nobody) if nobody else ""))


def _tell_left_out(corpus: Corpus) -> None:
    """Say who is in no part, and which class nobody will be able to read."""
    from edgehar.data.vetting import remarks

    own = corpus.dataset.split().people
    nobody = [name for name in (*own, *corpus.dataset.left_out) if name not in corpus.split.people]
    if nobody:
        click.echo("in no part: %s" % ", ".join(dict.fromkeys(nobody)))
    for part in corpus.parts.labelled:
        there = set(part.subjects) | set(_unlabelled_people(corpus.parts, part.part))
        empty = [name for name in getattr(corpus.split, part.part) if name not in there]
        if empty:
            click.echo("without a window in %s: %s; their recordings are not at hand, shorter than %d samples, or "
                       "without a label" % (part.part, ", ".join(empty), corpus.framing.window))
    for sentence in [*remarks(corpus.dataset.classes), *corpus.remarks]:
        click.echo(sentence)


def _unlabelled_people(parts: Parts, part: str) -> Sequence[str]:
    return parts.unlabelled.subjects.tolist() if part == "train" and parts.unlabelled is not None else ()


def _tell_untrained(parts: Parts) -> None:
    from edgehar.data.signals import UNLABELLED

    for task, names in parts.test.classes.items():
        unknown = sorted(set(parts.test.y[task]) - set(parts.train.y[task]) - {UNLABELLED})
        if unknown:
            click.echo("tested on and never trained on, of %s: %s" % (task, ", ".join(names[k] for k in unknown)))
