"""The lines of NVIDIA's tegrastats, of JetPack 4 and 5.

::

    JetPack 5   ... GPU 467mW/467mW CPU 467mW/467mW SOC 1245mW/1245mW ... SYS5V 2768mW/2768mW
    JetPack 4   ... GPU 0/0 CPU 216/216 SOC 864/864 ... SYS5V 1889/1889

Of each pair the first is of now, the second an average since the program began.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import time
from contextlib import closing
from typing import IO, Any, Dict, Generator, Iterator, Optional, Tuple

from edgehar.bench.meters.base import (CARRIER_RAIL, INA3221_ACCURACY, MODULE_SCOPE, NOT_CONNECTED, Meter, PowerSample,
                                       xavier_steps_w)
from edgehar.errors import MissingError

POWER = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]*) +(-?\d+(?:\.\d+)?)(mW|W)?/-?\d+(?:\.\d+)?(?:mW|W)?(?!\S)")
WORDLESS = 5  # lines without power before the first that tells it: a banner, a warning, an empty one
CARRIER_V = 5.0
PATIENCE = 10  # intervals without a line after which the program counts as dead
LEAST_PATIENCE_S = 3.0


class Tegrastats(Meter):
    """Runs tegrastats and reads the power of each rail from its lines.

    interval_s: asked of the program. program: its name or path. supply_v: voltage of the
    module's supply, which decides its step and which tegrastats does not tell.
    """

    scope = MODULE_SCOPE
    accuracy = INA3221_ACCURACY

    def __init__(self, interval_s: float = 0.1, program: str = "tegrastats", supply_v: float = 19.0,
                 total: str = "") -> None:
        super().__init__(total)
        self._interval_s = interval_s
        self._program = program
        self._supply_v = supply_v
        self._rails: Tuple[str, ...] = ()

    @property
    def rails(self) -> Tuple[str, ...]:
        """The rails of the first line that the program prints."""
        if not self._rails:
            with closing(self._lines()) as lines:
                self._rails = tuple(next(lines, ()))
        return self._rails

    def missing(self) -> Optional[str]:
        """As `Meter.missing`, after a line."""
        if shutil.which(self._program) is None:
            return "%s is not on PATH; it is part of Jetson Linux, elsewhere use another meter." % self._program
        try:
            return None if self.rails else "%s said nothing before it was closed." % self._program
        except MissingError as error:
            return str(error)

    def samples(self) -> Iterator[PowerSample]:
        """One a line with the same rails as the first."""
        rails = self.rails
        for watts in self._lines():
            if tuple(watts) == rails:
                yield PowerSample(time.monotonic(), tuple(watts.values()))

    def steps_w(self) -> Dict[str, float]:
        """Those of an AGX Xavier, at the supply voltage that was assumed."""
        volts = {rail: CARRIER_V if rail == CARRIER_RAIL else self._supply_v for rail in self._rails}
        return xavier_steps_w(volts)

    def facts(self) -> Dict[str, Any]:
        """The interval asked for and the supply voltage assumed."""
        return {"interval_s": self._interval_s, "assumed_supply_v": self._supply_v}

    def _lines(self) -> Generator[Dict[str, float], None, None]:
        """{rail: watts} of each line, until the meter is closed. Raises MissingError where there is no power in it."""
        process, told, wordless = self._started(), False, 0
        assert process.stdout  # a pipe was asked for
        try:
            for line in self._read(process.stdout):
                watts = power_of(line)
                told, wordless = told or bool(watts), wordless + (not watts)
                if not watts and not told and wordless < WORDLESS or not watts and not line.strip():
                    continue
                if not watts:
                    raise MissingError("%s reports no power to this user; run as root, or use --power jtop." %
                                       self._program)
                yield watts
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def _started(self) -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen([self._program, "--interval", str(int(round(1e3 * self._interval_s)))],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError as error:
            raise MissingError("%s cannot be started (%s); use another meter." % (
                self._program, error.strerror or error)) from error

    def _read(self, said: IO[bytes]) -> Iterator[str]:
        """Whole lines as they come. Raises MissingError where the program ends or falls silent."""
        patience_s = max(PATIENCE * self._interval_s, LEAST_PATIENCE_S)
        rest, last_s = b"", time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(said, selectors.EVENT_READ)
            while not self._stop.is_set():
                if not selector.select(timeout=0.2):
                    if time.monotonic() - last_s > patience_s:
                        raise MissingError("%s fell silent for %.0f s; start it by hand to see why." % (
                            self._program, patience_s))
                    continue
                piece = os.read(said.fileno(), 1 << 16)
                if not piece:
                    raise MissingError("%s ended by itself; start it by hand to see why." % self._program)
                *lines, rest = (rest + piece).split(b"\n")
                last_s = time.monotonic()
                yield from (line.decode("utf-8", "replace") for line in lines)


def power_of(line: str) -> Dict[str, float]:
    """{rail: watts of now} in one line; empty where it tells none. A rail that is told twice has a number, too."""
    found: Dict[str, float] = {}
    for rail, now, unit in POWER.findall(line):
        if rail != NOT_CONNECTED:
            again = sum(name.split("-")[0] == rail for name in found)
            found["%s-%d" % (rail, again + 1) if again else rail] = float(now) / (1 if unit == "W" else 1000)
    return found
