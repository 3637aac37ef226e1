"""What the field does to a service: long chunks, sinks that take nothing, crowds of clients, no descriptors left."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from edgehar.deploy import outlets, pages
from edgehar.deploy.descriptors import Reserve
from edgehar.deploy.health import Health
from edgehar.deploy.notify import Manager
from edgehar.deploy.outlets import Outlet, end_all
from edgehar.deploy.pages import Pages
from edgehar.deploy.service import Service
from edgehar.deploy.state import ServiceState, StateFile
from edgehar.errors import InputError
from edgehar.files import UnopenedError
from edgehar.stream.sinks.base import NotTaken, Sink
from edgehar.stream.sinks.jsonl import Jsonl
from edgehar.stream.sources.base import Chunk
from tests.broker import until
from tests.deploy.test_service import Given, chunks, recipe, served  # noqa: F401
from tests.linear import SIGNAL, decision, noise, same, stream


class Kinds(Sink):
    """Keeps what it is given, unless `refusal` is set: then it raises that."""

    def __init__(self, refusal=None) -> None:
        self.refusal, self.taken, self.tries = refusal, [], 0

    def write(self, decision):
        self.tries += 1
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(decision)


# ------------------------------------------------------------------ sinks are independent


def test_a_sink_that_takes_nothing_costs_the_others_nothing(recipe, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("edgehar.deploy.service.SETTLE_S", 0.2)
    monkeypatch.setattr(outlets, "END_S", 0.2)
    pipe, state = str(tmp_path / "pipe"), tmp_path / "state.json"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # and never reads
    stuck, well = Jsonl(pipe), Kinds()
    wanted = stream(hold=3).push(noise(2000), 0.0)
    health, told = served(recipe, Given(chunks(0, 2000)), state, [stuck, well])
    assert health.decisions == len(wanted) == len(well.taken) and same(well.taken, wanted)
    kept = ServiceState.load(state)
    waiting, dropped = kept.sinks["sink 1 (jsonl)"]
    assert kept.sinks["sink 2 (kinds)"] == (0, 0) and 0 < waiting + dropped < len(wanted)
    os.close(reader)
    stuck.close()
    again = Service(recipe, recipe.load(), [Kinds(), Kinds()], Health(10.0), Manager({}), state, told.append)
    again.outlets[0].name = "sink 1 (jsonl)"
    source = Given(chunks(2000, 2100))
    again.run(source.samples(), source)
    again.close()
    assert again.outlets[0].dropped == waiting + dropped  # what died with the process is counted after the restart
    assert ServiceState.load(state).sinks["sink 1 (jsonl)"] == (0, waiting + dropped)


def test_what_waited_when_a_service_was_killed_is_counted_by_the_next(recipe, tmp_path):  # noqa: F811
    state = tmp_path / "state.json"
    served(recipe, Given(chunks(0, 100)), state)
    StateFile(state).save(ServiceState.load(state)._replace(sinks={"sink 1 (kinds)": (3, 1), "sink 9 (gone)": (2, 2)}))
    service, told = Service(recipe, recipe.load(), [Kinds()], Health(10.0), Manager({}), state), []
    service._tell = told.append
    service.run(iter(chunks(100, 200)), Given(()))
    service.close()
    assert "up to 5 decisions that waited to be sent are lost" in told[0] and service.outlets[0].dropped == 4
    assert ServiceState.load(state).sinks == {"sink 1 (kinds)": (0, 4)}


def test_a_sink_is_tried_again_where_its_disk_was_full_and_given_up_on_where_a_decision_is_its_fault(monkeypatch):
    monkeypatch.setattr(outlets, "RETRY_S", 0.01)
    for refusal, kept in ((InputError("disk full"), 1), (NotTaken("no reader"), 1), (ZeroDivisionError("plug-in"), 0)):
        sink = Kinds(refusal)
        outlet = Outlet("sink", sink)
        outlet.put(decision(time_s=1))
        until(lambda sink=sink: sink.tries, "it is tried")
        until(lambda outlet=outlet: outlet.problem, "it has a problem")
        assert str(refusal) in outlet.problem and not outlet.gone
        sink.refusal = None
        outlet.put(decision(time_s=2))
        until(lambda outlet=outlet: not outlet.waiting, "all is handed over")
        assert [each.time_s for each in sink.taken] == [1, 2][1 - kept:]
        assert (outlet.dropped, outlet.problem) == (1 - kept, "")
        outlet.end()


def test_a_queue_is_bounded_and_gives_up_its_oldest():
    sink = Kinds(NotTaken("no reader"))
    outlet = Outlet("sink", sink, depth=3)
    outlet.put(decision(time_s=0))
    until(lambda: sink.tries, "the first is in hand")
    for number in range(1, 8):
        outlet.put(decision(time_s=number))
    assert (outlet.waiting, outlet.dropped) == (4, 4)
    sink.refusal = None
    until(lambda: not outlet.waiting, "the rest is handed over")
    assert [each.time_s for each in sink.taken] == [0, 5, 6, 7]
    outlet.end()
    outlet.put(decision())
    assert outlet.dropped == 5


def test_what_never_left_is_given_up_at_the_end_in_bounded_time():
    sink = Kinds(NotTaken("no reader"))
    outlet = Outlet("sink", sink)
    for number in range(5):
        outlet.put(decision(time_s=number))
    until(lambda: outlet.problem, "it is late")
    end_all([outlet])
    assert (outlet.waiting, outlet.dropped) == (0, 5)


def test_it_ends_when_the_readers_of_all_sinks_have_gone(recipe):  # noqa: F811
    gone = Kinds(BrokenPipeError())
    health, _ = served(recipe, Given(chunks(0, 200)), None, [gone, Kinds()])
    assert health.decisions == 37
    service = Service(recipe, recipe.load(), [Kinds(BrokenPipeError())], Health(10.0), Manager({}))
    source = Given(chunks(0, 200))
    with pytest.raises(BrokenPipeError):
        service.run(source.samples(), source)
    assert service.outlets[0].gone and service.outlets[0].dropped == 1
    service.close()


# ------------------------------------------------------------------ long chunks, poisoned chunks


def test_a_long_chunk_is_decided_piece_by_piece_and_a_stop_is_seen_in_between(recipe, tmp_path):  # noqa: F811
    state, samples, counted = tmp_path / "state.json", noise(20000), []

    class Stopping(Sink):
        def write(self, decision):
            counted.append(decision)
            if len(counted) == 50:
                service._stopping = True  # as the signal's handler does on the main thread

    service = Service(recipe, recipe.load(), [Stopping()], Health(10.0), Manager({}), state)
    receipts = []

    def source():
        yield Chunk(samples, 0.0)
        receipts.append("taken")

    service.run(source(), Given(()))
    service.close()
    assert 50 <= len(counted) <= 50 + 2 * 32 and not receipts
    end_s = ServiceState.load(state).stream.end_s
    rest = int(round(50 * end_s)) + 1
    health, _ = served(recipe, Given([Chunk(samples[rest:], rest / 50)]), state, [Stopping()])
    assert same(counted, stream(hold=3).push(samples, 0.0)) and health.gaps == 0


def test_pieces_carry_all_that_belongs_to_their_samples():
    from edgehar.deploy.service import _pieces

    chunk = Chunk(noise(1000), 7.0, np.arange(1000) / 50, begins=True, arrived_s=3.0)
    cut = list(_pieces(chunk, stream()))
    assert [piece.begins for piece in cut] == [True] + [False] * (len(cut) - 1) and len(cut) == 7
    assert (np.concatenate([piece.samples for piece in cut]) == chunk.samples).all()
    assert (np.concatenate([piece.times_s for piece in cut]) == chunk.times_s).all()
    assert [piece.time_s for piece in cut] == pytest.approx([7.0 + 160 / 50 * number for number in range(7)])
    assert [len(piece.samples) for piece in _pieces(Chunk(noise(0), 0.0), stream())] == [0]


def test_a_chunk_that_no_one_knows_how_to_refuse_is_set_aside_and_a_broken_engine_is_not(recipe, monkeypatch):  # noqa: F811
    given = chunks(0, 300)
    given[20] = given[20]._replace(samples=np.full((5, 3), "x"))  # a fault of whoever made it
    given[40] = given[40]._replace(time_s=1e308)
    health, told = served(recipe, Given(given))
    assert health.refused == 2 and health.decisions > 40 and len([line for line in told if "refused" in line]) == 2
    loaded = recipe.load()
    monkeypatch.setattr(loaded.session, "launch", lambda count, slot=0: 1 / 0)
    service = Service(recipe, loaded, [], Health(10.0), Manager({}))
    with pytest.raises(ZeroDivisionError):
        service.run(iter(chunks(0, 300)), Given(()))
    service.close()


# ------------------------------------------------------------------ the state


def test_two_services_do_not_keep_one_state(recipe, tmp_path):  # noqa: F811
    state = tmp_path / "state.json"
    (tmp_path / "link.json").symlink_to(state)
    with StateFile(state).alone():
        for path in (state, tmp_path / "link.json"):
            with pytest.raises(InputError, match="another service keeps its state in .*; give each a --state"):
                served(recipe, Given(chunks(0, 100)), path)
        assert served(recipe, Given(chunks(0, 100)), tmp_path / "other.json")[0].decisions == 17
    assert served(recipe, Given(chunks(0, 100)), state)[0].decisions == 17


def test_what_killed_services_left_of_the_state_is_swept(recipe, tmp_path):  # noqa: F811
    state = tmp_path / "state.json"
    line = ("import os\nfrom edgehar.files import written_whole\n"
            "with written_whole(%r, durable=False): os.kill(os.getpid(), 9)" % str(state))
    for _ in range(2):
        subprocess.run([sys.executable, "-c", line], env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
    assert len(list(tmp_path.glob(".state.json.*.part"))) == 2
    served(recipe, Given(chunks(0, 100)), state)
    assert sorted(path.name for path in tmp_path.iterdir() if "state" in path.name) == [
        ".state.json.lock", "state.json"]


def test_a_state_that_cannot_be_opened_is_neither_damaged_nor_replaced(recipe, tmp_path):  # noqa: F811
    state = tmp_path / "state.json"
    served(recipe, Given(chunks(0, 100)), state)
    before = state.read_bytes()
    service = Service(recipe, recipe.load(), [], Health(10.0), Manager({}), state)
    with service._state.alone(), no_descriptors(), pytest.raises(UnopenedError, match="Too many open files; raise"):
        service._take_up(Given(()))
    service.close()
    assert state.read_bytes() == before


@contextmanager
def no_descriptors(spare: int = 0):
    """No more than `spare` files can be opened within."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as held:
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, before[1]))
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
        for _ in range(spare):
            os.close(taken.pop())
        try:
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)


def test_when_descriptors_run_out_state_watchdog_and_health_go_on(recipe, tmp_path):  # noqa: F811
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(5)
    state, told = tmp_path / "state.json", []
    manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000"})
    service = Service(recipe, recipe.load(), [], Health(10.0), manager, state, told.append)
    client = socket.socket()
    client.settimeout(5)
    with Pages(service._health) as shown:
        def source():
            yield from chunks(0, 100)
            kept = ServiceState.load(state).stream.end_s
            with no_descriptors():
                yield from chunks(100, 200)
                client.connect(("127.0.0.1", shown.port))
                client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = client.recv(65536)
                heard.settimeout(0)
                with pytest.raises(BlockingIOError):
                    while True:
                        heard.recv(4096)
                heard.settimeout(5)
                fed = heard.recv(4096), heard.recv(4096)
            assert answer.startswith(b"HTTP/1.0 200") and b'"status": "ok"' in answer
            assert b"STATUS=" in fed[0] + fed[1]
            assert ServiceState.load(state).stream.end_s > kept + 1.9

        service.run(source(), Given(()))
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % shown.port, timeout=5) as answer:
            assert "edgehar_decisions_total 37.0\n" in answer.read().decode()
    service.close()
    client.close()
    heard.close()
    assert not [line for line in told if line.startswith("state: ")]


def test_the_keeper_outlives_whatever_it_meets(recipe):  # noqa: F811
    turns = []

    class Failing(Manager):
        watchdog_s = 0.03

        def __init__(self):
            pass

        def ready(self):
            pass

        stopping = ready

        def feed(self):
            turns.append("feed")
            raise RuntimeError("out of everything")

        def say(self, status):
            raise ValueError("nor this")

    def source():
        for chunk in chunks(0, 100):
            seen = len(turns)
            yield chunk
            if chunk.time_s > 1:
                until(lambda seen=seen: len(turns) > seen, "the keeper comes again")

    service = Service(recipe, recipe.load(), [], Health(10.0), Failing(), None, lambda sentence: 1 / 0)
    service.run(source(), Given(()))
    service.close()
    assert len(turns) > 3


def test_a_reserve_is_there_when_nothing_else_is():
    reserve = Reserve(2)
    with no_descriptors():
        for _ in range(3):
            with reserve.spent():
                os.close(os.open(os.devnull, os.O_RDONLY)), os.close(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(OSError):
                os.open(os.devnull, os.O_RDONLY)
    reserve.close()


# ------------------------------------------------------------------ crowds of clients


def test_a_hundred_clients_that_say_nothing_keep_nobody_out():
    before = len(os.listdir("/proc/self/fd"))
    with Pages(Health(5.0)) as shown, ExitStack() as crowd:
        for _ in range(100):
            crowd.enter_context(socket.create_connection(("127.0.0.1", shown.port)))
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % shown.port, timeout=5) as answer:
            assert answer.status == 200
        until(lambda: len(os.listdir("/proc/self/fd")) <= before + 100 + 2 * pages.MOST, "the crowd is bounded")
        assert len([thread for thread in threading.enumerate() if "process_request" in thread.name]) <= 2 * pages.MOST


def test_a_client_that_speaks_slowly_is_ended(monkeypatch):
    monkeypatch.setattr(pages, "LONGEST_S", 0.3)
    with Pages(Health(5.0)) as shown, socket.create_connection(("127.0.0.1", shown.port)) as client:
        client.settimeout(5)
        client.sendall(b"GET /health HTTP/1.1\r\n")
        started_s = time.monotonic()
        with pytest.raises(OSError):  # one more header every now and then would go on for ever
            while time.monotonic() - started_s < 10:
                client.sendall(b"X: y\r\n")
                time.sleep(0.05)
        assert time.monotonic() - started_s < 8


def test_garbage_ends_nothing():
    with Pages(Health(5.0)) as shown:
        for garbage in (b"\0" * 70000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff\xfe\r\n\r\n",
                        b"GET /" + b"a" * 70000, b"POST /health HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", shown.port)) as client:
                client.settimeout(5)
                try:
                    client.sendall(garbage)
                    client.recv(100)
                except OSError:
                    pass
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % shown.port, timeout=5) as answer:
            assert answer.status == 200


def test_pages_that_are_closed_at_once_are_closed():
    for _ in range(5):
        Pages(Health(5.0)).close()


def test_the_signal_of_the_tests_is_as_the_pieces_reckon_with():
    assert (SIGNAL.hop, SIGNAL.window) == (5, 16)
