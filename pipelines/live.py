"""What a person sees of a local run: one line a stage with progress, time and result; the full log goes to a file."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hepml_core.progress import LINE

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STARTED = re.compile(r"Executing task '(?P<task>[^']+)'")
FINISHED = re.compile(r"Task '(?P<task>[^']+)' finished with status (?P<status>\w+)")
METRIC = re.compile(r"(?P<name>[A-Za-z]\w*)=(?P<value>-?[\d.]+(e[+-]?\d+)?|nan|inf)")
ERROR = re.compile(r"(hepml_core\.errors\.)?(?P<kind>\w+(Error|Exception|Interrupt)): (?P<text>.*)")
FRAME = re.compile(r"Traceback \(most recent call last\)")
NUMBERS_SHOWN = 4
REFRESH_PER_SECOND = 8


@dataclass(slots=True)
class Row:
    """One task of the run."""

    task: str
    state: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    done: int = 0
    total: int = 0
    note: str = ""
    metrics: dict[str, str] = field(default_factory=dict)
    error: list[str] = field(default_factory=list)

    @property
    def time(self) -> float:
        """Seconds since the start, or that it took."""
        return time.monotonic() - self.started if self.state == "running" else self.seconds

    @property
    def result(self) -> str:
        """What there is to say: where it stands, or the first metrics."""
        if self.state == "failed":
            return self.error[0] if self.error else "see the log"
        if self.state == "running":
            return self.note
        return "  ".join(f"{name}={value}" for name, value in list(self.metrics.items())[:NUMBERS_SHOWN])


class LiveView(io.TextIOBase):
    """Takes the place of standard output while Kubeflow's local runner works, and shows what it says.

    Attributes:
        rows: The tasks, in the order of the pipeline.
    """

    def __init__(self, tasks: list[str], log: TextIO, screen: TextIO) -> None:
        super().__init__()
        self.rows = {task: Row(task) for task in tasks}
        self._log, self._screen = log, screen
        self._current: Row | None = None
        self._rest = ""
        self._in_traceback = False
        self._console = Console(file=screen)
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=REFRESH_PER_SECOND)

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def close(self) -> None:
        """Draw the last state."""
        if self._console.is_terminal and self._live.is_started:
            self._live.stop()

    def writable(self) -> bool:
        """Say that this can be written to."""
        return True

    def write(self, text: str) -> int:
        """Take a piece of the runner's output."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            plain = COLOUR.sub("", line)
            self._log.write(plain + "\n")
            self._read(plain)
        self._log.flush()
        return len(text)

    def _read(self, line: str) -> None:
        started, finished = STARTED.search(line), FINISHED.search(line)
        if started:
            self._start(started["task"])
        elif finished and finished["task"] in self.rows:
            self._finish(self.rows[finished["task"]], finished["status"] == "SUCCESS")
        elif self._current:
            self._read_stage(self._current, line.strip())

    def _read_stage(self, row: Row, line: str) -> None:
        """Understand a line that a stage itself has written."""
        progress, metric = LINE.search(line), METRIC.fullmatch(line)
        error = ERROR.match(line)
        if progress:
            row.done, row.total = int(progress["done"]), int(progress["total"])
            row.note = f"{progress['rate']} {progress['unit']}/s, {progress['left']} s left{progress['note']}"
        elif metric:
            row.metrics[metric["name"]] = metric["value"]
        elif FRAME.search(line):
            self._in_traceback, row.error = True, []
        elif self._in_traceback and error:
            known = error[1] is not None
            row.error = [error["text"] if known else f"{error['kind']}: {error['text']}"]
            self._in_traceback = False
        elif row.error and line and not line.startswith("["):
            row.error.append(line)

    def _start(self, task: str) -> None:
        row = self.rows.setdefault(task, Row(task))
        row.state, row.started = "running", time.monotonic()
        self._current = row

    def _finish(self, row: Row, well: bool) -> None:
        row.seconds = time.monotonic() - row.started if row.started else 0.0
        row.state = "done" if well else "failed"
        self._current = None
        if not self._console.is_terminal and row.started:
            print(f"{row.task:<12} {row.state:<7} {row.seconds:6.1f} s  {row.result}", file=self._screen, flush=True)

    def _render(self) -> Table:
        table = Table(box=None, padding=(0, 1), expand=True)
        table.add_column("stage", style="bold", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("progress", width=20)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("result", ratio=1)
        colours = {"running": "yellow", "done": "green", "failed": "red"}
        for row in self.rows.values():
            share = 1.0 if row.state == "done" else row.done / row.total if row.total else 0.0
            clock = f"{row.time:.1f} s" if row.started else ""
            state = Text(row.state, style=colours.get(row.state, "dim"))
            table.add_row(row.task, state, ProgressBar(1.0, share), clock, row.result)
        return table
