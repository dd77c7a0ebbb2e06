"""Progress lines, bars and reports."""

from __future__ import annotations

import io
import re
import sys

import pytest

from hepml_core import progress as module
from hepml_core.errors import SettingError
from hepml_core.progress import INTERVAL_VARIABLE, LINE, progress, report

KATIB_FILTER = re.compile(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)")
"""How Katib's metrics collector finds a metric on standard output unless told otherwise."""


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    """A standard error that people look at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.delenv(INTERVAL_VARIABLE, raising=False)
    return clock


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_quick_work_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("convert", 100, "images") as bar:
        for _ in range(100):
            bar.advance()
            clock.seconds += 0.09
    assert lines(capsys) == []


def test_long_work_speaks_every_ten_seconds_and_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("convert", 100, "images") as bar:
        for _ in range(10):
            clock.seconds += 2.5
            bar.advance(10)
    assert lines(capsys) == [
        "progress: convert 40/100 images, 4/s, 15 s left",
        "progress: convert 80/100 images, 4/s, 5 s left",
        "progress: convert 100/100 images, 4/s, 0 s left",
    ]


def test_every_line_can_be_read_back(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(INTERVAL_VARIABLE, "0")
    with progress("train", 50_000_000, "events") as bar:
        bar.advance(0)
        clock.seconds += 2
        bar.advance(20_000_000, "epoch 2 of 3, loss 0.31")
        bar.advance(40_000_000)
    found = [LINE.fullmatch(line) for line in lines(capsys)]
    assert len(found) == 4
    assert all(found)
    second = found[1].groupdict() if found[1] else {}
    assert second == {
        "what": "train",
        "done": "20000000",
        "total": "50000000",
        "unit": "events",
        "rate": "10000000",
        "left": "3",
        "note": ", epoch 2 of 3, loss 0.31",
    }


def test_work_that_fails_does_not_claim_an_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with progress("convert", 10, "images") as bar:
            clock.seconds += 11
            bar.advance()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert len(lines(capsys)) == 1


def test_an_interval_that_is_no_number_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERVAL_VARIABLE, "often")
    with (
        pytest.raises(SettingError, match="HEPML_PROGRESS_SECONDS must be a number of seconds, got 'often'"),
        progress("convert", 1, "images"),
    ):
        pass


def test_a_terminal_shows_a_bar_and_no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.delenv(INTERVAL_VARIABLE, raising=False)
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("convert", 20, "images") as bar:
        bar.advance(15, "loss 0.31")
        bar.advance(5)
    shown = terminal.getvalue()
    assert "progress:" not in shown
    assert all(word in shown for word in ("convert", "20/20", "images", "loss 0.31"))


def test_metrics_are_reported_as_katib_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"valid_loss": 0.123456789, "events": 12_345_678, "auc_error": 1.5e-7, "shift": -2.0}
    report(metrics)
    printed = capsys.readouterr().out
    assert printed.splitlines() == ["valid_loss=0.123457", "events=12345678", "auc_error=1.5e-07", "shift=-2"]
    found = {match[0]: float(match[1]) for match in KATIB_FILTER.findall(printed)}
    assert found == pytest.approx(metrics, rel=1e-5)
