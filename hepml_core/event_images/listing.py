"""Find the pictures of a source: one folder a class."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hepml_core.errors import DataError
from hepml_core.storage import FileStat, Folder
from hepml_core.tfrecord import hash64

log = logging.getLogger(__name__)

SPLIT_FOLDERS = {"train", "valid", "validation", "val", "test"}


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file of a source that cannot be used, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The pictures of a source.

    Attributes:
        files: Names of the picture files relative to the source, by class; classes and files sorted.
        bad: What looked like a picture's place but cannot be read.
        digest: Changes when a file is added, removed or changed.
    """

    files: dict[str, list[str]]
    bad: list[BadFile] = field(default_factory=list)
    digest: str = ""

    @property
    def pictures(self) -> int:
        """Number of picture files."""
        return sum(map(len, self.files.values()))


def list_classes(source: Folder, *, follow_links: bool) -> Listing:
    """List ``<class>/<picture>`` files; files in folders below a class belong to it, hidden ones are passed over.

    Raises:
        DataError: There is no such folder, no class folder in it, or its folders are splits.
    """
    if source.path is not None and not source.path.is_dir():
        raise DataError(f"{source} is no folder: --source names a folder with one folder of pictures a class")
    listing = Listing({})
    fingerprints = 0
    walk = _walk_disk(source.path, listing, follow_links) if source.path else _walk_store(source)
    for name, fingerprint in walk:
        group, separator, rest = name.partition("/")
        if not separator:
            log.info("%s lies beside the class folders and is left out", name)
            continue
        listing.files.setdefault(group, [])
        if rest:
            listing.files[group].append(name)
            # A sum, because a disk lists files in no particular order.
            fingerprints += hash64(f"{name}\0{fingerprint}".encode(errors="surrogateescape"))
    classes = sorted(listing.files)
    if not classes:
        raise DataError(f"{source} holds no class folder: put the pictures of each class in a folder of its own")
    if set(classes) <= SPLIT_FOLDERS:
        raise DataError(
            f"{source} is split already ({', '.join(classes)}): give one folder with all pictures of each class"
        )
    files = {name: sorted(listing.files[name]) for name in classes}
    empty = [BadFile(f"{name}/", "the class folder is empty") for name in classes if not files[name]]
    return Listing(files, sorted([*listing.bad, *empty], key=lambda bad: bad.file), f"{fingerprints:x}")


def list_pictures(source: Folder) -> list[FileStat]:
    """List all files below a folder, sorted by name, whatever the folders in it are called.

    Raises:
        DataError: There is no such folder or nothing in it.
    """
    files = [found for found in source.walk() if not _is_hidden(found.name)]
    if not files:
        raise DataError(f"{source} holds no pictures")
    return files


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _walk_store(source: Folder) -> Iterator[tuple[str, str]]:
    for found in source.walk():
        if not _is_hidden(found.name):
            yield found.name, f"{found.bytes} {found.version}"


def _walk_disk(root: Path, listing: Listing, follow_links: bool) -> Iterator[tuple[str, str]]:
    """Yield name and fingerprint of each file, and ``<class>/`` for each class; note links that cannot be used."""
    inside = os.path.realpath(root)
    pending, visited = [""], {inside}
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                name = f"{folder}{entry.name}"
                if entry.name.startswith("."):
                    continue
                fault = _link_fault(entry, inside, visited, follow_links) if entry.is_symlink() else ""
                if fault:
                    listing.bad.append(BadFile(name, fault))
                elif entry.is_dir():
                    pending.append(f"{name}/")
                    if not folder:
                        yield f"{name}/", ""
                else:
                    found = entry.stat()
                    yield name, f"{found.st_size} {found.st_mtime_ns}"


def _link_fault(entry: os.DirEntry[str], inside: str, visited: set[str], follow_links: bool) -> str:
    """Say why a link cannot be followed; empty where it can."""
    target = os.path.realpath(entry.path)
    if not Path(target).exists():
        return "the link leads nowhere or in a loop"
    if os.path.commonpath([inside, target]) != inside and not follow_links:
        return "the link points outside the source; follow_links=true allows it"
    if Path(target).is_dir():
        if not follow_links:
            return "the link points to a folder; follow_links=true allows it"
        if target in visited or inside.startswith(target + os.sep):
            return "the link leads in a loop"
        visited.add(target)
    return ""
