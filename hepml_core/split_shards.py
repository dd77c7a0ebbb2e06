"""Write the records of a shards folder to shards of each split: as they are, shuffled, in bounded memory.

Suffixes: n record, c class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hepml_core.artifacts import FileEntry, Output
from hepml_core.parallel import in_threads
from hepml_core.progress import progress
from hepml_core.records import Records, duplicate_groups, shuffled
from hepml_core.splits import SPLITS, SplitArray, assign_splits, assign_splits_exactly
from hepml_core.storage import Folder
from hepml_core.tfrecord import IndexArray, ShardWriter, index_name, write_index

CHUNK_RECORDS = 16
"""Neighbours that travel together into a shard: few enough to mix classes, enough for reads of some 100 kB."""
WRITE_BYTES = 1 << 23
"""Bytes that are fetched and written at once."""

IntArray = NDArray[np.int64]
ClassArray = NDArray[np.int32]

CopyRecords = Callable[[ShardWriter, Records, IntArray, IndexArray], None]
"""Writes records of the given numbers with the given index."""


def assign_records(
    records: Records, kept_n: NDArray[np.bool_], fractions: Sequence[float], seed: int, *, exact: bool
) -> NDArray[np.int8]:
    """Return the split of each record (0 train, 1 valid, 2 test) by the hash of its key; -1 for one that is not kept.

    Args:
        records: All records.
        kept_n: Which of them are kept.
        fractions: Of train, valid and test.
        seed: Of the split.
        exact: Split each class to exactly these fractions; then events may move when others are added.
    """
    key_n, label_n = records.index_n["key"], records.index_n["label"]
    if exact:
        split_n = np.empty(len(records), np.int8)
        split_n[kept_n] = assign_splits_exactly(key_n[kept_n], label_n[kept_n], fractions, seed)
    else:
        split_n = assign_splits(key_n, fractions, seed).astype(np.int8)
    split_n[~kept_n] = -1
    return split_n


def count_events(split_n: SplitArray, class_n: ClassArray, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count events by split and class."""
    counts = {}
    for number, split in enumerate(SPLITS):
        members_c = np.bincount(class_n[split_n == number], minlength=len(names))
        counts[split] = {name: int(count) for name, count in zip(names, members_c, strict=True)}
    return counts


def find_copies(records: Records, split_n: SplitArray, class_n: ClassArray) -> dict[str, int]:
    """Count events that were measured twice, in two splits or in two classes: they make a classifier look better."""
    kept_n = split_n >= 0
    number_n = np.flatnonzero(kept_n)
    groups = [number_n[group] for group in duplicate_groups(records.index_n["content"][kept_n])]
    return {
        "copies": sum(map(len, groups)) - len(groups),
        "across_splits": sum(len(group) for group in groups if len(set(split_n[group])) > 1),
        "across_classes": sum(len(group) for group in groups if len(set(class_n[group])) > 1),
    }


def copy_as_they_are(writer: ShardWriter, records: Records, record_n: IntArray, index_n: IndexArray) -> None:
    """Write records without a look into them."""
    writer.write_records(records.gather(record_n), index_n)


def write_splits(
    records: Records,
    split_n: SplitArray,
    class_n: ClassArray,
    output: Output,
    *,
    seed: int,
    records_per_shard: int,
    copy: CopyRecords = copy_as_they_are,
) -> None:
    """Write the shards of all splits on all cores, except those that an earlier, killed run has made.

    Reading, checksums and writing leave Python's lock, so threads do; worker processes cost more than they bring.

    Args:
        records: All records.
        split_n: Split of each (0 train, 1 valid, 2 test); -1 leaves it out.
        class_n: Class of each, for the new indices.
        output: The dataset folder.
        seed: Of the order.
        records_per_shard: Of the new shards.
        copy: How records are written.
    """

    def wanted() -> Iterator[_ShardJob]:
        for job in _plan(split_n, seed, records_per_shard):
            if output.receipt(job.name) and output.receipt(index_name(job.name)):
                bar.advance(len(job.record_n))
            else:
                yield job

    make = partial(_make_shard, records, class_n, output.files, copy)
    with progress("organize", int(np.count_nonzero(split_n >= 0)), "events") as bar:
        for index, shard in in_threads(make, wanted()):
            output.keep(index)
            output.keep(shard)
            bar.advance(shard.records)


@dataclass(frozen=True, slots=True)
class _ShardJob:
    """One shard to write."""

    name: str
    split: str
    record_n: IntArray


def _plan(split_n: SplitArray, seed: int, records_per_shard: int) -> Iterator[_ShardJob]:
    group = max(1, records_per_shard // CHUNK_RECORDS) * CHUNK_RECORDS
    for number, split in enumerate(SPLITS):
        record_n = np.flatnonzero(split_n == number)
        chance = np.random.default_rng([seed, number])
        total = -(-len(record_n) // group)
        for part, chosen_n in enumerate(shuffled(record_n, chunk=CHUNK_RECORDS, group=group, chance=chance)):
            yield _ShardJob(f"{split}-{part:05d}-of-{total:05d}.tfrecord", split, chosen_n)


def _make_shard(
    records: Records, class_n: ClassArray, folder: Folder, copy: CopyRecords, job: _ShardJob
) -> tuple[FileEntry, FileEntry]:
    index_n = records.index_n[job.record_n]
    index_n["label"] = class_n[job.record_n]
    step = max(1, int(WRITE_BYTES / max(1.0, index_n["length"].mean())))
    with folder.staged(job.name) as path, ShardWriter(path) as writer:
        for start in range(0, len(index_n), step):
            some = slice(start, start + step)
            copy(writer, records, job.record_n[some], index_n[some])
    index = write_index(folder, job.name, writer.index_n)
    return index, FileEntry(job.name, writer.bytes, writer.crc32c, writer.records, job.split)
