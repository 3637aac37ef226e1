"""The service of jetson-stats, over its socket. jetson-stats is AGPL: imported only when this meter is asked for.

What was learnt from its versions 4.3.1 and 7.2.2, run as they are: the first client sets
the interval for all; a client that sees nothing for three of its own intervals ends
without a word, as happens where another holds a slower one, and at 0.1 s under a load
that leaves it no processor for a third of a second; ``avg`` is half of now and half of
the last ``avg``, and no mean; the first sample after a pause is late.
"""

from __future__ import annotations

import re
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from edgehar import sysfs
from edgehar.bench.meters.base import INA3221_ACCURACY, MODULE_SCOPE, NOT_CONNECTED, Meter, PowerSample, xavier_steps_w
from edgehar.errors import MissingError
from edgehar.machine import package_version

OLDEST = (4, 2)
RESTART = "sudo systemctl restart jtop.service"
MISMATCH = re.compile(r"service: \[(.*?)\].*client: \[(.*?)\]")
SOCKET = "/run/jtop.sock"
NO_FOLDER = ("stop the container, on the host run sudo rmdir %s && %s, and start the container again" % (
    SOCKET, RESTART))
PATIENT_S = 1.0  # a client waits three times its own interval, whatever the service's is


class Jtop(Meter):
    """Instantaneous power of each rail, as often as the service gives it.

    interval_s: asked of the service, whose fastest is 0.1 s in practice. Where another
    client holds it at a slower one, that is taken and told in `warnings`.
    """

    scope = MODULE_SCOPE
    accuracy = INA3221_ACCURACY

    def __init__(self, interval_s: float = 0.1, total: str = "") -> None:
        super().__init__(total)
        self._interval_s = interval_s
        self._client: Any = None
        self._rails: Tuple[str, ...] = ()
        self._volts: Dict[str, float] = {}

    @property
    def rails(self) -> Tuple[str, ...]:
        """The rails that the service names."""
        self._rails = self._rails or tuple(self._watts())
        return self._rails

    def missing(self) -> Optional[str]:
        """As `Meter.missing`, after a connection."""
        try:
            self._rails = self.rails
        except MissingError as error:
            return str(error)
        return None

    def samples(self) -> Iterator[PowerSample]:
        """The first sample, taken late, is left out. Raises MissingError where the service falls silent."""
        rails, taken = self.rails, 0
        while self._next(taken):
            watts = self._watts()
            if taken:
                yield PowerSample(time.monotonic(), tuple(watts[rail] for rail in rails))
            taken += 1

    def steps_w(self) -> Dict[str, float]:
        """Those of an AGX Xavier at the voltages last measured."""
        return xavier_steps_w(self._volts)

    def supply_v(self) -> Dict[str, float]:
        """Volts of each rail, as the service told them last."""
        return dict(self._volts)

    def facts(self) -> Dict[str, Any]:
        """The intervals asked for and granted, and the client's version."""
        client = self._connected()
        return {"interval_s": self._interval_s, "granted_s": client.interval, "client": _client_version()}

    def warnings(self) -> List[str]:
        """As `Meter.warnings`, and that the service samples more slowly than it was asked to."""
        told, granted_s = super().warnings(), self._connected().interval
        if granted_s <= 1.01 * self._interval_s:
            return told
        return told + ["the jtop service was asked for a sample every %g s and gives one every %g s, since another "
                       "client was there first; close it." % (self._interval_s, granted_s)]

    def close(self) -> None:
        """As `Meter.close`; ends the connection."""
        super().close()
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _next(self, taken: int) -> bool:
        """Wait for a sample; False where the meter was closed meanwhile."""
        try:
            delivered = self._connected().ok()
        except Exception as error:  # jtop hands on whatever stopped its thread: EOFError, ConnectionError, its own
            if self._stop.is_set():
                return False
            raise MissingError("the jtop service was lost after %d samples (%s); %s." % (
                taken, error or type(error).__name__, RESTART)) from error
        if not delivered and not self._stop.is_set():
            raise MissingError("the jtop service fell silent after %d samples; %s." % (taken, RESTART))
        return bool(delivered) and not self._stop.is_set()

    def _watts(self) -> Dict[str, float]:
        """{rail: watts} of the newest sample."""
        rails = _rails_in(self._connected().power)
        if not rails:
            raise MissingError("the jtop service sees no power rail on this machine; use another meter.")
        self._volts = {name: rail["volt"] / 1e3 for name, rail in rails.items() if "volt" in rail}
        return {name: _watts_of(rail) for name, rail in rails.items()}

    def _connected(self) -> Any:
        """The client: one asks for the interval, and another that can wait longer stays."""
        if self._client is None:
            asking = self._attached(self._interval_s)
            try:
                self._client = self._attached(max(asking.interval, PATIENT_S))
            finally:
                asking.close()
        return self._client

    def _attached(self, interval_s: float) -> Any:
        if self._stop.is_set():
            raise MissingError("this meter was closed; make another.")
        client = _client_class()(interval=interval_s)
        try:
            client.start()
        except Exception as error:  # jtop hands on some errors of sockets and queues as they are
            raise MissingError(_explained(error)) from error
        return client


def _rails_in(power: Any) -> Dict[str, Dict[str, Any]]:
    """{rail: facts} of those that tell their power, the total too where it is a rail with a name."""
    value = power if isinstance(power, dict) else {}
    rails, total = dict(value.get("rail") or {}), value.get("tot") or {}
    if total.get("name"):
        rails[total["name"]] = total
    return {name: rail for name, rail in rails.items() if name != NOT_CONNECTED and rail.get("online", True)
            and ({"volt", "curr"} <= set(rail) or "power" in rail)}


def _watts_of(rail: Dict[str, Any]) -> float:
    """Volts times amperes where both are told: ``power`` is cut off to whole mW."""
    if "volt" in rail and "curr" in rail:
        return rail["volt"] * rail["curr"] / 1e6
    return rail["power"] / 1e3


def _client_class() -> Any:
    try:
        from jtop import jtop
    except ModuleNotFoundError as error:
        raise MissingError("jetson-stats is not installed here; `pip install 'jetson-stats==X.Y.*'` with the X.Y that "
                           "`jtop --version` of the board says.") from error
    except Exception as error:  # of a library that it needs
        raise MissingError("jetson-stats is installed here and cannot be loaded (%s); `pip install --force-reinstall "
                           "'jetson-stats==%s'`." % (error, package_version("jetson-stats") or "X.Y.*")) from error
    version = _client_version()
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        raise MissingError("jetson-stats %s is too old, 4.2 is the first that can be read; `sudo pip3 install -U "
                           "jetson-stats` on the board and the same here." % version)
    return jtop


def _client_version() -> str:
    import jtop

    return str(jtop.__version__)


def _explained(error: Exception) -> str:
    """What went wrong and its remedy, from what jtop raised."""
    said = str(error)
    if sysfs.located(SOCKET).is_dir():
        return "%s is a folder, as docker makes it where there is no socket to mount; %s." % (SOCKET, NO_FOLDER)
    mismatch = MISMATCH.search(said)
    if mismatch:
        service, client = mismatch.groups()
        return "the jtop service is %s and the client here %s; `pip install 'jetson-stats==%s.*'` here." % (
            service, client, ".".join(service.split(".")[:2]))
    if isinstance(error, PermissionError) or "access" in said:
        return ("this user may not use %s, which is group jtop's; `sudo usermod -aG jtop $USER` and log in again, in "
                "a container --group-add with the host's number of that group." % SOCKET)
    if isinstance(error, (FileNotFoundError, ConnectionError)) or "not active" in said:
        return "the jtop service does not run; %s, in a container mount %s." % (RESTART, SOCKET)
    if "Python" in said or "Authentication" in said:
        return "the jtop service and the client here do not understand each other (%s); install the same " \
               "jetson-stats for the same Python." % said
    return "the jtop service does not answer (%s); %s." % (said or type(error).__name__, RESTART)
