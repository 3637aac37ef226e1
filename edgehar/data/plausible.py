"""Whether samples can be of worn sensors in SI units, and in which other unit they seem to be."""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.data.channels import Channel, columns_by_kind
from edgehar.data.signals import STANDARD_GRAVITY
from edgehar.data.units import SI

UNIT, NO_GRAVITY, MARK = "unit", "no gravity", "mark of missing values"
LEAST_S = 1.0  # a shorter signal says too little of its unit
LEAST_WEIGHT, MOST_WEIGHT = 3.0, 45.0  # m/s^2; medians of a person on Earth, over a second or more, lie between
FEET = (29.0, 36.0)  # a weight on Earth in ft/s^2, which nobody bears for a second while its direction is steady
LARGEST = {"m/s^2": 200.0, "rad/s": 60.0, "T": 0.01}  # single samples beyond are no measurement
FASTEST_TURNING = 15.0  # rad/s, root mean square over a window
ABSURD = 4.0  # times the largest, from which on a single value shows that it stands for a missing one
BLOCK = 64  # samples over which gravity has about one direction
DEGREE = math.pi / 180

# what a median length of acceleration is nearest to at rest, and by how much to multiply it
WEIGHTS: Dict[float, str] = {
    1000.0: "milli-g (multiply it by 0.00980665) or in cm/s^2 (by 0.01)",
    **{2.0 ** bits: "raw counts of %d a g (multiply it by %.6g)" % (2 ** bits, STANDARD_GRAVITY / 2 ** bits)
       for bits in (6, 7, 8, 9, 11, 12, 13, 14, 15)},
    9806.65: "mm/s^2 (multiply it by 0.001)"}
FIELDS = ((3e-3, 5.0, "gauss (multiply it by 0.0001)"), (5.0, 200.0, "microtesla (multiply it by 1e-06)"),
          (200.0, 1000.0, "milligauss (multiply it by 1e-07)"), (1e4, 1e5, "nanotesla (multiply it by 1e-09)"))


class Doubt(NamedTuple):
    """Why samples cannot be what their channels say. sensor: "wrist/acc"; kind: `UNIT`, `NO_GRAVITY` or `MARK`."""

    sensor: str
    kind: str
    sentence: str


def doubts(samples: np.ndarray, channels: Sequence[Channel]) -> List[Doubt]:
    """What speaks against finite `samples` (n, C), n about a second or more, being SI of a worn sensor.

    The values of acceleration with gravity, turning and magnetic field are looked at, where
    they are said to be in m/s^2, rad/s and tesla; of acceleration of another kind, such as
    linear_acc, and of other channels only the unit that is declared.
    """
    found: List[Doubt] = []
    for name, columns in columns_by_kind(channels).items():
        channel = channels[columns[0]]
        found += _foreign(name, channel)
        look = LOOKS.get((channel.kind, channel.unit))
        if look is None or not len(samples):
            continue
        values = np.asarray(samples[:, columns], dtype=np.float64)
        mark = _mark(values, LARGEST[channel.unit])
        if mark is not None:
            found.append(Doubt(name, MARK, "%s holds %.6g%s, which is no measurement but a mark of missing values; "
                               "leave those samples out or write nan" % (
                                   name, mark, " again and again" if (values == mark).sum() > 1 else "")))
            values = values[~(np.abs(values) > LARGEST[channel.unit]).any(axis=1)]
        doubt = look(name, values, channel) if len(values) else None
        found += [doubt] if doubt else []
    return found


def _foreign(name: str, channel: Channel) -> List[Doubt]:
    """A doubt where the channel itself says that it is in another unit than SI."""
    si, factor = SI.get(channel.unit, (channel.unit, 1.0))
    if si == channel.unit:
        return []
    return [Doubt(name, UNIT, "%s is declared in %s, and recordings hold %s, as streams do; multiply it by "
                  "%.6g and declare %s" % (name, channel.unit, si, factor, si))]


def _mark(values: np.ndarray, largest: float) -> Optional[float]:
    """The value that stands for missing ones: beyond all measurement where others are not, and absurd or the same
    each time."""
    beyond = np.abs(values) > largest
    share = beyond.any(axis=1).mean()
    if not 0 < share < 0.5:
        return None
    marks, counts = np.unique(values[beyond], return_counts=True)
    mark, count = float(marks[counts.argmax()]), int(counts.max())
    return mark if count >= beyond.sum() / 2 and (count >= 2 or abs(mark) > ABSURD * largest) else None


def _doubt_weight(name: str, values: np.ndarray, channel: Channel) -> Optional[Doubt]:
    if values.shape[1] != 3 or channel.derived:
        return None
    weight = float(np.median(np.linalg.norm(values, axis=1)))
    feet = FEET[0] <= weight <= FEET[1] and _steadiness(values) > 0.9
    if weight == 0 or LEAST_WEIGHT <= weight <= MOST_WEIGHT and not feet:
        return None
    told = "acceleration of %s is %.3g m/s^2 by its median, and gravity is 9.8 m/s^2" % (name, weight)
    if feet:
        return Doubt(name, UNIT, "%s; it seems to be in ft/s^2: multiply it by 0.3048" % told)
    if weight > MOST_WEIGHT:
        unit = WEIGHTS[min(WEIGHTS, key=lambda one: abs(math.log(weight / one)))]
        return Doubt(name, UNIT, "%s; it seems to be in %s" % (told, unit))
    if weight > 0.3 and _steadiness(values) > 0.5:
        return Doubt(name, UNIT, "%s; it seems to be in g: multiply it by 9.80665" % told)
    return Doubt(name, NO_GRAVITY, "%s; gravity seems to be taken out: name its channels linear_acc and not acc, or "
                 "put gravity back" % told)


def _steadiness(values: np.ndarray) -> float:
    """How much of the length of (n, 3) is one direction for a block of samples: near 1 with gravity, near 0 without."""
    blocks = [values[first:first + BLOCK] for first in range(0, max(1, len(values) - BLOCK + 1), BLOCK)]
    steady = [float(np.linalg.norm(block.mean(axis=0)) / max(np.linalg.norm(block, axis=1).mean(), 1e-12))
              for block in blocks]
    return float(np.median(steady))


def _doubt_turning(name: str, values: np.ndarray, channel: Channel) -> Optional[Doubt]:
    turning = float(np.sqrt((values ** 2).sum(axis=1).mean()))
    if turning <= FASTEST_TURNING:
        return None
    unit = ("deg/s: multiply it by 0.0174533" if turning * DEGREE <= FASTEST_TURNING else
            "milli-deg/s or raw counts: multiply it by 1.74533e-05, or by its own factor")
    return Doubt(name, UNIT, "turning of %s is %.3g rad/s on average, faster than a body turns; it seems to be in "
                 "%s" % (name, turning, unit))


def _doubt_field(name: str, values: np.ndarray, channel: Channel) -> Optional[Doubt]:
    field = float(np.median(np.linalg.norm(values, axis=1)))
    unit = next((unit for low, high, unit in FIELDS if low <= field < high), "")
    if not unit:
        return None
    return Doubt(name, UNIT, "the magnetic field of %s is %.3g tesla, and the Earth's is 0.00005; it seems to be in "
                 "%s" % (name, field, unit))


LOOKS = {("acc", "m/s^2"): _doubt_weight, ("gyro", "rad/s"): _doubt_turning, ("mag", "T"): _doubt_field}


def said(found: Sequence[Tuple[str, Doubt]], most: int = 3) -> str:
    """One sentence of [(where, doubt)], the first few of them in words."""
    told = ["%s: %s" % (where, doubt.sentence) for where, doubt in found[:most]]
    more = len(found) - len(told)
    return "; ".join(told) + (" (and %d more)" % more if more else "")
