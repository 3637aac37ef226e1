"""RAPL: the energy counters of x86 processors, read through the kernel's powercap files."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from edgehar import sysfs
from edgehar.bench.meters.base import TOTAL, Meter, PowerSample
from edgehar.errors import MissingError

ZONES = "/sys/class/powercap/intel-rapl:*"  # AMD's processors use the name too
DEFAULT_STEP_J = 61e-6  # Intel's manual, volume 3B, MSR_RAPL_POWER_UNIT: 2^-14 J unless stated otherwise
IN_TOTAL = ("package", "dram")  # not "psys", which counts the packages once more, nor "core" within one


class Zone(NamedTuple):
    """One counter. energy: file of uJ; wraps_at_j: where it starts again from 0."""

    rail: str
    energy: str
    wraps_at_j: float


class Rapl(Meter):
    """Joules counted since the last reading, as mean watts at the middle between the two.

    The counters are of the processor packages and their memory: neither the mainboard
    nor disks nor the power supply are in them. Zones within a package ("core") are rails
    of their own and no part of the total, which has them already.

    interval_s: mean time from one reading to the next.
    """

    scope = "processor packages and their memory; mainboard, disks and power supply are not in them"

    def __init__(self, interval_s: float = 0.1) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._zones: List[Zone] = []

    @property
    def rails(self) -> Tuple[str, ...]:
        """The zones' names, those within a package behind its name and a slash."""
        return tuple(zone.rail for zone in self._found())

    def missing(self) -> Optional[str]:
        """As `Meter.missing`, after a reading."""
        try:
            self._read()
        except MissingError as error:
            return str(error)
        return None

    def samples(self) -> Iterator[PowerSample]:
        """Mean watts between two readings of the energy counters, at uneven steps of `interval_s` on average."""
        before_s, before_j = time.monotonic(), self._read()
        for _ in self._ticks(self._interval_s):
            now_s, now_j = time.monotonic(), self._read()
            if now_s - before_s < self._interval_s / 4:
                continue
            yield PowerSample((before_s + now_s) / 2, tuple(
                _counted_j(zone, was, has) / (now_s - before_s)
                for zone, was, has in zip(self._zones, before_j, now_j)))
            before_s, before_j = now_s, now_j

    def totals(self) -> Dict[str, Tuple[str, ...]]:
        """The packages and their memory; zones within a package are counted there already."""
        summed = tuple(rail for rail in self.rails if rail.rsplit("/", 1)[-1].startswith(IN_TOTAL))
        return {TOTAL: summed} if summed else {}

    def warnings(self) -> List[str]:
        """None."""
        return []

    def steps_w(self) -> Dict[str, float]:
        """A step of the energy counter over the interval."""
        return dict.fromkeys(self.rails, DEFAULT_STEP_J / self._interval_s)

    def facts(self) -> Dict[str, Any]:
        """The interval asked for."""
        return {"interval_s": self._interval_s}

    def _read(self) -> List[float]:
        return [_joules(zone.energy) for zone in self._found()]

    def _found(self) -> List[Zone]:
        self._zones = self._zones or [_zone(path) for path in sysfs.found(ZONES) if sysfs.text(path + "/name")]
        if not self._zones:
            raise MissingError("no RAPL counter shows under %s: neither virtual machines nor Arm boards have one; use "
                               "a wall meter: --power replay:path=FILE.csv,clock=unix." % ZONES)
        return self._zones


def _zone(path: str) -> Zone:
    """The zone at ``.../intel-rapl:0`` is a package, ``.../intel-rapl:0:1`` a part of it."""
    name, number = sysfs.text(path + "/name"), path.rsplit("intel-rapl", 1)[1]
    whole = path[:len(path) - len(number)] + ":" + number.split(":")[1]
    rail = name if path == whole else "%s/%s" % (sysfs.text(whole + "/name"), name)
    return Zone(rail, path + "/energy_uj", (sysfs.number(path + "/max_energy_range_uj") or 0) / 1e6)


def _counted_j(zone: Zone, before_j: float, now_j: float) -> float:
    return now_j - before_j if now_j >= before_j else now_j - before_j + zone.wraps_at_j


def _joules(path: str) -> float:
    try:
        return int(sysfs.located(path).read_text(encoding="ascii")) / 1e6
    except PermissionError as error:
        raise MissingError("%s may be read only by root since CVE-2020-8694; run as root, or `sudo chmod a+r %s`." % (
            path, path)) from error
    except (OSError, ValueError) as error:
        raise MissingError("%s cannot be read (%s); use another meter." % (path, error)) from error
