"""The live page over HTTP: read-only, of this machine alone unless an address is given, and then with a token.

::

    /          the page, with live.css and live.js; it loads nothing else from anywhere
    /events    server-sent events: a picture a second; ?find=NAME&wearer=NAME&placement=NAME
    /token     takes a token from the page's form and keeps it in a cookie
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import math
import secrets
import socket
import sys
import threading
import time
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Tuple
from urllib.parse import parse_qs, urlsplit

from edgehar.deploy.live import PERIOD_S, Live
from edgehar.deploy.signing import create_file
from edgehar.errors import InputError
from edgehar.files import PathLike

HERE = Path(__file__).parent
FILES = {"/": ("live.html", "text/html"), "/live.css": ("live.css", "text/css"),
         "/live.js": ("live.js", "text/javascript")}
ASK = "live_token.html"
COOKIE = "edgehar_live"
MOST = 32  # connections at once; a new one ends the oldest
SLOWEST_S = 5.0  # for a viewer to take a picture, or to say what it wants
LOOK_S = 0.2
TOKEN_BYTES, LONGEST_TOKEN = 24, 200
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " \
         "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def token_in(path: PathLike) -> str:
    """The token in a file, which is made, for its owner alone, where it is not there.

    Raises InputError where it cannot be made or read, or holds less than 16 letters.
    """
    path = Path(path)
    try:
        if not path.exists():
            create_file(path, secrets.token_urlsafe(TOKEN_BYTES).encode("ascii") + b"\n", 0o600)
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise InputError("cannot read a token from %s (%s); give a file of one line, or the name of a new one." % (
            path, getattr(error, "strerror", None) or error)) from error
    if not 16 <= len(token) <= LONGEST_TOKEN or not token.isprintable() or " " in token:
        raise InputError("%s holds no token of 16 to %d letters on one line; remove it, and one is made." % (
            path, LONGEST_TOKEN))
    return token


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine and nothing else can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LivePages:
    """Serves `live` at host:port from threads of its own until closed; port 0 takes a free one.

    token: without it nothing is shown; a host that is no loopback address needs one. A viewer that takes nothing for
    5 s is ended; of more than 32 connections the oldest is.

    Raises InputError where the address cannot be had, or has no token.
    """

    def __init__(self, live: Live, host: str = "127.0.0.1", port: int = 0, token: str = "") -> None:
        if not token and not is_loopback(host):
            raise InputError("%s can be reached from other machines, and the page shows what people do; give a token "
                             "by --live HOST:PORT,token=FILE." % host)
        try:
            self._server = _Viewers((host, port), live, token)
        except (OSError, OverflowError) as error:
            raise InputError("cannot serve the live page at %s:%d (%s); choose another address with --live." % (
                host, port, getattr(error, "strerror", None) or error)) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(LOOK_S,), name="live", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no longer; returns when the server's thread has ended."""
        self._server.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "LivePages":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _Viewers(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: Tuple[str, int], live: Live, token: str) -> None:
        self.live, self.token = live, token
        self.of_this_machine = is_loopback(address[0])
        self.ended = threading.Event()
        self._open: Dict[socket.socket, float] = {}  # the oldest first
        self._counting = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._counting:
            oldest = list(self._open)[:max(0, len(self._open) + 1 - MOST)]
            self._open[request] = time.monotonic()
        for each in oldest:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._counting:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that went away in the middle is no news; anything else is shown."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            with suppress(Exception):
                super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Viewers
    timeout = SLOWEST_S
    server_version, sys_version = "edgehar", ""

    def do_GET(self) -> None:
        """Show the page, one of its files, or events."""
        path = urlsplit(self.path)
        if not self._is_meant():
            self._answer(403, "text/plain", b"this page is of this machine alone\n")
        elif not self._knows_token():
            self._answer(401, "text/html", (HERE / ASK).read_bytes())
        elif path.path == "/events":
            self._stream(parse_qs(path.query, keep_blank_values=True))
        elif path.path in FILES:
            name, kind = FILES[path.path]
            self._answer(200, kind, (HERE / name).read_bytes())
        else:
            self._answer(404, "text/plain", b"there are / and /events\n")

    def do_POST(self) -> None:
        """Keep the token that the form sent in a cookie, where it is right; nothing else is ever taken."""
        if urlsplit(self.path).path != "/token" or not self._is_meant():
            self._answer(404, "text/plain", b"nothing is taken here\n")
            return
        length = self.headers.get("Content-Length", "")
        given = self.rfile.read(min(int(length) if length.isdigit() else 0, 4 * LONGEST_TOKEN))
        token = parse_qs(given.decode("ascii", "replace")).get("token", [""])[0].strip()
        if not self._is_right(token):
            self._answer(401, "text/html", (HERE / ASK).read_bytes())
            return
        self.send_response(303)
        self.send_header("Set-Cookie", "%s=%s; HttpOnly; SameSite=Strict; Path=/" % (COOKIE, token))
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Viewers are no news, and what they ask for may hold a token."""

    # -------------------------------------------------------------- who may look

    def _is_meant(self) -> bool:
        """Whether a page of this machine was asked for by a name of it: else some other page in a browser here asks."""
        host = urlsplit("//" + self.headers.get("Host", "")).hostname or ""
        return not self.server.of_this_machine or is_loopback(host)

    def _knows_token(self) -> bool:
        if not self.server.token:
            return True
        cookie = SimpleCookie()
        with suppress(CookieError):
            cookie.load(self.headers.get("Cookie", ""))
        kept = cookie[COOKIE].value if COOKIE in cookie else ""
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        return self._is_right(kept) or (scheme.lower() == "bearer" and self._is_right(given.strip()))

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode("ascii"))

    # -------------------------------------------------------------- answers

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        for name, value in (("Content-Type", kind + "; charset=utf-8"), ("Content-Length", str(len(body))), *_guards()):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, asked: Dict[str, List[str]]) -> None:
        """A picture a second, until either side ends."""
        self.send_response(200)
        for name, value in (("Content-Type", "text/event-stream"), *_guards()):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"retry: 1000\n\n")
        find, chosen, after_s = _first(asked, "find"), None, -math.inf
        if "wearer" in asked or "placement" in asked:
            chosen = _first(asked, "wearer"), _first(asked, "placement")
        while not self.server.ended.is_set():
            picture = self.server.live.picture(find, chosen, after_s)
            after_s = picture["now_s"] - PERIOD_S  # what was just being noted comes again
            self.wfile.write(b"data: %s\n\n" % json.dumps(picture, allow_nan=False).encode("utf-8"))
            self.server.ended.wait(PERIOD_S)


def _guards() -> Tuple[Tuple[str, str], ...]:
    return (("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"))


def _first(asked: Dict[str, List[str]], name: str) -> str:
    return asked.get(name, [""])[0]
