"""How stages speak: progress while they work, ``name=value`` when they are done.

On a terminal progress is a bar; elsewhere (a pod's log, a pipe) it is a plain line now and then, which the live view of
``python -m pipelines run`` reads. Katib's metrics collector reads the ``name=value`` lines.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from hepml_core.errors import SettingError

SECONDS_BETWEEN_LINES = 10.0
INTERVAL_VARIABLE = "HEPML_PROGRESS_SECONDS"
"""Environment variable that overrides SECONDS_BETWEEN_LINES."""

LINE = re.compile(
    r"progress: (?P<what>\w+) (?P<done>\d+)/(?P<total>\d+) (?P<unit>\w+), (?P<rate>\d+)/s, (?P<left>\d+) s left(?P<note>.*)"
)
"""A progress line, for those who read it."""


class Bar(Protocol):
    """What a stage tells while it works."""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Report ``amount`` more units as done; ``note`` (say, ``loss 0.31``) stands behind the bar."""


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Bar]:
    """Show how far a stage is; ``what`` is one word, ``unit`` a plural noun."""
    if sys.stderr.isatty() and INTERVAL_VARIABLE not in os.environ:
        with _terminal_bar(what, total, unit) as bar:
            yield bar
    else:
        lines = _Lines(what, total, unit)
        yield lines
        lines.finish()


def report(metrics: Mapping[str, float]) -> None:
    """Print metrics as ``name=value`` lines on standard output."""
    for name, value in metrics.items():
        print(f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}", flush=True)  # noqa: T201


class _Lines:
    """Progress as plain lines on standard error."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._head, self._total, self._unit = what, total, unit
        self._interval = _seconds_between_lines()
        self._start = self._spoken = time.monotonic()
        self._done, self._note = 0, ""

    def advance(self, amount: int = 1, note: str = "") -> None:
        """See Bar."""
        self._done += amount
        self._note = note or self._note
        if time.monotonic() - self._spoken >= self._interval:
            self._speak()

    def finish(self) -> None:
        """Say the last word, unless nobody has heard a first one: short work needs no line."""
        if self._spoken > self._start:
            self._speak()

    def _speak(self) -> None:
        self._spoken = time.monotonic()
        rate = self._done / max(self._spoken - self._start, 1e-9)
        left = max(self._total - self._done, 0) / max(rate, 1e-9)
        note = f", {self._note}" if self._note else ""
        line = f"progress: {self._head} {self._done}/{self._total} {self._unit}, {rate:.0f}/s, {left:.0f} s left{note}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def _seconds_between_lines() -> float:
    text = os.environ.get(INTERVAL_VARIABLE, str(SECONDS_BETWEEN_LINES))
    try:
        return float(text)
    except ValueError:
        raise SettingError(f"{INTERVAL_VARIABLE} must be a number of seconds, got {text!r}") from None


@contextmanager
def _terminal_bar(what: str, total: int, unit: str) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit} {{task.fields[rate]}}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(what, total=total, note="", rate="")

        class TerminalBar:
            def advance(self, amount: int = 1, note: str = "") -> None:
                speed = shown.tasks[0].speed
                shown.update(task, advance=amount, rate=f"{speed:.0f}/s" if speed else "")
                if note:
                    shown.update(task, note=note)

        yield TerminalBar()
