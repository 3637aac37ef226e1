"""Samples from wearables that publish them to an MQTT broker, one message a chunk.

::

    {"time_s": 12.5, "samples": [[0.12, -0.30, 9.79], [0.15, -0.28, 9.81]]}

samples: one row a sample, SI units, all channels in their order. time_s: of the first
sample, on a clock of the sender that does not go back; a sender that began again says so by
``"begins": true``.
"""

from __future__ import annotations

import math
import queue
import time
from collections import Counter
from typing import Any, Counter as Counts, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.stream.mailbox import TOO_LARGE, TOO_MANY, Letter, LetterLimits, Mailbox
from edgehar.stream.mqtt import MOST_DEPTH, Broker, Connection
from edgehar.stream.sender import Sender
from edgehar.stream.sources._messages import DAMAGED, Form
from edgehar.stream.sources.base import Chunk, Source
from edgehar.stream.topics import Topic

POLL_S = 0.5
MESSAGE_BYTES = 32 << 20  # of one message of one wearer; a larger one is dropped
WAITING_BYTES = 64 << 20  # of all that wait


class Mqtt(Source):
    """The messages of one `topic`, in order, each once; `subscribed` once the broker will send them.

    ::

        broker -> waiting here, up to `depth` -> handed over -> taken -> receipt to the broker

    With {wearer} as a level of the topic, and perhaps {placement} as another, it is of many
    wearers, whose letters wait in `mailbox`: up to `depth` of each, of at most `most_bytes`,
    and no more than `most_per_s` a second beyond that.

    host, port, client, username, password_file, ca: see `edgehar.stream.mqtt.Broker`. With a
    `client`, which must be this process's alone, and senders of QoS 1, the broker keeps what
    is sent while nobody listens, and sends again what was handed over without a receipt. It
    keeps the order where it has one message at a time under way (mosquitto:
    max_inflight_messages 1); else, when much waits after its restart, some may overtake
    others, and those that then come too late are dropped.
    layout: how another app writes its messages, one of `edgehar layouts` or a TOML file.
    rate_hz, channels (joined by "+"): of the samples, the model's unless given. idle_s: ends after so long without a
    message; 0: never. Beyond `depth` or 64 MiB, or where a message is damaged or over 32 MiB, it is `dropped` with a
    receipt, and `problem` says why. Which messages come too late, `edgehar.stream.sender.Sender` says.
    lost: {reason: samples} of messages that came before, or too late. unread: {reason: messages} of those that were
    damaged, too large or too many, whose samples are in no count.
    """

    stamped = True

    def __init__(self, topic: str, signal: Optional[Signal] = None, host: str = "localhost", port: int = 1883,
                 client: str = "", qos: int = 1, rate_hz: float = 0.0, channels: str = "", depth: int = 1000,
                 idle_s: float = 0.0, username: str = "", password_file: str = "", ca: str = "",
                 layout: str = "", most_bytes: int = 1 << 20, most_per_s: float = 100.0) -> None:
        if qos not in (0, 1):
            raise InputError("qos is %s; it must be 0 or 1." % qos)
        if not isinstance(depth, int) or not 1 <= depth <= MOST_DEPTH or not 0 <= float(idle_s) < math.inf:
            raise InputError("depth is %s and idle_s %s; depth must be 1 to %d messages, and idle_s 0 s or more." % (
                depth, idle_s, MOST_DEPTH))
        self.topics = Topic(topic)
        self.subscribed = False
        self._form = Form(layout, channels, rate_hz, signal)
        self._qos, self._idle_s = qos, float(idle_s)
        self._arrived: "queue.Queue[Tuple[Any, float]]" = queue.Queue(depth)
        self._sender = Sender(self._form.rate_hz, len(self._form.channels), self._drop,
                              lambda sentence: self.tell(sentence))
        self._unread: Counts[str] = Counter()
        self._complaint = ""
        self._bytes_in = self._bytes_out = 0
        if self.topics.many:
            self.mailbox = Mailbox(LetterLimits(depth, most_bytes, most_per_s))
        broker = Broker(host, port, client, username, password_file, ca)
        self._client = broker.make_client(manual_ack=True)
        self._client.on_message = self._deliver if self.topics.many else self._keep
        self._client.on_subscribe = self._subscribed
        self._connection = Connection(broker, self._client,
                                      lambda: self._client.subscribe(self.topics.filter, self._qos))
        self._connection.open()

    @property
    def topic(self) -> str:
        """As it was given."""
        return self.topics.pattern

    @property
    def lost(self) -> Mapping[str, int]:
        """Samples that came and were not handed over, by reason."""
        return self._sender.lost

    @property
    def unread(self) -> Mapping[str, int]:
        """Messages that were not read, by reason."""
        return self._unread

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """As they were stated, else those of the model's signal."""
        return self._form.channels

    @property
    def rate_hz(self) -> float:
        """As it was stated, else that of the model's signal."""
        return self._form.rate_hz

    @property
    def waiting(self) -> int:
        """Messages that have come and are not yet handed over."""
        return self.mailbox.waiting if self.mailbox else self._arrived.qsize()

    @property
    def problem(self) -> str:
        """The connection's, or why a message was dropped."""
        return self._connection.problem or self._complaint

    @property
    def connections(self) -> int:
        """How often the broker was reached."""
        return self._connection.connections

    def resume(self, after_s: float) -> None:
        """Leave out messages up to `after_s`, which an earlier process took."""
        self._sender.resume(after_s)

    def samples(self) -> Iterator[Chunk]:
        """Yield a chunk a message, several where it is long; asking for what follows it is its receipt."""
        quiet_s = time.monotonic()
        while not self._idle_s or time.monotonic() - quiet_s < self._idle_s:
            try:
                message, arrived_s = self._arrived.get(timeout=min(POLL_S, self._idle_s or POLL_S))
            except queue.Empty:
                continue
            yield from self._chunks(message.payload, arrived_s)
            self._bytes_out += len(message.payload)
            self._client.ack(message.mid, message.qos)
            quiet_s = time.monotonic()

    def read(self, payload: bytes) -> Tuple[np.ndarray, float, bool]:
        """Samples (n, C), time of the first, and whether a gap stands before."""
        return self._form.read(payload)

    def acknowledge(self, letter: Letter) -> None:
        """A receipt to the broker."""
        self._client.ack(*letter.receipt)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _deliver(self, client: Any, userdata: Any, message: Any) -> None:
        """Of many: into the mailbox, or a receipt and it is counted there."""
        who = self.topics.who(message.topic)
        letter = who and Letter(who, message.payload, time.monotonic(), (message.mid, message.qos))
        if letter is None or self.mailbox is None or self.mailbox.put(letter):
            self._client.ack(message.mid, message.qos)

    def _keep(self, client: Any, userdata: Any, message: Any) -> None:
        size, waiting_bytes = len(message.payload), self._bytes_in - self._bytes_out
        try:
            if size > MESSAGE_BYTES:
                self._leave_unread(TOO_LARGE, "a message of %d bytes came, and %d are taken; send fewer samples at once"
                                   % (size, MESSAGE_BYTES))
            elif waiting_bytes and waiting_bytes + size > WAITING_BYTES:
                raise queue.Full
            else:
                self._arrived.put_nowait((message, time.monotonic()))
                self._bytes_in += size
                return
        except queue.Full:
            self._leave_unread(TOO_MANY, "%d messages wait and no more are taken; is the machine too slow?"
                               % self.waiting)
        self._client.ack(message.mid, message.qos)

    def _subscribed(self, client: Any, userdata: Any, number: int, reasons: Any, facts: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        self._complaint = "the broker gives nothing of %s (%s); check its rules" % (
            self.topics.filter, refused[0]) if refused else ""
        self.subscribed = not refused

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._complaint = why

    def _leave_unread(self, reason: str, why: str) -> None:
        self._unread[reason] += 1
        self._drop(why)

    def _chunks(self, payload: bytes, arrived_s: float) -> List[Chunk]:
        """Those of a message; none where it is damaged, empty, or came before."""
        try:
            samples, time_s, begins = self._form.read(payload)
        except InputError as error:
            self._leave_unread(DAMAGED, "a message on %s %s" % (self.topic, error))
            return []
        return self._sender.take(samples, time_s, begins, arrived_s)
