"""A real HTTP server on this machine that serves one file, as well or as badly as it is told to."""

from __future__ import annotations

import io
import re
import socket
import struct
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict, Iterator, List, Optional

import numpy as np

BLOCK = 10000


@dataclass
class Site:
    """What the server does.

    length: how the size is told, "stated", "chunked" or "unstated". codes, cuts: of each
    request in turn, the status instead of 200 and the bytes after which the connection is
    cut, None for not at all. abrupt: cut by a reset. held: what a cut waits for, 30 s at most.
    """

    content: bytes
    etag: str = '"v1"'
    changed: str = ""
    type: str = "application/zip"
    ranges: bool = True
    heeds_if_range: bool = True
    skips: int = 0
    length: str = "stated"
    codes: List[int] = field(default_factory=list)
    cuts: List[Optional[int]] = field(default_factory=list)
    abrupt: bool = False
    held: Optional[threading.Event] = None
    requests: List[Message] = field(default_factory=list)
    url: str = ""

    def first_byte(self, headers: Message) -> int:
        """Where a request wants its answer to start."""
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        same = headers.get("If-Range", "") in (self.etag, self.changed) or not self.heeds_if_range
        return int(asked.group(1)) + self.skips if asked and same and self.ranges else 0

    def headers(self, first: int) -> Dict[str, str]:
        found = {"Content-Type": self.type, "ETag": self.etag, "Last-Modified": self.changed}
        if first:
            found["Content-Range"] = "bytes %d-%d/%d" % (first, len(self.content) - 1, len(self.content))
        if self.length == "stated":
            found["Content-Length"] = str(len(self.content) - first)
        if self.length == "chunked":
            found["Transfer-Encoding"] = "chunked"
        return {name: value for name, value in found.items() if value}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.close_connection = True
        self.site.requests.append(self.headers)
        code = self.site.codes.pop(0) if self.site.codes else 200
        first = self.site.first_byte(self.headers)
        if self.path == "/moved.zip":
            self._answer(302, {"Location": self.site.url})
        elif self.path == "/loop.zip":
            self._answer(302, {"Location": "/loop.zip"})
        elif code != 200:
            self._answer(code, {"Content-Length": "0"})
        elif first and first >= len(self.site.content):
            self._answer(416, {"Content-Range": "bytes */%d" % len(self.site.content), "Content-Length": "0"})
        else:
            self._answer(206 if first else 200, self.site.headers(first))
            self._send(self.site.content[first:])

    def _answer(self, code: int, headers: Dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes) -> None:
        cut = self.site.cuts.pop(0) if self.site.cuts else None
        sent = body[:cut]
        for start in range(0, len(sent), BLOCK):
            self._write(sent[start:start + BLOCK])
        if cut is None:
            self._write(b"")
        else:
            self.wfile.flush()
            self._cut()

    def _write(self, piece: bytes) -> None:
        """One piece as the chosen encoding has it; the empty one ends a chunked body."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if self.site.length == "chunked" else piece)

    def _cut(self) -> None:
        if self.site.held is not None:
            self.site.held.wait(30)
        if self.site.abrupt:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            pass  # the connection was cut on purpose

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # a client that goes away in the middle is what these tests are about


@contextmanager
def serving(content: bytes) -> Iterator[Site]:
    """Yield the site; its `url` ends in ``/corpus.zip``, and ``/moved.zip`` and ``/loop.zip`` lead elsewhere."""
    site = Site(content)
    server = Server(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    site.url = "http://127.0.0.1:%d/corpus.zip" % server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        if site.held is not None:
            site.held.set()
        server.shutdown()
        server.server_close()
        thread.join()


def zip_of(size_bytes: int, seed: int = 0) -> bytes:
    """A zip of one member with that many random bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("noise.bin", np.random.default_rng(seed).bytes(size_bytes))
    return buffer.getvalue()
