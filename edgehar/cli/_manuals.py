"""The plug-ins of a room and the options of each, as `edgehar sources mqtt` and `--source mqtt:help` print them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Tuple

import click

from edgehar.cli._show import show_json, show_next

if TYPE_CHECKING:
    from edgehar.manual import Manual, Option
    from edgehar.registry import Registry

WIDEST = 100  # characters of a line, as in click's help
METAVARS = {"text": "TEXT", "a whole number": "INTEGER", "a number": "NUMBER", "true or false": "true|false"}


class Room(NamedTuple):
    """How the plug-ins of a room are listed and used. given: parameters that no spec sets."""

    command: str
    option: str
    given: Tuple[str, ...] = ()


ROOMS: Dict[str, Room] = {
    "datasets": Room("datasets", "--data", ("root",)), "models": Room("models", "--model", ("signal", "tasks")),
    "distillers": Room("methods", "--method"), "backends": Room("backends", "--backend"),
    "meters": Room("meters", "--power"), "scenarios": Room("scenarios", "--scenario"),
    "sources": Room("sources", "--source", ("signal", "split")), "sinks": Room("sinks", "--sink"),
    "disturbances": Room("disturbances", "--disturbance"), "personalisers": Room("personalisers", "--method"),
}


def show_room(room: str, as_json: bool = False) -> None:
    """Print name and title of every plug-in of a room. None is imported."""
    from edgehar.manual import title_of
    from edgehar.registry import Registry, open_rooms

    registry: Registry[Any] = Registry(open_rooms()[room], "")
    titles = {name: title_of(registry, name) for name in registry.names()}
    if as_json:
        show_json([{"name": name, "title": title} for name, title in titles.items()])
        return
    formatter = click.HelpFormatter(width=_width())
    formatter.write_dl([(name, title or "-") for name, title in titles.items()])
    click.echo(formatter.getvalue(), nl=False)
    show_next("edgehar %s %s" % (ROOMS[room].command, next(iter(titles))))


def manual_in(room: str, name: str) -> Manual:
    """What the plug-in `name` tells of itself. Raises InputError for an unknown one."""
    from edgehar.manual import manual_of

    return manual_of(_registry(room), name, ROOMS[room].given)


def show_manual(room: str, name: str) -> None:
    """Print what a plug-in is, how one writes it, and its options."""
    from edgehar.registry import HOUSE

    manual, file = manual_in(room, name), _registry(room).path(name)
    needed = ",".join("%s=%s" % (each.name, each.name.upper()) for each in manual.options if each.needed)
    named = manual.title.lower().startswith(manual.name.replace("-", " "))
    _paragraph(manual.title if named else "%s: %s" % (manual.name, manual.title), _width())
    for text in manual.text:
        _paragraph(text, _width())
    if HOUSE not in file.resolve().parents:
        _paragraph("From %s." % os.path.relpath(str(file)), _width())
    click.echo("Written as: %s %s%s%s" % (ROOMS[room].option, manual.name, ":" + needed if needed else "", "" if len(
        manual.options) == needed.count("=") else "%sOPTION=VALUE,..." % ("," if needed else ":")))
    show_options(manual)
    if any("text" in each.kind for each in manual.options):
        click.echo("\n" + click.wrap_text("A value that holds a comma stands in quotes, inside those of the shell: "
                                          "'%s:KEY=\"a,b\"'." % manual.name, _width()))


def show_options(manual: Manual) -> None:
    """Print each option with its kind, what it does and its default."""
    if not manual.options:
        return
    formatter = click.HelpFormatter(width=_width())
    with formatter.section("\nOptions"):
        formatter.write_dl([("%s=%s" % (each.name, _metavar(each)), _told(each)) for each in manual.options])
    click.echo(formatter.getvalue().rstrip("\n"))


def _metavar(option: Option) -> str:
    return "|".join(METAVARS[kind] for kind in option.kind.split(" or ")) if option.kind not in METAVARS else METAVARS[
        option.kind]


def _told(option: Option) -> str:
    default = option.default
    shown = "true" if default is True else "false" if default is False else "%s" % default
    end = "  [needed]" if option.needed else "" if default in (None, "") else "  [default: %s]" % shown
    return (option.told + end).strip()


def _paragraph(text: str, width: int) -> None:
    click.echo(text if text.startswith(" ") else click.wrap_text(text, width))
    click.echo()


def _width() -> int:
    return min(WIDEST, shutil.get_terminal_size().columns)


def _registry(room: str) -> Registry[Any]:
    """The registry that the room's package makes."""
    from importlib import import_module

    from edgehar.registry import Registry, open_rooms

    found: List[Registry[Any]] = [each for each in vars(import_module(open_rooms()[room])).values()
                                  if isinstance(each, Registry)]
    return found[0]
