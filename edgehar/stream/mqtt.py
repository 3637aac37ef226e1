"""A connection to an MQTT broker that may not be there yet, may go, and comes back: for the source and the sink.

Needs the package paho-mqtt, `pip install 'edgehar[mqtt]'`; it is imported only where a
connection is made. A password is read from a file and stands in no option, state or log.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import socket
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional

from edgehar.errors import InputError, MissingError

LOG = logging.getLogger(__name__)
RETRY_S = (1, 30)  # between attempts to connect: at first, at most
KEEPALIVE_S = 15
CONNECT_S = 5.0
SHORT_S = 10.0  # a connection that ends sooner, and again and again, is one that another client takes
QUARREL = 3
MOST_PASSWORD = 4096  # characters
MOST_DEPTH = 10 ** 6  # of a queue


@dataclass(frozen=True)
class Broker:
    """Where a broker is and how it is spoken to.

    client: the name under which it keeps what waits for this client, and no other's; where
    empty, it keeps nothing. password_file: its first line is the password. ca: file with the authority's
    certificate, and then the connection is encrypted and the broker's name checked.
    """

    host: str = "localhost"
    port: int = 1883
    client: str = ""
    username: str = ""
    password_file: str = ""
    ca: str = ""

    def __post_init__(self) -> None:
        if not 0 < int(self.port) < 65536:
            raise InputError("a broker's port is %s; it must be 1 to 65535, usually 1883, or 8883 encrypted." %
                             self.port)
        if self.password_file and not self.username:
            raise InputError("a password_file was given without a username; give both.")

    @property
    def name(self) -> str:
        """``host:port``."""
        return "%s:%d" % (self.host, self.port)

    def make_client(self, **options: Any) -> Any:
        """A paho client that is not connected yet. Raises MissingError, or InputError for files that cannot be read."""
        paho = _paho()
        if paho is None:
            raise MissingError("MQTT needs the package paho-mqtt, 2.0 or newer; run `pip install 'edgehar[mqtt]'`.")
        name = self.client or "edgehar-" + secrets.token_hex(6)  # one name over reconnects: the broker ends the old one
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=not self.client, **options)
        client.connect_timeout = CONNECT_S
        client.reconnect_delay_set(*RETRY_S)
        if self.username:
            client.username_pw_set(self.username, self._password())
        if self.ca:
            self._encrypt(client)
        return client

    def _password(self) -> str:
        if not self.password_file:
            return ""
        try:
            with open(self.password_file, encoding="utf-8") as stream:
                return stream.readline(MOST_PASSWORD).splitlines()[0]
        except (OSError, ValueError, IndexError) as error:  # not named: it may be the password itself
            raise InputError("cannot read a password: %s; password_file must name a file whose first line it is." % (
                getattr(error, "strerror", None) or "there is no line of text")) from None

    def _encrypt(self, client: Any) -> None:
        try:
            client.tls_set(ca_certs=self.ca)
        except (OSError, ValueError) as error:
            raise InputError("cannot use %s as the authority's certificate: %s." % (self.ca, error)) from error


class Connection:
    """Keeps `client` connected to `broker` from a thread of its own until closed; the first attempt may fail.

    on_connected: called at each connection, on that thread. connections: how often it was connected.
    """

    def __init__(self, broker: Broker, client: Any, on_connected: Callable[[], None]) -> None:
        self._broker, self._client, self._on_connected = broker, client, on_connected
        self._fault = ""
        self._closed = False
        self.connected = False
        self.connections = self._short = 0
        self._opened_s = 0.0
        self._claim: Optional[socket.socket] = None
        client.on_connect, client.on_connect_fail, client.on_disconnect = self._opened, self._failed, self._lost

    @property
    def problem(self) -> str:
        """Why it is not connected, or seems not to be for long; empty where all is well."""
        if self._fault or not self._seems_taken():
            return self._fault
        return ("%s ends the connection again and again; if another client is called '%s', give each a name of its own"
                % (self._broker.name, self._broker.client))

    def _seems_taken(self) -> bool:
        """Whether a client of this name was sent away soon after it came, some times running, and may be again."""
        young = self.connected and time.monotonic() - self._opened_s < SHORT_S
        return bool(self._broker.client) and young and self._short >= QUARREL

    def settle(self) -> None:
        """All is well with the broker: nothing that was said holds any more."""
        self._fault = ""

    def open(self) -> None:
        """Start to connect, on a thread of its own; returns at once.

        Raises InputError where another process of this machine is the same client of the same broker.
        """
        self._claim = _claim(self._broker)
        self._client.connect_async(str(self._broker.host), int(self._broker.port), KEEPALIVE_S)
        self._client.loop_start()

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._closed = True
        self._client.disconnect()
        self._client.loop_stop()
        self.connected = False
        if self._claim is not None:
            self._claim.close()

    def _opened(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._fault = "%s refuses the connection (%s); check username, password_file and its rules" % (
                self._broker.name, reason)
            LOG.info(self._fault)
            return
        self.connections += 1
        self._opened_s = time.monotonic()
        self.connected = True
        self._fault = ""
        LOG.info("connected to %s (%d so far)", self._broker.name, self.connections)
        self._on_connected()

    def _failed(self, *_: Any) -> None:
        self._fault = "%s cannot be reached; it is tried again" % self._broker.name
        LOG.info(self._fault)

    def _lost(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._short = self._short + 1 if self.connected and time.monotonic() - self._opened_s < SHORT_S else 0
        self.connected = False
        if not self._fault and not self._closed:
            self._fault = "the connection to %s was lost (%s); it is tried again" % (self._broker.name, reason)
            LOG.info(self._fault)


def _claim(broker: Broker) -> Optional[socket.socket]:
    """A name that one process of this machine has at a time, for a client by whose name the broker keeps what waits.

    It is a socket, for that is seen from a service with a private /tmp too, and is gone with its process.
    """
    if not broker.client:
        return None
    host = "localhost" if broker.host in ("127.0.0.1", "::1") else str(broker.host)
    digest = hashlib.sha256(("%s %s %s" % (host, broker.port, broker.client)).encode("utf-8")).hexdigest()
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        claim.bind("\0edgehar/mqtt/" + digest)
    except OSError:
        claim.close()
        raise InputError("another edgehar of this machine is the client '%s' of %s, and a broker ends the older one of "
                         "two; give each a client of its own." % (broker.client, broker.name)) from None
    return claim


def _paho() -> Any:
    """The module of paho's client; None where it is absent or older than the callbacks used here."""
    try:
        import paho.mqtt.client as client
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "paho":
            raise
        return None
    return client if hasattr(client, "CallbackAPIVersion") else None
