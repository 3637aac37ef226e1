"""Channels: what a sensor measures, where it is worn, and how some of them are chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from edgehar.errors import InputError


@dataclass(frozen=True)
class Channel:
    """One measured quantity: what, where on the body, on which axis, in which unit.

    kind: "acc", "gyro", "mag", "linear_acc", ... (open). derived: made by an offline
    filter, so that a live sensor does not deliver it.
    """

    kind: str
    axis: str
    unit: str
    placement: str
    sensor: str = ""
    derived: bool = False

    @property
    def name(self) -> str:
        """``placement/sensor/kind/axis``, without empty parts; unique within a recording."""
        return "/".join(filter(None, (self.placement, self.sensor, self.kind, self.axis)))

    def to_json(self) -> Dict[str, Any]:
        """{field: value}."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Channel":
        """What `to_json` gave."""
        return cls(**value)


def triad(kind: str, unit: str, placement: str, sensor: str = "", derived: bool = False) -> Tuple[Channel, ...]:
    """The x, y and z channels of one three-axis sensor."""
    return tuple(Channel(kind, axis, unit, placement, sensor, derived) for axis in "xyz")


def positions(have: Sequence[Channel], want: Sequence[Channel]) -> List[int]:
    """Where each channel of `want` stands in `have`. Raises InputError naming one that is missing."""
    by_name = {channel.name: index for index, channel in enumerate(have)}
    for channel in want:
        if channel.name not in by_name:
            raise InputError("channel '%s' is missing; the signal has: %s." % (
                channel.name, ", ".join(by_name) or "none"))
    return [by_name[channel.name] for channel in want]


def same_end(a: str, b: str) -> bool:
    """Whether one name is the other's last parts: ``acc/x`` and ``wrist/acc/x``."""
    return ("/" + a).endswith("/" + b) or ("/" + b).endswith("/" + a)


def sensors_of(channels: Sequence[Channel]) -> Dict[str, List[int]]:
    """{"right-arm/imu": channel numbers} of each sensor: of one placement and name, its channels of whatever kinds."""
    found: Dict[str, List[int]] = {}
    for number, channel in enumerate(channels):
        found.setdefault("/".join(filter(None, (channel.placement, channel.sensor))), []).append(number)
    return found


def columns_by_kind(channels: Sequence[Channel]) -> Dict[str, List[int]]:
    """{"right-arm/imu/acc": channel numbers}: as `sensors_of`, each kind by itself."""
    found: Dict[str, List[int]] = {}
    for number, channel in enumerate(channels):
        found.setdefault("/".join(filter(None, (channel.placement, channel.sensor, channel.kind))), []).append(number)
    return found


def triads_by_placement(channels: Sequence[Channel]) -> Dict[str, List[List[int]]]:
    """{placement: [[x, y, z channel numbers], ...]}; channels that form no triad are in none."""
    groups: Dict[Tuple[str, str, str], Dict[str, int]] = {}
    for number, channel in enumerate(channels):
        groups.setdefault((channel.placement, channel.sensor, channel.kind), {})[channel.axis] = number
    found: Dict[str, List[List[int]]] = {}
    for (placement, _, _), axes in groups.items():
        if set(axes) == set("xyz"):
            found.setdefault(placement, []).append([axes[axis] for axis in "xyz"])
    return found


CHOOSABLE = ("kind", "sensor", "placement", "axis")


def choose_channels(channels: Sequence[Channel], pattern: str) -> Tuple[Channel, ...]:
    """The channels that `pattern` names, in their order. Alternatives are joined by commas.

    ::

        all                                 every channel
        live                                what no offline filter made
        wrist/acc,gyro/x                    parts of names
        placement=wrist+ankle/kind=acc      by kind, sensor, placement, axis; / means and, + means or
        live/axis=x

    Raises InputError where nothing matches, or for an unknown field.
    """
    tests = [_test(alternative.strip()) for alternative in pattern.split(",")]
    _require_each_value(channels, pattern)
    if all(any(test(channel) for channel in channels) for test in tests):
        return tuple(channel for channel in channels if any(test(channel) for test in tests))
    if pattern == "live":
        raise InputError("every channel was made by an offline filter, so none is live; choose by name or all.")
    raise InputError("no channel matches '%s'; there are: %s." % (
        pattern, ", ".join(channel.name for channel in channels)))


def _require_each_value(channels: Sequence[Channel], pattern: str) -> None:
    """Raise InputError for a value of a field, as in kind=acc+gryo, that no channel has."""
    for term in (term for alternative in pattern.split(",") for term in alternative.strip().split("/")):
        field, _, values = term.partition("=")
        have = sorted({str(getattr(channel, field)) for channel in channels}) if field in CHOOSABLE else []
        strange = [value for value in values.split("+") if field in CHOOSABLE and value not in have]
        if strange:
            raise InputError("no channel has %s=%s; there are: %s." % (field, strange[0], ", ".join(have)))


def _test(alternative: str) -> Callable[[Channel], bool]:
    terms = alternative.split("/")
    if not any("=" in term or term in ("all", "live") for term in terms):
        return lambda channel: "/%s/" % alternative in "/%s/" % channel.name
    return lambda channel: all(_meets(channel, term) for term in terms)


def _meets(channel: Channel, term: str) -> bool:
    field, equals, values = term.partition("=")
    if field == "all":
        return True
    if field == "live":
        return not channel.derived
    if not equals or field not in CHOOSABLE:
        raise InputError("'%s' chooses no channel; write all, live, or one of %s as in kind=acc+gyro." % (
            term, ", ".join("%s=" % each for each in CHOOSABLE)))
    return getattr(channel, field) in values.split("+")


def match_channels(have: Sequence[Channel], want: Sequence[Channel]) -> List[int]:
    """Where each channel of `want` stands in `have`: by the same name, else by the same last parts.

    ``acc/x`` stands for ``wrist/acc/x``, and the other way round, where only one fits.
    """
    columns = [_match(have, channel) for channel in want]
    for first, column in enumerate(columns):
        if column in columns[:first]:
            raise InputError("the source's '%s' could be '%s' or '%s'; give its columns longer names." % (
                have[column].name, want[columns.index(column)].name, want[first].name))
    return columns


def _match(have: Sequence[Channel], wanted: Channel) -> int:
    names = [channel.name for channel in have]
    if wanted.name in names:
        return names.index(wanted.name)
    found = [index for index, name in enumerate(names) if same_end(name, wanted.name)]
    if not found:
        raise InputError("the model reads channel '%s' and the source has none of that name or ending; it has: %s; "
                         "rename the right one to '%s'." % (wanted.name, ", ".join(names) or "none", wanted.name))
    if len(found) > 1:
        raise InputError("the model reads channel '%s' and the source has several that end so: %s; rename the right "
                         "one to '%s'." % (wanted.name, ", ".join(names[index] for index in found), wanted.name))
    return found[0]
