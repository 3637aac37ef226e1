"""Recordings read once and kept: a corpus is parsed the first time, and mapped into memory from then on.

::

    ~/.cache/edgehar/recordings/wisdm-3f0c...   samples.npy  labels.npy  index.json

An entry is named by a digest of all that decides what it holds: the bytes of the corpus'
files, the options of the dataset and the code that reads it. So it is never out of date,
and removing any or all of them only costs the next reading.
"""

from __future__ import annotations

import inspect
import logging
import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

import numpy as np

from edgehar.data import (arrays, channels, clocks, description, found, labelling, laid_out, making, resampling,
                          signals, tables, timeline, tracks, units as units_of_loggers)
from edgehar.data.channels import Channel
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import Recording
from edgehar.errors import InputError
from edgehar.files import UnopenedError, folder_written_whole, read_json, sha256_of, sha256_of_json, write_json

MODULES = (arrays, channels, resampling, signals, clocks, description, found, labelling, laid_out, making, tables,
           timeline, tracks, units_of_loggers)  # besides a loader's own, what decides the recordings
LIMIT_BYTES = 2 << 30  # of all entries together
SAMPLES, LABELS, INDEX = "samples.npy", "labels.npy", "index.json"

_KINDS = {SAMPLES: "<f4", LABELS: "<i2"}
_ARRAYS = ("samples", "labels")  # fields of a Recording that do not stand in the index


LOG = logging.getLogger(__name__)


def read_recordings(dataset: Dataset,
                    watch: Callable[[Recording], Any] = lambda recording: None) -> Sequence[Recording]:
    """All recordings of `dataset`: from the cache where it has them, else read, and kept for the next time.

    watch: is given each as it is read; none of the cache. Samples and labels may be
    read-only. `skipped` of the dataset is as after reading.
    Raises InputError as ``dataset.recordings()`` does; a cache that cannot be used costs
    one warning.
    """
    entry = _entry_of(dataset)
    if entry is None:
        return _watched(dataset, watch)
    try:
        if entry.exists():
            LOG.info("the recordings of %s are taken from %s", dataset.name, entry)
            return _load(entry, dataset)
    except UnopenedError as error:
        LOG.warning("the cached recordings of %s cannot be opened (%s); continuing without.", dataset.name,
                    _cause(error))
        return _watched(dataset, watch)
    except (InputError, OSError) as error:
        LOG.warning("the cached recordings of %s are damaged (%s) and read again.", dataset.name, _cause(error))
        shutil.rmtree(str(entry), ignore_errors=True)
    LOG.info("the recordings of %s are read from %s", dataset.name, dataset.folder)
    recordings = _watched(dataset, watch)
    try:
        if recordings:
            _store(entry, recordings, dataset.skipped)
    except (InputError, OSError) as error:
        LOG.warning("the recordings of %s cannot be cached in %s (%s); continuing without.",
                    dataset.name, entry.parent, _cause(error))
    return recordings


def _watched(dataset: Dataset, watch: Callable[[Recording], Any]) -> List[Recording]:
    found = []
    for recording in dataset.recordings():
        watch(recording)
        found.append(recording)
    return found


def cache_folder() -> Path:
    """Where entries lie: below XDG_CACHE_HOME, else ~/.cache. Raises OSError where there is no home."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(stated) if os.path.isabs(stated) else Path.home() / ".cache") / "edgehar" / "recordings"
    except RuntimeError as error:
        raise OSError(str(error)) from error


def clear_cache() -> int:
    """Remove all entries; returns how many bytes that freed."""
    found = _entries(cache_folder())
    taken = sum(map(_size, found))
    for entry in found:
        shutil.rmtree(str(entry), ignore_errors=True)
    return taken - sum(map(_size, found))


# ------------------------------------------------------------------ key


def _entry_of(dataset: Dataset) -> Optional[Path]:
    """The folder for what `dataset` yields now; None where it has no files, or they or the cache cannot be read."""
    files = dataset.files()
    if not files:
        return None
    try:
        return cache_folder() / ("%s-%s" % (dataset.name, _key(dataset, files)[:32]))
    except OSError as error:
        LOG.warning("the recordings of %s cannot be cached (%s); continuing without.", dataset.name, _cause(error))
        return None


def _key(dataset: Dataset, files: Mapping[str, Path]) -> str:
    """SHA-256 of what decides the recordings: bytes of files, code, and all that the dataset was told.

    The folder counts only where damage is skipped, as the sentences on it name files.
    """
    told = {key: repr(value) for key, value in vars(dataset).items() if key not in (
        "root", "skipped", "missing_rows", "unordered_rows")}
    return sha256_of_json({
        "dataset": dataset.name, "told": told, "at": str(dataset.folder) if dataset.skip_bad else "",
        "files": {name: sha256_of(path) for name, path in files.items()},
        "code": [(path.name, sha256_of(path)) for path in _code_behind(dataset)]})


def _code_behind(dataset: Dataset) -> List[Path]:
    """The modules that decide what `dataset` makes of its files."""
    room = Path(__file__).parent
    own = Path(inspect.getfile(type(dataset)))
    beside = [Path(str(module.__file__)) for module in MODULES]
    return [own, room / "base.py", *sorted(room.glob("_*.py")), *beside]


# ------------------------------------------------------------------ one entry


def _store(entry: Path, recordings: Sequence[Recording], skipped: Sequence[str]) -> None:
    tables: Dict[str, List[Any]] = {"channels": [], "classes": []}
    rows = [_row(recording, tables) for recording in recordings]
    with folder_written_whole(entry, INDEX) as folder:
        _write_array(folder / SAMPLES, (recording.samples for recording in recordings))
        _write_array(folder / LABELS, (labels for recording in recordings for labels in recording.labels.values()))
        index = dict(tables, recordings=rows, skipped=list(skipped),
                     sha256={name: sha256_of(folder / name) for name in _KINDS})
        write_json(folder / INDEX, {"index": index, "sha256": sha256_of_json(index)}, indent=None)
    _make_room(entry)


def _row(recording: Recording, tables: Mapping[str, List[Any]]) -> Dict[str, Any]:
    """All of a recording but its arrays; what many share is entered in `tables` and stands as its place there."""
    row = {item.name: getattr(recording, item.name) for item in fields(Recording) if item.name not in _ARRAYS}
    row["channels"] = _placed([channel.to_json() for channel in recording.channels], tables["channels"])
    row["classes"] = _placed([[task, list(names)] for task, names in recording.classes.items()], tables["classes"])
    return dict(row, count=len(recording.samples), tasks=list(recording.labels))


def _placed(value: Any, table: List[Any]) -> int:
    if value not in table:
        table.append(value)
    return table.index(value)


def _write_array(path: Path, arrays: Iterable[np.ndarray]) -> None:
    """Write arrays end to end as one of one axis, never all of them in memory at once."""
    kind, pieces = _KINDS[path.name], list(arrays)
    with open(str(path), "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {
            "descr": kind, "fortran_order": False, "shape": (sum(piece.size for piece in pieces),)})
        for piece in pieces:
            stream.write(np.ascontiguousarray(piece, dtype=kind).data)


def _load(entry: Path, dataset: Dataset) -> List[Recording]:
    """The recordings of an entry, mapped. Raises InputError or OSError where a byte of it is not as written."""
    index = _read_index(entry)
    samples, labels = (np.load(str(entry / name), mmap_mode="r").view(np.ndarray) for name in (SAMPLES, LABELS))
    channels = [tuple(map(Channel.from_json, each)) for each in index["channels"]]
    classes = [{task: tuple(names) for task, names in each} for each in index["classes"]]
    recordings = []
    for row in index["recordings"]:
        count, tasks = row.pop("count"), row.pop("tasks")
        row.update(channels=channels[row["channels"]], classes=classes[row["classes"]])
        mine, samples = np.split(samples, [count * len(row["channels"])])
        marks, labels = np.split(labels, [count * len(tasks)])
        recordings.append(Recording(samples=mine.reshape(count, -1),
                                    labels=dict(zip(tasks, marks.reshape(-1, count))), **row))
    dataset.skipped[:] = index["skipped"]
    os.utime(str(entry))  # the entries not used for longest go first
    return recordings


def _read_index(entry: Path) -> Dict[str, Any]:
    """The index, after a look at every byte of the entry."""
    held = read_json(entry / INDEX)
    if not isinstance(held, dict) or held.get("sha256") != sha256_of_json(held.get("index")):
        raise InputError("%s is not as it was written." % INDEX)
    for name, digest in held["index"]["sha256"].items():
        if sha256_of(entry / name) != digest:
            raise InputError("%s is not as it was written." % name)
    return held["index"]


# ------------------------------------------------------------------ all entries


def _make_room(newest: Path) -> None:
    """Remove the entries that were not used for longest, until all take at most `LIMIT_BYTES`; never `newest`."""
    others = sorted(set(_entries(newest.parent)) - {newest}, key=lambda entry: entry.stat().st_mtime, reverse=True)
    kept = _size(newest)
    for entry in others:
        kept += _size(entry)
        if kept > LIMIT_BYTES:
            shutil.rmtree(str(entry), ignore_errors=True)


def _entries(folder: Path) -> List[Path]:
    """Folders of entries, those included that a killed process left half-written."""
    return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def _size(entry: Path) -> int:
    return sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())


# ------------------------------------------------------------------ words


def _cause(error: Exception) -> str:
    """Why something could not be read or written, without the remedies for a file that a user asked for."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return getattr(cause, "strerror", None) or str(cause).rstrip(".")
