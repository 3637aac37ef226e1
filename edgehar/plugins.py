"""Where users name plug-ins of their own: on the line, in EDGEHAR_PLUGINS, or in edgehar.toml in the working folder.

::

    [plugins]
    files = ["gym.py", "networks/tcn.py", "my_package.kd2"]

A path counts from the folder of that file; what is no path is a module that Python finds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Sequence

from edgehar.errors import InputError
from edgehar.files import read_toml
from edgehar.registry import add_plugin
from edgehar.settings import NAMES, TABLE, require_settings

VARIABLE = "EDGEHAR_PLUGINS"
PROJECT = "edgehar.toml"


def add_plugins(named: Sequence[str] = ()) -> None:
    """Add those of edgehar.toml, of EDGEHAR_PLUGINS, and `named`. Raises InputError as `add_plugin`, saying where."""
    for where, some in ((PROJECT, of_project()), (VARIABLE, of_environment()), ("", named)):
        for each in some:
            try:
                add_plugin(each)
            except InputError as error:
                raise InputError("%s; it is named in %s." % (str(error).rstrip("."), where) if where
                                 else str(error)) from error


def of_environment() -> List[str]:
    """What EDGEHAR_PLUGINS names, separated as PATH is."""
    return [each for each in os.environ.get(VARIABLE, "").split(os.pathsep) if each]


def of_project() -> List[str]:
    """What edgehar.toml in the working folder names. Raises InputError where it says something else."""
    if not Path(PROJECT).is_file():
        return []
    table = read_toml(PROJECT)
    require_settings(table, {"plugins": TABLE}, PROJECT)
    require_settings(table.get("plugins", {}), {"files": NAMES}, "[plugins] of %s" % PROJECT)
    return list(table.get("plugins", {}).get("files", []))
