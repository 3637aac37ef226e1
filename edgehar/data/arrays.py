"""Files of columns that are no text, by the ending of their name: NumPy's .npz, MATLAB's .mat and Parquet.

They are read like a text table: a column is an array of one dimension by its name, or one column of
an array of two, as ``acc.1``, ``acc.2``, ``acc.3`` of ``acc`` (n, 3) or (3, n).
"""

from __future__ import annotations

import io
import zipfile
from typing import Any, BinaryIO, Dict, Iterator, List, Mapping, Sequence, Tuple, Union

import numpy as np

from edgehar.data.description import Text
from edgehar.data.tables import MISSING, RowBlock, TableHead, TextTable
from edgehar.errors import InputError, MissingError

ENDINGS = (".npz", ".mat", ".parquet")
ROWS = 1 << 18  # handed on at a time


class ColumnBlock:
    """Some rows of columns. count: of rows."""

    def __init__(self, columns: Sequence[Any], first: int, where: str, missing: Sequence[str] = ()) -> None:
        self._columns, self._first, self._where = columns, first, where
        self._missing = {*MISSING, *missing}
        self.count = len(columns[0]) if columns else 0

    def line_of(self, row: int) -> int:
        """The number of row `row` of the block in its file, from 1."""
        return self._first + row + 1

    def texts(self, column: int) -> np.ndarray:
        """The cells of a column as text, (n,) bytes; whole numbers without a point."""
        values = self._column(column)
        if values.dtype.kind == "f" and bool((values == np.floor(values)).all()):
            values = values.astype(np.int64)
        return np.char.strip(np.char.encode(values.astype(str), "utf-8")) if values.dtype.kind != "S" else values

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """Some columns, (n, k) float64; NaN where a value is missing. Raises InputError for one that is no number."""
        return np.column_stack([self._numbers(column) for column in columns])

    def _column(self, column: int) -> np.ndarray:
        if column >= len(self._columns):
            raise InputError("%s has %d columns and column %d is asked for." % (
                self._where, len(self._columns), column + 1))
        return np.asarray(self._columns[column])

    def _numbers(self, column: int) -> np.ndarray:
        values = self._column(column)
        if values.dtype.kind == "M":
            values = values.astype("datetime64[ns]").astype(np.int64)
        try:
            found = values.astype(np.float64)
        except (TypeError, ValueError):
            texts = self.texts(column).tolist()
            plain = [b"nan" if text.decode().lower() in self._missing else text for text in texts]
            try:
                found = np.array(plain, dtype=np.bytes_).astype(np.float64)
            except ValueError:
                raise InputError("%s holds '%s' in column %d where numbers belong." % (
                    self._where, texts[0].decode(), column + 1)) from None
        if np.isinf(found).any():
            raise InputError("%s row %d holds an infinite number in column %d; fix it, or write NaN." % (
                self._where, self.line_of(int(np.isinf(found).argmax())), column + 1))
        return found


AnyBlock = Union[RowBlock, ColumnBlock]


class ColumnTable:
    """The columns of one file, as `TextTable` gives those of a text."""

    def __init__(self, stream: BinaryIO, text: Text, where: str, ending: str) -> None:
        self._text, self._where = text, where
        self._parquet = _parquet(stream, where) if ending == ".parquet" else None
        self._columns: Dict[str, np.ndarray] = {}
        if self._parquet is None:
            arrays = _npz(stream, where) if ending == ".npz" else _matlab(stream, where)
            self._columns = columns_of(arrays)
        names = tuple(self._columns) if self._parquet is None else tuple(self._parquet.schema_arrow.names)
        if not names:
            raise InputError("%s holds no array of numbers or texts that is as long as the others." % where)
        self.head = TableHead(names, 0, "", ())

    def blocks(self) -> Iterator[ColumnBlock]:
        """Yield the rows, some at a time."""
        first = 0
        for columns in self._parts():
            block = ColumnBlock(columns, first, self._where, self._text.missing)
            first += block.count
            yield block

    def _parts(self) -> Iterator[List[Any]]:
        if self._parquet is not None:
            for batch in self._parquet.iter_batches(batch_size=ROWS):
                yield [column.to_numpy(zero_copy_only=False) for column in batch.columns]
            return
        count = len(next(iter(self._columns.values())))
        for start in range(0, count, ROWS):
            yield [column[start:start + ROWS] for column in self._columns.values()]


def ending_of(name: str) -> str:
    """One of `ENDINGS`, or "" for text."""
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")


def open_table(stream: BinaryIO, text: Text, where: str, name: str = "") -> Union[TextTable, ColumnTable]:
    """The table in `stream`, by the ending of the file's `name`; its blocks are `RowBlock` or `ColumnBlock`."""
    ending = ending_of(name)
    return ColumnTable(stream, text, where, ending) if ending else TextTable(stream, text, where)


def columns_of(arrays: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """{column: (n,)}: n is the longest dimension of any array, and one without that dimension is left out."""
    arrays = {name: values for name, values in arrays.items() if values.ndim in (1, 2) and values.size}
    count = max((max(values.shape) for values in arrays.values()), default=0)
    found: Dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        if values.ndim == 2 and values.shape[0] != count:
            values = values.T
        if values.shape[0] != count:
            continue
        if values.ndim == 1 or values.shape[1] == 1:
            found[name] = values.reshape(-1)
        else:
            found.update(("%s.%d" % (name, place), column) for place, column in enumerate(values.T, 1))
    return found


def _seekable(stream: BinaryIO) -> Any:
    return stream if stream.seekable() else io.BytesIO(stream.read())


def _npz(stream: BinaryIO, where: str) -> Dict[str, np.ndarray]:
    try:
        with np.load(_seekable(stream), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, TypeError, AttributeError,
            zipfile.BadZipFile) as error:
        raise InputError("%s is no .npz of plain arrays (%s); save it again with numpy.savez." % (
            where, error)) from error


def _matlab(stream: BinaryIO, where: str) -> Dict[str, np.ndarray]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise MissingError("%s is a MATLAB file, which scipy reads; install it: pip install 'edgehar[table]'." %
                                  where) from None
    try:
        loaded = loadmat(_seekable(stream), simplify_cells=True)
    except NotImplementedError:
        raise InputError("%s is a MATLAB file of version 7.3; save it in MATLAB with -v7." % where) from None
    except (ValueError, OSError, TypeError) as error:
        raise InputError("%s is no MATLAB file (%s); copy it again." % (where, error)) from error
    return dict(_flat("", {name: value for name, value in loaded.items() if not name.startswith("__")}))


def _flat(prefix: str, tree: Mapping[str, Any]) -> Iterator[Tuple[str, np.ndarray]]:
    """Arrays of structures by their whole name, as ``data.acc``."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat("%s%s." % (prefix, name), value)
        elif isinstance(value, (np.ndarray, list)):
            yield prefix + name, np.asarray(value)


def _parquet(stream: BinaryIO, where: str) -> Any:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingError("%s is a Parquet file, which pyarrow reads; install it: pip install "
                                  "'edgehar[table]'." % where) from None
    try:
        return ParquetFile(_seekable(stream))
    except (ArrowInvalid, OSError) as error:
        raise InputError("%s is no Parquet file (%s); copy it again." % (where, error)) from error
