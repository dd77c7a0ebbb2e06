"""Folders anywhere: on a disk, in Google Cloud Storage (``gs://``) or in S3 (``s3://``); the only door to object stores.

A name inside a folder is relative, with forward slashes. Every write is atomic: a reader sees the old file, the new file or
none, never a part of one.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hepml_core.errors import StorageError


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
    """A folder that a stage reads from or writes to; ``str(folder)`` is its path or address."""

    @abstractmethod
    def __truediv__(self, name: str) -> Folder:
        """Return the folder ``name`` below this one."""

    @abstractmethod
    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop) of a file.

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
    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        """Lend a new local path to write to; publish it as ``name`` when the block ends well, else leave no trace."""

    @abstractmethod
    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """Lend a local path to read a file from: the file itself on a disk, a downloaded copy otherwise."""

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
        StorageError: The address has a scheme that is neither ``gs://``, ``s3://`` nor ``file://``.
    """
    text = os.fspath(address)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return LocalFolder(Path(text))
    if scheme == "file":
        return LocalFolder(Path(rest))
    raise StorageError(f"cannot open {text!r}: addresses are local paths, gs://bucket/folder or s3://bucket/folder")


class LocalFolder(Folder):
    """A folder on a disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self._path / name)

    @property
    def path(self) -> Path:
        return self._path

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        with _disk_errors(f"cannot read {self._path / name}"), (self._path / name).open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(stop - start)

    def write(self, name: str, content: bytes, *, only_new: bool = False) -> None:
        with self._staged(name, only_new=only_new) as path, _disk_errors(f"cannot write {self._path / name}"):
            path.write_bytes(content)

    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        with self._staged(name, only_new=False) as path:
            yield path

    @contextmanager
    def _staged(self, name: str, *, only_new: bool) -> Iterator[Path]:
        target = self._path / name
        with _disk_errors(f"cannot write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, staging = tempfile.mkstemp(prefix=f".{target.name[:64]}.", suffix=".tmp", dir=target.parent)
            os.close(descriptor)
        path = Path(staging)
        try:
            yield path
            with _disk_errors(f"cannot write {target}"):
                path.chmod(0o644)
                _flush_to_disk(path)
                if only_new:
                    os.link(path, target)
                else:
                    path.replace(target)
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self._path / name

    def stat(self, name: str) -> FileStat | None:
        try:
            found = (self._path / name).stat()
        except FileNotFoundError:
            return None
        return FileStat(name, found.st_size, str(found.st_mtime_ns))

    def walk(self, prefix: str = "") -> Iterator[FileStat]:
        for root, folders, files in os.walk(self._path):
            folders.sort()
            for file in sorted(files):
                name = Path(root, file).relative_to(self._path).as_posix()
                found = self.stat(name) if name.startswith(prefix) else None
                if found:
                    yield found

    def delete(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)


@contextmanager
def _disk_errors(doing: str) -> Iterator[None]:
    """Turn what a disk says into one sentence; absent and existing files keep their own errors."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise StorageError(f"{doing}: {error.strerror or error}") from error


def _flush_to_disk(path: Path) -> None:
    """Bring the content to the disk before the rename: else a power cut could leave a torn file under the name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
