"""TFRecord shards: the bytes that TensorFlow writes, and what damage does to them.

TensorFlow runs in one process of its own, so that the tests themselves never load it.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from hepml_core.artifacts import FileEntry
from hepml_core.errors import DataError, FolderError, HepmlError
from hepml_core.storage import open_folder
from hepml_core.tfrecord import (
    INDEX,
    Records,
    ShardWriter,
    Value,
    bytes_features,
    decode_example,
    duplicate_groups,
    encode_example,
    frame,
    hash64,
    index_name,
    payload,
    read_records,
    record_fault,
    shuffled,
    write_index,
)

FEATURES: list[dict[str, Value]] = [
    {"image": bytes(range(256)), "label": 3, "class": "higgs", "key": "higgs/0001.png", "weight": 0.5},
    {"z": 1, "a": 2, "Z": 3, "B": 4, "": 5, "é": 6, "名": 7, "aa": 8, "a/b": 9, "0": 10},
    {"whole": [-1, 0, 2**63 - 1, -(2**63)], "real": [0.0, -0.0, 1e-45, 3.4e38, float("inf"), 0.1]},
    {"empty": b"", "text": "", "three": [b"a", b"", b"\xff\x00"], "words": ["jet", "µ"]},  # type: ignore[dict-item]
    {},
]

WITH_TENSORFLOW = """
import importlib.util, json, sys, types

# Only the modules that are needed: the whole of TensorFlow takes ten times as long to load.
tensorflow = types.ModuleType("tensorflow")
tensorflow.__path__ = list(importlib.util.find_spec("tensorflow").submodule_search_locations)
sys.modules["tensorflow"] = tensorflow
from tensorflow.core.example.example_pb2 import Example
from tensorflow.python.lib.io.tf_record import TFRecordWriter, tf_record_iterator

folder = sys.argv[1]
with TFRecordWriter(folder + "/theirs") as writer:
    for features in json.load(open(folder + "/features.json")):
        example = Example()
        for name, (kind, values) in features.items():
            parse = {"bytes_list": bytes.fromhex, "float_list": float, "int64_list": int}[kind]
            getattr(example.features.feature[name], kind).value.extend(map(parse, values))
        writer.write(example.SerializeToString(deterministic=True))
    writer.write(b"")
read = []
for record in tf_record_iterator(folder + "/ours"):
    parsed = {}
    for name, feature in Example.FromString(record).features.feature.items():
        kind = feature.WhichOneof("kind")
        show = {"bytes_list": bytes.hex, "float_list": repr, "int64_list": int}[kind]
        parsed[name] = [kind, [show(value) for value in getattr(feature, kind).value]]
    read.append(parsed)
json.dump(read, open(folder + "/read.json", "w"))
"""


@dataclass(frozen=True)
class Shard:
    """A shard with its index."""

    path: Path
    entry: FileEntry
    payloads: list[bytes]

    def records(self) -> Records:
        return Records(open_folder(self.path.parent), [self.entry])


def make_shard(folder: Path, payloads: list[bytes], name: str = "part-0") -> Shard:
    with ShardWriter(folder / name) as writer:
        for number, content in enumerate(payloads):
            writer.write(content, label=number % 3, key=hash64(str(number).encode()), content=hash64(content))
    write_index(open_folder(folder), name, writer.index_n)
    return Shard(folder / name, FileEntry(name, writer.bytes, writer.crc32c, writer.records), payloads)


def some_payloads(count: int = 7) -> list[bytes]:
    return [bytes([number]) * (1 + 11 * number) for number in range(count)]


def typed(value: Value) -> tuple[str, list[Any]]:
    """Say which list of an Example holds a value, and write it such that JSON keeps every bit of the 32 of a float."""
    values: list[Any] = [value] if isinstance(value, (bytes, str, int, float)) else list(value)
    if isinstance(values[0], (bytes, str)):
        return "bytes_list", [(item.encode() if isinstance(item, str) else item).hex() for item in values]
    if isinstance(values[0], float):
        return "float_list", [repr(float(np.float32(item))) for item in values]
    return "int64_list", [int(item) for item in values]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let TensorFlow write what we write, and read what we wrote."""
    folder = tmp_path_factory.mktemp("exchange")
    make_shard(folder, [encode_example(features) for features in FEATURES], "ours")
    plain = [{name: typed(value) for name, value in features.items()} for features in FEATURES]
    (folder / "features.json").write_text(json.dumps(plain))
    command = [sys.executable, "-W", "ignore", "-c", WITH_TENSORFLOW, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_our_bytes_are_those_of_tensorflow(exchange: Path) -> None:
    assert (exchange / "theirs").read_bytes() == (exchange / "ours").read_bytes() + frame(b"")


def test_tensorflow_reads_our_shards(exchange: Path) -> None:
    read = json.loads((exchange / "read.json").read_text())
    expected = [{name: list(typed(value)) for name, value in features.items()} for features in FEATURES]
    assert read == expected


def test_we_read_the_shards_of_tensorflow(exchange: Path) -> None:
    *examples, empty = read_records(exchange / "theirs")
    assert empty == b""
    decoded = [decode_example(example) for example in examples]
    assert [sorted(features) for features in decoded] == [sorted(features) for features in FEATURES]
    assert decoded[0]["image"] == [bytes(range(256))]
    assert decoded[0]["key"] == [b"higgs/0001.png"]
    assert decoded[2]["whole"] == FEATURES[2]["whole"]
    assert decoded[2]["real"] == np.array(FEATURES[2]["real"], np.float32).tolist()
    assert bytes_features(examples[0], ("key", "image")) == [b"higgs/0001.png", bytes(range(256))]


def test_tensorflow_is_not_needed() -> None:
    code = "import sys, hepml_core.tfrecord as t; t.encode_example({'a': 1}); print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


# Reading.


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
    assert [bytes(record) for record in shard.records().gather(chosen_n)] == [
        frame(shard.payloads[n]) for n in chosen_n
    ]
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


def test_a_raw_copy_of_a_cut_shard_is_refused(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, some_payloads())
    shard.path.write_bytes(shard.path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"a shard in .* was cut while it was read"):
        shard.records().gather(np.arange(7))


def test_a_shard_outside_its_folder_is_not_read(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, some_payloads())
    (tmp_path / "inside").mkdir()
    with pytest.raises(HepmlError, match=r"refused '\.\./part-0\.index' as a name"):
        Records(open_folder(tmp_path / "inside"), [dataclasses.replace(shard.entry, name="../part-0")])


def test_no_shards_hold_no_records(tmp_path: Path) -> None:
    records = Records(open_folder(tmp_path), [])
    assert len(records) == 0
    assert records.fetch(np.array([], np.int64)) == []


def test_an_empty_file_holds_no_records(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, [])
    assert list(read_records(shard.path)) == []
    assert len(shard.records()) == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=40), max_size=6))
def test_payloads_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes]) -> None:
    shard = make_shard(tmp_path_factory.mktemp("shard"), payloads)
    assert list(read_records(shard.path)) == payloads
    assert shard.entry.crc32c == crc32c(shard.path.read_bytes())
    assert shard.entry.bytes == shard.path.stat().st_size


# Damage is named with the record and its place.


def test_a_file_cut_anywhere_names_the_record_and_its_place(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, [b"first record", b"second"])
    content = shard.path.read_bytes()
    border = len(frame(b"first record"))
    for length in range(len(content)):
        shard.path.write_bytes(content[:length])
        whole = shard.payloads[: length // border]
        if length in (0, border):
            assert list(read_records(shard.path)) == whole
        else:
            place = (
                f"part-0, record {len(whole)} at byte {border * len(whole)}: the file ends after {length % border} of"
            )
            with pytest.raises(DataError, match=place):
                list(read_records(shard.path))
        with pytest.raises(DataError, match=rf"part-0, record at byte {border * len(whole)}: the file ends after"):
            shard.records().fetch(np.arange(2))


def test_a_bit_flipped_anywhere_is_found(tmp_path: Path) -> None:
    shard = make_shard(tmp_path, [b"first record", b"second"])
    content = shard.path.read_bytes()
    border = len(frame(b"first record"))
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        shard.path.write_bytes(changed)
        number = int(position >= border)
        with pytest.raises(DataError, match=f"record {number} at byte {border * number}: the checksum of the record's"):
            list(read_records(shard.path))
        with pytest.raises(DataError, match=f"part-0, record at byte {border * number}: the checksum of the record's"):
            shard.records().fetch(np.arange(2))
        assert shard.records().fetch(np.array([1 - number])) == [frame(shard.payloads[1 - number])]


@pytest.mark.parametrize("length", [2**31, 2**63, 2**64 - 1, 2**64 - 16])
def test_a_hostile_length_costs_no_memory(tmp_path: Path, length: int) -> None:
    head = struct.pack("<Q", length)
    (tmp_path / "part-0").write_bytes(frame(b"good") + head + frame_checksum(head) + b"x" * 100)
    tracemalloc.start()
    with pytest.raises(
        DataError, match=f"record 1 at byte 20: the file ends after 112 of the record's {length + 16} bytes"
    ):
        list(read_records(tmp_path / "part-0"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def frame_checksum(head: bytes) -> bytes:
    """Mask a checksum as record_writer.h does; written anew, so that it judges ours."""
    crc = crc32c(head)
    return struct.pack("<I", ((((crc >> 15) | (crc << 17)) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"key,label\n" * 10, bytes(64), b"\xff" * 64, b"PAR1", b"\0"]
)
def test_what_is_no_tfrecord_file_is_refused_at_its_first_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(DataError, match=r"picture\.png, record 0 at byte 0: .*(no TFRecord file|file ends)"):
        list(read_records(tmp_path / "picture.png"))


@given(st.binary(min_size=1, max_size=64), st.integers(0, 2**32 - 1))
def test_a_record_of_anything_has_a_fault(record: bytes, length: int) -> None:
    assert record_fault(record, length)


def test_a_whole_record_has_no_fault_unless_its_index_is_wrong() -> None:
    record = frame(b"event")
    assert record_fault(record, len(record)) == ""
    assert "ends after" in record_fault(record, len(record) + 1)
    longer = record[:12] + b"event!" + record[-4:]
    assert record_fault(longer, len(longer)) == "the record has another length than its index says"


# The index.


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


def test_the_index_is_laid_out_as_promised(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "part-0") as writer:
        writer.write(b"event", label=-1, key=2**64 - 1, content=5)
    assert writer.index_n.tobytes() == struct.pack("<IiQQ", 21, -1, 2**64 - 1, 5)
    assert (writer.records, writer.bytes) == (1, 21)


# Order, copies, hashes.


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


def test_a_hash_never_changes_between_versions() -> None:
    assert hash64(b"higgs/0001.png") == 1760560458542808002
    assert hash64(b"") == 13020603013274838756


# Examples from elsewhere may hold anything.


@given(st.binary(max_size=200))
def test_random_bytes_are_an_example_or_a_data_error(content: bytes) -> None:
    for read in (decode_example, lambda one: bytes_features(one, ("image", "key"))):
        try:
            read(content)
        except DataError as error:
            assert str(error)  # noqa: PT017 - most random bytes are refused, a few are an Example


@given(st.data())
def test_a_changed_example_is_an_example_or_a_data_error(data: st.DataObject) -> None:
    example = bytearray(encode_example(FEATURES[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        example[data.draw(st.integers(0, len(example) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert all(isinstance(values, list) for values in decode_example(bytes(example)).values())
        assert all(isinstance(value, bytes) for value in bytes_features(bytes(example), ("image", "key")))
    except DataError as error:
        assert str(error)  # noqa: PT017 - many changes are harmless


@pytest.mark.parametrize(
    ("features", "values"), [({}, 0), ({"image": 5}, 0), ({"image": [1.5]}, 0), ({"image": [b"a", b"b"]}, 2)]
)
def test_an_example_without_the_one_value_that_is_needed_is_refused(features: dict[str, Value], values: int) -> None:
    with pytest.raises(DataError, match=f"the record has {values} values of the feature 'image', not one"):
        bytes_features(encode_example(features), ["image"])


def test_decoding_and_encoding_again_changes_no_byte() -> None:
    for features in FEATURES:
        example = encode_example(features)
        assert encode_example(decode_example(example)) == example
