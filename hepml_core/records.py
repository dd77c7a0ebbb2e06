"""The records of many shards as one list: chosen by their index, fetched from anywhere, shuffled in bounded memory.

Suffixes: n record, r range of bytes that is read in one go.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import FileEntry
from hepml_core.errors import DataError, FolderError
from hepml_core.storage import Folder
from hepml_core.tfrecord import INDEX, IndexArray, index_name, record_fault

PARALLEL_READS = 8
LOCAL_GAP = 1 << 14
"""Bytes worth reading in vain to save a request to a disk."""
REMOTE_GAP = 1 << 18
"""Bytes worth reading in vain to save a request to an object store."""


class Records:
    """The records of a list of shards, with their index and random access.

    Attributes:
        index_n: The index (dtype INDEX) of all records, shard after shard.
    """

    def __init__(self, folder: Folder, shards: Sequence[FileEntry]) -> None:
        """Read the indices.

        Args:
            folder: Where the shards lie.
            shards: The shard files.

        Raises:
            FolderError: An index is missing or does not fit its shard.
        """
        self._folder = folder
        self._names = [shard.name for shard in shards]
        indices = [_read_index(folder, shard) for shard in shards]
        self.index_n: IndexArray = np.concatenate([np.empty(0, INDEX), *indices])
        self._shard_n = np.repeat(np.arange(len(indices)), [len(index) for index in indices])
        ends = [np.cumsum(index["length"], dtype=np.int64) for index in indices]
        self._end_n = np.concatenate([np.empty(0, np.int64), *ends])
        self._start_n = self._end_n - self.index_n["length"]

    def __len__(self) -> int:
        return len(self.index_n)

    def place(self, record: int) -> str:
        """Say where a record lies, for messages."""
        return f"{self._folder}/{self._names[self._shard_n[record]]}, record at byte {self._start_n[record]}"

    def fetch(self, record_n: NDArray[np.int64]) -> list[memoryview]:
        """Return the framed records of the given numbers, in their order, each checked against its checksums.

        Raises:
            DataError: A record is cut or damaged; the message names its place.
            FolderError: A shard is missing.
        """
        records = self._slices(record_n)
        for number, record in zip(record_n, records, strict=True):
            fault = record_fault(record, int(self.index_n["length"][number]))
            if fault:
                raise DataError(f"{self.place(number)}: {fault}; run the stage that made it again")
        return records

    def gather(self, record_n: NDArray[np.int64]) -> list[memoryview]:
        """Return the framed records of the given numbers, in their order, unchecked: for raw copies of checked files.

        Raises:
            DataError: A shard is shorter than its index says.
            FolderError: A shard is missing.
        """
        records = self._slices(record_n)
        if sum(map(len, records)) != self.index_n["length"][record_n].sum(dtype=np.int64):
            raise DataError(f"a shard in {self._folder} was cut while it was read; run the stage that made it again")
        return records

    def _slices(self, record_n: NDArray[np.int64]) -> list[memoryview]:
        """Read records, near neighbours in one go."""
        order_n = np.argsort(record_n, kind="stable")
        sorted_n = record_n[order_n]
        start_n, end_n, shard_n = self._start_n[sorted_n], self._end_n[sorted_n], self._shard_n[sorted_n]
        gap_n = start_n[1:] - end_n[:-1]
        gap = LOCAL_GAP if self._folder.path else REMOTE_GAP
        apart_n = (shard_n[1:] != shard_n[:-1]) | (gap_n > gap) | (gap_n < 0)
        opens_n = np.concatenate([np.ones(min(1, len(sorted_n)), bool), apart_n])
        first_r = np.flatnonzero(opens_n)
        last_r = np.append(first_r, len(sorted_n))[1:] - 1
        try:
            contents = self._read(shard_n[first_r].tolist(), start_n[first_r].tolist(), end_n[last_r].tolist())
        except FileNotFoundError as error:
            raise FolderError(f"a shard is missing ({error}): run the stage that made {self._folder} again") from error
        run_n = np.cumsum(opens_n) - 1
        begin_n = start_n - start_n[first_r][run_n]
        slices = [memoryview(b"")] * len(record_n)
        places = zip(
            order_n.tolist(), run_n.tolist(), begin_n.tolist(), (begin_n + end_n - start_n).tolist(), strict=True
        )
        for slot, run, begin, end in places:
            slices[slot] = contents[run][begin:end]
        return slices

    def _read(self, shard_r: list[int], start_r: list[int], end_r: list[int]) -> list[memoryview]:
        """Read a byte range each; from object stores several at once."""
        ranges = list(zip((self._names[shard] for shard in shard_r), start_r, end_r, strict=True))
        if self._folder.path is None:
            with ThreadPoolExecutor(PARALLEL_READS) as pool:
                return [memoryview(content) for content in pool.map(lambda where: self._folder.read(*where), ranges)]
        contents = []
        with contextlib.ExitStack() as stack:
            # A range of a file costs a few microseconds once the file is open; opening it costs ten times that.
            files: dict[str, BinaryIO] = {}
            for name, start, end in ranges:
                if name not in files:
                    files[name] = stack.enter_context((self._folder.path / name).open("rb", buffering=0))
                contents.append(memoryview(os.pread(files[name].fileno(), end - start, start)))
        return contents


def shuffled(
    record_n: NDArray[np.int64], *, chunk: int, group: int, chance: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield record numbers in random order, ``group`` at a time, such that few reads and little memory serve a group.

    Chunks of ``chunk`` neighbours are drawn at random from everywhere; the records of a group are then shuffled among
    themselves. A group of many chunks is as good as a full shuffle for stochastic gradients, and can be streamed.
    """
    starts = chance.permutation(np.arange(0, len(record_n), chunk))
    for first in range(0, len(starts), max(1, group // chunk)):
        chosen = [record_n[start : start + chunk] for start in starts[first : first + max(1, group // chunk)]]
        yield chance.permutation(np.concatenate(chosen))


def duplicate_groups(content_n: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Return the record numbers of each content that stands in more than one record, in order of first appearance."""
    order_n = np.argsort(content_n, kind="stable")
    repeats_n = content_n[order_n[1:]] == content_n[order_n[:-1]]
    first_n = np.flatnonzero(np.diff(repeats_n.astype(np.int8), prepend=0) == 1)
    last_n = np.flatnonzero(np.diff(repeats_n.astype(np.int8), append=0) == -1) + 1
    groups = [order_n[first : last + 1] for first, last in zip(first_n, last_n, strict=True)]
    return sorted(groups, key=lambda group: int(group[0]))


def _read_index(folder: Folder, shard: FileEntry) -> IndexArray:
    name = index_name(shard.name)
    try:
        content = folder.read(name)
    except FileNotFoundError:
        raise FolderError(f"{folder}/{name} is missing: run the stage that made this folder again") from None
    if len(content) % INDEX.itemsize == 0:
        index = np.frombuffer(content, INDEX)
        if int(index["length"].sum(dtype=np.uint64)) == shard.bytes and len(index) == shard.records:
            return index
    raise FolderError(f"{folder}/{name} does not fit its shard: run the stage that made this folder again")
