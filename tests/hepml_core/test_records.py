"""Records of many shards as one list."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.records import RUN_RECORDS, Records, duplicate_groups, shuffled
from hepml_core.storage import open_folder
from hepml_core.tfrecord import (
    INDEX,
    ShardWriter,
    frame,
    index_name,
    payload,
    read_records,
)
from tests.shards import make_shard, some_payloads


def test_reading_through_the_index_equals_reading_in_order(tmp_path: Path) -> None:
    shards = [make_shard(tmp_path, some_payloads(count), f"part-{count}") for count in (5, 1, 9)]
    records = Records(open_folder(tmp_path), [shard.entry for shard in shards])
    expected = [content for shard in shards for content in read_records(shard.path)]
    assert len(records) == 15
    chance = np.random.default_rng(1)
    for record_n in (
        np.arange(15),
        np.arange(15)[::-1],
        chance.permutation(15),
        np.array([3, 3, 14, 3]),
        np.array([], int),
    ):
        fetched = records.fetch(record_n)
        assert [payload(record) for record in fetched] == [expected[number] for number in record_n]
    assert records.index_n["label"].tolist() == [n % 3 for count in (5, 1, 9) for n in range(count)]


def test_raw_copies_are_the_records_as_they_stand(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, some_payloads())
    chosen_n = np.array([5, 0, 1, 6])
    assert shard.records().gather(chosen_n) == b"".join(frame(shard.payloads[n]) for n in chosen_n)
    with ShardWriter(tmp_path / "copy") as writer:
        writer.write_records(shard.records().gather(np.arange(7)), shard.records().index_n)
    assert (tmp_path / "copy").read_bytes() == shard.path.read_bytes()
    assert (writer.bytes, writer.crc32c, writer.records) == (shard.entry.bytes, shard.entry.crc32c, 7)
    assert np.array_equal(writer.index_n, shard.records().index_n)


def test_records_far_apart_are_read_as_well_as_neighbours(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, [bytes([number]) * 20_000 for number in range(12)])
    chosen_n = np.array([11, 2, 3, 0, 7])
    assert [payload(record) for record in shard.records().fetch(chosen_n)] == [shard.payloads[n] for n in chosen_n]


def test_a_shard_that_vanishes_is_named(tmp_path: Path) -> None:
    records = make_shard(tmp_path, some_payloads()).records()
    (tmp_path / "part-0").unlink()
    for read in (records.fetch, records.gather):
        with pytest.raises(FolderError, match=r"a shard is missing \(.*part-0'\): run the stage that made"):
            read(np.arange(2))


@pytest.mark.parametrize(("bytes_left", "record"), [(349, 6), (268, 6), (267, 6), (266, 5), (1, 0), (0, 0)])
def test_a_raw_copy_of_a_cut_shard_is_refused_and_the_first_torn_record_named(
    tmp_path: Path, bytes_left: int, record: int
) -> None:
    shard = make_shard(tmp_path, some_payloads())
    start, length = ([0, 17, 45, 84, 134, 195, 267][record], 17 + 11 * record)
    shard.path.write_bytes(shard.path.read_bytes()[:bytes_left])
    fault = f"record at byte {start}: the file ends after {bytes_left - start} of the record's {length} bytes"
    for read in (shard.records().fetch, shard.records().gather):
        with pytest.raises(DataError, match=f"part-0, {fault}; run the stage that made it again"):
            read(np.array([6, 5, 0, 1, 2, 3, 4]))
    if record == 6:
        assert shard.records().gather(np.array([5, 0])) == frame(shard.payloads[5]) + frame(shard.payloads[0])


def test_a_shard_that_ends_before_a_record_is_refused(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, some_payloads())
    shard.path.write_bytes(shard.path.read_bytes()[:200])
    with pytest.raises(DataError, match="record at byte 267: the file ends after 0 of the record's 83 bytes"):
        shard.records().gather(np.array([0, 6]))


def test_more_records_than_the_system_reads_at_once_come_whole(tmp_path: Path) -> None:
    payloads = [b"%d" % number for number in range(3 * RUN_RECORDS)]
    records = make_shard(tmp_path, payloads).records()
    for record_n in (np.arange(len(payloads)), np.arange(0, len(payloads), 2)[::-1]):
        assert records.gather(record_n) == b"".join(frame(payloads[n]) for n in record_n)


def test_a_shard_outside_its_folder_is_not_read(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, some_payloads())
    (tmp_path / "inside").mkdir()
    with pytest.raises(HepmlError, match=r"refused '\.\./part-0\.index' as a name"):
        Records(open_folder(tmp_path / "inside"), [dataclasses.replace(shard.entry, name="../part-0")])


def test_no_shards_hold_no_records(tmp_path: Path) -> None:
    records = Records(open_folder(tmp_path), [])
    assert len(records) == 0
    assert records.fetch(np.array([], np.int64)) == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda index: index.unlink(), r"part-0\.index is missing: run the stage"),
        (lambda index: index.write_bytes(index.read_bytes()[:-1]), r"part-0\.index does not fit its shard"),
        (lambda index: index.write_bytes(index.read_bytes()[:-24]), r"part-0\.index does not fit its shard"),
        (lambda index: index.write_bytes(b""), r"part-0\.index does not fit its shard"),
        (lambda index: index.write_bytes(index.read_bytes() + bytes(24)), r"part-0\.index does not fit its shard"),
        (lambda index: index.write_bytes(index.with_name("part-1.index").read_bytes()), r"does not fit its shard"),
    ],
    ids=["lost", "cut", "cut by a record", "emptied", "with a record more", "of another shard"],
)
def test_an_index_that_does_not_fit_is_refused(tmp_path: Path, damage: Callable[[Path], object], sentence: str) -> None:
    shard = make_shard(tmp_path, some_payloads(4))
    make_shard(tmp_path, [b"x"] * 4, "part-1")
    damage(tmp_path / index_name("part-0"))
    with pytest.raises(FolderError, match=sentence):
        shard.records()


def test_an_index_that_lies_about_lengths_is_found_when_records_are_read(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, [b"aaaa", b"bbbbbbbb"])
    index = np.frombuffer((tmp_path / "part-0.index").read_bytes(), INDEX).copy()
    for lengths in ([22, 22], [44, 0], [0, 44]):
        index["length"] = lengths
        (tmp_path / "part-0.index").write_bytes(index.tobytes())
        with pytest.raises(DataError, match="part-0, record at byte"):
            shard.records().fetch(np.arange(2))


@given(st.integers(0, 200), st.integers(1, 20), st.integers(1, 60), st.integers(0, 5))
def test_shuffled_groups_hold_every_record_once(count: int, chunk: int, group: int, seed: int) -> None:
    record_n = np.arange(count) * 3
    groups = list(shuffled(record_n, chunk=chunk, group=group, chance=np.random.default_rng(seed)))
    assert sorted(np.concatenate([np.array([], int), *groups])) == record_n.tolist()
    assert all(0 < len(numbers) <= max(chunk, group) for numbers in groups)
    again = list(shuffled(record_n, chunk=chunk, group=group, chance=np.random.default_rng(seed)))
    assert all(np.array_equal(one, other) for one, other in zip(groups, again, strict=True))


def test_shuffling_mixes_far_and_near_and_another_seed_differs() -> None:
    def order(seed: int) -> list[int]:
        chance = np.random.default_rng(seed)
        return [int(n) for group in shuffled(np.arange(10_000), chunk=10, group=1000, chance=chance) for n in group]

    first, second = order(1), order(2)
    assert first != second
    assert abs(np.corrcoef(np.arange(10_000), first)[0, 1]) < 0.1
    neighbours = np.mean(np.abs(np.diff(first)) == 1)
    assert neighbours < 0.01
    drawn_from = {number // 1000 for number in first[:1000]}
    assert len(drawn_from) == 10


def test_a_group_is_made_of_few_runs_of_neighbours() -> None:
    for group in shuffled(np.arange(640), chunk=16, group=64, chance=np.random.default_rng(0)):
        assert len(set((group // 16).tolist())) == 4


@given(st.lists(st.integers(0, 5).map(lambda n: 2**64 - 1 - n), max_size=30))
def test_copies_are_grouped_in_order_of_first_appearance(contents: list[int]) -> None:
    groups = [group.tolist() for group in duplicate_groups(np.array(contents, np.uint64))]
    repeated = [content for content in dict.fromkeys(contents) if contents.count(content) > 1]
    assert groups == [[i for i, other in enumerate(contents) if other == content] for content in repeated]
