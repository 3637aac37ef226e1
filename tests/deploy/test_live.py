"""The live page: what it remembers and shows, who may look, and how a browser, a keyboard and a reader get it."""

from __future__ import annotations

import http.client
import json
import math
import socket
import stat
import threading
import time
from dataclasses import replace
from typing import Dict, Iterator, List, Tuple

import numpy as np
import pytest

from edgehar.deploy import live as of_live, live_pages
from edgehar.deploy.live import Live, LiveRow, Subject, LastMinutes, only_wearer
from edgehar.deploy.live_pages import COOKIE, LivePages, is_loopback, token_in
from edgehar.errors import InputError
from edgehar.stream.decision import Decision
from tests.browser import Browser
from tests.linear import SIGNAL, TASKS, decision, noise, stream

TOKEN = "a-token-of-enough-letters"


def worn(wearer: str, label: str, time_s: float = 1.0, begins: bool = False) -> Decision:
    plain = decision(label, time_s, begins=begins)
    return Decision(plain.time_s, dict(plain.label, placement="left"), plain.raw_label, plain.probabilities,
                {"activity": 0.7, "placement": 0.6}, 0.9, 0.04, begins, wearer, "wrist")


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def told(labels: str, hop_s: float = 1.0, steps=None, begins=()) -> List[Tuple[str, float, float]]:
    clock = Hand()
    timeline = LastMinutes("activity", hop_s, clock)
    for number, label in enumerate(labels):
        clock.now_s += (steps or {}).get(number, hop_s)
        timeline.write(worn("anna", label, begins=number in begins))
    return [(each.label, each.from_s - 1000, each.to_s - 1000) for each in timeline.since(("anna", "wrist"), -math.inf)]


# ------------------------------------------------------------------ what is remembered


def test_a_stretch_goes_on_with_its_label_and_ends_at_another_a_gap_or_a_silence():
    assert told("aab") == [("a", 1, 2), ("b", 3, 3)]
    assert told("aaaa", begins=[2]) == [("a", 1, 2), ("a", 3, 4)]
    assert told("aaa", steps={2: 3.5}) == [("a", 1, 2), ("a", 5.5, 5.5)]
    assert told("aaa", steps={2: 2.5}) == [("a", 1, 4.5)]


def test_the_past_is_bounded_in_time_in_number_and_in_wearers(monkeypatch):
    assert told("ab" * 400, hop_s=2.0)[0][1] == 1000 and len(told("ab" * 400, hop_s=0.5)) == of_live.MOST_STRETCHES
    monkeypatch.setattr(of_live, "MOST_WEARERS", 3)
    clock = Hand()
    timeline = LastMinutes("activity", 1.0, clock)
    for name in "abcad":
        clock.now_s += 1
        timeline.write(worn(name, "walk"))
    assert sorted(key[0] for key, *_ in timeline.last()) == ["a", "c", "d"]
    assert [count for key, _, _, count in timeline.last() if key[0] == "a"] == [2]


def test_a_later_picture_has_only_what_went_on_since():
    clock = Hand()
    timeline = LastMinutes("activity", 1.0, clock)
    for label in "aabb":
        clock.now_s += 1
        timeline.write(worn("anna", label))
    assert [each.label for each in timeline.since(("anna", "wrist"), 1002.0)] == ["b"]
    assert timeline.since(("nobody", ""), 0.0) == []


# ------------------------------------------------------------------ what is shown


class Replayed:
    """Wearers whose signals are replayed through streams of their own, as a site has them."""

    def __init__(self, names=("anna", "bertil", "<b onclick=alert(1)>chidi</b>")) -> None:
        self.timeline = LastMinutes("activity", SIGNAL.hop / SIGNAL.rate_hz)
        self.made, self.names = 0, names
        self._streams = {name: stream() for name in names}
        self._last: Dict[str, Decision] = {}
        self._noted_s: Dict[str, float] = {}
        self.turn = 0
        for _ in range(8):
            self.serve()

    def serve(self) -> None:
        """A hop more of everybody."""
        self.turn += 1
        for place, name in enumerate(self.names):
            for said in self._streams[name].push(noise(SIGNAL.hop, 100 * place + self.turn)):
                self._last[name] = replace(said, wearer=name, placement="wrist")
                self._noted_s[name] = time.monotonic()
                self.timeline.write(self._last[name])

    def seen(self) -> List[LiveRow]:
        self.made += 1
        now_s = time.monotonic()
        return [LiveRow(name, "wrist", "ok", now_s - self._noted_s[name], now_s - self._noted_s[name], self._last[name],
                     self.turn, {"gap": 2} if name == "bertil" else {}) for name in sorted(self.names)] + [
            LiveRow("zoe", "wrist", "waiting", 0.5, math.inf, None)]

    def samples(self, wearer: str, placement: str) -> np.ndarray:
        return (self._streams[wearer].snapshot().samples if wearer in self._streams else np.empty((0, 0), np.float32))

    def live(self) -> Live:
        return Live(Subject("linear", SIGNAL, TASKS, self.seen, self.samples, lambda: {
            "status": "ok", "decisions": 24, "age": math.inf, "lines": [
                {"name": "sink 1 (mqtt)", "waiting": 3, "dropped": 7, "problem": "the broker is away", "stuck": True}],
            "samples": {"dropped": {"late": 4}}}), self.timeline, SIGNAL.hop / SIGNAL.rate_hz)


def test_a_picture_has_all_that_is_known_and_only_numbers_of_json():
    site = Replayed()
    picture = site.live().picture(chosen=("anna", "wrist"))
    text = json.dumps(picture, allow_nan=False)
    assert picture["count"] == {"ok": 3, "waiting": 1} and picture["lost"] == {"gap": 2} and '"age": null' in text
    anna = next(row for row in picture["rows"] if row["wearer"] == "anna")
    assert set(anna["label"]) == set(anna["confidence"]) == set(TASKS) and anna["quality"] == 1.0
    assert anna["stretches"][-1][0] == anna["label"]["activity"]
    assert np.array(picture["signal"]).shape == (3, SIGNAL.window)
    assert np.array(picture["signal"]).T == pytest.approx(site.samples("anna", "wrist"), rel=1e-3)
    zoe = picture["rows"][-1]
    assert zoe["decided_age_s"] is None and "label" not in zoe and zoe["stretches"] == []


def test_at_most_a_hundred_rows_are_shown_and_others_are_found_by_name():
    site = Replayed(tuple("wearer %03d" % number for number in range(150)))
    live = site.live()
    assert (len(live.picture()["rows"]), live.picture()["found"], live.picture()["of"]) == (100, 151, 151)
    assert [row["wearer"] for row in live.picture(find="R 14")["rows"]] == ["wearer %d" % n for n in range(140, 150)]
    with_chosen = live.picture(find="013", chosen=("wearer 149", "wrist"))
    assert [row["wearer"] for row in with_chosen["rows"]] == ["wearer 013", "wearer 149"] and with_chosen["signal"]


def test_rows_are_made_once_for_all_viewers_and_seldom_where_that_is_dear():
    site, clock = Replayed(), Hand()
    live = Live(Subject("linear", SIGNAL, TASKS, lambda: dear(site.seen(), clock), site.samples, dict), site.timeline,
                0.1, clock)
    for _ in range(5):
        live.picture()
    assert site.made == 1
    clock.now_s += 3.9
    live.picture()
    assert site.made == 1, "it took 0.2 s: a twentieth of the time is 4 s"
    clock.now_s += 0.2
    live.picture()
    assert site.made == 2


def dear(rows: List[LiveRow], clock: Hand) -> List[LiveRow]:
    clock.now_s += 0.2
    return rows


def test_a_service_of_one_wearer_is_a_site_of_one():
    timeline = LastMinutes("activity", 1.0)
    seen = only_wearer(timeline, lambda: "starting")
    assert seen() == [LiveRow("", "", "starting", math.inf, math.inf, None)]
    timeline.write(decision("walk"))
    (row,) = seen()
    assert (row.wearer, row.decision.label, row.decisions) == ("", {"activity": "walk"}, 1) and row.decided_age_s < 5


# ------------------------------------------------------------------ who may look


@pytest.fixture()
def pages() -> Iterator[LivePages]:
    with LivePages(Replayed().live()) as shown:
        yield shown


def asked(pages: LivePages, path: str, method: str = "GET", body: str = "", **headers: str):
    """(status, headers, text) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", pages.port, timeout=10)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode("utf-8")
    connection.close()
    return found


def events(pages: LivePages, count: int, query: str = "") -> List[dict]:
    """The first pictures that a viewer gets."""
    connection = http.client.HTTPConnection("127.0.0.1", pages.port, timeout=10)
    connection.request("GET", "/events" + query)
    answer, found = connection.getresponse(), []
    assert answer.getheader("Content-Type").startswith("text/event-stream")
    while len(found) < count:
        line = answer.readline().decode("utf-8")
        if line.startswith("data: "):
            found.append(json.loads(line[6:]))
    connection.close()
    return found


def test_the_page_loads_only_its_own_files(pages):
    for path, kind in (("/", "text/html"), ("/live.css", "text/css"), ("/live.js", "text/javascript")):
        status, headers, text = asked(pages, path)
        assert status == 200 and headers["Content-Type"] == kind + "; charset=utf-8" and text
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text


def test_events_begin_with_the_past_and_go_on_with_what_is_new(pages):
    first, second = events(pages, 2, "?wearer=anna&placement=wrist")
    assert first["rows"][0]["stretches"] and second["now_s"] > first["now_s"] and second["signal"]
    (found,) = events(pages, 1, "?find=ZOE")
    assert [row["wearer"] for row in found["rows"]] == ["zoe"] and found["signal"] == []


@pytest.mark.parametrize("method, path", [("GET", "/../live.py"), ("GET", "/live.py"), ("POST", "/"),
                                          ("POST", "/events")])
def test_there_is_nothing_else_and_nothing_is_taken(pages, method, path):
    assert asked(pages, path, method, "x=1")[0] == 404


def test_a_page_of_this_machine_is_not_shown_to_another_page_s_name(pages):
    assert asked(pages, "/", Host="evil.example:80")[0] == 403
    assert asked(pages, "/events", Host="evil.example")[0] == 403
    assert asked(pages, "/", Host="localhost:9747")[0] == 200 and asked(pages, "/", Host="[::1]:9747")[0] == 200


def test_without_the_token_nothing_is_shown():
    with LivePages(Replayed().live(), token=TOKEN) as pages:
        for path in ("/", "/live.js", "/events"):
            status, _, text = asked(pages, path)
            assert status == 401 and "<form" in text and "anna" not in text
        for headers in ({"Cookie": COOKIE + "=wrong"}, {"Authorization": "Bearer wrong"}, {"Cookie": ";;=é".encode()}):
            assert asked(pages, "/", **headers)[0] == 401
        assert asked(pages, "/token", "POST", "token=wrong")[0] == 401
        status, headers, _ = asked(pages, "/token", "POST", "token=" + TOKEN)
        assert status == 303 and headers["Location"] == "/" and "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]
        assert asked(pages, "/", Cookie=headers["Set-Cookie"].split(";")[0])[0] == 200
        assert asked(pages, "/live.js", Authorization="Bearer " + TOKEN)[0] == 200


def test_other_machines_need_a_token():
    with pytest.raises(InputError, match="give a token by --live HOST:PORT,token=FILE"):
        LivePages(Replayed().live(), "0.0.0.0")
    with LivePages(Replayed().live(), "0.0.0.0", token=TOKEN) as pages:
        assert asked(pages, "/", Host="gateway.example", Authorization="Bearer " + TOKEN)[0] == 200
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "0.0.0.0", "::", "a.example")
            ] == [True] * 4 + [False] * 3


def test_a_token_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "token"
    token = token_in(path)
    assert len(token) >= 32 and token_in(path) == token and stat.S_IMODE(path.stat().st_mode) == 0o600
    for text in ("", "short", "two words of enough letters", "x" * 300):
        path.write_text(text)
        with pytest.raises(InputError, match="holds no token"):
            token_in(path)
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(InputError, match="cannot read a token"):
        token_in(path)


def test_an_address_that_is_taken_is_told(pages):
    with pytest.raises(InputError, match="choose another address with --live"):
        LivePages(Replayed().live(), port=pages.port)


def test_viewers_are_ended_with_the_service_and_the_oldest_where_they_are_too_many(monkeypatch):
    monkeypatch.setattr(live_pages, "MOST", 3)
    pages = LivePages(Replayed().live())
    viewers = []
    for _ in range(4):
        viewers.append(socket.create_connection(("127.0.0.1", pages.port), timeout=10))
        viewers[-1].sendall(b"GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert viewers[-1].recv(16).startswith(b"HTTP/1.0 200")
    assert read_to_end(viewers[0]), "the oldest makes room"
    closing = threading.Thread(target=pages.close)
    closing.start()
    assert all(read_to_end(each) for each in viewers[1:])
    closing.join(10)
    assert not closing.is_alive()
    for each in viewers:
        each.close()


def read_to_end(client: socket.socket) -> bool:
    """Whether the other side ends it, and not the patience of `client`."""
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    return True


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


def address(pages: LivePages) -> str:
    return "http://127.0.0.1:%d/" % pages.port


@pytest.mark.parametrize("width, dark", [(1280, False), (375, False), (1280, True)])
def test_a_replayed_site_is_drawn_and_nothing_sticks_out(browser, width, dark, tmp_path):
    site = Replayed()
    with LivePages(site.live()) as pages:
        browser.requests.clear()
        browser.open(address(pages), width, dark=dark)
        browser.until("document.querySelectorAll('#rows tr').length == 4")
        browser.until("document.querySelectorAll('#rows tr:first-child rect').length > 0")
        browser.value("document.querySelectorAll('#rows button')[1].click()")
        browser.until("document.querySelectorAll('#signal polyline').length == 3")
        assert browser.value("document.documentElement.scrollWidth <= innerWidth")
        before = browser.value("document.getElementById('one-facts').textContent")
        site.serve()
        browser.until("document.getElementById('one-facts').textContent != %s" % json.dumps(before))
        text = browser.value("document.body.innerText")
        assert "<b onclick=alert(1)>chidi</b>" in text, "a name is text, whatever is in it"
        for words in ("linear", "anna", "zoe", "nothing yet", "the broker is away", "given up", "late, samples"):
            assert words in text
        browser.picture(tmp_path / "live.png")
        assert (tmp_path / "live.png").stat().st_size > 10_000
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(20, 23, 29)" if dark else "rgb(251, 250, 248)")
    assert {each.split("?")[0] for each in browser.requests} == {
        address(pages) + name for name in ("", "live.css", "live.js", "events")}
    assert browser.faults == []


def test_a_keyboard_and_a_screen_reader_get_all_of_it(browser):
    with LivePages(Replayed().live()) as pages:
        browser.open(address(pages))
        browser.until("document.querySelectorAll('#rows tr').length == 4")
        for _ in range(20):
            browser.press("Tab")
            if browser.value("document.activeElement.closest('#rows') !== null"):
                break
        assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        browser.press("Enter", "\r")
        chosen = browser.value("document.activeElement.firstChild.textContent")
        browser.until("document.getElementById('one-title').textContent.startsWith(%s)" % json.dumps(chosen))
        browser.until("document.getElementById('told').textContent.startsWith(%s)" % json.dumps(chosen + ": "))
        browser.until("document.querySelectorAll('#signal polyline').length == 3")
        tree = browser.ask("Accessibility.getFullAXTree")["nodes"]
        said = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if "role" in node]
        assert ("heading", "Wearers") in said and ("searchbox", "Find") in said and ("button", "Pause") in said
        assert ("columnheader", "Confidence") in said and ("term", "last decision") in [
            (role, name) for role, name in said] or any(role == "DescriptionListTerm" for role, _ in said)
        pictures = [name for role, name in said if role in ("image", "img")]
        assert any(name.startswith("anna: ") for name in pictures)
        assert any(name.startswith("Signal, the last 0.3 s: from ") for name in pictures)


def test_a_pause_holds_the_page_and_a_lost_gateway_is_told(browser):
    site = Replayed()
    pages = LivePages(site.live())
    browser.open(address(pages))
    browser.until("document.querySelectorAll('#rows tr').length == 4")
    browser.value("document.getElementById('pause').click()")
    held = browser.value("document.getElementById('rows').innerText")
    browser.value("window.count = 0; source.addEventListener('message', () => window.count++)")
    browser.until("window.count >= 2")
    assert browser.value("document.getElementById('rows').innerText") == held
    browser.value("document.getElementById('pause').click()")
    assert browser.value("document.getElementById('rows').innerText") != held
    assert browser.value("document.getElementById('banner').hidden")
    pages.close()
    browser.until("!document.getElementById('banner').hidden")
    assert "What stands below is old" in browser.value("document.getElementById('banner').textContent")
    browser.faults.clear()  # the browser tells that the connection was refused


def test_the_form_lets_in_who_knows_the_token(browser):
    with LivePages(Replayed().live(), token=TOKEN) as pages:
        browser.open(address(pages))
        browser.until("document.querySelector('form') !== null")
        browser.value("document.querySelector('input').value = %s; document.querySelector('button').click()" % (
            json.dumps(TOKEN)))
        browser.until("document.querySelectorAll('#rows tr').length == 4")
        assert browser.value("document.cookie") == "" and TOKEN not in browser.value("location.href")
    browser.faults.clear()
