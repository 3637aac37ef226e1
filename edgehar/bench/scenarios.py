"""Scenarios: what is asked of an engine, by name or in a TOML file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import inf
from pathlib import Path
from typing import Any, Mapping

from edgehar.errors import InputError
from edgehar.files import PathLike, read_toml
from edgehar.settings import HOLD

NAMES = ("single_stream", "offline", "paced", "accuracy", "streaming")
UNTIMED = ("accuracy", "streaming")


@dataclass(frozen=True)
class Scenario:
    """What is asked of an engine.

    batch: windows a call. warmup_s: seconds not counted; one call is made even for 0.
    duration_s: seconds measured. rate_hz: windows a second that fall due (paced).
    min_queries: calls below which a warning is given. seed: order of the inputs. hop:
    samples from one window to the next, 0 for the model's own; hold: windows that must
    agree before a label changes (both streaming).

    Raises InputError for a setting that cannot be measured.
    """

    name: str
    batch: int = 1
    warmup_s: float = 1.0
    duration_s: float = 5.0
    rate_hz: float = 50.0
    min_queries: int = 1000
    seed: int = 0
    hop: int = 0
    hold: int = HOLD

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise InputError("there is no scenario '%s'; choose from: %s, or give a .toml file." % (
                self.name, ", ".join(NAMES)))
        for setting, least in (("batch", 1), ("min_queries", 1), ("seed", 0), ("warmup_s", 0), ("hop", 0), ("hold", 1)):
            _require(self, setting, least <= getattr(self, setting) < inf, "at least %d" % least)
        _require(self, "duration_s", self.name in UNTIMED or 0 < self.duration_s < inf, "above 0 and finite")
        _require(self, "rate_hz", 0 < self.rate_hz < inf, "above 0 and finite")
        _require(self, "batch", self.name in ("offline", "accuracy") or self.batch == 1,
                 "1, since its windows come one at a time")


def default_scenario(name: str) -> Scenario:
    """The scenario `name` (``-`` equals ``_``) as it is measured unless the user says otherwise."""
    name = name.replace("-", "_")
    settings: Mapping[str, Any] = {
        "offline": {"batch": 64, "min_queries": 100},
        "paced": {"duration_s": 20.0},
        "accuracy": {"batch": 64, "warmup_s": 0.0, "duration_s": 0.0, "min_queries": 1},
        "streaming": {"warmup_s": 0.0, "duration_s": 0.0, "min_queries": 1},
    }.get(name, {})
    return Scenario(name, **settings)


def load_scenario(spec: PathLike) -> Scenario:
    """A scenario by name, or from a TOML file that names one and overrides its defaults."""
    if Path(spec).suffix != ".toml":
        return default_scenario(str(spec))
    settings = read_toml(spec)
    known = [field.name for field in fields(Scenario)]
    unknown = sorted(set(settings) - set(known))
    if unknown or "name" not in settings:
        raise InputError("%s %s; a scenario has: %s." % (
            spec, "has an unknown setting '%s'" % unknown[0] if unknown else "names no scenario", ", ".join(known)))
    defaults = asdict(default_scenario(str(settings.pop("name"))))
    return Scenario(**dict(defaults, **{key: _alike(defaults[key], value, key, spec)
                                        for key, value in settings.items()}))


def _alike(default: Any, value: Any, key: str, where: PathLike) -> Any:
    """`value` as the type of `default`; TOML tells 5 from 5.0, people do not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or type(default)(value) != value:
        raise InputError("%s has %s = %r; it must be a%s number." % (
            where, key, value, " whole" if isinstance(default, int) else ""))
    return type(default)(value)


def _require(scenario: Scenario, setting: str, holds: bool, bound: str) -> None:
    if not holds:
        raise InputError("scenario %s has %s = %s; it must be %s." % (
            scenario.name, setting, getattr(scenario, setting), bound))
