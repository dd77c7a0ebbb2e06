"""Find the pictures of a source: one folder a class."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepml_core.errors import DataError, StorageError
from hepml_core.storage import Folder
from hepml_core.tfrecord import hash64

log = logging.getLogger(__name__)

NAMES_JOINED = 4096
"""Names that are held as Python's strings, which take some 80 bytes each, before they go to an array."""
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
        files: Names of the picture files relative to the source, by class; classes and files sorted. The names are
            UTF-8 in an array whose items are as wide as the longest: a fraction of what strings would take. Where
            there are no classes, all stand under an empty name.
        bad: What looked like a picture's place but cannot be read.
        digest: Changes when a file is added, removed or changed.
    """

    files: dict[str, NDArray[np.bytes_]]
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
    names: defaultdict[str, _Names] = defaultdict(_Names)
    fingerprints = 0
    beside: list[str] = []
    for name, fingerprint in _walk(source, listing, follow_links):
        group, separator, rest = name.partition("/")
        if not separator:
            beside.append(name)
        elif _has_good_name(name, listing):
            of_class = names[group]
            if rest:
                of_class.add(name)
                # A sum, because files of a store and of a disk come in other orders.
                fingerprints += hash64(f"{name}\0{fingerprint}".encode())
    if beside:
        log.info("left out %d files beside the class folders, the first: %r", len(beside), min(beside))
    classes = sorted(names)
    if not classes:
        raise DataError(f"{source} holds no class folder: put the pictures of each class in a folder of its own")
    if set(classes) <= SPLIT_FOLDERS:
        raise DataError(
            f"{source} is split already ({', '.join(classes)}): give one folder with all pictures of each class"
        )
    files = {name: names.pop(name).sorted() for name in classes}
    empty = [BadFile(f"{name}/", "the class folder is empty") for name in classes if not len(files[name])]
    return _finish(files, [*listing.bad, *empty], fingerprints)


def list_pictures(source: Folder) -> Listing:
    """List all files below a folder, sorted by name, whatever the folders in it are called; links to folders are bad.

    Raises:
        DataError: There is no such folder or nothing in it.
    """
    if source.path is not None and not source.path.is_dir():
        raise DataError(f"{source} is no folder: --source names a folder of pictures")
    listing = Listing({})
    names = _Names()
    fingerprints = 0
    for name, fingerprint in _walk(source, listing, follow_links=False):
        if not name.endswith("/") and _has_good_name(name, listing):
            names.add(name)
            fingerprints += hash64(f"{name}\0{fingerprint}".encode())
    files = {"": names.sorted()}
    if not len(files[""]) and not listing.bad:
        raise DataError(f"{source} holds no pictures")
    return _finish(files, listing.bad, fingerprints)


class _Names:
    """Names of files, collected in little memory."""

    def __init__(self) -> None:
        self._joined: list[NDArray[np.bytes_]] = []
        self._new: list[bytes] = []

    def add(self, name: str) -> None:
        self._new.append(name.encode())
        if len(self._new) == NAMES_JOINED:
            self._join()

    def sorted(self) -> NDArray[np.bytes_]:
        """Return all names in the order of their code points, which is that of their bytes."""
        self._join()
        names = np.concatenate(self._joined)
        names.sort()
        return names

    def _join(self) -> None:
        self._joined.append(np.array(self._new, np.bytes_))
        self._new.clear()


def _finish(files: dict[str, NDArray[np.bytes_]], bad: list[BadFile], fingerprints: int) -> Listing:
    fingerprints += sum(hash64(one.file.encode(errors="surrogateescape")) for one in bad)
    return Listing(files, sorted(bad, key=lambda one: one.file), f"{fingerprints:x}")


def _has_good_name(name: str, listing: Listing) -> bool:
    """Tell whether a name can be a key of an event; note it as bad where it cannot."""
    fault = ""
    if re.search(r"[\x00-\x1f\x7f\\]", name):
        fault = "the name holds a control character or a backslash: rename it"
    elif re.search(r"[\ud800-\udfff]", name):
        fault = "the name is not valid UTF-8: rename it"
    if fault:
        listing.bad.append(BadFile(name, fault))
    return not fault


def _walk(source: Folder, listing: Listing, follow_links: bool) -> Iterator[tuple[str, str]]:
    return _walk_disk(source.path, listing, follow_links) if source.path else _walk_store(source)


def _walk_store(source: Folder) -> Iterator[tuple[str, str]]:
    for found in source.walk():
        if not any(part.startswith(".") for part in found.name.split("/")):
            yield found.name, f"{found.bytes} {found.version}"


def _walk_disk(root: Path, listing: Listing, follow_links: bool) -> Iterator[tuple[str, str]]:
    """Yield name and fingerprint of each file, and ``<class>/`` for each class; note links that cannot be used."""
    inside = os.path.realpath(root)
    pending, visited = [""], {inside}
    while pending:
        folder = pending.pop()
        for entry in _entries(root / folder):
            name = f"{folder}{entry.name}"
            fault = _link_fault(entry, inside, visited, follow_links) if entry.is_symlink() else ""
            if not fault and entry.is_dir():
                pending.append(f"{name}/")
                if not folder:
                    yield f"{name}/", ""
            elif not fault and entry.is_file():
                found = entry.stat()
                yield name, f"{found.st_size} {found.st_mtime_ns}"
            else:
                listing.bad.append(BadFile(name, fault or "it is neither a file nor a folder"))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder and is not hidden: files as they come, for they may be millions; then the rest.

    The rest is sorted: of two links to one folder, the first is followed on every disk.
    """
    rest = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    if entry.is_file(follow_symlinks=False):
                        yield entry
                    else:
                        rest.append(entry)
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror}") from error
    yield from sorted(rest, key=lambda entry: entry.name)


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
        holder = os.path.realpath(Path(entry.path).parent)
        if target in visited or any(os.path.commonpath([place, target]) == target for place in (inside, holder)):
            return "the link leads in a loop, or to a folder that another link leads to"
        visited.add(target)
    return ""
