"""The records of many shards as one list: chosen by their index, fetched from anywhere, shuffled in bounded memory.

Suffixes: n record, r range of bytes that is read in one go.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path

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
RUN_RECORDS = 512
"""Records that are read in one go at most: with a gap before each they are the 1024 pieces that the system takes."""

IntArray = NDArray[np.int64]


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
        self._gap = LOCAL_GAP if folder.path else REMOTE_GAP
        self._names = [shard.name for shard in shards]
        edges = np.cumsum([0, *(shard.records for shard in shards)])
        self._first_s = edges[:-1]
        # Filled shard by shard, for parts that are joined at the end are held twice.
        self.index_n: IndexArray = np.empty(edges[-1], INDEX)
        self._start_n = np.empty(edges[-1], np.int64)
        for shard, first, stop in zip(shards, edges[:-1], edges[1:], strict=True):
            index = read_index(folder, shard)
            self.index_n[first:stop] = index
            self._start_n[first:stop] = np.cumsum(index["length"], dtype=np.int64) - index["length"]

    def __len__(self) -> int:
        return len(self.index_n)

    def place(self, record: int) -> str:
        """Say where a record lies, for messages."""
        shard = np.searchsorted(self._first_s, record, side="right") - 1
        return f"{self._folder}/{self._names[shard]}, record at byte {self._start_n[record]}"

    def fetch(self, record_n: IntArray) -> list[memoryview]:
        """Return the framed records of the given numbers, in their order, each checked against its checksums.

        Raises:
            DataError: A record is cut or damaged; the message names its place.
            FolderError: A shard is missing.
        """
        content = self.gather(record_n)
        lengths = self.index_n["length"][record_n].tolist()
        stops = np.cumsum(lengths, dtype=np.int64).tolist()
        records = [content[stop - length : stop] for stop, length in zip(stops, lengths, strict=True)]
        for number, length, record in zip(record_n.tolist(), lengths, records, strict=True):
            fault = record_fault(record, length)
            if fault:
                raise DataError(f"{self.place(number)}: {fault}; run the stage that made it again")
        return records

    def gather(self, record_n: IntArray) -> memoryview:
        """Return the framed records of the given numbers, back to back in their order, unchecked: for raw copies.

        Raises:
            DataError: A shard is shorter than its index says; the message names the record where it ends.
            FolderError: A shard is missing.
        """
        length_n = self.index_n["length"][record_n].astype(np.int64)
        place_n = np.cumsum(length_n) - length_n
        size = int(length_n.sum())
        # What lies between the records of a run is read too, and goes to the end of the buffer.
        content = np.empty(size + self._gap, np.uint8).data
        order_n = np.argsort(record_n, kind="stable")
        runs = self._runs(record_n[order_n], place_n[order_n], content)
        try:
            bytes_r = self._read_disk(self._folder.path, runs) if self._folder.path else self._read_store(runs)
        except FileNotFoundError as error:
            raise FolderError(f"a shard is missing ({error}): run the stage that made {self._folder} again") from error
        for run, found in zip(runs, bytes_r, strict=True):
            if found < run.stop - run.start:
                raise self._cut(run, found)
        return content[:size]

    def _runs(self, record_n: IntArray, place_n: NDArray[np.int64], content: memoryview) -> list[_Run]:
        """Join sorted records that lie near each other to runs; each is to be read to its place in ``content``."""
        length_n = self.index_n["length"][record_n].astype(np.int64)
        shard_n = np.searchsorted(self._first_s, record_n, side="right") - 1
        start_n = self._start_n[record_n]
        gap_n = np.diff(start_n, prepend=0)
        gap_n[1:] -= length_n[:-1]
        opens_n = (np.diff(shard_n, prepend=-1) != 0) | (gap_n < 0) | (gap_n > self._gap)
        opens_n[::RUN_RECORDS] = True
        gap_n[opens_n] = 0
        # Two pieces a record: what lies before it, and itself.
        waste = len(content) - self._gap
        first_p = np.stack([np.full_like(place_n, waste), place_n], axis=1).ravel()
        bytes_p = np.stack([gap_n, length_n], axis=1).ravel()
        pieces = [
            content[first:stop] for first, stop in zip(first_p.tolist(), (first_p + bytes_p).tolist(), strict=True)
        ]
        edge_r = np.append(np.flatnonzero(opens_n), len(record_n))
        first_r, last_r = edge_r[:-1], edge_r[1:] - 1
        return [
            _Run(self._names[shard], start, stop, record_n[first : last + 1], pieces[2 * first : 2 * last + 2])
            for shard, start, stop, first, last in zip(
                shard_n[first_r].tolist(),
                start_n[first_r].tolist(),
                (start_n + length_n)[last_r].tolist(),
                first_r.tolist(),
                last_r.tolist(),
                strict=True,
            )
        ]

    def _read_disk(self, folder: Path, runs: list[_Run]) -> list[int]:
        """Fill the pieces of each run; return how many bytes there were."""
        bytes_r = []
        for name, of_shard in groupby(runs, key=lambda run: run.shard):
            # The system's own calls, for few bytes are read of each shard: paths and file objects take longer than that.
            file = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                bytes_r += [os.preadv(file, run.pieces, run.start) for run in of_shard]
            finally:
                os.close(file)
        return bytes_r

    def _read_store(self, runs: list[_Run]) -> list[int]:
        """Fill the pieces of each run, several at once; return how many bytes there were."""

        def read(run: _Run) -> int:
            content = BytesIO(self._folder.read(run.shard, run.start, run.stop))
            return sum(map(content.readinto, run.pieces))

        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            return list(pool.map(read, runs))

    def _cut(self, run: _Run, found: int) -> DataError:
        """Say which record of a run is the first that is not whole where ``found`` bytes could be read."""
        length_n = self.index_n["length"][run.record_n]
        position = np.searchsorted(self._start_n[run.record_n] + length_n, run.start + found, side="right")
        number, length = run.record_n[position], length_n[position]
        there = max(0, run.start + found - self._start_n[number])
        fault = f"the file ends after {there} of the record's {length} bytes"
        return DataError(f"{self.place(number)}: {fault}; run the stage that made it again")


@dataclass(frozen=True, slots=True)
class _Run:
    """A range of bytes of a shard that is read in one go."""

    shard: str
    start: int
    stop: int
    record_n: IntArray
    """Numbers of the records in it."""
    pieces: list[memoryview]
    """Where its bytes go, piece after piece."""


def shuffled(record_n: IntArray, *, chunk: int, group: int, chance: np.random.Generator) -> Iterator[IntArray]:
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
    sorted_n = np.sort(content_n)
    repeated = sorted_n[1:][sorted_n[1:] == sorted_n[:-1]]
    del sorted_n  # of millions of contents, of which few are repeated
    member_n = np.flatnonzero(np.isin(content_n, repeated))
    member_n = member_n[np.argsort(content_n[member_n], kind="stable")]
    edges = np.flatnonzero(np.diff(content_n[member_n])) + 1
    groups = np.split(member_n, edges) if len(member_n) else []
    return sorted(groups, key=lambda group: int(group[0]))


def read_index(folder: Folder, shard: FileEntry) -> IndexArray:
    """Read the index of a shard.

    Raises:
        FolderError: It is missing or does not fit its shard.
    """
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
