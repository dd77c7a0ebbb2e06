"""What is seen of a run: every stage's line, on a terminal and in a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipelines import live
from pipelines.live import NO_REASON, LiveView

TASKS = ["convert", "train"]
TRACEBACK = """\
    Traceback (most recent call last):
      File "/x/stages.py", line 3, in run_stage
        metrics = function(config)
                  ^^^^^^^^^^^^^^^^
    {error}
"""


def started(task: str) -> str:
    return f"10:00:00.000 - INFO - Executing task '\x1b[96m{task}\x1b[0m'\n"


def finished(task: str, status: str = "SUCCESS") -> str:
    return f"10:00:01.000 - INFO - Task '{task}' finished with status \x1b[92m{status}\x1b[0m\n"


def view_of(*pieces: str) -> LiveView:
    view = LiveView(TASKS, io.StringIO(), io.StringIO())
    for piece in pieces:
        view.write(piece)
    return view


def screen_of(view: LiveView, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(view._render())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_every_stage_has_one_line_with_state_time_and_result() -> None:
    view = view_of(started("convert"), "    events=72\n    loss=0.123456789\n", finished("convert"))
    head, convert, train = screen_of(view)
    assert head.split() == ["stage", "state", "progress", "time", "result"]
    assert convert.split()[:2] == ["convert", "done"]
    assert convert.endswith("0.0 s  events=72  loss=0.1235")
    assert train.split() == ["train", "waiting"]


def test_a_running_stage_shows_how_far_it_is_and_what_is_left() -> None:
    line = "    progress: train 50/100 events, 25/s, 2 s left, loss 0.31\n"
    view = view_of(started("train"), line)
    row = view.rows["train"]
    assert (row.state, row.done, row.total) == ("running", 50, 100)
    shown = screen_of(view)[2]
    assert shown.endswith("25 events/s, 2 s left, loss 0.31")
    assert 0 < shown.count("━") <= 12


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_when_it_is_told_however_short_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REFRESH_PER_SECOND", 1e-3)
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Screen()
    with LiveView(TASKS, io.StringIO(), screen) as view:
        view.write(started("convert"))
        for done in (25, 50):
            view.write(f"    progress: convert {done}/50 events, 25/s, {50 - done} s left\n")
        view.write(finished("convert"))
    assert [text in screen.getvalue() for text in ("25 s left", " 0 s left", "done")] == [True, True, True]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_ever_wraps_or_exceeds_the_screen(width: int) -> None:
    metrics = "".join(f"    a_rather_long_name_{i}=123456789\n" for i in range(9))
    view = view_of(started("convert"), metrics, finished("convert"), started("train"))
    view.write(f"    progress: train 1/2 events, 1/s, 2 s left, {'very ' * 60}long\n")
    lines = screen_of(view, width)
    assert len(lines) == 3
    assert max(map(len, lines)) <= width


def test_numbers_are_shown_whole_or_not_at_all() -> None:
    metrics = "    events=72\n    valid_accuracy=0.123456\n    valid_loss=0.654321\n    fraction=0.777777\n"
    view = view_of(started("convert"), metrics, finished("convert"))
    for width in range(60, 120):
        shown = [word for word in screen_of(view, width)[1].split() if "=" in word]
        assert shown == ["events=72", "valid_accuracy=0.1235", "valid_loss=0.6543", "fraction=0.7778"][: len(shown)]


def test_names_that_look_like_markup_are_shown_as_they_are() -> None:
    view = view_of(started("train"), "    progress: train 1/2 events, 1/s, 2 s left, [bold] [/nothing]\n")
    assert screen_of(view, 120)[2].endswith("[bold] [/nothing]")


def test_pieces_of_lines_are_put_together() -> None:
    text = started("convert") + "    events=72\n" + finished("convert")
    view = view_of(*text)
    assert view.rows["convert"].metrics == {"events": "72"}
    assert view.rows["convert"].state == "done"


@pytest.mark.parametrize("value", ["-1", "0.5", "1e-05", "-2.5e+10", "nan", "inf", "-inf"])
def test_numbers_of_every_kind_are_metrics(value: str) -> None:
    view = view_of(started("convert"), f"    number={value}\n", finished("convert"))
    assert view.rows["convert"].metrics == {"number": value}
    assert f"number={value}" in screen_of(view)[1]


def test_the_log_gets_every_line_without_colours() -> None:
    log = io.StringIO()
    LiveView(TASKS, log, io.StringIO()).write(started("train") + "    \x1b[1mhello\x1b[0m\n")
    assert log.getvalue() == "10:00:00.000 - INFO - Executing task 'train'\n    hello\n"


def test_our_errors_are_told_as_sentences_with_what_follows_them() -> None:
    error = "hepml_core.errors.UnknownNameError: unknown class 'qdc'. Did you mean 'qcd'?\n      available: higgs, qcd"
    view = view_of(started("convert"), TRACEBACK.format(error=error), "\n", finished("convert", "FAILURE"))
    assert view.rows["convert"].error == ["unknown class 'qdc'. Did you mean 'qcd'?", "available: higgs, qcd"]


@pytest.mark.parametrize("error", ["torch.OutOfMemoryError: CUDA out of memory", "AssertionError", "KeyError: 'a'"])
def test_other_errors_keep_their_names(error: str) -> None:
    view = view_of(started("train"), TRACEBACK.format(error=error), finished("train", "FAILURE"))
    assert view.rows["train"].error == [error]


def test_of_a_chain_of_errors_the_last_one_is_told() -> None:
    chain = TRACEBACK.format(error="OSError: disk full") + "\n    During handling of the above exception, another\n"
    chain += TRACEBACK.format(error="hepml_core.errors.StorageError: cannot write: disk full")
    view = view_of(started("train"), chain, finished("train", "FAILURE"))
    assert view.rows["train"].error == ["cannot write: disk full"]


def test_a_stage_that_is_killed_without_a_word_is_explained() -> None:
    view = view_of(started("train"), finished("train", "FAILURE"))
    assert view.rows["train"].error == [NO_REASON]


def test_a_flood_of_lines_after_an_error_is_cut() -> None:
    view = view_of(started("train"), TRACEBACK.format(error="ValueError: x"), "    noise\n" * 99)
    assert len(view.rows["train"].error) == 8


def test_stages_that_did_not_run_say_so_at_the_end() -> None:
    view = view_of(started("convert"), finished("convert", "FAILURE"))
    view.close()
    assert [row.state for row in view.rows.values()] == ["failed", "not run"]


def test_off_a_terminal_a_stage_is_a_plain_line_when_it_is_done() -> None:
    screen = io.StringIO()
    with LiveView(TASKS, io.StringIO(), screen) as view:
        view.write(started("convert") + "    events=72\n" + finished("convert"))
        view.write(started("train") + finished("train", "FAILURE"))
    assert screen.getvalue() == "convert      done       0.0 s  events=72\ntrain        failed     0.0 s\n"


def test_a_task_that_was_not_announced_is_shown_too() -> None:
    view = view_of(started("train-2"), finished("train-2"))
    assert view.rows["train-2"].state == "done"
