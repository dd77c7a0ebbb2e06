from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hepml_core.errors import StorageError
from hepml_core.storage import Folder, LocalFolder, open_folder

HOSTILE_NAMES = ["", ".", "..", "../out", "a/../../out", "/etc/passwd", "a//b", "a/", "./a", "a\\..\\b", "a\0", "a\nb"]


def try_to_write(folder: Folder, name: str, content: bytes) -> bool:
    try:
        folder.write(name, content, only_new=True)
    except FileExistsError:
        return False
    return True


def files_in(path: Path) -> list[str]:
    return sorted(found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file())


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("address", ["{path}", "gs://bucket/folder", "s3://bucket/folder"])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_leads_out_of_the_folder_is_refused_by_every_kind_of_folder(
    address: str, name: str, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    folder = open_folder(address.format(path=inside))
    calls: list[Callable[[], object]] = [
        lambda: folder.read(name),
        lambda: folder.write(name, b""),
        lambda: folder.staged(name).__enter__(),
        lambda: folder.local(name).__enter__(),
        lambda: folder.stat(name),
        lambda: folder.delete(name),
        lambda: folder.upload(tmp_path, [name]),
        lambda: folder.download([name], tmp_path),
        lambda: folder / name,
    ]
    for call in calls:
        with pytest.raises(StorageError, match=r"refused .* as a name in"):
            call()
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("address", ["http://host/x", "gs://", "s3:///x", "gs://bucket/../x", Path("gs://bucket/x")])
def test_an_address_that_cannot_be_a_folder_is_refused(address: str | Path) -> None:
    with pytest.raises(StorageError, match=r"gs://bucket/folder|s3://bucket/folder|refused"):
        open_folder(address)


def test_an_address_is_kept_without_the_slash_at_its_end() -> None:
    assert str(open_folder("gs://bucket/a/b/")) == "gs://bucket/a/b"
    assert str(open_folder("s3://bucket") / "a") == "s3://bucket/a"
    assert open_folder("file:///tmp/x").path == Path("/tmp/x")  # noqa: S108 - nothing is written there


def test_the_door_does_not_load_the_clients_of_the_stores() -> None:
    code = "import sys, hepml_core.storage as s; s.open_folder('gs://b'); s.open_folder('s3://b')\n"
    done = run_python(
        code + "print([m for m in ('google.cloud.storage', 'google.api_core', 'boto3') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_folder_survives_pickling(tmp_path: Path) -> None:
    for address in (str(tmp_path), "gs://bucket/a", "s3://bucket/a"):
        assert str(pickle.loads(pickle.dumps(open_folder(address)))) == address  # noqa: S301 - our own bytes


def test_of_many_writers_at_once_that_ask_for_a_new_file_exactly_one_wins(tmp_path: Path) -> None:
    folder, start = open_folder(tmp_path), threading.Barrier(16)

    def race(i: int) -> bool:
        start.wait()
        return try_to_write(folder, "file", str(i).encode())

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(race, range(16)))
    assert sum(won) == 1
    assert folder.read("file") == str(won.index(True)).encode()


def test_a_block_that_fails_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    folder.write("file", b"old")

    def fail() -> None:
        with folder.staged("file") as path:
            path.write_bytes(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert files_in(tmp_path) == ["file"]
    assert folder.read("file") == b"old"


def test_a_full_disk_in_the_block_is_one_sentence_with_a_remedy_and_leaves_no_trace(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"cannot write .*/file: No space left on device; free some space"),
        open_folder(tmp_path).staged("file"),
    ):
        Path("/dev/full").write_bytes(b"content")
    assert files_in(tmp_path) == []


def test_other_errors_of_the_block_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), open_folder(tmp_path).staged("file"):
        tmp_path.read_bytes()


def test_a_write_that_the_disk_refuses_is_one_sentence_and_leaves_no_trace(tmp_path: Path) -> None:
    code = """
import resource, sys
from hepml_core.storage import open_folder
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
open_folder(sys.argv[1]).write("file", bytes(2000))
"""
    done = run_python(code, tmp_path)
    assert f"StorageError: cannot write {tmp_path}/file: File too large; raise the limit" in done.stderr
    assert files_in(tmp_path) == []


def test_what_a_killed_process_left_is_not_seen_and_hinders_no_later_run(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from hepml_core.storage import open_folder
with open_folder(sys.argv[1]).staged("deep/file") as path:
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_python(code, tmp_path).returncode == -signal.SIGKILL
    assert len(files_in(tmp_path)) == 1, "this kill should leave the staged file"
    folder = open_folder(tmp_path)
    assert list(folder.walk()) == []
    with folder.staged("deep/file") as path:
        path.write_bytes(b"whole")
    assert [found.name for found in folder.walk()] == ["deep/file"]
    assert folder.read("deep/file") == b"whole"


def test_a_folder_that_may_not_be_read_is_an_error_not_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageError, match=r"cannot list .*: Permission denied"):
        list(open_folder(tmp_path).walk())


def test_a_folder_is_no_file_and_has_no_stat(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("train/part", b"")
    assert folder.stat("train") is None
    with pytest.raises(FileNotFoundError), folder.local("train"):
        pass


def test_the_file_itself_is_lent_where_it_is_on_a_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with open_folder(tmp_path).local("file") as path:
        assert path == tmp_path / "file"
    assert path.exists()
