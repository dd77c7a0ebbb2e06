"""Data files are found in a folder, or are the source themselves, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hepml_core.errors import DataError
from hepml_core.source_files import digest_of, find_files, split_address
from hepml_core.storage import LocalFolder
from tests.class_folders import write

ENDINGS = {".h5": "hdf5", ".hdf5": "hdf5", ".txt": "text"}


def names(source: Path, only: tuple[str, ...] | None = None) -> list[tuple[str, str]]:
    return [(file.name, file.kind) for file in find_files(LocalFolder(source), ENDINGS, "HDF5 files", only)]


def test_files_of_every_ending_come_sorted_and_hidden_or_other_ones_do_not(tmp_path: Path) -> None:
    given = ("b/two.h5", "a.HDF5", "c.txt", ".hidden.h5", ".cache/x.h5", "notes.md", "h5")
    write(tmp_path, dict.fromkeys(given, b"x"))
    assert names(tmp_path) == [("a.HDF5", "hdf5"), ("b/two.h5", "hdf5"), ("c.txt", "text")]
    assert names(tmp_path, ("text",)) == [("c.txt", "text")]


def test_a_file_is_a_source_of_one(tmp_path: Path) -> None:
    write(tmp_path, {"a.h5": b"xyz", "b.h5": b""})
    (file,) = find_files(LocalFolder(tmp_path / "a.h5"), ENDINGS, "HDF5 files")
    assert (file.folder, file.name, file.bytes) == (str(tmp_path), "a.h5", 3)


def test_a_folder_whose_name_ends_like_a_file_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path, {"run.h5/a.h5": b"xyz"})
    assert names(tmp_path / "run.h5") == [("a.h5", "hdf5")]


def test_what_is_missing_is_told_with_what_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path, {"notes.md": b""})
    with pytest.raises(DataError, match=r"holds no file \*\.h5 or \*\.hdf5 or \*\.txt"):
        names(tmp_path)
    with pytest.raises(DataError, match=r"holds no file \*\.txt$"):
        names(tmp_path, ("text",))
    with pytest.raises(DataError, match="is no folder: --source names a folder of HDF5 files, or one such file"):
        names(tmp_path / "notes.md")


@pytest.mark.parametrize("address", ["gs://bucket/toys/a.h5", "s3://bucket/toys/a.h5"])
def test_an_address_is_split_like_a_path(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened(LocalFolder):
        path = None  # type: ignore[assignment]

        def __str__(self) -> str:
            return address

    opened: list[str] = []

    def opens(text: str) -> LocalFolder:
        opened.append(text)
        return LocalFolder(Path("x"))

    monkeypatch.setattr("hepml_core.source_files.open_folder", opens)
    assert split_address(Opened(Path("x")))[1] == "a.h5"
    assert opened == [address.removesuffix("/a.h5")]


def test_the_digest_changes_with_every_change_of_the_files(tmp_path: Path) -> None:
    write(tmp_path, {"a.h5": b"x", "b.h5": b"y"})

    def digest() -> str:
        return digest_of(find_files(LocalFolder(tmp_path), ENDINGS, "HDF5 files"))

    digests = [digest()]
    assert digest() == digests[0]
    os.utime(tmp_path / "a.h5", ns=(1, 1))
    digests.append(digest())
    write(tmp_path, {"a.h5": b"xx"})
    digests.append(digest())
    (tmp_path / "b.h5").rename(tmp_path / "c.h5")
    digests.append(digest())
    assert len(set(digests)) == 4
