"""The command line as it was typed, for a Run to keep."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

ABSOLUTE_OPTION = re.compile(r"=/([^,/]*/)*")  # all but the last part of a path such as in replay:path=/data/wall.csv


def typed_line(context: click.Context) -> str:
    """The command with its arguments and the options that were given; absolute paths are cut to their last part, for
    a Run travels."""
    words = context.command_path.split()
    for plugin in context.find_root().params.get("plugins", ()):
        words += ["--plugin", _travelling(plugin)]
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        if isinstance(parameter, click.Argument):
            words += [_travelling(each) for each in (value if parameter.nargs != 1 else [value]) if each is not None]
        elif isinstance(parameter, click.Option) and _typed(context, parameter):
            for each in value if parameter.multiple else [value]:
                words += [parameter.opts[-1]] if parameter.is_flag else [parameter.opts[-1], _travelling(each)]
    return " ".join(map(shlex.quote, words))


def _typed(context: click.Context, option: click.Option) -> bool:
    return context.get_parameter_source(str(option.name)) == ParameterSource.COMMANDLINE


def _travelling(value: Any) -> str:
    """`value` with its absolute path, or those within a spec, cut to their last part."""
    path = Path(str(value))
    return path.name if path.is_absolute() else ABSOLUTE_OPTION.sub("=", str(value))
