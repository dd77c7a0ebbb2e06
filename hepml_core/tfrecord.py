"""TFRecord shards, without importing TensorFlow.

A TFRecord file is a sequence of records: length (8 bytes, little endian), masked CRC32C of the length, payload, masked
CRC32C of the payload (in hepml's shards an example, see examples). Beside each shard lies ``<shard>.index``, 24 bytes a
record (see INDEX), so that records can be chosen, split, shuffled and fetched without reading the shard (see records).

Format: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from crc32c import crc32c as extend_crc32c
from numpy.typing import NDArray

from hepml_core.artifacts import FileEntry
from hepml_core.errors import DataError
from hepml_core.storage import Folder

HEADER_BYTES = 12
FOOTER_BYTES = 4
BUFFER_BYTES = 1 << 18

INDEX = np.dtype([("length", "<u4"), ("label", "<i4"), ("key", "<u8"), ("content", "<u8")])
"""What a shard's index says of each record: its bytes with framing, its class, the hash of its event's key (which
decides its split) and the hash of what was measured (which betrays duplicates)."""

IndexArray = NDArray[np.void]


def frame(payload: bytes) -> bytes:
    """Return the record of one payload as it stands in a file."""
    head = struct.pack("<Q", len(payload))
    return b"".join((head, _masked_crc(head), payload, _masked_crc(payload)))


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

    def write_records(self, records: bytes | memoryview, index_n: IndexArray) -> None:
        """Append records that are framed already and stand back to back, with their index."""
        self._file.flush()
        written = os.write(self._file.fileno(), records)
        self._file.write(records[written:])
        self.crc32c = extend_crc32c(records, self.crc32c)
        self._append(index_n)

    def _append(self, index_n: IndexArray) -> None:
        self.bytes += int(index_n["length"].sum(dtype=np.int64))
        self.records += len(index_n)
        self._index.append(index_n)

    @property
    def index_n(self) -> IndexArray:
        """The index of the records so far."""
        return np.concatenate([np.empty(0, INDEX), *self._index])


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


def write_index(folder: Folder, shard: str, index_n: IndexArray) -> FileEntry:
    """Publish the index of a shard."""
    content = index_n.tobytes()
    folder.write(index_name(shard), content)
    return FileEntry(index_name(shard), len(content), extend_crc32c(content))


def hash64(content: bytes) -> int:
    """Return a 64-bit hash (BLAKE2b) that is the same on every machine and in every year."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def index_name(shard: str) -> str:
    """Return the name of a shard's index."""
    return f"{shard}.index"


def _masked_crc(content: bytes | memoryview) -> bytes:
    """CRC32C, rotated and shifted so that a checksum of checksums stays a good one."""
    crc = extend_crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
