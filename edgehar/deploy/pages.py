"""The health of a service over HTTP.

::

    /health   200 while decisions advance, else 503: is it of use? Its status says "degraded" where a sink takes none
    /live     200 while it works or waits for samples, else 503: should it be started again?
    /metrics  Prometheus' text format 0.0.4

Pages are for the machine itself or a network that is trusted: no password, no encryption.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Tuple

from edgehar.deploy.descriptors import Reserve
from edgehar.deploy.health import DEGRADED, OK, Health
from edgehar.deploy.metrics import metrics_of
from edgehar.errors import InputError, MissingError
from edgehar.files import OUT_OF_DESCRIPTORS

MOST = 16  # connections at once; a new one ends the oldest
LONGEST_S = 5.0  # from a connection's beginning to its end, whatever its client does
LOOK_S = 0.2
AT_ONCE = 4096


class Pages:
    """Serves `health` at host:port from threads of its own until closed; port 0 takes a free one.

    At most 16 connections are open, none longer than 5 s; a client that comes then ends the
    one that has been there longest, so that those who say nothing keep nobody out.

    Raises InputError where the address cannot be had.
    """

    def __init__(self, health: Health, host: str = "127.0.0.1", port: int = 0) -> None:
        try:
            self._server = _Server((host, port), health)
        except (OSError, OverflowError) as error:
            raise InputError("cannot serve health at %s:%d (%s); choose another address with --http, or --http off." % (
                host, port, getattr(error, "strerror", None) or error)) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_until_shutdown, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no longer; returns when the server's thread has ended."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "Pages":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of a crowd that comes at once; who finds no room tries again after seconds
    block_on_close = False  # clients are ended, not waited for

    def __init__(self, address: Tuple[str, int], health: Health) -> None:
        self._open: Dict[socket.socket, float] = {}  # by when they began, the oldest first
        self._counting = threading.Lock()
        self._reserve = Reserve(1)
        self._ended = False
        self._health = health
        super().__init__(address, _handler(health))

    def serve_until_shutdown(self) -> None:
        """Whatever goes wrong at one turn, the next one comes."""
        while True:
            with suppress(Exception):
                self.serve_forever(LOOK_S)
            if self._ended:
                return
            time.sleep(LOOK_S)

    def shutdown(self) -> None:
        self._ended = True
        super().shutdown()

    def server_close(self) -> None:
        super().server_close()
        self._end_those_before(time.monotonic())
        self._reserve.close()

    def get_request(self) -> Tuple[socket.socket, Any]:
        """A connection, in need by the descriptor that is kept for it: else this would be called again and again."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno not in OUT_OF_DESCRIPTORS:
                raise
        with self._reserve.spent():
            client, _ = super().get_request()
            with client:
                client.settimeout(LOOK_S)
                self._answer(client)
        raise OSError(errno.EMFILE, "answered from the reserve")

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._counting:
            oldest = list(self._open)[:max(0, len(self._open) + 1 - MOST)]
            self._open[request] = time.monotonic()
        for each in oldest:
            self._end(each)
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Between two looks for new connections."""
        self._end_those_before(time.monotonic() - LONGEST_S)

    def shutdown_request(self, request: Any) -> None:
        with self._counting:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no news; anything else is shown."""
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            with suppress(Exception):
                super().handle_error(request, client_address)

    def _answer(self, client: socket.socket) -> None:
        """One look at what it wants, one answer: it has the only descriptor."""
        words = client.recv(AT_ONCE).split(None, 2)
        code, kind, text = _page(self._health, words[1].decode("latin-1").split("?")[0] if len(words) > 1 else "")
        body = text.encode("utf-8")
        client.sendall(b"HTTP/1.0 %d \r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            code, kind.encode("ascii"), len(body), body))

    def _end_those_before(self, moment_s: float) -> None:
        with self._counting:
            late = [each for each, began_s in self._open.items() if began_s <= moment_s]
        for each in late:
            self._end(each)

    def _end(self, client: socket.socket) -> None:
        """Its thread, which waits for it, wakes and closes it."""
        with self._counting:
            self._open.pop(client, None)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _handler(health: Health) -> type:
    class Handler(BaseHTTPRequestHandler):
        timeout = LONGEST_S  # seconds for a client to say what it wants
        server_version, sys_version = "edgehar", ""

        def do_GET(self) -> None:
            code, kind, text = _page(health, self.path.split("?")[0])
            body = text.encode("utf-8")
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Probes come every few seconds and are no news."""

    return Handler


def _page(health: Health, path: str) -> Tuple[int, str, str]:
    """Status code, content type and text."""
    if path == "/metrics":
        try:
            return 200, "text/plain; version=0.0.4; charset=utf-8", metrics_of(health)
        except MissingError as error:
            return 501, "text/plain; charset=utf-8", "%s\n" % error
    if path in ("/health", "/live"):
        well = health.alive if path == "/live" else health.status in (OK, DEGRADED)
        return 200 if well else 503, "application/json", json.dumps(health.to_json(), sort_keys=True) + "\n"
    return 404, "text/plain; charset=utf-8", "there are /health, /live and /metrics\n"
