"""The health of a service over HTTP."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Tuple

from edgehar.deploy.health import OK, Health
from edgehar.errors import InputError


class Pages:
    """Serves `health` at host:port from threads of its own until closed; port 0 takes a free one.

    Raises InputError where the address cannot be had.
    """

    def __init__(self, health: Health, host: str = "127.0.0.1", port: int = 0) -> None:
        try:
            self._server = _Server((host, port), _handler(health))
        except (OSError, OverflowError) as error:
            raise InputError("cannot serve health at %s:%d (%s); choose another address with --http, or --http off." % (
                host, port, getattr(error, "strerror", None) or error)) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="health", daemon=True)
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
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no news; anything else is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _handler(health: Health) -> type:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0  # seconds for a client to say what it wants
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
        return 200, "text/plain; version=0.0.4; charset=utf-8", health.to_metrics()
    if path in ("/health", "/live"):
        well = health.alive if path == "/live" else health.status == OK
        return 200 if well else 503, "application/json", json.dumps(health.to_json(), sort_keys=True) + "\n"
    return 404, "text/plain; charset=utf-8", "there are /health, /live and /metrics\n"
