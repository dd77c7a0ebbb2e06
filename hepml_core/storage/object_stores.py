"""Folders in object stores, made of the requests of a Bucket; ``storage.open_folder`` opens them."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hepml_core.errors import StorageError
from hepml_core.storage import buckets
from hepml_core.storage.buckets import Bucket, ObjectHead, PreconditionError, crc32c_of
from hepml_core.storage.folders import (
    FileStat,
    Folder,
    LocalFolder,
    check_name,
    disk_errors,
    full_disk_errors,
    in_parallel,
)
from hepml_core.storage.gcs import GoogleBucket
from hepml_core.storage.s3 import S3Bucket

log = logging.getLogger(__name__)

FETCHES = 3
"""How often a file that arrives damaged is brought."""


def open_object_folder(scheme: str, rest: str) -> ObjectFolder:
    """Open the folder ``rest`` (bucket/folder) of the store that ``scheme`` (gs or s3) means.

    Raises:
        StorageError: There is no bucket in the address, or the folder leads out of it.
    """
    name, _, prefix = rest.partition("/")
    if not name:
        raise StorageError(f"cannot open '{scheme}://{rest}': it names no bucket; write {scheme}://bucket/folder")
    root = ObjectFolder(GoogleBucket(name) if scheme == "gs" else S3Bucket(name), "")
    prefix = prefix.rstrip("/")
    return root / prefix if prefix else root


class ObjectFolder(Folder):
    """The objects of a bucket whose keys start with one prefix, which is empty or ends with a slash."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix

    def __str__(self) -> str:
        return f"{self._bucket.address}/{self._prefix}".rstrip("/")

    def __truediv__(self, name: str) -> ObjectFolder:
        return ObjectFolder(self._bucket, f"{self._key(name)}/")

    @property
    def path(self) -> None:
        return None

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        key = self._key(name)
        if stop is not None and stop <= start:
            return b""
        return self._bucket.ask("read", key, lambda: self._bucket.get(key, start, stop))

    def write(self, name: str, content: bytes, *, only_new: bool = False) -> None:
        key, writer = self._key(name), uuid.uuid4().hex if only_new else ""
        try:
            self._bucket.ask("write", key, lambda: self._bucket.put(key, content, writer))
        except PreconditionError:
            # Is it our own object? The answer to an earlier try may have been lost.
            with contextlib.suppress(FileNotFoundError):
                if self._head(name).writer == writer:
                    return
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"{self}/{name}") from None

    def upload(self, source: Path, names: Iterable[str]) -> None:
        paths = {self._key(name): source / name for name in names}
        with disk_errors(f"cannot read from {source}"):
            large = [key for key, path in paths.items() if path.stat().st_size > buckets.PART_BYTES]
            in_parallel(lambda key: self._bucket.put_file(key, paths[key]), paths.keys() - large)
            for key in large:  # one after the other: the parts of one fill the line
                self._bucket.put_file(key, paths[key])

    def download(self, names: Iterable[str], target: Path) -> None:
        def fetch(item: tuple[str, ObjectHead]) -> None:
            with LocalFolder(target).staged(item[0]) as path:
                self._fetch(item[1], path)

        heads = in_parallel(lambda name: (name, self._head(name)), names)
        large = [item for item in heads if item[1].bytes > buckets.PART_BYTES]
        in_parallel(fetch, [item for item in heads if item[1].bytes <= buckets.PART_BYTES])
        for item in large:
            fetch(item)

    @contextmanager
    def staged(self, name: str) -> Iterator[Path]:
        key = self._key(name)
        with _scratch_file(name, f"cannot stage {self}/{name}") as path:
            yield path
            self._bucket.put_file(key, path)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        head = self._head(name)
        with _scratch_file(name, f"cannot keep a copy of {self}/{name}") as path:
            self._fetch(head, path)
            yield path

    def stat(self, name: str) -> FileStat | None:
        try:
            return self._stat_of(self._head(name))
        except FileNotFoundError:
            return None

    def walk(self, prefix: str = "") -> Iterator[FileStat]:
        start, after = self._prefix + prefix, ""
        while page := self._bucket.ask("list", start, functools.partial(self._bucket.page, start, after)):
            # Consoles show an empty folder by an object whose name ends with a slash.
            yield from (self._stat_of(head) for head in page if not head.key.endswith("/"))
            after = page[-1].key

    def delete(self, name: str) -> None:
        key = self._key(name)
        with contextlib.suppress(FileNotFoundError):
            self._bucket.ask("delete", key, lambda: self._bucket.delete(key))

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name, self)

    def _head(self, name: str) -> ObjectHead:
        key = self._key(name)
        return self._bucket.ask("read", key, lambda: self._bucket.head(key))

    def _stat_of(self, head: ObjectHead) -> FileStat:
        return FileStat(head.key.removeprefix(self._prefix), head.bytes, head.version, head.crc32c)

    def _fetch(self, head: ObjectHead, path: Path) -> None:
        """Bring one version of an object into a new file, in parts, several at once, and check the whole."""
        key, version = head.key, head.version

        def fetch_part(start: int) -> None:
            stop = min(start + buckets.PART_BYTES, head.bytes)
            part = self._bucket.ask("read", key, lambda: self._bucket.get(key, start, stop, version))
            with path.open("r+b") as file:
                file.seek(start)
                file.write(part)

        path.touch()
        address = f"{self._bucket.address}/{key}"
        for _ in range(FETCHES):
            try:
                in_parallel(fetch_part, range(0, head.bytes, buckets.PART_BYTES))
            except PreconditionError:
                raise StorageError(f"cannot read {address}: it was replaced meanwhile; run again") from None
            if head.crc32c is None or crc32c_of(path) == head.crc32c:
                return
            log.warning("%s arrived damaged", address)
        raise StorageError(
            f"cannot read {address}: it arrived damaged {FETCHES} times; check the network, then run again"
        )


@contextmanager
def _scratch_file(name: str, doing: str) -> Iterator[Path]:
    """Lend an empty file with this name's ending for the time of the block."""
    with disk_errors(doing):
        folder = tempfile.TemporaryDirectory(prefix="hepml-", ignore_cleanup_errors=True)
    with folder, full_disk_errors(f"{doing} in {folder.name} (TMPDIR chooses the disk)"):
        path = Path(folder.name, name.rpartition("/")[2])
        path.touch()
        yield path
