"""The house stands as drawn: floors, wings, Python 3.8, rooms that find a new file by themselves."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set

import pytest

import edgehar

ROOT = Path(edgehar.__file__).resolve().parent
GYM = Path(__file__).resolve().parents[1] / "plugins" / "datasets" / "gym.py"

# Floors by folder, along the way of the data; imports go strictly down. A new module needs no line here.
FLOORS = {
    "errors": 0, "nearest": 0, "settings": 1, "files": 1, "sysfs": 1, "interfaces": 1, "packages": 1, "processes": 1,
    "machine": 2, "probes": 2, "registry": 2, "manual": 3, "plugins": 3,
    "data": 3, "artifact": 4, "results": 5, "training": 6, "backends": 6, "stream": 7,
    "bench": 8, "deploy": 8, "study": 9, "cli": 10, "__main__": 11,
}
TORCH_WING = {"training", "study"}


class Import(NamedTuple):
    """`importer` (dotted, below edgehar) needs `imported`; both full module names."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return "%s line %d imports %s" % (self.importer, self.line, self.imported)


def modules() -> Dict[str, Path]:
    """{"edgehar.data.datasets.wisdm": path, ...}; a package under its own name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def rooms() -> Dict[str, str]:
    """{"datasets": "edgehar.data.datasets", ...}: packages with an interface in base.py, and the commands."""
    found = {".".join(path.parent.relative_to(ROOT.parent).parts) for path in ROOT.rglob("base.py")} | {"edgehar.cli"}
    return {package.rsplit(".", 1)[1]: package for package in sorted(found)}


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
ROOMS = rooms()
IMPORTS: List[Import] = [each for name, path in MODULES.items() for each in imports_of(name, path)]
INNER = [each for each in IMPORTS if each.imported.split(".")[0] == "edgehar"]


def part(module: str, depth: int) -> str:
    parts = module.split(".")
    return parts[depth] if len(parts) > depth else ""


def room_of(module: str) -> str:
    """The open room that a module stands in, e.g. "edgehar.data.datasets"; empty for finished machinery."""
    return max((room for room in ROOMS.values() if module.startswith(room + ".")), key=len, default="")


def is_plugin(module: str) -> bool:
    last = module[len(room_of(module)) + 1:]
    return bool(room_of(module)) and "." not in last and last != "base" and not last.startswith("_")


def private_owner(module: str) -> str:
    """The package a private module belongs to, e.g. "edgehar.cli" of "edgehar.cli._show"; empty for a public one."""
    parts = module.split(".")
    private = [depth for depth, word in enumerate(parts) if word.startswith("_") and not word.startswith("__")]
    return ".".join(parts[:private[0]]) if private else ""


# ------------------------------------------------------------------ floors


def test_the_table_names_what_exists_and_nothing_else() -> None:
    assert set(FLOORS) == {part(name, 1) for name in MODULES} - {""}


def test_every_room_and_module_says_what_it_is() -> None:
    """The map is drawn from these sentences, so that no one keeps it by hand."""
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent in ([], ["edgehar.__main__"])


def test_imports_go_strictly_down() -> None:
    climbing = [str(each) for each in INNER if part(each.imported, 1) and part(each.importer, 1)
                and part(each.importer, 1) != part(each.imported, 1)
                and FLOORS[part(each.imported, 1)] >= FLOORS[part(each.importer, 1)]]
    assert climbing == []


def test_nobody_imports_the_root_but_for_its_version() -> None:
    assert [str(each) for each in INNER if each.imported == "edgehar"] == []


def test_the_root_imports_nothing_but_for_type_checkers() -> None:
    """Its names are loaded when they are asked for; tests/house/test_face.py holds them."""
    statements = ast.parse(MODULES["edgehar"].read_text(encoding="utf-8")).body
    imported = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in statements
                if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert imported == ["os", "importlib", "typing"]  # os: no telemetry, which must be said before anything is imported


def test_a_plugin_knows_its_base_and_private_modules_but_no_sibling() -> None:
    def allowed(each: Import) -> bool:
        last = each.imported[len(room_of(each.imported)) + 1:]
        return last == "base" or last.startswith("_")

    sideways = [str(each) for each in INNER if is_plugin(each.importer)
                and room_of(each.importer) == room_of(each.imported) and not allowed(each)]
    assert sideways == []


def test_no_one_keeps_a_list_of_plugins() -> None:
    """A plug-in is reached by its registry; only its tests name it."""
    named = [str(each) for each in INNER if is_plugin(each.imported)]
    assert named == []


def test_private_modules_stay_in_their_room() -> None:
    trespassing = [str(each) for each in INNER if private_owner(each.imported)
                   and not (each.importer + ".").startswith(private_owner(each.imported) + ".")]
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
               and each.importer != "edgehar" and part(each.importer, 1) not in TORCH_WING | {"cli"}]
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
    return ("from %s.base import %s\n\n\nclass DropIn(%s):\n    __abstractmethods__ = frozenset()\n"
            % (ROOMS[room], interface, interface))


def registry_of(package: str) -> List[str]:
    """The name of a room's registry and of its interface, from ``NAME = Registry("edgehar.room", "Interface")``."""
    for node in ast.walk(ast.parse(MODULES[package].read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and len(getattr(node.value, "args", ())) == 2:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            return [target.id, node.value.args[1].value]
    raise AssertionError("%s makes no Registry" % package)


REGISTRIES = {room: registry_of(package) for room, package in ROOMS.items() if room != "cli"}
WINGS = {wing: [room for room in sorted(REGISTRIES) if (part(ROOMS[room], 1) in TORCH_WING) == (wing == "host")]
         for wing in ("device", "host")}
FIND = """
import importlib, sys
from edgehar.registry import add_plugin, open_rooms
for given in sys.argv[1:]:
    room, name, plugin = given.split(":")
    if plugin:
        add_plugin(plugin)
    registry = getattr(importlib.import_module(open_rooms()[room]), name)
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
        plugin = tmp_path / room / "drop_in.py" if own else house.parent.joinpath(*ROOMS[room].split("."), "drop_in.py")
        plugin.parent.mkdir(exist_ok=True)
        plugin.write_text(stand_in(room), encoding="utf-8")
        asked.append("%s:%s:%s" % (room, REGISTRIES[room][0], plugin if own else ""))
    done = python(FIND, *asked, folder=house.parent)
    assert done.stdout.splitlines() == ["%s DropIn True" % room for room in WINGS[wing]], done.stderr


def test_a_command_dropped_in_is_found(tmp_path: Path) -> None:
    shutil.copytree(str(ROOT), str(tmp_path / "edgehar"), ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "edgehar" / "cli" / "drop_in.py").write_text(stand_in("cli"), encoding="utf-8")
    code = "import sys; from edgehar.cli import execute; sys.exit(execute(sys.argv[1:]))"
    assert "More commands:\n  drop-in " in python(code, "--help", folder=tmp_path).stdout
    assert python(code, "drop-in", folder=tmp_path).stdout == "dropped in\n"


def test_the_plugin_option_serves_a_dataset() -> None:
    done = python("from edgehar.cli import main; main()", "--plugin", str(GYM), "datasets", "gym")
    assert done.returncode == 0, done.stderr
    assert "Gym of my own" in done.stdout


def test_the_installed_version_is_the_package_s() -> None:
    try:
        installed = importlib.metadata.version("edgehar")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("edgehar is not installed here, only on the path")
    assert installed == edgehar.__version__
