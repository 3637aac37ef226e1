"""Topics of MQTT, of one wearer or, with {wearer} and perhaps {placement} in them, of many."""

from __future__ import annotations

from typing import Optional

from edgehar.errors import InputError
from edgehar.stream.mailbox import Who

WEARER, PLACEMENT = "{wearer}", "{placement}"


class Topic:
    """``site/{wearer}/samples``: a level each for the wearer and the placement, where there are many; else a topic.

    Raises InputError for what names no topic.
    """

    def __init__(self, pattern: object) -> None:
        self.pattern = str(pattern)
        self._levels = self.pattern.split("/")
        plain = [level for level in self._levels if level not in (WEARER, PLACEMENT)]
        if not self.pattern or any(mark in level for level in plain for mark in "+#\0{}"):
            raise InputError("'%s' is no single topic of MQTT, such as wearers/anna/activity, nor one of many wearers, "
                             "such as site/{wearer}/activity, where {wearer} is a level of its own." % self.pattern)
        if self._levels.count(WEARER) > 1 or self._levels.count(PLACEMENT) > 1 or not (
                self.many or PLACEMENT not in self._levels):
            raise InputError("'%s' must hold {wearer} once, and {placement} at most once beside it." % self.pattern)

    @property
    def many(self) -> bool:
        """Whether it is of many wearers."""
        return WEARER in self._levels

    @property
    def placed(self) -> bool:
        """Whether it names where sensors are worn."""
        return PLACEMENT in self._levels

    @property
    def filter(self) -> str:
        """What to subscribe to."""
        return "/".join("+" if level in (WEARER, PLACEMENT) else level for level in self._levels)

    @property
    def fixed(self) -> str:
        """The levels before the first that differs: ``site`` of ``site/{wearer}/samples``; all where none does."""
        known = [number for number, level in enumerate(self._levels) if level in (WEARER, PLACEMENT)]
        return "/".join(self._levels[:known[0]] if known else self._levels)

    def of(self, who: Who) -> str:
        """The topic of one wearer."""
        names = {WEARER: who.wearer, PLACEMENT: who.placement}
        return "/".join(names.get(level, level) for level in self._levels)

    def who(self, topic: str) -> Optional[Who]:
        """Whose `topic` is; None where it does not fit, or the wearer's name is empty."""
        levels = topic.split("/")
        if len(levels) != len(self._levels):
            return None
        found = {own: level for own, level in zip(self._levels, levels) if own in (WEARER, PLACEMENT)}
        fits = all(own == level or own in found for own, level in zip(self._levels, levels))
        return Who(found.get(WEARER, ""), found.get(PLACEMENT, "")) if fits and found.get(WEARER) else None
