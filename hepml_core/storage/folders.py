"""Folders anywhere: on a disk, in Google Cloud Storage (``gs://``) or in S3 (``s3://``); the door to object stores.

A name inside a folder is relative, with forward slashes, and cannot lead out of the folder. Every write is atomic: a
reader sees the old file, the new file or none, never a part of one. Folders are small values: pickle them for workers.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

from hepml_core.errors import StorageError

T = TypeVar("T")
R = TypeVar("R")

THREADS = 8
"""Files, or parts of one big file, on their way at once; the connection pools of the stores' clients hold ten."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """What a store knows of a file without reading it."""

    name: str
    """Name relative to the folder."""
    bytes: int
    version: str
    """Changes when the content does: generation or entity tag of an object, modification time of a local file."""
    crc32c: int | None = None
    """CRC32C of the content where the store keeps one."""


class Folder(ABC):
    """A folder that a stage reads from or writes to; ``str(folder)`` is its path or address.

    Every method that takes a name raises StorageError for one that would lead out of the folder.
    """

    @abstractmethod
    def __truediv__(self, name: str) -> Folder:
        """Return the folder ``name`` below this one."""

    @abstractmethod
    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of a file, fewer where it ends before.

        Raises:
            FileNotFoundError: There is no such file.
            StorageError: The store refused.
        """

    @abstractmethod
    def write(self, name: str, content: bytes, *, only_new: bool = False) -> None:
        """Publish a file whole.

        Args:
            name: Name relative to the folder.
            content: Its bytes.
            only_new: Refuse to replace a file; of two writers at once, one wins.

        Raises:
            FileExistsError: ``only_new`` was asked and the file exists.
            StorageError: The store refused (full, forbidden, out of reach).
        """

    @abstractmethod
    def upload(self, source: Path, names: Iterable[str]) -> None:
        """Publish files of the local folder ``source`` under the same names, several at once."""

    @abstractmethod
    def download(self, names: Iterable[str], target: Path) -> None:
        """Copy files into the local folder ``target`` under the same names, several at once; each appears whole."""

    @abstractmethod
    def staged(self, name: str) -> AbstractContextManager[Path]:
        """Lend a new local path to write to; publish it as ``name`` when the block ends well, else leave no trace."""

    @abstractmethod
    def local(self, name: str) -> AbstractContextManager[Path]:
        """Lend a local path to read a file from: the file itself on a disk, a copy for the time of the block otherwise.

        Raises:
            FileNotFoundError: There is no such file.
        """

    @abstractmethod
    def stat(self, name: str) -> FileStat | None:
        """Return what is known of a file, or None where there is none."""

    @abstractmethod
    def walk(self, prefix: str = "") -> Iterator[FileStat]:
        """Walk the files whose names start with ``prefix``, in the order of their names."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""

    @property
    @abstractmethod
    def path(self) -> Path | None:
        """The local path of this folder, None where it is in an object store."""


def open_folder(address: str | os.PathLike[str]) -> Folder:
    """Open a folder by its path or address; it need not exist yet.

    Raises:
        StorageError: The address has a scheme that is neither ``gs://``, ``s3://`` nor ``file://``, or names no bucket.
    """
    text = os.fspath(address)
    scheme, separator, rest = text.partition("://")
    if scheme in ("gs", "s3") and separator:
        # Lazily: most runs stay on a disk, and the modules of the stores import this one.
        from hepml_core.storage.object_stores import open_object_folder

        return open_object_folder(scheme, rest)
    if scheme == "file":
        return LocalFolder(Path(rest))
    # pathlib joins the two slashes of an address into one; without this check a folder named "gs:" would be filled.
    if separator or text.startswith(("gs:/", "s3:/")):
        raise StorageError(f"cannot open {text!r}: addresses are local paths, gs://bucket/folder or s3://bucket/folder")
    return LocalFolder(Path(text))


class LocalFolder(Folder):
    """A folder on a disk. Symbolic links to files are followed, wherever they lead."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self._file(name))

    @property
    def path(self) -> Path:
        return self._path

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        path = self._file(name)
        with disk_errors(f"cannot read {path}"), path.open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(max(0, stop - start))

    def write(self, name: str, content: bytes, *, only_new: bool = False) -> None:
        with self._staged(name, only_new=only_new) as path, disk_errors(f"cannot write {self._path / name}"):
            path.write_bytes(content)

    def upload(self, source: Path, names: Iterable[str]) -> None:
        def copy(name: str) -> None:
            doing = f"cannot copy {name} from {source} to {self}"
            with LocalFolder(source).local(name) as original, self.staged(name) as path, disk_errors(doing):
                shutil.copyfile(original, path)

        in_parallel(copy, names)

    def download(self, names: Iterable[str], target: Path) -> None:
        LocalFolder(target).upload(self._path, names)

    def staged(self, name: str) -> AbstractContextManager[Path]:
        return self._staged(name, only_new=False)

    @contextmanager
    def _staged(self, name: str, *, only_new: bool) -> Iterator[Path]:
        target = self._file(name)
        with disk_errors(f"cannot write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
        # The file is not made here: one that exists and is cut to nothing is brought to the disk when it is closed.
        path = target.with_name(f".{target.name[:32]}.{secrets.token_hex(8)}.tmp")
        try:
            with full_disk_errors(f"cannot write {target}"):
                yield path
            with disk_errors(f"cannot write {target}"):
                if only_new:
                    _flush_to_disk(path)
                    os.link(path, target)
                else:
                    path.replace(target)
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        path = self._file(name)
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        yield path

    def stat(self, name: str) -> FileStat | None:
        path = self._file(name)
        try:
            with disk_errors(f"cannot read {path}"):
                found = path.stat()
        except FileNotFoundError:
            return None
        return FileStat(name, found.st_size, str(found.st_mtime_ns)) if S_ISREG(found.st_mode) else None

    def walk(self, prefix: str = "") -> Iterator[FileStat]:
        names = []
        with disk_errors(f"cannot list {self._path}"):
            for root, _, files in os.walk(self._path, onerror=_raise_unless_missing):
                names += [
                    Path(root, file).relative_to(self._path).as_posix() for file in files if not _is_staging(file)
                ]
        for name in sorted(names):
            found = self.stat(name) if name.startswith(prefix) else None
            if found:
                yield found

    def delete(self, name: str) -> None:
        path = self._file(name)
        with disk_errors(f"cannot delete {path}"):
            path.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._path / check_name(name, self)


def check_name(name: str, folder: object) -> str:
    """Return the name of a file or folder inside ``folder``.

    Raises:
        StorageError: The name could lead out of the folder (a manifest from elsewhere may hold anything) or is no name.
    """
    segments = name.split("/")
    if re.search(r"[\x00-\x1f\x7f\\]", name) or any(segment in ("", ".", "..") for segment in segments):
        raise StorageError(f"refused {name!r} as a name in {folder}: names are relative, like train/part-0.parquet")
    return name


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Return ``function`` of every item, several at once in threads; the first failure keeps the rest from starting."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="hepml-storage") as pool:
        return list(pool.map(function, items))


_FULL_DISK = {
    errno.ENOSPC: "free some space there or choose another disk",
    errno.EDQUOT: "free some of your quota or choose another disk",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) or choose another disk",
}


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn what a disk says into one sentence; absent and existing files keep their own errors."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        remedy = _FULL_DISK.get(error.errno or 0)
        raise StorageError(f"{doing}: {error.strerror or error}{f'; {remedy}' if remedy else ''}") from error


@contextmanager
def full_disk_errors(doing: str) -> Iterator[None]:
    """Turn only a full disk into a sentence: around the caller's block, whose other errors are about other files."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL_DISK:
            raise
        with disk_errors(doing):
            raise


def _is_staging(file: str) -> bool:
    """Tell the files that a killed process left behind."""
    return file.startswith(".") and file.endswith(".tmp")


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _flush_to_disk(path: Path) -> None:
    """Bring the content to the disk before its name: what declares other files whole must survive a power cut whole.

    Other files need no such wait: they are held against the checksums of a manifest.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
