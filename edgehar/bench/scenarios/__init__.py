"""Scenarios, one file each: what is asked of an engine, and what is measured meanwhile."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from edgehar.bench.scenarios.base import Scenario
from edgehar.errors import InputError
from edgehar.files import PathLike, read_toml
from edgehar.registry import Registry

SCENARIOS: "Registry[Scenario]" = Registry("edgehar.bench.scenarios", "Scenario")


def load_scenario(spec: PathLike) -> Scenario:
    """A scenario by its spec, e.g. "paced:rate_hz=2", or from a TOML file that names one and its settings.

    Raises InputError for an unknown scenario or setting, and for a value that cannot be measured.
    """
    if Path(spec).suffix != ".toml":
        return SCENARIOS.create(str(spec))
    settings = read_toml(spec)
    if "name" not in settings:
        raise InputError("%s names no scenario; give name = one of: %s." % (spec, ", ".join(SCENARIOS.names())))
    kind = SCENARIOS.kind(str(settings.pop("name")))
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError("%s has an unknown setting '%s'; this scenario has: %s." % (
            spec, unknown[0], ", ".join(known) or "none"))
    return kind(**settings)
