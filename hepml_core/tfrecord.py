"""Event examples as TFRecord shards, without importing TensorFlow.

A TFRecord file is a sequence of records: length (8 bytes, little endian), masked CRC32C of the length, payload, masked
CRC32C of the payload. The payload in hepml's shards is a serialized ``tf.train.Example``: named lists of bytes, floats
or ints. Beside each shard lies ``<shard>.index``, 24 bytes a record (see INDEX), so that records can be chosen, split,
shuffled and fetched without reading the shard from its start.

Formats: tensorflow/core/lib/io/record_writer.h and tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from crc32c import crc32c as extend_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from hepml_core.artifacts import FileEntry
from hepml_core.errors import DataError, FolderError
from hepml_core.storage import Folder

HEADER_BYTES = 12
FOOTER_BYTES = 4
BUFFER_BYTES = 1 << 18
PIECES = 512
"""Pieces that the system takes in one write; POSIX promises 16, Linux and macOS take 1024."""
PARALLEL_READS = 8
LOCAL_GAP = 1 << 14
"""Bytes worth reading in vain to save a request to a disk."""
REMOTE_GAP = 1 << 18
"""Bytes worth reading in vain to save a request to an object store."""

INDEX = np.dtype([("length", "<u4"), ("label", "<i4"), ("key", "<u8"), ("content", "<u8")])
"""What a shard's index says of each record: its bytes with framing, its class, the hash of its event's key (which
decides its split) and the hash of what was measured (which betrays duplicates)."""

IndexArray = NDArray[np.void]
Value = bytes | str | int | float | Sequence[int] | Sequence[float]


def frame(payload: bytes) -> bytes:
    """Return the record of one payload as it stands in a file."""
    head = struct.pack("<Q", len(payload))
    return b"".join((head, _masked_crc(head), payload, _masked_crc(payload)))


def encode_example(features: Mapping[str, Value]) -> bytes:
    """Serialize a ``tf.train.Example``, byte for byte as TensorFlow does deterministically.

    Text becomes UTF-8 bytes; ints and floats become lists of one.
    """
    example = _example_type()()
    feature = example.features.feature
    for name, value in features.items():
        items = [value] if isinstance(value, (bytes, str, int, float)) else value
        if isinstance(items[0], (bytes, str)):
            encoded = (item.encode() if isinstance(item, str) else item for item in items)
            feature[name].bytes_list.value.extend(encoded)
        elif isinstance(items[0], float):
            feature[name].float_list.value.extend(items)
        else:
            feature[name].int64_list.value.extend(items)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def decode_example(payload: bytes) -> dict[str, list[Any]]:
    """Parse a ``tf.train.Example`` into lists of bytes, floats or ints.

    Raises:
        DataError: The payload is no Example.
    """
    try:
        example = _example_type().FromString(payload)
    except DecodeError as error:
        raise DataError(f"the record is not a tf.train.Example: {error}") from error
    features = example.features.feature
    decoded = {}
    for name in features:
        kind = features[name].WhichOneof("kind")
        decoded[name] = list(getattr(features[name], kind).value) if kind else []
    return decoded


def bytes_features(payload: bytes, names: Sequence[str]) -> list[bytes]:
    """Return bytes features of a ``tf.train.Example``, each of one value.

    Raises:
        DataError: The payload is no Example, or has no such feature.
    """
    try:
        feature = _example_type().FromString(payload).features.feature
    except DecodeError as error:
        raise DataError(f"the record is not a tf.train.Example: {error}") from error
    lists = [feature[name].bytes_list.value for name in names]
    for name, values in zip(names, lists, strict=True):
        if len(values) != 1:
            raise DataError(f"the record has {len(values)} values of the feature {name!r}, not one")
    return [values[0] for values in lists]


class ShardWriter:
    """Write records to a local file; count, checksum and index on the way."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb", buffering=BUFFER_BYTES)
        self._index: list[IndexArray] = []
        self.records = 0
        self.bytes = 0
        self.crc32c = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, payload: bytes, *, label: int, key: int, content: int) -> None:
        """Append the record of a payload; the named values go to the index."""
        record = frame(payload)
        self._file.write(record)
        self.crc32c = extend_crc32c(record, self.crc32c)
        self._append(np.array([(len(record), label, key, content)], INDEX))

    def write_records(self, records: Sequence[bytes | memoryview], index_n: IndexArray) -> None:
        """Append records that are framed already, with their index."""
        self._file.flush()
        for start in range(0, len(records), PIECES):
            some = records[start : start + PIECES]
            written = os.writev(self._file.fileno(), some)
            for record in some:
                self.crc32c = extend_crc32c(record, self.crc32c)
            if written < sum(map(len, some)):
                self._file.write(b"".join(some)[written:])
        self._append(index_n)

    def _append(self, index_n: IndexArray) -> None:
        self.bytes += int(index_n["length"].sum(dtype=np.int64))
        self.records += len(index_n)
        self._index.append(index_n)

    @property
    def index_n(self) -> IndexArray:
        """The index of the records so far."""
        return np.concatenate([np.empty(0, INDEX), *self._index])


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


def payload(record: bytes | memoryview) -> bytes:
    """Return what a framed record carries."""
    return bytes(record[HEADER_BYTES:-FOOTER_BYTES])


def record_fault(record: bytes | memoryview, length: int) -> str:
    """Say what is wrong with a framed record that should be ``length`` bytes long; empty where nothing is."""
    if len(record) < length or length < HEADER_BYTES + FOOTER_BYTES:
        return f"the file ends after {len(record)} of the record's {length} bytes"
    head, body = record[:8], record[HEADER_BYTES:-FOOTER_BYTES]
    if _masked_crc(head) != record[8:HEADER_BYTES]:
        return "the checksum of the record's length does not match: the file is damaged or no TFRecord file"
    if int.from_bytes(head, "little") != len(body):
        return "the record has another length than its index says"
    if _masked_crc(body) != record[-FOOTER_BYTES:]:
        return "the checksum of the record's content does not match: the file is damaged"
    return ""


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the payloads of any TFRecord file in order, each checked against its checksums.

    Raises:
        DataError: The file is cut, damaged or no TFRecord file; the message names the record and its place.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        number = position = 0
        while position < size:
            head = file.read(HEADER_BYTES)
            # The length is believed only once its checksum holds and the file is long enough: none can exhaust memory.
            length = int.from_bytes(head[:8], "little") + HEADER_BYTES + FOOTER_BYTES
            if _masked_crc(head[:8]) == head[8:] and length > size - position:
                fault = f"the file ends after {size - position} of the record's {length} bytes"
            else:
                believed = length if _masked_crc(head[:8]) == head[8:] else HEADER_BYTES + FOOTER_BYTES
                record = head + file.read(believed - HEADER_BYTES)
                fault = record_fault(record, believed)
            if fault:
                raise DataError(f"{path}, record {number} at byte {position}: {fault}")
            yield payload(record)
            number, position = number + 1, position + length


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


def write_index(folder: Folder, shard: str, index_n: IndexArray) -> FileEntry:
    """Publish the index of a shard."""
    content = index_n.tobytes()
    folder.write(index_name(shard), content)
    return FileEntry(index_name(shard), len(content), extend_crc32c(content))


def duplicate_groups(content_n: NDArray[np.uint64]) -> list[NDArray[np.int64]]:
    """Return the record numbers of each content that stands in more than one record, in order of first appearance."""
    order_n = np.argsort(content_n, kind="stable")
    repeats_n = content_n[order_n[1:]] == content_n[order_n[:-1]]
    first_n = np.flatnonzero(np.diff(repeats_n.astype(np.int8), prepend=0) == 1)
    last_n = np.flatnonzero(np.diff(repeats_n.astype(np.int8), append=0) == -1) + 1
    groups = [order_n[first : last + 1] for first, last in zip(first_n, last_n, strict=True)]
    return sorted(groups, key=lambda group: int(group[0]))


def hash64(content: bytes) -> int:
    """Return a 64-bit hash (BLAKE2b) that is the same on every machine and in every year."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def index_name(shard: str) -> str:
    """Return the name of a shard's index."""
    return f"{shard}.index"


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


def _masked_crc(content: bytes | memoryview) -> bytes:
    """CRC32C, rotated and shifted so that a checksum of checksums stays a good one."""
    crc = extend_crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@functools.cache
def _example_type() -> Any:
    """Build the message type of ``tf.train.Example`` in a pool of its own, beside TensorFlow's where that is loaded."""
    file = descriptor_pb2.FileDescriptorProto(name="hepml/example.proto", package="hepml", syntax="proto3")
    kinds = {
        "bytes_list": ("BytesList", "BYTES"),
        "float_list": ("FloatList", "FLOAT"),
        "int64_list": ("Int64List", "INT64"),
    }
    field = descriptor_pb2.FieldDescriptorProto
    for message, kind in kinds.values():
        values = file.message_type.add(name=message).field.add(name="value", number=1, label=field.LABEL_REPEATED)
        values.type = field.Type.Value(f"TYPE_{kind}")
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (message, _)) in enumerate(kinds.items(), 1):
        feature.field.add(
            name=name,
            number=number,
            type="TYPE_MESSAGE",
            type_name=f".hepml.{message}",
            oneof_index=0,
            label="LABEL_OPTIONAL",
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    entry.field.add(name="value", number=2, type="TYPE_MESSAGE", type_name=".hepml.Feature", label="LABEL_OPTIONAL")
    entry_type = ".hepml.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type="TYPE_MESSAGE", type_name=entry_type, label="LABEL_REPEATED")
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, type="TYPE_MESSAGE", type_name=".hepml.Features", label="LABEL_OPTIONAL"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("hepml.Example"))
