"""The archive of compressed jets: one file, streamed, checksummed, readable by ranges of events.

``HEPMLJET`` and a version, a header (JSON), blocks of events, an index of the blocks (JSON), and at the end the length and
checksum of the index. Header, every block and the index carry a CRC32C. All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crc32c import crc32c

from hepml_core.errors import DataError
from hepml_core.storage import Folder

MAGIC, END = b"HEPMLJET", b"TEJLMPEH"
VERSION = 1
_HEAD = struct.Struct("<8sIQI")
_TAIL = struct.Struct("<QQI8s")


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block of events lies in the file, and what it holds."""

    start: int
    bytes: int
    crc32c: int
    first_event: int
    events: int
    jets: int


class ArchiveWriter:
    """Writes an archive, block by block.

    Attributes:
        blocks: What was written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.blocks: list[Block] = []
        content = _to_json(header)
        self._file = path.open("wb")
        self._file.write(_HEAD.pack(MAGIC, VERSION, len(content), crc32c(content)) + content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            index, start = _to_json([asdict(block) for block in self.blocks]), self._file.tell()
            self._file.write(index + _TAIL.pack(start, len(index), crc32c(index), END))
        self._file.close()

    def write(self, parts: Sequence[bytes], events: int, jets: int) -> None:
        """Write the parts of a block of so many events and jets."""
        lengths = struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts))
        content = b"".join([lengths, *parts])
        first = self.blocks[-1].first_event + self.blocks[-1].events if self.blocks else 0
        self.blocks.append(Block(self._file.tell(), len(content), crc32c(content), first, events, jets))
        self._file.write(content)


class ArchiveReader:
    """Reads an archive from any folder; only what is asked for is fetched.

    Attributes:
        header: What the writer was given.
        blocks: The blocks in order.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        """Read header and index.

        Raises:
            DataError: There is no such file, it is no archive, or it is cut or damaged; the message says which.
        """
        self._folder, self._name, self._where = folder, name, f"{folder}/{name}"
        found = folder.stat(name)
        if found is None:
            raise DataError(f"there is no file {self._where}")
        magic, version, length, checksum = self._unpack(_HEAD, 0, found.bytes)
        if magic != MAGIC:
            raise DataError(f"{self._where} is no archive of jets: compress makes them")
        if version != VERSION:
            raise DataError(f"{self._where} has the format {version}, this program reads {VERSION}")
        self.header: dict[str, Any] = self._json("header", _HEAD.size, length, checksum, found.bytes)
        start, length, checksum, end = self._unpack(_TAIL, found.bytes - _TAIL.size, found.bytes)
        if end != END:
            raise DataError(f"{self._where} is cut: its end is missing; fetch or make it again")
        try:
            self.blocks = [Block(**plain) for plain in self._json("index", start, length, checksum, found.bytes)]
        except TypeError as error:
            raise DataError(f"{self._where} is damaged: its index is no index ({error})") from None

    @property
    def events(self) -> int:
        """Number of events."""
        return self.blocks[-1].first_event + self.blocks[-1].events if self.blocks else 0

    def read(self, block: Block) -> list[bytes]:
        """Return the parts of a block.

        Raises:
            DataError: It is damaged; the message names its events.
        """
        content = self._folder.read(self._name, block.start, block.start + block.bytes)
        if len(content) != block.bytes or crc32c(content) != block.crc32c:
            last = block.first_event + block.events
            raise DataError(
                f"{self._where} is damaged: events {block.first_event} to {last - 1} cannot be read (their checksum "
                f"differs); events=:{block.first_event} and events={last}: give the others"
            )
        (count,) = struct.unpack_from("<I", content)
        lengths = struct.unpack_from(f"<{count}Q", content, 4)
        return list(_cut(content, 4 + 8 * count, lengths))

    def _unpack(self, form: struct.Struct, start: int, size: int) -> tuple[Any, ...]:
        if size < _HEAD.size + _TAIL.size:
            raise DataError(f"{self._where} is no archive of jets, or cut: it has {size} bytes")
        return form.unpack(self._folder.read(self._name, start, start + form.size))

    def _json(self, what: str, start: int, length: int, checksum: int, size: int) -> Any:
        content = self._folder.read(self._name, start, start + length) if start + length <= size else b""
        if len(content) != length or crc32c(content) != checksum:
            raise DataError(f"{self._where} is damaged or cut: the checksum of its {what} differs; fetch it again")
        return json.loads(content)


def _cut(content: bytes, start: int, lengths: Sequence[int]) -> Iterator[bytes]:
    for length in lengths:
        yield content[start : start + length]
        start += length


def _to_json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
