"""The archive of compressed jets: one file, streamed, checksummed, readable by ranges of events.

``HEPMLJET`` and a version, a header (JSON), blocks of events, an index of the blocks (JSON), and at the end the length and
checksum of the index. Header, every block and the index carry a CRC32C. All numbers are little-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from crc32c import crc32c

from hepml_core.errors import DataError
from hepml_core.storage import Folder

MAGIC, END = b"HEPMLJET", b"TEJLMPEH"
VERSION = 1
ENDING = ".hepml"
"""Of the names of archives."""
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
        where: Its address, for messages.
        header: What the writer was given.
        blocks: The blocks in order.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        """Read header and index.

        Raises:
            DataError: There is no such file, it is no archive, or it is cut or damaged; the message says which.
        """
        self._folder, self._name, self.where = folder, name, f"{folder}/{name}"
        found = folder.stat(name)
        if found is None:
            raise DataError(f"there is no file {self.where}")
        if found.bytes < _HEAD.size + _TAIL.size:
            raise DataError(f"{self.where} is no archive of jets, or cut: it has {found.bytes} bytes")
        end_of_index = found.bytes - _TAIL.size
        magic, version, length, checksum = self._unpack(_HEAD, 0)
        if magic != MAGIC:
            raise DataError(f"{self.where} is no archive of jets: compress makes them")
        if version != VERSION:
            raise DataError(
                f"{self.where} has the format {version}, this program reads {VERSION}: take the other hepml"
            )
        start, size, index_checksum, end = self._unpack(_TAIL, end_of_index)
        if end != END or start + size != end_of_index:
            raise DataError(f"{self.where} is cut or damaged at its end, where its index is: fetch or make it again")
        first = _HEAD.size + length
        self.header: Any = self._json("header", _HEAD.size, min(first, start), checksum)
        self.blocks = self._blocks(self._json("index", start, end_of_index, index_checksum), first, start)

    @property
    def events(self) -> int:
        """Number of events."""
        return self.blocks[-1].first_event + self.blocks[-1].events if self.blocks else 0

    def read(self, block: Block) -> list[bytes]:
        """Return the parts of a block.

        Raises:
            DataError: It is damaged; the message names its events, and how to read the others.
        """
        content = self._folder.read(self._name, block.start, block.start + block.bytes)
        if len(content) != block.bytes or crc32c(content) != block.crc32c:
            raise DataError(f"{self.where} is damaged: {self.lost(block)} (their checksum differs)")
        try:
            (count,) = struct.unpack_from("<I", content)
            lengths = struct.unpack_from(f"<{count}Q", content, 4)
        except struct.error as error:
            raise DataError(f"{self.where} is damaged: {self.lost(block)} ({error})") from None
        return list(_cut(content, 4 + 8 * count, lengths))

    def lost(self, block: Block) -> str:
        """Say that the events of a block are lost, and how to read the others."""
        first, last = block.first_event, block.first_event + block.events
        others = [f"events=0:{first}"] if first else []
        others += [f"events={last}:{self.events}"] if last < self.events else []
        rest = f"; {' and '.join(others)} give{'' if len(others) > 1 else 's'} the others" if others else ""
        return f"events {first} to {last - 1} cannot be read{rest}"

    def _unpack(self, form: struct.Struct, start: int) -> tuple[Any, ...]:
        return form.unpack(self._folder.read(self._name, start, start + form.size))

    def _json(self, what: str, start: int, stop: int, checksum: int) -> Any:
        content = self._folder.read(self._name, start, stop)
        if crc32c(content) != checksum:
            raise DataError(f"{self.where} is damaged or cut: the checksum of its {what} differs; fetch it again")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.where} is damaged: its {what} is no JSON ({error})") from None

    def _blocks(self, plain: Any, start: int, stop: int) -> list[Block]:
        """Return the index, held against itself: blocks that lie and count without gaps from the header to the index."""
        try:
            blocks = [Block(**one) for one in plain]
            events = 0
            for block in blocks:
                whole = all(type(number) is int and number >= 0 for number in astuple(block))
                if not whole or (block.start, block.first_event) != (start, events):
                    raise ValueError(f"{block}")
                start, events = start + block.bytes, events + block.events
            if start != stop:
                raise ValueError(f"{stop - start} bytes are in no block")
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.where} is damaged: its index is no index ({error})") from None
        return blocks


def _cut(content: bytes, start: int, lengths: Sequence[int]) -> Iterator[bytes]:
    for length in lengths:
        yield content[start : start + length]
        start += length


def _to_json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
