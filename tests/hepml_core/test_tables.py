"""Columns go into Parquet shards and come out the same; damage is told from data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepml_core.artifacts import Column, FileEntry, checksum
from hepml_core.errors import DataError, FolderError, UnknownNameError
from hepml_core.storage import Folder, LocalFolder
from hepml_core.tables import TableWriter, iter_table, read_table

SCHEMA = (
    Column("event", "uint64", (), "", "hash of the event"),
    Column("process", "string"),
    Column("position", "int32"),
    Column("pt", "float32", (), "GeV", "momentum across the beam"),
)
NAME = "part-0.parquet"


def some_columns(rows: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    chance = np.random.default_rng(seed)
    return {
        "event": chance.integers(0, 2**64, rows, dtype=np.uint64),
        "process": np.array(["ttbar", "é µ 名", ""])[chance.integers(0, 3, rows)],
        "position": chance.integers(-5, 5, rows).astype(np.int32),
        "pt": chance.exponential(50, rows).astype(np.float32),
    }


def write(folder: Path, *pieces: dict[str, NDArray[Any]], name: str = NAME) -> FileEntry:
    with TableWriter(folder / name, SCHEMA) as writer:
        for piece in pieces:
            writer.write(piece)
    return FileEntry(name, writer.bytes, writer.crc32c, writer.rows)


def assert_same(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    assert found.keys() == expected.keys()
    for name, column in expected.items():
        assert found[name].dtype.kind == column.dtype.kind
        assert np.array_equal(found[name], column, equal_nan=column.dtype.kind == "f"), name


def test_columns_come_back_as_they_were_with_their_types(tmp_path: Path) -> None:
    columns = some_columns(1000)
    found = read_table(LocalFolder(tmp_path), write(tmp_path, columns))
    assert_same(found, columns)
    assert {name: str(column.dtype) for name, column in found.items() if name != "process"} == {
        "event": "uint64",
        "position": "int32",
        "pt": "float32",
    }


@settings(max_examples=25, deadline=None)
@given(
    pt=st.lists(st.floats(width=32), max_size=30),
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=30, max_size=30
    ),
)
def test_any_numbers_and_texts_survive(
    tmp_path_factory: pytest.TempPathFactory, pt: list[float], texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    columns = some_columns(len(pt))
    columns |= {"pt": np.array(pt, np.float32), "process": np.array(texts[: len(pt)], np.str_)}
    assert_same(read_table(LocalFolder(folder), write(folder, columns)), columns)


def test_the_entry_says_what_lies_on_the_disk(tmp_path: Path) -> None:
    entry = write(tmp_path, some_columns(10), some_columns(5))
    assert (entry.records, entry.bytes) == (15, (tmp_path / NAME).stat().st_size)
    assert entry.crc32c == checksum(LocalFolder(tmp_path), NAME, entry.bytes)


def test_the_same_columns_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, some_columns(500), some_columns(300, seed=1), name=name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("rows", [1, 7, 100, 1000])
def test_reading_in_pieces_gives_all_rows_once_in_order(tmp_path: Path, rows: int) -> None:
    columns = some_columns(150)
    entry = write(tmp_path, {k: v[:60] for k, v in columns.items()}, {k: v[60:] for k, v in columns.items()})
    pieces = list(iter_table(LocalFolder(tmp_path), entry, rows=rows))
    assert max(len(piece["pt"]) for piece in pieces) <= rows
    assert_same({name: np.concatenate([piece[name] for piece in pieces]) for name in columns}, columns)


def test_chosen_columns_come_in_the_asked_order(tmp_path: Path) -> None:
    entry = write(tmp_path, some_columns(5))
    assert list(read_table(LocalFolder(tmp_path), entry, ["pt", "event"])) == ["pt", "event"]
    assert [list(piece) for piece in iter_table(LocalFolder(tmp_path), entry, ["pt", "event"])] == [["pt", "event"]]


def test_an_unknown_column_is_named_with_its_nearest_neighbour(tmp_path: Path) -> None:
    entry = write(tmp_path, some_columns(5))
    with pytest.raises(UnknownNameError, match=r"column 'proces' in .*part-0\.parquet.*Did you mean 'process'"):
        read_table(LocalFolder(tmp_path), entry, ["proces"])


@pytest.mark.parametrize("pieces", [0, 1])
def test_a_table_without_rows_has_columns_without_rows(tmp_path: Path, pieces: int) -> None:
    entry = write(tmp_path, *[some_columns(0)] * pieces)
    assert {name: len(column) for name, column in read_table(LocalFolder(tmp_path), entry).items()} == dict.fromkeys(
        ("event", "process", "position", "pt"), 0
    )
    assert list(iter_table(LocalFolder(tmp_path), entry)) == []


def test_arrays_that_were_read_may_be_written_to(tmp_path: Path) -> None:
    entry = write(tmp_path, some_columns(5))
    for columns in (read_table(LocalFolder(tmp_path), entry), next(iter_table(LocalFolder(tmp_path), entry))):
        columns["pt"][0] = 1
        assert columns["pt"][0] == 1


def test_other_programs_find_unit_and_meaning_in_the_file(tmp_path: Path) -> None:
    write(tmp_path, some_columns(5))
    field = pq.read_schema(tmp_path / NAME).field("pt")
    assert {field.metadata[b"unit"], field.metadata[b"meaning"]} == {b"GeV", b"momentum across the beam"}


@pytest.mark.parametrize("content", [b"", b"event,pt\n1,2\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(DataError, match=r"part-0\.parquet is damaged or no Parquet file"):
        read_table(LocalFolder(tmp_path), FileEntry(NAME, len(content), 0, 5))


def test_a_cut_file_and_flipped_bits_are_found(tmp_path: Path) -> None:
    columns = some_columns(2000)
    entry = write(tmp_path, columns)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[:-100])
    with pytest.raises(DataError, match=NAME):
        read_table(LocalFolder(tmp_path), entry)
    for place in range(500, len(whole) - 3000, 1500):  # in the pages
        (tmp_path / NAME).write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with pytest.raises(DataError, match=NAME):
            list(iter_table(LocalFolder(tmp_path), entry))


def test_a_file_with_other_rows_than_promised_is_refused(tmp_path: Path) -> None:
    entry = write(tmp_path, some_columns(5))
    with pytest.raises(DataError, match="has 5 rows, its manifest says 6"):
        read_table(LocalFolder(tmp_path), FileEntry(NAME, entry.bytes, entry.crc32c, 6))


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"part-0\.parquet is missing: run the stage"):
        read_table(LocalFolder(tmp_path), FileEntry(NAME, 1, 1, 1))


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError), TableWriter(tmp_path / NAME, SCHEMA) as writer:
        writer.write(some_columns(3) | {"position": np.array([0.5, 1.5, 2.5])})


class Remote(LocalFolder):
    """A folder that lends copies, as object stores do."""

    @property
    def path(self) -> None:  # type: ignore[override]
        return None


def test_a_folder_without_local_path_is_read_like_one(tmp_path: Path) -> None:
    columns = some_columns(20)
    entry = write(tmp_path, columns)
    folder: Folder = Remote(tmp_path)
    assert_same(read_table(folder, entry), columns)
