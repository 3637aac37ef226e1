"""What people may set: the kinds of settings in a table that they write, and a default that several rooms share."""

from __future__ import annotations

import math
from typing import Any, Callable, Mapping, NamedTuple

from edgehar.errors import InputError

HOLD = 3  # windows that must agree before a label changes, unless one says otherwise


class Kind(NamedTuple):
    """told: what a setting must be, as the sentence that refuses another ends; fits: whether a value is that."""

    told: str
    fits: Callable[[Any], bool]


def require_settings(table: Any, kinds: Mapping[str, Kind], where: str) -> None:
    """Raise InputError where `table` is none, or has a setting that is unknown or of another kind.

    where: what the table is, to begin the sentence with.
    """
    if not isinstance(table, dict):
        raise InputError("%s is %r, not a table of settings." % (where, table))
    for key, value in table.items():
        if key not in kinds:
            raise InputError("%s has no setting '%s'; it takes: %s." % (where, key, ", ".join(kinds)))
        if not kinds[key].fits(value):
            raise InputError("%s has %s = %r; it must be %s." % (where, key, value, kinds[key].told))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(fits, value))


def _is_table(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


def _are_names(value: Any) -> bool:
    return _is_list(value, _is_text) and len(set(value)) == len(value)


def _are_seeds(value: Any) -> bool:
    return _is_list(value, _is_whole) and 0 < len(value) == len(set(value))


TEXT = Kind("a text", _is_text)
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = Kind("a whole number above 0", lambda value: _is_whole(value, 1))
SAMPLES = Kind("a number of samples above 0", COUNT.fits)
RATE = Kind("a finite number of samples a second, 0 or more", _is_rate)
RATES = Kind("a list of finite numbers above 0", lambda value: _is_list(
    value, lambda each: _is_rate(each) and each > 0))
SEEDS = Kind("a list of distinct whole numbers, 0 or more, and at least one", _are_seeds)
NAMES = Kind("a list of distinct texts", _are_names)
PAIRS = Kind("a list of lists of two texts each", lambda value: _is_list(
    value, lambda each: _is_list(each, _is_text) and len(each) == 2))
TABLE = Kind("a table of settings", lambda value: isinstance(value, dict))
TABLES = Kind("a table of tables of settings", lambda value: _is_table(value, TABLE.fits))
TEXTS = Kind("a table of texts", lambda value: _is_table(value, _is_text))
