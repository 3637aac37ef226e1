"""What came since a state was written, kept as it came: with both, a killed gateway goes on as if nothing had happened.

::

    state.npz         all that is remembered at one moment, and which journal goes on from it
    state.npz.7       letters in the order in which they were taken, and which decisions have left

A record is written in one go, before a letter is acknowledged. It survives the death of the process, not that of the
machine: nothing waits for the disk. What a killed process left unfinished at the end is left out.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Iterator, List, NamedTuple, Sequence, Tuple, Union

from edgehar.errors import InputError
from edgehar.files import PathLike
from edgehar.stream.mailbox import Letter, Who

HEAD = struct.Struct("<2sII")  # kind, bytes, their checksum
LETTER, LEFT = b"L\n", b"D\n"
MOST_BYTES = 64 << 20  # of one record


class Left(NamedTuple):
    """A decision that has left: of whom, and when its window ended."""

    who: Who
    time_s: float


class Journal:
    """Records of one state file. path: of that file."""

    def __init__(self, path: PathLike) -> None:
        self._path = str(path)
        self._descriptor = -1
        self.number = 0

    def begin(self, number: int) -> None:
        """Write to journal `number` from now on, which is empty. Raises InputError where it cannot be written."""
        try:
            descriptor = os.open(self._name(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InputError("cannot write %s: %s." % (self._name(number), error.strerror or error)) from error
        self.close()
        self._descriptor, self.number = descriptor, number

    def write(self, letters: Sequence[Letter], left: Sequence[Left]) -> None:
        """Keep what was taken and what has left. Raises InputError where the disk is full."""
        records = [_record(LETTER, json.dumps([*letter.who, letter.arrived_s]).encode("utf-8") + b"\n" + letter.payload)
                   for letter in letters]
        if left:
            records.append(_record(LEFT, json.dumps([[*each.who, each.time_s] for each in left]).encode("utf-8")))
        if records and self._descriptor >= 0:
            try:
                os.write(self._descriptor, b"".join(records))
            except OSError as error:
                raise InputError("cannot write %s: %s." % (self._name(self.number), error.strerror or error)) from error

    def forget_before(self, number: int) -> None:
        """Remove all journals before `number`."""
        for each in self._numbers():
            if each < number:
                with suppress(OSError):
                    os.remove(self._name(each))

    def read(self, number: int) -> Iterator[Union[Letter, Left]]:
        """What is in journal `number` and those after it, in order; nothing where there are none."""
        for each in self._numbers():
            if each >= number:
                yield from _records(Path(self._name(each)))

    def last(self) -> int:
        """The highest number that there is; 0 where there is none."""
        return max(self._numbers(), default=0)

    def close(self) -> None:
        """Write no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _name(self, number: int) -> str:
        return "%s.%d" % (self._path, number)

    def _numbers(self) -> List[int]:
        path = Path(self._path)
        with suppress(OSError):
            endings = [each.name[len(path.name) + 1:] for each in path.parent.glob(path.name + ".*")]
            return sorted(int(ending) for ending in endings if ending.isdigit())
        return []


def _record(kind: bytes, content: bytes) -> bytes:
    return HEAD.pack(kind, len(content), zlib.crc32(content)) + content


def _records(path: Path) -> Iterator[Union[Letter, Left]]:
    """Up to the first record that is not whole."""
    with open(str(path), "rb") as stream:
        while True:
            head = stream.read(HEAD.size)
            if len(head) < HEAD.size:
                return
            kind, size, checksum = HEAD.unpack(head)
            content = stream.read(size) if size <= MOST_BYTES else b""
            if len(content) < size or zlib.crc32(content) != checksum or kind not in (LETTER, LEFT):
                return
            yield from _read(kind, content)


def _read(kind: bytes, content: bytes) -> Iterator[Union[Letter, Left]]:
    if kind == LETTER:
        head, _, payload = content.partition(b"\n")
        wearer, placement, arrived_s = json.loads(head.decode("utf-8"))
        yield Letter(Who(wearer, placement), payload, float(arrived_s))
        return
    rows: List[Tuple[str, str, float]] = json.loads(content.decode("utf-8"))
    for wearer, placement, time_s in rows:
        yield Left(Who(wearer, placement), float(time_s))
