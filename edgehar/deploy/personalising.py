"""Enrolment -> a head that its gate let pass, or a refusal that says why the base is kept."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Dict, NamedTuple, Optional, Tuple

from edgehar.artifact.enrolment import Enrolled
from edgehar.artifact.gate import NO_BETTER, TOO_LITTLE, Verdict, judge
from edgehar.artifact.manifest import Manifest
from edgehar.artifact.personal import Head, new_head, load_head
from edgehar.artifact.personalisers import PERSONALISERS
from edgehar.artifact.personalisers.base import Moments
from edgehar.backends.base import Engine, FeatureSession, Session
from edgehar.deploy.signing import signer, trusted_folder, trusted_keys
from edgehar.errors import AccuracyError, InconclusiveError, MismatchError
from edgehar.files import PathLike
from edgehar.stream.enrolling import enrolment_facts, people_moments
from edgehar.stream.personal import open_for

KEPT = "the base is kept and nothing was written"


class Personalised(NamedTuple):
    """A head, and what the held-back halves of the enrolment said of it."""

    head: Head
    verdict: Verdict


def personal_head(engine: Engine, session: FeatureSession, enrolled: Enrolled, task: str, method: str,
                  wearer: str) -> Personalised:
    """The head that `method` makes of all of the enrolment, once its gate let it pass.

    session: of `engine`. Raises InconclusiveError where too little was recorded to hold
    something back, AccuracyError where what was held back says that the head is no better.
    """
    personaliser = PERSONALISERS.create(method)
    people: Optional[Moments] = people_moments(session, engine, task) if personaliser.referred else None
    trained, manifest = session.layers[task], engine.manifest
    verdict = judge(personaliser, trained, enrolled, people)
    facts = dict(enrolment_facts(enrolled, manifest.tasks[task]), method=method, task=task, gate=verdict.to_json())
    _require_passed(verdict, enrolled, manifest, task)
    layer = personaliser.fit(trained, enrolled.features, enrolled.labels, people)
    return Personalised(new_head(manifest, wearer, {task: layer}, facts), verdict)


def head_for(path: PathLike, manifest: Manifest) -> Head:
    """The head in a file, once it is sure that it is of the artifact of `manifest`.

    A signed one must be signed by a key that is trusted here, where any is. Raises as
    `load_head` does, and MismatchError.
    """
    head = load_head(path)
    head.require_base(manifest, path)
    if head.signature and list(trusted_folder().glob("*.pub")) and signed_by(head) is None:
        raise MismatchError("%s is signed by a key that is not trusted here; put its .pub into %s, or take the head of "
                            "someone you trust." % (path, trusted_folder()))
    return head


def open_with(engine: Engine, head: Optional[PathLike], opened: ExitStack) -> Tuple[Session, Dict[str, Any]]:
    """The session of `engine` by the head in a file, where there is one, open as long as `opened`; and what of the head
    is told beside its decisions, as JSON."""
    found = head_for(head, engine.manifest) if head else None
    session = opened.enter_context(open_for(engine, found))
    return session, {} if found is None else {"head": {"wearer": found.wearer, "sha256": found.sha256}}


def signed_by(head: Head) -> Optional[str]:
    """The fingerprint of the trusted key that signed `head`; None without one. Raises InputError where none is
    trusted."""
    return signer(head.signature, head.statement, trusted_keys()) if head.signature else None


def signed_with(head: Head, key: Optional[PathLike]) -> Head:
    """`head`, signed with the private key in a file, where one is given. Raises InputError for another file."""
    from edgehar.deploy.signing import read_private_key

    return head if key is None else replace(head, signature=read_private_key(key).sign(head.statement))


def _require_passed(verdict: Verdict, enrolled: Enrolled, manifest: Manifest, task: str) -> None:
    seconds: Dict[str, Any] = enrolment_facts(enrolled, manifest.tasks[task])["seconds"]
    told = ", ".join("%s %.3g s" % each for each in seconds.items()) or "nothing with a label"
    if verdict.verdict == TOO_LITTLE:
        raise InconclusiveError(
            "too little was recorded to hold a half of it back (%s), and it takes three windows in a row, %.3g s, of "
            "two classes or more; %s: record longer." % (told, 3 * enrolled.window_s, KEPT))
    if verdict.verdict == NO_BETTER:
        raise AccuracyError(
            "a head fitted to one half of this enrolment is not clearly better on the other half: %.0f %% of its %d "
            "windows right, and the base %.0f %%; %s. Check the labels, or record longer." % (
                100 * verdict.after, verdict.windows, 100 * verdict.before, KEPT))
