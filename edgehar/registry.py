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
import os
import pkgutil
import re
import sys
import traceback
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import (Any, Callable, Collection, Dict, Generic, Iterator, List, NamedTuple, Optional, Set, Tuple, Type,
                    TypeVar, Union)

from edgehar.errors import InputError
from edgehar.interfaces import HOUSE as HOUSE, open_rooms as open_rooms, room_of
from edgehar.nearest import did_you_mean

T = TypeVar("T")
PathLike = Union[str, Path]
TEXT = ("str", "Optional[str]", str, Optional[str])  # annotations, as they are read from a file with or without futures
WHOLE = re.compile(r"[-+]?\d+")
QUOTED = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'')
OPTION = re.compile(r'(?:[^,=]*=)?\s*(?:%s)\s*(?=,|$)|[^,]+' % QUOTED.pattern)  # one of them, up to the next comma
TOLD = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}  # what a spec can say
PLAIN = tuple(TOLD)
OF_A_SPEC = re.compile(r"(?:typing\.|Union|Optional|NoneType|None|class|str|int|float|bool|[\W])*")
DECIMAL = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(?<!\.py)")

_extra_files: Dict[str, Dict[str, Path]] = {}
_extra_modules: Dict[Path, str] = {}  # by which name those are imported that were added by it
_loaded: Set[str] = set()  # files of plug-ins that are not edgehar's own


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
        self._require_whole(name, kind)
        lacking = [key for key, each in inspect.signature(kind).parameters.items()
                   if key not in arguments and each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
        if lacking:
            raise InputError("%s '%s' needs %s; write %s." % (self.noun, name, " and ".join(lacking), "%s:%s" % (
                name, ",".join("%s=%s" % (key, key.upper()) for key in lacking))))
        try:
            return self._with_facts(name, kind(**arguments))
        except (TypeError, ValueError) as error:
            place = fault_place(error)
            raise InputError("%s '%s' cannot use its options (%s%s); check their values%s." % (
                self.noun, without_passwords(spec), error, ", " + place if place else "", ", or fix it" if place
                else "")) from error

    def _module(self, name: str) -> ModuleType:
        extra = _extra_files.get(self.room, {}).get(name)
        if extra in _extra_modules:
            return _import_announced(name, Announced(_extra_modules[extra], _extra_modules[extra].split(".")[0]))
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

    def _require_whole(self, name: str, kind: Type[T]) -> None:
        """Raise InputError for a class that lacks methods of the interface."""
        lacking = sorted(getattr(kind, "__abstractmethods__", ()))
        if lacking:
            raise InputError("%s '%s' (%s) lacks %s of %s; write %s, or begin with `edgehar new`." % (
                self.noun, name, shown_path(self.path(name)), " and ".join(each + "()" for each in lacking),
                self.interface, "it" if len(lacking) == 1 else "them"))

    def _with_facts(self, name: str, made: T) -> T:
        """`made`, where it has whatever its interface names without a value. Raises InputError where it has not."""
        interface = getattr(importlib.import_module(self.room + ".base"), self.interface)
        there = {*vars(made), *(key for each in type(made).__mro__ for key in vars(each))}
        lacking = [key for key in vars(interface).get("__annotations__", {}) if key not in there]
        if lacking:
            raise InputError("%s '%s' (%s) lacks %s; give it a value in the class, as `%s = ...`." % (
                self.noun, name, shown_path(self.path(name)), " and ".join(lacking), lacking[0]))
        return made

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
        if self.room.startswith("edgehar."):
            return [HOUSE.parent.joinpath(*self.room.split("."))]
        return [Path(folder) for folder in importlib.import_module(self.room).__path__]

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


def add_plugin(named: PathLike) -> Path:
    """Let a file of the user's own, or a module by its name, stand in its room. Nothing is imported.

    named: ``my/datasets/gym.py``, which becomes dataset ``gym``; ``gym.py`` anywhere with a class
    derived from `Dataset`; or ``my_package.gym``. Returns its file. Raises InputError for what is
    no plug-in, or has a name that is taken.
    """
    module = str(named) if MODULE.fullmatch(str(named)) and not Path(named).is_file() else ""
    path = Path(_origin(module) if module else named).resolve()
    room = open_rooms()[room_of(path)]
    name = path.stem.replace("-", "_")
    registry: Registry[Any] = Registry(room, "")
    there = _extra_files.get(room, {}).get(name)
    if there is None and _shown(name) in registry.names():
        there = registry.path(name)
    if there not in (None, path):
        raise InputError("plug-in %s has a name that is taken: there is a %s '%s' already, in %s; call the file "
                         "otherwise." % (path, registry.noun, _shown(name), there))
    _extra_files.setdefault(room, {})[name] = path
    if module:
        _extra_modules[path] = module
    return path


def added_plugins() -> List[str]:
    """What was added, for another process to add too."""
    return [_extra_modules.get(path, str(path)) for room in _extra_files.values() for path in room.values()]


@contextmanager
def plugins_kept() -> Iterator[None]:
    """Forget afterwards what was added within."""
    before, loaded = {room: dict(files) for room, files in _extra_files.items()}, set(_loaded)
    try:
        yield
    finally:
        _extra_files.clear()
        _extra_files.update(before)
        _loaded.intersection_update(loaded)


def fault_place(error: BaseException) -> str:
    """"gym.py line 12", the place in a plug-in of the user's from which `error` was raised; "" where it was in none."""
    place = ""
    within: Optional[BaseException] = error
    while within is not None:
        for frame, line in traceback.walk_tb(within.__traceback__):
            if frame.f_code.co_filename in _loaded:
                place = "%s line %d" % (shown_path(frame.f_code.co_filename), line)
        within = within.__cause__
    return place


def loaded_plugins() -> List[str]:
    """The files of plug-ins of the user's that were imported, as they are shown."""
    return sorted(map(shown_path, _loaded))


def shown_path(path: PathLike) -> str:
    """`path`, from here where that is shorter."""
    return min(str(path), os.path.relpath(str(path)), key=len)


def _import_file(name: str, path: Path) -> ModuleType:
    _loaded.add(str(path))
    if getattr(sys.modules.get(name), "__file__", None) != str(path):
        spec = importlib.util.spec_from_file_location(name, str(path))
        assert spec is not None and spec.loader is not None, path
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            place = fault_place(error).rpartition(" line ")[2]
            raise InputError("plug-in %s cannot be loaded (%s: %s%s); fix it." % (
                path, type(error).__name__, error, ", line " + place if place else "")) from error
    return sys.modules[name]


def _import_announced(name: str, plugin: Announced) -> ModuleType:
    """The module of an installed plug-in; it is named like the plug-in, which takes its own name from there."""
    if plugin.module.rsplit(".", 1)[-1] != name:
        raise InputError("the package %s announces plug-in '%s' as %s; it must be a module of that name." % (
            plugin.distribution, _shown(name), plugin.module))
    try:
        module = importlib.import_module(plugin.module)
        _loaded.add(str(module.__file__))
        return module
    except Exception as error:
        raise InputError("plug-in '%s' of the package %s cannot be loaded (%s: %s); fix or uninstall that package." % (
            _shown(name), plugin.distribution, type(error).__name__, error)) from error


def _origin(module: str) -> str:
    """The file of a module, which is not imported. Raises InputError where there is none."""
    try:
        found = importlib.util.find_spec(module)
    except ImportError:  # a package that it stands in
        found = None
    if found is None or found.origin is None:
        raise InputError("%s is no plug-in: there is no file and no module of that name; a file ends in .py." % module)
    return found.origin


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
