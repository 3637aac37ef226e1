"""Which room a plug-in's file belongs to: by the folder it lies in, or by the interface its class is derived from."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Set

from edgehar.errors import InputError
from edgehar.nearest import did_you_mean

HOUSE = Path(__file__).resolve().parent


@lru_cache(maxsize=None)
def open_rooms() -> Dict[str, str]:
    """{name: package} of every folder of edgehar that holds an interface, e.g. {"meters": "edgehar.bench.meters"}."""
    return {base.parent.name: ".".join(base.parent.relative_to(HOUSE.parent).parts)
            for base in sorted(HOUSE.glob("**/base.py"))}


def room_of(path: Path) -> str:
    """The name of the room in which the file `path` may stand. It is read, and not imported.

    Raises InputError where there is no such file, or it fits no room.
    """
    if not path.is_file():
        beside = [each.name for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise InputError("%s is no plug-in: there is no such file%s." % (path, did_you_mean(path.name, beside)))
    if path.suffix != ".py":
        raise InputError("%s is no plug-in: it is no Python file; name it %s.py." % (path, path.stem))
    if path.parent.name in open_rooms():
        return path.parent.name
    found = sorted({room for base in _bases_in(path) for name, room in _interfaces().items() if name == base})
    if len(found) != 1:
        raise InputError("%s is no plug-in: it has %s; derive one public class from one of them (%s), as `edgehar new` "
                         "writes it, or put the file in a folder named like the plug-ins (%s)." % (
                             path, "classes for %s" % " and ".join(found) if found else "no class for edgehar",
                             ", ".join(sorted(_interfaces_of_users())), ", ".join(sorted(open_rooms()))))
    return found[0]


@lru_cache(maxsize=None)
def _interfaces() -> Dict[str, str]:
    """{class of a base.py: its room}."""
    return {node.name: room for room, package in open_rooms().items()
            for node in ast.parse(_base_of(package).read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def _interfaces_of_users() -> Set[str]:
    """Those that a registry asks for: of each base.py the last class that has an abstract method."""
    found = {}
    for package in open_rooms().values():
        for node in ast.parse(_base_of(package).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "ABC" for base in node.bases):
                found[package] = node.name
    return set(found.values())


def _base_of(package: str) -> Path:
    return HOUSE.parent.joinpath(*package.split("."), "base.py")


def _bases_in(path: Path) -> List[str]:
    """What the public classes of a file are derived from, by the names that edgehar gives them."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InputError("plug-in %s cannot be loaded (SyntaxError: %s, line %s); fix it." % (
            path, error.msg, error.lineno)) from error
    except (OSError, ValueError) as error:
        raise InputError("plug-in %s cannot be read (%s); fix it." % (path, error)) from error
    renamed = {each.asname: each.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
               for each in node.names if each.asname}
    named = [str(getattr(base, "id", getattr(base, "attr", ""))) for node in tree.body
             if isinstance(node, ast.ClassDef) and not node.name.startswith("_") for base in node.bases]
    return [renamed.get(name, name) for name in named]
