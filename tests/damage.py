"""Damage to archives, and what every loader does with it: one sentence, or nothing is changed."""

from __future__ import annotations

import functools
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np
import pytest

from edgehar.data.datasets import DATASETS
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import Recording
from edgehar.errors import InputError

Lines = List[str]
Change = Callable[[Lines], Lines]


def refusal(dataset: Dataset) -> str:
    """The one sentence with which reading `dataset` ends."""
    with pytest.raises(InputError) as caught:
        list(dataset.recordings())
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def cut_off(path: Path, kept: float) -> None:
    """Keep only the first share of a file, as an interrupted download leaves it."""
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * kept)])


# ------------------------------------------------------------------ a sound corpus


def motion(seed: int, count: int, rate_hz: float, columns: int, at_rest: Sequence[float], swing: float) -> np.ndarray:
    """(count, columns) of smooth movement around the values at rest."""
    random = np.random.default_rng(seed)
    time_s = np.arange(count)[:, None] / rate_hz
    waves = sum(np.sin(2 * np.pi * (rate * time_s + random.uniform(size=columns))) for rate in (0.37, 0.9, 2.1))
    return np.resize(at_rest, columns) + swing * random.uniform(0.5, 1.0, columns) * waves


def table(values: np.ndarray, separator: str = " ", form: str = "%.5f") -> str:
    return "".join(separator.join(form % value for value in row) + "\n" for row in values)


class Sample(NamedTuple):
    """A small sound corpus in its published layout, and one place in it to damage.

    files: {path below `top`: text}. target: a file of samples; line: one of its lines;
    column: of an acceleration. unit: whether a recording comes of that line; file: whether
    it comes of that file.
    """

    spec: str
    zip: str
    top: str
    files: Dict[str, str]
    target: str
    line: int
    column: int
    separator: str
    unit: Callable[[Recording], bool]
    file: Callable[[Recording], bool]

    def open(self, root: Path, **options: Any) -> Dataset:
        return DATASETS.create(self.spec, root=str(root), **options)

    def write(self, root: Path, files: Dict[str, str], prefix: str = "") -> Path:
        """As a zip, its members not compressed."""
        path = root / self.zip
        with zipfile.ZipFile(str(path), "w") as archive:
            for name, text in files.items():
                archive.writestr(prefix + self.top + name, text.encode("latin-1"))
        return path

    def unpack(self, root: Path, files: Dict[str, str]) -> Path:
        """As a folder."""
        for name, text in files.items():
            path = root / self.top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("latin-1"))
        return root / self.top


@functools.lru_cache(maxsize=None)
def sound(name: str) -> Tuple[Recording, ...]:
    """The recordings of the undamaged sample of that name."""
    from tests.damages import SAMPLES

    with tempfile.TemporaryDirectory() as folder:
        SAMPLES[name].write(Path(folder), SAMPLES[name].files)
        return tuple(SAMPLES[name].open(Path(folder)).recordings())


def contents(recordings: Sequence[Recording]) -> List[Any]:
    return [(each.subject, each.session, each.start_s, each.samples.tobytes(),
             {task: labels.tobytes() for task, labels in each.labels.items()}) for each in recordings]


# ------------------------------------------------------------------ damage


UNIT, FILE, ALL = "unit", "file", "all"  # refused; with skip_bad that much is lost, and ALL is refused even then
HARMLESS, ABSENT = "harmless", "absent"  # read as if sound; read without the unit, which `missing` names


class Damage(NamedTuple):
    """One way to damage a sample.

    spoil: writes the damaged corpus into a folder. says: what stands in the refusal.
    lost: what is missing once damage is skipped: one of the words above, or which recordings.
    """

    what: str
    spoil: Callable[[Sample, Path], Any]
    says: str = ""
    lost: Union[str, Callable[[Recording], bool]] = UNIT

    def takes(self, sample: Sample, recording: Recording) -> bool:
        """Whether `recording` of the sound sample is lost."""
        if callable(self.lost):
            return self.lost(recording)
        return {UNIT: sample.unit, ABSENT: sample.unit, FILE: sample.file}.get(self.lost, lambda each: False)(recording)


def in_file(name: str, change: Change) -> Callable[[Sample, Path], Any]:
    """Damage to the lines of one file."""
    def spoil(sample: Sample, root: Path) -> None:
        lines = change(sample.files[name].split("\n"))
        sample.write(root, dict(sample.files, **{name: "\n".join(lines)}))
    return spoil


def in_files(change: Callable[[Dict[str, str]], Dict[str, str]]) -> Callable[[Sample, Path], Any]:
    """Damage to which files there are, or to several."""
    return lambda sample, root: sample.write(root, change(dict(sample.files)))


def at(line: int, change: Callable[[str], str]) -> Change:
    """Damage to one line, counted from 1."""
    return lambda lines: lines[:line - 1] + [change(lines[line - 1])] + lines[line:]


def cell(column: int, separator: str, text: str) -> Callable[[str], str]:
    """Damage to one value of a line; what ends the line stays."""
    def change(line: str) -> str:
        cells = line.split(separator)
        end = ";" * cells[column].endswith(";")
        return separator.join(cells[:column] + [text + end] + cells[column + 1:])
    return change


def scaled(columns: Sequence[int], separator: str, factor: float, first: int = 1) -> Change:
    """Columns in another unit, from line `first` on."""
    def change(line: str) -> str:
        cells = line.split(separator)
        for column in columns:
            end = ";" * cells[column].endswith(";")
            cells[column] = "%.8g" % (float(cells[column].rstrip(";")) * factor) + end
        return separator.join(cells)
    return lambda lines: [change(line) if line and n >= first else line for n, line in enumerate(lines, 1)]


def exchanged(a: Sequence[int], b: Sequence[int], separator: str, first: int = 1) -> Change:
    """Two groups of columns in each other's place, from line `first` on."""
    def change(line: str) -> str:
        cells = line.split(separator)
        for one, other in zip(a, b):
            cells[one], cells[other] = cells[other], cells[one]
        return separator.join(cells)
    return lambda lines: [change(line) if line and n >= first else line for n, line in enumerate(lines, 1)]


# ------------------------------------------------------------------ damage to any corpus


def common(sample: Sample) -> List[Damage]:
    """What can happen to a zip, to a file and to a line of any corpus."""
    name, line, separator, column = sample.target, sample.line, sample.separator, sample.column
    here = "line %d of %s" % (line, name)
    again = "download it again"
    found = [
        Damage("zip cut off at its start", _cut_zip(0.001), again, ALL),
        Damage("zip cut off in the middle", _cut_zip(0.5), again, ALL),
        Damage("zip cut off at its end", _cut_zip(0.999), again, ALL),
        Damage("no zip", lambda sample, root: (root / sample.zip).write_text("<html>not found</html>"), again, ALL),
        Damage("zip of something else", lambda sample, root: _zip_of(root / sample.zip, "notes.txt"), "does not hold",
               ALL),
        Damage("password", _protect, "protected by a password", ALL),
        Damage("flipped bit", _flip, name, FILE),
        Damage("member twice, unlike", _write_twice("other"), "two different files named", ALL),
        Damage("member twice, alike", _write_twice(None), lost=HARMLESS),
        Damage("corpus twice", _write_copies, "twice", ALL),
        Damage("one folder deeper", lambda sample, root: sample.write(root, sample.files, "new/"), lost=HARMLESS),
        Damage("folder in place of a file", _replace_by_folder, "is a folder where a file belongs", FILE),
        Damage("empty file", in_file(name, lambda lines: []), name, FILE),
        Damage("blank file", in_file(name, lambda lines: ["", "  ", ""]), name, FILE),
        Damage("file cut off in a line", in_file(name, _cut_lines), name, FILE),
        Damage("blank line", in_file(name, at(line, lambda text: "")), here),
        Damage("column missing", in_file(name, at(line, lambda text: text.rpartition(separator)[0])), here),
        Damage("column too many", in_file(name, at(line, lambda text: "1" + separator + text)), here),
        Damage("wrong delimiter", in_file(name, at(line, lambda text: text.replace(separator, "|"))), here),
        Damage("bytes that are no text", in_file(name, at(line, lambda text: "\x00\xff" + text[2:])), here),
        Damage("CRLF", in_file(name, lambda lines: [text + "\r" if text else text for text in lines]), lost=HARMLESS),
        Damage("blank lines at the end", in_file(name, lambda lines: lines + ["", "", ""]), lost=HARMLESS),
    ]
    words = [("NaN", "nan"), ("infinity", "-inf"), ("overflow", "1e999"), ("text in a number", "4.O5"),
             ("two points", "0.1.2"), ("comma for a point", "0,12" if separator != "," else "0;12"),
             ("no value", ""), ("absurdly large value", "98100.5")]
    return found + [Damage(what, in_file(name, at(line, cell(column, separator, word))), here) for what, word in words]


def _cut_zip(kept: float) -> Callable[[Sample, Path], Any]:
    return lambda sample, root: cut_off(sample.write(root, sample.files), kept)


def _zip_of(path: Path, name: str) -> None:
    with zipfile.ZipFile(str(path), "w") as archive:
        archive.writestr(name, "text")


def _protect(sample: Sample, root: Path) -> None:
    """Set the bit in the zip's directory that says so."""
    path = sample.write(root, sample.files)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(data))


def _flip(sample: Sample, root: Path) -> None:
    path = sample.write(root, sample.files)
    data = bytearray(path.read_bytes())
    data[data.index(sample.files[sample.target].encode("latin-1")) + 3] ^= 1
    path.write_bytes(bytes(data))


def _write_twice(text: Any) -> Callable[[Sample, Path], Any]:
    def spoil(sample: Sample, root: Path) -> None:
        path = sample.write(root, sample.files)
        with zipfile.ZipFile(str(path), "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            archive.writestr(sample.top + sample.target, text or sample.files[sample.target])
    return spoil


def _write_copies(sample: Sample, root: Path) -> None:
    path = sample.write(root, sample.files)
    with zipfile.ZipFile(str(path), "a") as archive:
        for name, text in sample.files.items():
            archive.writestr("backup/" + sample.top + name, text)


def _replace_by_folder(sample: Sample, root: Path) -> None:
    folder = sample.unpack(root, sample.files)
    (folder / sample.target).unlink()
    (folder / sample.target).mkdir()


def _cut_lines(lines: Lines) -> Lines:
    kept = lines[:2 * len(lines) // 3]
    return kept[:-1] + [kept[-1][:len(kept[-1]) // 2]]
