"""TFRecord shards: the bytes that TensorFlow writes, and what damage does to them.

TensorFlow runs in one process of its own, so that the tests themselves never load it.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from hepml_core.errors import DataError
from hepml_core.examples import Value, bytes_features, decode_example, encode_example
from hepml_core.tfrecord import (
    ShardWriter,
    frame,
    hash64,
    read_records,
    record_fault,
)
from tests.shards import FEATURES, make_shard

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
    work = "import sys, hepml_core.tfrecord, hepml_core.examples as e; e.encode_example({'a': 1})"
    code = f"{work}; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


# Reading.


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


def test_the_index_is_laid_out_as_promised(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "part-0") as writer:
        writer.write(b"event", label=-1, key=2**64 - 1, content=5)
    assert writer.index_n.tobytes() == struct.pack("<IiQQ", 21, -1, 2**64 - 1, 5)
    assert (writer.records, writer.bytes) == (1, 21)


# Order, copies, hashes.


def test_a_hash_never_changes_between_versions() -> None:
    assert hash64(b"higgs/0001.png") == 1760560458542808002
    assert hash64(b"") == 13020603013274838756


# Examples from elsewhere may hold anything.
