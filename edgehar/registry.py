"""Open rooms: plug-ins found by file name, and those that other packages announce.

A room is a package such as ``edgehar.data.datasets``. Each public file in it is one
plug-in, named like the file, and holds exactly one class derived from the room's
interface. `names()` imports nothing; asking for one imports that one file.

An installed package adds such files of its own by entry points, a group a room::

    [project.entry-points."edgehar.datasets"]
    gym = "my_package.gym"

A *spec* names a plug-in and its options: ``"mobilenet:size=S,conv=valid"``. A value that
holds a comma stands in quotes: ``'csv:path="a,b.csv"'``. A file may stand first without the
name of its option, which is ``path``: ``"table:mine.toml"``.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Collection, Dict, Generic, List, NamedTuple, Optional, Tuple, Type, TypeVar

from edgehar.errors import InputError
from edgehar.nearest import did_you_mean

T = TypeVar("T")
TEXT = ("str", "Optional[str]", str, Optional[str])  # annotations, as they are read from a file with or without futures
WHOLE = re.compile(r"[-+]?\d+")
QUOTED = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'')
OPTION = re.compile(r'(?:[^,=]*=)?\s*(?:%s)\s*(?=,|$)|[^,]+' % QUOTED.pattern)  # one of them, up to the next comma
TOLD = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}  # what a spec can say
PLAIN = tuple(TOLD)
OF_A_SPEC = re.compile(r"(?:typing\.|Union|Optional|NoneType|None|class|str|int|float|bool|[\W])*")
HOUSE = Path(__file__).resolve().parent
DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

_extra_files: Dict[str, Dict[str, Path]] = {}


class Announced(NamedTuple):
    """A plug-in of an installed package: its module, and the distribution that announces it."""

    module: str
    distribution: str


class Registry(Generic[T]):
    """The plug-ins of one room.

    room: package name, e.g. ``"edgehar.training.models"``; its ``base`` module holds the
    interface, named `interface`. noun: what users call one of them, where the room is
    named otherwise.
    """

    def __init__(self, room: str, interface: str, noun: str = "") -> None:
        self.room = room
        self.interface = interface
        self.noun = noun or room.rsplit(".", 1)[-1].rstrip("s")

    def names(self) -> List[str]:
        """Names of all plug-ins, sorted, with ``-`` for ``_``. Imports no plug-in."""
        return sorted({*map(_shown, self._files()), *map(_shown, _extra_files.get(self.room, {})), *self._announced()})

    def kind(self, name: str) -> Type[T]:
        """The class behind `name`.

        Raises InputError for an unknown name, one that two packages use, or a plug-in that cannot be loaded.
        """
        return self._class_in(self._module(self._known(name).replace("-", "_")))

    def create(self, spec: str, **given: Any) -> T:
        """Make the plug-in that `spec` names; what is `given` is not the spec's to set.

        Raises InputError for an unknown name or option, or a value the plug-in refuses.
        """
        name = parse_spec(spec)[0]
        kind = self.kind(name)
        options = parse_spec(spec, kind)[1]
        allowed = list(inspect.signature(kind).parameters)
        free = [key for key in allowed if key not in given]
        unknown = sorted(set(options) - set(free))
        if unknown:
            which = "option '%s'%s" % (unknown[0], did_you_mean(unknown[0], free)) if without_passwords(
                spec) == spec else "such option"
            raise InputError("%s '%s' has no %s; it takes: %s." % (
                self.noun, name, which, ", ".join(free) or "none"))
        self._require_kinds(name, kind, options)
        arguments = {key: value for key, value in given.items() if key in allowed}
        arguments.update(options)
        lacking = [key for key, each in inspect.signature(kind).parameters.items()
                   if key not in arguments and each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
        if lacking:
            raise InputError("%s '%s' needs %s; write %s." % (self.noun, name, " and ".join(lacking), "%s:%s" % (
                name, ",".join("%s=%s" % (key, key.upper()) for key in lacking))))
        try:
            return kind(**arguments)
        except (TypeError, ValueError) as error:
            raise InputError("%s '%s' cannot use its options (%s); check their values." % (
                self.noun, without_passwords(spec), error)) from error

    def _module(self, name: str) -> ModuleType:
        extra = _extra_files.get(self.room, {}).get(name)
        if extra is not None:
            return _import_file("%s.%s" % (self.room, name), extra)
        others = self._announced().get(_shown(name), [])
        owners = ["edgehar"] * (name in self._files()) + sorted(other.distribution for other in others)
        if len(owners) > 1:
            raise InputError("two packages have a %s named '%s': %s; uninstall one of them." % (
                self.noun, _shown(name), " and ".join(owners)))
        if others:
            return _import_announced(name, others[0])
        return importlib.import_module("%s.%s" % (self.room, name))

    def _require_kinds(self, name: str, kind: Callable[..., Any], options: Dict[str, Any]) -> None:
        """Raise InputError for a value of another kind than the plug-in declares."""
        parameters = inspect.signature(kind).parameters
        for key, value in options.items():
            kinds = plain_kinds(parameters[key].annotation)
            if kinds and not any(type(value) is each or each is float and type(value) is int for each in kinds):
                raise InputError("option %s of %s '%s' must be %s, not '%s'." % (
                    key, self.noun, name, " or ".join(TOLD[each] for each in kinds), value))

    def path(self, name: str) -> Path:
        """The file of a plug-in, which is not imported. Raises InputError for an unknown name."""
        name = self._known(name).replace("-", "_")
        others = self._announced().get(_shown(name), [])
        if name in _extra_files.get(self.room, {}):
            return _extra_files[self.room][name]
        if others:
            return Path(_origin(others[0].module))
        return next(path for path in (folder / (name + ".py") for folder in self._folders()) if path.is_file())

    def _known(self, name: str) -> str:
        """`name`, where there is a plug-in of it."""
        if _shown(name) not in self.names():
            raise InputError("there is no %s named '%s'%s; choose from: %s." % (
                self.noun, name, did_you_mean(name, self.names()), ", ".join(self.names())))
        return name

    def _folders(self) -> List[Path]:
        """Where the room's own files are; the room itself is not imported, for it may need torch."""
        found = importlib.util.find_spec(self.room)
        return [Path(folder) for folder in (found.submodule_search_locations or [] if found else [])]

    def _files(self) -> List[str]:
        """Names of the public files of the room."""
        found = [module.name for module in pkgutil.iter_modules([str(folder) for folder in self._folders()])]
        return [name for name in found if not name.startswith("_") and name != "base"]

    def _announced(self) -> Dict[str, List[Announced]]:
        """{name: who announces it} of installed packages."""
        return _entry_points(tuple(sys.path)).get("edgehar." + self.room.rsplit(".", 1)[-1], {})

    def _class_in(self, module: ModuleType) -> Type[T]:
        base = importlib.import_module(self.room + ".base")
        interface: Type[T] = getattr(base, self.interface)
        found = [value for name, value in sorted(vars(module).items())
                 if inspect.isclass(value) and issubclass(value, interface)
                 and value.__module__ == module.__name__ and not name.startswith("_")]
        if len(found) != 1:
            raise InputError("%s must define exactly one public %s class; it defines %d." % (
                module.__file__, self.interface, len(found)))
        return found[0]


def parse_spec(spec: str, taker: Optional[Callable[..., Any]] = None) -> Tuple[str, Dict[str, Any]]:
    """Split ``"name:key=value,..."`` into the name and its typed options.

    Whole numbers, decimals and true/false are converted; all else stays text, and so does
    what is quoted, and whatever `taker`, who is to get the options, declares as text: a file
    may be called 007. Quotes are double or single; one of them twice in a row stands for itself.
    """
    texts = _declared_as_text(taker) if taker else ()
    name, options = _split(spec)
    return name, {key: value if quoted or key in texts else _typed(value)
                  for key, (value, quoted) in options.items()}


def quoted(text: str, declared: bool = False) -> str:
    """`text` as the value of an option, such that `parse_spec` gives just that text.

    declared: whoever takes the option declares it as text.
    """
    as_it_is = declared or isinstance(_typed(text), str)
    plain = as_it_is and text == text.strip() and text and not re.search("[,\"']", text)
    return text if plain else '"%s"' % text.replace('"', '""')


def without_passwords(spec: str) -> str:
    """`spec` as it may be shown: of a password, or where one may have been typed for its file, nothing."""
    return re.sub(r"(?i)(pass\w*=).*", r"\1...", spec, flags=re.DOTALL)


def canonical(spec: str, without: Collection[str] = ()) -> str:
    """One text for the spellings of a spec that differ in dashes or the order of options; to compare by.

    without: options that count for nothing. Values are compared as they are written, and a
    default is not filled in, for it may change with the version. What is no spec stays as it is.
    """
    try:
        name, options = _split(spec)
    except InputError:
        return spec
    kept = sorted("%s=%s" % (key, quoted(value) if marked else value) for key, (value, marked) in options.items()
                  if key not in without)
    return _shown(name) + (":" + ",".join(kept) if kept else "")


def _split(spec: str) -> Tuple[str, Dict[str, Tuple[str, bool]]]:
    """The name, and {key: (value, whether it was quoted)}."""
    name, _, rest = spec.partition(":")
    options: Dict[str, Tuple[str, bool]] = {}
    for item in OPTION.findall(rest) + [""] * _has_empty(rest):
        whole = bool(QUOTED.fullmatch(item.strip()))
        key, equals, value = ("", "", "") if whole else item.partition("=")
        if not equals and not options and (whole or "." in item or "/" in item):  # a file alone is the path
            key, equals, value = "path", "=", item
        value = value.strip()
        if not equals:
            shown = without_passwords(spec)
            what = "an option" if shown != spec else "option '%s'" % item
            raise InputError("%s in '%s' has no value; write name:key=value,key=value, and quotes around a value "
                             "that is to be kept whole: key=\"a,b\"." % (what, shown))
        mark = value[:1] if QUOTED.fullmatch(value) else ""
        text = value[1:-1].replace(2 * mark, mark) if mark else value
        options[key.strip().replace("-", "_")] = (text, bool(mark))
    return name.strip(), options


def _has_empty(options: str) -> bool:
    """Whether a comma has no option before or behind it."""
    left = OPTION.sub("x", options)
    return bool(left) and not all(left.split(","))


def add_plugin(path: Path) -> str:
    """Let the file `path` stand in the room its parent folder is named after.

    ``my/datasets/gym.py`` becomes dataset ``gym``. Returns ``"datasets/gym"``.
    """
    path = Path(path).resolve()
    room = open_rooms().get(path.parent.name)
    if not path.is_file() or room is None:
        raise InputError("%s is no plug-in: it must be an existing file in a folder named like a room (%s)." % (
            path, ", ".join(sorted(open_rooms()))))
    _extra_files.setdefault(room, {})[path.stem.replace("-", "_")] = path
    return "%s/%s" % (path.parent.name, path.stem)


def added_plugins() -> List[Path]:
    """The files that were added, for another process to add too."""
    return [path for room in _extra_files.values() for path in room.values()]


def open_rooms() -> Dict[str, str]:
    """{name: package} of every folder of edgehar that holds an interface, e.g. {"meters": "edgehar.bench.meters"}."""
    return {base.parent.name: ".".join(base.parent.relative_to(HOUSE.parent).parts)
            for base in HOUSE.glob("**/base.py")}


def _import_file(name: str, path: Path) -> ModuleType:
    if getattr(sys.modules.get(name), "__file__", None) != str(path):
        spec = importlib.util.spec_from_file_location(name, str(path))
        if spec is None or spec.loader is None:
            raise InputError("plug-in %s is no Python file; name it %s.py." % (path, path.stem))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise InputError("plug-in %s cannot be loaded (%s: %s); mend it." % (
                path, type(error).__name__, error)) from error
    return sys.modules[name]


def _import_announced(name: str, plugin: Announced) -> ModuleType:
    """The module of an installed plug-in; it is named like the plug-in, which takes its own name from there."""
    if plugin.module.rsplit(".", 1)[-1] != name:
        raise InputError("the package %s announces plug-in '%s' as %s; it must be a module of that name." % (
            plugin.distribution, _shown(name), plugin.module))
    try:
        return importlib.import_module(plugin.module)
    except Exception as error:
        raise InputError("plug-in '%s' of the package %s cannot be loaded (%s: %s); mend or uninstall that package." % (
            _shown(name), plugin.distribution, type(error).__name__, error)) from error


def _origin(module: str) -> str:
    """The file of a module, which is not imported."""
    found = importlib.util.find_spec(module)
    return str(found.origin) if found else module


@lru_cache(maxsize=None)
def _entry_points(path: Tuple[str, ...]) -> Dict[str, Dict[str, List[Announced]]]:
    """{group: {name: who announces it}} of the packages installed on `path`, each package once."""
    from importlib import metadata

    found: Dict[str, Dict[str, List[Announced]]] = {}
    for distribution in metadata.distributions(path=list(path)):
        for entry in distribution.entry_points:
            if entry.group.startswith("edgehar."):
                others = found.setdefault(entry.group, {}).setdefault(_shown(entry.name), [])
                plugin = Announced(entry.value, distribution.metadata["Name"])
                if plugin not in others:
                    others.append(plugin)
    return found


def _shown(name: str) -> str:
    return name.replace("_", "-")


def plain_kinds(annotation: Any) -> Optional[Tuple[type, ...]]:
    """Those of str, int, float and bool that a parameter takes, none where it does not say; None: it takes no such."""
    if annotation is inspect.Parameter.empty:
        return ()
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kinds = tuple(each for each in PLAIN if re.search(r"\b%s\b" % each.__name__, text))
    return kinds if kinds and OF_A_SPEC.fullmatch(text) else None


def _declared_as_text(taker: Callable[..., Any]) -> List[str]:
    return [name for name, parameter in inspect.signature(taker).parameters.items() if parameter.annotation in TEXT]


def _typed(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if DECIMAL.fullmatch(text) else text
