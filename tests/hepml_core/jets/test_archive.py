from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from hepml_core.errors import DataError
from hepml_core.jets.archive import ArchiveReader, ArchiveWriter
from hepml_core.storage import LocalFolder

HEADER = {"codec": "columns", "tree": "CollectionTree"}
BLOCKS = [([b"one", b"", b"three"], 10, 25), ([b"four"], 5, 0), ([b"five" * 10, b"six"], 7, 9)]
TAIL = 28


def write(folder: Path, blocks: list[tuple[list[bytes], int, int]] = BLOCKS) -> Path:
    with ArchiveWriter(folder / "a.hepml", HEADER) as writer:
        for parts, events, jets in blocks:
            writer.write(parts, events, jets)
    return folder / "a.hepml"


def open_archive(path: Path) -> ArchiveReader:
    return ArchiveReader(LocalFolder(path.parent), path.name)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("archive")).read_bytes()


def opened(content: bytes, folder: Path) -> ArchiveReader:
    (folder / "a.hepml").write_bytes(content)
    return open_archive(folder / "a.hepml")


def with_index(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """Return an archive with another index that has the right checksum."""
    start, length = struct.unpack_from("<QQ", content, len(content) - TAIL)
    index = json.dumps(change(json.loads(content[start : start + length]))).encode()
    return with_index_bytes(content[:start], index)


def with_index_bytes(before: bytes, index: bytes) -> bytes:
    return before + index + struct.pack("<QQI8s", len(before), len(index), crc32c(index), b"TEJLMPEH")


def test_blocks_come_back_with_their_parts_and_their_places(tmp_path: Path) -> None:
    reader = open_archive(write(tmp_path))
    assert reader.header == HEADER
    assert [reader.read(block) for block in reader.blocks] == [parts for parts, _, _ in BLOCKS]
    assert [(block.first_event, block.events, block.jets) for block in reader.blocks] == [
        (0, 10, 25),
        (10, 5, 0),
        (15, 7, 9),
    ]
    assert reader.events == 22


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=50), max_size=5), max_size=5))
def test_any_parts_come_back_and_no_blocks_are_no_events(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[list[bytes]]
) -> None:
    reader = open_archive(write(tmp_path_factory.mktemp("any"), [(parts, 1, 1) for parts in blocks]))
    assert [reader.read(block) for block in reader.blocks] == blocks
    assert reader.events == len(blocks)


def test_an_archive_that_was_not_finished_is_no_archive(tmp_path: Path) -> None:
    def give_up() -> None:
        with ArchiveWriter(tmp_path / "a.hepml", HEADER) as writer:
            writer.write([b"one" * 100], 1, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    with pytest.raises(DataError, match="is cut or damaged at its end"):
        open_archive(tmp_path / "a.hepml")


def test_every_flipped_byte_is_found_and_costs_no_more_than_its_block(content: bytes, tmp_path: Path) -> None:
    whole = opened(content, tmp_path)
    first, stop = whole.blocks[0].start, whole.blocks[-1].start + whole.blocks[-1].bytes
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        if first <= place < stop:
            reader = opened(bytes(flipped), tmp_path)
            lost = [block for block in reader.blocks if block.start <= place < block.start + block.bytes]
            assert len(lost) == 1
            for block, (parts, _, _) in zip(reader.blocks, BLOCKS, strict=True):
                if block not in lost:
                    assert reader.read(block) == parts
            with pytest.raises(DataError, match=f"events {lost[0].first_event} to"):
                reader.read(lost[0])
        else:
            with pytest.raises(DataError, match=r"a\.hepml (is damaged|is cut|is no archive|has the format)"):
                opened(bytes(flipped), tmp_path)


def test_an_archive_cut_at_any_length_is_found_before_anything_is_read(content: bytes, tmp_path: Path) -> None:
    for length in range(0, len(content), 3):
        with pytest.raises(DataError, match=r"a\.hepml is (cut|no archive)"):
            opened(content[:length], tmp_path)


def test_the_message_of_a_lost_block_says_how_to_read_the_others(tmp_path: Path) -> None:
    reader = open_archive(write(tmp_path))
    first, middle, last = reader.blocks
    assert reader.lost(first) == "events 0 to 9 cannot be read; events=10:22 gives the others"
    assert reader.lost(middle) == "events 10 to 14 cannot be read; events=0:10 and events=15:22 give the others"
    assert reader.lost(last) == "events 15 to 21 cannot be read; events=0:15 gives the others"
    (only,) = open_archive(write(tmp_path, BLOCKS[:1])).blocks
    assert open_archive(tmp_path / "a.hepml").lost(only) == "events 0 to 9 cannot be read"


def test_files_that_are_no_archives_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no archive of jets: compress makes them"):
        opened(b"\x89PNG" * 50, tmp_path)
    with pytest.raises(DataError, match="it has 0 bytes"):
        opened(b"", tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        open_archive(tmp_path / "b.hepml")


def test_an_archive_of_a_newer_format_names_both_formats(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the format 2, this program reads 1"):
        opened(content[:8] + struct.pack("<I", 2) + content[12:], tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda _: 5,
        lambda _: {"start": 1},
        lambda _: ["block"],
        lambda index: [index[0] | {"name": 1}],
        lambda index: [{**index[0], "events": None}, *index[1:]],
        lambda index: [{**index[0], "events": "10"}, *index[1:]],
        lambda index: [{**index[0], "events": True}, *index[1:]],
        lambda index: [{**index[0], "jets": 1.5}, *index[1:]],
        lambda index: [{**index[0], "bytes": -1}, *index[1:]],
        lambda index: [{**index[0], "bytes": 1 << 62}, *index[1:]],
        lambda index: [{**index[0], "start": -5}, *index[1:]],
        lambda index: [{**index[0], "start": 1 << 70}, *index[1:]],
        lambda index: [{**index[0], "first_event": 3}, *index[1:]],
        lambda index: index[1:],
        lambda index: index[:1],
        lambda index: index[::-1],
        lambda index: index * 2,
    ],
)
def test_an_index_made_up_by_another_is_refused(content: bytes, tmp_path: Path, change: Callable[[Any], Any]) -> None:
    with pytest.raises(DataError, match="is damaged: its index is no index"):
        opened(with_index(content, change), tmp_path)


@pytest.mark.parametrize("index", [b"", b"{", b"\xff\xfe", b"[" * 200_000], ids=["none", "cut", "bytes", "deep"])
def test_an_index_that_is_no_json_is_refused(content: bytes, tmp_path: Path, index: bytes) -> None:
    (start,) = struct.unpack_from("<Q", content, len(content) - TAIL)
    with pytest.raises(DataError, match="is damaged: its index is no JSON"):
        opened(with_index_bytes(content[:start], index), tmp_path)


@pytest.mark.parametrize("start", [0, 1 << 63, (1 << 64) - 1])
def test_an_index_that_says_to_lie_elsewhere_is_refused(content: bytes, tmp_path: Path, start: int) -> None:
    with pytest.raises(DataError, match="is cut or damaged at its end"):
        opened(content[:-TAIL] + struct.pack("<Q", start) + content[8 - TAIL :], tmp_path)


@pytest.mark.parametrize("body", [b"", b"\1", struct.pack("<I", 1 << 31), struct.pack("<IQ", 2, 5)])
def test_a_block_that_promises_parts_it_has_not_is_damage(content: bytes, tmp_path: Path, body: bytes) -> None:
    first = opened(content, tmp_path).blocks[0]
    index = [
        {"start": first.start, "bytes": len(body), "crc32c": crc32c(body), "first_event": 0, "events": 4, "jets": 4}
    ]
    made = with_index_bytes(content[: first.start] + body, json.dumps(index).encode())
    reader = opened(made, tmp_path)
    with pytest.raises(DataError, match="events 0 to 3 cannot be read"):
        reader.read(reader.blocks[0])
