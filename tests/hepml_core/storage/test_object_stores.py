"""Folders of every kind keep one contract; those in object stores survive what networks and stores do."""

from __future__ import annotations

import gzip
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import google_crc32c
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto.server import ThreadedMotoServer

from hepml_core.errors import DependencyError, StorageError
from hepml_core.storage import Folder, buckets, open_folder, s3
from hepml_core.storage.gcs import GoogleBucket
from tests.gcs_emulator import Fault, GcsEmulator

pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")

MIB = 2**20
NUMBERS = itertools.count()
CONTENT = bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(buckets, "RETRY_SECONDS", 10.0)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsEmulator]:
    with GcsEmulator("bucket") as store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.address)
        yield store


@pytest.fixture
def gs(store: GcsEmulator) -> Folder:
    return open_folder("gs://bucket/run 1")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto: str, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = f"bucket-{next(NUMBERS)}"
    s3._client().create_bucket(Bucket=bucket)
    return open_folder(f"s3://{bucket}/run 1")


@pytest.fixture(params=["local", "gs", "aws"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return open_folder(tmp_path / "folder")
    folder: Folder = request.getfixturevalue(request.param)
    return folder


@pytest.fixture(params=["gs", "aws"])
def remote(request: pytest.FixtureRequest) -> Folder:
    folder: Folder = request.getfixturevalue(request.param)
    return folder


def crc32c(content: bytes) -> int:
    return int(google_crc32c.value(content))


# Every kind of folder


def test_what_is_written_is_read_whole_and_in_ranges(folder: Folder) -> None:
    folder.write("a/b.bin", CONTENT)
    assert folder.read("a/b.bin") == CONTENT
    assert folder.read("a/b.bin", 10, 300) == CONTENT[10:300]
    assert folder.read("a/b.bin", len(CONTENT) - 3) == CONTENT[-3:]
    assert folder.read("a/b.bin", len(CONTENT) - 3, len(CONTENT) + 9) == CONTENT[-3:]
    assert folder.read("a/b.bin", len(CONTENT) + 9) == b""
    assert folder.read("a/b.bin", 9, 9) == folder.read("a/b.bin", 9, 2) == b""
    assert (folder / "a").read("b.bin") == CONTENT


def test_an_empty_file_is_a_file(folder: Folder, tmp_path: Path) -> None:
    folder.write("empty", b"")
    assert folder.read("empty") == b""
    with folder.local("empty") as path:
        assert path.read_bytes() == b""
    folder.download(["empty"], tmp_path / "here")
    assert (tmp_path / "here/empty").read_bytes() == b""


def test_what_is_not_there_is_told_apart_from_errors(folder: Folder, tmp_path: Path) -> None:
    assert folder.stat("none") is None
    assert list(folder.walk()) == []
    folder.delete("none")
    with pytest.raises(FileNotFoundError, match="none"):
        folder.read("none")
    with pytest.raises(FileNotFoundError, match="none"), folder.local("none"):
        pass
    with pytest.raises(FileNotFoundError, match="none"):
        folder.download(["none"], tmp_path)
    with pytest.raises(FileNotFoundError, match="none"):
        folder.upload(tmp_path, ["none"])


def test_stat_tells_the_size_and_a_version_that_changes_with_the_content(folder: Folder) -> None:
    folder.write("a", CONTENT)
    first = folder.stat("a")
    assert first is not None
    assert (first.name, first.bytes) == ("a", len(CONTENT))
    assert first.crc32c == (None if folder.path else crc32c(CONTENT))
    folder.write("a", b"other")
    second = folder.stat("a")
    assert second is not None
    assert second.version != first.version


def test_a_walk_is_in_the_order_of_the_names_and_can_be_narrowed(folder: Folder) -> None:
    names = ["a.txt", "a/x", "a/y/z", "b", "run 1/deep"]
    for name in reversed(names):
        folder.write(name, name.encode())
    (folder / "a").write("y/é", b"")
    assert [(found.name, found.bytes) for found in folder.walk("a/")] == [("a/x", 3), ("a/y/z", 5), ("a/y/é", 0)]
    folder.delete("a/y/é")
    assert [found.name for found in folder.walk()] == names
    assert [found.name for found in (folder / "a").walk("y")] == ["y/z"]


def test_only_a_new_file_is_written_where_only_new_is_asked(folder: Folder) -> None:
    folder.write("a", b"first", only_new=True)
    with pytest.raises(FileExistsError, match="a"):
        folder.write("a", b"first", only_new=True)
    folder.write("a", b"third")
    assert folder.read("a") == b"third"


def test_of_many_writers_at_once_one_wins_and_the_others_are_told(folder: Folder) -> None:
    def race(i: int) -> bool:
        try:
            folder.write("a", str(i).encode(), only_new=True)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        won = list(pool.map(race, range(12)))
    assert sum(won) == 1
    assert folder.read("a") == str(won.index(True)).encode()


def test_a_staged_file_is_published_and_a_failed_block_publishes_nothing(folder: Folder) -> None:
    with folder.staged("a/b.root") as path:
        path.write_bytes(CONTENT)
    assert folder.read("a/b.root") == CONTENT
    with pytest.raises(IsADirectoryError), folder.staged("a/c.root") as path:
        path.parent.read_bytes()
    assert [found.name for found in folder.walk()] == ["a/b.root"]
    assert not path.exists()


def test_many_files_go_up_and_come_down_again(folder: Folder, tmp_path: Path) -> None:
    names = [f"deep/{i:03}.bin" for i in range(24)]
    source = open_folder(tmp_path / "source")
    for name in names:
        source.write(name, name.encode() * 50)
    folder.upload(tmp_path / "source", names)
    folder.download(names, tmp_path / "target")
    assert [found.name for found in folder.walk()] == names
    for name in names:
        assert (tmp_path / "target" / name).read_bytes() == name.encode() * 50


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_folder_goes_to_worker_processes(folder: Folder) -> None:
    folder.write("a", CONTENT)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert pool.submit(folder.read, "a").result(timeout=30) == CONTENT


# Object stores


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(buckets, "PART_BYTES", 5 * MIB)
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(MIB) * 11 + b"end")
    return path


def test_a_large_file_goes_up_and_comes_down_in_parts(remote: Folder, large: Path, tmp_path: Path) -> None:
    remote.upload(tmp_path, ["large.bin"])
    found = remote.stat("large.bin")
    assert found is not None
    assert (found.bytes, found.crc32c) == (11 * MIB + 3, crc32c(large.read_bytes()))
    remote.download(["large.bin"], tmp_path / "target")
    assert (tmp_path / "target/large.bin").read_bytes() == large.read_bytes()


def test_files_and_parts_travel_at_once(gs: Folder, store: GcsEmulator, large: Path, tmp_path: Path) -> None:
    store.faults.append(Fault("slow", times=1000, seconds=0.05))
    for i in range(8):
        (tmp_path / f"{i}").write_bytes(CONTENT)
    counts = []
    for names in ([f"{i}" for i in range(8)], ["large.bin"]):
        store.most_at_once = 0
        gs.upload(tmp_path, names)
        counts.append(store.most_at_once)
        store.most_at_once = 0
        gs.download(names, tmp_path / "target")
        counts.append(store.most_at_once)
    assert min(counts) >= 2, counts


def test_a_lent_copy_has_the_ending_of_its_name_and_is_gone_after_the_block(remote: Folder) -> None:
    remote.write("a/b.root", CONTENT)
    with remote.local("a/b.root") as path:
        assert path.read_bytes() == CONTENT
        assert path.suffix == ".root"
    assert not path.parent.exists()


def test_a_full_disk_while_staging_is_one_sentence_and_publishes_nothing(remote: Folder) -> None:
    with pytest.raises(StorageError, match=r"cannot stage .*/a in .* \(TMPDIR .*\): No space left"), remote.staged("a"):
        Path("/dev/full").write_bytes(b"content")
    assert remote.stat("a") is None


def test_objects_that_consoles_make_for_empty_folders_are_no_files(gs: Folder, store: GcsEmulator) -> None:
    store.publish("bucket", "run 1/", b"", {}, {})
    store.publish("bucket", "run 1/a/", b"", {}, {})
    assert list(gs.walk()) == []


def test_a_compressed_object_is_read_as_it_is_stored(gs: Folder, store: GcsEmulator) -> None:
    content = gzip.compress(CONTENT)
    store.publish("bucket", "run 1/a", content, {"contentEncoding": "gzip"}, {})
    assert gs.read("a") == content
    with gs.local("a") as path:
        assert path.read_bytes() == content


def test_a_source_that_cannot_be_read_is_one_sentence(gs: Folder, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StorageError, match=r"cannot read from .*: Too many levels of symbolic links"):
        gs.upload(tmp_path, ["loop"])


def test_a_walk_passes_the_end_of_a_page(gs: Folder, store: GcsEmulator) -> None:
    for i in range(1001):
        store.publish("bucket", f"run 1/{i:04}", b"", {}, {})
    assert [found.name for found in gs.walk()] == [f"{i:04}" for i in range(1001)]


FaultKind = Literal["status", "drop", "lose", "cut", "slow", "damage"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_refusal_is_tried_again(status: int, gs: Folder, store: GcsEmulator) -> None:
    store.faults.append(Fault("status", status=status, times=2))
    gs.write("a", CONTENT)
    store.faults.append(Fault("status", status=status, times=2))
    assert gs.read("a") == CONTENT
    store.faults.append(Fault("status", status=status, times=2))
    assert [found.name for found in gs.walk()] == ["a"]


@pytest.mark.parametrize("kind", ["drop", "lose", "cut", "damage"])
def test_a_broken_connection_or_a_changed_byte_does_no_harm(
    kind: FaultKind, gs: Folder, store: GcsEmulator, large: Path, tmp_path: Path
) -> None:
    travels: list[Callable[[], None]] = [
        lambda: gs.write("a", CONTENT),
        lambda: gs.upload(tmp_path, ["large.bin"]),
        lambda: gs.download(["a", "large.bin"], tmp_path / "target"),
    ]
    for travel in travels:
        store.faults = [Fault(kind, "POST", "uploadType"), Fault(kind, "PUT"), Fault(kind, "GET", "alt=media", times=2)]
        travel()
    assert (tmp_path / "target/a").read_bytes() == gs.read("a") == CONTENT
    assert (tmp_path / "target/large.bin").read_bytes() == large.read_bytes()


@pytest.mark.parametrize("kind", ["drop", "lose", "cut"])
def test_a_writer_whose_answer_was_lost_is_not_told_that_its_own_file_exists(
    kind: FaultKind, gs: Folder, store: GcsEmulator
) -> None:
    store.faults.append(Fault(kind, "POST"))
    gs.write("a", CONTENT, only_new=True)
    store.faults.append(Fault(kind, "POST"))
    with pytest.raises(FileExistsError):
        gs.write("a", CONTENT, only_new=True)


@pytest.mark.parametrize("kind", ["drop", "lose", "cut"])
def test_a_large_file_is_whole_though_the_answer_to_its_last_request_was_lost(
    kind: FaultKind, gs: Folder, store: GcsEmulator, large: Path, tmp_path: Path
) -> None:
    store.faults.append(Fault(kind, "POST", "uploadId="))
    gs.upload(tmp_path, ["large.bin"])
    assert store.find("bucket", "run 1/large.bin").content == large.read_bytes()


def test_an_upload_in_parts_that_fails_leaves_no_parts(
    gs: Folder, store: GcsEmulator, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "RETRY_SECONDS", 0.1)
    store.faults.append(Fault("status", "PUT", "partNumber=2", times=1000))
    with pytest.raises(StorageError, match=r"cannot write gs://bucket/run 1/large.bin: no good answer"):
        gs.upload(tmp_path, ["large.bin"])
    assert store.uploads == {}
    assert list(gs.walk()) == []


def test_trying_again_ends_in_time_with_one_sentence(
    gs: Folder, store: GcsEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "RETRY_SECONDS", 0.5)
    store.faults.append(Fault("status", times=1000))
    before = time.monotonic()
    with pytest.raises(StorageError, match=r"cannot read gs://bucket/run 1/a: no good answer in 0 s.*; check"):
        gs.read("a")
    assert 0.2 < time.monotonic() - before < 30
    assert 3 < len(store.requests) < 40, "the waits grow"


def test_a_store_that_does_not_answer_is_not_waited_for_without_end(
    gs: Folder, store: GcsEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hepml_core.storage.gcs.TIMEOUT_SECONDS", (5.0, 1.0))
    gs.write("a", CONTENT)
    store.faults.append(Fault("slow", seconds=3.0))
    assert gs.read("a") == CONTENT
    assert len(store.requests) == 3


def test_an_object_that_always_arrives_damaged_is_refused(
    gs: Folder, store: GcsEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gs.write("a", CONTENT)
    monkeypatch.setattr(buckets, "RETRY_SECONDS", 0.1)
    store.faults.append(Fault("damage", "GET", "alt=media", times=1000))
    with pytest.raises(StorageError, match=r"cannot read gs://bucket/run 1/a: .*damaged 3 times"):
        gs.download(["a"], tmp_path)
    with pytest.raises(StorageError, match=r"cannot read gs://bucket/run 1/a: .*Checksum mismatch"):
        gs.read("a")
    assert not (tmp_path / "a").exists()


def test_parts_of_two_versions_are_never_mixed(remote: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.write("a", CONTENT)
    bucket = type(remote._bucket)  # type: ignore[attr-defined]
    head = bucket.head

    def head_then_replace(self: Any, key: str) -> buckets.ObjectHead:
        found: buckets.ObjectHead = head(self, key)
        remote.write("a", CONTENT[::-1])
        return found

    monkeypatch.setattr(bucket, "head", head_then_replace)
    with pytest.raises(StorageError, match="/a: it was replaced meanwhile; run again"), remote.local("a"):
        pass


def every_request(folder: Folder) -> list[Callable[[], object]]:
    return [
        lambda: folder.read("a"),
        lambda: folder.stat("a"),
        lambda: list(folder.walk()),
        lambda: folder.write("a", b""),
        lambda: folder.write("a", b"", only_new=True),
        lambda: folder.delete("a"),
    ]


def test_a_missing_bucket_is_one_sentence_with_a_remedy(gs: Folder, store: GcsEmulator, aws: Folder) -> None:
    for address in ("gs://no-such/run", "s3://no-such/run"):
        for call in every_request(open_folder(address)):
            with pytest.raises(StorageError, match=rf"cannot \w+ {address}.*: there is no bucket 'no-such'; check"):
                call()
    assert len(store.requests) == 6, "and is never asked for again"


def test_a_missing_permission_is_one_sentence_with_a_remedy(gs: Folder, store: GcsEmulator) -> None:
    store.forbidden.add("bucket")
    for call in every_request(gs):
        with pytest.raises(StorageError, match=r"gs://bucket/run 1.*: permission denied: .*; ask for the role"):
            call()
    assert len(store.requests) == 6, "and is never asked for again"


def test_missing_credentials_are_one_sentence_with_a_remedy(
    aws: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(StorageError, match=r"cannot read gs://bucket/a: no valid credentials: .*; run 'gcloud auth"):
        open_folder("gs://bucket").read("a")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3._make_client.cache_clear()
    with pytest.raises(StorageError, match=r"cannot read s3://.*: no valid credentials: .*; run 'aws configure'"):
        aws.read("a")
    s3._make_client.cache_clear()


@pytest.mark.parametrize(("package", "extra"), [("google.cloud", "gcs"), ("boto3", "s3")])
def test_a_missing_package_is_named_with_its_extra(package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://none.invalid")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://none.invalid")
    with pytest.raises(DependencyError, match=rf"hepml\[{extra}\]"):
        open_folder({"gcs": "gs://bucket", "s3": "s3://bucket"}[extra]).stat("a")


def test_one_client_serves_all_threads_of_a_process(gs: Folder) -> None:
    with ThreadPoolExecutor(8) as pool:
        gs.stat("a")
        clients = list(pool.map(lambda i: GoogleBucket(f"{i}")._blob("key").client, range(32)))
    assert len(set(map(id, clients))) == 1


# S3 alone: moto injects no faults, so they are put between the client and the line


@pytest.fixture
def break_s3(aws: Folder) -> Iterator[Callable[..., None]]:
    events, handlers = s3._client().meta.events, []

    def install(operation: str, faults: list[Any]) -> None:
        def handle(request: Any, **_: Any) -> Any:
            fault = faults.pop(0) if faults else None
            if isinstance(fault, Exception):
                raise fault
            return fault and AWSResponse(request.url, fault, {}, FaultBody())

        events.register(f"before-send.s3.{operation}", handle)
        handlers.append((f"before-send.s3.{operation}", handle))

    yield install
    for name, handle in handlers:
        events.unregister(name, handle)


class FaultBody:
    def stream(self) -> Iterator[bytes]:
        yield b"<Error><Code>Injected</Code><Message>an injected fault</Message></Error>"


@pytest.mark.parametrize("fault", [429, 500, 503, ConnectionClosedError(endpoint_url="a test")])
def test_a_passing_refusal_of_s3_is_tried_again(fault: Any, aws: Folder, break_s3: Callable[..., None]) -> None:
    break_s3("PutObject", [fault, fault])
    break_s3("GetObject", [fault, fault])
    aws.write("a", CONTENT, only_new=True)
    assert aws.read("a") == CONTENT


def test_s3_that_stays_out_of_reach_is_one_sentence_and_what_is_forbidden_is_asked_once(
    aws: Folder, break_s3: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [403, 403]
    break_s3("GetObject", faults)
    with pytest.raises(StorageError, match=r"cannot read s3://.*/a: permission denied: .*; ask for s3:ListBucket"):
        aws.read("a")
    assert faults == [403]
    monkeypatch.setattr(buckets, "RETRY_SECONDS", 0.3)
    break_s3("ListObjectsV2", [503] * 1000)
    with pytest.raises(StorageError, match=r"cannot list s3://.*: no good answer in 0 s, .*; check the network"):
        list(aws.walk())


def test_an_s3_writer_whose_answer_was_lost_is_not_told_that_its_own_file_exists(
    aws: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, lost = s3.S3Bucket.put, [True]

    def put_and_lose_the_answer(self: s3.S3Bucket, key: str, content: bytes, new_by: str = "") -> None:
        put(self, key, content, new_by)
        if lost:
            raise ConnectionResetError(lost.pop())

    monkeypatch.setattr(s3.S3Bucket, "put", put_and_lose_the_answer)
    aws.write("a", CONTENT, only_new=True)
    with pytest.raises(FileExistsError):
        aws.write("a", CONTENT, only_new=True)


def test_a_damaged_download_from_s3_is_brought_again(aws: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.write("a", CONTENT)
    get, damages = s3.S3Bucket.get, [True]

    def get_damaged(self: s3.S3Bucket, key: str, *arguments: Any) -> bytes:
        content = get(self, key, *arguments)
        return b"?" + content[1:] if damages and damages.pop() else content

    monkeypatch.setattr(s3.S3Bucket, "get", get_damaged)
    with aws.local("a") as path:
        assert path.read_bytes() == CONTENT
    assert damages == []


def test_nothing_is_left_in_the_place_of_temporary_files(
    remote: Folder, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with remote.staged("a") as path:
        path.write_bytes(large.read_bytes())
    with remote.local("a"):
        assert list((tmp_path / "tmp").iterdir()) != []
    assert list((tmp_path / "tmp").iterdir()) == []
