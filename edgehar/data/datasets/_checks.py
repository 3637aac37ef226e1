"""What samples of a body keep to in any corpus: signs of other units, exchanged columns, dead sensors, wrong clocks."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgehar.data.channels import Channel
from edgehar.data.signals import require_alive
from edgehar.errors import InputError

LARGEST = {"m/s^2": 200.0, "rad/s": 40.0}  # 20 g and 2,300 deg/s; in the corpora at hand up to 121 and 36
AWHILE_S = 60.0  # for which a sensor at rest may well show one value


def require_plausible(values: np.ndarray, channels: Sequence[Channel], rate_hz: float, where: str,
                      first: int = 1) -> None:
    """Refuse values (n, C), SI, beyond what worn sensors measure, or of a channel that never changes.

    Row 0 is line `first` of the file that `where` names.
    """
    require_range(values, channels, where, first)
    if len(values) > AWHILE_S * rate_hz:
        require_alive(values, channels, where)


def require_range(values: np.ndarray, channels: Sequence[Channel], where: str, first: int = 1) -> None:
    """Refuse values (n, C), SI, beyond what worn sensors measure; the arguments as of `require_plausible`."""
    largest = np.array([LARGEST.get(channel.unit, np.inf) for channel in channels])
    rows, columns = np.nonzero(np.abs(values) > largest)
    if len(rows):
        raise InputError("line %d of %s gives %.3g %s for %s, more than worn sensors measure; its columns are in "
                         "another order or unit, or it is damaged: download the file again." % (
                             first + rows[0], where, values[rows[0], columns[0]], channels[columns[0]].unit,
                             channels[columns[0]].name))


def require_gravity(acc: np.ndarray, where: str, least: float = 6.0, most: float = 14.0) -> None:
    """Refuse accelerations (n, 3), m/s^2, whose median length is not near gravity's 9.8."""
    weight = float(np.median(np.linalg.norm(acc, axis=1)))
    if not least < weight < most:
        raise InputError("%s: the median acceleration is %.3g m/s^2 where gravity is 9.8; the columns are in another "
                         "order or unit, or the sensor is dead, so download it again." % (where, weight))


def require_clock(times_s: np.ndarray, rate_hz: float, where: str, first: int = 1) -> None:
    """Refuse times (n,) that do not advance, or are nowhere near `rate_hz` (a fifth to five times that).

    The first stands in line `first` of the file that `where` names.
    """
    steps_s = np.diff(times_s)
    late = np.flatnonzero(steps_s <= 0)
    if len(late):
        raise InputError("line %d of %s is stamped %s the line before it; download the file again." % (
            first + late[0] + 1, where, "like" if steps_s[late[0]] == 0 else "%.4g s earlier than" % -steps_s[late[0]]))
    typical_hz = 1 / float(np.median(steps_s)) if len(steps_s) else rate_hz
    if not rate_hz / 5 <= typical_hz <= 5.5 * rate_hz:
        raise InputError("%s is stamped at %.3g Hz from line %d on, not near %.3g Hz; its clock is in another unit, so "
                         "download the file again." % (where, typical_hz, first, rate_hz))
