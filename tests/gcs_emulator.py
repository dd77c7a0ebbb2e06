"""Google Cloud Storage in memory, for tests: the part of its JSON and XML API that hepml uses, and faults on demand.

It keeps what the stock emulator does not: generations, preconditions (atomic among threads), checksums of what arrives
and uploads in parts. Use it as a context manager and set STORAGE_EMULATOR_HOST to its ``address``.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import google_crc32c


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that have this method and this text in their path and query."""

    kind: Literal["status", "drop", "lose", "cut", "slow", "damage"]
    """An error status; the connection reset before the request is obeyed, after it, or amid the answer; a wait; a byte
    changed amid what an upload sends or a download brings."""
    method: str = ""
    path: str = ""
    times: int = 1
    status: int = 503
    seconds: float = 0.0


@dataclass
class StoredObject:
    """One generation of an object."""

    content: bytes
    generation: int
    content_type: str
    metadata: dict[str, str]
    encoding: str = ""

    @property
    def crc32c(self) -> str:
        return base64.b64encode(google_crc32c.value(self.content).to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str:
        return base64.b64encode(hashlib.md5(self.content, usedforsecurity=False).digest()).decode()


@dataclass
class Upload:
    """An upload under way: a resumable one in ``content``, one in parts in ``parts``."""

    key: str
    description: dict[str, Any]
    query: dict[str, str]
    content: bytes = b""
    parts: dict[int, bytes] = field(default_factory=dict)


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class GcsEmulator:
    """The store: its buckets, the faults to come, and a record of the requests."""

    def __init__(self, *buckets: str) -> None:
        self.buckets: dict[str, dict[str, StoredObject]] = {name: {} for name in buckets}
        self.uploads: dict[str, Upload] = {}
        self.forbidden: set[str] = set()
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.RLock()
        self._generations = itertools.count(1_700_000_000_000_000)
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": self}))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> GcsEmulator:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def find(self, bucket: str, key: str) -> StoredObject:
        """Return an object as it is now."""
        objects = self.objects(bucket)
        if key not in objects:
            raise RefusedError(404, f"No such object: {bucket}/{key}")
        return objects[key]

    def objects(self, bucket: str) -> dict[str, StoredObject]:
        """Return the objects of a bucket."""
        if bucket in self.forbidden:
            raise RefusedError(403, "The caller does not have storage.objects access.")
        if bucket not in self.buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        return self.buckets[bucket]

    def publish(
        self, bucket: str, key: str, content: bytes, description: dict[str, Any], query: dict[str, str]
    ) -> StoredObject:
        """Make a new generation of an object if the query's preconditions allow and its checksum is right."""
        with self.lock:
            check_generation(self.objects(bucket).get(key), query)
            content_type = description.get("contentType", "application/octet-stream")
            metadata, encoding = description.get("metadata", {}), description.get("contentEncoding", "")
            new = StoredObject(content, next(self._generations), content_type, metadata, encoding)
            if description.get("crc32c", new.crc32c) != new.crc32c:
                raise RefusedError(400, "Provided CRC32C does not match calculated CRC32C.")
            self.buckets[bucket][key] = new
            return new

    def take_fault(self, request: str) -> Fault | None:
        """Return the fault that is due for a request."""
        with self.lock:
            self.requests.append(request)
            method, _, path = request.partition(" ")
            for fault in self.faults:
                if fault.times > 0 and fault.method in ("", method) and fault.path in path:
                    fault.times -= 1
                    return fault
        return None


def check_generation(current: StoredObject | None, query: dict[str, str]) -> None:
    """Refuse a request whose preconditions do not hold."""
    generation = str(current.generation) if current else "0"
    if query.get("ifGenerationMatch", generation) != generation:
        raise RefusedError(412, "At least one of the pre-conditions you specified did not hold.")
    if query.get("generation", generation) != generation:
        raise RefusedError(404, "No such object: not in this generation")


class _Server(ThreadingHTTPServer):
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: GcsEmulator

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        pass

    def _answer_request(self) -> None:
        self.fault = self.store.take_fault(f"{self.command} {self.path}")
        with self.store.lock:
            self.store.at_once += 1
            self.store.most_at_once = max(self.store.at_once, self.store.most_at_once)
        try:
            self._obey()
        finally:
            with self.store.lock:
                self.store.at_once -= 1

    do_GET = do_POST = do_PUT = do_DELETE = _answer_request  # noqa: N815 - the names that http.server calls

    def _obey(self) -> None:
        url = urlsplit(self.path)
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.fault.kind if self.fault else None
        if self.fault and kind == "slow":
            time.sleep(self.fault.seconds)
        if kind == "damage" and self.body:
            self.body = _change_a_byte(self.body)
        if kind == "drop":
            self._reset()
            return
        try:
            if self.fault and kind == "status":
                raise RefusedError(self.fault.status, "an injected fault")
            self._route(url.path)
        except RefusedError as refused:
            error = {"error": {"code": refused.status, "message": str(refused)}}
            is_media = self.query.get("alt") == "media"
            self._send(str(refused).encode() if is_media else json.dumps(error).encode(), refused.status)

    def _route(self, path: str) -> None:
        routes: list[tuple[str, str, Callable[..., None]]] = [
            ("POST", r"/storage/v1/b", self._make_bucket),
            ("GET", r"/storage/v1/b/([^/]+)", self._describe_bucket),
            ("GET", r"/storage/v1/b/([^/]+)/o", self._list),
            ("GET", r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)", self._read),
            ("DELETE", r"/storage/v1/b/([^/]+)/o/([^/]+)", self._delete),
            ("POST", r"/upload/storage/v1/b/([^/]+)/o", self._upload),
            ("PUT", r"/upload/storage/v1/b/([^/]+)/o", self._resume),
            ("POST", r"/([^/]+)/(.+)", self._start_or_finish_parts),
            ("PUT", r"/[^/]+/.+", self._put_part),
            ("DELETE", r"/[^/]+/.+", self._drop_parts),
        ]
        for method, pattern, handle in routes:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                handle(*map(unquote, match.groups()))
                return
        raise RefusedError(501, f"not in this emulator: {self.command} {path}")

    def _make_bucket(self) -> None:
        name = json.loads(self.body)["name"]
        self.store.buckets.setdefault(name, {})
        self._describe_bucket(name)

    def _describe_bucket(self, bucket: str) -> None:
        self.store.objects(bucket)
        self._send_json({"kind": "storage#bucket", "name": bucket})

    def _list(self, bucket: str) -> None:
        after = max(self.query.get("startOffset", ""), self.query.get("pageToken", ""))
        keys = sorted(self.store.objects(bucket))
        keys = [key for key in keys if key.startswith(self.query.get("prefix", "")) and key >= after]
        count = int(self.query.get("maxResults", 1000))
        page: dict[str, Any] = {"items": [_describe(bucket, key, self.store.find(bucket, key)) for key in keys[:count]]}
        if keys[count:]:
            page["nextPageToken"] = keys[count]
        self._send_json(page)

    def _read(self, bucket: str, key: str) -> None:
        found = self.store.find(bucket, key)
        check_generation(found, self.query)
        if self.query.get("alt") != "media":
            self._send_json(_describe(bucket, key, found))
            return
        size, headers = len(found.content), {"X-Goog-Generation": str(found.generation)}
        headers |= {"X-Goog-Hash": f"crc32c={found.crc32c},md5={found.md5}", "X-Goog-Stored-Content-Length": str(size)}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found.encoding:
            headers["Content-Encoding"] = found.encoding
        if not asked:
            self._send(found.content, headers=headers)
            return
        start, stop = int(asked[1]), min(size, int(asked[2]) + 1) if asked[2] else size
        if start >= size:
            raise RefusedError(416, "The requested range cannot be satisfied.")
        self._send(found.content[start:stop], 206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    def _delete(self, bucket: str, key: str) -> None:
        with self.store.lock:
            check_generation(self.store.find(bucket, key), self.query)
            del self.store.buckets[bucket][key]
        self._send(b"", 204)

    def _upload(self, bucket: str) -> None:
        if self.query["uploadType"] == "multipart":
            boundary = b"--" + self.headers["Content-Type"].partition("boundary=")[2].strip("\"'").encode()
            _, first, rest = self.body.split(boundary, 2)
            description = json.loads(first.partition(b"\r\n\r\n")[2])
            content = rest.rpartition(boundary)[0].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            key = description["name"]
            self._send_json(_describe(bucket, key, self.store.publish(bucket, key, content, description, self.query)))
            return
        description = json.loads(self.body)
        check_generation(self.store.objects(bucket).get(description["name"]), self.query)
        upload = self._new_upload(description["name"], description)
        location = f"{self.store.address}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload}"
        self._send(b"", headers={"Location": location})

    def _resume(self, bucket: str) -> None:
        upload = self._find_upload()
        upload.content += self.body
        total = self.headers["Content-Range"].rpartition("/")[2]
        if total == "*" or len(upload.content) < int(total):
            self._send(b"", 308, {"Range": f"bytes=0-{len(upload.content) - 1}"})
            return
        new = self.store.publish(bucket, upload.key, upload.content, upload.description, upload.query)
        self._send_json(_describe(bucket, upload.key, new))

    def _start_or_finish_parts(self, bucket: str, key: str) -> None:
        self.store.objects(bucket)
        if "uploads" in self.query:
            upload_id = self._new_upload(key, {"contentType": self.headers["Content-Type"]})
            self._send(f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId></x>".encode())
            return
        upload = self._find_upload()
        numbers = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", self.body.decode())]
        content = b"".join(upload.parts[number] for number in numbers)
        self.store.publish(bucket, key, content, upload.description, {})
        del self.store.uploads[self.query["uploadId"]]
        self._send(b"<CompleteMultipartUploadResult/>")

    def _put_part(self) -> None:
        upload = self._find_upload()
        part = StoredObject(self.body, 0, "", {})
        if self.headers.get("X-Goog-Hash", f"crc32c={part.crc32c}") != f"crc32c={part.crc32c}":
            raise RefusedError(400, "BadDigest")
        upload.parts[int(self.query["partNumber"])] = self.body
        self._send(b"", headers={"ETag": f'"{part.md5}"'})

    def _drop_parts(self) -> None:
        self._find_upload()
        del self.store.uploads[self.query["uploadId"]]
        self._send(b"", 204)

    def _new_upload(self, key: str, description: dict[str, Any]) -> str:
        with self.store.lock:
            upload_id = f"upload-{len(self.store.requests)}-{len(self.store.uploads)}"
            self.store.uploads[upload_id] = Upload(key, description, self.query)
        return upload_id

    def _find_upload(self) -> Upload:
        upload = self.store.uploads.get(self.query.get("upload_id") or self.query.get("uploadId", ""))
        if upload is None:
            raise RefusedError(404, "NoSuchUpload: the upload is not known, it may have been finished or dropped")
        return upload

    def _send_json(self, answer: dict[str, Any]) -> None:
        self._send(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        kind = self.fault.kind if self.fault else None
        if kind == "lose":
            self._reset()
            return
        self.send_response(status, HTTPStatus(status).phrase)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if kind == "cut":
            self.wfile.write(body[: len(body) // 2])
            self._reset()
        else:
            self.wfile.write(_change_a_byte(body) if kind == "damage" and self.command == "GET" and body else body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for one in (self.wfile, self.rfile, self.connection):
            one.close()


def _change_a_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _describe(bucket: str, key: str, found: StoredObject) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "name": key,
        "bucket": bucket,
        "size": str(len(found.content)),
        "generation": str(found.generation),
        "metageneration": "1",
        "contentType": found.content_type,
        "crc32c": found.crc32c,
        "md5Hash": found.md5,
        "metadata": found.metadata,
        "etag": str(found.generation),
    }
