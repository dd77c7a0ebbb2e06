"""Rows on their way from one order to another, in a file without a name.

Suffix n: row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hepml_core.storage.folders import disk_errors

Columns = dict[str, NDArray[Any]]


class Spill:
    """Columns of a known number of rows on a disk, written and read at any place.

    The file has no name: it is gone when the process is, however that ends.
    """

    def __init__(self, folder: Path | None, dtypes: Mapping[str, DTypeLike], rows: int) -> None:
        """Open an empty one.

        Args:
            folder: A folder on the disk to use; None takes the one for temporary files.
            dtypes: Types of the columns, by name; no text.
            rows: Number of rows that it must hold.

        Raises:
            StorageError: The disk refused; so do ``write`` and ``read``.
        """
        self._where = folder or Path(tempfile.gettempdir())
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        sizes = [rows * dtype.itemsize for dtype in self._dtypes.values()]
        self._starts = dict(zip(self._dtypes, np.cumsum([0, *sizes]).tolist(), strict=False))
        with disk_errors(f"cannot write a temporary file in {self._where}"):
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=self._where, prefix=".spill-", suffix=".tmp")  # noqa: SIM115

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, place: int, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write rows, the first of them at row ``place``."""
        with disk_errors(f"cannot write a temporary file in {self._where}"):
            for name, dtype in self._dtypes.items():
                self._file.seek(self._starts[name] + place * dtype.itemsize)
                self._file.write(np.ascontiguousarray(columns[name], dtype).data)

    def read(self, place: int, rows: int) -> Columns:
        """Read rows, the first of them from row ``place``."""
        columns = {name: np.empty(rows, dtype) for name, dtype in self._dtypes.items()}
        with disk_errors(f"cannot read a temporary file in {self._where}"):
            for name, value_n in columns.items():
                self._file.seek(self._starts[name] + place * value_n.itemsize)
                self._file.readinto(value_n.data)  # type: ignore[attr-defined]
        return columns


class Dealer:
    """Deals rows that come in any order to shards of nearly equal size, like cards: each row has equal chances.

    Rows of one call that stood side by side end up far apart; shuffled once more, a shard is a random part of all rows.
    """

    def __init__(self, spill: Spill, starts: Sequence[int], chance: np.random.Generator) -> None:
        """Deal into a spill.

        Args:
            spill: Where the shards have their places.
            starts: First row of each shard there; shard s gets rows s, s + len(starts), … of all that are dealt.
            chance: Shuffles the rows of each call.
        """
        self._spill, self._starts, self._chance = spill, starts, chance
        self._dealt = 0

    def deal(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Deal some rows."""
        count, shards = len(next(iter(columns.values()))), len(self._starts)
        order_n = self._chance.permutation(count)
        shuffled = {name: value_n[order_n] for name, value_n in columns.items()}
        for shard, start in enumerate(self._starts):
            first = (shard - self._dealt) % shards
            hand = {name: value_n[first::shards] for name, value_n in shuffled.items()}
            self._spill.write(start + (self._dealt + first) // shards, hand)
        self._dealt += count
