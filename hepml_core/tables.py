"""Columns as Parquet shards: the only door to Parquet.

A shard is a Parquet file with one column of plain numbers or text for each ``Column`` of a manifest's schema. Numbers
are stored byte by byte (BYTE_STREAM_SPLIT) and text as a dictionary, compressed with zstd; pages carry checksums. The
same columns, written in the same pieces, give the same bytes. Unit and meaning of a column are in its field's metadata,
for those who open the file with another program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import Column, FileEntry, checksum
from hepml_core.errors import DataError, DependencyError, FolderError, UnknownNameError
from hepml_core.storage import Folder, open_folder

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as missing:
    raise DependencyError("pyarrow", "jets", "reading and writing tables") from missing

ROWS_AT_ONCE = 1 << 18
COMPRESSION_LEVEL = 3

Columns = dict[str, NDArray[Any]]


class TableWriter:
    """Write columns to a local Parquet file.

    Attributes:
        rows: Rows so far.
        bytes: Size of the file, once it is closed.
        crc32c: Checksum of the file, once it is closed.
    """

    def __init__(self, path: Path, schema: Sequence[Column]) -> None:
        self._path, self._columns = path, list(schema)
        self._schema = pa.schema([_field(column) for column in schema])
        texts = [column.name for column in schema if column.dtype == "string"]
        numbers = [column.name for column in schema if column.dtype != "string"]
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=texts,
            use_byte_stream_split=numbers,
            write_page_checksum=True,
        )
        self.rows = self.bytes = self.crc32c = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is None:
            self.bytes = self._path.stat().st_size
            self.crc32c = checksum(open_folder(self._path.parent), self._path.name, self.bytes)

    def write(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Append rows, as a row group; all columns of the schema, of equal length.

        Raises:
            TypeError: A column would not fit the schema's type.
        """
        assert set(columns) == set(self._schema.names), "the columns must be those of the schema"
        arrays = [_to_arrow(columns[column.name], column) for column in self._columns]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
        self.rows += table.num_rows


def read_table(folder: Folder, entry: FileEntry, columns: Sequence[str] | None = None) -> Columns:
    """Read a shard, or some of its columns, in the asked order; text comes as numpy text.

    Raises:
        FolderError: There is no such file.
        DataError: The file is no Parquet file, is damaged, or has other rows than its entry says.
        UnknownNameError: There is no such column.
    """
    with _opened(folder, entry, columns) as (file, names):
        with _damage(folder, entry):
            table = file.read(columns=names)
        return {name: _to_numpy(table.column(name)) for name in names}


def iter_table(
    folder: Folder, entry: FileEntry, columns: Sequence[str] | None = None, rows: int = ROWS_AT_ONCE
) -> Iterator[Columns]:
    """Read a shard in order, at most so many rows at once; nothing of it stays in memory.

    Raises:
        FolderError, DataError, UnknownNameError: As read_table does.
    """
    with _opened(folder, entry, columns) as (file, names):
        batches = file.iter_batches(batch_size=rows, columns=names)
        while True:
            with _damage(folder, entry):
                batch = next(batches, None)
            if batch is None:
                return
            yield {name: _to_numpy(batch.column(name)) for name in names}


@contextmanager
def _opened(folder: Folder, entry: FileEntry, columns: Sequence[str] | None) -> Iterator[tuple[Any, list[str]]]:
    """Open a shard; say which of its columns to read."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(folder.local(entry.name))
        except FileNotFoundError:
            raise FolderError(f"{folder}/{entry.name} is missing: run the stage that made this folder again") from None
        with _damage(folder, entry):
            schema = pq.read_schema(path)
            texts = [field.name for field in schema if pa.types.is_string(field.type)]
            file = stack.enter_context(
                pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True, pre_buffer=False)
            )
        if file.metadata.num_rows != entry.records:
            promised = f"its manifest says {entry.records}"
            raise DataError(f"{folder}/{entry.name} has {file.metadata.num_rows} rows, {promised}")
        for name in columns or ():
            if name not in schema.names:
                raise UnknownNameError("column", name, schema.names, f"in {folder}/{entry.name}")
        yield file, list(schema.names if columns is None else columns)


@contextmanager
def _damage(folder: Folder, entry: FileEntry) -> Iterator[None]:
    """Turn what pyarrow says of a file into one sentence with its name."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{folder}/{entry.name} is damaged or no Parquet file: {reason}") from error


def _field(column: Column) -> Any:
    assert not column.shape, "a table holds one number or text for each row and column"
    kind = pa.string() if column.dtype == "string" else pa.from_numpy_dtype(np.dtype(column.dtype))
    return pa.field(column.name, kind, nullable=False, metadata={"unit": column.unit, "meaning": column.meaning})


def _to_arrow(value_n: NDArray[Any], column: Column) -> Any:
    if column.dtype == "string":
        return pa.array(np.asarray(value_n, np.str_), pa.string())
    return pa.array(np.ascontiguousarray(value_n).astype(column.dtype, casting="same_kind", copy=False))


def _to_numpy(column: Any) -> NDArray[Any]:
    """Return a column as an array of its own, which may be written to."""
    if pa.types.is_dictionary(column.type):
        return _texts(column)
    array_n: NDArray[Any] = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(False)
    return array_n if array_n.flags.writeable else array_n.copy()


def _texts(column: Any) -> NDArray[np.str_]:
    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    some = [np.array(part.dictionary.to_pylist() or [""], np.str_)[part.indices.to_numpy(False)] for part in parts]
    return np.concatenate(some) if some else np.empty(0, "<U1")
