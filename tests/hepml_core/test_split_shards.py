"""Records go to shards of their split, all of them, once, as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hepml_core.artifacts import FileEntry, Output
from hepml_core.event_images.config import OrganizeConfig
from hepml_core.records import Records
from hepml_core.split_shards import (
    ClassArray,
    IntArray,
    assign_records,
    copy_as_they_are,
    count_events,
    find_copies,
    write_splits,
)
from hepml_core.splits import SPLITS, SplitArray
from hepml_core.storage import LocalFolder
from hepml_core.tfrecord import ShardWriter, hash64, read_records, write_index
from tests.class_folders import shard_bytes

COUNT = 400
FRACTIONS = (0.5, 0.3, 0.2)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    """Two shards of 200 records of two classes; numbers 1 and 301 have the same content, as have 2 and 4."""
    folder = LocalFolder(tmp_path_factory.mktemp("split") / "shards")
    entries = []
    for part in range(2):
        with folder.staged(f"part-{part}") as path, ShardWriter(path) as writer:
            for number in range(200 * part, 200 * part + 200):
                content = {301: 1, 4: 2}.get(number, number)
                writer.write(b"%d" % number, label=number % 2, key=hash64(b"%d" % number), content=content)
        write_index(folder, f"part-{part}", writer.index_n)
        entries.append(FileEntry(f"part-{part}", writer.bytes, writer.crc32c, writer.records))
    return Records(folder, entries)


@pytest.fixture
def class_n(records: Records) -> ClassArray:
    return records.index_n["label"].astype(np.int32)


def written(folder: Path, records: Records, split_n: SplitArray, class_n: ClassArray, seed: int = 0) -> Output:
    output = Output(LocalFolder(folder), "dataset", "event_images", OrganizeConfig(), {})
    write_splits(records, split_n, class_n, output, seed=seed, records_per_shard=32)
    return output


def numbers(folder: Path, split: str) -> list[int]:
    return [int(one) for shard in sorted(folder.glob(f"{split}-*.tfrecord")) for one in read_records(shard)]


def test_every_record_lies_once_in_its_split_and_nowhere_else(
    records: Records, class_n: ClassArray, tmp_path: Path
) -> None:
    split_n = assign_records(records, np.arange(COUNT) % 10 != 0, FRACTIONS, 3, exact=False)
    written(tmp_path, records, split_n, class_n)
    assert (split_n[::10] == -1).all()
    for number, split in enumerate(SPLITS):
        assert sorted(numbers(tmp_path, split)) == np.flatnonzero(split_n == number).tolist()
        assert numbers(tmp_path, split) != sorted(numbers(tmp_path, split))


def test_exact_splits_have_the_asked_share_of_each_class(records: Records, class_n: ClassArray) -> None:
    split_n = assign_records(records, np.ones(COUNT, bool), FRACTIONS, 0, exact=True)
    assert count_events(split_n, class_n, ("even", "odd")) == {
        "train": {"even": 100, "odd": 100},
        "valid": {"even": 60, "odd": 60},
        "test": {"even": 40, "odd": 40},
    }


def test_records_that_are_not_kept_are_counted_nowhere(records: Records, class_n: ClassArray) -> None:
    split_n = assign_records(records, class_n == 0, FRACTIONS, 0, exact=True)
    counts = count_events(split_n, class_n, ("even", "odd"))
    assert [counts[split]["odd"] for split in SPLITS] == [0, 0, 0]
    assert sum(counts[split]["even"] for split in SPLITS) == COUNT // 2


def test_copies_are_counted_across_splits_and_classes(records: Records) -> None:
    split_n, class_n = np.zeros(COUNT, np.int8), np.zeros(COUNT, np.int32)
    assert find_copies(records, split_n, class_n) == {"copies": 2, "across_splits": 0, "across_classes": 0}
    split_n[301], class_n[4] = 2, 1
    assert find_copies(records, split_n, class_n) == {"copies": 2, "across_splits": 2, "across_classes": 2}
    split_n[301] = -1
    assert find_copies(records, split_n, class_n) == {"copies": 1, "across_splits": 0, "across_classes": 2}


def test_the_new_index_tells_the_given_classes(records: Records, tmp_path: Path) -> None:
    class_n = np.arange(COUNT, dtype=np.int32) % 5
    output = written(tmp_path, records, np.zeros(COUNT, np.int8), class_n)
    manifest = output.publish(metrics={})
    made = Records(LocalFolder(tmp_path), manifest.shards("train"))
    assert made.index_n["label"].tolist() == [number % 5 for number in numbers(tmp_path, "train")]


def test_a_second_run_makes_only_what_is_missing_and_the_same_bytes(
    records: Records, class_n: ClassArray, tmp_path: Path
) -> None:
    split_n = assign_records(records, np.ones(COUNT, bool), FRACTIONS, 0, exact=False)
    written(tmp_path, records, split_n, class_n)
    expected = shard_bytes(tmp_path)
    lost = min(tmp_path.glob("train-*.tfrecord"))
    lost.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.tfrecord")}
    made: list[int] = []

    def copy(writer: ShardWriter, records: Records, record_n: IntArray, index_n: np.ndarray) -> None:
        made.extend(record_n)
        copy_as_they_are(writer, records, record_n, index_n)

    output = Output(LocalFolder(tmp_path), "dataset", "event_images", OrganizeConfig(), {})
    write_splits(records, split_n, class_n, output, seed=0, records_per_shard=32, copy=copy)
    assert shard_bytes(tmp_path) == expected
    assert sorted(made) == sorted(int(one) for one in read_records(lost))
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
