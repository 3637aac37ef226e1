"""A first description of files nobody has described: guesses from their names and first rows, and questions."""

from __future__ import annotations

import codecs
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any, Counter as Counts, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from edgehar.data.arrays import ENDINGS, AnyBlock, ending_of, open_table
from edgehar.data.clocks import NUMBERS, ColumnClock, likely_clock_unit
from edgehar.data.description import Text
from edgehar.data.found import FoundFile, below, natural
from edgehar.data.naming import Names, names_of
from edgehar.data.recognition import HEAD, ROOM, recognised
from edgehar.data.signals import STANDARD_GRAVITY
from edgehar.data.tables import MISSING, coded, encoding_of
from edgehar.data.units import SI
from edgehar.errors import InputError

TEXTS = (".csv", ".txt", ".tsv", ".dat", ".log", ".gz")
TABLES = TEXTS + ENDINGS
ROWS = 400  # of the first file that are looked at
WIDE = 60  # columns of which none is named
FEW = 6  # values of a label in the first rows, at most
ENOUGH = 5  # rows by which a shape is told
CLOCKS = re.compile(r"time|stamp|clock|^t$|elapsed|epoch|sample|index|zeit|temps|tiempo", re.I)
LABELS = re.compile(r"label|^act$|activ|aktiv|klasse|class|gesture|target|state", re.I)
QUATERNION = re.compile(r"(?i)quat|rotation|orientation|euler")
AXES = re.compile(r"(?i)(?:^|[^a-z])(x|y|z)(?:[^a-z]|$)|(x|y|z)$")
KINDS = (("gyro", re.compile(r"(?i)gyr|angular|dreh|^g[xyz]$")), ("mag", re.compile(r"(?i)mag|^m[xyz]$")),
         ("acc", re.compile(r"(?i)acc|beschl|^a?[xyz]$")))


class Sheet(NamedTuple):
    """How the first rows of a file are written. cells: of each row; lines: passed over before the header."""

    separator: str
    decimal: str
    terminator: str
    lines: int
    header: Tuple[str, ...]
    cells: List[List[str]]

    def column(self, place: int) -> List[str]:
        """The cells of one column, without blanks and quotes."""
        return [row[place].strip().strip('"') for row in self.cells]

    def numbers(self, place: int) -> Optional[np.ndarray]:
        """A column as numbers, (n,), NaN where missing; None where a cell is none."""
        cells = [cell.replace(",", ".") if self.decimal == "," else cell for cell in self.column(place)]
        try:
            return np.array([float("nan") if cell.lower() in MISSING else float(cell) for cell in cells])
        except ValueError:
            return None


def describe_folder(folder: Path) -> str:
    """The text of a description of what is below `folder`, or in its largest zip. Raises InputError for no table."""
    if not folder.is_dir():
        raise InputError("there is no folder %s; give the one that holds the recordings, packed or unpacked." % folder)
    archive, files = _files(folder)
    names = names_of([each.name for each in files])
    fitting = [each for each in files if each.name in set(names.files)]
    head = "" if ending_of(fitting[0].name) else _beginning(fitting[0])
    said = _stated_rate(below(folder, [archive] if archive else []))
    body = _known(head) or _guessed(fitting, _sheet(fitting[0]), names, said)
    written = [body.pop("files", ""), _outside(folder, archive, names)]
    parts = [_files_table(archive, names, "\n".join(filter(None, written))), *body.values()]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _outside(folder: Path, archive: str, names: Names) -> str:
    """A comment on the files that the pattern leaves out; empty where it takes all."""
    everything = below(folder, [archive] if archive else ())
    others = [each.name for each in everything if re.fullmatch(names.pattern, each.name) is None]
    return "# %d of %d files stay outside of the pattern: %s" % (
        len(others), len(everything), ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")) if others else ""


def _beginning(found: FoundFile) -> str:
    with found.open() as stream:
        start = stream.read(8 * HEAD)
    return start.decode(_unmarked(start) or encoding_of(start), errors="replace")


def _unmarked(start: bytes) -> str:
    """The encoding to be said, of a text that is neither UTF-8 nor marked as UTF-16; else empty."""
    if encoding_of(start) != "utf-8":
        return ""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # which a character cut at the end does not trouble
    except UnicodeDecodeError:
        return "latin-1"
    return ""


def _encoding(found: FoundFile) -> str:
    """As `_unmarked`, of a file."""
    if ending_of(found.name):
        return ""
    with found.open() as stream:
        return _unmarked(stream.read(8 * HEAD))


def _packed_otherwise(folder: Path) -> str:
    """What lies there packed in a way that is not looked into, and how to unpack it."""
    packed = next((path for path in sorted(folder.iterdir()) if path.suffix in (".xz", ".bz2", ".7z", ".rar", ".tar",
                                                                              ".tgz")), None)
    if packed is None:
        return ""
    unpack = {".xz": "xz -dk", ".bz2": "bzip2 -dk"}.get(packed.suffix)
    return ", but %s, which must be unpacked first%s" % (packed.name, ": %s %s" % (
        unpack, shlex.quote(str(packed))) if unpack else "")


def _sheet(found: FoundFile) -> Sheet:
    """The first rows of a file."""
    if not ending_of(found.name):
        return sheet_of(_beginning(found), found.where)
    with found.open() as stream:
        table = open_table(stream, Text(), found.where, found.name)
        blocks: Iterator[AnyBlock] = iter(table.blocks())
        block = next(blocks)
        columns = [[cell.decode("utf-8") for cell in block.texts(place)[:ROWS].tolist()]
                   for place in range(len(table.head.names))]
    return Sheet(",", ".", "", 0, table.head.names, [list(row) for row in zip(*columns)])


def _files(folder: Path) -> Tuple[str, List[FoundFile]]:
    """The name of the zip (or "") and the tables that take most room, of one ending in one folder's tree."""
    archive, everything = "", [each for each in below(folder, ()) if each.name.lower().endswith(TABLES)]
    zips = sorted(folder.glob("*.zip"), key=lambda path: path.stat().st_size)
    if not everything and zips:
        archive = zips[-1].name
        everything = [each for each in below(folder, [archive]) if each.name.lower().endswith(TABLES)]
    tables = [each for each in everything if not re.search(r"(?i)readme|licen|info|descr|sha256|\.md$", each.name)]
    if not tables:
        raise InputError("%s holds no table (%s), packed or unpacked%s; give the folder that does." % (
            folder, ", ".join(TABLES), _packed_otherwise(folder)))
    room: Counts[str] = Counter()
    for each in tables:
        room[_tree(each)] += each.size
    return archive, [each for each in tables if _tree(each) == room.most_common(1)[0][0]]


def _tree(found: FoundFile) -> str:
    """What files of one kind have in common: their first folders, and how their names are made."""
    folders = found.name.split("/")
    return "/".join(folders[:-3] + [re.sub(r"[A-Za-z]+|\d+", "a", part) for part in folders[-3:]])


def _stated_rate(files: Sequence[FoundFile]) -> float:
    """The rate that a text beside the files speaks of most, 0 where none does."""
    rates: Counts[float] = Counter()
    for each in files:
        if re.search(r"(?i)readme|info|descr|\.md$", each.name) and not each.name.lower().endswith(".pdf"):
            with each.open() as stream:
                text = stream.read(1 << 18).decode("utf-8", errors="replace")
            rates.update(float(match) for match in re.findall(r"(\d+(?:\.\d+)?) ?Hz", text))
    return rates.most_common(1)[0][0] if rates else 0.0


def _known(head: str) -> Dict[str, str]:
    """The parts of the one layout that the files have; empty where they have none."""
    fitting = recognised(head)
    if len(fitting) != 1:
        return {}
    text = re.sub(r"(?ms)^\[messages\].*?(?=^\[|\Z)", "", (ROOM / (fitting[0] + ".toml")).read_text(encoding="utf-8"))
    files = re.search(r"(?ms)^\[files\]\n(.*?)(?=^\[|\Z)", text)
    rest = re.sub(r"(?ms)^\[(layout|files)\].*?(?=^\[|\Z)", "", text)
    return {"files": files.group(1).strip() if files else "", "rest": "# as layout %s\n%s" % (fitting[0], rest),
            "corpus": _corpus(0.0)}


# ------------------------------------------------------------------ one file


def sheet_of(head: str, where: str = "the file") -> Sheet:
    """How the beginning of a file is written. Raises InputError where no rows can be told."""
    lines = [line.rstrip("\r") for line in head.split("\n")][:-1][:ROWS + 40] or head.split("\n")
    body = [line for line in lines[-max(ENOUGH, len(lines) - 40):] if line.strip()]
    marks = {mark: Counter(_split(line, mark) for line in body).most_common(1)[0] for mark in "\t;, "}
    fitting = [mark for mark, (count, times) in marks.items() if count > 1 and times > 0.8 * len(body)]
    if not fitting:
        raise InputError("%s shows no separator in its first lines; describe it by hand (docs/your-data.md)." % where)
    if fitting[0] == ";" and "," in fitting and marks[","][0] > marks[";"][0]:
        fitting = [","]  # a line that ends in ;
    separator = fitting[0]
    width = marks[separator][0]
    terminator = ";" if separator == "," and all(line.endswith(";") for line in body) else ""
    rows = [(number, _cells(line, separator, terminator)) for number, line in enumerate(lines)
            if _split(line, separator) == width]
    first, cells = rows[0]
    has_header = sum(map(_is_number, cells)) < sum(map(_is_number, rows[-1][1]))
    units = has_header and len(rows) > 2 and sum(map(_is_number, rows[1][1])) < sum(map(_is_number, rows[-1][1]))
    data = [row for _, row in rows[(1 if has_header else 0) + (1 if units else 0):]]
    comma = separator != "," and any(re.fullmatch(r"-?\d+,\d+", cell) for row in data[:9] for cell in row)
    header = tuple(cell.strip().strip('"') for cell in cells) if has_header else ()
    return Sheet(separator, "," if comma else ".", terminator, first, header + (("units",) if units else ()), data)


def _split(line: str, mark: str) -> int:
    return len(line.split()) if mark == " " else line.count(mark) + 1


def _cells(line: str, separator: str, terminator: str) -> List[str]:
    line = line[:-1] if terminator and line.endswith(terminator) else line
    return line.split() if separator == " " else line.split(separator)


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r'\s*"?[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?"?\s*|(?i:nan)?', cell))


# ------------------------------------------------------------------ guesses


def _guessed(files: Sequence[FoundFile], sheet: Sheet, names: Names, said_hz: float) -> Dict[str, str]:
    units = sheet.header[-1:] == ("units",) and len(sheet.header) > len(sheet.cells[0])
    header = sheet.header[:-1] if units else sheet.header
    columns: List[Any] = list(header) or list(range(1, len(sheet.cells[0]) + 1))
    clock, unit, rate_hz = _clock(sheet, header)
    label = _label(sheet, header, clock)
    others = [place for place in range(len(columns)) if place not in (clock, label)]
    written = [] if sheet.separator == "," else ['separator = "%s"' % {"\t": "tab", " ": "space"}.get(
        sheet.separator, sheet.separator)]
    encoding = _encoding(files[0])
    written += ['encoding = "%s"' % encoding] if encoding else []
    written += ['decimal = ","'] if sheet.decimal == "," else []
    written += ['terminator = "%s"' % sheet.terminator] if sheet.terminator else []
    written += ["skip_lines = %d" % sheet.lines] if sheet.lines else []
    written += ["header = false"] if not header else []
    written += ["units_row = true"] if units else []
    rate_hz = rate_hz or said_hz
    time = '[time]\ncolumn = %s\nunit = "%s"%s' % (_toml(columns[clock]), unit, (
        "\ntick_s = %g  # QUESTION: is this one tick of it?" % (1 / (rate_hz or 50)) if unit == "counter" else ""
    )) if clock is not None else "[time]\nrate_hz = %g%s" % (
        rate_hz or 50, "  # as the texts beside the files say" if rate_hz else
        "  # QUESTION: how many a second? Nothing in the files says it; 50 is a placeholder")
    classes = names.values.get("label", [])
    if label is not None:
        classes = _all_labels(files[:3], _text(sheet, header, units, encoding), label)
    labels = "[labels]\ncolumn = %s  # if labels change and time steps back there, add: apart = true" % _toml(
        columns[label]) if label is not None else (
        '[labels]\nfrom = "name"' if classes else "# QUESTION: where do the labels stand? See [labels] in "
        "docs/your-data.md.")
    if classes:
        labels += "\n# QUESTION: what do these mean, and are there more? Names to the right; ignore = [...] for none.\n"
        labels += "map = { %s }" % ", ".join('"%s" = "%s"' % (each, each) for each in classes)
    if "sensor" in names.values and len(columns) < WIDE:
        firsts = {each: next(file for file in files if each in re.split(r"[^A-Za-z]+", file.name))
                  for each in names.values["sensor"]}
        channels = "\n\n".join(_channels(_sheet(file), columns, header, others, sensor)
                               for sensor, file in firsts.items())
    else:
        channels = _channels(sheet, columns, header, others)
    return {"files": "\n".join(written), "time": time, "channels": channels, "labels": labels,
            "corpus": _corpus(rate_hz)}


def _text(sheet: Sheet, header: Sequence[str], units: bool, encoding: str) -> Text:
    return Text(encoding=encoding, separator=sheet.separator, decimal=sheet.decimal, terminator=sheet.terminator,
                skip_lines=sheet.lines, header=bool(header), units_row=units)


def _all_labels(files: Sequence[FoundFile], text: Text, column: int) -> List[str]:
    """Every label that whole files hold in a column."""
    codes: Dict[str, int] = {}
    for each in files:
        with each.open() as stream:
            for block in open_table(stream, text, each.where, each.name).blocks():
                coded(block.texts(column), codes)
    return sorted(codes, key=natural)


def _clock(sheet: Sheet, header: Sequence[str]) -> Tuple[Optional[int], str, float]:
    """The column of the clock, its unit, and the rate that it shows."""
    places = [place for place, name in enumerate(header) if CLOCKS.search(name)] or (
        [] if header else list(range(len(sheet.cells[0]))))
    for place in places:
        cells = sheet.column(place)
        numbers = sheet.numbers(place)
        if numbers is not None and (not header or len(numbers) > 2):
            steps = np.diff(numbers)
            if not (len(steps) and (steps >= 0).all() and np.median(steps) > 0):
                continue
            if header and re.search(r"(?i)sample|index|count", header[place]) and np.median(steps) == 1:
                return place, "counter", 0.0
        unit = likely_clock_unit([cell.replace(",", ".") if sheet.decimal == "," else cell for cell in cells])
        named = re.search(r"[\[(](s|ms|us|ns)[\])]", header[place]) if header else None
        unit = named.group(1) if named else unit
        if unit:
            plain = [cell.replace(",", ".") for cell in cells] if unit in NUMBERS else cells
            times_s = ColumnClock(unit).seconds_of(plain)
            steps_s = np.diff(times_s)
            steps_s = steps_s[(steps_s > 0) & (steps_s < 2 * np.median(steps_s))]
            return place, unit, float(round(1 / steps_s.mean(), 1)) if len(steps_s) else 0.0
    return None, "", 0.0


def _label(sheet: Sheet, header: Sequence[str], clock: Optional[int]) -> Optional[int]:
    """The column of the labels: by its name, else one of words, else one of few whole numbers."""
    for place, name in enumerate(header):
        if LABELS.search(name) and place != clock:
            return place
    words = [place for place in range(len(sheet.cells[0])) if place != clock and not header
             and sheet.numbers(place) is None and len(set(sheet.column(place))) < 30]
    whole = [place for place in range(len(sheet.cells[0])) if place != clock and not header
             and all(map(str.isdigit, sheet.column(place))) and len(set(sheet.column(place))) < FEW]
    return next(iter(words + whole), None)


def _channels(sheet: Sheet, columns: Sequence[Any], header: Sequence[str], places: Sequence[int],
              sensor: str = "") -> str:
    """Threes of columns as the sensors they seem to be; sensor: that of the file."""
    if len(columns) >= WIDE and not header:
        return "# QUESTION: a row has %d numbers; is it a window of one channel? Such tables need a plug-in." % (
            len(columns))
    tables: List[str] = []
    used: Set[int] = set()
    numeric = [place for place in places if sheet.numbers(place) is not None
               and not (header and QUATERNION.search(header[place]))]
    numeric = numeric if header else numeric[len(numeric) % 3:]
    for at in range(len(numeric) - 2):
        three = numeric[at:at + 3]
        if used & set(three) or (header and not _is_triad([header[place] for place in three])) or (
                not header and at % 3):
            continue
        used |= set(three)
        values = np.stack([np.asarray(sheet.numbers(place)) for place in three], axis=1)
        kind, unit, doubt = _kind_of(header[three[0]] if header else sensor, values)
        if unit == "g" and not sensor and any('unit = "m/s^2"' in table for table in tables):
            kind, unit, doubt = "mag", "1", "  # QUESTION: a magnetometer, relative to the field?"
        prefix = _placement(header[three[0]]) if header else ""
        name = "/".join(filter(None, (re.sub(r"\W+", "_", prefix).strip("_"), kind)))
        if any('"%s"' % name in table for table in tables):
            name = "at_%d/%s" % (len(tables) + 1, kind)
        tables.append('[channels."%s"]%s\n%scolumns = [%s]\nunit = "%s"' % (
            name, doubt, 'sensor = "%s"\n' % sensor if sensor else "",
            ", ".join(_toml(columns[place]) for place in three), unit))
    left = [str(columns[place]) for place in places if place not in used]
    note = "# not described: columns %s" % ", ".join(left) if left else ""
    return "\n\n".join(filter(None, tables + [note])) or "# QUESTION: which columns are channels?"


def _placement(name: str) -> str:
    """What the name of an x column says besides its sensor, axis and unit."""
    return re.sub(r"(?i)(^[agm](?=x$)|acc\w*|beschl\w*|gyr\w*|dreh\w*|mag\w*)?[\W_]*x?\W*$", "",
                  re.sub(r"\.1$", "", _bare(name)))


def _bare(name: str) -> str:
    """A column's name without its unit."""
    return re.sub(r"(?i)\s*[\[(][^\])]*[\])]+\s*$|_(mg|g|dps|ut)$", "", name)


def _is_triad(names: Sequence[str]) -> bool:
    if [name[-2:] for name in names] == [".1", ".2", ".3"] and len({name[:-2] for name in names}) == 1:
        return True  # the columns of one array
    axes = [(match.group(1) or match.group(2)).lower() for match in map(AXES.search, map(_bare, names)) if match]
    return sorted(axes) == ["x", "y", "z"] and axes[0] in "xz"


STATED = (("m/s^2", r"m/s\^?2|m/s²|m/\(s\^2\)|mps2|ms-2"), ("mg", r"m_?g"), ("g", r"g"),
          ("deg/s", r"deg/s|dps|°/s|deg_s"), ("mdeg/s", r"mdps|mdeg/s"),
          ("rad/s", r"rad/s|rad_s|rps"), ("uT", r"u_?t|µt"), ("gauss", r"gauss"))


def _stated_unit(name: str) -> str:
    """The unit in a column's name, as in ``acc x [mg]`` or ``gyro_x_dps``."""
    return next((unit for unit, written in STATED
                 if re.search(r"(?i)[\[(]\s*(?:%s)\s*[\])]|_(?:%s)$" % (written, written), name)), "")


def _kind_of(name: str, values: np.ndarray) -> Tuple[str, str, str]:
    """What three columns measure, in which unit, and a question where that is not plain."""
    kind = next((kind for kind, fits in KINDS if fits.search(_bare(name))), "")
    norm = float(np.nanmedian(np.linalg.norm(values, axis=1)))
    weights = (("m/s^2", STANDARD_GRAVITY), ("g", 1.0), ("mg", 1000.0))
    unit = next((unit for unit, gravity in weights if 0.6 * gravity < norm < 1.6 * gravity), "")
    stated = _stated_unit(name)
    if stated and SI[stated][0] == {"gyro": "rad/s", "mag": "T"}.get(kind, "m/s^2"):
        factor = SI[stated][1]
        if kind in ("", "acc") and SI[stated][0] == "m/s^2" and norm * factor < 0.3 * STANDARD_GRAVITY:
            return "linear_acc", stated, "  # QUESTION: is gravity taken out? Its length is %.3g" % norm
        return kind or "acc", stated, ""
    if kind == "gyro":
        return kind, "deg/s" if norm > 15 else "rad/s", "  # QUESTION: in deg/s or rad/s?"
    if kind == "mag":
        return kind, "uT", "  # QUESTION: in which unit?"
    if unit:
        return "acc", unit, "" if kind else "  # QUESTION: an accelerometer? Its length is that of gravity"
    return kind or "gyro", "m/s^2" if kind else "rad/s", "  # QUESTION: what is this? Its length is %.3g" % norm


def _toml(value: Any) -> str:
    return str(value) if isinstance(value, int) else '"%s"' % str(value).replace("\\", "\\\\").replace('"', '\\"')


def _corpus(rate_hz: float) -> str:
    rate_hz = rate_hz or 50.0
    whole = float(round(rate_hz)) if abs(rate_hz - round(rate_hz)) < 0.03 * rate_hz else rate_hz
    window = 128 / whole
    return ('[corpus]\ntitle = ""\nlicence = ""  # QUESTION: may it be used and passed on?\ncitation = ""\n'
            "rate_hz = %.10g\nwindow_s = %.10g  # 128 samples\nhop_s = %.10g\nmax_gap_s = %.3g" % (
                whole, window, window / 2, max(0.1, 2.5 / whole)))


def _files_table(archive: str, names: Names, more: str) -> str:
    rows = ["# A first description by `edgehar describe`: answer what is marked QUESTION, then look at it with",
            "# `edgehar inspect THIS_FILE`. docs/your-data.md explains every key.", "", "[files]"]
    rows += ['archive = ["%s"]' % archive] if archive else []
    rows += ["pattern = '%s'" % names.pattern, "# %d files; %s" % (len(names.files), "; ".join(
        "%d of %s: %s" % (len(values), name, ", ".join(values[:6]) + (" ..." if len(values) > 6 else ""))
        for name, values in names.values.items()) or "all of one subject")]
    rows += ["# QUESTION: %s" % doubt for doubt in names.doubts]
    if "label" in names.values and len(names.values.get("session", ())) > 9:
        rows.append("# QUESTION: does a file continue where the one before ended? Then call the group session: part.")
    return "\n".join(rows + ([more] if more else [])) + "\n"
