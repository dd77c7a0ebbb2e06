"""Buckets of object stores: what Google Cloud Storage (gcs.py) and S3 (s3.py) have in common.

A ``Bucket`` makes the requests of one store, each tried once, and tells its errors apart. ``Bucket.ask`` is the one
place where requests are repeated and errors become sentences: the retries of the stores' clients are off, as they know
no common bound in time and S3's leave out broken downloads.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import logging
import mimetypes
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from crc32c import crc32c as extend_crc32c

from hepml_core.errors import HepmlError, StorageError
from hepml_core.storage import in_parallel

T = TypeVar("T")
log = logging.getLogger(__name__)

PART_BYTES = 16 * 2**20
"""Larger files travel as parts of this size, several at once; S3 refuses parts below 5 MiB."""
MOST_PARTS = 10_000
"""The stores' limit to the parts of one upload."""
RETRY_SECONDS = 120.0
"""How long a request is repeated while its failure is a passing one."""
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0
TIMEOUT_SECONDS = (10.0, 60.0)
"""To connect, and between two arrivals of bytes."""
WRITER_TAG = "hepml-writer"
"""Metadata of an object: which call of write made it."""

Fault = Literal["passing", "no file", "no bucket", "no credentials", "refused", "precondition", "other"]


class PreconditionError(Exception):
    """The object is not in the state that a request asked for."""


class DamagedError(Exception):
    """What arrived is not what the store holds."""


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """What a store knows of an object."""

    key: str
    bytes: int
    version: str
    crc32c: int | None = None
    writer: str = ""


class Bucket(ABC):
    """One bucket of one store; a value, so that it can be pickled: clients are made once in each process."""

    scheme: ClassVar[str]
    remedies: ClassVar[dict[Fault, str]]

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def address(self) -> str:
        """The address of the bucket, without a slash at its end."""
        return f"{self.scheme}://{self.name}"

    @abstractmethod
    def head(self, key: str) -> ObjectHead:
        """Return what is known of an object."""

    @abstractmethod
    def get(self, key: str, start: int = 0, stop: int | None = None, version: str | None = None) -> bytes:
        """Return the bytes [start, stop), of this version if one is given; a whole object is checked on arrival."""

    @abstractmethod
    def put(self, key: str, content: bytes, new_by: str = "") -> None:
        """Publish an object, checked on arrival; ``new_by`` asks for a new one, which says who wrote it."""

    @abstractmethod
    def page(self, prefix: str, after: str) -> list[ObjectHead]:
        """List objects behind ``after`` in the order of their keys; an empty page is the end."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete an object."""

    @abstractmethod
    def start_parts(self, key: str, crc32c: int) -> str:
        """Begin an upload in parts, nothing of which can be seen before its end; return its id."""

    @abstractmethod
    def put_part(self, key: str, upload: str, number: int, content: bytes) -> str:
        """Upload a part, the first is number 1; return its entity tag."""

    @abstractmethod
    def finish_parts(self, key: str, upload: str, tags: list[str]) -> None:
        """Publish the parts as one object."""

    @abstractmethod
    def drop_parts(self, key: str, upload: str) -> None:
        """Throw away the parts of an upload that came to nothing."""

    @abstractmethod
    def fault_of(self, error: Exception) -> Fault | None:
        """Tell what kind of failure a request met, None where the error is not the store's."""

    def words_of(self, error: Exception) -> str:
        """Return what the store said, in one line."""
        return " ".join((str(error) or type(error).__name__).split())[:300]

    def ask(self, doing: str, key: str, request: Callable[[], T]) -> T:
        """Make a request, again while it fails in a passing way, with growing, random waits.

        Raises:
            FileNotFoundError: There is no such object.
            PreconditionError: The object is not in the state that the request asked for.
            StorageError: Everything else, and what to do about it.
        """
        give_up = time.monotonic() + RETRY_SECONDS
        wait = FIRST_WAIT_SECONDS
        while True:
            pause = random.uniform(wait / 2, wait)  # noqa: S311 - spreads the load of many workers, hides nothing
            try:
                return request()
            except HepmlError:
                raise
            except Exception as error:
                fault = self.fault_of(error)
                if fault is None:
                    raise
                if fault != "passing" or time.monotonic() + pause > give_up:
                    raise self._explain(doing, key, fault, error) from error
                log.warning("%s/%s: %s; trying again in %.1f s", self.address, key, self.words_of(error), pause)
            time.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def put_file(self, key: str, path: Path) -> None:
        """Publish a file, a large one in parts, several at once.

        Raises:
            StorageError: The store refused, or holds something else afterwards.
        """
        size = path.stat().st_size
        if size <= PART_BYTES:
            content = path.read_bytes()
            self.ask("write", key, lambda: self.put(key, content))
            return
        crc32c, part_bytes = crc32c_of(path), max(PART_BYTES, -(-size // MOST_PARTS))
        upload = self.ask("write", key, lambda: self.start_parts(key, crc32c))

        def send(start: int) -> str:
            part = _read_range(path, start, part_bytes)
            return self.ask("write", key, lambda: self.put_part(key, upload, start // part_bytes + 1, part))

        try:
            tags = in_parallel(send, range(0, size, part_bytes))
        except BaseException:
            with contextlib.suppress(Exception):
                self.drop_parts(key, upload)
            raise
        self._finish(key, upload, tags, crc32c)

    def _finish(self, key: str, upload: str, tags: list[str], crc32c: int) -> None:
        refusal: Exception | None = None
        try:
            self.ask("write", key, lambda: self.finish_parts(key, upload, tags))
        except (StorageError, FileNotFoundError) as error:
            # Perhaps it was done and the answer lost: the next try finds that the store has forgotten the upload.
            refusal = error
        if self.ask("read", key, lambda: self.head(key)).crc32c != crc32c:
            address = f"{self.address}/{key}"
            raise refusal or StorageError(f"cannot write {address}: it was damaged on its way; run again")

    def _explain(self, doing: str, key: str, fault: Fault, error: Exception) -> Exception:
        address = f"{self.address}/{key}"
        if fault == "no file":
            return FileNotFoundError(errno.ENOENT, "No such object", address)
        if fault == "precondition":
            return PreconditionError(address)
        what = {
            "passing": f"no good answer in {RETRY_SECONDS:.0f} s, the last: {self.words_of(error)}",
            "no bucket": f"there is no bucket {self.name!r}",
            "no credentials": f"no valid credentials: {self.words_of(error)}",
            "refused": f"permission denied: {self.words_of(error)}",
        }.get(fault, self.words_of(error))
        remedy = self.remedies.get(fault, "").format(bucket=self.name)
        return StorageError(f"cannot {doing} {address}: {what}{remedy and '; ' + remedy}")


def fault_of_status(status: int) -> Fault:
    """Return what an HTTP status says."""
    if status in (408, 429, 500, 502, 503, 504):
        return "passing"
    faults: dict[int, Fault] = {401: "no credentials", 403: "refused", 404: "no file", 412: "precondition"}
    return faults.get(status, "other")


def fault_of_line(error: Exception) -> Fault:
    """Return what a broken connection says: all pass but a certificate that is not trusted."""
    return "other" if "CERTIFICATE_VERIFY_FAILED" in str(error) else "passing"


def content_type_of(key: str) -> str:
    """Return the content type by the ending of the key; browsers show a report only as text/html."""
    return mimetypes.guess_type(key)[0] or "application/octet-stream"


def to_base64(crc32c: int) -> str:
    """Return a CRC32C as the stores write it."""
    return base64.b64encode(crc32c.to_bytes(4, "big")).decode()


def from_base64(text: str) -> int:
    """Return a CRC32C that a store has written."""
    return int.from_bytes(base64.b64decode(text), "big")


def crc32c_of(path: Path) -> int:
    """Return the CRC32C of a file."""
    crc32c = 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            crc32c = extend_crc32c(chunk, crc32c)
    return crc32c


def _read_range(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)
