"""What the files of a logger or of somebody's corpus hold, as a TOML file says it; the same for training and streams.

::

    [files]                              which files, and how their text is written
    pattern = "(?P<subject>\\\\d+)/(?P<session>[^/]+)\\\\.csv"
    [time]                               the column of the clock and its unit, or a rate
    column = "time"
    unit = "ns"
    [channels."wrist/acc"]               columns to channels, in their unit
    columns = ["x", "y", "z"]
    unit = "g"
    [labels]                             a column, the name of the file, or a file of intervals
    column = "activity"
    [corpus]                             rate, window, classes, licence: what training needs
    [split]                              who is trained on, selected on, tested on

A key that is unknown or of another kind is refused with its line, so that a slip is not
passed over. docs/your-data.md describes every key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from edgehar.data.channels import Channel
from edgehar.data.clocks import UNITS, is_unit
from edgehar.data.units import SI
from edgehar.errors import InputError
from edgehar.nearest import alternatives
from edgehar.files import read_toml
from edgehar.settings import COUNT, NAMES, SWITCH, TABLE, TABLES, TEXT, TEXTS, Kind

Column = Union[str, int]  # its name in the header, a regular expression for it between slashes, or its number from 1
GROUPS = ("subject", "session", "placement", "label", "sensor", "part")
BY_HEADER = "channels"  # of files.header: the names in the header are those of channels, in SI units


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_column(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


NUMBER = Kind("a number", _is_number)
ABOVE_0 = Kind("a number above 0", lambda value: _is_number(value) and value > 0)
WHOLE = Kind("a whole number, 0 or more", lambda value: isinstance(value, int) and not isinstance(value, bool)
             and value >= 0)
COLUMN = Kind("the name of a column, or its number from 1", _is_column)
COLUMNS = Kind("a list of columns", lambda value: isinstance(value, list) and len(value) > 0
               and all(map(_is_column, value)))
ROWS = Kind("a list of the first and the last row, from 1", lambda value: isinstance(value, list) and len(value) == 2
            and all(map(COUNT.fits, value)) and value[0] <= value[1])
HEADER = Kind('true, false, "channels" or the list of the columns\' names', lambda value: value == BY_HEADER
              or isinstance(value, bool) or NAMES.fits(value))
LIST_OF_TABLES = Kind("tables in [[ ]]", lambda value: isinstance(value, list) and all(map(TABLE.fits, value)))
CLASSES = Kind("a list of names", NAMES.fits)
GROUPS_OF_NAMES = Kind("a list of lists of names", lambda value: isinstance(value, list)
                       and all(map(NAMES.fits, value)))

KINDS: Dict[str, Dict[str, Kind]] = {
    "": {"layout": TABLE, "files": TABLE, "time": TABLE, "channels": TABLES, "labels": TABLE, "corpus": TABLE,
         "split": TABLE, "messages": TABLE, "leave_out": LIST_OF_TABLES, "breaks": LIST_OF_TABLES},
    "layout": {"title": TEXT, "about": TEXT, "head": TEXT, "example": TEXT},
    "files": {"pattern": TEXT, "glob": TEXT, "folder": TEXT, "archive": NAMES, "separator": TEXT, "decimal": TEXT,
              "encoding": TEXT, "skip_lines": WHOLE, "skip_until": TEXT, "header": HEADER, "units_row": SWITCH,
              "terminator": TEXT, "missing": NAMES, "zeros_are_missing": SWITCH, "join": TEXT},
    "time": {"column": COLUMN, "unit": TEXT, "rate_hz": ABOVE_0, "fastest_hz": ABOVE_0, "tick_s": ABOVE_0,
             "bits": COUNT, "rate_line": COUNT},
    "channels": {"column": COLUMN, "columns": COLUMNS, "axes": NAMES, "plus": COLUMNS,
                 "unit": TEXT, "scale": NUMBER, "offset": NUMBER, "sensor": TEXT, "derived": SWITCH},
    "labels": {"task": TEXT, "column": COLUMN, "from": TEXT, "map": TEXTS, "ignore": NAMES, "apart": SWITCH,
               "intervals": TABLE},
    "labels.intervals": {"file": TEXT, "separator": TEXT, "header": HEADER, "start": COLUMN, "end": COLUMN,
                         "label": COLUMN, "unit": TEXT, "first": WHOLE, "inclusive": SWITCH, "match": TABLE},
    "corpus": {"title": TEXT, "licence": TEXT, "citation": TEXT, "url": TEXT, "rate_hz": ABOVE_0, "window_s": ABOVE_0,
               "hop_s": ABOVE_0, "max_gap_s": ABOVE_0, "classes": CLASSES, "aliases": TEXTS,
               "together": GROUPS_OF_NAMES},
    "split": {"train": NAMES, "valid": NAMES, "test": NAMES, "left_out": NAMES, "seed": WHOLE},
    "messages": {"samples": TEXT, "time": TEXT, "values": NAMES, "name": TEXT, "unit": TEXT},
    "leave_out": {"files": TEXT, "rows": ROWS, "why": TEXT},
    "breaks": {"before": NAMES, "why": TEXT}}


@dataclass(frozen=True)
class Text:
    """How a file of rows is written. skip_until: lines before the first that this fits are passed over."""

    separator: str = ","
    decimal: str = "."
    encoding: str = ""
    skip_lines: int = 0
    skip_until: str = ""
    header: Union[bool, str, Tuple[str, ...]] = True
    units_row: bool = False
    terminator: str = ""
    missing: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Timing:
    """The clock. column None: there is none, and `rate_hz` or the number in line `rate_line` of the file says it."""

    column: Optional[Column] = None
    unit: str = "s"
    rate_hz: float = 0.0
    fastest_hz: float = 0.0
    tick_s: float = 1.0
    bits: int = 0
    rate_line: int = 0


@dataclass(frozen=True)
class Measured:
    """One channel and the columns whose sum it is: ``((sum * scale) + offset) * factor`` is in SI units.

    sensor: the file's group of that name that it stands in; empty where there is one file.
    """

    channel: Channel
    columns: Tuple[Column, ...]
    scale: float = 1.0
    offset: float = 0.0
    factor: float = 1.0
    sensor: str = ""


@dataclass(frozen=True)
class Intervals:
    """A file of labelled stretches beside the recordings. match: {group of the file: column}."""

    file: str
    start: Column
    end: Column
    label: Column
    separator: str = ","
    header: Union[bool, Tuple[str, ...]] = True
    unit: str = "s"
    first: int = 0
    inclusive: bool = False
    match: Mapping[str, Column] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """Where the label of a sample stands. apart: a change of label ends a recording."""

    task: str = "activity"
    column: Optional[Column] = None
    from_name: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    ignore: Tuple[str, ...] = ()
    apart: bool = False
    intervals: Optional[Intervals] = None


class LeftOut(NamedTuple):
    """Rows (first, last), from 1, of the files whose whole path `files` fits, or all of them, that are not read."""

    files: str
    rows: Optional[Tuple[int, int]]


@dataclass(frozen=True)
class Description:
    """All that a description says. `path`: of the TOML file; `facts`: its tables [corpus], [split] and [layout]."""

    path: str
    text: Text
    time: Timing
    measured: Tuple[Measured, ...]
    labels: Optional[Labels]
    pattern: str = ""
    folder: str = ""
    archive: Tuple[str, ...] = ()
    join: str = "time"
    zeros_are_missing: bool = False
    left_out: Tuple[LeftOut, ...] = ()
    breaks: Tuple[str, ...] = ()
    messages: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return Path(self.path).stem

    @property
    def channels(self) -> Tuple[Channel, ...]:
        """The channels of a recording, in the order of the description."""
        return tuple(each.channel for each in self.measured)

    def corpus(self, key: str, default: Any = "") -> Any:
        """What [corpus] says of `key`."""
        return self.facts.get("corpus", {}).get(key, default)

    def line_of(self, table: str, key: str = "") -> str:
        """``FILE.toml line 7``, where `key` of [table] stands; the file alone where it does not."""
        return place_of(Path(self.path), table, key)


def read_description(path: Union[str, Path]) -> Description:
    """The description in a TOML file. Raises InputError naming file, line and what stands there."""
    path = Path(path)
    tables = read_toml(path)
    _require_known(path, "", tables, KINDS[""])
    for name in ("layout", "files", "time", "labels", "corpus", "split", "messages"):
        _require_known(path, name, tables.get(name, {}), KINDS[name])
    for name in ("leave_out", "breaks"):
        for each in tables.get(name, []):
            _require_known(path, name, each, KINDS[name])
    files, labels = tables.get("files", {}), _labels(path, tables)
    text = _text(path, files)
    time = _timing(path, tables.get("time"), text)
    return Description(
        path=str(path), text=text, time=time, measured=_channels(path, tables, text), labels=labels,
        pattern=_pattern(path, files), folder=files.get("folder", ""), archive=tuple(files.get("archive", ())),
        join=files.get("join", "time"), zeros_are_missing=files.get("zeros_are_missing", False),
        left_out=tuple(LeftOut(each["files"], tuple(each["rows"]) if "rows" in each else None)
                       for each in tables.get("leave_out", []) if _has(path, "leave_out", each, "files")),
        breaks=tuple(name for each in tables.get("breaks", []) for name in each.get("before", ())),
        messages=tables.get("messages", {}), facts={name: tables.get(name, {}) for name in (
            "corpus", "split", "layout")})


# ------------------------------------------------------------------ sentences


def place_of(path: Path, table: str, key: str = "") -> str:
    """``FILE.toml line 7``: where `key` of the table stands, else the table, else the file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return str(path)
    here, found = "", 0
    for number, line in enumerate(lines, 1):
        heading = re.match(r"\s*\[\[?([^\]]+)\]\]?", line)
        if heading:
            here = heading.group(1).replace('"', "").replace("'", "").strip()
            found = number if here == table and not found else found
        elif key and here == table and re.match(r"\s*[\"']?%s[\"']?\s*[.=]" % re.escape(key), line):
            return "%s line %d" % (path, number)
    return "%s line %d" % (path, found) if found else str(path)


def _fault(path: Path, table: str, key: str, told: str) -> InputError:
    return InputError("%s: %s%s %s" % (place_of(path, table, key), "[%s] " % table if table else "", key, told))


def _require_known(path: Path, table: str, values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """Raise InputError for a key that is unknown, with the nearest that is known, or a value of another kind."""
    for key, value in values.items():
        if key not in kinds:
            raise _fault(path, table or key, key if table else "", "is no key of a description; %s." % (
                alternatives(key, list(kinds))))
        if not kinds[key].fits(value):
            raise _fault(path, table, key, "is %r; it must be %s." % (value, kinds[key].told))


def _has(path: Path, table: str, values: Mapping[str, Any], key: str) -> bool:
    if key not in values:
        raise _fault(path, table, "", "lacks '%s'." % key)
    return True


# ------------------------------------------------------------------ parts


def _text(path: Path, files: Mapping[str, Any]) -> Text:
    chosen = {key: files[key] for key in Text.__dataclass_fields__ if key in files}
    for key in ("header", "missing"):
        if isinstance(chosen.get(key), list):
            chosen[key] = tuple(chosen[key])
    chosen["separator"] = {"tab": "\t", "space": " "}.get(chosen.get("separator", ","), chosen.get("separator", ","))
    if len(chosen["separator"]) != 1:
        raise _fault(path, "files", "separator", "is %r; it must be one character, \"tab\" or \"space\"." % (
            files["separator"]))
    if chosen.get("decimal", ".") not in (".", ","):
        raise _fault(path, "files", "decimal", "is %r; it must be \".\" or \",\"." % files["decimal"])
    if files.get("join", "time") not in ("time", "row"):
        raise _fault(path, "files", "join", "is %r; it must be \"time\" or \"row\"." % files["join"])
    if "skip_until" in chosen:
        _require_regex(path, "files", "skip_until", chosen["skip_until"])
    return Text(**chosen)


def _timing(path: Path, table: Optional[Mapping[str, Any]], text: Text) -> Timing:
    if table is None and text.header == BY_HEADER:
        return Timing(column="time_s")
    table = table or {}
    if not is_unit(table.get("unit", "s")):
        raise _fault(path, "time", "unit", "is %r; it must be one of %s, or a format such as %%d/%%m/%%Y "
                     "%%H:%%M:%%S.%%f." % (table["unit"], ", ".join(UNITS)))
    if not {"column", "rate_hz", "rate_line"} & set(table):
        raise _fault(path, "time", "", "names no clock; give column and unit, or rate_hz where the files have none.")
    return Timing(**table)


def _channels(path: Path, tables: Mapping[str, Any], text: Text) -> Tuple[Measured, ...]:
    found: List[Measured] = []
    for name, table in tables.get("channels", {}).items():
        where = "channels.%s" % name
        _require_known(path, where, table, KINDS["channels"])
        if table.get("unit", "") not in SI:
            raise _fault(path, where, "unit", "is %r; it must be one of: %s." % (table.get("unit", ""), ", ".join(SI)))
        if ("column" in table) == ("columns" in table):
            raise _fault(path, where, "", "needs either column, for one channel, or columns, for one per axis.")
        found += _measured(path, where, name, table)
    names = [each.channel.name for each in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise _fault(path, "channels.%s" % twice[0], "", "is described twice.")
    if not found and "messages" not in tables and text.header != BY_HEADER:
        raise _fault(path, "channels", "", 'describes no channel; add [channels."wrist/acc"] with columns and unit.')
    return tuple(found)


def _measured(path: Path, where: str, name: str, table: Mapping[str, Any]) -> List[Measured]:
    unit, factor = SI[table["unit"]]
    columns = table.get("columns", [table.get("column")])
    axes = table.get("axes", list("xyz")) if "columns" in table else [""]
    plus = table.get("plus", [])
    if len(axes) != len(columns) or (plus and len(plus) != len(columns)):
        raise _fault(path, where, "columns", "are %d for the axes %s%s; give one each." % (
            len(columns), ", ".join(axes), " and %d in plus" % len(plus) if plus else ""))
    return [Measured(channel_named("/".join(filter(None, (name, axis))), unit, table.get("derived", False)),
                     (column, *plus[place:place + 1]), float(table.get("scale", 1.0)), float(table.get("offset", 0.0)),
                     factor, table.get("sensor", "")) for place, (axis, column) in enumerate(zip(axes, columns))]


def channel_named(name: str, unit: str, derived: bool = False) -> Channel:
    """The channel of ``placement/sensor/kind/axis``, of which the first two may be absent."""
    *parts, axis = name.split("/")
    kind = parts.pop() if parts else ""
    placement = parts.pop(0) if parts else ""
    return Channel(kind, axis, unit, placement, "/".join(parts), derived)


def _labels(path: Path, tables: Mapping[str, Any]) -> Optional[Labels]:
    table = tables.get("labels")
    if table is None:
        return None
    sources = [key for key in ("column", "from", "intervals") if key in table]
    if len(sources) != 1:
        raise _fault(path, "labels", "", "needs one of: column, from, intervals; it has %s." % (
            " and ".join(sources) or "none"))
    if table.get("from", "name") != "name":
        raise _fault(path, "labels", "from", 'is %r; it must be "name", the group label of the pattern.' % (
            table["from"]))
    return Labels(task=table.get("task", "activity"), column=table.get("column"), from_name="from" in table,
                  names=table.get("map", {}), ignore=tuple(table.get("ignore", ())), apart=table.get("apart", False),
                  intervals=_intervals(path, table["intervals"]) if "intervals" in table else None)


def _intervals(path: Path, table: Mapping[str, Any]) -> Intervals:
    _require_known(path, "labels.intervals", table, KINDS["labels.intervals"])
    for key in ("file", "start", "end", "label"):
        _has(path, "labels.intervals", table, key)
    unit = table.get("unit", "s")
    if unit == "counter" or not (unit == "samples" or is_unit(unit)):
        raise _fault(path, "labels.intervals", "unit", "is %r; it must be samples, one of %s, or a format such as "
                     "%%d/%%m/%%Y %%H:%%M:%%S.%%f." % (unit, ", ".join(each for each in UNITS if each != "counter")))
    groups = "|".join(GROUPS)
    file = _regex_of(table["file"]) if re.search(r"(?<!\\)\{(%s)\}" % groups, table["file"]) else table["file"]
    _require_regex(path, "labels.intervals", "file", file)
    header = table.get("header", True)
    separator = {"tab": "\t", "space": " "}.get(table.get("separator", ","), table.get("separator", ","))
    header = tuple(header) if isinstance(header, list) else header
    return Intervals(**dict(table, file=file, separator=separator, header=header))


def _pattern(path: Path, files: Mapping[str, Any]) -> str:
    if "glob" in files and "pattern" in files:
        raise _fault(path, "files", "glob", "stands beside pattern; keep one of them.")
    pattern = _regex_of(files["glob"]) if "glob" in files else files.get("pattern", "")
    key = "glob" if "glob" in files else "pattern"
    groups = _require_regex(path, "files", key, pattern)
    strange = [name for name in groups if name not in GROUPS]
    if strange:
        raise _fault(path, "files", key, "names a group '%s'; %s." % (
            strange[0], alternatives(strange[0], GROUPS, "the groups are")))
    return pattern


def _require_regex(path: Path, table: str, key: str, pattern: str) -> Sequence[str]:
    try:
        return list(re.compile(pattern).groupindex)
    except re.error as error:
        raise _fault(path, table, key, "is no regular expression (%s)." % error) from error


def _regex_of(glob: str) -> str:
    """``{subject}/*_{session}.csv`` as a regular expression."""
    def turned(match: "re.Match[str]") -> str:
        if match.group(1):
            return "(?P<%s>[^/]+?)" % match.group(1)
        return {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}.get(match.group(), re.escape(match.group()))

    return re.sub(r"\{(\w+)\}|\*\*/|\*|\?|[^\w/]", turned, glob)
