"""The INA3221 chips of a Jetson, read through the kernel's hwmon files (JetPack 5)."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from edgehar import sysfs
from edgehar.bench.meters.base import INA3221_ACCURACY, MODULE_SCOPE, NOT_CONNECTED, XAVIER_STEP_A, Meter, PowerSample
from edgehar.errors import MissingError

CHIPS = "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
SHUNT_STEP_V = 40e-6  # INA3221 datasheet, section 8.6.2.2: one step of the shunt register
REMEDY = "use --power jtop, whose service reads them for you, or run as root"


class Unreadable(MissingError):
    """One file of a channel tells nothing, for whatever reason but permission."""


class RailFiles(NamedTuple):
    """One rail: where its voltage (mV) and its current (mA) stand, and amperes a step."""

    rail: str
    volts: str
    amperes: str
    step_a: float


class Ina3221(Meter):
    """Volts times amperes of each labelled channel, in one pass over all of them.

    interval_s: mean time from one pass to the next. A pass waits for the chips, 6.6 ms
    each without averaging (drivers/hwmon/ina3221.c), so below 0.02 s nothing is gained.
    The sum of shunt voltages (in7), channels named NC and those turned off are left out, and so are
    those that cannot be read, which `warnings` tells. A further chip with labels that are
    taken, as on a carrier, has its own name before them.
    """

    scope = MODULE_SCOPE
    accuracy = INA3221_ACCURACY

    def __init__(self, interval_s: float = 0.05, total: str = "") -> None:
        super().__init__(total)
        self._interval_s = interval_s
        self._channels: List[RailFiles] = []
        self._volts: Dict[str, float] = {}
        self._silent: List[str] = []

    @property
    def rails(self) -> Tuple[str, ...]:
        """The labels of the chips' channels."""
        return tuple(channel.rail for channel in self._found())

    def missing(self) -> Optional[str]:
        """As `Meter.missing`, after a sample."""
        try:
            self._pass()
        except MissingError as error:
            return str(error)
        return None

    def samples(self) -> Iterator[PowerSample]:
        """All channels, one after the other, at uneven steps of `interval_s` on average."""
        for _ in self._ticks(self._interval_s):
            yield self._pass()

    def steps_w(self) -> Dict[str, float]:
        """A step of each channel's current at the voltage it was last measured at."""
        return {channel.rail: channel.step_a * self._volts[channel.rail] for channel in self._channels
                if channel.rail in self._volts}

    def supply_v(self) -> Dict[str, float]:
        """Volts of each rail, of the last sample."""
        return dict(self._volts)

    def facts(self) -> Dict[str, Any]:
        """The interval asked for, and over how many conversions each chip averages."""
        chips = sysfs.found(CHIPS)
        return {"interval_s": self._interval_s,
                "averaged": {path.split("/")[-3]: sysfs.number(path + "/samples") for path in chips}}

    def warnings(self) -> List[str]:
        """As `Meter.warnings`, and which channels cannot be read."""
        told = super().warnings()
        return told + ["%s cannot be read and %s left out" % (
            ", ".join(self._silent), "is" if len(self._silent) == 1 else "are")] if self._silent else told

    def _pass(self) -> PowerSample:
        """One sample; its time is the middle of the pass."""
        started_s, watts = time.monotonic(), []
        for channel in self._found():
            volts = _thousandth(channel.volts)
            self._volts[channel.rail] = volts
            watts.append(volts * _thousandth(channel.amperes))
        return PowerSample((started_s + time.monotonic()) / 2, tuple(watts))

    def _found(self) -> List[RailFiles]:
        if not self._channels:
            self._look()
        if not self._channels:
            raise MissingError("no INA3221 shows under %s; on JetPack 4 use --power tegrastats, elsewhere another "
                               "meter." % CHIPS)
        return self._channels

    def _look(self) -> None:
        found: List[RailFiles] = []
        for chip in sysfs.found(CHIPS):
            found += _channels_of(chip, [channel.rail for channel in found])
        self._channels = [channel for channel in found if _tells(channel)]
        self._silent = [channel.rail for channel in found if channel not in self._channels]


def _channels_of(chip: str, taken: Sequence[str]) -> List[RailFiles]:
    """Those of one chip; `taken`: names of rails of the chips before."""
    found = []
    for label in sysfs.found(chip + "/in[123]_label"):
        number, rail = label[-len("1_label")], _name_in(label)
        if rail and rail != NOT_CONNECTED and sysfs.number("%s/in%s_enable" % (chip, number)) != 0:
            shunt_ohm = (sysfs.number("%s/shunt%s_resistor" % (chip, number)) or 0) / 1e6
            found.append(RailFiles(rail, "%s/in%s_input" % (chip, number), "%s/curr%s_input" % (chip, number),
                                 SHUNT_STEP_V / shunt_ohm if shunt_ohm else XAVIER_STEP_A))
    rails = [channel.rail for channel in found]
    if len(set(rails)) == len(rails) and not set(rails) & set(taken):
        return found
    address = chip.split("/")[-3]
    return [channel._replace(rail="%s/%s" % (address, channel.rail) if rails.count(channel.rail) == 1 else
                             "%s/%s-%d" % (address, channel.rail, number)) for number, channel in enumerate(found, 1)]


def _name_in(path: str) -> str:
    """Empty where it is none. Raises MissingError where this user may not read it."""
    try:
        return _read(path).strip("\0\n\t ")
    except Unreadable:
        return ""


def _tells(channel: RailFiles) -> bool:
    """Whether both its files hold a number. Raises MissingError where this user may not read them."""
    try:
        return all(_thousandth(path) is not None for path in (channel.volts, channel.amperes))
    except Unreadable:
        return False


def _thousandth(path: str) -> float:
    """The number in a file of mV or mA, in V or A. Raises Unreadable where there is none."""
    try:
        return int(_read(path)) / 1e3
    except ValueError as error:
        raise Unreadable("%s holds no number; %s." % (path, REMEDY)) from error


def _read(path: str) -> str:
    try:
        return sysfs.located(path).read_text(encoding="utf-8")
    except PermissionError as error:
        raise MissingError("%s may not be read by this user; %s." % (path, REMEDY)) from error
    except (OSError, ValueError) as error:
        raise Unreadable("%s cannot be read (%s); %s." % (
            path, getattr(error, "strerror", None) or "no text", REMEDY)) from error
