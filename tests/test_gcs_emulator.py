"""The emulator keeps the promises of Google Cloud Storage that other tests rely on; no client library is between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.gcs_emulator import Fault, GcsEmulator

UPLOAD = "/upload/storage/v1/b/bucket/o?uploadType=multipart"
OBJECT = "/storage/v1/b/bucket/o/key"


@pytest.fixture
def store() -> Iterator[GcsEmulator]:
    with GcsEmulator("bucket") as store:
        yield store


def send(store: GcsEmulator, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection(urlsplit(store.address).netloc, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def upload(store: GcsEmulator, content: bytes, condition: str = "", **description: Any) -> tuple[int, bytes]:
    meta = json.dumps({"name": "key", **description}).encode()
    body = b"--x\r\n\r\n" + meta + b"\r\n--x\r\n\r\n" + content + b"\r\n--x--"
    return send(store, "POST", UPLOAD + condition, body, **{"Content-Type": 'multipart/related; boundary="x"'})


def test_of_many_writers_at_once_that_ask_for_a_new_object_exactly_one_wins(store: GcsEmulator) -> None:
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda i: upload(store, str(i).encode(), "&ifGenerationMatch=0")[0], range(32)))
    assert sorted(answers) == [200] + [412] * 31
    assert store.most_at_once > 1
    assert store.find("bucket", "key").content == str(answers.index(200)).encode()


def test_every_upload_makes_a_new_generation_and_downloads_can_ask_for_one(store: GcsEmulator) -> None:
    first = json.loads(upload(store, b"old")[1])["generation"]
    second = json.loads(upload(store, b"new")[1])["generation"]
    assert first != second
    assert send(store, "GET", f"{OBJECT}?alt=media&ifGenerationMatch={second}") == (200, b"new")
    assert send(store, "GET", f"{OBJECT}?alt=media&ifGenerationMatch={first}")[0] == 412
    assert send(store, "GET", f"{OBJECT}?alt=media&generation={first}")[0] == 404


def test_content_with_line_ends_and_any_byte_comes_back_unchanged(store: GcsEmulator) -> None:
    content = b"\r\n--y\r\n\r\n" + bytes(range(256)) + b"\r\n"
    upload(store, content)
    assert send(store, "GET", f"{OBJECT}?alt=media") == (200, content)


def test_a_range_brings_its_bytes_and_one_behind_the_end_is_refused(store: GcsEmulator) -> None:
    upload(store, b"0123456789")
    assert send(store, "GET", f"{OBJECT}?alt=media", Range="bytes=2-4") == (206, b"234")
    assert send(store, "GET", f"{OBJECT}?alt=media", Range="bytes=8-99") == (206, b"89")
    assert send(store, "GET", f"{OBJECT}?alt=media", Range="bytes=10-")[0] == 416


def test_an_upload_with_a_wrong_checksum_is_refused(store: GcsEmulator) -> None:
    assert upload(store, b"content", crc32c="AAAAAA==")[0] == 400
    assert store.objects("bucket") == {}


def test_parts_are_seen_only_after_the_last_request(store: GcsEmulator) -> None:
    start = send(store, "POST", "/bucket/key?uploads")[1].decode()
    upload_id = start.partition("<UploadId>")[2].partition("</UploadId>")[0]
    for number, part in ((2, b"two"), (1, b"one")):
        assert send(store, "PUT", f"/bucket/key?partNumber={number}&uploadId={upload_id}", part)[0] == 200
    assert store.objects("bucket") == {}
    parts = "<Part><PartNumber>1</PartNumber></Part><Part><PartNumber>2</PartNumber></Part>"
    assert send(store, "POST", f"/bucket/key?uploadId={upload_id}", parts.encode())[0] == 200
    assert store.find("bucket", "key").content == b"onetwo"


def test_what_is_not_there_or_not_allowed_has_its_own_status(store: GcsEmulator) -> None:
    assert send(store, "GET", OBJECT)[0] == 404
    assert send(store, "GET", "/storage/v1/b/other/o")[0] == 404
    store.forbidden.add("bucket")
    assert send(store, "GET", OBJECT)[0] == 403


@pytest.mark.parametrize(("kind", "is_done"), [("drop", False), ("lose", True), ("cut", True)])
def test_a_broken_connection_is_one_before_or_after_the_deed(kind: Any, is_done: bool, store: GcsEmulator) -> None:
    store.faults.append(Fault(kind, method="POST"))
    with pytest.raises((OSError, HTTPException)):
        upload(store, b"content")
    assert bool(store.objects("bucket")) == is_done
    assert upload(store, b"content")[0] == 200, "the fault was for one request"


def test_faults_of_status_wait_and_damage_hit_the_requests_they_name(store: GcsEmulator) -> None:
    upload(store, b"content")
    store.faults += [Fault("status", path="alt=media", status=429), Fault("damage", path="alt=media")]
    store.faults += [Fault("slow", path="alt=media", seconds=0.2)]
    assert send(store, "GET", OBJECT)[0] == 200
    assert send(store, "GET", f"{OBJECT}?alt=media")[0] == 429
    assert send(store, "GET", f"{OBJECT}?alt=media")[1] == b"conuent"
    before = time.monotonic()
    assert send(store, "GET", f"{OBJECT}?alt=media") == (200, b"content")
    assert time.monotonic() - before > 0.2
