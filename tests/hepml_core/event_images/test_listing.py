"""What is found in a source, and what is said of that which cannot be used."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from hepml_core.errors import DataError, StorageError
from hepml_core.event_images.listing import NAMES_JOINED, Listing, list_classes, list_pictures
from hepml_core.storage import LocalFolder
from tests.class_folders import noise_classes, write


def classes_of(folder: Path, *, follow_links: bool = False) -> Listing:
    return list_classes(LocalFolder(folder), follow_links=follow_links)


def files_of(listing: Listing) -> dict[str, list[str]]:
    return {name: [file.decode() for file in files] for name, files in listing.files.items()}


def reasons(listing: Listing) -> dict[str, str]:
    return {one.file: one.reason for one in listing.bad}


def test_classes_and_their_files_are_sorted_and_files_in_folders_below_belong_to_the_class(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(["b/2.png", "b/10.png", "a/run 1/x.png", "a/run 1/deeper/y.png", "a/z.png"], b""))
    expected = {"a": ["a/run 1/deeper/y.png", "a/run 1/x.png", "a/z.png"], "b": ["b/10.png", "b/2.png"]}
    assert list(files_of(classes_of(tmp_path)).items()) == list(expected.items())


def test_names_of_any_length_are_sorted_by_code_point_however_many_there_are(tmp_path: Path) -> None:
    names = [f"a/{number * 7919 % 5000}{'ä' * (number % 3)}.png" for number in range(NAMES_JOINED + 5)]
    names += [f"a/{'x' * 200}.png", "a/é.png", "a/z.png", "a/🙂.png", "a/￿.png", "a/1/2.png", "a/1 2.png"]
    write(tmp_path, dict.fromkeys([*names, "b/1.png"], b""))
    assert files_of(classes_of(tmp_path))["a"] == sorted(names)


def test_spaces_umlauts_and_emoji_in_names_are_kept(tmp_path: Path) -> None:
    names = ["H → ττ/event 1.png", "J ψ/größe 🙂.png"]
    found = files_of(classes_of(write(tmp_path, dict.fromkeys(names, b"x"))))
    assert [*found.values()] == [[name] for name in names]


@pytest.mark.parametrize("name", ["two\nlines.png", "tab\t.png", "back\\slash.png", os.fsdecode(b"latin\xe9.png")])
def test_names_that_cannot_be_keys_are_bad_and_the_rest_is_found(tmp_path: Path, name: str) -> None:
    noise_classes(tmp_path)
    write(tmp_path, {f"qcd/{name}": b"x"})
    listing = classes_of(tmp_path)
    assert listing.pictures == 12
    assert "rename it" in reasons(listing)[f"qcd/{name}"]


def test_a_class_folder_whose_name_cannot_be_a_key_is_no_class(tmp_path: Path) -> None:
    noise_classes(tmp_path)
    write(tmp_path, {os.fsdecode(b"J/\xff/1.png").replace("J/", "J"): b"x"})
    listing = classes_of(tmp_path)
    assert list(listing.files) == ["higgs", "qcd"]
    assert len(listing.bad) == 2


def test_hidden_files_and_files_beside_class_folders_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise_classes(tmp_path)
    expected = classes_of(tmp_path)
    write(tmp_path, dict.fromkeys([".git/x.png", "qcd/.DS_Store", "qcd/.cache/y.png", "README", "labels.csv"], b"x"))
    with caplog.at_level(logging.INFO):
        listing = classes_of(tmp_path)
    assert (files_of(listing), listing.bad, listing.digest) == (files_of(expected), [], expected.digest)
    assert [record.getMessage() for record in caplog.records] == [
        "left out 2 files beside the class folders, the first: 'README'"
    ]


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    (noise_classes(tmp_path) / "upsilon").mkdir()
    assert reasons(classes_of(tmp_path)) == {"upsilon/": "the class folder is empty"}


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path: Path) -> None:
    write(tmp_path, {"a/x.png/1.png": b"", "b.png/2.png": b""})
    assert files_of(classes_of(tmp_path)) == {"a": ["a/x.png/1.png"], "b.png": ["b.png/2.png"]}


def test_a_source_that_is_a_file_or_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"file.png": b"x"})
    for name in ("file.png", "nowhere"):
        for find in (classes_of, lambda folder: list_pictures(LocalFolder(folder))):
            with pytest.raises(DataError, match=f"{name} is no folder"):
                find(tmp_path / name)


def test_a_source_without_class_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class folder"):
        classes_of(write(tmp_path, {"1.png": b"", "2.png": b""}))


def test_folders_that_are_split_already_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split already \(test, train, valid\)"):
        classes_of(write(tmp_path, {f"{split}/qcd/1.png": b"" for split in ("train", "valid", "test")}))


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise_classes(tmp_path)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("qcd"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may list everything
    with pytest.raises(StorageError, match="qcd: Permission denied"):
        classes_of(tmp_path)


def test_a_pipe_is_bad_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(noise_classes(tmp_path) / "qcd/pipe.png")
    assert reasons(classes_of(tmp_path)) == {"qcd/pipe.png": "it is neither a file nor a folder"}


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A source with links of every kind beside two classes of one file each."""
    source = write(tmp_path / "source", {"a/1.png": b"1", "b/2.png": b"2"})
    write(tmp_path / "outside", {"3.png": b"3"})
    (source / "a/inside.png").symlink_to(source / "b/2.png")
    (source / "a/outside.png").symlink_to(tmp_path / "outside/3.png")
    (source / "a/nowhere.png").symlink_to(tmp_path / "nothing")
    (source / "a/itself.png").symlink_to(source / "a/itself.png")
    (source / "a/folder").symlink_to(tmp_path / "outside")
    (source / "a/inner").symlink_to(source / "b")
    (source / "a/up").symlink_to(source)
    (source / "a/here").symlink_to(source / "a")
    (source / "c").symlink_to(tmp_path / "outside")
    return source


def test_links_are_followed_to_files_inside_only(linked: Path) -> None:
    listing = classes_of(linked)
    assert files_of(listing) == {"a": ["a/1.png", "a/inside.png"], "b": ["b/2.png"]}
    assert reasons(listing) == {
        "a/outside.png": "the link points outside the source; follow_links=true allows it",
        "a/nowhere.png": "the link leads nowhere or in a loop",
        "a/itself.png": "the link leads nowhere or in a loop",
        "a/folder": "the link points outside the source; follow_links=true allows it",
        "a/inner": "the link points to a folder; follow_links=true allows it",
        "a/up": "the link points to a folder; follow_links=true allows it",
        "a/here": "the link points to a folder; follow_links=true allows it",
        "c": "the link points outside the source; follow_links=true allows it",
    }


def test_links_are_followed_everywhere_but_in_loops_if_asked(linked: Path) -> None:
    (linked / "c").unlink()
    listing = classes_of(linked, follow_links=True)
    below = ["a/1.png", "a/folder/3.png", "a/inner/2.png", "a/inside.png", "a/outside.png"]
    assert files_of(listing) == {"a": below, "b": ["b/2.png"]}
    assert set(reasons(listing)) == {"a/nowhere.png", "a/itself.png", "a/up", "a/here"}


def test_of_two_links_to_a_folder_the_first_is_followed(linked: Path) -> None:
    listing = classes_of(linked, follow_links=True)
    assert files_of(listing)["c"] == ["c/3.png"]
    assert "another link" in reasons(listing)["a/folder"]


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"a/1.png": b"1"})
    write(tmp_path / "b", {"2.png": b"2"})
    (source / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(source / "a")
    listing = classes_of(source, follow_links=True)
    assert {"a/1.png", "a/b/2.png"} <= set(files_of(listing)["a"])
    assert listing.pictures <= 3


def test_the_digest_changes_with_every_file_and_with_nothing_else(tmp_path: Path) -> None:
    noise_classes(tmp_path)
    first = classes_of(tmp_path).digest
    assert classes_of(tmp_path).digest == first
    digests = {first}
    write(tmp_path, {"qcd/new.png": b"x"})
    digests.add(classes_of(tmp_path).digest)
    write(tmp_path, {"qcd/new.png": b"xy"})
    digests.add(classes_of(tmp_path).digest)
    (tmp_path / "qcd/new.png").rename(tmp_path / "qcd/renamed.png")
    digests.add(classes_of(tmp_path).digest)
    (tmp_path / "qcd/renamed.png").unlink()
    assert classes_of(tmp_path).digest == first
    (tmp_path / "qcd/link.png").symlink_to("nowhere")
    assert len(digests | {classes_of(tmp_path).digest}) == 5


def test_pictures_are_found_in_any_folders_and_bad_ones_are_told(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(["top.png", "x/y/z.png", "train/1.png", ".hidden/1.png"], b"x"))
    write(tmp_path, {"two\nlines.png": b"x", os.fsdecode(b"latin\xe9.png"): b"x"})
    (tmp_path / "x/link.png").symlink_to("nowhere")
    listing = list_pictures(LocalFolder(tmp_path))
    assert files_of(listing) == {"": ["top.png", "train/1.png", "x/y/z.png"]}
    assert set(reasons(listing)) == {"two\nlines.png", os.fsdecode(b"latin\xe9.png"), "x/link.png"}


def test_a_folder_of_nothing_holds_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        list_pictures(LocalFolder(tmp_path))
