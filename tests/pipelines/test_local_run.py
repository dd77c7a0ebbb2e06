"""A pipeline on this machine, as a person starts it: real stages in real processes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from hepml_core.progress import INTERVAL_VARIABLE
from pipelines.event_images import event_images, event_images_toy
from pipelines.local_run import run_here, tasks_of
from tests.class_folders import bright_and_dark

ROOT = Path(__file__).parents[2]
STAGES = ["convert", "organize", "normalize", "train", "evaluate"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CLEAR_LINE = "\x1b[2K"


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its status, what it printed, and where."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def report(self) -> Path:
        """The page that it names."""
        address = re.search(r"^report: (.+)$", self.out.replace("\r", ""), flags=re.MULTILINE)
        assert address, self.out + self.err
        return Path(address[1])


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "pipelines", "run", "event_images", *words]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run_in(folder: Path, *words: str) -> Ended:
    done = subprocess.run(command(*words), cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout, done.stderr, folder)


def run_on_a_terminal(folder: Path, *words: str, columns: int = 80) -> Ended:
    """Run with a screen of 80 x 24 characters in place of files; everything that is printed comes in one stream."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command(*words),
        cwd=folder,
        # Stages tell every step: how often a screen shows one must not hang on how fast the machine is.
        env=environment(TERM="xterm-256color", COLUMNS="", **{INTERVAL_VARIABLE: "0"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = bytearray()
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # what Linux says when the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    text = seen.decode()
    return Ended(process.wait(), text, text, folder)


@pytest.fixture(scope="module")
def own_pictures(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A whole run on a person's own pictures: a relative folder with spaces, events kept apart from the run."""
    folder = tmp_path_factory.mktemp("a person's folder")
    bright_and_dark(folder / "my pictures" / "of 2026", count=40, size=16)
    words = ("source=my pictures/of 2026", "image_size=32", "epochs=1", "shards_root=my shards", "--root", "my runs")
    return run_in(folder, *words)


@pytest.fixture(scope="module")
def toy_on_a_terminal(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("toy")
    return run_on_a_terminal(folder, "events_per_class=40", "image_size=32", "epochs=1")


def test_a_run_on_own_pictures_ends_with_a_report(own_pictures: Ended) -> None:
    assert own_pictures.status == 0, own_pictures.err
    assert own_pictures.report.is_file()
    assert own_pictures.report.is_relative_to(own_pictures.folder / "my runs" / "event_images")


def test_off_a_terminal_the_report_is_all_of_standard_output(own_pictures: Ended) -> None:
    assert own_pictures.out == f"report: {own_pictures.report}\n"


def test_off_a_terminal_each_stage_is_one_line_that_says_how_it_went(own_pictures: Ended) -> None:
    *lines, blank, log = own_pictures.err.splitlines()
    assert [line.split()[:2] for line in lines] == [[stage, "done"] for stage in STAGES]
    assert all(re.search(r" \d+\.\d s  \w+=\S+", line) for line in lines)
    assert "events=80" in lines[0]
    assert "auc=" in lines[-1]
    assert (blank, log) == ("", f"log: {own_pictures.folder / 'my runs/event_images/last.log'}")


def test_the_log_holds_what_every_stage_said(own_pictures: Ended) -> None:
    log = (own_pictures.folder / "my runs/event_images/last.log").read_text()
    assert all(f"Executing task '{stage}'" in log for stage in STAGES)
    assert "\x1b" not in log


def test_with_a_shards_root_no_event_lies_in_the_run(own_pictures: Ended) -> None:
    assert list((own_pictures.folder / "my shards").rglob("*.tfrecord"))
    assert not list((own_pictures.folder / "my runs").rglob("*.tfrecord"))
    assert len(list((own_pictures.folder / "my runs").rglob("manifest.json"))) == len(STAGES)


@pytest.mark.slow
def test_a_run_without_data_makes_toy_pictures_first(toy_on_a_terminal: Ended) -> None:
    assert toy_on_a_terminal.status == 0, toy_on_a_terminal.out
    assert toy_on_a_terminal.report.is_file()
    assert toy_on_a_terminal.report.is_relative_to(toy_on_a_terminal.folder / "runs" / "event_images")


@pytest.mark.slow
def test_on_a_terminal_the_last_picture_shows_every_stage_on_a_line_of_its_own(toy_on_a_terminal: Ended) -> None:
    frame = re.split(r"\x1b\[1A\x1b\[2K|\x1b\[\?25h", toy_on_a_terminal.out)[-2]
    head, *rows = [line.rstrip() for line in ESCAPES.sub("", frame).replace("\r", "").splitlines() if line.strip()]
    assert head.split() == ["stage", "state", "progress", "time", "result"]
    assert [row.split()[:2] for row in rows] == [[stage, "done"] for stage in ["generate", *STAGES]]
    assert all(len(row) <= 80 and re.search(r"━{12} +\d+\.\d s  \w+=\S+", row) for row in rows)


@pytest.mark.slow
def test_on_a_terminal_progress_is_seen_while_a_stage_works(toy_on_a_terminal: Ended) -> None:
    assert re.search(r"generate +running .* pictures/s, \d+ s left", ESCAPES.sub("", toy_on_a_terminal.out))


def test_a_stage_that_fails_is_told_in_one_sentence(tmp_path: Path) -> None:
    bright_and_dark(tmp_path / "all", count=2)
    (tmp_path / "one class").mkdir()
    (tmp_path / "all" / "bright").rename(tmp_path / "one class" / "bright")
    ended = run_in(tmp_path, "source=one class", "epochs=1")
    assert (ended.status, ended.out) == (1, "")
    first, *rest = ended.err.splitlines()
    assert first.split()[:2] == ["convert", "failed"]
    assert rest == [
        "",
        "convert failed: there are pictures of one class only (bright): a classifier needs two or more",
        "",
        f"log: {tmp_path / 'runs/event_images/last.log'}",
    ]
    assert "Traceback" in (tmp_path / "runs/event_images/last.log").read_text()


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = run_in(tmp_path, "source=nowhere at all")
    assert ended.status == 1
    assert "convert failed: nowhere at all " in ended.err


def test_a_stage_that_fails_on_a_terminal_leaves_the_others_as_not_run(tmp_path: Path) -> None:
    ended = run_on_a_terminal(tmp_path, "source=nowhere")
    assert ended.status == 1
    last = ESCAPES.sub("", ended.out.split(CLEAR_LINE)[-1])
    assert re.search(r"convert +failed", last)
    assert last.count("not run") == 4
    assert "convert failed: nowhere " in last


def test_an_interrupted_run_ends_at_once_and_takes_its_stage_along(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("events_per_class=100000"),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = tmp_path / "runs/event_images/last.log"
    wait_until(lambda: log.is_file() and "progress: generate" in log.read_text())
    os.killpg(process.pid, signal.SIGINT)  # what Control-C on a terminal does
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "pipelines: interrupted" in err
    wait_until(lambda: not alive(process.pid))


def wait_until(happened: object, seconds: float = 60) -> None:
    assert callable(happened)
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(group: int) -> bool:
    """Say whether a process of a group still works."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    states = [path.read_text().rpartition(")")[2].split() for path in stat_files()]
    return any(int(state[2]) == group and state[0] != "Z" for state in states)


def stat_files() -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/stat") if path.is_file()]


def test_a_failed_run_here_leaves_the_environment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv(INTERVAL_VARIABLE, "7")
    before, printing = dict(os.environ), sys.stdout
    assert run_here(event_images, {"source": str(tmp_path / "missing")}, tmp_path / "runs") == 1
    assert dict(os.environ) == before
    assert sys.stdout is printing
    assert "convert failed: " in capsys.readouterr().err


def test_the_tasks_are_listed_in_an_order_in_which_they_can_run() -> None:
    spec = event_images.pipeline_spec
    assert tasks_of(spec, spec.root) == STAGES


def test_the_tasks_of_a_nested_pipeline_stand_in_its_place() -> None:
    spec = event_images_toy.pipeline_spec
    assert tasks_of(spec, spec.root) == ["generate", *STAGES]
