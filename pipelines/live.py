"""What a person sees of a local run: one line a stage with progress, time and result; the full log goes to a file."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass, field
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hepml_core.progress import LINE

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STARTED = re.compile(r"Executing task '(?P<task>[^']+)'")
FINISHED = re.compile(r"Task '(?P<task>[^']+)' finished with status (?P<status>\w+)")
METRIC = re.compile(r"(?P<name>[A-Za-z]\w*)=(?P<value>-?[\d.]+(e[+-]?\d+)?|nan|-?inf)")
TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
OUR_ERROR = re.compile(r"hepml_core\.errors\.\w+: ")
NO_REASON = "it ended without a word; it may have been killed, for example for want of memory"
NUMBERS_SHOWN = 4
ERROR_LINES = 8
REFRESH_PER_SECOND = 4
BAR_WIDTH = 12


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
    def result(self) -> list[str]:
        """What there is to say in a line: where it stands, or the first metrics; errors are told below the table."""
        if self.state == "running":
            return [self.note]
        return [f"{name}={_short(value)}" for name, value in list(self.metrics.items())[:NUMBERS_SHOWN]]


@dataclass(frozen=True, slots=True)
class Words:
    """As many whole words as fit on one line."""

    words: list[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw them; a first word that is too long is cut."""
        line = ""
        for word in self.words:
            longer = f"{line}  {word}" if line else word
            if line and cell_len(longer) > options.max_width:
                break
            line = longer
        yield Text(line, no_wrap=True, overflow="ellipsis")


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
        self._traceback_indent: int | None = None
        self._console = Console(file=screen)
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=REFRESH_PER_SECOND)

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def close(self) -> None:
        """Draw the last state."""
        for row in self.rows.values():
            row.state = {"waiting": "not run", "running": "stopped"}.get(row.state, row.state)
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
            self._read_stage(self._current, line)

    def _read_stage(self, row: Row, line: str) -> None:
        """Understand a line that a stage itself has written."""
        text = line.strip()
        progress, metric = LINE.search(text), METRIC.fullmatch(text)
        if TRACEBACK.match(text):
            self._traceback_indent, row.error = line.index(text), []
        elif self._traceback_indent is not None:
            if line[: self._traceback_indent + 1].strip():  # frames are indented, the exception itself is not
                row.error, self._traceback_indent = [OUR_ERROR.sub("", text)], None
        elif row.error:
            if text and len(row.error) < ERROR_LINES:
                row.error.append(text)
        elif progress:
            row.done, row.total = int(progress["done"]), int(progress["total"])
            row.note = f"{progress['rate']} {progress['unit']}/s, {progress['left']} s left{progress['note']}"
            if self._live.is_started:  # a short stage may be over before the next picture is due
                self._live.refresh()
        elif metric:
            row.metrics[metric["name"]] = metric["value"]

    def _start(self, task: str) -> None:
        row = self.rows.setdefault(task, Row(task))
        row.state, row.started = "running", time.monotonic()
        self._current = row

    def _finish(self, row: Row, well: bool) -> None:
        row.seconds = time.monotonic() - row.started if row.started else 0.0
        row.state = "done" if well else "failed"
        if not well and not row.error:
            row.error = [NO_REASON]
        self._current, self._traceback_indent = None, None
        if not self._console.is_terminal and row.started:
            line = f"{row.task:<12} {row.state:<7} {row.seconds:6.1f} s  {'  '.join(row.result)}"
            print(line.rstrip(), file=self._screen, flush=True)

    def _render(self) -> Table:
        table = Table(box=None, padding=(0, 1), expand=True)
        for name in ("stage", "state"):
            table.add_column(name, no_wrap=True)
        table.add_column("progress", width=BAR_WIDTH)
        table.add_column("time", justify="right", no_wrap=True, min_width=len("999.9 s"))
        table.add_column("result", ratio=1, no_wrap=True)
        colours = {"running": "yellow", "done": "green", "failed": "red"}
        for row in self.rows.values():
            share = 1.0 if row.state == "done" else row.done / row.total if row.total else 0.0
            # Text, because names and numbers may hold what rich would take for markup.
            table.add_row(
                Text(row.task, style="bold"),
                Text(row.state, style=colours.get(row.state, "dim")),
                ProgressBar(1.0, share) if row.started else "",
                f"{row.time:.1f} s" if row.started else "",
                Words(row.result),
            )
        return table


def _short(value: str) -> str:
    """Four digits are enough for a screen; whole numbers stay whole."""
    return f"{float(value):.4g}" if "." in value or "e" in value else value
