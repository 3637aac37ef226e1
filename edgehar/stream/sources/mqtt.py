"""Samples from wearables that publish them to an MQTT broker, one message a chunk.

::

    {"time_s": 12.5, "samples": [[0.12, -0.30, 9.79], [0.15, -0.28, 9.81]]}

samples: one row a sample, SI units, all channels in their order. time_s: of the first
sample, on a clock of the sender that does not go back; a sender that began anew says so by
``"begins": true``.
"""

from __future__ import annotations

import math
import queue
import time
from collections import Counter, deque
from typing import Any, Counter as Counts, Deque, Dict, Iterator, Mapping, Optional, Tuple

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.signals import Signal
from edgehar.data.timeline import DUPLICATE, LATE
from edgehar.errors import InputError
from edgehar.files import parse_json
from edgehar.stream.mqtt import MOST_DEPTH, Broker, Connection, topic_of
from edgehar.stream.sources._messages import Messages, numbers
from edgehar.stream.sources.base import LATEST_S, Chunk, Source

BEFORE_S = 300.0  # so far back a message comes too late; farther, its sender's clock was set back
RECENT = 1024  # messages that are known by their times when they come again, however far back
RESENT = 32  # messages in a row that a broker may send again of those that an earlier process took
POLL_S = 0.5
MESSAGE_BYTES = 32 << 20  # of one message; a larger one is dropped
WAITING_BYTES = 64 << 20  # of all that wait
ROWS = 4096  # of a chunk; a longer message is handed over in parts
DAMAGED, TOO_LARGE, TOO_MANY = "damaged", "too large", "too many at once"  # why a message is not read
WORDS = 200  # characters of what is said of a damaged message


class Mqtt(Source):
    """The messages of one `topic`, in order, each once; `subscribed` once the broker will send them.

    ::

        broker -> waiting here, up to `depth` -> handed over -> taken -> receipt to the broker

    With a `client`, which must be this process's alone, and senders of QoS 1, the broker keeps what
    is sent while nobody listens, and sends again what was handed over without a receipt. It
    keeps the order where it has one message at a time under way (mosquitto:
    max_inflight_messages 1); else, when much waits after its restart, some may overtake
    others, and those that then come too late are dropped.
    Beyond `depth` or 64 MiB, or where a message is damaged or over 32 MiB, it is `dropped` with a
    receipt, and `problem` says why; `lost` are samples that came before, or too late, `unread` messages
    that were damaged, too large or too many, whose samples are in no count.

    topic: of the messages. host, port: of the broker. username: at the broker. password_file: its first line is the
    password. ca: file with the authority's certificate; then the connection is encrypted.
    client: name under which the broker keeps what is sent meanwhile, this process's alone; without it nothing is kept.
    qos: 1, or 0 for messages that nobody confirms. rate_hz: samples a second; the model's unless given. channels:
    their names, joined by "+"; the model's unless given. layout: how another app writes its messages, one of
    `edgehar layouts` or a TOML file. depth: messages that wait at most. idle_s: ends after so long without a message;
    0: never.

    A message that is earlier than the last one is too late; where the next one goes on from
    it, the clock was set back, or the last one's time was wrong, and both are believed.
    """

    def __init__(self, topic: str, signal: Optional[Signal] = None, host: str = "localhost", port: int = 1883,
                 client: str = "", qos: int = 1, rate_hz: float = 0.0, channels: str = "", depth: int = 1000,
                 idle_s: float = 0.0, username: str = "", password_file: str = "", ca: str = "",
                 layout: str = "") -> None:
        if qos not in (0, 1):
            raise InputError("qos is %s; it must be 0 or 1." % qos)
        if not isinstance(depth, int) or not 1 <= depth <= MOST_DEPTH or not 0 <= float(idle_s) < math.inf:
            raise InputError("depth is %s and idle_s %s; depth must be 1 to %d messages, and idle_s 0 s or more." % (
                depth, idle_s, MOST_DEPTH))
        self.topic = topic_of(topic)
        self.subscribed = False
        self._layout = Messages(layout) if layout else None
        self._channels = self._layout.channels if self._layout else _channels(channels, signal)
        self._rate_hz = _rate(float(rate_hz), signal)
        self._qos, self._idle_s = qos, idle_s
        self._arrived: "queue.Queue[Tuple[Any, float]]" = queue.Queue(depth)
        self._taken_s = self._resumed_s = -math.inf
        self._recent_s: Deque[float] = deque(maxlen=RECENT)
        self._late_s, self._late = math.nan, 0  # where a message would go on from the one too late, and how many were
        self._lost: Counts[str] = Counter()
        self._unread: Counts[str] = Counter()
        self._tail = np.zeros((0, len(self._channels)), dtype=np.float32)
        self._complaint = ""
        self._bytes_in = self._bytes_out = 0
        broker = Broker(host, port, client, username, password_file, ca)
        self._client = broker.make_client(manual_ack=True)
        self._client.on_message = self._keep
        self._client.on_subscribe = self._subscribed
        self._connection = Connection(broker, self._client, lambda: self._client.subscribe(self.topic, self._qos))
        self._connection.open()

    @property
    def lost(self) -> Mapping[str, int]:
        """Samples that came and were not handed over, by reason."""
        return self._lost

    @property
    def unread(self) -> Mapping[str, int]:
        """Messages that were not read, by reason."""
        return self._unread

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """As they were stated, else those of the model's signal."""
        return self._channels

    @property
    def rate_hz(self) -> float:
        """As it was stated, else that of the model's signal."""
        return self._rate_hz

    @property
    def waiting(self) -> int:
        """Messages that have come and are not yet handed over."""
        return self._arrived.qsize()

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
        self._taken_s = self._resumed_s = after_s

    def samples(self) -> Iterator[Chunk]:
        """Yield a chunk a message, several where it is long; asking for what follows it is its receipt."""
        quiet_s = time.monotonic()
        while not self._idle_s or time.monotonic() - quiet_s < self._idle_s:
            try:
                message, arrived_s = self._arrived.get(timeout=min(POLL_S, self._idle_s or POLL_S))
            except queue.Empty:
                continue
            chunk = self._read(message.payload, arrived_s)
            if chunk is not None:
                yield from self._parts(chunk)
                self._note_taken(chunk)
            self._bytes_out += len(message.payload)
            self._client.ack(message.mid, message.qos)
            quiet_s = time.monotonic()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

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
            self.topic, refused[0]) if refused else ""
        self.subscribed = not refused

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._complaint = why

    def _leave_unread(self, reason: str, why: str) -> None:
        self._unread[reason] += 1
        self._drop(why)

    def _read(self, payload: bytes, arrived_s: float) -> Optional[Chunk]:
        """The message as a chunk; None where it is damaged, empty, or came before."""
        try:
            read = self._layout.read if self._layout else _parsed
            samples, time_s, begins = read(payload, len(self._channels))
        except InputError as error:
            self._leave_unread(DAMAGED, "a message on %s %s" % (self.topic, error))
            return None
        if not len(samples):
            return None
        again = 0 if begins else self._known(samples, time_s)
        if again:
            self._lost[DUPLICATE] += again
            samples, time_s = samples[again:], time_s + again / self._rate_hz
        reason = "" if begins else self._refusal(time_s, self._last_s(time_s, len(samples)))
        if reason:
            self._lost[reason] += len(samples)
            return None
        believed, self._late = self._late > 0, 0
        return Chunk(samples, time_s, begins=begins or believed, arrived_s=arrived_s)

    def _known(self, samples: np.ndarray, time_s: float) -> int:
        """How many of the first samples (n, C) are, by their times and values, the last that were handed over.

        All but one at most: a message that brings nothing new is told by its time alone.
        """
        if not abs(self._taken_s - time_s) * self._rate_hz < len(self._tail):
            return 0
        count = int(round((self._taken_s - time_s) * self._rate_hz)) + 1
        if not 0 < count < len(samples) or not np.array_equal(self._tail[-count:], samples[:count]):
            return 0
        return count

    def _parts(self, chunk: Chunk) -> Iterator[Chunk]:
        """In chunks of at most `ROWS`, without the samples that an earlier process took of it."""
        first = 0
        if not chunk.begins and chunk.time_s <= self._resumed_s < self._last_s(chunk.time_s, len(chunk.samples)):
            first = int((self._resumed_s - chunk.time_s) * self._rate_hz + 0.5) + 1
            self._lost[DUPLICATE] += first
        for start in range(first, len(chunk.samples), ROWS):
            yield chunk._replace(samples=chunk.samples[start:start + ROWS], begins=chunk.begins and not start,
                                 time_s=chunk.time_s + start / self._rate_hz)

    def _note_taken(self, chunk: Chunk) -> None:
        last_s = self._last_s(chunk.time_s, len(chunk.samples))
        if chunk.begins or last_s < self._taken_s:  # times of the old clock say nothing of the new one's
            self._recent_s.clear()
            self._resumed_s = -math.inf
        self._recent_s.append(last_s)
        self._taken_s = last_s
        self._tail = np.concatenate([self._tail, chunk.samples])[-ROWS:]

    def _last_s(self, time_s: float, count: int) -> float:
        return time_s + (count - 1) / self._rate_hz

    def _refusal(self, time_s: float, last_s: float) -> str:
        """Why a message with samples from `time_s` to `last_s` is not taken; empty where it is."""
        if last_s in self._recent_s:
            return DUPLICATE
        if not self._taken_s - BEFORE_S <= last_s < self._taken_s + 0.5 / self._rate_hz:
            self._late = 0
            return ""
        again = last_s <= self._resumed_s
        if self._late >= (RESENT if again else 1) and abs(time_s - self._late_s) <= 0.5 / self._rate_hz:
            self.tell("the times of messages went back to %.3f s; either the clock was set, or one of them was wrong."
                      % time_s)
            return ""
        goes_on = abs(time_s - self._late_s) <= 0.5 / self._rate_hz
        self._late, self._late_s = self._late + 1 if goes_on else 1, last_s + 1 / self._rate_hz
        if not again:
            self._drop("a message of %.3f s came after later ones; are its senders two?" % last_s)
        return DUPLICATE if again else LATE


def _parsed(payload: bytes, channels: int) -> Tuple[np.ndarray, float, bool]:
    """Samples (n, C), time of the first, and whether a gap stands before. Raises InputError saying what is wrong."""
    try:
        value: Dict[str, Any] = parse_json(payload)
        samples, time_s = numbers(value["samples"]), float(numbers([[value["time_s"]]])[0, 0])
        begins = value.get("begins", False) is True
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise InputError('is not {"time_s": seconds, "samples": rows of numbers} (%s: %s).' % (
            type(error).__name__, str(error)[:WORDS])) from None
    if samples.shape != (0,) and (samples.ndim != 2 or samples.shape[1] != channels):
        raise InputError("holds samples of shape %s and there are %d channels." % (samples.shape, channels))
    if not abs(time_s) <= LATEST_S:
        raise InputError("has the time %g, and a time in seconds is at most %g; is it of another unit?" % (
            time_s, LATEST_S))
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and the stream refuses that
        return samples.reshape(-1, channels).astype(np.float32), time_s, begins


def _channels(named: str, signal: Optional[Signal]) -> Tuple[Channel, ...]:
    if named:
        return tuple(_channel(name) for name in named.split("+"))
    if signal is None:
        raise InputError("no channels are known for the messages; name them: channels=acc/x+acc/y+acc/z.")
    return signal.channels


def _channel(name: str) -> Channel:
    placement, _, rest = name.rpartition("/")
    return Channel("", rest, "", placement)


def _rate(rate_hz: float, signal: Optional[Signal]) -> float:
    if rate_hz > 0:
        return rate_hz
    if signal is None:
        raise InputError("the rate of the messages is not known; state it: rate_hz=50.")
    return signal.rate_hz
