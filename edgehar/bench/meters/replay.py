"""Power that was recorded before, or is being recorded by a wall meter: a table of times and watts.

::

    time_s,wall
    1700000000.00,8.41
    1700000000.50,8.52

A file ``.json`` holds a recorded trace, or a Run with one.
"""

from __future__ import annotations

import csv
import math
import re
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from edgehar.bench.meters.base import REPLAYED_POWER, Meter, PowerSample
from edgehar.errors import InputError, MissingError
from edgehar.files import read_bytes, read_json

START, UNIX = "start", "unix"
POLL_S = 0.1
MOST_HEADER = 1 << 16  # characters
ENCODING = "utf-8-sig"  # a spreadsheet puts a mark before the header
OTHER_UNIT = re.compile(r"[_ (\[]([mkuµ]w|m[va]|volts?|amps?)[)\]]?$|[(\[][va][)\]]$", re.IGNORECASE)


class Replay(Meter):
    """Repeats a recording in its own time, or follows a file that a wall meter's logger is writing.

    path: a table with a header, first its column ``time_s``, then one a rail, in watts;
    or a recorded trace. clock: "start" takes the first row as now, so that what is
    measured is the recording's power and not this machine's; "unix" takes times as
    seconds of the UNIX clock and gives the rows from now on, also those still to be
    written. offset_s: seconds by which the file's clock is behind this machine's.
    """

    def __init__(self, path: str, clock: str = START, offset_s: float = 0.0, total: str = "") -> None:
        super().__init__(total)
        if clock not in (START, UNIX):
            raise InputError("there is no clock '%s'; choose from: %s, %s." % (clock, START, UNIX))
        self._path = Path(path)
        self._clock = clock
        self._offset_s = offset_s
        self._rails = _rails_in(self._path)
        self.mark = "" if clock == UNIX else REPLAYED_POWER
        self.scope = "as recorded in %s" % self._path.name

    @property
    def rails(self) -> Tuple[str, ...]:
        """Those of the file."""
        return self._rails

    def missing(self) -> Optional[str]:
        """None: the file was read when this was made."""
        return None

    def _model(self) -> str:
        return ""

    def facts(self) -> Dict[str, Any]:
        """Which clock the file's times are of, and how far it is behind this machine's."""
        return {"clock": self._clock, "offset_s": self._offset_s}

    def warnings(self) -> List[str]:
        """As `Meter.warnings`, and that the power is another's, unless it was recorded beside this run."""
        told = super().warnings()
        return told if not self.mark else ["its power is replayed from %s and not of this machine" % self._path.name,
                                           *told]

    def samples(self) -> Iterator[PowerSample]:
        """Raises MissingError where a recording ends before the meter is closed."""
        began_s, first_s = time.monotonic(), None
        unix_s = time.time() - began_s
        for row in self._rows() if self.mark else self._followed():
            first_s = row.time_s if first_s is None else first_s
            time_s = row.time_s + self._offset_s + (began_s - first_s if self.mark else -unix_s)
            if time_s < began_s:
                continue
            if self._stop.wait(max(0.0, time_s - time.monotonic() if self.mark else 0.0)):
                return
            yield PowerSample(time_s, row.watts)
        if not self._stop.is_set():
            raise MissingError("the recording %s ended; replay a longer one." % self._path)

    def _rows(self) -> Iterator[PowerSample]:
        if self._path.suffix == ".json":
            trace = _trace_in(self._path)
            return (PowerSample(time_s, tuple(watts)) for time_s, watts in zip(trace["time_s"], trace["watts"]))
        return _parsed(self._path, read_bytes(self._path).decode(ENCODING).splitlines()[1:], len(self._rails))

    def _followed(self) -> Iterator[PowerSample]:
        """Rows as they are written; one that is not finished yet is left for later."""
        with open(str(self._path), encoding=ENCODING) as stream:
            stream.readline()
            rest = ""
            while not self._stop.is_set():
                rest += stream.read()
                *lines, rest = rest.split("\n")
                yield from _parsed(self._path, lines, len(self._rails))
                self._stop.wait(POLL_S)


def _rails_in(path: Path) -> Tuple[str, ...]:
    """Names of the rails. Raises InputError where the file is neither a table nor a trace."""
    if path.suffix == ".json":
        return tuple(_trace_in(path)["rails"])
    try:
        with open(str(path), encoding=ENCODING) as stream:
            header = [name.strip() for name in stream.readline(MOST_HEADER).split(",")]
    except (OSError, ValueError) as error:
        raise InputError("cannot read %s: %s." % (path, getattr(error, "strerror", None) or error)) from error
    if len(header) < 2 or header[0] != "time_s":
        raise InputError("%s has the header '%s'; it must begin with time_s and name a rail in watts." % (
            path, ",".join(header)[:200]))
    _require_rails(path, header[1:])
    return tuple(header[1:])


def _require_rails(path: Path, rails: Sequence[str]) -> None:
    """Raise InputError for two columns of one name, and for one that says itself that it holds no watts."""
    for number, name in enumerate(rails):
        if name in rails[:number]:
            raise InputError("%s has two columns '%s'; give each rail a name of its own." % (path, name))
        if OTHER_UNIT.search(name):
            raise InputError("%s has the column '%s', which seems not to be in watts; write watts and name the column "
                             "after its rail." % (path, name))


def _trace_in(path: Path) -> Dict[str, Any]:
    value = read_json(path)
    trace = value.get("power", value) if isinstance(value, dict) else value
    if not isinstance(trace, dict) or not {"rails", "time_s", "watts"} <= set(trace):
        raise InputError("%s holds no recorded trace; it needs rails, time_s and watts." % path)
    return trace


def _parsed(path: Path, lines: Sequence[str], rails: int) -> Iterator[PowerSample]:
    before_s = -math.inf
    for cells in csv.reader(line for line in lines if line.strip()):
        try:
            time_s, *watts = map(float, cells)
        except ValueError:
            time_s, watts = math.nan, []
        if len(watts) != rails or not all(map(math.isfinite, [time_s, *watts])):
            raise InputError("%s has the row '%s'; it must be a time and %d numbers of watts." % (
                path, ",".join(cells), rails))
        if time_s < before_s:
            raise InputError("%s goes back in time: %g s stands behind %g s; sort its rows." % (path, time_s, before_s))
        before_s = time_s
        yield PowerSample(time_s, tuple(watts))
