"""Lines of a text that may have no end: a device, a pipe, a file of one endless line."""

from __future__ import annotations

from typing import IO, Iterator

from edgehar.errors import InputError

MOST_CHARACTERS = 1 << 20  # of a line
MOST_BLANK = 10000  # lines in a row


def bounded_lines(stream: IO[str], name: str) -> Iterator[str]:
    """The lines of `stream`, as it gives them. Raises InputError for a line, or a row of blank ones, beyond measure."""
    number = blank = 0
    while True:
        line = stream.readline(MOST_CHARACTERS + 1)
        number += 1
        blank = 0 if line.strip() else blank + 1
        if not line:
            return
        if len(line) > MOST_CHARACTERS:
            raise InputError("%s line %d is longer than %d characters and no line of a table; give another file." % (
                name, number, MOST_CHARACTERS))
        if blank > MOST_BLANK:
            raise InputError("%s line %d is the last of %d blank ones, and no table; give another file." % (
                name, number, blank))
        yield line
