"""What people may set: the kinds of settings in a table that they write, and a default that several rooms share.

A table that becomes a value says so in that value's own class::

    @dataclass(frozen=True)
    class Recipe:
        epochs: int = setting(40, least=1)

        def __post_init__(self) -> None:
            require_fit(self, "the recipe")

and is read by ``from_table(Recipe, table, "the recipe")``.
"""

from __future__ import annotations

import math
from dataclasses import field, fields
from typing import Any, Callable, Dict, Mapping, NamedTuple, Type, TypeVar

from edgehar.errors import InputError
from edgehar.nearest import did_you_mean

T = TypeVar("T")
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
            raise InputError("%s has no setting '%s'%s; it takes: %s." % (
                where, key, did_you_mean(key, kinds), ", ".join(kinds)))
        if not kinds[key].fits(value):
            raise InputError("%s has %s = %r; it must be %s." % (where, key, value, kinds[key].told))


def setting(default: Any, least: float = -math.inf, above: float = -math.inf, below: float = math.inf,
            most: float = math.inf) -> Any:
    """A dataclass's field that a table may set, of the kind of its default; a number stays within the bounds."""
    if isinstance(default, bool):
        kind = SWITCH
    elif isinstance(default, str):
        kind = TEXT
    else:
        kind = number_kind(type(default), least, above, below, most)
    return field(default=default, metadata={"kind": kind})


def kinds_of(value: Any) -> Dict[str, Kind]:
    """{name: kind} of the fields of a dataclass, or of a value of one, that are made by `setting`."""
    return {each.name: each.metadata["kind"] for each in fields(value) if "kind" in each.metadata}


def from_table(kind: Type[T], table: Any, where: str) -> T:
    """The dataclass `kind` from a table of its settings. Raises InputError as `require_settings` does."""
    require_settings(table, kinds_of(kind), where)
    return kind(**table)


def require_fit(value: Any, where: str) -> None:
    """Raise InputError where a field of a dataclass's value, however that was made, is not of its kind."""
    kinds = kinds_of(value)
    require_settings({name: getattr(value, name) for name in kinds}, kinds, where)


def number_kind(type_: type, least: float = -math.inf, above: float = -math.inf, below: float = math.inf,
                most: float = math.inf) -> Kind:
    """A whole number where `type_` is int, else a finite one, within the bounds that are given."""
    bounds = {"of at least %.15g": least, "above %.15g": above, "below %.15g": below, "at most %.15g": most}
    told = " and ".join(text % bound for text, bound in bounds.items() if abs(bound) != math.inf)
    return Kind(("a %s number %s" % ("whole" if type_ is int else "finite", told)).rstrip(),
                lambda value: (isinstance(value, int) if type_ is int else True) and _is_number(value)
                and least <= value <= most and above < value < below)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_rate(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(fits, value))


def _is_table(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


def _are_names(value: Any) -> bool:
    return _is_list(value, _is_text) and len(set(value)) == len(value)


def _are_seeds(value: Any) -> bool:
    return _is_list(value, _is_whole) and 0 < len(value) == len(set(value))


TEXT = Kind("a text", _is_text)
COUNT_OR_NAMES = Kind("a whole number above 0, or a list of names, each once",
                      lambda value: _is_whole(value, 1) or (_are_names(value) and bool(value)))
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = Kind("a whole number above 0", lambda value: _is_whole(value, 1))
SAMPLES = Kind("a number of samples above 0", COUNT.fits)
RATE = Kind("a finite number of samples per second, 0 or more", _is_rate)
RATES = Kind("a list of finite numbers above 0", lambda value: _is_list(
    value, lambda each: _is_rate(each) and each > 0))
SEEDS = Kind("a list of distinct whole numbers, 0 or more, and at least one", _are_seeds)
NAMES = Kind("a list of distinct texts", _are_names)
PAIRS = Kind("a list of lists of two texts each", lambda value: _is_list(
    value, lambda each: _is_list(each, _is_text) and len(each) == 2))
TABLE = Kind("a table of settings", lambda value: isinstance(value, dict))
TABLES = Kind("a table of tables of settings", lambda value: _is_table(value, TABLE.fits))
TEXTS = Kind("a table of texts", lambda value: _is_table(value, _is_text))
