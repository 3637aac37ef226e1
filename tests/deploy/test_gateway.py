"""A gateway in process: what it keeps, what it leaves, and when it goes on in another way."""

from __future__ import annotations

import threading
import time
from typing import List

import pytest

from edgehar.deploy.gateway import Gateway
from edgehar.deploy.health import Health
from edgehar.deploy.journal import Journal, Left
from edgehar.deploy.notify import Manager
from edgehar.deploy.spec import ServeSpec
from edgehar.deploy.wards import WardSpec
from edgehar.errors import InputError
from edgehar.stream.fleet import Fleet
from edgehar.stream.mailbox import Letter, Who
from tests.broker import until
from tests.linear import add_plugins, noise, write_artifact
from tests.stream.test_site import Kept, Letters, message


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """A function that opens a gateway of the linear model, and what it says."""
    add_plugins(monkeypatch)
    artifact = write_artifact(tmp_path / "linear").folder
    closing: List[Gateway] = []

    def open_gateway(said: List[str], sink: Kept, **options) -> Gateway:
        specs = {"": WardSpec(ServeSpec(artifact, "linear", hold=1), 4)}
        wards = {placement: spec.open(measured=False) for placement, spec in specs.items()}
        closing.append(Gateway(specs, wards, Letters(clock=time.monotonic), [sink], Health(5.0), Manager({}),
                               tell=said.append, **options))
        return closing[-1]

    yield open_gateway
    for gateway in closing:
        gateway.stop()
        gateway.close()


def serving(gateway: Gateway) -> threading.Thread:
    thread = threading.Thread(target=gateway.run, daemon=True)
    thread.start()
    return thread


def test_where_steps_fall_behind_it_goes_on_in_whole_windows(opened, monkeypatch):
    said, sink = [], Kept()
    gateway = opened(said, sink)
    old = gateway.site.wards[""].fleet
    monkeypatch.setattr(Fleet, "in_steps", property(lambda fleet: fleet is old))
    thread = serving(gateway)
    for first in range(0, 300, 10):
        if first == 150:
            until(lambda: sink.decisions, "it decides")
            old.dropped[0] += 1
            until(lambda: gateway.site.wards[""].fleet is not old, "it has gone on")
        gateway._source.mailbox.put(Letter(Who("anna"), message(first, noise(300)[first:first + 10]),
                                           time.monotonic()))
    until(lambda: len(sink.decisions) == (300 - 16) // 5 + 1, "all is decided")
    gateway.stop()
    thread.join()
    assert "incremental steps fall behind; it goes on in whole windows" in said[0]


def test_two_gateways_have_no_state_in_common(opened, tmp_path):
    one, other = (opened([], Kept(), state=tmp_path / "site.npz") for _ in range(2))
    thread = serving(one)
    until(lambda: (tmp_path / "site.npz").exists(), "it keeps its state")
    with pytest.raises(InputError, match="another service keeps its state in .*site.npz"):
        other.run()
    one.stop()
    thread.join()


def test_a_journal_gives_back_what_was_whole_and_leaves_what_was_not(tmp_path):
    journal = Journal(tmp_path / "site.npz")
    letters = [Letter(Who("anna", "wrist"), b"one\ntwo", 1.5), Letter(Who("bert"), b"", 2.0)]
    journal.begin(3)
    journal.write(letters, [Left(Who("anna"), 7.25)])
    journal.begin(4)
    journal.write(letters[:1], [])
    journal.close()
    assert list(journal.read(3)) == [*letters, Left(Who("anna"), 7.25), letters[0]] and journal.last() == 4
    with open(str(tmp_path / "site.npz.4"), "r+b") as stream:
        content = stream.read()
        stream.seek(0)
        stream.write(content[:-1] + b"?")
    assert list(journal.read(4)) == []
    journal.forget_before(4)
    assert list(journal.read(0)) == [] and journal.last() == 4
