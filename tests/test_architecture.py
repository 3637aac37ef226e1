"""The house stands as drawn: floors, wings, Python 3.8, rooms that find a new file by themselves."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set

import pytest

import edgehar

ROOT = Path(edgehar.__file__).resolve().parent
ROOF = 7
GROUND = -1  # errors: all floors stand on it

FLOORS = {
    "errors": GROUND,
    "signals": 0, "files": 0, "settings": 0, "resampling": 0, "sysfs": 0, "ring": 0, "notify": 0, "health": 0,
    "registry": 1, "artifact": 1, "splits": 1, "scoring": 1, "scenarios": 1, "results": 1, "machine": 1, "graph": 1,
    "kernels": 1, "downloads": 1, "signing": 1, "mqtt": 1, "histories": 1, "heads": 1, "attribution": 1,
    "conditions": 1, "places": 1,
    "datasets": 2, "models": 2, "sinks": 2, "protocols": 2, "quantise": 2, "steps": 2, "cost": 2,
    "tables": 2, "energy": 2, "bundle": 2, "augment": 2,
    "backends": 3, "sources": 3, "views": 3, "distillers": 3, "saliency": 3, "plots": 3,
    "contrasts": 3, "fitting": 3, "meters": 3,
    "stream": 4, "filling": 4, "modalities": 4, "training": 4, "report": 4, "markdown": 4, "metering": 4,
    "installation": 4, "microbatches": 4, "ensembles": 4,
    "bench": 5, "service": 5, "fleet": 5, "packing": 5, "export": 5, "cells": 5,
    "study": 6, "rehearsal": 6,
    "cli": ROOF, "__main__": ROOF + 1,
}
ROOMS = ("backends", "cli", "datasets", "distillers", "meters", "models", "sinks", "sources")
TORCH_WING = {"heads", "models", "augment", "views", "saliency", "distillers", "training", "export", "cells",
              "study"}


class Import(NamedTuple):
    """`importer` (dotted, below edgehar) needs `imported`; both full module names."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return "%s line %d imports %s" % (self.importer, self.line, self.imported)


def modules() -> Dict[str, Path]:
    """{"edgehar.datasets.wisdm": path, ...}; a package under its own name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path) -> Iterator[Import]:
    """Every import in a file, those in function bodies too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "%s line %d: relative import; write the full name" % (name, node.lineno)
            for alias in node.names:
                if (node.module, alias.name) == ("edgehar", "__version__"):
                    continue  # a text in a module that imports nothing
                below = "%s.%s" % (node.module, alias.name)
                yield Import(name, below if below in MODULES else str(node.module), node.lineno)


MODULES = modules()
IMPORTS: List[Import] = [each for name, path in MODULES.items() for each in imports_of(name, path)]
INNER = [each for each in IMPORTS if each.imported.split(".")[0] == "edgehar"]


def part(module: str, depth: int) -> str:
    parts = module.split(".")
    return parts[depth] if len(parts) > depth else ""


def is_plugin(module: str) -> bool:
    last = part(module, 2)
    return bool(last) and part(module, 1) in ROOMS and last != "base" and not last.startswith("_")


# ------------------------------------------------------------------ floors


def test_the_table_names_what_exists_and_nothing_else() -> None:
    assert set(FLOORS) == {part(name, 1) for name in MODULES} - {""}
    assert set(ROOMS) == {path.parent.name for path in ROOT.glob("*/__init__.py")}


def test_the_map_in_the_root_docstring_is_this_table() -> None:
    drawn, floor = {}, None
    for line in (edgehar.__doc__ or "").splitlines():
        match = re.match(r"    (?:(roof|ground)|floor (\d))?\s+([a-z_]+)/?\s{2,}\S", line)
        if match:
            word, number, name = match.groups()
            floor = {"roof": ROOF, "ground": GROUND}[word] if word else int(number) if number else floor
            drawn[name] = (GROUND if name == "errors" else floor, "(torch)" in line)
    expected = {name: (floor, name in TORCH_WING) for name, floor in FLOORS.items() if name != "__main__"}
    assert drawn == expected


def test_imports_go_strictly_down() -> None:
    climbing = [str(each) for each in INNER if part(each.imported, 1) and part(each.importer, 1)
                and part(each.importer, 1) != part(each.imported, 1)
                and FLOORS[part(each.imported, 1)] >= FLOORS[part(each.importer, 1)]]
    assert climbing == []


def test_nobody_imports_the_root_but_for_its_version() -> None:
    assert [str(each) for each in INNER if each.imported == "edgehar"] == []


def test_the_root_imports_nothing() -> None:
    assert [each for each in IMPORTS if each.importer == "edgehar"] == []


def test_a_plugin_knows_its_base_and_private_modules_but_no_sibling() -> None:
    def allowed(each: Import) -> bool:
        last = part(each.imported, 2)
        return last == "base" or last.startswith("_")

    sideways = [str(each) for each in INNER if is_plugin(each.importer)
                and part(each.importer, 1) == part(each.imported, 1) and not allowed(each)]
    assert sideways == []


def test_no_one_keeps_a_list_of_plugins() -> None:
    """A plug-in is reached by its registry; only its tests name it."""
    named = [str(each) for each in INNER if is_plugin(each.imported)]
    assert named == []


def test_private_modules_stay_in_their_room() -> None:
    trespassing = [str(each) for each in INNER if part(each.imported, 2).startswith("_")
                   and part(each.importer, 1) != part(each.imported, 1)]
    assert trespassing == []


def test_no_cycle() -> None:
    graph: Dict[str, Set[str]] = {name: set() for name in MODULES}
    for each in INNER:
        graph[each.importer].add(each.imported)
    left = dict(graph)
    while left:
        free = [name for name, needs in left.items() if not needs & set(left) - {name}]
        assert free, "import cycle among %s" % sorted(left)
        for name in free:
            del left[name]


# ------------------------------------------------------------------ wings and grammar


def test_only_the_host_wing_imports_torch() -> None:
    users = {part(each.importer, 1) for each in IMPORTS if each.imported.split(".")[0] == "torch"}
    assert users <= TORCH_WING


def test_the_device_wing_does_not_lean_on_the_host_wing() -> None:
    leaning = [str(each) for each in INNER if part(each.imported, 1) in TORCH_WING
               and part(each.importer, 1) not in TORCH_WING | {"cli"}]
    assert leaning == []


def test_grammar_of_python_38() -> None:
    """By today's parser; and by the real one where these tests run on Python 3.8."""
    for path in MODULES.values():
        source = path.read_text(encoding="utf-8")
        ast.parse(source, str(path), feature_version=(3, 8))
        compile(source, str(path), "exec", dont_inherit=True)


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; "


def python(code: str, *arguments: str, folder: Path = ROOT.parent) -> "subprocess.CompletedProcess[str]":
    """Run `code` in a fresh interpreter that finds the edgehar package in `folder`."""
    environment = dict(os.environ, PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1")
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment, cwd=str(folder),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def test_the_device_wing_works_without_torch() -> None:
    device = [name for name in MODULES if part(name, 1) not in TORCH_WING and name != "edgehar.__main__"]
    done = python(WITHOUT_TORCH + "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *device)
    assert done.returncode == 0, done.stderr


COMMANDS = sorted(part(name, 2).replace("_", "-") for name in MODULES if part(name, 1) == "cli" and is_plugin(name))
HELP_CODE = WITHOUT_TORCH + ("from edgehar.cli import execute; "
                             "sys.exit(max([execute([c, '--help']) for c in sys.argv[1:]]))")


def test_every_help_works_without_torch() -> None:
    done = python(HELP_CODE, *COMMANDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: edgehar ") == len(COMMANDS)


# ------------------------------------------------------------------ open rooms


DROP_IN_COMMAND = '''
import click


@click.command()
def command() -> None:
    """Drop in."""
    click.echo("dropped in")
'''


def stand_in(room: str) -> str:
    """Source of a plug-in that fulfils the room's interface in name only."""
    if room == "cli":
        return DROP_IN_COMMAND
    interface = REGISTRIES[room][1]
    return ("from edgehar.%s.base import %s\n\n\nclass DropIn(%s):\n    __abstractmethods__ = frozenset()\n"
            % (room, interface, interface))


def registry_of(room: str) -> List[str]:
    """The name of a room's registry and of its interface, from ``NAME = Registry("edgehar.room", "Interface")``."""
    for node in ast.walk(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            return [target.id, node.value.args[1].value]
    raise AssertionError("edgehar/%s/__init__.py makes no Registry" % room)


REGISTRIES = {room: registry_of(room) for room in ROOMS if room != "cli"}
WINGS = {wing: [room for room in sorted(REGISTRIES) if (room in TORCH_WING) == (wing == "host")]
         for wing in ("device", "host")}
FIND = """
import importlib, sys
from edgehar.registry import add_plugin
for given in sys.argv[1:]:
    room, name, plugin = given.split(":")
    if plugin:
        add_plugin(plugin)
    registry = getattr(importlib.import_module("edgehar." + room), name)
    print(room, registry.kind("drop-in").__name__, "drop-in" in registry.names())
"""


@pytest.mark.parametrize("wing", sorted(WINGS))
@pytest.mark.parametrize("where", ["in the room", "in a folder of the user's own"])
def test_a_new_file_is_found_with_no_other_edit(wing: str, where: str, tmp_path: Path) -> None:
    if wing == "host":
        pytest.importorskip("torch")
    own = where != "in the room"
    house = ROOT if own else tmp_path / "edgehar"
    if not own:
        shutil.copytree(str(ROOT), str(house), ignore=shutil.ignore_patterns("__pycache__"))
    asked = []
    for room in WINGS[wing]:
        plugin = (tmp_path if own else house) / room / "drop_in.py"
        plugin.parent.mkdir(exist_ok=True)
        plugin.write_text(stand_in(room), encoding="utf-8")
        asked.append("%s:%s:%s" % (room, REGISTRIES[room][0], plugin if own else ""))
    done = python(FIND, *asked, folder=house.parent)
    assert done.stdout.splitlines() == ["%s DropIn True" % room for room in WINGS[wing]], done.stderr


def test_a_command_dropped_in_is_found(tmp_path: Path) -> None:
    shutil.copytree(str(ROOT), str(tmp_path / "edgehar"), ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "edgehar" / "cli" / "drop_in.py").write_text(stand_in("cli"), encoding="utf-8")
    code = "import sys; from edgehar.cli import execute; sys.exit(execute(sys.argv[1:]))"
    assert "drop-in" in python(code, "--help", folder=tmp_path).stdout
    assert python(code, "drop-in", folder=tmp_path).stdout == "dropped in\n"


def test_the_plugin_option_serves_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir()
    plugin = tmp_path / "datasets" / "gym.py"
    plugin.write_text(GYM, encoding="utf-8")
    done = python("from edgehar.cli import main; main()", "--plugin", str(plugin), "datasets", "gym")
    assert done.returncode == 0, done.stderr
    assert "Gym of my own" in done.stdout


GYM = '''
from edgehar.datasets.base import Dataset
from edgehar.signals import triad
from edgehar.splits import Split


class Gym(Dataset):
    """A corpus of the user's own."""

    title = "Gym of my own"
    rate_hz, window, hop, max_gap_s = 25.0, 64, 32, 0.2
    channels = triad("acc", "m/s^2", "wrist")
    classes = {"activity": ("squat", "lunge")}

    def split(self):
        return Split("gym", "fixed", ("a",), ("b",), ("c",))

    def recordings(self):
        return iter(())
'''


def test_the_installed_version_is_the_package_s() -> None:
    try:
        installed = importlib.metadata.version("edgehar")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("edgehar is not installed here, only on the path")
    assert installed == edgehar.__version__
